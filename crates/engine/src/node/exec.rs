//! EXEC: a resumable loop over the queued commands.
//!
//! It yields when a command waits for a request and when the time of the turn is used up: an EXEC
//! of a million commands takes many turns. Until it ends no other client is served (the activity
//! [`Activity::Exec`]), so it is atomic, and its effects are propagated together.

use super::Node;
use super::dispatch::Propagation;
use crate::busy::Activity;
use crate::call::Caller;
use crate::command::{Args, Command};
use crate::ids::Handle;
use crate::io::Host;
use crate::watching;

/// Microseconds after which an EXEC yields until the next turn.
const TURN_US: u64 = 250;

impl Node {
    /// Starts EXEC of a client after its header was written: unwatches all keys and runs the queue.
    pub(super) fn begin_exec(
        &mut self,
        handle: Handle,
        command: &'static Command,
        host: &mut dyn Host,
    ) {
        self.core.stats.transaction_began(self.commands.number_of(command));
        watching::unwatch_all(&mut self.parts.clients, &mut self.data, handle);
        self.parts.busy.begin(Activity::Exec, Some(handle));
        let began_us = host.ticks_us();
        self.run_exec(handle, host, began_us);
    }

    /// Whether an incomplete EXEC may continue.
    pub(super) fn may_resume_exec(&self) -> bool {
        let who = self.parts.busy.client_of(Activity::Exec);
        who.is_some_and(|handle| self.parts.clients.waiting(handle).is_none()) && !self.is_stopped()
    }

    /// Continues an incomplete EXEC.
    pub(super) fn resume_exec(&mut self, host: &mut dyn Host, began_us: u64) {
        if self.may_resume_exec()
            && let Some(handle) = self.parts.busy.client_of(Activity::Exec)
        {
            self.core.stats.tick(host.ticks_us());
            self.run_exec(handle, host, began_us);
            if !self.parts.busy.is(Activity::Exec) {
                // It has ended outside of its request: the requests behind it may be served, and time goes on for them.
                self.advance(self.core.now);
                self.request_ended(handle);
                self.parts.clients.mark_ready_if_pending(handle);
            }
        }
    }

    /// Runs queued commands until there are none, one blocks the client, or the time is used up.
    fn run_exec(&mut self, handle: Handle, host: &mut dyn Host, began_us: u64) {
        while let Some(client) = self.parts.clients.get_mut(handle)
            && client.blocked.is_none()
        {
            let Some(queued) = client.transaction.queue.pop_front() else {
                return self.end_exec(handle);
            };
            let row = self.commands.row(queued.command);
            let reply_at = client.wire.outbox.end();
            let args = Args::of_queued(&queued, self.data.hasher());
            self.run_for_client(handle, Caller::Exec, row, &args, host);
            self.core.free_sized(queued.own_bytes(), queued);
            self.carry_out_orders();
            if self.parts.saves.wants_save_after_flush() {
                self.parts.clients.hold_for_flush(handle, reply_at);
            }
            if self.is_stopped() || host.ticks_us().saturating_sub(began_us) >= TURN_US {
                return;
            }
        }
    }

    fn end_exec(&mut self, handle: Handle) {
        self.parts.busy.end(Activity::Exec);
        self.core.stats.transaction_ended();
        watching::discard_transaction(&mut self.parts.clients, &mut self.data, handle);
        self.count_effects();
        self.journal.flush(&mut self.parts.master.stream);
        let offset = self.parts.master.stream.offset();
        let Node { core, parts, .. } = self;
        let db = parts.clients.get(handle).map_or(0, |client| client.db);
        parts.monitors.exec_ended(core, &mut parts.clients, Some(handle), db);
        parts.clients.settle_exec(handle);
        parts.clients.release_messages(core, handle);
        parts.clients.block_for_flush(core, handle);
        let batch = parts.clients.durable.filling();
        let Some(client) = parts.clients.get_mut(handle) else { return };
        (client.last_write_offset, client.last_write_batch) = (offset, batch);
        let (is_closing, is_closed) = (client.closing, client.closed);
        if is_closed {
            self.remove_client(handle);
        } else if is_closing {
            parts.clients.close_after_reply(core, handle);
        }
    }

    /// Runs an EXEC of the master's stream, in which no command blocks.
    pub(super) fn exec_upstream(&mut self, host: &mut dyn Host) {
        self.parts.busy.begin(Activity::Exec, None);
        while let Some(queued) =
            self.parts.following.transaction_mut().and_then(|t| t.queue.pop_front())
        {
            let row = self.commands.row(queued.command);
            let args = Args::of_queued(&queued, self.data.hasher());
            self.run_upstream(row, &args, host);
            self.core.free_sized(queued.own_bytes(), queued);
        }
        if let Some(transaction) = self.parts.following.transaction_mut() {
            *transaction = Default::default();
        }
        self.parts.busy.end(Activity::Exec);
        self.core.stats.transaction_ended();
        let Node { core, parts, .. } = self;
        let link = parts.following.master().and_then(|master| master.link);
        let db = parts.following.db();
        parts.monitors.exec_ended(core, &mut parts.clients, link, db);
        self.propagate(Propagation::Together);
    }

    /// Aborts the transactions of clients whose watched keys have changed.
    pub(super) fn break_transactions(&mut self) {
        watching::break_transactions(&mut self.parts.clients, &mut self.data);
    }
}
