//! The node: everything with Redis' semantics as one deterministic value.
//!
//! It owns its parts and is the only go-between: it routes inputs, timers and requests to them, and carries out what
//! they order of each other. What a part does stands in the part. This file is the driver's side
//! ([`crate::io`] states the contract); the others:
//!
//! * `serve.rs`: the hot path, ready clients' requests in batches;
//! * `dispatch.rs`: may it run, is it queued, run it, gather its effects;
//! * `exec.rs`: EXEC's queue, in turns if need be;
//! * `orders.rs`: what parts order of each other;
//! * `timers.rs`: what time does.

mod dispatch;
mod exec;
mod orders;
mod serve;
mod timers;

use crate::busy::With;
use crate::clients::{Blocked, LinkOwner, Outbox, Received, Role, Waiting};
use crate::command::CommandTable;
use crate::config::{Config, Hook};
pub use crate::core::{Boot, Core, Platform};
use crate::ids::{Handle, JobId};
use crate::io::{Endpoints, FileEvent, Host, Input, Now, Output, Service};
use crate::journal::Journal;
use crate::keyspace::Keyspace;
use crate::parts::Parts;
use crate::persist::fill::StreamPosition;
use crate::rng::Rng;
use crate::timers::Timer;

/// See the module.
pub struct Node {
    /// What every part may borrow.
    pub core: Core,
    /// Data.
    pub data: Keyspace,
    /// What commands did.
    pub journal: Journal,
    /// Everything else that has state.
    pub parts: Parts,
    /// Commands by name.
    pub commands: CommandTable,
    batch: serve::Batch,
    /// Keys wait to be expired.
    expire_wanted: bool,
}

impl Node {
    /// A node at the start of its life.
    pub fn new(config: Config, boot: Boot, now: Now) -> Node {
        let mut rng = Rng::new(boot.seed);
        let seed = (u128::from(rng.draw()) << 64) | u128::from(rng.draw());
        let seed = russet_ds::hash::Seed::new(seed);
        let mut data = Keyspace::new(config.databases, seed, boot.mode);
        data.set_policy(&config);
        let parts = Parts::new(&mut rng);
        let mut node = Node {
            core: Core::new(config, boot, now, rng),
            data,
            journal: Journal::default(),
            parts,
            commands: CommandTable::default(),
            batch: Default::default(),
            expire_wanted: false,
        };
        #[cfg(feature = "injected")]
        {
            node.data.skips_preimages = node.core.injected(crate::injected::Bug::SkippedPreimage);
        }
        node.start(now);
        node
    }

    /// What the configuration requests at the start.
    fn start(&mut self, now: Now) {
        self.advance(now);
        self.core.timers.set(Timer::Cron, now.mono_us);
        self.core.timers.set(Timer::Memory, now.mono_us);
        self.apply(Hook::KeyspaceEvents);
        let Node { core, journal, parts, .. } = self;
        parts.saves.saved_now(core);
        parts.following.begin_at_start(core, journal, &mut parts.master);
        if core.boot.load {
            parts.busy.begin(With::Loading, None);
            parts.loading.begin_at_start(core);
        } else {
            self.ready_to_serve();
        }
    }

    /// Takes note of the time.
    fn advance(&mut self, now: Now) {
        self.core.now = now;
        if self.parts.busy.is(With::Exec) {
            // For the keys time stands still within an EXEC, however many turns it takes.
            return;
        }
        self.data.now_ms = now.wall_ms();
        self.data.clock = (now.wall_secs() & 0xff_ffff) as u32;
    }

