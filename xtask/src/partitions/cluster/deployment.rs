//! Three masters and a replica of each, one node on a machine.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use russet_e2e::server::Folder;
use russet_e2e::{Program, Value};

use crate::partitions::network::Site;
use crate::partitions::process::{self, Process, site_of};
use crate::sh::Result;

/// Masters, and parts into which the slots are divided.
pub const MASTERS: usize = 3;

/// Nodes: the replica of each of the first masters has its index plus [`MASTERS`].
pub const COUNT: usize = 2 * MASTERS;

/// The first and last slot of each shard.
const SLOTS: [(u16, u16); MASTERS] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// `cluster-node-timeout`.
pub const NODE_TIMEOUT: Duration = Duration::from_millis(2_000);

/// How long nodes may take to come together.
const TOGETHER_MAX: Duration = Duration::from_secs(60);

/// A master and its replica, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The master.
    pub master: usize,
    /// Its only replica.
    pub replica: usize,
}

/// The processes.
pub struct Deployment {
    /// One on each machine.
    pub nodes: Vec<Process>,
    /// Removed after the processes have ended.
    _folder: Folder,
}

impl Deployment {
    /// Starts a node of each program, on `sites` or all on this machine, and puts them together.
    pub fn start(programs: &[Program; COUNT], sites: &[Site], conf: &str) -> Result<Deployment> {
        let folder = Folder::new();
        let conf = format!(
            "save \"\"\nrepl-diskless-sync-delay 0\ncluster-enabled yes\ncluster-node-timeout {}\n{conf}",
            NODE_TIMEOUT.as_millis()
        );
        let launch = |(machine, program): (usize, &Program)| {
            let folder = folder.path().join(format!("node{machine}"));
            Process::launch(program, site_of(sites, machine), &folder, 6379, &conf)
        };
        let nodes = programs.iter().enumerate().map(launch).collect::<Result<_>>()?;
        let deployment = Deployment { nodes, _folder: folder };
        deployment.put_together()?;
        Ok(deployment)
    }

    /// The addresses of all nodes.
    pub fn addresses(&self) -> Vec<SocketAddrV4> {
        self.nodes.iter().map(Process::address).collect()
    }

    /// A key in the slots of a shard, of which there are many: its name is followed by a number.
    pub fn key_in(&self, shard: usize, name: &str) -> Result<String> {
        let (first, last) = SLOTS[shard];
        for number in 0..1_000 {
            let key = format!("{name}-{number}");
            let Value::Int(slot) = self.nodes[0].ask(&format!("CLUSTER KEYSLOT {key}"))? else {
                break;
            };
            if (i64::from(first)..=i64::from(last)).contains(&slot) {
                return Ok(key);
            }
        }
        Err(format!("no key in shard {shard}"))
    }

    /// The shards, if all agree: all nodes have the same view, in which nobody is down and all are connected, they serve,
    /// and each master has a replica, which is connected to it. Otherwise the reason why not.
    pub fn agreed(&self) -> Result<[Shard; MASTERS]> {
        let views = self.nodes.iter().map(view).collect::<Result<Vec<_>>>()?;
        let shared = shared_view(&views)?;
        let shards = self.shards(shared)?;
        for node in &self.nodes {
            let info = node.ask("CLUSTER INFO")?.text();
            if !info.lines().any(|line| line.trim() == "cluster_state:ok") {
                return Err(format!("{} does not serve", node.address()));
            }
        }
        shards.iter().try_for_each(|shard| self.check_replica(*shard))?;
        Ok(shards)
    }

    /// The same if also each replica has all that its master had a moment ago. After a partition it may be connected, and TCP
    /// wait for seconds before it goes on; a failover then loses what was written since the beginning of the partition.
    pub fn settled(&self) -> Result<[Shard; MASTERS]> {
        let shards = self.agreed()?;
        for shard in &shards {
            let [master, replica] = [shard.master, shard.replica].map(|node| &self.nodes[node]);
            // In this order.
            let (had, has) = (offset(master)?, offset(replica)?);
            if has < had {
                return Err(format!("{} is {} bytes behind", replica.address(), had - has));
            }
        }
        Ok(shards)
    }

    /// The end of all logs, for a failure that has to be understood.
    pub fn logs(&self) -> String {
        process::logs(self.nodes.iter())
    }

    fn put_together(&self) -> Result {
        for (index, (first, last)) in SLOTS.iter().enumerate() {
            self.order(index, &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1))?;
            self.order(index, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"))?;
        }
        for node in &self.nodes[1..] {
            let address = node.address();
            self.order(0, &format!("CLUSTER MEET {} {}", address.ip(), address.port()))?;
        }
        within(TOGETHER_MAX, || {
            let views = self.nodes.iter().map(view).collect::<Result<Vec<_>>>()?;
            shared_view(&views).map(|_| ())
        })?;
        for replica in MASTERS..COUNT {
            let id = self.nodes[replica - MASTERS].ask("CLUSTER MYID")?.text();
            self.order(replica, &format!("CLUSTER REPLICATE {id}"))?;
        }
        within(TOGETHER_MAX, || self.agreed().map(|_| ()))
    }

    fn order(&self, node: usize, words: &str) -> Result {
        match self.nodes[node].ask(words)? {
            Value::Status(_) => Ok(()),
            reply => Err(format!("{words}: {}", reply.text())),
        }
    }

