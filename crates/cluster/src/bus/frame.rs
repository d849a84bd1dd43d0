//! Where a message ends: received bytes into frames.

use std::fmt;

use super::layout::{
    HEADER_LEN, LIGHT_BIT, LIGHT_HEADER_LEN, PREFIX_LEN, SIGNATURE, VERSION, field, kind, u16_at,
    u32_at,
};

/// Maximum length of a message, except those that [`LONG_FRAME_LEN_MAX`] is for.
///
/// The longest is a PING with much gossip: an entry for every tenth node, and one for every node that does not answer;
/// a sender that has just been cut off from all others talks of all of them. With 104 bytes each, 1 MiB has room for
/// 10000 nodes, ten times as many as a cluster is advised to have, and little enough for a connection of a stranger.
pub const FRAME_LEN_MAX: usize = 1 << 20;

/// Maximum length of a PUBLISH, of a module's message, and of messages of unknown types and versions, from a known node:
/// a channel and a message of 512 MiB each, which is what a client can send.
pub const LONG_FRAME_LEN_MAX: usize = (1 << 30) + HEADER_LEN + 8;

/// What received bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextFrame {
    /// An incomplete message.
    NeedMore,
    /// A message with this many bytes, all of which are there: it can be decoded.
    Frame(usize),
}

/// Bytes that are not of the bus. Where the next message begins is not known: the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It does not begin with `RCmb`.
    Signature,
    /// It is said to be shorter than its header.
    TooShort(u32),
    /// It is said to be longer than the sender may send.
    TooLong(u32),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Signature => f.write_str("bad signature"),
            FrameError::TooShort(len) => write!(f, "bad length: {len} bytes are too few"),
            FrameError::TooLong(len) => write!(f, "bad length: {len} bytes are too many"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Returns how long the message is that `bytes` begin with. It consumes nothing.
///
/// `is_known` says whether the connection belongs to a node of the cluster: only such may send long messages. A claimed
/// length is compared, never allocated: what is kept of an incomplete message are the bytes that were received.
pub fn next_frame(bytes: &[u8], is_known: bool) -> Result<NextFrame, FrameError> {
    if bytes.iter().zip(SIGNATURE).any(|(byte, expected)| byte != expected) {
        return Err(FrameError::Signature);
    }
    if bytes.len() < PREFIX_LEN {
        return Ok(NextFrame::NeedMore);
    }
    let claimed = u32_at(bytes, field::TOTAL_LEN);
    let (version, kind) = (u16_at(bytes, field::VERSION), u16_at(bytes, field::KIND));
    let len = usize::try_from(claimed).map_err(|_| FrameError::TooLong(claimed))?;
    if len < header_len(kind) {
        return Err(FrameError::TooShort(claimed));
    }
    if len > frame_len_max(version, kind, is_known) {
        return Err(FrameError::TooLong(claimed));
    }
    Ok(if bytes.len() < len { NextFrame::NeedMore } else { NextFrame::Frame(len) })
}

/// Returns the number of a message's type.
pub fn type_of(message: &[u8]) -> usize {
    usize::from(u16_at(message, field::KIND) & !LIGHT_BIT)
}

fn header_len(kind: u16) -> usize {
    if kind & LIGHT_BIT != 0 { LIGHT_HEADER_LEN } else { HEADER_LEN }
}

fn frame_len_max(version: u16, kind: u16, is_known: bool) -> usize {
    let is_bounded = version == VERSION
        && matches!(kind & !LIGHT_BIT, kind::PING..=kind::FAIL | kind::AUTH_REQUEST..=kind::MF_START);
    if is_known && !is_bounded { LONG_FRAME_LEN_MAX } else { FRAME_LEN_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(len: u32, version: u16, kind: u16) -> Vec<u8> {
        let mut bytes = b"RCmb".to_vec();
        bytes.extend(len.to_be_bytes());
        bytes.extend(version.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(kind.to_be_bytes());
        bytes
    }

    #[test]
    fn a_frame_is_as_long_as_it_says() {
        let mut bytes = prefix(2256, 1, 5);
        bytes.resize(2255, 0);
        for len in 0..bytes.len() {
            assert_eq!(next_frame(&bytes[..len], false), Ok(NextFrame::NeedMore), "{len}");
        }
        bytes.push(0);
        assert_eq!(next_frame(&bytes, false), Ok(NextFrame::Frame(2256)));
        bytes.extend(b"RCmb");
        assert_eq!(next_frame(&bytes, true), Ok(NextFrame::Frame(2256)));
    }

    #[test]
    fn another_signature_is_refused_at_its_first_byte() {
        for bytes in [&b"G"[..], b"RCmB", b"RCx", b"*1\r\n$4\r\nPING\r\n"] {
            assert_eq!(next_frame(bytes, true), Err(FrameError::Signature));
        }
    }

    #[test]
    fn a_light_message_may_be_shorter() {
        assert_eq!(next_frame(&prefix(2255, 1, 4), true), Err(FrameError::TooShort(2255)));
        assert_eq!(next_frame(&prefix(16, 1, 0x8004), true), Ok(NextFrame::NeedMore));
        assert_eq!(next_frame(&prefix(15, 1, 0x8004), true), Err(FrameError::TooShort(15)));
    }

    #[test]
    fn only_known_nodes_may_send_long_messages() {
        let (short, long) = (FRAME_LEN_MAX as u32, LONG_FRAME_LEN_MAX as u32);
        let may = |len, version, kind, is_known| {
            next_frame(&prefix(len, version, kind), is_known).is_ok()
        };
        for kind in [0, 1, 2, 3, 5, 6, 7, 8, 0x8000] {
            assert!(may(short, 1, kind, true) && !may(short + 1, 1, kind, true), "{kind}");
        }
        for (version, kind) in [(1, 4), (1, 0x8004), (1, 10), (1, 0x800a), (1, 9), (1, 11), (2, 0)]
        {
            assert!(may(short, version, kind, false) && !may(short + 1, version, kind, false));
            assert!(may(long, version, kind, true) && !may(long + 1, version, kind, true));
        }
        assert!(!may(u32::MAX, 1, 4, true));
    }
}
