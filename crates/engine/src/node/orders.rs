//! Carries out the orders of parts to each other.

use russet_protocol::ErrorReply;

use super::Node;
use crate::busy::Activity;
use crate::cluster::Cluster;
use crate::config::Hook;
use crate::core::{Answer, Core, Order};
use crate::ids::JobId;
use crate::injected::Bug;
use crate::io::{Level, Output, Status};
use crate::mode::Mode;
use crate::notify;
use crate::parts::Parts;
use crate::persist::fill::StreamPosition;
use crate::repl::failover::{Failover, Roles};
use crate::timers::Timer;

/// A full synchronization that cannot begin now is tried again after this time, in microseconds.
const LATER_US: u64 = 50_000;

impl Node {
    /// Carries out all pending orders, including those that result from them.
    pub(super) fn carry_out_orders(&mut self) {
        while let Some(order) = self.core.take_order() {
            self.carry_out(order);
        }
    }

    fn carry_out(&mut self, order: Order) {
        let Node { core, data, parts, .. } = self;
        let Parts { clients, master, saves, shutdown, pause, .. } = parts;
        match order {
            Order::Remove(handle) => self.remove_client(handle),
            Order::CloseAfterReply(handle) => clients.close_after_reply(core, handle),
            Order::Answer(handle, answer) => {
                clients.answer(core, handle, &answer);
                self.count_blocked(handle, matches!(answer, Answer::Error(_)));
                self.resume(handle);
            }
            Order::Resume(handle) => self.resume(handle),
            Order::Wake(handle) => parts.blocking.release(data, handle),
            Order::Migrated(migrated) => self.migrated(migrated),
            Order::ScheduleFullSync => self.schedule_full_sync(),
            Order::SaveEnded { job, result } => self.save_ended(job, &result),
            Order::SyncEnded { job, result } => master.sync_ended(core, clients, job, &result),
            Order::SyncBytes { job, bytes } => master.sync_bytes(core, clients, job, bytes),
            Order::AofBaseEnded { job, ahead_peak, result } => {
                parts.aof.rewrites.last_ahead_peak = ahead_peak;
                parts.aof.base_ended(core, &mut self.journal.tail, job, &result);
            }
            Order::AofReady => self.append_only_ready(),
            Order::AofFailed => self.append_only_failed(),
            Order::AbortSnapshot(job) => saves.snapshots.abort(core, data, job),
            Order::SaveForReload => self.save_for_reload(),
            Order::LoadedAtStart => self.loaded_at_start(),
            Order::Reloaded { client, result } => self.reloaded(client, result),
            Order::DataReplaced => self.data_replaced(),
            Order::HandedOver => shutdown.handed_over(core, pause, master),
            Order::CheckShutdown => shutdown.check(core, master, false),
            Order::FinalSave => self.final_save(),
            Order::FinalSaveFailed(why) => shutdown.save_failed(core, clients, pause, why),
            Order::FailoverAnswered { is_accepted } => self.failover_answered(is_accepted),
            Order::Stop(why) => {
                core.log(Level::Warning, why);
                self.exit(1);
            }
            Order::Exit(status) => self.exit(status),
            Order::Apply(hook) => self.apply(hook),
            Order::Cluster(order) => self.obey_cluster(order),
        }
    }

    /// Starts the next full synchronization now, or after the delay for more replicas.
    fn schedule_full_sync(&mut self) {
        let Parts { master, saves, shutdown, .. } = &self.parts;
        if !shutdown.is_exiting() && master.wants_full_sync(&mut self.core, saves) {
            self.begin_full_sync();
        }
    }

    /// Goes on with a failover, at the end of a turn.
    pub(super) fn proceed_with_failover(&mut self) {
        let (core, failover, mut roles) = self.failing_over();
        failover.proceed(core, &mut roles);
        self.carry_out_orders();
    }

    fn failover_answered(&mut self, is_accepted: bool) {
        let (core, failover, mut roles) = self.failing_over();
        failover.answered(core, &mut roles, is_accepted);
    }

    fn failing_over(&mut self) -> (&mut Core, &mut Failover, Roles<'_>) {
        let Node { core, journal, parts, .. } = self;
        let (failover, roles) = parts.failing_over(journal);
        (core, failover, roles)
    }

