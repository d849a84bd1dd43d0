//! Stock `redis-cli --cluster` at clusters of ours, alone and together with stock nodes: each of its subcommands.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

use std::fs;

use russet_e2e::clusters::{DEADLINE, Nodes};
use russet_e2e::server::Folder;
use russet_e2e::{Program, Server, Setup, wait_for_within};

/// Keys in a cluster, enough for some in each node, whose values are their numbers.
const KEYS: usize = 300;

/// Keys of one slot, whose values are their numbers.
const TAGGED: usize = 30;

/// The slot of `{t}`.
const SLOT: u16 = 15_891;

fn six(programs: [&Program; 2]) -> Nodes {
    let [a, b] = programs;
    let nodes = Nodes::start(&[a, b, a, b, a, b], &[]);
    nodes.create(1);
    let all: Vec<usize> = nodes.all().collect();
    nodes.wait_until_ok(&all);
    nodes.wait_for_replicas();
    nodes
}

/// Three masters, of which the last has few slots, [`SLOT`] among them.
fn three_with_a_small_one(programs: [&Program; 2]) -> Nodes {
    let [a, b] = programs;
    let nodes = Nodes::start(&[a, b, a], &[]);
    order(&nodes, 0, "CLUSTER ADDSLOTSRANGE 0 7999");
    order(&nodes, 1, "CLUSTER ADDSLOTSRANGE 8000 15799 16000 16383");
    order(&nodes, 2, "CLUSTER ADDSLOTSRANGE 15800 15999");
    for node in 1..3 {
        order(&nodes, 0, &format!("CLUSTER MEET 127.0.0.1 {}", nodes.server(node).port()));
    }
    nodes.wait_until_ok(&[0, 1, 2]);
    nodes.wait_until_checked(0);
    nodes
}

fn three(programs: [&Program; 2]) -> Nodes {
    let [a, b] = programs;
    let nodes = Nodes::start(&[a, b, a], &[]);
    nodes.create(0);
    nodes.wait_until_ok(&[0, 1, 2]);
    nodes
}

fn write_keys(nodes: &Nodes) {
    let one = (0..KEYS).map(|key| format!("set k{key} {key}"));
    let tagged = (0..TAGGED).map(|key| format!("set {{t}}{key} {key}"));
    let replies = nodes.follow_all(0, &one.chain(tagged).collect::<Vec<_>>());
    assert!(replies.iter().all(|reply| reply == "OK"), "{replies:?}");
}

/// Every key is there, by way of any node, and once.
fn keys_are_there(nodes: &Nodes, masters: &[usize]) {
    let one = (0..KEYS).map(|key| format!("get k{key}"));
    let tagged = (0..TAGGED).map(|key| format!("get {{t}}{key}"));
    let commands: Vec<String> = one.chain(tagged).collect();
    let expected: Vec<String> = (0..KEYS).chain(0..TAGGED).map(|key| key.to_string()).collect();
    for &node in masters {
        assert_eq!(nodes.follow_all(node, &commands), expected);
    }
    let counts = masters.iter().map(|&node| number_of_keys(nodes, node));
    assert_eq!(counts.sum::<i64>(), (KEYS + TAGGED) as i64);
}

fn number_of_keys(nodes: &Nodes, node: usize) -> i64 {
    nodes.server(node).client().run("DBSIZE").int()
}

/// Sends a command to a node, which must answer OK.
fn order(nodes: &Nodes, node: usize, command: &str) {
    nodes.server(node).client().ok(command);
}

/// `info`, `call` and `set-timeout` reach every node.
fn all_are_asked(nodes: &Nodes) {
    write_keys(nodes);
    let info = nodes.run_tool(&["info", &nodes.address(3)]);
    assert!(info.contains(&format!("[OK] {} keys in 3 masters.", KEYS + TAGGED)), "{info}");
    let lines = info.lines().filter(|line| line.ends_with("1 slaves."));
    assert_eq!(lines.count(), 3, "{info}");
    let address = nodes.address(5);
    let count = |words: &[&str], reply: &str| {
        let called = nodes.run_tool(words);
        called.lines().filter(|line| line.ends_with(reply)).count()
    };
    assert_eq!(count(&["call", &address, "ping"], ": PONG"), 6);
    assert_eq!(count(&["call", &address, "ping", "--cluster-only-masters"], ": PONG"), 3);
    let only_replicas = ["call", &address, "get", "{t}1", "--cluster-only-replicas"];
    let called = nodes.run_tool(&only_replicas);
    assert_eq!(called.matches("MOVED 15891 ").count(), 3, "{called}");
    let set = nodes.run_tool(&["set-timeout", &address, "1500"]);
    assert!(set.contains("New node timeout set. 6 OK, 0 ERR."), "{set}");
    for node in nodes.all() {
        let reply = nodes.ask(node, "CONFIG GET cluster-node-timeout").expect("it replies");
        assert_eq!(reply.items()[1].text(), "1500");
        let file = nodes.server(node).folder().join("server.conf");
        let text = fs::read_to_string(file).expect("it has one");
        assert!(text.contains("\ncluster-node-timeout 1500\n"), "{text}");
    }
}

