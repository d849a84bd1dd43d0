//! The replica side: the link to the master, from connecting to following its stream.
//!
//! ```text
//!   Retry ──▶ Connect ──▶ Handshake ──▶ Psync ──┬─▶ (continue) ─────────────▶ Online
//!     ▲                                         └─▶ Header ──▶ Payload ────────┘
//!     └────────────────────── any failure, in any state ───────────────────────┘
//! ```
//!
//! A payload is loaded while it arrives, into a second keyspace; the old data is served meanwhile
//! (if `replica-serve-stale-data` allows) and replaced only when the new data is complete. The
//! master is not trusted with memory and time: every line has a limit, every wait a timeout.

use std::collections::VecDeque;

use russet_protocol::ErrorReply;
use russet_protocol::reply::push_command;

use super::master::{Master, who_closed};
use super::payload::Payload;
use super::psync::{self, OFFSET_MAX};
use super::upstream::FailuresLogged;
use crate::clients::{Clients, LinkOwner, Role, Waiting};
use crate::config::words::MasterAddress;
use crate::core::{Answer, Core, Order};
use crate::ids::Handle;
use crate::injected::Bug;
use crate::io::{Endpoints, Garbage, Level, Output, Status};
use crate::journal::Journal;
use crate::keyspace::Keyspace;
use crate::persist::fill::{SLICE_BYTES, StreamPosition};
use crate::timers::Timer;
use crate::transaction::Transaction;

/// Maximum length of a line before the stream.
const LINE_MAX: usize = 4096;

/// Maximum delay before retrying a full synchronization that failed, microseconds.
const BACK_OFF_MAX_US: u64 = 30_000_000;

/// Delay of the second acknowledgement after the first, microseconds.
const SECOND_ACK_US: u64 = 100_000;

/// Time online after which earlier failures no longer delay synchronizations, microseconds.
const STABLE_US: u64 = 60_000_000;

/// What remains of the received bytes of a link, after lines and payload were consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing that can be used yet.
    Nothing,
    /// More of the payload: it continues in another slice.
    Payload,
    /// The stream of requests.
    Stream,
}

/// An expected reply of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Pong,
    Auth,
    ListeningPort,
    IpAddress,
    Capabilities,
    Version,
}

/// The state of the link.
#[derive(Debug)]
pub(super) enum Stage {
    /// Not connected; retried every second.
    Retry,
    /// Waiting for the connection.
    Connect,
    /// Waiting for these replies, in this order.
    Handshake(VecDeque<Expect>),
    /// Waiting for the reply to PSYNC.
    Psync,
    /// Waiting for the header of the payload with this replication id and offset.
    Header(String, i64),
    /// Loading the payload.
    Payload(Box<Payload>),
    /// Following the stream.
    Online,
}

/// The link to the master.
#[derive(Debug)]
pub struct MasterLink {
    /// Host name or address of the master.
    pub host: String,
    /// Port of the master.
    pub port: u16,
    /// The connection, if there is one.
    pub link: Option<Handle>,
    pub(super) stage: Stage,
    /// Whether the data belongs to a replication history, so that a partial synchronization may be
    /// requested.
    pub(super) has_history: bool,
    /// Monotonic microseconds of the last data from the master.
    pub last_io_us: u64,
    /// Monotonic microseconds since when the link is down.
    pub down_since_us: u64,
    /// Monotonic microseconds at which it went online.
    online_us: u64,
    /// Number of recent full synchronizations that failed, or whose data or stream was unusable.
    sync_failures: u32,
    /// Database selected in the master's stream at our offset.
    pub selected_db: u32,
    /// Earliest time of the next attempt.
    retry_us: u64,
    /// Whether our offset is to be acknowledged.
    pub(super) ack_requested: bool,
    /// Database selected by the stream, also within a transaction.
    pub(super) db: u32,
    /// A transaction of the stream.
    pub(crate) transaction: Transaction,
    /// Bytes of an incomplete transaction of the stream.
    pub(super) partial_transaction: Vec<u8>,
}

impl MasterLink {
    fn new(host: String, port: u16, has_history: bool, selected_db: u32, now_us: u64) -> Self {
        MasterLink {
            host,
            port,
            link: None,
            stage: Stage::Retry,
            has_history,
            last_io_us: now_us,
            down_since_us: now_us,
            online_us: 0,
            sync_failures: 0,
            selected_db,
            retry_us: 0,
            ack_requested: false,
            db: selected_db,
            transaction: Transaction::default(),
            partial_transaction: Vec::new(),
        }
    }

