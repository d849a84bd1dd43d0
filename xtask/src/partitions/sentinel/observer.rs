//! Watches all Sentinels past the faults: their published events, and which master they name, asked every
//! [`PERIOD`]; and checks what must always hold.
//!
//! * A configuration epoch belongs to one master: no two Sentinels, at any times, name different masters with the same one.
//! * A Sentinel's configuration epoch never goes back.
//! * A Sentinel votes once in an epoch.
//! * An epoch has one leader.
//!
//! Two quorums that name different masters at one instant are impossible for three Sentinels and a quorum of two;
//! what could happen is that both configurations have the same epoch, so that neither yields, which is the first check.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use russet_e2e::client::encode;
use russet_e2e::{Client, Value};

use super::deployment::{COUNT, Deployment, NAME, QUORUM, address_in, pairs};
use crate::partitions::process::Endpoint;
use crate::sh::Result;

/// Time between two questions to a Sentinel.
const PERIOD: Duration = Duration::from_millis(20);

/// A reply older than this does not count as present.
const FRESH: Duration = Duration::from_millis(500);

/// What a Sentinel has published.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it arrived.
    pub at: Instant,
    /// The index of the Sentinel.
    pub sentinel: usize,
    /// Its channel, such as `+elected-leader`.
    pub channel: String,
    /// The message.
    pub text: String,
}

/// Everything seen so far.
#[derive(Default)]
pub struct Seen {
    /// In the order of arrival.
    pub events: Vec<Event>,
    /// Per Sentinel, the master that it names, with the time of the reply.
    named: [Option<(SocketAddrV4, Instant)>; COUNT],
    /// Per Sentinel, the greatest configuration epoch.
    epochs: [u64; COUNT],
    /// Per Sentinel, its id.
    ids: [String; COUNT],
    /// The master of each configuration epoch.
    masters: BTreeMap<u64, SocketAddrV4>,
    /// The vote of each Sentinel in each epoch.
    votes: BTreeMap<(u64, usize), String>,
    /// The leader of each epoch.
    leaders: BTreeMap<u64, usize>,
    violations: Vec<String>,
}

impl Seen {
    /// The id of a Sentinel.
    pub fn id(&self, sentinel: usize) -> &str {
        &self.ids[sentinel]
    }

    /// The master that at least a quorum of these Sentinels names now.
    pub fn master_of_quorum(&self, among: &[usize]) -> Option<SocketAddrV4> {
        let fresh = among.iter().filter_map(|sentinel| self.named[*sentinel]);
        let fresh = fresh.filter(|(_, at)| at.elapsed() < FRESH);
        let named: Vec<SocketAddrV4> = fresh.map(|(master, _)| master).collect();
        let count = |master| named.iter().filter(|other| **other == master).count();
        named.iter().copied().find(|master| count(*master) >= QUORUM)
    }

    /// Takes a Sentinel's reply.
    fn claim(&mut self, sentinel: usize, master: SocketAddrV4, epoch: u64) {
        self.named[sentinel] = Some((master, Instant::now()));
        let known = *self.masters.entry(epoch).or_insert(master);
        if known != master {
            self.violate(format!("epoch {epoch} has two masters, {known} and {master}"));
        }
        let before = std::mem::replace(&mut self.epochs[sentinel], epoch);
        if before > epoch {
            self.violate(format!("Sentinel {sentinel} went back from epoch {before} to {epoch}"));
        }
    }

    /// Takes an event.
    fn publish(&mut self, event: Event) {
        let words: Vec<&str> = event.text.split(' ').collect();
        match (event.channel.as_str(), &words[..]) {
            ("+vote-for-leader", [id, epoch]) => self.vote(event.sentinel, id, epoch),
            ("+elected-leader", _) => self.elect(event.sentinel),
            _ => {}
        }
        self.events.push(event);
    }

