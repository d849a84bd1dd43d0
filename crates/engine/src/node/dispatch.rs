//! Dispatches a parsed request: queueing, execution, reply and effects.

use russet_ds::SharedBytes;
use russet_protocol::{ErrorReply, ReplyWriter};

use super::Node;
use super::admit::is_http;
use crate::busy::Activity;
use crate::call::{Call, Caller};
use crate::clients::{Outbox, Shows, query_bytes_max};
use crate::command::slowlog::{REDACTED, shown};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag};
use crate::expiry;
use crate::ids::Handle;
use crate::injected::Bug;
use crate::io::{Host, Level};
use crate::journal::Origin;
use crate::keyspace::ExpiryPolicy;
use crate::notify;
use crate::parts::Parts;
use crate::transaction::Queued;

/// Flags of commands that may be propagated as received.
const PROPAGATES: u64 = flag::WRITE | flag::MAY_REPLICATE;

/// How pending effects are propagated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Propagation {
    /// As one atomic unit.
    Together,
    /// As separate units.
    Apart,
}

impl Node {
    /// Runs one request of a connection. Returns false if it must be kept for later (the client is
    /// paused).
    pub(super) fn execute(
        &mut self,
        handle: Handle,
        found: Option<&'static Command>,
        args: &Args<'_>,
        raw: &[u8],
        host: &mut dyn Host,
    ) -> bool {
        let Some(client) = self.parts.clients.get_mut(handle) else { return true };
        let row = found.and_then(|command| command.picked(args));
        client.last_command = row.map_or("NULL", |row| row.name);
        let is_upstream = client.is_master_link();
        let taken = match is_upstream {
            true => self.execute_upstream(handle, found, args, raw, host),
            false => self.execute_request(handle, found, args, raw, host),
        };
        if taken && !row.is_some_and(|row| row.has(flag::KEEPS_ASKING)) {
            self.end_asking(handle);
        }
        if self.core.has_orders() {
            self.carry_out_orders();
        }
        if self.data.awaited.has_changed() {
            self.serve_blocked(host);
        }
        taken
    }

    /// Requests of clients.
    fn execute_request(
        &mut self,
        handle: Handle,
        found: Option<&'static Command>,
        args: &Args<'_>,
        raw: &[u8],
        host: &mut dyn Host,
    ) -> bool {
        let command = match self.resolve(found, args) {
            Ok(command) => command,
            Err(_) if is_http(args) => {
                self.reject_http(handle);
                return true;
            }
            Err(error) => {
                let row = found.and_then(|command| command.picked(args));
                if row.is_none() {
                    self.log_missing(handle, found, args);
                }
                self.refuse(handle, row, &error);
                return true;
            }
        };
        let slot = match self.check_slot(handle, command, args) {
            Ok(slot) => slot,
            Err(error) => {
                self.refuse_slot(handle, command, &error);
                return true;
            }
        };
        if let Err(error) = self.admit(handle, command) {
            self.refuse(handle, Some(command), &error);
            return true;
        }
        let Node { core, parts, .. } = self;
        let Parts { clients, pause, .. } = parts;
        let Some(client) = clients.get_mut(handle) else { return true };
        let queued = if command.has(flag::RUNS_QUEUE) { client.transaction.flags } else { 0 };
        if pause.holds(command.flags | queued, core.now) && !client.is_replica() {
            pause.hold(core, clients, handle);
            return false;
        }
        let is_queued = client.transaction.open && !command.has(flag::IN_MULTI);
        if !is_queued && !client.is_replica() && self.is_held_by_migration(command, args) {
            let Node { core, parts, .. } = self;
            parts.pause.hold(core, &mut parts.clients, handle);
            return false;
        }
        self.count_request(slot, command, args, raw);
        if is_queued {
            self.enqueue(handle, command, args);
        } else {
            self.run_for_client(handle, Caller::Client, command, args, host);
        }
        self.request_ended(handle);
        true
    }

    /// Updates CLIENT REPLY SKIP after a request was answered or blocked.
    pub(super) fn request_ended(&mut self, handle: Handle) {
        if let Some(client) = self.parts.clients.get_mut(handle)
            && client.blocked.is_none()
            && !client.transaction.running
        {
            client.reply_mode.request_ended();
        }
    }

