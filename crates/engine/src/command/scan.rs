//! Shared by SCAN and its variants for collections: cursors, patterns, counts.

use russet_ds::glob::{Case, matches};
use russet_protocol::number::parse_i64;
use russet_protocol::{ErrorReply, ReplyWriter};

use super::{Args, Reply};

/// The default of SCAN's COUNT.
pub const COUNT: usize = 10;

/// The pattern of KEYS or SCAN. `*` counts as none, so that it matches the empty key too.
#[derive(Clone, Copy)]
pub struct Pattern<'a>(Option<&'a [u8]>);

impl<'a> Pattern<'a> {
    /// The pattern that everything matches.
    pub fn any() -> Pattern<'a> {
        Pattern(None)
    }

    /// A pattern as it was given.
    pub fn new(pattern: &'a [u8]) -> Pattern<'a> {
        Pattern(Some(pattern).filter(|pattern| *pattern != b"*"))
    }

    /// Whether a name matches.
    pub fn fits(self, key: &[u8]) -> bool {
        self.0.is_none_or(|pattern| matches(pattern, key, Case::Sensitive))
    }
}

/// Parses the number after COUNT.
pub fn count(args: &Args<'_>, at: usize) -> Result<usize, ErrorReply> {
    let given = usize::try_from(args.integer(at)?).ok().filter(|&given| given > 0);
    given.ok_or(ErrorReply::Syntax)
}

/// The options of HSCAN, SSCAN and ZSCAN.
pub struct Options<'a> {
    /// What an element's name must match.
    pub pattern: Pattern<'a>,
    /// How many elements are to be returned, more or less.
    pub count: usize,
    /// Whether the values of elements are wanted.
    pub values: bool,
}

impl<'a> Options<'a> {
    /// Parses the arguments behind the cursor. `without_values`: the word that leaves values out, if there are any.
    pub fn parse(args: &Args<'a>, without_values: Option<&str>) -> Result<Options<'a>, ErrorReply> {
        let values = without_values.is_some();
        let mut options = Options { pattern: Pattern::any(), count: COUNT, values };
        let mut at = 3;
        while at < args.len() {
            let value = args.get(at + 1);
            if without_values.is_some_and(|word| args.is(at, word)) {
                options.values = false;
                at += 1;
                continue;
            } else if args.is(at, "COUNT") && value.is_some() {
                options.count = count(args, at + 1)?;
            } else if let Some(pattern) = value.filter(|_| args.is(at, "MATCH")) {
                options.pattern = Pattern::new(pattern);
            } else {
                return Err(ErrorReply::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }
}

/// Replies with the next cursor and the texts that `scan` shows; it returns the cursor.
pub fn reply_scanned(reply: &mut Reply<'_>, scan: impl FnOnce(&mut dyn FnMut(&[u8])) -> u64) {
    let (mut found, mut shown) = (Vec::new(), 0);
    let mut writer = ReplyWriter::new(&mut found, reply.protocol).with_max(reply.room());
    let next = scan(&mut |text| {
        writer.bulk(text);
        shown += 1;
    });
    let is_cut = writer.is_cut();
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(shown);
    reply.append(&found, is_cut);
}

/// Parses a cursor as C's `strtoul` does: with a sign and leading zeros, and -1 as the largest.
pub fn cursor(text: &[u8]) -> Result<u64, ErrorReply> {
    let invalid = || ErrorReply::err("invalid cursor");
    if let Some(number) = parse_i64(text) {
        return Ok(number.cast_unsigned());
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    // An empty cursor is zero to `strtoul`.
    let is_number =
        digits.iter().all(u8::is_ascii_digit) && (text.is_empty() || !digits.is_empty());
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number).ok_or_else(invalid)?;
    let number: u64 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| invalid())? };
    Ok(if negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod tests {
    use super::cursor;

    #[test]
    fn cursors_are_parsed_as_in_c() {
        for (text, expected) in [
            ("0", 0),
            ("", 0),
            ("007", 7),
            ("+7", 7),
            ("-1", u64::MAX),
            ("-01", u64::MAX),
            ("18446744073709551615", u64::MAX),
            ("9223372036854775808", 1 << 63),
        ] {
            assert_eq!(cursor(text.as_bytes()), Ok(expected), "{text:?}");
        }
        for text in ["18446744073709551616", " 1", "1 ", "-", "+", "x", "1x", "--1"] {
            assert!(cursor(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
