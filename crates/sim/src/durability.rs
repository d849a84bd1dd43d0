//! What must be found in the append-only file of a node that starts again.
//!
//! The node's data is one that it had before, after whole transactions ([`crate::ledger`]), and none older than
//!
//! | it ended by | with | the newest state that |
//! |---|---|---|
//! | `kill -9` | any `appendfsync` | a client has seen a trace of: by a reply to its write, or by a read |
//! | loss of power | `always` since the client asked | the same |
//! | loss of power | `everysec` or `always` | a client has seen before the *horizon* |
//! | an orderly end | a disk that takes everything | was executed |
//!
//! The horizon is where the bound of `everysec` lies: a second before the loss of power, and earlier by the time that the
//! sync that runs then has taken so far, and by that of the one before it. A byte waits for the next sync at most a
//! second, or until the one that runs has ended, and then for that one's end. [`SLACK_US`] is for the steps' way to the
//! file's thread and for long turns; time in which the process was suspended does not count. From a failed sync on the
//! horizon stands still, until the node relies on another file; only for what was executed before it heard of the failure,
//! since it is to execute no more.
//!
//! Whatever `appendfsync` says, what a base holds is safe once the manifest names it, and so is what was loaded once the
//! node relies on the file that it has opened behind it.
//!
//! With a flipped bit in a file the node refuses to start, and names file and offset; or it cuts the file off, but not
//! before the damage.

use russet_engine::config::Config;
use russet_engine::config::value::AppendFsync;
use russet_engine::io::JobId;
use russet_engine::persist::aof::manifest::Manifest;

use crate::ledger::{Found, SharedLedger, lock};
use crate::model::excerpt;
use crate::workload::Place;
use crate::world::{Phase, World};

/// How often the node asks for a sync, unless it does after each turn.
const PERIOD_US: u64 = 1_000_000;

/// See the module.
const SLACK_US: u64 = 300_000;

/// The manifest of the append-only file.
pub const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";

/// How a life ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// The process ended, and the machine did not.
    #[default]
    Process,
    /// Power was lost.
    Power,
}

/// Bytes handed over for a file.
#[derive(Clone, Debug)]
struct Handed {
    name: String,
    /// Where in the file they end.
    end: usize,
    /// The state that they lead to.
    state: u64,
}

/// A flipped bit.
#[derive(Clone, Debug)]
struct Rot {
    name: String,
    offset: usize,
    bit: u8,
    /// What the file holds before the damage; none if it must not be cut off.
    state: Option<u64>,
}

/// What was promised of the states of a node; see the module.
#[derive(Debug, Default)]
pub struct Durability {
    /// Its states; none for a node without append-only file.
    pub ledger: Option<SharedLedger>,
    /// It loads its append-only file.
    pub is_loading: bool,
    /// What it has loaded is known.
    is_settled: bool,
    /// Since when replies wait for the file.
    relied_since_us: Option<u64>,
    /// Since when and from which state on they wait for a sync.
    always_since: Option<(u64, u64)>,
    /// Since when there are syncs.
    syncs_since_us: Option<u64>,
    /// The newest state of which a client has seen something.
    seen: u64,
    /// The newest one that must survive a loss of power.
    safe: u64,
    /// The newest one of which all is on disk in some file.
    pub synced: u64,
    /// When which state was seen, in time without suspensions.
    seen_at: Vec<(u64, u64)>,
    /// What it has loaded in this life, before it relies on the file.
    loaded: Option<u64>,
    /// What the base holds that was begun last.
    base: u64,
    /// Its place in a history.
    pub base_place: Option<(String, i64)>,
    /// When the ledger began or went back.
    since_us: u64,
    end: End,
    /// How the life before ended, since when replies waited for the file then, and since when for syncs.
    last_end: (End, [Option<u64>; 2]),
    handed: Vec<Handed>,
    rot: Option<Rot>,
    /// A bit is to be flipped before it starts.
    pub is_to_rot: bool,
    /// The disk was in trouble in this life.
    pub had_trouble: bool,
    /// The last warnings that it has logged.
    pub warnings: Vec<String>,
}

