//! The independent applier: what a replication stream makes of data, in the plainest way.
//!
//! It shares no code with the engine. It takes only commands whose effect depends on nothing but the data
//! they are applied to: a stream with any other (a relative expiry, say) could not give the same data to every replica, so
//! such a command is an error here, and so is one that finds a value of another type.
//!
//! A type of values is a file, a variant of [`Value`] and a row of [`FAMILIES`].

pub mod dump;
pub mod hash;
mod keys;
pub mod list;
pub mod set;
pub mod stream;
mod string;
pub mod zset;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::digest;
use hash::Hash;
use list::List;
use set::Set;
use stream::Stream;
use zset::Zset;

/// How the names of keys begin that come in pairs: one EXEC writes both.
pub const PAIR: &[u8] = b"pair:";

/// A value. Large ones are shared by the copies of a model until one of them changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The bytes of a string.
    String(Vec<u8>),
    /// A hash.
    Hash(Arc<Hash>),
    /// A list.
    List(Arc<List>),
    /// A set.
    Set(Arc<Set>),
    /// A stream.
    Stream(Arc<Stream>),
    /// A sorted set.
    Zset(Arc<Zset>),
}

/// Commands that are applied by one function, which is given the name in lower case.
struct Family {
    names: &'static [&'static str],
    apply: fn(&mut Model, &str, &[&[u8]]) -> Applied,
}

const FAMILIES: &[Family] = &[
    keys::FAMILY,
    string::FAMILY,
    hash::FAMILY,
    list::FAMILY,
    set::FAMILY,
    zset::FAMILY,
    stream::FAMILY,
];

type Applied = Result<(), String>;

impl Value {
    fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "string",
            Value::Hash(_) => "hash",
            Value::List(_) => "list",
            Value::Set(_) => "set",
            Value::Stream(_) => "stream",
            Value::Zset(_) => "zset",
        }
    }

    /// The digest of the value alone.
    fn digest(&self) -> u64 {
        match self {
            Value::String(bytes) => digest::of_string(bytes),
            Value::Hash(hash) => hash.digest(),
            Value::List(list) => list::digest_of(list),
            Value::Set(set) => set::digest_of(set),
            Value::Stream(stream) => stream::digest_of(stream),
            Value::Zset(zset) => zset::digest_of(zset),
        }
    }

    /// Whether it is a collection without elements, which no key holds.
    fn is_empty(&self) -> bool {
        match self {
            // A stream stays without entries.
            Value::String(_) | Value::Stream(_) => false,
            Value::Hash(hash) => hash.is_empty(),
            Value::List(list) => list.is_empty(),
            Value::Set(set) => set.is_empty(),
            Value::Zset(zset) => zset.is_empty(),
        }
    }

    /// The digest without the elements that `keep` refuses, by their expiry; none if no element is left.
    fn digest_if(&self, keep: &impl Fn(Option<i64>) -> bool) -> Option<u64> {
        match self {
            Value::String(_)
            | Value::List(_)
            | Value::Set(_)
            | Value::Zset(_)
            | Value::Stream(_) => Some(self.digest()),
            Value::Hash(hash) => hash.digest_if(keep),
        }
    }

    fn in_words(&self) -> String {
        match self {
            Value::String(bytes) => excerpt(bytes),
            Value::Hash(hash) => hash.in_words(),
            Value::List(list) => format!("a list of {} elements", list.len()),
            Value::Set(set) => format!("a set of {} members", set.len()),
            Value::Stream(stream) => format!("a stream of {} entries", stream.entries.len()),
            Value::Zset(zset) => format!("a sorted set of {} members", zset.len()),
        }
    }
}

/// A value and when its key expires, Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// When it expires, if it does.
    pub expiry: Option<i64>,
}

impl Entry {
    fn digest(&self, key: &[u8]) -> u64 {
        digest::of_entry(key, self.value.digest(), self.expiry)
    }

    fn in_words(&self) -> String {
        format!("{} (expires {:?})", self.value.in_words(), self.expiry)
    }
}

#[derive(Clone, Debug, Default)]
struct Db {
    entries: BTreeMap<Vec<u8>, Entry>,
    sum: u64,
}

