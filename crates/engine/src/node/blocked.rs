//! Serves clients that wait for keys, once these have changed. See [`crate::blocking`].

use super::Node;
use crate::busy::Activity;
use crate::call::Caller;
use crate::cluster::redirect::{Asked, decide};
use crate::command::{Args, Command, flag};
use crate::core::{Answer, Order};
use crate::ids::Handle;
use crate::io::Host;
use crate::keyspace::Place;
use crate::parts::Parts;

impl Node {
    /// Whether clients may be served whose keys have changed: not within a transaction.
    pub(super) fn may_serve_blocked(&self) -> bool {
        let busy = &self.parts.busy;
        self.data.awaited.has_changed()
            && !busy.is(Activity::Exec)
            && !busy.holds_all()
            && !self.is_stopped()
    }

    /// Serves the clients whose keys have changed, and then those of keys that this has changed.
    pub(super) fn serve_blocked(&mut self, host: &mut dyn Host) {
        while self.may_serve_blocked()
            && let Some((db, key)) = self.data.awaited.take_changed()
        {
            // Who begins to wait meanwhile has seen the key.
            let Some(last) = self.data.awaited.last(db, &key) else { continue };
            let mut from = Place(0);
            loop {
                let number = self.data.type_number(db, &key);
                let Some((place, client)) = self.data.awaited.next(db, &key, from, number) else {
                    break;
                };
                if place > last {
                    break;
                }
                from = Place(place.0 + 1);
                self.run_again(client, host);
            }
        }
    }

    /// Runs the request of a client that waits, as if it came now.
    fn run_again(&mut self, handle: Handle, host: &mut dyn Host) {
        let Some(wait) = self.parts.blocking.begin_again(handle) else { return };
        let request = &wait.request;
        let row = self.commands.row(request.command);
        let args = Args::of_queued(request, self.data.hasher());
        let is_paused = self.parts.pause.holds(row.flags, self.core.now);
        if is_paused || self.is_held_by_migration(row, &args) {
            let Parts { blocking, pause, .. } = &mut self.parts;
            return blocking.hold(pause, handle, wait);
        }
        self.parts.clients.unblock(&mut self.core, handle);
        self.try_again(handle, row, &args, host);
        let Node { core, data, parts, .. } = self;
        parts.blocking.ended(core, data, handle, wait);
        if parts.clients.waiting(handle).is_none() {
            self.request_ended(handle);
            self.parts.clients.mark_ready_if_pending(handle);
        }
        self.carry_out_orders();
    }

    fn try_again(
        &mut self,
        handle: Handle,
        row: &'static Command,
        args: &Args<'_>,
        host: &mut dyn Host,
    ) {
        let slot = match self.check_slot(handle, row, args) {
            Ok(slot) => slot,
            Err(error) => return self.refuse_slot(handle, row, &error),
        };
        if let Err(error) = self.admit(handle, row) {
            return self.refuse(handle, Some(row), &error);
        }
        self.count_request(slot, row, args, &[]);
        self.run_for_client(handle, Caller::Client, row, args, host);
    }

    /// Sends clients away that wait for keys of slots which this node does not serve any more.
    pub(super) fn redirect_blocked(&mut self) {
        let Node { core, data, parts, commands, .. } = self;
        let Some(machine) = parts.cluster.machine() else { return };
        for (handle, request) in parts.blocking.iter() {
            let (row, args) =
                (commands.row(request.command), Args::of_queued(request, data.hasher()));
            let Some(client) = parts.clients.get(handle) else { continue };
            let mut keys = row.key_indexes(&args);
            let Some(slot) = keys.next().map(|index| args.key(index).slot()) else { continue };
            let asked = Asked {
                slot,
                // While a slot is on the move its keys may still appear here.
                keys: 1,
                present: 1,
                writes: row.has(flag::WRITE),
                is_channel: false,
                migrates: false,
                is_asking: true,
                reads_replica: client.reads_replica,
                is_ipv6: client.ends.is_ipv6(),
            };
            if let Err(error) = decide(machine, &core.config, &asked) {
                core.order(Order::Answer(handle, Answer::Error(error)));
            }
        }
        self.carry_out_orders();
    }

    /// Counts the command of a client that has waited for keys in vain, if it has.
    pub(super) fn count_blocked(&mut self, handle: Handle, has_failed: bool) {
        if let Some(request) = self.parts.blocking.request(handle) {
            let number = self.commands.number_of(self.commands.row(request.command));
            self.core.stats.command_waited(number, has_failed);
        }
    }
}
