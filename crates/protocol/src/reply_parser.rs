//! The reply parser, for replies of peers in RESP2 or RESP3.
//!
//! It is used by the replication handshake, Sentinel, MIGRATE and command-line clients. A reply may
//! arrive in any number of pieces. The parser keeps its position, so that no byte is parsed twice,
//! and copies nothing. The result is a list of items in the order of the reply, with ranges of the
//! buffer; [`Reply`] is a view of it as a tree:
//!
//! ```text
//!   *2\r\n:1\r\n%1\r\n$1\r\na\r\n#t\r\n      bytes
//!   Array(2) Int Map(1)  Bulk  Bool          items: an aggregate has the number of items within it
//! ```
//!
//! A peer is not trusted. A claimed count or length allocates nothing; memory grows with the received
//! bytes, by at most [`ITEM_BYTES`] for three of them. Nesting is limited and does not use the stack.
//! Streamed aggregates and strings (`*?`, `$?`) of the RESP3 specification, which no server sends,
//! are refused.

use std::fmt;

use memchr::memchr2;

use crate::number::parse_i64;

/// Limits of replies.
#[derive(Clone, Copy, Debug)]
pub struct ReplyLimits {
    /// Maximum length of a reply in bytes, including nested ones; at most 4 GiB.
    pub reply_len_max: usize,
    /// Maximum length of a line without its end: a simple string, an error, a number, a header.
    pub line_len_max: usize,
    /// Maximum depth of nested aggregates.
    pub depth_max: usize,
    /// Whether empty lines between replies are skipped. A master sends them to prevent a timeout.
    pub skips_blank_lines: bool,
}

impl ReplyLimits {
    /// Creates limits with this maximum length of replies in bytes, and defaults for the others.
    pub const fn new(reply_len_max: usize) -> ReplyLimits {
        let line_len_max = 64 * 1024;
        ReplyLimits { reply_len_max, line_len_max, depth_max: 32, skips_blank_lines: false }
    }
}

/// The result of parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParsedReply {
    /// More bytes are needed.
    Incomplete,
    /// A complete reply, which [`ReplyParser::reply`] returns.
    Reply {
        /// Its length in bytes, including skipped lines before it.
        len: usize,
    },
    /// A protocol error. Parsing the same bytes again gives the same error.
    Malformed(ReplyError),
}

/// A protocol error of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// The first byte of a reply is not a known type.
    UnknownType(u8),
    /// A line contains CR or LF.
    BrokenLine,
    /// A line is longer than [`ReplyLimits::line_len_max`].
    LineTooLong,
    /// A length or count is negative or not a number.
    InvalidLength,
    /// A number, double or boolean is malformed.
    InvalidValue,
    /// CR LF is missing after a string.
    MissingEnd,
    /// A reply is longer than [`ReplyLimits::reply_len_max`], or announces more bytes.
    ReplyTooLong,
    /// Aggregates are nested deeper than [`ReplyLimits::depth_max`].
    TooDeep,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReplyError::UnknownType(byte) => {
                return write!(f, "unknown reply type '{}'", byte.escape_ascii());
            }
            ReplyError::BrokenLine => "CR or LF within a line",
            ReplyError::LineTooLong => "line too long",
            ReplyError::InvalidLength => "invalid length",
            ReplyError::InvalidValue => "invalid value",
            ReplyError::MissingEnd => "string not terminated by CR LF",
            ReplyError::ReplyTooLong => "reply too long",
            ReplyError::TooDeep => "reply nested too deeply",
        })
    }
}

impl std::error::Error for ReplyError {}

