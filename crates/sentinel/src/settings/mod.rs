//! The configuration of a Sentinel, as lines of its file: `sentinel monitor mymaster 127.0.0.1 6379 2`.
//!
//! The same lines hold the state that must survive a restart: its id, epochs, the replicas and Sentinels that it knows.
//! Each statement is a row of [`STATEMENTS`]: reading, writing, SENTINEL SET, SENTINEL CONFIG and the documentation derive
//! from it. [`Settings::parse`] reads the lines, whatever their order, and [`Settings::lines`] writes them. Stock Sentinels
//! read and write the same lines, except those of features of ours, which are only written if they are used.

mod read;
mod table;
#[cfg(test)]
mod tests;
mod value;
mod write;

use std::collections::BTreeMap;

pub use read::is_kept_in_comment;
pub use table::{COMMENT, CONFIG, FILE, RECONNECT, RUSSET, SECRET, SET, STATE, STATEMENTS};
pub use table::{Statement, Subject};
pub(crate) use value::{Source, Wrong, parse_ms};

/// Length of a Sentinel's id: 40 hexadecimal digits.
pub const ID_LEN: usize = 40;

/// Length of a replication id.
pub(crate) const LINEAGE_LEN: usize = 40;
/// Replication ids of a master that are remembered.
pub(crate) const LINEAGES_MAX: usize = 4;

/// Default of `down-after-milliseconds`.
pub(crate) const DOWN_AFTER_MS: u64 = 30_000;
/// Default of `failover-timeout`.
pub(crate) const FAILOVER_TIMEOUT_MS: u64 = 180_000;

/// The error of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Its index in the lines given.
    pub line: usize,
    /// The reason, as Redis words it.
    pub reason: String,
}

/// All settings and the state of the last run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its id; none before the first start.
    pub my_id: Option<String>,
    /// The greatest epoch seen.
    pub current_epoch: u64,
    /// Settings that apply to all masters.
    pub globals: Globals,
    /// The monitored masters.
    pub masters: Vec<MasterSettings>,
}

/// Settings that apply to all masters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// Address announced to other Sentinels; none: that of the connection.
    pub announce_ip: Option<String>,
    /// Port announced to other Sentinels; 0: the port it listens on.
    pub announce_port: u16,
    /// Whether SENTINEL SET must not change scripts.
    pub deny_scripts_reconfig: bool,
    /// User for connections to other Sentinels.
    pub sentinel_user: Option<String>,
    /// Password for connections to other Sentinels.
    pub sentinel_pass: Option<String>,
    /// Whether host names are allowed in place of addresses.
    pub resolve_hostnames: bool,
    /// Whether host names are reported in place of addresses.
    pub announce_hostnames: bool,
}

impl Default for Globals {
    fn default() -> Globals {
        Globals {
            announce_ip: None,
            announce_port: 0,
            deny_scripts_reconfig: true,
            sentinel_user: None,
            sentinel_pass: None,
            resolve_hostnames: false,
            announce_hostnames: false,
        }
    }
}

/// A server that is known from the last run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownReplica {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A Sentinel that is known from the last run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSentinel {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Its id.
    pub id: String,
}

/// A history of a master's data that is known from the last run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLineage {
    /// The epoch of the configuration in which it was the master's.
    pub config_epoch: u64,
    /// How many later ones there are.
    pub age: u32,
    /// Its replication id.
    pub id: String,
}

/// Settings and state of a monitored master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterSettings {
    /// Its name.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Sentinels that must agree that it is down.
    pub quorum: u32,
    /// Time without a valid reply after which a server is down, milliseconds.
    pub down_after_ms: u64,
    /// The longest time for a phase of a failover; half of the pause between two attempts. Milliseconds.
    pub failover_timeout_ms: u64,
    /// Replicas that synchronize with a new master at once.
    pub parallel_syncs: u32,
    /// After a restart it may take this long until it answers, milliseconds; 0: no such rule.
    pub reboot_down_after_ms: u64,
    /// A replica that is down for longer and that its master does not list is forgotten, milliseconds; 0: never.
    pub replica_forget_after_ms: u64,
    /// A Sentinel that is down for longer is forgotten, one at a time and only while all others answer, milliseconds;
    /// 0: never.
    pub sentinel_forget_after_ms: u64,
    /// Script for warnings.
    pub notification_script: Option<String>,
    /// Script that tells clients about a new master.
    pub client_reconfig_script: Option<String>,
    /// User for connections to the master and its replicas.
    pub auth_user: Option<String>,
    /// Password for connections to the master and its replicas.
    pub auth_pass: Option<String>,
    /// Commands that have other names on these servers; the keys are in upper case.
    pub renamed: BTreeMap<String, String>,
    /// Epoch of the configuration: the failover that made this server the master.
    pub config_epoch: u64,
    /// Epoch of the last vote.
    pub leader_epoch: u64,
    /// Known replicas.
    pub known_replicas: Vec<KnownReplica>,
    /// Known other Sentinels.
    pub known_sentinels: Vec<KnownSentinel>,
    /// Known histories of its data, the latest first.
    pub known_lineages: Vec<KnownLineage>,
}

impl MasterSettings {
    /// Returns the settings of a master of this name, with defaults.
    pub(crate) fn new(name: &str, host: &str, port: u16, quorum: u32) -> MasterSettings {
        MasterSettings {
            name: name.to_owned(),
            host: host.to_owned(),
            port,
            quorum,
            down_after_ms: DOWN_AFTER_MS,
            failover_timeout_ms: FAILOVER_TIMEOUT_MS,
            parallel_syncs: 1,
            reboot_down_after_ms: 0,
            replica_forget_after_ms: 0,
            sentinel_forget_after_ms: 0,
            notification_script: None,
            client_reconfig_script: None,
            auth_user: None,
            auth_pass: None,
            renamed: BTreeMap::new(),
            config_epoch: 0,
            leader_epoch: 0,
            known_replicas: Vec::new(),
            known_sentinels: Vec::new(),
            known_lineages: Vec::new(),
        }
    }
}
