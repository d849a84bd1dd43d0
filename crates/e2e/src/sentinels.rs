//! The deployment of `examples/sentinel` in a folder of its own, on free ports: four servers in the background and three
//! Sentinels, each started by any program.
//!
//! Ports in the files are the *names* of processes: tests ask for the server 6379 and get the port that stands for it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::client::{Client, Value};
use crate::program::{self, Program};
use crate::server::{Folder, answers, free_port};
use crate::wait::wait_for_within;
use crate::{process, tools};

/// The ports of the servers in the files; the first is that of the master.
pub const SERVERS: [u16; 4] = [6379, 6380, 6381, 6382];

/// The ports of the Sentinels in the files.
pub const SENTINELS: [u16; 3] = [26379, 26380, 26381];

/// Time that Sentinels may need: stock ones look at servers every ten seconds, and retry a failover after twice its timeout.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// How a Sentinel is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launch {
    /// `russet sentinel FILE`
    Command,
    /// `russet server FILE --sentinel`
    Flag,
    /// `redis-sentinel FILE`, a link to ours
    Link,
    /// `redis-server FILE --sentinel`, a link to ours
    LinkWithFlag,
    /// `redis-sentinel FILE`, the installed one
    Stock,
}

impl Launch {
    /// The program and the words after the file.
    fn words(self, bin: &Path) -> (PathBuf, &'static [&'static str], &'static [&'static str]) {
        match self {
            Launch::Command => (bin.join("russet"), &["sentinel"], &[]),
            Launch::Flag => (bin.join("russet"), &["server"], &["--sentinel"]),
            Launch::Link => (bin.join("redis-sentinel"), &[], &[]),
            Launch::LinkWithFlag => (bin.join("redis-server"), &[], &["--sentinel"]),
            Launch::Stock => (program::stock("redis-sentinel"), &[], &[]),
        }
    }
}

/// A copy of the example. Its processes are killed when it is dropped.
pub struct Example {
    folder: Folder,
    /// From ports in the files to those that are used.
    ports: BTreeMap<u16, u16>,
    /// Processes by the port in their files.
    pids: BTreeMap<u16, u32>,
}

impl Example {
    /// Copies the files, each with further lines, and makes `russet` and the links named as stock programs available in
    /// [`Example::bin`]. If the program under test is stock, `russet` is a script that starts it.
    ///
    /// # Panics
    /// If that fails.
    pub fn new(program: &Program, sentinel_lines: &[(&str, &str)]) -> Example {
        let folder = Folder::new();
        let mut ports = BTreeMap::new();
        for port in SERVERS.into_iter().chain(SENTINELS) {
            // Ports in the files stay different from those that are used.
            let free =
                std::iter::repeat_with(free_port).find(|free| !ports.values().any(|p| p == free));
            ports.insert(port, free.expect("a port is free"));
        }
        let example = Example { folder, ports, pids: BTreeMap::new() };
        for (name, text) in files() {
            let text = sentinel_lines.iter().fold(text, |text, (from, to)| text.replace(from, to));
            let path = example.path().join(example.renumber(&name));
            fs::write(path, example.renumber(&text)).expect("the folder is ours");
        }
        example.make_bin(program);
        example
    }

    /// The folder of the files, in which programs run.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of `russet` and its links.
    pub fn bin(&self) -> PathBuf {
        self.path().join("bin")
    }

    /// The port that stands for the one in the files.
    pub fn port(&self, port: u16) -> u16 {
        self.ports[&port]
    }

