//! The request parser: RESP arrays of bulk strings, and inline commands.
//!
//! A request may arrive in any number of pieces. The parser keeps its position, so that no byte is
//! parsed twice except in an incomplete line. It copies nothing: arguments are ranges of the query
//! buffer, relative to the first byte of their request.
//!
//! ```text
//!   *2\r\n$3\r\nGET\r\n$3\r\nkey\r\n      RESP: count, then length and bytes of each argument
//!           ───            ───           the resulting ranges
//!   GET "key"\r\n                        inline: separated by blanks, with quotes
//! ```
//!
//! The bytes of a long argument may be *detached* while it is received: the caller takes what has arrived out of the query
//! buffer and reads the rest of the argument elsewhere, straight into the buffer that becomes the value.
//!
//! ```text
//!   *3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$536870912\r\n|\r\n      the query buffer then
//!                                            └─ cursor: 536870912 bytes are elsewhere
//! ```
//!
//! A claimed length allocates nothing; memory grows only with received bytes.

use crate::error::ErrorReply;
use crate::number::parse_i64;

/// The range of an argument, relative to the start of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgRange {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

/// First offset that stands for a detached argument instead of a place: beyond the end of any buffer.
const DETACHED: usize = usize::MAX / 2 + 1;

impl ArgRange {
    /// Returns the range of a detached argument, by its index among those of its request.
    fn of_detached(index: usize) -> ArgRange {
        ArgRange { start: DETACHED + index, end: DETACHED + index }
    }

    /// Returns the index of a detached argument; none if it is in the buffer.
    #[inline]
    pub fn detached(self) -> Option<usize> {
        self.start.checked_sub(DETACHED)
    }

    /// Returns the range in a buffer in which the request begins at `base`.
    #[inline]
    #[must_use]
    pub fn moved_by(self, base: usize) -> ArgRange {
        match self.detached() {
            Some(_) => self,
            None => ArgRange { start: base + self.start, end: base + self.end },
        }
    }
}

/// Limits of requests, which are stricter before authentication.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum length of a bulk string in bytes (`proto-max-bulk-len`).
    pub bulk_len_max: u64,
    /// Maximum number of arguments.
    pub arguments_max: u64,
    /// Whether the client is authenticated. Otherwise bulk strings are limited to 16 KiB.
    pub authenticated: bool,
}

impl Limits {
    /// Returns the limits of an authenticated client.
    pub fn open(bulk_len_max: u64) -> Limits {
        Limits { bulk_len_max, arguments_max: i32::MAX as u64, authenticated: true }
    }

    /// Returns the limits of a client before authentication: enough for AUTH and HELLO.
    pub fn unauthenticated(bulk_len_max: u64) -> Limits {
        Limits { bulk_len_max, arguments_max: 10, authenticated: false }
    }
}

/// Maximum length of a bulk string before authentication.
const UNAUTHENTICATED_BULK_MAX: u64 = 16_384;

/// Number of arguments from which on their table is long.
const LONG_TABLE: usize = 128 * 1024;

/// Maximum length of a line: an inline command, or the header of an array or bulk string.
pub const INLINE_MAX: usize = 64 * 1024;

/// The result of parsing.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// A complete request. Its arguments are in [`RequestParser::args`]; a request without arguments
    /// is skipped without a reply.
    Request {
        /// Length of the request in bytes.
        len: usize,
    },
    /// A protocol error: the connection must be closed after this reply. Parsing the same bytes
    /// again gives the same error, so the caller may handle it later.
    Malformed(ErrorReply),
}

/// The state of the parser within a request.
#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// At its first byte.
    #[default]
    Start,
    /// Waiting for `$<len>\r\n` of the next argument.
    BulkHeader { remaining: u64 },
    /// Waiting for `len` bytes and CR LF.
    BulkBody { remaining: u64, len: usize },
}

