//! A connection's state, without its socket.

use std::net::SocketAddr;
use std::sync::Arc;

use russet_protocol::{Limits, Protocol};

use super::link_bytes_max;
use super::subscriptions::Subscriptions;
use super::wire::Wire;
use crate::config::Config;
use crate::config::words::OutputLimit;
use crate::core::Core;
use crate::ids::{Handle, JobId, RequestId};
use crate::io::Endpoints;
use crate::shared::Shared;
use crate::transaction::Transaction;

/// Limit of pending output of a client that has not authenticated, in bytes: some hundred errors.
const UNAUTHENTICATED_OUTPUT_MAX: u64 = 17 * 1024;

/// The role of a connection; its details belong to the part that owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A client; the initial role of every incoming connection.
    Client,
    /// A replica of ours: it sent PSYNC.
    Replica,
    /// An outgoing connection.
    Link(LinkOwner),
}

/// The part that owns an outgoing connection and handles its events and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOwner {
    /// [`Following`](crate::repl::following::Following): the link to our master.
    Master,
    /// [`Sentinel`](crate::sentinel::Sentinel): a link to a server or Sentinel.
    Sentinel,
    /// [`Cluster`](crate::cluster::Cluster): a link to or from another node of the cluster.
    Bus,
    /// [`Migrate`](crate::migrate::Migrate): a connection to a server that keys move to.
    Migrate,
    /// [`Cluster`](crate::cluster::Cluster): a connection to a replica that is asked to take over.
    Successor,
}

/// Maximum output that waits for a server or Sentinel. Few commands are sent while replies are outstanding.
const SENTINEL_OUTPUT_MAX: u64 = 1 << 20;

/// Maximum output that waits for our master. We send it a handshake and acknowledgements only.
const MASTER_OUTPUT_MAX: u64 = 1 << 20;

impl LinkOwner {
    /// Returns the limit of a link's output and its description. The limits of clients are for those
    /// that connected to us.
    pub(super) fn output_limit(self, config: &Config) -> (&'static str, OutputLimit) {
        match self {
            LinkOwner::Bus => {
                let hard_bytes = config.cluster_link_sendbuf_limit;
                ("'cluster-link-sendbuf-limit'", OutputLimit { hard_bytes, ..Default::default() })
            }
            LinkOwner::Master => {
                let limit = OutputLimit { hard_bytes: MASTER_OUTPUT_MAX, ..Default::default() };
                ("1 MB for the link to a master, which does not read", limit)
            }
            LinkOwner::Sentinel => {
                let limit = OutputLimit { hard_bytes: SENTINEL_OUTPUT_MAX, ..Default::default() };
                ("1 MB for the link to a server that is watched, which does not read", limit)
            }
            // Few bytes are sent.
            LinkOwner::Successor => ("no limit", OutputLimit::default()),
            // A payload may have any length, and only one waits to be written.
            LinkOwner::Migrate => ("no limit", OutputLimit::default()),
        }
    }
}

/// The reply mode of a client (CLIENT REPLY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyMode {
    /// All replies are dropped.
    pub off: bool,
    /// The reply of the running request is dropped.
    pub skip: bool,
    /// The reply of the next request is dropped, after CLIENT REPLY SKIP.
    pub skip_next: bool,
    /// What `off` becomes when the running EXEC ends: its reply is sent whole or not at all.
    pub off_after_exec: Option<bool>,
}

impl ReplyMode {
    /// Whether the reply of the running request is dropped.
    pub fn drops_reply(self) -> bool {
        self.off || self.skip
    }

    /// Updates the mode after a request, even an empty one.
    pub fn request_ended(&mut self) {
        self.skip = std::mem::take(&mut self.skip_next);
        if let Some(off) = self.off_after_exec.take() {
            self.off = off;
        }
    }
}

/// What WAIT and WAITAOF wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Offset of the replication stream that the client's last write ended at.
    pub offset: i64,
    /// Required number of replicas.
    pub replicas: usize,
    /// WAITAOF: the replicas must have it on disk.
    pub on_disk: Option<AwaitedOnDisk>,
}

impl Awaited {
    /// Whether this server must have the write on disk.
    pub(crate) fn needs_this_disk(&self) -> bool {
        self.on_disk.is_some_and(|on_disk| on_disk.here)
    }
}

/// What WAITAOF also waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwaitedOnDisk {
    /// Whether this server must have it on disk too.
    pub here: bool,
    /// The batch of the append-only file that has the client's last write.
    pub batch: u64,
}

