//! A cluster of servers, each of any program, put together by stock `redis-cli`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Duration;

use crate::client::{Client, Value};
use crate::program::{Program, stock};
use crate::server::{Server, Setup};
use crate::tools::{self, Output};
use crate::wait::wait_for_within;

/// Time that a cluster may need: stock nodes retry an election after four node timeouts.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Distance of the bus' port from that of clients.
const BUS_PORT_OFFSET: u16 = 10_000;

/// `cluster-node-timeout` of tests, milliseconds.
const NODE_TIMEOUT_MS: u32 = 2_000;

/// The nodes. They are killed when it is dropped.
pub struct Nodes {
    servers: Vec<Server>,
}

/// Returns a port that is free, and so is that of the bus.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let ports = std::iter::repeat_with(crate::server::free_port);
    // Both below the ports that outgoing connections get.
    let lower = ports.map(|port| 10_000 + port % 12_000);
    let mut free =
        lower.take(1_000).filter(|&port| is_free(port) && is_free(port + BUS_PORT_OFFSET));
    free.next().expect("some port is free")
}

fn start(program: &Program, lines: &[&str]) -> Server {
    let setup = Setup::new(program)
        .port(free_port())
        .conf("cluster-enabled yes")
        .conf(&format!("cluster-node-timeout {NODE_TIMEOUT_MS}"))
        .conf("appendonly yes");
    lines.iter().fold(setup, |setup, line| setup.conf(line)).start()
}

impl Nodes {
    /// Starts a node of each program, with further lines in each configuration. They do not know each other.
    ///
    /// # Panics
    /// If one does not start.
    pub fn start(programs: &[&Program], lines: &[&str]) -> Nodes {
        Nodes { servers: programs.iter().map(|program| start(program, lines)).collect() }
    }

