//! Requests for lists.

use super::{Family, Load, millis, text};
use crate::chance::Chance;

pub(super) const FAMILY: Family = Family {
    commands: &[
        (10, "rpush"),
        (6, "lpush"),
        (1, "rpushx"),
        (1, "lpushx"),
        (5, "lpop"),
        (4, "rpop"),
        (2, "lmpop"),
        (3, "lmove"),
        (2, "rpoplpush"),
        (1, "llen"),
        (2, "lindex"),
        (3, "lrange"),
        (2, "lpos"),
        (4, "linsert"),
        (4, "lset"),
        (4, "lrem"),
        (2, "ltrim"),
        (2, "blpop"),
        (1, "brpop"),
        (1, "blmpop"),
        (2, "blmove"),
        (1, "brpoplpush"),
    ],
    request,
};

/// Most elements that a request pushes.
const ELEMENTS_MAX: u64 = 30;

fn request(load: &Load, chance: &mut Chance, _wall_ms: i64, name: &'static str) -> Vec<Vec<u8>> {
    let key = load.typed_key(chance, "list");
    let mut args = vec![name.into(), key.clone()];
    match name {
        "rpush" | "lpush" | "rpushx" | "lpushx" => {
            let count = chance.skewed(1, ELEMENTS_MAX);
            args.extend((0..count).map(|_| element(load, chance)));
        }
        "lpop" | "rpop" if chance.percent(40) => args.push(text(chance.skewed(0, 20))),
        "lmpop" => {
            let other = load.typed_key(chance, "list");
            args = vec![name.into(), text(2), key, other, side(chance)];
            args.extend([b"COUNT".to_vec(), text(chance.skewed(1, 20))]);
        }
        "lmove" => args.extend([load.typed_key(chance, "list"), side(chance), side(chance)]),
        "rpoplpush" => args.push(load.typed_key(chance, "list")),
        "blpop" | "brpop" => {
            args.extend((0..chance.below(3)).map(|_| load.typed_key(chance, "list")));
            args.push(seconds(chance));
        }
        "blmpop" => {
            let other = load.typed_key(chance, "list");
            args = vec![name.into(), seconds(chance), text(2), key, other, side(chance)];
            args.extend([b"COUNT".to_vec(), text(chance.skewed(1, 20))]);
        }
        "blmove" => {
            args.extend([load.typed_key(chance, "list"), side(chance), side(chance)]);
            args.push(seconds(chance));
        }
        "brpoplpush" => args.extend([load.typed_key(chance, "list"), seconds(chance)]),
        "lindex" => args.push(index(chance)),
        "lrange" => args.extend([index(chance), index(chance)]),
        "lpos" => args.push(element(load, chance)),
        "linsert" => {
            let place = if chance.percent(50) { "BEFORE" } else { "AFTER" };
            args.extend([place.into(), few(chance), element(load, chance)]);
        }
        "lset" => args.extend([index(chance), element(load, chance)]),
        "lrem" => args.extend([text(chance.below(7) as i64 - 3), few(chance)]),
        // Mostly a little at the ends.
        "ltrim" => {
            args.extend([text(chance.skewed(0, 5)), text(-1 - chance.skewed(0, 5) as i64)]);
        }
        _ => {}
    }
    args
}

pub(super) fn seconds(chance: &mut Chance) -> Vec<u8> {
    text(format!("0.{:03}", millis(chance)))
}

fn side(chance: &mut Chance) -> Vec<u8> {
    chance.pick(&[b"LEFT".to_vec(), b"RIGHT".to_vec()]).clone()
}

fn index(chance: &mut Chance) -> Vec<u8> {
    text(chance.below(80) as i64 - 40)
}

/// One of few elements, so that it is found.
fn few(chance: &mut Chance) -> Vec<u8> {
    text(chance.below(12))
}

fn element(load: &Load, chance: &mut Chance) -> Vec<u8> {
    if chance.percent(40) { few(chance) } else { load.value(chance) }
}

/// A request that changes a list.
pub(super) fn change(load: &Load, chance: &mut Chance, wall_ms: i64) -> Vec<Vec<u8>> {
    let name =
        *chance.pick(&["rpush", "lpush", "lpop", "rpop", "lset", "linsert", "lrem", "lmove"]);
    request(load, chance, wall_ms, name)
}
