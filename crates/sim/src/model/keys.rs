//! Commands on keys and databases, whatever the type of the values.

use super::{Applied, Db, Entry, Family, Model, arg, number};

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
