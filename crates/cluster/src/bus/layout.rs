//! Where things are in messages. The pictures are in the essay of the module above.

use crate::node_id::NODE_ID_LEN;
use crate::slots::BITMAP_BYTES;

/// What each message begins with.
pub(super) const SIGNATURE: &[u8; 4] = b"RCmb";

/// The only version.
pub(super) const VERSION: u16 = 1;

/// As much of a message as must be there to know its length and type.
pub(super) const PREFIX_LEN: usize = 14;

/// Length of the header.
pub(super) const HEADER_LEN: usize = 2256;

/// Length of the header of a light message.
pub(super) const LIGHT_HEADER_LEN: usize = 16;

/// The bit of the type that says that the header is a light one.
pub(super) const LIGHT_BIT: u16 = 0x8000;

/// Length of an address, zero-terminated.
pub(super) const IP_LEN: usize = 46;

/// Length of an entry of gossip.
pub(super) const GOSSIP_LEN: usize = 104;

/// Length of the header of an extension, which is part of its length.
pub(super) const EXTENSION_HEADER_LEN: usize = 8;

/// Extensions have a multiple of this many bytes.
pub(super) const EXTENSION_ALIGN: usize = 8;

/// Types of messages.
pub(super) mod kind {
    pub(in super::super) const PING: u16 = 0;
    pub(in super::super) const PONG: u16 = 1;
    pub(in super::super) const MEET: u16 = 2;
    pub(in super::super) const FAIL: u16 = 3;
    pub(in super::super) const PUBLISH: u16 = 4;
    pub(in super::super) const AUTH_REQUEST: u16 = 5;
    pub(in super::super) const AUTH_ACK: u16 = 6;
    pub(in super::super) const UPDATE: u16 = 7;
    pub(in super::super) const MF_START: u16 = 8;
    pub(in super::super) const MODULE: u16 = 9;
    pub(in super::super) const PUBLISH_SHARD: u16 = 10;
}

/// Types of extensions.
pub(super) mod extension {
    pub(in super::super) const HOSTNAME: u16 = 0;
    pub(in super::super) const HUMAN_NODENAME: u16 = 1;
    pub(in super::super) const FORGOTTEN: u16 = 2;
    pub(in super::super) const SHARD: u16 = 3;
    pub(in super::super) const CLIENT_IPV4: u16 = 4;
    pub(in super::super) const CLIENT_IPV6: u16 = 5;
}

/// Offsets in the header that are needed out of order.
pub(super) mod field {
    pub(in super::super) const TOTAL_LEN: usize = 4;
    pub(in super::super) const VERSION: usize = 8;
    pub(in super::super) const KIND: usize = 12;
}

/// Returns two bytes as a number; 0 behind the end.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// Returns four bytes as a number; 0 behind the end.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The fields of the header add up to its length.
const _: () = assert!(
    16 + 3 * 8 + NODE_ID_LEN + BITMAP_BYTES + NODE_ID_LEN + IP_LEN + 2 + 30 + 2 + 2 + 2 + 1 + 3
        == HEADER_LEN
);
