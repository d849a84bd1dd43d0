//! Large values that walks have found and not finished.
//!
//! When a walk visits the bucket of a large value, it copies key, expiry and number of elements, and
//! registers the value. From then on each change of the value first copies the pre-image of what it
//! changes for the walk (see [`crate::types::walkers`]). A registered value is located by its key:
//!
//! * when it is renamed or moved, its registered key changes;
//! * when it is removed or overwritten, it is kept here instead of being freed, until all walks have
//!   finished it;
//! * when its database is flushed, the walks keep the database (see [`super::walk`]).
//!
//! So a value always has one owner: its table or this list.

use std::collections::BTreeMap;

use russet_ds::{Block, WALKERS};

use crate::rdb::chunk::Chunk;
use crate::types::Object;
use crate::types::walkers::{PendingWalk, PendingWalks, Walker, Walkers};

/// The id of a registered value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ValueId(u64);

/// The place of a registered value.
#[derive(Debug)]
pub(super) enum Place {
    /// In the database with this identity, at this key.
    Key(u64, Box<[u8]>),
    /// Kept here after its removal from the key.
    Kept(Block<Object>),
}

#[derive(Debug)]
struct Registered {
    place: Place,
    pending: PendingWalks,
}

impl Registered {
    /// Whether a walk has visited some of its elements, and not all.
    fn has_walk_inside(&self) -> bool {
        self.pending.iter().flatten().any(|walk| walk.is_inside)
    }
}

/// Numbers of changes of large values that a walk was inside of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disturbed {
    /// Changes of elements that had a pre-image to hand over.
    pub changed: u64,
    /// Values that were renamed or moved.
    pub moved: u64,
    /// Values that were removed, alone or with their database.
    pub removed: u64,
    /// Values that were overwritten.
    pub replaced: u64,
}

/// The registered values.
#[derive(Debug, Default)]
pub(super) struct Values {
    list: BTreeMap<ValueId, Registered>,
    /// Values in databases, by identity and key. No inner map is empty.
    by_key: BTreeMap<u64, BTreeMap<Box<[u8]>, ValueId>>,
    last: u64,
    /// Memory of pre-images in bytes, by walker.
    bytes: [usize; WALKERS],
    /// Memory of the values that are kept here, in bytes.
    kept_bytes: usize,
    pub(super) disturbed: Disturbed,
}

impl Values {
    fn find(&self, identity: u64, key: &[u8]) -> Option<ValueId> {
        self.by_key.get(&identity)?.get(key).copied()
    }

    fn insert_key(&mut self, identity: u64, key: Box<[u8]>, id: ValueId) {
        self.by_key.entry(identity).or_default().insert(key, id);
    }

    fn remove_key(&mut self, identity: u64, key: &[u8]) -> Option<ValueId> {
        let keys = self.by_key.get_mut(&identity)?;
        let id = keys.remove(key);
        if keys.is_empty() {
            self.by_key.remove(&identity);
        }
        id
    }

