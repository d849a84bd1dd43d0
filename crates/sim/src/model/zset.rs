//! Sorted sets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Applied, Family, Model, Value, arg, excerpt, number, wrong_type};
use crate::digest;

pub(super) const FAMILY: Family = Family {
    names: &[
        "zadd",
        "zincrby",
        "zrem",
        "zremrangebyrank",
        "zremrangebyscore",
        "zremrangebylex",
        "zpopmin",
        "zpopmax",
        "zrangestore",
        "zunionstore",
        "zinterstore",
        "zdiffstore",
    ],
    apply,
};

/// Members with the bits of their scores.
pub type Zset = BTreeMap<Vec<u8>, u64>;

/// The digest of a sorted set.
pub fn digest_of(zset: &Zset) -> u64 {
    let one =
        |(member, score): (&Vec<u8>, &u64)| digest::of_element(member, &score.to_le_bytes(), None);
    digest::of_zset(zset.iter().map(one).fold(0, u64::wrapping_add))
}

/// The members in order.
fn sorted(zset: &Zset) -> Vec<(f64, &[u8])> {
    let mut members: Vec<(f64, &[u8])> =
        zset.iter().map(|(member, score)| (f64::from_bits(*score), &**member)).collect();
    members.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    members
}

fn apply(model: &mut Model, name: &str, args: &[&[u8]]) -> Applied {
    match name {
        "zadd" => add(model, args),
        "zincrby" => {
            let (by, member) = (number::<f64>(args, 2)?, arg(args, 3)?);
            with_zset(model, arg(args, 1)?, |zset| {
                let old = zset.get(member).map_or(0.0, |score| f64::from_bits(*score));
                zset.insert(member.to_vec(), (old + by).to_bits());
                Ok(())
            })
        }
        "zrem" => with_zset(model, arg(args, 1)?, |zset| {
            args[2..].iter().for_each(|member| _ = zset.remove(*member));
            Ok(())
        }),
        "zpopmin" | "zpopmax" => {
            let count = if args.len() > 2 { number(args, 2)? } else { 1 };
            with_zset(model, arg(args, 1)?, |zset| {
                let mut order = names(zset, |_, _, _| true);
                if name == "zpopmax" {
                    order.reverse();
                }
                order.iter().take(count).for_each(|member| _ = zset.remove(member));
                Ok(())
            })
        }
        "zremrangebyrank" | "zremrangebyscore" | "zremrangebylex" => {
            let (min, max) = (arg(args, 2)?, arg(args, 3)?);
            let wanted = range(&name[name.len() - 3..], min, max)?;
            with_zset(model, arg(args, 1)?, |zset| {
                let len = zset.len();
                let gone = names(zset, |rank, score, member| wanted(rank, len, score, member));
                gone.iter().for_each(|member| _ = zset.remove(member));
                Ok(())
            })
        }
        "zrangestore" => {
            let source = zset_at(model, arg(args, 2)?)?;
            let wanted = range("ank", arg(args, 3)?, arg(args, 4)?)?;
            let kept =
                names(&source, |rank, score, member| wanted(rank, source.len(), score, member));
            let kept = kept.into_iter().map(|member| (member.clone(), source[&member]));
            store(model, arg(args, 1)?, kept.collect())
        }
        _ => combine(model, name, args),
    }
}

/// The names of members, in order, by rank, score and name.
fn names(zset: &Zset, wanted: impl Fn(usize, f64, &[u8]) -> bool) -> Vec<Vec<u8>> {
    let order = sorted(zset).into_iter().enumerate();
    let found = order.filter(|(rank, (score, member))| wanted(*rank, *score, member));
    found.map(|(_, (_, member))| member.to_vec()).collect()
}

/// Tells whether a member is in a range, by its rank, the number of all members, its score and its name.
type InRange<'a> = Box<dyn Fn(usize, usize, f64, &[u8]) -> bool + 'a>;

/// A range with limits that are included, by the last letters of what limits it.
fn range<'a>(by: &str, min: &'a [u8], max: &'a [u8]) -> Result<InRange<'a>, String> {
    if by == "lex" {
        let (min, max) = (min.strip_prefix(b"["), max.strip_prefix(b"["));
        let (min, max) = min.zip(max).ok_or("limits that are no texts")?;
        return Ok(Box::new(move |_, _, _, member| min <= member && member <= max));
    }
    let limits = [min, max];
    if by == "ank" {
        let (min, max) = (number::<i64>(&limits, 0)?, number::<i64>(&limits, 1)?);
        return Ok(Box::new(move |rank, len, _, _| {
            let (rank, len) = (rank as i64, len as i64);
            let place = |limit: i64| if limit < 0 { limit + len } else { limit };
            place(min) <= rank && rank <= place(max)
        }));
    }
    let (min, max) = (number::<f64>(&limits, 0)?, number::<f64>(&limits, 1)?);
    Ok(Box::new(move |_, _, score, _| min <= score && score <= max))
}

