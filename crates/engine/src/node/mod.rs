//! The node: all Redis semantics in one deterministic state machine.
//!
//! It owns its parts and routes inputs, timers and requests to them, and carries out their orders
//! to each other. All other logic belongs to the parts. This file is the interface to the driver
//! ([`crate::io`] defines the contract); the others:
//!
//! * `serve.rs`: the hot path, ready clients' requests in batches;
//! * `dispatch.rs`: checks, queueing and execution of commands, and their effects;
//! * `blocked.rs`: clients that wait for keys;
//! * `exec.rs`: EXEC, which may span several turns;
//! * `migrate.rs`: what a MIGRATE changes when it ends;
//! * `orders.rs`: orders of parts to each other;
//! * `timers.rs`: timers and background work.

mod admit;
mod blocked;
mod cluster;
mod dispatch;
mod exec;
mod gathered;
mod migrate;
mod orders;
mod replay;
mod serve;
mod timers;
mod upstream;

use crate::busy::Activity;
use crate::clients::{Blocked, LinkOwner, Outbox, Received, Role, Waiting};
use crate::cluster::{Cluster, World as ClusterWorld};
use crate::command::CommandTable;
use crate::config::{Config, Hook};
pub use crate::core::{Boot, Core, Platform};
use crate::ids::{Handle, JobId};
use crate::injected::Bug;
use crate::io::{AppendEvent, Endpoints, FileEvent, Host, Input, Now, Output, Service};
use crate::journal::Journal;
use crate::keyspace::Keyspace;
use crate::migrate::Migrate;
use crate::mode::Mode;
use crate::parts::Parts;
use crate::pause::PauseReason;
use crate::persist::aof::files::TurnEnd;
use crate::persist::fill::StreamPosition;
pub use crate::rng::Seeds;
use crate::sentinel::{Sentinel, World};
use crate::timers::Timer;

/// A Redis-compatible node.
pub struct Node {
    /// State shared by all parts.
    pub core: Core,
    /// The data set.
    pub data: Keyspace,
    /// The effects of commands.
    pub journal: Journal,
    /// All other stateful parts.
    pub parts: Parts,
    /// Commands by name.
    pub commands: CommandTable,
    batch: serve::Batch,
    /// Whether expired keys are pending.
    expire_wanted: bool,
}

impl Node {
    /// Creates a node.
    pub fn new(config: Config, boot: Boot, now: Now) -> Node {
        let seed = russet_ds::hash::Seed::new(boot.seeds.hash);
        let databases = match boot.mode {
            Mode::Cluster => config.cluster_databases,
            Mode::Standalone | Mode::Sentinel => config.databases,
        };
        let spread = if boot.by_slot { Mode::Cluster } else { boot.mode };
        let mut data = Keyspace::new(databases, seed, spread);
        data.set_policy(&config);
        let commands = CommandTable::of(boot.mode);
        let mut core = Core::new(config, boot, now);
        core.count_slots_if_enabled();
        let parts = Parts::new(&mut core);
        let mut node = Node {
            core,
            data,
            journal: Journal::default(),
            parts,
            commands,
            batch: Default::default(),
            expire_wanted: false,
        };
        #[cfg(feature = "injected")]
        {
            node.data.bug = node.core.boot.bug;
        }
        node.start(now);
        node
    }

    /// Applies the configuration at the start.
    fn start(&mut self, now: Now) {
        self.advance(now);
        self.core.timers.set(Timer::Cron, now.mono_us);
        self.core.timers.set(Timer::Memory, now.mono_us);
        self.apply(Hook::KeyspaceEvents);
        let Node { core, journal, parts, .. } = self;
        parts.saves.saved_now(core);
        if core.boot.mode != Mode::Sentinel {
            parts.following.begin_at_start(core, journal, &mut parts.master);
        }
        if core.boot.load {
            parts.busy.begin(Activity::Loading, None);
            parts.loading.begin_at_start(core);
        } else {
            self.ready_to_serve();
        }
        self.with_sentinel(Sentinel::begin_at_start);
        self.with_cluster(Cluster::begin_at_start);
    }

    /// Sets the current time.
    fn advance(&mut self, now: Now) {
        self.core.now = now;
        self.journal.tail.set_time(now.wall_secs());
        if self.parts.busy.is(Activity::Exec) {
            // Within an EXEC the time of the keyspace does not advance, however many turns it
            // takes.
            return;
        }
        self.data.now_ms = now.wall_ms();
        self.data.clock = (now.wall_secs() & 0xff_ffff) as u32;
    }

    /// Whether the exit of the process has been ordered.
    fn is_stopped(&self) -> bool {
        self.parts.busy.is(Activity::Stopped)
    }

