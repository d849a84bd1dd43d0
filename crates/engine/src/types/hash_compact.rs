//! Small hashes: a listpack of fields and values, or of triplets where fields expire.
//!
//! ```text
//!   listpack     field value field value …
//!   listpackex   field value expiry field value expiry …   the earliest expiry first, 0 for none at the end
//! ```
//!
//! The bytes are those that stock servers keep and write. Reading takes bytes that were checked when they came.

use russet_ds::listpack::{self, Element};

use super::hash::Field;

/// Whether a compact hash has an expiry behind each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It has not.
    Pairs,
    /// It has, ordered by it.
    Triplets,
}

impl Form {
    /// Elements for a field.
    pub fn stride(self) -> usize {
        match self {
            Form::Pairs => 2,
            Form::Triplets => 3,
        }
    }
}

/// Fields of a compact hash, in the order in which they stand.
pub fn fields(bytes: &[u8], form: Form) -> impl Iterator<Item = Field<'_>> + Clone {
    let mut elements = listpack::iter(bytes);
    std::iter::from_fn(move || {
        let (at, name) = elements.next()?;
        let (_, value) = elements.next()?;
        let expiry = match form {
            Form::Pairs => None,
            Form::Triplets => expiry_of(elements.next()?.1),
        };
        Some(Field { at, name, value, expiry })
    })
}

/// The field of this name.
pub fn find<'a>(bytes: &'a [u8], form: Form, name: &[u8]) -> Option<Field<'a>> {
    let at = listpack::find(bytes, listpack::first(bytes)?, name, form.stride())?;
    let mut elements = listpack::iter_from(bytes, at);
    let (_, name) = elements.next()?;
    let (_, value) = elements.next()?;
    let expiry = match form {
        Form::Pairs => None,
        Form::Triplets => expiry_of(elements.next()?.1),
    };
    Some(Field { at, name, value, expiry })
}

/// How many fields there are.
pub fn len(bytes: &[u8], form: Form) -> usize {
    listpack::len(bytes) / form.stride()
}

/// When the first of them expires.
pub fn earliest_expiry(bytes: &[u8]) -> Option<i64> {
    fields(bytes, Form::Triplets).next()?.expiry
}

/// Those that expire before a time: they stand first.
pub fn expired(bytes: &[u8], before_ms: i64) -> impl Iterator<Item = Field<'_>> {
    let fields = fields(bytes, Form::Triplets);
    fields.take_while(move |field| field.expiry.is_some_and(|at| at < before_ms))
}

fn expiry_of(element: Element<'_>) -> Option<i64> {
    match element {
        Element::Int(at) if at > 0 => Some(at),
        _ => None,
    }
}

/// A compact hash for change.
#[derive(Clone, Debug)]
pub struct Compact {
    bytes: Vec<u8>,
    form: Form,
}

impl Compact {
    /// One without fields.
    pub fn new() -> Compact {
        Compact { bytes: listpack::EMPTY.to_vec(), form: Form::Pairs }
    }

    /// A copy of one, with some room.
    pub fn copy_of(bytes: &[u8], form: Form) -> Compact {
        let mut copy = Vec::with_capacity(bytes.len() + SPARE_BYTES);
        copy.extend_from_slice(bytes);
        Compact { bytes: copy, form }
    }

    /// Makes room for fields of which names and values have so many bytes.
    pub fn reserve(&mut self, fields: usize, text_bytes: usize) {
        self.bytes.reserve(text_bytes.saturating_add(fields.saturating_mul(FIELD_BYTES)));
    }

    /// Its bytes, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether it has expiries.
    pub fn form(&self) -> Form {
        self.form
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        len(&self.bytes, self.form)
    }

