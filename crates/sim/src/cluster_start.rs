//! How nodes of a cluster begin: with a file that names them all, as if they had met long ago.

use russet_cluster::bus::NodeFlags;
use russet_cluster::nodes_file::{NodeLine, NodesFile};
use russet_cluster::{NodeId, SlotBitmap};
use russet_engine::config::ClusterStart;

use crate::chance::Chance;
use crate::cluster_plan::ClusterPlan;
use crate::disk::Disk;
use crate::plan::{PORT, Plan, host_address};
use crate::world::World;

/// The file of a node of a cluster.
pub(super) const FILE: &str = "nodes.conf";

/// The file of its journal.
const JOURNAL: &str = "nodes.conf.journal";

/// From the port for clients to that of the bus.
pub(crate) const BUS_PORT: u16 = PORT + 10_000;

fn draw_id(chance: &mut Chance) -> NodeId {
    let text = format!("{:016x}{:016x}{:08x}", chance.bits(), chance.bits(), chance.bits() as u32);
    NodeId::parse(text.as_bytes()).expect("40 hexadecimal digits")
}

/// What a node's file says at first.
fn first_file(plan: &ClusterPlan, ids: &[NodeId], shards: &[NodeId], node: usize) -> NodesFile {
    let line = |other: usize| {
        let shard = plan.shard_of(other);
        let master = plan.shards[shard][0];
        let mut flags = NodeFlags::default();
        flags.set(NodeFlags::MYSELF, other == node);
        flags.set(NodeFlags::MASTER, other == master);
        flags.set(NodeFlags::REPLICA, other != master);
        let mut line = NodeLine::new(ids[other]);
        line.ip = host_address(other);
        (line.port, line.bus_port) = (PORT, BUS_PORT);
        line.aux.shard_id = Some(shards[shard]);
        line.flags = flags;
        line.master = (other != master).then_some(ids[master]);
        line.config_epoch = shard as u64 + 1;
        if other == master && shard < plan.with_slots {
            let bound = |shard: usize| (16384 * shard / plan.with_slots) as u16;
            let mut slots = SlotBitmap::default();
            (bound(shard)..bound(shard + 1)).for_each(|slot| _ = slots.insert(slot));
            line.slots = slots;
        }
        line
    };
    let nodes: Vec<NodeLine> = (0..ids.len()).map(line).collect();
    NodesFile { nodes, current_epoch: plan.shards.len() as u64, last_vote_epoch: 0, won_epoch: 0 }
}

/// Puts the first files on the disks; returns the nodes' names.
pub(crate) fn write_first<'a>(
    plan: &Plan,
    disks: impl Iterator<Item = &'a mut Disk>,
    chance: &mut Chance,
) -> Vec<NodeId> {
    let Some(cluster) = &plan.cluster else { return Vec::new() };
    let ids: Vec<NodeId> = (0..plan.data_nodes()).map(|_| draw_id(chance)).collect();
    let shards: Vec<NodeId> = cluster.shards.iter().map(|_| draw_id(chance)).collect();
    for (node, disk) in disks.enumerate().take(ids.len()) {
        let mut text = Vec::new();
        first_file(cluster, &ids, &shards, node).write(&mut text);
        let written = disk.create(FILE).and_then(|file| {
            disk.write(file, &text)?;
            disk.sync(file)?;
            disk.sync_folder_of(FILE)
        });
        assert!(written.is_ok(), "a new disk works: {written:?}");
    }
    ids
}

impl World {
    /// What a node of a cluster finds on its disk. None in another world, or if it cannot be read, which is a violation.
    pub(crate) fn cluster_start(&mut self, node: usize) -> Option<ClusterStart> {
        self.plan.cluster.as_ref()?;
        let text = self.processes[node].disk.read(FILE).unwrap_or_default();
        match NodesFile::parse(&text) {
            Ok(file) => {
                if file.is_none() {
                    self.fail(format!("node{node} has lost its {FILE}"));
                }
                let journal = self.processes[node].disk.read(JOURNAL).unwrap_or_default();
                Some(ClusterStart { path: format!("/data/{FILE}"), file, journal })
            }
            Err(what) => {
                self.fail(format!("node{node} cannot read its {FILE}: {what}"));
                None
            }
        }
    }
}
