//! The IDs of a stream's entries: a time and a sequence number, which order them.

use std::fmt;

use russet_ds::ordered::Weigh;

/// An ID in bytes, as files have it.
pub type IdBytes = [u8; 16];

/// The ID of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// Milliseconds since the Unix epoch, as whoever added the entry has it.
    pub ms: u64,
    /// The number among the entries of that millisecond.
    pub seq: u64,
}

/// An ID as it was given, of which a part may be left to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenId {
    /// All of it.
    Whole(StreamId),
    /// The time only: `<ms>-*`.
    Time(u64),
}

impl Weigh for StreamId {}

impl StreamId {
    /// The least one, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };

    /// The greatest one.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// Returns the one that follows.
    pub fn next(self) -> Option<StreamId> {
        let StreamId { ms, seq } = self;
        match seq.checked_add(1) {
            Some(seq) => Some(StreamId { ms, seq }),
            None => Some(StreamId { ms: ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// Returns the one in front.
    pub fn previous(self) -> Option<StreamId> {
        let StreamId { ms, seq } = self;
        match seq.checked_sub(1) {
            Some(seq) => Some(StreamId { ms, seq }),
            None => Some(StreamId { ms: ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// Returns the bytes that files have: big endian, so that they are in the same order.
    pub fn to_bytes(self) -> IdBytes {
        let mut bytes = IdBytes::default();
        bytes[..8].copy_from_slice(&self.ms.to_be_bytes());
        bytes[8..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    /// Reads the bytes that files have.
    pub fn from_bytes(bytes: IdBytes) -> StreamId {
        let both = u128::from_be_bytes(bytes);
        StreamId { ms: (both >> 64) as u64, seq: both as u64 }
    }

    /// Parses the text of an ID. One without a sequence number has the given one.
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<StreamId> {
        match parse(text, missing_seq)? {
            GivenId::Whole(id) => Some(id),
            GivenId::Time(_) => None,
        }
    }

    /// Parses an ID for a new entry, whose sequence number may be left to the server.
    pub fn parse_given(text: &[u8]) -> Option<GivenId> {
        parse(text, 0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

fn parse(text: &[u8], missing_seq: u64) -> Option<GivenId> {
    let dash = text.iter().position(|byte| *byte == b'-');
    let (ms, seq) = match dash {
        Some(dash) => (&text[..dash], Some(&text[dash + 1..])),
        None => (text, None),
    };
    let ms = number(ms)?;
    Some(match seq {
        Some(b"*") => GivenId::Time(ms),
        Some(seq) => GivenId::Whole(StreamId { ms, seq: number(seq)? }),
        None => GivenId::Whole(StreamId { ms, seq: missing_seq }),
    })
}

/// Parses digits, in front of which there may be zeros.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn texts_are_parsed_and_printed() {
        assert_eq!(StreamId::parse(b"12-34", 9), Some(id(12, 34)));
        assert_eq!(StreamId::parse(b"12", 9), Some(id(12, 9)));
        assert_eq!(StreamId::parse(b"007-01", 0), Some(id(7, 1)));
        assert_eq!(StreamId::parse_given(b"12-*"), Some(GivenId::Time(12)));
        let last = b"18446744073709551615-18446744073709551615";
        assert_eq!(StreamId::parse(last, 0), Some(StreamId::MAX));
        assert_eq!(StreamId::MAX.to_string().as_bytes(), last);
        for text in
            ["", "-", "+", "a", "1-", "-1", "1-2-3", "1--2", " 1", "1 ", "+1", "1.5", "12-*", "*"]
        {
            assert_eq!(StreamId::parse(text.as_bytes(), 0), None, "{text:?}");
        }
        assert_eq!(StreamId::parse(b"18446744073709551616", 0), None);
    }

    #[test]
    fn neighbours_and_bytes() {
        for (one, next) in [
            (id(0, 0), id(0, 1)),
            (id(5, u64::MAX), id(6, 0)),
            (id(u64::MAX, u64::MAX - 1), StreamId::MAX),
        ] {
            assert_eq!((one.next(), next.previous()), (Some(next), Some(one)));
            assert!(one.to_bytes() < next.to_bytes());
            assert_eq!(StreamId::from_bytes(next.to_bytes()), next);
        }
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
    }
}
