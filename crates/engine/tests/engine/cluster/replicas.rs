//! Replicas of a cluster: reading from them, and how roles change.

use russet_engine::io::Handle;

use super::expect;
use super::world::World;

#[test]
fn a_replica_is_read_by_who_says_so() {
    let mut world = World::cluster(2, &[0], "");
    expect(&mut world, 0, &[("SET hello 1", "+OK\r\n"), ("WAIT 1 0", ":1\r\n")]);
    let moved = "-MOVED 866 127.0.0.1:7000";
    expect(
        &mut world,
        2,
        &[
            ("GET hello", moved),
            ("READONLY", "+OK\r\n"),
            ("GET hello", "$1\r\n1\r\n"),
            ("SET hello 2", moved),
            ("GET foo", "-MOVED 12182 127.0.0.1:7001"),
            ("MULTI", "+OK\r\n"),
            ("GET hello", "+QUEUED\r\n"),
            ("EXEC", "*1\r\n$1\r\n1\r\n"),
            ("MULTI", "+OK\r\n"),
            ("GET hello", "+QUEUED\r\n"),
            ("SET hello 2", moved),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ],
    );
    assert!(world.request(2, "CLIENT LIST").contains(" flags=r "));
    expect(
        &mut world,
        2,
        &[
            ("READWRITE", "+OK\r\n"),
            ("GET hello", moved),
            ("READONLY", "+OK\r\n"),
            ("RESET", "+RESET\r\n"),
            ("GET hello", moved),
            ("CLUSTER SETSLOT 1 STABLE", "-ERR Please use SETSLOT only with masters."),
        ],
    );
    let replica = world.id(2);
    expect(
        &mut world,
        0,
        &[
            (
                &format!("CLUSTER REPLICATE {replica}"),
                "-ERR I can only replicate a master, not a replica.",
            ),
            (&format!("CLUSTER REPLICAS {replica}"), "-ERR The specified node is not a master"),
            (&format!("CLUSTER SETSLOT 1 MIGRATING {replica}"), "-ERR Target node is not a master"),
        ],
    );
    let (master, other) = (world.id(0), world.id(1));
    let forget = format!("CLUSTER FORGET {master}");
    expect(&mut world, 2, &[(&forget, "-ERR Can't forget my master!")]);
    let replicate = format!("CLUSTER REPLICATE {other}");
    let full = "-ERR To set a master the node must be empty and without assigned slots.";
    expect(&mut world, 0, &[(&replicate, full)]);
}

#[test]
fn a_replica_takes_over_when_it_is_told() {
    let mut world = World::cluster(3, &[0], "");
    expect(&mut world, 0, &[("SET hello 1", "+OK\r\n")]);
    world.ok(3, "CLUSTER FAILOVER");
    world.until("the replica is a master", |world| {
        world.request(3, "ROLE").starts_with("*3\r\n$6\r\nmaster")
            && world.request(0, "ROLE").starts_with("*5\r\n$5\r\nslave")
            && world.request(1, "GET hello").contains(":7003")
    });
    expect(&mut world, 3, &[("GET hello", "$1\r\n1\r\n"), ("SET hello 2", "+OK\r\n")]);
    expect(&mut world, 0, &[("SET hello 3", "-MOVED 866 127.0.0.1:7003")]);
    for how in ["FORCE", "TAKEOVER"] {
        until_followed(&mut world, 0, 3);
        world.ok(0, &format!("CLUSTER FAILOVER {how}"));
        world.until("it is a master again", |world| world.request(0, "GET hello") == "$1\r\n2\r\n");
        until_followed(&mut world, 3, 0);
        world.ok(3, "CLUSTER FAILOVER");
        world.until("and a replica", |world| world.request(3, "GET hello") == "$1\r\n2\r\n");
    }
}

/// Waits until a replica has its master's data, and the master knows of it.
fn until_followed(world: &mut World, replica: usize, master: usize) {
    let list = format!("CLUSTER REPLICAS {}", world.id(master));
    world.until("the replica is known and up", |world| {
        world.request(replica, "INFO").contains("master_link_status:up")
            && world.request(master, &list).starts_with("*1")
    });
}

