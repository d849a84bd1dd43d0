//! The parser of one command of an append-only file: an array of bulk strings, and nothing else.
//!
//! ```text
//!   *2\r\n$3\r\nGET\r\n$3\r\nkey\r\n
//! ```
//!
//! Stricter than the parser of clients' requests: every CR LF is checked, there are no inline commands, no commands
//! without arguments, and a length that the rest of the file cannot hold is known as soon as it is read. Bytes may arrive
//! in pieces; no argument is looked at twice. A claimed number or length allocates nothing.

use russet_protocol::request::ArgRange;

/// Maximum number of digits of a number or length.
const DIGITS_MAX: usize = 18;
/// Length of the shortest argument: `$0`, an empty string, and two CR LF.
const ARGUMENT_BYTES_MIN: u64 = 6;
/// A longer table of arguments is freed.
const ARGUMENTS_KEPT: usize = 1024;

/// What a call has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A command of this length; its arguments are in [`CommandParser::args`].
    Command(usize),
    /// At least this many bytes from the beginning of the command on are needed.
    Need(usize),
    /// It claims more bytes than there can be.
    Beyond,
    /// It is malformed at this place.
    Bad(usize, Malformed),
}

/// What is wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A byte in place of the one that begins a command, a length or ends a line.
    Byte {
        /// The byte that belongs there.
        expected: u8,
        /// The byte that is there.
        found: u8,
    },
    /// A number of arguments or a length that is none.
    Number,
}

/// The state within a command.
#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Count,
    Length,
    Body(usize),
}

/// A parser of one command after another.
#[derive(Debug, Default)]
pub(super) struct CommandParser {
    state: State,
    cursor: usize,
    /// Number of arguments that have not been read.
    left: u64,
    args: Vec<ArgRange>,
}

enum Line {
    Need(usize),
    Number(u64, usize),
    Bad(usize, Malformed),
}

impl CommandParser {
    /// Returns the arguments so far, relative to the first byte of the command.
    pub(super) fn args(&self) -> &[ArgRange] {
        &self.args
    }

    /// Returns the number of CR LF so far.
    pub(super) fn lines(&self) -> u64 {
        let open = match self.state {
            State::Count => 0,
            State::Length => 1,
            State::Body(_) => 2,
        };
        open + 2 * self.args.len() as u64
    }

    /// Prepares for the next command.
    pub(super) fn reset(&mut self) {
        self.state = State::Count;
        self.cursor = 0;
        self.left = 0;
        self.args.clear();
        if self.args.capacity() > ARGUMENTS_KEPT {
            self.args = Vec::new();
        }
    }

    /// Parses the command at the beginning of `bytes`, going on where the last call ended. `bytes_max`: how long it can
    /// be at most.
    pub(super) fn parse(&mut self, bytes: &[u8], bytes_max: u64) -> Found {
        loop {
            match self.state {
                State::Count => match line(bytes, 0, b'*') {
                    Line::Need(need) => return need_up_to(need, bytes_max),
                    Line::Bad(at, what) => return Found::Bad(at, what),
                    Line::Number(0, _) => return Found::Bad(1, Malformed::Number),
                    Line::Number(count, next) => {
                        let least = count.saturating_mul(ARGUMENT_BYTES_MIN);
                        if least > bytes_max {
                            return Found::Beyond;
                        }
                        (self.left, self.cursor, self.state) = (count, next, State::Length);
                    }
                },
                State::Length => match line(bytes, self.cursor, b'$') {
                    Line::Need(need) => return need_up_to(need, bytes_max),
                    Line::Bad(at, what) => return Found::Bad(at, what),
                    Line::Number(len, next) => {
                        let end = len.saturating_add(next as u64).saturating_add(2);
                        let Ok(end) = usize::try_from(end) else { return Found::Beyond };
                        if end as u64 > bytes_max {
                            return Found::Beyond;
                        }
                        (self.cursor, self.state) = (next, State::Body(end - 2));
                    }
                },
                State::Body(end) => {
                    if bytes.len() < end + 2 {
                        return Found::Need(end + 2);
                    }
                    if let Err((at, what)) = expect_newline(bytes, end) {
                        return Found::Bad(at, what);
                    }
                    self.args.push(ArgRange { start: self.cursor, end });
                    self.left -= 1;
                    (self.cursor, self.state) = (end + 2, State::Length);
                    if self.left == 0 {
                        return Found::Command(self.cursor);
                    }
                }
            }
        }
    }
}

fn need_up_to(need: usize, bytes_max: u64) -> Found {
    if need as u64 > bytes_max { Found::Beyond } else { Found::Need(need) }
}

fn expect(bytes: &[u8], at: usize, expected: u8) -> Result<(), (usize, Malformed)> {
    let found = bytes[at];
    if found == expected { Ok(()) } else { Err((at, Malformed::Byte { expected, found })) }
}

