//! Files that stock servers wrote, and files with one thing wrong.

use super::*;
use crate::SlotBitmap;

macro_rules! fixtures {
    ($($name:literal)+) => {
        &[$(($name, include_str!(concat!("fixtures/", $name, ".conf")))),+]
    };
}

/// Files of clusters of redis-server 7.0.15 and of Valkey between 8.0 and 8.1, in the states that their names say.
#[rustfmt::skip]
const FIXTURES: &[(&str, &str)] = fixtures![
    "redis-7.0-back-as-replica" "redis-7.0-demoted" "redis-7.0-fail" "redis-7.0-failed-over" "redis-7.0-failed-over-seen"
    "redis-7.0-forgotten" "redis-7.0-fresh" "redis-7.0-handshaking" "redis-7.0-holes" "redis-7.0-hostnames-seen"
    "redis-7.0-importing" "redis-7.0-ipv6" "redis-7.0-joining-replica" "redis-7.0-migrating"
    "redis-7.0-migrating-to-handshake" "redis-7.0-no-address" "redis-7.0-no-address-replica" "redis-7.0-no-failover"
    "redis-7.0-no-failover-seen" "redis-7.0-no-slots" "redis-7.0-pfail" "redis-7.0-replica" "redis-7.0-single-slots"
    "redis-7.0-takeover"
    "valkey-demoted" "valkey-fail" "valkey-failed-over-seen" "valkey-forgotten" "valkey-fresh" "valkey-holes" "valkey-hostnames"
    "valkey-hostnames-seen" "valkey-importing" "valkey-ipv6" "valkey-joining-replica" "valkey-master" "valkey-migrating"
    "valkey-migrating-to-handshake" "valkey-no-address" "valkey-no-failover" "valkey-pfail" "valkey-ports" "valkey-ports-seen"
    "valkey-replica" "valkey-single-slots"
];

/// The reply of CLUSTER NODES at the same time.
const REPLIES: [(&str, &str); 3] = [
    ("valkey-forgotten", include_str!("fixtures/valkey-forgotten.reply")),
    ("valkey-migrating", include_str!("fixtures/valkey-migrating.reply")),
    ("valkey-ports", include_str!("fixtures/valkey-ports.reply")),
];

const A: &str = "a000000000000000000000000000000000000001";
const B: &str = "b000000000000000000000000000000000000002";
const VARS: &str = "vars currentEpoch 7 lastVoteEpoch 6\n";

fn fixture(name: &str) -> NodesFile {
    let (_, text) = FIXTURES.iter().find(|(fixture, _)| *fixture == name).unwrap();
    parse(text)
}

#[track_caller]
fn parse(text: &str) -> NodesFile {
    match NodesFile::parse(text.as_bytes()) {
        Ok(file) => file.expect("the file is not empty"),
        Err(error) => panic!("{error}"),
    }
}

fn write(file: &NodesFile) -> String {
    let mut out = Vec::new();
    file.write(&mut out);
    String::from_utf8(out).unwrap()
}

/// Returns a file with `line` for the node itself, in which `A` and `B` are replaced.
fn with_line(line: &str) -> String {
    format!("{}\n{VARS}", line.replace('A', A).replace('B', B))
}

#[track_caller]
fn refused(text: &str) -> String {
    NodesFile::parse(text.as_bytes()).expect_err("the file is accepted").to_string()
}

#[test]
fn files_of_stock_servers_are_written_as_they_were() {
    for (name, text) in FIXTURES {
        let file = parse(text);
        assert_eq!(write(&file), *text, "{name}");
        assert!(file.myself().is_some_and(|node| file.node(node.id) == Some(node)), "{name}");
    }
}

#[test]
fn the_reply_has_the_lines_of_the_file_without_aux_fields() {
    for (name, reply) in REPLIES {
        let mut out = Vec::new();
        for node in &fixture(name).nodes {
            node.push_reply(&mut out, &node.ip, node.port);
            out.push(b'\n');
        }
        assert_eq!(String::from_utf8(out).unwrap(), reply, "{name}");
    }
}