    /// Takes a snapshot for all waiting replicas, if possible.
    pub(super) fn begin_full_sync(&mut self) {
        let upstream_db = self.parts.following.upstream_db();
        if self.parts.busy.is_mid_change() {
            // During an EXEC the data is also ahead of the stream. It may wait for a disk, so it is not looked at often.
            let soon = self.core.now.mono_us + LATER_US;
            return self.core.timers.set_if_idle(Timer::SyncDelay, soon);
        }
        let Node { core, data, journal, parts, .. } = self;
        let Parts { clients, cluster, master, saves, loading, shutdown, .. } = parts;
        core.timers.stop(Timer::SyncDelay);
        if shutdown.is_exiting() || loading.is_loading() {
            return;
        }
        journal.flush(&mut master.stream);
        let open_slots = cluster.open_slots();
        master.begin_full_sync(core, clients, data, saves, |stream| {
            let position = stream.position(upstream_db)?;
            Some(StreamPosition { open_slots, ..position })
        });
    }

    /// Handles the end of a save.
    fn save_ended(&mut self, job: JobId, result: &Result<u64, String>) {
        let Node { core, data, parts, .. } = self;
        let Parts { clients, master, saves, loading, shutdown, .. } = parts;
        for handle in
            clients.waiting_for(|waiting| waiting == crate::clients::Waiting::Snapshot(job))
        {
            let answer = match result {
                Ok(_) => Answer::Ok,
                Err(why) => Answer::Error(ErrorReply::err(why)),
            };
            core.order(Order::Answer(handle, answer));
        }
        if saves.ends_flush(job) {
            clients.flush_saved(core);
        }
        loading.saved(core, data, job, result);
        master.file_sync_saved(core, clients, job, result);
        shutdown.saved(core, saves, job, result);
    }

    /// Starts the save of a reload, unless another must end first.
    fn save_for_reload(&mut self) {
        let position = self.stream_position();
        let Node { core, data, parts, .. } = self;
        let Parts { saves, loading, shutdown, .. } = parts;
        if loading.wants_save() && saves.current().is_none() && !shutdown.is_exiting() {
            let job = saves.begin(core, data, position).map_err(|error| error.to_string());
            loading.save_began(core, job);
        }
    }

    /// Handles the end of loading at the start.
    fn loaded_at_start(&mut self) {
        let Node { core, data, journal, parts, .. } = self;
        let Parts { master, following, saves, loading, .. } = parts;
        saves.saved_dirty = data.dirty;
        journal.data_replaced();
        following.restore_position(core, journal, master, loading.take_position(), data.count());
        self.claim_loaded_slots();
        let Node { core, parts, .. } = self;
        let Parts { busy, .. } = parts;
        if core.config.appendonly && !parts.aof.is_relied_on() {
            // Nothing is served before the file holds all data.
            return self.parts.aof.turn_on(core, &mut self.parts.clients);
        }
        busy.end(Activity::Loading);
        self.ready_to_serve();
    }

    /// Handles that the append-only file that was switched on cannot be begun: it is switched off again.
    fn append_only_failed(&mut self) {
        if self.parts.busy.is(Activity::Loading) {
            return self.exit(1);
        }
        let text = "appendonly is 'no' again, since the append-only file cannot be begun";
        self.core.log(Level::Warning, text);
        self.core.config.appendonly = false;
        self.apply(Hook::AppendOnly);
    }

    /// Handles that the append-only file holds all data.
    fn append_only_ready(&mut self) {
        if self.parts.busy.is(Activity::Loading) && !self.parts.loading.is_loading() {
            self.parts.busy.end(Activity::Loading);
            self.ready_to_serve();
        }
    }

    /// Reports that clients are served now.
    pub(super) fn ready_to_serve(&mut self) {
        let core = &mut self.core;
        self.parts.saves.saved_now(core);
        if core.boot.mode == Mode::Sentinel {
            return core.output(Output::Status(Status::Ready { waits_for_master: false }));
        }
        if core.config.port != 0 {
            core.log(Level::Notice, "Ready to accept connections tcp");
        }
        if !core.config.unixsocket.is_empty() {
            core.log(Level::Notice, "Ready to accept connections unix");
        }
        core.output(Output::Status(Status::Ready { waits_for_master: core.is_replica }));
        core.timers.set_if_idle(Timer::Replication, core.now.mono_us);
        if core.is_replica {
            self.following_cron();
        }
    }

