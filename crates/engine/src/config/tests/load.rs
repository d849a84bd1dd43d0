//! Reading configurations: real files, refusals with their exact texts, `include`, any bytes.

use proptest::prelude::*;

use crate::config::grammar::{CommandLine, LINE_BYTES_MAX, VALUE_BYTES_MAX};
use crate::config::load::{INCLUDE_DEPTH_MAX, INCLUDED_FILES_MAX};
use crate::config::password::Password;
use crate::config::refusal::REFUSED_LINES_MAX;
use crate::config::value::*;
use crate::config::words::*;
use crate::config::{
    Config, FatalError, IncludedFile, Loaded, Place, RefusedLine, Source, Unreadable,
};

fn load(text: &str) -> Config {
    Config::parse_text(text.as_bytes()).unwrap_or_else(|error| panic!("{error}")).config
}

/// The lines that are refused.
fn refused(result: Result<Loaded, FatalError>) -> Vec<RefusedLine> {
    match result {
        Err(FatalError::Lines(lines)) => lines,
        other => panic!("{other:?}"),
    }
}

/// The message about the only line that is refused.
fn refusal(text: &str) -> String {
    match refused(Config::parse_text(text.as_bytes())).as_slice() {
        [line] => line.reason.message.clone(),
        other => panic!("{other:?}"),
    }
}

/// Sources of a file and a command line.
fn sources(file: &str, options: &[u8]) -> [Source; 2] {
    [
        Source { place: Place::File(b"/etc/redis.conf".to_vec()), text: file.into() },
        Source { place: Place::CommandLine, text: options.to_vec() },
    ]
}

/// Debian's /etc/redis/redis.conf without its comments.
const DEBIAN: &str = r#"bind 127.0.0.1 -::1
protected-mode yes
port 6379
tcp-backlog 511
timeout 0
tcp-keepalive 300
daemonize yes
pidfile /run/redis/redis-server.pid
loglevel notice
logfile /var/log/redis/redis-server.log
databases 16
always-show-logo no
set-proc-title yes
proc-title-template "{title} {listen-addr} {server-mode}"
stop-writes-on-bgsave-error yes
rdbcompression yes
rdbchecksum yes
dbfilename dump.rdb
rdb-del-sync-files no
dir /var/lib/redis
replica-serve-stale-data yes
replica-read-only yes
repl-diskless-sync yes
repl-diskless-sync-delay 5
repl-diskless-sync-max-replicas 0
repl-diskless-load disabled
repl-disable-tcp-nodelay no
replica-priority 100
acllog-max-len 128
lazyfree-lazy-eviction no
lazyfree-lazy-expire no
lazyfree-lazy-server-del no
replica-lazy-flush no
lazyfree-lazy-user-del no
lazyfree-lazy-user-flush no
oom-score-adj no
oom-score-adj-values 0 200 800
disable-thp yes
appendonly no
appendfilename "appendonly.aof"
appenddirname "appendonlydir"
appendfsync everysec
no-appendfsync-on-rewrite no
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 64mb
aof-load-truncated yes
aof-use-rdb-preamble yes
aof-timestamp-enabled no

slowlog-log-slower-than 10000
slowlog-max-len 128
latency-monitor-threshold 0
notify-keyspace-events ""
hash-max-listpack-entries 512
hash-max-listpack-value 64
list-max-listpack-size -2
list-compress-depth 0
set-max-intset-entries 512
zset-max-listpack-entries 128
zset-max-listpack-value 64
hll-sparse-max-bytes 3000
stream-node-max-bytes 4096
stream-node-max-entries 100
activerehashing yes
client-output-buffer-limit normal 0 0 0
client-output-buffer-limit replica 256mb 64mb 60
client-output-buffer-limit pubsub 32mb 8mb 60
hz 10
dynamic-hz yes
aof-rewrite-incremental-fsync yes
rdb-save-incremental-fsync yes
jemalloc-bg-thread yes
"#;

