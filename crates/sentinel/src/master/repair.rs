//! Servers whose role is not what the configuration says: an old master that returns, a replica that follows somebody else.
//!
//! Nothing is repaired at once. The configuration here may be the old one, and the server's role the newer truth; so there
//! is time for a hello message with a newer epoch first. Stock Sentinels wait for eight seconds, in which an old master goes
//! on taking writes that will be lost. If a majority has said since that there was no election after that of our
//! configuration, there can be no newer one, and there is nothing to wait for.

use super::Master;
use crate::context::Context;
use crate::info::Role;
use crate::injected::Bug;
use crate::io::Level;
use crate::peers::Peers;
use crate::server::Reconf;

impl Master {
    /// Whether the master is what it should be, so that others may be told to follow it.
    fn looks_sane(&self, cx: &Context) -> bool {
        let info_age = self.server.info_at.map_or(u64::MAX, |at| cx.ms().saturating_sub(at));
        self.server.role == Role::Master
            && !self.server.is_down()
            && self.odown_since.is_none()
            && info_age < cx.periods.info * 2
    }

    /// Handles a replica that reports that it is a master.
    pub(super) fn replica_is_master(&mut self, cx: &mut Context, peers: &mut Peers, id: u32) {
        let own = self.failover.as_ref().filter(|it| it.promoted == Some(id));
        if own.is_some_and(|failover| failover.explains_promotion(&self.server)) {
            return self.promotion_seen(cx, peers, id);
        }
        let (now, wait) = (cx.ms(), cx.periods.publish * 4);
        let Some(replica) = self.replica(id) else { return };
        let has_waited =
            replica.was_up_for(now, wait) && now.saturating_sub(replica.role_since) > wait;
        let is_sure = !replica.is_down() && self.has_newest_config(cx, replica.role_since);
        let is_wrong =
            !replica.is_promoted && (has_waited || is_sure) && replica.link.has_commands();
        if is_wrong && self.looks_sane(cx) && !cx.injected(Bug::OldMasterNotConverted) {
            let address = self.server.address.clone();
            self.set_role(cx, id, Some(&address));
            self.server_event(cx, Level::Notice, "+convert-to-slave", id);
        }
    }

    /// Whether a majority has said since then that the epoch of our configuration is the last one: then no other Sentinel can
    /// have been elected in a later one, since that takes the votes of a majority, and a vote is on disk with its epoch.
    fn has_newest_config(&self, cx: &Context, since: u64) -> bool {
        let epoch = self.settings.config_epoch;
        let agrees = |voter: &&super::Voter| voter.last_hello > since && voter.hello_epoch == epoch;
        let count = self.voters.values().filter(agrees).count() + 1;
        epoch > 0 && cx.epoch == epoch && count > self.voters_len() / 2
    }

    /// Handles a replica that reports whom it follows.
    pub(super) fn replica_follows(&mut self, cx: &mut Context, id: u32) {
        self.observe_reconfiguration(cx, id);
        let (now, wait) = (cx.ms(), self.settings.failover_timeout_ms);
        let Some(replica) = self.replica(id) else { return };
        let has_waited =
            replica.was_up_for(now, wait) && now.saturating_sub(replica.master_since) > wait;
        let is_wrong = !replica.follows(&self.server.address) && replica.link.has_commands();
        if is_wrong && has_waited && self.failover.is_none() && self.looks_sane(cx) {
            let address = self.server.address.clone();
            self.set_role(cx, id, Some(&address));
            self.server_event(cx, Level::Notice, "+fix-slave-config", id);
        }
    }

    /// Observes how far a replica is with following the new master.
    fn observe_reconfiguration(&mut self, cx: &mut Context, id: u32) {
        let promoted = self.failover.as_ref().and_then(|it| it.promoted);
        let Some(target) = promoted.and_then(|id| self.replica(id)).map(|it| it.address.clone())
        else {
            return;
        };
        let Some(replica) = self.server_mut(id) else { return };
        let (follows, is_up) = (replica.follows(&target), replica.is_link_up);
        if matches!(replica.reconf, Reconf::Sent(_)) && follows {
            replica.reconf = Reconf::InProgress;
            self.server_event(cx, Level::Notice, "+slave-reconf-inprog", id);
        }
        let Some(replica) = self.server_mut(id) else { return };
        if replica.reconf == Reconf::InProgress && is_up {
            replica.reconf = Reconf::Done;
            self.server_event(cx, Level::Notice, "+slave-reconf-done", id);
        }
    }
}