    fn vote(&mut self, sentinel: usize, id: &str, epoch: &str) {
        let Ok(epoch) = epoch.parse() else {
            return self.violate(format!("Sentinel {sentinel} votes in epoch {epoch:?}"));
        };
        let known = self.votes.entry((epoch, sentinel)).or_insert_with(|| id.to_owned()).clone();
        if known != id {
            self.violate(format!("Sentinel {sentinel} votes for {known} and {id} in {epoch}"));
        }
    }

    /// A Sentinel is elected in the epoch in which it last voted for itself.
    fn elect(&mut self, sentinel: usize) {
        let own = &self.ids[sentinel];
        let mut votes = self.votes.iter().rev();
        let vote = votes.find(|((_, by), id)| *by == sentinel && *id == own);
        let Some((&(epoch, _), _)) = vote else {
            return self.violate(format!("Sentinel {sentinel} is elected without its own vote"));
        };
        let known = *self.leaders.entry(epoch).or_insert(sentinel);
        if known != sentinel {
            self.violate(format!("epoch {epoch} has two leaders, {known} and {sentinel}"));
        }
    }

    fn violate(&mut self, text: String) {
        if !self.violations.contains(&text) {
            eprintln!("    VIOLATION: {text}");
            self.violations.push(text);
        }
    }
}

/// The threads that watch. They end when dropped.
pub struct Observer {
    shared: Arc<Shared>,
    subscriptions: Vec<Client>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    stop: AtomicBool,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changed.notify_all();
    }
}

impl Observer {
    /// Begins to watch the Sentinels.
    pub fn start(deployment: &Deployment) -> Result<Observer> {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let mut observer = Observer { shared, subscriptions: vec![], threads: vec![] };
        for (index, sentinel) in deployment.sentinels.iter().enumerate() {
            observer.watch(index, &sentinel.endpoint)?;
        }
        Ok(observer)
    }

    /// Returns what `probe` finds in what has been seen, which is asked at every change, or none after `bound`.
    pub fn wait_for<T>(
        &self,
        bound: Duration,
        mut probe: impl FnMut(&Seen) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + bound;
        let mut seen = self.shared.seen();
        loop {
            if let Some(found) = probe(&seen) {
                return Some(found);
            }
            let rest = end.checked_duration_since(Instant::now())?;
            let waited = self.shared.changed.wait_timeout(seen, rest);
            seen = waited.map_or_else(|e| e.into_inner().0, |(seen, _)| seen);
        }
    }

    /// The number of events so far.
    pub fn mark(&self) -> usize {
        self.shared.seen().events.len()
    }

    /// All violations so far.
    pub fn violations(&self) -> Vec<String> {
        self.shared.seen().violations.clone()
    }

    fn watch(&mut self, index: usize, sentinel: &Endpoint) -> Result {
        self.shared.seen().ids[index] = sentinel.ask("SENTINEL MYID")?.text();
        let mut subscription = sentinel.connect()?;
        let subscribed = subscription.try_command(&["PSUBSCRIBE", "*"]);
        subscribed.and_then(|_| subscription.set_timeout(None)).map_err(|e| e.to_string())?;
        self.subscriptions.push(subscription.second_handle().map_err(|e| e.to_string())?);
        let shared = self.shared.clone();
        self.threads.push(std::thread::spawn(move || listen(&shared, index, subscription)));
        let (shared, sentinel) = (self.shared.clone(), sentinel.clone());
        self.threads.push(std::thread::spawn(move || poll(&shared, index, &sentinel)));
        Ok(())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for subscription in &self.subscriptions {
            let _ = subscription.close(); // it may be closed
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // its panic has been printed
        }
    }
}

