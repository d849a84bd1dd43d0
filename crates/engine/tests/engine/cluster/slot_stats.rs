//! CLUSTER SLOT-STATS: what counts for which slot.

use super::expect;
use super::world::World;

/// The slots with a cost or keys: number, key-count, network-bytes-in, network-bytes-out. The time is not the test's.
fn stats(world: &mut World, node: usize) -> Vec<[u64; 4]> {
    let reply = world.request(node, "CLUSTER SLOT-STATS SLOTSRANGE 0 16383");
    let numbers: Vec<u64> = reply
        .lines()
        .filter_map(|line| line.strip_prefix(':'))
        .map(|number| number.parse().expect("an integer"))
        .collect();
    let slots = numbers.chunks(5).map(|of| [of[0], of[1], of[3], of[4]]);
    slots.filter(|of| of[1..] != [0; 3]).collect()
}

fn bytes(words: &[&str]) -> u64 {
    russet_driver::peers::command(words).len() as u64
}

/// The slot of `foo`.
const FOO: u64 = 12182;

const ON: &str = "cluster-slot-stats-enabled yes";

#[test]
fn requests_and_replies_count_for_the_slot_of_their_keys() {
    let mut world = World::cluster(1, &[], ON);
    assert_eq!(stats(&mut world, 0), [[0; 4]; 0]);
    // Inline requests: what is received counts, not what it means.
    world.ok(0, "SET foo bar");
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 13, 5]]);
    world.request(0, "GET foo");
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 13 + 9, 5 + 9]]);
    // No slot, an error and a refusal.
    world.request(0, "PING");
    world.request(0, "PUBLISH foo bar");
    world.request(0, "MGET foo hello");
    world.request(0, "GET foo bar");
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 22, 14]]);
    world.request(0, "HGET foo field");
    let error =
        "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n".len() as u64;
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 22 + 16, 14 + error]]);
    world.ok(0, "CONFIG RESETSTAT");
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 0, 0]]);
    // Dropped replies do not count, and a value that is lent does.
    world.request(0, "CLIENT REPLY SKIP");
    world.request(0, "GET foo");
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 9, 0]]);
    let value = "x".repeat(40_000);
    world.ok(0, &format!("SET foo {value}"));
    world.request(0, "GET foo");
    let (sent, replies) = (9 + 40_010 + 9, 5 + 40_010);
    assert_eq!(stats(&mut world, 0), [[FOO, 1, sent, replies]]);
}

#[test]
fn a_transaction_counts_as_one() {
    let mut world = World::cluster(1, &[], ON);
    for request in ["MULTI", "SET foo bar", "PING", "GET foo"] {
        world.request(0, request);
    }
    // What is queued has been received.
    assert_eq!(stats(&mut world, 0), [[0; 4]; 0], "CLUSTER SLOT-STATS is queued, too");
    world.request(0, "EXEC");
    // `*5`, and the replies of SET, PING, GET and SLOT-STATS: which has seen the first three.
    let [slot, keys, received, _] = stats(&mut world, 0)[0];
    assert_eq!([slot, keys, received], [FOO, 1, 13 + 9 + 6 + 15]);
    world.ok(0, "CONFIG RESETSTAT");
    for request in ["MULTI", "SET foo bar", "PING", "GET foo", "EXEC"] {
        world.request(0, request);
    }
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 43, 4 + 5 + 7 + 9]]);
    world.request(0, "PING");
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 43, 25]]);
}

#[test]
fn the_time_of_a_transaction_is_that_of_exec() {
    let mut world = World::cluster(1, &[], ON);
    world.nodes[0].tick_us = 3;
    for request in ["MULTI", "SET foo bar", "GET foo", "EXEC"] {
        world.request(0, request);
    }
    let row = world.request(0, "CLUSTER SLOT-STATS ORDERBY cpu-usec LIMIT 1");
    let spent = number_behind(&row, "cpu-usec\r\n:");
    assert!(spent > 0);
    let info = world.request(0, "INFO commandstats");
    let line = info.lines().find(|line| line.starts_with("cmdstat_exec:")).expect("it has run");
    assert_eq!(number_behind(line, "usec="), spent);
}

fn number_behind(text: &str, mark: &str) -> u64 {
    let (_, rest) = text.split_once(mark).expect("the mark");
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().expect("a number")
}