    /// Whether the link is online.
    pub fn is_online(&self) -> bool {
        matches!(self.stage, Stage::Online)
    }

    /// Returns the name of the state for ROLE.
    pub fn state_name(&self) -> &'static str {
        match self.stage {
            Stage::Retry => "connect",
            Stage::Connect => "connecting",
            Stage::Handshake(_) | Stage::Psync => "handshake",
            Stage::Header(..) | Stage::Payload(_) => "sync",
            Stage::Online => "connected",
        }
    }

    /// Whether a partial synchronization may be requested.
    pub fn has_history(&self) -> bool {
        self.has_history
    }

    /// Returns the bytes of an incomplete transaction of the stream.
    pub fn partial_len(&self) -> usize {
        self.partial_transaction.len()
    }

    /// Returns the delay before the next full synchronization after one that failed, or whose data or
    /// stream was unusable, since each costs the master a snapshot. Starts at a second and doubles each
    /// time.
    pub(super) fn back_off_us(&mut self) -> u64 {
        let us = (1_000_000_u64 << self.sync_failures.min(16)).min(BACK_OFF_MAX_US);
        self.sync_failures = self.sync_failures.saturating_add(1);
        us
    }

    /// Returns the delay before the next attempt after a failure in this stage: `usual`, unless the
    /// master has begun a full synchronization, which would fail in the same way again.
    fn retry_delay_us(&mut self, usual: u64) -> u64 {
        match self.stage {
            Stage::Header(..) | Stage::Payload(_) => self.back_off_us(),
            _ => usual,
        }
    }

    /// Whether a payload is being loaded.
    pub fn is_loading(&self) -> bool {
        matches!(self.stage, Stage::Payload(_))
    }

    /// Whether a payload is being loaded and elements of a value are expected.
    pub fn is_inside_value(&self) -> bool {
        matches!(&self.stage, Stage::Payload(payload) if payload.loader.is_inside_value())
    }

    /// Returns the progress of a full synchronization for INFO: total bytes (0 if unknown) and
    /// received bytes.
    pub fn sync_progress(&self) -> Option<(u64, u64)> {
        match &self.stage {
            Stage::Header(..) => Some((0, 0)),
            Stage::Payload(payload) => Some((payload.len.unwrap_or(0), payload.received)),
            _ => None,
        }
    }
}

/// The replica side of replication: the link to a master, if there is one.
#[derive(Debug, Default)]
pub struct Following {
    pub(super) master: Option<MasterLink>,
    /// State of logging failed requests of the master.
    pub(super) failures: FailuresLogged,
}

impl Following {
    /// Returns the link to the master.
    pub fn master(&self) -> Option<&MasterLink> {
        self.master.as_ref()
    }

    /// Returns the link if it has this connection.
    pub(super) fn link_mut(&mut self, handle: Handle) -> Option<&mut MasterLink> {
        self.master.as_mut().filter(|master| master.link == Some(handle))
    }

    /// Whether the link is down and stale data must not be served.
    #[inline]
    pub(crate) fn is_stale(&self, core: &Core) -> bool {
        core.is_replica
            && !core.config.replica_serve_stale_data
            && self.master.as_ref().is_some_and(|master| !master.is_online())
    }

    /// Returns the database selected in the master's stream, if there is a master.
    pub(crate) fn upstream_db(&self) -> Option<u32> {
        self.master.as_ref().map(|master| master.selected_db)
    }

    /// Makes a node with `replicaof` a replica from the start, also during loading.
    pub(crate) fn begin_at_start(
        &mut self,
        core: &mut Core,
        journal: &mut Journal,
        master: &mut Master,
    ) {
        let Some(MasterAddress { host, port }) = &core.config.replicaof else { return };
        let host = String::from_utf8_lossy(host).into_owned();
        let link = MasterLink::new(host, *port, false, 0, core.now.mono_us);
        self.set_master(core, journal, master, Some(link));
    }

