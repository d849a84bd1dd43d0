//! The configuration: all settings, typed, and all access to them.
//!
//! [`Config`] is a plain value. [`Config::parse`] loads it from text, [`Config::get`] and
//! [`Config::set`] implement CONFIG GET and SET, and [`Config::rewrite`] writes it back, all
//! derived from the table in [`directives`]. Nothing here opens files, sockets or clocks: [`Apply`]
//! names the side effects of a change, and if they fail, [`Config::roll_back`] reverts it.

pub mod apply;
pub(crate) mod check;
pub mod cluster;
pub mod directives;
pub mod document;
pub mod file_only;
pub mod grammar;
pub mod load;
pub mod password;
pub mod refusal;
pub mod rewrite;
pub mod sentinel;
pub mod sentinel_document;
#[cfg(test)]
mod tests;
pub mod value;
pub mod words;

use std::fmt;
use std::sync::LazyLock;

pub use apply::{Apply, Hook, ShellStep, requests_at_start};
pub use cluster::{ClusterStart, NodesFile};
pub use directives::{Config, DIRECTIVES, Directive, Impact, Status};
pub use grammar::CommandLine;
pub use load::{IncludedFile, Loaded};
pub use refusal::{FatalError, Place, RefusedLine, Source, Unreadable};
pub use sentinel::{SentinelLines, SentinelStart, Store};

use directives::{DENY_LOADING, HIDDEN, IMMUTABLE, PROTECTED, SENSITIVE};
use grammar::{VALUE_BYTES_MAX, split_words};
use load::{Validation, validate};
use russet_ds::glob::{self, Case};
use value::{Origin, ProtectedAction};

use crate::mode::Mode;

/// Distance of the cluster bus' port from that of clients.
pub const BUS_PORT_OFFSET: u16 = 10_000;

/// The default of `port` in Sentinel mode.
pub const SENTINEL_PORT: u16 = 26379;

impl Default for Config {
    fn default() -> Config {
        DEFAULT.clone()
    }
}

/// The defaults, read from the table once: each save of a Sentinel's state compares with them.
static DEFAULT: LazyLock<Config> = LazyLock::new(|| {
    let mut config = Config::blank();
    for row in DIRECTIVES {
        // Cannot fail: a test assigns each row's default.
        let words = split_words(row.default_in_file().as_bytes()).unwrap_or_default();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let assigned = (row.assign)(&mut config, &words, Origin::FirstLine);
        debug_assert!(assigned.is_ok(), "the default of {} is refused", row.name);
    }
    config
});

impl Config {
    /// Returns the port of the cluster bus.
    pub fn bus_port(&self) -> u16 {
        match self.cluster_port {
            0 => self.port.saturating_add(BUS_PORT_OFFSET),
            port => port,
        }
    }

    /// Returns the defaults of a mode. A Sentinel has a port of its own, and must be reachable for others.
    pub fn default_of(mode: Mode) -> Config {
        let mut config = Config::default();
        if mode == Mode::Sentinel {
            (config.port, config.protected_mode) = (SENTINEL_PORT, false);
        }
        config
    }
}

/// Finds a directive by its name or alias, ignoring case.
pub fn directive(name: &[u8]) -> Option<&'static Directive> {
    directive_index(name).map(|index| &DIRECTIVES[index])
}

fn directive_index(name: &[u8]) -> Option<usize> {
    let order = |known: &str| known.bytes().cmp(name.iter().map(u8::to_ascii_lowercase));
    let found = BY_NAME.binary_search_by(|(known, _)| order(known)).ok()?;
    Some(BY_NAME[found].1)
}

/// All names in lower case, which a test makes sure of, with the numbers of their rows; sorted.
static BY_NAME: LazyLock<Vec<(&'static str, usize)>> = LazyLock::new(|| {
    let rows = DIRECTIVES.iter().enumerate();
    let mut names: Vec<_> =
        rows.flat_map(|(index, row)| row.names().map(move |name| (name, index))).collect();
    names.sort_unstable();
    names
});

/// Whether the value of this directive must not be logged.
pub fn is_sensitive(name: &[u8]) -> bool {
    directive(name).is_some_and(|row| row.has(SENSITIVE))
}

/// The context of a CONFIG SET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetContext {
    /// Whether a dataset is being loaded.
    pub loading: bool,
    /// Whether the client is connected over loopback or a Unix socket.
    pub is_local: bool,
}

/// Why CONFIG SET failed; its text is the reply without `ERR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// The directive does not exist.
    Unknown(Vec<u8>),
    /// The directive cannot be set during loading; the reply is the `LOADING` error.
    Loading,
    /// A value or the change itself is refused.
    Refused {
        /// The directive's name as the client spelled it.
        argument: Vec<u8>,
        /// The reason.
        reason: String,
    },
}

impl SetError {
    /// Returns the error of a change that could not be applied.
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

/// The changes of a CONFIG SET, which can be rolled back.
#[derive(Debug)]
pub struct AppliedChanges {
    /// The directives whose values have changed, in the order of the arguments.
    pub changed: Vec<&'static Directive>,
    /// Warnings to log.
    pub warnings: Vec<String>,
    previous: Box<Config>,
}

impl AppliedChanges {
    /// Returns the configuration before the change.
    pub fn previous(&self) -> &Config {
        &self.previous
    }
}

impl Config {
    /// Returns the value of a directive as CONFIG GET shows it.
    pub fn text(&self, row: &Directive) -> Vec<u8> {
        (row.text)(self)
    }

    /// CONFIG GET: returns the names that match any of the patterns, each once, with their values.
    ///
    /// A name without `*`, `?` or `[` is returned as the client spelled it; patterns match names
    /// and aliases, but no hidden directives.
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

    /// CONFIG SET: sets all pairs of name and value, or none of them.
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
                // Redis reports an alias by its own name in lower case.
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
            match validate(row, &String::from_utf8_lossy(name), &next, &default) {
                Validation::Ok => {}
                Validation::Warning(warning) => warnings.push(warning),
                Validation::Refused(reason) => return Err(refuse(reason)),
            }
        }
        next.clamp();
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

    /// Reverts a change that could not be applied.
    ///
    /// Only the directives of that change are reverted; others that changed in the meantime
    /// (`replicaof`) stay.
    pub fn roll_back(&mut self, changes: &AppliedChanges) {
        for row in &changes.changed {
            (row.copy)(self, &changes.previous);
        }
    }

    /// Finds the directives named by CONFIG SET and checks that they may be set now.
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
            // In Redis an alias of the same directive is not a duplicate: the last one wins.
            if pairs[..rows.len()].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return refuse("duplicate parameter");
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Clamps values that are accepted out of range.
    fn clamp(&mut self) {
        self.hz = self.hz.clamp(1, 500);
        self.repl_backlog_size = self.repl_backlog_size.max(16 << 10);
    }
}

/// Whether a protected action is allowed in this context.
pub fn allows(guard: ProtectedAction, context: SetContext) -> bool {
    match guard {
        ProtectedAction::No => false,
        ProtectedAction::Yes => true,
        ProtectedAction::Local => context.is_local,
    }
}

/// Resolves a directory against `from`, if that is absolute.
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