    fn shards(&self, view: &View) -> Result<[Shard; MASTERS]> {
        let mut shards = [Shard { master: 0, replica: 0 }; MASTERS];
        for (shard, (first, last)) in shards.iter_mut().zip(SLOTS) {
            let slots = format!("{first}-{last}");
            let owner = view.iter().find(|(_, line)| line.slots == slots);
            let (id, line) = owner.ok_or_else(|| format!("nobody has the slots {slots}"))?;
            shard.master = self.node_at(line)?;
            let mut replicas = view.values().filter(|line| line.master == *id);
            let (Some(replica), None) = (replicas.next(), replicas.next()) else {
                return Err(format!("{} has not one replica", line.address));
            };
            shard.replica = self.node_at(replica)?;
        }
        Ok(shards)
    }

    fn node_at(&self, line: &Line) -> Result<usize> {
        let found = self.nodes.iter().position(|node| node.address().to_string() == line.address);
        found.ok_or_else(|| format!("{} is unknown", line.address))
    }

    fn check_replica(&self, shard: Shard) -> Result {
        let (replica, master) = (&self.nodes[shard.replica], self.nodes[shard.master].address());
        let reply = replica.ask("ROLE")?;
        let Value::Array(role) = &reply else { return Err(format!("ROLE: {reply:?}")) };
        let role: Vec<String> = role.iter().take(4).map(Value::text).collect();
        let wanted = [
            "slave".into(),
            master.ip().to_string(),
            master.port().to_string(),
            "connected".into(),
        ];
        if role == wanted { Ok(()) } else { Err(format!("{}: {role:?}", replica.address())) }
    }
}

/// How far the data of a node is, by ROLE.
fn offset(node: &Process) -> Result<i64> {
    let reply = node.ask("ROLE")?;
    let Value::Array(role) = &reply else { return Err(format!("ROLE: {reply:?}")) };
    let index = if role.first().is_some_and(|role| role.text() == "master") { 1 } else { 4 };
    match role.get(index) {
        Some(Value::Int(offset)) => Ok(*offset),
        _ => Err(format!("ROLE: {reply:?}")),
    }
}

/// A node in another one's view.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    address: String,
    /// Whether the viewer is connected to it.
    is_linked: bool,
    /// Without `myself`.
    flags: String,
    /// The id of its master, or `-`.
    master: String,
    /// Of a master; replicas have that of their master in others' views and one of their own in theirs.
    epoch: Option<u64>,
    slots: String,
}

/// Nodes by id.
type View = BTreeMap<String, Line>;

fn view(node: &Process) -> Result<View> {
    let text = node.ask("CLUSTER NODES")?.text();
    let of_line =
        |line| parse(line).ok_or_else(|| format!("{}: {line:?} is not understood", node.address()));
    text.lines().map(of_line).collect()
}

fn parse(line: &str) -> Option<(String, Line)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [id, address, flags, master, _, _, epoch, link, slots @ ..] = &words[..] else {
        return None;
    };
    let flags: Vec<&str> = flags.split(',').filter(|flag| *flag != "myself").collect();
    let epoch = epoch.parse().ok()?;
    let line = Line {
        address: address.split('@').next()?.to_owned(),
        is_linked: *link == "connected",
        epoch: flags.contains(&"master").then_some(epoch),
        flags: flags.join(","),
        master: (*master).to_owned(),
        slots: slots.join(" "),
    };
    Some(((*id).to_owned(), line))
}

/// The view of all nodes, if they have the same and nothing is wrong in it.
fn shared_view(views: &[View]) -> Result<&View> {
    let first = views.first().ok_or("there are no nodes")?;
    if first.len() != views.len() {
        return Err(format!("{} nodes are known", first.len()));
    }
    for view in views {
        let mut lines = view.values();
        let is_bad =
            |line: &&Line| !line.is_linked || !matches!(line.flags.as_str(), "master" | "slave");
        if let Some(line) = lines.find(is_bad) {
            return Err(format!("a node sees {line:?}"));
        }
        if view != first {
            return Err(format!("views differ: {view:?} and {first:?}"));
        }
    }
    Ok(first)
}

/// Tries again until it succeeds, for `bound`; then its last error is that of this function.
pub fn within<T>(bound: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() > bound => {
                return Err(format!("not within {bound:?}: {error}"));
            }
            // Each look asks every process several questions.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 2] = [
        "a 10.0.0.1:1@2,,shard-id=x myself,master - 0 0 3 connected 0-5460",
        "b 10.0.0.2:1@2 slave a 0 17 3 connected",
    ];

    fn view_of(lines: &[String]) -> View {
        lines.iter().map(|line| parse(line).expect("it is a line")).collect()
    }

    #[test]
    fn views_are_equal_from_each_side() {
        let one = view_of(&LINES.map(str::to_owned));
        let other = [
            LINES[0].replace("myself,", ""),
            LINES[1].replace("slave a 0 17 3", "myself,slave a 0 0 1"),
        ];
        assert!(shared_view(&[one.clone(), view_of(&other)]).is_ok());
        for (text, replaced) in [
            ("connected", "disconnected"),
            ("master", "master,fail?"),
            ("0-5460", "0-5461"),
            (" 3 ", " 4 "),
        ] {
            let changed = [other[0].replace(text, replaced), other[1].clone()];
            assert!(shared_view(&[one.clone(), view_of(&changed)]).is_err(), "{changed:?}");
        }
        assert!(shared_view(&[one.clone(), one.clone(), one]).is_err());
    }
}
