//! Connections as the driver sees them: they come in, bytes are put into their query buffers and taken from their
//! outboxes, they go.
//!
//! How far a connection is read is decided here: each wait has a limit, so that nobody's bytes fill the memory.
//! What the bytes say is for `serve.rs`; sockets are the driver's.

use crate::client::{Blocked, Role, Waiting};
use crate::io::{Endpoints, Garbage, Handle, Now, Output};
use crate::node::Node;
use crate::outbox::Outbox;
use crate::timers::Timer;

/// Bytes that are read at once at most, and the size of a query buffer to begin with.
const READ_BYTES: usize = 16 * 1024;

/// Freeing an outbox takes long from this size on.
const LARGE_OUTBOX_BYTES: usize = 1 << 20;

/// Half of what a master may let wait here at least: as much as clients may by default. Tests have less memory.
const LINK_BYTES_LEAST: usize = if cfg!(test) { 1 << 20 } else { 1 << 30 };

/// A client that cannot be served for now, for a pause or because it waits, is read no further than this.
const HELD_BYTES_MAX: usize = 4 << 20;

/// A client with requests that wait for their turn is read no further than this, so that the kernel can tell its peer
/// to slow down: a pipeline without end fills no memory of ours. It is read again when an eighth is left.
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// How many spare buffers are kept.
const POOL_MAX: usize = 256;

impl Node {
    /// A connection came in. Refused: what to tell it before it is closed.
    pub fn accept(&mut self, now: Now, ends: Endpoints) -> Result<Handle, Vec<u8>> {
        self.advance(now);
        self.stats.connections_received += 1;
        if let Err(refusal) = self.may_accept(&ends) {
            self.stats.connections_rejected += 1;
            return Err(refusal);
        }
        let open = self.config.requirepass.is_empty();
        let client = self.clients.add(ends, now.mono_us);
        client.authenticated = open;
        let handle = client.handle;
        self.timers.set_if_idle(Timer::Cron, now.mono_us + 100_000);
        Ok(handle)
    }

    fn may_accept(&self, ends: &Endpoints) -> Result<(), Vec<u8>> {
        if self.clients.len() >= self.config.maxclients as usize {
            return Err(b"-ERR max number of clients reached\r\n".to_vec());
        }
        let stranger = match ends {
            Endpoints::Tcp { peer, .. } => !peer.ip().to_canonical().is_loopback(),
            Endpoints::Unix(_) => false,
        };
        if stranger && self.config.protected_mode && self.config.requirepass.is_empty() {
            return Err(PROTECTED_MODE.as_bytes().to_vec());
        }
        Ok(())
    }

    /// Where to put bytes that arrive for a connection: append to it, then call [`Node::received`].
    ///
    /// Spare capacity is reserved. None if nothing must be read for it now.
    #[inline]
    pub fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>> {
        let stands_still = self.standstill.is_some();
        let client = self.clients.get_mut(handle)?;
        let held = stands_still || client.blocked.is_some();
        if client.closing || (held && client.wire.pending() >= HELD_BYTES_MAX) {
            return None;
        }
        let wire = &mut client.wire;
        // Whoever is not in the queue has at most the beginning of a request, and the rest must come.
        let most = self.boot.read_ahead_bytes.unwrap_or(READ_AHEAD_BYTES);
        let ahead_max = if wire.is_ahead { most / 8 } else { most };
        wire.is_ahead = client.is_ready && wire.pending() >= ahead_max;
        if wire.is_ahead {
            return None;
        }
        if wire.query.capacity() == 0 {
            wire.query = self.pool.pop().unwrap_or_else(|| Vec::with_capacity(READ_BYTES));
        }
        if wire.start > 0 && wire.query.capacity() - wire.query.len() < READ_BYTES {
            wire.query.drain(..wire.start);
            wire.start = 0;
        }
        // A long body that is under way is read in larger pieces, but never by its claim alone.
        let awaited = wire.parser.awaited_len().unwrap_or(0).saturating_sub(wire.query.len());
        let room = awaited.clamp(READ_BYTES, READ_BYTES.max(wire.query.len()).min(1 << 20));
        if wire.query.capacity() - wire.query.len() < READ_BYTES {
            wire.query.reserve(room);
        }
        wire.counted = wire.query.len();
        Some(&mut client.wire.query)
    }

    /// Bytes were appended to a connection's buffer.
    #[inline]
    pub fn received(&mut self, now: Now, handle: Handle) {
        let (query_max, link_max) = (self.query_bytes_max(), self.link_bytes_max());
        let Some(client) = self.clients.get_mut(handle) else { return };
        let bytes = client.wire.count_new();
        client.bytes_in += bytes;
        self.stats.reads += 1;
        match client.is_master_link() {
            true => self.stats.repl_bytes_in += bytes,
            false => self.stats.bytes_in += bytes,
        }
        client.last_interaction_us = now.mono_us;
        let waiting = client.wire.pending() + client.transaction.queued_bytes;
        if client.is_master_link() && waiting > link_max {
            self.master_spoke_garbage(handle, "a request without an end");
        } else if waiting > query_max && !client.is_master_link() {
            self.query_buffer_full(handle);
        } else if !client.is_ready {
            client.is_ready = true;
            self.ready.push_back(handle);
        }
    }

    /// Bytes of requests that may wait to be executed, of each client.
    pub(crate) fn query_bytes_max(&self) -> usize {
        usize::try_from(self.config.client_query_buffer_limit).unwrap_or(usize::MAX)
    }

    /// The same for our master: well more than any master takes from a client of its own.
    pub(crate) fn link_bytes_max(&self) -> usize {
        self.query_bytes_max().max(LINK_BYTES_LEAST).saturating_mul(2)
    }

