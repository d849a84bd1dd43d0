//! A client that writes to the server which its route names, and remembers what was acknowledged.
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

use super::network::Site;
use crate::sh::Result;

/// The timeout of connections and replies.
pub const REPLY_MAX: Duration = Duration::from_millis(300);

/// Time between two writes, and before the route is asked again.
const PAUSE: Duration = Duration::from_millis(3);

/// How a client finds the server to write to.
pub trait Route: Send + 'static {
    /// The server to write to now; none if none is known.
    fn server(&mut self) -> Option<SocketAddrV4>;

    /// Takes the reply of a server that did not execute a write.
    fn refused(&mut self, reply: &Value);
}

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
    pub fn start(site: &Site, key: &str, mut route: impl Route) -> Writer {
        let shared = Arc::new(Shared {
            key: key.to_owned(),
            acknowledged: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let (site, its) = (site.clone(), shared.clone());
        let thread = std::thread::spawn(move || {
            if let Err(error) = site.within(|| write_until_stopped(&its, &mut route)) {
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

    /// When the first write after `since` was acknowledged by another server than this one.
    pub fn first_by_other(&self, since: Instant, old: SocketAddrV4) -> Option<Instant> {
        let list = self.shared.acknowledged();
        let recent = list.iter().rev().take_while(|ack| ack.at > since);
        recent.filter(|ack| ack.by != old).last().map(|ack| ack.at)
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

fn write_until_stopped(shared: &Shared, route: &mut impl Route) {
    let mut number = 0;
    while !shared.stops() {
        if let Some(server) = route.server()
            && let Ok(Some(reply)) = write_to(shared, server, &mut number)
        {
            route.refused(&reply);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Writes until the connection fails or the server refuses, as one that is not a master any more does. Returns its refusal;
/// none when the client is to stop.
fn write_to(shared: &Shared, server: SocketAddrV4, number: &mut u64) -> io::Result<Option<Value>> {
    let mut client = Client::connect_within(server.into(), REPLY_MAX)?;
    while !shared.stops() {
        *number += 1;
        let reply = client.try_command(&["HSET", &shared.key, &number.to_string(), ""])?;
        if reply != Value::Int(1) {
            return Ok(Some(reply));
        }
        let at = Instant::now();
        shared.acknowledged().push(Acknowledged { number: *number, at, by: server });
        std::thread::sleep(PAUSE);
    }
    Ok(None)
}
