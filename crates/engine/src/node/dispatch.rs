//! Dispatches a parsed request: checks, queueing, execution, reply and effects.

use russet_ds::SharedBytes;
use russet_protocol::error::c_str;
use russet_protocol::{ErrorReply, Protocol, ReplyWriter};

use super::Node;
use crate::busy::Activity;
use crate::call::{Call, Caller};
use crate::clients::{Outbox, link_bytes_max, query_bytes_max};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Protection, Reply, catalogue, flag};
use crate::config::{SetContext, allows};
use crate::expiry;
use crate::ids::Handle;
use crate::io::{Endpoints, Host, Level};
use crate::journal::Origin;
use crate::keyspace::ExpiryPolicy;
use crate::notify;
use crate::parts::Parts;
use crate::transaction::Queued;

/// Flags of commands that may be propagated as received.
const PROPAGATES: u64 = flag::WRITE | flag::MAY_REPLICATE;

/// Flags of commands that change neither data nor the state of a replication stream.
const HARMLESS: u64 = flag::READONLY | flag::ADMIN | flag::PUBSUB;

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
            false => self.execute_request(handle, found, args, host),
        };
        if self.core.has_orders() {
            self.carry_out_orders();
        }
        taken
    }

    /// Requests of clients.
    fn execute_request(
        &mut self,
        handle: Handle,
        found: Option<&'static Command>,
        args: &Args<'_>,
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
        if client.transaction.open && !command.has(flag::IN_MULTI) {
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

    /// Closes a connection that sends HTTP, possibly a browser misused by a web page: nothing after
    /// the head may run.
    fn reject_http(&mut self, handle: Handle) {
        let Node { core, parts, .. } = self;
        let address = match parts.clients.get(handle).map(|client| &client.ends) {
            Some(Endpoints::Tcp { peer, .. }) => format!(" from {peer}"),
            _ => String::new(),
        };
        if core.stats.should_log_attack(core.now.mono_us) {
            let text = format!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: \
                 commands to Redis: a web page can make a browser do so (Cross Protocol Scripting). \
                 Connection{address} aborted."
            );
            core.log(Level::Warning, text);
        }
        parts.clients.close(core, handle);
    }

    /// Logs once that a command of Redis is not implemented: its client gets the same error as for a
    /// typing error, and does not always show it.
    fn log_missing(&mut self, handle: Handle, found: Option<&'static Command>, args: &Args<'_>) {
        let sent = args.get(0).unwrap_or_default();
        let name = match (found, args.get(1)) {
            (Some(container), Some(word)) => {
                catalogue::find_name(&[container.name.as_bytes(), b"|", word].concat())
            }
            _ => catalogue::find_name(sent),
        };
        let Node { core, parts, .. } = self;
        let (Some(name), Some(client)) = (name, parts.clients.get(handle)) else { return };
        if core.stats.should_log_missing(name) {
            let text = format!(
                "Russet does not have the command '{}' of Redis 7.2 yet: a client at {} sent it and got an \
                 error. See docs/compatibility.md. (This is logged once for each command.)",
                name.replace('|', " ").to_ascii_uppercase(),
                client.peer(),
            );
            core.log(Level::Warning, text);
        }
    }

    /// Returns the command to run; for a container, its subcommand.
    fn resolve(
        &self,
        found: Option<&'static Command>,
        args: &Args<'_>,
    ) -> Result<&'static Command, ErrorReply> {
        let Some(command) = found else { return Err(unknown_command(args)) };
        let row = command.picked(args).ok_or_else(|| unknown_subcommand(command, args))?;
        if !row.takes(args.len()) {
            return Err(ErrorReply::WrongArity(row.name.to_owned()));
        }
        Ok(row)
    }

    /// Checks whether a client may run a command now.
    fn admit(&mut self, handle: Handle, command: &'static Command) -> Result<(), ErrorReply> {
        let Node { core, parts, .. } = self;
        let Parts { clients, master, following, saves, busy, .. } = parts;
        let Some(client) = clients.get(handle) else { return Err(ErrorReply::NoAuth) };
        if !client.authenticated && !command.has(flag::NO_AUTH) {
            return Err(ErrorReply::NoAuth);
        }
        // A transaction has the write flags of any of its commands, and permissions only if all of
        // them have them.
        let (flags, permits) = if command.has(flag::RUNS_QUEUE) {
            let transaction = &client.transaction;
            (command.flags | transaction.flags, command.flags & !transaction.flags_lacking)
        } else {
            (command.flags, command.flags)
        };
        let writes = flags & flag::WRITE != 0;
        let touches_keys = flag::WRITE | flag::READONLY | flag::MAY_REPLICATE;
        if client.is_replica() && command.has(touches_keys) {
            // A pause does not hold replicas.
            return Err(ErrorReply::err("Replica can't interact with the keyspace"));
        }
        if command.has(flag::NO_MULTI) && client.transaction.open {
            return Err(ErrorReply::err("Command not allowed inside a transaction"));
        }
        if let Some(protection) = &command.protection {
            let context = SetContext { loading: false, is_local: client.is_local() };
            if !allows((protection.allowed)(&core.config), context) {
                return Err(not_allowed(command, protection));
            }
        }
        let fails_without_disk = writes || command.has(flag::REPORTS_FAILED_SAVE);
        if fails_without_disk && saves.refuses_writes(&core.config) {
            return Err(ErrorReply::Misconf);
        }
        if writes && !core.is_replica && !master.has_enough_replicas(core) {
            return Err(ErrorReply::NoReplicas);
        }
        if writes && core.is_replica && core.config.replica_read_only {
            return Err(ErrorReply::ReadOnly);
        }
        if !client.subscriptions.is_empty()
            && client.protocol == Protocol::Resp2
            && !command.has(flag::WHILE_SUBSCRIBED)
        {
            return Err(not_while_subscribed(command));
        }
        if permits & flag::STALE == 0 && following.is_stale(core) {
            return Err(ErrorReply::MasterDown);
        }
        busy.admit(permits)
    }

    /// Refuses a request and aborts the transaction that it belongs to.
    fn refuse(&mut self, handle: Handle, command: Option<&'static Command>, error: &ErrorReply) {
        let Node { core, data, parts, commands, .. } = self;
        if let Some(command) = command {
            core.stats.rejected(commands.number_of(command));
        }
        if command.is_some_and(|command| command.has(flag::RUNS_QUEUE)) {
            crate::watching::discard_transaction(&mut parts.clients, data, handle);
            let text = error.to_string();
            // Without the general error code, as in Redis.
            let why = text.strip_prefix("ERR ").unwrap_or(&text);
            let text = format!("EXECABORT Transaction discarded because of: {why}");
            self.reply_now(handle, &ErrorReply::Text(text.into()));
            return;
        }
        if let Some(client) = parts.clients.get_mut(handle) {
            client.transaction.refused = client.transaction.open;
        }
        self.reply_now(handle, error);
    }

    /// Replies with an error; a replica, whose output is the stream, gets none.
    fn reply_now(&mut self, handle: Handle, error: &ErrorReply) {
        let Node { core, parts, .. } = self;
        let is_replica = parts.clients.get(handle).is_some_and(|client| client.is_replica());
        parts.clients.reply_error(core, handle, error);
        if is_replica {
            self.replica_was_answered(handle);
        }
        self.request_ended(handle);
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

    fn queued(&self, command: &'static Command, args: &Args<'_>) -> Queued {
        let (bytes, ranges) = args.to_owned_parts();
        Queued { command: self.commands.id_of(command), bytes, ranges }
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
        data.no_touch = client.no_touch;
        client.is_running = true;
        let mut out = std::mem::take(&mut client.wire.outbox.tail);
        let before = out.len();
        let mut shared = Vec::new();
        let mut call = Call { caller, session: Some(handle), db, protocol };
        let dirty = data.dirty;
        let writer = ReplyWriter { out: &mut out, protocol };
        let outcome =
            self.run(&mut call, command, args, &mut Reply::new(writer, &mut shared), host);
        if let Some(client) = self.parts.clients.get_mut(handle) {
            client.db = call.db;
            client.is_running = false;
        }
        let is_push = command.has(flag::PUSHES_REPLY) && outcome.is_ok();
        self.put_reply(handle, out, before, shared, was_replica, is_push);
        match outcome {
            Ok(Flow::Done | Flow::Blocked) | Err(_) => {}
            Ok(Flow::Transaction) => self.begin_exec(handle, host),
            Ok(flow) => self.finish(handle, flow),
        }
        self.gather_effects(db, dirty, command, args);
        if !self.journal.is_empty() && !self.parts.busy.is(Activity::Exec) {
            self.propagate(match command.has(flag::ARBITRARY_KEYS) {
                true => Propagation::Apart,
                false => Propagation::Together,
            });
            let offset = self.parts.master.stream.offset();
            if let Some(client) = self.parts.clients.get_mut(handle) {
                client.last_write_offset = offset;
            }
        }
    }

    /// Runs the function of a command.
    fn run(
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
        let number = self.commands.number_of(command);
        self.core.stats.command_ended(number, host.ticks_us(), outcome.as_ref().err());
        outcome
    }

    /// Handles the flow result of a command's function.
    fn finish(&mut self, handle: Handle, flow: Flow) {
        let Node { core, parts, .. } = self;
        let Parts { clients, master, busy, settings, .. } = parts;
        match flow {
            Flow::Request(request) => settings.request(core, clients, busy, handle, request),
            Flow::Attached => master.attached(core, clients, handle),
            Flow::Close => clients.close_after_reply(core, handle),
            Flow::Done | Flow::Blocked | Flow::Transaction => {}
        }
    }

    /// Returns the outbox with a command's reply to its client. The reply is sent or dropped
    /// depending on the connection's role and, unless it is a push, its CLIENT REPLY mode. Messages
    /// that the command sent to its own client follow it.
    fn put_reply(
        &mut self,
        handle: Handle,
        out: Vec<u8>,
        before: usize,
        shared: Vec<(usize, SharedBytes)>,
        was_replica: bool,
        is_push: bool,
    ) {
        let Node { core, parts, .. } = self;
        let Some(client) = parts.clients.get_mut(handle) else { return };
        // Bytes added to the outbox meanwhile, such as a push, follow the reply.
        let meanwhile = std::mem::replace(&mut client.wire.outbox.tail, out);
        let tail = &mut client.wire.outbox.tail;
        let has_written = tail.len() > before || !shared.is_empty();
        if (client.reply_mode.drops_reply() && !is_push) || (was_replica && has_written) {
            tail.truncate(before);
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
    fn replica_was_answered(&mut self, handle: Handle) {
        let Node { core, parts, .. } = self;
        let who = crate::command::client::describe(core, parts, handle);
        let name = parts.clients.get(handle).map_or("", |client| client.last_command);
        let text =
            format!("Replica generated a reply to command '{name}', disconnecting it: {who}");
        core.log(Level::Warning, text);
        parts.clients.close(core, handle);
    }

    /// Collects the effects of the executed command, after those of keys that expired during it.
    fn gather_effects(&mut self, db: u32, dirty: u64, command: &'static Command, args: &Args<'_>) {
        let Node { core, data, journal, .. } = self;
        expiry::propagate(core, data, journal);
        let is_overridden = journal.take_override();
        let has_changed = data.dirty != dirty;
        if has_changed && !is_overridden && command.has(PROPAGATES) {
            journal.add_given(db, args.len(), args.iter());
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

/// The master's stream.
impl Node {
    /// Runs a request of the master's stream.
    fn execute_upstream(
        &mut self,
        handle: Handle,
        found: Option<&'static Command>,
        args: &Args<'_>,
        raw: &[u8],
        host: &mut dyn Host,
    ) -> bool {
        let command = match self.resolve(found, args) {
            Ok(command) => command,
            Err(error) => {
                self.upstream_unknown(handle, found, args, &error, raw);
                return true;
            }
        };
        if restores_unknown(command, args) {
            self.upstream_unknown(handle, found, args, &ErrorReply::err("Bad data format"), raw);
            return true;
        }
        if command.has(flag::ADMIN) && !command.has(flag::FROM_MASTER) {
            // A stream only changes data. It must not make this node stop, sleep, save or follow
            // another master.
            let error = ErrorReply::err("a master's stream changes data and does nothing else");
            self.core.stats.rejected(self.commands.number_of(command));
            self.core.stats.error(&error);
            self.parts.following.request_failed(&mut self.core, command.name, &error);
            self.applied(handle, raw);
            return true;
        }
        if command.has(flag::WRITE) && self.stops_without_disk() {
            return true;
        }
        let Node { core, parts, .. } = self;
        let Parts { clients, following, pause, .. } = parts;
        let Some(transaction) = following.transaction_mut() else { return true };
        let (is_open, queued_flags) = (transaction.open, transaction.flags);
        let queued = if command.has(flag::RUNS_QUEUE) { queued_flags } else { 0 };
        if pause.holds(command.flags | queued, core.now) {
            pause.hold(core, clients, handle);
            return false;
        }
        if is_open && !command.has(flag::IN_MULTI) {
            self.enqueue_upstream(handle, command, args);
        } else {
            self.run_upstream(command, args, host);
        }
        self.applied(handle, raw);
        true
    }

    fn enqueue_upstream(&mut self, handle: Handle, command: &'static Command, args: &Args<'_>) {
        let queued = self.queued(command, args);
        let Node { core, parts, .. } = self;
        let Parts { clients, following, .. } = parts;
        let Some(transaction) = following.transaction_mut() else { return };
        transaction.push(queued, command.flags);
        if transaction.queued_bytes > link_bytes_max(core) {
            following.protocol_error(core, clients, handle, "a transaction without an end");
        }
    }

    /// Runs a command of the stream without a connection to reply to.
    pub(super) fn run_upstream(
        &mut self,
        command: &'static Command,
        args: &Args<'_>,
        host: &mut dyn Host,
    ) {
        let db = self.parts.following.db();
        let mut call =
            Call { caller: Caller::Master, session: None, db, protocol: Protocol::Resp2 };
        let mut out = std::mem::take(&mut self.batch.discarded);
        let (mut shared, dirty) = (Vec::new(), self.data.dirty);
        self.data.no_touch = false;
        let writer = ReplyWriter { out: &mut out, protocol: Protocol::Resp2 };
        let outcome =
            self.run(&mut call, command, args, &mut Reply::new(writer, &mut shared), host);
        out.clear();
        self.batch.discarded = out;
        if let Err(error) = &outcome {
            self.upstream_failed(command, error);
        }
        if call.db != db {
            self.parts.following.set_db(call.db);
        }
        self.gather_effects(db, dirty, command, args);
        if let Ok(Flow::Transaction) = outcome {
            self.exec_upstream(host);
        } else if !self.parts.busy.is(Activity::Exec) {
            self.propagate(Propagation::Together);
        }
    }

    /// Advances the offset after a request of the stream was executed or queued.
    pub(super) fn applied(&mut self, handle: Handle, raw: &[u8]) {
        // A request that stops this process is not passed on.
        self.carry_out_orders();
        let Node { core, parts, .. } = self;
        let Parts { clients, master, following, busy, .. } = parts;
        if !busy.is(Activity::Stopped) {
            following.applied(core, clients, master, handle, raw);
        }
    }

    /// Handles a request of the stream that is unknown or creates an unsupported value.
    fn upstream_unknown(
        &mut self,
        handle: Handle,
        found: Option<&'static Command>,
        args: &Args<'_>,
        error: &ErrorReply,
        raw: &[u8],
    ) {
        let of_type = found.is_some_and(|row| restores_unknown(row, args));
        let name = args.text(0) + if of_type { " of an unknown type" } else { "" };
        let Node { core, parts, commands, .. } = self;
        let row = found.and_then(|command| command.picked(args));
        if let Some(row) = row {
            core.stats.rejected(commands.number_of(row));
        }
        core.stats.error(error);
        parts.following.request_failed(core, &name, error);
        if row.is_some_and(|row| row.has(HARMLESS)) && matches!(error, ErrorReply::WrongArity(_)) {
            return self.applied(handle, raw);
        }
        let shown: String = name.chars().take(SHOWN_MAX).collect();
        let why = match error {
            ErrorReply::WrongArity(_) => {
                format!("The command '{shown}' of the master failed: {error}")
            }
            _ => format!("The master uses the command '{shown}', which this server does not know"),
        };
        parts.following.cannot_follow(core, &mut parts.clients, &why);
    }

    /// Handles a request of the stream that failed. Only one that cannot change anything is skipped,
    /// and a write on a writable replica, whose data differs from the master's anyway.
    fn upstream_failed(&mut self, command: &'static Command, error: &ErrorReply) {
        let Node { core, parts, .. } = self;
        parts.following.request_failed(core, command.name, error);
        let may_differ = command.has(flag::WRITE) && !core.config.replica_read_only;
        if command.has(HARMLESS) || may_differ {
            return;
        }
        let why = format!("The command '{}' of the master failed: {error}", command.name);
        parts.following.cannot_follow(core, &mut parts.clients, &why);
    }

    /// Handles a master's write while this replica cannot save. Returns true if the process stops
    /// instead of applying it, the default of `replica-ignore-disk-write-errors`.
    fn stops_without_disk(&mut self) -> bool {
        let Node { core, parts, .. } = self;
        if !parts.saves.refuses_writes(&core.config) {
            return false;
        }
        if !core.config.replica_ignore_disk_write_errors {
            let text = "Replica was unable to write command to disk.".to_owned();
            core.order(crate::core::Order::Stop(text));
            return true;
        }
        if core.stats.should_log_disk_error(core.now.mono_us) {
            let text = "Replica is applying a command even though it is unable to write to disk.";
            core.log(Level::Warning, text);
        }
        false
    }
}

/// Whether a command restores a value of an unsupported type.
fn restores_unknown(command: &Command, args: &Args<'_>) -> bool {
    let restores = matches!(command.name, "restore" | "restore-asking");
    restores && args.get(3).is_some_and(|payload| !crate::persist::dump::is_known(payload))
}

/// Returns the error of a command that is disabled by default.
fn not_allowed(command: &Command, protection: &Protection) -> ErrorReply {
    let name = command.name.split('|').next().unwrap_or_default().to_uppercase();
    let directive = protection.directive;
    ErrorReply::err(format!(
        "{name} command not allowed. If the {directive} option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server."
    ))
}

/// Returns the error of a command that is not allowed for a RESP2 client with subscriptions.
fn not_while_subscribed(command: &Command) -> ErrorReply {
    ErrorReply::err(format!(
        "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        command.name
    ))
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

/// First words of HTTP lines, which are no command names.
fn is_http(args: &Args<'_>) -> bool {
    let first = args.get(0).unwrap_or_default();
    first.eq_ignore_ascii_case(b"post") || first.eq_ignore_ascii_case(b"host:")
}

/// Maximum bytes of a word, or of all words, in an error.
const SHOWN_MAX: usize = 128;

fn unknown_command(args: &Args<'_>) -> ErrorReply {
    let mut shown = Vec::new();
    for arg in args.from(1) {
        if shown.len() >= SHOWN_MAX {
            break;
        }
        let room = SHOWN_MAX - shown.len();
        let arg = c_str(&arg[..arg.len().min(room)]);
        shown.extend([b"'", arg, b"' "].concat());
    }
    let name = args.get(0).unwrap_or_default();
    let name = c_str(&name[..name.len().min(SHOWN_MAX)]);
    let begin = [b"ERR unknown command '", name, b"', with args beginning with: "];
    ErrorReply::Quoting([begin.concat(), shown].concat())
}

fn unknown_subcommand(command: &Command, args: &Args<'_>) -> ErrorReply {
    let given = &args[1][..args[1].len().min(SHOWN_MAX)];
    let name = command.name.to_ascii_uppercase();
    ErrorReply::quoting("ERR unknown subcommand '", given, &format!("'. Try {name} HELP."))
}
