//! The INFO command's sections and fields.
//!
//! One row of [`FIELDS`] is one field: section, name, kind, description, value. The reply,
//! `docs/info.md` and metrics exporters derive from the rows. Names and formats are those of Redis
//! 7.2.
//!
//! Architecture invariant: a row reads the node and changes nothing; events are counted where they
//! happen. A metric that is not known has no row, rather than a made-up value.

mod aof;
mod data;
pub mod document;
mod replication;
pub mod sentinel;
mod server;
#[cfg(test)]
mod tests;
mod view;

use std::fmt::Write as _;
use std::sync::LazyLock;

pub use view::View;

use crate::mode::Mode;

/// The sections, in the order of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The process and its settings.
    Server,
    /// Connections.
    Clients,
    /// Memory.
    Memory,
    /// Dump file, loading, append-only file.
    Persistence,
    /// Counters.
    Stats,
    /// Replication, both ways.
    Replication,
    /// CPU time.
    Cpu,
    /// Modules: there are none.
    Modules,
    /// Counters by command.
    Commandstats,
    /// Counters by error.
    Errorstats,
    /// Latencies by command: not implemented yet.
    Latencystats,
    /// Cluster.
    Cluster,
    /// Databases.
    Keyspace,
    /// The masters that a Sentinel watches. Only in Sentinel mode.
    Sentinel,
    /// Metrics that only Russet has.
    Russet,
}

/// Which arguments of INFO include a section without naming it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// `INFO` and `INFO default`.
    Default,
    /// `INFO all`.
    All,
    /// `INFO everything`.
    Everything,
}

impl Section {
    /// All sections, in the order of the reply.
    pub const ALL: [Section; 15] = [
        Section::Server,
        Section::Clients,
        Section::Memory,
        Section::Persistence,
        Section::Stats,
        Section::Replication,
        Section::Cpu,
        Section::Modules,
        Section::Commandstats,
        Section::Errorstats,
        Section::Latencystats,
        Section::Cluster,
        Section::Keyspace,
        Section::Sentinel,
        Section::Russet,
    ];

    /// Returns its heading.
    pub fn title(self) -> &'static str {
        match self {
            Section::Cpu => "CPU",
            Section::Server => "Server",
            Section::Clients => "Clients",
            Section::Memory => "Memory",
            Section::Persistence => "Persistence",
            Section::Stats => "Stats",
            Section::Replication => "Replication",
            Section::Modules => "Modules",
            Section::Commandstats => "Commandstats",
            Section::Errorstats => "Errorstats",
            Section::Latencystats => "Latencystats",
            Section::Cluster => "Cluster",
            Section::Keyspace => "Keyspace",
            Section::Sentinel => "Sentinel",
            Section::Russet => "Russet",
        }
    }

    /// Returns which arguments include it.
    pub fn shown(self) -> Shown {
        match self {
            Section::Commandstats | Section::Latencystats => Shown::All,
            Section::Russet => Shown::Everything,
            _ => Shown::Default,
        }
    }

    /// Whether a node of this mode has the section.
    fn exists_in(self, mode: Mode) -> bool {
        use Section::{Clients, Cpu, Russet, Sentinel, Server, Stats};
        match mode {
            Mode::Sentinel => {
                matches!(self, Server | Clients | Stats | Cpu | Sentinel | Russet)
            }
            Mode::Standalone | Mode::Cluster => self != Sentinel,
        }
    }

    /// Whether an argument of INFO names this section.
    fn is_named(self, word: &[u8]) -> bool {
        word.eq_ignore_ascii_case(self.title().as_bytes())
            || (self == Section::Modules && word.eq_ignore_ascii_case(b"module_list"))
    }
}

/// The type and unit of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A number that may decrease.
    Gauge,
    /// A number that only increases, until CONFIG RESETSTAT or a restart.
    Counter,
    /// Bytes.
    Bytes,
    /// Bytes in human-readable form, rounded, with a unit.
    Human,
    /// A ratio or percentage with two decimals.
    Ratio,
    /// Seconds, or Unix seconds.
    Seconds,
    /// 0 or 1.
    Flag,
    /// Several lines of `name=value` pairs, separated by commas.
    Lines,
}

/// The current value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The field does not apply now and is omitted.
    Absent,
    /// A number.
    Number(i64),
    /// Text.
    Text(String),
    /// Several lines: names and values.
    Lines(Vec<(String, String)>),
}