/// What a client is blocked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// WAIT and WAITAOF: acknowledgements of the client's last write.
    Acks(Awaited),
    /// CLUSTER SETSLOT: acknowledgements of the replicas that carry it out, too.
    SlotAcks(Awaited),
    /// The result of a request to the driver.
    Answer(RequestId),
    /// SAVE: the end of this snapshot.
    Snapshot(JobId),
    /// FLUSHALL: the save that follows it.
    Flush,
    /// EXEC with a FLUSHALL: the save that follows it, after which its reply is sent.
    FlushInExec,
    /// SHUTDOWN: the end of the shutdown.
    Shutdown,
    /// SENTINEL: its state on disk.
    State,
    /// MIGRATE: the end of the migration.
    Migrate,
    /// BLPOP and the like: a change of one of its keys.
    Keys,
    /// CLIENT PAUSE, which holds its next command, unread, in the query buffer.
    Pause,
    /// DEBUG SLEEP and DEBUG RELOAD, which hold all clients.
    Node,
}

/// The state of a blocked client.
#[derive(Clone, Copy, Debug)]
pub struct Blocked {
    /// What it is blocked on.
    pub waiting: Waiting,
    /// Its timeout, in monotonic microseconds.
    pub deadline_us: Option<u64>,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// Its handle, used by the driver.
    pub handle: Handle,
    /// Its CLIENT ID.
    pub id: u64,
    /// Bytes in and out.
    pub wire: Wire,
    /// Its endpoints.
    pub ends: Endpoints,
    /// Its role.
    pub role: Role,
    /// Version of the protocol.
    pub protocol: Protocol,
    /// Selected database.
    pub db: u32,
    /// Whether it is authenticated.
    pub authenticated: bool,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: Vec<u8>,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// Whether it is sent all commands (MONITOR), set by [`Monitors`](crate::monitors::Monitors).
    pub is_monitor: bool,
    /// ASKING: its next command, or all of its transaction, may use a slot that is being imported.
    pub is_asking: bool,
    /// READONLY: it reads from a replica.
    pub reads_replica: bool,
    /// MULTI.
    pub transaction: Transaction,
    /// WATCH: database and name of each key.
    pub watched: Vec<(u32, Box<[u8]>)>,
    /// Memory of the watched keys, in bytes.
    pub(crate) watched_bytes: usize,
    /// Its subscriptions.
    pub subscriptions: Subscriptions,
    /// Messages sent to it during its own command; they follow the reply.
    pub(super) held_messages: Vec<Arc<Shared>>,
    /// Memory of `held_messages`, in bytes.
    pub(super) held_bytes: usize,
    /// Whether one of its commands is running.
    pub(crate) is_running: bool,
    /// What it is blocked on, if it is.
    pub blocked: Option<Blocked>,
    /// The full name of its last command; `NULL` if unknown.
    pub last_command: &'static str,
    /// Monotonic microseconds at which it connected.
    pub connected_us: u64,
    /// Monotonic microseconds of its last interaction.
    pub last_interaction_us: u64,
    /// Replication offset of its last write, for WAIT.
    pub last_write_offset: i64,
    /// The batch of the append-only file that has its last write.
    pub last_write_batch: u64,
    /// Whether it is closed after the outbox has been written; no more requests are accepted.
    pub closing: bool,
    /// Whether its connection is closed; it is removed soon, or at the end of its EXEC.
    pub closed: bool,
    /// Total bytes read from it.
    pub bytes_in: u64,
    /// Whether it is in the queue of ready clients.
    pub(super) is_ready: bool,
    /// Whether it is in the list of dirty connections.
    pub(super) is_dirty: bool,
    /// Monotonic microseconds since when its outbox exceeds the soft limit of its class.
    soft_limit_since_us: Option<u64>,
}

impl Client {
    pub(super) fn new(handle: Handle, id: u64, ends: Endpoints, now_us: u64) -> Client {
        Client {
            handle,
            id,
            wire: Wire::default(),
            ends,
            role: Role::Client,
            protocol: Protocol::Resp2,
            db: 0,
            authenticated: false,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            reply_mode: ReplyMode::default(),
            no_evict: false,
            no_touch: false,
            is_monitor: false,
            is_asking: false,
            reads_replica: false,
            transaction: Transaction::default(),
            watched: Vec::new(),
            watched_bytes: 0,
            subscriptions: Subscriptions::default(),
            held_messages: Vec::new(),
            held_bytes: 0,
            is_running: false,
            blocked: None,
            last_command: "NULL",
            connected_us: now_us,
            last_interaction_us: now_us,
            last_write_offset: 0,
            last_write_batch: 0,
            closing: false,
            closed: false,
            bytes_in: 0,
            is_ready: false,
            is_dirty: false,
            soft_limit_since_us: None,
        }
    }

    /// Returns the limits of its requests. That of clients does not bind our master, which may have
    /// another one, but the received bytes of an incomplete request are limited.
    pub(crate) fn limits(&self, core: &Core) -> Limits {
        match self.role {
            Role::Link(_) => Limits::open(link_bytes_max(core) as u64),
            _ if self.authenticated => Limits::open(core.config.proto_max_bulk_len),
            _ => Limits::unauthenticated(core.config.proto_max_bulk_len),
        }
    }

    /// Whether it is a replica.
    pub fn is_replica(&self) -> bool {
        self.role == Role::Replica
    }