    /// Handles one event of the control plane.
    pub fn handle(&mut self, now: Now, input: Input) {
        if self.is_stopped() {
            return;
        }
        self.advance(now);
        let Node { core, data, parts, .. } = self;
        match input {
            Input::Closed(handle) => self.remove_client(handle),
            Input::Connected { link, result } => self.link_connected(link, result),
            Input::Snapshot { job, event } => parts.saves.event(core, data, job, event),
            Input::File { job, event } => self.file_event(job, event),
            Input::Append { event: AppendEvent::SyncFailed(_), .. }
                if core.injected(Bug::ForgottenSyncFailure) => {}
            Input::Append { job, event } => {
                parts.aof.event(core, &mut parts.clients, &mut self.journal.tail, job, event);
            }
            Input::Answer { id, answer } => {
                let Parts { settings, clients, busy, aof, loading, sentinel, pubsub, .. } = parts;
                sentinel.answered(&mut World { core, clients, pubsub }, id, &answer);
                if let Some(load) = &mut loading.aof {
                    load.answered(core, id, &answer);
                }
                clients.request_answered(core, id, answer.is_ok());
                aof.answered(core, clients, &mut self.journal.tail, id, &answer);
                settings.answered(core, clients, busy, id, answer.clone());
                self.with_cluster(|cluster, world| cluster.answered(world, id, &answer));
            }
            Input::ScriptStarted { job, pid } => {
                self.with_sentinel(|sentinel, world| sentinel.script_started(world, job, pid));
            }
            Input::ScriptEnded { job, outcome } => {
                self.with_sentinel(|sentinel, world| sentinel.script_ended(world, job, outcome));
            }
            Input::Signal(signal) => {
                parts.shutdown.signalled(core, signal);
                if !parts.cron_paused {
                    let Parts { shutdown, pause, master, .. } = parts;
                    shutdown.act_on_signal(core, pause, master);
                }
            }
        }
        self.settle();
    }

    fn file_event(&mut self, job: JobId, event: FileEvent) {
        let Node { core, journal, parts, .. } = self;
        let Parts { clients, master, saves, loading, aof, .. } = parts;
        if aof.file_event(core, &mut journal.tail, job, &event) {
            return;
        }
        if let Some(event) = master.file_event(core, clients, saves, job, event) {
            loading.file_event(job, event);
        }
    }

