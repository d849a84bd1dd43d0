//! What crosses the border between the node and the world.
//!
//! ```text
//!   shell                                   node
//!   ─────                                   ────
//!   Input (a completion, a signal)  ──▶  handle(now, input)      one mutation
//!   bytes read from a socket        ──▶  read_buffer / received
//!                                        turn(now, host)         bounded, fair
//!   Output::…                       ◀──  poll_output(now)        until it answers Wait(deadline)
//!   dirty connections, open bytes   ◀──  take_dirty / outbox
//! ```
//!
//! **The contract.** After each call that may change the node (`handle`, `accept`, `turn`, `written`), the driver
//! calls `poll_output` until it answers [`Output::Wait`], and writes the outboxes of the connections that
//! `take_dirty` names. A call too many is harmless. When the deadline of the last `Wait` has passed, the
//! driver calls `turn` with the new time.
//!
//! The control plane is these two small enums, one value an event, which a simulator can write to its trace. The
//! data plane, the clients' bytes, is not enumerated: it goes straight into query buffers and out of outboxes.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

pub use crate::ids::{Handle, JobId, RequestId};
use crate::rdb::RdbSettings;
use crate::rdb::chunk::Chunk;

/// The time, twice: one clock for protocol timers, one for what users see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds of a clock that never jumps; its zero means nothing.
    pub mono_us: u64,
    /// Microseconds since 1970 of a clock that may jump: TTLs, LASTSAVE, TIME.
    pub wall_us: i64,
}

impl Now {
    /// Wall clock in milliseconds: the unit of every expiry.
    pub fn wall_ms(self) -> i64 {
        self.wall_us.div_euclid(1000)
    }

    /// Wall clock in whole seconds.
    pub fn wall_secs(self) -> i64 {
        self.wall_us.div_euclid(1_000_000)
    }

    /// Monotonic clock in milliseconds.
    pub fn mono_ms(self) -> u64 {
        self.mono_us / 1000
    }
}

/// What the node may ask of its driver in the middle of a turn.
pub trait Host {
    /// Monotonic microseconds from a counter that is cheap to read (no system call); it bounds
    /// slices of background work and says how long a command took.
    fn ticks_us(&mut self) -> u64;
    /// Figures of the process for INFO; all zero where there is no process.
    fn process(&mut self) -> ProcessFigures {
        ProcessFigures::default()
    }
}

/// What only the operating system and the allocator know; for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessFigures {
    /// Resident set size in bytes.
    pub rss_bytes: u64,
    /// Bytes that the allocator has handed out.
    pub allocated_bytes: u64,
    /// Bytes in pages that hold at least one allocation.
    pub active_bytes: u64,
    /// Bytes of address space that the allocator keeps resident.
    pub resident_bytes: u64,
    /// CPU time in the kernel, microseconds.
    pub cpu_sys_us: u64,
    /// CPU time in user space, microseconds.
    pub cpu_user_us: u64,
    /// CPU time in the kernel of the engine's thread, microseconds.
    pub cpu_sys_main_us: u64,
    /// CPU time in user space of the engine's thread, microseconds.
    pub cpu_user_main_us: u64,
    /// Physical memory of the machine in bytes.
    pub system_memory_bytes: u64,
}

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Clients and replicas, in plain text.
    Clients,
}

/// Both ends of a connection, as CLIENT LIST and INFO show them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// A TCP connection.
    Tcp {
        /// The far end.
        peer: SocketAddr,
        /// Our end.
        local: SocketAddr,
    },
    /// A Unix socket, with its path.
    Unix(String),
}

/// One event of the control plane, into the node.
#[derive(Debug)]
pub enum Input {
    /// A connection was closed by its peer or broke; nothing more can be read or written.
    Closed(Handle),
    /// The answer to [`Output::Connect`].
    Connected {
        /// The connection that was asked for.
        link: Handle,
        /// Its ends, or why there is none.
        result: Result<Endpoints, String>,
    },
    /// News of a snapshot.
    Snapshot {
        /// Which one.
        job: JobId,
        /// What happened.
        event: SnapshotEvent,
    },
    /// News of a file being read.
    File {
        /// Which one.
        job: JobId,
        /// What happened.
        event: FileEvent,
    },
    /// The answer to [`Output::Request`].
    Answer {
        /// Which request.
        id: RequestId,
        /// Done, or why not.
        answer: Result<(), String>,
    },
    /// The operating system asks for an orderly end.
    Signal(Signal),
}

/// News of a snapshot from whoever encodes and writes it.
#[derive(Debug)]
pub enum SnapshotEvent {
    /// So many bytes of chunks (by [`Chunk::len_bytes`]) have been encoded and, for a file, written.
    Consumed(u64),
    /// Encoded bytes of a snapshot whose target is a stream, in order.
    Bytes(Vec<u8>),
    /// All is encoded; for a file: written, synced, renamed and the folder synced. With the size.
    Done(u64),
    /// It failed; the temporary file is gone.
    Failed(String),
}

/// News of a file being read.
#[derive(Debug)]
pub enum FileEvent {
    /// It is open and this long. Bytes follow.
    Opened(u64),
    /// The next bytes.
    Bytes(Vec<u8>),
    /// All bytes were delivered.
    End,
    /// There is no such file.
    Missing,
    /// It cannot be read.
    Failed(String),
}

/// A request of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

/// How much a log line matters; the letters of Redis' log format are `.`, `-`, `*`, `#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a defect.
    Debug,
    /// Much, and rarely useful.
    Verbose,
    /// What an operator wants to see.
    Notice,
    /// What an operator must see.
    Warning,
}

