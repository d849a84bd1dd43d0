//! Connections without their sockets: accepting, query buffers and outboxes, blocking, and closing.
//!
//! This part decides how far a connection is read: unserved bytes are limited in every state, so
//! that no peer can fill the memory. All output goes through [`Clients::send`],
//! [`Clients::push_shared`] and the replies, which check the limits of the client's class. It does
//! not interpret bytes: `serve.rs` parses requests, and the owner of a link reads its bytes.

pub mod client;
mod describe;
pub(crate) mod durable;
mod holds;
mod large;
mod limits;
pub mod outbox;
pub mod subscriptions;
pub mod wire;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use russet_ds::SharedBytes;
use russet_protocol::{ErrorReply, ReplyWriter};

use crate::core::{Answer, Core, Order};
use crate::ids::{Handle, RequestId};
use crate::io::{Endpoints, Garbage, Level, Output};
use crate::shared::Shared;
use crate::timers::Timer;
pub use client::{Awaited, AwaitedOnDisk, Blocked, Client, LinkOwner, ReplyMode, Role, Waiting};
pub(crate) use durable::{Durable, Shows};
pub(crate) use large::Large;
pub use outbox::{Gate, Outbox};
pub use wire::Wire;

/// Minimum of half the limit for a master's bytes: the default limit of clients. Smaller in tests.
const LINK_BYTES_LEAST: usize = if cfg!(test) { 1 << 20 } else { 1 << 30 };

/// Read limit of a client that is paused or blocked.
const HELD_BYTES_MAX: usize = 4 << 20;

/// Read limit of a client with pending requests. Beyond it, TCP flow control slows down the peer,
/// so that an endless pipeline does not fill our memory. Reading resumes when an eighth is left.
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// Maximum number of spare buffers.
const POOL_MAX: usize = 256;

/// Spare memory of the output of a connection of the cluster bus: a large cluster has thousands of them.
const BUS_SPARE_MAX: usize = 16 * 1024;

/// Output up to this size is not checked against limits.
const OUTPUT_UNCHECKED: usize = 16 * 1024;

/// The result of receiving bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The connection is in the queue of ready clients, or closed.
    Queued,
    /// Its owner looks at the bytes in the next turn.
    ForOwner(LinkOwner),
    /// A link has more unserved bytes than allowed.
    LinkTooLong(LinkOwner),
}

/// All connections, by handle.
#[derive(Debug, Default)]
pub struct Clients {
    places: Vec<Place>,
    free: Vec<u32>,
    count: usize,
    last_id: u64,
    next_place: usize,
    /// Connections with pending requests, in the order of serving.
    ready: VecDeque<Handle>,
    /// Connections with new output, each once.
    dirty: Vec<Handle>,
    /// Timeouts of blocked clients.
    deadlines: BTreeSet<(u64, Handle)>,
    /// Connections that wait for the answer to a request, with some of what they are sent.
    held: Vec<(RequestId, Handle)>,
    /// What waits for the append-only file.
    pub(crate) durable: Durable,
    /// Spare query buffers.
    pool: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    client: Option<Box<Client>>,
}