#[test]
fn each_field_is_where_it_belongs() {
    let file = fixture("valkey-hostnames-seen");
    assert_eq!((file.nodes.len(), file.current_epoch, file.last_vote_epoch), (6, 5, 0));

    let myself = file.myself().unwrap();
    assert_eq!(myself.flags, NodeFlags::MYSELF | NodeFlags::MASTER);
    assert_eq!((myself.ip.as_str(), myself.port, myself.bus_port), ("127.0.0.1", 21121, 31121));
    assert_eq!(myself.aux.client_ipv4.as_deref(), Some("1.2.3.4"));
    assert_eq!(myself.aux.nodename.as_deref(), Some("shop.2"));
    assert_eq!((myself.aux.tcp_port, myself.aux.tls_port), (None, Some(0)));
    assert_eq!(myself.slots, (5461..=10922).collect());
    assert_eq!((myself.config_epoch, myself.is_connected, &myself.hostname), (5, true, &None));
    assert!(myself.migrating.is_empty());
    let [(100, source)] = myself.importing[..] else { panic!("{:?}", myself.importing) };

    let source = file.node(source).unwrap();
    assert_eq!(source.hostname.as_deref(), Some("a.example.com"));
    assert_eq!((source.ping_sent_ms, source.pong_received_ms), (0, 1_795_799_855_000));
    let replica = file.nodes.iter().find(|node| node.master == Some(source.id)).unwrap();
    assert_eq!((replica.flags, replica.config_epoch), (NodeFlags::REPLICA, 1));
    assert_eq!(replica.aux.shard_id, source.aux.shard_id);
    assert!(replica.slots.is_empty());
}

#[test]
fn every_prefix_of_a_written_file_is_refused() {
    for (name, text) in FIXTURES {
        assert_eq!(NodesFile::parse(b""), Ok(None));
        for end in 1..text.len() {
            assert!(NodesFile::parse(&text.as_bytes()[..end]).is_err(), "{name}, {end} bytes");
        }
    }
}

#[test]
fn damaged_files_are_refused_or_say_something_that_can_be_written() {
    let mut state = 1_u64;
    let mut random = |below: usize| {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut accepted = 0;
    for (name, text) in FIXTURES {
        for _ in 0..300 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=random(2) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] ^= 1 << random(8),
                    1 => bytes[at] = b" \n,-:@[]=0129"[random(13)],
                    _ => drop(bytes.remove(at)),
                }
            }
            if let Ok(Some(file)) = NodesFile::parse(&bytes) {
                accepted += 1;
                assert_eq!(parse(&write(&file)), file, "{name}");
            }
        }
    }
    // Most digits may be others.
    assert!(accepted > 1000, "{accepted}");
}

#[test]
fn old_and_strange_files_are_accepted() {
    // Without the port of the bus, as before version 4; with an IPv6 address; by name of a later version.
    let node =
        parse(&with_line("A ::1:7000 MYSELF,primary - 0 0 1 connected 5-5 0")).nodes.remove(0);
    assert_eq!((node.ip.as_str(), node.port, node.bus_port), ("::1", 7000, 17000));
    assert_eq!((node.slots, node.aux), ([0, 5].into_iter().collect(), Aux::default()));
    // A node that was added because another line named it; its flags are none.
    let text = with_line(
        "A :7000@17000 myself,slave B 0 0 1 connected\nB :0@0 noflags - 0 0 0 disconnected",
    );
    assert_eq!(write(&parse(&text)), text);
    assert_eq!(parse(&text).node(NodeId::parse(B.as_bytes()).unwrap()).unwrap().ip, "");
    // Empty lines, carriage returns, other variables, variables first, slots of a replica.
    let text = format!(
        "\nVARS currentepoch 7 lastVoteEpoch 6 other x\r\n\n{A} :1@2 myself,replica {B} 0 0 0 connected 1\n\n"
    );
    let file = parse(&text);
    assert_eq!((file.current_epoch, file.last_vote_epoch, file.nodes[0].slots.len()), (7, 6, 1));
    assert_eq!(parse(&write(&file)), file);
    // What only this server writes.
    let won = text.replace("other x", "wonEpoch 5");
    assert_eq!((file.won_epoch, parse(&won).won_epoch), (0, 5));
    assert!(write(&parse(&won)).ends_with("vars currentEpoch 7 lastVoteEpoch 6 wonEpoch 5\n"));
    // Replicas of each other.
    parse(&with_line("A :1@2 myself,slave B 0 0 0 connected\nB :1@2 slave A 0 0 0 connected"));
    // Aux fields in any order.
    let aux = format!("shard-id={A},client-ipv6=2001:DB8::1,nodename=é/x,tcp-port=1,client-ipv4=");
    let text = with_line("A :1@2,,… myself,master - 0 0 0 connected");
    let file = parse(&text.replace('…', &aux));
    assert_eq!(file.nodes[0].aux.client_ipv6.as_deref(), Some("2001:DB8::1"));
    assert_eq!((&file.nodes[0].aux.client_ipv4, file.nodes[0].aux.tcp_port), (&None, Some(1)));
    assert_eq!(parse(&write(&file)), file);
}

#[test]
fn the_current_epoch_is_not_below_that_of_a_node() {
    let lines = "A :1@2 myself,master - 0 0 9 connected\nB :1@2 slave A 0 0 12 connected";
    let file = parse(&with_line(lines));
    assert_eq!((file.current_epoch, file.last_vote_epoch), (9, 6));
}

