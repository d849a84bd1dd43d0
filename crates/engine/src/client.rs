//! A connection's state, without its socket.

use std::collections::VecDeque;

use russet_protocol::{ArgRange, Limits, Protocol, RequestParser};

use crate::command::Command;
use crate::io::{AskId, Endpoints, Handle, JobId};
use crate::outbox::Outbox;

/// The half of a connection that moves bytes: it needs no node to be read, parsed or written.
#[derive(Debug, Default)]
pub struct Wire {
    /// Bytes that arrived; those before `start` are done with.
    pub(crate) query: Vec<u8>,
    pub(crate) start: usize,
    /// Length of `query` when bytes were last counted.
    pub(crate) counted: usize,
    /// So much has arrived that nothing is read until some of it is served.
    pub(crate) is_ahead: bool,
    pub(crate) parser: RequestParser,
    /// Bytes to leave.
    pub outbox: Outbox,
}

impl Wire {
    /// Bytes that arrived and are not done with; none while they are lent to the window that runs.
    pub fn pending(&self) -> usize {
        self.query.len().saturating_sub(self.start)
    }

    /// How many bytes were appended to the query buffer since it was lent out or last counted.
    #[inline]
    pub(crate) fn count_new(&mut self) -> u64 {
        let counted = std::mem::replace(&mut self.counted, self.query.len());
        self.query.len().saturating_sub(counted) as u64
    }

    /// Bytes that the query buffer can take before it grows.
    pub fn room(&self) -> usize {
        self.query.capacity() - self.query.len()
    }

    /// Forgets the first `len` pending bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.start += len;
        if self.start == self.query.len() {
            self.query.clear();
            self.start = 0;
        }
    }
}

/// Output that may wait for a client that has not authenticated, bytes: some hundred error replies.
const STRANGER_OUTPUT_MAX: u64 = 17 * 1024;

/// What a connection is to us.
#[derive(Debug)]
pub enum Role {
    /// A client; every connection begins so.
    Client,
    /// A replica of ours: it sent PSYNC.
    Replica(Box<crate::repl::master::ReplicaState>),
    /// Our link to our master.
    MasterLink,
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

    /// A request is over, and be it an empty one.
    pub fn request_over(&mut self) {
        self.skip = std::mem::take(&mut self.skip_next);
    }
}

/// What a client waits for.
#[derive(Debug)]
pub enum Waiting {
    /// WAIT: that so many replicas confirm this offset.
    Acks {
        /// Offset of the replication stream that the client's last write ended at.
        offset: i64,
        /// How many replicas.
        replicas: usize,
    },
    /// An answer of the world.
    Answer(AskId),
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
#[derive(Debug)]
pub struct Blocked {
    /// What for.
    pub waiting: Waiting,
    /// Monotonic microseconds at which it gives up.
    pub deadline_us: Option<u64>,
}

/// A command queued by MULTI, or taken off the wire to outlive its buffer.
#[derive(Debug)]
pub struct Queued {
    /// The row (of the subcommand, if one was named).
    pub command: &'static Command,
    /// The bytes of all arguments.
    pub bytes: Vec<u8>,
    /// Where each argument lies in them.
    pub ranges: Vec<ArgRange>,
}

impl Queued {
    /// Bytes of memory that it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Queued>() + self.bytes.capacity() + self.ranges.capacity() * size_of::<ArgRange>()
    }
}

/// A transaction: from MULTI to EXEC or DISCARD.
#[derive(Debug, Default)]
pub struct Transaction {
    /// MULTI was called.
    pub open: bool,
    /// A command was refused when it was to be queued: EXEC will abort.
    pub refused: bool,
    /// A watched key changed: EXEC will do nothing.
    pub broken: bool,
    /// The commands so far; those that EXEC has run are taken from the front.
    pub queue: VecDeque<Queued>,
    /// Bytes of memory that the queued commands took when the last was added.
    pub(crate) queued_bytes: usize,
    /// Bytes of memory that the watched keys take.
    pub(crate) watched_bytes: usize,
    /// Flags that some queued command has.
    pub flags: u64,
    /// Flags that some queued command lacks.
    pub flags_lacking: u64,
    /// Keys being watched: database and name.
    pub watched: Vec<(u32, Box<[u8]>)>,
    /// EXEC runs, or waits in its middle for an answer.
    pub running: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// As the shell knows it.
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
    /// MULTI and WATCH.
    pub transaction: Transaction,
    /// What it waits for, if it does.
    pub blocked: Option<Blocked>,
    /// The command that was asked for last, by its full name; `NULL` if there is no such command.
    pub last_command: &'static str,
    /// Monotonic microseconds at which it connected.
    pub connected_us: u64,
    /// Monotonic microseconds at which bytes last came or left.
    pub last_interaction_us: u64,
    /// Offset of the replication stream behind its last write; what WAIT waits for.
    pub last_write_offset: i64,
    /// What it announced with REPLCONF before it may become a replica.
    pub announced: crate::repl::master::Announced,
    /// No more requests are taken; it is closed when the outbox is written.
    pub closing: bool,
    /// Its connection is gone; it stays for the rest of the EXEC that it is in.
    pub(crate) gone: bool,
    /// Bytes read from it, all told.
    pub bytes_in: u64,
    /// It stands in the queue of those that have requests to serve.
    pub(crate) is_ready: bool,
    /// It stands in the list of those that have bytes to write.
    pub(crate) is_dirty: bool,
    /// Monotonic microseconds since which its outbox is over its class's soft limit.
    pub(crate) soft_limit_since_us: Option<u64>,
}

