//! The interface between the node and its driver.
//!
//! ```text
//!   shell                                   node
//!   ─────                                   ────
//!   Input (a completion, a signal)  ──▶  handle(now, input)      one mutation
//!   bytes read from a socket        ──▶  read_buffer / received
//!                                        turn(now, host)         bounded, fair
//!   Output::…                       ◀──  poll_output(now)        until it returns Wait(deadline)
//!   dirty connections, open bytes   ◀──  take_dirty / outbox
//! ```
//!
//! **The contract.** After each call that may change the node (`handle`, `accept`, `turn`,
//! `written`), the driver calls `poll_output` until it returns [`Output::Wait`], and writes the
//! outboxes of the connections that `take_dirty` names. Extra calls are harmless. When the deadline
//! of the last `Wait` has passed, the driver calls `turn` with the new time.
//!
//! The control plane consists of these two small enums, one value per event, which a simulator can
//! trace. The data plane, the clients' bytes, bypasses them: it goes directly into query buffers
//! and out of outboxes.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use russet_sentinel::{Programs, ScriptOutcome};

pub use crate::ids::{Handle, JobId, RequestId};
use crate::rdb::RdbSettings;
use crate::rdb::chunk::Chunk;

/// The time of two clocks: monotonic time for timers, wall-clock time for users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds of a monotonic clock with an arbitrary origin.
    pub mono_us: u64,
    /// Microseconds since 1970 of the wall clock, which may jump: TTLs, LASTSAVE, TIME.
    pub wall_us: i64,
}

impl Now {
    /// Returns the wall clock in milliseconds, the unit of expiry.
    pub fn wall_ms(self) -> i64 {
        self.wall_us.div_euclid(1000)
    }

    /// Returns the wall clock in seconds.
    pub fn wall_secs(self) -> i64 {
        self.wall_us.div_euclid(1_000_000)
    }

    /// Returns the monotonic clock in milliseconds.
    pub fn mono_ms(self) -> u64 {
        self.mono_us / 1000
    }
}

/// Services of the driver that the node may use during a turn.
pub trait Host {
    /// Returns monotonic microseconds from a counter that is cheap to read (no system call). It
    /// limits slices of background work and measures commands.
    fn ticks_us(&mut self) -> u64;
    /// Returns metrics of the process for INFO; all zero if there is no process.
    fn process(&mut self) -> ProcessMetrics {
        ProcessMetrics::default()
    }
}

/// Metrics of the process from the operating system and the allocator, for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessMetrics {
    /// Resident set size in bytes.
    pub rss_bytes: u64,
    /// Bytes allocated from the allocator.
    pub allocated_bytes: u64,
    /// Bytes in pages that hold at least one allocation.
    pub active_bytes: u64,
    /// Bytes of address space that the allocator keeps resident.
    pub resident_bytes: u64,
    /// System CPU time, microseconds.
    pub cpu_sys_us: u64,
    /// User CPU time, microseconds.
    pub cpu_user_us: u64,
    /// System CPU time of the engine's thread, microseconds.
    pub cpu_sys_main_us: u64,
    /// User CPU time of the engine's thread, microseconds.
    pub cpu_user_main_us: u64,
    /// Physical memory of the machine in bytes.
    pub system_memory_bytes: u64,
    /// Memory that the process may use in bytes: that of the machine, or the least limit of its
    /// cgroups.
    pub memory_limit_bytes: u64,
}

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Clients and replicas, in plain text.
    Clients,
    /// Nodes of the cluster, on its bus.
    Bus,
}

/// Both ends of a connection, as CLIENT LIST and INFO show them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// A TCP connection.
    Tcp {
        /// The peer's address.
        peer: SocketAddr,
        /// The local address.
        local: SocketAddr,
    },
    /// A Unix socket, with its path.
    Unix(String),
}

impl Endpoints {
    /// Whether the peer has connected to an IPv6 address.
    pub fn is_ipv6(&self) -> bool {
        self.addresses().0.is_some_and(|local| local.is_ipv6())
    }

    /// Returns our address and the peer's, if there are any.
    pub fn addresses(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        match self {
            Endpoints::Tcp { peer, local } => {
                (Some(local.ip().to_canonical()), Some(peer.ip().to_canonical()))
            }
            Endpoints::Unix(_) => (None, None),
        }
    }
}

