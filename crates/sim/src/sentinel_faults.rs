//! What goes wrong among Sentinels in particular. What their users order is in `sentinel_orders.rs`.

use crate::net::Owner;
use crate::plan::{PORT, host_address};
use crate::world::{Event, Phase, World};

/// How far wall clocks leap: an hour or ten years, forward or back.
const LEAPS_US: [i64; 4] =
    [3_600_000_000, -3_600_000_000, 315_360_000_000_000, -315_360_000_000_000];

/// A killed Sentinel that leads a failover is killed within this time of one of its steps.
const STEP_US: u64 = 300_000;

impl World {
    /// A process is stopped, for up to minutes.
    pub(crate) fn stop_for_long(&mut self, node: usize) {
        let us = self.chance.skewed(10_000, 180_000_000);
        self.tell(|| format!("node{node} is stopped for {us} us"));
        self.processes[node].busy_until = self.now + us;
        self.processes[node].suspended_us += us;
    }

    pub(crate) fn leap_clock(&mut self, node: usize) {
        let us = *self.chance.pick(&LEAPS_US);
        self.tell(|| format!("node{node}'s wall clock leaps by {us} us"));
        self.note_wall_clock(node);
        let clients = self.clients.iter_mut().filter(|client| client.target == node);
        clients.for_each(|client| client.clock_is_set(self.now));
        // It stays within a century of the beginning.
        let offset = self.processes[node].wall_offset_us.saturating_add(us);
        self.processes[node].wall_offset_us =
            offset.clamp(-1_000_000_000_000_000, 1_000_000_000_000_000);
    }

    /// A host is cut off from all others, or from some, in one direction or both.
    pub(crate) fn cut_off(&mut self, node: usize) {
        let us = self.chance.skewed(500_000, 60_000_000);
        let (percent, way) = (*self.chance.pick(&[100, 100, 50]), self.chance.below(4));
        self.coverage.partitions += 1;
        self.tell(|| format!("node{node} is cut off from {percent} % for {us} us, way {way}"));
        for other in 0..self.links.len() {
            if other == node || !self.chance.percent(percent) {
                continue;
            }
            for (from, to, is_meant) in [(node, other, way != 1), (other, node, way != 2)] {
                if is_meant {
                    self.links[from][to].blocked = true;
                    self.queue.push(self.now + us, Event::Unblock { from, to });
                }
            }
        }
    }

    /// A server that is a master now.
    fn some_master(&mut self) -> Option<usize> {
        let plan = self.plan.sentinels.as_ref()?;
        let servers = plan.groups.iter().flatten().copied();
        let masters: Vec<usize> = servers
            .filter(|&node| self.processes[node].is_up() && !self.processes[node].seen.is_replica)
            .collect();
        (!masters.is_empty()).then(|| *self.chance.pick(&masters))
    }

    /// Something happens to a master.
    pub(crate) fn trouble_master(&mut self) {
        let Some(node) = self.some_master() else { return };
        match self.chance.below(4) {
            0 | 1 => self.crash(node),
            2 => self.stop_for_long(node),
            _ => self.cut_off(node),
        }
    }

    /// An operator makes a replica follow somebody else by mistake, or nobody, while all is calm.
    pub(crate) fn lead_astray(&mut self) {
        let Some(plan) = &self.plan.sentinels else { return };
        let (groups, stranger) = (plan.groups.clone(), plan.stranger);
        let group = self.chance.index(groups.len());
        let replicas: Vec<usize> = groups[group]
            .iter()
            .copied()
            .filter(|&node| self.processes[node].seen.is_replica)
            .collect();
        if replicas.is_empty() || !self.is_calm() {
            return;
        }
        let node = *self.chance.pick(&replicas);
        if self.processes[node].busy_until > self.now {
            return;
        }
        let other = *self.chance.pick(&groups[group]);
        let to = match stranger {
            Some(stranger) if self.chance.percent(70) => Some(stranger),
            _ if other != node => Some(other),
            _ => None,
        };
        self.coverage.replicaofs += 1;
        match to {
            Some(to) => self.order(node, &format!("REPLICAOF {} {PORT}", host_address(to))),
            None => self.order(node, "REPLICAOF NO ONE"),
        }
    }

    /// No Sentinel finds anything wrong.
    fn is_calm(&self) -> bool {
        let lives = self.watch.lives.values();
        let mut beliefs = lives.flat_map(|life| &life.beliefs.masters);
        beliefs.all(|belief| !belief.is_down && belief.failover.is_none())
    }

    /// Connections whose peer was lost without a word break: that they are half open is a fault too.
    pub(crate) fn break_half_open(&mut self) {
        for conn in 0..self.conns.len() {
            let c = &self.conns[conn];
            let half = c.owners.iter().filter(|owner| **owner == Owner::Nobody).count() == 1;
            if half && c.established && !c.pipes.iter().any(|pipe| pipe.is_over()) {
                self.reset(conn);
            }
        }
    }

    /// Some Sentinels are killed amid their failover.
    pub(crate) fn maybe_crash_sentinel(&mut self, node: usize) {
        let Some(plan) = &self.plan.sentinels else { return };
        let percent = plan.crash_in_failover_percent;
        if percent > 0 && self.phase == Phase::Chaos && self.chance.percent(percent) {
            let incarnation = self.processes[node].incarnation;
            let at = self.now + self.chance.skewed(1, STEP_US);
            self.queue.push(at, Event::Crash { node, incarnation });
        }
    }

    /// The replica that was chosen is stopped, or cut off from the leader, until the leader gives it up.
    pub(crate) fn maybe_trouble_choice(&mut self, node: usize, text: &str) {
        let host = text.split(' ').nth(2).unwrap_or_default();
        let (Some(plan), Some(server)) = (&self.plan.sentinels, self.server_at(host)) else {
            return;
        };
        let (percent, timeout_us) = (plan.trouble_choice_percent, plan.failover_timeout_ms * 1000);
        if self.phase != Phase::Chaos || !self.chance.percent(percent) {
            return;
        }
        let us = timeout_us + self.chance.skewed(200_000, 20_000_000);
        self.tell(|| format!("node{server}, which was chosen, is out of reach for {us} us"));
        if self.chance.percent(60) {
            self.processes[server].busy_until = self.now + us;
            self.processes[server].suspended_us += us;
            return;
        }
        self.coverage.partitions += 1;
        for (from, to) in [(node, server), (server, node)] {
            self.links[from][to].blocked = true;
            self.queue.push(self.now + us, Event::Unblock { from, to });
        }
    }

    /// The replica that was promoted is stopped before the others follow it: another leader may go back to the old master.
    pub(crate) fn maybe_trouble_promoted(&mut self, node: usize, group: usize, text: &str) {
        let host = text.split(' ').nth(2).unwrap_or_default();
        let (Some(plan), Some(server)) = (&self.plan.sentinels, self.server_at(host)) else {
            return;
        };
        // After an order the old master still runs. With a third server the failover is not over at once.
        let life = self.watch.lives.get(&node).and_then(|life| life.groups.get(&group));
        let is_forced = life.is_some_and(|track| track.is_forced);
        let percent = match is_forced && plan.groups[group].len() > 2 {
            true => 60,
            false => plan.trouble_promoted_percent,
        };
        if self.phase != Phase::Chaos || !self.chance.percent(percent) {
            return;
        }
        let us = self.chance.between(15_000_000, 60_000_000);
        self.tell(|| format!("node{server}, which was promoted, is stopped for {us} us"));
        self.processes[server].busy_until = self.now + us;
        self.processes[server].suspended_us += us;
    }
}
