//! The statements of a Sentinel's configuration (`sentinel monitor mymaster 127.0.0.1 6379 2`), and where its state is kept.
//!
//! Stock Sentinels keep their state in the configuration file itself: epochs, votes, where the masters are now, the replicas
//! and other Sentinels that they know. So does ours ([`Store::Configuration`]). If that file cannot be replaced, since it is
//! mounted into a container, say, or if some of its statements are in an included file, the state is kept beside the data
//! ([`Store::Beside`]): in the folder `dir`, under the name of the configuration file with `.state` behind it. Once there is
//! such a file, the state stays there.
//!
//! At the next start an operator may have edited the configuration meanwhile. The state file repeats the configuration's
//! statements as they were when it was written, which tells an edited statement from one that the state has outdated:
//!
//! ```text
//!   configured monitor mymaster 10.0.0.1 6379 2             the configuration, as it was
//!   configured down-after-milliseconds mymaster 5000
//!   sentinel monitor mymaster 10.0.0.2 6379 2               the state: mymaster was failed over …
//!   sentinel down-after-milliseconds mymaster 9000          … and SENTINEL SET changed this
//! ```
//!
//! * A statement that is `configured` as it is in the configuration now was not edited: the state counts. This includes
//!   that it has no such statement: SENTINEL REMOVE removed the master, SENTINEL SET restored a default.
//! * A statement that differs was edited: the configuration counts, for this statement and this master. A quorum alone does
//!   not change where the master is.
//! * A master that the configuration does not have any more is dropped. One that it has at another address than it was
//!   `configured` with is another master: nothing of the state about this name counts.
//! * Epochs never go back, whatever was edited: a vote would be given twice.
//!
//! Stock Sentinels refuse statements that they do not know, so state of ours that they have no statement for is in comments,
//! which they keep: `#sentinel known-lineage …`.
//!
//! Nothing here opens a file.

use russet_sentinel::settings::{self, Statement};
use russet_sentinel::{Programs, Settings};

use super::Config;
use super::grammar::{quote_if_needed, split_words, trim};
use super::refusal::{FatalError, Mention, Place, RefusedLine};
use crate::io::{Request, Rewrite};
use crate::mode::Mode;

/// The settings of a Sentinel at its start, and where its state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelStart {
    /// Configuration and state.
    pub settings: Settings,
    /// Where the state is kept.
    pub store: Store,
    /// The file of the journal, or its end. Empty if there is none, or if it cannot be read.
    pub journal: Vec<u8>,
}

/// Where a Sentinel's state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In the configuration file.
    Configuration {
        /// Its absolute path.
        path: String,
    },
    /// In a file of its own.
    Beside {
        /// Its absolute path.
        path: String,
        /// The path of the configuration file.
        configuration: String,
        /// The statements of the configuration.
        configured: Vec<Vec<u8>>,
    },
}

impl Store {
    /// Returns the path of the file with the state.
    pub fn path(&self) -> &str {
        match self {
            Store::Configuration { path } | Store::Beside { path, .. } => path,
        }
    }

    /// Returns the request that saves the state: statements without the word `sentinel`.
    pub fn save(&self, config: &Config, lines: Vec<Vec<u8>>) -> Request {
        let path = self.path().to_owned();
        let rewrite = match self {
            Store::Configuration { .. } => {
                let config = config.clone();
                Rewrite::new(move |old, read_others| {
                    config.rewrite_sentinel(old, &lines, read_others)
                })
            }
            Store::Beside { configuration, configured, .. } => {
                let text = state_text(configuration, configured, &lines);
                Rewrite::new(move |_, _| text.clone())
            }
        };
        Request::ReplaceFile { path, rewrite }
    }
}

/// Returns the text of a state file.
fn state_text(configuration: &str, configured: &[Vec<u8>], lines: &[Vec<u8>]) -> Vec<u8> {
    let configuration = configuration.replace(char::is_control, "?");
    let mut text = format!(
        "# The state of the Sentinel of {configuration}, which could not be written.\n\
         # Lines \"configured\" repeat that file: what is edited there counts at the next start.\n"
    )
    .into_bytes();
    for (word, lines) in [(&b"configured "[..], configured), (b"sentinel ", lines)] {
        lines.iter().for_each(|line| text.extend([word, line, b"\n"].concat()));
    }
    text
}

