//! What a replica does with its master's stream, beside executing it: it counts the bytes, passes them on, and
//! notices what it cannot follow.
//!
//! Its offset is a promise: whoever stands there holds what the stream up to there makes. Other replicas may go on
//! from it, and Sentinel may promote by it.

use russet_protocol::ErrorReply;

use crate::command::{Args, Command};
use crate::config::value::PropagationErrorBehavior;
use crate::io::{Handle, Level, Output};
use crate::node::{Node, Standstill};

/// Commands that change no data, whoever passes them on: nobody can be subscribed here, so nothing is lost with them.
const CHANGE_NOTHING: [&[u8]; 2] = [b"publish", b"spublish"];

/// Failed requests are told no more often than this.
const FAILURE_LOG_US: u64 = 10_000_000;

/// A master whose stream cannot be followed is left alone for so long at least.
const UNKNOWN_COMMAND_US: u64 = 10_000_000;

impl Node {
    /// A request of the master's stream was executed (or queued): the same bytes go on to our own replicas, and
    /// we count them. A transaction counts when it is complete: until then we could not go on in its middle.
    pub(crate) fn master_stream_applied(&mut self, handle: Handle, raw: &[u8]) {
        if self.standstill == Some(Standstill::Stopped) {
            // What ended this process is passed on to nobody.
            return;
        }
        let now_us = self.now.mono_us;
        let bytes_max = self.link_bytes_max();
        let Some(client) = self.clients.get(handle) else { return };
        let (open, db) = (client.transaction.open, client.db);
        let Some(master) = self.repl.master.as_mut().filter(|m| m.link == Some(handle)) else {
            return;
        };
        master.last_io_us = now_us;
        if open {
            self.repl.partial_transaction.extend_from_slice(raw);
            if self.repl.partial_transaction.len() > bytes_max {
                self.master_spoke_garbage(handle, "a transaction without an end");
            }
            return;
        }
        master.selected_db = db;
        let before = std::mem::take(&mut self.repl.partial_transaction);
        self.repl.feed(&before);
        self.repl.feed(raw);
    }

    /// A request of the master's stream that fits no row.
    ///
    /// What an unknown command did to the master's data cannot be told. If we went on behind it, our
    /// offset would say that we hold what we do not, and a promotion or a replica's partial synchronisation would
    /// spread the difference. So we stop in front of it, where the data is still what the stream makes:
    /// nothing of its transaction has run. Asking to go on there would only bring the same command
    /// again, so the next try is for everything; it succeeds once what the command made is gone. Tries are far
    /// apart, since each costs the master a snapshot.
    pub(crate) fn master_sent_unknown(
        &mut self,
        handle: Handle,
        found: Option<&'static Command>,
        args: &Args<'_>,
        error: &ErrorReply,
        raw: &[u8],
    ) {
        let name = String::from_utf8_lossy(args.get(0).unwrap_or_default()).into_owned();
        if CHANGE_NOTHING.iter().any(|known| name.as_bytes().eq_ignore_ascii_case(known)) {
            self.master_stream_applied(handle, raw);
            return;
        }
        if let Some(row) = found.and_then(|command| command.picked(args)) {
            self.stats.rejected(self.commands.number_of(row));
        }
        self.stats.error(error);
        self.master_request_failed(&name, error);
        if matches!(error, ErrorReply::WrongArity(_)) {
            self.master_stream_applied(handle, raw);
            return;
        }
        let Some(master) = self.repl.master.as_mut().filter(|m| m.link == Some(handle)) else {
            return;
        };
        master.knows_history = false;
        let delay_us = master.back_off_us().max(UNKNOWN_COMMAND_US);
        let secs = delay_us / 1_000_000;
        let shown: String = name.chars().take(128).collect();
        let text = format!(
            "The master uses the command '{shown}', which this server does not know: its data cannot be followed any \
             further. The link is closed; a full synchronisation is tried in {secs} seconds."
        );
        self.link_failed_for(Level::Warning, &text, delay_us);
    }

    /// A request of the master's stream that does what a stream must not do.
    pub(crate) fn master_request_refused(&mut self, command: &'static Command) {
        let error = ErrorReply::err("a master's stream changes data and does nothing else");
        self.stats.rejected(self.commands.number_of(command));
        self.stats.error(&error);
        self.master_request_failed(command.name, &error);
    }

    /// A request of the master's stream failed here and, presumably, not there.
    pub(crate) fn master_request_failed(&mut self, name: &str, error: &ErrorReply) {
        self.stats.unexpected_errors += 1;
        if self.stops_after_master_error(name) {
            return;
        }
        let now_us = self.now.mono_us;
        let told = &mut self.repl.failures_told;
        if told.at_us.is_some_and(|at| now_us.saturating_sub(at) < FAILURE_LOG_US) {
            told.since += 1;
            return;
        }
        told.at_us = Some(now_us);
        let more = match std::mem::take(&mut told.since) {
            0 => String::new(),
            count => format!(" ({count} more since this was last told)"),
        };
        let name: String = name.chars().take(128).collect();
        let text = format!(
            "== CRITICAL == This replica is sending an error to its master: '{error}' after processing the command \
             '{name}'{more}"
        );
        self.log(Level::Warning, text);
    }