#[test]
fn replicas_count_the_stream_and_masters_what_they_send() {
    let mut world = World::cluster(1, &[0, 0], ON);
    let set = bytes(&["SET", "foo", "bar"]);
    world.ok(0, "SET foo bar");
    world.until("the replicas have it", |world| {
        (1..3).all(|replica| world.request(replica, "INFO keyspace").contains("keys=1"))
    });
    // To both of them.
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 13, 5 + 2 * set]]);
    for replica in 1..3 {
        assert_eq!(stats(&mut world, replica), [[FOO, 1, set, 0]], "{replica}");
        world.ok(replica, "CONFIG RESETSTAT");
    }
    world.ok(0, "CONFIG RESETSTAT");
    for request in ["MULTI", "SET foo bar", "INCR {foo}n", "EXEC"] {
        world.request(0, request);
    }
    let incr = bytes(&["INCR", "{foo}n"]);
    let (multi, exec) = (bytes(&["MULTI"]), bytes(&["EXEC"]));
    world.until("the replicas have it", |world| {
        (1..3).all(|replica| world.request(replica, "INFO keyspace").contains("keys=2"))
    });
    assert_eq!(stats(&mut world, 1), [[FOO, 2, multi + set + incr + exec, 0]]);
    let [_, _, _, sent] = stats(&mut world, 0)[0];
    assert_eq!(sent, 4 + 5 + 4 + 2 * (multi + set + incr + exec));
}

#[test]
fn messages_of_shard_channels_count() {
    let mut world = World::cluster(1, &[0], ON);
    let subscriber = world.connect(0);
    let reply = world.request_of(0, subscriber, "SSUBSCRIBE foo");
    assert_eq!(stats(&mut world, 0), [[FOO, 0, 16, reply.len() as u64]]);
    world.ok(0, "CONFIG RESETSTAT");
    assert_eq!(world.request(0, "SPUBLISH foo hi"), ":1\r\n");
    let message = bytes(&["smessage", "foo", "hi"]);
    assert_eq!(stats(&mut world, 0), [[FOO, 0, 17, 4 + message]]);
    // One that comes over the bus.
    world.ok(0, "CONFIG RESETSTAT");
    assert_eq!(world.request(1, "SPUBLISH foo hi"), ":0\r\n");
    world.advance_ms(10);
    assert_eq!(stats(&mut world, 0), [[FOO, 0, 0, message]]);
}

#[test]
fn a_slot_that_goes_forgets() {
    let mut world = World::cluster(1, &[], &format!("{ON}\ncluster-require-full-coverage no"));
    world.ok(0, "SET foo bar");
    world.ok(0, "SET bar 1");
    world.ok(0, &format!("CLUSTER DELSLOTS {FOO}"));
    assert_eq!(stats(&mut world, 0), [[5061, 1, 11, 5]], "only own slots are shown");
    world.ok(0, &format!("CLUSTER ADDSLOTS {FOO}"));
    assert_eq!(stats(&mut world, 0), [[5061, 1, 11, 5], [FOO, 1, 0, 0]]);
}

#[test]
fn without_the_setting_there_are_keys_only() {
    let mut world = World::cluster(1, &[], "");
    world.ok(0, "SET foo bar");
    let row = "*1\r\n*2\r\n:12182\r\n*2\r\n$9\r\nkey-count\r\n:1\r\n";
    expect(
        &mut world,
        0,
        &[
            ("CLUSTER SLOT-STATS SLOTSRANGE 12182 12182", row),
            ("CLUSTER SLOT-STATS ORDERBY key-count LIMIT 1", row),
        ],
    );
    let unknown = "-ERR Unrecognized sort metric for ORDERBY.";
    for metric in ["cpu-usec", "network-bytes-in", "network-bytes-out", "x"] {
        let request = format!("CLUSTER SLOT-STATS ORDERBY {metric}");
        expect(&mut world, 0, &[(&request, unknown)]);
    }
    world.ok(0, "CONFIG SET cluster-slot-stats-enabled yes");
    world.ok(0, "SET foo bar");
    world.advance_ms(1000);
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 13, 5]], "from now on");
    // Setting it again changes nothing, switching it off forgets.
    world.ok(0, "CONFIG SET cluster-slot-stats-enabled yes");
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 13, 5]]);
    world.ok(0, "CONFIG SET cluster-slot-stats-enabled no");
    world.ok(0, "CONFIG SET cluster-slot-stats-enabled yes");
    assert_eq!(stats(&mut world, 0), [[FOO, 1, 0, 0]]);
}

#[test]
fn slots_are_ordered_by_a_metric() {
    let mut world = World::cluster(1, &[], ON);
    for request in ["SET foo 1", "GET foo", "GET foo", "SET bar 22222222", "SET {bar}2 1"] {
        world.request(0, request);
    }
    let mut order = |words: &str| -> Vec<u64> {
        let reply = world.request(0, &format!("CLUSTER SLOT-STATS ORDERBY {words}"));
        let numbers = reply.lines().filter_map(|line| line.strip_prefix(':'));
        numbers.map(|n| n.parse().expect("an integer")).step_by(5).collect()
    };
    assert_eq!(order("key-count LIMIT 3"), [5061, FOO, 0], "equal ones in the order of slots");
    assert_eq!(order("KEY-COUNT asc limit 2"), [0, 1]);
    assert_eq!(order("network-bytes-in LIMIT 2 DESC"), [5061, FOO]);
    assert_eq!(order("network-bytes-out LIMIT 2"), [FOO, 5061]);
    assert_eq!(order("network-bytes-out ASC").last(), Some(&FOO));
    assert_eq!(order("cpu-usec").len(), 16384);
}
