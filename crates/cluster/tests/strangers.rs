//! What reaches a node through its open door: messages of strangers, under false names, with impossible epochs, about nodes
//! that nobody knows, damaged, once more, and in another order.

use std::net::{IpAddr, Ipv4Addr};

use russet_cluster::bus::{
    self, Extensions, Forgotten, GossipEntry, Header, MessageFlags, NodeFlags, PingKind, Publish,
    SlotsUpdate,
};
use russet_cluster::nodes_file::{NodeLine, NodesFile};
use russet_cluster::{Boot, Cluster, Input, LinkId, NodeId, Now, Output, Settings, SlotBitmap};

const TIMEOUT_MS: u64 = 1_000;

/// How many handshakes and connections of strangers there may be at once.
const MOST: usize = 1_024;

/// A node and what it has put out. It is number 0; 1 and 2 are masters, too, with a third of the slots each; 3 is its
/// replica, and 4 that of 1. Others are strangers.
struct Node {
    cluster: Cluster,
    now: Now,
    sent: Vec<(LinkId, Vec<u8>)>,
    closed: Vec<LinkId>,
    published: usize,
}

fn id(number: usize) -> NodeId {
    NodeId::parse(format!("{number:040x}").as_bytes()).expect("digits")
}

fn third(number: usize) -> SlotBitmap {
    slots(number as u16 * 5_000..(number as u16 + 1) * 5_000)
}

fn slots(range: impl IntoIterator<Item = u16>) -> SlotBitmap {
    let mut slots = SlotBitmap::default();
    range.into_iter().for_each(|slot| _ = slots.insert(slot));
    slots
}

fn local() -> Option<IpAddr> {
    Some(Ipv4Addr::LOCALHOST.into())
}

impl Node {
    fn new() -> Node {
        let mut file = NodesFile { current_epoch: 3, ..NodesFile::default() };
        for number in 0..5 {
            let mut line = NodeLine::new(id(number));
            line.ip = "127.0.0.1".to_owned();
            (line.port, line.bus_port) = (7_000 + number as u16, 17_000 + number as u16);
            line.master = (number > 2).then(|| id(number - 3));
            line.flags = if number > 2 { NodeFlags::REPLICA } else { NodeFlags::MASTER };
            line.flags.set(NodeFlags::MYSELF, number == 0);
            if number < 3 {
                (line.config_epoch, line.slots) = (number as u64 + 1, third(number));
            }
            file.nodes.push(line);
        }
        let settings = Settings {
            node_timeout_ms: TIMEOUT_MS,
            bus_port: 17_000,
            require_full_coverage: false,
            ..Settings::default()
        };
        let now = Now { mono_ms: 10_000, wall_ms: 1_764_000_000_000, ..Now::default() };
        let boot = Boot {
            seed: 1,
            new_id: id(0),
            new_shard: id(0),
            file: Some(file),
            journal: Vec::new(),
            bug: None,
        };
        let cluster = Cluster::new(settings, boot, now);
        let mut node = Node { cluster, now, sent: Vec::new(), closed: Vec::new(), published: 0 };
        node.settle();
        node
    }