/// ZADD with one option at most.
fn add(model: &mut Model, args: &[&[u8]]) -> Applied {
    let option = arg(args, 2)?.to_ascii_uppercase();
    let option =
        [&b"NX"[..], b"XX", b"GT", b"LT", b"INCR"].into_iter().find(|word| *word == option);
    let pairs = &args[2 + usize::from(option.is_some())..];
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err("a score without a member".to_owned());
    }
    with_zset(model, arg(args, 1)?, |zset| {
        for pair in pairs.chunks(2) {
            let (given, member) = (number::<f64>(pair, 0)?, pair[1]);
            let old = zset.get(member).map(|score| f64::from_bits(*score));
            let score = match (option, old) {
                (Some(b"NX"), Some(_)) | (Some(b"XX"), None) => continue,
                (Some(b"GT"), Some(old)) if given <= old => continue,
                (Some(b"LT"), Some(old)) if given >= old => continue,
                (Some(b"INCR"), Some(old)) => old + given,
                _ => given,
            };
            zset.insert(member.to_vec(), score.to_bits());
        }
        Ok(())
    })
}

/// Unions and so on without options: scores are added.
fn combine(model: &mut Model, name: &str, args: &[&[u8]]) -> Applied {
    let count = number::<usize>(args, 2)?;
    let keys = args.get(3..).filter(|keys| keys.len() == count).ok_or("with options")?;
    let sources = keys.iter().map(|key| zset_at(model, key)).collect::<Result<Vec<_>, _>>()?;
    let (first, rest) = sources.split_first().ok_or("without keys")?;
    let mut result = first.clone();
    for source in rest {
        match name {
            "zunionstore" | "zinterstore" => {
                if name == "zinterstore" {
                    result.retain(|member, _| source.contains_key(member));
                }
                for (member, score) in source {
                    let score = f64::from_bits(*score);
                    match result.get_mut(member) {
                        Some(sum) => *sum = (f64::from_bits(*sum) + score).to_bits(),
                        None if name == "zunionstore" => {
                            result.insert(member.clone(), score.to_bits());
                        }
                        None => {}
                    }
                }
            }
            _ => result.retain(|member, _| !source.contains_key(member)),
        }
    }
    store(model, arg(args, 1)?, result)
}

fn store(model: &mut Model, key: &[u8], result: Zset) -> Applied {
    model.db().remove(key);
    with_zset(model, key, |zset| {
        *zset = result;
        Ok(())
    })
}

/// The sorted set at a key; a set's members have the score 1.
fn zset_at(model: &mut Model, key: &[u8]) -> Result<Zset, String> {
    match model.db().get(key).map(|entry| &entry.value) {
        None => Ok(Zset::new()),
        Some(Value::Zset(zset)) => Ok(Zset::clone(zset)),
        Some(Value::Set(set)) => {
            Ok(set.iter().map(|member| (member.clone(), 1_f64.to_bits())).collect())
        }
        Some(other) => Err(wrong_type(other)),
    }
}

fn with_zset(model: &mut Model, key: &[u8], change: impl FnOnce(&mut Zset) -> Applied) -> Applied {
    model.db().change(
        key,
        || Value::Zset(Arc::default()),
        |value| match value {
            Value::Zset(zset) => change(Arc::make_mut(zset)),
            other => Err(wrong_type(other)),
        },
    )
}

/// Where two sorted sets differ first, in words.
pub(super) fn difference(ours: &Zset, theirs: &Zset) -> Option<String> {
    let all = || ours.keys().chain(theirs.keys());
    let member = all().find(|member| ours.get(*member) != theirs.get(*member))?;
    let score = |zset: &Zset| {
        let score = zset.get(member).map(|score| f64::from_bits(*score).to_string());
        score.unwrap_or_else(|| "none".to_owned())
    };
    let (here, there) = (score(ours), score(theirs));
    Some(format!("member {} has the score {here} here and {there} there", excerpt(member)))
}
