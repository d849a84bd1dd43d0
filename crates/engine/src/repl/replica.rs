//! The replica's side: the link to the master, from connecting to following its stream.
//!
//! ```text
//!   Retry ──▶ Connect ──▶ Handshake ──▶ Psync ──┬─▶ (continue) ─────────────▶ Online
//!     ▲                                         └─▶ Header ──▶ Payload ────────┘
//!     └───────────── whatever goes wrong, from anywhere ───────────────────────┘
//! ```
//!
//! A payload is loaded while it arrives, into a second keyspace; the first one goes on serving (if
//! `replica-serve-stale-data` allows) and is replaced only when the second is whole. What the master sends is
//! untrusted for memory and time: every line has a limit, every wait a deadline.

use std::collections::VecDeque;

use russet_protocol::reply::push_command;

use super::backlog::Backlog;
use super::payload::Payload;
use super::psync::{self, OFFSET_MAX};
use crate::client::{Role, Waiting};
use crate::config::words::MasterAddress;
use crate::io::{Endpoints, Garbage, Handle, JobId, Level, Output, Status};
use crate::node::Node;
use crate::planted::Bug;
use crate::timers::Timer;

/// Longest line that a master may send before its stream.
const LINE_MAX: usize = 4096;

/// Longest pause between tries to synchronise with a master whose data is of no use here, microseconds.
const BACK_OFF_MAX_US: u64 = 30_000_000;

/// The second acknowledgement follows the first so soon, microseconds.
const SECOND_ACK_US: u64 = 100_000;

/// A link that has held for so long, microseconds, has put earlier failures behind it.
const STEADY_US: u64 = 60_000_000;

/// A reply of the handshake that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Pong,
    Auth,
    ListeningPort,
    IpAddress,
    Capabilities,
    Version,
}

/// Where the link stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// Not connected; tried again each second.
    Retry,
    /// Waiting for the connection.
    Connect,
    /// Waiting for these replies, in this order.
    Handshake(VecDeque<Expect>),
    /// Waiting for the reply to PSYNC.
    Psync,
    /// Waiting for the line that announces the payload of this history and offset.
    Header(String, i64),
    /// Loading the payload.
    Payload(Box<Payload>),
    /// Following the stream.
    Online,
}

/// Our link to the master that we follow.
#[derive(Debug)]
pub struct MasterLink {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The connection, if there is one.
    pub link: Option<Handle>,
    pub(super) stage: Stage,
    /// Our data belongs to the history in `Repl`, so a partial synchronisation may be asked for.
    pub(super) knows_history: bool,
    /// Monotonic microseconds at which the master last sent something.
    pub last_io_us: u64,
    /// Monotonic microseconds since which the link is down.
    pub down_since_us: u64,
    /// Monotonic microseconds at which it went online.
    online_us: u64,
    /// How often its data could not be used, lately.
    setbacks: u32,
    /// Database that the master's stream has selected.
    pub selected_db: u32,
    /// The next try is made no earlier than this.
    retry_us: u64,
}

impl MasterLink {
    /// Whether the stream flows.
    pub fn is_online(&self) -> bool {
        matches!(self.stage, Stage::Online)
    }

    /// The state's name for ROLE.
    pub fn state_name(&self) -> &'static str {
        match self.stage {
            Stage::Retry => "connect",
            Stage::Connect => "connecting",
            Stage::Handshake(_) | Stage::Psync => "handshake",
            Stage::Header(..) | Stage::Payload(_) => "sync",
            Stage::Online => "connected",
        }
    }

    /// Whether our data has a place in the master's history, so that a partial synchronisation may be asked for.
    pub fn knows_history(&self) -> bool {
        self.knows_history
    }

    /// Its data could not be used: how long to wait before it is asked for again, since each try costs it a
    /// snapshot. Twice as long each time, from a second on.
    pub(super) fn back_off_us(&mut self) -> u64 {
        let us = (1_000_000_u64 << self.setbacks.min(16)).min(BACK_OFF_MAX_US);
        self.setbacks = self.setbacks.saturating_add(1);
        us
    }

    /// Whether a payload is being loaded.
    pub fn is_loading(&self) -> bool {
        matches!(self.stage, Stage::Payload(_))
    }

    /// For INFO, while a full synchronisation runs: bytes announced (0 if not), bytes that came.
    pub fn sync_progress(&self) -> Option<(u64, u64)> {
        match &self.stage {
            Stage::Header(..) => Some((0, 0)),
            Stage::Payload(payload) => Some((payload.len.unwrap_or(0), payload.received)),
            _ => None,
        }
    }
}