/// Where a snapshot's bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotTarget {
    /// Into a temporary file in the folder of `path`, synced, then renamed to it, then the folder is synced.
    File {
        /// Final path; relative to the working folder.
        path: String,
    },
    /// Back to the node as [`SnapshotEvent::Bytes`], for replicas.
    Stream,
}

/// One request to the world, out of the node.
#[derive(Debug)]
pub enum Output {
    /// Nothing more to do until this monotonic time (microseconds) or an input. `Some(0)`: call `turn` again at once.
    Wait(Option<u64>),
    /// Write what the outbox still has, as far as the socket takes it now, then close.
    Close(Handle),
    /// Open a TCP connection; answered by [`Input::Connected`], after which it is like any other.
    Connect {
        /// What the connection is called.
        link: Handle,
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// Start encoding a snapshot; its chunks follow in order, then [`Output::SnapshotEnd`].
    SnapshotBegin {
        /// Which one.
        job: JobId,
        /// Where to.
        target: SnapshotTarget,
        /// How.
        settings: RdbSettings,
        /// Auxiliary fields for the head of the file.
        aux: Vec<(&'static str, String)>,
    },
    /// The next part of a snapshot, to be encoded on another thread.
    SnapshotChunk {
        /// Of which one.
        job: JobId,
        /// Copied entries.
        chunk: Chunk,
    },
    /// All chunks were given.
    SnapshotEnd {
        /// Of which one.
        job: JobId,
    },
    /// Forget the snapshot, remove its temporary file; no event about it follows.
    SnapshotAbort {
        /// Which one.
        job: JobId,
    },
    /// Read a file from its start; [`Input::File`] delivers it, a bounded amount ahead of [`Output::ReadMore`].
    Read {
        /// What the reading is called.
        job: JobId,
        /// Relative to the working folder.
        path: String,
    },
    /// One delivered [`FileEvent::Bytes`] was digested: another may come.
    ReadMore {
        /// Which reading.
        job: JobId,
    },
    /// Stop reading; no event about it follows.
    ReadStop {
        /// Which reading.
        job: JobId,
    },
    /// Do this and answer with [`Input::Answer`].
    Request {
        /// What the answer must name.
        id: RequestId,
        /// What to do.
        request: Request,
    },
    /// Write a line to the log.
    Log {
        /// How much it matters.
        level: Level,
        /// The line, without time and role.
        text: String,
        /// The role letter of Redis' log format: `M`aster, `S`lave, `X` sentinel.
        role: char,
    },
    /// The process has come to another state, of which its supervisor may want to know.
    Status(Status),
    /// Bytes for this connection may be gathered into fewer packets, though that delays them (no TCP_NODELAY).
    Gather(Handle),
    /// Drop this somewhere else than on the engine's thread: freeing it takes long.
    Garbage(Garbage),
    /// Leave the process with this status.
    Exit(i32),
}

/// What a supervisor may want to know of a process that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The node serves clients from now on; reported once.
    Ready {
        /// It is a replica that has yet to hear from its master.
        waits_for_master: bool,
    },
    /// An orderly end has begun: replicas catch up, data is saved.
    Stopping,
    /// It did not come to that end, and goes on.
    Staying,
    /// A replica has its master's data, after a full synchronisation.
    Synced,
    /// A replica follows its master again from where it had stopped.
    Resumed,
}

/// Something large that nobody can reach any more.
pub struct Garbage(pub Box<dyn Any + Send>);

impl std::fmt::Debug for Garbage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Garbage")
    }
}

/// What a command or a part of the node requests of the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Use this working folder from now on.
    ChangeDir(String),
    /// Listen on these addresses and this port instead (0: on none).
    Listen {
        /// Whom the listeners are for; those of others stay.
        service: Service,
        /// Addresses as `bind` lists them; a leading `-` makes one optional.
        bind: Vec<String>,
        /// TCP port.
        port: u16,
    },
    /// Log to this file (empty: standard output) from this level on.
    LogTo {
        /// Path.
        path: String,
        /// Least level; none: nothing is logged.
        level: Option<Level>,
    },
    /// Probe silent TCP peers after so many seconds (0: never), on connections that come from now on.
    KeepAlive(u32),
    /// The dump file has this name from now on: no other process may use it.
    DumpFile(String),
    /// Allow this many clients' sockets (raise the limit of file descriptors if need be).
    MaxClients(u32),
    /// Whether a thread of the allocator's own gives memory back to the system.
    PurgeInBackground(bool),
    /// Whether a snapshot's file is forced to disk as it is written, for files that are begun from now on.
    SyncAsWritten(bool),
    /// Replace a file of state: the driver reads it, calls [`Rewrite::apply`] with its text, writes the result into a
    /// temporary file, syncs it, renames it and syncs the folder. There is the old file or the new one, whatever
    /// happens; what must not be sent before the new one is safe waits for the answer behind a gate of its outbox.
    ReplaceFile {
        /// Absolute path.
        path: String,
        /// What the new text is.
        rewrite: Rewrite,
    },
    /// Remove a file, if it is there.
    RemoveFile(String),
}

/// What becomes of a file's text.
#[derive(Clone)]
pub struct Rewrite(Arc<RewriteFunction>);

/// From the old text of a file to the new one.
type RewriteFunction = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

impl Rewrite {
    /// A rewrite by this function.
    pub fn new(function: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Rewrite {
        Rewrite(Arc::new(function))
    }

    /// The new text of a file whose text is `old`.
    pub fn apply(&self, old: &[u8]) -> Vec<u8> {
        (self.0)(old)
    }
}

impl std::fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rewrite")
    }
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Rewrite) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
