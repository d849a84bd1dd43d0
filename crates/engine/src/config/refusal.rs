//! Why a configuration is refused: all refused lines, in the order in which they were read.

use std::fmt;
use std::rc::Rc;

use super::file_only::{self, Treatment};
use super::grammar::split_words;
use super::{DIRECTIVES, is_sensitive};

/// Refused lines that are listed; reading stops behind the last one.
pub const REFUSED_LINES_MAX: usize = 100;

/// Maximum length of a line in a message, in bytes.
const SHOWN_BYTES_MAX: usize = 1024;

/// Where lines of a configuration come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A text without a name.
    Text,
    /// A file with its path.
    File(Vec<u8>),
    /// Standard input.
    StandardInput,
    /// Options of the command line, one a line.
    CommandLine,
}

/// A part of a configuration.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it comes from.
    pub place: Place,
    /// Its lines.
    pub text: Vec<u8>,
}

/// Why a line is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The reason in words.
    pub message: String,
    /// Whether the line is valid in Redis, but needs what is not implemented.
    pub is_missing: bool,
}

impl Reason {
    /// Returns the reason for a line that needs what is not implemented.
    pub fn missing(message: impl Into<String>) -> Reason {
        Reason { message: message.into(), is_missing: true }
    }
}

impl<T: Into<String>> From<T> for Reason {
    fn from(message: T) -> Reason {
        Reason { message: message.into(), is_missing: false }
    }
}

/// A line that was read.
#[derive(Debug, Clone)]
pub(super) struct Mention {
    pub place: Rc<Place>,
    /// Its number in that place, from 1.
    pub number: usize,
    /// The line itself, trimmed.
    pub text: Vec<u8>,
    /// Its number among all lines that were read.
    pub order: usize,
}

impl Mention {
    /// Returns the directive's name as it was written.
    pub fn name(&self) -> String {
        let words = split_words(&self.text).unwrap_or_default();
        words.first().map_or(String::new(), |name| String::from_utf8_lossy(name).into_owned())
    }

    pub fn refuse(&self, reason: impl Into<Reason>) -> RefusedLine {
        RefusedLine {
            place: (*self.place).clone(),
            number: self.number,
            text: shown(&self.text),
            reason: reason.into(),
            order: self.order,
        }
    }
}

/// A refused line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLine {
    /// Where it was read.
    pub place: Place,
    /// Its number in that place, from 1.
    pub number: usize,
    /// The line itself without secrets.
    pub text: String,
    /// Why it is refused.
    pub reason: Reason,
    pub(super) order: usize,
}

impl fmt::Display for RefusedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number;
        match &self.place {
            Place::Text => writeln!(f, "Reading the configuration, at line {number}")?,
            Place::File(path) => {
                let path = String::from_utf8_lossy(path);
                writeln!(f, "Reading the configuration file '{path}', at line {number}")?;
            }
            Place::StandardInput => {
                writeln!(f, "Reading the configuration from standard input, at line {number}")?;
            }
            Place::CommandLine => writeln!(f, "Reading the options of the command line")?,
        }
        writeln!(f, ">>> '{}'", self.text)?;
        writeln!(f, "{}", self.reason.message)
    }
}

/// A configuration file that can't be read. Its text is that of Redis before it exits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its path.
    pub path: Vec<u8>,
    /// The operating system's reason.
    pub reason: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = String::from_utf8_lossy(&self.path);
        write!(f, "Fatal error, can't open config file '{path}': {}", self.reason)
    }
}

/// Why a configuration is refused, with the text to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FatalError {
    /// Lines that are invalid or need what is not implemented, in the order of reading.
    Lines(Vec<RefusedLine>),
    /// An included file can't be read, and no other line is refused.
    Unreadable(Unreadable),
}

impl FatalError {
    /// Returns the error for refused lines, which it sorts.
    pub fn lines(mut lines: Vec<RefusedLine>) -> FatalError {
        lines.sort_by_key(|line| line.order);
        FatalError::Lines(lines)
    }
}

impl fmt::Display for FatalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = match self {
            FatalError::Lines(lines) => lines,
            FatalError::Unreadable(unreadable) => return unreadable.fmt(f),
        };
        // Redis' words, for scripts that look for them.
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Russet {version}) ***")?;
        for line in lines {
            writeln!(f, "{line}")?;
        }
        let count = match lines.len() {
            1 => "This line is refused".to_owned(),
            count if count < REFUSED_LINES_MAX => format!("These {count} lines are refused"),
            _ => "These lines are refused, and the rest was not read".to_owned(),
        };
        if lines.iter().any(|line| line.reason.is_missing) {
            writeln!(
                f,
                "{count}. What Russet does not have yet, and what that means: docs/compatibility.md"
            )
        } else {
            writeln!(f, "{count}. Directives and their values: docs/config.md")
        }
    }
}