/// A reply, which may be nested in another.
#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// `+OK`
    Simple(&'a [u8]),
    /// `-ERR …`, or a bulk error (`!`)
    Error(&'a [u8]),
    /// `:1`
    Integer(i64),
    /// `$3`, `foo`
    Bulk(&'a [u8]),
    /// `_`, `$-1` or `*-1`
    Null,
    /// `,1.5`
    Double(f64),
    /// `#t`
    Boolean(bool),
    /// `(123…`: an optional sign and decimal digits
    BigNumber(&'a [u8]),
    /// `=7`, `txt:foo`
    Verbatim {
        /// Three bytes, such as `txt`.
        format: &'a [u8],
        /// The text.
        text: &'a [u8],
    },
    /// `*2`
    Array(Replies<'a>),
    /// `~2`
    Set(Replies<'a>),
    /// `%1`: keys and values alternate
    Map(Replies<'a>),
    /// `>2`: out-of-band data
    Push(Replies<'a>),
}

impl<'a> Reply<'a> {
    /// Returns the bytes of a simple, bulk or verbatim string.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Reply::Simple(bytes) | Reply::Bulk(bytes) | Reply::Verbatim { text: bytes, .. } => {
                Some(bytes)
            }
            _ => None,
        }
    }

    /// Returns the text of an error.
    pub fn error(&self) -> Option<&'a [u8]> {
        match self {
            Reply::Error(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the elements of an aggregate.
    pub fn elements(&self) -> Option<Replies<'a>> {
        match self {
            Reply::Array(inside)
            | Reply::Set(inside)
            | Reply::Map(inside)
            | Reply::Push(inside) => Some(*inside),
            _ => None,
        }
    }
}

/// An iterator over the elements of an aggregate. Attributes of elements are skipped.
#[derive(Clone, Copy)]
pub struct Replies<'a> {
    items: &'a [Item],
    buf: &'a [u8],
    remaining: usize,
}

impl<'a> Iterator for Replies<'a> {
    type Item = Reply<'a>;

    fn next(&mut self) -> Option<Reply<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        let (reply, rest) = view(self.items, self.buf)?;
        self.items = rest;
        Some(reply)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Replies<'_> {}

impl fmt::Debug for Replies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// Returns the first reply of some items, and the remaining items.
fn view<'a>(mut items: &'a [Item], buf: &'a [u8]) -> Option<(Reply<'a>, &'a [Item])> {
    let bytes = |start: u32, end: u32| &buf[start as usize..end as usize];
    loop {
        let (first, rest) = items.split_first()?;
        let reply = match *first {
            Item::Simple(start, end) => Reply::Simple(bytes(start, end)),
            Item::Error(start, end) => Reply::Error(bytes(start, end)),
            Item::Bulk(start, end) => Reply::Bulk(bytes(start, end)),
            Item::BigNumber(start, end) => Reply::BigNumber(bytes(start, end)),
            Item::Verbatim(start, end) => {
                Reply::Verbatim { format: bytes(start, start + 3), text: bytes(start + 4, end) }
            }
            Item::Integer(value) => Reply::Integer(value),
            Item::Double(value) => Reply::Double(value),
            Item::Boolean(value) => Reply::Boolean(value),
            Item::Null => Reply::Null,
            Item::Open(kind, count, within) => {
                let (inside, behind) = rest.split_at(within as usize);
                let replies = Replies { items: inside, buf, remaining: count as usize };
                let reply = match kind {
                    Aggregate::Array => Reply::Array(replies),
                    Aggregate::Set => Reply::Set(replies),
                    Aggregate::Map => Reply::Map(replies),
                    Aggregate::Push => Reply::Push(replies),
                    Aggregate::Attribute => {
                        items = behind;
                        continue;
                    }
                };
                return Some((reply, behind));
            }
        };
        return Some((reply, rest));
    }
}

/// Memory of an item in bytes. The shortest reply has three bytes.
pub const ITEM_BYTES: usize = 16;

const _: () = assert!(size_of::<Item>() == ITEM_BYTES);

/// Length of the shortest reply, `_` and CR LF.
const REPLY_LEN_MIN: usize = 3;

/// A reply without its elements. Ranges are relative to the outermost reply's first byte.
#[derive(Clone, Copy, Debug)]
enum Item {
    Simple(u32, u32),
    Error(u32, u32),
    Bulk(u32, u32),
    BigNumber(u32, u32),
    Verbatim(u32, u32),
    Integer(i64),
    Double(f64),
    Boolean(bool),
    Null,
    /// An aggregate: number of elements, and number of following items within it, at any depth.
    Open(Aggregate, u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Array,
    Set,
    Map,
    Push,
    /// Attributes, which precede their reply and do not count as an element.
    Attribute,
}

/// An incomplete aggregate.
#[derive(Debug)]
struct OpenAggregate {
    /// Index of its item.
    item: usize,
    /// Number of missing elements.
    remaining: u32,
}

/// An incomplete string.
#[derive(Clone, Copy, Debug)]
struct Body {
    kind: u8,
    len: usize,
}

/// A parser of the replies of one connection.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// Number of bytes of the reply that were parsed.
    cursor: usize,
    /// Number of bytes after them that are known to contain no end of a line.
    scanned: usize,
    body: Option<Body>,
    items: Vec<Item>,
    open: Vec<OpenAggregate>,
    is_whole: bool,
}

impl ReplyParser {
    /// Returns the complete reply at the start of `buf` after [`ReplyParser::parse`] has found it.
    pub fn reply<'a>(&'a self, buf: &'a [u8]) -> Option<Reply<'a>> {
        if !self.is_whole || buf.len() < self.cursor {
            return None;
        }
        view(&self.items, buf).map(|(reply, _)| reply)
    }

    /// Returns the length of the reply up to the end of a long incomplete string, as a hint for the
    /// size of reads. It is untrusted.
    pub fn awaited_len(&self) -> Option<usize> {
        self.body.filter(|body| body.len >= 32 * 1024).map(|body| self.cursor + body.len + 2)
    }

    /// Prepares for the next reply.
    pub fn reset(&mut self) {
        let mut items = std::mem::take(&mut self.items);
        items.clear();
        items.shrink_to(1024);
        *self = ReplyParser { items, ..ReplyParser::default() };
    }

    /// Parses the reply at the start of `buf`, continuing where the last call ended.
    pub fn parse(&mut self, buf: &[u8], limits: &ReplyLimits) -> ParsedReply {
        match self.advance(buf, limits) {
            Ok(true) => ParsedReply::Reply { len: self.cursor },
            Ok(false) => ParsedReply::Incomplete,
            Err(error) => ParsedReply::Malformed(error),
        }
    }

    /// Parses as far as possible. Returns whether the reply is complete.
    fn advance(&mut self, buf: &[u8], limits: &ReplyLimits) -> Result<bool, ReplyError> {
        let len_max = limits.reply_len_max.min(u32::MAX as usize);
        // Bytes beyond the limit are ignored, so that the result does not depend on splits.
        let seen = &buf[..buf.len().min(len_max)];
        while !self.is_whole {
            let is_more = match (self.body, &seen[self.cursor..]) {
                (Some(body), _) => self.take_body(seen, body)?,
                (None, rest @ ([b'\n', ..] | [b'\r', b'\n', ..])) if self.skips(limits) => {
                    self.cursor += if rest[0] == b'\n' { 1 } else { 2 };
                    true
                }
                (None, b"\r") if self.skips(limits) => false,
                (None, _) => self.take_line(seen, len_max, limits)?,
            };
            if !is_more {
                return if seen.len() < buf.len() {
                    Err(ReplyError::ReplyTooLong)
                } else {
                    Ok(false)
                };
            }
        }
        Ok(true)
    }

    /// Whether an empty line is skipped here.
    fn skips(&self, limits: &ReplyLimits) -> bool {
        self.items.is_empty() && limits.skips_blank_lines
    }

    /// Parses the bytes of a string. Returns false if it is incomplete.
    fn take_body(&mut self, buf: &[u8], body: Body) -> Result<bool, ReplyError> {
        let (start, end) = (self.cursor, self.cursor + body.len);
        let Some(terminator) = buf.get(end..end + 2) else { return Ok(false) };
        if terminator != b"\r\n" {
            return Err(ReplyError::MissingEnd);
        }
        let (from, to) = (offset(start)?, offset(end)?);
        let item = match body.kind {
            b'!' => Item::Error(from, to),
            b'=' if body.len < 4 || buf[start + 3] != b':' => return Err(ReplyError::InvalidValue),
            b'=' => Item::Verbatim(from, to),
            _ => Item::Bulk(from, to),
        };
        self.body = None;
        self.finish_line(end + 2);
        self.push(item);
        Ok(true)
    }

    /// Parses a line: a simple reply or a header. Returns false if it is incomplete.
    fn take_line(
        &mut self,
        buf: &[u8],
        len_max: usize,
        limits: &ReplyLimits,
    ) -> Result<bool, ReplyError> {
        let Some(&kind) = buf.get(self.cursor) else { return Ok(false) };
        if !b"+-:$*_,#(!=~%>|".contains(&kind) {
            return Err(ReplyError::UnknownType(kind));
        }
        let start = self.cursor + 1;
        let Some(end) = self.line_end(buf, start, limits.line_len_max)? else { return Ok(false) };
        let line = &buf[start..end];
        let next = end + 2;
        let left = len_max.saturating_sub(next);
        let range = (offset(start)?, offset(end)?);
        let item = match kind {
            b'+' => Item::Simple(range.0, range.1),
            b'-' => Item::Error(range.0, range.1),
            b':' => Item::Integer(parse_i64(line).ok_or(ReplyError::InvalidValue)?),
            b',' => Item::Double(parse_double(line).ok_or(ReplyError::InvalidValue)?),
            b'#' if line == b"t" || line == b"f" => Item::Boolean(line == b"t"),
            b'(' if is_big_number(line) => Item::BigNumber(range.0, range.1),
            b'_' if line.is_empty() => Item::Null,
            b'#' | b'(' | b'_' => return Err(ReplyError::InvalidValue),
            b'$' | b'*' if line == b"-1" => Item::Null,
            b'$' | b'=' | b'!' => {
                let len = parse_len(line)?;
                if len.saturating_add(2) > left {
                    return Err(ReplyError::ReplyTooLong);
                }
                self.finish_line(next);
                self.body = Some(Body { kind, len });
                return Ok(true);
            }
            _ => {
                let count = parse_len(line)?;
                let aggregate = match kind {
                    b'*' => Aggregate::Array,
                    b'~' => Aggregate::Set,
                    b'%' => Aggregate::Map,
                    b'>' => Aggregate::Push,
                    _ => Aggregate::Attribute,
                };
                let has_pairs = matches!(aggregate, Aggregate::Map | Aggregate::Attribute);
                let count = if has_pairs { count.saturating_mul(2) } else { count };
                if count > left / REPLY_LEN_MIN {
                    return Err(ReplyError::ReplyTooLong);
                }
                if self.open.len() >= limits.depth_max {
                    return Err(ReplyError::TooDeep);
                }
                self.finish_line(next);
                self.open(aggregate, offset(count)?);
                return Ok(true);
            }
        };
        self.finish_line(next);
        self.push(item);
        Ok(true)
    }

    /// Returns the end of the line that begins at `start`, if it is complete.
    fn line_end(
        &mut self,
        buf: &[u8],
        start: usize,
        line_len_max: usize,
    ) -> Result<Option<usize>, ReplyError> {
        let from = start.max(self.cursor + self.scanned).min(buf.len());
        let found = memchr2(b'\r', b'\n', &buf[from..]).map(|at| from + at);
        if found.unwrap_or(buf.len()).saturating_sub(start) > line_len_max {
            return Err(ReplyError::LineTooLong);
        }
        // A CR at the end is scanned again with the next byte.
        self.scanned = found.unwrap_or(buf.len()) - self.cursor;
        let Some(end) = found else { return Ok(None) };
        match (buf[end], buf.get(end + 1)) {
            (b'\r', Some(b'\n')) => Ok(Some(end)),
            (b'\r', None) => Ok(None),
            _ => Err(ReplyError::BrokenLine),
        }
    }

    fn finish_line(&mut self, next: usize) {
        self.cursor = next;
        self.scanned = 0;
    }

    /// Adds a reply that is not an aggregate.
    fn push(&mut self, item: Item) {
        self.items.push(item);
        self.close();
    }

    fn open(&mut self, aggregate: Aggregate, count: u32) {
        self.items.push(Item::Open(aggregate, count, 0));
        if count > 0 {
            self.open.push(OpenAggregate { item: self.items.len() - 1, remaining: count });
        } else if aggregate != Aggregate::Attribute {
            self.close();
        }
    }

    /// Handles a complete reply, and completes the aggregates that it is the last element of.
    fn close(&mut self) {
        loop {
            let Some(last) = self.open.last_mut() else {
                self.is_whole = true;
                return;
            };
            last.remaining -= 1;
            if last.remaining > 0 {
                return;
            }
            let at = last.item;
            self.open.pop();
            let behind = self.items.len() - at - 1;
            if let Item::Open(kind, _, within) = &mut self.items[at] {
                // There are fewer items than bytes, whose offsets fit.
                *within = behind as u32;
                if *kind == Aggregate::Attribute {
                    return;
                }
            }
        }
    }
}

/// Converts an offset in a reply, whose length is limited to [`u32::MAX`].
fn offset(at: usize) -> Result<u32, ReplyError> {
    u32::try_from(at).map_err(|_| ReplyError::ReplyTooLong)
}

fn parse_len(line: &[u8]) -> Result<usize, ReplyError> {
    let len = parse_i64(line).and_then(|len| usize::try_from(len).ok());
    len.ok_or(ReplyError::InvalidLength)
}

fn parse_double(line: &[u8]) -> Option<f64> {
    match line {
        b"inf" | b"+inf" => Some(f64::INFINITY),
        b"-inf" => Some(f64::NEG_INFINITY),
        b"nan" | b"-nan" => Some(f64::NAN),
        // Rust parses more texts, such as "infinity", which are not valid in the protocol.
        _ if line.iter().all(|byte| b"0123456789+-.eE".contains(byte)) => {
            std::str::from_utf8(line).ok()?.parse().ok()
        }
        _ => None,
    }
}

fn is_big_number(line: &[u8]) -> bool {
    let digits = line.strip_prefix(b"-").or(line.strip_prefix(b"+")).unwrap_or(line);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests;
