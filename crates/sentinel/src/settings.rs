//! The configuration of a Sentinel, as lines of its file: `sentinel monitor mymaster 127.0.0.1 6379 2`.
//!
//! The same lines hold the state that must survive a restart: its id, epochs, the replicas and Sentinels that it knows.
//! [`Settings::parse`] reads them, whatever their order; `state.rs` writes them. Stock Sentinels read and write the same
//! lines, except those of features of ours, which are only written if they are used.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Length of a Sentinel's id: 40 hexadecimal digits.
pub const ID_LEN: usize = 40;

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
        }
    }

    /// Returns the name of a command on this master's servers.
    pub(crate) fn command<'a>(&'a self, name: &'a str) -> &'a str {
        self.renamed.get(name).map_or(name, String::as_str)
    }
}

const NO_MASTER: &str = "No such master with specified name.";
const NO_TIME: &str = "negative or zero time parameter.";

/// Statements that must be known before a master is.
const FIRST: &[&str] = &[
    "announce-ip",
    "announce-port",
    "deny-scripts-reconfig",
    "sentinel-user",
    "sentinel-pass",
    "current-epoch",
    "myid",
    "resolve-hostnames",
    "announce-hostnames",
];

impl Settings {
    /// Parses the words of these lines, each without the leading `sentinel`.
    pub fn parse(lines: &[Vec<Vec<u8>>]) -> Result<Settings, LineError> {
        let mut settings = Settings {
            my_id: None,
            current_epoch: 0,
            globals: Globals::default(),
            masters: Vec::new(),
        };
        for stage in 0..3 {
            for (index, words) in lines.iter().enumerate() {
                let words: Vec<String> =
                    words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                if stage_of(&words) == stage {
                    settings
                        .statement(&words)
                        .map_err(|reason| LineError { line: index, reason: reason.to_owned() })?;
                }
            }
        }
        Ok(settings)
    }

    fn statement(&mut self, words: &[&str]) -> Result<(), &'static str> {
        let name = words.first().copied().unwrap_or_default().to_ascii_lowercase();
        match (name.as_str(), &words[1.min(words.len())..]) {
            ("monitor", [name, host, port, quorum]) => self.monitor(name, host, port, quorum),
            ("myid", [id]) => {
                if id.len() != ID_LEN || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    return Err("Malformed Sentinel id in myid option.");
                }
                self.my_id = Some((*id).to_owned());
                Ok(())
            }
            ("current-epoch", [epoch]) => {
                self.current_epoch = self.current_epoch.max(parse_epoch(epoch)?);
                Ok(())
            }
            (
                "announce-ip"
                | "announce-port"
                | "deny-scripts-reconfig"
                | "sentinel-user"
                | "sentinel-pass"
                | "resolve-hostnames"
                | "announce-hostnames",
                [value],
            ) => self.globals.set(&name, value),
            (_, [master, arguments @ ..])
                if !arguments.is_empty() && is_master_statement(&name) =>
            {
                let globals = &self.globals;
                let current_epoch = &mut self.current_epoch;
                let master = self.masters.iter_mut().find(|known| known.name == *master);
                let master = master.ok_or(NO_MASTER)?;
                master.statement(globals, &name, arguments)?;
                *current_epoch = (*current_epoch).max(master.config_epoch);
                Ok(())
            }
            _ => Err("Unrecognized sentinel configuration statement."),
        }
    }

    fn monitor(
        &mut self,
        name: &str,
        host: &str,
        port: &str,
        quorum: &str,
    ) -> Result<(), &'static str> {
        let quorum = quorum.parse::<u32>().ok().filter(|&quorum| quorum > 0);
        let quorum = quorum.ok_or("Quorum must be 1 or greater.")?;
        self.globals.check_host(host)?;
        let port = parse_port(port)?;
        if self.masters.iter().any(|known| known.name == name) {
            return Err("Duplicate master name.");
        }
        self.masters.push(MasterSettings::new(name, host, port, quorum));
        Ok(())
    }
}

