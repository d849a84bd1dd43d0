//! The independent applier: what a replication stream makes of data, in the plainest way.
//!
//! It shares no code with the engine. It takes only commands whose effect depends on nothing but the data
//! they meet: a stream with any other (a relative expiry, say) could not give the same data to every replica, so such
//! a command is an error here.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest;

/// A value and when it ends, Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its end, if it has one.
    pub expiry: Option<i64>,
}

#[derive(Clone, Debug, Default)]
struct Db {
    entries: BTreeMap<Vec<u8>, Value>,
    sum: u64,
}

impl Db {
    fn remove(&mut self, key: &[u8]) -> Option<Value> {
        let old = self.entries.remove(key)?;
        self.sum = self.sum.wrapping_sub(digest::of_entry(key, &old.bytes, old.expiry));
        Some(old)
    }

    fn insert(&mut self, key: &[u8], value: Value) {
        self.remove(key);
        self.sum = self.sum.wrapping_add(digest::of_entry(key, &value.bytes, value.expiry));
        self.entries.insert(key.to_vec(), value);
    }
}

/// All databases, and where in the stream's state machine we are.
#[derive(Clone, Debug, Default)]
pub struct Model {
    dbs: BTreeMap<u32, Db>,
    selected: u32,
    transaction: bool,
}

type Applied = Result<(), String>;

impl Model {
    /// An empty one that has a database selected.
    pub fn new(selected: u32) -> Model {
        Model { selected, ..Model::default() }
    }

    /// Selects a database.
    pub fn select(&mut self, db: u32) {
        self.selected = db;
    }

    /// Puts an entry in place.
    pub fn insert(&mut self, db: u32, key: &[u8], bytes: &[u8], expiry: Option<i64>) {
        self.dbs.entry(db).or_default().insert(key, Value { bytes: bytes.to_vec(), expiry });
    }

    /// The digest of everything.
    pub fn digest(&self) -> u64 {
        digest::of_dbs(self.dbs.iter().map(|(&number, db)| (number, db.sum)))
    }

    /// The digest without the entries that `keep` refuses, by their expiry.
    pub fn digest_if(&self, keep: impl Fn(Option<i64>) -> bool) -> u64 {
        digest::of_dbs(self.dbs.iter().map(|(&number, db)| {
            let kept = db.entries.iter().filter(|(_, value)| keep(value.expiry));
            let sums = kept.map(|(key, v)| digest::of_entry(key, &v.bytes, v.expiry));
            (number, sums.fold(0, u64::wrapping_add))
        }))
    }

    /// Every entry.
    pub fn entries(&self) -> impl Iterator<Item = (u32, &[u8], &Value)> {
        self.dbs.iter().flat_map(|(&number, db)| {
            db.entries.iter().map(move |(key, value)| (number, key.as_slice(), value))
        })
    }

    /// Whether a transaction of the stream is open: replicas count its bytes when it closes.
    pub fn in_transaction(&self) -> bool {
        self.transaction
    }

    /// Where two models differ first, in words.
    pub fn difference(&self, other: &Model) -> Option<String> {
        let (ours, theirs): (BTreeMap<_, _>, BTreeMap<_, _>) = (self.map(), other.map());
        let differing: BTreeSet<_> =
            ours.keys().chain(theirs.keys()).filter(|k| ours.get(*k) != theirs.get(*k)).collect();
        let count = differing.len();
        let &&(db, key) = differing.first()?;
        let show = |value: Option<&&Value>| match value {
            None => "nothing".to_owned(),
            Some(v) => format!("{} (ends {:?})", excerpt(&v.bytes), v.expiry),
        };
        Some(format!(
            "{count} keys differ; first: db {db} key {}: {} against {}",
            excerpt(key),
            show(ours.get(&(db, key))),
            show(theirs.get(&(db, key))),
        ))
    }

    fn map(&self) -> BTreeMap<(u32, &[u8]), &Value> {
        self.entries().map(|(db, key, value)| ((db, key), value)).collect()
    }

    fn db(&mut self) -> &mut Db {
        self.dbs.entry(self.selected).or_default()
    }

    fn value(&mut self, key: &[u8]) -> Option<Value> {
        self.db().entries.get(key).cloned()
    }

