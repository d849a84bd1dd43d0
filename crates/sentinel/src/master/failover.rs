//! The phases of a failover, as its leader carries it out.
//!
//! ```text
//!   WaitStart ─▶ SelectReplica ─▶ SendNoOne ─▶ WaitPromotion ─▶ Reconfigure ─▶ UpdateConfig
//!   votes        fresh INFO of    REPLICAOF     it reports the   the others     +switch-master
//!                all replicas     NO ONE        role of master   follow it
//!        └──────────────── may be aborted ───────────────┘
//!
//!   coordinated:  … SelectReplica ─▶ HandOver ─▶ Reconfigure …
//!                                    FAILOVER TO, carried out by the old master without losing a write
//! ```
//!
//! With the promotion the configuration gets the epoch of the election, and from then on the failover is finished, whatever
//! happens: whoever hears of the new epoch follows it.

use super::Master;
use super::elect::DESYNC_MS;
use crate::address::Address;
use crate::context::Context;
use crate::explain;
use crate::info::Role;
use crate::injected::Bug;
use crate::io::{Level, Output};
use crate::link::{Access, Expect};
use crate::peers::Peers;
use crate::server::{Reconf, Server};

/// How long the leader waits for a fresh INFO of all replicas before it chooses.
const FRESH_INFO_MS: u64 = 500;

/// A phase; the order is that of a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    WaitStart,
    SelectReplica,
    SendNoOne,
    HandOver,
    WaitPromotion,
    Reconfigure,
    UpdateConfig,
}

impl Phase {
    /// Returns Redis' name.
    pub fn name(self) -> &'static str {
        match self {
            Phase::WaitStart => "wait_start",
            Phase::SelectReplica => "select_slave",
            Phase::SendNoOne => "send_slaveof_noone",
            Phase::HandOver => "send_failover",
            Phase::WaitPromotion => "wait_promotion",
            Phase::Reconfigure => "reconf_slaves",
            Phase::UpdateConfig => "update_config",
        }
    }
}

/// Why a failover is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The master is down, and the Sentinels elect a leader.
    Elected,
    /// A user has ordered it.
    Forced,
    /// A user has ordered it, and the master takes part in it.
    Coordinated,
}

/// A failover.
#[derive(Clone, Debug)]
pub(crate) struct Failover {
    pub kind: Kind,
    pub epoch: u64,
    pub phase: Phase,
    /// When the phase began.
    pub since: u64,
    /// The version of the state with the epoch and our vote.
    pub version: u64,
    /// Whether votes were asked for.
    pub has_asked: bool,
    /// The replica that was chosen.
    pub promoted: Option<u32>,
    /// Whether the master has agreed to hand over to it.
    pub is_accepted: bool,
}

impl Failover {
    /// Whether the chosen replica is a master because of this failover, if it says that it is one. A master that has not
    /// agreed to hand over goes on writing, and its replica was promoted by somebody else.
    pub fn explains_promotion(&self, master: &Server) -> bool {
        match self.phase {
            Phase::HandOver => self.is_accepted || master.role == Role::Replica,
            phase => phase == Phase::WaitPromotion,
        }
    }
}

impl Master {
    /// Starts a failover: begins an epoch and votes for ourselves.
    pub fn start_failover(&mut self, cx: &mut Context, kind: Kind) {
        let epoch = self.next_epoch(cx);
        self.event(cx, Level::Warning, "+try-failover");
        match kind {
            Kind::Elected => {}
            Kind::Forced => self.note(cx, explain::ORDERED.to_owned()),
            Kind::Coordinated => {
                self.note(cx, format!("{}: the master hands over", explain::ORDERED));
            }
        }
        let now = cx.ms();
        let id = cx.my_id.clone();
        self.vote_for(cx, epoch, &id);
        let version = cx.version_of_changes();
        self.not_before = now + cx.random(DESYNC_MS) + self.settings.failover_timeout_ms * 2;
        self.delay_logged = false;
        let phase = Phase::WaitStart;
        self.failover = Some(Failover {
            kind,
            epoch,
            phase,
            since: now,
            version,
            has_asked: false,
            promoted: None,
            is_accepted: false,
        });
    }

