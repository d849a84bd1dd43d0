//! A replica's handling of its master's stream besides execution: offsets, passing it on to
//! sub-replicas, and errors.
//!
//! The offset guarantees that the data is the result of the stream up to there: partial
//! synchronizations and promotions by Sentinel rely on it.

use russet_protocol::ErrorReply;

use super::following::Following;
use super::master::Master;
use crate::clients::{Clients, link_bytes_max};
use crate::config::value::PropagationErrorBehavior;
use crate::core::{Core, Order};
use crate::ids::Handle;
use crate::io::Level;

/// Minimum interval of log lines about failed requests.
const FAILURE_LOG_US: u64 = 10_000_000;

/// Minimum delay before reconnecting to a master whose stream cannot be applied.
const UNKNOWN_COMMAND_US: u64 = 10_000_000;

/// The time of the last log line about a failed request, and the number of unlogged ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FailuresLogged {
    at_us: Option<u64>,
    since: u64,
}

impl Following {
    /// Returns the database selected by the stream.
    pub(crate) fn db(&self) -> u32 {
        self.master.as_ref().map_or(0, |master| master.db)
    }

    /// Sets the database selected by the stream.
    pub(crate) fn set_db(&mut self, db: u32) {
        if let Some(master) = &mut self.master {
            master.db = db;
        }
    }

    /// Returns the transaction of the stream.
    pub(crate) fn transaction(&self) -> Option<&crate::transaction::Transaction> {
        self.master.as_ref().map(|master| &master.transaction)
    }

    /// The same, to be changed.
    pub(crate) fn transaction_mut(&mut self) -> Option<&mut crate::transaction::Transaction> {
        self.master.as_mut().map(|master| &mut master.transaction)
    }

    /// Advances the offset after a request of the stream was executed or queued, and passes the
    /// same bytes on to our replicas. A transaction counts when it is complete, since we cannot
    /// resume in the middle of it.
    pub(crate) fn applied(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        master: &mut Master,
        handle: Handle,
        raw: &[u8],
    ) {
        let (now_us, bytes_max) = (core.now.mono_us, link_bytes_max(core));
        let Some(link) = self.link_mut(handle) else { return };
        link.last_io_us = now_us;
        if link.transaction.open {
            link.partial_transaction.extend_from_slice(raw);
            if link.partial_transaction.len() > bytes_max {
                self.protocol_error(core, clients, handle, "a transaction without an end");
            }
            return;
        }
        link.selected_db = link.db;
        let before = std::mem::take(&mut link.partial_transaction);
        master.stream.append(&before);
        master.stream.append(raw);
    }

    /// Requests that our offset is acknowledged at the end of the turn, however often it is called.
    pub(crate) fn request_ack(&mut self) {
        if let Some(link) = &mut self.master {
            link.ack_requested = true;
        }
    }

    /// Sends REPLCONF ACK with our offset if it is requested. While earlier output waits for a master
    /// that does not read, nothing is added to it: the acknowledgement follows when that has left, with
    /// the offset of then.
    ///
    /// With an append-only file it also says up to which offset everything is on disk. If that is not all, another
    /// acknowledgement follows when it is: the master may have asked for WAITAOF.
    pub(crate) fn send_ack(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        offset: i64,
        on_disk: Option<i64>,
    ) {
        if let Some(link) = &mut self.master
            && link.disk_ack_at.is_some_and(|at| on_disk.is_some_and(|on_disk| on_disk >= at))
        {
            link.ack_requested = true;
        }
        let Some(link) = self.master.as_mut().filter(|link| link.ack_requested) else { return };
        let outbox = link.link.and_then(|handle| clients.outbox(handle));
        if outbox.is_some_and(|outbox| outbox.is_empty()) {
            link.ack_requested = false;
            link.disk_ack_at = on_disk.filter(|&on_disk| on_disk < offset).map(|_| offset);
            let offset = offset.to_string();
            let mut command: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", offset.as_bytes()];
            let on_disk = on_disk.map(|on_disk| on_disk.to_string());
            if let Some(on_disk) = &on_disk {
                command.extend([&b"FACK"[..], on_disk.as_bytes()]);
            }
            self.send_command(core, clients, &command);
        }
    }

    /// Closes the link because of a command in the master's stream that is unknown or fails here.
    ///
    /// Its effect on the master's data is unknown. After skipping it, our offset would no longer
    /// match our data, and a promotion or a partial synchronization of our replicas would spread
    /// the difference. So the link is closed at the offset before the command or its transaction,
    /// of which nothing was executed if the command is unknown. A partial synchronization would
    /// only send the same command again, so a full one is requested, which succeeds once the data
    /// is of known types. Attempts are far apart, since each costs the master a snapshot.
    pub(crate) fn cannot_follow(&mut self, core: &mut Core, clients: &mut Clients, why: &str) {
        let Some(master) = &mut self.master else { return };
        master.has_history = false;
        let delay_us = master.back_off_us().max(UNKNOWN_COMMAND_US);
        let secs = delay_us / 1_000_000;
        let text = format!(
            "{why}: its data cannot be followed any further. The link is closed; a full \
             synchronization is tried in {secs} seconds."
        );
        self.link_failed_for(core, clients, Level::Warning, &text, delay_us);
    }