#[test]
fn a_replica_takes_over_when_its_master_is_gone() {
    let mut world = World::cluster(3, &[0], "");
    expect(&mut world, 0, &[("SET hello 1", "+OK\r\n"), ("WAIT 1 0", ":1\r\n")]);
    world.cut.push(0);
    world.until("the replica serves", |world| world.request(3, "GET hello") == "$1\r\n1\r\n");
    expect(&mut world, 0, &[("SET hello 2", "-CLUSTERDOWN The cluster is down")]);
    world.cut.clear();
    world.until("the old master follows", |world| {
        world.request(0, "INFO").contains("role:slave")
            && world.request(0, "INFO").contains("status:up")
    });
}

#[test]
fn a_replica_that_leaves_is_empty() {
    for (leave, known) in [("CLUSTER REPLICATE NO ONE", 3), ("CLUSTER RESET", 1)] {
        let mut world = World::cluster(2, &[0], "");
        expect(&mut world, 0, &[("SET hello 1", "+OK\r\n"), ("WAIT 1 0", ":1\r\n")]);
        expect(&mut world, 2, &[("DBSIZE", ":1\r\n")]);
        let (id, shard) = (world.id(2), world.request(2, "CLUSTER MYSHARDID"));
        world.ok(2, leave);
        expect(&mut world, 2, &[("DBSIZE", ":0\r\n"), ("ROLE", "*3\r\n$6\r\nmaster")]);
        assert_eq!(world.id(2), id);
        assert_ne!(world.request(2, "CLUSTER MYSHARDID"), shard);
        let info = world.request(2, "CLUSTER INFO");
        assert!(info.contains(&format!("cluster_known_nodes:{known}\r\n")), "{leave}: {info}");
        expect(&mut world, 0, &[("GET hello", "$1\r\n1\r\n")]);
    }
    // A master is not changed.
    let mut world = World::cluster(2, &[], "");
    world.ok(0, "CLUSTER REPLICATE NO ONE");
    expect(&mut world, 0, &[("SET hello 1", "+OK\r\n")]);
}

#[test]
fn a_node_is_forgotten() {
    let mut world = World::cluster(2, &[], "");
    let other = world.id(1);
    world.ok(0, &format!("CLUSTER FORGET {other}"));
    assert!(world.request(0, "CLUSTER INFO").contains("known_nodes:1\r\n"));
    // Again: it may have been forgotten since another node said so.
    world.ok(0, &format!("CLUSTER FORGET {other}"));
}

#[test]
fn a_master_without_slots_follows_who_took_the_last() {
    for (setting, role) in [("yes", "*5\r\n$5\r\nslave"), ("no", "*3\r\n$6\r\nmaster")] {
        let mut world =
            one_slot_and_the_rest(&format!("cluster-allow-replica-migration {setting}"));
        let target = world.id(1);
        world.ok(0, &format!("CLUSTER SETSLOT 866 NODE {target}"));
        expect(&mut world, 0, &[("ROLE", role)]);
        let again = "CLUSTER SETSLOT 866 STABLE";
        let refused = "-ERR Please use SETSLOT only with masters.";
        let reply = if setting == "yes" { refused } else { "+OK\r\n" };
        expect(&mut world, 0, &[(again, reply)]);
    }
}

/// Two masters, the first of which has only slot 866, and a third node without any.
fn one_slot_and_the_rest(conf: &str) -> World {
    let mut world = World::new(3, conf);
    world.ok(0, "CLUSTER ADDSLOTS 866");
    world.ok(1, "CLUSTER ADDSLOTSRANGE 0 865 867 16383");
    world.ok(0, "CLUSTER SET-CONFIG-EPOCH 1");
    world.ok(1, "CLUSTER SET-CONFIG-EPOCH 2");
    world.ok(0, "CLUSTER MEET 127.0.0.1 7001");
    world.ok(0, "CLUSTER MEET 127.0.0.1 7002");
    world.until("they serve", |world| world.request(0, "SET hello 1") == "+OK\r\n");
    expect(&mut world, 0, &[("DEL hello", ":1\r\n")]);
    world
}

