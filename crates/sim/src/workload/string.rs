//! Requests for strings.

use super::{Family, Load, text};
use crate::chance::Chance;

pub(super) const FAMILY: Family = Family {
    commands: &[
        (40, "set"),
        (10, "get"),
        (8, "incr"),
        (4, "decrby"),
        (3, "incrbyfloat"),
        (8, "append"),
        (4, "setrange"),
        (3, "setbit"),
        (2, "bitop"),
        (3, "setnx"),
        (4, "setex"),
        (4, "psetex"),
        (3, "getset"),
        (3, "getdel"),
        (3, "getex"),
        (5, "mset"),
        (2, "msetnx"),
        (3, "mget"),
        (1, "strlen"),
    ],
    request,
};

/// In a hundred keys, so many are those of collections: strings stand in their way, and take their place.
const COLLECTION_PERCENT: u64 = 2;

fn request(load: &Load, chance: &mut Chance, wall_ms: i64, name: &'static str) -> Vec<Vec<u8>> {
    let key = load.key_or_collection(chance, COLLECTION_PERCENT);
    let mut args = vec![name.into(), key];
    match name {
        "set" => return set(load, chance, wall_ms, args),
        "setnx" | "getset" | "append" => args.push(load.value(chance)),
        "setrange" => args.extend([text(chance.skewed(0, 300)), load.value(chance)]),
        "setbit" => args.extend([text(chance.skewed(0, 3000)), text(chance.below(2))]),
        "bitop" => {
            let operation = *chance.pick(&["AND", "OR", "XOR", "NOT"]);
            let sources = if operation == "NOT" { 1 } else { chance.between(1, 3) };
            args.insert(1, operation.into());
            args.extend((0..sources).map(|_| load.key(chance)));
        }
        "decrby" => args.push(text(chance.below(1000))),
        "incrbyfloat" => args.push(text(chance.below(1000) as f64 / 8.0)),
        "setex" => args.extend([text(load.expiry_s(chance)), load.value(chance)]),
        "psetex" => args.extend([text(load.expiry_ms(chance)), load.value(chance)]),
        "getex" => args.extend(["PX".into(), text(load.expiry_ms(chance))]),
        "mset" | "msetnx" => {
            args.push(load.value(chance));
            for _ in 1..chance.between(1, 5) {
                let key = load.key_or_collection(chance, COLLECTION_PERCENT);
                args.extend([key, load.value(chance)]);
            }
        }
        "mget" => args.extend((0..chance.skewed(0, 4)).map(|_| load.key(chance))),
        // GET, INCR, GETDEL, STRLEN: the key and nothing else.
        _ => {}
    }
    args
}

fn set(load: &Load, chance: &mut Chance, wall_ms: i64, mut args: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    args.push(load.value(chance));
    // Options are known to the engine if the commands are that came with them.
    if !load.has("setex") && !load.has("psetex") {
        return args;
    }
    if chance.percent(load.expiry_percent) {
        let ms = load.expiry_ms(chance);
        match chance.below(4) {
            0 => args.extend(["EX".into(), text(ms / 1000 + 1)]),
            1 => args.extend(["PXAT".into(), text(wall_ms + ms as i64)]),
            2 => args.extend(["EXAT".into(), text((wall_ms + ms as i64) / 1000 + 1)]),
            _ => args.extend(["PX".into(), text(ms)]),
        }
    } else if chance.percent(10) {
        args.push("KEEPTTL".into());
    }
    match chance.below(20) {
        0 => args.push("NX".into()),
        1 => args.push("XX".into()),
        2 => args.push("GET".into()),
        _ => {}
    }
    args
}
