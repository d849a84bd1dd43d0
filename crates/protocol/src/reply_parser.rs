//! The reply parser: what a peer answers to whoever opened the connection, in RESP2 or RESP3.
//!
//! Replication's handshake, Sentinel, MIGRATE and command-line clients read with it. A reply may arrive in any number of
//! pieces. The parser remembers how far it came and looks at no byte twice; it copies nothing. What it found is a list of
//! items in the reply's own order, with ranges into the buffer, over which [`Reply`] gives a view as a tree:
//!
//! ```text
//!   *2\r\n:1\r\n%1\r\n$1\r\na\r\n#t\r\n      bytes
//!   Array(2) Int Map(1)  Bulk  Bool          items: an aggregate knows where its last item ends
//! ```
//!
//! A peer is not trusted. A count or a length that it claims allocates nothing; memory grows with the bytes that arrive, at
//! most [`ITEM_BYTES`] for each three of them. Aggregates that are open stand on a list with a limit and not on the stack. Streamed
//! aggregates and strings (`*?`, `$?`), which the RESP3 specification has and no server sends, are refused.

use std::fmt;

use memchr::memchr2;

use crate::number::parse_i64;

/// What a peer may send.
#[derive(Clone, Copy, Debug)]
pub struct ReplyLimits {
    /// Longest reply in bytes, with all that is in it. More than 4 GiB is never accepted.
    pub reply_len_max: usize,
    /// Longest line without its end: a simple string, an error, a number, a header.
    pub line_len_max: usize,
    /// Most aggregates within each other.
    pub depth_max: usize,
    /// Whether empty lines between replies are skipped: a master sends them to keep its replica waiting.
    pub skips_blank_lines: bool,
}

impl ReplyLimits {
    /// Limits for peers of which replies of up to so many bytes are expected.
    pub const fn new(reply_len_max: usize) -> ReplyLimits {
        let line_len_max = 64 * 1024;
        ReplyLimits { reply_len_max, line_len_max, depth_max: 32, skips_blank_lines: false }
    }
}

/// What a look at the buffer gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParsedReply {
    /// More bytes are needed.
    Incomplete,
    /// A whole reply; [`ReplyParser::reply`] shows it.
    Reply {
        /// Bytes of the buffer that it took, blank lines before it included.
        len: usize,
    },
    /// The peer does not speak the protocol. The same bytes are refused again in the same way.
    Malformed(ReplyError),
}

/// In what way a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// No type of reply begins with this byte.
    UnknownType(u8),
    /// A carriage return or a line feed stands alone in a line.
    BrokenLine,
    /// A line is longer than [`ReplyLimits::line_len_max`].
    LineTooLong,
    /// A length or a count is no number, or negative.
    InvalidLength,
    /// A number, double or boolean is none.
    InvalidValue,
    /// CR LF is missing behind a string of the announced length.
    MissingEnd,
    /// More than [`ReplyLimits::reply_len_max`] bytes are sent or announced.
    ReplyTooLong,
    /// More than [`ReplyLimits::depth_max`] aggregates are open.
    TooDeep,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReplyError::UnknownType(byte) => {
                return write!(f, "unknown reply type '{}'", byte.escape_ascii());
            }
            ReplyError::BrokenLine => "CR or LF within a line",
            ReplyError::LineTooLong => "too long line",
            ReplyError::InvalidLength => "invalid length",
            ReplyError::InvalidValue => "invalid value",
            ReplyError::MissingEnd => "string not terminated by CR LF",
            ReplyError::ReplyTooLong => "too long reply",
            ReplyError::TooDeep => "too deeply nested reply",
        })
    }
}

impl std::error::Error for ReplyError {}