/// Begins to move [`SLOT`], and moves some of its keys. Returns its owner and the other node.
fn begin_move(nodes: &Nodes) -> [usize; 2] {
    let owner = nodes.owner(0, SLOT).expect("somebody has it");
    let other = (owner + 1) % 3;
    order(nodes, other, &format!("CLUSTER SETSLOT {SLOT} IMPORTING {}", nodes.id(owner)));
    order(nodes, owner, &format!("CLUSTER SETSLOT {SLOT} MIGRATING {}", nodes.id(other)));
    let port = nodes.server(other).port().to_string();
    let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS", "{t}1", "{t}2", "{t}3"];
    assert_eq!(nodes.server(owner).client().command(&words).text(), "OK");
    [owner, other]
}

/// `check` finds moves that were broken off, and `fix` ends them.
fn broken_moves_are_ended(nodes: &Nodes) {
    write_keys(nodes);
    let fix = |what: &str| {
        let check = nodes.tool(&["check", &nodes.address(1)]);
        assert!(check.out.contains("[WARNING]") && check.code == Some(1), "{what}: {}", check.out);
        nodes.run_tool(&["fix", &nodes.address(1)]);
        nodes.wait_until_checked(1);
        keys_are_there(nodes, &[0, 1, 2]);
        nodes.owner(1, SLOT).expect("somebody has it")
    };
    let [owner, other] = begin_move(nodes);
    assert_eq!(fix("half of a move"), owner, "it has more of the keys");
    let [owner_id, other_id] = [owner, other].map(|node| nodes.id(node));
    let migrating = format!("CLUSTER SETSLOT {SLOT} MIGRATING {other_id}");
    let importing = format!("CLUSTER SETSLOT {SLOT} IMPORTING {owner_id}");
    order(nodes, owner, &migrating);
    assert_eq!(fix("a move that only the source knows of"), owner);
    order(nodes, other, &importing);
    assert_eq!(fix("a move that only the target knows of"), owner);
    order(nodes, other, &importing);
    order(nodes, owner, &migrating);
    assert_eq!(fix("a move without any key"), other);
}

/// `fix` gives slots that nobody has to the node that has keys of them, or else to any.
fn uncovered_slots_are_given(nodes: &Nodes) {
    write_keys(nodes);
    let owner = nodes.owner(0, SLOT).expect("somebody has it");
    for node in 0..3 {
        order(nodes, node, &format!("CLUSTER DELSLOTS {SLOT} 1 2 3 16000"));
    }
    let check = nodes.tool(&["check", &nodes.address(0)]);
    let finding = "[ERR] Not all 16384 slots are covered by nodes.";
    assert!(check.out.contains(finding), "{}", check.out);
    nodes.run_tool(&["fix", &nodes.address(1)]);
    nodes.wait_until_checked(1);
    nodes.wait_until_ok(&[0, 1, 2]);
    assert_eq!(nodes.owner(1, SLOT), Some(owner), "it has the keys");
    keys_are_there(nodes, &[0, 1, 2]);
}

/// `fix` settles whose a slot is that two masters claim.
fn a_slot_has_one_owner(nodes: &Nodes) {
    write_keys(nodes);
    let owner = nodes.owner(0, SLOT).expect("somebody has it");
    let other = (owner + 1) % 3;
    order(nodes, other, &format!("CLUSTER DELSLOTS {SLOT}"));
    order(nodes, other, &format!("CLUSTER ADDSLOTS {SLOT}"));
    let words = ["fix", &nodes.address(owner), "--cluster-search-multiple-owners"];
    nodes.run_tool(&words);
    nodes.wait_until_checked(owner);
    nodes.wait_until_ok(&[0, 1, 2]);
    keys_are_there(nodes, &[0, 1, 2]);
}

