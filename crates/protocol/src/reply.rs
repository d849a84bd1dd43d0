//! The reply writer, for RESP2 and RESP3.
//!
//! RESP3 has types that RESP2 lacks. Callers write a type, and the writer chooses its form: for RESP2
//! a map is a flat array, null is `$-1`, a double is a bulk string.

use crate::double::push_double;
use crate::error::ErrorReply;
use crate::number::{push_i64, push_u64};

/// The version of the protocol, which a client selects with HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The initial version.
    #[default]
    Resp2,
    /// Adds maps, sets, doubles, null, booleans, verbatim strings and pushes.
    Resp3,
}

/// A writer of replies.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    /// The buffer that replies are appended to.
    pub out: &'a mut Vec<u8>,
    /// The version of the protocol.
    pub protocol: Protocol,
    /// The length that `out` must not exceed. What does not fit is dropped.
    out_max: usize,
    /// Whether something was dropped: what is in `out` is no reply then.
    is_cut: bool,
}

/// Upper bound of the length of a header: a type, a number of 64 bits, CR LF.
const HEADER_MAX: usize = 24;

impl<'a> ReplyWriter<'a> {
    /// Creates a writer without a limit.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> ReplyWriter<'a> {
        ReplyWriter { out, protocol, out_max: usize::MAX, is_cut: false }
    }

    /// Sets the length that the buffer must not exceed, including what is already in it.
    #[inline]
    #[must_use]
    pub fn with_max(self, out_max: usize) -> ReplyWriter<'a> {
        ReplyWriter { out_max, ..self }
    }

    /// Whether a part of the reply was dropped, since the buffer must not grow further. What else is
    /// written is dropped too.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether this number of further bytes fits; otherwise the reply is cut.
    #[inline]
    fn fits(&mut self, len: usize) -> bool {
        // Both are lengths of existing buffers, so the sum does not overflow.
        if self.out.len() + len <= self.out_max && !self.is_cut {
            return true;
        }
        self.is_cut = true;
        false
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if self.fits(bytes.len()) {
            self.out.extend_from_slice(bytes);
        }
    }

    fn header(&mut self, kind: u8, len: usize) {
        if self.fits(HEADER_MAX) {
            self.put_header(kind, len);
        }
    }

    #[inline]
    fn put_header(&mut self, kind: u8, len: usize) {
        self.out.push(kind);
        push_u64(self.out, len as u64);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Returns how many further bytes fit.
    pub fn room(&self) -> usize {
        if self.is_cut { 0 } else { self.out_max.saturating_sub(self.out.len()) }
    }

    /// Writes what another writer wrote into another buffer, with this one's [`ReplyWriter::room`].
    pub fn append(&mut self, bytes: &[u8], is_cut: bool) {
        self.is_cut |= is_cut;
        self.put(bytes);
    }

    /// Writes `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.put(b"+OK\r\n");
    }

    /// Writes a simple string. CR, LF and NUL are replaced by blanks.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// Writes an error reply.
    pub fn error(&mut self, error: &ErrorReply) {
        self.line(b'-', &error.bytes());
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        if !self.fits(text.len() + HEADER_MAX) {
            return;
        }
        self.out.push(kind);
        self.out
            .extend(text.iter().map(|b| if matches!(b, b'\r' | b'\n' | 0) { b' ' } else { *b }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes an integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.put(b":0\r\n"),
            1 => self.put(b":1\r\n"),
            _ => {
                if self.fits(HEADER_MAX) {
                    self.out.push(b':');
                    push_i64(self.out, value);
                    self.out.extend_from_slice(b"\r\n");
                }
            }
        }
    }

    /// Writes a count as an integer.
    pub fn count(&mut self, value: usize) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// Writes a bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.fits(bytes.len() + HEADER_MAX) {
            self.put_header(b'$', bytes.len());
            self.out.extend_from_slice(bytes);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the header of a bulk string whose `len` bytes are sent from elsewhere, and what follows
    /// them. `cost` bytes of memory elsewhere count like bytes of the buffer. Returns the string's
    /// offset in the buffer; none if the reply was cut.
    pub fn lent_bulk(&mut self, len: usize, cost: usize) -> Option<usize> {
        if !self.fits(HEADER_MAX + cost) {
            return None;
        }
        self.out_max -= cost;
        self.put_header(b'$', len);
        let offset = self.out.len();
        self.out.extend_from_slice(b"\r\n");
        Some(offset)
    }

    /// Writes an integer as a bulk string.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Writes null, for a missing value.
    #[inline]
    pub fn null(&mut self) {
        self.put(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Writes null, for a missing array.
    pub fn null_array(&mut self) {
        self.put(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Writes the header of an array of `len` elements, which must follow.
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// Writes the header of a map of `len` pairs, whose keys and values must follow alternately.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len * 2),
            Protocol::Resp3 => self.header(b'%', len),
        }
    }

    /// Writes the header of a set of `len` elements.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(b'~', len),
        }
    }

    /// Writes the header of a push message (out-of-band data) of `len` elements.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(b'>', len),
        }
    }

    /// Writes text for humans (INFO): a verbatim string in RESP3, a bulk string in RESP2.
    pub fn verbatim(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                if self.fits(text.len() + 2 * HEADER_MAX) {
                    self.put_header(b'=', text.len() + 4);
                    self.out.extend_from_slice(b"txt:");
                    self.out.extend_from_slice(text);
                    self.out.extend_from_slice(b"\r\n");
                }
            }
        }
    }

    /// Writes a boolean: `#t` or `#f` in RESP3, 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match (self.protocol, value) {
            (Protocol::Resp2, value) => self.integer(i64::from(value)),
            (Protocol::Resp3, true) => self.put(b"#t\r\n"),
            (Protocol::Resp3, false) => self.put(b"#f\r\n"),
        }
    }

    /// Writes a double: a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        let mut text = Vec::with_capacity(HEADER_MAX);
        push_double(&mut text, value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(&text),
            Protocol::Resp3 => self.line(b',', &text),
        }
    }

    /// Writes a double, given as text: a bulk string in RESP2.
    pub fn double_text(&mut self, text: &str) {
        self.number_text(b',', text);
    }

    /// Writes a big number, given as its digits: a bulk string in RESP2.
    pub fn big_number(&mut self, digits: &str) {
        self.number_text(b'(', digits);
    }

    fn number_text(&mut self, kind: u8, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(kind, text.as_bytes()),
        }
    }

    /// Writes the header of `len` attributes (key, value, …), which precede their reply. RESP3 only.
    pub fn attribute(&mut self, len: usize) {
        debug_assert_eq!(self.protocol, Protocol::Resp3, "attributes need RESP3");
        self.header(b'|', len);
    }

    /// Marks the place of an array header whose length is not known yet.
    #[must_use]
    pub fn open_array(&mut self) -> usize {
        self.out.len()
    }

    /// Inserts the header of the array at `mark`.
    pub fn close_array(&mut self, mark: usize, len: usize) {
        self.close(b'*', mark, len);
    }

    /// Inserts the header of a map of `len` pairs at `mark`. For RESP2 it is an array of `len` arrays, whose headers are there.
    pub fn close_map(&mut self, mark: usize, len: usize) {
        self.close(if self.protocol == Protocol::Resp2 { b'*' } else { b'%' }, mark, len);
    }

    fn close(&mut self, kind: u8, mark: usize, len: usize) {
        if !self.fits(HEADER_MAX) {
            return;
        }
        let mut header = [0; 24];
        header[0] = kind;
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(len).as_bytes();
        header[1..=digits.len()].copy_from_slice(digits);
        header[digits.len() + 1..digits.len() + 3].copy_from_slice(b"\r\n");
        self.out.splice(mark..mark, header[..digits.len() + 3].iter().copied());
    }
}