/// Returns what a line of a file says: the line, or the statement of a Sentinel in a comment. None if it says nothing.
pub(super) fn said_by(mode: Mode, line: &[u8]) -> Option<&[u8]> {
    let Some(comment) = line.strip_prefix(b"#") else { return (!line.is_empty()).then_some(line) };
    let words = split_words(comment).filter(|_| mode == Mode::Sentinel)?;
    let (first, statement) = words.split_first()?;
    (first == b"sentinel" && settings::is_kept_in_comment(statement)).then_some(comment)
}

/// Returns the line of a statement.
pub(super) fn line_of(statement: &[u8], words: &[Vec<u8>]) -> Vec<u8> {
    let comment: &[u8] = if settings::is_kept_in_comment(words) { b"#" } else { b"" };
    [comment, b"sentinel ", statement].concat()
}

/// A statement with the place that it was read from.
#[derive(Clone, Debug)]
pub(super) struct SentinelLine {
    mention: Mention,
    words: Vec<Vec<u8>>,
}

impl SentinelLine {
    pub(super) fn new(mention: Mention, words: Vec<Vec<u8>>) -> SentinelLine {
        SentinelLine { mention, words }
    }
}

/// The statements of a configuration.
#[derive(Debug)]
pub struct SentinelLines {
    /// What they say.
    pub settings: Settings,
    lines: Vec<SentinelLine>,
}

impl SentinelLines {
    /// Reads statements. The error is the first that is refused.
    pub(super) fn read(lines: Vec<SentinelLine>) -> Result<SentinelLines, Box<RefusedLine>> {
        let words: Vec<Vec<Vec<u8>>> = lines.iter().map(|line| line.words.clone()).collect();
        match Settings::parse(&words) {
            Ok(settings) => Ok(SentinelLines { settings, lines }),
            Err(error) => Err(Box::new(lines[error.line].mention.refuse(error.reason))),
        }
    }

    /// Whether all statements are in this file, and none is in an included one or in an option of the command line.
    pub fn are_only_in(&self, path: &[u8]) -> bool {
        let is_there =
            |line: &SentinelLine| matches!(&*line.mention.place, Place::File(at) if at == path);
        self.lines.iter().all(is_there)
    }

    /// Returns the statements, without the word `sentinel`.
    pub fn texts(&self) -> Vec<Vec<u8>> {
        let text = |line: &SentinelLine| {
            let words: Vec<_> = line.words.iter().map(|word| quote_if_needed(word)).collect();
            words.join(&b' ')
        };
        self.lines.iter().map(text).collect()
    }

    /// Reads the text of a state file into the configuration, as described above.
    pub fn with_state(&self, path: &[u8], text: &[u8]) -> Result<SentinelLines, FatalError> {
        let state = State::read(path, text)?;
        let lines = SentinelLines::read(state.merge(&self.lines));
        lines.map_err(|line| FatalError::lines(vec![*line]))
    }

    /// Refuses statements about scripts that cannot be run.
    pub fn check_programs(&self, programs: Programs) -> Result<(), FatalError> {
        let refused = self.lines.iter().filter_map(|line| {
            let [name, _, path] = &line.words[..] else { return None };
            let row = std::str::from_utf8(name).ok().and_then(Statement::find)?;
            let reason = row.refuse_program(&String::from_utf8_lossy(path), programs).err()?;
            Some(line.mention.refuse(reason))
        });
        let refused: Vec<RefusedLine> = refused.collect();
        if refused.is_empty() { Ok(()) } else { Err(FatalError::lines(refused)) }
    }
}

/// What a statement is about: those of the same subject replace each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    statement: Vec<u8>,
    /// The name of a master; none for a statement about all of them.
    master: Option<Vec<u8>>,
}

impl Subject {
    pub(super) fn of(words: &[Vec<u8>]) -> Subject {
        let name = words.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        let row = std::str::from_utf8(&name).ok().and_then(Statement::find);
        let is_of_master = row.is_some_and(|row| row.subject == settings::Subject::Master);
        let master = words.get(1).filter(|_| is_of_master && words.len() > 2).cloned();
        let statement = row.map_or(name, |row| row.name.as_bytes().to_vec());
        Subject { statement, master }
    }