impl Node {
    /// What the configuration file says of a master, at the start.
    pub(crate) fn begin_replication(&mut self) {
        self.timers.set_if_idle(Timer::Replication, self.now.mono_us);
        if let Some(MasterAddress { host, port }) = self.config.replicaof.clone() {
            if self.repl.master.is_none() {
                self.follow_at_start(String::from_utf8_lossy(&host).into_owned(), port);
            }
            self.tend_master_link();
        }
    }

    /// From the first moment a node with `replicaof` is a replica, while it loads its file too.
    pub(crate) fn follow_at_start(&mut self, host: String, port: u16) {
        self.repl.master = Some(self.new_link(host, port, false));
    }

    fn new_link(&self, host: String, port: u16, knows_history: bool) -> MasterLink {
        MasterLink {
            host,
            port,
            link: None,
            stage: Stage::Retry,
            knows_history,
            last_io_us: self.now.mono_us,
            down_since_us: self.now.mono_us,
            online_us: 0,
            setbacks: 0,
            selected_db: 0,
            retry_us: 0,
        }
    }

    /// A dump file was loaded that knew its place in a stream.
    pub(crate) fn adopt_loaded_position(&mut self) {
        let position = std::mem::take(&mut self.repl.loaded_position);
        if !psync::is_id(&position.id) || !(0..=OFFSET_MAX).contains(&position.offset) {
            return;
        }
        self.repl.offset = position.offset;
        let selected_db = self.existing_db(position.db);
        if let Some(master) = &mut self.repl.master {
            // A replica goes on where its file ends.
            master.knows_history = true;
            master.selected_db = selected_db;
            self.repl.histories.id = position.id;
        } else {
            // A master begins a history of its own; the file's is its past, up to there.
            let fresh = self.repl.histories.id.clone();
            self.repl.histories.id = position.id;
            self.repl.histories.rename(fresh, position.offset);
        }
        self.repl.backlog =
            Some(Backlog::new(self.repl.offset + 1, self.config.repl_backlog_size as usize));
        self.repl.none_since_us = Some(self.now.mono_us);
        self.update_listening();
    }

    /// The database that a file names, or the first if we have none of that number.
    fn existing_db(&self, db: u32) -> u32 {
        if db < self.keyspace.count() { db } else { 0 }
    }

    /// REPLICAOF host port.
    pub(crate) fn follow(&mut self, host: String, port: u16) {
        let was_master = self.repl.master.is_none();
        self.release_blocked_for_role_change();
        self.flush_effects();
        self.flush_stream();
        // Our own history may be a prefix of the new master's: it can tell.
        let knows = match &self.repl.master {
            Some(master) => master.knows_history,
            None => self.repl.backlog.is_some(),
        };
        // If the stream goes on where we are, its next effect is in this database.
        let selected_db = self.repl.stream_db();
        self.drop_link();
        self.disconnect_replicas();
        self.repl.selected = None;
        self.repl.partial_transaction.clear();
        let text = format!("{host}:{port}");
        let link = self.new_link(host, port, knows);
        self.repl.master = Some(MasterLink { selected_db, ..link });
        self.update_listening();
        if was_master {
            self.log(Level::Notice, "Before turning into a replica, using my own master parameters to synthesize a cached master: I may be able to synchronize with the new master with just a partial transfer.");
        }
        self.log(Level::Notice, format!("Connecting to MASTER {text}"));
        self.timers.set(Timer::Replication, self.now.mono_us);
    }