impl Db {
    fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let old = self.entries.remove(key)?;
        self.sum = self.sum.wrapping_sub(old.digest(key));
        Some(old)
    }

    fn insert(&mut self, key: &[u8], entry: Entry) {
        self.remove(key);
        self.sum = self.sum.wrapping_add(entry.digest(key));
        self.entries.insert(key.to_vec(), entry);
    }

    /// Lends the value of a key to `change`, or a fresh one if there is none. A collection without elements does not stay.
    fn change(
        &mut self,
        key: &[u8],
        fresh: impl FnOnce() -> Value,
        change: impl FnOnce(&mut Value) -> Applied,
    ) -> Applied {
        if !self.entries.contains_key(key) {
            self.insert(key, Entry { value: fresh(), expiry: None });
        }
        let Some(entry) = self.entries.get_mut(key) else { return Ok(()) };
        self.sum = self.sum.wrapping_sub(entry.digest(key));
        let applied = change(&mut entry.value);
        self.sum = self.sum.wrapping_add(entry.digest(key));
        if entry.value.is_empty() {
            self.remove(key);
        }
        applied.map_err(|what| format!("{} {what}", excerpt(key)))
    }
}

/// All databases, and where in the stream's state machine we are.
#[derive(Clone, Debug, Default)]
pub struct Model {
    dbs: BTreeMap<u32, Db>,
    /// The database selected; none: the next command must select its own.
    selected: Option<u32>,
    transaction: bool,
}

impl Model {
    /// An empty one that has a database selected.
    pub fn new(selected: u32) -> Model {
        Model { selected: Some(selected), ..Model::default() }
    }

    /// Selects a database.
    pub fn select(&mut self, db: u32) {
        self.selected = Some(db);
    }

    /// The database selected, if that is known.
    pub fn selected(&self) -> Option<u32> {
        self.selected
    }

    /// Puts an entry in place.
    pub fn insert(&mut self, db: u32, key: &[u8], value: Value, expiry: Option<i64>) {
        self.dbs.entry(db).or_default().insert(key, Entry { value, expiry });
    }

    /// The numbers of its databases.
    pub fn numbers(&self) -> Vec<u32> {
        self.dbs.keys().copied().collect()
    }

    /// The value of a key.
    pub fn value(&self, db: u32, key: &[u8]) -> Option<&Value> {
        Some(&self.dbs.get(&db)?.get(key)?.value)
    }

    /// Whether there is a key.
    pub fn contains(&self, db: u32, key: &[u8]) -> bool {
        self.dbs.get(&db).is_some_and(|db| db.get(key).is_some())
    }

    /// The digest of everything.
    pub fn digest(&self) -> u64 {
        digest::of_dbs(self.dbs.iter().map(|(&number, db)| (number, db.sum)))
    }

    /// The digest without the entries, and the elements of values, that `keep` refuses by their expiry.
    pub fn digest_if(&self, keep: impl Fn(Option<i64>) -> bool) -> u64 {
        digest::of_dbs(self.dbs.iter().map(|(&number, db)| {
            let kept = db.entries.iter().filter(|(_, entry)| keep(entry.expiry));
            let digest = |(key, entry): (&Vec<u8>, &Entry)| {
                Some(digest::of_entry(key, entry.value.digest_if(&keep)?, entry.expiry))
            };
            (number, kept.filter_map(digest).fold(0, u64::wrapping_add))
        }))
    }

    /// Every entry.
    pub fn entries(&self) -> impl Iterator<Item = (u32, &[u8], &Entry)> {
        self.dbs.iter().flat_map(|(&number, db)| {
            db.entries.iter().map(move |(key, entry)| (number, key.as_slice(), entry))
        })
    }

    /// Whether a transaction of the stream is open: replicas count its bytes when it closes.
    pub fn in_transaction(&self) -> bool {
        self.transaction
    }

    /// A pair of keys that one EXEC alone writes, to the same value, and that have different values.
    ///
    /// The names of both begin with [`PAIR`], and of one ends with `a`, of the other with `b`.
    pub fn torn_pair(&self) -> Option<String> {
        self.dbs.iter().find_map(|(number, db)| {
            let from = (Bound::Included(PAIR), Bound::Unbounded);
            let pairs = db.entries.range::<[u8], _>(from);
            let mut pairs = pairs.take_while(|(key, _)| key.starts_with(PAIR));
            let torn = pairs.find(|(key, entry)| {
                let Some((last, name)) = key.split_last() else { return false };
                let other = if *last == b'a' { b"b" } else { b"a" };
                db.get(&[name, other].concat()).map(|other| &other.value) != Some(&entry.value)
            });
            torn.map(|(key, entry)| {
                let (key, value) = (excerpt(key), entry.in_words());
                format!("half of a transaction is in db {number}: {key} alone is {value}")
            })
        })
    }

