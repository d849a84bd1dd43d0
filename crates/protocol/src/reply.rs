//! Writing replies: RESP2 and RESP3 from the same calls.
//!
//! RESP3 has types that RESP2 lacks; each call here says what is meant and the
//! writer picks the form: a map is a flat array for a RESP2 client, null is `$-1`, a double a bulk string.

use crate::error::ErrorReply;
use crate::number::{push_i64, push_u64};

/// The version of the protocol that a client asked for with HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What everybody speaks until HELLO 3.
    #[default]
    Resp2,
    /// Adds maps, sets, doubles, null, booleans, verbatim strings and pushes.
    Resp3,
}

/// A writer over a client's output bytes.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    /// The bytes written so far; whoever owns them sends them.
    pub out: &'a mut Vec<u8>,
    /// Which forms to use.
    pub protocol: Protocol,
}

impl ReplyWriter<'_> {
    fn header(&mut self, kind: u8, len: usize) {
        self.out.push(kind);
        push_u64(self.out, len as u64);
        self.out.extend_from_slice(b"\r\n");
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. Line ends, which would break the protocol, become blanks.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error reply, counted by no one: the caller's statistics are the caller's.
    pub fn error(&mut self, error: &ErrorReply) {
        self.line(b'-', &error.bytes());
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        self.out
            .extend(text.iter().map(|b| if matches!(b, b'\r' | b'\n' | 0) { b' ' } else { *b }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.out.extend_from_slice(b":0\r\n"),
            1 => self.out.extend_from_slice(b":1\r\n"),
            _ => {
                self.out.push(b':');
                push_i64(self.out, value);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A count as an integer.
    pub fn count(&mut self, value: usize) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A number as a bulk string.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// The absence of a value.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The absence of an array.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Announces an array of `len` elements, which follow.
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// Announces a map of `len` pairs, which follow: key, value, key, value.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len * 2),
            Protocol::Resp3 => self.header(b'%', len),
        }
    }

    /// Announces a set of `len` elements.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(b'~', len),
        }
    }

    /// Announces a push (out of band) of `len` elements.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(b'>', len),
        }
    }

    /// Text meant for people (INFO): verbatim in RESP3, bulk in RESP2.
    pub fn verbatim(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A boolean: `#t` and `#f`, or 1 and 0.
    pub fn boolean(&mut self, value: bool) {
        match (self.protocol, value) {
            (Protocol::Resp2, value) => self.integer(i64::from(value)),
            (Protocol::Resp3, true) => self.out.extend_from_slice(b"#t\r\n"),
            (Protocol::Resp3, false) => self.out.extend_from_slice(b"#f\r\n"),
        }
    }

    /// A double, given as its text: RESP2 has only a bulk string for it.
    pub fn double_text(&mut self, text: &str) {
        self.number_text(b',', text);
    }

    /// An integer of any length, given as its digits: RESP2 has only a bulk string for it.
    pub fn big_number(&mut self, digits: &str) {
        self.number_text(b'(', digits);
    }

    fn number_text(&mut self, kind: u8, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(kind, text.as_bytes()),
        }
    }

    /// Announces `len` attributes (key, value, …) of the reply that follows them. Only RESP3 has them.
    pub fn attribute(&mut self, len: usize) {
        debug_assert_eq!(self.protocol, Protocol::Resp3, "the caller asks for the protocol first");
        self.header(b'|', len);
    }

    /// Reserves the place of an array header whose length is not known yet.
    #[must_use]
    pub fn open_array(&mut self) -> usize {
        self.out.len()
    }

    /// Writes the header of the array opened at `mark` now that its length is known.
    pub fn close_array(&mut self, mark: usize, len: usize) {
        let mut header = [0; 24];
        header[0] = b'*';
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(len).as_bytes();
        header[1..=digits.len()].copy_from_slice(digits);
        header[digits.len() + 1..digits.len() + 3].copy_from_slice(b"\r\n");
        self.out.splice(mark..mark, header[..digits.len() + 3].iter().copied());
    }
}

/// Appends a command in the form that replicas, AOF files and servers read: an array of bulk strings.
pub fn push_command<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    let mut writer = ReplyWriter { out, protocol: Protocol::Resp2 };
    writer.array(args.len());
    for arg in args {
        writer.bulk(arg.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_cannot_smuggle_a_second_reply() {
        let mut out = Vec::new();
        let mut writer = ReplyWriter { out: &mut out, protocol: Protocol::Resp2 };
        writer.error(&ErrorReply::err("unknown 'a\r\n+OK\r\nb\0'"));
        assert_eq!(out, b"-ERR unknown 'a  +OK  b '\r\n");
    }

    #[test]
    fn one_call_has_two_forms() {
        for (protocol, expected) in [
            (Protocol::Resp2, &b"*2\r\n$-1\r\n:1\r\n*1\r\n$1\r\nx\r\n"[..]),
            (Protocol::Resp3, &b"%1\r\n_\r\n#t\r\n*1\r\n=5\r\ntxt:x\r\n"[..]),
        ] {
            let mut out = Vec::new();
            let mut writer = ReplyWriter { out: &mut out, protocol };
            writer.map(1);
            writer.null();
            writer.boolean(true);
            let mark = writer.open_array();
            writer.verbatim(b"x");
            writer.close_array(mark, 1);
            assert_eq!(out, expected);
        }
    }
}
