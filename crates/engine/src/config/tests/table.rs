//! Tests of the table: complete, consistent, and true to what it says about itself.

use std::collections::BTreeSet;

use crate::config::directives::{HIDDEN, RUSSET, VALKEY};
use crate::config::document::{compatibility_md, config_md, not_implemented, russet_conf};
use crate::config::file_only::FILE_ONLY;
use crate::config::grammar::split_words;
use crate::config::value::{Kind, Origin};
use crate::config::{Config, DIRECTIVES, Directive, Status, directive};

/// Every name that Redis 7.2 knows in a configuration file, but for two that only exist in builds
/// for its own tests (`req-res-logfile`, `client-default-resp`).
const REDIS_7_2: &str = "\
    acl-pubsub-default aclfile acllog-max-len active-defrag-cycle-max active-defrag-cycle-min \
    active-defrag-ignore-bytes active-defrag-max-scan-fields active-defrag-threshold-lower \
    active-defrag-threshold-upper active-expire-effort activedefrag activerehashing \
    always-show-logo aof-disable-auto-gc aof-load-truncated aof-rewrite-incremental-fsync \
    aof-timestamp-enabled aof-use-rdb-preamble aof_rewrite_cpulist appenddirname appendfilename \
    appendfsync appendonly auto-aof-rewrite-min-size auto-aof-rewrite-percentage bgsave_cpulist \
    bind bind-source-addr bio_cpulist busy-reply-threshold client-output-buffer-limit \
    client-query-buffer-limit cluster-allow-pubsubshard-when-down cluster-allow-reads-when-down \
    cluster-allow-replica-migration cluster-announce-bus-port cluster-announce-hostname \
    cluster-announce-human-nodename cluster-announce-ip cluster-announce-port \
    cluster-announce-tls-port cluster-config-file cluster-enabled cluster-link-sendbuf-limit \
    cluster-migration-barrier cluster-node-timeout cluster-ping-interval cluster-port \
    cluster-preferred-endpoint-type cluster-replica-no-failover cluster-replica-validity-factor \
    cluster-require-full-coverage cluster-slave-no-failover cluster-slave-validity-factor \
    crash-log-enabled crash-memcheck-enabled daemonize databases dbfilename dir disable-thp \
    dynamic-hz enable-debug-command enable-module-command enable-protected-configs \
    hash-max-listpack-entries hash-max-listpack-value hash-max-ziplist-entries \
    hash-max-ziplist-value hll-sparse-max-bytes hz ignore-warnings include io-threads \
    io-threads-do-reads jemalloc-bg-thread key-load-delay latency-monitor-threshold \
    latency-tracking latency-tracking-info-percentiles lazyfree-lazy-eviction \
    lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del \
    lazyfree-lazy-user-flush lfu-decay-time lfu-log-factor list-compress-depth \
    list-max-listpack-size list-max-ziplist-entries list-max-ziplist-size \
    list-max-ziplist-value loading-process-events-interval-bytes loadmodule locale-collate \
    logfile loglevel lua-replicate-commands lua-time-limit masterauth masteruser maxclients \
    maxmemory maxmemory-clients maxmemory-eviction-tenacity maxmemory-policy maxmemory-samples \
    min-replicas-max-lag min-replicas-to-write min-slaves-max-lag min-slaves-to-write \
    no-appendfsync-on-rewrite notify-keyspace-events oom-score-adj oom-score-adj-values pidfile \
    port proc-title-template propagation-error-behavior protected-mode proto-max-bulk-len \
    rdb-del-sync-files rdb-key-save-delay rdb-save-incremental-fsync rdbchecksum rdbcompression \
    rename-command repl-backlog-size repl-backlog-ttl repl-disable-tcp-nodelay \
    repl-diskless-load repl-diskless-sync repl-diskless-sync-delay \
    repl-diskless-sync-max-replicas repl-ping-replica-period repl-ping-slave-period \
    repl-timeout replica-announce-ip replica-announce-port replica-announced \
    replica-ignore-disk-write-errors replica-ignore-maxmemory replica-lazy-flush \
    replica-priority replica-read-only replica-serve-stale-data replicaof requirepass \
    sanitize-dump-payload save sentinel server_cpulist set-max-intset-entries \
    set-max-listpack-entries set-max-listpack-value set-proc-title shutdown-on-sigint \
    shutdown-on-sigterm shutdown-timeout slave-announce-ip slave-announce-port \
    slave-ignore-maxmemory slave-lazy-flush slave-priority slave-read-only \
    slave-serve-stale-data slaveof slowlog-log-slower-than slowlog-max-len socket-mark-id \
    stop-writes-on-bgsave-error stream-node-max-bytes stream-node-max-entries supervised \
    syslog-enabled syslog-facility syslog-ident tcp-backlog tcp-keepalive timeout \
    tls-auth-clients tls-ca-cert-dir tls-ca-cert-file tls-cert-file tls-ciphers \
    tls-ciphersuites tls-client-cert-file tls-client-key-file tls-client-key-file-pass \
    tls-cluster tls-dh-params-file tls-key-file tls-key-file-pass tls-port \
    tls-prefer-server-ciphers tls-protocols tls-replication tls-session-cache-size \
    tls-session-cache-timeout tls-session-caching tracking-table-max-keys unixsocket \
    unixsocketperm use-exit-on-panic user watchdog-period zset-max-listpack-entries \
    zset-max-listpack-value zset-max-ziplist-entries zset-max-ziplist-value";