    /// Takes outputs: what is to be saved is saved at once, and connections stay unopened.
    fn settle(&mut self) {
        while let Some(output) = self.cluster.poll_output() {
            match output {
                Output::Send { link, bytes } => self.sent.push((link, bytes)),
                Output::Close { link } => self.closed.push(link),
                Output::Save { version, .. } => {
                    self.cluster.handle(self.now, Input::Saved { version, result: Ok(()) });
                }
                Output::Publish { .. } => self.published += 1,
                _ => {}
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.cluster.handle(self.now, input);
        self.settle();
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            self.now.mono_ms += 100;
            self.input(Input::Tick);
        }
    }

    /// Opens a connection to the node.
    fn accept(&mut self) -> LinkId {
        let link = self.cluster.next_link();
        self.input(Input::Accepted { link, local: local(), peer: local() });
        link
    }

    fn receive(&mut self, link: LinkId, bytes: &[u8]) {
        self.input(Input::Message { link, bytes });
    }

    /// What the node would lose if a message changed what it must not.
    fn state(&self) -> (String, usize) {
        let (mut text, mut file) = (Vec::new(), self.cluster.file());
        for line in &mut file.nodes {
            // Whoever sends something is heard.
            (line.pong_received_ms, line.ping_sent_ms, line.is_connected) = (0, 0, false);
            line.flags.set(NodeFlags::EXTENSIONS, false);
            line.flags.set(NodeFlags::LIGHT_HEADERS, false);
        }
        file.write(&mut text);
        (String::from_utf8(text).expect("it is text"), self.cluster.nodes().count())
    }

    fn handshakes(&self) -> Vec<NodeId> {
        let nodes = self.cluster.nodes().iter().map(|(_, node)| node);
        nodes.filter(|node| node.is(NodeFlags::HANDSHAKE)).map(|node| node.id).collect()
    }

    fn owner(&self, slot: u16) -> Option<NodeId> {
        let nodes = self.cluster.nodes();
        nodes.owner(slot).map(|owner| nodes[owner].id)
    }
}

/// What a node says of itself; a stranger: that it is a master without slots.
fn header(number: usize) -> Header {
    let master = (3..5).contains(&number).then(|| number - 3);
    let owner = master.unwrap_or(number);
    let (config_epoch, slots) = match owner < 3 {
        true => (owner as u64 + 1, third(owner)),
        false => (0, SlotBitmap::default()),
    };
    Header {
        sender: id(number),
        current_epoch: 3,
        config_epoch,
        offset: 0,
        slots,
        master: master.map(id),
        ip: None,
        port: 7_000 + number as u16,
        second_port: 0,
        bus_port: 17_000 + number as u16,
        flags: if master.is_some() { NodeFlags::REPLICA } else { NodeFlags::MASTER },
        is_cluster_ok: true,
        message_flags: MessageFlags::default(),
    }
}

fn ping(header: &Header, kind: PingKind, gossip: &[GossipEntry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bus::write_ping(&mut bytes, header, kind, gossip, &Extensions::default());
    bytes
}

/// Returns gossip about nodes that nobody knows.
fn gossip_about(numbers: std::ops::Range<usize>) -> Vec<GossipEntry<'static>> {
    let entry = |number: usize| GossipEntry {
        node: id(number),
        ping_sent_secs: 0,
        pong_received_secs: 0,
        ip: Some("10.0.0.9"),
        port: number as u16,
        second_port: 0,
        bus_port: 10_000 + number as u16,
        flags: NodeFlags::MASTER,
    };
    numbers.map(entry).collect()
}

/// Returns a message of each type but MEET, each of which would change something if it were believed.
fn messages(header: &Header) -> Vec<Vec<u8>> {
    let mut all = vec![
        ping(header, PingKind::Ping, &gossip_about(100..104)),
        ping(header, PingKind::Pong, &gossip_about(100..104)),
    ];
    let extensions = Extensions {
        forgotten: vec![Forgotten { node: id(2), ttl_secs: 60 }],
        ..Extensions::default()
    };
    let mut add = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        all.push(bytes);
    };
    let update = SlotsUpdate { node: id(2), config_epoch: 50, slots: third(0) };
    let publish = Publish { is_sharded: false, channel: b"c", message: b"m" };
    add(&|bytes| bus::write_ping(bytes, header, PingKind::Ping, &[], &extensions));
    add(&|bytes| bus::write_fail(bytes, header, &id(1)));
    add(&|bytes| bus::write_auth_request(bytes, header));
    add(&|bytes| bus::write_auth_ack(bytes, header));
    add(&|bytes| bus::write_update(bytes, header, &update));
    add(&|bytes| bus::write_mf_start(bytes, header));
    add(&|bytes| assert!(bus::write_publish(bytes, header, &publish)));
    add(&|bytes| assert!(bus::write_publish_light(bytes, &publish)));
    all
}

#[test]
fn a_stranger_changes_nothing() {
    let mut node = Node::new();
    let before = node.state();
    let claims = Header {
        current_epoch: 90,
        config_epoch: 90,
        slots: slots(0..16_384),
        message_flags: MessageFlags::FORCE_ACK,
        ..header(9)
    };
    for bytes in messages(&claims) {
        let link = node.accept();
        node.sent.clear();
        node.receive(link, &bytes);
        assert_eq!(node.state(), before, "type {}", bus::type_of(&bytes));
        // Only its pings are answered.
        let is_ping = bus::type_of(&bytes) == 0;
        assert_eq!(node.sent.len(), usize::from(is_ping), "type {}", bus::type_of(&bytes));
    }
    assert_eq!((node.published, node.handshakes().len()), (0, 0));
}

