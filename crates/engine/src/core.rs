//! State shared by all parts of the node: settings, time, random numbers, counters, timers, the
//! log, and two queues for effects outside of a part.
//!
//! * [`Core::output`]: outputs for the driver, in order.
//! * [`Core::order`]: orders for other parts. A method of a part can change only what it receives as
//!   arguments; for anything else it queues an order, which [`Node`](crate::node::Node) carries out
//!   as soon as the method returns.
//!
//! Core does not depend on any part.

use std::any::Any;
use std::collections::VecDeque;

use russet_protocol::{ErrorReply, ReplyWriter};

use crate::config::{ClusterStart, Config, Hook, SentinelStart};
use crate::ids::{Handle, JobId, RequestId};
use crate::injected::Bug;
use crate::io::{Garbage, LARGE_BYTES, Level, Now, Output, Request};
use crate::mode::Mode;
use crate::rng::{Ids, Rng, Seeds};
use crate::shared::Meter;
use crate::stats::Stats;
use crate::timers::Timers;

/// Parameters of a node's start.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// Seeds of all random numbers.
    pub seeds: Seeds,
    /// Process id, for INFO and names of files.
    pub pid: u32,
    /// Path of the binary, for INFO.
    pub executable: String,
    /// Path of the configuration file, if there is one.
    pub config_file: Option<String>,
    /// The platform, for INFO.
    pub platform: Platform,
    /// The mode.
    pub mode: Mode,
    /// Spread keys by their slots as in cluster mode, whatever the mode is: for tests of slots without a cluster.
    pub by_slot: bool,
    /// In Sentinel mode: the masters to watch, and where the state is kept.
    pub sentinel: Option<SentinelStart>,
    /// In cluster mode: what the node knows of the cluster, and where that is kept.
    pub cluster: Option<ClusterStart>,
    /// Which programs there are, for scripts of a Sentinel.
    pub programs: russet_sentinel::Programs,
    /// Whether to load the dump file before serving; never in Sentinel mode.
    pub load: bool,
    /// Limit of bytes read ahead from each client; none: 256 KiB.
    pub read_ahead_bytes: Option<usize>,
    /// Limit of payload bytes in a replica's outbox; none: 8 MiB.
    pub payload_ahead_bytes: Option<usize>,
    /// A bug to inject, for tests of the simulator.
    #[cfg(feature = "injected")]
    pub bug: Option<Bug>,
    /// A bug of the Sentinel machine to inject.
    #[cfg(feature = "injected")]
    pub sentinel_bug: Option<russet_sentinel::Bug>,
    /// A bug of the cluster's machine to inject.
    #[cfg(feature = "injected")]
    pub cluster_bug: Option<russet_cluster::Bug>,
}

/// The platform as INFO reports it; empty fields are omitted.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// Operating system, its release and the machine's architecture.
    pub os: String,
    /// Name and version of the allocator.
    pub allocator: String,
    /// System call that polls sockets.
    pub poller: String,
    /// Source of the monotonic clock.
    pub clock: String,
}

