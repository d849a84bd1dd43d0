//! Messages into bytes, the same ones that stock servers send for the same content: what they leave unused is zero.

use super::flags::MessageFlags;
use super::frame::LONG_FRAME_LEN_MAX;
use super::layout::{
    EXTENSION_ALIGN, EXTENSION_HEADER_LEN, GOSSIP_LEN, HEADER_LEN, IP_LEN, LIGHT_BIT,
    LIGHT_HEADER_LEN, SIGNATURE, VERSION, extension, field, kind,
};
use super::message::{Extensions, GossipEntry, Header, PingKind, Publish, SlotsUpdate};
use crate::node_id::{NODE_ID_LEN, NodeId};

/// Appends a PING, PONG or MEET.
///
/// Stock servers set [`MessageFlags::EXTENSIONS`] in all of them, also without any extension, for the receiver to learn
/// that the sender understands them; they send extensions only to those of whom they learnt it. The flag is taken from
/// the header, and set if there are extensions. Gossip has at most 65535 entries; more are left out.
pub fn write_ping(
    out: &mut Vec<u8>,
    header: &Header,
    kind: PingKind,
    gossip: &[GossipEntry<'_>],
    extensions: &Extensions,
) {
    let gossip = &gossip[..gossip.len().min(usize::from(u16::MAX))];
    let extensions = pack_extensions(extensions);
    let kind = match kind {
        PingKind::Ping => kind::PING,
        PingKind::Pong => kind::PONG,
        PingKind::Meet => kind::MEET,
    };
    let mut flags = header.message_flags;
    flags.set(MessageFlags::EXTENSIONS, flags.has(MessageFlags::EXTENSIONS) || extensions.0 > 0);
    let start = out.len();
    out.reserve(HEADER_LEN + gossip.len() * GOSSIP_LEN + extensions.1.len());
    // It has been cut to what the count can say.
    let count = u16::try_from(gossip.len()).unwrap_or(u16::MAX);
    push_header(out, header, kind, flags, count, extensions.0);
    gossip.iter().for_each(|entry| push_gossip(out, entry));
    out.extend_from_slice(&extensions.1);
    set_len(out, start);
}

/// Appends a FAIL: that a node is down.
pub fn write_fail(out: &mut Vec<u8>, header: &Header, node: &NodeId) {
    write(out, header, kind::FAIL, |out| out.extend_from_slice(node.as_bytes()));
}

/// Appends a PUBLISH or PUBLISHSHARD with a full header, which every node understands.
///
/// Returns whether it did; a message longer than [`LONG_FRAME_LEN_MAX`] is not sent.
pub fn write_publish(out: &mut Vec<u8>, header: &Header, publish: &Publish<'_>) -> bool {
    let Some(lens) = publish_lens(publish) else { return false };
    write(out, header, publish_kind(publish), |out| push_publish(out, publish, lens));
    true
}

/// Appends a PUBLISH or PUBLISHSHARD with a light header, for nodes with
/// [`NodeFlags::LIGHT_HEADERS`](super::NodeFlags::LIGHT_HEADERS) that know the sender.
///
/// Returns whether it did, like [`write_publish`].
pub fn write_publish_light(out: &mut Vec<u8>, publish: &Publish<'_>) -> bool {
    let Some(lens) = publish_lens(publish) else { return false };
    let start = out.len();
    out.reserve(LIGHT_HEADER_LEN + 8 + publish.channel.len() + publish.message.len());
    push_prefix(out, 0, publish_kind(publish) | LIGHT_BIT, 0);
    push_publish(out, publish, lens);
    set_len(out, start);
    true
}

/// Appends a request for a vote. With [`MessageFlags::FORCE_ACK`] in the header it is one of a manual failover.
pub fn write_auth_request(out: &mut Vec<u8>, header: &Header) {
    write(out, header, kind::AUTH_REQUEST, |_| {});
}

/// Appends a vote.
pub fn write_auth_ack(out: &mut Vec<u8>, header: &Header) {
    write(out, header, kind::AUTH_ACK, |_| {});
}

/// Appends an UPDATE: who has which slots.
pub fn write_update(out: &mut Vec<u8>, header: &Header, update: &SlotsUpdate) {
    write(out, header, kind::UPDATE, |out| {
        out.extend_from_slice(&update.config_epoch.to_be_bytes());
        out.extend_from_slice(update.node.as_bytes());
        update.slots.push_bytes(out);
    });
}

/// Appends the request of a replica to its master to pause its clients, for a manual failover.
pub fn write_mf_start(out: &mut Vec<u8>, header: &Header) {
    write(out, header, kind::MF_START, |_| {});
}

/// Appends a message without gossip and extensions.
fn write(out: &mut Vec<u8>, header: &Header, kind: u16, push_body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let mut flags = header.message_flags;
    flags.set(MessageFlags::EXTENSIONS, false);
    push_header(out, header, kind, flags, 0, 0);
    push_body(out);
    set_len(out, start);
}

/// Appends what light and full headers begin with. The length is set when it is known.
fn push_prefix(out: &mut Vec<u8>, port: u16, kind: u16, count: u16) {
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0; 4]);
    for number in [VERSION, port, kind, count] {
        push_u16(out, number);
    }
}

