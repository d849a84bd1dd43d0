//! Replicas move to masters that have none left.

use super::Cluster;
use crate::bus::NodeFlags;
use crate::io::Level;
use crate::nodes::WorkingReplicas;

/// A master must be without replicas for so long, milliseconds: after a failover its own are still finding it.
const DELAY_MS: u64 = 5_000;

impl Cluster {
    /// Moves this replica to a master without replicas, if it is the one to move: of the master that has most, the
    /// replica with the smallest name.
    pub(super) fn relocate_if_needed(&mut self) {
        let working = self.nodes.working_replicas();
        self.note_orphans(&working);
        let me = self.nodes.me();
        let Some(master) = me.master.filter(|_| me.is_replica()) else { return };
        if !self.settings.allow_replica_migration || !self.is_ok() {
            return;
        }
        let now = self.now_ms();
        let is_due = |node: &crate::nodes::Node| {
            let since = node.orphaned_ms.map(|since| now.saturating_sub(since));
            // One that is about to fail has nobody to give its data to.
            node.slot_count() > 0
                && !node.is_failing()
                && since.is_some_and(|since| since > DELAY_MS)
        };
        let target = self.nodes.iter().find(|(_, node)| is_due(node)).map(|(key, _)| key);
        let Some(target) = target else { return };
        let masters = || self.nodes.iter().filter(|(_, node)| node.is_master()).map(|(key, _)| key);
        let most = masters().map(|key| working.of(key)).max().unwrap_or(0);
        let mine = working.of(master);
        if most < 2 || mine != most || mine <= self.settings.migration_barrier {
            return;
        }
        let is_candidate = |node: &crate::nodes::Node| {
            let is_rich = |key| self.nodes[key].is_master() && working.of(key) == most;
            node.is_replica() && !node.is_failing() && node.master.is_some_and(is_rich)
        };
        let candidates = self.nodes.iter().filter(|(_, node)| is_candidate(node));
        if candidates.map(|(_, node)| node.id).min() != Some(self.my_id()) {
            return;
        }
        let text = format!(
            "Migrating to orphaned primary {} in shard {}",
            self.nodes[target].label(),
            self.nodes[target].shard
        );
        self.log(Level::Notice, text);
        self.become_replica_of(target);
    }

    /// Notes since when masters have had no working replica. Only those count that had some.
    fn note_orphans(&mut self, working: &WorkingReplicas) {
        let now = self.now_ms();
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            let should_have =
                node.is_master() && node.is(NodeFlags::MIGRATE_TO) && !node.is(NodeFlags::FAIL);
            let is_orphaned = should_have && working.of(key) == 0;
            if is_orphaned != node.orphaned_ms.is_some() {
                self.nodes[key].orphaned_ms = is_orphaned.then_some(now);
            }
        }
    }
}
