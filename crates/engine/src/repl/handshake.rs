//! The handshake of a replica with its master: one line at a time, until the stream or a payload.
//!
//! ```text
//!   we                                              master
//!   PING                                  ──▶
//!                                         ◀──       +PONG, or an error if it requires a password
//!   AUTH …, REPLCONF listening-port …,    ──▶
//!   ip-address …, capa …, version …
//!                                         ◀──       one reply for each
//!   PSYNC <id> <offset>              ──▶
//!                                         ◀──       +CONTINUE, or +FULLRESYNC and a payload's header
//! ```
//!
//! In a failover we are the former master, and PSYNC also asks our replica to take over (`failover.rs`).

use std::collections::VecDeque;

use russet_protocol::reply::push_command;

use super::following::{Following, Rest};
use super::link::{Expect, Stage};
use super::master::Master;
use super::psync::{self, OFFSET_MAX};
use crate::clients::Clients;
use crate::core::{Core, Order};
use crate::ids::Handle;
use crate::io::{Endpoints, Level, Output, Status};
use crate::journal::Journal;
use crate::keyspace::Keyspace;

/// Maximum length of a line before the stream.
const LINE_MAX: usize = 4096;

/// How a master answers PSYNC with FAILOVER.
const ALREADY_MASTER: &str = "-ERR PSYNC FAILOVER can't be sent to a master";

impl Following {
    /// Handles the result of connecting. Returns false if the connection is not the current one.
    pub(crate) fn connected(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        link: Handle,
        result: Result<Endpoints, String>,
    ) -> bool {
        let now_us = core.now.mono_us;
        let Some(master) = self.link_mut(link) else { return false };
        master.last_io_us = now_us;
        match result {
            Err(why) => {
                let text = format!("Error condition on socket for SYNC: {why}");
                self.link_failed(core, clients, Level::Warning, &text);
            }
            Ok(ends) => {
                master.stage = Stage::Handshake(VecDeque::from([Expect::Pong]));
                if let Some(client) = clients.get_mut(link) {
                    client.ends = ends;
                }
                core.log(Level::Notice, "MASTER <-> REPLICA sync started");
                self.send_command(core, clients, &[b"PING"]);
            }
        }
        true
    }

    pub(super) fn send_command(&mut self, core: &mut Core, clients: &mut Clients, args: &[&[u8]]) {
        if let Some(link) = self.master.as_ref().and_then(|master| master.link) {
            let mut bytes = Vec::new();
            push_command(&mut bytes, args);
            clients.send(core, link, &bytes);
        }
    }