    /// REPLICAOF NO ONE: we go on under a name of our own.
    pub(crate) fn promote(&mut self) {
        if self.repl.master.is_none() {
            return;
        }
        self.drop_link();
        self.repl.master = None;
        self.repl.partial_transaction.clear();
        if !self.planted(Bug::KeptReplid) {
            let id = self.rng.hex40();
            let offset = self.repl.offset;
            self.repl.histories.rename(id, offset);
            let h = self.repl.histories.clone();
            self.log(Level::Notice, format!("Setting secondary replication ID to {}, valid up to offset: {}. New replication ID is {}", h.id2, h.second_offset, h.id));
        }
        self.disconnect_replicas();
        self.repl.selected = None;
        if self.repl.backlog.is_none() {
            let size = self.config.repl_backlog_size as usize;
            self.repl.backlog = Some(Backlog::new(self.repl.offset + 1, size));
        }
        self.repl.none_since_us = Some(self.now.mono_us);
        self.update_listening();
    }

    /// The link's connection is closed by us.
    fn drop_link(&mut self) {
        if let Some(link) = self.repl.master.as_mut().and_then(|master| master.link.take()) {
            if let Some(client) = self.clients.get_mut(link) {
                client.role = Role::Client;
            }
            self.close(link);
        }
        self.give_stage_up();
        self.repl.partial_transaction.clear();
    }

    /// Nothing comes of the stage that the link was in.
    fn give_stage_up(&mut self) {
        let Some(master) = &mut self.repl.master else { return };
        if let Stage::Payload(payload) = std::mem::replace(&mut master.stage, Stage::Retry) {
            self.output(Output::Garbage(Garbage(payload)));
        }
    }

    /// The link's connection was lost.
    pub(crate) fn master_link_lost(&mut self, handle: Handle) {
        let now_us = self.now.mono_us;
        let Some(master) = self.repl.master.as_mut().filter(|m| m.link == Some(handle)) else {
            return;
        };
        if master.is_online() {
            master.down_since_us = now_us;
        }
        master.link = None;
        master.retry_us = now_us;
        self.give_stage_up();
        self.repl.partial_transaction.clear();
        self.log(Level::Notice, "Connection with master lost.");
    }

    /// The link may go on after a pause in which it may not have been read.
    pub(crate) fn link_resumed(&mut self, handle: Handle) {
        if let Some(master) = self.repl.master.as_mut().filter(|m| m.link == Some(handle)) {
            master.last_io_us = self.now.mono_us;
        }
    }

    pub(super) fn link_failed(&mut self, level: Level, why: &str) {
        self.link_failed_for(level, why, 1_000_000);
    }

    /// The link failed, and is not to be tried again for so long.
    pub(super) fn link_failed_for(&mut self, level: Level, why: &str, delay_us: u64) {
        self.log(level, why);
        let now_us = self.now.mono_us;
        if let Some(master) = &mut self.repl.master {
            if master.is_online() {
                master.down_since_us = now_us;
            }
            master.retry_us = now_us + delay_us;
        }
        self.drop_link();
    }

    /// Housekeeping, once a second: connect, acknowledge, notice silence.
    pub(crate) fn tend_master_link(&mut self) {
        let now_us = self.now.mono_us;
        let timeout_us = self.config.repl_timeout.max(1) as u64 * 1_000_000;
        let loading = self.persist.is_loading();
        let Some(master) = &mut self.repl.master else { return };
        // Whom a pause of ours holds back is not silent.
        let held = master
            .link
            .and_then(|link| self.clients.get(link))
            .is_some_and(|c| c.blocked.is_some());
        let silent = !held && now_us.saturating_sub(master.last_io_us) > timeout_us;
        match &master.stage {
            Stage::Retry if !loading && now_us >= master.retry_us => self.connect_to_master(),
            Stage::Retry => {}
            Stage::Online if silent => {
                self.link_failed(Level::Warning, "MASTER timeout: no data nor PING received...");
            }
            Stage::Online => {
                if now_us.saturating_sub(master.online_us) >= STEADY_US {
                    master.setbacks = 0;
                }
                self.acknowledge();
            }
            Stage::Payload(_) if silent => {
                self.link_failed(Level::Warning, "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' parameter in redis.conf to a larger value.");
            }
            Stage::Payload(_) => {
                // Keeps the master from taking us for dead.
                if let Some(link) = master.link {
                    self.send_raw(link, b"\n");
                }
            }
            _ if silent => self.link_failed(Level::Warning, "Timeout connecting to the MASTER..."),
            _ => {}
        }
    }