impl Durability {
    /// That of a node with these settings.
    pub fn of(config: &Config) -> Durability {
        let ledger = config.appendonly.then(SharedLedger::default);
        Durability { ledger, ..Durability::default() }
    }

    /// The last state.
    pub fn last(&self) -> u64 {
        self.ledger.as_ref().map_or(0, |ledger| lock(ledger).last())
    }

    /// Whether it has not loaded its file yet.
    pub fn is_starting(&self) -> bool {
        !self.is_settled
    }

    /// Bytes were handed over that end here in a file.
    pub fn handed(&mut self, name: &str, end: usize) {
        if self.ledger.is_some() {
            self.handed.push(Handed { name: name.to_owned(), end, state: self.last() });
        }
    }

    /// A file is cut off here.
    pub fn cut(&mut self, name: &str, end: usize) {
        self.handed.retain(|handed| handed.name != name || handed.end <= end);
    }

    /// A base is begun.
    pub fn base_begins(&mut self) {
        if self.is_settled && self.ledger.as_ref().is_some_and(|ledger| !lock(ledger).is_stale()) {
            self.base = self.last();
        }
    }

    /// The manifest on disk names that base.
    pub fn is_rewritten(&mut self) {
        self.is_on_disk(self.base);
    }

    /// A state is on disk, whatever `appendfsync` says.
    fn is_on_disk(&mut self, state: u64) {
        (self.seen, self.safe) = (self.seen.max(state), self.safe.max(state));
        self.synced = self.synced.max(state);
    }

    /// What was seen before the horizon is safe.
    fn reach_horizon(&mut self, horizon: Horizon) {
        let Horizon { at_us, stands_at_us, stands_for } = horizon;
        for (horizon_us, first) in [(stands_at_us, 0), (at_us, stands_for)] {
            if self.syncs_since_us.is_none_or(|since| since > horizon_us) {
                continue;
            }
            let before = self.seen_at.partition_point(|(at, _)| *at <= horizon_us);
            if let Some((_, state)) = before.checked_sub(1).map(|last| self.seen_at[last])
                && state > first
            {
                self.safe = self.safe.max(state);
            }
        }
    }

    /// Which state must be found at least.
    fn needed(&self) -> u64 {
        let needed = match self.end {
            End::Process => self.seen,
            End::Power => self.safe,
        };
        match &self.rot {
            Some(Rot { state: Some(state), .. }) => needed.min(*state),
            _ => needed,
        }
    }

    /// The node has started with this state.
    fn start_from(&mut self, state: u64, now_us: u64) {
        let always_since = self.always_since.map(|(at, _)| at);
        self.last_end = (self.end, [self.relied_since_us, always_since]);
        if self.rot.take().is_some() {
            // Whatever was lost, it was not the node.
            self.last_end = (End::Power, [None; 2]);
        }
        self.seen = state;
        self.safe = if self.end == End::Power { state } else { self.safe.min(state) };
        self.seen_at.retain(|(_, seen)| *seen <= state);
        self.handed.retain(|handed| handed.state <= state);
        (self.relied_since_us, self.always_since, self.syncs_since_us) = (None, None, None);
        (self.loaded, self.base, self.since_us) = (Some(state), 0, now_us);
        self.synced = 0;
        (self.is_loading, self.is_settled) = (false, true);
        self.end = End::Process;
    }
}

impl Durability {
    /// The node has started without an append-only file, with this state.
    fn start_without(&mut self, state: u64, now_us: u64) {
        self.start_from(state, now_us);
        (self.seen, self.safe, self.loaded) = (0, 0, None);
        self.seen_at.clear();
        self.last_end = (End::Power, [None; 2]);
    }
}

/// The time before which what was seen is safe.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    /// Without suspensions.
    pub at_us: u64,
    /// The same if it stands still since a sync failed.
    pub stands_at_us: u64,
    /// Only for the states up to this one: the node must not execute more.
    pub stands_for: u64,
}