/// Takes events until the connection is closed.
fn listen(shared: &Shared, sentinel: usize, mut subscription: Client) {
    while let Ok(reply) = subscription.read_reply() {
        let (Value::Array(items) | Value::Push(items)) = reply else { continue };
        let [_, _, channel, text] = &items[..] else { continue };
        let (at, channel, text) = (Instant::now(), channel.text(), text.text());
        shared.change(|seen| seen.publish(Event { at, sentinel, channel, text }));
    }
    if !shared.stop.load(Ordering::Relaxed) {
        shared.change(|seen| seen.violate(format!("Sentinel {sentinel} closed a subscription")));
    }
}

/// Asks which master a Sentinel names and in which configuration epoch, until it is told to stop. Both questions are sent
/// at once, so that nothing happens between the replies.
fn poll(shared: &Shared, index: usize, sentinel: &Endpoint) {
    let questions = [
        encode(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]),
        encode(&["SENTINEL", "MASTER", NAME]),
    ];
    let questions = questions.concat();
    let mut connection = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        connection = connection.or_else(|| sentinel.connect().ok());
        let claim = connection.as_mut().map(|client| claim_of(client, &questions));
        match claim {
            Some(Ok(Some((master, epoch)))) => {
                shared.change(|seen| seen.claim(index, master, epoch));
            }
            Some(Ok(None)) => {}
            Some(Err(_)) | None => connection = None,
        }
        std::thread::sleep(PERIOD.saturating_sub(asked.elapsed()));
    }
}

fn claim_of(client: &mut Client, questions: &[u8]) -> std::io::Result<Option<(SocketAddrV4, u64)>> {
    client.send(questions)?;
    let master = address_in(&client.read_reply()?);
    let epoch = pairs(&client.read_reply()?).remove("config-epoch");
    Ok(master.zip(epoch.and_then(|epoch| epoch.parse().ok())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen { ids: ["a", "b", "c"].map(str::to_owned), ..Seen::default() }
    }

    fn event(sentinel: usize, channel: &str, text: &str) -> Event {
        Event { at: Instant::now(), sentinel, channel: channel.into(), text: text.into() }
    }

    fn address(text: &str) -> SocketAddrV4 {
        text.parse().expect("an address")
    }

    #[test]
    fn an_epoch_has_one_master_and_never_goes_back() {
        let (one, two) = (address("10.0.0.1:1"), address("10.0.0.2:1"));
        let mut seen = seen();
        seen.claim(0, one, 1);
        seen.claim(1, one, 1);
        assert_eq!(seen.master_of_quorum(&[0, 1, 2]), Some(one));
        seen.claim(0, two, 2);
        assert_eq!((seen.master_of_quorum(&[0, 1, 2]), seen.violations.len()), (None, 0));
        seen.claim(2, one, 2);
        assert_eq!(seen.violations, ["epoch 2 has two masters, 10.0.0.2:1 and 10.0.0.1:1"]);
        seen.claim(0, one, 1);
        assert_eq!(seen.violations[1..], ["Sentinel 0 went back from epoch 2 to 1"]);
    }

    #[test]
    fn an_epoch_has_one_leader_and_a_sentinel_one_vote() {
        let mut seen = seen();
        seen.publish(event(0, "+vote-for-leader", "a 5"));
        seen.publish(event(1, "+vote-for-leader", "a 5"));
        seen.publish(event(0, "+elected-leader", "master lab 10.0.0.1 1"));
        assert_eq!(seen.violations.len(), 0);
        seen.publish(event(1, "+vote-for-leader", "b 5"));
        assert_eq!(seen.violations, ["Sentinel 1 votes for a and b in 5"]);
        seen.publish(event(2, "+vote-for-leader", "c 5"));
        seen.publish(event(2, "+elected-leader", "master lab 10.0.0.1 1"));
        assert_eq!(seen.violations[1..], ["epoch 5 has two leaders, 0 and 2"]);
        seen.publish(event(1, "+elected-leader", "master lab 10.0.0.1 1"));
        assert_eq!(seen.violations[2..], ["Sentinel 1 is elected without its own vote"]);
    }
}
