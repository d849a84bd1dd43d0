//! Arguments and errors of CLUSTER, and commands that cluster mode refuses.

use russet_driver::Driver;

use super::expect;
use super::world::World;

const DISABLED: &str = "-ERR This instance has cluster support disabled\r\n";
const UNKNOWN_ID: &str = "0123456789012345678901234567890123456789";

#[test]
fn a_server_alone_has_no_cluster() {
    let mut server = Driver::new("");
    let client = server.connect();
    for request in [
        "CLUSTER INFO",
        "CLUSTER HELP",
        "CLUSTER EVENTS x",
        "CLUSTER ADDSLOTS x",
        "CLUSTER SETSLOT 1 2 3",
        "CLUSTER RESET 1 2 3",
        "CLUSTER SLOT-STATS x y",
        "CLUSTER KEYSLOT a",
        "CLUSTER COUNTKEYSINSLOT x",
        "CLUSTER GETKEYSINSLOT 1 x",
        "ASKING",
        "READONLY",
        "READWRITE",
    ] {
        assert_eq!(server.request(client, request), DISABLED, "{request}");
    }
    assert!(server.request(client, "CLUSTER NO").starts_with("-ERR unknown subcommand 'NO'"));
}

#[test]
fn arguments_are_checked() {
    let mut world = World::new(1, "");
    let wrong = |word: &str| {
        format!(
            "-ERR unknown subcommand or wrong number of arguments for '{word}'. Try CLUSTER HELP.\r\n"
        )
    };
    for request in [
        "MEET 1.2.3.4 5 6 7",
        "RESET HARD NOW",
        "FAILOVER FORCE NOW",
        "EVENTS 1 2",
        "REPLICATE NO TWO",
        "REPLICATE NO ONE 1",
        "SLOT-STATS SLOTSRANGE 1",
        "SLOT-STATS x 1",
    ] {
        let word = request.split(' ').next().unwrap_or_default();
        assert_eq!(world.request(0, &format!("CLUSTER {request}")), wrong(word), "{request}");
    }
    let unknown = format!("-ERR Unknown node {UNKNOWN_ID}");
    let unknown = unknown.as_str();
    let range = "-ERR Invalid or out of range slot";
    let number = "-ERR value is not an integer or out of range";
    let setslot = "-ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP";
    let cases = [
        ("EVENTS x", number),
        ("EVENTS -1", "-ERR value is out of range, value must between 0 and 9223372036854775807"),
        ("ADDSLOTS 1 x", range),
        ("ADDSLOTS 16384", range),
        ("ADDSLOTS -1", range),
        ("ADDSLOTS 1 2 1", "-ERR Slot 1 specified multiple times"),
        ("ADDSLOTSRANGE 1", "-ERR wrong number of arguments for 'cluster|addslotsrange' command"),
        (
            "ADDSLOTSRANGE 1 2 3",
            "-ERR wrong number of arguments for 'cluster|addslotsrange' command",
        ),
        ("ADDSLOTSRANGE 2 1", "-ERR start slot number 2 is greater than end slot number 1"),
        ("ADDSLOTSRANGE 1 5 5 7", "-ERR Slot 5 specified multiple times"),
        ("DELSLOTS 1", "-ERR Slot 1 is already unassigned"),
        (
            "DELSLOTSRANGE 1 2 3",
            "-ERR wrong number of arguments for 'cluster|delslotsrange' command",
        ),
        ("COUNTKEYSINSLOT x", number),
        ("COUNTKEYSINSLOT 16384", "-ERR Invalid slot"),
        ("GETKEYSINSLOT 1 x", number),
        ("GETKEYSINSLOT 1 -1", "-ERR Invalid slot or number of keys"),
        ("GETKEYSINSLOT 16384 1", "-ERR Invalid slot or number of keys"),
        ("MEET 1.2.3.4 x", "-ERR Invalid base port specified: x"),
        ("MEET 1.2.3.4 7000 x", "-ERR Invalid bus port specified: x"),
        ("MEET localhost 7000", "-ERR Invalid node address specified: localhost:7000"),
        ("MEET 1.2.3.4 0", "-ERR Invalid node address specified: 1.2.3.4:0"),
        ("MEET 1.2.3.4 65535", "-ERR Invalid node address specified: 1.2.3.4:65535"),
        (
            "MEET 1.2.3.4 9223372036854775807",
            "-ERR Invalid node address specified: 1.2.3.4:9223372036854775807",
        ),
        ("SET-CONFIG-EPOCH x", number),
        ("SET-CONFIG-EPOCH -1", "-ERR Invalid config epoch specified: -1"),
        ("RESET x", "-ERR syntax error"),
        ("FAILOVER x", "-ERR syntax error"),
        ("FAILOVER", "-ERR You should send CLUSTER FAILOVER to a replica"),
        ("FAILOVER TAKEOVER", "-ERR You should send CLUSTER FAILOVER to a replica"),
        ("SETSLOT x STABLE", range),
        ("SETSLOT 1 x", setslot),
        ("SETSLOT 1 NODE", setslot),
        ("SETSLOT 1 STABLE x", setslot),
        ("SETSLOT 1 STABLE TIMEOUT", "-ERR Missing timeout value"),
        ("SETSLOT 1 STABLE TIMEOUT x", "-ERR timeout is not an integer or out of range"),
        ("SETSLOT 1 STABLE TIMEOUT -1", "-ERR timeout is negative"),
        ("SLOT-STATS SLOTSRANGE 2 1", "-ERR Start slot number 2 is greater than end slot number 1"),
        ("SLOT-STATS SLOTSRANGE 2 x", range),
        ("SLOT-STATS ORDERBY x", "-ERR Unrecognized sort metric for ORDERBY."),
        ("SLOT-STATS ORDERBY key-count x", "-ERR syntax error"),
        ("SLOT-STATS ORDERBY key-count LIMIT", "-ERR syntax error"),
        ("SLOT-STATS ORDERBY key-count LIMIT x", "-ERR value is not an integer or out of range"),
        (
            "SLOT-STATS ORDERBY key-count LIMIT 0",
            "-ERR Limit has to lie in between 1 and 16384 (maximum number of slots).",
        ),
        (
            "SLOT-STATS ORDERBY key-count ASC DESC",
            "-ERR Multiple filters of the same type are disallowed.",
        ),
    ];
    for (request, reply) in cases {
        expect(&mut world, 0, &[(&format!("CLUSTER {request}"), reply)]);
    }
    for request in
        ["FORGET", "REPLICATE", "REPLICAS", "SLAVES", "COUNT-FAILURE-REPORTS", "SETSLOT 1 NODE"]
    {
        expect(&mut world, 0, &[(&format!("CLUSTER {request} {UNKNOWN_ID}"), unknown)]);
    }
    let me = world.id(0);
    for (request, reply) in [
        ("FORGET", "-ERR I tried hard but I can't forget myself..."),
        ("REPLICATE", "-ERR Can't replicate myself"),
        ("COUNT-FAILURE-REPORTS", ":0\r\n"),
        ("REPLICAS", "*0\r\n"),
        ("SETSLOT 1 MIGRATING", "-ERR I'm not the owner of hash slot 1"),
    ] {
        expect(&mut world, 0, &[(&format!("CLUSTER {request} {me}"), reply)]);
    }
    // All of that has changed nothing.
    assert!(
        world.request(0, "CLUSTER INFO").contains("cluster_slots_assigned:0\r\ncluster_slots_ok:0")
    );
}