/// A parser of the requests of one connection.
#[derive(Debug, Default)]
pub struct RequestParser {
    state: State,
    /// Number of bytes of the request that were parsed.
    cursor: usize,
    args: Vec<ArgRange>,
    /// Offsets in the request at which the bytes of arguments were detached.
    detached: Vec<usize>,
    /// The unquoted arguments of an inline request, which its ranges refer to.
    unquoted: Vec<u8>,
    inline: bool,
}

impl RequestParser {
    /// Returns the arguments parsed so far; complete after [`Parsed::Request`].
    pub fn args(&self) -> &[ArgRange] {
        &self.args
    }

    /// Returns the bytes that the ranges of an inline request refer to, in place of the query buffer.
    pub fn inline_bytes(&self) -> Option<&[u8]> {
        self.inline.then_some(&self.unquoted)
    }

    /// Returns the memory of the table of arguments and of unquoted bytes, beside the query buffer.
    pub fn memory_bytes(&self) -> usize {
        self.args.len() * size_of::<ArgRange>() + self.unquoted.capacity()
    }

    /// Takes the table of arguments of a complete request, instead of copying a long one.
    pub fn take_args(&mut self) -> Vec<ArgRange> {
        std::mem::take(&mut self.args)
    }

    /// Returns the length of the request up to the end of a long incomplete argument, as a hint for
    /// the size of reads. It is untrusted.
    pub fn awaited_len(&self) -> Option<usize> {
        let (at, len) = self.awaited_argument()?;
        (len >= 32 * 1024).then_some(at + len + 2)
    }

    /// Returns the place in the request and the claimed length of an incomplete argument, if the parser
    /// waits for its bytes.
    pub fn awaited_argument(&self) -> Option<(usize, usize)> {
        match self.state {
            State::BulkBody { len, .. } if !self.detached.contains(&self.cursor) => {
                Some((self.cursor, len))
            }
            _ => None,
        }
    }

    /// Detaches the awaited argument: its bytes are not in the buffer, and what follows them is at its
    /// place.
    pub fn detach_awaited(&mut self) {
        self.detached.push(self.cursor);
    }

    /// Sets where arguments of the next request were detached, so that it can be parsed again.
    pub fn set_detached(&mut self, places: &[usize]) {
        self.detached.clear();
        self.detached.extend_from_slice(places);
    }

    /// Returns where arguments of this request were detached.
    #[inline]
    pub fn detached(&self) -> &[usize] {
        &self.detached
    }

    /// Prepares for the next request.
    pub fn reset(&mut self) {
        self.state = State::Start;
        self.cursor = 0;
        self.args.clear();
        self.detached.clear();
        if self.inline {
            self.inline = false;
            self.unquoted.clear();
        }
        if self.args.capacity() > 1024 {
            self.args = Vec::new();
        }
    }

    /// Parses the request at the start of `buf`, continuing where the last call ended.
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Parsed {
        if matches!(self.state, State::Start) {
            match buf.first() {
                None => return Parsed::Incomplete,
                Some(b'*') => {}
                Some(_) => return self.parse_inline(buf),
            }
            let (count, next) = match line_number(buf, 1) {
                Line::Incomplete if buf.len() > INLINE_MAX => {
                    return malformed("too big mbulk count string");
                }
                Line::Incomplete => return Parsed::Incomplete,
                Line::Bad => return malformed("invalid multibulk length"),
                Line::Number(count, next) => (count, next),
            };
            if count > i64::from(i32::MAX) {
                return malformed("invalid multibulk length");
            }
            if count > 0 && count as u64 > limits.arguments_max {
                return malformed("unauthenticated multibulk length");
            }
            self.cursor = next;
            if count <= 0 {
                return Parsed::Request { len: next };
            }
            self.state = State::BulkHeader { remaining: count as u64 };
        }
        self.parse_bulks(buf, limits)
    }