    /// Advances a failover.
    pub(super) fn advance_failover(&mut self, cx: &mut Context, peers: &mut Peers) {
        // A phase that takes no time is followed by the next at once.
        loop {
            let Some(failover) = &self.failover else { return };
            let phase = failover.phase;
            match phase {
                Phase::WaitStart => self.await_votes(cx, peers),
                Phase::SelectReplica => self.select_replica(cx),
                Phase::SendNoOne => self.send_no_one(cx),
                Phase::HandOver | Phase::WaitPromotion => self.await_promotion(cx),
                Phase::Reconfigure => self.reconfigure_replicas(cx),
                Phase::UpdateConfig => return self.switch_to_promoted(cx, peers),
            }
            if self.failover.as_ref().is_none_or(|it| it.phase == phase) {
                return;
            }
        }
    }

    pub(super) fn enter(&mut self, cx: &Context, phase: Phase) {
        if let Some(failover) = &mut self.failover {
            (failover.phase, failover.since) = (phase, cx.ms());
        }
    }

    pub(super) fn phase_ms(&self, cx: &Context) -> u64 {
        self.failover.as_ref().map_or(0, |it| cx.ms().saturating_sub(it.since))
    }

    pub(super) fn promoted(&self) -> Option<u32> {
        self.failover.as_ref().and_then(|it| it.promoted)
    }

    /// Gives a failover up, with an event.
    pub fn report_abort(&mut self, cx: &mut Context, event: &str) {
        self.event(cx, Level::Warning, event);
        self.abort_failover(cx);
    }

    /// Gives a failover up, which is possible until a replica was promoted.
    pub fn abort_failover(&mut self, cx: &mut Context) {
        let failover = self.failover.take();
        if failover.is_some_and(|it| it.kind == Kind::Coordinated) {
            // If the master has failed meanwhile, there must be a failover without it.
            self.not_before = cx.ms();
        }
        for replica in &mut self.replicas {
            (replica.is_promoted, replica.reconf) = (false, Reconf::None);
        }
        self.log_account(cx);
    }

    /// Handles that we are the leader: asks all replicas for what they have now.
    pub(super) fn elected(&mut self, cx: &mut Context) {
        self.lost_elections = 0;
        self.event(cx, Level::Warning, "+elected-leader");
        if cx.failures.after_election {
            return crash(cx);
        }
        self.enter(cx, Phase::SelectReplica);
        self.event(cx, Level::Warning, "+failover-state-select-slave");
        self.with_access(|master, access| {
            for replica in &mut master.replicas {
                replica.ask_info(cx, access);
            }
        });
    }

    fn select_replica(&mut self, cx: &mut Context) {
        let since = self.failover.as_ref().map_or(0, |it| it.since);
        let is_awaited = |replica: &Server| {
            replica.link.has_commands()
                && !replica.is_down()
                && replica.info_at.is_none_or(|at| at < since)
        };
        let patience = FRESH_INFO_MS.min(self.settings.failover_timeout_ms / 2);
        if self.replicas.iter().any(is_awaited) && self.phase_ms(cx) < patience {
            return;
        }
        let choice = self.choose_replica(cx);
        self.note(cx, choice.explanation);
        let Some(id) = choice.replica else {
            self.restore_master(cx);
            return self.report_abort(cx, "-failover-abort-no-good-slave");
        };
        if self.failover.as_ref().is_some_and(|it| it.kind != Kind::Coordinated) {
            self.note_loss(cx, id);
        }
        self.server_event(cx, Level::Warning, "+selected-slave", id);
        if let Some(failover) = &mut self.failover {
            failover.promoted = Some(id);
        }
        if let Some(replica) = self.server_mut(id) {
            replica.is_promoted = true;
        }
        if self.failover.as_ref().is_some_and(|it| it.kind == Kind::Coordinated) {
            return self.hand_over(cx, id);
        }
        self.enter(cx, Phase::SendNoOne);
        self.server_event(cx, Level::Notice, "+failover-state-send-slaveof-noone", id);
    }

