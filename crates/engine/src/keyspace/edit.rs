//! The write guard, through which all changes of the keyspace are made.
//!
//! A key is changed through an [`Edit`]. Opening it copies pre-images for running walks; each
//! change is counted as dirty and reported as an event. No other part of the engine has mutable
//! access to a table.

use russet_ds::{Block, EntryRef, NewPayload, OutOfMemory, OwnedEntry, Payload, SharedBytes};

use super::{EventKind, Key, Keyspace};
use crate::injected::Bug;
use crate::io::Garbage;
use crate::types::string;
use crate::types::walkers::Walkers;
use crate::types::{Body, INLINE_MAX, Object, Value, ValueRef, next_sweep, payload};

/// Minimum number of allocations of a value that is freed lazily: below, passing it to another
/// thread costs more.
const LAZY_FREE_COST: usize = 64;

/// Minimum size of a value that is freed lazily, in bytes: the allocator returns its memory to the
/// kernel, which takes long.
const LAZY_FREE_BYTES: usize = 1 << 20;

/// How the expiry of a key changes when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It is cleared.
    Clear,
    /// It is kept.
    Keep,
    /// It is set to this Unix time in milliseconds.
    At(i64),
}

/// The write guard of a key.
#[derive(Debug)]
pub struct Edit<'a> {
    pub(super) keyspace: &'a mut Keyspace,
    pub(super) db: u32,
    pub(super) key: Key<'a>,
}

