//! Strings.

use super::{Applied, Entry, Family, Model, Value, arg, excerpt, number, wrong_type};

pub(super) const FAMILY: Family = Family {
    names: &[
        "set", "setnx", "getset", "getdel", "append", "setrange", "setbit", "bitop", "incr",
        "decr", "incrby", "decrby", "mset", "msetnx",
    ],
    apply,
};

fn apply(model: &mut Model, name: &str, args: &[&[u8]]) -> Applied {
    let key = arg(args, 1)?;
    match name {
        "set" => set(model, args),
        "setnx" if model.db().get(key).is_some() => Ok(()),
        "setnx" => put(model, key, arg(args, 2)?, None),
        "getset" => {
            check(model, key)?;
            put(model, key, arg(args, 2)?, None)
        }
        "getdel" => {
            check(model, key)?;
            model.db().remove(key);
            Ok(())
        }
        "bitop" => combine(model, args),
        "mset" | "msetnx" => set_several(model, name == "msetnx", &args[1..]),
        "setrange" if arg(args, 3)?.is_empty() => Ok(()),
        _ => {
            let fresh = || Value::String(Vec::new());
            model.db().change(key, fresh, |value| match value {
                Value::String(bytes) => change(name, bytes, args),
                other => Err(wrong_type(other)),
            })
        }
    }
}

/// Whether a command for strings may be applied to a key.
fn check(model: &mut Model, key: &[u8]) -> Applied {
    match model.db().get(key).map(|entry| &entry.value) {
        None | Some(Value::String(_)) => Ok(()),
        Some(other) => Err(format!("{} {}", excerpt(key), wrong_type(other))),
    }
}

fn put(model: &mut Model, key: &[u8], bytes: &[u8], expiry: Option<i64>) -> Applied {
    model.db().insert(key, Entry { value: Value::String(bytes.to_vec()), expiry });
    Ok(())
}

fn set(model: &mut Model, args: &[&[u8]]) -> Applied {
    let (key, bytes) = (arg(args, 1)?, arg(args, 2)?);
    let old = model.db().get(key);
    let (is_there, old_expiry) = (old.is_some(), old.and_then(|old| old.expiry));
    let mut expiry = None;
    let mut at = 3;
    while let Some(option) = args.get(at) {
        match option.to_ascii_lowercase().as_slice() {
            b"pxat" => {
                at += 1;
                expiry = Some(number(args, at)?);
            }
            b"exat" => {
                at += 1;
                expiry = Some(number::<i64>(args, at)? * 1000);
            }
            b"keepttl" => expiry = old_expiry,
            b"get" => check(model, key)?,
            b"nx" if !is_there => {}
            b"xx" if is_there => {}
            b"nx" | b"xx" => return Ok(()),
            other => return Err(format!("has the option {}", excerpt(other))),
        }
        at += 1;
    }
    put(model, key, bytes, expiry)
}

/// Changes the bytes of a string; a key that was not there has none.
fn change(name: &str, bytes: &mut Vec<u8>, args: &[&[u8]]) -> Applied {
    match name {
        "append" => bytes.extend_from_slice(arg(args, 2)?),
        "setrange" => {
            let (start, part) = (number::<usize>(args, 2)?, arg(args, 3)?);
            bytes.resize(bytes.len().max(start + part.len()), 0);
            bytes[start..start + part.len()].copy_from_slice(part);
        }
        "setbit" => {
            let (at, is_set) = (number::<usize>(args, 2)?, arg(args, 3)? == b"1");
            bytes.resize(bytes.len().max(at / 8 + 1), 0);
            let mask = 1 << (7 - at % 8);
            bytes[at / 8] = bytes[at / 8] & !mask | if is_set { mask } else { 0 };
        }
        _ => {
            let by = if args.len() > 2 { number::<i64>(args, 2)? } else { 1 };
            let by = if name.starts_with("decr") { -by } else { by };
            let text = if bytes.is_empty() { b"0" } else { bytes.as_slice() };
            let sum = number::<i64>(&[text], 0)?.checked_add(by).ok_or("a sum overflows")?;
            *bytes = sum.to_string().into_bytes();
        }
    }
    Ok(())
}

fn set_several(model: &mut Model, only_new: bool, pairs: &[&[u8]]) -> Applied {
    if only_new && pairs.chunks(2).any(|pair| model.db().get(pair[0]).is_some()) {
        return Ok(());
    }
    for pair in pairs.chunks(2) {
        put(model, pair[0], arg(pair, 1)?, None)?;
    }
    Ok(())
}

/// BITOP: the longest string decides about the length, and zeros follow the others.
fn combine(model: &mut Model, args: &[&[u8]]) -> Applied {
    let operation = arg(args, 1)?.to_ascii_lowercase();
    let mut sources = Vec::new();
    for key in &args[3..] {
        check(model, key)?;
        let value = model.db().get(key).map(|entry| &entry.value);
        sources.push(match value {
            Some(Value::String(bytes)) => bytes.clone(),
            _ => Vec::new(),
        });
    }
    let len = sources.iter().map(Vec::len).max().unwrap_or(0);
    sources.iter_mut().for_each(|source| source.resize(len, 0));
    let mut result = sources.remove(0);
    for (at, byte) in result.iter_mut().enumerate() {
        *byte = match &operation[..] {
            b"and" => sources.iter().fold(*byte, |all, source| all & source[at]),
            b"or" => sources.iter().fold(*byte, |all, source| all | source[at]),
            b"xor" => sources.iter().fold(*byte, |all, source| all ^ source[at]),
            _ => !*byte,
        };
    }
    let key = arg(args, 2)?;
    if len == 0 {
        model.db().remove(key);
        return Ok(());
    }
    put(model, key, &result, None)
}