    /// Notes what is known of the writes that the chosen replica does not have.
    fn note_loss(&mut self, cx: &mut Context, id: u32) {
        let Some(replica) = self.replica(id) else { return };
        let (master, has) = (&self.server, replica.offset);
        let known = master.info_at.filter(|_| master.offset > 0);
        let known = known.filter(|_| master.lineage == replica.lineage);
        let age = known.map(|at| cx.ms().saturating_sub(at));
        let may = format!("writes after offset {has}, which the replica has reached");
        let text = match age.map(|age| (master.offset, age)) {
            None => format!("{may}; how far the master had come is not known"),
            Some((offset, age)) => {
                let behind = match offset.saturating_sub(has) {
                    0 => String::new(),
                    behind => format!(", so at least {behind} bytes of writes are lost"),
                };
                format!("{may}; {age} ms before, the master had reached {offset}{behind}")
            }
        };
        self.note(cx, format!("{}{text}", explain::LOSS));
    }

    /// A master that has become a replica, for example since it was restarted with an old file, is made a master again if
    /// nobody can take its place. Else it might follow one of its own replicas for ever.
    fn restore_master(&mut self, cx: &mut Context) {
        let id = self.server.id;
        if self.server.role == Role::Replica && self.server.link.has_commands() {
            self.set_role(cx, id, None);
            self.server_event(cx, Level::Warning, "+restore-master", id);
        }
    }

    /// Tells the master to hand over to the replica, which loses no write.
    fn hand_over(&mut self, cx: &mut Context, id: u32) {
        self.enter(cx, Phase::HandOver);
        self.event(cx, Level::Notice, "+failover-state-send-failover");
        let Some(address) = self.replica(id).map(|replica| replica.address.clone()) else { return };
        let (host, port) = (address.shown(&cx.globals), address.port.to_string());
        let timeout = self.settings.failover_timeout_ms.to_string();
        self.with_access(|master, access| {
            let name = (access.renamed)("FAILOVER");
            let words = [&name, "TO", &host, &port, "TIMEOUT", &timeout];
            master.server.link.send(cx, Expect::HandOver, &words);
            if let Some(replica) = master.server_mut(id) {
                replica.forget_info();
            }
        });
    }

    /// Handles the reply to FAILOVER.
    pub(crate) fn hand_over_replied(&mut self, cx: &mut Context, error: Option<&[u8]>) {
        let failover = self.failover.as_mut().filter(|it| it.phase == Phase::HandOver);
        let Some(failover) = failover else { return };
        let Some(error) = error else {
            failover.is_accepted = true;
            // What it said before did not count.
            let promoted = failover.promoted;
            let replica = self.replicas.iter_mut().find(|replica| Some(replica.id) == promoted);
            return replica.into_iter().for_each(Server::forget_info);
        };
        let text = String::from_utf8_lossy(error);
        self.note(cx, format!("the master refuses to hand over: {text}"));
        let text = format!("{} {text}", self.label(cx));
        self.report(cx, Level::Warning, "-failover-abort-refused", text);
        self.abort_failover(cx);
    }

    fn send_no_one(&mut self, cx: &mut Context) {
        let Some(id) = self.promoted() else { return };
        if !self.replica(id).is_some_and(|replica| replica.link.has_commands()) {
            return self.abort_if_late(cx);
        }
        self.set_role(cx, id, None);
        self.server_event(cx, Level::Notice, "+failover-state-wait-promotion", id);
        self.enter(cx, Phase::WaitPromotion);
    }

    fn await_promotion(&mut self, cx: &mut Context) {
        let phase = self.failover.as_ref().map(|it| it.phase);
        if phase == Some(Phase::HandOver) && self.server.is_down() {
            return self.report_abort(cx, "-failover-abort-master-down");
        }
        self.abort_if_late(cx);
    }

    fn abort_if_late(&mut self, cx: &mut Context) {
        if self.phase_ms(cx) > self.settings.failover_timeout_ms {
            self.report_abort(cx, "-failover-abort-slave-timeout");
        }
    }