    /// Handles the end of a DEBUG RELOAD or LOADAOF.
    fn reloaded(&mut self, client: crate::ids::Handle, result: Result<(), ErrorReply>) {
        let Node { data, journal, parts, .. } = self;
        parts.busy.end(Activity::Reload);
        if result.is_ok() {
            journal.data_replaced();
            parts.saves.saved_dirty = data.dirty;
        }
        // Must be done now, or it would abort a later transaction of a watching client.
        self.break_transactions();
        self.core.order(Order::Answer(client, Answer::from(result)));
    }

    /// Handles the replacement of all data by a full synchronization.
    fn data_replaced(&mut self) {
        let Node { core, data, journal, parts, .. } = self;
        journal.data_replaced();
        parts.migrate.make_void();
        let save_again = parts.shutdown.cancel_save();
        parts.saves.abort_all(core, data, "the data was replaced");
        parts.aof.begin_again(core, &mut parts.clients, &mut journal.tail, false);
        self.break_transactions();
        if save_again {
            self.core.order(Order::FinalSave);
        }
    }

    fn final_save(&mut self) {
        if self.parts.busy.is_mid_change() && !self.core.injected(Bug::HalfExecSaved) {
            // It begins when the change has ended.
            return;
        }
        if self.parts.busy.is(Activity::Migrate) {
            // The file would have keys that are deleted after it was written.
            return;
        }
        let position = self.stream_position();
        let Node { core, data, parts, .. } = self;
        let Parts { saves, loading, aof, shutdown, pause, .. } = parts;
        shutdown.save(core, data, pause, (saves, loading, aof), position);
    }

    /// Begins the saves that could not begin in the middle of a change: a snapshot has the whole of an
    /// EXEC or nothing of it.
    pub(super) fn begin_awaited_saves(&mut self) {
        let Parts { saves, loading, shutdown, busy, .. } = &self.parts;
        let is_final = shutdown.awaits_save() && !busy.is(Activity::Migrate);
        let after_flush = saves.wants_save_after_flush();
        if !(is_final || after_flush) || busy.is_mid_change() || self.is_stopped() {
            return;
        }
        if is_final {
            self.final_save();
        } else if !loading.is_loading() && !shutdown.is_exiting() {
            let position = self.stream_position();
            self.parts.saves.begin_after_flush(&mut self.core, &mut self.data, position);
        }
    }

    /// Orders the exit of the process. From now on the node does nothing: what it replied, wrote or
    /// deleted now would be lost.
    fn exit(&mut self, status: i32) {
        if !self.is_stopped() {
            self.parts.busy.begin(Activity::Stopped, None);
            let Parts { aof, clients, .. } = &mut self.parts;
            aof.finish(&mut self.core, clients, &mut self.journal.tail);
            self.core.output(Output::Exit(status));
        }
    }

    /// Runs the hook of a changed directive.
    pub(super) fn apply(&mut self, hook: Hook) {
        let Node { core, data, parts, .. } = self;
        match hook {
            Hook::Cluster => self.with_cluster(Cluster::configure),
            Hook::SlotStats => core.count_slots_if_enabled(),
            Hook::CronPace => core.timers.set(Timer::Cron, core.now.mono_us),
            Hook::BacklogSize => parts.master.resize_backlog(core),
            Hook::UseCounting => data.set_policy(&core.config),
            Hook::AppendOnly if core.config.appendonly => {
                parts.aof.turn_on(core, &mut parts.clients);
            }
            Hook::AppendOnly => {
                let offset = parts.master.stream.offset();
                parts.aof.turn_off(core, &mut parts.clients, &mut self.journal.tail, offset);
            }
            Hook::AppendElsewhere => {
                parts.aof.begin_again(core, &mut parts.clients, &mut self.journal.tail, true);
            }
            Hook::AppendSettings => parts.aof.settings_changed(core, &mut self.journal.tail),
            Hook::AppendHistory => parts.aof.remove_history(core),
            Hook::Password => parts.clients.password_changed(core),
            Hook::KeyspaceEvents => {
                data.set_events_enabled(notify::is_on(core.config.notify_keyspace_events))
            }
        }
    }
}