#[test]
fn who_gives_the_last_slot_away_is_answered_once() {
    for replica_goes_with_it in [true, false] {
        let mut world = one_slot_and_the_rest("");
        let (giver, target) = (world.id(0), world.id(1));
        world.until("it replicates", |world| {
            world.request(2, &format!("CLUSTER REPLICATE {giver}")) == "+OK\r\n"
        });
        world.until("its link is up", |world| {
            world.request(2, "INFO").contains("master_link_status:up")
        });
        if !replica_goes_with_it {
            world.ok(2, "CONFIG SET cluster-allow-replica-migration no");
        }
        let client = world.connect(0);
        let give = format!("CLUSTER SETSLOT 866 NODE {target}");
        let mut reply = world.request_of(0, client, &give);
        // Its replica acknowledges the order before it leaves.
        world.advance_ms(50);
        reply.push_str(&world.nodes[0].take(client));
        assert_eq!(reply, "+OK\r\n");
        world.advance_ms(1_500);
        assert_eq!(world.nodes[0].take(client), "");
        expect(&mut world, 0, &[("ROLE", "*5\r\n$5\r\nslave")]);
        assert_eq!(world.request_of(0, client, "PING"), "+PONG\r\n");
        let list = format!("CLUSTER REPLICAS {target}");
        world.until("all replicate it", |world| world.request(1, &list).starts_with("*2"));
    }
}

#[test]
fn the_journal_tells_a_failover() {
    let mut world = World::cluster(2, &[0], "");
    world.ok(2, "CLUSTER FAILOVER");
    let (old, new) = (world.id(0), world.id(2));
    world.until("the replica is the master", |world| {
        world.request(1, "CLUSTER NODES").contains(&format!("{new} 127.0.0.1:7002@17002 master"))
    });
    let events = world.request(2, "CLUSTER EVENTS");
    for event in ["+manual-failover", "+paused", "+elected", "+promoted"] {
        let entry = format!("$5\r\nevent\r\n${}\r\n{event}\r\n", event.len());
        let begin = format!("{old} (127.0.0.1:7000): ");
        let found = events.split_once(&entry).is_some_and(|(_, rest)| rest.contains(&begin));
        assert!(found, "{event}: {events}");
    }
    let last = world.request(2, "CLUSTER EVENTS 1");
    assert!(last.starts_with("*1\r\n*8\r\n$4\r\ntime\r\n$24\r\n"), "{last}");
    assert_eq!(world.request(2, "CLUSTER EVENTS 0"), "*0\r\n");
    let is_account = |line: &&String| line.contains("its successor is this node");
    assert_eq!(world.nodes[2].log.iter().filter(is_account).count(), 1);
}

/// Two masters and a replica of each; the first master has slot 866 with a key, `hello`.
fn two_shards() -> World {
    let mut world = World::cluster(2, &[0, 1], "");
    world.ok(0, "SET hello 1");
    world
}

#[test]
fn moves_of_slots_are_known_to_replicas() {
    let mut world = two_shards();
    let (from, to) = (world.id(0), world.id(1));
    world.ok(1, &format!("CLUSTER SETSLOT 866 IMPORTING {from}"));
    world.ok(0, &format!("CLUSTER SETSLOT 866 MIGRATING {to} TIMEOUT 100"));
    assert!(world.request(3, "CLUSTER NODES").contains(&format!("[866-<-{from}]")));
    assert!(world.request(2, "CLUSTER NODES").contains(&format!("[866->-{to}]")));
    world.ok(0, "CLUSTER SETSLOT 866 STABLE");
    assert!(!world.request(2, "CLUSTER NODES").contains("[866->-"));
    assert_eq!(world.request(0, "DEL hello"), ":1\r\n");
    world.ok(1, &format!("CLUSTER SETSLOT 866 NODE {to}"));
    // The replica has it before anybody else hears of it.
    let nodes = world.request(3, "CLUSTER NODES");
    let owner = nodes.lines().find(|line| line.starts_with(&to)).expect("its master");
    assert!(owner.ends_with(" 866 8192-16383"), "{nodes}");
}

#[test]
fn a_replica_that_takes_over_goes_on_with_a_move() {
    let mut world = two_shards();
    let (from, to) = (world.id(0), world.id(1));
    world.ok(1, &format!("CLUSTER SETSLOT 866 IMPORTING {from}"));
    world.ok(0, &format!("CLUSTER SETSLOT 866 MIGRATING {to}"));
    world.ok(2, "CLUSTER FAILOVER");
    world.until("the replica serves", |world| world.request(2, "GET hello") == "$1\r\n1\r\n");
    expect(&mut world, 2, &[("GET {hello}2", "-ASK 866 127.0.0.1:7001")]);
}

