//! Clusters of six nodes, ours and stock ones: put together by stock `redis-cli` in two ways, used through redirections, and
//! with a master killed; the README of `examples/cluster` as typed; and files of nodes that cannot be used.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

use std::collections::BTreeMap;
use std::fs;

use russet_e2e::client::Client;
use russet_e2e::clusters::{Nodes, free_port};
use russet_e2e::example::{DEADLINE, Example, readme_commands};
use russet_e2e::server::Folder;
use russet_e2e::{Program, Setup, redis_cli, wait_for_within};

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

/// The ports of the example.
const PORTS: [u16; 6] = [7000, 7001, 7002, 7003, 7004, 7005];

/// How nodes are put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Tool,
    Hand,
}

/// Types the commands of the example's README, with one of the two ways to put the nodes together.
fn type_the_readme(way: Way) {
    let mut ports = BTreeMap::new();
    for port in PORTS {
        let free =
            std::iter::repeat_with(free_port).find(|free| !ports.values().any(|p| p == free));
        ports.insert(port, free.expect("a port is free"));
    }
    let mut example = Example::copy("cluster", ports, &Program::under_test(), &[]);
    let commands = readme_commands("cluster");
    assert!(commands.len() > 15, "{commands:?}");
    for (command, expected) in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let is_by_hand = command.contains("cluster meet")
            || command.contains("cluster addslotsrange")
            || command.contains("cluster replicate");
        match words[..] {
            ["cp" | "cd", ..] => continue,
            ["redis-cli", "--cluster", "create", ..] if way == Way::Hand => continue,
            _ if is_by_hand && way == Way::Tool => continue,
            ["kill", ..] => wait_for_replicas(&example),
            _ => {}
        }
        example.run_until(&command, &expected, |_| true);
        if command.contains("russet server cluster-$port.conf") {
            PORTS.into_iter().for_each(|port| example.find(port));
        } else if command.ends_with("russet server cluster-7001.conf") {
            example.find(7001);
        } else if command.contains("shutdown") {
            let is_gone = |port| Client::connect(example.address(port)).is_err();
            wait_for_within("all have shut down", DEADLINE, || {
                PORTS.into_iter().all(is_gone).then_some(())
            });
        }
    }
}

/// Waits until every replica has the data of its master, as whoever types has before the next command.
fn wait_for_replicas(example: &Example) {
    wait_for_within("three replicas are connected", DEADLINE, || {
        let roles = PORTS.iter().filter_map(|port| example.ask(*port, "ROLE"));
        let is_connected = |role: &russet_e2e::Value| {
            role.items().get(3).is_some_and(|it| it.text() == "connected")
        };
        (roles.filter(is_connected).count() == 3).then_some(())
    });
}

/// The lines that each node of these tests begins with.
fn node() -> Setup {
    Setup::new(&Program::under_test()).port(free_port()).conf("cluster-enabled yes")
}

#[test]
fn a_file_of_nodes_is_used_by_one_process() {
    let first = node().start();
    first.client().ok("CLUSTER SAVECONFIG");
    let file = first.folder().join("nodes.conf");
    let before = fs::read(&file).expect("it has one");
    let line = format!("cluster-config-file {}", file.display());
    let folder = Folder::new();
    let second = node().conf(&line).run_to_end(folder.path());
    let said = second.out + &second.err;
    assert_eq!(second.code, Some(1), "{said}");
    let reason =
        format!("nodes.conf is already used by a different cluster node (process {})", first.pid());
    assert!(said.contains(&reason), "{said}");
    assert_eq!(fs::read(&file).expect("it is still there"), before);
}

#[test]
fn a_damaged_file_of_nodes_is_refused_with_its_line() {
    let mut server = node().start();
    server.client().ok("CLUSTER ADDSLOTSRANGE 0 100");
    let file = server.folder().join("nodes.conf");
    server.kill();
    let good = fs::read_to_string(&file).expect("it has one");
    let damaged = [
        (good.replace("0-100", "0-16384"), "line 1"),
        (good.replace("vars currentEpoch", "vars currentEpoch x"), "line 2"),
        // It was cut off within its last line.
        (good[..good.len() - 4].to_owned(), "line 2"),
        (good.replace("myself,master", "myself,mister"), "line 1"),
        ("garbage\n".to_owned(), "line 1"),
    ];
    for (text, line) in damaged {
        let folder = Folder::new();
        let path = folder.path().join("nodes.conf");
        fs::write(&path, &text).expect("the folder is ours");
        let output = node().run_to_end(folder.path());
        let said = output.out + &output.err;
        assert_eq!(output.code, Some(1), "{text}{said}");
        assert!(said.contains(line) && said.contains("nodes.conf"), "{text}{said}");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), text, "it is not overwritten");
    }
    server.start_again();
    assert!(server.client().text("CLUSTER NODES").contains("0-100"));
}

mod with_peers {
    use super::*;

    #[test]
    fn the_commands_of_the_readme_print_what_it_says_with_the_tool() {
        type_the_readme(Way::Tool);
    }

    #[test]
    fn the_commands_of_the_readme_print_what_it_says_by_hand() {
        type_the_readme(Way::Hand);
    }

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
