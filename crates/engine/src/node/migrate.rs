//! The end of a MIGRATE, which the part has brought to a result: what it changes here, and the reply.

use super::Node;
use super::dispatch::Propagation;
use crate::busy::Activity;
use crate::command::{Args, Command, flag};
use crate::core::{Migrated, Order};
use crate::journal::Origin;
use crate::keyspace::EventKind;
use crate::migrate::{Migrate, World};

impl Node {
    /// Calls the part with what it acts on.
    pub(super) fn with_migrate<T>(
        &mut self,
        call: impl FnOnce(&mut Migrate, &mut World<'_>) -> T,
    ) -> T {
        let Node { core, data, parts, .. } = self;
        call(&mut parts.migrate, &mut World { core, clients: &mut parts.clients, data })
    }

    /// Whether a client's command must wait until the migration in progress has ended.
    #[inline]
    pub(super) fn is_held_by_migration(&self, command: &Command, args: &Args<'_>) -> bool {
        self.parts.migrate.is_running() && self.touches_migration(command, args)
    }

    #[cold]
    fn touches_migration(&self, command: &Command, args: &Args<'_>) -> bool {
        if command.has(flag::RUNS_QUEUE | flag::ADMIN | flag::MOVES_KEYS) {
            return true;
        }
        let mut keys = command.key_indexes(args).peekable();
        match keys.peek() {
            None => command.has(flag::READONLY | flag::WRITE),
            Some(_) => keys.any(|index| self.parts.migrate.moves(args.key(index).hash)),
        }
    }

    /// Deletes the keys that have moved, which is the effect of the command, and replies.
    pub(super) fn migrated(&mut self, migrated: Migrated) {
        let Migrated { client, db, keys, answer } = migrated;
        let Node { core, data, journal, parts, .. } = self;
        parts.busy.end(Activity::Migrate);
        parts.pause.ended(core);
        let (hasher, durable) = (data.hasher(), &mut parts.clients.durable);
        let mut effect: Vec<&[u8]> = vec![b"DEL"];
        for key in &keys {
            // A key that was given twice is deleted once.
            let key = hasher.key(key);
            if data.edit(db, key).remove(EventKind::Del) {
                effect.push(key.bytes);
                if durable.is_on() {
                    durable.changes([key.hash].into_iter());
                }
            }
        }
        if effect.len() > 1 {
            journal.set_origin(Origin::Local);
            journal.add(db, &effect);
            if parts.busy.is(Activity::Exec) {
                let shows = durable.written();
                parts.clients.exec_shows(shows);
            } else {
                self.propagate(Propagation::Together);
                let offset = self.parts.master.stream.offset();
                let batch = self.parts.clients.durable.filling();
                if let Some(client) = self.parts.clients.get_mut(client) {
                    (client.last_write_offset, client.last_write_batch) = (offset, batch);
                }
            }
        }
        self.break_transactions();
        self.deliver_events();
        self.core.order(Order::Answer(client, answer));
    }
}
