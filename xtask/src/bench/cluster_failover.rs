//! How long the slots of a dead master are not served: three masters with a replica each, `cluster-node-timeout` 2000, and
//! clients that poll all other nodes every few milliseconds and go where these send them. The time is from `kill -9` of the
//! master to the first acknowledged write in its slots.
//!
//! A round begins when all nodes agree and all replicas are connected, and then after a part of a second that differs
//! between rounds, so that kills fall on all phases of the nodes' timers. Each round kills the master of another shard. The
//! killed node is started again and must become a replica. The sides run at once: they wait nearly all the time.

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use russet_e2e::{Client, Value};

use super::cpu::{self, Place};
use super::report::{Metric, Report};
use super::sentinel::percentile_99;
use super::{Plan, Side};
use crate::partitions::cluster::deployment::{Deployment, MASTERS, within};
use crate::partitions::cluster::route::moved_to;
use crate::sh::Result;

const GROUP: &str = "cluster-failover";

const CASE: &str = "kill -9 of a master";

/// Time between two writes that a client tries.
const POLL: Duration = Duration::from_millis(3);

/// How long a reply may take.
const REPLY_MAX: Duration = Duration::from_millis(100);

/// How long a failover may take, and how long everything may take to come to rest.
const STEP_MAX: Duration = Duration::from_secs(60);

const OUTAGE: Metric = Metric { group: GROUP, name: "outage", unit: "s" };
const OUTAGE_99: Metric = Metric { group: GROUP, name: "outage, 99 %", unit: "s" };
const FAILED: Metric = Metric { group: GROUP, name: "rounds that failed", unit: "" };

/// All rounds of all sides.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let of_sides = cpu::at(Place::Both, || all_sides(plan))??;
    of_sides.into_iter().for_each(|of_side| report.merge(of_side));
    Ok(())
}

fn all_sides(plan: &Plan) -> Result<Vec<Report>> {
    std::thread::scope(|scope| {
        let measure = |index: usize, side| {
            let mut report = Report::new(plan);
            measure(plan, &mut report, index, side);
            report
        };
        let threads: Vec<_> = plan
            .sides
            .iter()
            .enumerate()
            .map(|(index, side)| scope.spawn(move || measure(index, side)))
            .collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|report| report.map_err(|_| "a thread panicked".to_owned())).collect()
    })
}

/// All rounds of a side. After a failure the next one begins with new nodes.
fn measure(plan: &Plan, report: &mut Report, index: usize, side: &Side) {
    let programs = std::array::from_fn(|_| side.program.clone());
    let mut running = None;
    let mut outages = vec![];
    let mut failed = 0;
    for number in 0..plan.rounds {
        let deployment = match running.take() {
            Some(deployment) => Ok(deployment),
            None => Deployment::start(&programs, &[], "appendonly yes\n"),
        };
        let outage = deployment.and_then(|mut deployment| {
            let outage = round(&mut deployment, number)
                .inspect_err(|_| eprintln!("{}", deployment.logs()))?;
            running = Some(deployment);
            Ok(outage)
        });
        match outage {
            Ok(outage) => {
                eprintln!("  round {}, {}: {outage:.2} s", number + 1, side.name);
                report.add(OUTAGE, CASE, index, outage);
                outages.push(outage);
            }
            Err(error) => {
                eprintln!("  round {}, {}: FAILED: {error}", number + 1, side.name);
                report.note(format!("{GROUP}: {}, round {}: {error}", side.name, number + 1));
                failed += 1;
            }
        }
    }
    if !outages.is_empty() {
        report.add(OUTAGE_99, CASE, index, percentile_99(&outages));
    }
    report.add(FAILED, CASE, index, f64::from(failed));
}

/// Kills a master, and returns the seconds until a write was acknowledged.
fn round(deployment: &mut Deployment, number: usize) -> Result<f64> {
    let shards = within(STEP_MAX, || deployment.settled())?;
    std::thread::sleep(Duration::from_millis(number as u64 * 617 % 1000));
    let shard = number % MASTERS;
    let old = shards[shard].master;
    let old_address = deployment.nodes[old].address();
    let key = deployment.key_in(shard, "outage")?;
    let others = deployment.addresses().into_iter().filter(|address| *address != old_address);
    let others: Vec<SocketAddrV4> = others.collect();
    let (sender, written) = mpsc::channel();
    let is_over = AtomicBool::new(false);
    let (start, first) = std::thread::scope(|scope| -> Result<_> {
        for node in others {
            let (sender, key, is_over) = (sender.clone(), &key, &is_over);
            scope.spawn(move || poll(node, old_address, key, is_over, &sender));
        }
        let start = Instant::now();
        let killed = deployment.nodes[old].kill();
        let first = written.recv_timeout(STEP_MAX);
        is_over.store(true, Ordering::Relaxed);
        killed.map(|()| (start, first))
    })?;
    let at = first.map_err(|_| "nobody took over")?;
    deployment.nodes[old].start(&[])?;
    Ok(at.duration_since(start).as_secs_f64())
}

/// Tries to write by a node, until it or the one to which it redirects acknowledges it, or that is over.
fn poll(
    node: SocketAddrV4,
    old: SocketAddrV4,
    key: &str,
    is_over: &AtomicBool,
    sender: &mpsc::Sender<Instant>,
) {
    let mut connection = None;
    while !is_over.load(Ordering::Relaxed) {
        connection = connection.or_else(|| connect(node).ok());
        let reply = connection.as_mut().and_then(|client| write(client, key));
        let other = reply.as_ref().and_then(moved_to).filter(|other| *other != old);
        let last = match other {
            Some(other) => connect(other).ok().and_then(|mut client| write(&mut client, key)),
            None => reply.clone(),
        };
        if last == Some(Value::Status("OK".into())) {
            let _ = sender.send(Instant::now()); // another one was first
            return;
        }
        if reply.is_none() {
            connection = None;
        }
        std::thread::sleep(POLL);
    }
}

fn connect(node: SocketAddrV4) -> std::io::Result<Client> {
    Client::connect_within(node.into(), REPLY_MAX)
}

/// The reply to a write, if it comes.
fn write(client: &mut Client, key: &str) -> Option<Value> {
    client.try_command(&["SET", key, "written"]).ok()
}
