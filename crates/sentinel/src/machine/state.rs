//! The settings and the state as they are now, and their lines in the configuration file.

use super::Sentinel;
use crate::master::Master;
use crate::settings::{KnownLineage, KnownReplica, KnownSentinel, MasterSettings, Settings};

impl Sentinel {
    /// Returns the lines, each without the leading `sentinel`.
    pub fn state_lines(&self) -> Vec<Vec<u8>> {
        self.settings().lines().into_iter().map(String::into_bytes).collect()
    }

    /// Returns what a Sentinel that is started now would have to know.
    fn settings(&self) -> Settings {
        Settings {
            my_id: Some(self.cx.my_id.clone()),
            current_epoch: self.cx.epoch,
            globals: self.cx.globals.clone(),
            masters: self.masters.values().map(|master| self.settings_of(master)).collect(),
        }
    }

    fn settings_of(&self, master: &Master) -> MasterSettings {
        let globals = &self.cx.globals;
        let current = master.current_address();
        let mut settings = master.settings.clone();
        (settings.host, settings.port) = (current.shown(globals), current.port);
        for replica in &master.replicas {
            // After the promotion the old master is the replica.
            let is_current = replica.address.is_same(current);
            let address = if is_current { &master.server.address } else { &replica.address };
            let known = KnownReplica { host: address.shown(globals), port: address.port };
            // Two names may have the same address; a file that repeats a replica would be refused.
            if !settings.known_replicas.contains(&known) {
                settings.known_replicas.push(known);
            }
        }
        let config_epoch = settings.config_epoch;
        let known = (0..).zip(&master.lineages).map(|(age, id)| {
            let id = id.clone();
            KnownLineage { config_epoch, age, id }
        });
        settings.known_lineages.extend(known);
        for id in master.voters.keys() {
            if let Some(peer) = self.peers.get(id) {
                let (host, port) = (peer.address.shown(globals), peer.address.port);
                settings.known_sentinels.push(KnownSentinel { host, port, id: id.clone() });
            }
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Now;
    use crate::machine::Boot;
    use crate::settings::{FILE, STATEMENTS, Subject};

    fn parse(lines: &[String]) -> Settings {
        let words = |line: &String| line.split(' ').map(|word| word.into()).collect();
        Settings::parse(&lines.iter().map(words).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_restart_loses_nothing() {
        let mut lines = Vec::new();
        for row in STATEMENTS.iter().filter(|row| row.has(FILE)) {
            let masters: &[&str] = if row.subject == Subject::All { &[""] } else { &["a ", "b "] };
            for (number, master) in masters.iter().enumerate() {
                // No two masters have the same address.
                let example = row.example.replace("127.0.0.1", &format!("10.0.{number}.1"));
                lines.push(format!("{} {master}{example}", row.name));
            }
        }
        // A Sentinel that watches both has one address.
        lines.retain(|line| !line.starts_with("known-sentinel b"));
        let settings = parse(&lines);
        let sentinel = Sentinel::new(settings.clone(), Boot::default(), Now::default());
        let written: Vec<String> = sentinel.settings().lines();
        assert_eq!(parse(&written), settings);
        assert_eq!(written.len(), lines.len());
    }
}