    /// Connections whose outbox got bytes since the last call; each is named once.
    pub fn take_dirty(&mut self, into: &mut Vec<Handle>) {
        for handle in self.dirty.drain(..) {
            if let Some(client) = self.clients.get_mut(handle) {
                client.is_dirty = false;
                client.wire.outbox.seal_waiting_tail();
                into.push(handle);
            }
        }
    }

    pub(crate) fn mark_dirty(&mut self, handle: Handle) {
        if let Some(client) = self.clients.get_mut(handle)
            && !client.is_dirty
        {
            client.is_dirty = true;
            self.dirty.push(handle);
        }
    }

    /// A connection's output, to be written and consumed.
    #[inline]
    pub fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox> {
        self.clients.get_mut(handle).map(|client| &mut client.wire.outbox)
    }

    /// The shell wrote so many bytes of a connection's outbox.
    #[inline]
    pub fn written(&mut self, handle: Handle, bytes: usize) {
        self.stats.writes += u64::from(bytes > 0);
        let client = self.clients.get_mut(handle);
        match client.as_ref().is_some_and(|client| client.is_replica()) {
            true => self.stats.repl_bytes_out += bytes as u64,
            false => self.stats.bytes_out += bytes as u64,
        }
        if let Some(client) = client {
            client.wire.outbox.consume(bytes);
            if bytes > 0 {
                client.last_interaction_us = self.now.mono_us;
            }
            if client.closing && client.wire.outbox.is_empty() && !client.transaction.running {
                self.close(handle);
            } else if client.is_replica() {
                self.replica_took(handle, bytes);
            }
        }
    }

    /// Whether a request of this connection is under way that must be answered, and those behind it, though its
    /// far end has said that it sends no more. Who waits for replicas or for a pause to end is let go.
    pub fn works_for(&self, handle: Handle) -> bool {
        let Some(client) = self.clients.get(handle) else { return false };
        let waiting = client.blocked.as_ref().map(|blocked| &blocked.waiting);
        let asks = matches!(
            waiting,
            Some(Waiting::Answer(_) | Waiting::Snapshot(_) | Waiting::Shutdown | Waiting::Node)
        );
        asks || client.transaction.running
    }

    /// A client may go on: whoever held it back has let go.
    pub(crate) fn resume(&mut self, handle: Handle) {
        let Some(client) = self.clients.get_mut(handle) else { return };
        let Some(blocked) = client.blocked.take() else { return };
        let is_over = !matches!(blocked.waiting, Waiting::Pause) && !client.transaction.running;
        self.waits_no_more(handle, &blocked);
        if is_over {
            self.request_over(handle);
        }
        self.link_resumed(handle);
        let Some(client) = self.clients.get_mut(handle) else { return };
        if client.wire.pending() > 0 && !client.is_ready {
            client.is_ready = true;
            self.ready.push_back(handle);
        }
    }

    /// Takes a client out of the lists of those who wait.
    fn waits_no_more(&mut self, handle: Handle, blocked: &Blocked) {
        if let Some(deadline) = blocked.deadline_us {
            self.deadlines.remove(&(deadline, handle));
        }
        if let Waiting::Acks { offset, .. } = blocked.waiting {
            self.ack_waiters.remove(&(offset, handle));
        }
    }

    /// Gives an empty buffer back.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() == READ_BYTES && self.pool.len() < POOL_MAX {
            self.pool.push(buffer);
        }
    }

    /// Closes a connection when what its outbox holds has been written.
    pub(crate) fn close_after_reply(&mut self, handle: Handle) {
        let Some(client) = self.clients.get_mut(handle) else { return };
        client.closing = true;
        if client.transaction.running {
            // The end of EXEC closes it.
        } else if client.wire.outbox.is_empty() {
            self.close(handle);
        } else {
            self.mark_dirty(handle);
        }
    }

    /// Closes a connection now; what its outbox holds is lost, as with CLIENT KILL in Redis.
    pub(crate) fn close(&mut self, handle: Handle) {
        if self.clients.get(handle).is_some_and(|client| !client.gone) {
            self.output(Output::Close(handle));
            self.forget(handle);
        }
    }

    pub(crate) fn disconnected(&mut self, handle: Handle) {
        self.forget(handle);
    }

    /// Everything that knew a connection forgets it. In the middle of EXEC its client stays to the end.
    pub(crate) fn forget(&mut self, handle: Handle) {
        if let Some(client) = self.clients.get_mut(handle)
            && client.transaction.running
        {
            (client.closing, client.gone) = (true, true);
            return;
        }
        self.unwatch_all(handle);
        let Some(mut client) = self.clients.remove(handle) else { return };
        if let Some(blocked) = client.blocked.take() {
            self.waits_no_more(handle, &blocked);
        }
        match std::mem::replace(&mut client.role, Role::Client) {
            Role::Client => {}
            Role::Replica(state) => self.replica_lost(handle, *state),
            Role::MasterLink => self.master_link_lost(handle),
        }
        if client.wire.outbox.len() >= LARGE_OUTBOX_BYTES {
            self.output(Output::Garbage(Garbage(Box::new(client.wire))));
        }
    }
}

const PROTECTED_MODE: &str = "-DENIED Redis is running in protected mode because protected mode is \
enabled and no password is set for the default user. In this mode connections are only accepted \
from the loopback interface. To connect from elsewhere, do one of these: 1) set a password \
('requirepass' in the configuration file, or CONFIG SET requirepass from this host); 2) bind only \
to interfaces that you trust and switch the mode off with 'CONFIG SET protected-mode no' from this \
host, then CONFIG REWRITE to keep it so; 3) start the server with '--protected-mode no'. Never do \
2 or 3 where strangers can reach this port.\r\n";
