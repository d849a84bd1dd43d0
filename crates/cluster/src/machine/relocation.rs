//! Replicas move to masters that have none left.

use super::Cluster;
use crate::bus::NodeFlags;
use crate::io::Level;
use crate::nodes::NodeKey;

/// A master must be without replicas for so long, milliseconds: after a failover its own are still finding it.
const DELAY_MS: u64 = 5_000;

impl Cluster {
    /// Moves this replica to a master without replicas, if it is the one to move: of the master that has most, the
    /// replica with the smallest name.
    pub(super) fn relocate_if_needed(&mut self) {
        self.note_orphans();
        let me = self.nodes.me();
        let Some(master) = me.master.filter(|_| me.is_replica()) else { return };
        if !self.settings.allow_replica_migration || !self.is_ok() {
            return;
        }
        let masters = self.nodes.iter().filter(|(_, node)| node.is_master());
        let counts = masters.map(|(key, _)| (key, self.nodes.working_replicas(key)));
        let counts: Vec<(NodeKey, usize)> = counts.collect();
        let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let mine = self.nodes.working_replicas(master);
        if most < 2 || mine != most || mine <= self.settings.migration_barrier {
            return;
        }
        let rich = counts.iter().filter(|(_, count)| *count == most);
        let candidates = rich.flat_map(|(key, _)| self.nodes.replicas(*key));
        let first =
            candidates.filter(|(_, node)| !node.is_failing()).map(|(_, node)| node.id).min();
        let now = self.now_ms();
        let is_due = |node: &crate::nodes::Node| {
            let since = node.orphaned_ms.map(|since| now.saturating_sub(since));
            node.slot_count() > 0 && since.is_some_and(|since| since > DELAY_MS)
        };
        let target = self.nodes.iter().find(|(_, node)| is_due(node)).map(|(key, _)| key);
        let (Some(target), true) = (target, first == Some(self.my_id())) else { return };
        let text = format!(
            "Migrating to orphaned primary {} in shard {}",
            self.nodes[target].label(),
            self.nodes[target].shard
        );
        self.log(Level::Notice, text);
        self.become_replica_of(target);
    }

    /// Notes since when masters have had no working replica. Only those count that had some.
    fn note_orphans(&mut self) {
        let now = self.now_ms();
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            let should_have =
                node.is_master() && node.is(NodeFlags::MIGRATE_TO) && !node.is(NodeFlags::FAIL);
            let is_orphaned = should_have && self.nodes.working_replicas(key) == 0;
            let since = self.nodes[key].orphaned_ms;
            self.nodes[key].orphaned_ms = is_orphaned.then(|| since.unwrap_or(now));
        }
    }
}