#[test]
fn only_so_many_strangers_are_listened_to() {
    let mut node = Node::new();
    let links: Vec<LinkId> = (0..MOST).map(|_| node.accept()).collect();
    assert!(node.closed.is_empty());
    let link = node.accept();
    assert_eq!(node.closed, [link]);
    // They are sent away when they have had the time to say who they are.
    node.pass(2 * TIMEOUT_MS);
    assert!(links.iter().all(|link| node.closed.contains(link)));
}

#[test]
fn gossip_about_thousands_of_nodes_takes_bounded_memory() {
    let mut node = Node::new();
    let before = node.state();
    let (known, stranger) = (node.accept(), node.accept());
    for first in (1_000..9_000).step_by(1_000) {
        let gossip = gossip_about(first..first + 1_000);
        node.receive(stranger, &ping(&header(9), PingKind::Ping, &gossip));
        assert!(first > 1_000 || node.handshakes().is_empty(), "a stranger is not believed");
        node.receive(known, &ping(&header(1), PingKind::Ping, &gossip));
        assert!(node.handshakes().len() <= MOST);
    }
    assert_eq!(node.handshakes().len(), MOST);
    // There is no room for one more, whoever asks.
    node.receive(stranger, &ping(&header(9), PingKind::Meet, &gossip_about(9_000..10_000)));
    assert_eq!(node.handshakes().len(), MOST);
    // They do not answer, so they are forgotten.
    node.pass(2 * TIMEOUT_MS);
    assert!(node.handshakes().is_empty());
    assert_eq!(node.state().1, before.1);
}

#[test]
fn a_meeting_with_a_stranger_that_knows_thousands_takes_bounded_memory() {
    let mut node = Node::new();
    for number in 0..20 {
        let link = node.accept();
        let first = 1_000 + number * 1_000;
        let gossip = gossip_about(first..first + 1_000);
        node.receive(link, &ping(&header(100 + number), PingKind::Meet, &gossip));
        assert!(node.handshakes().len() <= MOST);
    }
    node.pass(2 * TIMEOUT_MS);
    assert!(node.handshakes().is_empty());
}

#[test]
fn a_message_under_our_own_name_changes_nothing_and_is_not_answered() {
    let mut node = Node::new();
    let before = node.state();
    let copy = Header { current_epoch: 90, config_epoch: 90, slots: slots(0..16_384), ..header(0) };
    let (stranger, known) = (node.accept(), node.accept());
    node.receive(known, &ping(&header(1), PingKind::Ping, &[]));
    node.sent.clear();
    for bytes in messages(&copy).into_iter().filter(|bytes| bus::type_of(bytes) != 10) {
        for link in [stranger, known] {
            node.receive(link, &bytes);
            assert_eq!(node.state(), before, "type {}", bus::type_of(&bytes));
        }
    }
    node.receive(stranger, &ping(&copy, PingKind::Meet, &[]));
    assert_eq!(node.state(), before);
    assert!(node.sent.iter().all(|(link, _)| *link != stranger), "{:?}", node.sent);
}

#[test]
fn a_message_under_the_name_of_another_closes_its_connection() {
    let mut node = Node::new();
    let before = node.state();
    for bytes in messages(&Header { current_epoch: 90, ..header(2) }) {
        // Light messages have no name.
        if bus::type_of(&bytes) == 8 || bytes.len() < 2_256 {
            continue;
        }
        let link = node.accept();
        node.receive(link, &ping(&header(1), PingKind::Ping, &[]));
        node.closed.clear();
        node.receive(link, &bytes);
        assert_eq!(node.closed, [link], "type {}", bus::type_of(&bytes));
        assert_eq!(node.state(), before, "type {}", bus::type_of(&bytes));
    }
}

