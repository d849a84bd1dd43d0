//! Reads the lines of a file into settings.

use std::net::IpAddr;

use super::table::{COMMENT, FILE, Statement, Subject};
use super::value::{Kind, Source, Wrong, parse_epoch, parse_port};
use super::{
    Globals, ID_LEN, KnownLineage, KnownReplica, KnownSentinel, LINEAGE_LEN, LINEAGES_MAX,
    LineError, MasterSettings, Settings,
};

/// The error of a statement that does not exist, or has other arguments.
pub(super) const UNRECOGNIZED: &str = "Unrecognized sentinel configuration statement.";
pub(super) const NO_MASTER: &str = "No such master with specified name.";

impl Statement {
    /// Returns when it is read: what is about all masters first, then the masters, then what is about one.
    fn stage(&self) -> u8 {
        match (self.subject, &self.kind) {
            (Subject::All, _) => 0,
            (_, Kind::Monitor) => 1,
            _ => 2,
        }
    }

    /// Whether it may have this number of arguments, with the name of the master.
    fn takes(&self, count: usize) -> bool {
        let len = self.arguments.len() + usize::from(self.subject == Subject::Master);
        // Before Redis 3, Sentinels had no ids.
        count == len || (matches!(self.kind, Kind::KnownSentinel) && count == len - 1)
    }
}

/// Whether a statement is kept in a comment of the file.
pub fn is_kept_in_comment(words: &[Vec<u8>]) -> bool {
    let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    row_of(&words).is_some_and(|row| row.has(COMMENT))
}

/// Returns the row of a line.
fn row_of(words: &[&str]) -> Option<&'static Statement> {
    let row = Statement::find(words.first()?)?;
    (row.has(FILE) && row.takes(words.len() - 1)).then_some(row)
}

impl Settings {
    /// Parses the words of these lines, each without the leading `sentinel`.
    pub fn parse(lines: &[Vec<Vec<u8>>]) -> Result<Settings, LineError> {
        let mut settings = Settings {
            my_id: None,
            current_epoch: 0,
            globals: Globals::default(),
            masters: Vec::new(),
        };
        for stage in 0..3 {
            for (line, words) in lines.iter().enumerate() {
                let words: Vec<_> =
                    words.iter().map(|word| String::from_utf8_lossy(word)).collect();
                let words: Vec<&str> = words.iter().map(|word| &**word).collect();
                let error = |reason: &str| LineError { line, reason: reason.to_owned() };
                match row_of(&words) {
                    Some(row) if row.stage() == stage => {
                        let read = settings.statement(row, &words[1..]).map_err(error);
                        read.or_else(|error| if row.has(COMMENT) { Ok(()) } else { Err(error) })?;
                    }
                    // The order of errors is that of reading.
                    None if stage == 2 => return Err(error(UNRECOGNIZED)),
                    _ => {}
                }
            }
        }
        Ok(settings)
    }

    fn statement(&mut self, row: &Statement, arguments: &[&str]) -> Result<(), &'static str> {
        match (&row.kind, arguments) {
            (Kind::Monitor, [name, host, port, quorum]) => self.monitor(name, host, port, quorum),
            (Kind::MyId, [id]) => {
                if id.len() != ID_LEN || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    return Err("Malformed Sentinel id in myid option.");
                }
                self.my_id = Some((*id).to_owned());
                Ok(())
            }
            (Kind::CurrentEpoch, [epoch]) => {
                self.current_epoch = self.current_epoch.max(parse_epoch(epoch)?);
                Ok(())
            }
            (_, [value]) => row.set(&mut self.globals, value, Source::File).map_err(Wrong::reason),
            (Kind::KnownSentinel, [_, _, _]) => Ok(()), // The form without an id.
            (_, [name, arguments @ ..]) => {
                let master = self.masters.iter_mut().find(|known| known.name == *name);
                let master = master.ok_or(NO_MASTER)?;
                master.statement(&self.globals, row, arguments)?;
                self.current_epoch = self.current_epoch.max(master.config_epoch);
                Ok(())
            }
            (_, []) => Err(UNRECOGNIZED),
        }
    }

    fn monitor(
        &mut self,
        name: &str,
        host: &str,
        port: &str,
        quorum: &str,
    ) -> Result<(), &'static str> {
        let quorum = quorum.parse::<u32>().ok().filter(|&quorum| quorum > 0);
        let quorum = quorum.ok_or("Quorum must be 1 or greater.")?;
        self.globals.check_host(host)?;
        let port = parse_port(port)?;
        if self.masters.iter().any(|known| known.name == name) {
            return Err("Duplicate master name.");
        }
        self.masters.push(MasterSettings::new(name, host, port, quorum));
        Ok(())
    }
}

impl MasterSettings {
    fn statement(
        &mut self,
        globals: &Globals,
        row: &Statement,
        arguments: &[&str],
    ) -> Result<(), &'static str> {
        match (&row.kind, arguments) {
            (Kind::KnownReplica, [host, port]) => self.known_replica(globals, host, port),
            (Kind::KnownSentinel, [host, port, id]) => self.known_sentinel(globals, host, port, id),
            (Kind::KnownLineage, [epoch, age, id]) => self.known_lineage(epoch, age, id),
            _ => row.set_of(self, arguments, Source::File).map_err(Wrong::reason),
        }
    }

    fn known_lineage(&mut self, epoch: &str, age: &str, id: &str) -> Result<(), &'static str> {
        let (config_epoch, age) = (parse_epoch(epoch)?, age.parse().map_err(|_| UNRECOGNIZED)?);
        let is_id = id.len() == LINEAGE_LEN && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_id || self.known_lineages.len() >= LINEAGES_MAX {
            return Err(UNRECOGNIZED);
        }
        // A file that is rewritten keeps its lines in their places.
        let later = self.known_lineages.partition_point(|known| known.age <= age);
        self.known_lineages.insert(later, KnownLineage { config_epoch, age, id: id.to_owned() });
        Ok(())
    }

    fn known_replica(
        &mut self,
        globals: &Globals,
        host: &str,
        port: &str,
    ) -> Result<(), &'static str> {
        globals.check_host(host)?;
        let known = KnownReplica { host: host.to_owned(), port: parse_port(port)? };
        if self.known_replicas.contains(&known) {
            return Err("Duplicate hostname and port for replica.");
        }
        self.known_replicas.push(known);
        Ok(())
    }

    fn known_sentinel(
        &mut self,
        globals: &Globals,
        host: &str,
        port: &str,
        id: &str,
    ) -> Result<(), &'static str> {
        globals.check_host(host)?;
        let known =
            KnownSentinel { host: host.to_owned(), port: parse_port(port)?, id: id.to_owned() };
        if self.known_sentinels.iter().any(|other| other.id == known.id) {
            return Err("Duplicate runid for sentinel.");
        }
        self.known_sentinels.push(known);
        Ok(())
    }
}

impl Globals {
    /// Checks that a host may be used: a name only if names are allowed.
    pub(crate) fn check_host(&self, host: &str) -> Result<(), &'static str> {
        let is_name = self.resolve_hostnames && is_host_name(host);
        let is_known = host.parse::<IpAddr>().is_ok() || is_name;
        is_known.then_some(()).ok_or("Can't resolve instance hostname.")
    }
}

/// Whether a word could be the name of a host.
fn is_host_name(host: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=255).contains(&host.len()) && host.bytes().all(is_allowed)
}
