//! Cluster mode: whether this node serves the keys of a command, which `cluster/redirect.rs` decides, and what the
//! cluster's machine wants of other parts.

use russet_protocol::ErrorReply;
use russet_protocol::slot::SLOTS;

use super::Node;
use crate::clients::Waiting;
use crate::cluster::Cluster;
use crate::cluster::redirect::{Asked, decide};
use crate::cluster::slot_steps::SlotOrder;
use crate::command::keyspec::key_flag;
use crate::command::{Args, Command, flag};
use crate::core::{Answer, ClusterOrder, Order};
use crate::ids::Handle;
use crate::journal::{MULTI, Origin};
use crate::keyspace::Key;
use crate::parts::Parts;
use crate::pause::{PauseMode, PauseReason};
use crate::transaction::Transaction;

/// The keys of a command, or of all commands of a transaction.
#[derive(Default)]
struct Keys {
    slot: Option<u16>,
    count: usize,
    present: usize,
    is_channel: bool,
    /// Whether all of them are in one slot.
    are_apart: bool,
}

impl Node {
    /// Returns the slot of the keys of a client's command, if it has any and they are served here; else the error that says
    /// where.
    pub(super) fn check_slot(
        &mut self,
        handle: Handle,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Result<Option<u16>, ErrorReply> {
        let Some(machine) = self.parts.cluster.machine() else { return Ok(None) };
        // Nearly all commands: one key, which is served here.
        if let Some(index) = command.only_key().filter(|index| *index < args.len()) {
            let slot = args.key(index).slot();
            if machine.serves(slot) {
                return Ok(Some(slot));
            }
        }
        let Some(client) = self.parts.clients.get(handle) else { return Ok(None) };
        if !client.authenticated || client.is_replica() {
            // It is refused in any case.
            return Ok(None);
        }
        let (queued, is_exec) = match command.has(flag::RUNS_QUEUE) {
            true => (client.transaction.flags, true),
            false => (0, false),
        };
        let mut keys = Keys::default();
        if is_exec {
            self.add_queued(&mut keys, &client.transaction, client.db);
        } else {
            self.add_keys(&mut keys, command, args, client.db);
        }
        let Some(slot) = keys.slot else { return Ok(None) };
        if keys.are_apart {
            return Err(ErrorReply::fixed("CROSSSLOT Keys in request don't hash to the same slot"));
        }
        if machine.serves(slot) {
            return Ok(Some(slot));
        }
        let flags = command.flags | queued;
        let asked = Asked {
            slot,
            keys: keys.count,
            present: keys.present,
            writes: flags & flag::WRITE != 0,
            is_channel: keys.is_channel,
            migrates: flags & flag::MOVES_KEYS != 0,
            is_asking: client.is_asking || command.has(flag::ASKING),
            reads_replica: client.reads_replica,
            is_ipv6: client.ends.is_ipv6(),
        };
        decide(machine, &self.core.config, &asked).map(|()| Some(slot))
    }

    /// Returns the slot of a request of the master's stream, of its first key if there are several.
    pub(super) fn slot_of_upstream(
        &self,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<u16> {
        let mut keys = Keys::default();
        let db = self.parts.following.db();
        match self.parts.following.transaction() {
            Some(transaction) if command.has(flag::RUNS_QUEUE) => {
                self.add_queued(&mut keys, transaction, db);
            }
            _ => self.add_keys(&mut keys, command, args, db),
        }
        keys.slot
    }

    /// Counts that a request with this slot begins, for CLUSTER SLOT-STATS.
    #[inline]
    pub(super) fn count_request(
        &mut self,
        slot: Option<u16>,
        command: &'static Command,
        args: &Args<'_>,
        raw: &[u8],
    ) {
        if let Some(slots) = &mut self.core.stats.slots {
            // MULTI has no slot itself.
            let multi = if command.has(flag::RUNS_QUEUE) { MULTI.len() } else { 0 };
            slots.begin(slot, raw.len() + args.large_bytes() + multi);
        }
    }

    /// Counts the effects of the running request that are about to go into the replication stream.
    pub(super) fn count_effects(&mut self) {
        let Some(slots) = &mut self.core.stats.slots else { return };
        if slots.is_counting() {
            slots.sent(self.journal.pending_bytes() * self.parts.master.replicas().len());
        }
    }

    fn add_queued(&self, keys: &mut Keys, transaction: &Transaction, db: u32) {
        for queued in &transaction.queue {
            let row = self.commands.row(queued.command);
            let args = Args::of_queued(queued, self.data.hasher());
            self.add_keys(keys, row, &args, db);
        }
    }

    fn add_keys(&self, keys: &mut Keys, command: &'static Command, args: &Args<'_>, db: u32) {
        let args = args.of(command);
        if let Some(find) = command.find_keys {
            return find(&args).for_each(|index| self.add_key(keys, args.key(index), false, db));
        }
        for spec in command.keys {
            let is_channel = spec.flags & key_flag::NOT_KEY != 0;
            for index in spec.indexes(&args).filter(|index| *index < args.len()) {
                self.add_key(keys, args.key(index), is_channel, db);
            }
        }
    }

    fn add_key(&self, keys: &mut Keys, key: Key<'_>, is_channel: bool, db: u32) {
        let slot = key.slot();
        keys.are_apart |= keys.slot.is_some_and(|known| known != slot);
        keys.slot = Some(slot);
        keys.count += 1;
        keys.is_channel |= is_channel;
        // Only a slot on the move needs to know.
        let is_served = self.parts.cluster.machine().is_some_and(|machine| machine.serves(slot));
        if !is_served && !is_channel && self.data.has_key(db, key) {
            keys.present += 1;
        }
    }

    /// Takes the slots of loaded keys that nobody has, as a master.
    pub(super) fn claim_loaded_slots(&mut self) {
        let Some(machine) = self.parts.cluster.machine() else { return };
        if machine.is_replica() {
            return;
        }
        let is_lost = |slot: u16| self.parts.cluster.lost_while_loading().contains(slot);
        let has_keys =
            |slot: &u16| self.data.dbs().any(|(_, db)| db.slot(*slot).keys > 0) && !is_lost(*slot);
        let slots: Vec<u16> = (0..SLOTS).filter(has_keys).collect();
        self.with_cluster(|cluster, world| {
            cluster.call(world, |machine, now| machine.claim_loaded(now, &slots))
        });
    }

    /// Deletes the keys of slots that were lost while data was loaded, when it is.
    pub(super) fn drop_lost_slots(&mut self) {
        if !self.parts.loading.is_loading() {
            let slots = self.parts.cluster.take_lost_while_loading();
            slots.into_iter().for_each(|slot| self.drop_slot(slot));
        }
    }

    /// Ends the effect of ASKING after a request, but not within a transaction, whose EXEC needs it.
    pub(super) fn end_asking(&mut self, handle: Handle) {
        if let Some(client) = self.parts.clients.get_mut(handle)
            && client.is_asking
            && !client.transaction.open
        {
            client.is_asking = false;
        }
    }

    /// Replies that a command is not served here, and aborts the transaction that it belongs to.
    pub(super) fn refuse_slot(
        &mut self,
        handle: Handle,
        command: &'static Command,
        error: &ErrorReply,
    ) {
        let Node { core, data, parts, commands, .. } = self;
        core.stats.rejected(commands.number_of(command));
        if command.has(flag::RUNS_QUEUE) {
            crate::watching::discard_transaction(&mut parts.clients, data, handle);
        } else if let Some(client) = parts.clients.get_mut(handle) {
            client.transaction.refused = client.transaction.open;
        }
        self.reply_now(handle, error);
    }

    /// Does what the cluster's machine wants of other parts.
    pub(super) fn obey_cluster(&mut self, order: ClusterOrder) {
        let Node { core, data, journal, parts, .. } = self;
        let Parts { clients, master, following, pause, migrate, loading, cluster, .. } = parts;
        match order {
            ClusterOrder::Follow { host, port } => {
                migrate.make_void();
                following.follow(core, clients, journal, master, (&host, port), None);
            }
            ClusterOrder::Promote => following.promote(core, clients, journal, master),
            ClusterOrder::DropAll => {
                data.flush(None);
                journal.set_origin(Origin::Local);
                journal.add(0, &[b"FLUSHALL"]);
            }
            // What is loaded later would stay.
            ClusterOrder::DropKeys(slots) if loading.is_loading() => {
                cluster.lose_while_loading(&slots)
            }
            ClusterOrder::DropKeys(slots) => slots.iter().for_each(|slot| self.drop_slot(slot)),
            ClusterOrder::PauseWrites(ms) => {
                // A replica takes over with what it has now: it would not learn what is deleted later.
                migrate.make_void();
                let end_us = core.now.mono_us + ms.saturating_mul(1000);
                pause.begin(core, PauseReason::Cluster, PauseMode::Write, end_us);
            }
            ClusterOrder::ResumeWrites => pause.end(core, PauseReason::Cluster),
            ClusterOrder::OpenSlots(text) => {
                self.with_cluster(|cluster, world| cluster.take_open_slots(world, &text));
            }
            ClusterOrder::LinkOverLimit { handle, bytes } => {
                self.with_cluster(|cluster, world| cluster.over_limit(world, handle, bytes));
            }
            ClusterOrder::HandOver(timeout_us) => {
                let acknowledged = master.acknowledged_by_address();
                self.with_cluster(|cluster, world| {
                    cluster.begin_hand_over(world, timeout_us, &acknowledged);
                });
            }
            ClusterOrder::CancelHandOver => self.with_cluster(Cluster::cancel_hand_over),
            ClusterOrder::SetSlot(client) => self.set_slot(client),
        }
    }

    /// Carries out a step of a slot's move, now that replicas have it.
    fn set_slot(&mut self, client: Handle) {
        let Some(SlotOrder { slot, step }) = self.parts.cluster.take_slot_order(client) else {
            return;
        };
        // With its last slot this node may become a replica, and whoever waits for replicas is told so; this one waits no more.
        let Node { core, parts, .. } = self;
        if let Some(blocked) = parts.clients.unblock(core, client) {
            parts.master.stop_waiting(blocked.waiting, client);
        }
        let has_keys = self.data.dbs().any(|(_, db)| db.slot(slot).keys > 0);
        let result = self.with_cluster(|cluster, world| {
            cluster.call(world, |machine, now| machine.set_slot(now, slot, &step, has_keys))
        });
        let Node { core, parts, .. } = self;
        let Parts { clients, cluster, .. } = parts;
        let is_saved_first = match result {
            Some(Err(error)) => {
                return core.order(Order::Answer(client, Answer::Error(ErrorReply::err(error))));
            }
            Some(Ok(is_saved_first)) => is_saved_first,
            None => false,
        };
        if !is_saved_first || cluster.end_command(client, b"+OK\r\n") {
            return core.order(Order::Answer(client, Answer::Ok));
        }
        clients.block(core, client, Waiting::State, None);
    }

    /// Deletes the keys of a slot that another node has taken.
    fn drop_slot(&mut self, slot: u16) {
        let Node { data, journal, .. } = self;
        journal.set_origin(Origin::Local);
        for db in 0..data.count() {
            data.flush_slot(db, slot, &mut |key| journal.add(db, &[b"DEL", key]));
        }
    }
}