/// Appends a command as an array of bulk strings, as read by replicas, servers and AOF files.
pub fn push_command<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    let mut writer = ReplyWriter::new(out, Protocol::Resp2);
    writer.array(args.len());
    for arg in args {
        writer.bulk(arg.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_cannot_inject_a_second_reply() {
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, Protocol::Resp2);
        writer.error(&ErrorReply::err("unknown 'a\r\n+OK\r\nb\0'"));
        assert_eq!(out, b"-ERR unknown 'a  +OK  b '\r\n");
    }

    #[test]
    fn a_buffer_does_not_grow_beyond_its_maximum() {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            for out_max in 0..300 {
                let mut out = b"before".to_vec();
                let mut writer = ReplyWriter::new(&mut out, protocol).with_max(out_max);
                let mark = writer.open_array();
                for number in 0..20 {
                    writer.bulk(&[b'x'; 7]);
                    writer.integer(number);
                    writer.verbatim(b"text");
                    writer.null();
                    writer.simple("simple");
                    writer.map(3);
                    writer.boolean(true);
                    writer.double_text("1.5");
                }
                assert!(writer.is_cut());
                writer.close_array(mark, 20);
                assert!(out.len() <= out_max.max(6), "{} of {out_max}", out.len());
            }
        }
    }

    #[test]
    fn types_have_a_form_for_each_protocol() {
        for (protocol, expected) in [
            (Protocol::Resp2, &b"*2\r\n$-1\r\n:1\r\n*1\r\n$1\r\nx\r\n"[..]),
            (Protocol::Resp3, &b"%1\r\n_\r\n#t\r\n*1\r\n=5\r\ntxt:x\r\n"[..]),
        ] {
            let mut out = Vec::new();
            let mut writer = ReplyWriter::new(&mut out, protocol);
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