#[test]
fn debians_file_is_accepted_without_a_warning() {
    let Loaded { config, warnings, .. } =
        Config::parse_text(DEBIAN.as_bytes()).expect("a stock file");
    assert!(warnings.is_empty());
    assert!(config.daemonize);
    assert_eq!(config.dir, b"/var/lib/redis");
    let addresses: Vec<_> = config.bind.addresses().collect();
    assert_eq!(addresses, [(&b"127.0.0.1"[..], false), (b"::1", true)]);
    let expected = Config {
        bind: config.bind.clone(),
        daemonize: true,
        pidfile: b"/run/redis/redis-server.pid".to_vec(),
        logfile: b"/var/log/redis/redis-server.log".to_vec(),
        dir: b"/var/lib/redis".to_vec(),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn the_deployment_example() {
    let config = load(
        "bind 0.0.0.0\nport 6380\nlogfile \"6380.log\"\ndbfilename \"dump-6380.rdb\"\n\
         daemonize yes\nrdbcompression yes\nslaveof 127.0.0.1 6379\n",
    );
    assert_eq!(config.port, 6380);
    assert_eq!(config.dbfilename, b"dump-6380.rdb");
    assert_eq!(config.replicaof, Some(MasterAddress { host: b"127.0.0.1".to_vec(), port: 6379 }));
}

#[test]
fn lines_take_on_their_meaning() {
    let config = load(
        "  # a comment\r\n\tPORT\t 7000 \r\n\"timeout\" 3\nslave-read-only NO\nprimaryauth 'a b'\n\
         client-output-buffer-limit slave 1mb 1k 10\nrepl-backlog-size 100\nhz 100000\n\
         unixsocketperm 0700\nshutdown-on-sigterm save FORCE\nmaxclients 4294967295\n\
         latency-tracking-info-percentiles 1e1 99.95\nbind\nreplicaof no one\n",
    );
    assert_eq!((config.port, config.timeout, config.replica_read_only), (7000, 3, false));
    assert_eq!(config.masterauth, Secret(b"a b".to_vec()));
    let limit = OutputLimit { hard_bytes: 1 << 20, soft_bytes: 1000, soft_seconds: 10 };
    assert_eq!(config.client_output_buffer_limit.replica, limit);
    let usual = Config::default().client_output_buffer_limit;
    assert_eq!(config.client_output_buffer_limit.pubsub, usual.pubsub);
    assert_eq!(
        (config.repl_backlog_size, config.hz, config.unixsocketperm),
        (16 << 10, 500, 0o700)
    );
    assert!(config.shutdown_on_sigterm.save && config.shutdown_on_sigterm.force);
    assert_eq!(config.latency_tracking_info_percentiles, Percentiles(vec![10.0, 99.95]));
    assert_eq!(config.bind, BindList(vec![]));
    assert_eq!(config.replicaof, None);
}

#[test]
fn save_lines_add_up_over_the_defaults() {
    let points = |text: &str| {
        let points = load(text).save.0;
        points.iter().map(|point| (point.seconds, point.changes)).collect::<Vec<_>>()
    };
    assert_eq!(points(""), [(3600, 1), (300, 100), (60, 10000)]);
    assert_eq!(points("save 5 5\nSAVE 6 6 7 7\n"), [(5, 5), (6, 6), (7, 7)]);
    assert_eq!(points("save \"8 8 9 0\""), [(8, 8), (9, 0)]);
    assert_eq!(points("save ''"), []);
    assert_eq!(points("save 5 5\nsave \"\"\nsave 9 9"), [(9, 9)]);
}

#[test]
fn the_command_line_overrules_the_file() {
    let arguments =
        ["x.conf", "--port", "1", "--save", "--dbfilename", "a \"b", "--bind", "::1", "-127.0.0.1"];
    let line = CommandLine::parse(&arguments.map(|argument| argument.as_bytes().to_vec()));
    let sources = sources("port 2\nsave 1 1\ndbfilename c", &line.options);
    let config = Config::parse(&sources, &mut |_, _| Ok(vec![])).expect("both are right").config;
    assert_eq!((config.port, config.dbfilename.as_slice()), (1, &b"a \"b"[..]));
    assert_eq!(config.save, SavePoints(vec![]));
    assert_eq!(config.bind.0, [b"::1".to_vec(), b"-127.0.0.1".to_vec()]);
}

/// What an operator of a stock server has in its file, with a typing error and a wrong value.
const PRODUCTION: &str = "bind 0.0.0.0
port 6379
tls-port 6380
tls-cert-file /etc/cert.pem
rename-command FLUSHALL \"\"
maxmemory 2gb
maxmemory-policy allkeys-lru
apendfsync everysec
timeout ten
user alice on >secret ~* +@all
import-mode yes
requirepass one two
";

#[test]
fn every_refused_line_is_listed_in_the_order_of_the_file() {
    let options = CommandLine::parse(&[b"--hz".to_vec(), b"ten".to_vec()]).options;
    let error = Config::parse(&sources(PRODUCTION, &options), &mut |_, _| Ok(vec![]));
    let expected = "
*** FATAL CONFIG FILE ERROR (Russet VERSION) ***
Reading the configuration file '/etc/redis.conf', at line 3
>>> 'tls-port 6380'
'tls-port' is not implemented in Russet yet: nothing would listen for TLS, and clients could only connect without \
         encryption. Only its default '0' is accepted

Reading the configuration file '/etc/redis.conf', at line 5
>>> 'rename-command FLUSHALL \"\"'
'rename-command' is not implemented in Russet yet: the command would stay reachable under its own name

Reading the configuration file '/etc/redis.conf', at line 6
>>> 'maxmemory 2gb'
'maxmemory' is not implemented in Russet yet: memory would grow beyond the limit, without eviction or errors for \
         writes. Only its default '0' is accepted

Reading the configuration file '/etc/redis.conf', at line 8
>>> 'apendfsync everysec'
Bad directive or wrong number of arguments. Did you mean 'appendfsync'?

Reading the configuration file '/etc/redis.conf', at line 9
>>> 'timeout ten'
argument couldn't be parsed into an integer

Reading the configuration file '/etc/redis.conf', at line 10
>>> 'user alice on >*** ~* +@all'
'user' is not implemented in Russet yet: this user could not log in, or would not be restricted. Only a default user \
         with all permissions is accepted, with at most one password

Reading the configuration file '/etc/redis.conf', at line 11
>>> 'import-mode yes'
'import-mode' is not implemented in Russet yet: keys would expire during the import. Only its default 'no' is accepted

Reading the configuration file '/etc/redis.conf', at line 12
>>> 'requirepass *** ***'
wrong number of arguments

Reading the options of the command line
>>> 'hz \"ten\"'
argument couldn't be parsed into an integer

These 9 lines are refused. What Russet does not have yet, and what that means: docs/compatibility.md
";
    let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(error.expect_err("nine lines").to_string(), expected);
}

#[test]
fn a_wrong_line_alone_points_to_the_directives() {
    let error =
        Config::parse_text(b"port 1\n  foo  bar \"x\"  \nport 2\n").expect_err("no such directive");
    let text = error.to_string();
    let end = "Reading the configuration, at line 2
>>> 'foo  bar \"x\"'
Bad directive or wrong number of arguments

This line is refused. Directives and their values: docs/config.md
";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn a_long_list_of_refused_lines_ends() {
    let lines = refused(Config::parse_text(&b"nonsense 1\n".repeat(1 << 16)));
    assert_eq!(lines.len(), REFUSED_LINES_MAX);
    let text = FatalError::Lines(lines).to_string();
    assert!(text.contains("and the rest was not read"), "{text}");
}

#[test]
fn a_file_of_another_kind_is_not_listed() {
    let lines = refused(Config::parse_text(&b"\x7fELF\x02\x00\x1b[2J\n".repeat(100)));
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].text, "?ELF???[2J");
}

