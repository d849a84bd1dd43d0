//! Hashes: fields with values, each of which may expire by itself.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Applied, Family, Model, Value, arg, excerpt, number, wrong_type};
use crate::digest;

pub(super) const FAMILY: Family = Family {
    names: &["hset", "hmset", "hsetnx", "hdel", "hincrby", "hpexpireat", "hpersist", "hsetex"],
    apply,
};

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    value: Vec<u8>,
    expiry: Option<i64>,
}

impl Field {
    fn digest(&self, name: &[u8]) -> u64 {
        digest::of_element(name, &self.value, self.expiry)
    }

    fn in_words(&self) -> String {
        format!("{} (expires {:?})", excerpt(&self.value), self.expiry)
    }
}

/// A hash. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hash {
    fields: BTreeMap<Vec<u8>, Field>,
    /// The sum of the fields' digests.
    sum: u64,
}

impl Hash {
    /// Whether it has no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// The value of a field.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields.get(name).map(|field| field.value.as_slice())
    }

    /// Sets a field's value and expiry. True if it was not there.
    pub fn set(&mut self, name: &[u8], value: &[u8], expiry: Option<i64>) -> bool {
        let is_new = !self.remove(name);
        let field = Field { value: value.to_vec(), expiry };
        self.sum = self.sum.wrapping_add(field.digest(name));
        self.fields.insert(name.to_vec(), field);
        is_new
    }

    fn remove(&mut self, name: &[u8]) -> bool {
        let Some(old) = self.fields.remove(name) else { return false };
        self.sum = self.sum.wrapping_sub(old.digest(name));
        true
    }

    fn expiry(&self, name: &[u8]) -> Option<i64> {
        self.fields.get(name).and_then(|field| field.expiry)
    }

    fn set_expiry(&mut self, name: &[u8], expiry: Option<i64>) {
        if let Place::Occupied(mut field) = self.fields.entry(name.to_vec()) {
            self.sum = self.sum.wrapping_sub(field.get().digest(name));
            field.get_mut().expiry = expiry;
            self.sum = self.sum.wrapping_add(field.get().digest(name));
        }
    }

    pub(super) fn digest(&self) -> u64 {
        digest::of_hash(self.sum)
    }

    pub(super) fn digest_if(&self, keep: &impl Fn(Option<i64>) -> bool) -> Option<u64> {
        let kept = || self.fields.iter().filter(|(_, field)| keep(field.expiry));
        kept().next()?;
        let sums = kept().map(|(name, field)| field.digest(name));
        Some(digest::of_hash(sums.fold(0, u64::wrapping_add)))
    }

    pub(super) fn in_words(&self) -> String {
        format!("a hash of {} fields", self.len())
    }

    /// Where two hashes differ first, in words.
    pub(super) fn difference(&self, other: &Hash) -> Option<String> {
        let names: BTreeSet<&Vec<u8>> = self.fields.keys().chain(other.fields.keys()).collect();
        let mut differing =
            names.into_iter().filter(|name| self.fields.get(*name) != other.fields.get(*name));
        let name = differing.next()?;
        let show = |hash: &Hash| hash.fields.get(name).map_or("nothing".into(), Field::in_words);
        let (ours, theirs, more) = (show(self), show(other), differing.count());
        Some(format!(
            "field {} and {more} more of {}: {ours} against {theirs}",
            excerpt(name),
            self.len()
        ))
    }
}

fn apply(model: &mut Model, name: &str, args: &[&[u8]]) -> Applied {
    let key = arg(args, 1)?;
    model.db().change(
        key,
        || Value::Hash(Arc::default()),
        |value| match value {
            Value::Hash(hash) => change(name, Arc::make_mut(hash), args),
            other => Err(wrong_type(other)),
        },
    )
}

fn change(name: &str, hash: &mut Hash, args: &[&[u8]]) -> Applied {
    match name {
        "hset" | "hmset" => each_pair(&args[2..], |name, value| hash.set(name, value, None)),
        "hsetnx" => {
            let name = arg(args, 2)?;
            if !hash.fields.contains_key(name) {
                hash.set(name, arg(args, 3)?, None);
            }
            Ok(())
        }
        "hdel" => {
            args[2..].iter().for_each(|name| {
                hash.remove(name);
            });
            Ok(())
        }
        "hincrby" => {
            let (name, by) = (arg(args, 2)?, number::<i64>(args, 3)?);
            let old = hash.fields.get(name).map_or(&b"0"[..], |field| &field.value);
            let sum = number::<i64>(&[old], 0)?.checked_add(by).ok_or("a sum overflows")?;
            hash.set(name, sum.to_string().as_bytes(), hash.expiry(name));
            Ok(())
        }
        "hpexpireat" => {
            let at = number(args, 2)?;
            let names = fields(args, 3, 1)?;
            names.iter().for_each(|name| hash.set_expiry(name, Some(at)));
            Ok(())
        }
        "hpersist" => {
            let names = fields(args, 2, 1)?;
            names.iter().for_each(|name| hash.set_expiry(name, None));
            Ok(())
        }
        _ => set_with_expiry(hash, args),
    }
}

/// HSETEX as it is propagated: with an absolute time, and no condition.
fn set_with_expiry(hash: &mut Hash, args: &[&[u8]]) -> Applied {
    let (mut expiry, mut keeps, mut at) = (None, false, 2);
    match arg(args, at)?.to_ascii_lowercase().as_slice() {
        b"pxat" => (expiry, at) = (Some(number(args, at + 1)?), at + 2),
        b"keepttl" => (keeps, at) = (true, at + 1),
        _ => {}
    }
    each_pair(fields(args, at, 2)?, |name, value| {
        let expiry = if keeps { hash.expiry(name) } else { expiry };
        hash.set(name, value, expiry)
    })
}

fn each_pair<'a>(pairs: &[&'a [u8]], mut set: impl FnMut(&'a [u8], &'a [u8]) -> bool) -> Applied {
    for pair in pairs.chunks(2) {
        set(pair[0], arg(pair, 1)?);
    }
    Ok(())
}

/// What follows FIELDS and a number: so many times `words`.
fn fields<'l, 'a>(args: &'l [&'a [u8]], at: usize, words: usize) -> Result<&'l [&'a [u8]], String> {
    let word = arg(args, at)?;
    if !word.eq_ignore_ascii_case(b"fields") {
        return Err(format!("has {} where FIELDS should be", excerpt(word)));
    }
    let count: usize = number(args, at + 1)?;
    let rest = &args[at + 2..];
    if rest.is_empty() || rest.len() != count * words {
        return Err(format!("{count} fields are announced, and {} words follow", rest.len()));
    }
    Ok(rest)
}
