//! Parsing the line of a node.

use std::net::{Ipv4Addr, Ipv6Addr};

use russet_protocol::slot::SLOTS;

use super::error::ErrorKind;
use super::line::{Aux, FLAGS, NodeLine};
use crate::NodeId;
use crate::bus::NodeFlags;

use ErrorKind::Malformed;

/// Distance of the bus's port from that of clients, before files had it.
const BUS_PORT_OFFSET: u16 = 10_000;

/// Longest text of an address: an IPv6 address with an IPv4 address in it.
const IP_BYTES_MAX: usize = 45;

/// Longest host name.
const HOSTNAME_BYTES_MAX: usize = 255;

/// Splits a line into its words. Quotes are refused: stock servers would resolve them, but never write any that they can read.
pub(super) fn split(line: &[u8]) -> Result<Vec<&str>, ErrorKind> {
    let line = std::str::from_utf8(line).map_err(|_| Malformed("the line is not UTF-8"))?;
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r');
    let is_bad = |byte: u8| byte.is_ascii_control() && !is_blank(byte) || b"\"'".contains(&byte);
    if line.bytes().any(is_bad) {
        return Err(Malformed("the line has a control character or a quote"));
    }
    Ok(line.split([' ', '\t', '\r']).filter(|word| !word.is_empty()).collect())
}

/// Parses a number as it is written: digits only, without leading zeros.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_canonical = match text.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_canonical.then(|| text.parse().ok()).flatten()
}

fn port(text: &str) -> Result<u16, ErrorKind> {
    let port = number(text).and_then(|port| u16::try_from(port).ok());
    port.ok_or(Malformed("a port is not a number from 0 to 65535"))
}

fn slot(text: &str) -> Result<u16, ErrorKind> {
    let slot = number(text).and_then(|slot| u16::try_from(slot).ok());
    slot.filter(|&slot| slot < SLOTS).ok_or(Malformed("a slot is not a number from 0 to 16383"))
}

fn node_id(text: &str, error: &'static str) -> Result<NodeId, ErrorKind> {
    NodeId::parse(text.as_bytes()).ok_or(Malformed(error))
}

impl NodeLine {
    /// Parses the words of a line.
    pub(super) fn parse_words(words: &[&str]) -> Result<NodeLine, ErrorKind> {
        let [id, address, flags, master, ping_sent, pong_received, epoch, link, slots @ ..] = words
        else {
            return Err(Malformed("the line has fewer than eight fields"));
        };
        let mut node = NodeLine::new(node_id(id, "the id of the node is not 40 digits")?);
        node.parse_address(address)?;
        node.flags = parse_flags(flags)?;
        if *master != "-" {
            node.master = Some(node_id(master, "the id of the master is not 40 digits")?);
        }
        let bad_time = Malformed("a time is not a number of milliseconds");
        node.ping_sent_ms = number(ping_sent).ok_or(bad_time.clone())?;
        node.pong_received_ms = number(pong_received).ok_or(bad_time)?;
        node.config_epoch = number(epoch).ok_or(Malformed("the epoch is not a number"))?;
        node.is_connected = match *link {
            "connected" => true,
            "disconnected" => false,
            _ => return Err(Malformed("the link is neither connected nor disconnected")),
        };
        node.parse_slots(slots)?;
        node.check_roles()?;
        Ok(node)
    }

    /// Checks what the fields say together.
    fn check_roles(&self) -> Result<(), ErrorKind> {
        let is_master = self.flags.has(NodeFlags::MASTER);
        if is_master && self.flags.has(NodeFlags::REPLICA) {
            return Err(Malformed("the node is a master and a replica"));
        }
        if is_master && self.master.is_some() {
            return Err(Malformed("the node is a master and has one"));
        }
        if self.master == Some(self.id) {
            return Err(Malformed("the node is its own master"));
        }
        let is_open = !self.migrating.is_empty() || !self.importing.is_empty();
        if is_open && !self.flags.has(NodeFlags::MYSELF) {
            return Err(Malformed("the node moves slots and is not myself"));
        }
        Ok(())
    }

