//! Clusters of six nodes, ours and stock ones: put together by stock `redis-cli` in two ways, used through redirections, and
//! with a master killed.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

use russet_e2e::clusters::Nodes;
use russet_e2e::{Program, redis_cli};

/// A slot of the second master.
const SLOT: u16 = 8_000;

const ALL: [usize; 6] = [0, 1, 2, 3, 4, 5];

/// Writes keys of all masters by way of each node, and reads them by way of the others.
fn clients_write(nodes: &Nodes, through: &[usize], prefix: &str) {
    for &node in through {
        for number in 0..12 {
            let key = format!("{prefix}:{node}:{number}");
            assert_eq!(nodes.follow(node, &["set", &key, "written"]), "OK", "{key}");
            let other = through[(node + 1) % through.len()];
            assert_eq!(nodes.follow(other, &["get", &key]), "written", "{key}");
        }
    }
}

/// Kills the master of a slot, waits for its replica to take over, and starts it again.
fn kill_a_master(nodes: &mut Nodes) {
    nodes.wait_for_replicas();
    let master = nodes.owner(0, SLOT).expect("somebody has it");
    nodes.server_mut(master).kill();
    let living: Vec<usize> = ALL.into_iter().filter(|node| *node != master).collect();
    nodes.wait_at(&living, "another node has the slots", |node| {
        nodes.owner(node, SLOT).is_some_and(|owner| owner != master)
    });
    nodes.wait_until_ok(&living);
    let successor = nodes.owner(living[0], SLOT).expect("somebody has it");
    clients_write(nodes, &living, "after");
    nodes.server_mut(master).start_again();
    nodes.wait_at(&[master], "it is a replica of its successor", |node| {
        nodes.follows(node, successor)
    });
    nodes.wait_until_ok(&ALL);
    clients_write(nodes, &ALL, "again");
}

/// Puts nodes together with `redis-cli --cluster create`.
fn deployment(programs: [&Program; 6]) {
    let mut nodes = Nodes::start(&programs, &[]);
    nodes.create(1);
    nodes.wait_until_ok(&ALL);
    let check = nodes.tool(&["check", &nodes.address(0)]);
    assert!(check.out.contains("[OK] All nodes agree about slots configuration."), "{}", check.out);
    clients_write(&nodes, &ALL, "before");
    kill_a_master(&mut nodes);
}

/// Puts nodes together by hand.
fn by_hand(programs: [&Program; 6]) {
    let mut nodes = Nodes::start(&programs, &[]);
    for node in 1..6 {
        let port = nodes.server(node).port().to_string();
        assert_eq!(
            redis_cli(nodes.server(0).port(), &["cluster", "meet", "127.0.0.1", &port]).trim(),
            "OK"
        );
    }
    for (node, first, last) in [(0, "0", "5500"), (1, "5501", "11000"), (2, "11001", "16383")] {
        let port = nodes.server(node).port();
        assert_eq!(redis_cli(port, &["cluster", "addslotsrange", first, last]).trim(), "OK");
    }
    nodes.wait_at(&ALL, "it knows all nodes", |node| {
        nodes.info(node).get("cluster_known_nodes").is_some_and(|count| count == "6")
    });
    nodes.wait_until_ok(&ALL);
    for (replica, master) in [(3, 0), (4, 1), (5, 2)] {
        let id = redis_cli(nodes.server(master).port(), &["cluster", "myid"]);
        let port = nodes.server(replica).port();
        assert_eq!(redis_cli(port, &["cluster", "replicate", id.trim()]).trim(), "OK");
    }
    nodes.wait_at(&[3, 4, 5], "it follows its master", |node| nodes.follows(node, node - 3));
    clients_write(&nodes, &ALL, "before");
    kill_a_master(&mut nodes);
}

mod with_peers {
    use super::*;

    #[test]
    fn six_of_ours_put_together_by_the_stock_tool() {
        let ours = Program::under_test();
        deployment([&ours; 6]);
    }

    #[test]
    fn six_of_ours_put_together_by_hand() {
        let ours = Program::under_test();
        by_hand([&ours; 6]);
    }

    #[test]
    fn our_replicas_take_over_from_stock_masters() {
        let (ours, stock) = (Program::under_test(), Program::Stock);
        deployment([&stock, &stock, &stock, &ours, &ours, &ours]);
    }

    #[test]
    fn stock_replicas_take_over_from_our_masters() {
        let (ours, stock) = (Program::under_test(), Program::Stock);
        deployment([&ours, &ours, &ours, &stock, &stock, &stock]);
    }
}
