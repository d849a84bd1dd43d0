//! Frames into messages.
//!
//! A frame that [`next_frame`](super::next_frame) found is a message of a peer that may be of another version, broken or
//! malicious. Its counts and lengths must add up to exactly the length of the frame, so nothing can be read beside it and
//! nothing hides behind its end. What is then read is either right, or
//!
//! * spoils the message: names of the sender and its master, its address, what a FAIL or UPDATE is about. Such a message
//!   is passed over, an error to be counted and logged; the connection stays, since it is known where the next one begins.
//! * spoils only itself: an entry of gossip, an extension. It is left out and counted.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::flags::{MessageFlags, NodeFlags};
use super::layout::{
    EXTENSION_ALIGN, EXTENSION_HEADER_LEN, GOSSIP_LEN, IP_LEN, LIGHT_BIT, LIGHT_HEADER_LEN,
    PREFIX_LEN, SIGNATURE, VERSION, extension, field, kind, u16_at, u32_at,
};
use super::message::{
    Extensions, Forgotten, GossipEntry, Header, Message, Ping, PingKind, Publish, SlotsUpdate,
};
use crate::node_id::{NODE_ID_LEN, NodeId};
use crate::slots::{BITMAP_BYTES, SlotBitmap};

/// Maximum length of a host name, and of a name for people.
const NAME_LEN_MAX: usize = 255;

/// A decoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// What it says of its sender; none in a light message, whose sender is the node of the connection.
    pub header: Option<Header>,
    /// The message.
    pub message: Message<'a>,
    /// The number of entries of gossip and of extensions that were left out because they are wrong.
    pub ignored: usize,
}

/// Why a message is passed over. The connection stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusError {
    /// Not a frame that `next_frame` found.
    NotAFrame,
    /// A message of another version.
    Version(u16),
    /// A message of an unknown type.
    Kind(u16),
    /// A message of this type has no light header.
    LightKind(u16),
    /// A message of this type whose lengths and counts do not add up to its length.
    Length {
        /// The type.
        kind: u16,
        /// Its length.
        len: usize,
    },
    /// A name that is not one.
    Name,
    /// An address that is not one.
    Address,
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BusError::NotAFrame => f.write_str("not a message"),
            BusError::Version(version) => write!(f, "version {version}"),
            BusError::Kind(kind) => write!(f, "unknown type {kind}"),
            BusError::LightKind(kind) => write!(f, "type {kind} has no light header"),
            BusError::Length { kind, len } => write!(f, "type {kind} with a bad length of {len}"),
            BusError::Name => f.write_str("bad name of a node"),
            BusError::Address => f.write_str("bad address"),
        }
    }
}

impl std::error::Error for BusError {}

/// Decodes a frame, all of it.
pub fn decode(frame: &[u8]) -> Result<Received<'_>, BusError> {
    let claimed = usize::try_from(u32_at(frame, field::TOTAL_LEN));
    if !frame.starts_with(SIGNATURE) || frame.len() < PREFIX_LEN || claimed != Ok(frame.len()) {
        return Err(BusError::NotAFrame);
    }
    let (version, kind) = (u16_at(frame, field::VERSION), u16_at(frame, field::KIND));
    if version != VERSION {
        return Err(BusError::Version(version));
    }
    let bad_length = BusError::Length { kind, len: frame.len() };
    let mut reader = Reader { rest: frame, bad_length };
    if kind & LIGHT_BIT != 0 {
        decode_light(&mut reader, kind & !LIGHT_BIT)
    } else {
        decode_full(&mut reader, kind)
    }
}

fn decode_light<'a>(reader: &mut Reader<'a>, kind: u16) -> Result<Received<'a>, BusError> {
    if !matches!(kind, kind::PUBLISH | kind::PUBLISH_SHARD) {
        return Err(BusError::LightKind(kind));
    }
    reader.bytes(LIGHT_HEADER_LEN)?;
    let message = Message::Publish(publish(reader, kind)?);
    reader.end()?;
    Ok(Received { header: None, message, ignored: 0 })
}