/// The table.
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

    /// Returns the memory of values in outboxes that nobody else owns any more, since their keys were
    /// deleted or overwritten; each once.
    pub fn lent_bytes(&self) -> usize {
        let mut lent: Vec<&SharedBytes> = self.iter().flat_map(|c| c.wire.outbox.lent()).collect();
        lent.sort_unstable_by_key(|bytes| bytes.as_ptr());
        lent.chunk_by(|a, b| std::ptr::eq(a.as_ptr(), b.as_ptr()))
            .filter(|same| same[0].owners() == same.len())
            .map(|same| same[0].allocated_bytes())
            .sum()
    }

    /// Removes a connection that all parts have removed; its handle is not reused.
    pub(crate) fn remove(&mut self, core: &mut Core, handle: Handle) {
        if self.get(handle).is_none() {
            return;
        }
        self.unblock(core, handle);
        let place = &mut self.places[handle.index as usize];
        let Some(client) = place.client.take() else { return };
        self.count -= 1;
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(handle.index);
        }
        core.free_sized(client.memory_bytes(), client);
    }

    /// Returns a connection if it exists.
    #[inline]
    pub fn get(&self, handle: Handle) -> Option<&Client> {
        let place = self.places.get(handle.index as usize)?;
        place.client.as_deref().filter(|_| place.generation == handle.generation)
    }

    /// Returns a connection mutably if it exists.
    #[inline]
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut Client> {
        let place = self.places.get_mut(handle.index as usize)?;
        place.client.as_deref_mut().filter(|_| place.generation == handle.generation)
    }

    /// Returns the connection with this CLIENT ID.
    pub fn by_id(&self, id: u64) -> Option<&Client> {
        self.iter().find(|client| client.id == id)
    }

    /// Iterates over all connections.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.places.iter().filter_map(|place| place.client.as_deref())
    }

    /// Iterates over all connections mutably.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.places.iter_mut().filter_map(|place| place.client.as_deref_mut())
    }

    /// Returns all handles.
    pub fn handles(&self) -> Vec<Handle> {
        self.iter().map(|client| client.handle).collect()
    }

    /// Returns the number of connections, including replicas and links.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Accepting and reading.
impl Clients {
    /// Accepts a connection, or returns the error to send before it is closed.
    pub fn accept(&mut self, core: &mut Core, ends: Endpoints) -> Result<Handle, Vec<u8>> {
        core.stats.connections_received += 1;
        if let Err(refusal) = self.may_accept(core, &ends) {
            core.stats.connections_rejected += 1;
            return Err(refusal);
        }
        let client = self.add(ends, core.now.mono_us);
        client.authenticated = core.config.requirepass.is_empty();
        Ok(client.handle)
    }

    fn may_accept(&self, core: &Core, ends: &Endpoints) -> Result<(), Vec<u8>> {
        if self.len() >= core.config.maxclients as usize {
            return Err(b"-ERR max number of clients reached\r\n".to_vec());
        }
        let stranger = match ends {
            Endpoints::Tcp { peer, .. } => !peer.ip().to_canonical().is_loopback(),
            Endpoints::Unix(_) => false,
        };
        if stranger && core.config.protected_mode && core.config.requirepass.is_empty() {
            return Err(describe::PROTECTED_MODE.as_bytes().to_vec());
        }
        Ok(())
    }

    /// Opens a connection for `owner`, which handles
    /// [`Input::Connected`](crate::io::Input::Connected).
    pub fn connect(&mut self, core: &mut Core, owner: LinkOwner, host: &str, port: u16) -> Handle {
        let link = self.add_link(core, owner, Endpoints::Unix(String::new()));
        core.output(Output::Connect { link, host: host.to_owned(), port });
        link
    }

    /// Adds a connection of `owner`: one that a peer has opened.
    pub(crate) fn add_link(
        &mut self,
        core: &mut Core,
        owner: LinkOwner,
        ends: Endpoints,
    ) -> Handle {
        let client = self.add(ends, core.now.mono_us);
        client.role = Role::Link(owner);
        client.authenticated = true;
        client.handle
    }

    /// Returns the buffer to read into; none if the connection must not be read now. `held`:
    /// whether all clients are held.
    #[inline]
    pub fn read_buffer(
        &mut self,
        handle: Handle,
        held: bool,
        ahead_max: Option<usize>,
    ) -> Option<&mut Vec<u8>> {
        let client = self.get(handle)?;
        let held = held || client.blocked.is_some();
        if client.closing || client.closed || (held && client.wire.pending() >= HELD_BYTES_MAX) {
            return None;
        }
        let needs_buffer = client.wire.query.capacity() == 0;
        let spare = if needs_buffer { self.pool.pop() } else { None };
        let client = self.get_mut(handle)?;
        if client.wire.exceeds_read_ahead(client.is_ready, ahead_max.unwrap_or(READ_AHEAD_BYTES)) {
            return None;
        }
        if needs_buffer {
            client.wire.query = spare.unwrap_or_else(|| Vec::with_capacity(wire::READ_BYTES));
        }
        if client.role == Role::Client {
            client.wire.detach_large(ahead_max.unwrap_or(READ_AHEAD_BYTES));
        }
        client.wire.make_room();
        client.wire.begin_count();
        Some(client.wire.read_buffer())
    }

