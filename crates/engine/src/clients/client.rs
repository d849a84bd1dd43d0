//! A connection's state, without its socket.

use std::sync::Arc;

use russet_protocol::{Limits, Protocol};

use super::subscriptions::Subscriptions;
use super::wire::Wire;
use crate::config::words::OutputLimit;
use crate::ids::{Handle, JobId, RequestId};
use crate::io::Endpoints;
use crate::transaction::Transaction;

/// Output that may wait for a client that has not authenticated, bytes: some hundred error replies.
const STRANGER_OUTPUT_MAX: u64 = 17 * 1024;

/// What a connection is to us; what it is in detail, the part knows that owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A client; every connection that comes in begins so.
    Client,
    /// A replica of ours: it sent PSYNC.
    Replica,
    /// A connection that we opened.
    Link(LinkOwner),
}

/// Who owns a connection that we opened: it gets the answer to the attempt, the bytes and the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOwner {
    /// [`Following`](crate::repl::following::Following): the link to our master.
    Master,
}

/// Which replies a client does not want (CLIENT REPLY); all of them can be at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyMode {
    /// None is wanted.
    pub off: bool,
    /// That of the request that runs is not.
    pub skip: bool,
    /// That of the next request is not: CLIENT REPLY SKIP has just run.
    pub skip_next: bool,
}

impl ReplyMode {
    /// Whether the reply of the request that runs is dropped.
    pub fn mutes(self) -> bool {
        self.off || self.skip
    }

    /// A request has ended, even if it was an empty one.
    pub fn request_ended(&mut self) {
        self.skip = std::mem::take(&mut self.skip_next);
    }
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// WAIT: that so many replicas confirm this offset.
    Acks {
        /// Offset of the replication stream that the client's last write ended at.
        offset: i64,
        /// How many replicas.
        replicas: usize,
    },
    /// An answer of the world.
    Answer(RequestId),
    /// SAVE: the end of this snapshot.
    Snapshot(JobId),
    /// SHUTDOWN: what is left to be done before the process may end.
    Shutdown,
    /// CLIENT PAUSE holds its next command back; the command stands unread in the query buffer.
    Pause,
    /// DEBUG SLEEP and DEBUG RELOAD: the node serves nobody until it is over.
    Node,
}

/// A client that waits.
#[derive(Clone, Copy, Debug)]
pub struct Blocked {
    /// What for.
    pub waiting: Waiting,
    /// Monotonic microseconds at which it gives up.
    pub deadline_us: Option<u64>,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// As the driver knows it.
    pub handle: Handle,
    /// As users know it: CLIENT ID.
    pub id: u64,
    /// Bytes in and out.
    pub wire: Wire,
    /// Both ends.
    pub ends: Endpoints,
    /// What it is to us.
    pub role: Role,
    /// Version of the protocol.
    pub protocol: Protocol,
    /// Selected database.
    pub db: u32,
    /// Whether it may run commands.
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
    /// MULTI.
    pub transaction: Transaction,
    /// WATCH: database and name of each key.
    pub watched: Vec<(u32, Box<[u8]>)>,
    /// Bytes of memory that the watched keys take.
    pub(crate) watched_bytes: usize,
    /// How many channels and patterns it is subscribed to.
    pub subscriptions: Subscriptions,
    /// Messages that it has been sent while a command of it ran: they follow the reply.
    pub(super) held_messages: Vec<Arc<Vec<u8>>>,
    /// A command of it runs.
    pub(crate) is_running: bool,
    /// What it waits for, if it does.
    pub blocked: Option<Blocked>,
    /// The command that was requested last, by its full name; `NULL` if there is no such command.
    pub last_command: &'static str,
    /// Monotonic microseconds at which it connected.
    pub connected_us: u64,
    /// Monotonic microseconds at which bytes last came or left.
    pub last_interaction_us: u64,
    /// Offset of the replication stream behind its last write; what WAIT waits for.
    pub last_write_offset: i64,
    /// No more requests are taken; it is closed when the outbox is written.
    pub closing: bool,
    /// Its connection is gone; the parts are about to forget it, or it stays for the rest of the EXEC that it is in.
    pub gone: bool,
    /// Bytes read from it, all told.
    pub bytes_in: u64,
    /// It stands in the queue of those that have requests to serve.
    pub(super) is_ready: bool,
    /// It stands in the list of those that have bytes to write.
    pub(super) is_dirty: bool,
    /// Monotonic microseconds since which its outbox is over its class's soft limit.
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
            transaction: Transaction::default(),
            watched: Vec::new(),
            watched_bytes: 0,
            subscriptions: Subscriptions::default(),
            held_messages: Vec::new(),
            is_running: false,
            blocked: None,
            last_command: "NULL",
            connected_us: now_us,
            last_interaction_us: now_us,
            last_write_offset: 0,
            closing: false,
            gone: false,
            bytes_in: 0,
            is_ready: false,
            is_dirty: false,
            soft_limit_since_us: None,
        }
    }

    /// What it may claim in a request.
    pub(crate) fn limits(&self, bulk_len_max: u64) -> Limits {
        if self.authenticated {
            Limits::open(bulk_len_max)
        } else {
            Limits::unauthenticated(bulk_len_max)
        }
    }

    /// Whether it is a replica of ours.
    pub fn is_replica(&self) -> bool {
        self.role == Role::Replica
    }

    /// Whether it is our link to our master.
    pub fn is_master_link(&self) -> bool {
        self.role == Role::Link(LinkOwner::Master)
    }

    /// Address under which it is known without having announced another: that of its far end.
    pub fn far_end(&self) -> String {
        match &self.ends {
            Endpoints::Tcp { peer, .. } => peer.ip().to_canonical().to_string(),
            Endpoints::Unix(path) => path.clone(),
        }
    }

    /// Whether it is connected from this machine.
    pub fn is_local(&self) -> bool {
        match &self.ends {
            Endpoints::Tcp { peer, .. } => peer.ip().to_canonical().is_loopback(),
            Endpoints::Unix(_) => true,
        }
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        let transaction = self.transaction.queued_bytes + self.watched_bytes;
        let wire = self.wire.query.capacity() + self.wire.outbox.memory_bytes();
        size_of::<Client>() + wire + transaction + self.subscriptions.memory_bytes()
    }

    /// Whether its output is over its class's limits.
    pub(super) fn is_over(&mut self, limit: &OutputLimit, now_us: u64) -> bool {
        let bytes = self.wire.outbox.limited_len() as u64;
        if !self.authenticated && bytes > STRANGER_OUTPUT_MAX {
            return true;
        }
        if limit.hard_bytes > 0 && bytes > limit.hard_bytes {
            return true;
        }
        if limit.soft_bytes == 0 || bytes <= limit.soft_bytes {
            self.soft_limit_since_us = None;
            return false;
        }
        let since = *self.soft_limit_since_us.get_or_insert(now_us);
        now_us.saturating_sub(since) > limit.soft_seconds * 1_000_000
    }

    /// Whether requests of it may be executed now.
    pub(crate) fn may_run(&self) -> bool {
        self.blocked.is_none() && !self.closing && !self.gone
    }

    /// Whether replies to it are dropped.
    pub(super) fn is_mute(&self) -> bool {
        matches!(self.role, Role::Link(_)) || self.reply_mode.mutes()
    }
}