fn decode_full<'a>(reader: &mut Reader<'a>, kind: u16) -> Result<Received<'a>, BusError> {
    let (header, counts) = header(reader)?;
    let mut ignored = 0;
    let message = match kind {
        kind::PING => Message::Ping(ping(reader, PingKind::Ping, &counts, &mut ignored)?),
        kind::PONG => Message::Ping(ping(reader, PingKind::Pong, &counts, &mut ignored)?),
        kind::MEET => Message::Ping(ping(reader, PingKind::Meet, &counts, &mut ignored)?),
        kind::FAIL => Message::Fail(reader.name()?),
        kind::PUBLISH | kind::PUBLISH_SHARD => Message::Publish(publish(reader, kind)?),
        kind::AUTH_REQUEST => Message::AuthRequest,
        kind::AUTH_ACK => Message::AuthAck,
        kind::UPDATE => Message::Update(slots_update(reader)?),
        kind::MF_START => Message::MfStart,
        kind::MODULE => module(reader)?,
        _ => return Err(BusError::Kind(kind)),
    };
    reader.end()?;
    Ok(Received { header: Some(header), message, ignored })
}

/// How many entries of gossip follow the header, and how many extensions.
struct Counts {
    gossip: u16,
    extensions: u16,
}

fn header(reader: &mut Reader<'_>) -> Result<(Header, Counts), BusError> {
    reader.bytes(10)?;
    let port = reader.u16()?;
    reader.u16()?;
    let gossip = reader.u16()?;
    let (current_epoch, config_epoch, offset) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let sender = reader.name()?;
    let slots = SlotBitmap::from_bytes(reader.array::<BITMAP_BYTES>()?);
    let master = match reader.array::<NODE_ID_LEN>()? {
        bytes if bytes == &[0; NODE_ID_LEN] => None,
        bytes => Some(NodeId::parse(bytes).ok_or(BusError::Name)?),
    };
    let ip = address(reader.array()?)?.map(str::to_owned);
    let extensions = reader.u16()?;
    reader.bytes(30)?;
    let (second_port, bus_port) = (reader.u16()?, reader.u16()?);
    let flags = NodeFlags(reader.u16()?);
    let [state, message_flags, _, _] = *reader.array::<4>()?;
    let message_flags = MessageFlags(message_flags);
    let has_extensions = message_flags.has(MessageFlags::EXTENSIONS);
    let counts = Counts { gossip, extensions: if has_extensions { extensions } else { 0 } };
    let header = Header {
        sender,
        current_epoch,
        config_epoch,
        offset,
        slots,
        master,
        ip,
        port,
        second_port,
        bus_port,
        flags,
        is_cluster_ok: state == 0,
        message_flags,
    };
    Ok((header, counts))
}

fn ping<'a>(
    reader: &mut Reader<'a>,
    kind: PingKind,
    counts: &Counts,
    ignored: &mut usize,
) -> Result<Ping<'a>, BusError> {
    let entries = reader.bytes(usize::from(counts.gossip) * GOSSIP_LEN)?;
    let entries = entries.as_chunks::<GOSSIP_LEN>().0;
    let mut gossip = Vec::with_capacity(entries.len());
    gossip.extend(entries.iter().filter_map(|entry| gossip_entry(entry).ok()));
    *ignored += entries.len() - gossip.len();
    let mut extensions = Extensions::default();
    for _ in 0..counts.extensions {
        let len = usize::try_from(u32_at(reader.rest, 0)).map_err(|_| reader.bad_length)?;
        let kind = u16_at(reader.rest, 4);
        if len < EXTENSION_HEADER_LEN || len % EXTENSION_ALIGN != 0 {
            return Err(reader.bad_length);
        }
        let content = &reader.bytes(len)?[EXTENSION_HEADER_LEN..];
        *ignored += usize::from(add_extension(&mut extensions, kind, content).is_none());
    }
    Ok(Ping { kind, gossip, extensions })
}

fn gossip_entry(entry: &[u8; GOSSIP_LEN]) -> Result<GossipEntry<'_>, BusError> {
    let mut reader = Reader { rest: entry, bad_length: BusError::NotAFrame };
    Ok(GossipEntry {
        node: reader.name()?,
        ping_sent_secs: reader.u32()?,
        pong_received_secs: reader.u32()?,
        ip: address(reader.array()?)?,
        port: reader.u16()?,
        bus_port: reader.u16()?,
        flags: NodeFlags(reader.u16()?),
        second_port: reader.u16()?,
    })
}

