//! Requests of the load: which command, of which key, and what the reply looks like.
//!
//! All values have one length, and so have all requests of a kind and all their replies.

use crate::sh::Result;

/// Length of every key: `key:` and twelve digits.
const KEY_LEN: usize = 16;

/// Digits of a field, behind `f:`.
const FIELD_DIGITS: usize = 8;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `GET key`, of a key that exists.
    Get,
    /// `SET key value`.
    Set,
    /// `SET key value EX 100000`.
    SetWithExpiry,
    /// `HGET key field`, of a field that exists.
    HGet {
        /// Fields of each hash.
        fields: u64,
    },
    /// `HSET key field value`.
    HSet {
        /// Fields of each hash.
        fields: u64,
    },
}

impl Kind {
    /// Fields of each hash; none if it is about strings.
    fn fields(self) -> Option<u64> {
        match self {
            Kind::HGet { fields } | Kind::HSet { fields } => Some(fields),
            Kind::Get | Kind::Set | Kind::SetWithExpiry => None,
        }
    }

    /// Length of a reply, and its first byte. Keys and fields exist.
    pub fn reply(self, value_len: usize) -> (usize, u8) {
        match self {
            Kind::Get | Kind::HGet { .. } => {
                (format!("${value_len}\r\n").len() + value_len + b"\r\n".len(), b'$')
            }
            Kind::Set | Kind::SetWithExpiry => (b"+OK\r\n".len(), b'+'),
            Kind::HSet { .. } => (b":0\r\n".len(), b':'),
        }
    }
}

/// Which keys; of hashes, which fields: those of the first hash, then those of the next.
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// At random, of so many.
    Random(u64),
    /// Each number of a range once.
    Each {
        /// The first.
        from: u64,
        /// Behind the last.
        to: u64,
    },
}

/// Where the numbers come from.
pub struct KeySource(Source);

enum Source {
    Random { state: u64, count: u64 },
    Each { next: u64, to: u64 },
}

impl KeySource {
    /// The start of such a sequence. Loads with the same seed, which is not zero, use the same keys in the same order.
    pub fn new(keys: Keys, seed: u64) -> KeySource {
        KeySource(match keys {
            Keys::Random(count) => Source::Random { state: seed, count },
            Keys::Each { from, to } => Source::Each { next: from, to },
        })
    }

    /// The next number; none behind the end of a range.
    pub fn next(&mut self) -> Option<u64> {
        match &mut self.0 {
            Source::Random { state, count } => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                // The upper half, scaled: even enough for a load, and no division.
                Some(((*state >> 32) * *count) >> 32)
            }
            Source::Each { next, to } => {
                let key = *next;
                *next += 1;
                (key < *to).then_some(key)
            }
        }
    }
}

/// A formatted request, in which only the digits of key and field change.
pub struct Template {
    bytes: Vec<u8>,
    /// Where the digits of the key start.
    key: usize,
    /// Where the digits of the field start, and how many fields a hash has.
    field: Option<(usize, u64)>,
}

impl Template {
    /// That of a kind, with values of one length.
    pub fn new(kind: Kind, value_len: usize) -> Result<Template> {
        let bytes = command(kind, value_len);
        let behind = |text: &[u8]| {
            bytes.windows(text.len()).position(|window| window == text).map(|at| at + text.len())
        };
        let key = behind(b"key:").ok_or("a command has a key")?;
        let field = behind(b"f:").zip(kind.fields());
        Ok(Template { bytes, key, field })
    }

    /// The request, as often as asked for.
    pub fn repeat(&self, count: usize) -> Vec<u8> {
        self.bytes.repeat(count)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the digits of a key, or field, into a copy.
    pub fn fill(&self, copy: &mut [u8], number: u64) {
        let (_, fields) = self.field.unwrap_or((0, 1));
        write_digits(&mut copy[self.key..self.key + KEY_LEN - 4], number / fields);
        if let Some((at, fields)) = self.field {
            write_digits(&mut copy[at..at + FIELD_DIGITS], number % fields);
        }
    }
}

fn command(kind: Kind, value_len: usize) -> Vec<u8> {
    let key = format!("key:{:0width$}", 0, width = KEY_LEN - 4);
    let field = format!("f:{:0FIELD_DIGITS$}", 0);
    let value = "v".repeat(value_len);
    let words: &[&str] = match kind {
        Kind::HGet { .. } => &["HGET", &key, &field],
        Kind::HSet { .. } => &["HSET", &key, &field, &value],
        Kind::Get => &["GET", &key],
        Kind::Set => &["SET", &key, &value],
        Kind::SetWithExpiry => &["SET", &key, &value, "EX", "100000"],
    };
    russet_e2e::client::encode(words)
}

/// Writes `number` with leading zeros.
fn write_digits(place: &mut [u8], mut number: u64) {
    // Numbers have eight digits at most here; what is before them stays zero.
    for digit in place.iter_mut().rev().take(8) {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_written_in_place() {
        let mut place = *b"000000000000";
        write_digits(&mut place, 1_234_567);
        assert_eq!(&place, b"000001234567");
        write_digits(&mut place, 8);
        assert_eq!(&place, b"000000000008");
    }

    #[test]
    fn keys_and_fields_are_filled_in() {
        let template = Template::new(Kind::HGet { fields: 10 }, 16).expect("it has a key");
        let mut request = template.repeat(1);
        template.fill(&mut request, 123);
        let text = String::from_utf8(request).expect("it is text");
        assert!(text.ends_with("key:000000000012\r\n$10\r\nf:00000003\r\n"), "{text}");
    }

    #[test]
    fn random_keys_stay_in_range() {
        let mut keys = KeySource::new(Keys::Random(10), 1);
        assert!((0..1000).all(|_| keys.next().is_some_and(|key| key < 10)));
    }
}
