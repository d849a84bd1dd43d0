//! From a parsed request to its reply: may it run, is it queued, run it, tell what it did.

use russet_ds::SharedBytes;
use russet_protocol::error::c_str;
use russet_protocol::{ErrorReply, Protocol, ReplyWriter};

use crate::client::{Blocked, Queued, Role, Waiting};
use crate::command::{Args, Caller, Command, Ctx, Flow, Outcome, Reply, flag};
use crate::io::{Endpoints, Handle, Host, Level};
use crate::keyspace::ExpiryPolicy;
use crate::node::{Node, Standstill};
use crate::outbox::Outbox;

/// Flags of commands whose own words may be an effect.
const TELLS: u64 = flag::WRITE | flag::MAY_REPLICATE;

impl Node {
    /// Runs one request of a connection. False if it must be kept for later (the client is paused).
    pub(crate) fn execute(
        &mut self,
        handle: Handle,
        found: Option<&'static Command>,
        args: &Args<'_>,
        raw: &[u8],
        host: &mut dyn Host,
    ) -> bool {
        let taken = self.take_request(handle, found, args, raw, host);
        if taken {
            self.request_over(handle);
        }
        taken
    }

    fn take_request(
        &mut self,
        handle: Handle,
        found: Option<&'static Command>,
        args: &Args<'_>,
        raw: &[u8],
        host: &mut dyn Host,
    ) -> bool {
        let Some(client) = self.clients.get_mut(handle) else { return true };
        let row = found.and_then(|command| command.picked(args));
        client.last_command = row.map_or("NULL", |row| row.name);
        let (queued, is_replica) = (client.transaction.flags, client.is_replica());
        let caller = match client.role {
            Role::MasterLink => Caller::Master,
            Role::Client | Role::Replica(_) => Caller::Client,
        };
        let command = match self.resolve(found, args) {
            Ok(command) => command,
            Err(_) if caller == Caller::Client && is_http(args) => {
                self.turn_browser_away(handle);
                return true;
            }
            Err(error) if caller == Caller::Master => {
                self.master_sent_unknown(handle, found, args, &error, raw);
                return true;
            }
            Err(error) => {
                self.refuse(handle, row, &error);
                return true;
            }
        };
        if caller == Caller::Master && command.has(flag::ADMIN) && !command.has(flag::FROM_MASTER) {
            // A stream changes data. It does not make this node stop, sleep, save or follow another.
            self.master_request_refused(command);
            self.applied(handle, caller, raw);
            return true;
        }
        if caller == Caller::Master && command.has(flag::WRITE) && self.stops_without_disk() {
            return true;
        }
        if caller == Caller::Client
            && let Err(error) = self.admit(handle, command)
        {
            self.refuse(handle, Some(command), &error);
            return true;
        }
        if self.pause.holds(command, queued, self.now) && !is_replica {
            self.hold_back(handle);
            return false;
        }
        let client = self.clients.get_mut(handle).expect("looked up above");
        if client.transaction.open && !command.has(flag::IN_MULTI) {
            self.enqueue(handle, command, args);
        } else {
            self.call(handle, caller, command, args, host);
        }
        if self.standstill != Some(Standstill::Stopped) {
            self.applied(handle, caller, raw);
        }
        true
    }