    fn enqueue(&mut self, handle: Handle, command: &'static Command, args: &Args<'_>) {
        let queued = self.queued(command, args);
        let Node { core, parts, .. } = self;
        let Some(client) = parts.clients.get_mut(handle) else { return };
        client.transaction.push(queued, command.flags);
        // A queued request counts like unread bytes of the query buffer.
        if client.transaction.queued_bytes > query_bytes_max(core) {
            parts.clients.query_buffer_full(core, handle);
        } else {
            parts.clients.reply(core, handle, |reply| reply.simple("QUEUED"));
        }
    }

    pub(super) fn queued(&self, command: &'static Command, args: &Args<'_>) -> Queued {
        Queued::new(self.commands.id_of(command), args.to_owned_parts())
    }

    /// Runs a command for a client and writes its reply to the outbox.
    pub(super) fn run_for_client(
        &mut self,
        handle: Handle,
        caller: Caller,
        command: &'static Command,
        args: &Args<'_>,
        host: &mut dyn Host,
    ) {
        let Node { core, data, parts, .. } = self;
        if caller == Caller::Exec
            && command.has(flag::WRITE)
            && core.is_replica
            && core.config.replica_read_only
        {
            // A REPLICAOF preceded it in the transaction.
            return parts.clients.reply_error(core, handle, &ErrorReply::ReadOnly);
        }
        let Some(client) = parts.clients.get_mut(handle) else { return };
        let (db, protocol, was_replica) = (client.db, client.protocol, client.is_replica());
        let reply_at = client.wire.outbox.end();
        data.no_touch = client.no_touch;
        client.is_running = true;
        let tail_max = client.tail_max(&core.config);
        let mut out = std::mem::take(&mut client.wire.outbox.tail);
        let before = out.len();
        let mut shared = Vec::new();
        let mut call = Call { caller, session: Some(handle), db, protocol };
        let dirty = data.dirty;
        let writer = ReplyWriter::new(&mut out, protocol).with_max(tail_max);
        let mut reply = Reply::new(writer, &mut shared);
        let outcome = self.run(&mut call, command, args, &mut reply, host);
        let is_cut = reply.is_cut();
        if let Some(client) = self.parts.clients.get_mut(handle) {
            client.db = call.db;
            client.is_running = false;
        }
        let is_push = command.has(flag::PUSHES_REPLY) && outcome.is_ok();
        let written = Written { out, before, shared, is_cut };
        self.put_reply(handle, written, was_replica, is_push);
        let is_transaction = matches!(outcome, Ok(Flow::Transaction));
        if is_transaction {
            self.parts.clients.hold_exec(handle, reply_at);
        }
        match outcome {
            Ok(Flow::Done | Flow::Blocked | Flow::Waits) | Err(_) => {}
            Ok(Flow::Transaction) => self.begin_exec(handle, command, host),
            Ok(flow) => self.finish(handle, flow),
        }
        self.gather_effects(db, dirty, command, args);
        if self.parts.clients.durable.is_on() && !is_transaction {
            self.hold_reply(handle, reply_at, caller, command, args);
        }
        if !self.journal.is_empty() && !self.parts.busy.is(Activity::Exec) {
            self.count_effects();
            self.propagate(match command.has(flag::ARBITRARY_KEYS) {
                true => Propagation::Apart,
                false => Propagation::Together,
            });
            let offset = self.parts.master.stream.offset();
            let batch = self.parts.clients.durable.filling();
            if let Some(client) = self.parts.clients.get_mut(handle) {
                (client.last_write_offset, client.last_write_batch) = (offset, batch);
            }
        }
    }

    /// Holds the reply of a command that wrote, or read what is not safe in the append-only file yet.
    fn hold_reply(
        &mut self,
        handle: Handle,
        reply_at: u64,
        caller: Caller,
        command: &'static Command,
        args: &Args<'_>,
    ) {
        let early = |bug, flag| self.core.injected(bug) && command.has(flag);
        if early(Bug::UnsyncedWrite, flag::WRITE) || early(Bug::UnsyncedRead, flag::READONLY) {
            return;
        }
        let durable = &self.parts.clients.durable;
        let shows = if !self.journal.is_empty() {
            durable.written()
        } else if !command.has(flag::READONLY | flag::WRITE) {
            Shows::Nothing
        } else if command.keys.is_empty() || command.reads_derived_keys() {
            durable.read_all()
        } else {
            durable.read(command.key_indexes(args).map(|index| args.key(index).hash))
        };
        match caller {
            Caller::Exec => self.parts.clients.exec_shows(shows),
            _ => self.parts.clients.hold_until_safe(handle, reply_at, shows),
        }
    }