impl<'a> Edit<'a> {
    #[inline]
    pub(super) fn open(keyspace: &'a mut Keyspace, db: u32, key: Key<'a>) -> Edit<'a> {
        if keyspace.walks.any() {
            keyspace.preserve(db, key);
        }
        Edit { keyspace, db, key }
    }

    /// Counts and reports a change made by [`Edit::change_object`].
    #[inline]
    pub fn changed(&mut self, event: EventKind) {
        self.keyspace.dirty += 1;
        self.keyspace.key_changed(self.db, self.key, event);
    }

    /// Returns the current entry, even if it is expired.
    pub fn entry(&self) -> Option<EntryRef<'_, Object>> {
        self.keyspace.db(self.db).get(self.key)
    }

    /// Sets a string as SET does, replacing a value of any type.
    #[inline]
    pub fn set_string(self, bytes: &[u8], expiry: Expiry, event: EventKind) {
        self.set(string::kind_of_new(bytes), payload(bytes), expiry, event);
    }

    /// Sets a string, which shares these bytes if it is not so short that it is copied.
    pub fn set_shared(self, bytes: &SharedBytes, expiry: Expiry, event: EventKind) {
        match bytes.len() <= INLINE_MAX {
            true => self.set_string(bytes, expiry, event),
            false => {
                let payload = NewPayload::Block(bytes.clone().into());
                self.set(string::kind_of_new(bytes), payload, expiry, event);
            }
        }
    }

    /// Sets a value.
    pub fn set_value(self, value: Value<'_>, expiry: Expiry, event: EventKind) {
        value.put(|kind, payload| self.set(kind, payload, expiry, event));
    }

    /// Sets a value by kind and payload. SET with an expiry causes two events.
    #[inline]
    pub fn set(
        mut self,
        kind: u8,
        payload: NewPayload<'_, Object>,
        expiry: Expiry,
        event: EventKind,
    ) {
        let clock = match event.creates() {
            true => self.keyspace.first_clock(),
            false => self.keyspace.clock_after_use(self.db, self.key),
        };
        let created = self.put(kind, payload, expiry, clock) || event.creates();
        if created && event != EventKind::New {
            self.keyspace.event(self.db, self.key, EventKind::New);
        }
        self.changed(event);
        if event == EventKind::Set && matches!(expiry, Expiry::At(_)) {
            self.keyspace.event(self.db, self.key, EventKind::Expire);
        }
    }

    /// Stores a changed value and keeps the expiry. The change must be reported with
    /// [`Edit::changed`].
    pub fn store(&mut self, value: Value<'_>) {
        self.store_with(value, Expiry::Keep);
    }

    pub(super) fn store_with(&mut self, value: Value<'_>, expiry: Expiry) {
        let clock = self.keyspace.clock_after_use(self.db, self.key);
        if matches!(value.body, Body::Block(_)) && self.entry().is_some() {
            self.keyspace.stats.converted += 1;
        }
        value.put(|kind, payload| self.put(kind, payload, expiry, clock));
    }

    /// Sets a value as a loader does: it counts as a change, without an event. Returns whether the
    /// key was created.
    #[inline]
    #[must_use]
    pub fn load(
        mut self,
        kind: u8,
        payload: NewPayload<'_, Object>,
        expiry: Expiry,
        clock: u32,
    ) -> bool {
        self.keyspace.dirty += 1;
        self.put(kind, payload, expiry, clock)
    }

    /// Puts a value, replacing any other. Returns whether the key was created.
    #[inline]
    fn put(
        &mut self,
        kind: u8,
        payload: NewPayload<'_, Object>,
        expiry: Expiry,
        clock: u32,
    ) -> bool {
        let hasher = self.keyspace.hasher;
        let db = self.keyspace.db_mut(self.db);
        let before = db.len();
        let is_kept = expiry == Expiry::Keep;
        let expiry = match expiry {
            Expiry::Clear => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => db.get(self.key).and_then(|entry| entry.expiry()),
        };
        let hash_of = |key: &[u8]| hasher.hash(key);
        let next_sweep = next_sweep(kind, &payload);
        let Key { bytes, hash } = self.key;
        let old = db.table.set(hash, bytes, kind, payload, expiry, clock, &hash_of);
        if let Some(at) = next_sweep
            && let Some(mut entry) = db.table.get_mut(hash, bytes)
        {
            entry.set_inner_expiry(Some(at));
        }
        let created = db.table.len() > before;
        if created && let Some(slots) = &mut db.slots {
            slots.of(self.key.slot()).keys += 1;
        }
        if let Some(old) = old {
            self.keyspace.free_lazily(self.db, old);
        }
        if !is_kept {
            self.expiry_changed(expiry);
        }
        created
    }

    #[inline]
    fn expiry_changed(&mut self, expiry: Option<i64>) {
        let own = &mut self.keyspace.own_expiries;
        if !own.is_idle() {
            own.changed(self.db, self.key.bytes, expiry);
        }
    }

    /// Lends a large value to `change`, with the walks through it. Returns none, without calling
    /// `change`, if the value is compact or missing. The change must be reported with
    /// [`Edit::changed`].
    pub fn change_object<R>(
        &mut self,
        change: impl FnOnce(&mut Object, Walkers<'_>) -> R,
    ) -> Option<R> {
        let clock = self.keyspace.clock_after_use(self.db, self.key);
        let skips = self.keyspace.injected(Bug::SkippedElements) && self.key.hash.is_multiple_of(3);
        let Keyspace { dbs, walks, .. } = &mut *self.keyspace;
        let db = &mut dbs[self.db as usize];
        let identity = db.identity;
        let mut entry = db.get_mut(self.key)?;
        let (result, kind, next_sweep) = entry.edit_block(|block| {
            let object = block.get_mut()?;
            let change = |walkers: Walkers<'_>| change(object, walkers);
            let result = match skips {
                true => change(Walkers::default()),
                false => walks.with_walkers(identity, self.key.bytes, change),
            };
            let collection = object.collection();
            let (kind, next_sweep) = (collection.kind(), collection.next_sweep());
            let owned_bytes = collection.owned_bytes();
            block.set_owned_bytes(owned_bytes);
            Some((result, kind, next_sweep))
        })??;
        entry.set_kind(kind);
        entry.set_inner_expiry(next_sweep);
        entry.set_clock(clock);
        Some(result)
    }

    /// Lends the bytes of a string to `change`, which returns a result and how many changes that was. Zero bytes are
    /// added up to a length of `len`; a missing key is created, an expiry kept. Without an event, only watchers are told.
    ///
    /// A long string is changed in place, after copying it if a snapshot or a reply shares it; so is a short one whose
    /// length stays the same. Changes nothing if memory is insufficient. The value must not have another type.
    pub fn change_bytes<R>(
        mut self,
        len: usize,
        event: impl Into<Option<EventKind>>,
        change: impl FnOnce(&mut [u8]) -> (R, u64),
    ) -> Result<R, OutOfMemory> {
        let clock = self.keyspace.clock_after_use(self.db, self.key);
        let mut change = Some(change);
        let mut change = |bytes: &mut [u8]| change.take().expect("one form is changed")(bytes);
        let (result, count) = match self.change_bytes_in_place(len, clock, &mut change)? {
            Some(done) => done,
            None => {
                let short = match self.entry().map(|entry| ValueRef::of(&entry)) {
                    Some(ValueRef::Bytes(bytes)) => bytes,
                    None | Some(ValueRef::Object(_)) => &[],
                };
                debug_assert!(short.len() <= INLINE_MAX, "a long string was changed in place");
                let mut buffer = [0; INLINE_MAX];
                buffer[..short.len()].copy_from_slice(short);
                self.change_short_string(buffer, len.max(short.len()), clock, &mut change)?
            }
        };
        if count > 0 {
            self.keyspace.dirty += count;
            match event.into() {
                Some(event) => self.keyspace.key_changed(self.db, self.key, event),
                None => self.keyspace.key_touched(self.db, self.key),
            }
        }
        Ok(result)
    }

    /// Returns none, without calling `change`, if there is no string that can be changed in place.
    fn change_bytes_in_place<R>(
        &mut self,
        len: usize,
        clock: u32,
        change: &mut impl FnMut(&mut [u8]) -> R,
    ) -> Result<Option<R>, OutOfMemory> {
        let db = self.keyspace.db_mut(self.db);
        let Some(mut entry) = db.get_mut(self.key) else { return Ok(None) };
        let result = match entry.inline_mut() {
            Some(bytes) if bytes.len() >= len => Some(change(bytes)),
            Some(_) => return Ok(None),
            None => entry
                .edit_block(|block| {
                    let Some(mut bytes) = block.try_bytes_mut(len)? else { return Ok(None) };
                    bytes.resize(len.max(bytes.len()));
                    Ok(Some(change(&mut bytes)))
                })
                .transpose()?
                .flatten(),
        };
        entry.set_kind(string::KIND_RAW);
        entry.set_clock(clock);
        Ok(result)
    }

    /// Changes a copy of a short string, which may become a long one, and stores it.
    fn change_short_string<R>(
        &mut self,
        mut short: [u8; INLINE_MAX],
        len: usize,
        clock: u32,
        change: &mut impl FnMut(&mut [u8]) -> R,
    ) -> Result<R, OutOfMemory> {
        let mut result = None;
        let payload = if len <= INLINE_MAX {
            result = Some(change(&mut short[..len]));
            NewPayload::Inline(&short[..len])
        } else {
            NewPayload::Block(Block::try_filled(len, |bytes| {
                bytes[..INLINE_MAX].copy_from_slice(&short);
                result = Some(change(bytes));
            })?)
        };
        if self.put(string::KIND_RAW, payload, Expiry::Keep, clock) {
            self.keyspace.event(self.db, self.key, EventKind::New);
        }
        Ok(result.expect("the bytes were changed"))
    }

    /// Sets or clears the expiry. Returns false if the key does not exist.
    pub fn set_expiry(mut self, expiry: Option<i64>) -> bool {
        let clock = self.keyspace.clock_after_use(self.db, self.key);
        let db = self.keyspace.db_mut(self.db);
        let Some(mut entry) = db.get_mut(self.key) else { return false };
        entry.set_expiry(expiry);
        entry.set_clock(clock);
        self.expiry_changed(expiry);
        self.changed(if expiry.is_some() { EventKind::Expire } else { EventKind::Persist });
        true
    }

    /// Sets the access clock (OBJECT FREQ and IDLETIME, RESTORE), which is not a change.
    pub fn set_clock(self, clock: u32) {
        if let Some(mut entry) = self.keyspace.db_mut(self.db).get_mut(self.key) {
            entry.set_clock(clock);
        }
    }

    /// Removes the key. Returns false if it does not exist.
    pub fn remove(mut self, event: EventKind) -> bool {
        self.remove_entry(event)
    }

    pub(super) fn remove_entry(&mut self, event: EventKind) -> bool {
        match self.take() {
            Some(old) => {
                self.keyspace.free_lazily(self.db, old);
                self.changed(event);
                true
            }
            None => false,
        }
    }

    fn take(&mut self) -> Option<OwnedEntry<Object>> {
        let hasher = self.keyspace.hasher;
        let db = self.keyspace.db_mut(self.db);
        let hash_of = |key: &[u8]| hasher.hash(key);
        let old = db.table.remove(self.key.hash, self.key.bytes, &hash_of)?;
        if let Some(slots) = &mut db.slots {
            slots.of(self.key.slot()).keys -= 1;
        }
        self.expiry_changed(None);
        Some(old)
    }

    /// Moves the key with value, expiry and encoding to another name or database (RENAME, MOVE),
    /// replacing any value there. It counts as one change and causes two events. Returns false if
    /// the key does not exist.
    pub fn move_to(mut self, db: u32, key: Key<'_>, events: [EventKind; 2]) -> bool {
        let Some(old) = self.take() else { return false };
        let (kind, expiry) = (old.kind(), old.expiry());
        let clock = self.keyspace.first_clock();
        let mut target = Edit::open(self.keyspace, db, key);
        let expiry = expiry.map_or(Expiry::Clear, Expiry::At);
        if let Payload::Inline(bytes) = old.payload() {
            target.put(kind, NewPayload::Inline(bytes), expiry, clock);
        } else if let Some(block) = old.into_block() {
            target.put(kind, NewPayload::Block(block), expiry, clock);
        }
        self.keyspace.value_moved((self.db, self.key.bytes), (db, key.bytes));
        let [from, to] = events;
        self.keyspace.dirty += 1;
        self.keyspace.event(db, key, EventKind::New);
        self.keyspace.key_changed(self.db, self.key, from);
        self.keyspace.key_changed(db, key, to);
        true
    }
}

