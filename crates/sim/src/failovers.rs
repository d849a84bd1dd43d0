//! FAILOVER: operators order it, and what it promises. A master that hands its role over loses no write that it has acknowledged,
//! unless an operator said FORCE:
//!
//! * while it waits, it changes no data and writes nothing into its stream but PING and REPLCONF;
//! * when it gives its role away, the target has been where it is;
//! * when the target has taken over, it goes on from there, and sends no other data.

use crate::guarantees::stands_still;
use crate::machine::FailoverStage;
use crate::plan::{PORT, node_of};
use crate::world::World;

/// What operators say, with the address of a replica for `TO`; the last one loses writes.
const FAILOVERS: &[(u64, &str)] = &[
    (3, "FAILOVER"),
    (2, "FAILOVER TIMEOUT {1..3000}"),
    (2, "FAILOVER TO"),
    (2, "FAILOVER TO TIMEOUT {1..3000}"),
    (1, "FAILOVER TO TIMEOUT {1..1000} FORCE"),
];

impl World {
    /// The replicas that follow a node, as they say.
    fn followers(&self, master: usize) -> Vec<usize> {
        let follows = |node: &usize| {
            let upstream = self.processes[*node].data().and_then(|data| data.upstream());
            upstream.is_some_and(|up| up.is_online && node_of(up.host) == Some(master))
        };
        (0..self.plan.data_nodes()).filter(follows).collect()
    }

    /// An operator lets a master hand its role over; then they may think better of it, or another one may know nothing of it.
    pub(crate) fn fail_over(&mut self) {
        let nodes = 0..self.plan.data_nodes();
        let masters = nodes.filter(|&node| !self.processes[node].seen.is_replica);
        let masters: Vec<(usize, Vec<usize>)> = masters
            .map(|node| (node, self.followers(node)))
            .filter(|(_, followers)| !followers.is_empty())
            .collect();
        if masters.is_empty() {
            return;
        }
        let (master, followers) = self.chance.pick(&masters).clone();
        let target = *self.chance.pick(&followers);
        let weights: Vec<u64> = FAILOVERS.iter().map(|(weight, _)| *weight).collect();
        let (_, line) = FAILOVERS[self.chance.weighted(&weights)];
        let address = format!("TO 127.0.0.{} {PORT}", target + 1);
        self.order(master, &line.replace("TO", &address));
        if self.chance.percent(25) {
            self.order(master, "FAILOVER ABORT");
        }
        if self.chance.percent(15) {
            self.follow(target, None);
        }
    }

    /// An operator says something to a node.
    pub(crate) fn note_failover_order(&mut self, node: usize, order: &[Vec<u8>]) {
        let process = &mut self.processes[node];
        process.stands_still = false;
        // One that is refused counts too: from then on this life promises nothing.
        process.is_forced |= order[0] == b"FAILOVER" && order.iter().any(|word| word == b"FORCE");
    }

    /// Looks at a node after a call, before the rest of it is looked at.
    pub(crate) fn check_failover(&mut self, node: usize, changed: bool) {
        let process = &mut self.processes[node];
        let Some(data) = process.machine.as_deref().and_then(|machine| machine.data()) else {
            return;
        };
        let now = data.failover();
        let before = std::mem::replace(&mut process.failover, now);
        match (before, now) {
            (FailoverStage::None, FailoverStage::Waits) => {
                process.stands_still = self.now >= process.unsure_until_us;
            }
            (FailoverStage::Waits, FailoverStage::Waits) if process.stands_still => {
                if let Some(what) = stands_still(data, changed, &process.seen) {
                    self.fail(format!("node{node} {what}, though it fails over"));
                }
                self.coverage.failover_calls += 1;
            }
            (FailoverStage::None | FailoverStage::Waits, FailoverStage::Asks) => {
                self.check_target(node);
            }
            (FailoverStage::Asks, FailoverStage::None) => self.check_taken_over(node),
            _ => {}
        }
    }

    /// A master gives its role away: the target has what it has.
    fn check_target(&mut self, node: usize) {
        let process = &self.processes[node];
        let Some(data) = process.data().filter(|_| !process.is_forced) else { return };
        let place = data.place();
        let (Some(history), Some(target)) =
            (self.histories.get(place.id), data.upstream().and_then(|up| node_of(up.host)))
        else {
            return;
        };
        // A life that has ended meanwhile counts too, as with WAIT.
        let has_all =
            history.reached.iter().any(|(&(other, _), &at)| other == target && at >= place.offset);
        if !has_all {
            let offset = place.offset;
            self.fail(format!(
                "node{node} at {offset} fails over to node{target}, which has never been there"
            ));
        }
        self.coverage.failover_checks += 1;
    }

    /// The target has taken over, or not: then this is a master again.
    fn check_taken_over(&mut self, node: usize) {
        let process = &self.processes[node];
        let Some(data) = process.data().filter(|_| !process.is_forced) else { return };
        let full = data.upstream().filter(|up| up.state == "sync");
        if let Some(target) = full.map(|up| up.host.to_owned()) {
            self.fail(format!("{target} took over from node{node}, and has other data"));
        }
    }

    /// What a node is in the middle of ends with its process.
    pub(crate) fn forget_failover(&mut self, node: usize) {
        let process = &mut self.processes[node];
        process.failover = FailoverStage::None;
        (process.is_forced, process.stands_still) = (false, false);
    }
}
