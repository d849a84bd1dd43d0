//! Requests for sets.

use super::{Family, Load, text};
use crate::chance::Chance;

pub(super) const FAMILY: Family = Family {
    commands: &[
        (10, "sadd"),
        (5, "srem"),
        (2, "smove"),
        (3, "spop"),
        (1, "scard"),
        (2, "sismember"),
        (1, "smismember"),
        (1, "smembers"),
        (2, "srandmember"),
        (1, "sscan"),
        (1, "sinter"),
        (1, "sintercard"),
        (2, "sinterstore"),
        (1, "sunion"),
        (2, "sunionstore"),
        (1, "sdiff"),
        (2, "sdiffstore"),
    ],
    request,
};

/// Most members that a request names.
const MEMBERS_MAX: u64 = 30;

fn request(load: &Load, chance: &mut Chance, _wall_ms: i64, name: &'static str) -> Vec<Vec<u8>> {
    let key = load.typed_key(chance, "set");
    let mut args = vec![name.into(), key.clone()];
    match name {
        "sadd" | "srem" | "smismember" => {
            let kind = chance.below(3);
            let count = chance.skewed(1, MEMBERS_MAX);
            args.extend((0..count).map(|_| member(load, chance, kind)));
        }
        "smove" => {
            let other = load.typed_key(chance, "set");
            let kind = chance.below(3);
            args.extend([other, member(load, chance, kind)]);
        }
        "spop" | "srandmember" if chance.percent(60) => args.push(text(chance.skewed(0, 40))),
        "sismember" => {
            let kind = chance.below(3);
            args.push(member(load, chance, kind));
        }
        "sscan" => args.push(text(0)),
        "sinter" | "sunion" | "sdiff" => args.push(load.typed_key(chance, "set")),
        "sintercard" => {
            args = vec![name.into(), text(2), key, load.typed_key(chance, "set")];
        }
        "sinterstore" | "sunionstore" | "sdiffstore" => {
            args.extend([load.typed_key(chance, "set"), load.typed_key(chance, "set")]);
        }
        _ => {}
    }
    args
}

/// A member: mostly a number, of some with the same width, so that there are sets of integers; a few are long.
fn member(load: &Load, chance: &mut Chance, kind: u64) -> Vec<u8> {
    match kind {
        0 => text(chance.below(60)),
        1 => text(chance.below(60) as i64 * 1_000_000_007 - 20_000_000_000),
        _ if chance.one_in(load.long_one_in) => load.value(chance),
        _ => format!("m{}", chance.below(300)).into_bytes(),
    }
}

/// A request that changes a set.
pub(super) fn change(load: &Load, chance: &mut Chance, wall_ms: i64) -> Vec<Vec<u8>> {
    let name = *chance.pick(&["sadd", "sadd", "srem", "spop", "smove", "sunionstore"]);
    request(load, chance, wall_ms, name)
}