    /// Applies one command of a stream.
    pub fn apply(&mut self, args: &[&[u8]]) -> Applied {
        let name = args.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        match name.as_slice() {
            b"ping" | b"replconf" => Ok(()),
            b"select" => {
                self.selected = number(args, 1)?;
                Ok(())
            }
            b"multi" if self.transaction => Err("MULTI within MULTI".to_owned()),
            b"exec" if !self.transaction => Err("EXEC without MULTI".to_owned()),
            b"multi" | b"exec" => {
                self.transaction = !self.transaction;
                Ok(())
            }
            b"set" => self.set(args),
            b"setnx" | b"getset" | b"append" | b"setrange" | b"incr" | b"decr" | b"incrby"
            | b"decrby" | b"mset" | b"msetnx" => self.string(&name, args),
            _ => self.key(&name, args),
        }
    }

    fn set(&mut self, args: &[&[u8]]) -> Applied {
        let (key, bytes) = (arg(args, 1)?, arg(args, 2)?.to_vec());
        let old = self.value(key);
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
                b"keepttl" => expiry = old.as_ref().and_then(|old| old.expiry),
                b"get" => {}
                b"nx" if old.is_none() => {}
                b"xx" if old.is_some() => {}
                b"nx" | b"xx" => return Ok(()),
                other => return Err(format!("SET with {}", excerpt(other))),
            }
            at += 1;
        }
        self.db().insert(key, Value { bytes, expiry });
        Ok(())
    }

    fn string(&mut self, name: &[u8], args: &[&[u8]]) -> Applied {
        let key = arg(args, 1)?;
        let old = self.value(key);
        let expiry = old.as_ref().and_then(|old| old.expiry);
        let mut bytes = old.as_ref().map(|old| old.bytes.clone()).unwrap_or_default();
        match name {
            b"setnx" if old.is_some() => return Ok(()),
            b"setnx" | b"getset" => {
                let bytes = arg(args, 2)?.to_vec();
                self.db().insert(key, Value { bytes, expiry: None });
                return Ok(());
            }
            b"mset" | b"msetnx" => return self.set_several(name == b"msetnx", &args[1..]),
            b"append" => bytes.extend_from_slice(arg(args, 2)?),
            b"setrange" => {
                let (start, part) = (number::<usize>(args, 2)?, arg(args, 3)?);
                if part.is_empty() {
                    return Ok(());
                }
                bytes.resize(bytes.len().max(start + part.len()), 0);
                bytes[start..start + part.len()].copy_from_slice(part);
            }
            _ => {
                let by = if args.len() > 2 { number::<i64>(args, 2)? } else { 1 };
                let by = if name.starts_with(b"decr") { -by } else { by };
                let text = if bytes.is_empty() { b"0" } else { bytes.as_slice() };
                let sum = number::<i64>(&[text], 0)?.checked_add(by).ok_or("a sum overflows")?;
                bytes = sum.to_string().into_bytes();
            }
        }
        self.db().insert(key, Value { bytes, expiry });
        Ok(())
    }

    fn set_several(&mut self, only_new: bool, pairs: &[&[u8]]) -> Applied {
        if only_new && pairs.chunks(2).any(|pair| self.db().entries.contains_key(pair[0])) {
            return Ok(());
        }
        for pair in pairs.chunks(2) {
            let bytes = arg(pair, 1)?.to_vec();
            self.db().insert(pair[0], Value { bytes, expiry: None });
        }
        Ok(())
    }

    fn key(&mut self, name: &[u8], args: &[&[u8]]) -> Applied {
        match name {
            b"del" | b"unlink" => {
                for key in &args[1..] {
                    self.db().remove(key);
                }
            }
            b"getdel" => {
                self.db().remove(arg(args, 1)?);
            }
            b"pexpireat" | b"expireat" if args.len() == 3 => {
                let unit = if name == b"expireat" { 1000 } else { 1 };
                let expiry = Some(number::<i64>(args, 2)? * unit);
                self.expire(arg(args, 1)?, expiry);
            }
            b"persist" => self.expire(arg(args, 1)?, None),
            b"rename" | b"renamenx" => {
                let (from, to) = (arg(args, 1)?, arg(args, 2)?);
                let taken = name == b"renamenx" && self.value(to).is_some();
                if !taken && let Some(value) = self.db().remove(from) {
                    self.db().insert(to, value);
                }
            }
            b"move" => {
                let (key, to) = (arg(args, 1)?, number(args, 2)?);
                let taken = self.dbs.entry(to).or_default().entries.contains_key(key);
                if !taken && let Some(value) = self.db().remove(key) {
                    self.dbs.entry(to).or_default().insert(key, value);
                }
            }
            b"copy" => self.copy(args)?,
            b"swapdb" => {
                let (a, b) = (number(args, 1)?, number(args, 2)?);
                let (first, second) = (self.dbs.remove(&a), self.dbs.remove(&b));
                self.dbs.insert(a, second.unwrap_or_default());
                self.dbs.insert(b, first.unwrap_or_default());
            }
            b"flushdb" => *self.db() = Db::default(),
            b"flushall" => self.dbs.clear(),
            other => {
                let words: Vec<String> = args.iter().map(|word| excerpt(word)).collect();
                return Err(format!(
                    "{} is no command whose effect is the same everywhere: {}",
                    excerpt(other),
                    words.join(" ")
                ));
            }
        }
        Ok(())
    }

    fn expire(&mut self, key: &[u8], expiry: Option<i64>) {
        if let Some(value) = self.db().remove(key) {
            self.db().insert(key, Value { expiry, ..value });
        }
    }

    fn copy(&mut self, args: &[&[u8]]) -> Applied {
        let (from, to) = (arg(args, 1)?, arg(args, 2)?);
        let (mut db, mut replace, mut at) = (self.selected, false, 3);
        while at < args.len() {
            if args[at].eq_ignore_ascii_case(b"db") {
                at += 1;
                db = number(args, at)?;
            } else {
                replace |= args[at].eq_ignore_ascii_case(b"replace");
            }
            at += 1;
        }
        let Some(value) = self.value(from) else { return Ok(()) };
        let target = self.dbs.entry(db).or_default();
        if replace || !target.entries.contains_key(to) {
            target.insert(to, value);
        }
        Ok(())
    }
}

