//! Changing a collection, whichever form it has: what the commands of all its types share.
//!
//! A command says what to do with the elements, and what that was. Here a compact value is copied and stored, a large one
//! changed where it stands, one that is missing made and one that has become empty removed; and it is counted and
//! reported in Redis' order: `new`, what expired on the way, the command's own events, `del`.

use super::{Edit, EventKind, Expiry};
use crate::types::{Editable, Making, Names, ValueRef};

/// What a command made of a collection.
#[derive(Debug)]
pub struct Change<R> {
    /// What it wants to know itself.
    pub result: R,
    /// How many changes that was.
    pub count: u64,
    /// As what they are reported.
    pub events: &'static [EventKind],
    /// Elements that it removed first since they had expired.
    pub expired: Names,
}

impl<R> Change<R> {
    /// Nothing was changed.
    pub fn none(result: R) -> Change<R> {
        Change { result, count: 0, events: &[], expired: Names::new() }
    }

    /// So many elements were changed.
    pub fn of(result: R, count: u64, events: &'static [EventKind]) -> Change<R> {
        let events = if count > 0 { events } else { &[] };
        Change { result, count, events, expired: Names::new() }
    }

    fn is_change(&self) -> bool {
        self.count > 0 || !self.expired.is_empty()
    }
}

impl Edit<'_> {
    /// Lends the key's collection to `change`, and keeps what becomes of it. None, and `change` is not called, if a value of
    /// another type stands there.
    pub fn change<C: Editable, R>(
        mut self,
        making: &Making<'_>,
        change: impl FnOnce(&mut C::Mut<'_>) -> Change<R>,
    ) -> Option<R> {
        let dirty = self.keyspace.dirty;
        let existing = self.entry();
        let was_there = existing.is_some();
        let expiry = existing.and_then(|entry| entry.expiry()).map_or(Expiry::Clear, Expiry::At);
        let compact = match existing {
            None => Some(C::empty(making)),
            Some(entry) if entry.kind() & 0xf != C::NUMBER => return None,
            Some(entry) => match ValueRef::of(&entry) {
                ValueRef::Bytes(bytes) => Some(C::copy_of(entry.kind(), bytes, making)),
                ValueRef::Object(_) => None,
            },
        };
        let (done, is_empty) = match compact {
            Some(mut value) => {
                let done = change(&mut value);
                let is_empty = C::is_empty(&value);
                if done.is_change()
                    && let Some(value) = C::into_value(value)
                {
                    self.store_with(value, expiry);
                }
                (done, is_empty)
            }
            None => self.change_object(|object, walkers| {
                let mut value = C::of_object(object, walkers, making)?;
                let done = change(&mut value);
                Some((done, C::is_empty(&value)))
            })??,
        };
        if !was_there && !is_empty {
            self.changed(EventKind::New);
        }
        self.keyspace.elements_expired(self.db, self.key, C::REMOVAL, done.expired);
        for event in done.events {
            self.changed(*event);
        }
        if was_there && is_empty {
            self.remove_entry(EventKind::Del);
        }
        self.keyspace.dirty = dirty + done.count;
        Some(done.result)
    }
}
