//! Machines as network namespaces, connected by a switch whose ports can be blocked.
//!
//! ```text
//!   machine 0        machine 1        machine 2        machine 3
//!   10.77.0.1        10.77.0.2        10.77.0.3        10.77.0.4
//!      eth0             eth0             eth0             eth0
//!        └── port0        └── port1        └── port2        └── port3
//!      ═════════════════════ switch (a namespace with a bridge) ═════
//! ```
//!
//! A blocked port drops frames in both directions, and no carrier is lost: nobody is told. Programs and connections belong
//! to the namespace of the thread that creates them, so [`Site::within`] starts and reaches what runs on a machine, also
//! over its loopback interface while its port is blocked.

use std::fs::{self, File};
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::sh::{self, Result};

/// Where `ip netns` keeps namespaces.
const NAMESPACES: &str = "/run/netns";

/// A place where programs run: a machine's namespace, or this machine itself.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its address for others.
    pub address: Ipv4Addr,
    namespace: Option<PathBuf>,
}

impl Site {
    /// This machine's loopback.
    pub fn here() -> Site {
        Site { address: Ipv4Addr::LOCALHOST, namespace: None }
    }

    /// Runs `work` in the namespace. Sockets that it opens and programs that it starts stay there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let Some(path) = &self.namespace else { return Ok(work()) };
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| enter(path).map(|()| work()));
            entered.join().map_err(|_| format!("a thread in {} panicked", path.display()))?
        })
    }
}

/// Moves this thread into a namespace.
pub fn enter(path: &Path) -> Result {
    let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|e| format!("{}: {e}", path.display()))
}

/// The machines. Namespaces and interfaces are removed when dropped.
pub struct Network {
    prefix: String,
    sites: Vec<Site>,
    /// `bridge -batch -`: blocks a port in less time than it takes to start a program.
    switch: Child,
    commands: ChildStdin,
}

impl Network {
    /// Creates `count` machines. It needs root and iproute2.
    pub fn new(count: u8) -> Result<Network> {
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root".into());
        }
        remove_abandoned();
        // There may be two at once: one for each side of a comparison.
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("russet-{}-{number}-", std::process::id());
        let switch = format!("{prefix}switch");
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "name", "bridge0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "bridge0", "up"])?;
        let mut sites = vec![];
        for machine in 0..count {
            sites.push(add_machine(&prefix, &switch, machine)?);
        }
        let mut child = Command::new("bridge")
            .args(["-n", &switch, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| format!("bridge: {e}"))?;
        let commands = child.stdin.take().ok_or("bridge has no standard input")?;
        Ok(Network { prefix, sites, switch: child, commands })
    }

    /// A machine.
    pub fn site(&self, machine: usize) -> &Site {
        &self.sites[machine]
    }

    /// Blocks a machine's port: nothing reaches it or leaves it.
    pub fn cut(&mut self, machine: usize) -> Result {
        self.set_port(machine, "0")
    }

    /// Opens a machine's port again.
    pub fn heal(&mut self, machine: usize) -> Result {
        self.set_port(machine, "3")
    }

    /// Switches a machine's own interface on or off, of which its programs learn.
    pub fn set_interface(&self, machine: usize, state: &str) -> Result {
        ip(&["-n", &self.name(machine), "link", "set", "eth0", state])
    }

    /// Replaces a machine's packet filter: lines of a chain of the input hook. None removes it.
    pub fn filter(&self, machine: usize, rules: &[&str]) -> Result {
        let mut script = "flush ruleset\n".to_owned();
        if !rules.is_empty() {
            script += "table inet faults {\nchain in {\ntype filter hook input priority 0\n";
            rules.iter().for_each(|rule| script.extend([rule, "\n"]));
            script += "}\n}\n";
        }
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name(machine), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| format!("ip: {e}"))?;
        let mut stdin = child.stdin.take().ok_or("nft has no standard input")?;
        stdin.write_all(script.as_bytes()).map_err(|e| format!("nft: {e}"))?;
        drop(stdin);
        let status = child.wait().map_err(|e| format!("nft: {e}"))?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("nft (Debian: nftables) failed: {status}"))
        }
    }

    /// Undoes all faults.
    pub fn heal_all(&mut self) -> Result {
        for machine in 0..self.sites.len() {
            self.heal(machine)?;
            self.filter(machine, &[])?;
        }
        Ok(())
    }

    fn name(&self, machine: usize) -> String {
        format!("{}{machine}", self.prefix)
    }

    fn set_port(&mut self, machine: usize, state: &str) -> Result {
        writeln!(self.commands, "link set dev port{machine} state {state}")
            .map_err(|e| format!("bridge (Debian: iproute2): {e}"))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.switch.kill(); // it may have ended by itself
        let _ = self.switch.wait();
        remove(|name| name.starts_with(&self.prefix));
    }
}

fn add_machine(prefix: &str, switch: &str, machine: u8) -> Result<Site> {
    let name = format!("{prefix}{machine}");
    let port = format!("port{machine}");
    let address = Ipv4Addr::new(10, 77, 0, machine + 1);
    ip(&["netns", "add", &name])?;
    let peer = ["type", "veth", "peer", "name", "eth0", "netns", &name];
    ip(&[&["-n", switch, "link", "add", "name", &port][..], &peer].concat())?;
    ip(&["-n", switch, "link", "set", &port, "master", "bridge0", "up"])?;
    ip(&["-n", &name, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
    ip(&["-n", &name, "link", "set", "eth0", "up"])?;
    ip(&["-n", &name, "link", "set", "lo", "up"])?;
    Ok(Site { address, namespace: Some(Path::new(NAMESPACES).join(name)) })
}

/// Removes namespaces of earlier runs that were killed.
fn remove_abandoned() {
    remove(|name| {
        let id = name.strip_prefix("russet-").and_then(|rest| rest.split_once('-'));
        let id = id.and_then(|(id, _)| id.parse::<u32>().ok());
        id.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists())
    });
}

fn remove(is_chosen: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_chosen(&name)
            && let Err(error) = ip(&["netns", "delete", &name])
        {
            eprintln!("{error}");
        }
    }
}

fn ip(arguments: &[&str]) -> Result {
    sh::run(sh::command("ip", arguments))
}
