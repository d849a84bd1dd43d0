//! Where keys are served, and what clients are told while slots move.

use super::expect;
use super::world::World;

/// Slots: `foo` 12182, `bar` 5061, `hello` 866. The first of two masters has the slots up to 8191.
fn two_masters() -> World {
    World::cluster(2, &[], "")
}

#[test]
fn keys_of_other_slots_are_elsewhere() {
    let mut world = two_masters();
    let moved = "-MOVED 12182 127.0.0.1:7001";
    let apart = "-CROSSSLOT Keys in request don't hash to the same slot";
    expect(
        &mut world,
        0,
        &[
            ("SET bar 1", "+OK\r\n"),
            ("SET foo 1", moved),
            ("GET foo", moved),
            ("EXISTS foo {foo}1", moved),
            ("MGET foo bar", apart),
            ("MSET hello 1 bar 2", apart),
            ("DEL {bar}1 bar", ":1\r\n"),
            // Commands without keys are served anywhere.
            ("PING", "+PONG\r\n"),
            ("DBSIZE", ":0\r\n"),
            ("SPUBLISH foo x", moved),
            ("SSUBSCRIBE foo", moved),
            ("SSUBSCRIBE bar hello", apart),
        ],
    );
    expect(
        &mut world,
        1,
        &[
            ("SET foo 1", "+OK\r\n"),
            ("GET bar", "-MOVED 5061 127.0.0.1:7000"),
            ("READONLY", "+OK\r\n"),
            ("GET bar", "-MOVED 5061 127.0.0.1:7000"),
        ],
    );
}

#[test]
fn a_transaction_is_of_one_slot() {
    let mut world = two_masters();
    let abort = "-EXECABORT Transaction discarded because of previous errors.";
    expect(
        &mut world,
        0,
        &[
            ("MULTI", "+OK\r\n"),
            ("SET bar 1", "+QUEUED\r\n"),
            ("SET foo 1", "-MOVED 12182 127.0.0.1:7001"),
            ("EXEC", abort),
            ("MULTI", "+OK\r\n"),
            ("SET bar 1", "+QUEUED\r\n"),
            ("SET hello 1", "+QUEUED\r\n"),
            // The error has its own code, not EXECABORT.
            ("EXEC", "-CROSSSLOT Keys in request don't hash to the same slot"),
            ("MULTI", "+OK\r\n"),
            ("SET bar 1", "+QUEUED\r\n"),
            ("GET {bar}", "+QUEUED\r\n"),
            ("EXEC", "*2\r\n+OK\r\n$-1\r\n"),
        ],
    );
}

#[test]
fn who_waits_for_keys_of_a_slot_that_leaves_is_redirected() {
    let mut world = two_masters();
    let other = world.id(1);
    let (waiting, imported) = (world.connect(0), world.connect(1));
    assert_eq!(world.request_of(0, waiting, "BLPOP hello 0"), "");
    let operator = world.connect(0);
    let source = world.id(0);
    assert_eq!(world.request(1, &format!("CLUSTER SETSLOT 866 IMPORTING {source}")), "+OK\r\n");
    assert_eq!(world.request(1, "ASKING"), "+OK\r\n");
    let migrate = format!("CLUSTER SETSLOT 866 MIGRATING {other}");
    assert_eq!(world.request_of(0, operator, &migrate), "+OK\r\n");
    // While it is on the move, keys may still appear here.
    world.advance_ms(500);
    assert_eq!(world.nodes[0].take(waiting), "");
    let give = format!("CLUSTER SETSLOT 866 NODE {other}");
    assert_eq!(world.request(1, &give), "+OK\r\n");
    assert_eq!(world.request_of(0, operator, &give), "+OK\r\n");
    world.advance_ms(500);
    assert_eq!(world.nodes[0].take(waiting), "-MOVED 866 127.0.0.1:7001\r\n");
    assert_eq!(world.request_of(1, imported, "BLPOP hello 0"), "");
    assert_eq!(world.request(1, "RPUSH hello 1"), ":1\r\n");
    assert_eq!(world.nodes[1].take(imported), "*2\r\n$5\r\nhello\r\n$1\r\n1\r\n");
}

#[test]
fn exec_is_redirected_when_its_slot_has_left() {
    let mut world = two_masters();
    let other = world.id(1);
    expect(&mut world, 0, &[("MULTI", "+OK\r\n"), ("SET hello 1", "+QUEUED\r\n")]);
    let operator = world.connect(0);
    let give = format!("CLUSTER SETSLOT 866 NODE {other}");
    assert_eq!(world.request_of(0, operator, &give), "+OK\r\n");
    expect(
        &mut world,
        0,
        &[("EXEC", "-MOVED 866 127.0.0.1:7001"), ("EXEC", "-ERR EXEC without MULTI")],
    );
}