    /// Registers the value of a key for a walk. `number`: the database of its chunks.
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
            self.list.insert(id, Registered { place, pending: Default::default() });
            self.insert_key(identity, key.into(), id);
            id
        });
        if let Some(value) = self.list.get_mut(&id) {
            value.pending[walker.index] = Some(PendingWalk::new(walker.epoch, number));
        }
        id
    }

    /// Calls `change` with the walks that have not finished the value of a key.
    pub(super) fn with_walkers<R>(
        &mut self,
        identity: u64,
        key: &[u8],
        change: impl FnOnce(Walkers<'_>) -> R,
    ) -> R {
        let id = if self.by_key.is_empty() { None } else { self.find(identity, key) };
        let Some(value) = id.and_then(|id| self.list.get_mut(&id)) else {
            return change(Walkers::default());
        };
        let result = change(Walkers::new(&mut value.pending));
        for (walk, bytes) in value.pending.iter_mut().zip(&mut self.bytes) {
            if let Some(walk) = walk {
                let (before, now) = walk.count_bytes();
                *bytes = *bytes - before + now;
                self.disturbed.changed += u64::from(walk.is_inside && now > before);
            }
        }
        result
    }

    /// Keeps a value that was removed from its key if a walk has not finished it; otherwise returns
    /// it.
    pub(super) fn adopt(
        &mut self,
        identity: u64,
        key: &[u8],
        block: Block<Object>,
        is_replaced: bool,
    ) -> Option<Block<Object>> {
        let id = if self.by_key.is_empty() { None } else { self.remove_key(identity, key) };
        let Some(value) = id.and_then(|id| self.list.get_mut(&id)) else { return Some(block) };
        self.kept_bytes += block.allocated_bytes();
        value.place = Place::Kept(block);
        let count = match is_replaced {
            true => &mut self.disturbed.replaced,
            false => &mut self.disturbed.removed,
        };
        *count += u64::from(value.has_walk_inside());
        None
    }

    /// Counts the values of a database that is detached.
    pub(super) fn count_detached(&mut self, identity: u64) {
        let ids = self.by_key.get(&identity).into_iter().flat_map(BTreeMap::values);
        let inside = ids.filter(|id| self.list[id].has_walk_inside()).count();
        self.disturbed.removed += inside as u64;
    }

    /// Handles the move of a value to another key.
    pub(super) fn moved(&mut self, from: (u64, &[u8]), to: (u64, &[u8])) {
        if self.by_key.is_empty() {
            return;
        }
        let Some(id) = self.remove_key(from.0, from.1) else { return };
        self.insert_key(to.0, to.1.into(), id);
        if let Some(value) = self.list.get_mut(&id) {
            value.place = Place::Key(to.0, to.1.into());
            self.disturbed.moved += u64::from(value.has_walk_inside());
        }
    }

    /// Notes that a walk has visited some of a value's elements, and not all.
    pub(super) fn entered(&mut self, id: ValueId, walker: usize) {
        let value = self.list.get_mut(&id);
        if let Some(walk) = value.and_then(|value| value.pending[walker].as_mut()) {
            walk.is_inside = true;
        }
    }

    /// Whether a walk is inside a value.
    pub(super) fn has_walk_inside(&self) -> bool {
        self.list.values().any(Registered::has_walk_inside)
    }

    /// Returns the place of a value.
    pub(super) fn place(&mut self, id: ValueId) -> Option<&mut Place> {
        self.list.get_mut(&id).map(|value| &mut value.place)
    }

    /// Takes the pre-images for a walk since the last call.
    pub(super) fn take_parts(&mut self, id: ValueId, walker: usize) -> Vec<Chunk> {
        let value = self.list.get_mut(&id);
        let Some(walk) = value.and_then(|value| value.pending[walker].as_mut()) else {
            return Vec::new();
        };
        let (parts, bytes) = walk.take_parts();
        self.bytes[walker] -= bytes;
        parts
    }

    /// Removes a walk from a value, finished or not. Returns the value if it was kept here and no
    /// other walk needs it.
    pub(super) fn finish(&mut self, id: ValueId, walker: usize) -> Option<Block<Object>> {
        let value = self.list.get_mut(&id)?;
        if let Some(walk) = value.pending[walker].take() {
            self.bytes[walker] -= walk.counted_bytes();
        }
        if value.pending.iter().any(Option::is_some) {
            return None;
        }
        match self.list.remove(&id)?.place {
            Place::Key(identity, key) => {
                self.remove_key(identity, &key);
                None
            }
            Place::Kept(block) => {
                self.kept_bytes -= block.allocated_bytes();
                Some(block)
            }
        }
    }

    /// Whether no value is registered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.by_key.is_empty() && self.bytes == [0; WALKERS]
    }

    /// Whether a walk has not finished a value in the database with this identity.
    pub(super) fn needs(&self, identity: u64) -> bool {
        self.by_key.contains_key(&identity)
    }

    /// Returns the memory of a walk's pre-images in bytes.
    pub(super) fn parts_bytes(&self, walker: usize) -> usize {
        self.bytes[walker]
    }

    /// Returns the memory of the values that are kept here, in bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }
}
