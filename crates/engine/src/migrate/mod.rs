//! MIGRATE: moves keys to another server.
//!
//! ```text
//!   client    here                                         target
//!   ──────    ────                                         ──────
//!   MIGRATE ─▶ find the keys, hold who could change them
//!             connect, unless a connection is kept    ───▶
//!             [AUTH …] [SELECT db]                    ───▶
//!             ◀─── +OK [+OK]
//!             RESTORE a 0 payload   RESTORE b …       ───▶  as many as the outbox takes,
//!             ◀─── +OK   -BUSYKEY …                         the next when it empties
//!             delete a; propagate DEL a; resume
//!   ◀─ -ERR Target instance replied with error: BUSYKEY …
//! ```
//!
//! **A key is in exactly one of the two places, or the reply is an error.** Redis stops its whole process until the target
//! has answered, for seconds if it has to. Here the server goes on, and a dead target delays only those who want these keys. But
//! between a payload and its acknowledgement a key exists twice, and then we delete ours. If somebody changed it meanwhile,
//! the change would be lost, although it was acknowledged. Three rules prevent it:
//!
//! 1. *Nobody sees or changes the keys meanwhile.* A command waits for the end of the migration, and then finds the keys
//!    as that left them, if it names one of them, in whatever database; if it is about all keys (FLUSHALL, SCAN); or if
//!    it may change the node's role or reload its data (any with the flag `admin`). So do every EXEC, whose commands would
//!    have to be looked at one by one, a second MIGRATE, and the stream of a master, which a writable replica applies.
//!    During a MIGRATE within an EXEC all others are held anyway. To detect a change, and then not to delete, would be
//!    no alternative: the target would keep an old value, under a name that others may use already.
//! 2. *Whatever changes them in spite of that makes the migration void*: a full synchronization that replaces all data,
//!    the loss of the role of a master, or the beginning of a cluster's manual failover, by which a replica takes over with
//!    what it has. Then nothing is deleted, and the reply is an error.
//! 3. *Only `+OK` acknowledges.* A target that closes, is silent for `timeout`, or sends anything else leaves the rest
//!    of the keys here, with an error. What it acknowledged before that is deleted all the same.
//!
//! Only time changes a key meanwhile. One that expires, or a field of it, is removed here as ever, and its copy there expires as
//! well. A key that was acknowledged is deleted whether it has expired or not.
//!
//! The replies to AUTH and SELECT are awaited before the first payload, unlike in Redis, which sends everything at once: a
//! target that refuses the password or the database would store the keys where nobody looks for them. It costs a
//! round trip with a password, and for the first keys on a connection.
//!
//! The payloads are made when the outbox has room, so that they take [`AHEAD_BYTES`] and a single value's payload at
//! most, however many keys there are. The data cannot change in between, by the first rule.
//!
//! A migration outlives its client: once payloads are sent, their acknowledgements have to be acted on.

mod sockets;
mod transfer;

use russet_protocol::reply::push_command;
use russet_protocol::{ErrorReply, ParsedReply};

use crate::clients::{Clients, LinkOwner};
use crate::core::{Answer, Core, Migrated, Order};
use crate::ids::Handle;
use crate::io::{Endpoints, Level};
use crate::keyspace::Keyspace;
use crate::mode::Mode;
use crate::persist::dump::dump;
use crate::timers::Timer;
use sockets::{LIMITS, Sockets};
pub(crate) use transfer::Transfer;
use transfer::{Awaited, Running};

/// Bytes of payloads that may wait to be written when another is made.
const AHEAD_BYTES: usize = 256 * 1024;

/// What the part acts on.
pub(crate) struct World<'a> {
    /// The shared state.
    pub core: &'a mut Core,
    /// The connections.
    pub clients: &'a mut Clients,
    /// The keys.
    pub data: &'a Keyspace,
}

/// Why a migration fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// There is no connection.
    Unreachable,
    /// The target has closed it.
    Closed,
    /// Nothing was read or written for the timeout.
    Silent,
    /// A reply that is neither OK nor an error.
    Malformed,
}

/// The part.
#[derive(Debug, Default)]
pub struct Migrate {
    running: Option<Box<Running>>,
    sockets: Sockets,
    /// Whether the next turn has work: bytes were read or written.
    has_news: bool,
    /// Whether some of them were those of the migration.
    has_progress: bool,
}

