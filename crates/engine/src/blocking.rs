//! Clients that wait for keys: BLPOP and the like.
//!
//! A command that finds nothing blocks its client and leaves its request here. Whenever one of its keys changes, by whatever
//! command, the request runs again, as if it came now: it passes the checks of every request again (rights, the role of this node, the
//! slot, a pause), takes what it finds, and its reply ends the wait. Or it finds nothing again, and the client keeps its place and
//! its deadline.
//!
//! ```text
//!   A  BLPOP k 0       waits, place 1
//!   B  BLPOP k j 0     waits, place 2
//!   C  RPUSH k x y z   :3            the whole command, or the whole transaction, first
//!                      A gets x      the clients of k by place …
//!                      B gets y
//!                      z remains     … and only then the next command of any client
//! ```
//!
//! So a woken client needs no knowledge of what woke it, and no command needs to know that somebody waits: RENAME, RESTORE or SWAPDB may
//! make a key appear, too. [`crate::keyspace::AwaitedKeys`] sees all changes.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::core::Core;
use crate::ids::Handle;
use crate::keyspace::{Keyspace, Place, Wanted};
use crate::pause::Pause;
use crate::transaction::Queued;

/// A client that waits.
#[derive(Debug)]
pub(crate) struct Wait {
    /// The request to run again.
    pub request: Queued,
    /// The keys that it waits for.
    keys: Vec<Box<[u8]>>,
    db: u32,
    place: Place,
    deadline_us: Option<u64>,
    /// Whether it may have found something, but for a pause: it is tried when that ends.
    is_held: bool,
}

/// What a command waits for.
#[derive(Clone, Debug)]
pub struct Awaits {
    /// Which arguments are the keys.
    pub keys: Range<usize>,
    /// What the client waits for at any of them.
    pub wanted: Wanted,
    /// Monotonic microseconds at which it gets nothing; none: never.
    pub deadline_us: Option<u64>,
}

/// The clients. See the module.
#[derive(Debug, Default)]
pub struct Blocking {
    waits: BTreeMap<Handle, Wait>,
    last_place: u64,
    /// Place and deadline of the client whose request runs again now.
    again: Option<(Handle, Place, Option<u64>)>,
    /// Memory of the requests in bytes.
    bytes: usize,
}

impl Blocking {
    /// Adds a client. Returns its deadline: that of its first try, if its request runs again.
    pub(crate) fn wait(
        &mut self,
        data: &mut Keyspace,
        client: Handle,
        db: u32,
        (request, keys): (Queued, Vec<Box<[u8]>>),
        awaits: Awaits,
    ) -> Option<u64> {
        let Awaits { wanted, deadline_us, .. } = awaits;
        let (place, deadline_us) = match self.again {
            Some((handle, place, deadline_us)) if handle == client => (place, deadline_us),
            _ => {
                self.last_place += 1;
                (Place(self.last_place), deadline_us)
            }
        };
        for key in &keys {
            data.awaited.add(db, key, place, client, wanted);
        }
        let wait = Wait { request, keys, db, place, deadline_us, is_held: false };
        self.bytes += wait.memory_bytes();
        self.waits.insert(client, wait);
        deadline_us
    }

    /// Takes a client's request, to run it again. The client keeps its place until [`Blocking::ended`].
    pub(crate) fn begin_again(&mut self, client: Handle) -> Option<Wait> {
        let wait = self.waits.remove(&client)?;
        self.bytes -= wait.memory_bytes();
        self.again = Some((client, wait.place, wait.deadline_us));
        Some(wait)
    }

    /// Whether the request of this client is run again now.
    pub(crate) fn runs_again(&self, client: Handle) -> bool {
        self.again.is_some_and(|(handle, ..)| handle == client)
    }

    /// The request has run again: the client waits on, with another copy of it, or not.
    pub(crate) fn ended(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        client: Handle,
        wait: Wait,
    ) {
        self.again = None;
        if !self.waits.contains_key(&client) {
            wait.leave(data);
        }
        core.free_sized(wait.request.own_bytes(), wait.request);
    }

    /// Puts a request back which a pause holds: it is tried when the pause ends.
    pub(crate) fn hold(&mut self, pause: &mut Pause, client: Handle, mut wait: Wait) {
        self.again = None;
        if !std::mem::replace(&mut wait.is_held, true) {
            pause.hold_blocked(client);
        }
        self.bytes += wait.memory_bytes();
        self.waits.insert(client, wait);
    }

    /// Tries a client again that a pause held, unless its wait has ended meanwhile.
    pub(crate) fn release(&mut self, data: &mut Keyspace, client: Handle) {
        let Some(wait) = self.waits.get_mut(&client).filter(|wait| wait.is_held) else { return };
        wait.is_held = false;
        for key in &wait.keys {
            data.awaited.touch(wait.db, key);
        }
    }

    /// Removes a client that waits no more.
    pub(crate) fn forget(&mut self, data: &mut Keyspace, client: Handle) {
        if let Some(wait) = self.waits.remove(&client) {
            self.bytes -= wait.memory_bytes();
            wait.leave(data);
        }
    }

    /// Iterates over the clients and their requests.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle, &Queued)> {
        self.waits.iter().map(|(client, wait)| (*client, &wait.request))
    }

    /// Returns the request of a client.
    pub(crate) fn request(&self, client: Handle) -> Option<&Queued> {
        self.waits.get(&client).map(|wait| &wait.request)
    }

    /// Whether no client waits.
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// Returns the memory of the requests in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

impl Wait {
    fn memory_bytes(&self) -> usize {
        let keys: usize = self.keys.iter().map(|key| key.len() + size_of::<Box<[u8]>>()).sum();
        self.request.memory_bytes() + keys
    }

    /// Takes its client out of the keys that it waits for.
    fn leave(&self, data: &mut Keyspace) {
        for key in &self.keys {
            data.awaited.remove(self.db, key, self.place);
        }
    }
}
