//! What a seed decides of a world with Sentinels: who watches whom, with which settings.
//!
//! ```text
//!   data nodes:  m0 and its replicas · m1 and its replicas · … · a stranger     then the Sentinels, each of which watches m0, m1, …
//! ```
//!
//! The stranger is a server with data of its own that no Sentinel watches: operators make a replica follow it by mistake.

use russet_engine::command::table::CommandTable;
use russet_engine::config::Config;
use russet_engine::config::words::MasterAddress;

use crate::chance::Chance;
use crate::coverage::Worlds;
use crate::plan::{PORT, Plan, arranged_settings, host_address};
use crate::stock::{self, Stock};

/// The file of a Sentinel's configuration and state.
pub const SENTINEL_FILE: &str = "sentinel.conf";

/// Most pairs of a Sentinel and a server in a world: they are what a seed costs.
const PAIRS_MAX: usize = 40;

/// Priority of a replica that must not be promoted.
pub const NEVER: u32 = 0;

/// See the module.
#[derive(Clone, Debug)]
pub struct SentinelPlan {
    /// How many Sentinels there are.
    pub count: usize,
    /// How many must agree that a master is down.
    pub quorum: usize,
    /// The servers of each master; the first one is the master at the beginning.
    pub groups: Vec<Vec<usize>>,
    /// A server that no Sentinel watches.
    pub stranger: Option<usize>,
    /// What each process, server or Sentinel, knows beyond older stock programs.
    pub stock: Vec<Stock>,
    /// `down-after-milliseconds`.
    pub down_after_ms: u64,
    /// `failover-timeout`.
    pub failover_timeout_ms: u64,
    /// `parallel-syncs`.
    pub parallel_syncs: u64,
    /// Kill so many in a hundred Sentinels soon after a step of their failover.
    pub crash_in_failover_percent: u64,
    /// So many in a hundred replicas that were chosen cannot be promoted in time.
    pub trouble_choice_percent: u64,
    /// So many in a hundred replicas are stopped as soon as they were promoted.
    pub trouble_promoted_percent: u64,
}

impl SentinelPlan {
    fn draw(chance: &mut Chance) -> SentinelPlan {
        let count = *chance.pick(&[3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 1, 2, 4, 7, 9]);
        let quorum = match chance.percent(75) {
            true => count / 2 + 1,
            false => chance.between(1, count as u64) as usize,
        };
        let masters = *chance.pick(&[1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 5]);
        let (mut groups, mut next) = (Vec::new(), 0);
        for _ in 0..masters {
            let replicas = *chance.pick(&[1, 1, 2, 2, 2, 2, 3, 3, 0, 5]);
            if (next + 1 + replicas) * count > PAIRS_MAX && !groups.is_empty() {
                break;
            }
            groups.push((next..=next + replicas).collect());
            next += replicas + 1;
        }
        let stranger = chance.percent(30).then_some(next);
        let processes = next + usize::from(stranger.is_some()) + count;
        SentinelPlan {
            count,
            quorum,
            groups,
            stranger,
            stock: stock::draw(chance, processes),
            down_after_ms: chance.skewed(800, 5000),
            failover_timeout_ms: chance.skewed(2000, 12_000),
            parallel_syncs: chance.between(1, 3),
            crash_in_failover_percent: *chance.pick(&[0, 0, 10, 30]),
            trouble_choice_percent: *chance.pick(&[0, 0, 10, 30]),
            trouble_promoted_percent: *chance.pick(&[0, 0, 0, 50]),
        }
    }

    /// The group of a server.
    pub fn group_of(&self, node: usize) -> Option<usize> {
        self.groups.iter().position(|group| group.contains(&node))
    }

    /// The name of a group's master.
    pub fn name(group: usize) -> String {
        format!("m{group}")
    }

    /// The group whose master has a name.
    pub fn group_named(&self, name: &str) -> Option<usize> {
        let group = name.strip_prefix('m')?.parse().ok()?;
        (group < self.groups.len()).then_some(group)
    }

    /// The configuration that a Sentinel is given first.
    pub fn text(&self, password: Option<&str>) -> String {
        let mut text = format!("port {PORT}\n");
        for (group, servers) in self.groups.iter().enumerate() {
            let (name, host) = (SentinelPlan::name(group), host_address(servers[0]));
            let SentinelPlan { quorum, down_after_ms, failover_timeout_ms, parallel_syncs, .. } =
                self;
            text += &format!(
                "sentinel monitor {name} {host} {PORT} {quorum}\n\
                 sentinel down-after-milliseconds {name} {down_after_ms}\n\
                 sentinel failover-timeout {name} {failover_timeout_ms}\n\
                 sentinel parallel-syncs {name} {parallel_syncs}\n"
            );
            if let Some(password) = password {
                text += &format!("sentinel auth-pass {name} \"{password}\"\n");
            }
        }
        text
    }
}

impl Plan {
    /// Draws the plan of a world with Sentinels.
    pub fn draw_with_sentinels(chance: &mut Chance, usual: &Config, known: &CommandTable) -> Plan {
        let plan = SentinelPlan::draw(chance);
        let of_data = Plan::draw(chance, usual, known);
        let servers = plan.groups.iter().map(Vec::len).sum::<usize>();
        let nodes = servers + usize::from(plan.stranger.is_some());
        let mut configs: Vec<Config> = (0..nodes)
            .map(|node| arranged_settings(chance, usual, node, of_data.password))
            .collect();
        for (node, config) in configs.iter_mut().enumerate() {
            let group = plan.group_of(node).map(|group| plan.groups[group][0]);
            config.replicaof = group.filter(|&master| master != node).map(|master| MasterAddress {
                host: host_address(master).into_bytes(),
                port: PORT,
            });
            config.replica_priority = *chance.pick(&[100, 100, 100, 100, 10, NEVER]);
        }
        Plan {
            configs,
            clients: chance.between(1, 2) as usize,
            think_us: chance.skewed(500_000, 4_000_000),
            sentinels: Some(plan),
            ..of_data.arranged(chance, Worlds::Sentinels)
        }
    }
}