#[test]
fn a_move_that_replicas_do_not_acknowledge_is_not_carried_out() {
    let mut world = two_shards();
    let to = world.id(1);
    let migrate = format!("CLUSTER SETSLOT 866 MIGRATING {to}");
    world.silent.push(2);
    let client = world.connect(0);
    assert_eq!(world.request_of(0, client, &migrate), "");
    let list = world.request(0, "CLIENT LIST");
    assert!(list.contains(" cmd=cluster|setslot "), "{list}");
    world.advance_ms(1_900);
    assert_eq!(world.nodes[0].take(client), "");
    world.advance_ms(200);
    let refused = "-NOREPLICAS Not enough good replicas to write.\r\n";
    assert_eq!(world.nodes[0].take(client), refused);
    assert!(!world.request(0, "CLUSTER NODES").contains("[866->-"));
    // A shorter time of its own, and no end of it.
    assert_eq!(world.request_of(0, client, &format!("{migrate} TIMEOUT 50")), "");
    world.advance_ms(60);
    assert_eq!(world.nodes[0].take(client), refused);
    assert_eq!(world.request_of(0, client, &format!("{migrate} TIMEOUT 0")), "");
    world.advance_ms(5_000);
    assert_eq!(world.nodes[0].take(client), "");
    world.silent.clear();
    world.advance_ms(1_100);
    assert_eq!(world.nodes[0].take(client), "+OK\r\n");
    assert!(world.request(0, "CLUSTER NODES").contains("[866->-"));
}

#[test]
fn errors_of_a_move_are_told_at_once() {
    let mut world = two_shards();
    let id = world.id(1);
    let cases = [
        (
            format!("CLUSTER SETSLOT 9000 MIGRATING {id}"),
            "-ERR I'm not the owner of hash slot 9000",
        ),
        (
            format!("CLUSTER SETSLOT 866 NODE {id}"),
            "-ERR Can't assign hashslot 866 to a different node while I still hold keys for this hash slot.",
        ),
    ];
    for (request, error) in &cases {
        expect(&mut world, 0, &[(request, error)]);
    }
}

#[test]
fn a_timeout_that_is_too_short_is_longer() {
    let mut world = World::cluster(3, &[], "cluster-node-timeout 1");
    for _ in 0..30 {
        world.advance_ms(50);
        for node in 0..3 {
            assert!(
                world.request(node, "CLUSTER INFO").contains("cluster_state:ok"),
                "node {node}"
            );
        }
    }
}

/// Whether a node that was told to go has done so, and its replica has its slots.
fn has_handed_over(world: &mut World, from: usize, to: usize) -> bool {
    world.nodes[from].exit == Some(0) && world.request(to, "GET hello") == "$1\r\n1\r\n"
}

#[test]
fn a_master_that_goes_hands_over() {
    let mut world = World::cluster(3, &[0, 1, 2], "");
    world.ok(0, "SET hello 1");
    world.ok(0, "CONFIG SET masterauth secret");
    world.ok(3, "CONFIG SET requirepass secret");
    let client = world.connect(0);
    assert_eq!(world.request_of(0, client, "SHUTDOWN FAILOVER"), "");
    world.until("the replica has taken over", |world| has_handed_over(world, 0, 3));
    let log = world.nodes[0].log.join("\n");
    assert!(log.contains("A replica has taken over."), "{log}");
    assert!(!log.contains("does not take over"), "{log}");
}

#[test]
fn a_master_without_a_successor_goes_at_once() {
    let mut world = World::cluster(2, &[], "");
    world.request(0, "SHUTDOWN FAILOVER");
    assert_eq!(world.nodes[0].exit, Some(0));
    let log = world.nodes[0].log.join("\n");
    assert!(log.contains("so it does not hand over"), "{log}");
}

#[test]
fn a_replica_that_is_not_there_is_not_waited_for() {
    let mut world = World::cluster(2, &[0], "");
    world.cut.push(2);
    world.request(0, "SHUTDOWN FAILOVER NOSAVE");
    assert_eq!(world.nodes[0].exit, Some(0));
    let log = world.nodes[0].log.join("\n");
    assert!(log.contains("The replica does not take over: Connection refused"), "{log}");
    assert!(log.contains("No replica has taken over"), "{log}");
}

