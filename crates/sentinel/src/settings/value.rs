//! The kinds of values: how each is read from words, checked and written as words.

use super::table::Statement;
use super::write::quoted;
use super::{Globals, MasterSettings};
use crate::io::Programs;

/// A field of settings.
#[derive(Debug)]
pub(crate) struct Field<S: 'static, V: 'static> {
    /// Returns it.
    pub get: fn(&S) -> &V,
    /// Returns it to be changed.
    pub edit: fn(&mut S) -> &mut V,
}

/// The kind of a statement's arguments, and where their values are.
#[derive(Debug)]
pub(crate) enum Kind {
    /// `yes` or `no`, with the error of another word in a file.
    Flag(Field<Globals, bool>, &'static str),
    /// A port of this Sentinel.
    Port(Field<Globals, u16>),
    /// A text; an empty one is none.
    TextOfAll(Field<Globals, Option<String>>),
    /// A text about a master; an empty one is none.
    Text(Field<MasterSettings, Option<String>>),
    /// The path of a program, with the error of one that cannot be run.
    Script(Field<MasterSettings, Option<String>>, &'static str),
    /// Milliseconds, of which there must be some.
    Period(Field<MasterSettings, u64>),
    /// Milliseconds; 0 turns something off.
    OptionalPeriod(Field<MasterSettings, u64>),
    /// A number, with the error of another word in a file.
    Count(Field<MasterSettings, u32>, &'static str),
    /// An epoch.
    Epoch(Field<MasterSettings, u64>),
    /// The name of a command, and the one it has.
    Renamed,
    // The rest has a form of its own (`read.rs`, `write.rs`).
    Monitor,
    MyId,
    CurrentEpoch,
    KnownReplica,
    KnownSentinel,
    KnownLineage,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A line of the configuration file.
    File,
    /// SENTINEL SET or SENTINEL CONFIG SET.
    Command,
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The argument of this index; a command names it, a file gives the reason.
    Argument(usize, &'static str),
    /// The reason, in a command too.
    Reason(&'static str),
}

impl Wrong {
    /// Returns the reason, as it is given for a line of a file.
    pub fn reason(self) -> &'static str {
        match self {
            Wrong::Argument(_, reason) | Wrong::Reason(reason) => reason,
        }
    }
}

const NO_PERIOD: &str = "negative or zero time parameter.";
const NO_OPTIONAL_PERIOD: &str = "negative time parameter.";

impl Statement {
    /// Whether it is the path of a program.
    pub(crate) fn is_script(&self) -> bool {
        matches!(self.kind, Kind::Script(..))
    }

    /// Checks that the program of a script can be run, and returns the reason if it cannot. An empty path is none.
    pub fn refuse_program(&self, path: &str, programs: Programs) -> Result<(), &'static str> {
        match self.kind {
            Kind::Script(_, error) if !path.is_empty() && !(programs.0)(path) => Err(error),
            _ => Ok(()),
        }
    }

    /// Sets a value about all masters.
    pub(crate) fn set(
        &self,
        globals: &mut Globals,
        value: &str,
        source: Source,
    ) -> Result<(), Wrong> {
        match &self.kind {
            Kind::Flag(field, error) => {
                let flag = yes_or_no(value).ok_or(Wrong::Argument(0, error))?;
                *(field.edit)(globals) = flag;
            }
            Kind::Port(field) => {
                let port = parse_port(value).map_err(|error| Wrong::Argument(0, error))?;
                *(field.edit)(globals) = port;
            }
            Kind::TextOfAll(field) => {
                if source == Source::Command && value.contains(char::is_control) {
                    return Err(Wrong::Argument(0, ""));
                }
                *(field.edit)(globals) = some_text(value);
            }
            _ => return Err(Wrong::Reason(super::read::UNRECOGNIZED)),
        }
        Ok(())
    }

    /// Returns a value about all masters.
    pub(crate) fn value(&self, globals: &Globals) -> String {
        match &self.kind {
            Kind::Flag(field, _) => if *(field.get)(globals) { "yes" } else { "no" }.to_owned(),
            Kind::Port(field) => (field.get)(globals).to_string(),
            Kind::TextOfAll(field) => (field.get)(globals).clone().unwrap_or_default(),
            _ => String::new(),
        }
    }

    /// Sets a value about a master.
    pub(crate) fn set_of(
        &self,
        master: &mut MasterSettings,
        arguments: &[&str],
        source: Source,
    ) -> Result<(), Wrong> {
        let refused = |reason| Wrong::Argument(0, reason);
        match (&self.kind, arguments) {
            (Kind::Text(field), [text]) => *(field.edit)(master) = some_text(text),
            (Kind::Script(field, error), [path]) => {
                // SENTINEL SET removes a script by an empty path.
                if !(may_be_run(path) || path.is_empty() && source == Source::Command) {
                    return Err(Wrong::Reason(error));
                }
                *(field.edit)(master) = some_text(path);
            }
            (Kind::Period(field), [ms]) => {
                *(field.edit)(master) = parse_ms(ms).ok_or(refused(NO_PERIOD))?;
            }
            (Kind::OptionalPeriod(field), [ms]) => {
                let ms = if *ms == "0" { Some(0) } else { parse_ms(ms) };
                *(field.edit)(master) = ms.ok_or(refused(NO_OPTIONAL_PERIOD))?;
            }
            (Kind::Count(field, error), [count]) => {
                // As in Redis only a file may have none.
                let least = u64::from(source == Source::Command);
                let count = count.parse::<u64>().ok().filter(|&count| count >= least);
                let count = count.ok_or(refused(error))?;
                *(field.edit)(master) = u32::try_from(count).unwrap_or(u32::MAX);
            }
            (Kind::Epoch(field), [epoch]) => {
                *(field.edit)(master) = parse_epoch(epoch).map_err(refused)?;
            }
            (Kind::Renamed, [command, name]) => return rename(master, command, name, source),
            _ => return Err(Wrong::Reason(super::read::UNRECOGNIZED)),
        }
        Ok(())
    }

    /// Returns a value about a master; none if it has none, or several.
    pub(super) fn value_of(&self, master: &MasterSettings) -> Option<String> {
        match &self.kind {
            Kind::Text(field) | Kind::Script(field, _) => {
                (field.get)(master).as_deref().map(quoted)
            }
            Kind::Period(field) | Kind::OptionalPeriod(field) | Kind::Epoch(field) => {
                Some((field.get)(master).to_string())
            }
            Kind::Count(field, _) => Some((field.get)(master).to_string()),
            _ => None,
        }
    }
}

/// Sets the name of a command. A file names each once; SENTINEL SET replaces a name, or removes it by the command's own.
fn rename(
    master: &mut MasterSettings,
    command: &str,
    name: &str,
    source: Source,
) -> Result<(), Wrong> {
    let key = command.to_ascii_uppercase();
    match source {
        Source::File if master.renamed.contains_key(&key) => {
            let error = "Same command renamed multiple times with rename-command.";
            return Err(Wrong::Reason(error));
        }
        Source::File => {}
        Source::Command => {
            if let Some(empty) = [command, name].iter().rposition(|word| word.is_empty()) {
                return Err(Wrong::Argument(empty, ""));
            }
            if command.eq_ignore_ascii_case(name) {
                master.renamed.remove(&key);
                return Ok(());
            }
        }
    }
    master.renamed.insert(key, name.to_owned());
    Ok(())
}

/// Whether a path may name a program, as far as the path itself tells.
fn may_be_run(path: &str) -> bool {
    let is_name = |name: &str| name.len() <= 255;
    !path.is_empty()
        && path.len() < 4096
        && !path.contains('\0')
        && !path.ends_with('/')
        && path.split('/').all(is_name)
}

fn some_text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Parses `yes` or `no`.
fn yes_or_no(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// Parses a positive number of milliseconds; a century is enough for everybody's arithmetic.
pub(crate) fn parse_ms(word: &str) -> Option<u64> {
    word.parse().ok().filter(|&ms| ms > 0).map(|ms: u64| ms.min(100 * 365 * 86_400_000))
}

pub(super) fn parse_port(word: &str) -> Result<u16, &'static str> {
    word.parse().map_err(|_| "Invalid port number.")
}

pub(super) fn parse_epoch(word: &str) -> Result<u64, &'static str> {
    word.parse().map_err(|_| "Invalid epoch.")
}