    fn set_master(
        &mut self,
        core: &mut Core,
        journal: &mut Journal,
        master: &mut Master,
        link: Option<MasterLink>,
    ) {
        core.is_replica = link.is_some();
        master.set_local(journal, link.is_none());
        self.master = link;
    }

    /// Restores the replication position from a loaded dump file.
    pub(crate) fn restore_position(
        &mut self,
        core: &mut Core,
        journal: &mut Journal,
        master: &mut Master,
        position: StreamPosition,
        dbs: u32,
    ) {
        if !psync::is_id(&position.id) || !(0..=OFFSET_MAX).contains(&position.offset) {
            return;
        }
        if let Some(link) = &mut self.master {
            if position.db >= dbs {
                // The stream would continue in a database that does not exist here.
                return;
            }
            // A replica continues at the offset of its file.
            link.has_history = true;
            (link.selected_db, link.db) = (position.db, position.db);
            master.stream.ids.id = position.id;
        } else {
            // A master starts a new history; that of the file becomes the previous one.
            let fresh = std::mem::replace(&mut master.stream.ids.id, position.id);
            master.stream.ids.rename(fresh, position.offset);
        }
        master.stream.restart_at(core, journal, position.offset);
        master.none_since_us = Some(core.now.mono_us);
    }

    /// Handles REPLICAOF host port. Effects of this turn are already in the stream.
    pub(crate) fn follow(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        master: &mut Master,
        (host, port): (&str, u16),
    ) {
        let was_master = self.master.is_none();
        release_waiters(core, clients);
        journal.flush(&mut master.stream);
        master.flush_stream(core, clients);
        // Our history may be a prefix of the new master's, which will check it.
        let has_history = match &self.master {
            Some(master) => master.has_history,
            None => master.stream.backlog.is_some(),
        };
        // After a partial synchronization the stream's next effect is in this database.
        let selected_db = match self.upstream_db() {
            _ if core.injected(Bug::ForgottenSelection) => 0,
            Some(db) => db,
            None => master.stream.selected_db(),
        };
        self.drop_link(core, clients);
        master.disconnect_replicas(core, clients);
        master.stream.clear_selection();
        let link =
            MasterLink::new(host.to_owned(), port, has_history, selected_db, core.now.mono_us);
        self.set_master(core, journal, master, Some(link));
        if was_master {
            core.log(Level::Notice, "Before turning into a replica, using my own master parameters to synthesize a cached master: I may be able to synchronize with the new master with just a partial transfer.");
        }
        core.log(Level::Notice, format!("Connecting to MASTER {host}:{port}"));
        core.timers.set(Timer::Replication, core.now.mono_us);
    }

    /// Handles REPLICAOF NO ONE: continues with a new replication id.
    pub(crate) fn promote(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        master: &mut Master,
    ) {
        if self.master.is_none() {
            return;
        }
        self.drop_link(core, clients);
        self.set_master(core, journal, master, None);
        if !core.injected(Bug::KeptReplid) {
            let too_far = i64::from(core.injected(Bug::SecondOffsetOffByOne));
            let (id, offset) = (core.ids.hex40(), master.stream.offset() + too_far);
            master.stream.ids.rename(id, offset);
            let ids = &master.stream.ids;
            let text = format!(
                "Setting secondary replication ID to {}, valid up to offset: {}. New replication ID is {}",
                ids.id2, ids.second_offset, ids.id
            );
            core.log(Level::Notice, text);
        }
        master.disconnect_replicas(core, clients);
        master.stream.clear_selection();
        master.stream.ensure_backlog(core, journal);
        master.none_since_us = Some(core.now.mono_us);
    }

    /// Closes the link's connection.
    fn drop_link(&mut self, core: &mut Core, clients: &mut Clients) {
        if let Some(link) = self.master.as_mut().and_then(|master| master.link.take()) {
            if let Some(client) = clients.get_mut(link) {
                client.role = Role::Client;
            }
            clients.close(core, link);
        }
        self.abort_stage(core);
    }

    /// Aborts the current stage of the link.
    fn abort_stage(&mut self, core: &mut Core) {
        let Some(master) = &mut self.master else { return };
        master.partial_transaction.clear();
        master.transaction = Transaction::default();
        master.ack_requested = false;
        if let Stage::Payload(payload) = std::mem::replace(&mut master.stage, Stage::Retry) {
            core.free(Garbage::new(payload.fresh.keys(), payload));
        }
    }

