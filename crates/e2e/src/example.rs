//! A copy of one of the folders in `examples/`, on free ports, and its README: its commands can be typed as they are there.
//!
//! Ports in the files are the *names* of processes: tests ask for the server 6379 and get the port that stands for it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::client::{Client, Value};
use crate::program::{self, Program};
use crate::server::{Folder, answers};
use crate::wait::wait_for_within;
use crate::{process, tools};

/// Time that a command of a README may need to print what it should: failovers wait for timeouts.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A copy of an example. Its processes are killed when it is dropped.
pub struct Example {
    folder: Folder,
    /// From ports in the files to those that are used.
    ports: BTreeMap<u16, u16>,
    /// Processes by the port in their files.
    pids: BTreeMap<u16, u32>,
}

impl Example {
    /// Copies the configuration files of `examples/NAME`, with other ports and replaced texts, and makes `russet` and links
    /// named as stock programs available in [`Example::bin`]. If the program under test is stock, `russet` is a script that
    /// starts it.
    ///
    /// # Panics
    /// If that fails.
    pub fn copy(
        name: &str,
        ports: BTreeMap<u16, u16>,
        program: &Program,
        replaced: &[(&str, &str)],
    ) -> Example {
        let example = Example { folder: Folder::new(), ports, pids: BTreeMap::new() };
        for (name, text) in files(name) {
            let text = replaced.iter().fold(text, |text, (from, to)| text.replace(from, to));
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

    /// Remembers a process that the test has started.
    pub fn started(&mut self, port: u16, pid: u32) {
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

    /// Runs a command as typed in a terminal, in which redis-cli shows the types of replies, and returns what it prints.
    pub fn type_command(&self, command: &str) -> String {
        let command = self.renumber(command);
        let typed = match command.strip_prefix("redis-cli ") {
            Some(rest) if !rest.contains(" info ") && !rest.starts_with("--cluster") => {
                format!("redis-cli --no-raw {rest}")
            }
            _ => command,
        };
        let path = std::env::var("PATH").expect("there is a PATH");
        let mut shell = Command::new("sh");
        shell.args(["-c", &typed]).current_dir(self.path());
        shell.env("PATH", format!("{}:{path}", self.bin().display()));
        let output = tools::run(shell, b"");
        without_colours(&(output.out + &output.err)).replace('\r', "")
    }

    /// Runs a command until it prints what the README says, if that says anything: what servers do takes time.
    ///
    /// # Panics
    /// If it does not.
    pub fn run_until(&self, command: &str, expected: &[String], is_good: impl Fn(&str) -> bool) {
        if expected.is_empty() {
            assert_eq!(self.type_command(command), "", "{command}");
            return;
        }
        let expected: Vec<String> = expected.iter().map(|line| self.renumber(line)).collect();
        let mut printed = String::new();
        let what = format!("{command} prints\n{}", expected.join("\n"));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for_within(&what, DEADLINE, || {
                printed = self.type_command(command);
                (is_like(&printed, &expected) && is_good(&printed)).then_some(())
            });
        }));
        if let Err(panic) = ended {
            eprintln!("it has printed\n{printed}");
            std::panic::resume_unwind(panic);
        }
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

/// The commands of an example's README with their output, in which `…` stands for anything, and a line of it for any lines.
///
/// # Panics
/// If the README is not there, or if it has output without a command.
pub fn readme_commands(name: &str) -> Vec<(String, Vec<String>)> {
    let path = program::workspace().join("examples").join(name).join("README.md");
    let text = fs::read_to_string(path).expect("README is there");
    // Every second part is a block; those of other languages do not begin with a line break.
    let blocks = text.split("```").skip(1).step_by(2).filter(|block| block.starts_with('\n'));
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in blocks.flat_map(str::lines).filter(|line| !line.is_empty()) {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), vec![])),
            (None, Some((_, output))) => output.push(line.to_owned()),
            (None, None) => panic!("output without a command: {line}"),
        }
    }
    commands
}

/// Whether the output is the expected one.
fn is_like(output: &str, expected: &[String]) -> bool {
    let mut lines = output.lines();
    let mut skips = false;
    expected.iter().all(|expected| {
        if expected == "…" {
            skips = true;
            return true;
        }
        let (start, end) = expected.split_once('…').unwrap_or((expected, ""));
        let is_exact = !expected.contains('…');
        let fits = |line: &str| {
            if is_exact { line == start } else { line.starts_with(start) && line.ends_with(end) }
        };
        if std::mem::take(&mut skips) { lines.any(fits) } else { lines.next().is_some_and(fits) }
    })
}

/// Removes the codes for colours, which redis-cli prints also when nobody sees them.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// The configuration files of an example with their names.
fn files(name: &str) -> Vec<(String, String)> {
    let folder = program::workspace().join("examples").join(name);
    let files = fs::read_dir(folder).expect("the example is there");
    let paths = files.map(|file| file.expect("it can be read").path());
    let confs = paths.filter(|path| path.extension().is_some_and(|end| end == "conf"));
    let read = |path: PathBuf| {
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("it can be read"))
    };
    confs.map(read).collect()
}
