//! The configuration room: every setting, typed, and the only way in and out of them.
//!
//! [`Config`] is a plain value. It is read from text by [`Config::parse`], shown by
//! [`Config::get`], changed by [`Config::set`] and written back by [`Config::rewrite`], all of them
//! derived from the table in [`directives`]. Nothing here opens files, sockets or clocks: what a
//! change needs from the outside is named by [`Apply`], and whoever carries it out may take the
//! change back with [`Config::roll_back`].

pub mod apply;
mod check;
pub mod directives;
pub mod document;
pub mod file_only;
pub mod grammar;
pub mod load;
pub mod password;
pub mod rewrite;
#[cfg(test)]
mod tests;
pub mod value;
pub mod words;

use std::fmt;

pub use apply::{Apply, Hook, ShellStep, requests_at_start};
pub use directives::{Config, DIRECTIVES, Directive, Promise, Status};
pub use grammar::CommandLine;
pub use load::{FatalError, IncludedFile, Loaded};

use directives::{DENY_LOADING, HIDDEN, IMMUTABLE, PROTECTED, SENSITIVE};
use grammar::{VALUE_BYTES_MAX, split_words};
use load::{Verdict, judge};
use russet_ds::glob::{self, Case};
use value::{Origin, ProtectedAction};

impl Default for Config {
    fn default() -> Config {
        let mut config = Config::blank();
        for row in DIRECTIVES {
            // A test assigns each row's default, so that neither step can fail here.
            let words = split_words(row.default_in_file().as_bytes()).unwrap_or_default();
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let assigned = (row.assign)(&mut config, &words, Origin::FirstLine);
            debug_assert!(assigned.is_ok(), "the default of {} is refused", row.name);
        }
        config
    }
}

/// Finds a directive by its name or an alias, in any case.
pub fn directive(name: &[u8]) -> Option<&'static Directive> {
    directive_index(name).map(|index| &DIRECTIVES[index])
}

fn directive_index(name: &[u8]) -> Option<usize> {
    DIRECTIVES
        .iter()
        .position(|row| row.names().any(|known| name.eq_ignore_ascii_case(known.as_bytes())))
}

/// Whether the value of this directive must be kept out of logs.
pub fn is_sensitive(name: &[u8]) -> bool {
    directive(name).is_some_and(|row| row.has(SENSITIVE))
}

/// What CONFIG SET must know about its caller and the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetContext {
    /// A dataset is being loaded.
    pub loading: bool,
    /// The client is connected over loopback or a Unix socket.
    pub is_local: bool,
}

/// Why CONFIG SET failed; its text is the reply without the `ERR` in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// No such directive.
    Unknown(Vec<u8>),
    /// The directive is refused while a dataset is being loaded; the reply is the `LOADING` error.
    Loading,
    /// A value, or the change as such, is refused.
    Refused {
        /// The directive's name, as far as it matters as the client spelled it.
        argument: Vec<u8>,
        /// Why.
        reason: String,
    },
}

impl SetError {
    /// The error of a change that could not be carried out.
    pub fn not_applied(row: &Directive, reason: &str) -> SetError {
        SetError::Refused { argument: row.name.into(), reason: reason.to_owned() }
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::Unknown(name) => {
                let name = String::from_utf8_lossy(name);
                write!(f, "Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            SetError::Loading => f.write_str("Redis is loading the dataset in memory"),
            SetError::Refused { argument, reason } => {
                let argument = String::from_utf8_lossy(argument);
                write!(
                    f,
                    "CONFIG SET failed (possibly related to argument '{argument}') - {reason}"
                )
            }
        }
    }
}

impl std::error::Error for SetError {}

/// What CONFIG SET changed, and the way back.
#[derive(Debug)]
pub struct AppliedChanges {
    /// The directives whose values are different now, in the order in which they were given.
    pub changed: Vec<&'static Directive>,
    /// What is to be logged.
    pub warnings: Vec<String>,
    previous: Box<Config>,
}

impl AppliedChanges {
    /// The configuration before the change.
    pub fn previous(&self) -> &Config {
        &self.previous
    }
}

impl Config {
    /// The value of one directive as CONFIG GET shows it.
    pub fn text(&self, row: &Directive) -> Vec<u8> {
        (row.text)(self)
    }