#[test]
fn a_name_that_stands_for_an_unfinished_handshake_is_nobodys() {
    let mut node = Node::new();
    let stranger = node.accept();
    node.receive(stranger, &ping(&header(9), PingKind::Meet, &[]));
    let made_up = node.handshakes()[0];
    let before = node.state();
    // Clients see the name in CLUSTER NODES.
    let forged = Header {
        sender: made_up,
        current_epoch: 90,
        config_epoch: 90,
        slots: slots(0..16_384),
        ..header(9)
    };
    let other = node.accept();
    for bytes in messages(&forged) {
        node.receive(other, &bytes);
        assert_eq!(node.state(), before, "type {}", bus::type_of(&bytes));
    }
    // Nor does a node of the cluster know it.
    let mut about = gossip_about(9..10);
    (about[0].node, about[0].flags) = (made_up, NodeFlags::MASTER | NodeFlags::FAIL);
    let known = node.accept();
    node.receive(known, &ping(&header(1), PingKind::Ping, &about));
    let mut bytes = Vec::new();
    let slots = slots(0..16_384);
    bus::write_update(
        &mut bytes,
        &header(1),
        &SlotsUpdate { node: made_up, config_epoch: 90, slots },
    );
    node.receive(known, &bytes);
    node.receive(known, &ping(&Header { master: Some(made_up), ..header(1) }, PingKind::Ping, &[]));
    assert_eq!((node.owner(0), node.handshakes()), (Some(id(0)), vec![made_up]));
    assert!(node.cluster.nodes().iter().all(|(_, node)| node.is(NodeFlags::MYSELF)
        || !node.is(NodeFlags::HANDSHAKE)
        || node.slot_count() == 0));
}

#[test]
fn epochs_cannot_be_used_up() {
    for impossible in [(1 << 62) + 1, u64::MAX - 1, u64::MAX] {
        let mut node = Node::new();
        let before = node.state();
        let all = slots(0..16_384);
        for header in [
            Header { current_epoch: impossible, ..header(1) },
            Header { config_epoch: impossible, slots: all.clone(), ..header(1) },
        ] {
            let link = node.accept();
            node.receive(link, &ping(&header, PingKind::Ping, &[]));
            assert_eq!((node.closed.last(), node.state()), (Some(&link), before.clone()));
        }
        let link = node.accept();
        let mut bytes = Vec::new();
        let update = SlotsUpdate { node: id(2), config_epoch: impossible, slots: all };
        bus::write_update(&mut bytes, &header(1), &update);
        node.receive(link, &bytes);
        assert_eq!(node.state(), before);
    }
    // The highest one that is believed leaves room for others: whoever has lost slots can get them back.
    let mut node = Node::new();
    let link = node.accept();
    let highest = 1 << 62;
    let claims = Header {
        current_epoch: highest,
        config_epoch: highest,
        slots: slots(0..16_384),
        ..header(1)
    };
    node.receive(link, &ping(&claims, PingKind::Ping, &[]));
    assert_eq!((node.owner(0), node.cluster.current_epoch()), (Some(id(1)), highest));
    let link = node.accept();
    let (current_epoch, config_epoch) = (highest, highest);
    let claims = Header { current_epoch, config_epoch, slots: third(2), ..header(2) };
    node.receive(link, &ping(&claims, PingKind::Ping, &[]));
    assert_eq!(node.owner(10_000), Some(id(1)), "it has the same epoch");
    let next = node.cluster.bump_config_epoch(node.now);
    assert!(next == (true, highest + 1), "{next:?}");
}

#[test]
fn each_part_of_a_message_and_more_than_one_do_no_harm() {
    let mut node = Node::new();
    let link = node.accept();
    node.receive(link, &ping(&header(1), PingKind::Ping, &[]));
    let before = node.state();
    let claims =
        Header { current_epoch: 90, config_epoch: 90, slots: slots(0..16_384), ..header(1) };
    for bytes in messages(&claims).into_iter().filter(|bytes| bytes.len() >= 2_256) {
        for len in (0..bytes.len()).step_by(7) {
            node.receive(link, &bytes[..len]);
            let mut says_so = bytes[..len].to_vec();
            if let Some(field) = says_so.get_mut(4..8) {
                field.copy_from_slice(&(len as u32).to_be_bytes());
            }
            // It says that it is as short as it is.
            if len < 2_256 {
                node.receive(link, &says_so);
            }
        }
        assert_eq!(node.state(), before, "type {}", bus::type_of(&bytes));
        node.receive(link, &[&bytes[..], &bytes[..]].concat());
        assert_eq!(node.state(), before, "type {}", bus::type_of(&bytes));
        for count in [1, 2, 1_000, u16::MAX] {
            let mut bytes = bytes.clone();
            bytes[14..16].copy_from_slice(&count.to_be_bytes());
            if bus::type_of(&bytes) < 3 {
                node.receive(link, &bytes);
            }
        }
        assert_eq!(node.state().1, before.1, "type {}", bus::type_of(&bytes));
    }
}