impl Globals {
    /// Sets a statement of one value.
    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let text = Some(value.to_owned()).filter(|value| !value.is_empty());
        match name {
            "announce-ip" => self.announce_ip = text,
            "announce-port" => self.announce_port = parse_port(value)?,
            "sentinel-user" => self.sentinel_user = text,
            "sentinel-pass" => self.sentinel_pass = text,
            "deny-scripts-reconfig" => {
                let error = "Please specify yes or no for the deny-scripts-reconfig options.";
                self.deny_scripts_reconfig = yes_or_no(value).ok_or(error)?;
            }
            "resolve-hostnames" => {
                let error = "Please specify yes or no for the resolve-hostnames option.";
                self.resolve_hostnames = yes_or_no(value).ok_or(error)?;
            }
            _ => {
                let error = "Please specify yes or no for the announce-hostnames option.";
                self.announce_hostnames = yes_or_no(value).ok_or(error)?;
            }
        }
        Ok(())
    }

    /// Checks that a host may be used: a name only if names are allowed.
    pub(crate) fn check_host(&self, host: &str) -> Result<(), &'static str> {
        let is_name = self.resolve_hostnames && is_host_name(host);
        let is_known = host.parse::<IpAddr>().is_ok() || is_name;
        is_known.then_some(()).ok_or("Can't resolve instance hostname.")
    }
}

fn is_master_statement(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "down-after-milliseconds",
        "failover-timeout",
        "parallel-syncs",
        "notification-script",
        "client-reconfig-script",
        "auth-pass",
        "auth-user",
        "config-epoch",
        "leader-epoch",
        "known-replica",
        "known-slave",
        "known-sentinel",
        "rename-command",
        "primary-reboot-down-after-period",
        "master-reboot-down-after-period",
        "replica-forget-after",
        "sentinel-forget-after",
    ];
    NAMES.contains(&name)
}

impl MasterSettings {
    fn statement(
        &mut self,
        globals: &Globals,
        name: &str,
        arguments: &[&str],
    ) -> Result<(), &'static str> {
        match (name, arguments) {
            ("down-after-milliseconds", [ms]) => {
                self.down_after_ms = parse_ms(ms).ok_or(NO_TIME)?
            }
            ("failover-timeout", [ms]) => self.failover_timeout_ms = parse_ms(ms).ok_or(NO_TIME)?,
            ("parallel-syncs", [count]) => {
                self.parallel_syncs = count.parse().map_err(|_| "Invalid parallel-syncs.")?;
            }
            ("notification-script", [path]) => self.notification_script = Some((*path).to_owned()),
            ("client-reconfig-script", [path]) => {
                self.client_reconfig_script = Some((*path).to_owned())
            }
            ("auth-pass", [password]) => self.auth_pass = Some((*password).to_owned()),
            ("auth-user", [user]) => self.auth_user = Some((*user).to_owned()),
            ("config-epoch", [epoch]) => self.config_epoch = parse_epoch(epoch)?,
            ("leader-epoch", [epoch]) => self.leader_epoch = parse_epoch(epoch)?,
            ("known-replica" | "known-slave", [host, port]) => {
                self.known_replica(globals, host, port)?
            }
            ("known-sentinel", [_, _]) => {} // The form before Redis 3, without an id.
            ("known-sentinel", [host, port, id]) => self.known_sentinel(globals, host, port, id)?,
            ("rename-command", [command, renamed]) => {
                let old = self.renamed.insert(command.to_ascii_uppercase(), (*renamed).to_owned());
                if old.is_some() {
                    return Err("Same command renamed multiple times with rename-command.");
                }
            }
            ("primary-reboot-down-after-period" | "master-reboot-down-after-period", [ms]) => {
                self.reboot_down_after_ms = ms.parse().map_err(|_| "negative time parameter.")?;
            }
            ("replica-forget-after", [ms]) => {
                self.replica_forget_after_ms =
                    ms.parse().map_err(|_| "negative time parameter.")?;
            }
            ("sentinel-forget-after", [ms]) => {
                self.sentinel_forget_after_ms =
                    ms.parse().map_err(|_| "negative time parameter.")?;
            }
            _ => return Err("Unrecognized sentinel configuration statement."),
        }
        Ok(())
    }

    fn known_replica(
        &mut self,
        globals: &Globals,
        host: &str,
        port: &str,
    ) -> Result<(), &'static str> {
        globals.check_host(host)?;
        let known = KnownReplica { host: host.to_owned(), port: parse_port(port)? };
        if self.known_replicas.contains(&known) {
            return Err("Duplicate hostname and port for replica.");
        }
        self.known_replicas.push(known);
        Ok(())
    }

    fn known_sentinel(
        &mut self,
        globals: &Globals,
        host: &str,
        port: &str,
        id: &str,
    ) -> Result<(), &'static str> {
        globals.check_host(host)?;
        let known =
            KnownSentinel { host: host.to_owned(), port: parse_port(port)?, id: id.to_owned() };
        if self.known_sentinels.iter().any(|other| other.id == known.id) {
            return Err("Duplicate runid for sentinel.");
        }
        self.known_sentinels.push(known);
        Ok(())
    }
}

