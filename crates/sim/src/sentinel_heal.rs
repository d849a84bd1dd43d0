//! Progress among Sentinels: when nothing fails any more, each group comes to have one master that all follow, all Sentinels
//! agree on it within a bounded time, and then nothing happens any more.

use crate::plan::{host_address, node_of};
use crate::sentinel_plan::{SENTINEL_FILE, SentinelPlan};
use crate::world::{Event, Phase, World};

/// For so long all must stay as it is.
const CALM_US: u64 = 20_000_000;

/// All must have been well for so long before that: the last connection that a fault has left half open is replaced.
const SETTLING_US: u64 = 4_000_000;

impl SentinelPlan {
    /// From the end of the faults to agreement, at most.
    ///
    /// The longest way: a Sentinel has voted for one that did not come to an end, and waits for twice the timeout of a failover;
    /// then it begins one that takes a timeout for each of its phases. What is wrong with servers is noticed in INFO, once in
    /// ten seconds, and has to last for a timeout before it is repaired.
    fn healed_us(&self) -> u64 {
        (self.down_after_ms * 4 + self.failover_timeout_ms * 8 + 120_000) * 1000
    }
}

impl World {
    /// Faults end. Sentinels, not operators, arrange the nodes.
    pub(crate) fn verify_sentinels(&mut self, since_us: u64) {
        let Some(plan) = &self.plan.sentinels else { return };
        let until_us = since_us + plan.healed_us();
        let seconds = (self.now - since_us) / 1_000_000;
        let unsettled = self.unsettled();
        match unsettled {
            None => self.watch.well_since_us = self.watch.well_since_us.or(Some(self.now)),
            Some(_) => self.watch.well_since_us = None,
        }
        let is_well = self.watch.well_since_us.is_some_and(|at| self.now > at + SETTLING_US);
        if self.watch.settled_us.is_none() && is_well {
            self.tell(|| format!("all is well after {seconds} s"));
            self.watch.settled_us = Some(self.now);
            self.coverage.healing_seconds += seconds;
        }
        match (self.watch.settled_us, unsettled) {
            (None, Some(what)) if self.now > until_us => {
                return self.fail(format!("{seconds} s after the last fault {what}"));
            }
            (Some(_), Some(what)) => {
                return self.fail(format!("all was well, and then {what}"));
            }
            (Some(settled_us), None) if self.now > settled_us + CALM_US => match self.differs() {
                None => {
                    self.phase = Phase::Over;
                    return;
                }
                Some(what) if self.now > settled_us + CALM_US * 3 => {
                    return self.fail(format!("{seconds} s after the last fault {what}"));
                }
                Some(_) => {}
            },
            _ => {}
        }
        let wait = self.chance.between(50_000, 300_000);
        self.queue.push(self.now + wait, Event::Verify);
    }

    /// What is not yet as it must become.
    fn unsettled(&self) -> Option<String> {
        let plan = self.plan.sentinels.as_ref()?;
        (0..plan.groups.len()).find_map(|group| self.unsettled_group(plan, group))
    }

    pub(crate) fn unsettled_group(&self, plan: &SentinelPlan, group: usize) -> Option<String> {
        let name = SentinelPlan::name(group);
        let mut agreed: Option<(String, u64)> = None;
        let first = self.plan.data_nodes();
        for node in first..first + plan.count {
            let Some(beliefs) = self.beliefs_of(node) else {
                return Some(format!("Sentinel node{node} does not run"));
            };
            let Some(belief) = beliefs.masters.iter().find(|belief| belief.name == name) else {
                return Some(format!("Sentinel node{node} does not know {name}"));
            };
            let what = if beliefs.is_tilted {
                "does not judge"
            } else if belief.is_down {
                "finds the master down"
            } else if belief.failover.is_some() {
                "carries out a failover"
            } else if belief.sentinels != plan.count {
                "does not know all Sentinels"
            } else {
                ""
            };
            if !what.is_empty() {
                return Some(format!("Sentinel node{node} {what} ({belief:?})"));
            }
            let theirs = (belief.host.clone(), belief.config_epoch);
            let ours = agreed.get_or_insert_with(|| theirs.clone());
            if *ours != theirs {
                return Some(format!(
                    "Sentinel node{node} says that {name} is at {theirs:?}, another one {ours:?}"
                ));
            }
        }
        let (host, _) = agreed?;
        let Some(master) = self.server_at(&host) else {
            return Some(format!("{name} is at {host}, where no server is"));
        };
        self.unfollowed(plan, group, master)
    }

    /// Whether no Sentinel knows a server as a replica: they find those that are connected to the master. One that was not
    /// since a user has reset the master, or that has never been, may follow another replica for ever.
    fn is_unknown(&self, plan: &SentinelPlan, group: usize, node: usize) -> bool {
        let known = format!("sentinel known-replica m{group} {} ", host_address(node));
        let first = self.plan.data_nodes();
        let mut files = (first..first + plan.count)
            .map(|sentinel| self.processes[sentinel].disk.read(SENTINEL_FILE).unwrap_or_default());
        !files.any(|file| String::from_utf8_lossy(&file).contains(&known))
    }

    /// Which server of a group does not do what it should.
    fn unfollowed(&self, plan: &SentinelPlan, group: usize, master: usize) -> Option<String> {
        let host = host_address(master);
        plan.groups[group].iter().find_map(|&node| {
            let what = match self.processes[node].data() {
                None => "does not run".to_owned(),
                Some(data) if data.is_loading() => "loads".to_owned(),
                Some(data) => match data.upstream() {
                    None if node == master => return None,
                    None => "is a master".to_owned(),
                    Some(link) if node_of(link.host) != Some(master) => {
                        format!("follows {}", link.host)
                    }
                    Some(link) if !link.is_online => format!("has no link ({})", link.state),
                    Some(_) => return None,
                },
            };
            let is_meant = node == master || !self.is_unknown(plan, group, node);
            is_meant.then(|| format!("node{node} {what}, and m{group} is node{master} ({host})"))
        })
    }

    /// Which replica is not at its master's offset, or holds other data there.
    fn differs(&self) -> Option<String> {
        let plan = self.plan.sentinels.as_ref()?;
        let first = self.plan.data_nodes();
        plan.groups.iter().enumerate().find_map(|(group, nodes)| {
            let beliefs = self.beliefs_of(first)?;
            let belief = beliefs.masters.iter().find(|it| it.name == SentinelPlan::name(group))?;
            let master = self.server_at(&belief.host)?;
            let ours = self.processes[master].data()?;
            nodes.iter().find_map(|&node| {
                let data = self.processes[node].data()?;
                let upstream = data.upstream();
                if upstream.is_none_or(|link| node_of(link.host) != Some(master)) {
                    return None;
                }
                let (is, should) = (data.place(), ours.place());
                if (is.id, is.offset) != (should.id, should.offset) && node != master {
                    return Some(format!("node{node} is not where its master node{master} is"));
                }
                let is_equal = data.digest() == ours.digest();
                (!is_equal).then(|| format!("node{node} holds other data than node{master}"))
            })
        })
    }
}