fn push_header(
    out: &mut Vec<u8>,
    header: &Header,
    kind: u16,
    flags: MessageFlags,
    count: u16,
    extensions: u16,
) {
    push_prefix(out, header.port, kind, count);
    for number in [header.current_epoch, header.config_epoch, header.offset] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(header.sender.as_bytes());
    header.slots.push_bytes(out);
    let master = header.master.as_ref().map_or(&[0; NODE_ID_LEN], |master| master.as_bytes());
    out.extend_from_slice(master);
    push_address(out, header.ip.as_deref());
    push_u16(out, extensions);
    out.extend_from_slice(&[0; 30]);
    for number in [header.second_port, header.bus_port, header.flags.0] {
        push_u16(out, number);
    }
    out.extend_from_slice(&[u8::from(!header.is_cluster_ok), flags.0, 0, 0]);
}

/// Writes the length of the message that begins at `start`.
fn set_len(out: &mut [u8], start: usize) {
    // Only a PUBLISH can be long, and its length has been checked.
    let len = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    let at = start + field::TOTAL_LEN;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

fn push_gossip(out: &mut Vec<u8>, entry: &GossipEntry<'_>) {
    out.extend_from_slice(entry.node.as_bytes());
    out.extend_from_slice(&entry.ping_sent_secs.to_be_bytes());
    out.extend_from_slice(&entry.pong_received_secs.to_be_bytes());
    push_address(out, entry.ip);
    for number in [entry.port, entry.bus_port, entry.flags.0, entry.second_port, 0] {
        push_u16(out, number);
    }
}

/// Packs extensions in stock's order. Returns their number and bytes.
fn pack_extensions(extensions: &Extensions) -> (u16, Vec<u8>) {
    let mut out = Extended::default();
    out.push_text(extension::HOSTNAME, extensions.hostname.as_deref());
    out.push_text(extension::HUMAN_NODENAME, extensions.human_nodename.as_deref());
    out.push_text(extension::CLIENT_IPV4, extensions.client_ipv4.as_deref());
    out.push_text(extension::CLIENT_IPV6, extensions.client_ipv6.as_deref());
    for forgotten in &extensions.forgotten {
        let ttl = forgotten.ttl_secs.to_be_bytes();
        out.push(extension::FORGOTTEN, &[forgotten.node.as_bytes(), &ttl[..]].concat());
    }
    if let Some(shard) = &extensions.shard {
        out.push(extension::SHARD, shard.as_bytes());
    }
    (out.count, out.bytes)
}

/// Extensions, packed.
#[derive(Default)]
struct Extended {
    count: u16,
    bytes: Vec<u8>,
}

impl Extended {
    fn push(&mut self, kind: u16, content: &[u8]) {
        let padded_len = EXTENSION_HEADER_LEN + content.len().next_multiple_of(EXTENSION_ALIGN);
        let (Ok(len), Some(count)) = (u32::try_from(padded_len), self.count.checked_add(1)) else {
            return;
        };
        let end = self.bytes.len() + padded_len;
        self.bytes.extend_from_slice(&len.to_be_bytes());
        push_u16(&mut self.bytes, kind);
        push_u16(&mut self.bytes, 0);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(end, 0);
        self.count = count;
    }

    /// Appends a zero-terminated text, unless it is empty.
    fn push_text(&mut self, kind: u16, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.push(kind, &[text.as_bytes(), &[0]].concat());
        }
    }
}

/// Returns the lengths of channel and message if they fit into a message.
fn publish_lens(publish: &Publish<'_>) -> Option<[u32; 2]> {
    let (channel, message) = (publish.channel.len(), publish.message.len());
    let len = channel.checked_add(message)?.checked_add(HEADER_LEN + 8)?;
    if len > LONG_FRAME_LEN_MAX {
        return None;
    }
    Some([u32::try_from(channel).ok()?, u32::try_from(message).ok()?])
}

fn publish_kind(publish: &Publish<'_>) -> u16 {
    if publish.is_sharded { kind::PUBLISH_SHARD } else { kind::PUBLISH }
}

fn push_publish(out: &mut Vec<u8>, publish: &Publish<'_>, lens: [u32; 2]) {
    lens.iter().for_each(|len| out.extend_from_slice(&len.to_be_bytes()));
    out.extend_from_slice(publish.channel);
    out.extend_from_slice(publish.message);
}

/// Appends an address, zero-terminated; one that is too long is cut, as in stock servers.
fn push_address(out: &mut Vec<u8>, address: Option<&str>) {
    let address = address.unwrap_or_default().as_bytes();
    let end = out.len() + IP_LEN;
    out.extend_from_slice(&address[..address.len().min(IP_LEN - 1)]);
    out.resize(end, 0);
}

fn push_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}