impl Horizon {
    /// What is safe in both of two files.
    fn min(self, other: Horizon) -> Horizon {
        Horizon {
            at_us: self.at_us.min(other.at_us),
            stands_at_us: self.stands_at_us.min(other.stands_at_us),
            stands_for: self.stands_for.max(other.stands_for),
        }
    }
}

/// The latest time of which all is on disk now, if syncs took so long.
pub fn horizon(awake_us: u64, syncs_us: u64) -> u64 {
    awake_us.saturating_sub(PERIOD_US + SLACK_US + syncs_us)
}

impl World {
    /// Time in which the process was not suspended.
    fn awake_us(&self, node: usize) -> u64 {
        self.now.saturating_sub(self.processes[node].suspended_us)
    }

    /// A process begins a life. True if it finds an append-only file to load.
    pub(crate) fn find_append_only(&mut self, node: usize) -> bool {
        let process = &mut self.processes[node];
        let Some(ledger) = &process.durability.ledger else { return false };
        lock(ledger).pause();
        process.durability.warnings.clear();
        process.durability.had_trouble = process.disk.is_in_trouble();
        let exists = process.config.appendonly && process.disk.read(MANIFEST).is_some();
        // Without checksums a flipped bit is another value.
        process.durability.is_to_rot &= process.config.aof_checksum;
        (process.durability.is_loading, process.durability.is_settled) = (exists, false);
        let rots = std::mem::take(&mut process.durability.is_to_rot);
        if exists && rots && process.durability.rot.is_none() && self.phase == Phase::Chaos {
            self.rot(node);
        }
        exists
    }

    /// A bit of the manifest flips, or of a file in it: no other one is read, unless a loss of power brings back a manifest
    /// that names it.
    fn rot(&mut self, node: usize) {
        let disk = &self.processes[node].disk;
        let mut names = disk.names_in("appendonlydir");
        if let Some(manifest) = disk.read(MANIFEST).and_then(|text| Manifest::parse(&text).ok()) {
            let is_read = |name: &str| manifest.files().any(|file| name.ends_with(&file.name));
            names.retain(|name| name == MANIFEST || is_read(name));
        }
        let name = self.chance.pick(&names).clone();
        let len = self.processes[node].disk.read(&name).map_or(0, |bytes| bytes.len());
        if len == 0 {
            return;
        }
        let (offset, bit) = (self.chance.index(len), self.chance.below(8) as u8);
        self.tell(|| format!("node{node}: bit {bit} of byte {offset} of {name} has rotted"));
        let Durability { handed, rot, .. } = &mut self.processes[node].durability;
        let before = handed.iter().filter(|handed| handed.name == name && handed.end <= offset);
        let state = before.map(|handed| handed.state).max();
        *rot = Some(Rot { name: name.clone(), offset, bit, state });
        self.processes[node].disk.flip(&name, offset, bit);
    }

    /// A process ends, but for an orderly end together with its machine.
    pub(crate) fn note_end(&mut self, node: usize, power: bool) {
        let (awake_us, now) = (self.awake_us(node), self.now);
        let process = &mut self.processes[node];
        let horizons = process.appenders.values().map(|file| file.horizon(awake_us, now));
        let durability = &mut process.durability;
        if let Some(horizon) = horizons.reduce(Horizon::min)
            && durability.relied_since_us.is_some()
        {
            durability.reach_horizon(horizon);
        }
        // What a later loss of power takes was not this life's to sync.
        durability.syncs_since_us = None;
        if power {
            durability.end = End::Power;
        }
    }

    /// A node has heard that a sync of a file failed: it must not execute what a client asks from now on.
    pub(crate) fn note_told(&mut self, node: usize, job: JobId) {
        let process = &mut self.processes[node];
        let state = process.durability.last();
        if let Some(appender) = process.appenders.get_mut(&job) {
            appender.has_told(state);
        }
    }

    /// A process leaves, and its disk has all that it gave.
    pub(crate) fn note_clean_end(&mut self, node: usize) {
        let durability = &mut self.processes[node].durability;
        if durability.relied_since_us.is_some() && durability.is_settled {
            durability.seen = durability.last();
        }
    }

