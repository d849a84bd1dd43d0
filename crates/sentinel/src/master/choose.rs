//! The choice of the replica to promote: the one that loses least, among those that can be promoted at all.
//!
//! A master that hands over must have the replica as its own: one that does not say now that it is connected is passed over.
//!
//! A replica is passed over if it is down or disconnected, has not answered for a while, has been without its master for
//! too long before the failure, has priority 0, or has the data of another history. Of the others the best has, in this
//! order: the lowest priority, the master's latest history, the greatest offset in it, the smallest run id. But if a leader
//! has died in the middle of a failover, the replica that it has promoted is chosen again: clients may write there already.

use super::{FailoverKind as Kind, Master};
use crate::context::Context;
use crate::explain::{CHOSE, NONE_CHOSEN};
use crate::info::Role;
use crate::injected::Bug;
use crate::server::Server;
use crate::settings::LINEAGES_MAX;

/// The outcome.
pub(crate) struct Choice {
    pub replica: Option<u32>,
    /// Who was chosen, and why the others were not.
    pub explanation: String,
}

impl Master {
    /// Chooses the replica to promote.
    pub(crate) fn choose_replica(&self, cx: &Context) -> Choice {
        let mut passed = Vec::new();
        let mut good: Vec<&Server> = Vec::new();
        for replica in &self.replicas {
            match self.why_not(cx, replica) {
                Some(why) => {
                    passed.push(format!("{}: {why}", replica.address.with_port(&cx.globals)))
                }
                None => good.push(replica),
            }
        }
        good.sort_by_key(|replica| {
            let history = self.history_rank(replica).unwrap_or_default();
            let offset = std::cmp::Reverse(replica.offset);
            let (no_id, id) = (replica.run_id.is_none(), replica.run_id.as_ref());
            let is_replica = !self.was_promoted(replica);
            (is_replica, replica.priority, history, offset, no_id, id)
        });
        let described = |replica: &&Server| {
            let address = replica.address.with_port(&cx.globals);
            let (priority, offset) = (replica.priority, replica.offset);
            let id = replica.run_id.as_deref().unwrap_or("?");
            format!("{address} (priority {priority}, offset {offset}, run id {id})")
        };
        let explanation = match good.split_first() {
            None => NONE_CHOSEN.to_owned(),
            Some((best, [])) => format!("{CHOSE}{}", described(best)),
            Some((best, rest)) => {
                let rest: Vec<String> = rest.iter().map(described).collect();
                format!("{CHOSE}{} over {}", described(best), rest.join(", "))
            }
        };
        let passed = if passed.is_empty() {
            String::new()
        } else {
            format!("; passed over {}", passed.join(", "))
        };
        let replica = good.first().map(|replica| replica.id);
        Choice { replica, explanation: explanation + &passed }
    }

    /// Returns why a replica cannot be promoted.
    fn why_not(&self, cx: &Context, replica: &Server) -> Option<&'static str> {
        let now = cx.ms();
        let is_master_down = self.server.is_down();
        let info_age_max = match is_master_down {
            true => cx.periods.ping * 5,
            false => cx.periods.info * 3,
        };
        // A master that has become a replica has served nobody since then, though it is found down only later.
        let demoted_since =
            Some(self.server.role_since).filter(|_| self.server.role == Role::Replica);
        let gone_since =
            self.server.down_since.map(|since| demoted_since.unwrap_or(since).min(since));
        let down_for = gone_since.map_or(0, |since| now.saturating_sub(since));
        let link_down_max = down_for.saturating_add(self.settings.down_after_ms.saturating_mul(10));
        let info_age = replica.info_at.map_or(u64::MAX, |at| now.saturating_sub(at));
        let hands_over = self.failover.as_ref().filter(|it| it.kind == Kind::Coordinated);
        let is_attached = replica.role == Role::Replica && replica.is_link_up;
        if replica.is_down() {
            Some("it is down")
        } else if replica.link.is_disconnected() {
            Some("it is not connected")
        } else if now.saturating_sub(replica.link.last_valid) > cx.periods.ping * 5 {
            Some("it does not answer")
        } else if replica.priority == 0 && !cx.injected(Bug::PriorityZeroPromoted) {
            Some("its priority is 0")
        } else if info_age > info_age_max {
            Some("its INFO is old")
        } else if hands_over.is_some_and(|it| replica.info_at.is_none_or(|at| at < it.since)) {
            Some("it has not answered since the failover began")
        } else if hands_over.is_some() && !is_attached {
            Some("it is not connected to the master")
        } else if replica.link_down_ms > link_down_max {
            Some("it lost its master too long ago")
        } else if self.history_rank(replica).is_none() && !cx.injected(Bug::ForeignLineagePromoted)
        {
            Some("it has the data of another history")
        } else {
            None
        }
    }

    /// Whether a replica has become a master since ours is down.
    fn was_promoted(&self, replica: &Server) -> bool {
        let since = self.server.down_since;
        replica.role == Role::Master && since.is_some_and(|since| replica.role_since >= since)
    }

    /// Returns how old the history of a replica's data is: 0 for the master's present one. None if the master never had it.
    /// Old servers report none at all. Of a master that has not answered since our start only the histories of the last run
    /// are known, if any: if no replica has one of them, much has happened since then, and a replica must not follow
    /// somebody else. One that was promoted by a leader of which nobody has heard since has a new history,
    /// and so have those that follow it; the one before is known.
    fn history_rank(&self, replica: &Server) -> Option<usize> {
        let Some(lineage) = &replica.lineage else { return Some(self.lineages.len()) };
        if !self.has_told_lineage && !self.replicas.iter().any(|it| self.has_lineage_of(it)) {
            return (!self.has_other_master(replica)).then_some(0);
        }
        let rank = self.lineages.iter().position(|known| known == lineage);
        rank.or(self.has_lineage_of(replica).then_some(self.lineages.len()))
    }

    /// Whether a server has the data of a history that is known to be the master's, or of one that continues it.
    fn has_lineage_of(&self, server: &Server) -> bool {
        let ids = [&server.lineage, &server.former_lineage];
        ids.into_iter().flatten().any(|id| self.lineages.contains(id))
    }

    /// Whether a replica has a link to a master that is none of our servers.
    fn has_other_master(&self, replica: &Server) -> bool {
        let mut servers = std::iter::once(&self.server).chain(&self.replicas);
        let is_ours = |host: &str| servers.any(|it| it.address.is_at(host, replica.master_port));
        replica.role == Role::Replica
            && replica.is_link_up
            && !replica.master_host.as_deref().is_some_and(is_ours)
    }

    /// Remembers the histories of the master's data, as it tells them. One that is restarted again and again without its data
    /// begins a new one each time, which no replica ever has: those that replicas have are kept.
    pub(super) fn learn_lineage(&mut self, cx: &mut Context) {
        let before = self.lineages.clone();
        let known = &mut self.lineages;
        let server = &self.server;
        self.has_told_lineage |= server.lineage.is_some();
        for lineage in [&server.former_lineage, &server.lineage].into_iter().flatten() {
            if known.first() != Some(lineage) {
                known.retain(|other| other != lineage);
                known.insert(0, lineage.clone());
            }
        }
        while known.len() > LINEAGES_MAX {
            let replicas = &self.replicas;
            let is_used = |id| replicas.iter().any(|it| it.lineage.as_ref() == Some(id));
            let oldest = known.iter().rposition(|id| !is_used(id)).filter(|&at| at > 0);
            known.remove(oldest.unwrap_or(known.len() - 1));
        }
        if *known != before {
            cx.changed();
        }
    }
}
