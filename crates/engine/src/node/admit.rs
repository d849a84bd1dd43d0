//! Whether a request may run now, and what its client is told if not.

use russet_protocol::error::c_str;
use russet_protocol::{ErrorReply, Protocol};

use super::Node;
use crate::command::{Args, Command, Protection, catalogue, flag};
use crate::config::{SetContext, allows};
use crate::ids::Handle;
use crate::io::{Endpoints, Level};
use crate::mode::Mode;
use crate::parts::Parts;

impl Node {
    /// Closes a connection that sends HTTP, possibly a browser misused by a web page: nothing after
    /// the head may run.
    pub(super) fn reject_http(&mut self, handle: Handle) {
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
    pub(super) fn log_missing(
        &mut self,
        handle: Handle,
        found: Option<&'static Command>,
        args: &Args<'_>,
    ) {
        let sent = args.get(0).unwrap_or_default();
        let name = match (found, args.get(1)) {
            (Some(container), Some(word)) => {
                catalogue::find_name(&[container.name.as_bytes(), b"|", word].concat())
            }
            _ => catalogue::find_name(sent),
        };
        let Node { core, parts, commands, .. } = self;
        // What only nodes of another mode have is not missing.
        let name = name.filter(|name| !commands.exists(name));
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
    pub(super) fn resolve(
        &self,
        found: Option<&'static Command>,
        args: &Args<'_>,
    ) -> Result<&'static Command, ErrorReply> {
        let Some(command) = found else { return Err(unknown_command(args)) };
        let row = command.picked(args).ok_or_else(|| unknown_subcommand(command, args))?;
        if row.has(flag::NOT_SENTINEL) && self.core.boot.mode == Mode::Sentinel {
            return Err(unknown_subcommand(command, args));
        }
        if !row.takes(args.len()) {
            return Err(ErrorReply::WrongArity(row.name.to_owned()));
        }
        Ok(row)
    }

    /// Checks whether a client may run a command now.
    pub(super) fn admit(
        &mut self,
        handle: Handle,
        command: &'static Command,
    ) -> Result<(), ErrorReply> {
        let Node { core, parts, .. } = self;
        let Parts { clients, master, following, saves, busy, aof, .. } = parts;
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
        if (client.is_replica() || client.is_monitor) && command.has(touches_keys) {
            // A pause does not hold replicas; monitors are refused as in Redis.
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
        if fails_without_disk && let Some(why) = aof.refusal() {
            return Err(ErrorReply::MisconfAof(why.into_owned()));
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
    pub(super) fn refuse(
        &mut self,
        handle: Handle,
        command: Option<&'static Command>,
        error: &ErrorReply,
    ) {
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
    pub(super) fn reply_now(&mut self, handle: Handle, error: &ErrorReply) {
        let Node { core, parts, .. } = self;
        let is_replica = parts.clients.get(handle).is_some_and(|client| client.is_replica());
        parts.clients.reply_error(core, handle, error);
        if is_replica {
            self.replica_was_answered(handle);
        }
        self.request_ended(handle);
    }
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

/// First words of HTTP lines, which are no command names.
pub(super) fn is_http(args: &Args<'_>) -> bool {
    let first = args.get(0).unwrap_or_default();
    first.eq_ignore_ascii_case(b"post") || first.eq_ignore_ascii_case(b"host:")
}

/// Maximum bytes of a word, or of all words, in an error.
pub(super) const SHOWN_MAX: usize = 128;

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