    /// Whether a process may end by itself because of its append-only file.
    pub(crate) fn may_refuse(&mut self, node: usize) -> bool {
        let process = &mut self.processes[node];
        let said =
            |words: &str| process.durability.warnings.iter().any(|line| line.contains(words));
        if said("Fatal error loading the append only file") {
            let Some(rot) = process.durability.rot.take() else { return false };
            let name = rot.name.rsplit('/').next().unwrap_or_default();
            // A key that another one has become is named instead.
            let offset =
                name.ends_with(".manifest") || said("offset") || said("RDB has duplicated key");
            // Its operator has a copy.
            process.disk.flip(&rot.name, rot.offset, rot.bit);
            self.coverage.rot_refused += 1;
            return said(name) && offset;
        }
        let cannot =
            said("The append-only file cannot be begun") || said("Can't open the append-only file");
        let refused = cannot && (process.durability.had_trouble || self.plan.refusal_percent > 0);
        self.coverage.refused_starts += u64::from(refused);
        refused
    }

    /// A load at the start has ended: is the data what it must be? True if that is settled.
    pub(crate) fn check_recovered(&mut self, node: usize) -> bool {
        let process = &self.processes[node];
        let (Some(ledger), Some(data)) = (&process.durability.ledger, process.data()) else {
            return false;
        };
        let (model, digest) = (data.model(), data.digest());
        let (ledger, needed) = (ledger.clone(), process.durability.needed());
        let had_rot = process.durability.rot.is_some();
        if !process.durability.is_loading {
            let looks = process.config.appendonly;
            if needed > 0 && looks {
                self.fail(format!("node{node} finds no append-only file, and had relied on one"));
            }
            match looks {
                true => lock(&ledger).begin(model),
                // It has one, and was told not to look at it.
                false => lock(&ledger).replace(model),
            }
            let (last, now) = (lock(&ledger).last(), self.now);
            self.coverage.starts_without += u64::from(!looks);
            self.processes[node].durability.start_without(last, now);
            return false;
        }
        self.coverage.aof_loads += 1;
        self.coverage.aof_loads_by_replicas += u64::from(process.config.replicaof.is_some());
        self.check_twins(node, &model);
        if let Some(what) = model.torn_pair() {
            self.fail(format!("node{node} loaded an append-only file in which {what}"));
        }
        self.coverage.rot_cut += u64::from(had_rot);
        let found = lock(&ledger).find(digest);
        let (state, last) = match found {
            Found::State(state) | Found::Unknown(state) => (state, lock(&ledger).last()),
            Found::Nothing => {
                let nearest = lock(&ledger).nearest(&model);
                self.fail(format!(
                    "node{node} loaded from its append-only file what it never held; {nearest}"
                ));
                return true;
            }
        };
        self.coverage.unknown_states += u64::from(matches!(found, Found::Unknown(_)));
        self.tell(|| {
            format!("node{node} goes on with state {state} of {last}, {needed} was needed")
        });
        if state < needed {
            let end = self.processes[node].durability.end;
            let difference = lock(&ledger).difference(&model);
            self.fail(format!(
                "node{node} loaded state {state} after the end of its {end:?}, and state {needed} was to be found; \
                 from state {last} {difference}"
            ));
        }
        self.coverage.states_lost += last - state.min(last);
        lock(&ledger).go_back(state, model);
        let now = self.now;
        self.processes[node].durability.start_from(state, now);
        true
    }