/// An event of the control plane for the node.
#[derive(Debug)]
pub enum Input {
    /// A connection was closed by its peer or broke; nothing more can be read or written.
    Closed(Handle),
    /// The result of [`Output::Connect`].
    Connected {
        /// The connection.
        link: Handle,
        /// Its endpoints, or the error.
        result: Result<Endpoints, String>,
    },
    /// An event of a snapshot.
    Snapshot {
        /// Its job.
        job: JobId,
        /// What happened.
        event: SnapshotEvent,
    },
    /// An event of a file being read.
    File {
        /// Its job.
        job: JobId,
        /// What happened.
        event: FileEvent,
    },
    /// An event of a file that is appended to.
    Append {
        /// Its job.
        job: JobId,
        /// What happened.
        event: AppendEvent,
    },
    /// The result of [`Output::Request`].
    Answer {
        /// The request.
        id: RequestId,
        /// Success, or the error.
        answer: Result<(), String>,
    },
    /// A script of [`Output::RunScript`] runs.
    ScriptStarted {
        /// Its job.
        job: JobId,
        /// Its process.
        pid: u32,
    },
    /// A script of [`Output::RunScript`] has ended, or could not be started.
    ScriptEnded {
        /// Its job.
        job: JobId,
        /// How.
        outcome: ScriptOutcome,
    },
    /// The operating system requests a shutdown.
    Signal(Signal),
}

/// An event of the thread that encodes and writes a snapshot.
#[derive(Debug)]
pub enum SnapshotEvent {
    /// This many bytes of chunks (by [`Chunk::len_bytes`]) were encoded and, for a file, written.
    Consumed(u64),
    /// Encoded bytes of a snapshot whose target is a stream, in order.
    Bytes(Vec<u8>),
    /// The snapshot is complete, with its size; a file is synced and renamed, its directory synced.
    Done(u64),
    /// It failed; the temporary file is removed.
    Failed(String),
}

/// An event of a file being read.
#[derive(Debug)]
pub enum FileEvent {
    /// It was opened and has this size. Bytes follow.
    Opened(u64),
    /// The next bytes.
    Bytes(Vec<u8>),
    /// All bytes were delivered.
    End,
    /// The file does not exist.
    Missing,
    /// It cannot be read.
    Failed(String),
}

/// An event of a file that is appended to. Counts of bytes are of those given since it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendEvent {
    /// The file exists, has the requested length and is empty behind it, and its folder is synced.
    Opened,
    /// This many of the bytes are written: another process would read them, also if this one ends now.
    Written(u64),
    /// This many of the bytes are on disk: they survive a loss of power.
    Synced(u64),
    /// The bytes from `Written` on cannot be written: the file has no part of them. They are kept and tried again
    /// at [`AppendStep::Retry`], and all that follow wait for them.
    WriteFailed(String),
    /// A sync failed. What was not synced before may be lost whatever later syncs say, so none is reported any more.
    SyncFailed(String),
    /// It cannot be opened.
    OpenFailed(String),
}

/// A termination signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

/// The level of a log line; the marks of Redis' log format are `.`, `-`, `*`, `#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For debugging.
    Debug,
    /// Verbose, rarely useful.
    Verbose,
    /// What an operator wants to see.
    Notice,
    /// What an operator must see.
    Warning,
}

/// The target of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotTarget {
    /// A temporary file in the directory of `path`, which is synced and renamed; then the directory
    /// is synced.
    File {
        /// Final path, relative to the working directory.
        path: String,
    },
    /// The node, as [`SnapshotEvent::Bytes`], for replicas.
    Stream,
}