    /// CONFIG GET: the names that match any of the patterns, each once, with their values.
    ///
    /// A name without `*`, `?` or `[` is answered as the client spelled it; patterns match names
    /// and aliases, but no hidden ones.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |name: &[u8], row: &Directive| {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.push((name.to_vec(), (row.text)(self)));
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
                directive(pattern).into_iter().for_each(|row| add(pattern, row));
                continue;
            }
            for row in DIRECTIVES.iter().filter(|row| !row.has(HIDDEN)) {
                for name in row
                    .names()
                    .filter(|name| glob::matches(pattern, name.as_bytes(), Case::Ignored))
                {
                    add(name.as_bytes(), row);
                }
            }
        }
        found
    }

    /// CONFIG SET: takes all of the pairs of name and value on, or none of them.
    pub fn set(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        context: SetContext,
    ) -> Result<AppliedChanges, SetError> {
        let rows = self.rows_to_set(pairs, context)?;
        let mut next = self.clone();
        let mut warnings = Vec::new();
        let default = Config::default();
        for (&row, (name, value)) in rows.iter().zip(pairs) {
            let refuse = |reason: String| {
                // Redis names an alias by its own name, in lower case.
                SetError::Refused { argument: name.to_ascii_lowercase(), reason }
            };
            if value.len() >= VALUE_BYTES_MAX {
                return Err(refuse("argument is too long".to_owned()));
            }
            let words: Vec<&[u8]> = match row.kind.takes_words() {
                true if value.is_empty() => Vec::new(),
                true => value.split(|&byte| byte == b' ').collect(),
                false => vec![value],
            };
            (row.assign)(&mut next, &words, Origin::ConfigSet)
                .map_err(|reason| refuse(reason.into_owned()))?;
            match judge(row, &next, &default) {
                Verdict::Fine => {}
                Verdict::Warn(warning) => warnings.push(warning),
                Verdict::Refuse(reason) => return Err(refuse(reason)),
            }
        }
        next.bring_into_range();
        next.dir = absolute(&self.dir, &next.dir);
        let mut changed: Vec<&'static Directive> = Vec::new();
        for row in rows {
            if !(row.same)(&next, self) && !changed.iter().any(|known| std::ptr::eq(*known, row)) {
                changed.push(row);
            }
        }
        let previous = Box::new(std::mem::replace(self, next));
        Ok(AppliedChanges { changed, warnings, previous })
    }

    /// Undoes a change that could not be carried out.
    ///
    /// Only the directives of that change go back, so settings that moved for other reasons in the
    /// meantime (`replicaof`) stay.
    pub fn roll_back(&mut self, changes: &AppliedChanges) {
        for row in &changes.changed {
            (row.copy)(self, &changes.previous);
        }
    }

    /// Finds the directives that CONFIG SET names and checks that all of them may be set now.
    fn rows_to_set(
        &self,
        pairs: &[(&[u8], &[u8])],
        context: SetContext,
    ) -> Result<Vec<&'static Directive>, SetError> {
        let mut rows: Vec<&'static Directive> = Vec::with_capacity(pairs.len());
        for (name, _) in pairs {
            let refuse = |reason: &str| {
                Err(SetError::Refused { argument: name.to_vec(), reason: reason.to_owned() })
            };
            let row = directive(name).ok_or_else(|| SetError::Unknown(name.to_vec()))?;
            if row.has(IMMUTABLE) {
                return refuse("can't set immutable config");
            }
            if row.has(PROTECTED) && !allows(self.enable_protected_configs, context) {
                return refuse("can't set protected config");
            }
            if row.has(DENY_LOADING) && context.loading {
                return Err(SetError::Loading);
            }
            // Another name of the same directive is no duplicate to Redis: the last one counts.
            if pairs[..rows.len()].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return refuse("duplicate parameter");
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Values that are hints more than orders are brought to what is possible.
    fn bring_into_range(&mut self) {
        self.hz = self.hz.clamp(1, 500);
        self.repl_backlog_size = self.repl_backlog_size.max(16 << 10);
    }
}

/// Whether somebody in this position may do what such a directive guards.
pub fn allows(guard: ProtectedAction, context: SetContext) -> bool {
    match guard {
        ProtectedAction::No => false,
        ProtectedAction::Yes => true,
        ProtectedAction::Local => context.is_local,
    }
}

/// A folder as seen from the root, if the one that it was named in is.
fn absolute(from: &[u8], to: &[u8]) -> Vec<u8> {
    if to.starts_with(b"/") || !from.starts_with(b"/") {
        return to.to_vec();
    }
    let mut whole = from.to_vec();
    for part in to.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && part != b".") {
        if whole.last() != Some(&b'/') {
            whole.push(b'/');
        }
        whole.extend_from_slice(part);
    }
    whole
}
