//! The search for whole commands behind one that claims more bytes than the file has: does the file end there, or is the
//! claim damaged?
//!
//! ```text
//!   cut:      *3…SET…  *3\r\n$3\r\nSET\r\n$1\r\na\r\n$900\r\nxxxx              the end is missing
//!   damaged:  *3…SET…  *3\r\n$3\r\nSET\r\n$1\r\na\r\n$900\r\nx\r\n *3…SET… *2…DEL…   "$1" it was; the file ends with a command
//! ```
//!
//! A file that was cut ends with a whole command only if a value holds commands and the cut is just behind one of them.
//! Bytes are looked at one by one and none is kept. Not here: whether the commands are any.

/// Higher counts and lengths are no command's.
const NUMBER_MAX: u64 = 1 << 40;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// The beginning of a line; the field says how many bytes of CR LF were just seen.
    Anything(u8),
    /// A digit of a number of arguments, of which `value` was seen, or its CR LF.
    Count { value: u64, digits: u8 },
    /// LF, and then the first of these arguments.
    CountEnd(u64),
    /// `$`, with the number of arguments that are left.
    Dollar(u64),
    /// A digit of a length or its CR LF.
    Length { left: u64, value: u64, digits: u8 },
    /// LF, and then a body of this length.
    LengthEnd { left: u64, value: u64 },
    /// So many bytes of an argument.
    Body { left: u64, bytes: u64 },
    /// The CR behind an argument.
    BodyEnd(u64),
    /// The LF behind an argument.
    BodyEndLine(u64),
    /// A command, an annotation or the end of the file.
    Next,
    /// The rest of an annotation.
    Annotation,
}

/// The state of the search.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resync {
    expect: Expect,
    /// The last byte.
    last: u8,
}

impl Resync {
    /// Begins behind the first byte of the command that is in doubt.
    pub(super) fn new() -> Resync {
        Resync { expect: Expect::Anything(0), last: 0 }
    }

    /// Whether the bytes so far end with a whole command or annotation behind one.
    pub(super) fn ends_whole(&self) -> bool {
        self.expect == Expect::Next
    }

    /// Looks at the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Expect::Body { left, bytes: missing } = self.expect {
                let taken = usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len());
                self.expect = body(left, missing - taken as u64);
                self.last = bytes[taken - 1];
                bytes = &bytes[taken..];
                continue;
            }
            // If it is no command after all, it may be the beginning of a line.
            let seen = Expect::Anything(u8::from(self.last == b'\r'));
            self.expect = self.next(byte).unwrap_or_else(|| seen.search(byte));
            self.last = byte;
            bytes = rest;
        }
    }

    fn next(&self, byte: u8) -> Option<Expect> {
        Some(match (self.expect, byte) {
            (Expect::Anything(_), byte) => self.expect.search(byte),
            (Expect::Next, b'*') => Expect::Count { value: 0, digits: 0 },
            (Expect::Next, b'#') => Expect::Annotation,
            (Expect::Annotation, b'\n') => Expect::Next,
            (Expect::Annotation, _) => Expect::Annotation,
            (Expect::Count { value, digits: 1.. }, b'\r') if value > 0 => Expect::CountEnd(value),
            (Expect::Count { value, digits }, digit) => {
                Expect::Count { value: append(value, digit)?, digits: digits.saturating_add(1) }
            }
            (Expect::CountEnd(left), b'\n') => Expect::Dollar(left),
            (Expect::Dollar(left), b'$') => Expect::Length { left, value: 0, digits: 0 },
            (Expect::Length { left, value, digits: 1.. }, b'\r') => {
                Expect::LengthEnd { left, value }
            }
            (Expect::Length { left, value, digits }, digit) => {
                let (value, digits) = (append(value, digit)?, digits.saturating_add(1));
                Expect::Length { left, value, digits }
            }
            (Expect::LengthEnd { left, value }, b'\n') => body(left, value),
            (Expect::BodyEnd(left), b'\r') => Expect::BodyEndLine(left),
            (Expect::BodyEndLine(1), b'\n') => Expect::Next,
            (Expect::BodyEndLine(left), b'\n') => Expect::Dollar(left - 1),
            _ => return None,
        })
    }
}

impl Expect {
    /// Goes on with the search for a command at the beginning of a line.
    fn search(self, byte: u8) -> Expect {
        match (self, byte) {
            (Expect::Anything(2), b'*') => Expect::Count { value: 0, digits: 0 },
            (Expect::Anything(1), b'\n') => Expect::Anything(2),
            (_, b'\r') => Expect::Anything(1),
            _ => Expect::Anything(0),
        }
    }
}

fn body(left: u64, bytes: u64) -> Expect {
    if bytes == 0 { Expect::BodyEnd(left) } else { Expect::Body { left, bytes } }
}

fn append(value: u64, digit: u8) -> Option<u64> {
    let value = value * 10 + u64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    (value <= NUMBER_MAX).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_whole(bytes: &[u8]) -> bool {
        let mut whole = Resync::new();
        whole.feed(bytes);
        let mut single = Resync::new();
        bytes.iter().for_each(|byte| single.feed(std::slice::from_ref(byte)));
        assert_eq!(whole, single, "{}", bytes.escape_ascii());
        whole.ends_whole()
    }

    #[test]
    fn whole_commands_at_the_end_are_found() {
        let start = "$900\r\nx\r\n";
        let command = "*2\r\n$3\r\nDEL\r\n$0\r\n\r\n";
        for (rest, expected) in [
            (String::new(), false),
            (command.to_owned(), true),
            (format!("{command}{command}#TS:5\r\n"), true),
            (format!("{command}*1\r\n$4\r\nabc\r\n{command}"), true),
            (format!("{command}*1\r\n"), false),
            (format!("{command}x"), false),
            (format!("{command}x\r\n{command}"), true),
            (command[..command.len() - 1].to_owned(), false),
            ("*0\r\n".to_owned(), false),
            ("*\r\n$1\r\na\r\n".to_owned(), false),
            ("*1\r\n$\r\na\r\n".to_owned(), false),
            (format!("*1\r\n${}\r\na\r\n", u64::MAX), false),
            ("#TS:5\r\n".to_owned(), false),
        ] {
            assert_eq!(ends_whole(format!("{start}{rest}").as_bytes()), expected, "{rest:?}");
        }
    }
}
