//! CONFIG GET and CONFIG SET: what is shown, and the exact words of refusals.

use crate::config::directives::{IMMUTABLE, PROTECTED};
use crate::config::password::Password;
use crate::config::value::*;
use crate::config::{
    Apply, Config, DIRECTIVES, Directive, FatalError, SetContext, SetError, Status, is_sensitive,
};

const ORDINARY: SetContext = SetContext { loading: false, is_local: false };

fn set(config: &mut Config, pairs: &[(&str, &str)]) -> Result<Vec<&'static str>, String> {
    let pairs: Vec<(&[u8], &[u8])> =
        pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let changes = config.set(&pairs, ORDINARY).map_err(|error| error.to_string())?;
    Ok(changes.changed.iter().map(|row| row.name).collect())
}

fn get(config: &Config, patterns: &[&str]) -> Vec<String> {
    let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
    let pairs = config.get(&patterns).into_iter();
    pairs
        .map(|(name, value)| [name, b"=".to_vec(), value].concat())
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .collect()
}

fn value(config: &Config, name: &str) -> String {
    let found = get(config, &[name]);
    found
        .first()
        .and_then(|pair| pair.split_once('='))
        .map(|(_, value)| value.to_owned())
        .unwrap_or_default()
}

#[test]
fn names_are_returned_as_requested_and_patterns_match_aliases() {
    let config = Config::default();
    assert_eq!(get(&config, &["PORT"]), ["PORT=6379"]);
    assert_eq!(get(&config, &["port", "PORT", "po?t", "no-such"]), ["port=6379"]);
    assert_eq!(get(&config, &["slaveof"]), ["slaveof="]);
    assert_eq!(
        get(&config, &["Sla*-PRIORITY", "replica-priority"]),
        ["slave-priority=100", "replica-priority=100"]
    );
    assert_eq!(
        get(&config, &["*ziplist-value"]),
        ["hash-max-ziplist-value=64", "zset-max-ziplist-value=64"]
    );
    assert_eq!(get(&config, &["[a-h]z", "max[^m]lients", "\\*"]), ["hz=10", "maxclients=10000"]);
    assert_eq!(get(&config, &["watchdog*"]), Vec::<String>::new());
    assert_eq!(get(&config, &["watchdog-period"]), ["watchdog-period=0"]);
    assert!(get(&config, &["*"]).len() > 200);
}