    /// Takes note of what a node says of its append-only file after a call.
    pub(crate) fn keep_ledger(&mut self, node: usize) {
        let now = self.now;
        let process = &self.processes[node];
        let (Some(ledger), Some(data)) = (&process.durability.ledger, process.data()) else {
            return;
        };
        let is_settled = process.durability.is_settled && process.exited.is_none();
        if data.is_loading() || data.is_within_exec() || !is_settled {
            return;
        }
        let ledger = ledger.clone();
        if lock(&ledger).is_stale() {
            let model = data.model();
            self.coverage.replaced += 1;
            lock(&ledger).replace(model);
        }
        let append = data.append().filter(|append| append.is_relied_on);
        let wants_it = data.wants_append_only();
        let last = lock(&ledger).last();
        let durability = &mut self.processes[node].durability;
        let Some(append) = append else {
            let is_off = durability.relied_since_us.is_some() && !wants_it;
            self.coverage.switched_off += u64::from(is_off);
            let Durability { relied_since_us, always_since, syncs_since_us, .. } = durability;
            (*relied_since_us, *always_since, *syncs_since_us) = (None, None, None);
            return;
        };
        let is_new = durability.relied_since_us.is_none();
        durability.relied_since_us.get_or_insert(now);
        match durability.loaded.take() {
            // It has opened the file behind what it has loaded, which makes that last.
            Some(loaded) if is_new => durability.is_on_disk(loaded),
            loaded => durability.loaded = loaded,
        }
        self.coverage.switched_on += u64::from(is_new && durability.base > 0);
        match append.fsync {
            AppendFsync::Always if durability.always_since.is_none() => {
                // What was executed before was not to wait for a sync, unless that was in a life before.
                durability.always_since = Some((now, if is_new { 0 } else { last }));
            }
            AppendFsync::Always => {}
            AppendFsync::Everysec | AppendFsync::No => durability.always_since = None,
        }
        match append.fsync {
            AppendFsync::No => durability.syncs_since_us = None,
            _ => _ = durability.syncs_since_us.get_or_insert(now),
        }
    }

    /// Compares what a ledger says with the data that it is about.
    pub(crate) fn check_ledger(&mut self, node: usize) {
        let process = &self.processes[node];
        let (Some(ledger), Some(data)) = (&process.durability.ledger, process.data()) else {
            return;
        };
        if data.is_loading() || data.is_within_exec() {
            return;
        }
        let Some(digest) = lock(ledger).digest() else { return };
        self.coverage.mirror_checks += 1;
        let what = match digest {
            Ok(digest) if digest == data.digest() => return,
            Ok(_) => lock(ledger).difference(&data.model()),
            Err(what) => what,
        };
        self.fail(format!("node{node}'s data is not what its journal's effects make: {what}"));
    }

    /// A client was shown a value, by the reply to a request that it sent at this time.
    pub(crate) fn check_shown(&mut self, node: usize, place: &Place, value: &[u8], sent_us: u64) {
        let awake_us = self.awake_us(node);
        let durability = &mut self.processes[node].durability;
        let Some(ledger) = &durability.ledger else { return };
        let trace = crate::ledger::trace_of(&place.key, place.field.as_deref(), value);
        let state = lock(ledger).state_of(trace);
        let is_lost = lock(ledger).has_lost(trace);
        let is_old = sent_us < durability.since_us;
        if is_old && is_lost {
            let (end, [relied_since, always_since]) = durability.last_end;
            let since = if end == End::Process { relied_since } else { always_since };
            if since.is_some_and(|since| since <= sent_us) {
                let text = excerpt(value);
                self.fail(format!("node{node} has lost {place} = {text}, which a client has seen"));
            }
            return;
        }
        let Some(state) = state.filter(|_| !is_old) else { return };
        if durability.relied_since_us.is_none_or(|since| since > sent_us) {
            return;
        }
        durability.seen = durability.seen.max(state);
        if durability.seen_at.last().is_none_or(|(_, seen)| *seen < state) {
            durability.seen_at.push((awake_us, state));
        }
        let synced = durability.synced;
        let is_safe =
            durability.always_since.is_some_and(|(at, from)| at <= sent_us && from < state);
        if is_safe {
            durability.safe = durability.safe.max(state);
        }
        self.coverage.shown_checks += 1;
        if is_safe && state > synced {
            let text = excerpt(value);
            self.fail(format!(
                "node{node} has shown {place} = {text}, which is of state {state}, when only state {synced} was on disk"
            ));
        }
    }
}
