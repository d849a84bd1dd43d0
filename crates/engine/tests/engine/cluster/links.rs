//! Connections of the bus: the limit of what waits on them, and what DEBUG breaks.

use russet_driver::Driver;
use russet_engine::config::BUS_PORT_OFFSET;
use russet_engine::io::Handle;

use super::expect;
use super::world::World;

/// A line of CLUSTER LINKS.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    direction: String,
    created_ms: u64,
    waiting: usize,
}

fn links(world: &mut World, node: usize) -> Vec<Link> {
    let reply = world.request(node, "CLUSTER LINKS");
    let words: Vec<&str> = reply.lines().filter(|line| !line.starts_with(['*', '$'])).collect();
    let number = |word: &str| word[1..].parse::<u64>().expect("an integer");
    let of_link = |words: &[&str]| Link {
        direction: words[1].to_owned(),
        created_ms: number(words[5]),
        waiting: number(words[11]) as usize,
    };
    let mut links: Vec<Link> = words.chunks(12).map(of_link).collect();
    links.sort_by_key(|link| std::cmp::Reverse(link.direction.clone()));
    links
}

/// The connection that a node has opened to the bus of another.
fn opened(world: &World, node: usize) -> Handle {
    let targets = world.nodes[node].targets.iter();
    let bus = targets.filter(|(_, (_, port))| *port > BUS_PORT_OFFSET);
    bus.map(|(handle, _)| *handle).max().expect("a connection")
}

fn number(text: &str, name: &str) -> usize {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).expect("the field")
}

#[test]
fn a_peer_that_reads_nothing_loses_its_connection() {
    let conf = "cluster-node-timeout 3600000\ncluster-link-sendbuf-limit 256kb";
    let mut world = World::cluster(2, &[], conf);
    let before = links(&mut world, 0);
    let link = opened(&world, 0);
    world.nodes[0].set_read_limit(link, Some(0));

    let publish = format!("PUBLISH channel {}", "x".repeat(60_000));
    for _ in 0..4 {
        assert_eq!(world.request(0, &publish), ":0\r\n");
    }
    let full = links(&mut world, 0);
    assert!(full[0].waiting > 240_000 && full[1].waiting == 0, "{full:?}");
    let memory = number(&world.request(0, "INFO memory"), "mem_cluster_links");
    assert!(memory > 240_000, "{memory}");
    let field = "total_cluster_links_buffer_limit_exceeded";
    assert_eq!(number(&world.request(0, "CLUSTER INFO"), field), 0);

    world.request(0, &publish);
    assert_eq!(number(&world.request(0, "CLUSTER INFO"), field), 1);
    let freed = number(&world.request(0, "INFO memory"), "mem_cluster_links");
    assert!(freed < memory - 240_000, "{memory}, {freed}");
    let stats = world.request(0, "INFO stats");
    assert_eq!(number(&stats, "client_output_buffer_limit_disconnections"), 0);
    let log = world.nodes[0].log.join("\n");
    assert!(log.contains("more than 'cluster-link-sendbuf-limit'"), "{log}");

    world.advance_ms(1000);
    let after = links(&mut world, 0);
    assert_eq!((after.len(), &after[1]), (2, &before[1]));
    assert!(after[0].created_ms > before[0].created_ms && after[0].waiting == 0, "{after:?}");
    assert!(!world.nodes[0].is_open(link));
}

#[test]
fn a_lower_limit_applies_to_what_waits_already() {
    let mut world = World::cluster(2, &[], "cluster-node-timeout 3600000");
    let link = opened(&world, 0);
    world.nodes[0].set_read_limit(link, Some(0));
    world.request(0, &format!("PUBLISH channel {}", "x".repeat(4000)));
    world.advance_ms(2000);
    assert!(world.nodes[0].is_open(link), "without a limit");
    world.ok(0, "CONFIG SET cluster-link-sendbuf-limit 1000");
    world.until("the connection is closed", |world| !world.nodes[0].is_open(link));
}