    /// Starts a further node, which knows nobody, and returns its number.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_another(&mut self, program: &Program) -> usize {
        self.servers.push(start(program, &[]));
        self.servers.len() - 1
    }

    /// Returns a node.
    pub fn server(&self, node: usize) -> &Server {
        &self.servers[node]
    }

    /// Returns a node.
    pub fn server_mut(&mut self, node: usize) -> &mut Server {
        &mut self.servers[node]
    }

    /// Returns the numbers of all nodes.
    pub fn all(&self) -> std::ops::Range<usize> {
        0..self.servers.len()
    }

    /// Returns the address of a node as `redis-cli --cluster` takes it.
    pub fn address(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.servers[node].port())
    }

    /// Asks a node; none if it is not there.
    pub fn ask(&self, node: usize, command: &str) -> Option<Value> {
        let words: Vec<&str> = command.split(' ').collect();
        Client::connect(self.servers[node].address())
            .and_then(|mut client| client.try_command(&words))
            .ok()
    }

    /// Runs `redis-cli --cluster` with these words.
    pub fn tool(&self, words: &[&str]) -> Output {
        let mut command = Command::new(stock("redis-cli"));
        command.arg("--cluster").args(words);
        // It asks for each kind of change.
        tools::run(command, &b"yes\n".repeat(5))
    }

    /// Runs `redis-cli --cluster` like [`Nodes::tool`], which must succeed, and returns its output.
    ///
    /// # Panics
    /// If it does not succeed.
    pub fn run_tool(&self, words: &[&str]) -> String {
        let output = self.tool(words);
        assert_eq!(output.code, Some(0), "{words:?}: {}{}", output.out, output.err);
        output.out
    }

    /// Returns the name of a node.
    ///
    /// # Panics
    /// If it does not reply.
    pub fn id(&self, node: usize) -> String {
        self.ask(node, "CLUSTER MYID").expect("it replies").text()
    }

    /// Returns how many slots a node has in its own view.
    pub fn slot_count(&self, node: usize) -> usize {
        let mine = self.lines(node).into_iter().find(|words| words[2].contains("myself"));
        let ranges = mine.into_iter().flat_map(|words| words.into_iter().skip(8));
        let ranges = ranges.filter_map(|word| {
            let (first, last) = word.split_once('-').unwrap_or((&word, &word));
            Some(last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?)
        });
        ranges.sum()
    }

    /// Runs commands, one a line, by `redis-cli -c` at a node, which follows redirections, and returns a line for each
    /// reply.
    ///
    /// # Panics
    /// If there is not one line for each command.
    pub fn follow_all(&self, node: usize, commands: &[String]) -> Vec<String> {
        let mut command = Command::new(stock("redis-cli"));
        command.args(["-c", "-p", &self.servers[node].port().to_string()]);
        let output = tools::run(command, commands.join("\n").as_bytes());
        let is_note = |line: &&str| line.starts_with("-> Redirected to slot");
        let lines: Vec<_> = output.out.lines().filter(|line| !is_note(line)).collect();
        assert_eq!(lines.len(), commands.len(), "{}{}", output.out, output.err);
        lines.into_iter().map(str::to_owned).collect()
    }

    /// Waits until `redis-cli --cluster check` finds nothing: all nodes agree, all slots are served, and none is moved.
    ///
    /// # Panics
    /// If it still finds something.
    pub fn wait_until_checked(&self, node: usize) {
        wait_for_within("the check finds nothing", DEADLINE, || {
            let check = self.tool(&["check", &self.address(node)]);
            let is_good = check.code == Some(0)
                && check.out.contains("[OK] All nodes agree about slots configuration.")
                && check.out.contains("[OK] All 16384 slots covered.")
                && !check.out.contains("[WARNING]");
            is_good.then_some(())
        });
    }

    /// Runs `redis-cli -c` at a node, which follows redirections.
    pub fn follow(&self, node: usize, words: &[&str]) -> String {
        let mut command = Command::new(stock("redis-cli"));
        command.args(["-c", "-p", &self.servers[node].port().to_string()]).args(words);
        tools::run(command, b"").out.trim().to_owned()
    }

    /// Puts all nodes together, so many of them as replicas of each master.
    ///
    /// # Panics
    /// If `redis-cli --cluster create` fails.
    pub fn create(&self, replicas: usize) {
        let addresses: Vec<String> = self.all().map(|node| self.address(node)).collect();
        let replicas = replicas.to_string();
        let mut words = vec!["create"];
        words.extend(addresses.iter().map(String::as_str));
        words.extend(["--cluster-replicas", &replicas]);
        let output = self.tool(&words);
        assert!(
            output.out.contains("[OK] All 16384 slots covered."),
            "{}{}",
            output.out,
            output.err
        );
    }

    /// Returns the fields of CLUSTER INFO; empty if the node is not there.
    pub fn info(&self, node: usize) -> BTreeMap<String, String> {
        let text = self.ask(node, "CLUSTER INFO").map(|reply| reply.text()).unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Waits until something is so at all of these nodes.
    ///
    /// # Panics
    /// If it does not become so.
    pub fn wait_at(&self, nodes: &[usize], what: &str, is_so: impl Fn(usize) -> bool) {
        for &node in nodes {
            let what = format!("node {node}: {what}");
            wait_for_within(&what, DEADLINE, || is_so(node).then_some(()));
        }
    }

    /// Waits until all of these nodes say that the cluster is up.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn wait_until_ok(&self, nodes: &[usize]) {
        let is_ok = |node| self.info(node).get("cluster_state").is_some_and(|state| state == "ok");
        self.wait_at(nodes, "the cluster is up", is_ok);
    }

    /// Returns the lines of CLUSTER NODES as words.
    pub fn lines(&self, node: usize) -> Vec<Vec<String>> {
        let text = self.ask(node, "CLUSTER NODES").map(|reply| reply.text()).unwrap_or_default();
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    }

    /// Returns the node that has a slot in another one's view.
    pub fn owner(&self, node: usize, slot: u16) -> Option<usize> {
        let has = |words: &Vec<String>| {
            words.iter().skip(8).filter(|word| !word.starts_with('[')).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
                range.is_some_and(|(first, last)| (first..=last).contains(&slot))
            })
        };
        let line = self.lines(node).into_iter().find(has)?;
        let port = line[1].split(['@', ','].as_ref()).next()?.rsplit(':').next()?.parse().ok()?;
        self.all().find(|&node| self.servers[node].port() == port)
    }

    /// Waits until all replicas have the data of their masters: others do not take over.
    ///
    /// # Panics
    /// If one does not get there.
    pub fn wait_for_replicas(&self) {
        let nodes: Vec<usize> = self.all().collect();
        self.wait_at(&nodes, "it is a master, or has its master's data", |node| {
            let role =
                self.ask(node, "ROLE").map(|role| role.items().iter().map(Value::text).collect());
            let role: Vec<String> = role.unwrap_or_default();
            role.first().is_some_and(|role| role == "master")
                || role.get(3).is_some_and(|state| state == "connected")
        });
    }

    /// Whether a node is a connected replica of another one.
    pub fn follows(&self, replica: usize, master: usize) -> bool {
        let Some(Value::Array(role)) = self.ask(replica, "ROLE") else { return false };
        let role: Vec<String> = role.iter().map(Value::text).collect();
        let port = self.servers[master].port().to_string();
        role[0] == "slave" && role[2] == port && role[3] == "connected"
    }
}
