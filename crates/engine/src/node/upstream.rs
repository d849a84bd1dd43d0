//! Runs the requests of a master's stream: which of them, what happens to those that are unknown or fail, and the
//! offset. They have no connection to reply to.

use russet_protocol::{ErrorReply, Protocol, ReplyWriter};

use super::Node;
use super::admit::SHOWN_MAX;
use super::dispatch::Propagation;
use crate::busy::Activity;
use crate::call::{Call, Caller};
use crate::clients::link_bytes_max;
use crate::command::{Args, Command, Flow, Reply, flag};
use crate::ids::Handle;
use crate::io::{Host, Level};
use crate::parts::Parts;

/// Flags of commands that change neither data nor the state of a replication stream.
const HARMLESS: u64 = flag::READONLY | flag::ADMIN | flag::PUBSUB;

impl Node {
    /// Runs a request of the master's stream.
    pub(super) fn execute_upstream(
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
        let Parts { clients, following, pause, migrate, .. } = parts;
        let Some(transaction) = following.transaction_mut() else { return true };
        let (is_open, queued_flags) = (transaction.open, transaction.flags);
        let queued = if command.has(flag::RUNS_QUEUE) { queued_flags } else { 0 };
        if pause.holds(command.flags | queued, core.now) || migrate.is_running() {
            pause.hold(core, clients, handle);
            return false;
        }
        if self.core.stats.slots.is_some() {
            let slot = self.slot_of_upstream(command, args);
            self.count_request(slot, command, args, raw);
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
        // The reply is dropped as it is written.
        let (mut out, mut shared, dirty) = (Vec::new(), Vec::new(), self.data.dirty);
        self.data.no_touch = false;
        let writer = ReplyWriter::new(&mut out, call.protocol).with_max(0);
        let outcome =
            self.run(&mut call, command, args, &mut Reply::new(writer, &mut shared), host);
        if let Err(error) = &outcome {
            self.upstream_failed(command, error);
        }
        if call.db != db {
            self.parts.following.set_db(call.db);
        }
        self.gather_effects(db, dirty, command, args);
        if let Ok(Flow::Transaction) = outcome {
            self.core.stats.transaction_began(self.commands.number_of(command));
            self.exec_upstream(host);
        } else if !self.parts.busy.is(Activity::Exec) {
            self.propagate(Propagation::Together);
        }
    }

    /// Advances the offset after a request of the stream was executed or queued.
    pub(super) fn applied(&mut self, handle: Handle, raw: &[u8]) {
        // A request that stops this process is not passed on.
        if !self.is_stopped() && !self.core.is_ordered_to_stop() {
            let Node { core, parts, .. } = self;
            let Parts { clients, master, following, .. } = parts;
            following.applied(core, clients, master, handle, raw);
        }
        // Not before: a snapshot that begins now has the effects of the request, so its offset must be
        // behind it.
        self.carry_out_orders();
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
