//! A client that asks Sentinels for the master, writes to it, and remembers what was acknowledged.
//!
//! Each write sets a field of its own in one hash: the fields that the last master does not have are the writes that
//! were lost. A write without a reply may have been executed and does not count.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use russet_e2e::{Client, Value};

use super::deployment::{NAME, address_in};
use super::network::Site;
use crate::sh::Result;

/// The timeout of connections and replies.
const REPLY_MAX: Duration = Duration::from_millis(300);

/// Time between two writes, and before Sentinels are asked again.
const PAUSE: Duration = Duration::from_millis(3);

/// A write that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    /// Its number, which is its field.
    pub number: u64,
    /// When the reply arrived.
    pub at: Instant,
    /// Who replied.
    pub by: SocketAddrV4,
}

/// A thread that writes until it is dropped.
pub struct Writer {
    shared: Arc<Shared>,
    /// Writes that the last master had.
    kept: Vec<u64>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// The hash.
    key: String,
    sentinels: Vec<SocketAddrV4>,
    acknowledged: Mutex<Vec<Acknowledged>>,
    stop: AtomicBool,
}

impl Shared {
    fn acknowledged(&self) -> MutexGuard<'_, Vec<Acknowledged>> {
        self.acknowledged.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Starts a client at `site` that writes to the hash `key`.
    pub fn start(site: &Site, key: &str, sentinels: Vec<SocketAddrV4>) -> Writer {
        let shared = Arc::new(Shared {
            key: key.to_owned(),
            sentinels,
            acknowledged: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let (site, its) = (site.clone(), shared.clone());
        let thread = std::thread::spawn(move || {
            if let Err(error) = site.within(|| write_until_stopped(&its)) {
                eprintln!("a client could not start: {error}");
            }
        });
        Writer { shared, kept: vec![], thread: Some(thread) }
    }

    /// Whether a write after `since` was acknowledged by this master.
    pub fn has_written(&self, since: Instant, master: SocketAddrV4) -> bool {
        let list = self.shared.acknowledged();
        list.iter().rev().take_while(|ack| ack.at > since).any(|ack| ack.by == master)
    }

    /// Returns what was acknowledged since the last call, and how many writes `master` does not have of these and of those
    /// that earlier masters had.
    pub fn take(&mut self, master: &mut Client) -> Result<(Vec<Acknowledged>, usize)> {
        let acknowledged = std::mem::take(&mut *self.shared.acknowledged());
        let reply = master.try_command(&["HKEYS", &self.shared.key]).map_err(|e| e.to_string())?;
        let Value::Array(fields) = reply else { return Err(format!("HKEYS: {reply:?}")) };
        let fields: BTreeSet<u64> = fields.iter().filter_map(|f| f.text().parse().ok()).collect();
        self.kept.extend(acknowledged.iter().map(|ack| ack.number));
        let before = self.kept.len();
        self.kept.retain(|number| fields.contains(number));
        Ok((acknowledged, before - self.kept.len()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // its panic has been printed
        }
    }
}

fn write_until_stopped(shared: &Shared) {
    let mut number = 0;
    for sentinel in shared.sentinels.iter().cycle() {
        if shared.stops() {
            return;
        }
        if let Some(master) = master_of(*sentinel) {
            let _ = write_to(shared, master, &mut number); // the Sentinels are asked again
        }
        std::thread::sleep(PAUSE);
    }
}

/// Writes until the connection fails or the server refuses, as one that is not a master any more does.
fn write_to(shared: &Shared, master: SocketAddrV4, number: &mut u64) -> io::Result<()> {
    let mut client = Client::connect_within(master.into(), REPLY_MAX)?;
    while !shared.stops() {
        *number += 1;
        let reply = client.try_command(&["HSET", &shared.key, &number.to_string(), ""])?;
        if reply != Value::Int(1) {
            return Ok(());
        }
        let at = Instant::now();
        shared.acknowledged().push(Acknowledged { number: *number, at, by: master });
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The master that a Sentinel names, if it replies.
pub fn master_of(sentinel: SocketAddrV4) -> Option<SocketAddrV4> {
    let mut client = Client::connect_within(sentinel.into(), REPLY_MAX).ok()?;
    let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
    address_in(&client.try_command(&question).ok()?)
}
