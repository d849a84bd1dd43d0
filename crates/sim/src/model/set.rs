//! Sets.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Applied, Family, Model, Value, arg, excerpt, wrong_type};
use crate::digest;

pub(super) const FAMILY: Family =
    Family { names: &["sadd", "srem", "smove", "sinterstore", "sunionstore", "sdiffstore"], apply };

/// The members of a set.
pub type Set = BTreeSet<Vec<u8>>;

/// The digest of a set.
pub fn digest_of(set: &Set) -> u64 {
    let members = set.iter().map(|member| digest::of_element(member, b"", None));
    digest::of_set(members.fold(0, u64::wrapping_add))
}

fn apply(model: &mut Model, name: &str, args: &[&[u8]]) -> Applied {
    match name {
        "smove" => {
            let member = arg(args, 3)?;
            with_set(model, arg(args, 1)?, |set| match set.remove(member) {
                true => Ok(()),
                false => Err("has no such member".to_owned()),
            })?;
            with_set(model, arg(args, 2)?, |set| {
                set.insert(member.to_vec());
                Ok(())
            })
        }
        "sinterstore" | "sunionstore" | "sdiffstore" => {
            let keys = args.get(2..).unwrap_or_default();
            let sets = keys.iter().map(|key| set_at(model, key)).collect::<Result<Vec<_>, _>>()?;
            let (first, rest) = sets.split_first().ok_or("without keys")?;
            let combined = rest.iter().fold(first.clone(), |found, set| match name {
                "sinterstore" => &found & set,
                "sunionstore" => &found | set,
                _ => &found - set,
            });
            let key = arg(args, 1)?;
            model.db().remove(key);
            with_set(model, key, |set| {
                *set = combined;
                Ok(())
            })
        }
        _ => with_set(model, arg(args, 1)?, |set| {
            for member in &args[2..] {
                match name {
                    "sadd" => _ = set.insert(member.to_vec()),
                    _ => _ = set.remove(*member),
                }
            }
            Ok(())
        }),
    }
}

fn set_at(model: &mut Model, key: &[u8]) -> Result<Set, String> {
    match model.db().get(key).map(|entry| &entry.value) {
        None => Ok(Set::new()),
        Some(Value::Set(set)) => Ok(Set::clone(set)),
        Some(other) => Err(wrong_type(other)),
    }
}

fn with_set(model: &mut Model, key: &[u8], change: impl FnOnce(&mut Set) -> Applied) -> Applied {
    model.db().change(
        key,
        || Value::Set(Arc::default()),
        |value| match value {
            Value::Set(set) => change(Arc::make_mut(set)),
            other => Err(wrong_type(other)),
        },
    )
}

/// Where two sets differ first, in words.
pub(super) fn difference(ours: &Set, theirs: &Set) -> Option<String> {
    let mut differing = ours.symmetric_difference(theirs);
    let member = differing.next()?;
    let side = if ours.contains(member) { "here" } else { "there" };
    let more = differing.count();
    Some(format!("member {} is only {side}, and {more} more of {}", excerpt(member), ours.len()))
}