    /// Whether it is the link to the master.
    pub fn is_master_link(&self) -> bool {
        self.role == Role::Link(LinkOwner::Master)
    }

    /// Whether it is a connection of MIGRATE, which is no client to users.
    pub fn is_migrate_link(&self) -> bool {
        self.role == Role::Link(LinkOwner::Migrate)
    }

    /// Returns the peer's IP address.
    pub fn peer_address(&self) -> String {
        match &self.ends {
            Endpoints::Tcp { peer, .. } => peer.ip().to_canonical().to_string(),
            Endpoints::Unix(path) => path.clone(),
        }
    }

    /// Returns the peer's address: `ip:port`, `[ip]:port` or `path:0`.
    pub fn peer(&self) -> String {
        self.address(true)
    }

    /// Returns the local address in the same form.
    pub fn local(&self) -> String {
        self.address(false)
    }

    fn address(&self, is_peer: bool) -> String {
        match &self.ends {
            Endpoints::Unix(path) => format!("{path}:0"),
            Endpoints::Tcp { peer, local } => {
                let end = if is_peer { peer } else { local };
                SocketAddr::new(end.ip().to_canonical(), end.port()).to_string()
            }
        }
    }

    /// Whether it is a local connection.
    pub fn is_local(&self) -> bool {
        match &self.ends {
            Endpoints::Tcp { peer, .. } => peer.ip().to_canonical().is_loopback(),
            Endpoints::Unix(_) => true,
        }
    }

    /// Returns its memory usage in bytes without what others own too.
    pub fn own_memory_bytes(&self) -> usize {
        self.memory_bytes() - self.wire.outbox.shared_bytes()
    }

    /// Returns its memory usage in bytes, with all of what it shares.
    pub fn memory_bytes(&self) -> usize {
        let transaction = self.transaction.queued_bytes + self.watched_bytes;
        let wire = self.wire.request_bytes() + self.wire.outbox.memory_bytes();
        size_of::<Client>()
            + wire
            + transaction
            + self.held_bytes
            + self.subscriptions.memory_bytes()
    }

    /// Returns a description of what sets the limit of its output, and the limit.
    #[inline]
    pub(super) fn output_limit(&self, config: &Config) -> (&'static str, OutputLimit) {
        let limits = &config.client_output_buffer_limit;
        match self.role {
            Role::Replica => {
                let mut limit = limits.replica;
                if limit.hard_bytes > 0 {
                    // What the backlog keeps anyway takes no memory.
                    limit.hard_bytes = limit.hard_bytes.max(config.repl_backlog_size);
                }
                ("'client-output-buffer-limit replica'", limit)
            }
            Role::Client if !self.subscriptions.is_empty() => {
                ("'client-output-buffer-limit pubsub'", limits.pubsub)
            }
            Role::Client => ("'client-output-buffer-limit normal'", limits.normal),
            Role::Link(owner) => owner.output_limit(config),
        }
    }

    /// Returns the bytes above which its output closes it at once.
    #[inline]
    fn output_max(&self, limit: &OutputLimit) -> u64 {
        let most = if limit.hard_bytes > 0 { limit.hard_bytes } else { u64::MAX };
        if self.authenticated { most } else { most.min(UNAUTHENTICATED_OUTPUT_MAX) }
    }

    /// Returns how long the tail of its outbox may become. A connection that is closed is sent
    /// nothing more.
    #[inline]
    pub(crate) fn tail_max(&self, config: &Config) -> usize {
        // The default, for each command.
        let is_normal = self.role == Role::Client && self.subscriptions.is_empty();
        let is_open = self.authenticated && !self.closed;
        if config.client_output_buffer_limit.normal.hard_bytes == 0 && is_normal && is_open {
            return usize::MAX;
        }
        self.limited_tail_max(config)
    }

    fn limited_tail_max(&self, config: &Config) -> usize {
        if self.closed {
            return 0;
        }
        let outbox = &self.wire.outbox;
        let most = self.output_max(&self.output_limit(config).1);
        let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(outbox.limited_len());
        outbox.tail.len().saturating_add(room)
    }

    /// Whether its output exceeds the limits of its class.
    pub(super) fn is_over(&mut self, limit: &OutputLimit, now_us: u64) -> bool {
        let bytes = (self.wire.outbox.limited_len() + self.held_bytes) as u64;
        if bytes > self.output_max(limit) {
            return true;
        }
        if limit.soft_bytes == 0 || bytes <= limit.soft_bytes {
            self.soft_limit_since_us = None;
            return false;
        }
        let since = *self.soft_limit_since_us.get_or_insert(now_us);
        now_us.saturating_sub(since) > limit.soft_seconds * 1_000_000
    }

    /// Whether its requests may be executed now.
    pub(crate) fn may_run(&self) -> bool {
        self.blocked.is_none() && !self.closing && !self.closed
    }

    /// Whether its replies are dropped.
    pub(super) fn drops_replies(&self) -> bool {
        matches!(self.role, Role::Link(_)) || self.reply_mode.drops_reply()
    }
}
