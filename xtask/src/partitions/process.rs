//! A process on a machine, and connections to it that faults of the network do not affect: they go to the machine's own
//! 127.0.0.1, while its peers know it by the machine's address.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use russet_e2e::{Client, Program, Value, process};
use rustix::process::Signal;

use super::network::Site;
use crate::sh::Result;

/// The timeout of connections for observing. A stopped process does not reply.
const REPLY_MAX: Duration = Duration::from_secs(1);

/// How long a program may take until it replies first.
const START_MAX: Duration = Duration::from_secs(20);

/// Distance of the port of a cluster's bus from that of clients.
const BUS_PORT_OFFSET: u16 = 10_000;

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
    /// Starts a program in a folder of its own, which is created. All on this machine have ports of their own; elsewhere it
    /// is `port`.
    pub fn launch(
        program: &Program,
        site: Site,
        folder: &Path,
        port: u16,
        conf: &str,
    ) -> Result<Process> {
        let is_here = site.address.is_loopback();
        let port = if is_here { free_port()? } else { port };
        let bind = if is_here { "127.0.0.1" } else { "0.0.0.0" };
        let text = format!(
            "port {port}\nbind {bind}\nprotected-mode no\ndir \"{}\"\n{conf}",
            folder.display()
        );
        let file = folder.join("program.conf");
        fs::create_dir(folder).and_then(|()| fs::write(&file, text)).map_err(|e| e.to_string())?;
        let mut process = Process::new(program, Endpoint::new(site, port), file);
        process.start(&[])?;
        Ok(process)
    }

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

/// A port of this machine that is free, and so is that of the bus. Both are below those that outgoing connections get, which
/// could take them while the process does not run.
fn free_port() -> Result<u16> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let ports = std::iter::repeat_with(|| 10_000 + russet_e2e::server::free_port() % 12_000);
    let free = |port: &u16| is_free(*port) && is_free(*port + BUS_PORT_OFFSET);
    ports.take(1_000).find(free).ok_or_else(|| "no port is free".to_owned())
}

/// A machine's site; this machine if there are none.
pub fn site_of(sites: &[Site], machine: usize) -> Site {
    sites.get(machine).cloned().unwrap_or_else(Site::here)
}

/// The last lines of the logs of processes, for a failure that has to be understood.
pub fn logs<'a>(processes: impl Iterator<Item = &'a Process>) -> String {
    processes.map(|p| format!("-- {}\n{}\n", p.address(), p.log_end())).collect()
}