#[test]
fn some_commands_are_refused() {
    let mut world = World::new(1, "");
    let no = |name: &str| format!("-ERR {name} is not allowed in cluster mode");
    let (select, swapdb, moved) = (no("SELECT"), no("SWAPDB"), no("MOVE"));
    expect(
        &mut world,
        0,
        &[
            ("SELECT 0", "+OK\r\n"),
            ("SELECT 1", &select),
            ("SELECT -1", &select),
            ("SELECT x", "-ERR value is not an integer or out of range"),
            ("SWAPDB 0 0", &swapdb),
            ("REPLICAOF 127.0.0.1 7001", "-ERR REPLICAOF not allowed in cluster mode."),
            ("SLAVEOF NO ONE", "-ERR REPLICAOF not allowed in cluster mode."),
            (
                "FAILOVER",
                "-ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.",
            ),
        ],
    );
    world.ok(0, "CLUSTER ADDSLOTSRANGE 0 16383");
    world.advance_ms(2500);
    expect(
        &mut world,
        0,
        &[
            ("SET a 1", "+OK\r\n"),
            ("MOVE a 1", &moved),
            ("COPY a {a}b DB 1", "-ERR DB index is out of range"),
            ("COPY a {a}b DB 0", ":1\r\n"),
            ("HELLO 2", "*14\r\n$6\r\nserver"),
            ("CONFIG GET cluster-databases", "*2\r\n$17\r\ncluster-databases\r\n$1\r\n1\r\n"),
            ("CONFIG GET cluster-enabled", "*2\r\n$15\r\ncluster-enabled\r\n$3\r\nyes\r\n"),
        ],
    );
    assert!(world.request(0, "HELLO").contains("$4\r\nmode\r\n$7\r\ncluster\r\n"));
    let info = world.request(0, "INFO");
    assert!(info.contains("\r\nredis_mode:cluster\r\n"), "{info}");
    assert!(info.contains("\r\n# Cluster\r\ncluster_enabled:1\r\n"), "{info}");
}