    /// One event of the control plane.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.advance(now);
        let Node { core, data, parts, .. } = self;
        match input {
            Input::Closed(handle) => self.forget(handle),
            Input::Connected { link, result } => self.link_connected(link, result),
            Input::Snapshot { job, event } => parts.saves.event(core, data, job, event),
            Input::File { job, event } => self.file_event(job, event),
            Input::Answer { id, answer } => {
                let Parts { settings, clients, busy, .. } = parts;
                clients.request_answered(core, id, answer.is_ok());
                settings.answered(core, clients, busy, id, answer);
            }
            Input::Signal(signal) => {
                let Parts { ending, pause, master, .. } = parts;
                ending.signalled(core, pause, master, signal);
            }
        }
        self.settle();
    }

    fn file_event(&mut self, job: JobId, event: FileEvent) {
        let Node { core, data, parts, .. } = self;
        let Parts { clients, master, saves, loading, .. } = parts;
        if let Some(event) = master.file_event(core, clients, saves, job, event) {
            loading.file_event(core, data, job, event);
        }
    }

    /// A connection that we opened is there, or could not be: its owner learns of it.
    fn link_connected(&mut self, link: Handle, result: Result<Endpoints, String>) {
        let Node { core, parts, .. } = self;
        let Parts { clients, following, .. } = parts;
        let is_open = result.is_ok();
        let is_wanted = match clients.get(link).map(|client| client.role) {
            Some(Role::Link(LinkOwner::Master)) => following.connected(core, clients, link, result),
            _ => false,
        };
        if is_open && !is_wanted {
            core.output(Output::Close(link));
        }
    }

    /// One turn: timers that are due, requests of ready clients, a slice of background work.
    pub fn turn(&mut self, now: Now, host: &mut dyn Host) {
        self.advance(now);
        let began_us = host.ticks_us();
        self.run_timers(host);
        self.resume_exec(host, began_us);
        self.serve(host, began_us);
        self.background(host);
        self.settle();
    }

    /// The driver's round ended: reading, the turn and writing took it so many microseconds. For INFO.
    #[inline]
    pub fn round_took(&mut self, us: u64) {
        self.core.stats.turn_took(us);
    }

    /// What follows every change: orders are carried out, effects go out.
    fn settle(&mut self) {
        self.deliver_events();
        self.carry_out_orders();
        // Half of a transaction is propagated to nobody.
        if !self.parts.busy.is(With::Exec) {
            self.journal.flush(&mut self.parts.master.stream);
        }
        let Node { core, data, parts, .. } = self;
        let Parts { clients, master, .. } = parts;
        master.settle_acks(core, clients);
        master.flush_stream(core, clients);
        while let Some(garbage) = data.take_garbage() {
            core.output(Output::Garbage(garbage));
        }
        self.carry_out_orders();
    }

    /// The next request to the world; `Wait` when there is none.
    pub fn poll_output(&mut self, now: Now) -> Output {
        if let Some(output) = self.core.take_output() {
            return output;
        }
        if self.has_work() {
            return Output::Wait(Some(0));
        }
        let next = match self.parts.busy.is(With::Sleep) {
            true => self.core.timers.due(Timer::Sleep),
            false => self.core.timers.next(),
        };
        Output::Wait(next.map(|due| due.max(now.mono_us + 1)))
    }

    fn has_work(&self) -> bool {
        let busy = &self.parts.busy;
        (self.parts.clients.ready_len() > 0 && !busy.holds_everybody())
            || self.may_resume_exec()
            || self.has_background_work()
    }

    /// Where the data stands in the replication stream; none if nothing follows it, or in the middle of an EXEC, where the
    /// data is ahead of the stream.
    fn stream_position(&self) -> Option<StreamPosition> {
        let upstream_db = self.parts.following.upstream_db();
        let is_level = self.journal.is_empty();
        is_level.then(|| self.parts.master.stream.position(upstream_db)).flatten()
    }

    /// Database that the replication stream has selected where our data stands in it.
    pub fn stream_db(&self) -> u32 {
        let Parts { master, following, .. } = &self.parts;
        following.upstream_db().unwrap_or(master.stream.selected_db())
    }

    /// Bytes that the data and the buffers take, by our own account.
    pub fn used_memory(&self) -> usize {
        self.parts.used_memory() + self.data.allocated_bytes()
    }
}