    fn connect_to_master(&mut self) {
        let now_us = self.now.mono_us;
        let nowhere = Endpoints::Unix(String::new());
        let client = self.clients.add(nowhere, now_us);
        client.role = Role::MasterLink;
        client.authenticated = true;
        let link = client.handle;
        let Some(master) = &mut self.repl.master else { return };
        master.link = Some(link);
        master.stage = Stage::Connect;
        master.last_io_us = now_us;
        let (host, port) = (master.host.clone(), master.port);
        self.log(Level::Notice, format!("Connecting to MASTER {host}:{port}"));
        self.output(Output::Connect { link, host, port });
    }

    /// The answer to our try to connect.
    pub(crate) fn link_connected(&mut self, link: Handle, result: Result<Endpoints, String>) {
        let now_us = self.now.mono_us;
        let ours = self.repl.master.as_mut().filter(|master| master.link == Some(link));
        let Some(master) = ours else {
            if result.is_ok() {
                self.output(Output::Close(link));
            }
            return;
        };
        master.last_io_us = now_us;
        match result {
            Err(why) => {
                let text = format!("Error condition on socket for SYNC: {why}");
                self.link_failed(Level::Warning, &text);
            }
            Ok(ends) => {
                master.stage = Stage::Handshake(VecDeque::from([Expect::Pong]));
                if let Some(client) = self.clients.get_mut(link) {
                    client.ends = ends;
                }
                self.log(Level::Notice, "MASTER <-> REPLICA sync started");
                self.send_raw(link, b"*1\r\n$4\r\nPING\r\n");
            }
        }
    }

    fn send_raw(&mut self, link: Handle, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(link) {
            client.wire.outbox.tail.extend_from_slice(bytes);
            self.mark_dirty(link);
        }
    }

    pub(super) fn send_command(&mut self, args: &[&[u8]]) {
        if let Some(link) = self.repl.master.as_ref().and_then(|master| master.link) {
            let mut bytes = Vec::new();
            push_command(&mut bytes, args);
            self.send_raw(link, &bytes);
        }
    }

    /// REPLCONF ACK: how far we are.
    pub(crate) fn acknowledge(&mut self) {
        let offset = self.repl.offset.to_string();
        self.send_command(&[b"REPLCONF", b"ACK", offset.as_bytes()]);
    }

