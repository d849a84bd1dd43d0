//! What a seed decides of a cluster: its shards, its settings, and how its users treat it.

use russet_engine::command::table::CommandTable;
use russet_engine::config::Config;
use russet_engine::config::value::AppendFsync;

use crate::chance::Chance;
use crate::coverage::Worlds;
use crate::plan::{Plan, arranged_settings};

/// Most nodes of a cluster.
const NODES_MAX: usize = 12;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct ClusterPlan {
    /// The nodes of each shard; the first is its master at the beginning. Those of one without slots too.
    pub shards: Vec<Vec<usize>>,
    /// The first so many shards have slots at the beginning.
    pub with_slots: usize,
    /// `cluster-node-timeout`.
    pub timeout_ms: u64,
    /// Clients.
    pub users: usize,
    /// Those who move slots.
    pub movers: usize,
    /// What a master acknowledges survives its process.
    pub is_durable: bool,
    /// Operators may force failovers.
    pub forces: bool,
}

impl ClusterPlan {
    fn draw(chance: &mut Chance) -> ClusterPlan {
        let with_slots = *chance.pick(&[3, 3, 3, 3, 3, 4, 5]);
        let empty = *chance.pick(&[0, 0, 0, 1]);
        let (mut shards, mut next) = (Vec::new(), 0);
        for shard in 0..with_slots + empty {
            let left = NODES_MAX - next - (with_slots + empty - shard);
            let replicas = match shard < with_slots {
                true => (*chance.pick(&[1, 1, 1, 1, 2, 2, 3, 0])).min(left),
                false => 0,
            };
            shards.push((next..=next + replicas).collect());
            next += replicas + 1;
        }
        ClusterPlan {
            shards,
            with_slots,
            timeout_ms: chance.skewed(800, 5000),
            users: chance.between(1, 3) as usize,
            movers: *chance.pick(&[0, 1, 1, 2]),
            is_durable: chance.percent(50),
            forces: chance.percent(30),
        }
    }

    /// The shard in which a node begins.
    pub fn shard_of(&self, node: usize) -> usize {
        self.shards.iter().position(|shard| shard.contains(&node)).unwrap_or(0)
    }
}

impl Plan {
    /// Draws the plan of a world with a cluster.
    pub fn draw_with_cluster(chance: &mut Chance, usual: &Config, known: &CommandTable) -> Plan {
        let cluster = ClusterPlan::draw(chance);
        let of_data = Plan::draw(chance, usual, known);
        let nodes: usize = cluster.shards.iter().map(Vec::len).sum();
        let mut configs: Vec<Config> = (0..nodes)
            .map(|node| arranged_settings(chance, usual, node, of_data.password))
            .collect();
        for config in &mut configs {
            config.replicaof = None;
            config.cluster_enabled = true;
            config.cluster_node_timeout = cluster.timeout_ms as _;
            config.cluster_require_full_coverage = chance.percent(30);
            config.cluster_allow_replica_migration = chance.percent(80);
            config.cluster_replica_validity_factor = *chance.pick(&[10, 10, 10, 2]);
            config.databases = 16;
            config.min_replicas_to_write = 0;
            // Nobody orders the save that would end it.
            config.stop_writes_on_bgsave_error = false;
            // Else a link with nothing to say would end each time before the next PING.
            config.repl_timeout = config.repl_timeout.max(config.repl_ping_replica_period + 4);
            if cluster.is_durable {
                config.appendonly = true;
                config.appendfsync = AppendFsync::Always;
                config.rdbchecksum = true;
            }
        }
        Plan {
            configs,
            clients: 0,
            think_us: chance.skewed(50_000, 500_000),
            cluster: Some(cluster),
            ..of_data.arranged(chance, Worlds::Cluster)
        }
    }
}