#[test]
fn replicas_have_the_shard_of_their_master() {
    let shards = |own: &str, of_master: &str| {
        let lines = format!(
            "A :1@2,{own} myself,slave B 0 0 0 connected\nB :1@2,{of_master} master - 0 0 0 connected"
        );
        let file = parse(&with_line(&lines));
        let shard = |node: &NodeLine| node.aux.shard_id.map(|id| id.to_string());
        (shard(&file.nodes[0]), shard(&file.nodes[1]))
    };
    let (a, b) = (Some(A.to_owned()), Some(B.to_owned()));
    assert_eq!(shards(",shard-id=A", ",shard-id=A"), (a.clone(), a.clone()));
    assert_eq!(shards(",shard-id=A", ",shard-id=B"), (b.clone(), b.clone()));
    assert_eq!(shards("", ",shard-id=B"), (b.clone(), b));
    assert_eq!(shards(",shard-id=A", ""), (a, None));
    assert_eq!(shards("", ""), (None, None));
    // A chain, the shortest one that is a cycle: as it was.
    let chain = "A :1@2,,shard-id=A myself,slave B 0 0 0 connected\nB :1@2,,shard-id=B slave A 0 0 0 connected";
    assert_eq!(write(&parse(&with_line(chain))), with_line(chain));
}

#[test]
fn ports_of_clients_depend_on_the_aux_fields() {
    let ports = |aux: &str| {
        let text = with_line(&format!("A :1@2,{aux} myself,master - 0 0 0 connected"));
        let node = parse(&text).nodes.remove(0);
        (node.client_ports(false), node.client_ports(true))
    };
    assert_eq!(ports(""), ((1, 0), (0, 1)));
    assert_eq!(ports(",tls-port=3"), ((1, 3), (1, 3)));
    assert_eq!(ports(",tcp-port=3"), ((3, 1), (3, 1)));
    assert_eq!(ports(",tcp-port=3,tls-port=4"), ((3, 4), (3, 4)));
}

#[test]
fn lines_that_could_only_be_guessed_are_refused() {
    let cases = [
        ("A :1@2 myself,master - 0 0 0", "fewer than eight fields"),
        ("A1 :1@2 myself,master - 0 0 0 connected", "the id of the node"),
        ("A 1 myself,master - 0 0 0 connected", "the address has no port"),
        ("A :@2 myself,master - 0 0 0 connected", "a port"),
        ("A :65536@2 myself,master - 0 0 0 connected", "a port"),
        ("A :1@ myself,master - 0 0 0 connected", "a port"),
        ("A :1@2x myself,master - 0 0 0 connected", "a port"),
        ("A :01@2 myself,master - 0 0 0 connected", "a port"),
        ("A :60000 myself,master - 0 0 0 connected", "no port for the bus"),
        ("A :1@2,,tls-port=65536 myself,master - 0 0 0 connected", "a port"),
        ("A :1@2,, myself,master - 0 0 0 connected", "an aux field"),
        ("A :1@2,,nodename myself,master - 0 0 0 connected", "an aux field"),
        ("A :1@2,,nodename=x=y myself,master - 0 0 0 connected", "an aux field"),
        ("A :1@2,,nodename=<x> myself,master - 0 0 0 connected", "an aux field"),
        ("A :1@2,,tls-port=1,tls-port=1 myself,master - 0 0 0 connected", "listed twice"),
        ("A :1@2,,zone=x myself,master - 0 0 0 connected", "no aux field \"zone\""),
        ("A :1@2,,shard-id=x myself,master - 0 0 0 connected", "the id of the shard"),
        ("A :1@2,,client-ipv4=::1 myself,master - 0 0 0 connected", "the address for clients"),
        ("A :1@2,,client-ipv6=1.2.3.4 myself,master - 0 0 0 connected", "the address for clients"),
        ("A :1@2 myself,leader - 0 0 0 connected", "no flag \"leader\""),
        ("A :1@2 myself,,master - 0 0 0 connected", "no flag \"\""),
        ("A :1@2 myself,master,myself - 0 0 0 connected", "a flag is listed twice"),
        ("A :1@2 myself,master,slave - 0 0 0 connected", "a master and a replica"),
        ("A :1@2 myself,master B 0 0 0 connected", "is a master and has one"),
        ("A :1@2 myself,slave A 0 0 0 connected", "its own master"),
        ("A :1@2 myself,slave -B 0 0 0 connected", "the id of the master"),
        ("A :1@2 myself,master - -1 0 0 connected", "a time"),
        ("A :1@2 myself,master - 0 x 0 connected", "a time"),
        ("A :1@2 myself,master - 0 0 18446744073709551616 connected", "the epoch"),
        ("A :1@2 myself,master - 0 0 0 up", "the link"),
        ("A :1@2 myself,master - 0 0 0 connected 16384", "a slot is not"),
        ("A :1@2 myself,master - 0 0 0 connected 5-", "a slot is not"),
        ("A :1@2 myself,master - 0 0 0 connected 0-16384", "a slot is not"),
        ("A :1@2 myself,master - 0 0 0 connected 6-5", "ends before it begins"),
        ("A :1@2 myself,master - 0 0 0 connected 0-5 5", "a slot is listed twice"),
        ("A :1@2 myself,master - 0 0 0 connected [5->-B", "a slot on the move"),
        ("A :1@2 myself,master - 0 0 0 connected [5-=-B]", "a slot on the move"),
        ("A :1@2 myself,master - 0 0 0 connected [5->-B]x", "a slot on the move"),
        ("A :1@2 myself,master - 0 0 0 connected [5->-x]", "the id in a slot"),
        ("A :1@2 myself,master - 0 0 0 connected [16384->-B]", "a slot is not"),
        ("A :1@2 myself,master - 0 0 0 connected [5->-B] [5-<-B]", "a slot is moved twice"),
        ("A :1@2 \"myself\",master - 0 0 0 connected", "a control character or a quote"),
        ("A :1@2 myself,master - 0 0 0 connected\0", "a control character or a quote"),
        ("  ", "only blanks"),
    ];
    for (line, reason) in cases {
        let error = refused(&with_line(line));
        assert!(error.starts_with("line 1: ") && error.contains(reason), "{line}: {error}");
    }
    let latin1 = [A.as_bytes(), b" \xe9:1@2 myself,master - 0 0 0 connected\n"].concat();
    let error = NodesFile::parse(&latin1).unwrap_err();
    assert_eq!(error.to_string(), "line 1: the line is not UTF-8");
}

