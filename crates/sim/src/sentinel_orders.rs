//! What users order of Sentinels: failovers, RESET, SET, and masters that are removed and monitored again.
//!
//! A Sentinel that was RESET knows no other ones for a moment, and one that monitors a master anew begins with the configuration
//! that the user gives it. So users do both only while all is well, with one Sentinel at a time.

use crate::plan::{PORT, host_address};
use crate::sentinel_plan::SentinelPlan;
use crate::world::{Event, World};

/// All processes run so long after the end of the faults.
const STARTING_US: u64 = 500_000;

impl World {
    /// A user orders a failover of some Sentinel, mostly while clients write.
    pub(crate) fn order_failover(&mut self) {
        let Some(plan) = &self.plan.sentinels else { return };
        let (count, groups) = (plan.count, plan.groups.len());
        let node = self.plan.data_nodes() + self.chance.index(count);
        let group = self.chance.index(groups);
        let word = if self.chance.percent(60) { " COORDINATED" } else { "" };
        if self.chance.percent(70) {
            (0..self.plan.clients).for_each(|client| self.hurry(client));
        }
        self.order(node, &format!("SENTINEL FAILOVER m{group}{word}"));
    }

    /// A client writes in quick succession.
    fn hurry(&mut self, client: usize) {
        self.clients[client].burst = self.chance.skewed(100, 600);
        self.client_acts_at(client, self.now);
    }

    /// A user changes what a Sentinel knows.
    pub(crate) fn order_of_sentinel(&mut self) {
        let Some(plan) = self.plan.sentinels.clone() else { return };
        let group = self.chance.index(plan.groups.len());
        let node = self.plan.data_nodes() + self.chance.index(plan.count);
        let name = SentinelPlan::name(group);
        match self.chance.below(4) {
            0 => self.order(node, &format!("SENTINEL SET {name} parallel-syncs {{1..3}}")),
            1 => {
                let count = plan.count;
                self.order(node, &format!("SENTINEL SET {name} quorum {{1..{count}}}"));
            }
            2 if self.is_well(&plan) => {
                self.coverage.resets_by_users += 1;
                self.order(node, &format!("SENTINEL RESET {name}"));
            }
            3 if self.is_well(&plan) => self.monitor_again(&plan, group, node),
            _ => {}
        }
    }

    /// All Sentinels know all and agree, all servers follow, and nothing is stopped or cut off.
    fn is_well(&self, plan: &SentinelPlan) -> bool {
        let is_blocked = self.links.iter().flatten().any(|link| link.blocked);
        let is_stopped = self.processes.iter().any(|it| it.busy_until > self.now + 100_000);
        let is_ordered = self.clients[self.plan.clients..].iter().any(|it| !it.orders.is_empty());
        let unsettled = |group| self.unsettled_group(plan, group).is_some();
        !is_blocked && !is_stopped && !is_ordered && !(0..plan.groups.len()).any(unsettled)
    }

    /// A master is removed from a Sentinel, which is then told of it again.
    fn monitor_again(&mut self, plan: &SentinelPlan, group: usize, node: usize) {
        let name = SentinelPlan::name(group);
        let beliefs = self.beliefs_of(node);
        let masters = beliefs.iter().flat_map(|beliefs| &beliefs.masters);
        let Some(host) = masters.filter(|it| it.name == name).map(|it| it.host.clone()).next()
        else {
            return;
        };
        self.coverage.monitored_again += 1;
        self.order(node, &format!("SENTINEL REMOVE {name}"));
        self.order(node, &format!("SENTINEL MONITOR {name} {host} {PORT} {}", plan.quorum));
        let line = self.line_of_settings(plan, group);
        self.order(node, &line);
    }

    fn line_of_settings(&self, plan: &SentinelPlan, group: usize) -> String {
        let name = SentinelPlan::name(group);
        let SentinelPlan { down_after_ms, failover_timeout_ms, parallel_syncs, .. } = plan;
        let line = format!(
            "SENTINEL SET {name} down-after-milliseconds {down_after_ms} failover-timeout {failover_timeout_ms} \
             parallel-syncs {parallel_syncs}"
        );
        match self.plan.password {
            Some(password) => format!("{line} auth-pass \"{password}\""),
            None => line,
        }
    }

    /// A Sentinel that has failed between REMOVE and SET is told what it missed, as soon as it runs.
    pub(crate) fn complete_orders(&mut self) {
        let Some(plan) = self.plan.sentinels.clone() else { return };
        for node in 0..self.plan.data_nodes() {
            // One that could not save refuses PING until it can, and the disk works again.
            let line = "BGSAVE".to_owned();
            self.queue.push(self.now + STARTING_US, Event::Order { node, line });
        }
        for (group, node) in self.watch.monitored_again.clone() {
            let (name, host) = (SentinelPlan::name(group), self.last_host(&plan, group));
            let monitor = format!("SENTINEL MONITOR {name} {host} {PORT} {}", plan.quorum);
            for line in [monitor, self.line_of_settings(&plan, group)] {
                self.queue.push(self.now + STARTING_US, Event::Order { node, line });
            }
        }
    }

    /// Where the newest configuration has a master.
    pub(crate) fn last_host(&self, plan: &SentinelPlan, group: usize) -> String {
        let known = self.watch.addresses.range((group, 0)..=(group, u64::MAX));
        known.last().map_or_else(|| host_address(plan.groups[group][0]), |(_, host)| host.clone())
    }

    /// A user has set something: a quorum counts at once, for votes that have arrived before.
    pub(crate) fn note_set(&mut self, node: usize, group: usize, text: &str) {
        let Some((_, quorum)) = text.split_once(" quorum ") else { return };
        let quorum = quorum.split(' ').next().and_then(|text| text.parse().ok());
        let name = SentinelPlan::name(group);
        let life = self.watch.lives.get_mut(&node);
        let beliefs = life.into_iter().flat_map(|life| &mut life.beliefs.masters);
        let belief = beliefs.into_iter().find(|belief| belief.name == name);
        if let (Some(belief), Some(quorum)) = (belief, quorum) {
            belief.quorum = quorum;
        }
    }

    /// A user has removed a master: what is told of one of that name from then on is another configuration.
    pub(crate) fn note_removed(&mut self, node: usize, group: usize) {
        let Some(life) = self.watch.lives.get_mut(&node) else { return };
        life.groups.remove(&group);
        life.lineages.remove(&group);
        if let Some(told) = self.watch.announced.get_mut(&group) {
            told.remove(&life.id);
        }
        self.watch.addresses.remove(&(group, 0));
        self.watch.monitored_again.insert((group, node));
    }
}
