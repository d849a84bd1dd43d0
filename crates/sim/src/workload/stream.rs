//! Requests for streams.

use super::{Family, Load, millis, text};
use crate::chance::Chance;

pub(super) const FAMILY: Family = Family {
    commands: &[
        (14, "xadd"),
        (2, "xtrim"),
        (1, "xlen"),
        (2, "xrange"),
        (1, "xrevrange"),
        (3, "xdel"),
        (1, "xsetid"),
        (2, "xread"),
        (9, "xreadgroup"),
        (4, "xgroup"),
        (4, "xack"),
        (2, "xpending"),
        (3, "xclaim"),
        (2, "xautoclaim"),
        (2, "xinfo"),
    ],
    request,
};

/// Most fields of an entry.
const FIELDS_MAX: u64 = 6;

/// Most entries that trimming leaves.
const ENTRIES_MAX: u64 = 150;

fn request(load: &Load, chance: &mut Chance, _wall_ms: i64, name: &'static str) -> Vec<Vec<u8>> {
    let key = load.typed_key(chance, "stream");
    let mut args: Vec<Vec<u8>> = vec![name.into(), key.clone()];
    match name {
        "xadd" => {
            if chance.percent(25) {
                args.extend(trim(chance));
            }
            // Some streams have IDs by the clock, others small ones, which are found again.
            let by_clock = key.last().is_some_and(|byte| byte % 2 == 0);
            args.push(if by_clock { b"*".to_vec() } else { b"7-*".to_vec() });
            for field in 0..chance.skewed(1, FIELDS_MAX) {
                args.extend([text(field), load.value(chance)]);
            }
        }
        "xtrim" => args.extend(trim(chance)),
        "xrange" | "xrevrange" => {
            let (low, high) = (b"-".to_vec(), b"+".to_vec());
            args.extend(if name == "xrange" { [low, high] } else { [high, low] });
            args.extend([b"COUNT".to_vec(), text(chance.skewed(1, 20))]);
        }
        "xdel" => args.extend(ids(chance)),
        "xsetid" => args.push(format!("7-{}", chance.below(2000)).into_bytes()),
        "xread" => {
            let other = load.typed_key(chance, "stream");
            args = vec![name.into(), b"COUNT".to_vec(), text(chance.skewed(1, 20))];
            if chance.percent(30) {
                args.extend([b"BLOCK".to_vec(), text(millis(chance))]);
                args.extend([b"STREAMS".to_vec(), key, other, b"$".to_vec(), b"$".to_vec()]);
            } else {
                args.extend([b"STREAMS".to_vec(), key, other, id(chance), b"0".to_vec()]);
            }
        }
        "xreadgroup" => {
            args = vec![name.into(), b"GROUP".to_vec(), group(chance), consumer(chance)];
            args.extend([b"COUNT".to_vec(), text(chance.skewed(1, 20))]);
            if chance.percent(15) {
                args.push(b"NOACK".to_vec());
            }
            if chance.percent(20) {
                args.extend([b"BLOCK".to_vec(), text(millis(chance))]);
            }
            let from = if chance.percent(80) { b">".to_vec() } else { id(chance) };
            args.extend([b"STREAMS".to_vec(), key, from]);
        }
        "xgroup" => args = change_of_group(chance, key),
        "xack" => {
            args.push(group(chance));
            args.extend(ids(chance));
        }
        "xpending" => {
            args.push(group(chance));
            if chance.percent(60) {
                args.extend([b"-".to_vec(), b"+".to_vec(), text(chance.skewed(1, 20))]);
            }
        }
        "xclaim" => {
            args.extend([group(chance), consumer(chance), idle(chance)]);
            args.extend(ids(chance));
            let options: &[&[u8]] = &[b"FORCE", b"JUSTID"];
            args.extend(options.iter().filter(|_| chance.percent(40)).map(|word| word.to_vec()));
        }
        "xautoclaim" => {
            args.extend([group(chance), consumer(chance), idle(chance), b"0".to_vec()]);
            args.extend([b"COUNT".to_vec(), text(chance.skewed(1, 20))]);
        }
        "xinfo" => {
            args = match chance.below(3) {
                0 => vec![name.into(), b"STREAM".to_vec(), key, b"FULL".to_vec()],
                1 => vec![name.into(), b"GROUPS".to_vec(), key],
                _ => vec![name.into(), b"CONSUMERS".to_vec(), key, group(chance)],
            };
        }
        _ => {}
    }
    args
}

fn change_of_group(chance: &mut Chance, key: Vec<u8>) -> Vec<Vec<u8>> {
    let from = if chance.percent(50) { b"$".to_vec() } else { id(chance) };
    let mut args: Vec<Vec<u8>> = vec![b"xgroup".to_vec()];
    match chance.below(10) {
        0..5 => {
            args.extend([b"CREATE".to_vec(), key, group(chance), from]);
            if chance.percent(50) {
                args.push(b"MKSTREAM".to_vec());
            }
        }
        5 | 6 => args.extend([b"CREATECONSUMER".to_vec(), key, group(chance), consumer(chance)]),
        7 => args.extend([b"DELCONSUMER".to_vec(), key, group(chance), consumer(chance)]),
        8 => args.extend([b"SETID".to_vec(), key, group(chance), from]),
        _ => args.extend([b"DESTROY".to_vec(), key, group(chance)]),
    }
    args
}

/// How much to keep.
fn trim(chance: &mut Chance) -> Vec<Vec<u8>> {
    let mut args: Vec<Vec<u8>> = Vec::new();
    match chance.percent(70) {
        true => args.push(b"MAXLEN".to_vec()),
        false => args.push(b"MINID".to_vec()),
    }
    args.extend(chance.percent(60).then(|| b"~".to_vec()));
    args.push(if args[0] == b"MINID" { id(chance) } else { text(chance.skewed(0, ENTRIES_MAX)) });
    args
}

fn group(chance: &mut Chance) -> Vec<u8> {
    format!("g{}", chance.below(3)).into_bytes()
}

fn consumer(chance: &mut Chance) -> Vec<u8> {
    format!("consumer{}", chance.below(4)).into_bytes()
}

fn idle(chance: &mut Chance) -> Vec<u8> {
    text(if chance.percent(50) { 0 } else { chance.below(3000) })
}

fn id(chance: &mut Chance) -> Vec<u8> {
    format!("7-{}", chance.below(400)).into_bytes()
}

fn ids(chance: &mut Chance) -> Vec<Vec<u8>> {
    let first = chance.below(400);
    (0..chance.skewed(1, 15)).map(|more| format!("7-{}", first + more).into_bytes()).collect()
}

/// A request that changes a stream.
pub(super) fn change(load: &Load, chance: &mut Chance, wall_ms: i64) -> Vec<Vec<u8>> {
    let names = ["xadd", "xadd", "xadd", "xdel", "xtrim", "xreadgroup", "xack", "xclaim", "xgroup"];
    let name = *chance.pick(&names);
    request(load, chance, wall_ms, name)
}