/// `fix` gives the slots of a master that is gone to the others, if it is told to.
fn slots_of_a_dead_master_are_given(nodes: &mut Nodes) {
    write_keys(nodes);
    let (dead, living) = (2, [0, 1]);
    nodes.server_mut(dead).kill();
    nodes.wait_at(&living, "it is known to be down", |node| {
        nodes.info(node).get("cluster_slots_fail").is_some_and(|count| count != "0")
    });
    let address = nodes.address(living[0]);
    let refused = nodes.tool(&["fix", &address]);
    assert!(refused.code == Some(1), "{}", refused.out);
    nodes.tool(&["fix", &address, "--cluster-fix-with-unreachable-masters"]);
    nodes.wait_until_ok(&living);
    nodes.wait_at(&living, "somebody else has the slots", |node| {
        nodes.owner(node, SLOT).is_some_and(|owner| owner != dead)
    });
    assert_eq!(nodes.follow(living[1], &["set", "{t}1", "again"]), "OK");
}

/// `add-node`, `rebalance` and `del-node`: a cluster grows and shrinks.
fn grow_and_shrink(nodes: &mut Nodes, program: &Program) {
    write_keys(nodes);
    let (master, replica) = (nodes.start_another(program), nodes.start_another(program));
    let known = nodes.address(0);
    let masters = [0, 1, 2, master];
    nodes.run_tool(&["add-node", &nodes.address(master), &known]);
    wait_until_all_know(nodes, 4, &masters);
    nodes.wait_until_checked(master);
    nodes.wait_until_ok(&[master]);
    // Without being told so, it leaves masters without slots alone.
    nodes.run_tool(&["rebalance", &known]);
    assert_eq!(nodes.slot_count(master), 0);
    let master_id = nodes.id(master);
    let rebalance = |weight: &str, more: &[&str]| {
        let weight = format!("{master_id}={weight}");
        let words = ["rebalance", &known, "--cluster-use-empty-masters", "--cluster-weight"];
        nodes.run_tool(&[&words[..], &[&weight], more].concat());
        nodes.wait_until_checked(master);
        masters.map(|node| nodes.slot_count(node))
    };
    assert_eq!(rebalance("0.02", &["--cluster-simulate"])[3], 0);
    let counts = rebalance("0.02", &[]);
    assert!((100..120).contains(&counts[3]), "{counts:?}");
    assert!(counts[..3].iter().all(|count| (5_400..5_450).contains(count)), "{counts:?}");
    keys_are_there(nodes, &masters);

    let as_replica = ["add-node", &nodes.address(replica), &known, "--cluster-slave"];
    nodes.run_tool(&[&as_replica[..], &["--cluster-master-id", &master_id]].concat());
    nodes.wait_at(&[replica], "it has the data of its master", |node| nodes.follows(node, master));
    wait_until_all_know(nodes, 5, &[0, 1, 2, master, replica]);
    let counts = rebalance("0.04", &["--cluster-pipeline", "3"]);
    assert!((200..240).contains(&counts[3]), "{counts:?}");
    keys_are_there(nodes, &masters);

    let refused = nodes.tool(&["del-node", &known, &master_id]);
    assert!(refused.code == Some(1) && refused.out.contains("is not empty"), "{}", refused.out);
    nodes.run_tool(&["del-node", &known, &nodes.id(replica)]);
    wait_until_all_know(nodes, 4, &masters);
    assert_eq!(rebalance("0", &[])[3], 0);
    keys_are_there(nodes, &[0, 1, 2]);
    nodes.run_tool(&["del-node", &known, &master_id]);
    wait_until_all_know(nodes, 3, &[0, 1, 2]);
    nodes.wait_until_checked(0);
    assert_eq!(nodes.info(master).get("cluster_known_nodes").map(String::as_str), Some("1"));
    keys_are_there(nodes, &[0, 1, 2]);
}

fn wait_until_all_know(nodes: &Nodes, count: usize, whom: &[usize]) {
    let count = count.to_string();
    nodes.wait_at(whom, "it knows all nodes", |node| {
        nodes.info(node).get("cluster_known_nodes") == Some(&count)
    });
}

