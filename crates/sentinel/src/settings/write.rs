//! Writes settings as the lines of a file, which stock Sentinels read too.

use super::table::{FILE, STATE, STATEMENTS, Statement, Subject};
use super::value::Kind;
use super::{Globals, MasterSettings, Settings};

impl Settings {
    /// Returns the lines, each without the leading `sentinel`: state, and settings that differ from their defaults.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for rows in STATEMENTS.chunk_by(|one, next| one.subject == next.subject) {
            let rows = || rows.iter().filter(|row| row.has(FILE));
            match rows().next().map(|row| row.subject) {
                Some(Subject::All) => lines.extend(rows().filter_map(|row| row.line(self))),
                Some(Subject::Master) => {
                    for master in &self.masters {
                        let default = MasterSettings::new("", "", 0, 1);
                        rows().for_each(|row| row.lines_of(master, &default, &mut lines));
                    }
                }
                None => {}
            }
        }
        lines
    }
}

impl Statement {
    /// Returns its line, if it is about all masters and has one.
    fn line(&self, settings: &Settings) -> Option<String> {
        let value = match &self.kind {
            Kind::MyId => settings.my_id.clone()?,
            Kind::CurrentEpoch => settings.current_epoch.to_string(),
            _ => {
                let value = self.value(&settings.globals);
                (value != self.value(&Globals::default())).then_some(value)?
            }
        };
        Some(format!("{} {}", self.name, quoted(&value)))
    }

    /// Adds its lines about a master.
    fn lines_of(&self, master: &MasterSettings, default: &MasterSettings, lines: &mut Vec<String>) {
        let mut line = |arguments: String| {
            lines.push(format!("{} {} {arguments}", self.name, quoted(&master.name)));
        };
        match &self.kind {
            Kind::Monitor => {
                line(format!("{} {} {}", quoted(&master.host), master.port, master.quorum));
            }
            Kind::KnownReplica => {
                for known in &master.known_replicas {
                    line(format!("{} {}", quoted(&known.host), known.port));
                }
            }
            Kind::KnownSentinel => {
                for known in &master.known_sentinels {
                    line(format!("{} {} {}", quoted(&known.host), known.port, quoted(&known.id)));
                }
            }
            Kind::KnownLineage => {
                for known in &master.known_lineages {
                    line(format!("{} {} {}", known.config_epoch, known.age, known.id));
                }
            }
            Kind::Renamed => {
                for (command, name) in &master.renamed {
                    line(format!("{} {}", quoted(command), quoted(name)));
                }
            }
            _ => {
                let value = self.value_of(master);
                if let Some(text) = value.as_deref()
                    && (self.has(STATE) || value != self.value_of(default))
                {
                    line(text.to_owned());
                }
            }
        }
    }
}

/// Quotes a word if the configuration's grammar needs it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '#');
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for byte in word.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text + "\""
}
