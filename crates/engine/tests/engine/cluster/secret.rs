//! The bus secret: who has it joins, and nobody else.

use super::expect;
use super::world::World;

const CONF: &str = "cluster-bus-secret 0123456789abcdef";

/// Returns how many connections without the secret a node has refused.
fn refused(world: &mut World, node: usize) -> u64 {
    let info = world.request(node, "CLUSTER INFO");
    let field = info.lines().find_map(|line| line.strip_prefix("cluster_links_without_secret:"));
    field.and_then(|count| count.trim().parse().ok()).expect("the field")
}

fn knows(world: &mut World, node: usize, count: usize) -> bool {
    world.request(node, "CLUSTER INFO").contains(&format!("cluster_known_nodes:{count}\r\n"))
}

#[test]
fn a_cluster_with_a_secret_works() {
    let mut world = World::cluster(3, &[0, 1, 2], CONF);
    world.ok(0, "SET hello 1");
    world.ok(3, "CLUSTER FAILOVER");
    world.until("the replica serves", |world| world.request(3, "GET hello") == "$1\r\n1\r\n");
    assert!((0..6).all(|node| refused(&mut world, node) == 0));
}

#[test]
fn who_does_not_have_it_does_not_join() {
    for other in ["", "fedcba9876543210"] {
        let mut world = World::new(2, CONF);
        world.ok(1, &format!("CONFIG SET cluster-bus-secret '{other}'"));
        world.ok(0, "CLUSTER MEET 127.0.0.1 7001");
        world.ok(1, "CLUSTER MEET 127.0.0.1 7000");
        world.advance_ms(900);
        assert!(refused(&mut world, 0) > 0, "{other}");
        world.advance_ms(5_000);
        for node in [0, 1] {
            assert!(knows(&mut world, node, 1), "{other}");
        }
        let log = world.nodes[0].log.join("\n");
        let lines = log.lines().filter(|line| line.contains("Refused a connection of the")).count();
        assert_eq!(lines, 1, "{log}");
        assert!(!log.contains("0123456789abcdef"), "{log}");
    }
}

#[test]
fn it_can_be_changed_while_the_cluster_runs() {
    let mut world = World::cluster(3, &[], "");
    for secret in ["0123456789abcdef", "fedcba9876543210", ""] {
        for node in 0..3 {
            world.ok(node, &format!("CONFIG SET cluster-bus-secret '{secret}'"));
        }
        world.advance_ms(3_000);
        world.until("all nodes serve", |world| {
            (0..3).all(|node| world.request(node, "CLUSTER INFO").contains("state:ok"))
        });
        let nodes = world.request(0, "CLUSTER NODES");
        assert_eq!(nodes.matches(" connected").count(), 3, "{nodes}");
    }
    let short = "-ERR CONFIG SET failed (possibly related to argument 'cluster-bus-secret') - A secret of the bus \
                 needs 16 characters at least";
    expect(&mut world, 0, &[("CONFIG SET cluster-bus-secret 0123456789abcde", short)]);
}
