//! The machine of a cluster, fed with messages that look valid, in any order: of nodes of the cluster and of strangers, true
//! and forged, with wrong and with huge epochs, under our own name, about nodes that nobody knows; the same again; between
//! connections that open and close, saves that take their time or fail, commands, restarts, and time.
//!
//! Byte 0 selects what the machine is at first. Invariants (in `russet_fuzz::cluster`): no second vote in an epoch, and none
//! that is not on disk; nothing that it says of itself is newer than its disk; epochs do not go back, and cannot be used up;
//! a slot does not go to an older epoch; handshakes and connections have limits.
//!
//! `RUSSET_FUZZ_BUG=second-vote` plants a bug, to see that it is found; the names are in `crates/cluster/src/injected.rs`.
#![no_main]

use russet_cluster::bus::{
    self, Extensions, Forgotten, GossipEntry, Header, MessageFlags, NodeFlags, PingKind, Publish,
    SlotsUpdate,
};
use russet_cluster::{NodeId, Reset, SlotBitmap, SlotStep, Takeover};
use russet_fuzz::cluster::{BUS_PORT, KNOWN, ME, SLOTS, Scene, WATCHED, id, shows, third};
use russet_fuzz::input::Input;

/// Steps of a run; the rest of the input is ignored.
const STEPS_MAX: usize = 200;

/// Nodes that an endless piece of gossip is about.
const FLOOD: usize = 1_000;

/// Peers of which a choice is made: those of the cluster, and some that nobody knows.
const PEERS: usize = 12;

/// Returns the name of a peer, of the machine, or of a node that it has not got to know yet.
fn name(scene: &Scene, input: &mut Input<'_>) -> NodeId {
    let choice = input.byte();
    let mut greeted = scene.cluster.nodes().iter().map(|(_, node)| node);
    let greeted = greeted.find(|node| node.is(NodeFlags::HANDSHAKE)).map(|node| node.id);
    match choice {
        0..224 => id(usize::from(choice) % PEERS),
        224..240 => scene.cluster.my_id(),
        _ => greeted.unwrap_or(id(ME)),
    }
}

fn epoch(scene: &Scene, input: &mut Input<'_>) -> u64 {
    let choice = input.byte();
    let current = scene.cluster.current_epoch();
    match choice {
        0..96 => u64::from(choice % 12),
        96..160 => current.saturating_add(u64::from(choice % 4)),
        160..224 => current.saturating_sub(u64::from(choice % 4)),
        224..232 => 1 << 62,
        232..240 => (1 << 62) + 1,
        240..248 => u64::MAX,
        _ => u64::from(u32::MAX),
    }
}

fn slots(input: &mut Input<'_>) -> SlotBitmap {
    let choice = input.byte();
    let mut slots = SlotBitmap::default();
    match choice {
        0..64 => return third(usize::from(choice)),
        64..96 => (0..SLOTS).for_each(|slot| _ = slots.insert(slot)),
        96..128 => {}
        _ => {
            let first = u16::from(input.byte()) % 128 * WATCHED;
            for slot in first..first + u16::from(input.byte()) % WATCHED {
                slots.insert(slot);
            }
        }
    }
    slots
}

/// Makes a header say something else.
fn patch(scene: &Scene, header: &mut Header, input: &mut Input<'_>) {
    match input.below(11) {
        0 => header.sender = name(scene, input),
        1 => header.current_epoch = epoch(scene, input),
        2 => header.config_epoch = epoch(scene, input),
        3 => header.slots = slots(input),
        4 => header.master = Some(name(scene, input)),
        5 => header.master = None,
        6 => header.flags = NodeFlags(u16::from_le_bytes([input.byte(), input.byte()])),
        7 => header.message_flags = MessageFlags(input.byte()),
        8 => header.bus_port = BUS_PORT + input.below(PEERS) as u16,
        9 => header.ip = Some(format!("10.0.0.{}", input.byte())),
        _ => header.offset = epoch(scene, input),
    }
}

