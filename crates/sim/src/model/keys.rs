//! Commands on keys and databases, whatever the type of the values.

use super::{Applied, Db, Entry, Family, Model, Value, arg, number};
use crate::model::dump::decode;

pub(super) const FAMILY: Family = Family {
    names: &[
        "del",
        "unlink",
        "pexpireat",
        "expireat",
        "persist",
        "rename",
        "renamenx",
        "move",
        "copy",
        "swapdb",
        "flushdb",
        "flushall",
        "restore",
        "restore-asking",
    ],
    apply,
};

fn apply(model: &mut Model, name: &str, args: &[&[u8]]) -> Applied {
    match name {
        "del" | "unlink" => {
            for key in &args[1..] {
                model.db().remove(key);
            }
        }
        "pexpireat" | "expireat" => {
            if args.len() > 3 {
                return Err("has a condition".to_owned());
            }
            let unit = if name == "expireat" { 1000 } else { 1 };
            let expiry = Some(number::<i64>(args, 2)? * unit);
            expire(model, arg(args, 1)?, expiry);
        }
        "persist" => expire(model, arg(args, 1)?, None),
        "rename" | "renamenx" => {
            let (from, to) = (arg(args, 1)?, arg(args, 2)?);
            let taken = name == "renamenx" && model.db().get(to).is_some();
            if !taken && let Some(entry) = model.db().remove(from) {
                model.db().insert(to, entry);
            }
        }
        "move" => {
            let (key, to) = (arg(args, 1)?, number(args, 2)?);
            let taken = model.dbs.entry(to).or_default().get(key).is_some();
            if !taken && let Some(entry) = model.db().remove(key) {
                model.dbs.entry(to).or_default().insert(key, entry);
            }
        }
        "copy" => copy(model, args)?,
        "restore" | "restore-asking" => restore(model, args)?,
        "swapdb" => {
            let (a, b) = (number(args, 1)?, number(args, 2)?);
            let (first, second) = (model.dbs.remove(&a), model.dbs.remove(&b));
            model.dbs.insert(a, second.unwrap_or_default());
            model.dbs.insert(b, first.unwrap_or_default());
        }
        "flushdb" => *model.db() = Db::default(),
        _ => model.dbs.clear(),
    }
    Ok(())
}

fn expire(model: &mut Model, key: &[u8], expiry: Option<i64>) {
    if let Some(entry) = model.db().remove(key) {
        model.db().insert(key, Entry { expiry, ..entry });
    }
}

/// A key from the payload of DUMP: a value as a file has it, with two bytes of version and eight of checksum behind it.
fn restore(model: &mut Model, args: &[&[u8]]) -> Applied {
    let (key, ttl, payload) = (arg(args, 1)?, number::<i64>(args, 2)?, arg(args, 3)?);
    let has = |word: &[u8]| args[4..].iter().any(|arg| arg.eq_ignore_ascii_case(word));
    if ttl != 0 && !has(b"absttl") {
        return Err("has a relative expiry".to_owned());
    }
    if model.db().get(key).is_some() && !has(b"replace") {
        return Err("finds a key that it must not replace".to_owned());
    }
    let value = payload_value(payload)?;
    model.db().insert(key, Entry { value, expiry: (ttl != 0).then_some(ttl) });
    Ok(())
}

/// The value in a payload, which becomes a file with that value alone.
fn payload_value(payload: &[u8]) -> Result<Value, String> {
    let len = payload.len().checked_sub(10).filter(|len| *len > 1);
    let (value, footer) = payload.split_at(len.ok_or("a payload without a footer")?);
    let version = u16::from_le_bytes([footer[0], footer[1]]);
    let mut file = format!("REDIS{version:04}").into_bytes();
    file.extend([0xfe, 0, value[0], 1, b'k']);
    file.extend_from_slice(&value[1..]);
    file.push(0xff);
    // No checksum.
    file.extend([0; 8]);
    let content = decode(&file)?;
    content.model.value(0, b"k").cloned().ok_or_else(|| "a payload without a value".to_owned())
}

fn copy(model: &mut Model, args: &[&[u8]]) -> Applied {
    let (from, to) = (arg(args, 1)?, arg(args, 2)?);
    let (mut db, mut replace, mut at) = (model.selected.unwrap_or(0), false, 3);
    while at < args.len() {
        if args[at].eq_ignore_ascii_case(b"db") {
            at += 1;
            db = number(args, at)?;
        } else {
            replace |= args[at].eq_ignore_ascii_case(b"replace");
        }
        at += 1;
    }
    let Some(entry) = model.db().get(from).cloned() else { return Ok(()) };
    let target = model.dbs.entry(db).or_default();
    if replace || target.get(to).is_none() {
        target.insert(to, entry);
    }
    Ok(())
}