impl Migrate {
    /// Returns the number of connections that are kept, including one that is used.
    pub fn sockets_len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether the next turn has work.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.has_news
    }

    /// Whether a migration is running.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether a key with this hash is being moved.
    pub(crate) fn moves(&self, hash: u64) -> bool {
        self.running.as_ref().is_some_and(|running| running.hashes.contains(&hash))
    }

    /// Notes that a link has received bytes.
    pub(crate) fn bytes_arrived(&mut self, link: Handle) {
        self.has_news = true;
        self.has_progress |= self.is_current(link);
    }

    /// Starts to move keys of a database, which exist, for a client. The result is an [`Order::Migrated`].
    pub(crate) fn begin(
        &mut self,
        world: &mut World<'_>,
        (client, db): (Handle, u32),
        transfer: Transfer,
        keys: Vec<Box<[u8]>>,
    ) {
        let (is_replica, hasher) = (world.core.is_replica, world.data.hasher());
        let mut running = Running::new((client, db), transfer, keys, is_replica);
        running.hash_keys(|key| hasher.hash(key));
        self.running = Some(Box::new(running));
        self.connect(world);
    }

    /// Takes the connection that is kept for this target, or opens one.
    fn connect(&mut self, world: &mut World<'_>) {
        let World { core, clients, .. } = &mut *world;
        let Some(running) = &mut self.running else { return };
        running.progressed(core.now.mono_us);
        let (host, port) = (&running.transfer.host, &running.transfer.port);
        if let Some(socket) = self.sockets.find(host, port) {
            running.link = Some(socket.link);
            return self.greet(world);
        }
        let Some(number) = running.transfer.port_number() else {
            return self.end(world, Some(Failure::Unreachable));
        };
        if let Some(link) = self.sockets.make_room() {
            clients.drop_without_flush(core, link);
        }
        let link = clients.connect(core, LinkOwner::Migrate, host, number);
        self.sockets.add(link, host, port, core.now.mono_us);
        running.link = Some(link);
        self.set_timer(world.core);
    }

    /// Handles the result of connecting. Returns false if the connection is not wanted any more.
    pub(crate) fn connected(
        &mut self,
        world: &mut World<'_>,
        link: Handle,
        result: Result<Endpoints, String>,
    ) -> bool {
        if !self.is_current(link) {
            return false;
        }
        match result {
            Ok(ends) => {
                if let Some(client) = world.clients.get_mut(link) {
                    client.ends = ends;
                }
                self.progressed(world.core);
                self.greet(world);
            }
            Err(_) => self.fail(world, Failure::Unreachable),
        }
        true
    }

    /// Sends what has to be accepted before payloads.
    fn greet(&mut self, world: &mut World<'_>) {
        let Some(running) = &mut self.running else { return };
        let Some(link) = running.link else { return };
        let (mut bytes, transfer) = (Vec::new(), &running.transfer);
        if let Some(words) = transfer.auth_command() {
            push_command(&mut bytes, &words);
            running.awaited.push_back(Awaited::Auth);
        }
        if self.sockets.get(link).is_none_or(|socket| socket.db != Some(transfer.db)) {
            push_command(&mut bytes, &[&b"SELECT"[..], transfer.db.to_string().as_bytes()]);
            running.awaited.push_back(Awaited::Select);
        }
        running.greetings = Some(running.awaited.len());
        world.clients.send(world.core, link, &bytes);
        self.proceed(world);
    }

    /// Sends more payloads, and ends the migration if all are answered.
    fn proceed(&mut self, world: &mut World<'_>) {
        self.fill(world);
        if self.running.as_ref().is_some_and(|running| running.is_complete()) {
            self.end(world, None);
        } else {
            self.set_timer(world.core);
        }
    }

    /// Sends payloads while the outbox has room.
    fn fill(&mut self, world: &mut World<'_>) {
        let World { core, clients, data } = world;
        let Some(running) = &mut self.running else { return };
        let Some(link) = running.link.filter(|_| running.greetings == Some(0)) else { return };
        let has_room = |clients: &mut Clients| {
            clients.outbox(link).is_some_and(|outbox| outbox.len() < AHEAD_BYTES)
        };
        let is_cluster = core.boot.mode == Mode::Cluster;
        let command: &[u8] = if is_cluster { b"RESTORE-ASKING" } else { b"RESTORE" };
        while has_room(clients)
            && let Some(index) = running.take_next()
        {
            let (key, replaces) = (running.key(index), running.transfer.replaces);
            let Some((ttl_ms, payload)) = value_of(core, data, (running.db, key)) else { continue };
            let head = transfer::restore_head((command, key, ttl_ms), payload.len(), replaces);
            clients.send(core, link, &head);
            let payload = core.shared.share(payload);
            clients.push_shared(core, link, payload);
            clients.send(core, link, transfer::restore_tail(replaces));
            running.awaited.push_back(Awaited::Restore(index));
            if core.injected_in_cluster(russet_cluster::Bug::LostInMigrate) {
                running.acknowledged.push(index);
            }
        }
    }

    /// Notes that bytes of a link were written, and whether that was all. What is written whole in the round that made it
    /// is no news: it was made at this time, and there is no more to send.
    pub(crate) fn written(&mut self, link: Handle, is_all: bool) {
        let Some(running) = self.running.as_mut().filter(|it| it.link == Some(link)) else {
            return;
        };
        running.is_behind |= !is_all;
        if running.is_behind || running.has_more() {
            (self.has_news, self.has_progress) = (true, true);
        }
    }

    /// Handles bytes that were read or written, at the beginning of a turn.
    pub(crate) fn take_news(&mut self, world: &mut World<'_>) {
        self.has_news = false;
        if std::mem::take(&mut self.has_progress) {
            self.progressed(world.core);
        }
        if let Some(link) = self.running.as_ref().and_then(|running| running.link) {
            match self.take_replies(world, link) {
                Ok(()) => self.proceed(world),
                Err(failure) => self.fail(world, failure),
            }
        }
        // Nobody asked for anything on the others: they do not do what we take them for.
        for link in self.sockets.links() {
            let has_bytes = world.clients.get(link).is_some_and(|it| it.wire.pending() > 0);
            if has_bytes && !self.is_current(link) {
                self.sockets.remove(link);
                world.clients.drop_without_flush(world.core, link);
            }
        }
    }

    /// Takes the whole replies that a link has received.
    fn take_replies(&mut self, world: &mut World<'_>, link: Handle) -> Result<(), Failure> {
        let World { core, clients, .. } = world;
        let (Some(running), Some(socket)) = (&mut self.running, self.sockets.get_mut(link)) else {
            return Ok(());
        };
        let Some(client) = clients.get_mut(link) else { return Ok(()) };
        let bytes = client.wire.pending_bytes();
        let mut at = 0;
        let result = loop {
            if running.is_complete() {
                break Ok(());
            }
            match socket.parser.parse(&bytes[at..], &LIMITS) {
                ParsedReply::Incomplete => break Ok(()),
                ParsedReply::Malformed(error) => break Err(error.to_string()),
                ParsedReply::Reply { len } => {
                    let reply = socket.parser.reply(&bytes[at..]);
                    let is_expected = reply.is_some_and(|reply| running.answered(reply));
                    (at, _) = (at + len, socket.parser.reset());
                    if !is_expected {
                        break Err("a reply that is neither OK nor an error".to_owned());
                    }
                }
            }
        };
        client.wire.consume(at);
        result.map_err(|why| {
            let text = format!("MIGRATE: protocol error of {}: {why}", running.transfer.target());
            core.log(Level::Warning, text);
            Failure::Malformed
        })
    }

    /// Handles the end of a link. Replies that arrived before it count.
    pub(crate) fn link_closed(&mut self, world: &mut World<'_>, link: Handle) {
        if self.is_current(link) {
            let taken = self.take_replies(world, link);
            if taken.is_ok() && self.running.as_ref().is_some_and(|running| running.is_complete()) {
                self.end(world, None);
            } else {
                self.fail(world, taken.err().unwrap_or(Failure::Closed));
            }
        }
        self.sockets.remove(link);
    }

    /// Notes that the keys that were sent may not be those that are here when the migration ends, or that a replica that
    /// takes over would not learn of their deletion.
    pub(crate) fn make_void(&mut self) {
        if let Some(running) = &mut self.running {
            running.is_void = true;
        }
    }

    /// Gives up a target that is silent, and connections that nobody used for long.
    pub(crate) fn tick(&mut self, world: &mut World<'_>) {
        let now_us = world.core.now.mono_us;
        if self.running.as_ref().is_some_and(|running| running.deadline_us <= now_us) {
            let link = self.running.as_ref().and_then(|running| running.link);
            let is_open = link.and_then(|link| self.sockets.get(link)).is_some_and(|it| it.is_open);
            self.fail(world, if is_open { Failure::Silent } else { Failure::Unreachable });
        }
        let used = self.running.as_ref().and_then(|running| running.link);
        for link in self.sockets.take_idle(now_us, used) {
            world.clients.drop_without_flush(world.core, link);
        }
        self.set_timer(world.core);
    }

    /// Gives up the connection, and with it the migration, unless it may begin again on another.
    fn fail(&mut self, world: &mut World<'_>, failure: Failure) {
        let Some(running) = &mut self.running else { return };
        let Some(link) = running.link.take() else { return };
        let unwritten = world.clients.outbox(link).is_some_and(|outbox| !outbox.is_empty());
        running.is_writing = unwritten;
        self.sockets.remove(link);
        world.clients.drop_without_flush(world.core, link);
        // A connection that is kept is often closed by the target just now, before it read anything.
        if failure == Failure::Closed && running.begin_again() {
            self.connect(world);
        } else {
            self.end(world, Some(failure));
        }
    }

    /// Ends the migration.
    fn end(&mut self, world: &mut World<'_>, failure: Option<Failure>) {
        let Some(mut running) = self.running.take() else { return };
        let core = &mut *world.core;
        if let Some(socket) = running.link.and_then(|link| self.sockets.get_mut(link)) {
            // After an error nobody knows which database is selected.
            socket.db = running.error.is_none().then_some(running.transfer.db);
            socket.used_us = core.now.mono_us;
            // More than was asked for.
            self.has_news |= world.clients.get(socket.link).is_some_and(|it| it.wire.pending() > 0);
        }
        let keys = running.take_acknowledged(core.is_replica);
        let error = running.error.take().or(failure.map(|failure| match failure {
            Failure::Unreachable => UNREACHABLE,
            _ if running.is_writing => UNWRITTEN,
            _ => UNREAD,
        }));
        let answer = Answer::from(error.map_or(Ok(()), Err));
        let (client, db) = (running.client, running.db);
        core.order(Order::Migrated(Migrated { client, db, keys, answer }));
        self.set_timer(core);
    }

    fn is_current(&self, link: Handle) -> bool {
        self.running.as_ref().is_some_and(|running| running.link == Some(link))
    }

    fn progressed(&mut self, core: &Core) {
        if let Some(running) = &mut self.running {
            if let Some(socket) = running.link.and_then(|link| self.sockets.get_mut(link)) {
                socket.is_open = true;
            }
            running.progressed(core.now.mono_us);
        }
    }

    fn set_timer(&self, core: &mut Core) {
        let running = self.running.as_ref().map(|running| running.deadline_us);
        let used = self.running.as_ref().and_then(|running| running.link);
        match running.into_iter().chain(self.sockets.next_idle(used)).min() {
            Some(due) => core.timers.set(Timer::Migrate, due),
            None => core.timers.stop(Timer::Migrate),
        }
    }
}

/// Returns the remaining TTL in milliseconds (0: none) and the payload of a key that exists and is not expired.
fn value_of(core: &Core, data: &Keyspace, (db, key): (u32, &[u8])) -> Option<(i64, Vec<u8>)> {
    let entry = data.db(db).get(data.hasher().key(key))?;
    // Within an EXEC the time of the keyspace stands still, but not that of the target.
    let left_ms = |at: i64| at.saturating_sub(core.now.wall_ms());
    let ttl_ms = match entry.expiry().map(left_ms) {
        None => 0,
        Some(..0) => return None,
        Some(left_ms) => left_ms.max(1),
    };
    Some((ttl_ms, dump(&entry, core.config.rdbcompression)))
}

const UNREACHABLE: ErrorReply =
    ErrorReply::fixed("IOERR error or timeout connecting to the client");
const UNWRITTEN: ErrorReply =
    ErrorReply::fixed("IOERR error or timeout writing to target instance");
const UNREAD: ErrorReply = ErrorReply::fixed("IOERR error or timeout reading to target instance");