fn gossip<'a>(scene: &Scene, input: &mut Input<'_>, ip: &'a str) -> Vec<GossipEntry<'a>> {
    let mut entries = Vec::new();
    let now_secs = (scene.now.wall_ms / 1_000) as u32;
    let entry = |node, port: u16, flags| GossipEntry {
        node,
        ping_sent_secs: 0,
        pong_received_secs: now_secs,
        ip: Some(ip),
        port: port.wrapping_sub(10_000),
        second_port: 0,
        bus_port: port,
        flags,
    };
    for _ in 0..input.below(4) {
        let (node, choice) = (name(scene, input), input.byte());
        let port = BUS_PORT + u16::from(choice % 16);
        let flags = match choice {
            0..80 => NodeFlags::MASTER | NodeFlags::PFAIL,
            80..160 => NodeFlags::MASTER | NodeFlags::FAIL,
            160..208 => NodeFlags::MASTER,
            208..240 => NodeFlags::REPLICA,
            _ => NodeFlags(u16::from_le_bytes([input.byte(), input.byte()])),
        };
        entries.push(entry(node, port, flags));
    }
    if input.byte() == 255 {
        let from = input.below(64) * FLOOD / 8;
        let strangers = (from..from + FLOOD).map(|number| 20 + number);
        entries
            .extend(strangers.map(|peer| {
                entry(id(peer), BUS_PORT.wrapping_add(peer as u16), NodeFlags::MASTER)
            }));
    }
    entries
}

fn extensions(scene: &Scene, input: &mut Input<'_>) -> Extensions {
    let choice = input.byte();
    if choice < 160 {
        return Extensions::default();
    }
    let secs = [0, 1, 60, u64::MAX][usize::from(choice % 4)];
    let forgotten =
        (0..input.below(3)).map(|_| Forgotten { node: name(scene, input), ttl_secs: secs });
    Extensions {
        forgotten: forgotten.collect(),
        shard: Some(name(scene, input)),
        hostname: (choice > 240).then(|| "host.example".to_owned()),
        ..Extensions::default()
    }
}

/// Sends a message of a peer: a true one, or one with some patches.
fn message(scene: &mut Scene, input: &mut Input<'_>) {
    let (peer, kind, how) = (1 + input.below(PEERS - 1), input.byte(), input.byte());
    let is_outgoing = kind & 128 != 0;
    let Some(link) = scene.line_of(peer, is_outgoing) else { return };
    let mut header = scene.header(peer);
    for _ in 0..how % 4 {
        patch(scene, &mut header, input);
    }
    let mut bytes = Vec::new();
    match kind % 16 {
        kind @ 0..7 => {
            let kind = match kind {
                0..3 => PingKind::Ping,
                3..5 => PingKind::Pong,
                _ => PingKind::Meet,
            };
            let ip = ["127.0.0.1", "127.0.0.1", "10.0.0.9", "host.example"][input.below(4)];
            let (gossip, extensions) = (gossip(scene, input, ip), extensions(scene, input));
            bus::write_ping(&mut bytes, &header, kind, &gossip, &extensions);
        }
        7 => bus::write_fail(&mut bytes, &header, &name(scene, input)),
        8..11 => {
            // A replica asks in a new epoch, or in the one of another.
            if how & 128 != 0 {
                scene.epoch = scene.epoch.max(scene.cluster.current_epoch()).saturating_add(1);
                header.current_epoch = header.current_epoch.max(scene.epoch);
            }
            header.message_flags.set(MessageFlags::FORCE_ACK, how & 64 != 0);
            bus::write_auth_request(&mut bytes, &header);
        }
        11 => {
            header.current_epoch = scene.cluster.current_epoch();
            bus::write_auth_ack(&mut bytes, &header);
        }
        12 => {
            let (node, config_epoch) = (name(scene, input), epoch(scene, input));
            let update = SlotsUpdate { node, config_epoch, slots: slots(input) };
            bus::write_update(&mut bytes, &header, &update);
        }
        13 => bus::write_mf_start(&mut bytes, &header),
        _ => {
            let publish = Publish { is_sharded: how & 64 != 0, channel: b"c", message: b"m" };
            match how & 128 {
                0 => _ = bus::write_publish(&mut bytes, &header, &publish),
                _ => _ = bus::write_publish_light(&mut bytes, &publish),
            }
        }
    }
    if how & 60 == 60 {
        bytes.truncate(usize::from(input.byte()) * 16);
    }
    scene.send(link, bytes);
}

/// A replica takes the place of its master, as it tells everybody with its next message.
fn fail_over(scene: &mut Scene, peer: usize) {
    let Some(master) = scene.peers[peer].master.filter(|master| *master != ME) else { return };
    scene.epoch = scene.epoch.max(scene.cluster.current_epoch()).saturating_add(1);
    let slots = std::mem::take(&mut scene.peers[master].slots);
    let replicas = scene.peers.iter_mut().filter(|peer| peer.master == Some(master));
    replicas.for_each(|replica| replica.master = Some(peer));
    scene.peers[master].master = Some(peer);
    scene.peers[peer].master = None;
    (scene.peers[peer].epoch, scene.peers[peer].slots) = (scene.epoch, slots);
}

