//! MULTI and WATCH: what a transaction needs beside its commands' rows.
//!
//! EXEC is a loop over the queue that can stop in the middle, when a command asks the world something, and go on with the
//! answer. Until it ends nobody else is served, so it stays atomic.

use crate::command::{Args, Caller};
use crate::io::{Handle, Host};
use crate::keyspace::Key;
use crate::node::Node;

/// A host for what runs outside of a turn: it knows no ticks.
struct NoHost;

impl Host for NoHost {
    fn ticks_us(&mut self) -> u64 {
        0
    }
}

impl Node {
    /// Clients whose watched keys changed cannot EXEC any more; the one that changed them neither, if it watched.
    pub(crate) fn break_transactions(&mut self) {
        for handle in self.keyspace.watch.take_touched() {
            if let Some(client) = self.clients.get_mut(handle) {
                client.transaction.broken = true;
            }
        }
    }

    /// WATCH of one key.
    pub(crate) fn watch(&mut self, handle: Handle, db: u32, key: Key<'_>) {
        let was_expired = self.keyspace.is_expired(db, key);
        if self.keyspace.watch.add(handle, db, key.bytes, was_expired)
            && let Some(client) = self.clients.get_mut(handle)
        {
            // The name stands here and in the table of watched keys.
            let place = size_of::<(u32, Box<[u8]>)>() + key.bytes.len();
            client.transaction.watched_bytes += 2 * place;
            client.transaction.watched.push((db, key.bytes.into()));
        }
    }

    /// Whether a key that a client watches has come to its end since, though nobody has met it.
    pub(crate) fn watched_key_expired(&self, handle: Handle) -> bool {
        let hasher = self.keyspace.hasher();
        let watched = self.clients.get(handle).map(|client| &client.transaction.watched);
        watched.into_iter().flatten().any(|(db, name)| {
            self.keyspace.is_expired(*db, hasher.key(name))
                && !self.keyspace.watch.was_expired(handle, *db, name)
        })
    }

    /// UNWATCH, and the end of every transaction.
    pub(crate) fn unwatch_all(&mut self, handle: Handle) {
        let Some(client) = self.clients.get_mut(handle) else { return };
        for (db, key) in std::mem::take(&mut client.transaction.watched) {
            self.keyspace.watch.remove(handle, db, &key);
        }
        if let Some(client) = self.clients.get_mut(handle) {
            client.transaction.broken = false;
            client.transaction.watched_bytes = 0;
        }
    }

    /// DISCARD, and EXEC that is not to be.
    pub(crate) fn discard_transaction(&mut self, handle: Handle) {
        self.unwatch_all(handle);
        if let Some(client) = self.clients.get_mut(handle) {
            client.transaction = Default::default();
        }
    }

    /// EXEC, once its header is written: nothing is watched any more, and the queue runs.
    pub(crate) fn begin_transaction(&mut self, handle: Handle, by: Caller, host: &mut dyn Host) {
        self.unwatch_all(handle);
        let caller = if by == Caller::Master { Caller::Master } else { Caller::Exec };
        self.run_transaction(handle, caller, host);
    }

    /// Runs the queue from where it stands, until it is empty or a command makes the client wait.
    pub(crate) fn run_transaction(&mut self, handle: Handle, caller: Caller, host: &mut dyn Host) {
        while let Some(client) = self.clients.get_mut(handle)
            && client.blocked.is_none()
        {
            let Some(queued) = client.transaction.queue.pop_front() else {
                self.end_transaction(handle);
                return;
            };
            let hasher = self.keyspace.hasher();
            let args = Args::new(&queued.bytes, &queued.ranges, hasher);
            self.call(handle, caller, queued.command, &args, host);
        }
    }

    fn end_transaction(&mut self, handle: Handle) {
        self.discard_transaction(handle);
        self.flush_effects();
        let offset = self.repl.offset();
        let Some(client) = self.clients.get_mut(handle) else { return };
        client.last_write_offset = offset;
        let (closing, gone) = (client.closing, client.gone);
        if gone {
            self.forget(handle);
        } else if closing {
            self.close_after_reply(handle);
        }
    }

    /// The answer that an EXEC waited for has come: it goes on where it stopped.
    pub(crate) fn go_on_with_exec(&mut self, handle: Handle) {
        if self.clients.get(handle).is_some_and(|client| client.transaction.running) {
            self.run_transaction(handle, Caller::Exec, &mut NoHost);
            if self.clients.get(handle).is_some_and(|client| !client.transaction.running) {
                self.request_over(handle);
            }
        }
    }
}
