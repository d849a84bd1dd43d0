//! The replica side: whom this node follows, and the link to it, which is opened, watched and closed here.
//!
//! What arrives belongs to the state of the link (`link.rs`): lines to `handshake.rs`, a payload to
//! `resync.rs`, the stream to `upstream.rs`. The master is not trusted with memory and time: every
//! line has a limit, every wait a timeout.

use russet_protocol::ErrorReply;

use super::link::{Handover, MasterLink, Stage};
use super::master::{Master, who_closed};
use super::psync::{self, OFFSET_MAX};
use super::upstream::FailuresLogged;
use crate::clients::{Clients, LinkOwner, Role, Waiting};
use crate::config::words::MasterAddress;
use crate::core::{Answer, Core, Order};
use crate::ids::Handle;
use crate::injected::Bug;
use crate::io::{Garbage, Level};
use crate::journal::Journal;
use crate::keyspace::Keyspace;
use crate::persist::fill::StreamPosition;
use crate::timers::Timer;
use crate::transaction::Transaction;

/// Delay of the second acknowledgement after the first, microseconds.
const SECOND_ACK_US: u64 = 100_000;

/// Delay of the next attempt to ask the target of a FAILOVER to take over, microseconds.
pub(crate) const FAILOVER_RETRY_US: u64 = 100_000;

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

    /// Handles REPLICAOF host port. Effects of this turn are already in the stream. All replicas but `kept` are disconnected.
    pub(crate) fn follow(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        master: &mut Master,
        (host, port): (&str, u16),
        kept: Option<Handle>,
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
        master.disconnect_replicas_but(core, clients, kept);
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

    /// Asks the new master, which is our replica, to take over. `is_synced`: only if it has the whole stream.
    pub(super) fn ask_to_take_over(&mut self, is_synced: bool) {
        if let Some(link) = &mut self.master {
            link.handover = Some(Handover { is_synced, times: 0 });
        }
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
        (master.ack_requested, master.disk_ack_at) = (false, None);
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
            let is_urgent = master.handover.is_some();
            let delay_us = if is_urgent { delay_us.min(FAILOVER_RETRY_US) } else { delay_us };
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
        loop {
            let Some(link) = self.link_mut(handle) else { return Rest::Nothing };
            link.last_io_us = now_us;
            let rest = match link.stage {
                Stage::Online => Some(Rest::Stream),
                Stage::Payload(_) => {
                    self.receive_payload(core, clients, journal, data, master, handle)
                }
                _ => self.receive_line(core, clients, journal, data, master, handle),
            };
            if let Some(rest) = rest {
                return rest;
            }
        }
    }

    /// Begins to follow the stream, in this database.
    pub(super) fn go_online(&mut self, core: &mut Core, db: u32) {
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

/// Unblocks clients in commands that only a master can complete, or that wait for keys: a replica has those of another master.
fn release_waiters(core: &mut Core, clients: &mut Clients) {
    let text = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
    let is_released =
        |waiting| matches!(waiting, Waiting::Acks(_) | Waiting::SlotAcks(_) | Waiting::Keys);
    for handle in clients.waiting_for(is_released) {
        core.order(Order::Answer(handle, Answer::Error(ErrorReply::fixed(text))));
        core.order(Order::CloseAfterReply(handle));
    }
}
