//! INFO.

use russet_driver::Driver;
use russet_engine::io::Handle;
use russet_engine::persist::dump::dump;
use russet_protocol::reply::push_command;

/// Returns the text of INFO.
fn info(world: &mut Driver, client: Handle, words: &str) -> String {
    let reply = world.request(client, &format!("INFO {words}"));
    let text = reply.split_once("\r\n").expect("a bulk string").1;
    text.strip_suffix("\r\n").expect("it ends").to_owned()
}

/// Returns the value of a field.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

#[test]
fn sections_are_headed_separated_and_in_order() {
    let mut world = Driver::new("port 7000\nbind 127.0.0.1 -::1\nunixsocket /tmp/s");
    let client = world.connect();
    let text = info(&mut world, client, "");
    let titles: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    let default = [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Errorstats",
        "Cluster",
        "Keyspace",
    ];
    assert_eq!(titles, default);
    assert!(text.starts_with("# Server\r\nredis_version:7.2.4\r\n"));
    assert!(text.contains("\r\n\r\n# Clients\r\n") && text.ends_with("# Keyspace\r\n"));
    assert!(text.contains(
        "listener0:name=tcp,bind=127.0.0.1,bind=-::1,port=7000\r\nlistener1:name=unix,bind=/tmp/s\r\n"
    ));
    assert_eq!(field(&text, "run_id").map(str::len), Some(40));
    assert_eq!(field(&text, "config_file"), Some("/etc/russet.conf"));
    assert_eq!(info(&mut world, client, "nothing"), "");
    let all = info(&mut world, client, "ALL");
    assert!(all.contains("\r\n# Latencystats\r\n") && !all.contains("# Russet"));
    assert!(info(&mut world, client, "everything").contains("\r\n# Russet\r\nturns_total:"));
    let two = info(&mut world, client, "keyspace nothing CPU cpu");
    assert!(two.starts_with("# CPU\r\n") && two.ends_with("\r\n\r\n# Keyspace\r\n"), "{two}");
}

#[test]
fn what_clients_do_is_counted() {
    let mut world = Driver::new("save \"\"");
    let client = world.connect();
    for line in
        ["SET a 1", "SET b 2 PX 5000", "GET a", "GET none", "INCR a x", "NOSUCH", "CONFIG GET x"]
    {
        world.request(client, line);
    }
    let text = info(&mut world, client, "all");
    for (name, value) in [
        ("connected_clients", "1"),
        ("total_connections_received", "1"),
        ("keyspace_hits", "1"),
        ("keyspace_misses", "1"),
        ("total_error_replies", "2"),
        ("errorstat_ERR", "count=2"),
        ("rdb_changes_since_last_save", "2"),
        ("rdb_last_bgsave_time_sec", "-1"),
        ("total_commands_processed", "5"),
        ("total_reads_processed", "8"),
        ("total_writes_processed", "7"),
        ("db0", "keys=2,expires=1,avg_ttl=5000"),
    ] {
        assert_eq!(field(&text, name), Some(value), "{name}");
    }
    let calls =
        |name: &str| field(&text, name).map(|parts| parts.split(',').next().map(str::to_owned));
    assert_eq!(calls("cmdstat_set"), Some(Some("calls=2".to_owned())));
    assert_eq!(calls("cmdstat_config|get"), Some(Some("calls=1".to_owned())));
    assert!(field(&text, "cmdstat_incr").is_some_and(|parts| parts.contains("rejected_calls=1")));
    // The INFO request itself has been read; its reply has not been written yet.
    let sent: usize = [7, 15, 5, 8, 8, 6, 12, 8].iter().map(|len| len + 2).sum();
    assert_eq!(field(&text, "total_net_input_bytes"), Some(&*sent.to_string()));
    assert!(field(&text, "total_net_output_bytes").is_some_and(|bytes| bytes != "0"));

    world.advance_ms(200);
    world.request(client, "CONFIG RESETSTAT");
    let text = info(&mut world, client, "stats");
    assert_eq!(field(&text, "keyspace_hits"), Some("0"));
    assert_eq!(field(&text, "total_error_replies"), Some("0"));
    assert_eq!(field(&text, "instantaneous_ops_per_sec"), Some("0"));
}

