//! FAILOVER: this master hands its role over to one of its replicas, and becomes its replica.
//!
//! ```text
//!   FAILOVER ──▶ WaitForSync ───── a replica has all ────▶ InProgress ── it accepts ──▶ we are its replica
//!                    │          of the stream, or FORCE        │
//!                    │          after the timeout              │
//!                    └─ timeout, ABORT, no replica left        └─ it refuses, ABORT ──▶ we are a master again
//! ```
//!
//! Writes are paused from the begin to the end, so nothing is added to the stream that the replica would lack: no
//! acknowledged write is lost, unless FORCE gives up waiting. In progress we are already a replica, so at no time are there
//! two masters. The request is `PSYNC <id> <offset> FAILOVER` in the handshake (`handshake.rs`): the other side becomes a
//! master if it has the same history, and continues its stream for us.
//!
//! The target may be another process by then: one that crashed and has loaded an older file. So the request of a failover
//! without FORCE ends with SYNCED, on which our replicas refuse if they lack a byte. Stock servers ignore the word.
//!
//! Where a link breaks after the request and before its reply, nobody here knows whether it was carried out. Redis takes it
//! for a refusal and becomes a master again, perhaps beside the new one. Here the request is repeated until there is a reply:
//! a target that is a master by then was made one by us, and is followed.

use crate::clients::Clients;
use crate::config::words::MasterAddress;
use crate::core::Core;
use crate::injected::Bug;
use crate::io::Level;
use crate::journal::Journal;
use crate::pause::{Pause, PauseMode, PauseReason};
use crate::repl::following::Following;
use crate::repl::master::{Master, Replica, ReplicaStage};
use crate::timers::Timer;

/// How a FAILOVER is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FailoverOptions {
    /// The replica, by the address that it announced; none: the first that has the whole stream.
    pub(crate) target: Option<(String, u16)>,
    /// Whether to go on after the timeout, although the target lacks a part of the stream.
    pub(crate) force: bool,
    /// Time to wait for the replica; none: no limit.
    pub(crate) timeout_us: Option<u64>,
}

/// A running failover.
#[derive(Debug)]
struct Running {
    target: Option<(String, u16)>,
    force: bool,
    /// Monotonic microseconds at which waiting ends.
    deadline_us: Option<u64>,
    /// The target has been asked to take over, or will be: we are its replica.
    is_in_progress: bool,
    /// The offset behind our last request for acknowledgements.
    asked_at: i64,
}

/// How failovers of this server have ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailoverCounts {
    /// The target became master.
    pub completed: u64,
    /// … of those, after the timeout and FORCE.
    pub forced: u64,
    /// No replica had the whole stream before the timeout.
    pub timed_out: u64,
    /// FAILOVER ABORT.
    pub aborted: u64,
    /// The target did not take over.
    pub refused: u64,
    /// No replica was left that could.
    pub lost: u64,
}

/// Why a failover was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aborted {
    ByUser,
    ByTimeout,
    ByTarget,
    TargetLost,
}

/// FAILOVER on this server.
#[derive(Debug, Default)]
pub struct Failover {
    running: Option<Running>,
    /// How earlier ones have ended.
    pub counts: FailoverCounts,
}

/// What a failover changes.
pub(crate) struct Roles<'a> {
    pub(crate) clients: &'a mut Clients,
    pub(crate) journal: &'a mut Journal,
    pub(crate) master: &'a mut Master,
    pub(crate) following: &'a mut Following,
    pub(crate) pause: &'a mut Pause,
}