fn expect_newline(bytes: &[u8], at: usize) -> Result<(), (usize, Malformed)> {
    expect(bytes, at, b'\r')?;
    expect(bytes, at + 1, b'\n')
}

/// Reads a line that consists of `prefix` and a number.
#[inline]
fn line(bytes: &[u8], at: usize, prefix: u8) -> Line {
    // Never more is asked for than what decides, or the end of a file would hide an error before it.
    if bytes.len() <= at {
        return Line::Need(at + 1);
    }
    if let Err((at, what)) = expect(bytes, at, prefix) {
        return Line::Bad(at, what);
    }
    let mut value = 0_u64;
    let mut end = at + 1;
    while let Some(digit) = bytes.get(end).filter(|byte| byte.is_ascii_digit()) {
        if end - at > DIGITS_MAX {
            return Line::Bad(at + 1, Malformed::Number);
        }
        value = value * 10 + u64::from(digit - b'0');
        end += 1;
    }
    match &bytes[end..] {
        [] => Line::Need(end + 1),
        [b'\r'] => Line::Need(end + 2),
        [b'\r', b'\n', ..] if end > at + 1 => Line::Number(value, end + 2),
        [b'\r', found, ..] if end > at + 1 => {
            Line::Bad(end + 1, Malformed::Byte { expected: b'\n', found: *found })
        }
        _ => Line::Bad(at + 1, Malformed::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Found {
        CommandParser::default().parse(bytes, bytes.len() as u64)
    }

    #[test]
    fn pieces_do_not_matter_and_needs_are_exact() {
        let whole = b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\nhello\r\nworld\r\n";
        let mut parser = CommandParser::default();
        let mut have = 0;
        let len = loop {
            match parser.parse(&whole[..have], 1000) {
                Found::Need(need) => {
                    assert!(need > have && need <= whole.len());
                    have = need;
                }
                Found::Command(len) => break len,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((len, have, parser.lines()), (whole.len(), whole.len(), 7));
        let args: Vec<&[u8]> =
            parser.args().iter().map(|range| &whole[range.start..range.end]).collect();
        assert_eq!(args, [&b"SET"[..], b"", b"hello\r\nworld"]);
    }

    #[test]
    fn only_commands_are_accepted() {
        let byte = |expected, found| Malformed::Byte { expected, found };
        for (bytes, at, what) in [
            (&b"SET a b\r\n"[..], 0, byte(b'*', b'S')),
            (b"*0\r\n", 1, Malformed::Number),
            (b"*-1\r\n", 1, Malformed::Number),
            (b"*x\r\n", 1, Malformed::Number),
            (b"*\r\n$1", 1, Malformed::Number),
            (b"*1111111111111111111\r\n", 1, Malformed::Number),
            (b"*1\n$1\r\na\r\n", 1, Malformed::Number),
            (b"*1\r$1\r\na\r\n", 3, byte(b'\n', b'$')),
            (b"*1\r\n+1\r\na\r\n", 4, byte(b'$', b'+')),
            (b"*1\r\n$-1\r\na\r\n", 5, Malformed::Number),
            (b"*1\r\n$1\r\nab\r\n", 9, byte(b'\r', b'b')),
            (b"*1\r\n$1\r\na\r\r", 10, byte(b'\n', b'\r')),
        ] {
            assert_eq!(parse(bytes), Found::Bad(at, what), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_cannot_fit_is_known_at_once() {
        for bytes in [
            &b"*9999999999\r\n"[..],
            b"*1\r\n$999999999999999999\r\n",
            b"*1\r\n$5\r\nabc\r\n",
            b"*1\r\n$1\r\na\r",
            b"*1\r\n",
            b"*",
        ] {
            assert_eq!(parse(bytes), Found::Beyond, "{}", bytes.escape_ascii());
        }
        assert_eq!(CommandParser::default().parse(b"*1\r\n$5\r\nabc\r\n", 99), Found::Need(15));
    }

    #[test]
    fn an_error_in_the_last_bytes_is_found_in_pieces_too() {
        for bytes in
            [&b"*2\r\n$1\r\na\r\n13"[..], b"*1\r\n$123x", b"*12x", b"*2\r\n$1\r\na\r\n$\r1"]
        {
            let expected = parse(bytes);
            assert!(matches!(expected, Found::Bad(..)), "{}", bytes.escape_ascii());
            let mut parser = CommandParser::default();
            let found =
                (0..=bytes.len()).map(|have| parser.parse(&bytes[..have], bytes.len() as u64));
            let found = found.into_iter().find(|found| !matches!(found, Found::Need(_)));
            assert_eq!(found, Some(expected), "{}", bytes.escape_ascii());
        }
    }
}