/// The data plane.
impl Node {
    /// A connection came in at a listener of this service. Refused: what it is sent before it is closed.
    pub fn accept(
        &mut self,
        now: Now,
        service: Service,
        ends: Endpoints,
    ) -> Result<Handle, Vec<u8>> {
        self.advance(now);
        let handle = match service {
            Service::Clients => self.parts.clients.accept(&mut self.core, ends)?,
        };
        self.core.timers.set_if_idle(Timer::Cron, now.mono_us + 100_000);
        Ok(handle)
    }

    /// Where to put bytes that arrive for a connection: append to it, then call [`Node::received`].
    ///
    /// Spare capacity is reserved. None if nothing must be read for it now.
    #[inline]
    pub fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>> {
        let held = self.parts.busy.holds_everybody();
        self.parts.clients.read_buffer(handle, held, self.core.boot.read_ahead_bytes)
    }

    /// Bytes were appended to a connection's buffer.
    #[inline]
    pub fn received(&mut self, now: Now, handle: Handle) {
        self.core.now = now;
        let Node { core, parts, .. } = self;
        let Parts { clients, following, .. } = parts;
        match clients.received(core, handle) {
            Received::Queued => {}
            Received::LinkTooLong(LinkOwner::Master) => {
                following.protocol_error(core, clients, handle, "a request without an end");
            }
        }
        if self.core.has_orders() {
            self.carry_out_orders();
        }
    }

    /// Connections whose outbox got bytes since the last call; each is named once.
    pub fn take_dirty(&mut self, into: &mut Vec<Handle>) {
        self.parts.clients.take_dirty(into);
    }

    /// A connection's output, to be written and consumed.
    #[inline]
    pub fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox> {
        self.parts.clients.outbox(handle)
    }

    /// The driver wrote so many bytes of a connection's outbox.
    #[inline]
    pub fn written(&mut self, handle: Handle, bytes: usize) {
        let Node { core, parts, .. } = self;
        let Parts { clients, master, .. } = parts;
        if clients.written(core, handle, bytes) == Some(Role::Replica) {
            master.took(core, clients, handle, bytes);
        }
        if self.core.has_orders() {
            self.carry_out_orders();
        }
    }

    /// Whether a request of this connection is under way that must be answered, and those behind it, though its
    /// far end has closed its sending side. Who waits for replicas or for a pause to end is let go.
    pub fn works_for(&self, handle: Handle) -> bool {
        let Some(client) = self.parts.clients.get(handle) else { return false };
        let waiting = client.blocked.map(|blocked| blocked.waiting);
        let requests = matches!(
            waiting,
            Some(Waiting::Answer(_) | Waiting::Snapshot(_) | Waiting::Shutdown | Waiting::Node)
        );
        requests || client.transaction.running
    }

    /// A client goes on: what it waited for has come, or whoever held it back has let go.
    fn resume(&mut self, handle: Handle) {
        let Node { core, parts, .. } = self;
        let Parts { clients, master, following, .. } = parts;
        let Some(Blocked { waiting, .. }) = clients.unblock(core, handle) else { return };
        master.stopped_waiting(waiting, handle);
        following.resumed(core.now.mono_us, handle);
        let Some(client) = clients.get_mut(handle) else { return };
        if client.transaction.running {
            // EXEC goes on with its next command, in the next turn.
            return;
        }
        if waiting != Waiting::Pause {
            client.reply_mode.request_ended();
        }
        clients.mark_ready_if_pending(handle);
    }

    /// Everything that knew a connection forgets it. In the middle of EXEC its client stays to the end.
    fn forget(&mut self, handle: Handle) {
        let Node { core, data, parts, .. } = self;
        let Parts { clients, master, following, saves, pubsub, .. } = parts;
        let Some(client) = clients.get_mut(handle) else { return };
        client.gone = true;
        if client.transaction.running {
            client.closing = true;
            return;
        }
        if let Some(blocked) = client.blocked {
            master.stopped_waiting(blocked.waiting, handle);
        }
        match client.role {
            Role::Client | Role::Replica => master.on_close(core, clients, saves, handle),
            Role::Link(LinkOwner::Master) => following.on_close(core, handle),
        }
        pubsub.on_close(handle);
        crate::watching::unwatch_all(clients, data, handle);
        clients.remove(core, handle);
    }
}