#[test]
fn a_slot_moves() {
    let mut world = two_masters();
    let (source, target) = (world.id(0), world.id(1));
    expect(&mut world, 0, &[("MSET {hello}1 a {hello}2 b", "+OK\r\n")]);
    world.ok(1, &format!("CLUSTER SETSLOT 866 IMPORTING {source}"));
    world.ok(0, &format!("CLUSTER SETSLOT 866 MIGRATING {target}"));
    let nodes = world.request(0, "CLUSTER NODES");
    assert!(nodes.contains(&format!(" 0-8191 [866->-{target}]\n")), "{nodes}");
    let nodes = world.request(1, "CLUSTER NODES");
    assert!(nodes.contains(&format!(" 8192-16383 [866-<-{source}]\n")), "{nodes}");

    let again = "-TRYAGAIN Multiple keys request during rehashing of slot";
    let ask = "-ASK 866 127.0.0.1:7001";
    let moved = "-MOVED 866 127.0.0.1:7000";
    expect(
        &mut world,
        0,
        &[
            ("GET {hello}1", "$1\r\na\r\n"),
            ("MGET {hello}1 {hello}2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
            ("MGET {hello}1 {hello}3", again),
            ("SET {hello}3 c", ask),
            ("MGET {hello}3 {hello}4", ask),
            ("MULTI", "+OK\r\n"),
            ("GET {hello}1", "+QUEUED\r\n"),
            ("SET {hello}1 d", "+QUEUED\r\n"),
            ("EXEC", "*2\r\n$1\r\na\r\n+OK\r\n"),
            ("DEL {hello}1", ":1\r\n"),
            ("GET {hello}1", ask),
        ],
    );
    expect(
        &mut world,
        1,
        &[
            ("SET {hello}3 c", moved),
            ("ASKING", "+OK\r\n"),
            ("SET {hello}3 c", "+OK\r\n"),
            // It was for one command.
            ("GET {hello}3", moved),
            ("ASKING", "+OK\r\n"),
            ("PING", "+PONG\r\n"),
            ("GET {hello}3", moved),
            ("ASKING", "+OK\r\n"),
            ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with:"),
            ("GET {hello}3", moved),
            ("ASKING", "+OK\r\n"),
            ("ASKING", "+OK\r\n"),
            ("MGET {hello}3 {hello}4", again),
            ("ASKING", "+OK\r\n"),
            // Or for a transaction.
            ("MULTI", "+OK\r\n"),
            ("GET {hello}3", "+QUEUED\r\n"),
            ("GET {hello}3", "+QUEUED\r\n"),
            ("EXEC", "*2\r\n$1\r\nc\r\n$1\r\nc\r\n"),
            ("GET {hello}3", moved),
            ("ASKING", "+OK\r\n"),
            ("RESET", "+RESET\r\n"),
            ("GET {hello}3", moved),
        ],
    );

    let held = "-ERR Can't assign hashslot 866 to a different node while I still hold keys for this hash slot.";
    let give = format!("CLUSTER SETSLOT 866 NODE {target}");
    expect(&mut world, 0, &[(&give, held), ("DEL {hello}2", ":1\r\n")]);
    world.ok(1, &give);
    world.ok(0, &give);
    expect(&mut world, 0, &[("GET {hello}3", "-MOVED 866 127.0.0.1:7001")]);
    expect(&mut world, 1, &[("GET {hello}3", "$1\r\nc\r\n")]);
    assert!(!world.request(0, "CLUSTER NODES").contains('['));
    let slots = "*4\r\n*3\r\n:0\r\n:865\r\n";
    expect(&mut world, 1, &[("CLUSTER SLOTS", slots)]);
    // Its epoch is the highest already, so all nodes take the slot's new place.
    expect(&mut world, 1, &[("CLUSTER BUMPEPOCH", "+STILL 2\r\n")]);
}

#[test]
fn a_move_is_given_up() {
    let mut world = two_masters();
    let (source, target) = (world.id(0), world.id(1));
    world.ok(1, &format!("CLUSTER SETSLOT 866 IMPORTING {source} TIMEOUT 100"));
    world.ok(0, &format!("CLUSTER SETSLOT 866 MIGRATING {target}"));
    expect(
        &mut world,
        0,
        &[
            (
                &format!("CLUSTER SETSLOT 866 IMPORTING {target}"),
                "-ERR I'm already the owner of hash slot 866",
            ),
            ("GET hello", "-ASK 866 127.0.0.1:7001"),
            ("CLUSTER SETSLOT 866 STABLE", "+OK\r\n"),
            ("GET hello", "$-1\r\n"),
        ],
    );
    world.ok(1, "CLUSTER SETSLOT 866 STABLE");
    expect(&mut world, 1, &[("ASKING", "+OK\r\n"), ("GET hello", "-MOVED 866 127.0.0.1:7000")]);
}

#[test]
fn who_may_have_been_replaced_moves_nothing() {
    let mut world = two_masters();
    let target = world.id(1);
    let [migrating, keys] =
        [&format!("CLUSTER SETSLOT 866 MIGRATING {target}"), "CLUSTER GETKEYSINSLOT 866 10"];
    world.ok(0, "SET hello 1");
    world.ok(0, migrating);
    expect(&mut world, 0, &[(keys, "*1\r\n$5\r\nhello\r\n")]);
    world.cut.push(0);
    world.advance_ms(3_000);
    expect(
        &mut world,
        0,
        &[
            (keys, "-CLUSTERDOWN This master may have been replaced"),
            (migrating, "-ERR This master may have been replaced: it has no majority of masters"),
            ("CLUSTER GETKEYSINSLOT 867 10", "*0\r\n"),
        ],
    );
    world.cut.clear();
    world.until("it serves again", |world| world.request(0, keys).starts_with('*'));
    world.ok(0, migrating);
}

#[test]
fn a_cluster_with_a_gap_serves_what_its_settings_allow() {
    let mut world = World::new(1, "cluster-allow-pubsubshard-when-down no");
    let unbound = "-CLUSTERDOWN Hash slot not served";
    let down = "-CLUSTERDOWN The cluster is down";
    expect(&mut world, 0, &[("GET hello", unbound), ("CLUSTER ADDSLOTS 866", "+OK\r\n")]);
    world.advance_ms(3000);
    expect(
        &mut world,
        0,
        &[
            ("GET hello", down),
            ("SET hello 1", down),
            ("SPUBLISH hello 1", down),
            ("PUBLISH hello 1", ":0\r\n"),
            ("CONFIG SET cluster-allow-pubsubshard-when-down yes", "+OK\r\n"),
            ("SPUBLISH hello 1", ":0\r\n"),
            ("CONFIG SET cluster-allow-reads-when-down yes", "+OK\r\n"),
            ("GET hello", "$-1\r\n"),
            ("SET hello 1", "-CLUSTERDOWN The cluster is down and only accepts read commands"),
            ("GET foo", unbound),
            ("CONFIG SET cluster-require-full-coverage no", "+OK\r\n"),
            ("SET hello 1", "+OK\r\n"),
            ("GET foo", unbound),
        ],
    );
}

#[test]
fn messages_reach_subscribers_of_all_nodes() {
    let mut world = World::cluster(2, &[0], "");
    let listeners = [0, 1, 2].map(|node| (node, world.connect(node)));
    for (node, client) in listeners {
        world.request_of(node, client, "SUBSCRIBE news");
    }
    expect(&mut world, 0, &[("PUBLISH news x", ":1\r\n")]);
    let message = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n";
    for (node, client) in listeners {
        assert_eq!(world.nodes[node].take(client), message, "node {node}, once");
    }
    // A shard's channel is its own: the replica's subscriber is told of it too.
    let [master, other, replica] = listeners;
    for (node, client) in [master, replica] {
        world.request_of(node, client, "SSUBSCRIBE hello");
    }
    expect(&mut world, 0, &[("SPUBLISH hello y", ":1\r\n")]);
    let message = "*3\r\n$8\r\nsmessage\r\n$5\r\nhello\r\n$1\r\ny\r\n";
    for (node, client) in [master, replica] {
        assert_eq!(world.nodes[node].take(client), message, "node {node}, once");
    }
    assert_eq!(world.nodes[other.0].take(other.1), "");
}

#[test]
fn subscriptions_end_when_their_slot_leaves() {
    let mut world = World::cluster(2, &[0], "");
    let listeners = [(0, world.connect(0)), (2, world.connect(2))];
    for (node, client) in listeners {
        world.request_of(node, client, "SSUBSCRIBE {hello}1");
        world.request_of(node, client, "SSUBSCRIBE bar");
    }
    let target = world.id(1);
    let source = world.id(0);
    world.ok(1, &format!("CLUSTER SETSLOT 866 IMPORTING {source}"));
    for node in [1, 0] {
        world.ok(node, &format!("CLUSTER SETSLOT 866 NODE {target}"));
    }
    world.advance_ms(2000);
    let ended = "*3\r\n$12\r\nsunsubscribe\r\n$8\r\n{hello}1\r\n:1\r\n";
    for (node, client) in listeners {
        assert_eq!(world.nodes[node].take(client), ended, "node {node}");
        expect(&mut world, node, &[("PUBSUB SHARDCHANNELS", "*1\r\n$3\r\nbar\r\n")]);
    }
}