    /// Runs the function of a command.
    pub(super) fn run(
        &mut self,
        call: &mut Call,
        command: &'static Command,
        args: &Args<'_>,
        reply: &mut Reply<'_>,
        host: &mut dyn Host,
    ) -> Outcome {
        let Node { core, data, journal, parts, commands, .. } = self;
        data.policy = match call.caller {
            Caller::Master => ExpiryPolicy::Ignore,
            _ if core.is_replica || parts.pause.is_on(core.now) => ExpiryPolicy::Hide,
            _ => ExpiryPolicy::Remove,
        };
        journal.set_origin(match call.caller {
            Caller::Master => Origin::Upstream,
            _ => Origin::Local,
        });
        data.own_expiries.is_recording = core.is_replica && call.caller != Caller::Master;
        let mut ctx = Ctx { call, command, commands, core, data, journal, parts };
        let outcome = (command.run)(&mut ctx, &args.of(command), reply);
        self.data.own_expiries.is_recording = false;
        if let Err(error) = &outcome {
            reply.error(error);
        }
        if self.parts.monitors.is_on() {
            self.tell_monitors(call, command, args, &outcome);
        }
        let number = self.commands.number_of(command);
        let ticks_us = host.ticks_us();
        if matches!(outcome, Ok(Flow::Waits)) {
            // It counts when it ends.
            self.core.stats.tick(ticks_us);
            return outcome;
        }
        let took_us = self.core.stats.command_ended(number, ticks_us, outcome.as_ref().err());
        if !command.has(flag::SKIP_SLOWLOG) && !matches!(outcome, Ok(Flow::Blocked)) {
            let Parts { slowlog, clients, .. } = &mut self.parts;
            slowlog.executed(&self.core, clients, call.session, took_us, || shown(command, args));
        }
        outcome
    }

    /// Sends an executed command to the clients in monitor mode: none of administration, and none of a file that is loaded.
    #[cold]
    fn tell_monitors(
        &mut self,
        call: &Call,
        command: &'static Command,
        args: &Args<'_>,
        outcome: &Outcome,
    ) {
        let Node { core, parts, .. } = self;
        let Parts { monitors, clients, following, blocking, busy, .. } = parts;
        let is_loading = busy.is(Activity::Loading) || busy.is(Activity::Reload);
        let is_repeated = call.session.is_some_and(|handle| blocking.runs_again(handle));
        if command.has(flag::ADMIN | flag::SKIP_MONITOR) || is_loading || is_repeated {
            return;
        }
        if matches!(outcome, Ok(Flow::Transaction)) {
            return monitors.exec_began(&args[0]);
        }
        let client = call.session.or_else(|| following.master().and_then(|master| master.link));
        let words = args.iter().enumerate().map(|(at, arg)| match command.is_secret(args, at) {
            true => REDACTED,
            false => arg,
        });
        monitors.executed(core, clients, client, call.db, words);
    }

    /// Handles the flow result of a command's function.
    fn finish(&mut self, handle: Handle, flow: Flow) {
        let Node { core, parts, .. } = self;
        let Parts { clients, master, busy, settings, .. } = parts;
        match flow {
            Flow::Request(request) => settings.request(core, clients, busy, handle, request),
            Flow::Attached => master.attached(core, clients, handle),
            Flow::Close => clients.close_after_reply(core, handle),
            Flow::Done | Flow::Blocked | Flow::Waits | Flow::Transaction => {}
        }
    }

