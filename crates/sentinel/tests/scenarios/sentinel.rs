//! A process with a real machine, and a Sentinel whose replies are scripted.

use std::collections::BTreeMap;

use russet_sentinel::{Now, Sentinel as Machine, Settings};

use crate::world::{bulk, text};

/// What a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// It saves within this time.
    Works(u64),
    /// This many saves fail.
    Fails(u32),
}

/// A Sentinel process.
pub struct Process {
    pub name: String,
    pub id: String,
    pub port: u16,
    /// None if it does not run.
    pub machine: Option<Machine>,
    /// Number of its starts: what belongs to an earlier one is ignored.
    pub life: u32,
    /// Until when it is stopped.
    pub paused_until: u64,
    /// The lines of its file.
    pub file: Vec<String>,
    pub disk: Disk,
    /// States that are being saved.
    pub saves: BTreeMap<u64, Vec<String>>,
}

impl Process {
    /// Starts it from its file.
    pub fn start(&mut self, now: Now, index: u64) {
        let words = |line: &String| line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let lines: Vec<Vec<Vec<u8>>> = self.file.iter().map(words).collect();
        let settings = Settings::parse(&lines).expect("its file is valid");
        let boot = russet_sentinel::Boot {
            seed: index + 100 * u64::from(self.life),
            new_id: self.id.clone(),
            port: self.port,
            ..russet_sentinel::Boot::default()
        };
        self.life += 1;
        self.saves.clear();
        self.machine = Some(Machine::new(settings, boot, now));
    }

    /// Returns when its timer is due.
    pub fn due(&self) -> Option<u64> {
        let machine = self.machine.as_ref()?;
        Some(machine.next_due().max(self.paused_until)).filter(|due| *due < u64::MAX)
    }
}

/// For whom a scripted Sentinel votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vote {
    Nobody,
    /// For whoever asks.
    Asker,
    /// For the Sentinel with this id, whoever asks.
    Id(String),
}

/// A scripted Sentinel.
#[derive(Clone, Debug)]
pub struct Peer {
    pub name: String,
    pub id: String,
    pub port: u16,
    pub is_up: bool,
    /// Whether it finds masters down.
    pub says_down: bool,
    pub vote: Vote,
    /// The id that it reports, if that is not its own.
    pub claims: Option<String>,
}

impl Peer {
    /// Returns its reply.
    pub fn reply(&self, words: &[&str]) -> Vec<u8> {
        match words {
            ["PING"] => b"+PONG\r\n".to_vec(),
            ["SENTINEL", "MYID"] => bulk(self.claims.as_ref().unwrap_or(&self.id)),
            ["SENTINEL", _, _, _, epoch, candidate] => {
                let leader = match &self.vote {
                    _ if *candidate == "*" => "*",
                    Vote::Nobody => "*",
                    Vote::Asker => candidate,
                    Vote::Id(id) => id,
                };
                let (down, leader) = (u8::from(self.says_down), bulk(leader));
                format!("*3\r\n:{down}\r\n{}:{epoch}\r\n", text(&leader)).into_bytes()
            }
            _ => b"+OK\r\n".to_vec(),
        }
    }
}