/// `import` moves or copies the keys of a server that is not in cluster mode.
fn keys_are_imported(nodes: &Nodes, program: &Program) {
    let source = Setup::new(program).conf("requirepass secret").start();
    let mut client = source.client();
    client.ok("AUTH secret");
    for key in 0..KEYS {
        client.ok(&format!("SET k{key} {key}"));
    }
    for key in 0..TAGGED {
        client.ok(&format!("SET {{t}}{key} {key}"));
    }
    client.run("HSET hash field value");
    let from = format!("127.0.0.1:{}", source.port());
    let address = nodes.address(1);
    let import = ["import", &address, "--cluster-from", &from, "--cluster-from-pass", "secret"];
    let all_there = || {
        assert_eq!(nodes.follow(0, &["hget", "hash", "field"]), "value");
        assert_eq!(nodes.follow(0, &["del", "hash"]), "1");
        keys_are_there(nodes, &[0, 1, 2]);
    };
    nodes.run_tool(&[&import[..], &["--cluster-copy"]].concat());
    all_there();
    assert_eq!(client.run("DBSIZE").int(), (KEYS + TAGGED + 1) as i64);
    let busy = nodes.tool(&import);
    assert!(busy.code == Some(1) && busy.out.contains("BUSYKEY"), "{}{}", busy.out, busy.err);
    nodes.run_tool(&[&import[..], &["--cluster-replace"]].concat());
    all_there();
    assert_eq!(client.run("DBSIZE").int(), 0);
}

/// `backup` saves the data of each master as a dump file.
fn masters_are_saved(nodes: &Nodes) {
    write_keys(nodes);
    let folder = Folder::new();
    let path = folder.path().to_str().expect("it is text");
    let saved = nodes.run_tool(&["backup", &nodes.address(4), path]);
    assert!(saved.contains("[OK] Backup created into"), "{saved}");
    let names: Vec<_> = fs::read_dir(path)
        .expect("the folder is ours")
        .map(|file| file.expect("it can be read").file_name().into_string().expect("it is text"))
        .collect();
    assert!(names.contains(&"nodes.json".to_owned()), "{names:?}");
    let dumps: Vec<_> = names.iter().filter(|name| name.ends_with(".rdb")).collect();
    assert_eq!(dumps.len(), 3, "{names:?}");
    let sizes = dumps.into_iter().flat_map(|dump| {
        [Program::under_test(), Program::Stock].map(|program| {
            let setup = Setup::new(&program).conf(&format!("dir {path}"));
            let server: Server = setup.conf(&format!("dbfilename {dump}")).start();
            let mut client = server.client();
            wait_for_within("it has loaded", DEADLINE, || {
                let reply = client.run("DBSIZE");
                (!reply.is_error()).then(|| reply.int())
            })
        })
    });
    assert_eq!(sizes.sum::<i64>(), 2 * (KEYS + TAGGED) as i64);
}

mod with_peers {
    use super::*;

    fn ours() -> [Program; 2] {
        [Program::under_test(), Program::under_test()]
    }

    fn mixed() -> [Program; 2] {
        [Program::under_test(), Program::Stock]
    }

    /// Runs a test with nodes of ours, and with three of ours and stock ones.
    macro_rules! with_both {
        ($ours:ident, $mixed:ident, $start:ident, $test:expr) => {
            #[test]
            fn $ours() {
                let [a, b] = ours();
                let mut nodes = $start([&a, &b]);
                $test(&mut nodes, &b);
            }

            #[test]
            fn $mixed() {
                let [a, b] = mixed();
                let mut nodes = $start([&a, &b]);
                $test(&mut nodes, &b);
            }
        };
    }

    with_both!(all_of_ours_are_asked, ours_and_stock_are_asked, six, |nodes: &mut Nodes, _| {
        all_are_asked(nodes);
    });
    with_both!(our_moves_are_ended, mixed_moves_are_ended, three, |nodes: &mut Nodes, _| {
        broken_moves_are_ended(nodes);
    });
    with_both!(our_slots_are_covered, mixed_slots_are_covered, three, |nodes: &mut Nodes, _| {
        uncovered_slots_are_given(nodes);
    });
    with_both!(
        our_slots_have_one_owner,
        mixed_slots_have_one_owner,
        three,
        |nodes: &mut Nodes, _| {
            a_slot_has_one_owner(nodes);
        }
    );
    with_both!(
        a_dead_master_of_ours,
        a_dead_master_of_a_mix,
        three_with_a_small_one,
        |nodes: &mut Nodes, _| slots_of_a_dead_master_are_given(nodes)
    );
    with_both!(ours_grow_and_shrink, a_mix_grows_and_shrinks, three, grow_and_shrink);
    with_both!(ours_import, a_mix_imports, three, keys_are_imported);
    with_both!(ours_are_saved, a_mix_is_saved, six, |nodes: &mut Nodes, _| {
        masters_are_saved(nodes);
    });
}