#[test]
fn keys_are_counted_as_in_redis() {
    let mut w = Driver::new("save \"\"");
    let c = w.connect();
    let mut expect = |lines: &[&str], name: &str, value: &str| {
        w.request(c, "CONFIG RESETSTAT");
        let before = info(&mut w, c, "persistence");
        lines.iter().for_each(|line| drop(w.request(c, line)));
        let text = info(&mut w, c, "all");
        let value = match field(&before, name) {
            Some(before) => {
                (before.parse::<u64>().unwrap() + value.parse::<u64>().unwrap()).to_string()
            }
            None => value.to_owned(),
        };
        assert_eq!(field(&text, name), Some(&*value), "{name} {lines:?}");
    };
    expect(&["SET a 1 PXAT 1", "SET a 2"], "expired_keys", "1");
    expect(&["SET a 1 PXAT 1", "MSET b 1 a 2"], "expired_keys", "1");
    expect(&["SET a 1 PXAT 1", "SETEX a 100 2"], "expired_keys", "1");
    expect(&["SETEX a 100 2", "SET a 2", "SET a 2"], "expired_keys", "0");
    let changes = "rdb_changes_since_last_save";
    expect(&["RENAME a x"], changes, "1");
    expect(&["RENAMENX x a"], changes, "1");
    expect(&["MOVE a 1"], changes, "1");
    expect(&["SWAPDB 1 1"], changes, "1");
    expect(&["SET a 1", "GETEX a EX x", "GETEX none EX x"], "keyspace_hits", "1");
    expect(&["GETEX a BAD"], "keyspace_hits", "0");
    expect(&["FLUSHALL", "MSET a 1 b 2 x1 3", "SCAN 0 MATCH ? TYPE list"], "keyspace_hits", "2");
    expect(&["SCAN 0"], "keyspace_hits", "0");
    expect(&["SET a 1 PXAT 1", "SCAN 0 TYPE string"], "keyspace_misses", "1");
    expect(&["MSET a ab b bc", "LCS a b", "LCS a none"], "keyspace_hits", "3");
}

#[test]
fn what_expires_in_values_is_freed_elsewhere_or_is_restored_is_counted() {
    let mut w = Driver::new("hash-max-listpack-entries 10");
    let c = w.connect();
    let fields: String = (0..100).map(|field| format!(" {field} {field}")).collect();
    w.request(c, &format!("HSET large{fields}"));
    w.request(c, "HSET small a 1 b 2 c 3");
    w.request(c, "HPEXPIRE small 10 FIELDS 2 a b");
    w.request(c, "HPEXPIRE large 10 FIELDS 1 7");
    w.advance_ms(1000);
    let key = w.node.data.hasher().key(b"small");
    let payload = dump(&w.node.data.db(0).get(key).expect("it is there"), true);
    let mut restore = Vec::new();
    for payload in [&payload[..], &payload[1..]] {
        let words: [&[u8]; 5] = [b"RESTORE", b"copy", b"0", payload, b"REPLACE"];
        push_command(&mut restore, &words);
    }
    w.send(c, &restore);
    w.request(c, "MSET d 1 e 2");
    let mut expect = |request: &str, freed: &str| {
        w.request(c, request);
        let text = info(&mut w, c, "stats memory");
        assert_eq!(field(&text, "expired_subkeys"), Some("3"));
        assert_eq!(field(&text, "dump_payload_sanitizations"), Some("1"));
        assert_eq!(field(&text, "lazyfreed_objects"), Some(freed), "{request}");
        assert_eq!(field(&text, "lazyfree_pending_objects"), Some("0"));
    };
    expect("UNLINK d", "0");
    expect("UNLINK large", "1");
    expect("FLUSHALL ASYNC", "4"); // small, copy and e
    w.request(c, "CONFIG RESETSTAT");
    let text = info(&mut w, c, "all");
    for name in ["expired_subkeys", "dump_payload_sanitizations", "lazyfreed_objects"] {
        assert_eq!(field(&text, name), Some("0"), "{name}");
    }
}