    /// Handles that the chosen replica reports that it is a master: the configuration has the epoch of the election now.
    pub(super) fn promotion_seen(&mut self, cx: &mut Context, peers: &mut Peers, id: u32) {
        let Some(failover) = &self.failover else { return };
        let (epoch, is_coordinated) = (failover.epoch, failover.kind == Kind::Coordinated);
        if epoch <= self.settings.config_epoch {
            self.note(cx, "another failover has been finished meanwhile".to_owned());
            return self.report_abort(cx, "-failover-abort-superseded");
        }
        if !cx.injected(Bug::ConfigEpochNotRaised) {
            self.settings.config_epoch = epoch;
        }
        self.config_changed(cx);
        self.enter(cx, Phase::Reconfigure);
        self.server_event(cx, Level::Warning, "+promoted-slave", id);
        if cx.failures.after_promotion {
            return crash(cx);
        }
        self.event(cx, Level::Warning, "+failover-state-reconf-slaves");
        let (old, new) = (self.server.address.clone(), self.current_address().clone());
        self.call_reconfig_script(cx, "leader", &old, &new);
        self.hurry_hello(peers);
        if is_coordinated {
            // The servers have changed their roles by themselves: what they follow is not in their files yet, and their clients
            // are still connected.
            self.with_access(|master, access| {
                for server in master.servers_mut() {
                    send_role_change_end(cx, server, access);
                }
            });
        }
    }

    /// Tells the other Sentinels and servers about the configuration at once.
    pub(super) fn hurry_hello(&mut self, peers: &mut Peers) {
        self.servers_mut().for_each(|server| server.last_hello = 0);
        peers.hurry_hello();
    }

    pub(super) fn call_reconfig_script(
        &mut self,
        cx: &mut Context,
        role: &str,
        from: &Address,
        to: &Address,
    ) {
        let Some(script) = self.settings.client_reconfig_script.clone() else { return };
        let address = |address: &Address| [address.shown(&cx.globals), address.port.to_string()];
        let mut arguments = vec![self.name().to_owned(), role.to_owned(), "start".to_owned()];
        arguments.extend(address(from));
        arguments.extend(address(to));
        cx.script_requests.push((script, arguments));
    }

    /// Makes a server a replica of this address, or a master, and asks what has become of it. A transaction also writes that
    /// into the server's configuration and disconnects its clients, so that they ask who the master is.
    pub(super) fn set_role(&mut self, cx: &mut Context, id: u32, follow: Option<&Address>) {
        let (host, port) = match follow {
            None => ("NO".to_owned(), "ONE".to_owned()),
            Some(address) => (address.shown(&cx.globals), address.port.to_string()),
        };
        self.with_access(|master, access| {
            let Some(server) = master.server_mut(id) else { return };
            let name = |command: &str| (access.renamed)(command);
            let slaveof = name("SLAVEOF");
            server.link.send(cx, Expect::Nothing, &[&name("MULTI")]);
            server.link.send(cx, Expect::Nothing, &[&slaveof, &host, &port]);
            send_role_change_end(cx, server, access);
            server.link.send(cx, Expect::Role, &[&name("EXEC")]);
            server.ask_info(cx, access);
        });
    }
}

/// Sends what goes with a change of roles: it is written into the server's file, and clients are disconnected.
fn send_role_change_end(cx: &mut Context, server: &mut Server, access: Access<'_>) {
    let (config, client) = ((access.renamed)("CONFIG"), (access.renamed)("CLIENT"));
    server.link.send(cx, Expect::Nothing, &[&config, "REWRITE"]);
    server.link.send(cx, Expect::Nothing, &[&client, "KILL", "TYPE", "normal"]);
    server.link.send(cx, Expect::Nothing, &[&client, "KILL", "TYPE", "pubsub"]);
}

/// Ends the process, as SENTINEL SIMULATE-FAILURE has ordered.
fn crash(cx: &mut Context) {
    cx.log(Level::Warning, "Sentinel CRASH because of SENTINEL simulate-failure");
    cx.output(Output::Exit(99));
}