    fn parse_bulks(&mut self, buf: &[u8], limits: &Limits) -> Parsed {
        loop {
            match self.state {
                State::Start => return Parsed::Incomplete,
                State::BulkHeader { remaining } => {
                    let at = self.cursor;
                    match buf.get(at) {
                        None => return Parsed::Incomplete,
                        Some(b'$') => {}
                        Some(&other) => {
                            let before = "ERR Protocol error: expected '$', got '";
                            return Parsed::Malformed(ErrorReply::quoting(before, &[other], "'"));
                        }
                    }
                    let (len, next) = match line_number(buf, at + 1) {
                        Line::Incomplete if buf.len() - at > INLINE_MAX => {
                            return malformed("too big bulk count string");
                        }
                        Line::Incomplete => return Parsed::Incomplete,
                        Line::Bad => return malformed("invalid bulk length"),
                        Line::Number(len, next) => (len, next),
                    };
                    if len < 0 || len as u64 > limits.bulk_len_max {
                        return malformed("invalid bulk length");
                    }
                    if len as u64 > UNAUTHENTICATED_BULK_MAX && !limits.authenticated {
                        return malformed("unauthenticated bulk length");
                    }
                    self.cursor = next;
                    self.state = State::BulkBody { remaining, len: len as usize };
                }
                State::BulkBody { remaining, len } => {
                    let start = self.cursor;
                    let index = match self.detached.is_empty() {
                        true => None,
                        false => self.detached.iter().position(|&at| at == start),
                    };
                    let len = if index.is_some() { 0 } else { len };
                    let Some(whole) = start.checked_add(len).and_then(|end| end.checked_add(2))
                    else {
                        return malformed("invalid bulk length");
                    };
                    if buf.len() < whole {
                        return Parsed::Incomplete;
                    }
                    if self.args.len() >= LONG_TABLE {
                        self.grow_table(remaining);
                    }
                    self.args.push(match index {
                        Some(index) => ArgRange::of_detached(index),
                        None => ArgRange { start, end: start + len },
                    });
                    self.cursor = whole;
                    if remaining == 1 {
                        return Parsed::Request { len: whole };
                    }
                    self.state = State::BulkHeader { remaining: remaining - 1 };
                }
            }
        }
    }

    /// Lets a long table grow in few steps, since each moves all of it. What is not used of it is
    /// address space and no memory; if that is short, it grows as others do.
    #[cold]
    fn grow_table(&mut self, remaining: u64) {
        if self.args.len() == self.args.capacity() {
            let claimed = usize::try_from(remaining).unwrap_or(usize::MAX);
            let _ = self.args.try_reserve_exact(claimed.min(self.args.len() * 7));
        }
    }

    fn parse_inline(&mut self, buf: &[u8]) -> Parsed {
        let newline = memchr::memchr(b'\n', &buf[self.cursor..]).map(|at| self.cursor + at);
        let line = match &buf[..newline.unwrap_or(buf.len())] {
            [line @ .., b'\r'] => line,
            line => line,
        };
        if line.len() > INLINE_MAX {
            return malformed("too big inline request");
        }
        let Some(newline) = newline else {
            self.cursor = buf.len();
            return Parsed::Incomplete;
        };
        if split_words(line, &mut self.unquoted, &mut self.args).is_err() {
            self.unquoted.clear();
            self.args.clear();
            return malformed("unbalanced quotes in request");
        }
        self.cursor = newline + 1;
        self.inline = true;
        Parsed::Request { len: newline + 1 }
    }
}

fn malformed(what: &str) -> Parsed {
    Parsed::Malformed(ErrorReply::err(format_args!("Protocol error: {what}")))
}

enum Line {
    Incomplete,
    Bad,
    Number(i64, usize),
}

