//! What a seed decides before anything happens: topology, settings, load, how rough the world is.

use russet_engine::command::table::CommandTable;
use russet_engine::config::value::{AppendFsync, ProtectedAction};
use russet_engine::config::words::{MasterAddress, OutputLimit, SavePoint, SavePoints};
use russet_engine::config::{Config, SetContext};

use crate::chance::Chance;
use crate::cluster_plan::ClusterPlan;
use crate::coverage::Worlds;
use crate::faults::{Kind, draw_odds, draw_odds_in};
use crate::net::Link;
use crate::sentinel_plan::SentinelPlan;
use crate::workload::Load;

/// See the module.
#[derive(Debug)]
pub struct Plan {
    /// Settings of each node; `replicaof` is its place in the topology.
    pub configs: Vec<Config>,
    /// Clients.
    pub clients: usize,
    /// How they load.
    pub load: Load,
    /// When the faults end, virtual microseconds.
    pub chaos_us: u64,
    /// Mean time between faults.
    pub fault_us: u64,
    /// How often each of them happens, against the others.
    pub fault_odds: Vec<u64>,
    /// Links at their best.
    pub link: Link,
    /// Ticks that each look at a node's counter takes, virtual microseconds.
    pub tick_us: u64,
    /// How long a node may wait for a processor between turns.
    pub scheduling_us: u64,
    /// How long clients think, at most.
    pub think_us: u64,
    /// Crash this many in a hundred nodes soon after they begin a snapshot.
    pub crash_in_snapshot_percent: u64,
    /// Cut this many in a hundred replication links inside what they carry.
    pub cut_percent: u64,
    /// Refuse this many in a hundred requests of nodes to the world.
    pub refusal_percent: u64,
    /// Read this many in a hundred times only a part of what has arrived.
    pub short_read_percent: u64,
    /// Write this many in a hundred times only a part of what could be written.
    pub short_write_percent: u64,
    /// Nodes spread keys by their slots, as in a cluster.
    pub by_slot: bool,
    /// How far nodes read a connection's requests ahead.
    pub read_ahead_bytes: usize,
    /// How much of a payload nodes keep for a replica that has not read it. Beyond that the snapshot waits.
    pub payload_ahead_bytes: usize,
    /// Nodes have a second sink on their journal, which is compared with their data.
    pub mirrors: bool,
    /// The end comes only when every save point that is reached has led to a save.
    pub awaits_saves: bool,
    /// Nobody replicates: each node is for itself.
    pub is_solo: bool,
    /// Kill this many in a thousand processes at each step of their append-only files.
    pub crash_in_step_permille: u64,
    /// How much longer than on a good disk a sync takes at most, microseconds.
    pub sync_us: u64,
    /// Clients may use MULTI.
    pub transactions: bool,
    /// What clients and replicas must know.
    pub password: Option<&'static str>,
    /// After how long at most a killed process starts again, microseconds.
    pub restart_us: u64,
    /// The Sentinels, if there are any.
    pub sentinels: Option<SentinelPlan>,
    /// The cluster, if the nodes are one.
    pub(crate) cluster: Option<ClusterPlan>,
}

/// So many seeds in a hundred have nodes without replication, which have append-only files. Of the others some nodes have, in a
/// quarter of the seeds.
const SOLO_PERCENT: u64 = 25;

/// How often each is drawn.
const POLICIES: [AppendFsync; 5] = [
    AppendFsync::Always,
    AppendFsync::Always,
    AppendFsync::Everysec,
    AppendFsync::Everysec,
    AppendFsync::No,
];

/// The port that all nodes listen on; they differ by host.
pub const PORT: u16 = 6379;

/// The name of a node's host.
pub fn host_name(node: usize) -> String {
    format!("node{node}")
}

/// The node on a host, by its name or address.
pub fn node_of(host: &str) -> Option<usize> {
    let address = host.strip_prefix("127.0.0.").and_then(|last| last.parse::<usize>().ok());
    match address {
        Some(last) => last.checked_sub(1),
        None => host.strip_prefix("node")?.parse().ok(),
    }
}

/// The address of a node's host.
pub fn host_address(node: usize) -> String {
    format!("127.0.0.{}", node + 1)
}

impl Plan {
    /// How many processes are data nodes: the first ones.
    pub fn data_nodes(&self) -> usize {
        self.configs.len()
    }

