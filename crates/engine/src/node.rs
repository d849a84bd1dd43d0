//! The node: everything with Redis' semantics as one deterministic value.
//!
//! It is driven as [`crate::io`] says. Reading order: this file is what it is made of, events, turns and requests to
//! the world; `connection.rs` is how bytes enter and leave; `serve.rs` runs the requests of ready clients in windows;
//! `dispatch.rs` decides whether a command may run, runs it and gathers its effects; `cron.rs` is what time does.

use std::collections::{BTreeSet, VecDeque};

use crate::client::Clients;
use crate::command::CommandTable;
use crate::config::Config;
use crate::effects::Effects;
use crate::io::{Handle, Host, Input, Level, Now, Output};
use crate::keyspace::{Keyspace, SlotFunction};
use crate::persist::Persist;
use crate::persist::snapshot::COPIES_BYTES_MAX;
use crate::rng::Rng;
use crate::stats::Stats;
use crate::timers::{Timer, Timers};

/// What the node is told once, at its start.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// Everything random in the node comes from this.
    pub seed: [u64; 4],
    /// Process id, for INFO and names of files.
    pub pid: u32,
    /// Path of the binary, for INFO.
    pub executable: String,
    /// Path of the configuration file, if there is one.
    pub config_file: Option<String>,
    /// What the node runs on, for INFO.
    pub platform: Platform,
    /// Which keys share a table.
    pub slots: Option<SlotFunction>,
    /// Read the dump file before serving.
    pub load: bool,
    /// How many bytes of requests are read ahead of their turn, of each client; none: 256 KiB.
    pub read_ahead_bytes: Option<usize>,
    /// The bug to have, for the simulator's own tests.
    #[cfg(feature = "planted")]
    pub bug: Option<crate::planted::Bug>,
}

/// What a node runs on, as INFO tells it; empty where there is nothing to tell.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// Operating system, its release and the machine's architecture.
    pub os: String,
    /// Name and version of the allocator.
    pub allocator: String,
    /// How sockets are watched.
    pub poller: String,
    /// Where ticks come from.
    pub clock: String,
}

/// See the module.
pub struct Node {
    /// Settings.
    pub config: Config,
    /// What it was told at its start.
    pub boot: Boot,
    /// 40 hexadecimal digits that name this run.
    pub run_id: String,
    /// The time of this call.
    pub now: Now,
    /// The time of the first call.
    pub started: Now,
    /// Connections.
    pub clients: Clients,
    /// Data.
    pub keyspace: Keyspace,
    /// Commands by name.
    pub commands: CommandTable,
    /// Replication, both ways.
    pub repl: crate::repl::Repl,
    /// Snapshots to disk and loading.
    pub persist: Persist,
    /// What the running command did.
    pub effects: Effects,
    /// Counters.
    pub stats: Stats,
    /// Random numbers.
    pub rng: Rng,
    /// CLIENT PAUSE.
    pub pause: crate::pause::Pause,
    /// Why nobody is served now, if so.
    pub standstill: Option<Standstill>,
    /// A CONFIG SET that the world has yet to confirm.
    pub(crate) settings_change: Option<crate::settings::SettingsChange>,
    /// Questions to the world that are open.
    pub(crate) asked: Vec<crate::settings::Asked>,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
    /// DEBUG PAUSE-CRON.
    pub cron_paused: bool,
    pub(crate) expire_wanted: bool,
    pub(crate) timers: Timers,
    /// Deadlines of waiting clients.
    pub(crate) deadlines: BTreeSet<(u64, Handle)>,
    /// Clients in WAIT.
    pub(crate) ack_waiters: BTreeSet<(i64, Handle)>,
    pub(crate) ready: VecDeque<Handle>,
    pub(crate) dirty: Vec<Handle>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) pool: Vec<Vec<u8>>,
    pub(crate) window: crate::serve::Window,
    pub(crate) last_job: u64,
    pub(crate) last_ask: u64,
}

/// Why the whole node stands still: a command that is atomic waits for the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standstill {
    /// DEBUG SLEEP of this client.
    Sleep(Handle),
    /// DEBUG RELOAD of this client.
    Reload(Handle),
    /// EXEC of this client asks the world something in its middle.
    Exec(Handle),
    /// CONFIG SET of this client is being carried out.
    Settings(Handle),
    /// The process ends, since the node can't be what it should be.
    Stopped,
}