    /// Handles a command that failed here but presumably not on the master.
    pub(crate) fn request_failed(&mut self, core: &mut Core, name: &str, error: &ErrorReply) {
        core.stats.unexpected_errors += 1;
        let goes_on = core.config.propagation_error_behavior == PropagationErrorBehavior::Ignore;
        if !goes_on && core.config.replica_read_only {
            let text = format!(
                "This replica panicked sending an error to its master after processing the command \
                 '{name}'"
            );
            core.order(Order::Stop(text));
            return;
        }
        let now_us = core.now.mono_us;
        let logged = &mut self.failures;
        if logged.at_us.is_some_and(|at| now_us.saturating_sub(at) < FAILURE_LOG_US) {
            logged.since += 1;
            return;
        }
        logged.at_us = Some(now_us);
        let more = match std::mem::take(&mut logged.since) {
            0 => String::new(),
            count => format!(" ({count} more since this was last logged)"),
        };
        let name: String = name.chars().take(128).collect();
        let text = format!(
            "== CRITICAL == This replica is sending an error to its master: '{error}' after processing the command \
             '{name}'{more}"
        );
        core.log(Level::Warning, text);
    }

    /// Handles a protocol error of the master: we may have missed part of its stream.
    pub(crate) fn protocol_error(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        handle: Handle,
        what: &str,
    ) {
        let Some(master) = self.link_mut(handle) else { return };
        let text = format!("Protocol error from master: {what}. The link is closed.");
        if master.is_online() {
            master.has_history = false;
            let delay_us = master.back_off_us();
            return self.link_failed_for(core, clients, Level::Warning, &text, delay_us);
        }
        self.link_failed(core, clients, Level::Warning, &text);
    }
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

    /// Sends bytes and returns the log lines they cause.
    fn send(node: &mut Node, link: Handle, bytes: &[u8]) -> String {
        if let Some(buffer) = node.read_buffer(link) {
            buffer.extend_from_slice(bytes);
            node.received(node.core.now, link);
        }
        let mut log = String::new();
        loop {
            match node.poll_output(node.core.now) {
                Output::Wait(Some(0)) => node.turn(node.core.now, &mut NoTicks),
                Output::Wait(_) => return log,
                Output::Log { text, .. } => log.push_str(&text),
                _ => {}
            }
        }
    }

    /// Returns a replica that is online.
    fn online() -> (Node, Handle) {
        let conf = b"replicaof h 1\nclient-query-buffer-limit 1mb\n";
        let config = Config::parse_text(conf).unwrap().config;
        let mut node = Node::new(config, Boot::default(), Now { mono_us: 1, wall_us: 1 });
        let link = node.parts.following.master().unwrap().link.unwrap();
        let ends = Endpoints::Unix("x".to_owned());
        node.handle(node.core.now, Input::Connected { link, result: Ok(ends) });
        let (id, mark) = ("0".repeat(40), "1".repeat(40));
        let mut bytes =
            format!("+PONG\r\n+\r\n+\r\n+\r\n+FULLRESYNC {id} 1\r\n$EOF:{mark}\r\n").into_bytes();
        let mut encoder = RdbEncoder::new(RdbSettings::default());
        encoder.begin(&[], &mut bytes);
        encoder.finish(&mut bytes);
        bytes.extend_from_slice(mark.as_bytes());
        send(&mut node, link, &bytes);
        assert!(node.parts.following.master().unwrap().is_online());
        (node, link)
    }

    /// Sends `repeated` until the link is closed, which must happen soon.
    fn closes_link(begin: &[u8], repeated: &[u8]) {
        let (mut node, link) = online();
        send(&mut node, link, begin);
        for _ in 0..1000 {
            if send(&mut node, link, repeated).contains("without an end") {
                let master = node.parts.following.master().unwrap();
                assert!(node.parts.clients.get(link).is_none() && !master.has_history());
                return;
            }
        }
        panic!("the link was not closed");
    }

    #[test]
    fn endless_requests_and_transactions_close_the_link() {
        let argument = format!("$8192\r\n{}\r\n", "x".repeat(8192));
        let value = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$8192\r\n{}\r\n", "x".repeat(8192));
        closes_link(b"*400000000\r\n$3\r\nDEL\r\n", argument.as_bytes());
        closes_link(b"*1\r\n$5\r\nMULTI\r\n", value.as_bytes());
        // Refused commands are not queued but count too.
        let refused = format!("*2\r\n$4\r\nSAVE\r\n$8192\r\n{}\r\n", "x".repeat(8192));
        closes_link(b"*1\r\n$5\r\nMULTI\r\n", refused.as_bytes());
    }
}
