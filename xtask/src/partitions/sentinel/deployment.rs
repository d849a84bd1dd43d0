//! Three servers and three Sentinels, one of each on a machine.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use russet_e2e::server::Folder;
use russet_e2e::{Program, Value};

use crate::partitions::network::Site;
use crate::partitions::process::{self, Process, site_of};
use crate::sh::Result;

/// Servers, and Sentinels.
pub const COUNT: usize = 3;

/// The master's name for Sentinels.
pub const NAME: &str = "lab";

/// Sentinels that must agree.
pub const QUORUM: usize = 2;

/// Time after which a silent peer is down.
const DOWN_AFTER_MS: u32 = 1000;

/// `failover-timeout`: a Sentinel that has voted waits twice as long before it tries itself.
const FAILOVER_TIMEOUT_MS: u32 = 3000;

/// What runs on the machines.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The servers' program.
    pub server: Program,
    /// The program of each Sentinel, which is started with a configuration file.
    pub sentinels: [Program; COUNT],
}

/// The processes: server and Sentinel of the same index are on the same machine.
pub struct Deployment {
    /// The first one is the first master.
    pub servers: Vec<Process>,
    /// All monitor [`NAME`].
    pub sentinels: Vec<Process>,
    /// Removed after the processes have ended.
    folder: Folder,
}

impl Deployment {
    /// Starts all of them, on `sites` or all on this machine.
    pub fn start(programs: &Programs, sites: &[Site]) -> Result<Deployment> {
        let mut deployment =
            Deployment { servers: vec![], sentinels: vec![], folder: Folder::new() };
        for machine in 0..COUNT {
            deployment.start_server(&programs.server, site_of(sites, machine), machine)?;
        }
        for (machine, program) in programs.sentinels.iter().enumerate() {
            deployment.start_sentinel(program, site_of(sites, machine), machine)?;
        }
        Ok(deployment)
    }

    /// The server with this address.
    pub fn server_at(&self, address: SocketAddrV4) -> Option<usize> {
        self.servers.iter().position(|server| server.address() == address)
    }

    /// The addresses of all Sentinels.
    pub fn sentinel_addresses(&self) -> Vec<SocketAddrV4> {
        self.sentinels.iter().map(Process::address).collect()
    }

    /// Starts a killed server as a replica of another one.
    pub fn start_as_replica(&mut self, server: usize, master: usize) -> Result {
        let master = self.servers[master].address();
        let words = ["--replicaof".into(), master.ip().to_string(), master.port().to_string()];
        self.servers[server].start(&words)
    }

    /// The index of the master, if all agree: all Sentinels name it, in the same configuration epoch, it is a master, and
    /// all other servers are connected to it as replicas. Otherwise the reason why not.
    pub fn agreed(&self) -> Result<usize> {
        let claims = self.sentinels.iter().map(claim).collect::<Result<Vec<_>>>()?;
        if claims.iter().any(|claim| *claim != claims[0]) {
            return Err(format!("Sentinels disagree: {claims:?}"));
        }
        let (address, _) = claims[0];
        let master = self.server_at(address).ok_or_else(|| format!("{address} is unknown"))?;
        for (index, server) in self.servers.iter().enumerate() {
            check_role(server, (index != master).then_some(address))?;
        }
        Ok(master)
    }

    /// The same if also all Sentinels know that: they see nobody down, and all replicas connected. That is the state from
    /// which a failover succeeds; Sentinels that ask servers every ten seconds reach it later.
    pub fn settled(&self) -> Result<usize> {
        let master = self.agreed()?;
        for sentinel in &self.sentinels {
            check_view(sentinel, self.servers[master].address())?;
        }
        Ok(master)
    }

    /// The end of all logs, for a failure that has to be understood.
    pub fn logs(&self) -> String {
        process::logs(self.servers.iter().chain(&self.sentinels))
    }

    fn start_server(&mut self, program: &Program, site: Site, machine: usize) -> Result {
        let mut conf = "save \"\"\nrepl-diskless-sync-delay 0\n".to_owned();
        if let Some(master) = self.servers.first() {
            let master = master.address();
            conf += &format!("replicaof {} {}\n", master.ip(), master.port());
        }
        let folder = self.folder.path().join(format!("server{machine}"));
        let server = Process::launch(program, site, &folder, 6379, &conf)?;
        self.servers.push(server);
        Ok(())
    }

