//! Large values that walks have come to and not finished.
//!
//! When a walk sees the bucket of a large value it notes the key, the expiry and how many elements there are, and registers the
//! value: from then on whoever changes it hands over the part that changes (see [`crate::types::walkers`]). A
//! registered value is found by its key, wherever it goes:
//!
//! * renamed or moved, it is registered under its new name;
//! * removed or overwritten, it comes here instead of being freed, until the walks have finished it;
//! * its database flushed, that stays with the walks (see [`super::walk`]).
//!
//! So the table or this list always is the one owner, and nothing is shared.

use std::collections::BTreeMap;

use russet_ds::{Block, WALKERS};

use crate::types::Object;
use crate::types::walkers::{Parts, Walker, Walkers};

/// A registered value, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ValueId(u64);

/// Where a registered value is.
#[derive(Debug)]
pub(super) enum Place {
    /// Under a key of the database of this identity.
    Key(u64, Box<[u8]>),
    /// Here: its key is gone.
    Here(Block<Object>),
}

#[derive(Debug)]
struct Registered {
    place: Place,
    /// For each walk that has not finished it, the parts that it was given.
    seats: [Option<Seat>; WALKERS],
}

#[derive(Debug)]
struct Seat {
    epoch: u32,
    parts: Parts,
    /// Their memory, as it is counted in [`Values::bytes`].
    bytes: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Values {
    list: BTreeMap<ValueId, Registered>,
    /// Those in a database, by its identity and their key. No inner map is empty.
    by_key: BTreeMap<u64, BTreeMap<Box<[u8]>, ValueId>>,
    last: u64,
    /// Memory of parts that were handed over, for each walk.
    bytes: [usize; WALKERS],
    /// Memory of the values that are here.
    here_bytes: usize,
}

impl Values {
    fn find(&self, identity: u64, key: &[u8]) -> Option<ValueId> {
        self.by_key.get(&identity)?.get(key).copied()
    }

    fn note(&mut self, identity: u64, key: Box<[u8]>, id: ValueId) {
        self.by_key.entry(identity).or_default().insert(key, id);
    }

    fn forget_key(&mut self, identity: u64, key: &[u8]) -> Option<ValueId> {
        let keys = self.by_key.get_mut(&identity)?;
        let id = keys.remove(key);
        if keys.is_empty() {
            self.by_key.remove(&identity);
        }
        id
    }

    /// Registers the value of a key for a walk that will hand on its parts in database `number`.
    pub(super) fn register(
        &mut self,
        identity: u64,
        key: &[u8],
        walker: Walker,
        number: u32,
    ) -> ValueId {
        let id = self.find(identity, key).unwrap_or_else(|| {
            self.last += 1;
            let id = ValueId(self.last);
            let place = Place::Key(identity, key.into());
            self.list.insert(id, Registered { place, seats: Default::default() });
            self.note(identity, key.into(), id);
            id
        });
        if let Some(value) = self.list.get_mut(&id) {
            let seat = Seat { epoch: walker.epoch, parts: Parts::new(number), bytes: 0 };
            value.seats[walker.index] = Some(seat);
        }
        id
    }

    /// Calls `change` with the walks that have not finished the value of a key.
    pub(super) fn with_walkers<R>(
        &mut self,
        identity: u64,
        key: &[u8],
        change: impl FnOnce(&mut Walkers<'_>) -> R,
    ) -> R {
        let mut walkers = Walkers::default();
        let id = if self.by_key.is_empty() { None } else { self.find(identity, key) };
        let Some(value) = id.and_then(|id| self.list.get_mut(&id)) else {
            return change(&mut walkers);
        };
        for (index, seat) in value.seats.iter_mut().enumerate() {
            if let Some(seat) = seat {
                walkers.add(Walker { index, epoch: seat.epoch }, &mut seat.parts);
            }
        }
        let result = change(&mut walkers);
        for (seat, bytes) in value.seats.iter_mut().zip(&mut self.bytes) {
            if let Some(seat) = seat {
                let now = seat.parts.memory_bytes();
                *bytes = *bytes - seat.bytes + now;
                seat.bytes = now;
            }
        }
        result
    }

    /// Keeps a value that has left its key, if some walk has not finished it, else gives it back.
    pub(super) fn adopt(
        &mut self,
        identity: u64,
        key: &[u8],
        block: Block<Object>,
    ) -> Option<Block<Object>> {
        let id = if self.by_key.is_empty() { None } else { self.forget_key(identity, key) };
        let Some(value) = id.and_then(|id| self.list.get_mut(&id)) else { return Some(block) };
        self.here_bytes += block.allocated_bytes();
        value.place = Place::Here(block);
        None
    }

    /// A value has been moved to another key.
    pub(super) fn moved(&mut self, from: (u64, &[u8]), to: (u64, &[u8])) {
        if self.by_key.is_empty() {
            return;
        }
        let Some(id) = self.forget_key(from.0, from.1) else { return };
        self.note(to.0, to.1.into(), id);
        if let Some(value) = self.list.get_mut(&id) {
            value.place = Place::Key(to.0, to.1.into());
        }
    }

    /// Where a value is.
    pub(super) fn place(&mut self, id: ValueId) -> Option<&mut Place> {
        self.list.get_mut(&id).map(|value| &mut value.place)
    }

    /// Parts that a walk was given since it last asked.
    pub(super) fn take_parts(
        &mut self,
        id: ValueId,
        walker: usize,
    ) -> Vec<crate::rdb::chunk::Chunk> {
        let value = self.list.get_mut(&id);
        let Some(seat) = value.and_then(|value| value.seats[walker].as_mut()) else {
            return Vec::new();
        };
        self.bytes[walker] -= std::mem::take(&mut seat.bytes);
        seat.parts.take()
    }

    /// A walk has finished a value, or gives it up. The value, if it was here and nobody waits for it any more.
    pub(super) fn finish(&mut self, id: ValueId, walker: usize) -> Option<Block<Object>> {
        let value = self.list.get_mut(&id)?;
        if let Some(seat) = value.seats[walker].take() {
            self.bytes[walker] -= seat.bytes;
        }
        if value.seats.iter().any(Option::is_some) {
            return None;
        }
        match self.list.remove(&id)?.place {
            Place::Key(identity, key) => {
                self.forget_key(identity, &key);
                None
            }
            Place::Here(block) => {
                self.here_bytes -= block.allocated_bytes();
                Some(block)
            }
        }
    }

    /// Whether no value is registered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.by_key.is_empty() && self.bytes == [0; WALKERS]
    }

    /// Whether some walk has not finished a value in the database of this identity.
    pub(super) fn wants(&self, identity: u64) -> bool {
        self.by_key.contains_key(&identity)
    }

    /// Memory of the parts that a walk was given and has not taken.
    pub(super) fn parts_bytes(&self, walker: usize) -> usize {
        self.bytes[walker]
    }

    /// Memory of values whose keys are gone.
    pub(super) fn here_bytes(&self) -> usize {
        self.here_bytes
    }
}