/// An action that a part requests from another part.
#[derive(Debug)]
pub enum Order {
    /// Remove a connection that we have closed from all parts.
    Remove(Handle),
    /// Close a connection when its outbox has been written.
    CloseAfterReply(Handle),
    /// Unblock a client with this reply.
    Answer(Handle, Answer),
    /// Resume a held client without a reply.
    Resume(Handle),
    /// Run the command of a client again that a pause has held, if it still waits for keys.
    Wake(Handle),
    /// A MIGRATE has ended.
    Migrated(Migrated),
    /// Start a full synchronization, now or after a delay, if replicas wait for one.
    ScheduleFullSync,
    /// A save has ended.
    SaveEnded {
        /// Its job.
        job: JobId,
        /// The file's size, or the error.
        result: Result<u64, String>,
    },
    /// The snapshot of the append-only file's base has ended.
    AofBaseEnded {
        /// Its job.
        job: JobId,
        /// Peak of copied and not yet encoded bytes.
        ahead_peak: u64,
        /// The file's size, or the error.
        result: Result<u64, String>,
    },
    /// The append-only file holds all data from now on.
    AofReady,
    /// The append-only file that was switched on cannot be begun.
    AofFailed,
    /// A diskless snapshot for replicas has ended.
    SyncEnded {
        /// Its job.
        job: JobId,
        /// Whether it is complete.
        result: Result<(), String>,
    },
    /// Send bytes of a snapshot to the replicas that share it.
    SyncBytes {
        /// Its job.
        job: JobId,
        /// The next bytes.
        bytes: Vec<u8>,
    },
    /// Abort a snapshot whose last replica has disconnected.
    AbortSnapshot(JobId),
    /// Start the save of a DEBUG RELOAD, unless another is running.
    SaveForReload,
    /// Loading at the start is complete: clients may be served.
    LoadedAtStart,
    /// A DEBUG RELOAD or LOADAOF has ended.
    Reloaded {
        /// The client.
        client: Handle,
        /// The error if it failed.
        result: Result<(), ErrorReply>,
    },
    /// Start the final save of a shutdown.
    FinalSave,
    /// The final save has failed.
    FinalSaveFailed(&'static str),
    /// All data was replaced, which invalidates snapshots and watched keys.
    DataReplaced,
    /// A replica has taken over before a shutdown, or none does.
    HandedOver,
    /// A replica has caught up or disconnected: a shutdown may have waited for it.
    CheckShutdown,
    /// The target of a FAILOVER has accepted or refused to take over.
    FailoverAnswered {
        /// Whether it is the master now.
        is_accepted: bool,
    },
    /// Exit the process after a fatal error.
    Stop(String),
    /// Exit the process with this status.
    Exit(i32),
    /// Run the hook of a changed directive.
    Apply(Hook),
    /// Do what the cluster's machine wants of other parts.
    Cluster(ClusterOrder),
}

/// The result of a MIGRATE.
#[derive(Debug)]
pub struct Migrated {
    /// Its client.
    pub client: Handle,
    /// The database of the keys.
    pub db: u32,
    /// The keys that have moved: they are to be deleted here.
    pub keys: Vec<Box<[u8]>>,
    /// Its reply.
    pub answer: Answer,
}

/// What the cluster's machine wants of other parts.
#[derive(Debug)]
pub enum ClusterOrder {
    /// Replicate this node.
    Follow {
        /// Host name or address.
        host: String,
        /// Port for clients.
        port: u16,
    },
    /// Be a master.
    Promote,
    /// Delete all keys: they were those of a master that this node does not replicate any more.
    DropAll,
    /// Delete the keys of slots that others have taken.
    DropKeys(russet_cluster::SlotBitmap),
    /// Hold writes, for so many milliseconds at most.
    PauseWrites(u64),
    /// End that.
    ResumeWrites,
    /// Let a replica take over before a shutdown, within so many microseconds.
    HandOver(u64),
    /// Give that up.
    CancelHandOver,
    /// Replicas have the step of a slot's move that this client waits for.
    SetSlot(Handle),
    /// The moves of slots of this replica's master, as its payload has them.
    OpenSlots(String),
    /// A connection of the bus was closed, since too many bytes waited to be sent on it.
    LinkOverLimit {
        /// The connection.
        handle: Handle,
        /// The bytes.
        bytes: usize,
    },
}

/// The reply to a blocked client.
#[derive(Debug)]
pub enum Answer {
    /// `+OK`.
    Ok,
    /// An encoded reply.
    Bytes(Vec<u8>),
    /// An array that is not there, for a command that waited in vain.
    NullArray,
    /// A count, for WAIT.
    Count(usize),
    /// Whether this server has a write on disk, and how many replicas, for WAITAOF.
    OnDisk(bool, usize),
    /// An error.
    Error(ErrorReply),
}

impl Answer {
    /// Writes the reply.
    pub fn write(&self, reply: &mut ReplyWriter<'_>) {
        match self {
            Answer::Ok => reply.ok(),
            Answer::Bytes(bytes) => reply.append(bytes, false),
            Answer::NullArray => reply.null_array(),
            Answer::Count(count) => reply.count(*count),
            Answer::OnDisk(here, replicas) => {
                reply.array(2);
                reply.integer(i64::from(*here));
                reply.count(*replicas);
            }
            Answer::Error(error) => reply.error(error),
        }
    }
}

impl From<Result<(), ErrorReply>> for Answer {
    fn from(result: Result<(), ErrorReply>) -> Answer {
        result.map_or_else(Answer::Error, |()| Answer::Ok)
    }
}

/// The shared state.
pub struct Core {
    /// Settings.
    pub config: Config,
    /// Parameters of the start.
    pub boot: Boot,
    /// Id of this run: 40 hexadecimal digits.
    pub run_id: String,
    /// The time of this call.
    pub now: Now,
    /// The time of the first call.
    pub started: Now,
    /// Counters.
    pub stats: Stats,
    /// Random ids, which nobody can guess.
    pub ids: Ids,
    /// Random numbers that clients may observe.
    pub rng: Rng,
    /// Deadlines.
    pub timers: Timers,
    /// Bytes that connections and the backlog share.
    pub shared: Meter,
    /// Whether the node is a replica, which sets the role of log lines and disables active expiry.
    pub is_replica: bool,
    /// Whether checksums of files and payloads are not verified (DEBUG SET-SKIP-CHECKSUM-VALIDATION).
    pub skips_checksums: bool,
    outputs: VecDeque<Output>,
    orders: VecDeque<Order>,
    last_job: u64,
    last_request: u64,
}

impl Core {
    /// Creates the core of a new node.
    pub fn new(config: Config, boot: Boot, now: Now) -> Core {
        let mut ids = Ids::new(boot.seeds.ids);
        let rng = Rng::new(boot.seeds.rng);
        Core {
            config,
            boot,
            run_id: ids.hex40(),
            now,
            started: now,
            stats: Stats::default(),
            ids,
            rng,
            timers: Timers::default(),
            shared: Meter::default(),
            is_replica: false,
            skips_checksums: false,
            outputs: VecDeque::new(),
            orders: VecDeque::new(),
            last_job: 0,
            last_request: 0,
        }
    }