    /// Handles bytes appended to a connection's buffer.
    #[inline]
    pub fn received(&mut self, core: &mut Core, handle: Handle) -> Received {
        let Some(client) = self.get_mut(handle) else { return Received::Queued };
        let bytes = client.wire.count_new();
        client.bytes_in += bytes;
        core.stats.reads += 1;
        client.last_interaction_us = core.now.mono_us;
        let waiting = client.wire.limited_bytes() + client.transaction.queued_bytes;
        if client.is_migrate_link() {
            // Even while all clients are held, so these links are not in their queue.
            core.stats.bytes_in += bytes;
            return Received::ForOwner(LinkOwner::Migrate);
        }
        if let Role::Link(owner) = client.role {
            core.stats.repl_bytes_in += bytes;
            if waiting > link_bytes_max(core) {
                return Received::LinkTooLong(owner);
            }
        } else {
            core.stats.bytes_in += bytes;
            if waiting > query_bytes_max(core) {
                self.query_buffer_full(core, handle);
                return Received::Queued;
            }
        }
        if client.wire.has_all_of_large() {
            self.mark_ready(handle);
        }
        Received::Queued
    }

    /// Closes a client whose incomplete request exceeds the limit.
    pub(crate) fn query_buffer_full(&mut self, core: &mut Core, handle: Handle) {
        core.stats.query_buffer_limit_disconnections += 1;
        let now_us = core.now.mono_us;
        let who = self.get(handle).map(|client| client.describe(now_us, 0)).unwrap_or_default();
        let text = format!(
            "Closing client that reached max query buffer length: {who} (its limit is \
             'client-query-buffer-limit')"
        );
        core.log(Level::Warning, text);
        self.drop_without_flush(core, handle);
    }

    /// Adds a connection to the queue of ready clients.
    #[inline]
    pub(crate) fn mark_ready(&mut self, handle: Handle) {
        if let Some(client) = self.get_mut(handle)
            && !client.is_ready
        {
            client.is_ready = true;
            self.ready.push_back(handle);
        }
    }

    /// Adds a connection to the queue if it has pending bytes.
    pub(crate) fn mark_ready_if_pending(&mut self, handle: Handle) {
        if self.get(handle).is_some_and(|client| client.wire.pending() > 0) {
            self.mark_ready(handle);
        }
    }

    /// Adds a connection at the front of the queue.
    pub(crate) fn mark_ready_first(&mut self, handle: Handle) {
        if let Some(client) = self.get_mut(handle)
            && !client.is_ready
        {
            client.is_ready = true;
            self.ready.push_front(handle);
        }
    }

    /// Removes the next connection from the queue.
    pub(crate) fn take_ready(&mut self) -> Option<Handle> {
        let handle = self.ready.pop_front()?;
        if let Some(client) = self.get_mut(handle) {
            client.is_ready = false;
        }
        Some(handle)
    }

    /// Returns the connections in the queue that this part owns.
    pub(crate) fn ready_links(&self, owner: LinkOwner) -> Vec<Handle> {
        let is_owned = |handle: &&Handle| {
            self.get(**handle).is_some_and(|client| client.role == Role::Link(owner))
        };
        self.ready.iter().filter(is_owned).copied().collect()
    }

    /// Returns the length of the queue.
    #[inline]
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Returns an empty buffer to the pool.
    pub(crate) fn recycle(&mut self, core: &mut Core, buffer: Vec<u8>) {
        if buffer.capacity() == wire::READ_BYTES && self.pool.len() < POOL_MAX {
            self.pool.push(buffer);
        } else {
            core.free_sized(buffer.capacity(), buffer);
        }
    }
}