    /// Replaces all numbers in a text that are ports of the files.
    pub fn renumber(&self, text: &str) -> String {
        let mut replaced = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let digits = &rest[start..];
            let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            let port = digits[..length].parse().ok().and_then(|port: u16| self.ports.get(&port));
            replaced += &rest[..start];
            match port {
                Some(port) => replaced += &port.to_string(),
                None => replaced += &digits[..length],
            }
            rest = &digits[length..];
        }
        replaced + rest
    }

    /// Creates the folders of the data, as the README does.
    ///
    /// # Panics
    /// If that fails.
    pub fn make_folders(&self) {
        for port in self.ports.values() {
            fs::create_dir(self.path().join(port.to_string())).expect("the folder is ours");
        }
    }

    /// Starts a server in the background.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_server(&mut self, port: u16, program: &Program) {
        let mut command = program.command();
        let name = match port {
            6379 => "master".to_owned(),
            _ => format!("replica-{}", self.port(port)),
        };
        // Only to be faster: by default a master waits 5 seconds for more replicas before it sends a snapshot.
        command.arg(format!("{name}.conf")).args(["--repl-diskless-sync-delay", "0"]);
        command.current_dir(self.path());
        let output = tools::run(command, b"");
        assert_eq!(output.code, Some(0), "the foreground process ends well: {output:?}");
        self.find(port);
    }

    /// Starts a Sentinel.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_sentinel(&mut self, port: u16, launch: Launch) {
        let (program, before, after) = launch.words(&self.bin());
        let folder = self.path().join(self.port(port).to_string());
        let log = File::create(folder.join("sentinel.log")).expect("the folder is ours");
        let mut command = Command::new(program);
        command.args(before).arg(format!("sentinel-{}.conf", self.port(port))).args(after);
        command.current_dir(self.path()).stdin(Stdio::null());
        command.stderr(log.try_clone().expect("descriptors are left")).stdout(log);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        self.pids.insert(port, child.id());
        // Reaps it when it is killed.
        std::thread::spawn(move || child.wait());
        self.find(port);
    }

    /// Waits until the process replies, and remembers its id.
    ///
    /// # Panics
    /// If it does not reply.
    pub fn find(&mut self, port: u16) {
        let address = self.address(port);
        let pid = wait_for_within(&format!("{port} names its process"), DEADLINE, || {
            let mut client = Client::connect(address).ok()?;
            let reply = client.try_command(&["INFO", "server"]).ok()?.text();
            let id = reply.lines().find_map(|l| l.strip_prefix("process_id:"))?;
            id.trim().parse().ok().filter(|pid| answers(address, *pid))
        });
        self.pids.insert(port, pid);
    }

    /// Kills a process with SIGKILL and waits until it has ended.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self, port: u16) {
        let pid = self.pids.remove(&port).expect("it runs");
        process::signal(pid, Signal::KILL);
        process::wait_for_end(pid);
    }

    /// The address of a process.
    pub fn address(&self, port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port(port)).into()
    }

    /// Sends a command over a new connection. None if that fails, for example because a Sentinel closes the connections of
    /// clients of a server that it reconfigures.
    pub fn ask(&self, port: u16, words: &str) -> Option<Value> {
        let words: Vec<&str> = words.split(' ').collect();
        Client::connect(self.address(port)).and_then(|mut client| client.try_command(&words)).ok()
    }

    /// The server, by its port in the files, that all Sentinels name as master, once they agree.
    pub fn master(&self) -> Option<u16> {
        let names = SENTINELS.map(|sentinel| {
            let reply = self.ask(sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster")?;
            let Value::Array(items) = reply else { return None };
            items.get(1)?.text().parse::<u16>().ok()
        });
        let port = names[0].filter(|_| names.iter().all(|name| *name == names[0]))?;
        SERVERS.into_iter().find(|server| self.port(*server) == port)
    }

    /// Writes the links, and `russet` itself.
    fn make_bin(&self, program: &Program) {
        let (bin, russet) = (self.bin(), self.bin().join("russet"));
        fs::create_dir(&bin).expect("the folder is ours");
        if *program == Program::Stock {
            fs::write(&russet, SCRIPT).expect("the folder is ours");
            fs::set_permissions(&russet, fs::Permissions::from_mode(0o755)).expect("it is ours");
        } else {
            symlink(program.command().get_program(), &russet).expect("the folder is ours");
        }
        for name in ["redis-server", "redis-sentinel"] {
            // Links to the program and not to each other: a script finds its name in the path that was called.
            let target = fs::canonicalize(&russet).expect("it is there");
            symlink(target, bin.join(name)).expect("the folder is ours");
        }
    }
}

/// `russet` when stock programs are to be tested: `server` and `sentinel` as subcommands or as names of links.
const SCRIPT: &str = r#"#!/bin/sh
name=${0##*/}
if [ "$name" = russet ]; then name="redis-$1"; shift; fi
exec "$(PATH=/usr/bin:/usr/local/bin command -v "$name")" "$@"
"#;

impl Drop for Example {
    fn drop(&mut self) {
        for pid in self.pids.values() {
            process::signal(*pid, Signal::KILL);
        }
        if std::thread::panicking() {
            for (port, used) in &self.ports {
                let folder = self.path().join(used.to_string());
                for name in ["server.log", "sentinel.log"] {
                    let log = fs::read(folder.join(name)).unwrap_or_default();
                    let log = String::from_utf8_lossy(&log);
                    let lines: Vec<&str> = log.lines().collect();
                    let end = lines[lines.len().saturating_sub(30)..].join("\n");
                    if !end.is_empty() {
                        eprintln!("-- log of {port}, here {used}:\n{end}");
                    }
                }
            }
        }
    }
}

/// The configuration files of the example with their names.
fn files() -> Vec<(String, String)> {
    let folder = program::workspace().join("examples/sentinel");
    let files = fs::read_dir(folder).expect("the example is there");
    let paths = files.map(|file| file.expect("it can be read").path());
    let confs = paths.filter(|path| path.extension().is_some_and(|end| end == "conf"));
    let read = |path: PathBuf| {
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("it can be read"))
    };
    confs.map(read).collect()
}