    /// Whether nobody but operators arranges the nodes.
    pub fn is_of_data_alone(&self) -> bool {
        self.sentinels.is_none() && self.cluster.is_none()
    }

    /// How many processes have an operator: data nodes and, behind them, Sentinels.
    pub fn operated(&self) -> usize {
        self.data_nodes() + self.sentinels.as_ref().map_or(0, |plan| plan.count)
    }

    /// Draws a plan; `usual` are the default settings, worked out once.
    pub fn draw(chance: &mut Chance, usual: &Config, known: &CommandTable) -> Plan {
        let is_solo = chance.percent(SOLO_PERCENT);
        let nodes = if is_solo { 1 } else { chance.between(2, 4) as usize };
        let transactions = known.find(b"multi").is_some();
        let mut configs: Vec<Config> =
            (0..nodes).map(|node| settings(chance, usual, node)).collect();
        let (fault_odds, only) = draw_odds(chance);
        let is_possible = |kind| only.is_none_or(|only| only == kind);
        let password = chance.percent(15).then_some("open sesame");
        let file_percent = match is_solo {
            true => 100,
            false => *chance.pick(&[0, 0, 0, 60]),
        };
        for config in &mut configs {
            if chance.percent(file_percent) {
                append_only(chance, config);
            }
        }
        let has_files = configs.iter().any(|config| config.appendonly);
        if let Some(password) = password {
            configs.iter_mut().for_each(|config| set_password(config, password));
        }
        let mut load = Load::draw(chance, known);
        load.peeks = has_files;
        Plan {
            password,
            is_solo,
            crash_in_step_permille: match has_files && is_possible(Kind::Process) {
                true => *chance.pick(&[0, 3, 10, 30]),
                false => 0,
            },
            sync_us: if has_files { *chance.pick(&[0, 0, 50_000, 300_000]) } else { 0 },
            by_slot: chance.one_in(12),
            clients: chance.between(1, 4) as usize,
            load,
            configs,
            chaos_us: chance.between(50, 110) * 1_000_000,
            fault_us: chance.skewed(300_000, 4_000_000),
            fault_odds,
            link: Link {
                delay_us: chance.skewed(20, 5000),
                jitter_us: chance.skewed(0, 20_000),
                bytes_per_ms: chance.skewed(50, 100_000),
                blocked: false,
            },
            // On a slow machine a walk takes many slices.
            tick_us: if chance.percent(70) {
                chance.between(100, 500)
            } else {
                chance.skewed(1, 100)
            },
            scheduling_us: chance.skewed(50, 20_000),
            think_us: chance.skewed(100_000, 2_000_000),
            crash_in_snapshot_percent: match is_possible(Kind::Process) {
                true => *chance.pick(&[0, 10, 25, 40]),
                false => 0,
            },
            cut_percent: match is_possible(Kind::Network) {
                true => *chance.pick(&[0, 10, 30, 60]),
                false => 0,
            },
            refusal_percent: *chance.pick(&[0, 10, 30]),
            short_read_percent: *chance.pick(&[0, 25, 25, 60]),
            short_write_percent: *chance.pick(&[0, 15, 15, 40]),
            read_ahead_bytes: chance.skewed(500, 300_000) as usize,
            payload_ahead_bytes: chance.skewed(1000, 8 << 20) as usize,
            mirrors: chance.percent(60),
            awaits_saves: chance.percent(40),
            transactions,
            restart_us: 15_000_000,
            sentinels: None,
            cluster: None,
        }
    }

    /// The same for a world whose nodes Sentinels or the nodes themselves arrange, which takes them longer: faults that come
    /// less often, and a light load.
    pub(crate) fn arranged(self, chance: &mut Chance, worlds: Worlds) -> Plan {
        Plan {
            load: self.load.light(),
            by_slot: false,
            is_solo: false,
            crash_in_step_permille: 0,
            sync_us: 0,
            chaos_us: chance.between(40, 100) * 1_000_000,
            fault_us: chance.skewed(1_000_000, 8_000_000),
            fault_odds: draw_odds_in(chance, worlds),
            crash_in_snapshot_percent: 0,
            cut_percent: *chance.pick(&[0, 0, 10]),
            refusal_percent: *chance.pick(&[0, 0, 5, 20]),
            short_read_percent: *chance.pick(&[0, 0, 20]),
            short_write_percent: *chance.pick(&[0, 0, 20]),
            mirrors: false,
            awaits_saves: false,
            restart_us: *chance.pick(&[5_000_000, 20_000_000, 60_000_000]),
            ..self
        }
    }
}