    /// Where two models differ first, in words.
    pub fn difference(&self, other: &Model) -> Option<String> {
        let (ours, theirs): (BTreeMap<_, _>, BTreeMap<_, _>) = (self.map(), other.map());
        let differing: BTreeSet<_> =
            ours.keys().chain(theirs.keys()).filter(|k| ours.get(*k) != theirs.get(*k)).collect();
        let count = differing.len();
        let &&(db, key) = differing.first()?;
        let key_text = excerpt(key);
        let head = format!("{count} keys differ; first: db {db} key {key_text}");
        let values = (ours.get(&(db, key)), theirs.get(&(db, key)));
        let what = match (values.0.map(|it| &it.value), values.1.map(|it| &it.value)) {
            (Some(Value::Hash(a)), Some(Value::Hash(b))) => a.difference(b),
            (Some(Value::List(a)), Some(Value::List(b))) => list::difference(a, b),
            (Some(Value::Set(a)), Some(Value::Set(b))) => set::difference(a, b),
            (Some(Value::Stream(a)), Some(Value::Stream(b))) => stream::difference(a, b),
            (Some(Value::Zset(a)), Some(Value::Zset(b))) => zset::difference(a, b),
            _ => None,
        };
        if let Some(what) = what {
            return Some(format!("{head}, {what}"));
        }
        let show = |entry: Option<&&Entry>| {
            entry.map_or_else(|| "nothing".to_owned(), |entry| entry.in_words())
        };
        Some(format!("{head}: {} against {}", show(values.0), show(values.1)))
    }

    /// In how many keys two models differ.
    pub fn differences(&self, other: &Model) -> usize {
        let (ours, theirs) = (self.map(), other.map());
        let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        keys.into_iter().filter(|key| ours.get(*key) != theirs.get(*key)).count()
    }

    fn map(&self) -> BTreeMap<(u32, &[u8]), &Entry> {
        self.entries().map(|(db, key, entry)| ((db, key), entry)).collect()
    }

    fn db(&mut self) -> &mut Db {
        self.dbs.entry(self.selected.unwrap_or(0)).or_default()
    }

    /// Applies one command of a stream.
    pub fn apply(&mut self, args: &[&[u8]]) -> Applied {
        let name = args.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        let name = std::str::from_utf8(&name).unwrap_or_default();
        match name {
            "ping" | "replconf" | "publish" => Ok(()),
            // Slots on the move are no data.
            "cluster" => Ok(()),
            "select" => {
                self.selected = Some(number(args, 1)?);
                Ok(())
            }
            "multi" if self.transaction => Err("MULTI within MULTI".to_owned()),
            "exec" if !self.transaction => Err("EXEC without MULTI".to_owned()),
            "multi" | "exec" => {
                self.transaction = !self.transaction;
                Ok(())
            }
            _ => {
                let family = FAMILIES.iter().find(|family| family.names.contains(&name));
                let applied = match family {
                    _ if self.selected.is_none() => Err("selects no database before".to_owned()),
                    Some(family) => (family.apply)(self, name, args),
                    None => Err("is no command whose effect is the same everywhere".to_owned()),
                };
                applied.map_err(|what| {
                    let words: Vec<String> = args.iter().map(|word| excerpt(word)).collect();
                    format!("{name}: {what}: {}", words.join(" "))
                })
            }
        }
    }
}