impl Keyspace {
    /// Frees an old value, on another thread if that is expensive. A value that a walk has not
    /// finished is kept.
    fn free_lazily(&mut self, db: u32, old: OwnedEntry<Object>) {
        let Payload::Block(block) = old.payload() else { return };
        if block.value().is_some() && self.walks.any() {
            return self.keep_for_walks(db, old);
        }
        let is_long = block.allocated_bytes() >= LAZY_FREE_BYTES;
        if is_long || ValueRef::of_payload(old.payload()).free_cost() >= LAZY_FREE_COST {
            self.garbage.push(Garbage::new(1, old));
        }
    }

    #[cold]
    fn keep_for_walks(&mut self, db: u32, old: OwnedEntry<Object>) {
        let (identity, key) = (self.db(db).identity, Box::from(old.key()));
        let is_replaced = self.db(db).get(self.hasher.key(&key)).is_some();
        if let Some(block) = old.into_block()
            && let Some(block) = self.walks.adopt_value(identity, &key, block, is_replaced)
        {
            self.garbage.push(Garbage::new(1, block));
        }
    }

    /// Updates walks after a value was moved to another key.
    fn value_moved(&mut self, from: (u32, &[u8]), to: (u32, &[u8])) {
        if self.walks.any() {
            let identity = |db: u32| self.db(db).identity;
            let (source, target) = (identity(from.0), identity(to.0));
            self.walks.value_moved((source, from.1), (target, to.1));
        }
    }
}
