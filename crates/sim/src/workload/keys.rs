//! Requests that know no type: on keys, databases and the server.

use super::{Family, Load, text};
use crate::chance::Chance;

pub(super) const FAMILY: Family = Family {
    commands: &[
        (8, "del"),
        (4, "unlink"),
        (8, "pexpire"),
        (4, "expire"),
        (3, "pexpireat"),
        (3, "expireat"),
        (3, "persist"),
        (4, "rename"),
        (2, "renamenx"),
        (3, "copy"),
        (3, "move"),
        (1, "swapdb"),
        (1, "flushdb"),
        (1, "flushall"),
        (2, "exists"),
        (2, "pttl"),
        (2, "scan"),
        (1, "randomkey"),
        (1, "dbsize"),
        (1, "touch"),
        (1, "type"),
        (1, "ping"),
        (1, "wait"),
        (1, "role"),
        (1, "info"),
    ],
    request,
};

/// In a hundred keys, so many are those of collections.
const COLLECTION_PERCENT: u64 = 15;

/// A request after which something else stands under a key, or nothing.
pub(super) fn change(load: &Load, chance: &mut Chance, key: Vec<u8>) -> Vec<Vec<u8>> {
    match chance.below(8) {
        0..=2 => {
            let target = load.target(chance, &key);
            vec!["RENAME".into(), key, target]
        }
        3 => vec!["DEL".into(), key],
        4 => vec!["UNLINK".into(), key],
        5 => vec!["SET".into(), key, load.value(chance)],
        6 => {
            let source = load.target(chance, &key);
            vec!["COPY".into(), source, key, "REPLACE".into()]
        }
        _ => vec!["MOVE".into(), key, text(load.db(chance))],
    }
}

fn request(load: &Load, chance: &mut Chance, wall_ms: i64, name: &'static str) -> Vec<Vec<u8>> {
    let key = load.key_or_collection(chance, COLLECTION_PERCENT);
    let word: Vec<u8> = name.into();
    let db = text(load.db(chance));
    match name {
        "del" | "unlink" | "exists" | "touch" => {
            let mut args = vec![word, key];
            args.extend((0..chance.skewed(0, 4)).map(|_| load.key(chance)));
            args
        }
        "pexpire" => vec![word, key, text(load.expiry_ms(chance) as i64 - 2)],
        "expire" => vec![word, key, text(load.expiry_s(chance))],
        "pexpireat" => vec![word, key, text(wall_ms + load.expiry_ms(chance) as i64)],
        "expireat" => vec![word, key, text(wall_ms / 1000 + chance.below(30) as i64)],
        "rename" | "renamenx" => {
            let target = load.target(chance, &key);
            vec![word, key, target]
        }
        "copy" => {
            let target = load.target(chance, &key);
            let mut args = vec![word, key, target];
            if chance.percent(50) {
                args.extend(["DB".into(), db, "REPLACE".into()]);
            }
            args
        }
        "move" => vec![word, key, db],
        // Database 0 holds the clients' own keys.
        "swapdb" => {
            let last = load.dbs.max(2) - 1;
            vec![word, text(chance.between(1, last)), text(chance.between(1, last))]
        }
        "flushdb" if load.dbs == 1 || !load.flushes_all => vec!["DBSIZE".into()],
        "scan" => vec![word, text(0), "COUNT".into(), text(chance.skewed(1, 50))],
        "wait" => vec![word, text(chance.below(3)), text(chance.between(1, 300))],
        "flushall" | "flushdb" | "randomkey" | "dbsize" | "ping" | "role" => vec![word],
        "info" => vec![word, "replication".into()],
        // PERSIST, PTTL, TYPE: the key and nothing else.
        _ => vec![word, key],
    }
}