#[test]
fn files_that_contradict_themselves_are_refused() {
    let cases = [
        (
            "A :1@2 myself,master - 0 0 0 connected 1-4\nB :1@2 master - 0 0 0 connected 4",
            "line 2: slot 4 already belongs to the node of line 1",
        ),
        (
            "A :1@2 myself,master - 0 0 0 connected\n\nA :1@2 master - 0 0 0 connected",
            "line 3: line 1 is about the same node",
        ),
        (
            "A :1@2 myself,master - 0 0 0 connected\nB :1@2 myself,slave A 0 0 0 connected",
            "line 2: the node of line 1 is myself too",
        ),
        ("A :1@2 master - 0 0 0 connected", "line 2: the file ends, and no node is myself"),
        (
            "A :1@2 master - 0 0 0 connected [5->-B]",
            "line 1: the node moves slots and is not myself",
        ),
        (
            "A :1@2 myself,master - 0 0 0 connected\nvars currentEpoch 7",
            "line 3: a variable has two values",
        ),
        (
            "A :1@2 myself,master - 0 0 0 connected\nvars currentEpoch",
            "line 2: a variable has no value",
        ),
        (
            "A :1@2 myself,master - 0 0 0 connected\nvars currentEpoch -1",
            "line 2: the value of a variable is not an epoch",
        ),
    ];
    for (lines, error) in cases {
        assert_eq!(refused(&with_line(lines)), error);
    }
    let no_epochs = "line 1: the file ends, and there is no currentEpoch or lastVoteEpoch";
    assert_eq!(refused("\n"), no_epochs);
    assert_eq!(refused("vars currentEpoch 7\n"), no_epochs);
    assert_eq!(refused(VARS.trim_end()), "line 1: the file ends within the line");
}

#[test]
fn garbage_takes_no_memory() {
    let long = [b'x'; 2].repeat(LINE_BYTES_MAX);
    let error = NodesFile::parse(&long).unwrap_err();
    assert_eq!((error.line, error.kind), (1, ErrorKind::LineTooLong));
    let mut many = String::new();
    for id in 0..=NODES_MAX {
        many.push_str(&format!("{id:040x} :1@2 master - 0 0 0 connected\n"));
    }
    let error = NodesFile::parse(many.as_bytes()).unwrap_err();
    assert_eq!((error.line, error.kind), (NODES_MAX + 1, ErrorKind::TooManyNodes));
}

#[test]
fn the_longest_line_of_a_stock_server_is_accepted() {
    // Each second slot is migrated, and the others are imported.
    let id = |text: &str| NodeId::parse(text.as_bytes()).unwrap();
    let mut node = NodeLine::new(id(A));
    node.flags = NodeFlags::MYSELF | NodeFlags::MASTER;
    node.slots = (0..SLOTS).step_by(2).collect::<SlotBitmap>();
    node.migrating = (0..SLOTS).step_by(2).map(|slot| (slot, id(B))).collect();
    node.importing = (1..SLOTS).step_by(2).map(|slot| (slot, id(B))).collect();
    let file = NodesFile { nodes: vec![node], ..NodesFile::default() };
    assert_eq!(parse(&write(&file)), file);
}