    /// A master's write came while this replica cannot save. True: the process ends instead of taking it, as
    /// `replica-ignore-disk-write-errors` asks with its default.
    pub(crate) fn stops_without_disk(&mut self) -> bool {
        if !self.persist.refuses_writes(&self.config) {
            return false;
        }
        if !self.config.replica_ignore_disk_write_errors {
            self.stop("Replica was unable to write command to disk.");
            return true;
        }
        if self.stats.may_warn_of_disk(self.now.mono_us) {
            let text = "Replica is applying a command even though it is unable to write to disk.";
            self.log(Level::Warning, text);
        }
        false
    }

    /// A command of our master's stream failed here. True: the process ends, as `propagation-error-behavior` asks.
    fn stops_after_master_error(&mut self, name: &str) -> bool {
        let goes_on = self.config.propagation_error_behavior == PropagationErrorBehavior::Ignore;
        if goes_on || !self.config.replica_read_only {
            return false;
        }
        let text = format!(
            "This replica panicked sending an error to its master after processing the command \
             '{name}'"
        );
        self.stop(&text);
        true
    }

    /// Ends the process: what it holds is no longer what it should hold. Nobody is served any more.
    fn stop(&mut self, why: &str) {
        if self.standstill != Some(Standstill::Stopped) {
            self.standstill = Some(Standstill::Stopped);
            self.log(Level::Warning, why);
            self.output(Output::Exit(1));
        }
    }

    /// The master's bytes made no sense. If they were its stream, nobody knows what we have missed.
    pub(crate) fn master_spoke_garbage(&mut self, handle: Handle, what: &str) {
        let Some(master) = self.repl.master.as_mut().filter(|m| m.link == Some(handle)) else {
            return;
        };
        if master.is_online() {
            master.knows_history = false;
        }
        let text = format!("Protocol error from master: {what}. The link is closed.");
        self.link_failed(Level::Warning, &text);
    }
}

/// When a failed request was last told, and how many have not been.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FailuresTold {
    at_us: Option<u64>,
    since: u64,
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::io::{Endpoints, Handle, Host, Input, Now, Output};
    use crate::persist::rdb_save::RdbEncoder;
    use crate::rdb::RdbSettings;
    use crate::{Boot, Node};

    struct NoTicks;

    impl Host for NoTicks {
        fn ticks_us(&mut self) -> u64 {
            0
        }
    }

    /// Sends bytes; what the log says then.
    fn send(node: &mut Node, link: Handle, bytes: &[u8]) -> String {
        if let Some(buffer) = node.read_buffer(link) {
            buffer.extend_from_slice(bytes);
            node.received(node.now, link);
        }
        let mut log = String::new();
        loop {
            match node.poll_output(node.now) {
                Output::Wait(Some(0)) => node.turn(node.now, &mut NoTicks),
                Output::Wait(_) => return log,
                Output::Log { text, .. } => log.push_str(&text),
                _ => {}
            }
        }
    }

    /// A replica whose master's stream flows.
    fn online() -> (Node, Handle) {
        let conf = b"replicaof h 1\nclient-query-buffer-limit 1mb\n";
        let config = Config::parse_text(conf).unwrap().config;
        let mut node = Node::new(config, Boot::default(), Now { mono_us: 1, wall_us: 1 });
        let link = node.repl.master.as_ref().unwrap().link.unwrap();
        let ends = Endpoints::Unix("x".to_owned());
        node.handle(node.now, Input::Connected { link, result: Ok(ends) });
        let (id, mark) = ("0".repeat(40), "1".repeat(40));
        let mut bytes =
            format!("+PONG\r\n+\r\n+\r\n+\r\n+FULLRESYNC {id} 1\r\n$EOF:{mark}\r\n").into_bytes();
        let mut encoder = RdbEncoder::new(RdbSettings::default());
        encoder.begin(&[], &mut bytes);
        encoder.finish(&mut bytes);
        bytes.extend_from_slice(mark.as_bytes());
        send(&mut node, link, &bytes);
        assert!(node.repl.master.as_ref().unwrap().is_online());
        (node, link)
    }

    /// Sends this again and again until the link is closed, which must be soon.
    fn ends(begin: &[u8], again: &[u8]) {
        let (mut node, link) = online();
        send(&mut node, link, begin);
        for _ in 0..1000 {
            if send(&mut node, link, again).contains("without an end") {
                let master = node.repl.master.unwrap();
                assert!(node.clients.get(link).is_none() && !master.knows_history);
                return;
            }
        }
        panic!("not noticed");
    }

    #[test]
    fn nothing_without_an_end_is_kept() {
        let block = [b'x'; 8192];
        let value = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$8192\r\n{}\r\n", "x".repeat(8192));
        ends(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$400000000\r\n", &block);
        ends(b"*1\r\n$5\r\nMULTI\r\n", value.as_bytes());
        // What is refused is not queued, and counts too.
        let refused = format!("*2\r\n$4\r\nSAVE\r\n$8192\r\n{}\r\n", "x".repeat(8192));
        ends(b"*1\r\n$5\r\nMULTI\r\n", refused.as_bytes());
    }
}