    /// Handles a closed connection, which may be the link.
    pub(crate) fn on_close(&mut self, core: &mut Core, handle: Handle, by_peer: bool) {
        let now_us = core.now.mono_us;
        let Some(master) = self.link_mut(handle) else { return };
        if master.is_online() {
            master.down_since_us = now_us;
        }
        master.link = None;
        master.retry_us = now_us + master.retry_delay_us(0);
        let who = format!("{}:{}", master.host, master.port);
        self.abort_stage(core);
        let closed = who_closed(by_peer);
        core.log(Level::Notice, format!("Connection with master lost. It was {who}. {closed}"));
    }

    /// Resumes the link after a pause in which it may not have been read.
    pub(crate) fn resumed(&mut self, now_us: u64, handle: Handle) {
        if let Some(master) = self.link_mut(handle) {
            master.last_io_us = now_us;
        }
    }

    pub(super) fn link_failed(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        level: Level,
        why: &str,
    ) {
        let delay_us = self.master.as_mut().map_or(0, |link| link.retry_delay_us(1_000_000));
        self.link_failed_for(core, clients, level, why, delay_us);
    }

    /// Disconnects the link and delays the next attempt.
    pub(super) fn link_failed_for(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        level: Level,
        why: &str,
        delay_us: u64,
    ) {
        core.log(level, why);
        if let Some(master) = &mut self.master {
            if master.is_online() {
                master.down_since_us = core.now.mono_us;
            }
            master.retry_us = core.now.mono_us + delay_us;
        }
        self.drop_link(core, clients);
    }

    /// The replication cron, once a second: connects, acknowledges, and checks timeouts.
    pub(crate) fn cron(&mut self, core: &mut Core, clients: &mut Clients, is_loading: bool) {
        let now_us = core.now.mono_us;
        let timeout_us = core.config.repl_timeout.max(1) as u64 * 1_000_000;
        let Some(master) = &mut self.master else { return };
        // A master held by our own pause does not time out.
        let held = master.link.is_some_and(|link| clients.waiting(link).is_some());
        let silent = !held && now_us.saturating_sub(master.last_io_us) > timeout_us;
        let timed_out = match &master.stage {
            Stage::Retry if !is_loading && now_us >= master.retry_us => {
                return self.connect(core, clients);
            }
            Stage::Retry => return,
            Stage::Online if silent => "MASTER timeout: no data nor PING received...",
            Stage::Online => {
                if now_us.saturating_sub(master.online_us) >= STABLE_US {
                    master.sync_failures = 0;
                }
                return self.request_ack();
            }
            Stage::Payload(_) if silent => {
                "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' parameter in redis.conf to a larger value."
            }
            Stage::Payload(_) => {
                // Prevents a timeout at the master. One that does not read needs no more of them.
                if let Some(link) = master.link
                    && clients.outbox(link).is_some_and(|outbox| outbox.is_empty())
                {
                    clients.send(core, link, b"\n");
                }
                return;
            }
            _ if silent => "Timeout connecting to the MASTER...",
            _ => return,
        };
        self.link_failed(core, clients, Level::Warning, timed_out);
    }

    /// Excludes time in which this process did not run from the master's timeout.
    pub(crate) fn extend_timeouts(&mut self, now_us: u64, late_us: u64) {
        if let Some(master) = &mut self.master {
            master.last_io_us = master.last_io_us.saturating_add(late_us).min(now_us);
        }
    }

    fn connect(&mut self, core: &mut Core, clients: &mut Clients) {
        let Some(master) = &mut self.master else { return };
        let text = format!("Connecting to MASTER {}:{}", master.host, master.port);
        core.log(Level::Notice, text);
        master.link = Some(clients.connect(core, LinkOwner::Master, &master.host, master.port));
        master.stage = Stage::Connect;
        master.last_io_us = core.now.mono_us;
    }

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