/// Begins a shutdown in which the replica agrees to take over, and is not elected since a master is not there.
fn stuck_shutdown() -> (World, Handle) {
    let mut world = World::cluster(2, &[0], "");
    world.cut.push(1);
    let client = world.connect(0);
    assert_eq!(world.request_of(0, client, "SHUTDOWN FAILOVER NOSAVE"), "");
    (world, client)
}

#[test]
fn a_hand_over_that_does_not_succeed_ends_in_time() {
    let (mut world, _) = stuck_shutdown();
    world.advance_ms(4_900);
    assert_eq!(world.nodes[0].exit, None);
    world.advance_ms(200);
    assert_eq!(world.nodes[0].exit, Some(0));
    let log = world.nodes[0].log.join("\n");
    assert!(log.contains("The replica does not take over: it took too long"), "{log}");
}

#[test]
fn a_hand_over_is_cancelled_with_its_shutdown() {
    let (mut world, client) = stuck_shutdown();
    world.ok(0, "SHUTDOWN ABORT");
    assert!(world.nodes[0].take(client).starts_with("-ERR Errors trying to SHUTDOWN"));
    world.advance_ms(20_000);
    assert_eq!(world.nodes[0].exit, None);
    expect(&mut world, 0, &[("SHUTDOWN NOW FAILOVER", "-ERR syntax error")]);
}

#[test]
fn a_new_replica_learns_of_moves() {
    let mut world = two_shards();
    let (from, to) = (world.id(0), world.id(1));
    world.ok(1, &format!("CLUSTER SETSLOT 866 IMPORTING {from}"));
    world.ok(0, &format!("CLUSTER SETSLOT 866 MIGRATING {to}"));
    for (replica, master, open) in
        [(2, from.clone(), format!("[866->-{to}]")), (3, to, format!("[866-<-{from}]"))]
    {
        world.ok(replica, "CLUSTER RESET");
        let knows = |world: &mut World| world.request(replica, "CLUSTER NODES").contains(&open);
        assert!(!knows(&mut world));
        world.ok(replica, "CLUSTER MEET 127.0.0.1 7000");
        world.until("it knows its master", |world| {
            world.request(replica, "CLUSTER NODES").contains(&master)
                && !world.request(replica, "CLUSTER NODES").contains("handshake")
        });
        world.ok(replica, &format!("CLUSTER REPLICATE {master}"));
        world.until("it has the data", |world| {
            world.request(replica, "INFO replication").contains("master_link_status:up")
        });
        assert!(knows(&mut world), "{}", world.request(replica, "CLUSTER NODES"));
    }
}

#[test]
fn a_replica_answers_for_a_slot_on_the_move_as_its_master() {
    let mut world = two_shards();
    let (from, to) = (world.id(0), world.id(1));
    world.ok(1, &format!("CLUSTER SETSLOT 866 IMPORTING {from}"));
    world.ok(0, &format!("CLUSTER SETSLOT 866 MIGRATING {to}"));
    world.ok(2, "READONLY");
    expect(
        &mut world,
        2,
        &[
            ("GET hello", "$1\r\n1\r\n"),
            ("GET {hello}2", "-ASK 866 127.0.0.1:7001"),
            ("MGET hello {hello}2", "-TRYAGAIN Multiple keys request during rehashing of slot"),
            ("SET hello 2", "-MOVED 866 127.0.0.1:7000"),
        ],
    );
}

#[test]
fn data_of_another_history_counts_for_nothing() {
    let mut world = World::cluster(
        3,
        &[0],
        "cluster-replica-validity-factor 0\ncluster-require-full-coverage no",
    );
    // Much more than the master that it is going to replicate.
    for number in 0..50 {
        world.request(2, &format!("SET {{bar}}{number} {}", "x".repeat(100)));
    }
    world.request(2, "FLUSHALL");
    world.ok(2, "CLUSTER FLUSHSLOTS");
    world.ok(0, "SET hello 1");
    let master = world.id(0);
    world.until("the replica has it", |world| world.request(3, "INFO keyspace").contains("keys=1"));
    // The master cannot give it its data any more.
    world.silent.push(0);
    world.ok(2, &format!("CLUSTER REPLICATE {master}"));
    assert!(world.request(2, "CLUSTER SHARDS").contains("replication-offset\r\n:0\r\n"));
}
