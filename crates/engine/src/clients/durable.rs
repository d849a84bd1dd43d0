//! Output that waits for the append-only file.
//!
//! What a turn changes is handed to the file as one *batch*, with a number. A reply of the turn must not be sent before
//! its batch is as safe as `appendfsync` promises, and neither may anything else that shows the change: a message, the
//! replication stream, another client's read of the same key. All of it is put behind the gate of the batch:
//!
//! ```text
//!   turn 41   a: SET k 1  ─▶ batch 41        a's outbox  ╫41 +OK
//!   turn 42   b: GET k                       b's outbox  ╫41 1        it would show what may yet be lost
//!             c: GET other                   c's outbox  nil          sent at once
//!             c: GET k, GET other            c's outbox  ╫41 1 nil    replies keep their order
//!   the disk has batch 41  ─▶ a, b and c are written
//! ```
//!
//! Which keys a batch changed is remembered by their hashes, in a table of fixed size. Two keys may share a cell: then a
//! reader waits without need, and never the other way round.

use std::collections::VecDeque;

use super::{Clients, Gate};
use crate::ids::Handle;

/// Cells of the table of changes; a power of two.
const CELLS: usize = 4096;

/// The gate of an incomplete EXEC, whose batch is not known yet.
const UNKNOWN: u64 = u64::MAX;

/// What a reply depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// Nothing that the file holds.
    Nothing,
    /// These changes at most, and what they were based on.
    Batch(u64),
}

/// The batches of the append-only file that are not safe, and who waits for them.
#[derive(Debug)]
pub struct Durable {
    /// Whether there is a file that replies wait for.
    is_on: bool,
    /// The number of the batch that is being filled.
    filling: u64,
    /// The number of the last batch that is safe.
    safe: u64,
    /// The connections behind the gate of each batch after `safe`, in the order of the batches.
    waiting: VecDeque<Vec<Handle>>,
    /// The last batch that changed a key with this hash.
    changed: Box<[u64]>,
    /// The last batch that changed keys that it does not name.
    all_changed: u64,
    /// The last batch with any change.
    last_change: u64,
    /// The running EXEC: the batch that was being filled when it began, and the newest that it shows.
    exec: (u64, u64),
}

impl Default for Durable {
    fn default() -> Durable {
        Durable {
            is_on: false,
            filling: 1,
            safe: 0,
            waiting: VecDeque::new(),
            changed: Box::default(),
            all_changed: 0,
            last_change: 0,
            exec: (0, 0),
        }
    }
}

impl Durable {
    /// Sets whether replies wait. What waits when it is switched off is sent by `Clients::batch_is_safe`.
    pub(crate) fn set_on(&mut self, is_on: bool) {
        if is_on && !self.is_on {
            // What has changed before, while the file was made, was not noted by key, and may not be on disk yet.
            self.changes_all();
        }
        self.is_on = is_on;
        if is_on && self.changed.is_empty() {
            self.changed = vec![0; CELLS].into_boxed_slice();
        }
    }

    /// Whether replies wait for the file.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Returns the number of the last batch that is safe.
    pub(crate) fn safe(&self) -> u64 {
        self.safe
    }

