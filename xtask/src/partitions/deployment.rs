//! Three servers and three Sentinels, one of each on a machine, and connections to them that faults of the network do not
//! affect.
//!
//! Connections for observing go to a machine's own 127.0.0.1. Servers and Sentinels know each other by the
//! machines' addresses.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use russet_e2e::server::{Folder, free_port};
use russet_e2e::{Client, Program, Value, process};
use rustix::process::Signal;

use super::network::Site;
use crate::sh::Result;

/// Servers, and Sentinels.
pub const COUNT: usize = 3;

/// The master's name for Sentinels.
pub const NAME: &str = "lab";

/// Sentinels that must agree.
pub const QUORUM: usize = 2;

/// The timeout of connections for observing. A stopped process does not reply.
const REPLY_MAX: Duration = Duration::from_secs(1);

/// How long a program may take until it replies first.
const START_MAX: Duration = Duration::from_secs(20);

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

/// Where a process is reached.
#[derive(Debug, Clone)]
pub struct Endpoint {
    site: Site,
    port: u16,
}

impl Endpoint {
    /// A port of a machine.
    pub fn new(site: Site, port: u16) -> Endpoint {
        Endpoint { site, port }
    }

    /// Its address for its peers.
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.site.address, self.port)
    }

    /// Connects past all faults.
    pub fn connect(&self) -> Result<Client> {
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        let connected = self.site.within(|| Client::connect_within(address, REPLY_MAX))?;
        connected.map_err(|e| format!("{}: {e}", self.address()))
    }

    /// Sends a command over a new connection.
    pub fn ask(&self, words: &str) -> Result<Value> {
        let words: Vec<&str> = words.split(' ').collect();
        let reply = self.connect()?.try_command(&words);
        reply.map_err(|e| format!("{} to {}: {e}", words.join(" "), self.address()))
    }
}

/// A process with its configuration file.
pub struct Process {
    program: Program,
    /// On the machine's address, and on its 127.0.0.1.
    pub endpoint: Endpoint,
    file: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A process that does not run yet.
    pub fn new(program: &Program, endpoint: Endpoint, file: PathBuf) -> Process {
        Process { program: program.clone(), endpoint, file, child: None }
    }

    /// Its address for its peers.
    pub fn address(&self) -> SocketAddrV4 {
        self.endpoint.address()
    }

    /// Sends a command over a new connection, past all faults.
    pub fn ask(&self, words: &str) -> Result<Value> {
        self.endpoint.ask(words)
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().ok_or("it does not run")?.id())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result {
        process::signal(self.pid()?, signal);
        Ok(())
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) -> Result {
        let mut child = self.child.take().ok_or("it does not run")?;
        child.kill().and_then(|()| child.wait()).map_err(|e| e.to_string())?;
        Ok(())
    }

    /// Starts it with further words for its command line, and waits until it replies.
    pub fn start(&mut self, words: &[String]) -> Result {
        let log = File::options().create(true).append(true).open(self.file.with_extension("log"));
        let log = log.map_err(|e| e.to_string())?;
        let folder = self.file.parent().ok_or("a file is in a folder")?;
        let mut command = self.program.command();
        command.arg(&self.file).args(words).current_dir(folder).stdin(Stdio::null());
        command.stderr(log.try_clone().map_err(|e| e.to_string())?).stdout(log);
        let child = self.endpoint.site.within(|| command.spawn())?;
        self.child = Some(child.map_err(|e| format!("{command:?}: {e}"))?);
        let end = Instant::now() + START_MAX;
        while !matches!(self.ask("PING"), Ok(Value::Status(_))) {
            let child = self.child.as_mut().ok_or("it runs")?;
            let ended = child.try_wait().map_err(|e| e.to_string())?.is_some();
            if ended || Instant::now() > end {
                return Err(format!(
                    "{command:?} does not reply; its log ends with:\n{}",
                    self.log_end()
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        let log = fs::read(self.file.with_extension("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill(); // it may have ended by itself
            let _ = child.wait();
        }
    }
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
        let all = self.servers.iter().chain(&self.sentinels);
        all.map(|p| format!("-- {}\n{}\n", p.address(), p.log_end())).collect()
    }

    fn start_server(&mut self, program: &Program, site: Site, machine: usize) -> Result {
        let mut conf = "save \"\"\nrepl-diskless-sync-delay 0\n".to_owned();
        if let Some(master) = self.servers.first() {
            let master = master.address();
            conf += &format!("replicaof {} {}\n", master.ip(), master.port());
        }
        let server = self.process(program, site, &format!("server{machine}"), 6379, &conf)?;
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
        let name = format!("sentinel{machine}");
        let sentinel = self.process(program, site, &name, 26379, &conf)?;
        self.sentinels.push(sentinel);
        Ok(())
    }

    /// Starts a process. All on one machine have ports of their own.
    fn process(
        &self,
        program: &Program,
        site: Site,
        name: &str,
        port: u16,
        conf: &str,
    ) -> Result<Process> {
        let is_here = site.address.is_loopback();
        let port = if is_here { free_port() } else { port };
        let bind = if is_here { "127.0.0.1" } else { "0.0.0.0" };
        let folder = self.folder.path().join(name);
        let text = format!(
            "port {port}\nbind {bind}\nprotected-mode no\ndir \"{}\"\n{conf}",
            folder.display()
        );
        let file = folder.join("program.conf");
        fs::create_dir(&folder).and_then(|()| fs::write(&file, text)).map_err(|e| e.to_string())?;
        let mut process = Process::new(program, Endpoint::new(site, port), file);
        process.start(&[])?;
        Ok(process)
    }
}

fn site_of(sites: &[Site], machine: usize) -> Site {
    sites.get(machine).cloned().unwrap_or_else(Site::here)
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
