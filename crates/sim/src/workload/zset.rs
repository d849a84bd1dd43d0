//! Requests for sorted sets.

use super::list::seconds;
use super::{Family, Load, text};
use crate::chance::Chance;

pub(super) const FAMILY: Family = Family {
    commands: &[
        (14, "zadd"),
        (4, "zincrby"),
        (4, "zrem"),
        (1, "zremrangebyrank"),
        (1, "zremrangebyscore"),
        (1, "zremrangebylex"),
        (2, "zpopmin"),
        (2, "zpopmax"),
        (2, "zmpop"),
        (2, "bzpopmin"),
        (1, "bzpopmax"),
        (1, "bzmpop"),
        (1, "zcard"),
        (1, "zcount"),
        (1, "zlexcount"),
        (1, "zscore"),
        (1, "zmscore"),
        (2, "zrank"),
        (1, "zrevrank"),
        (3, "zrange"),
        (1, "zrevrange"),
        (1, "zrangebyscore"),
        (1, "zrevrangebyscore"),
        (1, "zrangebylex"),
        (1, "zrevrangebylex"),
        (2, "zrangestore"),
        (1, "zrandmember"),
        (1, "zscan"),
        (1, "zunion"),
        (2, "zunionstore"),
        (1, "zinter"),
        (2, "zinterstore"),
        (1, "zintercard"),
        (1, "zdiff"),
        (2, "zdiffstore"),
    ],
    request,
};

/// Most members that a request names.
const MEMBERS_MAX: u64 = 30;

fn request(load: &Load, chance: &mut Chance, _wall_ms: i64, name: &'static str) -> Vec<Vec<u8>> {
    let key = load.typed_key(chance, "zset");
    let mut args = vec![name.into(), key.clone()];
    match name {
        "zadd" => {
            let option = *chance.pick(&["", "", "", "NX", "XX", "GT", "LT", "INCR"]);
            let most = if option == "INCR" { 1 } else { MEMBERS_MAX };
            args.extend(Some(option.into()).filter(|_| !option.is_empty()));
            for _ in 0..chance.skewed(1, most) {
                args.extend([score(chance), member(load, chance)]);
            }
        }
        "zincrby" => args.extend([score(chance), member(load, chance)]),
        "zrem" | "zmscore" => {
            let count = chance.skewed(1, MEMBERS_MAX);
            args.extend((0..count).map(|_| member(load, chance)));
        }
        "zscore" | "zrank" | "zrevrank" => args.push(member(load, chance)),
        "zremrangebyrank" | "zrange" | "zrevrange" => args.extend(ranks(chance)),
        "zremrangebyscore" | "zcount" | "zrangebyscore" | "zrevrangebyscore" => {
            let mut limits = [chance.below(400), chance.below(400)];
            limits.sort_unstable();
            args.extend(limits.map(text));
        }
        "zremrangebylex" | "zlexcount" | "zrangebylex" | "zrevrangebylex" => {
            args.extend([b"[m1".to_vec(), format!("[m1{}", chance.below(10)).into_bytes()]);
        }
        "zpopmin" | "zpopmax" if chance.percent(60) => args.push(text(chance.skewed(0, 20))),
        "zrandmember" => args.push(text(chance.skewed(0, 20))),
        "zmpop" => args = vec![name.into(), text(1), key, b"MIN".to_vec()],
        "bzpopmin" | "bzpopmax" => args.push(seconds(chance)),
        "bzmpop" => {
            let other = load.typed_key(chance, "zset");
            args = vec![name.into(), seconds(chance), text(2), key, other, b"MAX".to_vec()];
            args.extend([b"COUNT".to_vec(), text(chance.skewed(1, 20))]);
        }
        "zrangestore" => {
            args.push(load.typed_key(chance, "zset"));
            args.extend(ranks(chance));
        }
        "zscan" => args.push(text(0)),
        "zunion" | "zinter" | "zintercard" | "zdiff" => {
            args = vec![name.into(), text(2), key, load.typed_key(chance, "zset")];
        }
        "zunionstore" | "zinterstore" | "zdiffstore" => {
            let other = *chance.pick(&["zset", "zset", "set"]);
            args.extend([text(2), load.typed_key(chance, "zset"), load.typed_key(chance, other)]);
        }
        _ => {}
    }
    args
}

/// Two ranks, mostly of few members in a row.
fn ranks(chance: &mut Chance) -> [Vec<u8>; 2] {
    let first = chance.skewed(0, 300) as i64;
    let last = first + chance.below(20) as i64;
    if chance.percent(20) { [text(-last - 1), text(-first - 1)] } else { [text(first), text(last)] }
}

/// A score, of which sums are exact.
fn score(chance: &mut Chance) -> Vec<u8> {
    let quarters = chance.below(1600) as i64 - 200;
    format!("{}", quarters as f64 / 4.0).into_bytes()
}

/// A member; a few are long.
fn member(load: &Load, chance: &mut Chance) -> Vec<u8> {
    match chance.below(3) {
        0 => text(chance.below(60)),
        _ if chance.one_in(load.long_one_in) => load.value(chance),
        _ => format!("m{}", chance.below(300)).into_bytes(),
    }
}

/// A request that changes a sorted set.
pub(super) fn change(load: &Load, chance: &mut Chance, wall_ms: i64) -> Vec<Vec<u8>> {
    let name =
        *chance.pick(&["zadd", "zadd", "zadd", "zincrby", "zrem", "zpopmin", "zremrangebyrank"]);
    request(load, chance, wall_ms, name)
}