impl std::error::Error for FatalError {}

/// Returns a line as messages show it: not too long, without passwords, and without control
/// characters, which a terminal might obey.
fn shown(line: &[u8]) -> String {
    without_secrets(line).replace(char::is_control, "?")
}

fn without_secrets(line: &[u8]) -> String {
    let line = &line[..line.len().min(SHOWN_BYTES_MAX)];
    let name = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let known = near_name(name).map_or(name, str::as_bytes);
    let is_user = file_only::find(known).is_some_and(|row| row.treatment == Treatment::User);
    if known.eq_ignore_ascii_case(b"sentinel") {
        return without_sentinel_secrets(line);
    }
    if !is_user && !is_sensitive(known) {
        return String::from_utf8_lossy(line).into_owned();
    }
    let mut text = String::from_utf8_lossy(name).into_owned();
    for word in split_words(&line[name.len()..]).unwrap_or_else(|| vec![b">".to_vec()]) {
        text.push(' ');
        match word.first() {
            Some(first) if is_user && b"><#!".contains(first) => {
                text.push(char::from(*first));
                text.push_str("***");
            }
            _ if is_user => text.push_str(&String::from_utf8_lossy(&word)),
            _ => text.push_str("***"),
        }
    }
    text
}

/// Hides the last word of a statement about a password, also of one that is misspelled.
fn without_sentinel_secrets(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line).into_owned();
    let mut words = text.split_ascii_whitespace();
    let (name, statement) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let about = statement.to_ascii_lowercase();
    if !about.contains("pas") && !about.contains("auth") {
        return text;
    }
    let shown = if words.next().is_some() { " ***" } else { "" };
    format!("{name} {statement}{shown}")
}

/// Returns the name of a directive that was probably meant.
pub(super) fn near_name(name: &[u8]) -> Option<&'static str> {
    // `port=6379` is a habit from other configuration files.
    let name = name.split(|&byte| byte == b'=').next()?.to_ascii_lowercase();
    let edits_max = (name.len() / 3).min(3);
    if name.len() > 64 {
        return None;
    }
    let known = DIRECTIVES.iter().flat_map(|row| row.names());
    let known = known.chain(file_only::FILE_ONLY.iter().map(|row| row.name));
    let near = known.map(|known| (edits(&name, known.as_bytes()), known));
    near.filter(|(edits, _)| *edits <= edits_max).min_by_key(|(edits, _)| *edits).map(|near| near.1)
}

/// Counts the edits between two names: bytes inserted, removed, changed, or swapped with the next.
fn edits(one: &[u8], other: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let changed = last[j] + usize::from(a != b);
            let mut edits = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                edits = edits.min(before[j - 1] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        for (name, meant) in [
            ("max-memory", Some("maxmemory")),
            ("MAXMEMROY", Some("maxmemory")),
            ("slave-of", Some("slaveof")),
            ("requirepas", Some("requirepass")),
            ("port=6379", Some("port")),
            ("port:", Some("port")),
            ("rename-comand", Some("rename-command")),
            ("foo", None),
            ("x", None),
            ("", None),
            (&"x".repeat(5000), None),
        ] {
            assert_eq!(near_name(name.as_bytes()), meant, "{name}");
        }
        assert_eq!((edits(b"", b"abc"), edits(b"ab", b"ba"), edits(b"ca", b"abc")), (3, 1, 3));
    }

    #[test]
    fn messages_show_no_passwords() {
        for (line, text) in [
            ("port x", "port x"),
            ("requirepass a b", "requirepass *** ***"),
            ("requirepass \"a", "requirepass ***"),
            ("REQUIREPAS secret", "REQUIREPAS ***"),
            ("user alice on >pw #ab ~*", "user alice on >*** #*** ~*"),
            ("user alice on \">pw", "user >***"),
            ("sentinel monitor m 127.0.0.1 1 2", "sentinel monitor m 127.0.0.1 1 2"),
            ("sentinel auth-pass m secret", "sentinel auth-pass ***"),
            ("SENTINEL Sentinel-Pas secret", "SENTINEL Sentinel-Pas ***"),
            ("sentinel auth-pass", "sentinel auth-pass"),
        ] {
            assert_eq!(shown(line.as_bytes()), text);
        }
        assert_eq!(shown(&[b'x'; 5000]).len(), SHOWN_BYTES_MAX);
        assert_eq!(shown(b"a\x1b[2Jb\xff"), "a?[2Jb\u{fffd}");
    }
}