    /// Consumes a line of the link. Returns what remains if there is no whole one.
    pub(super) fn receive_line(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        data: &Keyspace,
        master: &mut Master,
        handle: Handle,
    ) -> Option<Rest> {
        let Some(client) = clients.get_mut(handle) else { return Some(Rest::Nothing) };
        let bytes = client.wire.pending_bytes();
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if bytes.len() > LINE_MAX {
                self.protocol_error(core, clients, handle, "a reply line without an end");
            }
            return Some(Rest::Nothing);
        };
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        let line = String::from_utf8_lossy(line).into_owned();
        client.wire.consume(end + 1);
        if !line.is_empty() {
            self.line(core, clients, journal, data, master, &line);
        }
        None
    }

    fn line(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        data: &Keyspace,
        master: &mut Master,
        line: &str,
    ) {
        let Some(link) = &mut self.master else { return };
        match &mut link.stage {
            Stage::Handshake(expected) => {
                let expect = expected.pop_front();
                let done = expected.is_empty();
                self.handshake_reply(core, clients, master, (expect, done), line);
            }
            Stage::Psync => self.psync_reply(core, clients, journal, master, line),
            Stage::Header(id, offset) => {
                let (id, offset) = (std::mem::take(id), *offset);
                self.payload_header(core, clients, data, (id, offset), line);
            }
            _ => {}
        }
    }

    fn handshake_reply(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        master: &Master,
        (expect, done): (Option<Expect>, bool),
        line: &str,
    ) {
        let refused = line.starts_with('-');
        match expect {
            Some(Expect::Pong) => {
                // A master that cannot save can still be followed, which is then all the more urgent.
                let tolerated =
                    ["+", "-NOAUTH", "-NOPERM", "-ERR operation not permitted", "-MISCONF"];
                if !tolerated.iter().any(|good| line.starts_with(good)) {
                    if line.starts_with("-MASTERDOWN") {
                        self.refuse_handover(core);
                    }
                    let text = format!("Error reply to PING from master: '{line}'");
                    self.link_failed(core, clients, Level::Warning, &text);
                    return;
                }
                core.log(Level::Notice, "Master replied to PING, replication can continue...");
                self.send_identification(core, clients);
                return;
            }
            Some(Expect::Auth) if refused => {
                self.refuse_handover(core);
                let text = format!("Unable to AUTH to PRIMARY: {line}");
                self.link_failed(core, clients, Level::Warning, &text);
                return;
            }
            Some(expect) if refused => {
                let text = format!(
                    "(Non critical) Master does not understand REPLCONF {expect:?}: {line}"
                );
                core.log(Level::Notice, text);
            }
            _ => {}
        }
        if done {
            self.request_sync(core, clients, master);
        }
    }

    /// Takes a reply for a refusal to take over: it would be the same with each attempt.
    fn refuse_handover(&mut self, core: &mut Core) {
        if self.master.as_mut().and_then(|link| link.handover.take()).is_some() {
            core.order(Order::FailoverAnswered { is_accepted: false });
        }
    }

    /// Sends password, port and capabilities at once; the replies come in this order.
    fn send_identification(&mut self, core: &mut Core, clients: &mut Clients) {
        let mut expected = VecDeque::new();
        let (user, password) = (core.config.masteruser.clone(), core.config.masterauth.clone());
        if !password.is_empty() {
            if user.is_empty() {
                self.send_command(core, clients, &[b"AUTH", &password.0]);
            } else {
                self.send_command(core, clients, &[b"AUTH", &user, &password.0]);
            }
            expected.push_back(Expect::Auth);
        }
        let port = match core.config.replica_announce_port {
            0 => core.config.port,
            port => port,
        };
        self.send_command(
            core,
            clients,
            &[b"REPLCONF", b"listening-port", port.to_string().as_bytes()],
        );
        expected.push_back(Expect::ListeningPort);
        let ip = core.config.replica_announce_ip.clone();
        if !ip.is_empty() {
            self.send_command(core, clients, &[b"REPLCONF", b"ip-address", &ip]);
            expected.push_back(Expect::IpAddress);
        }
        // Stock servers pass over those that they do not know.
        let capabilities = [b"capa".as_slice(), b"eof", b"capa", b"psync2", b"capa", b"setslot"];
        self.send_command(core, clients, &[&[b"REPLCONF".as_slice()], &capabilities[..]].concat());
        expected.push_back(Expect::Capabilities);
        self.send_command(
            core,
            clients,
            &[b"REPLCONF", b"version", crate::REDIS_VERSION.as_bytes()],
        );
        expected.push_back(Expect::Version);
        if let Some(master) = &mut self.master {
            master.stage = Stage::Handshake(expected);
        }
    }

    fn request_sync(&mut self, core: &mut Core, clients: &mut Clients, master: &Master) {
        let has_history = self.master.as_ref().is_some_and(|master| master.has_history);
        let (id, offset) = if has_history {
            (master.stream.ids.id.clone(), master.stream.offset() + 1)
        } else {
            ("?".to_owned(), -1)
        };
        if has_history {
            let text = format!("Trying a partial resynchronization (request {id}:{offset}).");
            core.log(Level::Notice, text);
        } else {
            core.log(Level::Notice, "Partial resynchronization not possible (no cached master)");
        }
        let offset = offset.to_string();
        let mut command: Vec<&[u8]> = vec![b"PSYNC", id.as_bytes(), offset.as_bytes()];
        if let Some(link) = &mut self.master {
            link.stage = Stage::Psync;
            if let Some(handover) = &mut link.handover {
                handover.times = handover.times.saturating_add(1);
                command.push(b"FAILOVER");
                command.extend(handover.is_synced.then_some(&b"SYNCED"[..]));
            }
        }
        self.send_command(core, clients, &command);
    }

    fn psync_reply(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        master: &mut Master,
        line: &str,
    ) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if let Some(handover) = self.master.as_mut().and_then(|link| link.handover.take()) {
            let is_accepted = matches!(words[..], ["+FULLRESYNC" | "+CONTINUE", ..]);
            let was_accepted = handover.times > 1 && line.starts_with(ALREADY_MASTER);
            core.order(Order::FailoverAnswered { is_accepted: is_accepted || was_accepted });
            if was_accepted {
                let text = "Failover target is a master: it has carried out an earlier request.";
                core.log(Level::Notice, text);
                return self.request_sync(core, clients, master);
            }
        }
        match words.as_slice() {
            ["+FULLRESYNC", id, offset] if psync::is_id(id) => {
                let offset = offset.parse().ok().filter(|at| (0..=OFFSET_MAX).contains(at));
                let Some(offset) = offset else {
                    self.link_failed(
                        core,
                        clients,
                        Level::Warning,
                        "Master replied with wrong +FULLRESYNC syntax.",
                    );
                    return;
                };
                core.log(Level::Notice, format!("Full resync from master: {id}:{offset}"));
                if let Some(master) = &mut self.master {
                    master.stage = Stage::Header((*id).to_owned(), offset);
                }
            }
            ["+CONTINUE", rest @ ..] => {
                self.continue_stream(core, clients, journal, master, rest.first().copied())
            }
            [first, ..] if ["-NOMASTERLINK", "-LOADING", "-BUSY"].contains(first) => {
                let text = format!(
                    "Master is currently unable to PSYNC but should be in the future: {line}"
                );
                self.link_failed(core, clients, Level::Notice, &text);
            }
            _ => {
                let text = format!("Unexpected reply to PSYNC from master: {line}");
                self.link_failed(core, clients, Level::Warning, &text);
            }
        }
    }

    /// Handles +CONTINUE: our data is a prefix of the master's history.
    fn continue_stream(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        master: &mut Master,
        id: Option<&str>,
    ) {
        if !self.master.as_ref().is_some_and(|master| master.has_history) {
            let text = "Master replied +CONTINUE to a request for a full resynchronization.";
            self.link_failed(core, clients, Level::Warning, text);
            return;
        }
        if let Some(id) = id.filter(|id| psync::is_id(id) && **id != master.stream.ids.id) {
            let offset = master.stream.offset();
            master.stream.ids.rename(id.to_owned(), offset);
            core.log(Level::Notice, format!("Master replication ID changed to {id}"));
            // Our replicas get the new id when they reconnect.
            master.disconnect_replicas(core, clients);
        }
        master.stream.ensure_backlog(core, journal);
        core.log(Level::Notice, "Successful partial resynchronization with master.");
        core.log(
            Level::Notice,
            "MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.",
        );
        core.output(Output::Status(Status::Resumed));
        let selected = self.upstream_db().unwrap_or(0);
        self.go_online(core, selected);
    }
}