/// Carries out a command.
fn command(scene: &mut Scene, input: &mut Input<'_>) {
    let (choice, slot) = (input.below(20), u16::from(input.byte()) % 128 * WATCHED);
    let (node, has_keys) = (name(scene, input), input.byte() & 1 == 1);
    let [new_id, new_shard] = scene.new_names();
    let peer = BUS_PORT + input.below(PEERS) as u16;
    scene.order(|cluster, now| {
        // What is refused has no effect; the texts are tested elsewhere.
        let id = node.as_bytes();
        match choice {
            0..3 => cluster.meet(now, "127.0.0.1", peer - 10_000, peer),
            3 => _ = cluster.forget(now, id),
            4 => _ = cluster.replicate(now, id, has_keys),
            5 => cluster.replicate_no_one(now, new_shard),
            6 => _ = cluster.add_slots(now, &[slot]),
            7 => _ = cluster.delete_slots(now, &[slot]),
            8 => cluster.flush_slots(now),
            9 => _ = cluster.set_slot(now, slot, &SlotStep::Migrate(id.to_vec()), has_keys),
            10 => _ = cluster.set_slot(now, slot, &SlotStep::Import(id.to_vec()), has_keys),
            11 => _ = cluster.set_slot(now, slot, &SlotStep::Settle, has_keys),
            12 => _ = cluster.set_slot(now, slot, &SlotStep::Give(id.to_vec()), has_keys),
            13 => _ = cluster.bump_config_epoch(now),
            14 => _ = cluster.set_config_epoch(now, u64::from(slot)),
            15 => _ = cluster.failover(now, Takeover::Coordinated),
            16 => _ = cluster.failover(now, Takeover::Forced),
            17 => _ = cluster.failover(now, Takeover::Unasked),
            18 => _ = cluster.reset(now, Reset::Soft, has_keys, new_id, new_shard),
            _ => _ = cluster.reset(now, Reset::Hard, has_keys, new_id, new_shard),
        }
    });
}

fn step(scene: &mut Scene, input: &mut Input<'_>) {
    let choice = input.byte();
    if shows() {
        eprintln!("-- {choice}, at {}", scene.now.mono_ms);
    }
    match choice {
        0..96 => message(scene, input),
        96..128 => scene.help(choice & 1 == 1),
        128..160 => {
            let ms = [1, 10, 100, 300, 600, 1_100, 2_500, 10_000][usize::from(choice % 8)];
            scene.pass(ms);
        }
        160..168 => scene.pass(20_000),
        168..184 => scene.complete(usize::from(input.byte()), choice & 3 != 0),
        184..196 => scene.save(choice & 3 != 0),
        196..204 => scene.hang_up(usize::from(input.byte())),
        204..214 => {
            let count = scene.past.len().max(1);
            let again = scene.past.get(usize::from(input.byte()) % count).cloned();
            let link = scene.line_of(1 + input.below(PEERS - 1), choice & 1 == 1);
            if let Some((bytes, link)) = again.zip(link) {
                scene.send(link, bytes);
            }
        }
        214..220 => fail_over(scene, 1 + input.below(KNOWN - 1)),
        220..236 => command(scene, input),
        236..240 => scene.restart(choice & 1 == 1),
        240..248 => {
            let data = &mut scene.now.data;
            data.offset = u64::from(input.byte());
            data.is_connected = choice & 1 == 1;
            data.silent_ms = (choice & 2 == 2).then_some(u64::from(input.byte()) * 100);
        }
        248..252 => {
            // The process was stopped, and its wall clock is set.
            let ms = 1 << input.below(24);
            scene.now.mono_ms += ms;
            let jump = i64::from(input.byte().cast_signed()) << 32;
            scene.now.wall_ms = scene.now.wall_ms.saturating_add(jump).max(0);
        }
        _ => {
            // Everybody asks.
            for peer in 1..KNOWN {
                let mut bytes = Vec::new();
                let header = scene.header(peer);
                bus::write_ping(&mut bytes, &header, PingKind::Ping, &[], &Extensions::default());
                if let Some(link) = scene.line_of(peer, false) {
                    scene.send(link, bytes);
                }
            }
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut scene = Scene::new(input.byte());
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        step(&mut scene, &mut input);
    }
    // What is on disk is what a restart begins with.
    scene.restart(true);
});