    /// Returns the outbox with a command's reply to its client. The reply is sent or dropped
    /// depending on the connection's role and, unless it is a push, its CLIENT REPLY mode. Messages
    /// that the command sent to its own client follow it.
    fn put_reply(&mut self, handle: Handle, written: Written, was_replica: bool, is_push: bool) {
        let Written { out, before, shared, is_cut } = written;
        let Node { core, parts, .. } = self;
        let Some(client) = parts.clients.get_mut(handle) else { return };
        // Bytes added to the outbox meanwhile, such as a push, follow the reply.
        let meanwhile = std::mem::replace(&mut client.wire.outbox.tail, out);
        let tail = &mut client.wire.outbox.tail;
        let has_written = tail.len() > before || !shared.is_empty();
        let is_dropped = client.reply_mode.drops_reply() && !is_push;
        if !is_dropped && let Some(slots) = &mut core.stats.slots {
            let lent: usize = shared.iter().map(|(_, bytes)| bytes.len()).sum();
            slots.sent(tail.len() - before + lent);
        }
        if is_dropped || client.closed || (was_replica && has_written) {
            tail.truncate(before);
        } else if is_cut {
            return parts.clients.close_for_output(core, handle);
        } else if !shared.is_empty() {
            let whole = std::mem::take(tail);
            splice(&mut client.wire.outbox, &whole, shared);
        }
        if !meanwhile.is_empty() {
            client.wire.outbox.tail.extend_from_slice(&meanwhile);
        }
        let is_empty = client.wire.outbox.is_empty();
        if was_replica && has_written {
            self.replica_was_answered(handle);
        } else if !is_empty {
            parts.clients.output_appended(core, handle);
        }
        self.parts.clients.release_messages(&mut self.core, handle);
    }

    /// Closes a replica whose command produced a reply: it would take the reply for a part of the
    /// stream.
    #[cold]
    pub(super) fn replica_was_answered(&mut self, handle: Handle) {
        let Node { core, parts, .. } = self;
        let who = crate::command::client::describe(core, parts, handle);
        let name = parts.clients.get(handle).map_or("", |client| client.last_command);
        let text =
            format!("Replica generated a reply to command '{name}', disconnecting it: {who}");
        core.log(Level::Warning, text);
        parts.clients.close(core, handle);
    }

    /// Collects the effects of the executed command, after those of keys that expired during it.
    pub(super) fn gather_effects(
        &mut self,
        db: u32,
        dirty: u64,
        command: &'static Command,
        args: &Args<'_>,
    ) {
        let Node { core, data, journal, parts, .. } = self;
        expiry::propagate(core, data, journal);
        let is_overridden = journal.take_override();
        let has_changed = data.dirty != dirty;
        if has_changed && !is_overridden && command.has(PROPAGATES) {
            journal.add_given(db, args.len(), args.iter());
        }
        if parts.clients.durable.is_on() && !journal.is_empty() {
            let durable = &mut parts.clients.durable;
            match command.keys.is_empty() {
                true => durable.changes_all(),
                false => {
                    durable.changes(command.key_indexes(args).map(|index| args.key(index).hash))
                }
            }
        }
        if data.watch.has_touched() {
            self.break_transactions();
        }
        self.deliver_events();
    }

    /// Publishes keyspace events.
    pub(super) fn deliver_events(&mut self) {
        let Node { core, data, parts, .. } = self;
        if data.has_events() {
            for event in data.take_events() {
                notify::publish(core, &mut parts.clients, &parts.pubsub, &event);
            }
        }
    }

    /// Propagates the pending effects.
    pub(super) fn propagate(&mut self, how: Propagation) {
        match how {
            Propagation::Together => self.journal.flush(&mut self.parts.master.stream),
            Propagation::Apart => self.journal.flush_apart(&mut self.parts.master.stream),
        }
    }
}

/// What a command wrote to the tail of its client's outbox.
struct Written {
    out: Vec<u8>,
    /// The length of the tail before it.
    before: usize,
    /// Values that are lent, each with its offset in `out`.
    shared: Vec<(usize, SharedBytes)>,
    /// Whether the reply exceeds the limit of the client's output.
    is_cut: bool,
}

/// Appends `whole` to an outbox with the shared strings at their offsets.
fn splice(outbox: &mut Outbox, whole: &[u8], shared: Vec<(usize, SharedBytes)>) {
    let mut start = 0;
    for (offset, bytes) in shared {
        outbox.tail.extend_from_slice(&whole[start..offset]);
        outbox.push_lent(bytes);
        start = offset;
    }
    outbox.tail.extend_from_slice(&whole[start..]);
}
