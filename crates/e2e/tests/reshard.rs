//! Slots move between nodes of a cluster with their keys: stock `redis-cli` drives MIGRATE, between ours and stock nodes.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

use russet_e2e::clusters::Nodes;
use russet_e2e::{Program, redis_cli};

const ALL: [usize; 3] = [0, 1, 2];

/// How many slots move each time: the first ones.
const SLOTS: i64 = 20;

/// Returns keys of the slots that move, some of each.
fn keys_that_move(nodes: &Nodes) -> Vec<String> {
    let mut client = nodes.server(0).client();
    let names = (0..20_000).map(|number| format!("k{number}"));
    names.filter(|name| client.run(&format!("CLUSTER KEYSLOT {name}")).int() < SLOTS).collect()
}

fn id(nodes: &Nodes, node: usize) -> String {
    redis_cli(nodes.server(node).port(), &["cluster", "myid"]).trim().to_owned()
}

fn keys_of(nodes: &Nodes, node: usize) -> usize {
    let count = redis_cli(nodes.server(node).port(), &["dbsize"]);
    count.trim().parse().expect("a number")
}

/// Moves slots from each of two nodes to the other, with clients that write meanwhile.
fn reshard(programs: [&Program; 3]) {
    let nodes = Nodes::start(&programs, &[]);
    nodes.create(0);
    nodes.wait_until_ok(&ALL);
    let keys = keys_that_move(&nodes);
    assert!(keys.len() > 10);
    for key in &keys {
        assert_eq!(nodes.follow(1, &["set", key, "0"]), "OK");
    }
    for (from, to) in [(0, 1), (1, 0), (0, 2)] {
        let value = format!("{from}:{to}");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for key in &keys {
                    assert_eq!(nodes.follow(2, &["set", key, &value]), "OK");
                }
            });
            let (from_id, to_id, slots) = (id(&nodes, from), id(&nodes, to), SLOTS.to_string());
            let words = ["reshard", &nodes.address(2), "--cluster-from", &from_id];
            let more = ["--cluster-to", &to_id, "--cluster-slots", &slots, "--cluster-yes"];
            let moved = nodes.tool(&[&words[..], &more].concat());
            assert_eq!(moved.code, Some(0), "{}{}", moved.out, moved.err);
            writer.join().expect("the writer");
        });
        nodes.wait_until_ok(&ALL);
        let counts = ALL.map(|node| keys_of(&nodes, node));
        assert_eq!(counts.iter().sum::<usize>(), keys.len(), "each key is in one place");
        assert_eq!(counts[to], keys.len(), "{counts:?}");
        for key in &keys {
            assert_eq!(nodes.follow(from, &["get", key]), value);
        }
    }
    let check = nodes.tool(&["check", &nodes.address(0)]);
    assert!(check.out.contains("[OK] All 16384 slots covered."), "{}", check.out);
}

mod with_peers {
    use super::*;

    #[test]
    fn slots_move_between_ours() {
        let ours = Program::under_test();
        reshard([&ours; 3]);
    }

    #[test]
    fn slots_move_between_ours_and_stock() {
        let (ours, stock) = (Program::under_test(), Program::Stock);
        reshard([&ours, &stock, &ours]);
    }
}
