//! Lists.

use std::sync::Arc;

use super::{Applied, Family, Model, Value, arg, excerpt, number, wrong_type};
use crate::digest;

pub(super) const FAMILY: Family = Family {
    names: &[
        "lpush",
        "rpush",
        "lpushx",
        "rpushx",
        "lpop",
        "rpop",
        "linsert",
        "lset",
        "lrem",
        "ltrim",
        "lmove",
        "rpoplpush",
    ],
    apply,
};

/// The elements of a list, in their order.
pub type List = Vec<Vec<u8>>;

/// The digest of a list, for which the order of its elements counts.
pub fn digest_of(list: &List) -> u64 {
    list.iter().fold(digest::of_list(), |sum, element| digest::mix(sum, digest::of_string(element)))
}

fn apply(model: &mut Model, name: &str, args: &[&[u8]]) -> Applied {
    match name {
        "lmove" => move_element(model, args, &side(args, 3)?, &side(args, 4)?),
        "rpoplpush" => move_element(model, args, "right", "left"),
        _ => with_list(model, arg(args, 1)?, |list| change(name, list, args)),
    }
}

fn with_list(model: &mut Model, key: &[u8], change: impl FnOnce(&mut List) -> Applied) -> Applied {
    model.db().change(
        key,
        || Value::List(Arc::default()),
        |value| match value {
            Value::List(list) => change(Arc::make_mut(list)),
            other => Err(wrong_type(other)),
        },
    )
}

fn side(args: &[&[u8]], index: usize) -> Result<String, String> {
    Ok(String::from_utf8_lossy(arg(args, index)?).to_lowercase())
}

fn move_element(model: &mut Model, args: &[&[u8]], from: &str, to: &str) -> Applied {
    let mut moved = None;
    with_list(model, arg(args, 1)?, |list| {
        moved = match from {
            _ if list.is_empty() => None,
            "left" => Some(list.remove(0)),
            _ => list.pop(),
        };
        Ok(())
    })?;
    let element = moved.ok_or("moves nothing")?;
    with_list(model, arg(args, 2)?, |list| {
        let at = if to == "left" { 0 } else { list.len() };
        list.insert(at, element);
        Ok(())
    })
}

fn change(name: &str, list: &mut List, args: &[&[u8]]) -> Applied {
    let len = list.len();
    let index = |index: i64| if index < 0 { index + len as i64 } else { index };
    match name {
        "lpushx" | "rpushx" if list.is_empty() => {}
        "lpush" | "lpushx" => args[2..].iter().for_each(|element| list.insert(0, element.to_vec())),
        "rpush" | "rpushx" => list.extend(args[2..].iter().map(|element| element.to_vec())),
        "lpop" | "rpop" => {
            let count = if args.len() > 2 { number::<usize>(args, 2)? } else { 1 }.min(len);
            match name {
                "lpop" => drop(list.drain(..count)),
                _ => list.truncate(len - count),
            }
        }
        "linsert" => {
            let pivot = list.iter().position(|element| element == args[3]).ok_or("no pivot")?;
            let is_behind = args[2].eq_ignore_ascii_case(b"after");
            list.insert(pivot + usize::from(is_behind), arg(args, 4)?.to_vec());
        }
        "lset" => {
            let at = usize::try_from(index(number(args, 2)?)).unwrap_or(usize::MAX);
            *list.get_mut(at).ok_or("is beyond the list")? = arg(args, 3)?.to_vec();
        }
        "lrem" => {
            let (count, element) = (number::<i64>(args, 2)?, arg(args, 3)?);
            let mut left = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
            let mut keep = |other: &Vec<u8>| {
                let goes = other == element && left > 0;
                left -= usize::from(goes);
                !goes
            };
            if count < 0 {
                list.reverse();
                list.retain(&mut keep);
                list.reverse();
            } else {
                list.retain(&mut keep);
            }
        }
        _ => {
            let first = index(number(args, 2)?).clamp(0, len as i64) as usize;
            let end = (index(number(args, 3)?) + 1).clamp(0, len as i64) as usize;
            *list = if first < end { list[first..end].to_vec() } else { List::new() };
        }
    }
    Ok(())
}

/// Where two lists differ first, in words.
pub(super) fn difference(ours: &List, theirs: &List) -> Option<String> {
    let len = ours.len().max(theirs.len());
    let at = (0..len).find(|at| ours.get(*at) != theirs.get(*at))?;
    let show = |list: &List| list.get(at).map_or("nothing".to_owned(), |element| excerpt(element));
    let (ours_len, theirs_len) = (ours.len(), theirs.len());
    Some(format!(
        "element {at} of {ours_len} and {theirs_len}: {} against {}",
        show(ours),
        show(theirs)
    ))
}