fn arg<'a>(args: &[&'a [u8]], index: usize) -> Result<&'a [u8], String> {
    args.get(index).copied().ok_or_else(|| format!("argument {index} is missing"))
}

fn number<T: std::str::FromStr>(args: &[&[u8]], index: usize) -> Result<T, String> {
    let text = arg(args, index)?;
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{} is no number", excerpt(text)))
}

/// The start of some bytes, for people.
pub fn excerpt(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    let shown: String = shown.escape_default().take(60).collect();
    if bytes.len() > 40 { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(lines: &[&str]) -> Model {
        let mut model = Model::new(0);
        for line in lines {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            model.apply(&args).expect(line);
        }
        model
    }

    #[test]
    fn the_digest_follows_the_data_whatever_the_way_to_it() {
        let one = model(&["SET a 1", "INCRBY a 41", "SELECT 3", "SET b x PXAT 99", "RENAME b c"]);
        let two = model(&["SELECT 3", "SET c x", "PEXPIREAT c 99", "SELECT 0", "SET a 42"]);
        assert_eq!(one.digest(), two.digest());
        assert_eq!(one.difference(&two), None);
        let other = model(&["SELECT 3", "SET c x", "PEXPIREAT c 98", "SELECT 0", "SET a 42"]);
        assert_ne!(one.digest(), other.digest());
        assert!(one.difference(&other).is_some_and(|text| text.contains("db 3 key c")));
        let swapped = model(&["SET a 42", "SELECT 1", "SET c x PXAT 99", "SWAPDB 1 3"]);
        assert_eq!(one.digest(), swapped.digest());
        assert_eq!(model(&["SET a 1", "FLUSHALL"]).digest(), Model::new(5).digest());
    }

    #[test]
    fn commands_that_depend_on_more_than_data_are_refused() {
        let mut model = Model::new(0);
        for line in ["EXPIRE a 5", "SET a 1 PX 5", "SPOP a", "EXEC"] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert!(model.apply(&args).is_err(), "{line}");
        }
    }
}