    /// Whether output waits for the batch that is being filled, so that it must be handed over even
    /// if it is empty.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.len() as u64 > self.filling - self.safe - 1
    }

    /// Notes that the batch being filled changes these keys.
    pub(crate) fn changes(&mut self, hashes: impl Iterator<Item = u64>) {
        self.last_change = self.filling;
        for hash in hashes {
            self.changed[cell(hash)] = self.filling;
        }
    }

    /// Notes that the batch being filled changes any keys.
    pub(crate) fn changes_all(&mut self) {
        (self.last_change, self.all_changed) = (self.filling, self.filling);
    }

    /// Returns what a read of these keys shows.
    pub(crate) fn read(&self, hashes: impl Iterator<Item = u64>) -> Shows {
        let newest = hashes.map(|hash| self.changed[cell(hash)]).fold(self.all_changed, u64::max);
        self.shows(newest)
    }

    /// Returns what a read of any keys shows.
    pub(crate) fn read_all(&self) -> Shows {
        self.shows(self.last_change)
    }

    /// Returns what a change in the batch being filled shows.
    pub(crate) fn written(&self) -> Shows {
        self.shows(self.filling)
    }

    fn shows(&self, batch: u64) -> Shows {
        if batch > self.safe { Shows::Batch(batch) } else { Shows::Nothing }
    }

    /// Returns what an EXEC shows whose effects have just been added to the batch being filled.
    fn end_exec(&mut self) -> Shows {
        let (began, newest) = self.exec;
        if newest < began {
            return self.shows(newest);
        }
        if self.filling > began {
            // It took several turns, and the keys were noted under a batch that does not have them.
            self.changes_all();
        }
        self.written()
    }

    /// Returns the number of the batch that is being filled.
    pub(crate) fn filling(&self) -> u64 {
        self.filling
    }

    /// Returns the number of the last batch that was handed over.
    pub(crate) fn last_handed_over(&self) -> u64 {
        self.filling - 1
    }

    /// Ends the batch being filled and returns its number.
    pub(crate) fn hand_over(&mut self) -> u64 {
        self.filling += 1;
        self.filling - 1
    }

    fn wait(&mut self, batch: u64, handle: Handle) {
        let index = (batch - self.safe - 1) as usize;
        while self.waiting.len() <= index {
            self.waiting.push_back(Vec::new());
        }
        if self.waiting[index].last() != Some(&handle) {
            self.waiting[index].push(handle);
        }
    }
}

fn cell(hash: u64) -> usize {
    // Any bits would do: the hash is keyed.
    (hash >> 20) as usize & (CELLS - 1)
}

impl Clients {
    /// Holds a connection's output from this absolute offset of its outbox on until what it shows is
    /// safe.
    #[inline]
    pub(crate) fn hold_until_safe(&mut self, handle: Handle, at: u64, shows: Shows) {
        let Shows::Batch(batch) = shows else { return };
        let Some(client) = self.get_mut(handle) else { return };
        if client.wire.outbox.mark_batch(at, batch) {
            self.durable.wait(batch, handle);
        }
    }

    /// Holds what is appended to a connection's output from now on until all changes so far are safe.
    pub(crate) fn hold_behind_changes(&mut self, handle: Handle) {
        if self.durable.is_on
            && let Some(at) = self.outbox(handle).map(|outbox| outbox.end())
        {
            let shows = self.durable.read_all();
            self.hold_until_safe(handle, at, shows);
        }
    }

    /// Holds the output of a client's EXEC from this offset on until it has ended.
    pub(crate) fn hold_exec(&mut self, handle: Handle, at: u64) {
        self.durable.exec = (self.durable.filling, 0);
        if self.durable.is_on
            && let Some(outbox) = self.outbox(handle)
        {
            outbox.mark_batch(at, UNKNOWN);
        }
    }

    /// Notes what a command of the running EXEC shows.
    pub(crate) fn exec_shows(&mut self, shows: Shows) {
        if let Shows::Batch(batch) = shows {
            self.durable.exec.1 = self.durable.exec.1.max(batch);
        }
    }

    /// Puts the output of an EXEC that has ended behind the gate of what it shows.
    pub(crate) fn settle_exec(&mut self, handle: Handle) {
        let shows = self.durable.end_exec();
        let Some(outbox) = self.outbox(handle) else { return };
        let Some(at) = outbox.remove_gate(Gate::Batch(UNKNOWN)) else { return };
        self.hold_until_safe(handle, at, shows);
        self.mark_dirty(handle);
    }

    /// Releases all output: there is no append-only file any more.
    pub(crate) fn nothing_waits(&mut self) {
        self.durable.set_on(false);
        self.batch_is_safe(self.durable.filling);
        self.durable.filling += 1;
    }

    /// Releases the output that waited for the batches up to this one.
    pub(crate) fn batch_is_safe(&mut self, batch: u64) {
        while self.durable.safe < batch {
            self.durable.safe += 1;
            for handle in self.durable.waiting.pop_front().unwrap_or_default() {
                let safe = self.durable.safe;
                if let Some(outbox) = self.outbox(handle) {
                    outbox.open_batches(safe);
                    self.mark_dirty(handle);
                }
            }
        }
    }
}