/// Returns when a line is read: general statements first, then masters, then what is about a master.
fn stage_of(words: &[&str]) -> usize {
    let name = words.first().copied().unwrap_or_default().to_ascii_lowercase();
    match name.as_str() {
        name if FIRST.contains(&name) => 0,
        "monitor" => 1,
        _ => 2,
    }
}

/// Parses `yes` or `no`.
pub(crate) fn yes_or_no(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// Parses a positive number of milliseconds; a century is enough for everybody's arithmetic.
pub(crate) fn parse_ms(word: &str) -> Option<u64> {
    word.parse().ok().filter(|&ms| ms > 0).map(|ms: u64| ms.min(100 * 365 * 86_400_000))
}

pub(crate) fn parse_port(word: &str) -> Result<u16, &'static str> {
    word.parse().map_err(|_| "Invalid port number.")
}

fn parse_epoch(word: &str) -> Result<u64, &'static str> {
    word.parse().map_err(|_| "Invalid epoch.")
}

/// Whether a word could be the name of a host.
fn is_host_name(host: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=255).contains(&host.len()) && host.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, LineError> {
        let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        Settings::parse(&text.lines().map(words).collect::<Vec<_>>())
    }

    #[test]
    fn statements_may_come_in_any_order() {
        let text = "down-after-milliseconds m 500\nknown-sentinel m a.example 26379 x\n\
                    config-epoch m 7\nmonitor m h.example 6379 2\nresolve-hostnames yes";
        let settings = parse(text).unwrap();
        let master = &settings.masters[0];
        assert_eq!((master.down_after_ms, master.quorum, settings.current_epoch), (500, 2, 7));
        assert_eq!(master.known_sentinels[0].host, "a.example");
    }

    #[test]
    fn a_wrong_statement_is_named_by_its_line() {
        let error = |text: &str| {
            let error = parse(text).unwrap_err();
            (error.line, error.reason)
        };
        let first = "monitor m 127.0.0.1 6379 2\n";
        let cases = [
            ("auth-pass m x", NO_MASTER),
            ("monitor n host 6379 2", "Can't resolve instance hostname."),
            ("monitor n 127.0.0.1 65536 2", "Invalid port number."),
            ("monitor n 127.0.0.1 1 0", "Quorum must be 1 or greater."),
            ("failover-timeout m 0", NO_TIME),
            ("myid abc", "Malformed Sentinel id in myid option."),
            ("nonsense", "Unrecognized sentinel configuration statement."),
            (" ", "Unrecognized sentinel configuration statement."),
            ("config-epoch m", "Unrecognized sentinel configuration statement."),
        ];
        for (line, reason) in cases {
            let (text, index) = match reason == NO_MASTER {
                true => (line.to_owned(), 0),
                false => (format!("{first}{line}"), 1),
            };
            assert_eq!(error(&text), (index, reason.to_owned()), "{line}");
        }
    }
}