/// The names that Valkey 8.1 knows besides.
const VALKEY_8_1: &str = "\
    active-defrag-cycle-us aof-rewrite-cpulist availability-zone bgsave-cpulist bio-cpulist \
    cluster-announce-client-ipv4 cluster-announce-client-ipv6 cluster-blacklist-ttl \
    cluster-manual-failover-timeout cluster-slot-stats-enabled commandlog-execution-slower-than \
    commandlog-large-reply-max-len commandlog-large-request-max-len \
    commandlog-reply-larger-than commandlog-request-larger-than \
    commandlog-slow-execution-max-len debug-context dual-channel-replication-enabled \
    enable-debug-assert events-per-io-thread extended-redis-compatibility \
    hide-user-data-from-log import-mode log-format log-timestamp-format \
    lua-enable-deprecated-api lua-enable-insecure-api max-new-connections-per-cycle \
    max-new-tls-connections-per-cycle prefetch-batch-max-size primaryauth primaryuser \
    rdb-version-check rdma-bind rdma-completion-vector rdma-port rdma-rx-size server-cpulist \
    unixsocketgroup";

fn all_names() -> impl Iterator<Item = &'static str> {
    DIRECTIVES.iter().flat_map(Directive::names).chain(FILE_ONLY.iter().map(|row| row.name))
}

#[test]
fn names_are_unique_and_lower_case() {
    let mut seen = BTreeSet::new();
    for name in all_names() {
        assert!(seen.insert(name), "{name} twice");
        assert!(!name.is_empty());
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        assert!(name.bytes().all(plain), "{name}");
    }
}

#[test]
fn every_name_of_redis_and_valkey_is_known_and_no_other() {
    let known: BTreeSet<&str> = all_names().collect();
    let redis: BTreeSet<&str> = REDIS_7_2.split(' ').collect();
    let valkey: BTreeSet<&str> = VALKEY_8_1.split(' ').collect();
    let ours: BTreeSet<&str> =
        DIRECTIVES.iter().filter(|row| row.has(RUSSET)).map(|row| row.name).collect();
    let of_others: BTreeSet<&str> = redis.union(&valkey).copied().collect();
    assert_eq!(known.difference(&ours).copied().collect::<BTreeSet<_>>(), of_others);
    assert!(ours.is_disjoint(&of_others));
    for row in DIRECTIVES.iter().filter(|row| !row.has(RUSSET)) {
        assert_eq!(row.has(VALKEY), !redis.contains(row.name), "{}", row.name);
    }
}

#[test]
fn each_directive_is_documented() {
    for row in DIRECTIVES {
        assert!(row.doc().len() > 15 && row.doc().ends_with('.'), "{}: {}", row.name, row.doc());
    }
    for row in FILE_ONLY {
        assert!(row.doc.len() > 15 && row.doc.ends_with('.'), "{}", row.name);
    }
}

fn assign(row: &Directive, config: &mut Config, text: &str) -> Result<(), String> {
    let words = split_words(text.as_bytes()).ok_or("unbalanced")?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    (row.assign)(config, &words, Origin::FirstLine).map_err(|refusal| refusal.into_owned())
}

#[test]
fn defaults_are_valid_values() {
    for row in DIRECTIVES {
        let mut config = Config::blank();
        assign(row, &mut config, row.default_in_file())
            .unwrap_or_else(|why| panic!("{}: {why}", row.name));
        assert_eq!(config.text(row), Config::default().text(row), "{}", row.name);
    }
    assert_eq!(Config::default(), Config::parse_text(b"").expect("nothing to refuse").config);
}