/// The story of a slot: node 1 has it, its replica 4 takes over, node 2 gets it, with newer and newer epochs.
fn story() -> Vec<(usize, Vec<u8>)> {
    let at = |number: usize, epoch: u64, slots: SlotBitmap| {
        let (current_epoch, config_epoch) = (epoch, epoch);
        let header = Header { current_epoch, config_epoch, slots, master: None, ..header(number) };
        (number, ping(&header, PingKind::Ping, &[]))
    };
    vec![
        at(1, 2, third(1)),
        at(4, 10, third(1)),
        at(2, 11, third(2).union(&third(1))),
        at(4, 12, slots(5_000..5_100)),
    ]
}

#[test]
fn old_messages_do_no_harm_again() {
    let mut node = Node::new();
    let links = [0, 1, 2, 3, 4].map(|_| node.accept());
    for (number, bytes) in story() {
        node.receive(links[number], &bytes);
    }
    let owners = [5_000, 5_099, 5_100, 9_999].map(|slot| node.owner(slot));
    assert_eq!(owners, [Some(id(4)), Some(id(4)), Some(id(2)), Some(id(2))]);
    let state = node.state();
    for (number, bytes) in story() {
        node.receive(links[number], &bytes);
        let owners_now = [5_000, 5_099, 5_100, 9_999].map(|slot| node.owner(slot));
        assert_eq!(owners_now, owners, "the message of {number}");
    }
    assert_eq!(node.state(), state);
}

#[test]
fn messages_in_any_order_come_to_the_same_end() {
    let story = story();
    let mut orders: Vec<Vec<usize>> = vec![vec![]];
    for _ in 0..story.len() {
        orders = orders
            .into_iter()
            .flat_map(|order| {
                let next =
                    (0..story.len()).filter(|next| !order.contains(next)).collect::<Vec<_>>();
                next.into_iter().map(move |next| [&order[..], &[next]].concat())
            })
            .collect();
    }
    assert_eq!(orders.len(), 24);
    for order in orders {
        let mut node = Node::new();
        let links = [0, 1, 2, 3, 4].map(|_| node.accept());
        for &index in &order {
            node.receive(links[story[index].0], &story[index].1);
        }
        // What the nodes say at last, they go on to say.
        for (number, bytes) in [&story[0], &story[2], &story[3]].repeat(2) {
            node.receive(links[*number], bytes);
        }
        let owners = [5_000, 5_100].map(|slot| node.owner(slot));
        assert_eq!(owners, [Some(id(4)), Some(id(2))], "{order:?}");
    }
}

#[test]
fn a_message_from_before_says_nothing_of_now() {
    let mut node = Node::new();
    let (old, new) = (node.accept(), node.accept());
    // Node 4 is a replica of 1, and then takes its place; what it said before comes on an older connection.
    let header = |epoch: u64, master: Option<usize>| Header {
        current_epoch: epoch,
        config_epoch: epoch,
        slots: if master.is_some() { SlotBitmap::default() } else { third(1) },
        master: master.map(id),
        flags: if master.is_some() { NodeFlags::REPLICA } else { NodeFlags::MASTER },
        ..header(4)
    };
    node.receive(new, &ping(&header(10, None), PingKind::Ping, &[]));
    assert_eq!(node.owner(5_000), Some(id(4)));
    let state = node.state();
    node.sent.clear();
    let mut fail = Vec::new();
    bus::write_fail(&mut fail, &header(9, Some(1)), &id(2));
    for bytes in [ping(&header(9, Some(2)), PingKind::Ping, &[]), fail] {
        node.receive(old, &bytes);
        assert_eq!(node.state(), state);
    }
    assert!(!node.sent.is_empty(), "it is answered");
    node.receive(old, &ping(&header(11, Some(2)), PingKind::Ping, &[]));
    assert_ne!(node.state(), state);
}