/// Takes an extension; none if its content is wrong. Unknown types are right. Of several of a type the last one counts,
/// but each forgotten node.
fn add_extension(extensions: &mut Extensions, kind: u16, content: &[u8]) -> Option<()> {
    match kind {
        extension::HOSTNAME => extensions.hostname = owned(text(content, is_in_hostname)?),
        extension::HUMAN_NODENAME => {
            extensions.human_nodename = owned(text(content, is_in_nodename)?)
        }
        extension::FORGOTTEN => {
            let (name, rest) = content.split_first_chunk::<NODE_ID_LEN>()?;
            let ttl_secs = u64::from_be_bytes(*rest.first_chunk()?);
            extensions.forgotten.push(Forgotten { node: NodeId::parse(name)?, ttl_secs });
        }
        extension::SHARD => {
            extensions.shard = Some(NodeId::parse(content.first_chunk::<NODE_ID_LEN>()?)?);
        }
        extension::CLIENT_IPV4 => extensions.client_ipv4 = owned(ip_text::<Ipv4Addr>(content)?),
        extension::CLIENT_IPV6 => extensions.client_ipv6 = owned(ip_text::<Ipv6Addr>(content)?),
        _ => {}
    }
    Some(())
}

/// Returns the text up to the first zero byte; none inside if it is empty, none at all if it is wrong.
fn text(content: &[u8], may_have: impl Fn(char) -> bool) -> Option<Option<&str>> {
    let len = content.iter().position(|&byte| byte == 0)?;
    let text = std::str::from_utf8(&content[..len]).ok()?;
    let is_good = text.len() <= NAME_LEN_MAX && text.chars().all(may_have);
    is_good.then_some(Some(text).filter(|text| !text.is_empty()))
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn ip_text<T: FromStr>(content: &[u8]) -> Option<Option<&str>> {
    let text = text(content, |_| true)?;
    text.as_ref().is_none_or(|text| text.parse::<T>().is_ok()).then_some(text)
}

/// Reads an address or host name: zero-terminated, with characters that can be in one. It will be written into
/// `nodes.conf` and replies, so it must not bring syntax of its own.
fn address(bytes: &[u8; IP_LEN]) -> Result<Option<&str>, BusError> {
    text(bytes, |c| is_in_hostname(c) || matches!(c, ':' | '_' | '%')).ok_or(BusError::Address)
}

fn is_in_hostname(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.')
}

/// Stock's characters, without those that `nodes.conf` would read as something else.
fn is_in_nodename(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && !"!#$%&()*+;<>?@[]^{|}~,='\"\\`".contains(c)
}

fn publish<'a>(reader: &mut Reader<'a>, kind: u16) -> Result<Publish<'a>, BusError> {
    let (channel_len, message_len) = (reader.u32()?, reader.u32()?);
    let channel = reader.claimed(channel_len)?;
    let message = reader.claimed(message_len)?;
    Ok(Publish { is_sharded: kind == kind::PUBLISH_SHARD, channel, message })
}

fn slots_update(reader: &mut Reader<'_>) -> Result<SlotsUpdate, BusError> {
    let (config_epoch, node) = (reader.u64()?, reader.name()?);
    let slots = SlotBitmap::from_bytes(reader.array::<BITMAP_BYTES>()?);
    Ok(SlotsUpdate { node, config_epoch, slots })
}

fn module<'a>(reader: &mut Reader<'_>) -> Result<Message<'a>, BusError> {
    reader.u64()?;
    let len = reader.u32()?;
    reader.bytes(1)?;
    reader.claimed(len)?;
    Ok(Message::Module)
}

/// What is left of a frame.
struct Reader<'a> {
    rest: &'a [u8],
    bad_length: BusError,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], BusError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(self.bad_length)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn claimed(&mut self, len: u32) -> Result<&'a [u8], BusError> {
        self.bytes(usize::try_from(len).map_err(|_| self.bad_length)?)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], BusError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(self.bad_length)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn u16(&mut self) -> Result<u16, BusError> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn u32(&mut self) -> Result<u32, BusError> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn u64(&mut self) -> Result<u64, BusError> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    fn name(&mut self) -> Result<NodeId, BusError> {
        NodeId::parse(self.array::<NODE_ID_LEN>()?).ok_or(BusError::Name)
    }

    fn end(&self) -> Result<(), BusError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.bad_length) }
    }
}