impl Client {
    pub(crate) fn new(handle: Handle, id: u64, ends: Endpoints, now_us: u64) -> Client {
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
            blocked: None,
            last_command: "NULL",
            connected_us: now_us,
            last_interaction_us: now_us,
            last_write_offset: 0,
            announced: Default::default(),
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
        matches!(self.role, Role::Replica(_))
    }

    /// Whether it is our link to our master.
    pub fn is_master_link(&self) -> bool {
        matches!(self.role, Role::MasterLink)
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        let transaction = self.transaction.queued_bytes + self.transaction.watched_bytes;
        let wire = self.wire.query.capacity() + self.wire.outbox.memory_bytes();
        size_of::<Client>() + wire + transaction
    }

    /// Whether its output is over its class's limits.
    pub(crate) fn outgrew(
        &mut self,
        limit: &crate::config::words::OutputLimit,
        now_us: u64,
    ) -> bool {
        let bytes = self.limited_output() as u64;
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
        self.blocked.is_none() && !self.closing
    }
}

/// All connections, by handle.
#[derive(Debug, Default)]
pub struct Clients {
    places: Vec<Place>,
    free: Vec<u32>,
    count: usize,
    last_id: u64,
    next_place: usize,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    client: Option<Box<Client>>,
}

impl Clients {
    /// Adds a connection.
    pub fn add(&mut self, ends: Endpoints, now_us: u64) -> &mut Client {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        self.last_id += 1;
        self.count += 1;
        let handle = Handle { index, generation: place.generation };
        place.client.insert(Box::new(Client::new(handle, self.last_id, ends, now_us)))
    }

    /// Removes a connection; its handle will not be used again.
    pub fn remove(&mut self, handle: Handle) -> Option<Box<Client>> {
        self.get(handle)?;
        let place = &mut self.places[handle.index as usize];
        let client = place.client.take()?;
        self.count -= 1;
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(handle.index);
        }
        Some(client)
    }

    /// A connection that still exists.
    #[inline]
    pub fn get(&self, handle: Handle) -> Option<&Client> {
        let place = self.places.get(handle.index as usize)?;
        place.client.as_deref().filter(|_| place.generation == handle.generation)
    }

    /// The same, for change.
    #[inline]
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut Client> {
        let place = self.places.get_mut(handle.index as usize)?;
        place.client.as_deref_mut().filter(|_| place.generation == handle.generation)
    }

    /// The one with this CLIENT ID.
    pub fn by_id(&self, id: u64) -> Option<&Client> {
        self.iter().find(|client| client.id == id)
    }

    /// All, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.places.iter().filter_map(|place| place.client.as_deref())
    }

    /// All, for change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.places.iter_mut().filter_map(|place| place.client.as_deref_mut())
    }

    /// How many places there are, taken or free.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// The connections in the next `count` places, going round.
    pub(crate) fn next_places(&mut self, count: usize) -> impl Iterator<Item = &mut Client> {
        if self.next_place >= self.places.len() {
            self.next_place = 0;
        }
        let from = self.next_place;
        let to = from.saturating_add(count).min(self.places.len());
        self.next_place = to;
        self.places[from..to].iter_mut().filter_map(|place| place.client.as_deref_mut())
    }

    /// All handles, to walk while changing.
    pub fn handles(&self) -> Vec<Handle> {
        self.iter().map(|client| client.handle).collect()
    }

    /// How many there are, replicas and the master's link included.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