/// Returns the limit of a client's query buffer.
pub(crate) fn query_bytes_max(core: &Core) -> usize {
    usize::try_from(core.config.client_query_buffer_limit).unwrap_or(usize::MAX)
}

/// Returns the limit for the master: well above what a master accepts from its clients.
pub(crate) fn link_bytes_max(core: &Core) -> usize {
    query_bytes_max(core).max(LINK_BYTES_LEAST).saturating_mul(2)
}

/// Writing replies.
impl Clients {
    /// Moves the connections with new output since the last call, each once.
    pub fn take_dirty(&mut self, into: &mut Vec<Handle>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for handle in dirty.drain(..) {
            if let Some(client) = self.get_mut(handle) {
                client.is_dirty = false;
                client.wire.outbox.seal_waiting_tail();
                into.push(handle);
            }
        }
        self.dirty = dirty;
    }

    pub(crate) fn mark_dirty(&mut self, handle: Handle) {
        if let Some(client) = self.get_mut(handle)
            && !client.is_dirty
        {
            client.is_dirty = true;
            self.dirty.push(handle);
        }
    }

    /// Returns a connection's output, to be written and consumed.
    #[inline]
    pub fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox> {
        self.get_mut(handle).map(|client| &mut client.wire.outbox)
    }

    /// Handles bytes written from a connection's outbox. Returns its role if it stays open.
    #[inline]
    pub fn written(&mut self, core: &mut Core, handle: Handle, bytes: usize) -> Option<Role> {
        core.stats.writes += u64::from(bytes > 0);
        let now_us = core.now.mono_us;
        let Some(client) = self.get_mut(handle) else {
            core.stats.bytes_out += bytes as u64;
            return None;
        };
        match client.is_replica() {
            true => core.stats.repl_bytes_out += bytes as u64,
            false => core.stats.bytes_out += bytes as u64,
        }
        client.wire.outbox.consume(bytes);
        if let Some(spent) = client.wire.outbox.take_spent() {
            core.free(Garbage::new(0, spent));
        }
        if bytes > 0 {
            client.last_interaction_us = now_us;
        }
        let role = client.role;
        if role == Role::Link(LinkOwner::Bus) {
            client.wire.outbox.free_spare(BUS_SPARE_MAX);
        }
        if client.closing && client.wire.outbox.is_empty() && !client.transaction.running {
            self.close(core, handle);
            return None;
        }
        Some(role)
    }

    /// Appends bytes to a connection's output.
    pub fn send(&mut self, core: &mut Core, handle: Handle, bytes: &[u8]) {
        let Some(client) = self.get_mut(handle).filter(|client| !client.closed) else { return };
        client.wire.outbox.tail.extend_from_slice(bytes);
        self.output_appended(core, handle);
    }

    /// Appends shared bytes to a connection's output.
    pub fn push_shared(&mut self, core: &mut Core, handle: Handle, bytes: Arc<Shared>) {
        let Some(client) = self.get_mut(handle).filter(|client| !client.closed) else { return };
        client.wire.outbox.push_shared(bytes);
        self.output_appended(core, handle);
    }

    /// Marks a connection with new output as dirty and checks the limits of its class.
    #[inline]
    pub(crate) fn output_appended(&mut self, core: &mut Core, handle: Handle) {
        self.mark_dirty(handle);
        if self.get(handle).is_some_and(|client| client.wire.outbox.len() > OUTPUT_UNCHECKED) {
            self.enforce_output_limit(core, handle);
        }
    }

