//! A hash being changed, in any form.
//!
//! A compact hash is copied, changed and stored again; a table is changed in place, after copying
//! pre-images for walks. A compact hash may become a table.

use russet_ds::hash::Seed;

use super::elements::Elements;
use super::hash::{Field, Hash, Limits, NUMBER, form_of, value_of_compact};
use super::hash_compact::Compact;
use super::walkers::Walkers;
use super::{BuildContext, Collection, Editable, Object, Value};

/// Maximum number of fields to reserve memory for by a file's claim.
const ANNOUNCED_MAX: usize = 4096;

/// A hash being changed.
#[derive(Debug)]
pub struct HashMut<'a> {
    state: State<'a>,
    limits: Limits,
    seed: Seed,
}

#[derive(Debug)]
enum State<'a> {
    Compact(Compact),
    /// It was compact or is being built.
    NewTable(Hash),
    /// It is in its entry.
    Table(&'a mut Hash, Walkers<'a>),
}

impl HashMut<'static> {
    /// Creates a hash without fields.
    pub fn new(limits: Limits, seed: Seed) -> HashMut<'static> {
        HashMut { state: State::Compact(Compact::new()), limits, seed }
    }

    /// Returns the resulting value; none if it has no fields.
    pub fn into_value(self) -> Option<Value<'static>> {
        if self.is_empty() {
            return None;
        }
        Some(match self.state {
            State::Compact(compact) => value_of_compact(compact),
            State::NewTable(hash) => Value::large(hash.kind(), Object::Hash(hash)),
            State::Table(..) => unreachable!("a table in its entry does not live for ever"),
        })
    }
}

impl Editable for Hash {
    const NUMBER: u8 = NUMBER;
    const REMOVAL: &'static [u8] = b"HDEL";

    type Mut<'a> = HashMut<'a>;

    fn empty(context: &BuildContext<'_>) -> HashMut<'static> {
        HashMut::new(Limits::of(context.config), context.seed)
    }

    fn copy_of(kind: u8, bytes: &[u8], context: &BuildContext<'_>) -> HashMut<'static> {
        let state = State::Compact(Compact::copy_of(bytes, form_of(kind)));
        HashMut { state, limits: Limits::of(context.config), seed: context.seed }
    }

    fn of_object<'a>(
        object: &'a mut Object,
        walkers: Walkers<'a>,
        context: &BuildContext<'_>,
    ) -> Option<HashMut<'a>> {
        let Object::Hash(hash) = object else { return None };
        let state = State::Table(hash, walkers);
        Some(HashMut { state, limits: Limits::of(context.config), seed: context.seed })
    }

    fn is_empty(hash: &HashMut<'_>) -> bool {
        hash.is_empty()
    }

    fn into_value(hash: HashMut<'static>) -> Option<Value<'static>> {
        hash.into_value()
    }
}

impl HashMut<'_> {
    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        match &self.state {
            State::Compact(compact) => compact.len(),
            State::NewTable(hash) => hash.elements.len(),
            State::Table(hash, _) => hash.elements.len(),
        }
    }

    /// Whether it has no fields.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the field with this name, even if it is expired.
    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        match &self.state {
            State::Compact(compact) => compact.find(name),
            State::NewTable(hash) => hash.elements.get(name).map(|e| Field::of_element(&e)),
            State::Table(hash, _) => hash.elements.get(name).map(|e| Field::of_element(&e)),
        }
    }

    /// Returns a lower bound of the earliest expiry of its fields.
    pub fn earliest_expiry(&self) -> Option<i64> {
        match &self.state {
            State::Compact(compact) => compact.earliest_expiry(),
            State::NewTable(hash) => hash.elements.earliest_expiry(),
            State::Table(hash, _) => hash.elements.earliest_expiry(),
        }
    }

    /// Reserves memory for additional fields with these names and values. Converts the hash to a
    /// table if it cannot remain compact with them.
    pub fn prepare<'t>(&mut self, fields: usize, mut texts: impl Iterator<Item = &'t [u8]>) {
        let State::Compact(compact) = &mut self.state else { return };
        let limits = self.limits;
        let mut text_bytes = 0_usize;
        let mut fits = |text: &[u8]| {
            text_bytes = text_bytes.saturating_add(text.len());
            limits.allow_value(text.len())
        };
        if limits.allow_entries(fields) && texts.all(&mut fits) {
            compact.reserve(fields, text_bytes);
        } else {
            let fields = compact.len() + fields;
            self.become_table(fields);
        }
    }

    /// Converts it to a table if it cannot remain compact with this number of fields, claimed by a
    /// file.
    pub fn announce(&mut self, fields: u64) {
        if fields > self.limits.entries {
            self.become_table(usize::try_from(fields).unwrap_or(usize::MAX).min(ANNOUNCED_MAX));
        }
    }

    /// Sets value and expiry of a field. Returns whether it was created.
    pub fn set(&mut self, name: &[u8], value: &[u8], expiry: Option<i64>) -> bool {
        self.make_room(name, value);
        let created = match &mut self.state {
            State::Compact(compact) => compact.set(name, value, expiry),
            State::NewTable(hash) => {
                hash.elements.set(name, value, expiry, &mut Walkers::default())
            }
            State::Table(hash, walkers) => hash.elements.set(name, value, expiry, walkers),
        };
        self.leave_compact_if_long();
        created
    }

    fn make_room(&mut self, name: &[u8], value: &[u8]) {
        if let State::Compact(compact) = &self.state
            && !(self.limits.allow_value(name.len())
                && self.limits.allow_value(value.len())
                && compact.has_room(name, value))
        {
            self.become_table(compact.len() + 1);
        }
    }

    fn leave_compact_if_long(&mut self) {
        if let State::Compact(compact) = &self.state
            && !self.limits.allow_entries(compact.len())
        {
            self.become_table(compact.len());
        }
    }

    /// Sets or clears the expiry of a field. Returns false if it does not exist.
    pub fn set_expiry(&mut self, name: &[u8], expiry: Option<i64>) -> bool {
        match &mut self.state {
            State::Compact(compact) => {
                let Some(field) = compact.find(name) else { return false };
                if field.expiry != expiry {
                    let value = field.value_text().into_owned();
                    compact.set(name, &value, expiry);
                }
                true
            }
            State::NewTable(hash) => {
                hash.elements.set_expiry(name, expiry, &mut Walkers::default())
            }
            State::Table(hash, walkers) => hash.elements.set_expiry(name, expiry, walkers),
        }
    }

    /// Removes a field. Returns false if it does not exist.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match &mut self.state {
            State::Compact(compact) => compact.remove(name),
            State::NewTable(hash) => hash.elements.remove(name, &mut Walkers::default()),
            State::Table(hash, walkers) => hash.elements.remove(name, walkers),
        }
    }

    /// Converts it to a table with memory for this number of fields.
    fn become_table(&mut self, fields: usize) {
        let State::Compact(compact) = &self.state else { return };
        let mut elements = Elements::new(self.seed);
        elements.reserve(fields);
        for field in compact.fields() {
            let (name, value) = (field.name_text(), field.value_text());
            elements.set(&name, &value, field.expiry, &mut Walkers::default());
        }
        self.state = State::NewTable(Hash { elements });
    }
}