#[test]
fn values_that_cannot_be_applied_are_listed_in_the_order_of_the_file() {
    let loaded = Config::parse_text(b"logfile /x/log\n\ndir /y\n").expect("they exist, perhaps");
    let refusal = |reasons: &[(&str, String)]| loaded.refusal(reasons);
    let error = refusal(&[("dir", "no".into()), ("logfile", "never".into())]);
    let numbers: Vec<_> = refused(Err(error.expect("both have lines")))
        .into_iter()
        .map(|line| (line.number, line.reason.message))
        .collect();
    assert_eq!(numbers, [(1, "never".to_owned()), (3, "no".to_owned())]);
    assert_eq!(refusal(&[("port", "no".into())]), None);
}

#[test]
fn refusals_have_the_texts_of_redis() {
    for (line, message) in [
        ("timeout", "wrong number of arguments"),
        ("timeout 3 # c", "wrong number of arguments"),
        ("timeout x", "argument couldn't be parsed into an integer"),
        ("timeout \"3", "Unbalanced quotes in configuration line"),
        ("save \"\\\"1\"", "Unbalanced quotes in configuration line"),
        ("port 70000", "argument must be between 0 and 65535 inclusive"),
        ("unixsocketperm 1000", "argument must be between 0 and 777 inclusive"),
        ("unixsocketperm 9", "argument couldn't be parsed as an octal number"),
        ("repl-backlog-size 1x", "argument must be a memory value"),
        ("rdbcompression maybe", "argument must be 'yes' or 'no'"),
        (
            "loglevel loud",
            "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
        ),
        ("supervised x", "argument(s) must be one of the following: upstart, systemd, auto, no"),
        (
            "maxmemory-policy x",
            "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, \
             allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
        ),
        ("replicaof 127.0.0.1", "wrong number of arguments"),
        ("replicaof 127.0.0.1 x", "Invalid master port"),
        ("save 1", "Invalid save parameters"),
        ("save 0 1", "Invalid save parameters"),
        ("dbfilename a/b", "dbfilename can't be a path, just a filename"),
        (&format!("appendfilename {}", "x".repeat(900)), "appendfilename is too long"),
        ("sentinel monitor a", "sentinel directive while not in sentinel mode"),
        ("include", "Bad directive or wrong number of arguments"),
        ("rename-command a", "Bad directive or wrong number of arguments"),
        (
            "shutdown-on-sigint save nosave",
            "shutdown options SAVE and NOSAVE can't be used simultaneously",
        ),
        ("oom-score-adj-values 1 2", "wrong number of arguments"),
        ("notify-keyspace-events Q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
    ] {
        assert_eq!(refusal(line), message, "{line}");
    }
    assert_eq!(
        refusal("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"),
        "Too many bind addresses specified."
    );
}

#[test]
fn unimplemented_directives_are_refused_or_warned_about() {
    for line in [
        "import-mode yes",
        "maxmemory 1gb",
        "aclfile /etc/users.acl",
        "tls-port 6380",
        "tls-cluster yes",
        "rename-command CONFIG ''",
        "user alice on >x",
    ] {
        let name = line.split(' ').next().unwrap_or_default();
        let message = refusal(line);
        let start = format!("'{name}' is not implemented in Russet yet: ");
        assert!(message.starts_with(&start), "{message}");
    }
    assert!(refusal("loadmodule x.so").contains("'loadmodule' is not supported by Russet"));
    assert!(refusal("search.timeout 5").contains("modules can't be loaded"));

    let inert = "appendonly no\nappendfsync always\nappendfsync no\naof-load-truncated no\n\
                 tls-port 0\ntls-auth-clients no\ntls-cert-file /etc/cert.pem\n\
                 acl-pubsub-default allchannels\nlatency-tracking no\nset-proc-title no\n";
    let loaded = Config::parse_text(inert.as_bytes()).expect("no effect without its switch");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    // It is about connections that are opened, for which no port of ours is needed.
    assert!(refusal("tls-replication yes").contains("would not be encrypted"));

    let accepted =
        "appendonly no\nmaxmemory 0\nio-threads 4\nio-threads 4\nlist-max-ziplist-entries 5\n";
    let warnings = Config::parse_text(accepted.as_bytes()).expect("only warnings").warnings;
    assert_eq!(
        warnings,
        [
            "Configuration directive 'list-max-ziplist-entries' has no effect.",
            "Configuration directive 'io-threads' is accepted but not implemented yet: it has no effect.",
        ]
    );
}

#[test]
fn a_node_of_a_cluster_has_no_master_of_its_own_choice() {
    let lines = refused(Config::parse_text(b"replicaof 10.0.0.1 6379\ncluster-enabled yes\n"));
    let reasons: Vec<_> =
        lines.iter().map(|line| (line.number, line.reason.message.clone())).collect();
    assert_eq!(reasons, [(1, "replicaof directive not allowed in cluster mode".to_owned())]);
    assert!(
        load("replicaof 10.0.0.1 6379\nreplicaof no one\ncluster-enabled yes\n").cluster_enabled
    );
}

#[test]
fn a_later_line_overrides_a_refused_value() {
    let config = load("import-mode yes\nmaxmemory 1gb\nmaxmemory 0\nimport-mode no\n");
    assert!(!config.import_mode);
    let lines = refused(Config::parse_text(b"import-mode no\n\nimport-mode yes\n"));
    assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_default_user_without_password_contradicts_requirepass() {
    load("user default on nopass ~* &* +@all\n");
    assert!(
        refusal("user default on nopass ~* &* +@all\nrequirepass x")
            .contains("removes the password")
    );
}

#[test]
fn a_file_that_a_stock_server_rewrote_keeps_its_password() {
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let line = format!("user default on sanitize-payload #{hex} ~* &* +@all\n");
    // Both lines are written where `requirepass` was set.
    let config = load(&format!("requirepass \"abc\"\n{line}"));
    assert_eq!(config.requirepass, Password::Text(b"abc".to_vec()));
    let config = load(&line);
    assert!(config.requirepass.matches(b"abc"));
    let row = crate::config::directive(b"requirepass").expect("it is there");
    assert_eq!(config.text(row), b"");
    assert!(refusal(&format!("requirepass abcd\n{line}")).contains("different passwords"));
    assert!(refusal(&format!("{line}{line}")).contains("Duplicate user"));
    assert!(refusal("user alice on nopass ~* &* +@all").contains("not implemented in Russet"));
}

fn include(text: &str, files: &[(&str, &str)]) -> Result<Loaded, FatalError> {
    Config::parse(&sources(text, b""), &mut |folder, word| {
        let pattern = match folder {
            b"./" => word.to_vec(),
            folder => [folder, b"/", word].concat(),
        };
        let pattern = String::from_utf8_lossy(&pattern).into_owned();
        let matching = files.iter().filter(|(path, _)| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => *path == pattern,
        });
        let found: Vec<_> = matching
            .map(|(path, text)| IncludedFile {
                path: path.as_bytes().to_vec(),
                text: text.as_bytes().to_vec(),
            })
            .collect();
        if found.is_empty() && !pattern.contains('*') {
            let reason = "No such file or directory".to_owned();
            return Err(Unreadable { path: pattern.into_bytes(), reason });
        }
        Ok(found)
    })
}

#[test]
fn includes_take_effect_in_place() {
    let files = [("a.conf", "timeout 9\nport 7"), ("d/1", "hz 11"), ("d/2", "hz 12")];
    let config = include("include a.conf\ntimeout 4\ninclude d/*\ninclude none/*\n", &files)
        .expect("all right")
        .config;
    assert_eq!((config.timeout, config.port, config.hz), (4, 7, 12));
    let config = include("timeout 4\ninclude a.conf", &files).expect("all right").config;
    assert_eq!(config.timeout, 9);
}

#[test]
fn a_relative_include_is_resolved_in_the_current_dir() {
    let files = [
        ("here.conf", "timeout 1"),
        ("/data/local.conf", "requirepass secret\ndir sub"),
        ("/data/sub/more.conf", "timeout 2"),
    ];
    let text = "include here.conf\ndir /data\ninclude *\ninclude more.conf\n";
    let config = include(text, &files).expect("all are there").config;
    assert!(config.requirepass.matches(b"secret"));
    assert_eq!((config.timeout, config.dir.as_slice()), (2, &b"/data/sub"[..]));
    let error = include("dir /data\ninclude here.conf\n", &files).expect_err("it is elsewhere");
    assert!(error.to_string().contains("'/data/here.conf'"), "{error}");
}

#[test]
fn faults_in_included_files_are_found() {
    let error = include("include a", &[]).expect_err("no such file");
    assert_eq!(
        error.to_string(),
        "Fatal error, can't open config file 'a': No such file or directory"
    );
    let error = include("port 1\ninclude a", &[("a", "port 2\n\nbad x")]).expect_err("line 3 of a");
    let text = error.to_string();
    assert!(text.contains("file 'a', at line 3\n>>> 'bad x'\n"), "{text}");
    let error = include("include b\ninclude a\nport x", &[("a", "hz x")]).expect_err("three");
    let lines: Vec<_> = refused(Err(error)).into_iter().map(|line| line.text).collect();
    assert_eq!(lines, ["include b", "hz x", "port x"]);
}

#[test]
fn includes_are_bounded() {
    let error = include("include a", &[("a", "include a")]).expect_err("a cycle");
    assert!(error.to_string().contains("too deeply"));
    let error =
        include("include a", &[("a", "include a\ninclude a")]).expect_err("a doubling cycle");
    assert!(error.to_string().contains("too deeply"));
    let wide = "include b\n".repeat(INCLUDED_FILES_MAX + 1);
    let error = include(&wide, &[("b", "")]).expect_err("too many files");
    assert!(error.to_string().contains("Too much is included"));
    let names: Vec<String> = (0..=INCLUDE_DEPTH_MAX).map(|depth| format!("f{depth}")).collect();
    let texts: Vec<String> =
        (1..=INCLUDE_DEPTH_MAX).map(|depth| format!("include f{depth}")).collect();
    let mut files: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    files[INCLUDE_DEPTH_MAX - 1].1 = "port 1";
    assert_eq!(include("include f0", &files).expect("deep enough").config.port, 1);
}

#[test]
fn too_long_texts_are_refused() {
    let value = |bytes: usize| format!("masterauth \"{}\"", "\\x01".repeat(bytes));
    let config = load(&value(VALUE_BYTES_MAX - 1));
    let again = Config::parse_text(&config.rewrite(b"", &mut |_, _| vec![]))
        .expect("the longest value fits in a line");
    assert_eq!(again.config, config);
    assert_eq!(refusal(&value(VALUE_BYTES_MAX)), "argument is too long");
    assert_eq!(refusal(&"x".repeat(LINE_BYTES_MAX + 1)), "Configuration line is too long");
    let config = load(&format!("bind \"\\\"{}\\\"\"", "\\\\x01".repeat(VALUE_BYTES_MAX - 1)));
    let again = Config::parse_text(&config.rewrite(b"", &mut |_, _| vec![]))
        .expect("quoted twice, it still fits");
    assert_eq!(again.config, config);
    let lines = refused(Config::parse_text(&b"save 1 1\n".repeat(1001)));
    assert_eq!((lines.len(), lines[0].number), (1, 1001));
    assert_eq!(lines[0].reason.message, "Invalid save parameters");
}

proptest! {
    #![proptest_config(super::cases())]

    #[test]
    fn any_bytes_give_a_configuration_or_an_error(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = Config::parse_text(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
        let _ = Config::default().rewrite(&text, &mut |_, _| vec![]);
    }

    #[test]
    fn any_words_after_a_name_give_a_result(
        row in 0..crate::config::DIRECTIVES.len(),
        words in proptest::collection::vec("[a-z0-9 .:*%+-]{0,6}|\"[^\"]{0,4}\"|(-?[0-9]{1,20}[kmgKMGbB]{0,2})", 0..5),
    ) {
        let line = format!("{} {}", crate::config::DIRECTIVES[row].name, words.join(" "));
        let _ = Config::parse_text(line.as_bytes());
    }
}

#[test]
fn paths_must_be_utf8_in_every_directive() {
    for name in ["dir", "dbfilename", "unixsocket", "pidfile", "logfile", "bind"] {
        let error = Config::parse_text(&[name.as_bytes(), b" d\xe4ta\n"].concat());
        let text = error.expect_err(name).to_string();
        assert!(text.contains("argument must be valid UTF-8"), "{name}: {text}");
    }
}