#[test]
fn a_cluster_may_have_several_databases() {
    let mut world = World::new(1, "cluster-databases 4");
    world.ok(0, "CLUSTER ADDSLOTSRANGE 0 16383");
    world.advance_ms(2500);
    expect(
        &mut world,
        0,
        &[
            ("SELECT 3", "+OK\r\n"),
            ("SET a 1", "+OK\r\n"),
            ("MOVE a 0", ":1\r\n"),
            ("COPY a a DB 1", ":0\r\n"),
            ("SET a 2", "+OK\r\n"),
            ("COPY a a DB 1", ":1\r\n"),
            ("SELECT 4", "-ERR DB index is out of range"),
            ("CLUSTER COUNTKEYSINSLOT 15495", ":1\r\n"),
            ("SWAPDB 0 1", "-ERR SWAPDB is not allowed in cluster mode"),
            ("CLUSTER FLUSHSLOTS", "-ERR DB must be empty to perform CLUSTER FLUSHSLOTS."),
            ("FLUSHDB", "+OK\r\n"),
            ("CLUSTER FLUSHSLOTS", "-ERR DB must be empty to perform CLUSTER FLUSHSLOTS."),
            (
                "CLUSTER RESET",
                "-ERR CLUSTER RESET can't be called with master nodes containing keys",
            ),
            ("FLUSHALL", "+OK\r\n"),
            ("CLUSTER FLUSHSLOTS", "+OK\r\n"),
        ],
    );
}

#[test]
fn keys_of_a_slot_are_counted_and_listed() {
    let mut world = World::new(1, "");
    world.ok(0, "CLUSTER ADDSLOTSRANGE 0 16383");
    world.advance_ms(2500);
    expect(
        &mut world,
        0,
        &[
            ("CLUSTER KEYSLOT hello", ":866\r\n"),
            ("CLUSTER KEYSLOT {hello}x", ":866\r\n"),
            ("MSET {hello}a 1 {hello}b 2", "+OK\r\n"),
            ("SET c 1", "+OK\r\n"),
            ("CLUSTER COUNTKEYSINSLOT 866", ":2\r\n"),
            ("CLUSTER COUNTKEYSINSLOT 867", ":0\r\n"),
            ("CLUSTER GETKEYSINSLOT 866 0", "*0\r\n"),
            ("CLUSTER GETKEYSINSLOT 866 1", "*1\r\n$8\r\n{hello}"),
            ("CLUSTER GETKEYSINSLOT 866 9223372036854775807", "*2\r\n$8\r\n{hello}"),
            (
                "CLUSTER SLOT-STATS SLOTSRANGE 866 867",
                "*2\r\n*2\r\n:866\r\n*2\r\n$9\r\nkey-count\r\n:2\r\n*2\r\n:867\r\n*2\r\n$9\r\nkey-count\r\n:0\r\n",
            ),
            (
                "CLUSTER SLOT-STATS ORDERBY key-count LIMIT 1",
                "*1\r\n*2\r\n:866\r\n*2\r\n$9\r\nkey-count\r\n:2\r\n",
            ),
            (
                "CLUSTER SLOT-STATS ORDERBY key-count ASC LIMIT 1",
                "*1\r\n*2\r\n:0\r\n*2\r\n$9\r\nkey-count\r\n:0\r\n",
            ),
            ("SCAN 0 COUNT 100", "*2\r\n$1\r\n0\r\n*3\r\n"),
        ],
    );
}
