//! What every part of the node may borrow: settings, time, chance, counters, timers, the log, and the two queues in which
//! parts say what is to happen outside of them.
//!
//! * [`Core::output`]: requests to the world, in order.
//! * [`Core::order`]: small orders to other parts. A part knows what it touches by the arguments of its methods; what it
//!   cannot do with those it orders, and [`Node`](crate::node::Node) carries the order out as soon as the part returns.
//!
//! Core knows no part. Everything in here is a plain value.

use std::collections::VecDeque;

use russet_protocol::ErrorReply;

use crate::config::{Config, Hook};
use crate::ids::{Handle, JobId, RequestId};
use crate::injected::Bug;
use crate::io::{Level, Now, Output, Request};
use crate::mode::Mode;
use crate::rng::Rng;
use crate::stats::Stats;
use crate::timers::Timers;

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
    /// In which mode to run.
    pub mode: Mode,
    /// Read the dump file before serving.
    pub load: bool,
    /// How many bytes of requests are read ahead of their turn, of each client; none: 256 KiB.
    pub read_ahead_bytes: Option<usize>,
    /// The bug to have, for the simulator's own tests.
    #[cfg(feature = "injected")]
    pub bug: Option<Bug>,
}

/// What a node runs on, as INFO reports it; empty where there is nothing to report.
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

/// What a part wants done that is not its own.
#[derive(Debug)]
pub enum Order {
    /// A connection was closed by us: every part forgets it.
    Forget(Handle),
    /// A connection is closed when what its outbox holds has been written.
    CloseAfterReply(Handle),
    /// What a blocked client waited for has come: this is its reply, and it goes on.
    Answer(Handle, Answer),
    /// A client that was held back goes on; nothing is replied.
    Resume(Handle),
    /// A full synchronisation may begin now, or after its delay, if replicas wait for one.
    ScheduleFullSync,
    /// A save came to its end.
    SaveEnded {
        /// Which one.
        job: JobId,
        /// The file's size, or why there is none.
        result: Result<u64, String>,
    },
    /// A snapshot for replicas, without a file, came to its end.
    SyncEnded {
        /// Which one.
        job: JobId,
        /// Whether its bytes are complete.
        result: Result<(), String>,
    },
    /// Bytes of a snapshot for those replicas that share it.
    SyncBytes {
        /// Which one.
        job: JobId,
        /// The next bytes.
        bytes: Vec<u8>,
    },
    /// The last replica of this snapshot is gone.
    AbortSnapshot(JobId),
    /// A save that DEBUG RELOAD waits for is to begin, if none is under way.
    SaveForReload,
    /// The dump file was read at the start, or there was none: clients may be served.
    LoadedAtStart,
    /// DEBUG RELOAD of this client came to its end.
    Reloaded {
        /// Who called it.
        client: Handle,
        /// Whether the data is the file's now.
        is_ok: bool,
    },
    /// All that an orderly end waits for has come: the final save begins.
    FinalSave,
    /// It could not begin, or failed.
    FinalSaveFailed,
    /// All data has been replaced: snapshots of the old are void, and so are watched keys.
    DataReplaced,
    /// A replica has caught up or has left: an orderly end may have waited for it.
    CheckShutdown,
    /// The process ends, since the node cannot be what it should be.
    Stop(String),
    /// A directive has a new value that the engine acts on.
    Apply(Hook),
}

/// What a blocked client is replied.
#[derive(Debug)]
pub enum Answer {
    /// `+OK`.
    Ok,
    /// A count, as WAIT replies it.
    Count(usize),
    /// An error.
    Error(ErrorReply),
}

impl From<Result<(), ErrorReply>> for Answer {
    fn from(result: Result<(), ErrorReply>) -> Answer {
        result.map_or_else(Answer::Error, |()| Answer::Ok)
    }
}

/// See the module.
pub struct Core {
    /// Settings.
    pub config: Config,
    /// What the node was told at its start.
    pub boot: Boot,
    /// 40 hexadecimal digits that name this run.
    pub run_id: String,
    /// The time of this call.
    pub now: Now,
    /// The time of the first call.
    pub started: Now,
    /// Counters.
    pub stats: Stats,
    /// Random numbers.
    pub rng: Rng,
    /// Deadlines.
    pub timers: Timers,
    /// The node follows a master: log lines carry its role, keys are not expired by it.
    pub is_replica: bool,
    outputs: VecDeque<Output>,
    orders: VecDeque<Order>,
    last_job: u64,
    last_request: u64,
}

impl Core {
    /// The core of a node at the start of its life.
    pub fn new(config: Config, boot: Boot, now: Now, mut rng: Rng) -> Core {
        Core {
            config,
            boot,
            run_id: rng.hex40(),
            now,
            started: now,
            stats: Stats::default(),
            rng,
            timers: Timers::default(),
            is_replica: false,
            outputs: VecDeque::new(),
            orders: VecDeque::new(),
            last_job: 0,
            last_request: 0,
        }
    }

    /// Requests something of the world, behind what was requested before.
    #[inline]
    pub fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// The next output for the driver.
    pub(crate) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Orders something of another part, behind what was ordered before.
    #[inline]
    pub fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// The next order to be carried out.
    #[inline]
    pub(crate) fn take_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Whether orders wait to be carried out.
    #[inline]
    pub(crate) fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    /// A number for a snapshot or a reading.
    pub fn next_job(&mut self) -> JobId {
        self.last_job += 1;
        JobId(self.last_job)
    }

    /// Requests something of the world; the answer will name this number.
    pub fn request(&mut self, request: Request) -> RequestId {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.output(Output::Request { id, request });
        id
    }

    /// Writes a line to the log.
    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        let role = if self.is_replica { 'S' } else { 'M' };
        let mut text = text.into();
        if text.contains(char::is_control) {
            // What came from a client or a peer stays within its line.
            text = text.replace(char::is_control, " ");
        }
        self.output(Output::Log { level, text, role });
    }

    /// Name of the dump file, within the working folder.
    pub fn dump_file(&self) -> String {
        String::from_utf8_lossy(&self.config.dbfilename).into_owned()
    }

    /// Whether this bug is injected.
    #[cfg(feature = "injected")]
    pub fn injected(&self, bug: Bug) -> bool {
        self.boot.bug == Some(bug)
    }

    /// No bug is injected.
    #[cfg(not(feature = "injected"))]
    #[inline(always)]
    pub fn injected(&self, _bug: Bug) -> bool {
        false
    }
}