/// Reads a decimal number that ends with CR LF, starting at `at`.
#[inline]
fn line_number(buf: &[u8], at: usize) -> Line {
    // Fast path for short numbers.
    let mut value = 0_i64;
    for (i, &byte) in buf[at..].iter().take(10).enumerate() {
        match byte {
            b'0'..=b'9' if i < 9 && !(i == 1 && value == 0) => {
                value = value * 10 + i64::from(byte - b'0');
            }
            b'\r' if i > 0 => {
                return match buf.get(at + i + 1) {
                    Some(_) => Line::Number(value, at + i + 2),
                    None => Line::Incomplete,
                };
            }
            _ => break,
        }
    }
    let Some(cr) = memchr::memchr(b'\r', &buf[at..]) else { return Line::Incomplete };
    if buf.len() < at + cr + 2 {
        return Line::Incomplete;
    }
    match parse_i64(&buf[at..at + cr]) {
        Some(value) => Line::Number(value, at + cr + 2),
        None => Line::Bad,
    }
}

/// A quote is not closed, or closed in the middle of a word.
#[derive(Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Splits a line of an inline request or a configuration file into words.
///
/// Words are separated by blanks. Within `"…"` the escapes `\n \r \t \b \a \\ \" \xHH` are supported;
/// within `'…'` only `\'`. A closing quote must be followed by a blank or the end of the line. The
/// bytes of the words are appended to `bytes`, their ranges to `words`.
pub fn split_words(
    line: &[u8],
    bytes: &mut Vec<u8>,
    words: &mut Vec<ArgRange>,
) -> Result<(), UnbalancedQuotes> {
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&b| is_blank(b)) {
            at += 1;
        }
        if at >= line.len() {
            return Ok(());
        }
        let start = bytes.len();
        at = take_word(line, at, bytes)?;
        words.push(ArgRange { start, end: bytes.len() });
    }
}

/// Whether a byte separates words: white space of C's `isspace`, and NUL.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}

fn take_word(line: &[u8], mut at: usize, out: &mut Vec<u8>) -> Result<usize, UnbalancedQuotes> {
    while let Some(&byte) = line.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = take_quoted(line, at + 1, byte, out)?;
                return match line.get(at) {
                    Some(&next) if !is_blank(next) => Err(UnbalancedQuotes),
                    _ => Ok(at),
                };
            }
            // As in Redis, these two separate words but do not end one.
            0x0b | 0x0c => out.push(byte),
            _ if is_blank(byte) => return Ok(at),
            _ => out.push(byte),
        }
        at += 1;
    }
    Ok(at)
}