/// The complaint of a command that finds a value of another type.
fn wrong_type(value: &Value) -> String {
    format!("is a {}", value.type_name())
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
    fn the_digest_of_a_hash_counts_fields_values_and_expiries() {
        let one = model(&[
            "HSET h a 1 b 2 c 3",
            "HPEXPIREAT h 50 FIELDS 2 a c",
            "HPERSIST h FIELDS 1 c",
            "HINCRBY h a 4",
            "HDEL h b",
            "COPY h other",
            "DEL other",
        ]);
        let two = model(&["HSETEX x PXAT 50 FIELDS 1 a 5", "HSET x c 3", "RENAME x h"]);
        assert_eq!(one.digest(), two.digest());
        assert_eq!(one.difference(&two), None);
        for line in ["HSET h a 5", "HDEL h c", "HSET h c 4", "HPEXPIREAT h 51 FIELDS 1 a"] {
            let mut other = one.clone();
            other.apply(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>()).expect(line);
            assert_ne!(one.digest(), other.digest(), "{line}");
            assert!(one.difference(&other).is_some_and(|text| text.contains("field")), "{line}");
        }
        let gone = model(&["HSET h a 1", "HSETEX h KEEPTTL FIELDS 1 a 2", "HDEL h a z"]);
        assert_eq!(gone.digest(), Model::new(0).digest());
        let kept = |at: Option<i64>| at.is_none_or(|at| at > 50);
        assert_eq!(one.digest_if(kept), model(&["HSET h c 3"]).digest());
    }

    #[test]
    fn lists_and_sets_are_changed_as_their_commands_say() {
        let one = model(&[
            "RPUSH l a b c a",
            "LPUSH l y x",
            "LREM l -1 a",
            "LINSERT l AFTER b n",
            "LSET l -1 z",
            "LMOVE l l LEFT RIGHT",
            "RPOPLPUSH l m",
            "LPOP l 1",
            "LTRIM l 0 -2",
            "SADD s a b c",
            "SMOVE s t a",
            "SUNIONSTORE u s t",
            "SDIFFSTORE v u t",
            "SINTERSTORE w s t",
        ]);
        let lines =
            ["RPUSH l a b n", "RPUSH m x", "SADD s c b", "SADD t a", "SADD u a b c", "SADD v b c"];
        let two = model(&lines);
        assert_eq!(one.difference(&two), None);
        assert_eq!(one.digest(), two.digest());
        for (line, what) in [("LSET l 1 c", "element 1"), ("SREM u b", "member b")] {
            let mut other = one.clone();
            other.apply(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>()).expect(line);
            assert_ne!(one.digest(), other.digest(), "{line}");
            assert!(one.difference(&other).is_some_and(|text| text.contains(what)), "{line}");
        }
        let other = model(&["RPUSH l b a n"]);
        assert_ne!(model(&["RPUSH l a b n"]).digest(), other.digest());
    }

    #[test]
    fn streams_and_their_groups_are_changed_as_their_commands_say() {
        let one = model(&[
            "XADD s 1-1 a 1",
            "XADD s NOMKSTREAM MAXLEN = 2 LIMIT 7 1-2 a 2 b 3",
            "XADD s 2-0 a 4",
            "XADD s MINID 1-2 2-1 a 5",
            "XDEL s 2-0 9-9",
            "XGROUP CREATE s g 0",
            "XCLAIM s g c 0 1-2 TIME 50 RETRYCOUNT 1 FORCE JUSTID LASTID 1-2",
            "XCLAIM s g d 0 2-0 TIME 50 RETRYCOUNT 1 JUSTID FORCE",
            "XCLAIM s g d 0 2-1 TIME 60 RETRYCOUNT 2 FORCE JUSTID LASTID 2-1",
            "XGROUP SETID s g 2-1 ENTRIESREAD 4",
            "XACK s g 1-2",
            "XGROUP CREATE s h $",
            "XGROUP CREATECONSUMER s h x",
            "XGROUP DELCONSUMER s h x",
        ]);
        let two = model(&[
            "XADD s 1-2 a 2 b 3",
            "XADD s 2-1 a 5",
            "XSETID s 2-1 ENTRIESADDED 4 MAXDELETEDID 2-0",
            "XGROUP CREATE s g 2-1 ENTRIESREAD 4",
            "XGROUP CREATECONSUMER s g c",
            "XCLAIM s g d 0 2-0 TIME 50 RETRYCOUNT 1 JUSTID FORCE",
            "XCLAIM s g d 0 2-1 TIME 60 RETRYCOUNT 2 JUSTID FORCE",
            "XGROUP CREATE s h 2-1",
        ]);
        assert_eq!(one.difference(&two), None);
        assert_eq!(one.digest(), two.digest());
        for (line, what) in [
            ("XDEL s 1-2", "entry (1, 2)"),
            ("XSETID s 3-0", "last (3, 0)"),
            ("XACK s g 2-0", "group g"),
            ("XGROUP DESTROY s h", "group h"),
            ("XCLAIM s g d 0 2-0 TIME 1 RETRYCOUNT 1 FORCE JUSTID LASTID 0-0", "group g"),
        ] {
            let mut other = one.clone();
            other.apply(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>()).expect(line);
            assert_ne!(one.digest(), other.digest(), "{line}");
            assert!(one.difference(&other).is_some_and(|text| text.contains(what)), "{line}");
        }
        for line in ["XADD s * a 1", "XTRIM s MAXLEN ~ 1", "XCLAIM s g c 5 1-2", "XADD s 1-1 a 1"] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert!(one.clone().apply(&args).is_err(), "{line}");
        }
    }

    #[test]
    fn sorted_sets_are_changed_as_their_commands_say() {
        let one = model(&[
            "ZADD z 1 a 2 b 3 c 4 d 5 e",
            "ZADD z XX 6 a 7 x",
            "ZADD z GT 1 b 3.5 c",
            "ZADD z INCR 0.5 d",
            "ZINCRBY z 1 e",
            "ZREM z missing b",
            "ZPOPMIN z",
            // Of two with the score 6 the one whose name comes last.
            "ZPOPMAX z 1",
            "ZADD y 0 k 0 l 0 m 0 n",
            "ZREMRANGEBYLEX y [l [m",
            "ZREMRANGEBYRANK y -1 -1",
            "ZADD w 1 p 2 q 3 r",
            "ZREMRANGEBYSCORE w 2 9",
            "SADD s a p",
            "ZUNIONSTORE u 2 w s",
            "ZINTERSTORE i 2 w s",
            "ZDIFFSTORE f 2 s w",
            "ZRANGESTORE g u 0 0",
        ]);
        let lines = [
            "ZADD z 4.5 d 6 a",
            "ZADD y 0 k",
            "ZADD w 1 p",
            "SADD s a p",
            "ZADD u 2 p 1 a",
            "ZADD i 2 p",
            "ZADD f 1 a",
            "ZADD g 1 a",
        ];
        let mut two = model(&lines);
        assert_eq!(one.difference(&two), None);
        assert_eq!(one.digest(), two.digest());
        two.apply(&[b"ZADD", b"z", b"6.5", b"a"]).expect("an effect");
        assert!(one.difference(&two).is_some_and(|text| text.contains("6 here and 6.5 there")));
        assert_ne!(one.digest(), two.digest());
    }

    #[test]
    fn half_of_a_transaction_is_noticed() {
        let whole = model(&["SET pair:1:a x", "SELECT 2", "SET pair:1:b 1", "SET pair:1:a 1"]);
        assert!(whole.torn_pair().is_some_and(|what| what.contains("db 0")));
        let mut whole = model(&["SET pair:1:a x", "SET p y", "SET pair:1:b x", "SET pairs 1"]);
        assert_eq!(whole.torn_pair(), None);
        whole.apply(&[b"INCR", b"pair:2:b"]).expect("an effect");
        assert!(whole.torn_pair().is_some_and(|what| what.contains("pair:2:b")));
    }

    #[test]
    fn commands_that_depend_on_more_than_data_are_refused() {
        let mut model = model(&["SET s x", "HSET h f v"]);
        for line in [
            "EXPIRE a 5",
            "SET a 1 PX 5",
            "SPOP a",
            "EXEC",
            "HPEXPIRE h 5 FIELDS 1 f",
            "HPEXPIREAT h 5 NX FIELDS 1 f",
            "HPEXPIREAT h 5 FIELDS 2 f",
            "HSETEX h PX 5 FIELDS 1 f v",
            "HSETEX h FNX FIELDS 1 f v",
            "HINCRBYFLOAT h f 1.5",
            "HGETDEL h FIELDS 1 f",
            "HSET s f v",
            "HDEL s f",
            "HSET h f",
            "APPEND h x",
            "SET h x GET",
            "GETSET h x",
            "INCR h",
            "GETDEL h",
        ] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert!(model.apply(&args).is_err(), "{line}");
        }
    }
}