#[test]
fn memory_is_given_back_when_all_is_sent() {
    let mut world = World::cluster(2, &[], "");
    let memory = |world: &mut World| number(&world.request(0, "INFO memory"), "mem_cluster_links");
    let before = memory(&mut world);
    world.request(0, &format!("PUBLISH channel {}", "x".repeat(50_000)));
    let after = memory(&mut world);
    assert!(after < before + 40_000, "{before}, {after}");
}

#[test]
fn debug_closes_connections() {
    let conf = "cluster-node-timeout 3600000\nenable-debug-command yes";
    let mut world = World::cluster(2, &[], conf);
    let (own, other) = (world.id(0), world.id(1));
    let mut known = links(&mut world, 0);
    // Another millisecond, so that new connections can be told from old ones.
    world.advance_ms(10);
    for (direction, changes) in [("TO", [true, false]), ("FROM", [false, true]), ("ALL", [true; 2])]
    {
        world.ok(0, &format!("DEBUG CLUSTERLINK KILL {direction} {other}"));
        world.until("both are open again", |world| links(world, 0).len() == 2);
        let now = links(&mut world, 0);
        let changed = [0, 1].map(|at| now[at] != known[at]);
        assert_eq!(changed, changes, "{direction}");
        known = now;
        world.advance_ms(10);
    }
    let unknown = "0".repeat(40);
    expect(
        &mut world,
        0,
        &[
            (
                &format!("DEBUG CLUSTERLINK KILL TO {unknown}"),
                &format!("-ERR Unknown node {unknown}"),
            ),
            (&format!("DEBUG CLUSTERLINK KILL X {other}"), "-ERR Unknown direction X"),
            (
                &format!("DEBUG CLUSTERLINK KILL ALL {own}"),
                "-ERR Cannot free cluster link(s) to myself",
            ),
            (
                &format!("DEBUG CLUSTERLINK OPEN TO {other}"),
                "-ERR unknown subcommand or wrong number of arguments for 'CLUSTERLINK'. Try DEBUG HELP.",
            ),
        ],
    );
    let mut alone = Driver::new("enable-debug-command yes");
    let client = alone.connect();
    let reply = alone.request(client, &format!("DEBUG CLUSTERLINK KILL TO {other}"));
    assert_eq!(reply, "-ERR Debug option only available for cluster mode enabled setup!\r\n");
    assert_eq!(alone.request(client, "DEBUG DROP-CLUSTER-PACKET-FILTER 1"), "+OK\r\n");
}

#[test]
fn debug_loses_messages_of_a_type() {
    let mut world = World::cluster(2, &[], "enable-debug-command yes");
    let is_suspected =
        |world: &mut World| world.request(0, "CLUSTER NODES").contains("master,fail?");
    // PONG: the answers to what this node asks.
    world.ok(0, "DEBUG DROP-CLUSTER-PACKET-FILTER 1");
    let before = links(&mut world, 0);
    world.ok(0, "DEBUG CLOSE-CLUSTER-LINK-ON-PACKET-DROP 1");
    world.advance_ms(1000);
    assert_ne!(links(&mut world, 0)[0], before[0], "its connection is closed with it");
    world.ok(0, "DEBUG CLOSE-CLUSTER-LINK-ON-PACKET-DROP 0");
    // The other node still asks, so it is heard of; its questions are lost too, in turn.
    world.ok(0, "DEBUG DROP-CLUSTER-PACKET-FILTER 0");
    world.advance_ms(3000);
    assert!(!is_suspected(&mut world), "its answers arrive");
    world.ok(0, "DEBUG DROP-CLUSTER-PACKET-FILTER -1");
    expect(
        &mut world,
        0,
        &[("DEBUG DROP-CLUSTER-PACKET-FILTER x", "-ERR value is not an integer or out of range")],
    );
}