    /// Sends a push message, regardless of CLIENT REPLY. During a command or EXEC of the client it
    /// follows the reply.
    pub fn push(&mut self, core: &mut Core, handle: Handle, message: &Arc<Shared>) {
        let Some(client) = self.get_mut(handle) else { return };
        if client.role != Role::Client || client.closing || client.closed {
            return;
        }
        if client.is_running || client.transaction.running {
            client.held_bytes += message.len() + size_of::<Arc<Shared>>();
            client.held_messages.push(message.clone());
            if client.held_bytes > OUTPUT_UNCHECKED {
                self.enforce_output_limit(core, handle);
            }
            return;
        }
        self.hold_behind_changes(handle);
        if let Some(outbox) = self.outbox(handle) {
            outbox.push_message(message.clone());
        }
        self.output_appended(core, handle);
    }

    /// Sends the messages held during a command or EXEC.
    pub(crate) fn release_messages(&mut self, core: &mut Core, handle: Handle) {
        let Some(client) = self.get_mut(handle) else { return };
        if client.held_messages.is_empty() || client.is_running || client.transaction.running {
            return;
        }
        client.held_bytes = 0;
        let messages = std::mem::take(&mut client.held_messages);
        self.hold_behind_changes(handle);
        for message in messages {
            if let Some(outbox) = self.outbox(handle) {
                outbox.push_message(message);
            }
        }
        self.output_appended(core, handle);
    }

    /// Writes a deferred reply or a message unless replies are dropped. Replicas get none: they
    /// would take it for a part of the stream.
    pub fn reply(
        &mut self,
        core: &mut Core,
        handle: Handle,
        write: impl FnOnce(&mut ReplyWriter<'_>),
    ) {
        let Some(client) = self.get_mut(handle) else { return };
        if client.drops_replies() || client.is_replica() || client.closed {
            return;
        }
        let tail_max = client.tail_max(&core.config);
        let out = &mut client.wire.outbox.tail;
        let mut writer = ReplyWriter::new(out, client.protocol).with_max(tail_max);
        write(&mut writer);
        match writer.is_cut() {
            true => self.close_for_output(core, handle),
            false => self.output_appended(core, handle),
        }
    }

    /// Writes an error reply and counts it.
    pub fn reply_error(&mut self, core: &mut Core, handle: Handle, error: &ErrorReply) {
        core.stats.error(error);
        self.reply(core, handle, |reply| reply.error(error));
    }

    /// Writes the reply of a blocked client.
    pub(crate) fn answer(&mut self, core: &mut Core, handle: Handle, answer: &Answer) {
        self.hold_behind_changes(handle);
        match answer {
            Answer::Error(error) => self.reply_error(core, handle, error),
            other => self.reply(core, handle, |reply| other.write(reply)),
        }
    }

    /// Closes a connection whose output exceeds the limits of its class.
    pub(crate) fn enforce_output_limit(&mut self, core: &mut Core, handle: Handle) {
        let Some(client) = self.get_mut(handle) else { return };
        let (_, limit) = client.output_limit(&core.config);
        if !client.closed && client.is_over(&limit, core.now.mono_us) {
            self.close_for_output(core, handle);
        }
    }
}

/// Blocking.
impl Clients {
    /// Blocks a client.
    pub fn block(
        &mut self,
        core: &mut Core,
        handle: Handle,
        waiting: Waiting,
        deadline_us: Option<u64>,
    ) {
        let Some(client) = self.get_mut(handle) else { return };
        client.blocked = Some(Blocked { waiting, deadline_us });
        if let Some(deadline) = deadline_us {
            self.deadlines.insert((deadline, handle));
            self.set_blocked_timer(core);
        }
    }

    /// Unblocks a client and returns what it was blocked on.
    pub(crate) fn unblock(&mut self, core: &mut Core, handle: Handle) -> Option<Blocked> {
        let blocked = self.get_mut(handle)?.blocked.take()?;
        if let Some(deadline) = blocked.deadline_us {
            self.deadlines.remove(&(deadline, handle));
            self.set_blocked_timer(core);
        }
        Some(blocked)
    }

    /// Returns what a client is blocked on, if it is.
    pub fn waiting(&self, handle: Handle) -> Option<Waiting> {
        Some(self.get(handle)?.blocked.as_ref()?.waiting)
    }