    /// Calls the Sentinel part with what it acts on.
    fn with_sentinel<T>(&mut self, call: impl FnOnce(&mut Sentinel, &mut World<'_>) -> T) -> T {
        let Node { core, parts, .. } = self;
        let Parts { sentinel, clients, pubsub, .. } = parts;
        call(sentinel, &mut World { core, clients, pubsub })
    }

    /// Calls the cluster part with what it acts on.
    pub(super) fn with_cluster<T>(
        &mut self,
        call: impl FnOnce(&mut Cluster, &mut ClusterWorld<'_>) -> T,
    ) -> T {
        self.parts.with_cluster(&mut self.core, call)
    }

    /// Passes the result of an outgoing connection to its owner.
    fn link_connected(&mut self, link: Handle, result: Result<Endpoints, String>) {
        let Node { core, parts, .. } = self;
        let Parts { clients, following, .. } = parts;
        let is_open = result.is_ok();
        let is_wanted = match clients.get(link).map(|client| client.role) {
            Some(Role::Link(LinkOwner::Master)) => following.connected(core, clients, link, result),
            Some(Role::Link(LinkOwner::Sentinel)) => {
                self.with_sentinel(|sentinel, world| sentinel.connected(world, link, result))
            }
            Some(Role::Link(LinkOwner::Bus)) => {
                self.with_cluster(|cluster, world| cluster.connected(world, link, result))
            }
            Some(Role::Link(LinkOwner::Successor)) => {
                self.with_cluster(|cluster, world| cluster.successor_connected(world, link, result))
            }
            Some(Role::Link(LinkOwner::Migrate)) => {
                self.with_migrate(|migrate, world| migrate.connected(world, link, result))
            }
            _ => false,
        };
        let core = &mut self.core;
        if is_open && !is_wanted {
            core.output(Output::Close(link));
        }
    }

    /// Runs one turn: due timers, requests of ready clients, a slice of background work.
    pub fn turn(&mut self, now: Now, host: &mut dyn Host) {
        if self.is_stopped() {
            return;
        }
        self.advance(now);
        let began_us = host.ticks_us();
        if self.parts.migrate.has_news() {
            // Before the timers: nobody is found silent whose reply is here already.
            self.with_migrate(Migrate::take_news);
            self.carry_out_orders();
        }
        self.run_timers(host);
        self.resume_exec(host, began_us);
        self.serve_blocked(host);
        self.serve(host, began_us);
        if !self.is_stopped() {
            self.background(host, began_us);
        }
        self.settle();
    }

    /// Reports the duration of a round of the driver, in microseconds, for INFO.
    #[inline]
    pub fn count_round(&mut self, us: u64) {
        self.core.stats.count_turn(us);
    }

    /// Completes a change: carries out orders and propagates effects.
    fn settle(&mut self) {
        self.deliver_events();
        self.carry_out_orders();
        // An incomplete transaction is not propagated.
        let is_level = !self.parts.busy.is(Activity::Exec) || self.core.injected(Bug::SplitExec);
        if is_level {
            self.journal.flush(&mut self.parts.master.stream);
        }
        self.begin_awaited_saves();
        self.begin_awaited_replay();
        let Node { core, data, parts, .. } = self;
        let Parts { clients, master, following, saves, .. } = parts;
        // Stock replicas take over at the very offset that they were told, so nothing may be added to it.
        let is_failing_over =
            parts.failover.is_running() || parts.pause.of(PauseReason::Cluster).is_some();
        master.process_acks(core, clients, parts.aof.synced_batch(), is_failing_over);
        if is_level {
            let is_mid_change = parts.busy.is_mid_change();
            let at = TurnEnd { offset: master.stream.offset(), is_mid_change };
            parts.aof.end_turn(core, (data, saves), clients, &mut self.journal.tail, at);
        }
        master.flush_stream(core, clients);
        let offset = master.stream.offset();
        let on_disk = parts.aof.synced_offset(&self.journal.tail, offset);
        following.send_ack(core, clients, offset, on_disk);
        while let Some(garbage) = data.take_garbage() {
            core.free(garbage);
        }
        self.carry_out_orders();
        if is_level && self.parts.failover.is_running() {
            self.proceed_with_failover();
        }
    }

    /// Returns the next output; `Wait` if there is none.
    pub fn poll_output(&mut self, now: Now) -> Output {
        if let Some(output) = self.core.take_output() {
            return output;
        }
        if self.is_stopped() {
            return Output::Wait(None);
        }
        if self.has_work() {
            return Output::Wait(Some(0));
        }
        let next = match self.parts.busy.is(Activity::Sleep) {
            true => self.core.timers.due(Timer::Sleep),
            false => self.core.timers.next(),
        };
        Output::Wait(next.map(|due| due.max(now.mono_us + 1)))
    }

    fn has_work(&self) -> bool {
        let busy = &self.parts.busy;
        (self.parts.clients.ready_len() > 0 && !busy.holds_all())
            || self.may_resume_exec()
            || self.may_serve_blocked()
            || self.parts.migrate.has_news()
            || self.has_background_work()
    }

    /// Returns the replication position of the data; none without a replication stream, or during
    /// an EXEC, when the data is ahead of the stream.
    fn stream_position(&self) -> Option<StreamPosition> {
        let upstream_db = self.parts.following.upstream_db();
        let is_level = self.journal.is_empty();
        is_level.then(|| self.parts.master.stream.position(upstream_db)).flatten()
    }

    /// Returns the database selected at the current position of the replication stream.
    pub fn stream_db(&self) -> u32 {
        let Parts { master, following, .. } = &self.parts;
        following.upstream_db().unwrap_or(master.stream.selected_db())
    }

    /// Returns the memory usage of the program, data and buffers.
    pub fn used_memory(&self) -> usize {
        self.parts.used_memory(&self.core) + self.data.allocated_bytes()
    }
}

/// The data plane.
impl Node {
    /// Accepts a connection at a listener of this service, or returns the bytes to send before it is
    /// closed.
    pub fn accept(
        &mut self,
        now: Now,
        service: Service,
        ends: Endpoints,
    ) -> Result<Handle, Vec<u8>> {
        if self.is_stopped() {
            return Err(Vec::new());
        }
        self.advance(now);
        let handle = match service {
            Service::Clients => self.parts.clients.accept(&mut self.core, ends)?,
            Service::Bus => {
                let accepted = self.with_cluster(|cluster, world| cluster.accepted(world, ends));
                accepted.ok_or_else(Vec::new)?
            }
        };
        self.core.timers.set_if_idle(Timer::Cron, now.mono_us + 100_000);
        Ok(handle)
    }

    /// Returns the buffer to read into: append to it, then call [`Node::received`].
    ///
    /// It has spare capacity. None if the connection must not be read now.
    #[inline]
    pub fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>> {
        if self.is_stopped() {
            return None;
        }
        let held = self.parts.busy.holds_all();
        self.parts.clients.read_buffer(handle, held, self.core.boot.read_ahead_bytes)
    }

    /// Handles bytes appended to a connection's buffer.
    #[inline]
    pub fn received(&mut self, now: Now, handle: Handle) {
        self.core.now = now;
        let Node { core, parts, .. } = self;
        let Parts { clients, following, .. } = parts;
        match clients.received(core, handle) {
            Received::Queued => {}
            Received::ForOwner(_) => parts.migrate.bytes_arrived(handle),
            Received::LinkTooLong(LinkOwner::Master) => {
                following.protocol_error(core, clients, handle, "a request without an end");
            }
            Received::LinkTooLong(_) => {
                clients.drop_without_flush(core, handle);
            }
        }
        if self.core.has_orders() {
            self.carry_out_orders();
        }
    }

    /// Moves the connections with new output since the last call, each once.
    pub fn take_dirty(&mut self, into: &mut Vec<Handle>) {
        self.parts.clients.take_dirty(into);
    }

    /// Returns a connection's output, to be written and consumed.
    #[inline]
    pub fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox> {
        self.parts.clients.outbox(handle)
    }

    /// Handles bytes written from a connection's outbox.
    #[inline]
    pub fn written(&mut self, handle: Handle, bytes: usize) {
        let Node { core, journal, parts, .. } = self;
        let Parts { clients, master, following, aof, .. } = parts;
        match clients.written(core, handle, bytes) {
            Some(Role::Replica) => master.bytes_written(core, clients, handle, bytes),
            Some(Role::Link(LinkOwner::Master)) => {
                let offset = master.stream.offset();
                let on_disk = aof.synced_offset(&journal.tail, offset);
                following.send_ack(core, clients, offset, on_disk);
            }
            Some(Role::Link(LinkOwner::Migrate)) => {
                let is_all = clients.outbox(handle).is_none_or(|outbox| outbox.is_empty());
                parts.migrate.written(handle, is_all);
            }
            Some(Role::Client | Role::Link(_)) | None => {}
        }
        if self.core.has_orders() {
            self.carry_out_orders();
        }
    }

    /// Whether a half-closed connection has a request in progress that must be answered, and those
    /// behind it. Clients that wait for replicas or for the end of a pause are closed.
    pub fn works_for(&self, handle: Handle) -> bool {
        let Some(client) = self.parts.clients.get(handle) else { return false };
        let waiting = client.blocked.map(|blocked| blocked.waiting);
        let requests = matches!(
            waiting,
            Some(
                Waiting::Answer(_)
                    | Waiting::Snapshot(_)
                    | Waiting::Flush
                    | Waiting::FlushInExec
                    | Waiting::Shutdown
                    | Waiting::State
                    | Waiting::Migrate
                    | Waiting::Node
            )
        );
        let awaits_migration = waiting == Some(Waiting::Pause) && self.parts.migrate.is_running();
        requests || awaits_migration || client.transaction.running
    }

    /// Resumes a client that was blocked or held.
    fn resume(&mut self, handle: Handle) {
        let Node { core, data, parts, .. } = self;
        let Parts { clients, master, following, cluster, blocking, .. } = parts;
        let Some(Blocked { waiting, .. }) = clients.unblock(core, handle) else { return };
        master.stop_waiting(waiting, handle);
        if waiting == Waiting::Keys {
            blocking.forget(data, handle);
        }
        cluster.take_slot_order(handle);
        following.resumed(core.now.mono_us, handle);
        let Some(client) = clients.get_mut(handle) else { return };
        if client.transaction.running {
            // EXEC continues with its next command in the next turn.
            return;
        }
        if waiting != Waiting::Pause {
            client.reply_mode.request_ended();
        }
        clients.mark_ready_if_pending(handle);
    }

    /// Removes a connection from all parts. During EXEC its client stays until the end.
    fn remove_client(&mut self, handle: Handle) {
        let Node { core, data, parts, .. } = self;
        let Parts { clients, master, following, saves, blocking, .. } = parts;
        let Some(client) = clients.get_mut(handle) else { return };
        let by_peer = !std::mem::replace(&mut client.closed, true);
        if client.transaction.running {
            client.closing = true;
            return;
        }
        if let Some(blocked) = client.blocked {
            master.stop_waiting(blocked.waiting, handle);
            blocking.forget(data, handle);
        }
        match client.role {
            Role::Client | Role::Replica => master.on_close(core, clients, saves, handle, by_peer),
            Role::Link(LinkOwner::Master) => following.on_close(core, handle, by_peer),
            Role::Link(LinkOwner::Migrate) => {
                self.with_migrate(|migrate, world| migrate.link_closed(world, handle));
            }
            Role::Link(LinkOwner::Sentinel | LinkOwner::Bus | LinkOwner::Successor) => {}
        }
        self.with_sentinel(|sentinel, world| sentinel.on_close(world, handle));
        self.with_cluster(|cluster, world| cluster.on_close(world, handle));
        let Node { core, data, parts, .. } = self;
        let Parts { clients, pubsub, monitors, .. } = parts;
        pubsub.on_close(handle);
        monitors.remove(clients, handle);
        crate::watching::unwatch_all(clients, data, handle);
        clients.remove(core, handle);
    }
}