    /// A web page makes a browser send HTTP here: nothing behind its head may run.
    fn turn_browser_away(&mut self, handle: Handle) {
        let address = match self.clients.get(handle).map(|client| &client.ends) {
            Some(Endpoints::Tcp { peer, .. }) => format!(" from {peer}"),
            _ => String::new(),
        };
        if self.stats.may_warn_of_attack(self.now.mono_us) {
            let text = format!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: \
                 commands to Redis: a web page can make a browser do so (Cross Protocol Scripting). \
                 Connection{address} aborted."
            );
            self.log(Level::Warning, text);
        }
        self.close(handle);
    }

    /// A request has been answered, or waits for its answer: what CLIENT REPLY SKIP said is done.
    pub(crate) fn request_over(&mut self, handle: Handle) {
        if let Some(client) = self.clients.get_mut(handle)
            && client.blocked.is_none()
        {
            client.reply_mode.request_over();
        }
    }

    /// A replica's offset moves with each request of its master's stream.
    fn applied(&mut self, handle: Handle, caller: Caller, raw: &[u8]) {
        if caller == Caller::Master {
            self.master_stream_applied(handle, raw);
        }
    }

    /// The row to run: of a container, that of the subcommand.
    pub(crate) fn resolve(
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

    /// Whether a client may run a command now.
    fn admit(&mut self, handle: Handle, command: &'static Command) -> Result<(), ErrorReply> {
        let client = self.clients.get(handle).expect("the caller looked it up");
        if !client.authenticated && !command.has(flag::NO_AUTH) {
            return Err(ErrorReply::NoAuth);
        }
        let replica = self.repl.is_replica();
        // A transaction does what any of its commands does, and may do what all of them may.
        let (flags, permits) = if command.has(flag::RUNS_QUEUE) {
            let transaction = &client.transaction;
            (command.flags | transaction.flags, command.flags & !transaction.flags_lacking)
        } else {
            (command.flags, command.flags)
        };
        let writes = flags & flag::WRITE != 0;
        let touches_keys = flag::WRITE | flag::READONLY | flag::MAY_REPLICATE;
        if client.is_replica() && command.has(touches_keys) {
            // No pause holds replicas back.
            return Err(ErrorReply::err("Replica can't interact with the keyspace"));
        }
        if command.has(flag::NO_MULTI) && client.transaction.open {
            return Err(ErrorReply::err("Command not allowed inside a transaction"));
        }
        if let Some(protection) = &command.protection {
            self.admit_protected(handle, command, protection)?;
        }
        if writes && !replica && self.persist.refuses_writes(&self.config) {
            return Err(ErrorReply::Misconf);
        }
        if writes && !replica && !self.enough_replicas() {
            return Err(ErrorReply::NoReplicas);
        }
        if writes && self.refuses_writes_as_replica() {
            return Err(ErrorReply::ReadOnly);
        }
        if permits & flag::STALE == 0 && self.repl.is_stale(&self.config) {
            return Err(ErrorReply::MasterDown);
        }
        if permits & flag::LOADING == 0 && self.persist.is_loading() {
            return Err(ErrorReply::Loading);
        }
        Ok(())
    }

    fn refuses_writes_as_replica(&self) -> bool {
        self.repl.is_replica() && self.config.replica_read_only
    }

    /// Refuses a request, and with it the transaction that it was to be queued in.
    fn refuse(&mut self, handle: Handle, command: Option<&'static Command>, error: &ErrorReply) {
        if let Some(command) = command {
            self.stats.rejected(self.commands.number_of(command));
        }
        if command.is_some_and(|command| command.has(flag::RUNS_QUEUE)) {
            self.discard_transaction(handle);
            let text = error.to_string();
            let why = match error {
                // Put together for this one case, so the code is not in it.
                ErrorReply::WrongArity(_) => text.trim_start_matches("ERR "),
                _ => &text,
            };
            let text = format!("EXECABORT Transaction discarded because of: {why}");
            self.reply_error(handle, &ErrorReply::Text(text.into()));
            return;
        }
        if let Some(client) = self.clients.get_mut(handle) {
            client.transaction.refused = client.transaction.open;
        }
        self.reply_error(handle, error);
    }

    fn enqueue(&mut self, handle: Handle, command: &'static Command, args: &Args<'_>) {
        let (bytes, ranges) = args.to_owned_parts();
        let (query_max, link_max) = (self.query_bytes_max(), self.link_bytes_max());
        let Some(client) = self.clients.get_mut(handle) else { return };
        let transaction = &mut client.transaction;
        transaction.flags |= command.flags;
        transaction.flags_lacking |= !command.flags;
        let queued = Queued { command, bytes, ranges };
        transaction.queued_bytes += queued.memory_bytes();
        transaction.queue.push_back(queued);
        let queued_bytes = transaction.queued_bytes;
        // What is queued is a request that has not run: it counts like bytes that wait to be read.
        if client.is_master_link() {
            if queued_bytes > link_max {
                self.master_spoke_garbage(handle, "a transaction without an end");
            }
        } else if queued_bytes > query_max {
            self.query_buffer_full(handle);
        } else {
            self.with_reply(handle, |_, reply| reply.simple("QUEUED"));
        }
    }

    /// Runs a command that may run, and tells what it did.
    pub(crate) fn call(
        &mut self,
        handle: Handle,
        caller: Caller,
        command: &'static Command,
        args: &Args<'_>,
        host: &mut dyn Host,
    ) {
        if caller == Caller::Exec && command.has(flag::WRITE) && self.refuses_writes_as_replica() {
            // REPLICAOF stood before it in the transaction.
            self.reply_error(handle, &ErrorReply::ReadOnly);
            return;
        }
        let Some(client) = self.clients.get_mut(handle) else { return };
        let (db, no_touch) = (client.db, client.no_touch);
        self.keyspace.policy = match caller {
            Caller::Master => ExpiryPolicy::Ignore,
            _ if self.repl.is_replica() || self.pause.is_on(self.now) => ExpiryPolicy::Hide,
            _ => ExpiryPolicy::Remove,
        };
        self.keyspace.no_touch = no_touch;
        let dirty = self.keyspace.dirty;
        let outcome = self.with_reply(handle, |node, reply| {
            let mut ctx = Ctx { node, client: handle, db, caller, command };
            let outcome = (command.run)(&mut ctx, &args.of(command), reply);
            if let Err(error) = &outcome {
                reply.error(error);
            }
            outcome
        });
        if let Ok(Flow::Transaction) = outcome {
            self.begin_transaction(handle, caller, host);
        }
        let number = self.commands.number_of(command);
        if let (Caller::Master, Err(error)) = (caller, &outcome) {
            self.master_request_failed(command.name, error);
        }
        self.stats.command_ended(number, host.ticks_us(), outcome.as_ref().err());
        self.finish(handle, outcome);
        self.gather_effects(handle, caller, db, dirty, command, args);
    }

    /// What a handler's end asks of the dispatcher.
    fn finish(&mut self, handle: Handle, outcome: Outcome) {
        match outcome {
            Ok(Flow::Ask(request)) => self.ask(handle, request),
            Ok(Flow::Attached) => self.replica_attached(handle),
            Ok(Flow::Close) => self.close_after_reply(handle),
            Ok(Flow::Done | Flow::Blocked | Flow::Transaction) | Err(_) => {}
        }
    }

    /// The effects of the command that ended, behind those of keys that ended with it.
    fn gather_effects(
        &mut self,
        handle: Handle,
        caller: Caller,
        db: u32,
        dirty: u64,
        command: &'static Command,
        args: &Args<'_>,
    ) {
        self.tell_expired();
        let overridden = self.effects.take_override();
        let changed = self.keyspace.dirty != dirty;
        if changed && !overridden && caller != Caller::Master && command.has(TELLS) {
            self.effects.add_args(db, args);
        }
        if self.keyspace.watch.has_touched() {
            self.break_transactions();
        }
        let Some(client) = self.clients.get(handle) else { return };
        if !client.transaction.running && !self.effects.is_empty() {
            match command.has(flag::ARBITRARY_KEYS) {
                true => self.flush_effects_apart(),
                false => self.flush_effects(),
            }
            let offset = self.repl.offset();
            if let Some(client) = self.clients.get_mut(handle) {
                client.last_write_offset = offset;
            }
        }
    }

    /// Keys that ended on the way are told first, as deletes.
    pub(crate) fn tell_expired(&mut self) {
        if self.keyspace.has_expired() {
            let word = self.removal_word();
            for (db, key) in self.keyspace.take_expired() {
                self.effects.add(db, &[word, &key[..]]);
            }
        }
    }

    /// The command that tells replicas of a key that ended.
    pub(crate) fn removal_word(&self) -> &'static [u8] {
        if self.config.lazyfree_lazy_expire { b"UNLINK" } else { b"DEL" }
    }

    /// Gives `write` the reply sink of a connection; what is written is sent, or dropped, by the
    /// connection's kind and its CLIENT REPLY mode.
    pub(crate) fn with_reply<R>(
        &mut self,
        handle: Handle,
        write: impl FnOnce(&mut Node, &mut Reply<'_>) -> R,
    ) -> R {
        let (mut out, protocol, was_replica) = match self.clients.get_mut(handle) {
            Some(client) => {
                let tail = std::mem::take(&mut client.wire.outbox.tail);
                (tail, client.protocol, client.is_replica())
            }
            None => (Vec::new(), Protocol::Resp2, false),
        };
        let before = out.len();
        let mut shared = Vec::new();
        let writer = ReplyWriter { out: &mut out, protocol };
        let result = write(self, &mut Reply::new(writer, &mut shared));
        if let Some(client) = self.clients.get_mut(handle) {
            // Bytes that came to the outbox meanwhile, a push say, follow the reply.
            let meanwhile = std::mem::replace(&mut client.wire.outbox.tail, out);
            let mute = client.is_master_link() || client.reply_mode.mutes();
            let tail = &mut client.wire.outbox.tail;
            if mute {
                tail.truncate(before);
            } else if was_replica && (tail.len() > before || !shared.is_empty()) {
                tail.truncate(before);
                client.wire.outbox.tail.extend_from_slice(&meanwhile);
                self.replica_was_answered(handle);
                return result;
            } else if !shared.is_empty() {
                let whole = std::mem::take(tail);
                splice(&mut client.wire.outbox, &whole, shared);
            }
            client.wire.outbox.tail.extend_from_slice(&meanwhile);
            if !client.is_dirty && !client.wire.outbox.is_empty() {
                self.mark_dirty(handle);
            }
        }
        result
    }

    /// A replica's output is the stream: it would take a reply in there for a part of it. So it is let go.
    #[cold]
    fn replica_was_answered(&mut self, handle: Handle) {
        let who = crate::command::client::describe(self, handle);
        let name = self.clients.get(handle).map_or("", |client| client.last_command);
        let text =
            format!("Replica generated a reply to command '{name}', disconnecting it: {who}");
        self.log(Level::Warning, text);
        self.close(handle);
    }

    /// Writes an error to a connection, and counts it.
    pub(crate) fn reply_error(&mut self, handle: Handle, error: &ErrorReply) {
        self.stats.error(error);
        self.with_reply(handle, |_, reply| reply.error(error));
    }

    /// Makes a client wait.
    pub(crate) fn block(&mut self, handle: Handle, waiting: Waiting, deadline_us: Option<u64>) {
        let Some(client) = self.clients.get_mut(handle) else { return };
        if let Waiting::Acks { offset, .. } = waiting {
            self.ack_waiters.insert((offset, handle));
        }
        client.blocked = Some(Blocked { waiting, deadline_us });
        if let Some(deadline) = deadline_us {
            self.deadlines.insert((deadline, handle));
            self.arm_deadlines();
        }
    }
}

/// Appends `whole` to an outbox with the lent strings at their places.
fn splice(outbox: &mut Outbox, whole: &[u8], shared: Vec<(usize, SharedBytes)>) {
    let mut start = 0;
    for (offset, bytes) in shared {
        outbox.tail.extend_from_slice(&whole[start..offset]);
        outbox.push_lent(bytes);
        start = offset;
    }
    outbox.tail.extend_from_slice(&whole[start..]);
}

/// Words that open lines of HTTP, and no command's name.
fn is_http(args: &Args<'_>) -> bool {
    let first = args.get(0).unwrap_or_default();
    first.eq_ignore_ascii_case(b"post") || first.eq_ignore_ascii_case(b"host:")
}

/// How much of a word, or of all words, an error shows, bytes.
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
