//! What all parts of the machine share: time, random numbers, identity, periods, outputs, and what must be saved.

use std::collections::{BTreeMap, VecDeque};

use crate::address::Address;
use crate::injected::Bug;
use crate::io::{Level, LinkId, Now, Output, Programs};
use crate::periods::Periods;
use crate::settings::Globals;

/// An epoch that is further ahead than this is not believed, unless it is small: it could not be reached by elections, and
/// one at the end of the range would end all elections.
const EPOCH_JUMP_MAX: u64 = 1 << 20;
/// Epochs up to this are believed at once.
const EPOCH_PLAUSIBLE_MAX: u64 = 1 << 48;

/// The shared state.
pub(crate) struct Context {
    /// The time of this call.
    pub now: Now,
    /// Our id.
    pub my_id: String,
    /// The port that we listen on.
    pub port: u16,
    /// `requirepass`: used for connections to other Sentinels if there is no `sentinel-pass`.
    pub requirepass: Option<String>,
    /// Which programs there are.
    pub programs: Programs,
    /// Settings.
    pub globals: Globals,
    /// Periods of the protocol.
    pub periods: Periods,
    /// The greatest epoch seen.
    pub epoch: u64,
    /// Whether nothing is judged because this process did not run for a while.
    pub is_tilted: bool,
    /// Scripts to run, with their arguments.
    pub script_requests: Vec<(String, Vec<String>)>,
    /// Simulated failures.
    pub failures: SimulatedFailures,
    /// An injected bug, for tests of the simulator.
    pub bug: Option<Bug>,
    /// Whether an event has gone into a journal since it was last saved.
    pub journal_is_new: bool,
    seed: u64,
    /// The owners of all connections.
    pub owners: BTreeMap<LinkId, Owner>,
    last_link: u64,
    last_server: u32,
    outputs: VecDeque<Output>,
    /// Whether the state has changed since the last [`Output::Save`].
    is_dirty: bool,
    /// Version of the last [`Output::Save`].
    version: u64,
    /// Greatest version that is on disk.
    saved_version: u64,
    /// Versions that are being saved.
    saves_open: u32,
    /// When a failed save is tried again.
    retry_save_ms: Option<u64>,
}

/// To whom a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A server, with the numbers of its master and itself.
    Server(u32, u32),
    /// Another Sentinel.
    Peer(String),
}

/// SENTINEL SIMULATE-FAILURE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimulatedFailures {
    /// Crash when elected.
    pub after_election: bool,
    /// Crash when the replica is promoted.
    pub after_promotion: bool,
}

/// Delay before a failed save is tried again.
const SAVE_RETRY_MS: u64 = 1000;

impl Context {
    pub fn new(now: Now, seed: u64, globals: Globals, epoch: u64) -> Context {
        Context {
            now,
            my_id: String::new(),
            port: 0,
            requirepass: None,
            programs: Programs::default(),
            globals,
            periods: Periods::default(),
            epoch,
            is_tilted: false,
            script_requests: Vec::new(),
            failures: SimulatedFailures::default(),
            bug: None,
            journal_is_new: false,
            seed,
            owners: BTreeMap::new(),
            last_link: 0,
            last_server: 0,
            outputs: VecDeque::new(),
            is_dirty: false,
            version: 0,
            saved_version: 0,
            saves_open: 0,
            retry_save_ms: None,
        }
    }

    /// Returns the monotonic time. With an injected bug it is that of the wall clock.
    pub fn ms(&self) -> u64 {
        if self.injected(Bug::WallClockInTimer) {
            return u64::try_from(self.now.wall_ms).unwrap_or_default();
        }
        self.now.mono_ms
    }

    /// Returns a random number below `end`, which is at least 1.
    pub fn random(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    /// Returns a number for a new server or master.
    pub fn next_number(&mut self) -> u32 {
        self.last_server += 1;
        self.last_server
    }

    /// Whether this bug is injected.
    #[cfg(feature = "injected")]
    pub fn injected(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Returns false: no bug is injected.
    #[cfg(not(feature = "injected"))]
    pub fn injected(&self, _bug: Bug) -> bool {
        false
    }

    /// Queues an output.
    pub fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Takes the next output.
    pub fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Logs a line.
    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        self.output(Output::Log { level, text: text.into() });
    }

    /// Opens a connection.
    pub fn connect(&mut self, to: &Address, owner: Owner) -> LinkId {
        self.last_link += 1;
        let link = LinkId(self.last_link);
        self.owners.insert(link, owner);
        let host = match to.ip {
            Some(ip) if !self.globals.resolve_hostnames => ip.to_string(),
            // A name is looked up for each connection: its address may have changed.
            _ => to.host.clone(),
        };
        self.output(Output::Connect { link, host, port: to.port });
        link
    }

    /// Closes a connection.
    pub fn close(&mut self, link: LinkId) {
        self.owners.remove(&link);
        self.output(Output::Close { link });
    }

    /// Logs and publishes an event that is not about a master.
    pub fn event(&mut self, level: Level, name: &str, message: &str) {
        self.log(level, format!("{name} {message}"));
        if level != Level::Debug {
            self.output(Output::Publish { channel: name.to_owned(), message: message.to_owned() });
        }
    }

    /// Whether an epoch that somebody else reports can be true.
    pub fn is_plausible(&self, epoch: u64) -> bool {
        epoch <= EPOCH_PLAUSIBLE_MAX || epoch <= self.epoch.saturating_add(EPOCH_JUMP_MAX)
    }

    /// Marks the state as changed: it is saved at the end of this call.
    pub fn changed(&mut self) {
        self.is_dirty = true;
    }

    /// Returns the version that will hold all changes up to now, once it is on disk.
    pub fn version_of_changes(&self) -> u64 {
        self.version + u64::from(self.is_dirty)
    }

    /// Whether a version is on disk.
    pub fn is_saved(&self, version: u64) -> bool {
        self.saved_version >= version
    }

    /// Asks for a save if there is something new, or if a failed one is due again.
    pub fn save(&mut self) {
        let is_due = self.retry_save_ms.is_some_and(|due| due <= self.ms());
        // One at a time: what changes meanwhile is saved together, so that a vote waits for two saves at most.
        if (self.is_dirty || is_due) && self.saves_open == 0 {
            self.is_dirty = false;
            self.retry_save_ms = None;
            self.version += 1;
            self.saves_open += 1;
            self.output(Output::Save { version: self.version });
        }
    }

    /// Handles the end of a save.
    pub fn saved(&mut self, version: u64, result: &Result<(), String>) {
        self.saves_open = self.saves_open.saturating_sub(1);
        match result {
            Ok(()) => {
                self.saved_version = self.saved_version.max(version);
                self.retry_save_ms = None;
                self.log(Level::Notice, "Sentinel new configuration saved on disk");
            }
            Err(error) => {
                let text =
                    "WARNING: Sentinel was not able to save the new configuration on disk!!!";
                self.log(Level::Warning, format!("{text}: {error}"));
                self.retry_save_ms = Some(self.ms() + SAVE_RETRY_MS);
            }
        }
    }

    /// When the next save is due.
    pub fn save_due(&self) -> Option<u64> {
        self.retry_save_ms
    }
}