#[test]
fn values_are_shown_as_redis_shows_them() {
    let mut config = Config::default();
    for (name, shown) in [
        ("save", "3600 1 300 100 60 10000"),
        (
            "client-output-buffer-limit",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
        ("bind", "* -::*"),
        ("oom-score-adj-values", "0 200 800"),
        ("latency-tracking-info-percentiles", "50 99 99.9"),
        ("unixsocketperm", "0"),
        ("repl-backlog-size", "1048576"),
        ("shutdown-on-sigterm", "default"),
        ("proc-title-template", "{title} {listen-addr} {server-mode}"),
        ("maxmemory-clients", "0"),
        ("replicaof", ""),
    ] {
        assert_eq!(value(&config, name), shown, "{name}");
    }
    for (name, given, shown) in [
        (
            "client-output-buffer-limit",
            "replica 1mb 1k 10",
            "normal 0 0 0 slave 1048576 1000 10 pubsub 33554432 8388608 60",
        ),
        ("shutdown-on-sigint", "force now save", "save now force"),
        ("shutdown-on-sigint", "default save", "save"),
        ("latency-tracking-info-percentiles", "50.0 99.95 1e1", "50 99.95 10"),
        ("latency-tracking-info-percentiles", "", ""),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("notify-keyspace-events", "KEg$m", "g$KEm"),
        ("notify-keyspace-events", "Kg$lshzxetd", "AK"),
        ("oom-score-adj", "relative", "yes"),
        ("hz", "1000", "500"),
        ("hz", "0", "1"),
        ("repl-backlog-size", "1kb", "16384"),
        ("proto-max-bulk-len", "1MB", "1048576"),
        ("save", "", ""),
        ("save", "900 1 300 10", "900 1 300 10"),
        ("save", "7 7", "7 7"),
        ("bind", "127.0.0.1 -::1", "127.0.0.1 -::1"),
        ("bind", "", ""),
    ] {
        set(&mut config, &[(name, given)]).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(value(&config, name), shown, "{name} {given}");
    }
}

#[test]
fn refusals_have_the_texts_of_redis() {
    let mut config = Config::default();
    for (name, given, reason) in [
        ("timeout", "x", "argument couldn't be parsed into an integer"),
        ("timeout", "+10", "argument couldn't be parsed into an integer"),
        ("timeout", "-1", "argument must be between 0 and 2147483647 inclusive"),
        ("maxclients", "-1", "argument must be between 1 and 4294967295 inclusive"),
        ("slave-priority", "x", "argument couldn't be parsed into an integer"),
        ("unixsocketperm", "888", "can't set immutable config"),
        ("databases", "3", "can't set immutable config"),
        ("replicaof", "a 1", "can't set immutable config"),
        ("rdbchecksum", "no", "can't set immutable config"),
        ("repl-backlog-size", "x", "argument must be a memory value"),
        ("repl-backlog-size", "0", "argument must be between 1 and 9223372036854775807 inclusive"),
        (
            "proto-max-bulk-len",
            "1000",
            "argument must be between 1048576 and 9223372036854775807 inclusive",
        ),
        ("maxmemory", "-1", "argument must be a memory value"),
        ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
        ("maxmemory-clients", "x", "argument must be a memory or percent value"),
        ("rdbcompression", "maybe", "argument must be 'yes' or 'no'"),
        ("appendfsync", "x", "argument(s) must be one of the following: everysec, always, no"),
        ("dbfilename", "x", "can't set protected config"),
        ("dir", "/", "can't set protected config"),
        (
            "shutdown-on-sigint",
            "",
            "argument(s) must be one of the following: default, save, nosave, now, force, failover",
        ),
        (
            "latency-tracking-info-percentiles",
            "50 101",
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
        ),
        (
            "latency-tracking-info-percentiles",
            "a",
            "Invalid latency-tracking-info-percentiles parameters",
        ),
        (
            "latency-tracking-info-percentiles",
            "nan",
            "Invalid latency-tracking-info-percentiles parameters",
        ),
        (
            "oom-score-adj-values",
            "1 2 3000",
            "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
        ),
        (
            "client-output-buffer-limit",
            "normal 1",
            "Wrong number of arguments in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "master 1 1 1",
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "normal x 1 1",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
        ("save", "10  1", "Invalid save parameters"),
        ("save", " 900 1", "Invalid save parameters"),
        (
            "proc-title-template",
            "{foo}",
            "template format is invalid or contains unknown variables",
        ),
        (
            "cluster-announce-hostname",
            "a_b",
            "Hostnames may only contain alphanumeric characters, hyphens or dots",
        ),
    ] {
        let error = set(&mut config, &[(name, given)]).expect_err(name);
        let expected =
            format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}");
        assert_eq!(error, expected);
    }
    let error = set(&mut config, &[("foo", "1")]).expect_err("no such directive");
    assert_eq!(error, "Unknown option or number of arguments for CONFIG SET - 'foo'");
    let error = set(&mut config, &[("Databases", "1")]).expect_err("immutable");
    assert!(error.contains("'Databases'"), "{error}");
    assert_eq!(config, Config::default());
}

#[test]
fn config_set_is_atomic() {
    let mut config = Config::default();
    let error =
        set(&mut config, &[("timeout", "5"), ("tcp-keepalive", "x")]).expect_err("the second");
    assert!(error.contains("'tcp-keepalive'"), "{error}");
    let error = set(&mut config, &[("timeout", "5"), ("nope", "x"), ("databases", "1")])
        .expect_err("the second");
    assert!(error.contains("Unknown option"), "{error}");
    let error = set(&mut config, &[("replica-priority", "1"), ("Replica-Priority", "2")])
        .expect_err("one name");
    assert_eq!(
        error,
        "CONFIG SET failed (possibly related to argument 'Replica-Priority') - duplicate parameter"
    );
    assert_eq!(config, Config::default());
    let both = set(&mut config, &[("slave-priority", "1"), ("replica-priority", "2")]);
    assert_eq!(both, Ok(vec!["replica-priority"]));
    assert_eq!(config.replica_priority, 2);
    let changed = set(&mut config, &[("Timeout", "5"), ("hz", "10"), ("slave-priority", "7")]);
    assert_eq!(changed, Ok(vec!["timeout", "replica-priority"]));
    assert_eq!((config.timeout, config.replica_priority), (5, 7));
    assert_eq!(set(&mut config, &[]), Ok(vec![]));
}

#[test]
fn a_failed_change_is_rolled_back() {
    let mut config = Config::default();
    let changes = config
        .set(&[(b"port", b"1"), (b"timeout", b"5"), (b"loglevel", b"debug")], ORDINARY)
        .expect("all right");
    let of_shell = |row: &&&Directive| matches!(row.apply, Apply::Shell(_));
    let for_shell: Vec<_> = changes.changed.iter().filter(of_shell).collect();
    assert_eq!(for_shell.iter().map(|row| row.name).collect::<Vec<_>>(), ["port", "loglevel"]);
    assert_eq!((config.port, changes.previous().port), (1, 6379));
    config.databases = 3;
    config.roll_back(&changes);
    assert_eq!(config, Config { databases: 3, ..Config::default() });
    let error =
        SetError::not_applied(for_shell[0], "Unable to listen on this port. Check server logs.");
    assert_eq!(
        error.to_string(),
        "CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs."
    );
}

#[test]
fn protected_directives_depend_on_client_and_time() {
    let mut config =
        Config { enable_protected_configs: ProtectedAction::Local, ..Config::default() };
    let local = SetContext { is_local: true, ..ORDINARY };
    assert!(config.set(&[(b"dbfilename", b"a.rdb")], ORDINARY).is_err());
    assert!(config.set(&[(b"dbfilename", b"a.rdb")], local).is_ok());
    let loading = SetContext { loading: true, ..local };
    assert_eq!(config.set(&[(b"dir", b"/")], loading).map(|_| ()), Err(SetError::Loading));
    assert!(config.set(&[(b"timeout", b"1")], loading).is_ok());
}

#[test]
fn unimplemented_directives_are_refused_or_warned_about() {
    let mut config = Config::default();
    let error =
        set(&mut config, &[("timeout", "1"), ("import-mode", "yes")]).expect_err("not implemented");
    assert_eq!(
        error,
        "CONFIG SET failed (possibly related to argument 'import-mode') - 'import-mode' is not implemented \
         in Russet yet: keys would expire during the import. Only its default 'no' is accepted"
    );
    assert_eq!(config.timeout, 0);
    assert_eq!(set(&mut config, &[("import-mode", "no"), ("maxmemory", "0")]), Ok(vec![]));
    let inert = [("acl-pubsub-default", "allchannels"), ("latency-tracking", "no")];
    assert_eq!(set(&mut config, &inert), Ok(vec!["acl-pubsub-default", "latency-tracking"]));
    let changes = config.set(&[(b"maxmemory-samples", b"3")], ORDINARY).expect("only performance");
    assert_eq!(changes.warnings.len(), 1);
    assert_eq!(config.maxmemory_samples, 3);
}

/// Returns a valid value of a directive that is not its default.
fn another_value(row: &Directive) -> Option<String> {
    let values = match row.kind {
        Kind::Bool => vec!["yes".to_owned(), "no".to_owned()],
        Kind::Int(min, max) => vec![min.to_string(), max.to_string()],
        Kind::Memory(min, max) => vec![min.to_string(), max.to_string()],
        Kind::MemoryOrPercent => vec!["12345".to_owned()],
        Kind::Enum(names) => names.iter().map(|name| (*name).to_owned()).collect(),
        _ => vec!["x".to_owned()],
    };
    let sets = |value: &String| {
        let mut config = Config::default();
        let words = [value.as_bytes()];
        (row.assign)(&mut config, &words, Origin::ConfigSet).is_ok()
            && !(row.same)(&config, &Config::default())
    };
    values.into_iter().find(sets)
}

#[test]
fn what_is_not_implemented_is_treated_alike_in_files_and_at_runtime() {
    let is_settable = |row: &&Directive| !row.has(IMMUTABLE) && !row.has(PROTECTED);
    let (mut refused, mut warned, mut silent) = (0, 0, 0);
    for row in DIRECTIVES.iter().filter(|row| row.status != Status::Implemented) {
        let Some(value) = another_value(row).filter(|_| is_settable(&row)) else { continue };
        let upper = row.name.to_ascii_uppercase();
        for name in row.names().map(str::to_owned).chain([upper]) {
            let in_file = match Config::parse_text(format!("{name} {value}").as_bytes()) {
                Ok(loaded) => Ok(loaded.warnings),
                Err(FatalError::Lines(lines)) => Err(lines[0].reason.message.clone()),
                Err(error) => panic!("{error}"),
            };
            let mut config = Config::default();
            let at_runtime = match config.set(&[(name.as_bytes(), value.as_bytes())], ORDINARY) {
                Ok(changes) => Ok(changes.warnings),
                Err(SetError::Refused { reason, .. }) => Err(reason),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(in_file, at_runtime, "{name} {value}");
            let quoted = format!("'{name}'");
            match at_runtime {
                Err(reason) => {
                    assert!(row.status.is_refused() && reason.contains(&quoted), "{reason}");
                    refused += 1;
                }
                Ok(warnings) if matches!(row.status, Status::NotImplemented(_)) => {
                    assert!(warnings.len() == 1 && warnings[0].contains(&quoted), "{warnings:?}");
                    warned += 1;
                }
                Ok(warnings) => {
                    assert!(warnings.is_empty(), "{warnings:?}");
                    silent += 1;
                }
            }
        }
    }
    assert!(refused >= 8 && warned >= 40 && silent >= 8, "{refused} {warned} {silent}");
    let loaded = Config::parse_text(b"lua-time-limit 100").expect("only a warning");
    assert!(loaded.warnings[0].contains("'lua-time-limit'"), "{:?}", loaded.warnings);
}

#[test]
fn secrets_stay_out_of_logs() {
    let config = Config { requirepass: Password::Text(b"hunter2".to_vec()), ..Config::default() };
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(value(&config, "requirepass"), "hunter2");
    assert!(is_sensitive(b"PrimaryAuth") && is_sensitive(b"requirepass") && !is_sensitive(b"port"));
}