    /// Takes the link's bytes as far as they are lines and payload. True: what is left is stream.
    pub(crate) fn link_received(&mut self, handle: Handle) -> bool {
        let now_us = self.now.mono_us;
        let Some(master) = self.repl.master.as_mut().filter(|m| m.link == Some(handle)) else {
            return false;
        };
        master.last_io_us = now_us;
        loop {
            let Some(client) = self.clients.get_mut(handle) else { return false };
            let wire = &mut client.wire;
            let bytes = &wire.query[wire.start..];
            let Some(master) = &self.repl.master else { return false };
            match &master.stage {
                Stage::Online => return true,
                Stage::Payload(_) => {
                    let bytes = bytes.to_vec();
                    if bytes.is_empty() {
                        return false;
                    }
                    let used = self.payload_received(&bytes);
                    if let Some(client) = self.clients.get_mut(handle) {
                        client.wire.consume(used);
                    }
                }
                _ => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        if bytes.len() > LINE_MAX {
                            self.master_spoke_garbage(handle, "a reply line without an end");
                        }
                        return false;
                    };
                    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
                    let line = String::from_utf8_lossy(line).into_owned();
                    wire.consume(end + 1);
                    if !line.is_empty() {
                        self.link_line(&line);
                    }
                }
            }
        }
    }

    /// +CONTINUE: what we have is a prefix of the master's history.
    pub(super) fn continue_stream(&mut self, id: Option<&str>) {
        if !self.repl.master.as_ref().is_some_and(|master| master.knows_history) {
            self.link_failed(Level::Warning, "Master said +CONTINUE to a full resynchronization.");
            return;
        }
        if let Some(id) = id.filter(|id| psync::is_id(id) && **id != self.repl.histories.id) {
            let offset = self.repl.offset;
            self.repl.histories.rename(id.to_owned(), offset);
            self.log(Level::Notice, format!("Master replication ID changed to {id}"));
            // Replicas of ours learn the new name when they come again.
            self.disconnect_replicas();
        }
        if self.repl.backlog.is_none() {
            let size = self.config.repl_backlog_size as usize;
            self.repl.backlog = Some(Backlog::new(self.repl.offset + 1, size));
        }
        self.log(Level::Notice, "Successful partial resynchronization with master.");
        self.log(
            Level::Notice,
            "MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.",
        );
        self.output(Output::Status(Status::Resumed));
        let selected = self.repl.master.as_ref().map_or(0, |master| master.selected_db);
        self.go_online(selected);
    }

    /// Bytes of the payload. How many of them belonged to it.
    fn payload_received(&mut self, bytes: &[u8]) -> usize {
        let (now_ms, clock) = (self.keyspace.now_ms, self.keyspace.clock);
        let Some(master) = &mut self.repl.master else { return bytes.len() };
        let Stage::Payload(payload) = &mut master.stage else { return 0 };
        (payload.fresh.now_ms, payload.fresh.clock) = (now_ms, clock);
        match payload.take(bytes) {
            Err(why) => {
                let delay_us = master.back_off_us();
                let text = format!("Failed trying to load the MASTER synchronization DB: {why}");
                self.link_failed_for(Level::Warning, &text, delay_us);
                bytes.len()
            }
            Ok((used, false)) => used,
            Ok((used, true)) => {
                self.payload_complete();
                used
            }
        }
    }

    /// The payload is whole: it takes the place of our data.
    fn payload_complete(&mut self) {
        let Some(master) = &mut self.repl.master else { return };
        let Stage::Payload(payload) = std::mem::replace(&mut master.stage, Stage::Retry) else {
            return;
        };
        self.disconnect_replicas();
        let running: Vec<JobId> = self.persist.snapshots.iter().map(|s| s.job).collect();
        for job in running {
            self.save_given_up(job, "the data was replaced");
        }
        if self.planted(Bug::KeptOldKeys) {
            self.keyspace.merge(*payload.fresh);
        } else {
            self.keyspace.replace_all(*payload.fresh);
        }
        // A master that is itself a replica passes on a stream that has selected this one already.
        let selected_db = self.existing_db(payload.position.db);
        self.repl.histories.id = payload.id;
        self.repl.histories.forget_former();
        self.repl.offset = payload.offset;
        self.repl.open.clear();
        let size = self.config.repl_backlog_size as usize;
        self.repl.backlog = Some(Backlog::new(payload.offset + 1, size));
        if let Some(master) = &mut self.repl.master {
            master.knows_history = true;
        }
        self.break_transactions();
        self.log(Level::Notice, "MASTER <-> REPLICA sync: Finished with success");
        self.output(Output::Status(Status::Synced));
        self.go_online(selected_db);
        self.save_anew_for_shutdown();
    }

    fn go_online(&mut self, selected_db: u32) {
        let now_us = self.now.mono_us;
        let Some(master) = &mut self.repl.master else { return };
        master.stage = Stage::Online;
        master.last_io_us = now_us;
        master.online_us = now_us;
        master.selected_db = selected_db;
        if let Some(client) = master.link.and_then(|link| self.clients.get_mut(link)) {
            client.db = selected_db;
            client.transaction = Default::default();
        }
        self.repl.partial_transaction.clear();
        self.update_listening();
        self.acknowledge();
        // A master that has not seen its own snapshot end yet passes over this one, and begins its stream with the next.
        let soon = now_us + SECOND_ACK_US;
        if self.timers.due(Timer::Replication).is_none_or(|due| due > soon) {
            self.timers.set(Timer::Replication, soon);
        }
    }

    /// Clients that wait for what only a master can give are let go.
    fn release_blocked_for_role_change(&mut self) {
        for handle in self.clients.handles() {
            let waits = self.clients.get(handle).and_then(|c| c.blocked.as_ref());
            if waits.is_some_and(|blocked| matches!(blocked.waiting, Waiting::Acks { .. })) {
                let text = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
                self.reply_error(handle, &russet_protocol::ErrorReply::fixed(text));
                self.resume(handle);
                self.close_after_reply(handle);
            }
        }
    }
}