impl Failover {
    /// Whether a failover is running.
    #[inline]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the target has been asked to take over, or will be.
    pub fn is_in_progress(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.is_in_progress)
    }

    /// Returns the name of the state in INFO.
    pub fn state_name(&self) -> &'static str {
        match &self.running {
            None => "no-failover",
            Some(running) if running.is_in_progress => "failover-in-progress",
            Some(_) => "waiting-for-sync",
        }
    }

    /// Starts a failover: pauses writes. [`Failover::proceed`] does the rest.
    pub(crate) fn begin(&mut self, core: &mut Core, pause: &mut Pause, options: FailoverOptions) {
        let FailoverOptions { target, force, timeout_us } = options;
        let text = match &target {
            Some((host, port)) => format!("FAILOVER requested to {host}:{port}."),
            None => "FAILOVER requested to any replica.".to_owned(),
        };
        core.log(Level::Notice, text);
        let deadline_us = timeout_us.map(|us| core.now.mono_us.saturating_add(us));
        if let Some(deadline_us) = deadline_us {
            core.timers.set(Timer::Failover, deadline_us);
        }
        pause.begin(core, PauseReason::Failover, PauseMode::Write, u64::MAX);
        let asked_at = -1;
        self.running =
            Some(Running { target, force, deadline_us, is_in_progress: false, asked_at });
    }

    /// Goes on at the end of a turn, when all effects are in the stream: looks for a replica that has all of it, or
    /// at the time.
    pub(crate) fn proceed(&mut self, core: &mut Core, roles: &mut Roles<'_>) {
        let Some(running) = self.running.as_mut().filter(|running| !running.is_in_progress) else {
            return;
        };
        if running.deadline_us.is_some_and(|deadline| core.now.mono_us >= deadline) {
            if !running.force {
                return self.abort(core, roles, Aborted::ByTimeout);
            }
            self.counts.forced += 1;
            let text = format!("FAILOVER to {} time out exceeded, failing over.", running.name());
            return self.hand_over(core, roles, &text, true);
        }
        let offset = roles.master.stream.offset();
        let is_unchecked = core.injected(Bug::UnsyncedFailover);
        let mut candidates = roles.master.replicas().iter().filter(|one| running.may_become(one));
        let synced = candidates.find(|replica| is_unchecked || replica.has_all(offset));
        if let Some(replica) = synced {
            if running.target.is_none() {
                let (host, port) = replica.address();
                running.target = Some((host.to_owned(), port));
            }
            let text = format!("Failover target {} is synced, failing over.", running.name());
            return self.hand_over(core, roles, &text, false);
        }
        // One that has gone cannot come back, since PSYNC is refused meanwhile.
        let is_any_left = roles.master.replicas().iter().any(|replica| running.may_become(replica));
        if !is_any_left && !running.force {
            return self.abort(core, roles, Aborted::TargetLost);
        }
        if running.asked_at != offset {
            running.asked_at = roles.master.ask_for_acks();
            roles.master.flush_stream(core, roles.clients);
        }
    }

    /// Becomes a replica of the target, which is asked to take over.
    fn hand_over(&mut self, core: &mut Core, roles: &mut Roles<'_>, text: &str, is_forced: bool) {
        let Some(running) = &mut self.running else { return };
        let Some((host, port)) = running.target.clone() else { return };
        core.log(Level::Notice, text);
        core.timers.stop(Timer::Failover);
        running.is_in_progress = true;
        let Roles { clients, journal, master, following, .. } = roles;
        // Without its link the target would have stale data, with `replica-serve-stale-data no` refuse all requests, and
        // lack what is still on its way.
        let target = master.replicas().iter().find(|replica| replica.is_at(&host, port));
        let kept = target.map(|replica| replica.handle);
        following.follow(core, clients, journal, master, (&host, port), kept);
        following.ask_to_take_over(!is_forced);
        core.config.replicaof = Some(MasterAddress { host: host.into_bytes(), port });
    }

    /// Handles the target's reply to PSYNC with FAILOVER.
    pub(crate) fn answered(&mut self, core: &mut Core, roles: &mut Roles<'_>, is_accepted: bool) {
        if !self.is_in_progress() {
            return;
        }
        if !is_accepted {
            return self.abort(core, roles, Aborted::ByTarget);
        }
        self.counts.completed += 1;
        self.end(core, roles);
    }

    /// Aborts a failover: this server is a master again.
    pub(crate) fn abort(&mut self, core: &mut Core, roles: &mut Roles<'_>, why: Aborted) {
        let Some(running) = &self.running else { return };
        let counts = &mut self.counts;
        let (count, reason) = match why {
            Aborted::ByUser => (&mut counts.aborted, "Failover manually aborted"),
            Aborted::ByTimeout => (&mut counts.timed_out, "Replica never caught up before timeout"),
            Aborted::ByTarget => (&mut counts.refused, "Failover target rejected psync request"),
            Aborted::TargetLost => (&mut counts.lost, "Replica disconnected before it caught up"),
        };
        *count += 1;
        core.log(Level::Notice, format!("FAILOVER to {} aborted: {reason}", running.name()));
        if running.is_in_progress {
            let Roles { clients, journal, master, following, .. } = roles;
            following.promote(core, clients, journal, master);
            core.config.replicaof = None;
        }
        self.end(core, roles);
    }

    /// Resumes what was paused.
    fn end(&mut self, core: &mut Core, roles: &mut Roles<'_>) {
        self.running = None;
        core.timers.stop(Timer::Failover);
        roles.pause.end(core, PauseReason::Failover);
        // WAIT of before and meanwhile.
        if !core.is_replica && roles.master.has_waiters() {
            roles.master.request_acks();
        }
    }
}

impl Running {
    /// Returns the target's name in log lines.
    fn name(&self) -> String {
        match &self.target {
            Some((host, port)) => format!("{host}:{port}"),
            None => "any replica".to_owned(),
        }
    }

    /// Whether this replica may become the master.
    fn may_become(&self, replica: &Replica) -> bool {
        match &self.target {
            Some((host, port)) => replica.is_at(host, *port),
            None => replica.address().1 != 0,
        }
    }
}

impl Replica {
    /// Whether this is its announced address, to which we could connect.
    pub(crate) fn is_at(&self, host: &str, port: u16) -> bool {
        let (ip, at) = self.address();
        ip.eq_ignore_ascii_case(host) && at == port && at != 0
    }

    /// Whether it has acknowledged the whole stream.
    fn has_all(&self, offset: i64) -> bool {
        self.stage == ReplicaStage::Online && self.acked == offset
    }
}