/// The source of a field's value.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Read from the node.
    Read(fn(&View<'_>) -> Value),
    /// A constant, because the feature does not exist here (yet).
    Always(&'static str),
}

/// One field of INFO.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its section.
    pub section: Section,
    /// Its name.
    pub name: &'static str,
    /// Its type and unit.
    pub kind: Kind,
    /// Its description.
    pub description: &'static str,
    /// Its source.
    pub source: Source,
}

/// All fields by section, in the order of the reply.
pub const FIELDS: &[&[Field]] = &[
    server::FIELDS,
    data::SAVES,
    aof::FIELDS,
    data::FIELDS,
    replication::FIELDS,
    sentinel::FIELDS,
    view::STATISTICS,
    view::RUSSET,
];

/// Returns a row whose value is read from the node.
const fn field(
    section: Section,
    name: &'static str,
    kind: Kind,
    description: &'static str,
    read: fn(&View<'_>) -> Value,
) -> Field {
    Field { section, name, kind, description, source: Source::Read(read) }
}

/// Returns a row with a constant value.
const fn always(
    section: Section,
    name: &'static str,
    kind: Kind,
    description: &'static str,
    value: &'static str,
) -> Field {
    Field { section, name, kind, description, source: Source::Always(value) }
}

/// Iterates over all fields in order.
pub fn fields() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().copied().flatten()
}

/// Returns the sections that INFO's arguments select in this mode.
pub fn selected<'a>(mode: Mode, words: impl Iterator<Item = &'a [u8]>) -> Vec<Section> {
    let words: Vec<&[u8]> = words.collect();
    let mut least = words.is_empty().then_some(Shown::Default);
    for word in &words {
        for (name, shown) in [
            (&b"default"[..], Shown::Default),
            (b"all", Shown::All),
            (b"everything", Shown::Everything),
        ] {
            if word.eq_ignore_ascii_case(name) {
                least = least.max(Some(shown));
            }
        }
    }
    let wanted = |section: &Section| {
        let is_meant = least.is_some_and(|least| section.shown() <= least)
            || words.iter().any(|word| section.is_named(word));
        is_meant && section.exists_in(mode)
    };
    Section::ALL.into_iter().filter(wanted).collect()
}

/// Returns the text of these sections.
pub fn text(view: &View<'_>, sections: &[Section]) -> String {
    let mut out = String::with_capacity(TEXT_BYTES);
    for (index, section) in sections.iter().enumerate() {
        let gap = if index > 0 { "\r\n" } else { "" };
        out.extend([gap, "# ", section.title(), "\r\n"]);
        for field in &BY_SECTION[*section as usize] {
            push(&mut out, field, view);
        }
    }
    out
}

/// Enough for the usual reply.
const TEXT_BYTES: usize = 8 << 10;

/// The fields of each section: a monitor asks once a second, and a Sentinel as often.
static BY_SECTION: LazyLock<[Vec<&'static Field>; Section::ALL.len()]> = LazyLock::new(|| {
    Section::ALL.map(|section| fields().filter(|field| field.section == section).collect())
});

fn push(out: &mut String, field: &Field, view: &View<'_>) {
    let value = match field.source {
        Source::Always(text) => return out.extend([field.name, ":", text, "\r\n"]),
        Source::Read(read) => read(view),
    };
    // No text from outside may add a line.
    let one_line = |text: String| match may_have_controls(&text) {
        true => text.replace(char::is_control, " "),
        false => text,
    };
    match value {
        Value::Absent => {}
        Value::Number(number) => {
            out.extend([field.name, ":"]);
            // Formatting into a String cannot fail.
            let _ = write!(out, "{number}\r\n");
        }
        Value::Text(text) => out.extend([field.name, ":", &one_line(text), "\r\n"]),
        Value::Lines(lines) => {
            let lines = lines.into_iter().map(|(name, value)| (one_line(name), one_line(value)));
            lines.for_each(|(name, value)| out.extend([&*name, ":", &*value, "\r\n"]));
        }
    }
}

/// Whether a text may have control characters, which in UTF-8 are or begin with one of these bytes.
fn may_have_controls(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | !(b' '..0x7f).contains(&byte))
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Number(number)
    }
}

macro_rules! from_number {
    ($($type:ty),*) => {$(
        impl From<$type> for Value {
            fn from(number: $type) -> Value {
                Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
    )*};
}
from_number!(u64, usize, u32, i32, u16);

impl From<bool> for Value {
    fn from(is: bool) -> Value {
        Value::Number(i64::from(is))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Absent, Into::into)
    }
}

/// Formats bytes in human-readable form: `943.33K`.
pub(crate) fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64;
    let mut unit = ' ';
    for next in ['K', 'M', 'G', 'T', 'P'] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.2}{unit}")
}

/// Formats a ratio with two decimals; 0.00 if `whole` is 0.
fn ratio(part: u64, whole: u64) -> String {
    let value = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    format!("{value:.2}")
}

/// Formats a percentage with two decimals, without the sign.
fn percent(part: u64, whole: u64) -> String {
    let value = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    format!("{value:.2}")
}

/// Formats microseconds as seconds with six decimals.
fn seconds_of(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// Returns `a - b`, which may be negative.
fn difference(a: u64, b: u64) -> i64 {
    i64::try_from(a).unwrap_or(i64::MAX) - i64::try_from(b).unwrap_or(i64::MAX)
}