    /// Queues an output for the driver.
    #[inline]
    pub fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Queues a value to be freed on another thread.
    pub fn free(&mut self, garbage: Garbage) {
        self.stats.lazyfreed_objects += garbage.objects as u64;
        self.output(Output::Garbage(garbage));
    }

    /// Counts the cost of each slot, if that is enabled: only in cluster mode requests have slots.
    pub(crate) fn count_slots_if_enabled(&mut self) {
        let is_cluster = self.boot.mode == Mode::Cluster;
        self.stats.set_counts_slots(is_cluster && self.config.cluster_slot_stats_enabled);
    }

    /// Drops a value of this size: on another thread if it is large.
    pub(crate) fn free_sized(&mut self, bytes: usize, value: impl Any + Send) {
        if bytes >= LARGE_BYTES {
            self.free(Garbage::new(0, value));
        }
    }

    /// Takes the next output.
    pub(crate) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Queues an order for another part.
    #[inline]
    pub fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// Whether the process is about to stop.
    pub(crate) fn is_ordered_to_stop(&self) -> bool {
        self.orders.iter().any(|order| matches!(order, Order::Stop(_) | Order::Exit(_)))
    }

    /// Takes the next order.
    #[inline]
    pub(crate) fn take_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Whether there are pending orders.
    #[inline]
    pub(crate) fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    /// Returns a new id for a snapshot or a reading.
    pub fn next_job(&mut self) -> JobId {
        self.last_job += 1;
        JobId(self.last_job)
    }

    /// Queues a request for the driver and returns its id.
    pub fn request(&mut self, request: Request) -> RequestId {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.output(Output::Request { id, request });
        id
    }

    /// Logs a line.
    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        let role = match self.boot.mode {
            Mode::Sentinel => 'X',
            _ if self.is_replica => 'S',
            _ => 'M',
        };
        let mut text = text.into();
        if text.contains(char::is_control) {
            // Text of clients and peers must not add lines to the log.
            text = text.replace(char::is_control, " ");
        }
        self.output(Output::Log { level, text, role });
    }

    /// Returns the name of the dump file in the working directory.
    pub fn dump_file(&self) -> String {
        String::from_utf8_lossy(&self.config.dbfilename).into_owned()
    }

    /// Whether this bug is injected.
    #[cfg(feature = "injected")]
    pub fn injected(&self, bug: Bug) -> bool {
        self.boot.bug == Some(bug)
    }

    /// Returns false: no bug is injected.
    #[cfg(not(feature = "injected"))]
    #[inline(always)]
    pub fn injected(&self, _bug: Bug) -> bool {
        false
    }

    /// The same of a bug in cluster mode.
    #[cfg(feature = "injected")]
    pub fn injected_in_cluster(&self, bug: russet_cluster::Bug) -> bool {
        self.boot.cluster_bug == Some(bug)
    }

    /// Returns false: no bug is injected.
    #[cfg(not(feature = "injected"))]
    #[inline(always)]
    pub fn injected_in_cluster(&self, _bug: russet_cluster::Bug) -> bool {
        false
    }
}