#[test]
fn bounds_fit_their_fields_and_hold() {
    for row in DIRECTIVES {
        let (bounds, beyond) = match row.kind {
            Kind::Int(min, max) => (
                vec![min.to_string(), max.to_string()],
                vec![(i128::from(min) - 1).to_string(), (i128::from(max) + 1).to_string()],
            ),
            Kind::Memory(min, max) => (
                vec![min.to_string(), max.to_string()],
                vec![(i128::from(min) - 1).to_string(), (u128::from(max) + 1).to_string()],
            ),
            Kind::Octal(max) => {
                (vec!["0".into(), format!("{max:o}")], vec![format!("{:o}", max + 1), "-1".into()])
            }
            _ => continue,
        };
        let mut config = Config::default();
        for bound in &bounds {
            assert_eq!(assign(row, &mut config, bound), Ok(()), "{} {bound}", row.name);
            assert_eq!(config.text(row), bound.as_bytes(), "{}", row.name);
        }
        for value in &beyond {
            assert!(assign(row, &mut config, value).is_err(), "{} {value}", row.name);
        }
    }
}

#[test]
fn enumerations_list_all_accepted_names() {
    for row in DIRECTIVES {
        let Kind::Enum(names) = row.kind else { continue };
        for name in names {
            let mut config = Config::default();
            assert_eq!(
                assign(row, &mut config, &name.to_uppercase()),
                Ok(()),
                "{} {name}",
                row.name
            );
            let shown = if *name == "relative" { "yes" } else { name };
            assert_eq!(config.text(row), shown.as_bytes(), "{} {name}", row.name);
        }
    }
}

#[test]
fn only_directives_that_redis_splits_accept_words() {
    let takers: Vec<&str> =
        DIRECTIVES.iter().filter(|row| row.kind.takes_words()).map(|row| row.name).collect();
    assert_eq!(
        takers,
        [
            "bind",
            "shutdown-on-sigint",
            "shutdown-on-sigterm",
            "save",
            "replicaof",
            "client-output-buffer-limit",
            "oom-score-adj-values",
            "latency-tracking-info-percentiles",
        ]
    );
}

#[test]
fn directives_of_the_first_release_are_implemented() {
    for name in [
        "bind",
        "port",
        "unixsocket",
        "unixsocketperm",
        "tcp-backlog",
        "tcp-keepalive",
        "timeout",
        "maxclients",
        "databases",
        "dir",
        "dbfilename",
        "rdbcompression",
        "rdbchecksum",
        "save",
        "stop-writes-on-bgsave-error",
        "loglevel",
        "logfile",
        "daemonize",
        "pidfile",
        "supervised",
        "protected-mode",
        "requirepass",
        "enable-debug-command",
        "enable-protected-configs",
        "slaveof",
        "masterauth",
        "masteruser",
        "slave-serve-stale-data",
        "slave-read-only",
        "slave-priority",
        "repl-timeout",
        "repl-backlog-size",
        "repl-diskless-sync",
        "repl-diskless-load",
        "min-slaves-to-write",
        "client-output-buffer-limit",
        "client-query-buffer-limit",
        "proto-max-bulk-len",
        "hz",
        "active-expire-effort",
        "shutdown-timeout",
        "cluster-enabled",
    ] {
        assert_eq!(
            directive(name.as_bytes()).map(|row| row.status),
            Some(Status::Implemented),
            "{name}"
        );
    }
    let refused: Vec<&str> = not_implemented()
        .into_iter()
        .filter(|row| row.status.is_refused())
        .map(|row| row.name)
        .collect();
    for name in
        ["maxmemory", "maxmemory-clients", "aclfile", "tls-port", "tls-replication", "tls-cluster"]
    {
        assert!(refused.contains(&name), "{name}");
    }
}

#[test]
fn dependent_directives_need_the_other_directive() {
    for row in DIRECTIVES {
        let Status::Without(name) = row.status else { continue };
        let other = directive(name.as_bytes()).expect("a directive");
        assert!(other.status.is_refused(), "{}: {name} is implemented, so this must be", row.name);
    }
}

#[test]
fn the_example_configuration_is_all_defaults() {
    let example = russet_conf();
    let loaded = Config::parse_text(example.as_bytes()).expect("comments only");
    assert_eq!(loaded.config, Config::default());

    let mut lines = 0;
    let uncommented: String = example
        .lines()
        .filter(|line| !line.contains("include"))
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|first: char| first.is_ascii_lowercase()) => {
                lines += 1;
                format!("{setting}\n")
            }
            _ => String::from("\n"),
        })
        .collect();
    let loaded =
        Config::parse_text(uncommented.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.warnings.is_empty());
    let visible = DIRECTIVES.iter().filter(|row| !row.has(HIDDEN)).count();
    assert_eq!(lines, visible + 2, "one line each, three for client-output-buffer-limit");
    assert!(example.lines().all(|line| line.len() <= 110));
}

#[test]
fn the_pages_mention_everything() {
    let page = config_md();
    for name in all_names() {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    let page = compatibility_md();
    for row in not_implemented() {
        assert!(page.contains(&format!("| `{}` |", row.name)), "{}", row.name);
    }
    assert!(!page.contains("| `port` |"));
}
