//! Small hashes: a listpack of fields and values, or of triplets where fields expire.
//!
//! ```text
//!   listpack     field value field value …
//!   listpackex   field value expiry field value expiry …   the earliest expiry first, 0 for none at the end
//! ```
//!
//! The format is that of stock servers. Bytes are validated when they are received, and not when
//! they are read.

use russet_ds::listpack::{self, Element};

use super::hash::Field;

/// Whether a compact hash has an expiry for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It has no expiries.
    Pairs,
    /// It has expiries and is ordered by them.
    Triplets,
}

impl Form {
    /// Returns the number of listpack elements for a field.
    pub fn stride(self) -> usize {
        match self {
            Form::Pairs => 2,
            Form::Triplets => 3,
        }
    }
}

/// Iterates over the fields of a compact hash in order.
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

/// Finds the field with this name.
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

/// Returns the number of fields.
pub fn len(bytes: &[u8], form: Form) -> usize {
    listpack::len(bytes) / form.stride()
}

/// Returns the earliest expiry.
pub fn earliest_expiry(bytes: &[u8]) -> Option<i64> {
    fields(bytes, Form::Triplets).next()?.expiry
}

/// Iterates over the fields that expire before a time, which are the first ones.
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

/// A compact hash being changed.
#[derive(Clone, Debug)]
pub struct Compact {
    bytes: Vec<u8>,
    form: Form,
}

impl Compact {
    /// Creates one without fields.
    pub fn new() -> Compact {
        Compact { bytes: listpack::EMPTY.to_vec(), form: Form::Pairs }
    }

    /// Copies one, with some spare capacity.
    pub fn copy_of(bytes: &[u8], form: Form) -> Compact {
        let mut copy = Vec::with_capacity(bytes.len() + SPARE_BYTES);
        copy.extend_from_slice(bytes);
        Compact { bytes: copy, form }
    }

    /// Reserves memory for fields whose names and values have this total length in bytes.
    pub fn reserve(&mut self, fields: usize, text_bytes: usize) {
        self.bytes.reserve(text_bytes.saturating_add(fields.saturating_mul(FIELD_BYTES)));
    }

    /// Returns its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether it has expiries.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        len(&self.bytes, self.form)
    }

    /// Iterates over its fields.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        fields(&self.bytes, self.form)
    }

    /// Finds the field with this name.
    pub fn find(&self, name: &[u8]) -> Option<Field<'_>> {
        find(&self.bytes, self.form, name)
    }

    /// Whether a field can be added within the limit of stock servers.
    pub fn has_room(&self, name: &[u8], value: &[u8]) -> bool {
        listpack::has_room(&self.bytes, name.len() + value.len() + ROOM_BYTES)
    }

    /// Appends a field that does not exist. It must fit.
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
        // From the last to the first, so that they end up in order.
        listpack::insert(&mut self.bytes, at, Element::Int(expiry.unwrap_or(0)));
        listpack::insert(&mut self.bytes, at, Element::of(value));
        listpack::insert(&mut self.bytes, at, Element::of(name));
    }

    /// Sets value and expiry of a field. Returns whether it was created. It must fit.
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

    /// Removes a field. Returns false if it does not exist.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(at) = self.find(name).map(|field| field.at) else { return false };
        listpack::delete(&mut self.bytes, at, self.form.stride());
        true
    }

    /// Removes the fields that expire before a time. Returns their names.
    pub fn remove_expired(&mut self, now_ms: i64) -> Vec<Box<[u8]>> {
        let names: Vec<Box<[u8]>> =
            expired(&self.bytes, now_ms).map(|field| field.name_text().into()).collect();
        if let Some(first) = listpack::first(&self.bytes) {
            listpack::delete(&mut self.bytes, first, names.len() * self.form.stride());
        }
        names
    }

    /// Returns the earliest expiry.
    pub fn earliest_expiry(&self) -> Option<i64> {
        (self.form == Form::Triplets).then(|| earliest_expiry(&self.bytes)).flatten()
    }

    /// Returns the position for a field with this expiry: after those that do not expire later.
    fn place_of(&self, expiry: Option<i64>) -> usize {
        let later = |field: &Field<'_>| match (field.expiry, expiry) {
            (Some(theirs), Some(ours)) => theirs > ours,
            (theirs, ours) => theirs.is_none() && ours.is_some(),
        };
        let end = listpack::end(&self.bytes);
        self.fields().find(later).map_or(end, |field| field.at)
    }

    /// Adds expiries to the format.
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

    /// Removes all expiries from the format.
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

/// Upper bound of the overhead of a field: headers, backward lengths, and an expiry.
const ROOM_BYTES: usize = 64;
