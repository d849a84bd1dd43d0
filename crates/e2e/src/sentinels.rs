//! The deployment of `examples/sentinel` in a folder of its own, on free ports: four servers in the background and three
//! Sentinels, each started by any program.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::client::Value;
use crate::example::Example;
use crate::program::{self, Program};
use crate::server::free_port;
use crate::tools;

/// The ports of the servers in the files; the first is that of the master.
pub const SERVERS: [u16; 4] = [6379, 6380, 6381, 6382];

/// The ports of the Sentinels in the files.
pub const SENTINELS: [u16; 3] = [26379, 26380, 26381];

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

/// A copy of the example.
pub struct Deployment {
    example: Example,
}

impl Deref for Deployment {
    type Target = Example;

    fn deref(&self) -> &Example {
        &self.example
    }
}

impl DerefMut for Deployment {
    fn deref_mut(&mut self) -> &mut Example {
        &mut self.example
    }
}

impl Deployment {
    /// Copies the files with replaced texts; see [`Example::copy`].
    ///
    /// # Panics
    /// If that fails.
    pub fn new(program: &Program, replaced: &[(&str, &str)]) -> Deployment {
        let mut ports = BTreeMap::new();
        for port in SERVERS.into_iter().chain(SENTINELS) {
            // Ports in the files stay different from those that are used.
            let free =
                std::iter::repeat_with(free_port).find(|free| !ports.values().any(|p| p == free));
            ports.insert(port, free.expect("a port is free"));
        }
        Deployment { example: Example::copy("sentinel", ports, program, replaced) }
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
        self.started(port, child.id());
        // Reaps it when it is killed.
        std::thread::spawn(move || child.wait());
        self.find(port);
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
}
