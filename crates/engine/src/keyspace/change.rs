//! Changing a collection in any form, for the commands of all collection types.
//!
//! A command changes the elements and describes the change. Here a compact value is copied and
//! stored again, a large one changed in place, a missing one created and an empty one removed. The
//! change is counted and reported in the order of Redis: `new`, expired elements, the command's own
//! events, `del`.

use super::{Edit, EventKind, Expiry};
use crate::types::{BuildContext, Editable, Names, ValueRef};

/// The result of a change.
#[derive(Debug)]
pub struct Change<R> {
    /// The result for the command.
    pub result: R,
    /// Number of changes.
    pub count: u64,
    /// The events to report.
    pub events: &'static [EventKind],
    /// Expired elements that it removed first.
    pub expired: Names,
}

impl<R> Change<R> {
    /// Creates a result without changes.
    pub fn none(result: R) -> Change<R> {
        Change { result, count: 0, events: &[], expired: Names::new() }
    }

    /// Creates a result with this number of changed elements.
    pub fn of(result: R, count: u64, events: &'static [EventKind]) -> Change<R> {
        let events = if count > 0 { events } else { &[] };
        Change { result, count, events, expired: Names::new() }
    }

    fn is_change(&self) -> bool {
        self.count > 0 || !self.expired.is_empty()
    }
}

impl Edit<'_> {
    /// Lends the key's collection to `change` and stores the result. Returns none, without calling
    /// `change`, if the value has another type.
    pub fn change<C: Editable, R>(
        mut self,
        context: &BuildContext<'_>,
        change: impl FnOnce(&mut C::Mut<'_>) -> Change<R>,
    ) -> Option<R> {
        let dirty = self.keyspace.dirty;
        let existing = self.entry();
        let was_there = existing.is_some();
        let expiry = existing.and_then(|entry| entry.expiry()).map_or(Expiry::Clear, Expiry::At);
        let compact = match existing {
            None => Some(C::empty(context)),
            Some(entry) if entry.kind() & 0xf != C::NUMBER => return None,
            Some(entry) => match ValueRef::of(&entry) {
                ValueRef::Bytes(bytes) => Some(C::copy_of(entry.kind(), bytes, context)),
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
                let mut value = C::of_object(object, walkers, context)?;
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