    /// Parses `ip:port[@cport][,hostname[,name=value]…]`.
    fn parse_address(&mut self, text: &str) -> Result<(), ErrorKind> {
        let mut parts = text.split(',');
        let address = parts.next().unwrap_or_default();
        let Some((ip, ports)) = address.rsplit_once(':') else {
            return Err(Malformed("the address has no port"));
        };
        if ip.len() > IP_BYTES_MAX {
            return Err(Malformed("the address is too long"));
        }
        self.ip = ip.to_owned();
        let client_and_bus = ports.split_once('@');
        self.port = port(client_and_bus.map_or(ports, |(client, _)| client))?;

        let hostname = parts.next().unwrap_or_default();
        if hostname.len() > HOSTNAME_BYTES_MAX {
            return Err(Malformed("the host name is too long"));
        }
        self.hostname = not_empty(hostname);
        for field in parts {
            self.aux.parse_field(field)?;
        }
        self.bus_port = match client_and_bus {
            Some((_, bus)) => port(bus)?,
            None => self
                .port
                .checked_add(BUS_PORT_OFFSET)
                .ok_or(Malformed("there is no port for the bus, and none follows from the port"))?,
        };
        Ok(())
    }

    /// Parses slots, ranges of them and slots on the move.
    fn parse_slots(&mut self, words: &[&str]) -> Result<(), ErrorKind> {
        for word in words {
            if let Some(open) = word.strip_prefix('[') {
                self.parse_open_slot(open)?;
                continue;
            }
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let (first, last) = (slot(first)?, slot(last)?);
            if first > last {
                return Err(Malformed("a range of slots ends before it begins"));
            }
            if !(first..=last).all(|slot| self.slots.insert(slot)) {
                return Err(Malformed("a slot is listed twice"));
            }
        }
        self.migrating.sort_unstable();
        self.importing.sort_unstable();
        let mut open: Vec<u16> =
            self.migrating.iter().chain(&self.importing).map(|(slot, _)| *slot).collect();
        open.sort_unstable();
        if open.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Malformed("a slot is moved twice"));
        }
        Ok(())
    }

    /// Parses `slot->-id]` or `slot-<-id]`.
    fn parse_open_slot(&mut self, text: &str) -> Result<(), ErrorKind> {
        let bad = Malformed("a slot on the move is neither [slot->-id] nor [slot-<-id]");
        let Some((number, rest)) = text.split_once('-') else { return Err(bad) };
        let Some((arrow, id)) = rest.strip_suffix(']').and_then(|rest| rest.split_once('-')) else {
            return Err(bad);
        };
        let entry = (slot(number)?, node_id(id, "the id in a slot on the move is not 40 digits")?);
        match arrow {
            ">" => self.migrating.push(entry),
            "<" => self.importing.push(entry),
            _ => return Err(bad),
        }
        Ok(())
    }
}

impl Aux {
    /// Parses `name=value`.
    fn parse_field(&mut self, text: &str) -> Result<(), ErrorKind> {
        let is_bad = |char: char| "!#$%&()*+;<>?@[]^{|}~=".contains(char);
        let Some((name, value)) = text.split_once('=').filter(|(_, value)| !value.contains(is_bad))
        else {
            return Err(Malformed("an aux field is not name=value, or has a special character"));
        };
        let is_new = match name {
            "shard-id" => {
                let id = node_id(value, "the id of the shard is not 40 digits")?;
                self.shard_id.replace(id).is_none()
            }
            "tcp-port" => self.tcp_port.replace(port(value)?).is_none(),
            "tls-port" => self.tls_port.replace(port(value)?).is_none(),
            "nodename" => set_text(&mut self.nodename, value),
            "client-ipv4" if value.is_empty() || value.parse::<Ipv4Addr>().is_ok() => {
                set_text(&mut self.client_ipv4, value)
            }
            "client-ipv6" if value.is_empty() || value.parse::<Ipv6Addr>().is_ok() => {
                set_text(&mut self.client_ipv6, value)
            }
            "client-ipv4" | "client-ipv6" => {
                return Err(Malformed("the address for clients is not of its kind"));
            }
            _ => return Err(ErrorKind::UnknownAux(name.chars().take(64).collect())),
        };
        is_new.then_some(()).ok_or(Malformed("an aux field is listed twice"))
    }
}

/// Sets a text, none if it is empty. Returns whether there was none.
fn set_text(field: &mut Option<String>, value: &str) -> bool {
    std::mem::replace(field, not_empty(value)).is_none()
}

fn not_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Parses the names of flags.
fn parse_flags(text: &str) -> Result<NodeFlags, ErrorKind> {
    let mut flags = NodeFlags::default();
    for name in text.split(',') {
        let name = name.to_ascii_lowercase();
        let known = match name.as_str() {
            "noflags" => continue,
            "primary" => "master",
            "replica" => "slave",
            name => name,
        };
        let Some((flag, _)) = FLAGS.iter().find(|(_, flag)| *flag == known) else {
            return Err(ErrorKind::UnknownFlag(name.chars().take(64).collect()));
        };
        if flags.has(*flag) {
            return Err(Malformed("a flag is listed twice"));
        }
        flags |= *flag;
    }
    Ok(flags)
}
