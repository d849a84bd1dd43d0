//! Acknowledged writes and promotions: what a failover may lose.
//!
//! ```text
//!   history of the old master   ├──────────────┼────────────▪──────┤
//!                                              │            └ a write that a client has seen acknowledged
//!                                              └ here the promoted replica went on by itself
//! ```
//!
//! * A replica that is promoted goes on from all that it has received: an acknowledged write is lost only if it had not arrived.
//! * A coordinated failover that no fault disturbs loses no acknowledged write, and the old master acknowledges none later.
//!
//! What the promoted replica's data is at that place is compared in `claims.rs`.

use crate::machine::Belief;
use crate::plan::node_of;
use crate::process::Seen;
use crate::sentinel_plan::SentinelPlan;
use crate::workload::Place;
use crate::world::World;

/// What is known of acknowledged writes in a history.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// The greatest end of one.
    pub end: i64,
    /// Where a coordinated failover has handed the history over, and to whom.
    pub handed_over: Option<(i64, usize)>,
}

/// How many faults there have been.
type Faults = u64;

/// A request's two last words, as they stand in a stream.
fn needle(place: &Place, value: &[u8]) -> Vec<u8> {
    let name = place.field.as_deref().unwrap_or(&place.key);
    let mut bytes = Vec::new();
    for word in [name, value] {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl World {
    /// A client has seen a write of its own acknowledged.
    pub(crate) fn note_acknowledged(
        &mut self,
        node: usize,
        place: &Place,
        value: &[u8],
    ) -> Result<(), String> {
        if self.plan.is_of_data_alone() {
            return Ok(());
        }
        let Some((id, end)) = self.find_write(node, place, value) else { return Ok(()) };
        self.coverage.acknowledged += 1;
        let known = self.watch.acknowledged.entry(id.clone()).or_default();
        known.end = known.end.max(end);
        match known.handed_over {
            Some((handed_over, target)) if end > handed_over => Err(format!(
                "a write up to {end} of {id} was acknowledged, which was handed over to node{target} at {handed_over}"
            )),
            _ => Ok(()),
        }
    }

    /// Where a write is in a master's history.
    pub(crate) fn find_write(
        &self,
        node: usize,
        place: &Place,
        value: &[u8],
    ) -> Option<(String, i64)> {
        let seen = &self.processes[node].seen;
        let needle = needle(place, value);
        // The master may have handed its role over since it said so.
        let ids = seen.place.iter().map(|(id, _)| id).chain([&seen.second.0]);
        let mut found = ids.filter_map(|id| Some((id, self.histories.get(id)?.end_of(&needle)?)));
        found.next().map(|(id, end)| (id.clone(), end))
    }

    /// A replica was promoted.
    pub(crate) fn check_losses(&mut self, node: usize, before: &Seen) -> Result<(), String> {
        let seen = &self.processes[node].seen;
        if self.plan.is_of_data_alone() || !before.is_replica || seen.is_replica {
            return Ok(());
        }
        let (id, first_other) = seen.second.clone();
        self.cluster_promoted(node, &id, first_other - 1);
        let Some(acknowledged) = self.watch.acknowledged.get(&id) else { return Ok(()) };
        // It may have had more before it was made to copy another replica.
        let place = before.place.as_ref().filter(|(at, _)| *at == id);
        let received = place.map_or(0, |(_, offset)| *offset);
        let (end, went_on) = (acknowledged.end, first_other - 1);
        self.coverage.loss_checks += 1;
        self.coverage.lossy_promotions += u64::from(end > went_on);
        match end.min(received) > went_on {
            true => Err(format!(
                "promoted at {went_on} of {id}, it loses acknowledged writes up to {end}, and had received {received}"
            )),
            false => Ok(()),
        }
    }

    /// How many faults there have been, if none lasts now that could disturb a failover: of the group's servers, the leader,
    /// and the links between them.
    pub(crate) fn faults_so_far(&self, group: usize, leader: usize) -> Option<Faults> {
        let plan = self.plan.sentinels.as_ref()?;
        let mut members = plan.groups[group].clone();
        members.push(leader);
        let is_disturbed = members.iter().any(|&node| {
            let process = &self.processes[node];
            let disk = &process.disk;
            let is_ill = disk.failing.is_some() || disk.slowness > 1 || disk.failing_syncs > 0;
            let is_stopped = !process.is_up() || process.busy_until > self.now + 100_000;
            is_ill || is_stopped || members.iter().any(|&to| self.links[node][to].blocked)
        });
        let count = &self.coverage;
        let faults = count.faults.iter().sum::<u64>() + count.crashes + count.terminations;
        (!is_disturbed && !self.is_meddled_with(group, leader)).then_some(faults)
    }

    /// Whether somebody else may do something to a group's servers: what users have ordered before may be carried out in the
    /// middle, and other Sentinels may have another configuration, or a failover of their own.
    fn is_meddled_with(&self, group: usize, leader: usize) -> bool {
        let operators = self.clients[self.plan.clients..].iter().enumerate();
        let mut operators = operators.filter(|(node, _)| *node != leader);
        let is_ordered = operators.any(|(_, it)| it.is_waiting() || !it.orders.is_empty());
        let name = SentinelPlan::name(group);
        let beliefs = self.watch.lives.iter().flat_map(|(node, life)| {
            life.beliefs.masters.iter().map(move |belief| (*node, belief))
        });
        let beliefs: Vec<_> = beliefs.filter(|(_, belief)| belief.name == name).collect();
        let ours = beliefs.iter().find(|(node, _)| *node == leader).map(|(_, it)| &it.host);
        let differs = |&(node, belief): &(usize, &Belief)| {
            node != leader && (belief.failover.is_some() || Some(&belief.host) != ours)
        };
        is_ordered || beliefs.iter().any(differs)
    }

    /// Whether the server that a Sentinel takes for the master is one. After a loss of power the roles may be those of an
    /// older configuration: then its data was given up before.
    pub(crate) fn has_true_master(&self, group: usize, sentinel: usize) -> bool {
        let name = SentinelPlan::name(group);
        let life = self.watch.lives.get(&sentinel);
        let belief = life.into_iter().flat_map(|life| &life.beliefs.masters);
        let belief = belief.into_iter().find(|belief| belief.name == name);
        let server = belief.and_then(|belief| node_of(&belief.host));
        server.is_some_and(|server| !self.processes[server].seen.is_replica)
    }

    /// A coordinated failover has promoted a replica: if nothing has disturbed it, nothing is lost.
    pub(crate) fn check_handed_over(&mut self, node: usize, group: usize, server: usize) {
        let began = self.watch.lives.get(&node).and_then(|life| life.groups.get(&group));
        let Some(faults) = began.and_then(|track| track.faults_at_begin) else { return };
        if self.faults_so_far(group, node) != Some(faults) {
            return;
        }
        let (id, first_other) = self.processes[server].seen.second.clone();
        if first_other < 0 {
            return;
        }
        self.coverage.undisturbed_failovers += 1;
        let known = self.watch.acknowledged.entry(id.clone()).or_default();
        let (end, handed_over) = (known.end, first_other - 1);
        known.handed_over = Some((handed_over, server));
        self.coverage.handed_over_writes += u64::from(end > 0);
        if end > handed_over {
            self.fail(format!(
                "a coordinated failover of m{group}, which no fault disturbed, hands {id} over to node{server} at \
                 {handed_over}, and a write up to {end} was acknowledged"
            ));
        }
    }
}