/// An output of the node for its driver.
#[derive(Debug)]
pub enum Output {
    /// Nothing more to do until this monotonic time (microseconds) or an input. `Some(0)`: call `turn` again at once.
    Wait(Option<u64>),
    /// Write as much of the outbox as the socket accepts now, then close.
    Close(Handle),
    /// Open a TCP connection; its result is [`Input::Connected`].
    Connect {
        /// The handle of the connection.
        link: Handle,
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// Run a program, with the environment of the process and an empty standard input;
    /// [`Input::ScriptStarted`] and [`Input::ScriptEnded`] follow.
    RunScript {
        /// Its job.
        job: JobId,
        /// Path of the program, relative to the working directory; it is not searched elsewhere.
        path: String,
        /// Its arguments, without its name.
        arguments: Vec<String>,
    },
    /// Kill a program that runs, by SIGKILL. Its end is reported as usual.
    KillScript {
        /// Its job.
        job: JobId,
    },
    /// Start encoding a snapshot; its chunks follow in order, then [`Output::SnapshotEnd`].
    SnapshotBegin {
        /// Its job.
        job: JobId,
        /// Its target.
        target: SnapshotTarget,
        /// Encoding settings.
        settings: RdbSettings,
        /// Auxiliary fields for the header of the file.
        aux: Vec<(&'static str, String)>,
    },
    /// The next chunk of a snapshot, to be encoded on another thread.
    SnapshotChunk {
        /// Its job.
        job: JobId,
        /// Copied entries.
        chunk: Chunk,
    },
    /// The snapshot has no more chunks.
    SnapshotEnd {
        /// Its job.
        job: JobId,
    },
    /// Abort the snapshot and remove its temporary file; no event of it may follow.
    SnapshotAbort {
        /// Its job.
        job: JobId,
    },
    /// Read a file; [`Input::File`] delivers it, with a read-ahead limited by [`Output::ReadMore`].
    Read {
        /// The job of the reading.
        job: JobId,
        /// Path, relative to the working directory.
        path: String,
    },
    /// One [`FileEvent::Bytes`] was consumed: another may be delivered.
    ReadMore {
        /// Its job.
        job: JobId,
    },
    /// Stop reading; no event of it may follow.
    ReadStop {
        /// Its job.
        job: JobId,
    },
    /// Do the next step of appending to a file, in the order of the steps; [`Input::Append`] reports.
    Append {
        /// The job of the file, from its opening to its closing.
        job: JobId,
        /// What to do.
        step: AppendStep,
    },
    /// Carry out a request and report its result with [`Input::Answer`].
    Request {
        /// Its id, which the answer must repeat.
        id: RequestId,
        /// The request.
        request: Request,
    },
    /// Write a line to the log.
    Log {
        /// Its level.
        level: Level,
        /// The line, without time and role.
        text: String,
        /// The role letter of Redis' log format: `M`aster, `S`lave, `X` sentinel.
        role: char,
    },
    /// The status of the process has changed, for its supervisor.
    Status(Status),
    /// Disable TCP_NODELAY for this connection: fewer packets, higher latency.
    DisableNoDelay(Handle),
    /// Free this on another thread: it would block the engine.
    Garbage(Garbage),
    /// Exit the process with this status.
    Exit(i32),
}

/// A step of appending to a file. The driver does them on a thread of the file's own, so that the node never waits for
/// the disk:
///
/// ```text
///   Open ── Write ── Write ── Sync ── Write ── Sync ── Close      the node's steps, one or two in a turn
///             └───┬────┘        └──────┬─────────┘
///              one write            one sync                      what was queued meanwhile is done at once
/// ```
#[derive(Debug)]
pub enum AppendStep {
    /// Open the file, or create it with its folder, cut off what is behind `len` bytes, and sync both. A process whose
    /// sync has failed may have left bytes that are only in memory, though the kernel takes them for written: those from
    /// `sure` on are written again, where they are.
    Open {
        /// Path, relative to the working directory.
        path: String,
        /// Bytes to keep.
        len: u64,
        /// Bytes that are on disk.
        sure: u64,
    },
    /// Append bytes.
    Write(Vec<u8>),
    /// Append bytes and sync them. Nobody waits for the write alone: it may be done after a sync that runs, and is reported
    /// with the sync.
    Commit(Vec<u8>),
    /// Sync what was written before to the disk. It may run beside later writes.
    Sync,
    /// Try again to write what could not be written.
    Retry,
    /// Do the steps before, then close the file. No event follows that of the last step.
    Close {
        /// Bytes to append and sync if everything before them is on disk, which they say. None: nothing is synced.
        seal: Vec<u8>,
    },
}

/// The status of the process, for its supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The node starts serving clients; reported once.
    Ready {
        /// Whether it is a replica that waits for its master.
        waits_for_master: bool,
    },
    /// A shutdown has begun: replicas catch up, data is saved.
    Stopping,
    /// The shutdown was cancelled.
    ShutdownCancelled,
    /// A replica has completed a full synchronization.
    Synced,
    /// A replica has completed a partial synchronization.
    Resumed,
}

/// The size from which on memory takes long to free: the allocator may return it to the kernel at once.
pub(crate) const LARGE_BYTES: usize = 1 << 20;

/// A large detached value that takes long to free.
pub struct Garbage {
    /// How many objects of the data set it holds, for INFO.
    pub objects: usize,
    /// The value itself.
    pub value: Box<dyn Any + Send>,
}

impl Garbage {
    /// Creates garbage from a value with this number of objects of the data set.
    pub fn new(objects: usize, value: impl Any + Send) -> Garbage {
        Garbage { objects, value: Box::new(value) }
    }
}

impl std::fmt::Debug for Garbage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Garbage({} objects)", self.objects)
    }
}

