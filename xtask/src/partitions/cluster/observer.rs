//! Watches which nodes execute writes, past the faults: each node is asked every [`PERIOD`] to write a key of each shard.
//!
//! ```text
//!   request   reply     request   reply     request   refused
//!      ├─────────┤         ├─────────┤         ├─────────┤
//!      …         └─ it serves for certain ─┘
//! ```
//!
//! A node that executed two writes served at least from the reply to the first one until it was asked for the last. So if two
//! nodes are found to have served at once, they have, however late this process was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use russet_e2e::client::encode;
use russet_e2e::{Client, Value};

use super::deployment::{COUNT, Deployment, MASTERS};
use crate::partitions::process::Endpoint;
use crate::sh::Result;

/// Time between two questions to a node.
const PERIOD: Duration = Duration::from_millis(20);

/// If the next question is later than this, the node may have stopped to serve and begun again in between.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// A time in which a node served.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: Instant,
    to: Instant,
}

/// Per shard and node.
type Served = [[Vec<Stretch>; COUNT]; MASTERS];

/// The threads that watch. They end when dropped.
pub struct Observer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    served: Mutex<Served>,
    stop: AtomicBool,
}

impl Shared {
    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer {
    /// Begins to watch the nodes.
    pub fn start(deployment: &Deployment) -> Result<Observer> {
        let key = |shard| deployment.key_in(shard, "observed");
        let keys = (0..MASTERS).map(key).collect::<Result<Vec<_>>>()?;
        let questions: Vec<u8> = keys.iter().flat_map(|key| encode(&["SET", key, ""])).collect();
        let shared = Arc::new(Shared::default());
        let watch = |(index, node): (usize, &crate::partitions::process::Process)| {
            let (shared, node, questions) =
                (shared.clone(), node.endpoint.clone(), questions.clone());
            std::thread::spawn(move || poll(&shared, index, &node, &questions))
        };
        let threads = deployment.nodes.iter().enumerate().map(watch).collect();
        Ok(Observer { shared, threads })
    }

    /// The longest time for which two nodes have served a shard since the last call.
    pub fn take_overlap(&self) -> Duration {
        let served = std::mem::take(&mut *self.shared.served());
        served.iter().map(|nodes| overlap(nodes)).max().unwrap_or_default()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // its panic has been printed
        }
    }
}

/// For how long two of these have served at once, over all pairs.
fn overlap(nodes: &[Vec<Stretch>]) -> Duration {
    let mut sum = Duration::ZERO;
    for (index, one) in nodes.iter().enumerate() {
        for other in &nodes[index + 1..] {
            for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
                sum += a.to.min(b.to).saturating_duration_since(a.from.max(b.from));
            }
        }
    }
    sum
}

/// Asks a node until the observer stops.
fn poll(shared: &Shared, index: usize, node: &Endpoint, questions: &[u8]) {
    let mut connection = None;
    let mut serves = [false; MASTERS];
    while !shared.stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        connection = connection.or_else(|| node.connect().ok());
        let executed = match connection.as_mut().map(|client| ask(client, questions)) {
            Some(Ok(executed)) => executed,
            Some(Err(_)) | None => {
                connection = None;
                [false; MASTERS]
            }
        };
        let replied = Instant::now();
        for (shard, nodes) in shared.served().iter_mut().enumerate() {
            if executed[shard] {
                note(&mut nodes[index], serves[shard], asked, replied);
            }
        }
        serves = executed;
        std::thread::sleep(PERIOD.saturating_sub(asked.elapsed()));
    }
}

/// Adds a write that was executed. `goes_on` if so was the one before.
fn note(stretches: &mut Vec<Stretch>, goes_on: bool, asked: Instant, replied: Instant) {
    match stretches.last_mut() {
        Some(last) if goes_on && asked.saturating_duration_since(last.to) < PAUSE_MAX => {
            last.to = last.to.max(asked);
        }
        _ => stretches.push(Stretch { from: replied, to: replied }),
    }
}

fn ask(client: &mut Client, questions: &[u8]) -> std::io::Result<[bool; MASTERS]> {
    client.send(questions)?;
    let mut executed = [false; MASTERS];
    for is_executed in &mut executed {
        *is_executed = client.read_reply()? == Value::Status("OK".into());
    }
    Ok(executed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_nodes_served_at_once_is_found() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut one = vec![];
        let mut other = vec![];
        note(&mut one, false, at(0), at(5));
        note(&mut one, true, at(20), at(25));
        note(&mut one, true, at(40), at(45));
        note(&mut other, false, at(20), at(30));
        assert_eq!(overlap(&[one.clone(), other.clone()]), Duration::ZERO);
        note(&mut other, true, at(100), at(101));
        assert_eq!(overlap(&[one.clone(), vec![], other.clone()]), Duration::from_millis(10));
        // It was refused in between, or not asked.
        note(&mut one, false, at(60), at(70));
        note(&mut one, true, at(400), at(401));
        assert_eq!(overlap(&[one, other]), Duration::from_millis(10));
    }
}