impl Node {
    /// A node at the start of its life.
    pub fn new(config: Config, boot: Boot, now: Now) -> Node {
        let mut rng = Rng::new(boot.seed);
        let seed = (u128::from(rng.draw()) << 64) | u128::from(rng.draw());
        let seed = russet_ds::hash::Seed::new(seed);
        let slots = boot.slots.unwrap_or(SlotFunction::HashPrefix);
        let mut node = Node {
            keyspace: Keyspace::new(config.databases, seed, slots),
            repl: crate::repl::Repl::new(&mut rng),
            run_id: rng.hex40(),
            config,
            boot,
            now,
            started: now,
            clients: Clients::default(),
            commands: CommandTable::default(),
            persist: Persist { copies_bytes_max: COPIES_BYTES_MAX, ..Persist::default() },
            effects: Effects::default(),
            stats: Stats::default(),
            rng,
            pause: Default::default(),
            standstill: None,
            settings_change: None,
            asked: Vec::new(),
            active_expire: true,
            cron_paused: false,
            expire_wanted: false,
            timers: Timers::default(),
            deadlines: BTreeSet::new(),
            ack_waiters: BTreeSet::new(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            outputs: VecDeque::new(),
            pool: Vec::new(),
            window: Default::default(),
            last_job: 0,
            last_ask: 0,
        };
        #[cfg(feature = "planted")]
        {
            node.keyspace.skips_preimages = node.planted(crate::planted::Bug::SkippedPreimage);
        }
        node.advance(now);
        node.use_counting_changed();
        node.timers.set(Timer::Cron, now.mono_us);
        node.timers.set(Timer::Memory, now.mono_us);
        node.start();
        node
    }

    /// Takes note of the time.
    pub(crate) fn advance(&mut self, now: Now) {
        self.now = now;
        self.keyspace.now_ms = now.wall_ms();
        self.keyspace.clock = (now.wall_secs() & 0xff_ffff) as u32;
    }

    /// One event of the control plane.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.advance(now);
        match input {
            Input::Closed(handle) => self.disconnected(handle),
            Input::Connected { link, result } => self.link_connected(link, result),
            Input::Snapshot { job, event } => self.snapshot_event(job, event),
            Input::File { job, event } => self.file_event(job, event),
            Input::Answer { ask, answer } => self.answered(ask, answer),
            Input::Signal(signal) => self.signalled(signal),
        }
        self.settle();
    }

    /// One turn: timers that are due, requests of ready clients, a slice of background work.
    pub fn turn(&mut self, now: Now, host: &mut dyn Host) {
        self.advance(now);
        let began = host.ticks_us();
        self.run_timers(host);
        self.serve(host, began);
        self.background(host);
        self.settle();
    }

    /// The driver's round ended: reading, the turn and writing took it so many microseconds. For INFO.
    #[inline]
    pub fn round_took(&mut self, us: u64) {
        self.stats.turn_took(us);
    }

    /// What follows every change: effects go out, touched watchers learn of it.
    fn settle(&mut self) {
        // Half of a transaction is told to nobody.
        if !self.is_within_exec() {
            self.flush_effects();
        }
        self.settle_acks();
        self.flush_stream();
        while let Some(garbage) = self.keyspace.take_garbage() {
            self.output(Output::Garbage(garbage));
        }
    }

    /// Whether an EXEC waits in its middle: its effects leave together, at its end.
    fn is_within_exec(&self) -> bool {
        let Some(
            Standstill::Sleep(client)
            | Standstill::Reload(client)
            | Standstill::Exec(client)
            | Standstill::Settings(client),
        ) = self.standstill
        else {
            return false;
        };
        self.clients.get(client).is_some_and(|client| client.transaction.running)
    }

    /// The next request to the world; `Wait` when there is none.
    pub fn poll_output(&mut self, now: Now) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        if self.has_work() {
            return Output::Wait(Some(0));
        }
        let next = match self.standstill {
            Some(Standstill::Sleep(_)) => self.timers.due(Timer::Sleep),
            _ => self.timers.next(),
        };
        Output::Wait(next.map(|due| due.max(now.mono_us + 1)))
    }

    fn has_work(&self) -> bool {
        (!self.ready.is_empty() && self.standstill.is_none()) || self.has_background_work()
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Writes a line to the log.
    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        let role = if self.repl.is_replica() { 'S' } else { 'M' };
        let mut text = text.into();
        if text.contains(char::is_control) {
            // What a client or a peer said stays within its line.
            text = text.replace(char::is_control, " ");
        }
        self.output(Output::Log { level, text, role });
    }
}