fn take_quoted(
    line: &[u8],
    mut at: usize,
    quote: u8,
    out: &mut Vec<u8>,
) -> Result<usize, UnbalancedQuotes> {
    loop {
        let rest = line.get(at..).ok_or(UnbalancedQuotes)?;
        match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\\', b'x', high, low, ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex(*high) << 4 | hex(*low));
                at += 4;
            }
            [b'\\', escaped, ..] if quote == b'"' => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    &other => other,
                });
                at += 2;
            }
            [b'\\', b'\'', ..] if quote == b'\'' => {
                out.push(b'\'');
                at += 2;
            }
            [byte, ..] if *byte == quote => return Ok(at + 1),
            [byte, ..] => {
                out.push(*byte);
                at += 1;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits() -> Limits {
        Limits::open(512 * 1024 * 1024)
    }

    type Request = Vec<Vec<u8>>;

    /// Feeds `input` in pieces of `step` bytes and collects the requests.
    fn requests(input: &[u8], step: usize, limits: &Limits) -> Result<Vec<Request>, Vec<u8>> {
        let (mut parser, mut buf, mut out) = (RequestParser::default(), Vec::new(), Vec::new());
        for piece in input.chunks(step) {
            buf.extend_from_slice(piece);
            loop {
                match parser.parse(&buf, limits) {
                    Parsed::Incomplete => break,
                    Parsed::Malformed(error) => return Err(error.bytes().into_owned()),
                    Parsed::Request { len } => {
                        let bytes = parser.inline_bytes().unwrap_or(&buf);
                        let args: Vec<Vec<u8>> =
                            parser.args().iter().map(|a| bytes[a.start..a.end].to_vec()).collect();
                        if !args.is_empty() {
                            out.push(args);
                        }
                        parser.reset();
                        buf.drain(..len);
                    }
                }
            }
        }
        Ok(out)
    }

    #[test]
    fn any_split_gives_the_same_requests() {
        let input = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\nPING \"a b\"\r\n*0\r\n\r\n*1\r\n$0\r\n\r\n*-1\r\n*3\r\n$3\r\nSET\r\n$01\r\nk\r\n$10\r\n0123456789\r\n";
        let expected = requests(input, input.len(), &limits());
        assert!(expected.is_err(), "a length has no leading zero: {expected:?}");
        let input = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\nPING \"a b\"\r\n*0\r\n\r\n*1\r\n$0\r\n\r\n*-1\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n";
        let expected = requests(input, input.len(), &limits()).expect("well formed");
        assert_eq!(expected.len(), 4);
        assert_eq!(expected[1], vec![b"PING".to_vec(), b"a b".to_vec()]);
        for step in 1..input.len() {
            assert_eq!(requests(input, step, &limits()).as_ref(), Ok(&expected), "step {step}");
        }
    }

    #[test]
    fn a_detached_argument_is_where_its_bytes_were() {
        let mut parser = RequestParser::default();
        let mut buf = b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n01234".to_vec();
        assert_eq!(parser.parse(&buf, &limits()), Parsed::Incomplete);
        let (at, len) = parser.awaited_argument().expect("five bytes are missing");
        assert_eq!((&buf[at..], len), (&b"01234"[..], 10));
        buf.truncate(at);
        parser.detach_awaited();
        assert_eq!((parser.awaited_argument(), parser.awaited_len()), (None, None));
        let places = parser.detached().to_vec();
        for piece in [&b"\r"[..], b"\n$2\r\nNX", b"\r\n"] {
            assert_eq!(parser.parse(&buf, &limits()), Parsed::Incomplete);
            buf.extend_from_slice(piece);
        }
        for again in [false, true] {
            if again {
                parser.reset();
                parser.set_detached(&places);
            }
            assert_eq!(parser.parse(&buf, &limits()), Parsed::Request { len: buf.len() });
            let args = parser.args();
            assert_eq!(args[2].moved_by(7).detached(), Some(0));
            assert_eq!((args[1].detached(), &buf[args[3].start..args[3].end]), (None, &b"NX"[..]));
        }
        parser.reset();
        assert_eq!(parser.parse(b"*1\r\n$4\r\nPING\r\n", &limits()), Parsed::Request { len: 14 });
    }

    #[test]
    fn protocol_errors_have_the_texts_of_redis() {
        let open = limits();
        let closed = Limits::unauthenticated(512 * 1024 * 1024);
        let cases: &[(&[u8], &Limits, &str)] = &[
            (b"*3\r\n$x\r\n", &open, "invalid bulk length"),
            (b"*3\r\nfoo\r\n", &open, "expected '$', got 'f'"),
            (b"*3\r\n\xff\r\n", &open, "expected '$', got '\u{fffd}'"),
            (b"*3\r\n\0", &open, "expected '$', got ''"),
            (b"*x\r\n", &open, "invalid multibulk length"),
            (b"*9999999999\r\n", &open, "invalid multibulk length"),
            (b"*11\r\n", &closed, "unauthenticated multibulk length"),
            (b"*1\r\n$20000\r\n", &closed, "unauthenticated bulk length"),
            (b"*1\r\n$99999999999\r\n", &closed, "invalid bulk length"),
            (b"*1\r\n$-5\r\n", &open, "invalid bulk length"),
            (b"*1\r\n$9223372036854775807\r\n", &open, "invalid bulk length"),
            (b"SET \"a\"b\r\n", &open, "unbalanced quotes in request"),
        ];
        let text = |input: &[u8], step, limits| {
            let error = requests(input, step, limits).expect_err("no request");
            String::from_utf8_lossy(&error).into_owned()
        };
        for (input, limits, expected) in cases {
            assert_eq!(text(input, 1, limits), format!("ERR Protocol error: {expected}"));
        }
        let mut long = b"*".to_vec();
        long.extend(vec![b'1'; INLINE_MAX + 2]);
        assert_eq!(text(&long, 5000, &open), "ERR Protocol error: too big mbulk count string");
    }

    #[test]
    fn the_limit_of_a_line_is_independent_of_splits() {
        let mut line = vec![b'a'; INLINE_MAX];
        line.extend(b"\r\n");
        for step in [1000, INLINE_MAX + 1, line.len()] {
            assert_eq!(requests(&line, step, &limits()).expect("short enough").len(), 1, "{step}");
        }
        line.insert(0, b'a');
        for step in [1000, INLINE_MAX + 1, line.len()] {
            let error = requests(&line, step, &limits()).expect_err("too long");
            assert_eq!(error, b"ERR Protocol error: too big inline request", "{step}");
        }
    }

    #[test]
    fn vertical_tabs_and_form_feeds_do_not_end_words() {
        for (line, words) in [
            (&b"a\x0bb\x0c c\r\n"[..], vec![&b"a\x0bb\x0c"[..], b"c"]),
            (b"\x0b\x0ca\r\n", vec![b"a"]),
            (b"\"a\"\x0bb\r\n", vec![b"a", b"b"]),
        ] {
            assert_eq!(requests(line, line.len(), &limits()), Ok(vec![owned(&words)]));
        }
    }

    fn owned(words: &[&[u8]]) -> Request {
        words.iter().map(|word| word.to_vec()).collect()
    }

    /// Complete, incomplete and malformed requests.
    fn fragment() -> impl Strategy<Value = &'static [u8]> {
        prop::sample::select(vec![
            &b"PING\r\n"[..],
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"GET 'a b' \"\\x00\"\n",
            b"\r\n",
            b"*0\r\n",
            b"*1\r\n",
            b"*3\r\n$1\r\na\r\n",
            b"$1\r\nb\r\n",
            b"ECHO \"a\r\n",
            b"MGET a 'b\r\n",
            b"SET k \"a\"b\r\n",
            b"a b c \"\n",
            b"*x\r\n",
            b"*2147483648\r\n",
            b"*11\r\n",
            b"$x\r\n",
            b"$-1\r\n",
            b"$99999999999\r\n",
            b"$20000\r\n",
            b"\xff",
            b"\"",
            b"\n",
        ])
    }

    proptest! {
        /// The error of a malformed request does not change when more bytes are received.
        #[test]
        fn parsing_malformed_bytes_again_gives_the_same_error(
            fragments in prop::collection::vec(fragment(), 1..8),
            step in 1..40_usize,
            authenticated in any::<bool>(),
        ) {
            let limits = Limits { authenticated, arguments_max: 10, ..limits() };
            let (mut parser, mut buf) = (RequestParser::default(), Vec::new());
            for piece in fragments.concat().chunks(step) {
                buf.extend_from_slice(piece);
                loop {
                    match parser.parse(&buf, &limits) {
                        Parsed::Incomplete => break,
                        Parsed::Request { len } => {
                            parser.reset();
                            buf.drain(..len);
                        }
                        refused @ Parsed::Malformed(_) => {
                            prop_assert_eq!(&parser.parse(&buf, &limits), &refused);
                            let mut fresh = RequestParser::default();
                            prop_assert_eq!(&fresh.parse(&buf, &limits), &refused);
                            buf.extend_from_slice(b" k\" \r\nPING\r\n");
                            prop_assert_eq!(&parser.parse(&buf, &limits), &refused);
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut parser = RequestParser::default();
        assert_eq!(parser.parse(b"*1000000000\r\n$536870912\r\n", &limits()), Parsed::Incomplete);
        assert_eq!(parser.args.capacity(), 0);
    }
}