/// A reply, or one within another.
#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// `+OK`
    Simple(&'a [u8]),
    /// `-ERR …`, or the same as a bulk (`!`).
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
    /// `(123…`: decimal digits, perhaps behind a sign.
    BigNumber(&'a [u8]),
    /// `=7`, `txt:foo`
    Verbatim {
        /// Three bytes: `txt` or `mkd`.
        format: &'a [u8],
        /// The text.
        text: &'a [u8],
    },
    /// `*2`
    Array(Replies<'a>),
    /// `~2`
    Set(Replies<'a>),
    /// `%1`: keys and values by turns.
    Map(Replies<'a>),
    /// `>2`: no answer to a request.
    Push(Replies<'a>),
}

impl<'a> Reply<'a> {
    /// The bytes of a simple string, a bulk string or a verbatim text.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Reply::Simple(bytes) | Reply::Bulk(bytes) | Reply::Verbatim { text: bytes, .. } => {
                Some(bytes)
            }
            _ => None,
        }
    }

    /// The text of an error.
    pub fn error(&self) -> Option<&'a [u8]> {
        match self {
            Reply::Error(text) => Some(text),
            _ => None,
        }
    }

    /// What is in an aggregate.
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

/// The elements of an aggregate, in order. Attributes, which may stand before any of them, are left out.
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

/// The first reply of some items, and the items behind it.
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

/// Memory for each item. The shortest reply has three bytes.
pub const ITEM_BYTES: usize = 16;

const _: () = assert!(size_of::<Item>() == ITEM_BYTES);

/// Length of the shortest reply, `_` and CR LF.
const REPLY_LEN_MIN: usize = 3;

/// One reply without what is in it. Ranges are relative to the reply's first byte.
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
    /// An aggregate: how many elements it has, and how many of the items that follow are within it, at any depth.
    Open(Aggregate, u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Array,
    Set,
    Map,
    Push,
    /// Stands before the reply that it is about and counts for none.
    Attribute,
}

/// An aggregate whose elements are not all there.
#[derive(Debug)]
struct OpenAggregate {
    /// Its place among the items.
    item: usize,
    /// Elements to come.
    remaining: u32,
}

/// A string whose bytes are awaited.
#[derive(Clone, Copy, Debug)]
struct Body {
    kind: u8,
    len: usize,
}

/// Parses the replies of one connection.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// How many bytes of the reply are behind us.
    cursor: usize,
    /// How many bytes behind the cursor are known to hold no end of a line.
    scanned: usize,
    body: Option<Body>,
    items: Vec<Item>,
    open: Vec<OpenAggregate>,
    is_whole: bool,
}

impl ReplyParser {
    /// The whole reply that [`ReplyParser::parse`] found at the start of `buf`; none before that.
    pub fn reply<'a>(&'a self, buf: &'a [u8]) -> Option<Reply<'a>> {
        if !self.is_whole || buf.len() < self.cursor {
            return None;
        }
        view(&self.items, buf).map(|(reply, _)| reply)
    }

    /// Length of the reply so far, if a long string is awaited: to size reads by, within the caller's own bounds, since a claim
    /// is not a fact.
    pub fn awaited_len(&self) -> Option<usize> {
        self.body.filter(|body| body.len >= 32 * 1024).map(|body| self.cursor + body.len + 2)
    }

    /// Forgets the finished reply; the next call of [`ReplyParser::parse`] starts afresh.
    pub fn reset(&mut self) {
        let mut items = std::mem::take(&mut self.items);
        items.clear();
        items.shrink_to(1024);
        *self = ReplyParser { items, ..ReplyParser::default() };
    }

    /// Goes on with the reply that starts at the first byte of `buf`.
    pub fn parse(&mut self, buf: &[u8], limits: &ReplyLimits) -> ParsedReply {
        match self.advance(buf, limits) {
            Ok(true) => ParsedReply::Reply { len: self.cursor },
            Ok(false) => ParsedReply::Incomplete,
            Err(error) => ParsedReply::Malformed(error),
        }
    }

    /// Whether the reply is whole.
    fn advance(&mut self, buf: &[u8], limits: &ReplyLimits) -> Result<bool, ReplyError> {
        let len_max = limits.reply_len_max.min(u32::MAX as usize);
        // What lies beyond is not looked at, so that it makes no difference whether it has arrived.
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

    /// Whether an empty line may stand here.
    fn skips(&self, limits: &ReplyLimits) -> bool {
        self.items.is_empty() && limits.skips_blank_lines
    }

    /// Takes an awaited string. False if it is not all there.
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

    /// Takes a line: a simple reply or a header. False if it is not all there.
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

    /// Where the line ends that begins at `start`, if that has arrived.
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
        // A CR at the very end is looked at again, together with what follows it.
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

    /// A reply that holds no others is whole.
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

    /// A reply is whole, and with it perhaps the aggregates that it is the last element of.
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
                // Fewer than the bytes of the reply, whose offsets fit.
                *within = behind as u32;
                if *kind == Aggregate::Attribute {
                    return;
                }
            }
        }
    }
}

/// A place in a reply. A reply is never longer than [`u32::MAX`].
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
        // What Rust reads beyond that, such as "infinity", is no double of the protocol.
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