    /// Its fields.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        fields(&self.bytes, self.form)
    }

    /// The field of this name.
    pub fn find(&self, name: &[u8]) -> Option<Field<'_>> {
        find(&self.bytes, self.form, name)
    }

    /// Whether there is room for a field, as stock servers see it.
    pub fn has_room(&self, name: &[u8], value: &[u8]) -> bool {
        listpack::has_room(&self.bytes, name.len() + value.len() + ROOM_BYTES)
    }

    /// Appends a field that is not there. It must have room.
    pub fn push(&mut self, name: &[u8], value: &[u8], expiry: Option<i64>) {
        if expiry.is_some() {
            self.take_expiries();
        }
        let at = match self.form {
            Form::Pairs => listpack::end(&self.bytes),
            Form::Triplets => self.place_of(expiry),
        };
        if at == listpack::end(&self.bytes) {
            listpack::append(&mut self.bytes, Element::of(name));
            listpack::append(&mut self.bytes, Element::of(value));
            if self.form == Form::Triplets {
                listpack::append(&mut self.bytes, Element::Int(expiry.unwrap_or(0)));
            }
            return;
        }
        // From the last to the first, so that they come to stand in order.
        listpack::insert(&mut self.bytes, at, Element::Int(expiry.unwrap_or(0)));
        listpack::insert(&mut self.bytes, at, Element::of(value));
        listpack::insert(&mut self.bytes, at, Element::of(name));
    }

    /// Sets a field's value and expiry. True if it was not there. It must have room.
    pub fn set(&mut self, name: &[u8], value: &[u8], expiry: Option<i64>) -> bool {
        let Some(old) = self.find(name) else {
            self.push(name, value, expiry);
            return true;
        };
        let at = old.at;
        if old.expiry == expiry {
            let value_at = listpack::next(&self.bytes, at).expect("a value behind the field");
            listpack::replace(&mut self.bytes, value_at, Element::of(value));
        } else {
            listpack::delete(&mut self.bytes, at, self.form.stride());
            self.push(name, value, expiry);
        }
        false
    }

    /// Removes a field. False if there is none of the name.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(at) = self.find(name).map(|field| field.at) else { return false };
        listpack::delete(&mut self.bytes, at, self.form.stride());
        true
    }

    /// Removes the fields that expire before a time, and gives their names.
    pub fn remove_expired(&mut self, now_ms: i64) -> Vec<Box<[u8]>> {
        let names: Vec<Box<[u8]>> =
            expired(&self.bytes, now_ms).map(|field| field.name_text().into()).collect();
        if let Some(first) = listpack::first(&self.bytes) {
            listpack::delete(&mut self.bytes, first, names.len() * self.form.stride());
        }
        names
    }

    /// When the first of its fields expires.
    pub fn earliest_expiry(&self) -> Option<i64> {
        (self.form == Form::Triplets).then(|| earliest_expiry(&self.bytes)).flatten()
    }

    /// Where a field with this expiry belongs: behind those that expire no later.
    fn place_of(&self, expiry: Option<i64>) -> usize {
        let later = |field: &Field<'_>| match (field.expiry, expiry) {
            (Some(theirs), Some(ours)) => theirs > ours,
            (theirs, ours) => theirs.is_none() && ours.is_some(),
        };
        let end = listpack::end(&self.bytes);
        self.fields().find(later).map_or(end, |field| field.at)
    }

    /// Becomes one with expiries.
    pub fn take_expiries(&mut self) {
        if self.form == Form::Triplets {
            return;
        }
        let mut bytes = listpack::EMPTY.to_vec();
        for field in self.fields() {
            for element in [field.name, field.value, Element::Int(0)] {
                listpack::append(&mut bytes, element);
            }
        }
        (self.bytes, self.form) = (bytes, Form::Triplets);
    }

    /// Becomes one without expiries; those that there are go.
    pub fn drop_expiries(&mut self) {
        if self.form == Form::Pairs {
            return;
        }
        let mut bytes = listpack::EMPTY.to_vec();
        for field in self.fields() {
            listpack::append(&mut bytes, field.name);
            listpack::append(&mut bytes, field.value);
        }
        (self.bytes, self.form) = (bytes, Form::Pairs);
    }
}

/// Room that a copy has: most changes need no more.
const SPARE_BYTES: usize = 128;

/// What a field mostly takes beside its texts.
const FIELD_BYTES: usize = 4;

/// More than a field takes beside its texts: heads, lengths behind, and an expiry.
const ROOM_BYTES: usize = 64;