/// The settings of a node in such a world: its stream stays known while somebody arranges.
pub(crate) fn arranged_settings(
    chance: &mut Chance,
    usual: &Config,
    node: usize,
    password: Option<&str>,
) -> Config {
    let mut config = settings(chance, usual, node);
    config.repl_backlog_ttl = 3600;
    config.client_output_buffer_limit.replica = Default::default();
    if let Some(password) = password {
        set_password(&mut config, password);
    }
    config
}

fn settings(chance: &mut Chance, usual: &Config, node: usize) -> Config {
    let mut config = usual.clone();
    config.databases = 8;
    config.protected_mode = false;
    config.enable_debug_command = ProtectedAction::Yes;
    config.enable_protected_configs = ProtectedAction::Yes;
    config.min_replicas_to_write = u32::from(chance.one_in(12));
    config.port = PORT;
    config.repl_diskless_sync = chance.percent(60);
    config.repl_diskless_sync_delay = *chance.pick(&[0, 0, 1, 2]);
    config.repl_diskless_sync_max_replicas = *chance.pick(&[0, 1, 2]);
    config.repl_ping_replica_period = chance.between(1, 5) as _;
    config.repl_timeout = chance.between(4, 15) as _;
    // Not the smallest: the recorder reads a history from the backlog, which has to keep what one turn writes.
    config.repl_backlog_size = chance.skewed(64 << 10, 1 << 20);
    config.repl_backlog_ttl = *chance.pick(&[0, 5, 3600]);
    config.replica_serve_stale_data = chance.percent(80);
    config.rdbcompression = chance.percent(70);
    config.rdbchecksum = chance.percent(80);
    // Nodes may differ in this: what is small for one is large for its replica.
    config.hash_max_listpack_entries = match chance.below(4) {
        0 => config.hash_max_listpack_entries,
        _ => chance.skewed(1, 200),
    };
    if chance.percent(20) {
        config.hash_max_listpack_value = chance.skewed(1, 100);
    }
    config.stop_writes_on_bgsave_error = chance.percent(50);
    // Else a replica whose disk fails ends by itself, which counts as a failure here.
    config.replica_ignore_disk_write_errors = true;
    config.shutdown_timeout = *chance.pick(&[0, 3, 10]);
    if chance.percent(15) {
        // Replicas that take long are let go, perhaps in the middle of a full synchronisation.
        let hard_bytes = chance.skewed(20_000, 2_000_000);
        let soft_bytes = hard_bytes / chance.between(1, 4);
        let limit = OutputLimit { hard_bytes, soft_bytes, soft_seconds: chance.between(1, 3) };
        config.client_output_buffer_limit.replica = limit;
    }
    config.save = SavePoints(match chance.below(3) {
        0 => Vec::new(),
        _ => vec![SavePoint { seconds: chance.between(3, 40), changes: chance.skewed(1, 300) }],
    });
    if node > 0 {
        // A star, a chain, or something between.
        let master = chance.index(node);
        config.replicaof = Some(address(master));
    }
    config
}

/// With a password for clients and replicas.
fn set_password(config: &mut Config, password: &str) {
    let words: [(&[u8], &[u8]); 2] =
        [(b"requirepass", password.as_bytes()), (b"masterauth", password.as_bytes())];
    let context = SetContext { loading: false, is_local: true };
    let set = config.set(&words, context);
    debug_assert!(set.is_ok(), "both can be set: {set:?}");
}

/// With an append-only file.
fn append_only(chance: &mut Chance, config: &mut Config) {
    config.appendonly = true;
    config.appendfsync = *chance.pick(&POLICIES);
    config.aof_timestamp_enabled = chance.percent(30);
    config.aof_checksum = chance.percent(85);
    config.aof_use_rdb_preamble = chance.percent(60);
    config.no_appendfsync_on_rewrite = chance.percent(25);
    config.auto_aof_rewrite_percentage = *chance.pick(&[0, 20, 100, 100]);
    config.auto_aof_rewrite_min_size = chance.skewed(1000, 300_000);
    // Else a flipped bit in a base may be a wrong value.
    config.rdbchecksum = true;
}

/// How a configuration names a node as master.
pub fn address(node: usize) -> MasterAddress {
    MasterAddress { host: host_name(node).into_bytes(), port: PORT }
}