    fn start_sentinel(&mut self, program: &Program, site: Site, machine: usize) -> Result {
        let master = self.servers[0].address();
        let conf = format!(
            "sentinel monitor {NAME} {} {} {QUORUM}\n\
             sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT_MS}\n",
            master.ip(),
            master.port()
        );
        let folder = self.folder.path().join(format!("sentinel{machine}"));
        let sentinel = Process::launch(program, site, &folder, 26379, &conf)?;
        self.sentinels.push(sentinel);
        Ok(())
    }
}

/// The master that a Sentinel names, and its configuration epoch.
fn claim(sentinel: &Process) -> Result<(SocketAddrV4, String)> {
    let named = address_in(&sentinel.ask(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}"))?);
    let address = named.ok_or_else(|| format!("{} names no master", sentinel.address()))?;
    let master = pairs(&sentinel.ask(&format!("SENTINEL MASTER {NAME}"))?);
    Ok((address, field(&master, "config-epoch")))
}

/// Checks that a Sentinel knows all others, none of them down, and both replicas, connected to the master.
fn check_view(sentinel: &Process, master: SocketAddrV4) -> Result {
    let me = sentinel.address();
    let own = pairs(&sentinel.ask(&format!("SENTINEL MASTER {NAME}"))?);
    if field(&own, "flags") != "master" {
        return Err(format!("{me} sees the master as {}", field(&own, "flags")));
    }
    for (subject, count) in [("SENTINELS", "num-other-sentinels"), ("REPLICAS", "num-slaves")] {
        let reply = sentinel.ask(&format!("SENTINEL {subject} {NAME}"))?;
        let Value::Array(rows) = reply else { return Err(format!("{me}: {reply:?}")) };
        if rows.len() != COUNT - 1 || field(&own, count) != rows.len().to_string() {
            return Err(format!("{me} knows {} {subject}", rows.len()));
        }
        for row in rows.iter().map(pairs) {
            let flags = field(&row, "flags");
            let follows = format!("{}:{}", field(&row, "master-host"), field(&row, "master-port"));
            let is_linked =
                field(&row, "master-link-status") == "ok" && follows == master.to_string();
            if flags != "sentinel" && !(flags == "slave" && is_linked) {
                return Err(format!("{me} sees {} as {flags} of {follows}", field(&row, "name")));
            }
        }
    }
    Ok(())
}

fn field(pairs: &BTreeMap<String, String>, name: &str) -> String {
    pairs.get(name).cloned().unwrap_or_default()
}

/// Checks the role that a server itself reports: of a replica of `master`, or of a master.
fn check_role(server: &Process, master: Option<SocketAddrV4>) -> Result {
    let reply = server.ask("ROLE")?;
    let Value::Array(role) = &reply else { return Err(format!("{}: {reply:?}", server.address())) };
    let text = |at: usize| role.get(at).map(Value::text).unwrap_or_default();
    let is_right = match master {
        None => text(0) == "master",
        Some(master) => {
            text(0) == "slave"
                && format!("{}:{}", text(1), text(2)) == master.to_string()
                && text(3) == "connected"
        }
    };
    let role: Vec<String> = (0..4).map(text).collect();
    if is_right { Ok(()) } else { Err(format!("{} is {}", server.address(), role.join(" "))) }
}

/// Names and values of a reply of SENTINEL MASTER, or of an element of a list of such.
pub fn pairs(reply: &Value) -> BTreeMap<String, String> {
    let words: Vec<String> = match reply {
        Value::Array(items) => items.iter().map(Value::text).collect(),
        Value::Map(pairs) => pairs.iter().flat_map(|(a, b)| [a.text(), b.text()]).collect(),
        _ => vec![],
    };
    words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// The address in a reply of SENTINEL GET-MASTER-ADDR-BY-NAME.
pub fn address_in(reply: &Value) -> Option<SocketAddrV4> {
    let Value::Array(items) = reply else { return None };
    let [host, port] = &items[..] else { return None };
    format!("{}:{}", host.text(), port.text()).parse().ok()
}