    /// Consumes lines of the link, or a slice of the payload.
    pub(crate) fn received(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        data: &mut Keyspace,
        master: &mut Master,
        handle: Handle,
    ) -> Rest {
        let now_us = core.now.mono_us;
        let Some(link) = self.link_mut(handle) else { return Rest::Nothing };
        link.last_io_us = now_us;
        loop {
            let Some(link) = self.link_mut(handle) else { return Rest::Nothing };
            let Some(client) = clients.get_mut(handle) else { return Rest::Nothing };
            let bytes = client.wire.pending_bytes();
            match &mut link.stage {
                Stage::Online => return Rest::Stream,
                Stage::Payload(_) if bytes.is_empty() => return Rest::Nothing,
                Stage::Payload(payload) => {
                    (payload.fresh.now_ms, payload.fresh.clock) = (data.now_ms, data.clock);
                    let slice = &bytes[..bytes.len().min(SLICE_BYTES)];
                    let (len, is_last) = (slice.len(), slice.len() == bytes.len());
                    let taken = payload.take(slice, &core.config);
                    client.wire.consume(taken.as_ref().map_or(len, |&(used, _)| used));
                    match taken {
                        Err(why) => self.payload_failed(core, clients, &why),
                        Ok((_, false)) if is_last => {}
                        Ok((_, false)) => return Rest::Payload,
                        Ok((_, true)) => {
                            self.payload_complete(core, clients, journal, data, master);
                        }
                    }
                }
                _ => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        if bytes.len() > LINE_MAX {
                            let what = "a reply line without an end";
                            self.protocol_error(core, clients, handle, what);
                        }
                        return Rest::Nothing;
                    };
                    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
                    let line = String::from_utf8_lossy(line).into_owned();
                    client.wire.consume(end + 1);
                    if !line.is_empty() {
                        self.line(core, clients, journal, data, master, &line);
                    }
                }
            }
        }
    }

    /// Handles +CONTINUE: our data is a prefix of the master's history.
    pub(super) fn continue_stream(
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

    fn payload_failed(&mut self, core: &mut Core, clients: &mut Clients, why: &str) {
        let text = format!("Failed trying to load the MASTER synchronization DB: {why}");
        self.link_failed(core, clients, Level::Warning, &text);
    }

    /// Replaces our data by the complete payload.
    fn payload_complete(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        data: &mut Keyspace,
        master: &mut Master,
    ) {
        let Some(link) = &mut self.master else { return };
        if let Stage::Payload(payload) = &link.stage
            && payload.position.db >= data.count()
        {
            let why = format!(
                "its stream is in database {}, and this server has {} databases",
                payload.position.db,
                data.count()
            );
            return self.payload_failed(core, clients, &why);
        }
        let Stage::Payload(payload) = std::mem::replace(&mut link.stage, Stage::Retry) else {
            return;
        };
        link.has_history = true;
        payload.fill.count(&mut core.stats);
        master.disconnect_replicas(core, clients);
        if core.injected(Bug::KeptOldKeys) {
            data.merge(*payload.fresh);
        } else {
            data.replace_all(*payload.fresh);
        }
        // A master that is itself a replica passes on a stream that has already selected this
        // database.
        let selected_db = payload.position.db;
        master.stream.ids.id = payload.id;
        master.stream.ids.clear_previous();
        master.stream.restart_at(core, journal, payload.offset);
        core.order(Order::DataReplaced);
        core.log(Level::Notice, "MASTER <-> REPLICA sync: Finished with success");
        core.output(Output::Status(Status::Synced));
        self.go_online(core, selected_db);
    }

    fn go_online(&mut self, core: &mut Core, db: u32) {
        let now_us = core.now.mono_us;
        let Some(master) = &mut self.master else { return };
        master.stage = Stage::Online;
        master.last_io_us = now_us;
        master.online_us = now_us;
        (master.selected_db, master.db) = (db, db);
        master.transaction = Transaction::default();
        master.partial_transaction.clear();
        self.request_ack();
        // A master that has not handled the end of its snapshot yet ignores this acknowledgement
        // and starts its stream at the next one.
        let soon = now_us + SECOND_ACK_US;
        if core.timers.due(Timer::Replication).is_none_or(|due| due > soon) {
            core.timers.set(Timer::Replication, soon);
        }
    }
}

/// Unblocks clients in commands that only a master can complete.
fn release_waiters(core: &mut Core, clients: &mut Clients) {
    let text = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
    for handle in clients.waiting_for(|waiting| matches!(waiting, Waiting::Acks { .. })) {
        core.order(Order::Answer(handle, Answer::Error(ErrorReply::fixed(text))));
        core.order(Order::CloseAfterReply(handle));
    }
}