#[test]
fn a_save_is_reported_while_it_runs_and_after() {
    let mut world = Driver::new("save \"\"");
    let client = world.connect();
    world.request(client, "SET a 1");
    world.snapshots.held = true;
    world.request(client, "BGSAVE");
    world.advance_ms(2000);
    let text = info(&mut world, client, "persistence russet");
    assert_eq!(field(&text, "rdb_bgsave_in_progress"), Some("1"));
    assert_eq!(field(&text, "rdb_current_bgsave_time_sec"), Some("2"));
    assert_eq!(field(&text, "current_save_keys_total"), Some("1"));
    assert_eq!(field(&text, "current_fork_perc"), Some("100.00"));
    assert!(field(&text, "snapshot0").is_some_and(|parts| parts.contains("purpose=save")));
    world.deliver_saves();
    let text = info(&mut world, client, "persistence");
    assert_eq!(field(&text, "rdb_bgsave_in_progress"), Some("0"));
    assert_eq!(field(&text, "rdb_changes_since_last_save"), Some("0"));
    assert_eq!(field(&text, "rdb_last_bgsave_status"), Some("ok"));
    assert_eq!(field(&text, "rdb_last_bgsave_time_sec"), Some("2"));
    assert_eq!(field(&text, "rdb_saves"), Some("1"));
}

#[test]
fn a_master_lists_its_replicas() {
    let mut world = Driver::new("min-replicas-to-write 1\nrepl-diskless-sync-delay 0");
    let client = world.connect();
    let replica = world.connect_from("127.0.0.2:40000");
    world.request(replica, "REPLCONF listening-port 7001");
    let text = info(&mut world, client, "replication");
    assert_eq!(field(&text, "connected_slaves"), Some("0"));
    assert_eq!(field(&text, "repl_backlog_active"), Some("0"));
    assert_eq!(field(&text, "second_repl_offset"), Some("-1"));
    assert_eq!(field(&text, "master_host"), None);
    world.request(replica, "REPLCONF capa eof capa psync2");
    world.send(replica, b"PSYNC ? -1\r\n");
    world.advance_ms(1100);
    world.send(replica, b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n");
    world.advance_ms(1000);
    let text = info(&mut world, client, "replication clients stats");
    assert_eq!(field(&text, "connected_slaves"), Some("1"));
    assert_eq!(field(&text, "connected_clients"), Some("1"));
    assert_eq!(field(&text, "sync_full"), Some("1"));
    assert_eq!(field(&text, "min_slaves_good_slaves"), Some("1"));
    let line = field(&text, "slave0").expect("a replica");
    assert!(line.starts_with("ip=127.0.0.2,port=7001,state=online,offset=0,lag="), "{line}");
    let offset = field(&text, "master_repl_offset").map(str::to_owned);
    assert_eq!(field(&text, "repl_backlog_histlen"), offset.as_deref());
    assert_eq!(field(&text, "repl_backlog_first_byte_offset"), Some("1"));
}

#[test]
fn a_replica_reports_its_master() {
    let mut world = Driver::new("replicaof 10.0.0.1 7000\nreplica-priority 7");
    let client = world.connect();
    world.advance_ms(3000);
    let text = info(&mut world, client, "replication");
    let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert_eq!(
        names[..12],
        [
            "role",
            "master_host",
            "master_port",
            "master_link_status",
            "master_last_io_seconds_ago",
            "master_sync_in_progress",
            "slave_read_repl_offset",
            "slave_repl_offset",
            "master_link_down_since_seconds",
            "slave_priority",
            "slave_read_only",
            "replica_announced"
        ]
    );
    for (name, value) in [
        ("role", "slave"),
        ("master_host", "10.0.0.1"),
        ("master_port", "7000"),
        ("master_link_status", "down"),
        ("master_last_io_seconds_ago", "-1"),
        ("master_sync_in_progress", "0"),
        ("slave_repl_offset", "1"),
        ("master_link_down_since_seconds", "3"),
        ("slave_priority", "7"),
        ("slave_read_only", "1"),
    ] {
        assert_eq!(field(&text, name), Some(value), "{name}");
    }
}
