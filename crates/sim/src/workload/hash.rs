//! Requests for hashes.

use super::{Family, Load, bytes, text};
use crate::chance::Chance;

pub(super) const FAMILY: Family = Family {
    commands: &[
        (14, "hset"),
        (2, "hmset"),
        (4, "hsetnx"),
        (8, "hdel"),
        (3, "hget"),
        (2, "hmget"),
        (1, "hgetall"),
        (1, "hkeys"),
        (1, "hvals"),
        (1, "hlen"),
        (1, "hstrlen"),
        (1, "hexists"),
        (6, "hincrby"),
        (3, "hincrbyfloat"),
        (2, "hscan"),
        (2, "hrandfield"),
        (3, "hexpire"),
        (7, "hpexpire"),
        (2, "hexpireat"),
        (3, "hpexpireat"),
        (1, "httl"),
        (1, "hpttl"),
        (1, "hexpiretime"),
        (1, "hpexpiretime"),
        (3, "hpersist"),
        (3, "hgetdel"),
        (4, "hgetex"),
        (5, "hsetex"),
    ],
    request,
};

/// Most fields that a request names.
const FIELDS_MAX: u64 = 12;

fn request(load: &Load, chance: &mut Chance, wall_ms: i64, name: &'static str) -> Vec<Vec<u8>> {
    let (key, fields) = load.collection(chance);
    let mut args = vec![name.into(), key];
    match name {
        "hset" | "hmset" => args.extend(pairs(load, chance, fields)),
        "hsetnx" => args.extend([field(chance, fields), value(load, chance)]),
        "hdel" | "hmget" => args.extend(names(chance, fields)),
        "hincrby" => {
            args.extend([counter(chance), text(chance.below(1000) as i64 - 500)]);
        }
        "hincrbyfloat" => {
            args.extend([counter(chance), text(chance.below(1000) as f64 / 8.0)]);
        }
        "hget" | "hstrlen" | "hexists" => args.push(field(chance, fields)),
        "hgetall" | "hkeys" | "hvals" | "hlen" => {}
        "hscan" => args.extend([text(0), "COUNT".into(), text(chance.skewed(1, 50))]),
        "hrandfield" => args.push(text(chance.below(20) as i64 - 10)),
        "hexpire" | "hpexpire" | "hexpireat" | "hpexpireat" => {
            args.push(text(match name {
                "hexpire" => load.expiry_s(chance) as i64,
                "hpexpire" => load.expiry_ms(chance) as i64 - 1,
                "hexpireat" => wall_ms / 1000 + chance.below(30) as i64,
                _ => wall_ms + load.expiry_ms(chance) as i64,
            }));
            if chance.one_in(4) {
                args.push((*chance.pick(&["NX", "XX", "GT", "LT"])).into());
            }
            args.extend(counted(chance, fields));
        }
        "hgetex" => {
            match chance.below(3) {
                0 => args.push("PERSIST".into()),
                _ => args.extend(time(load, chance, wall_ms)),
            }
            args.extend(counted(chance, fields));
        }
        "hsetex" => {
            match chance.below(8) {
                0 => args.push("FNX".into()),
                1 => args.push("FXX".into()),
                _ => {}
            }
            match chance.below(5) {
                0 => {}
                1 => args.push("KEEPTTL".into()),
                _ => args.extend(time(load, chance, wall_ms)),
            }
            let pairs = pairs(load, chance, fields);
            args.extend(["FIELDS".into(), text(pairs.len() / 2)]);
            args.extend(pairs);
        }
        // HTTL and its like, HPERSIST, HGETDEL.
        _ => args.extend(counted(chance, fields)),
    }
    args
}

/// The name of one of so many fields. Some are numbers, a few are long.
fn field(chance: &mut Chance, fields: u64) -> Vec<u8> {
    name(chance.below(fields))
}

fn name(number: u64) -> Vec<u8> {
    match number {
        0 => Vec::new(),
        n if n % 131 == 130 => format!("f{n}-{}", "x".repeat(90)).into_bytes(),
        n if n % 3 == 0 => text(n),
        n => format!("f{n}").into_bytes(),
    }
}

/// A field that mostly holds a number.
fn counter(chance: &mut Chance) -> Vec<u8> {
    format!("n{}", chance.below(5)).into_bytes()
}

/// A value: mostly a short one, since a long one makes a hash a table.
fn value(load: &Load, chance: &mut Chance) -> Vec<u8> {
    if chance.one_in(load.long_one_in) {
        return load.value(chance);
    }
    if chance.percent(30) {
        return text(chance.bits() as i64 >> chance.below(64));
    }
    let len = chance.skewed(0, 30);
    bytes(chance, len)
}

fn names(chance: &mut Chance, fields: u64) -> Vec<Vec<u8>> {
    (0..chance.skewed(1, FIELDS_MAX)).map(|_| field(chance, fields)).collect()
}

/// Names behind FIELDS and their number.
fn counted(chance: &mut Chance, fields: u64) -> Vec<Vec<u8>> {
    let names = names(chance, fields);
    [vec!["FIELDS".into(), text(names.len())], names].concat()
}

fn pairs(load: &Load, chance: &mut Chance, fields: u64) -> Vec<Vec<u8>> {
    let names = names(chance, fields);
    names.into_iter().flat_map(|name| [name, value(load, chance)]).collect()
}

fn time(load: &Load, chance: &mut Chance, wall_ms: i64) -> [Vec<u8>; 2] {
    let ms = load.expiry_ms(chance) as i64;
    match chance.below(4) {
        0 => ["EX".into(), text(ms / 1000 + 1)],
        1 => ["PXAT".into(), text(wall_ms + ms)],
        2 => ["EXAT".into(), text((wall_ms + ms) / 1000 + 1)],
        _ => ["PX".into(), text(ms)],
    }
}

/// A request that changes a hash.
pub(super) fn change(load: &Load, chance: &mut Chance, wall_ms: i64) -> Vec<Vec<u8>> {
    let name = *chance.pick(&["hset", "hset", "hdel", "hincrby", "hpexpire", "hsetex", "hgetdel"]);
    request(load, chance, wall_ms, name)
}

/// A part of a large hash: from this field on, so many.
pub(super) fn part(
    load: &Load,
    chance: &mut Chance,
    key: &[u8],
    from: u64,
    count: u64,
) -> Vec<Vec<u8>> {
    let pairs = (from..from + count).flat_map(|number| [name(number), value(load, chance)]);
    [vec!["HSET".into(), key.to_vec()], pairs.collect()].concat()
}