    /// Returns the clients blocked on what `wanted` selects.
    pub fn waiting_for(&self, wanted: impl Fn(Waiting) -> bool) -> Vec<Handle> {
        let waits = |client: &&Client| client.blocked.is_some_and(|b| wanted(b.waiting));
        self.iter().filter(waits).map(|client| client.handle).collect()
    }

    /// Removes the next client whose timeout has passed.
    pub(crate) fn take_timed_out(&mut self, core: &mut Core) -> Option<Handle> {
        let &(due, handle) = self.deadlines.first()?;
        if due > core.now.mono_us {
            self.set_blocked_timer(core);
            return None;
        }
        self.deadlines.remove(&(due, handle));
        Some(handle)
    }

    /// Returns the number of blocked clients with a timeout.
    pub fn deadlines_len(&self) -> usize {
        self.deadlines.len()
    }

    fn set_blocked_timer(&self, core: &mut Core) {
        match self.deadlines.first() {
            Some(&(due, _)) => core.timers.set(Timer::Blocked, due),
            None => core.timers.stop(Timer::Blocked),
        }
    }
}

/// Closing.
impl Clients {
    /// Closes a connection after its outbox has been written.
    pub fn close_after_reply(&mut self, core: &mut Core, handle: Handle) {
        let Some(client) = self.get_mut(handle) else { return };
        client.closing = true;
        if client.transaction.running {
            // It is closed at the end of EXEC.
        } else if client.wire.outbox.is_empty() {
            self.close(core, handle);
        } else {
            self.mark_dirty(handle);
        }
    }

    /// Closes a connection now and discards its outbox, as CLIENT KILL in Redis. The parts remove
    /// it when the order is carried out.
    pub fn close(&mut self, core: &mut Core, handle: Handle) {
        let Some(client) = self.get_mut(handle) else { return };
        if !client.closed {
            client.closed = true;
            core.output(Output::Close(handle));
            core.order(Order::Remove(handle));
        }
    }

    /// Applies a change of `requirepass`: without a password all clients are authenticated.
    pub(crate) fn password_changed(&mut self, core: &Core) {
        if core.config.requirepass.is_empty() {
            self.iter_mut().for_each(|client| client.authenticated = true);
        }
    }

    /// Closes a connection that does not read its output.
    pub(crate) fn drop_without_flush(&mut self, core: &mut Core, handle: Handle) {
        if let Some(client) = self.get_mut(handle) {
            let outbox = client.wire.outbox.clear();
            core.free_sized(outbox.memory_bytes(), outbox);
            let messages = std::mem::take(&mut client.held_messages);
            core.free_sized(std::mem::take(&mut client.held_bytes), messages);
        }
        self.close(core, handle);
    }

    /// Checks a part of the connections, all of them about once a second: closes idle clients and
    /// those whose buffers exceed their limits.
    pub(crate) fn cron(&mut self, core: &mut Core, hz: u32) {
        let now_us = core.now.mono_us;
        let idle_us = u64::from(core.config.timeout) * 1_000_000;
        let share = self.places.len().div_ceil(hz as usize).max(64);
        if self.next_place >= self.places.len() {
            self.next_place = 0;
        }
        let from = self.next_place;
        self.next_place = from.saturating_add(share).min(self.places.len());
        for index in from..self.next_place {
            let Some(client) = self.places[index].client.as_deref() else { continue };
            let (handle, idle) = (client.handle, now_us.saturating_sub(client.last_interaction_us));
            if idle_us > 0
                && client.role == Role::Client
                && client.subscriptions.is_empty()
                && !client.is_monitor
                && client.blocked.is_none()
                && idle > idle_us
            {
                let text = format!("Closing idle client {} ('timeout')", client.peer());
                core.log(Level::Verbose, text);
                self.drop_without_flush(core, handle);
            } else {
                self.enforce_output_limit(core, handle);
            }
        }
    }
}