    fn is_epoch(&self) -> bool {
        self.statement.ends_with(b"-epoch")
    }
}

/// A state file.
struct State {
    /// The configuration as it was.
    configured: Vec<SentinelLine>,
    lines: Vec<SentinelLine>,
}

impl State {
    fn read(path: &[u8], text: &[u8]) -> Result<State, FatalError> {
        let place = std::rc::Rc::new(Place::File(path.to_vec()));
        let mut state = State { configured: Vec::new(), lines: Vec::new() };
        for (at, text) in text.split(|&byte| byte == b'\n').map(trim).enumerate() {
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let mention = Mention {
                place: place.clone(),
                number: at + 1,
                text: text.to_vec(),
                order: at + 1,
            };
            let mut words = split_words(text).unwrap_or_default();
            let first = if words.is_empty() { Vec::new() } else { words.remove(0) };
            match first.as_slice() {
                b"configured" => state.configured.push(SentinelLine { mention, words }),
                b"sentinel" => state.lines.push(SentinelLine { mention, words }),
                _ => {
                    let refused = mention.refuse("Not a line of a Sentinel's state");
                    return Err(FatalError::lines(vec![refused]));
                }
            }
        }
        Ok(state)
    }

    /// Returns the statements that count.
    fn merge(&self, now: &[SentinelLine]) -> Vec<SentinelLine> {
        let of = |side: Side| {
            let lines = if side == Side::Configuration { now } else { &self.lines };
            lines.iter().filter(move |line| self.counts(now, &Subject::of(&line.words)) == side)
        };
        let mut lines: Vec<SentinelLine> = of(Side::Configuration).cloned().collect();
        lines.extend(of(Side::State).map(|line| self.with_edited_quorum(now, line)));
        lines
    }

    /// Decides whose statements about a subject count.
    fn counts(&self, now: &[SentinelLine], subject: &Subject) -> Side {
        if let Some(master) = &subject.master {
            let (monitored, before) = (monitor(now, master), monitor(&self.configured, master));
            let address = |words: Option<&[Vec<u8>]>| words.map(|words| words[2..4].to_vec());
            if address(monitored) != address(before) {
                return Side::Configuration;
            }
            let is_removed = monitor(&self.lines, master).is_none();
            if is_removed || subject.statement == b"monitor" {
                return Side::State;
            }
        }
        let is_edited = if subject.is_epoch() {
            about(&self.lines, subject).next().is_none()
        } else {
            !about(now, subject).eq(about(&self.configured, subject))
        };
        if is_edited { Side::Configuration } else { Side::State }
    }

    /// Returns a statement of the state, with the quorum of the configuration if that was edited.
    fn with_edited_quorum(&self, now: &[SentinelLine], line: &SentinelLine) -> SentinelLine {
        let mut line = line.clone();
        let subject = Subject::of(&line.words);
        let (b"monitor", Some(master)) = (subject.statement.as_slice(), &subject.master) else {
            return line;
        };
        let quorum = |lines| monitor(lines, master).map(|words| words[4].clone());
        if let (Some(now), Some(before)) = (quorum(now), quorum(&self.configured))
            && now != before
            && let Some(word) = line.words.get_mut(4)
        {
            *word = now;
        }
        line
    }
}

/// Where the statements about a subject come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Configuration,
    State,
}

/// Iterates over the words of the statements about a subject.
fn about<'a>(
    lines: &'a [SentinelLine],
    subject: &'a Subject,
) -> impl Iterator<Item = &'a [Vec<u8>]> {
    let words = lines.iter().map(|line| line.words.as_slice());
    words.filter(move |words| Subject::of(words) == *subject)
}

/// Returns the words of the statement that makes a master known, if that is complete.
fn monitor<'a>(lines: &'a [SentinelLine], master: &[u8]) -> Option<&'a [Vec<u8>]> {
    let mut words = lines.iter().map(|line| line.words.as_slice());
    words.find(|words| {
        words.len() == 5 && words[0].eq_ignore_ascii_case(b"monitor") && words[1] == master
    })
}