/// The folder of append-only files, and what their names begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendFolder {
    /// Path, relative to the working directory.
    pub folder: String,
    /// The common first part of the files' names.
    pub name: String,
}

/// A request of the node to its driver.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Change the working directory.
    ChangeDir(String),
    /// Replace the TCP listeners by these addresses and port (0: none).
    Listen {
        /// Whom the listeners are for; those of others stay.
        service: Service,
        /// Addresses of `bind`; a leading `-` makes one optional.
        bind: Vec<String>,
        /// TCP port.
        port: u16,
    },
    /// Set the log file (empty: standard output) and the minimum level.
    LogTo {
        /// Path.
        path: String,
        /// Minimum level; none disables logging.
        level: Option<Level>,
    },
    /// Set TCP keepalive of future connections, in seconds; 0 disables it.
    KeepAlive(u32),
    /// Set the name of the dump file, which no other process may use.
    DumpFile(String),
    /// Create the folder of append-only files, if it does not exist, and lock the files of this name in it against other
    /// processes, in place of the former ones. Before they are read: a second server must not repair what the first writes.
    /// None: there are no such files.
    AppendFolder(Option<AppendFolder>),
    /// Raise the limit of file descriptors for this many clients.
    MaxClients(u32),
    /// Enable or disable the allocator's background thread.
    PurgeInBackground(bool),
    /// Replace a file of state: the driver reads it, calls [`Rewrite::apply`] with its text, writes the result into a
    /// temporary file, syncs it, renames it and syncs the folder. There is the old file or the new one, whatever
    /// happens; what must not be sent before the new one is safe waits for the answer behind a gate of its outbox.
    ReplaceFile {
        /// Absolute path.
        path: String,
        /// What the new text is.
        rewrite: Rewrite,
    },
    /// Give a file another name, and sync the folders of both.
    MoveFile {
        /// Path, relative to the working directory.
        from: String,
        /// Its new path.
        to: String,
    },
    /// Remove a file if it exists.
    RemoveFile(String),
}

/// A transformation of a file's text.
#[derive(Clone)]
pub struct Rewrite {
    function: Arc<RewriteFunction>,
    is_public: bool,
}

/// Maps the old text of a file to the new one.
type RewriteFunction = dyn Fn(&[u8], &mut ReadOthers<'_>) -> Vec<u8> + Send + Sync;

/// Reads the texts of other files that a file refers to: those in a directory that match a pattern.
/// A relative directory begins where the process was started. Unreadable files are left out.
pub type ReadOthers<'a> = dyn FnMut(&[u8], &[u8]) -> Vec<Vec<u8>> + 'a;

impl Rewrite {
    /// Creates a rewrite from a function. If there is no old file, only its owner may read the new one: configurations
    /// and the state of peers contain passwords.
    pub fn new(
        function: impl Fn(&[u8], &mut ReadOthers<'_>) -> Vec<u8> + Send + Sync + 'static,
    ) -> Rewrite {
        Rewrite { function: Arc::new(function), is_public: false }
    }

    /// Creates a rewrite to this text, of a file that others may read.
    pub fn public(text: Vec<u8>) -> Rewrite {
        Rewrite { function: Arc::new(move |_, _| text.clone()), is_public: true }
    }

    /// Whether others may read the file.
    pub fn is_public(&self) -> bool {
        self.is_public
    }

    /// Returns the new text of a file whose text is `old`.
    pub fn apply(&self, old: &[u8], read_others: &mut ReadOthers<'_>) -> Vec<u8> {
        (self.function)(old, read_others)
    }
}

impl std::fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rewrite")
    }
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Rewrite) -> bool {
        Arc::ptr_eq(&self.function, &other.function)
    }
}
