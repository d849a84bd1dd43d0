//! What clients say: every command that exists, on keys shared by all, and on keys of each client's own,
//! whose replies are known.

mod hash;
mod keys;
mod list;
mod set;
mod stream;
mod string;
mod together;
mod zset;

use std::fmt;

use russet_engine::command::table::CommandTable;

use crate::chance::Chance;
use crate::model::excerpt;
use crate::resp::push_command;

/// How the names of keys begin that one client alone writes.
pub const OWN: &[u8] = b"own:";

/// So many seeds in a hundred lean on large collections.
const LARGE_PERCENT: u64 = 40;

/// Where a client keeps a value of its own: a string's key, or a hash's key and a field of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The key.
    pub key: Vec<u8>,
    /// The field.
    pub field: Option<Vec<u8>>,
}

impl Place {
    /// The command for strings or that for fields, with its first arguments.
    fn request(&self, string: &str, hash: &str) -> Vec<Vec<u8>> {
        let name = if self.field.is_some() { hash } else { string };
        [name.into(), self.key.clone()].into_iter().chain(self.field.clone()).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&excerpt(&self.key))?;
        self.field.as_ref().map_or(Ok(()), |field| write!(f, " {}", excerpt(field)))
    }
}

/// What a client expects of the reply to a request.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Anything that is a reply.
    Anything,
    /// `+OK`; another answer makes the rest of the pipeline meaningless.
    Session,
    /// The place of the client's own has this value from now on: `+OK`, or for a field whether it was not there.
    Set(Place, Vec<u8>),
    /// The value that the place of the client's own has.
    Get(Place),
    /// What a place of another client holds.
    Peek(Place),
    /// One more than the counter of the client's own had.
    Increment(Place),
    /// The place of the client's own is empty from now on; whether it was not.
    Delete(Place),
    /// `+OK` of a FLUSHALL that was sent at this time.
    Flush(u64),
    /// `+QUEUED`, or a refusal.
    Queued,
    /// So many replicas have the write that was said before, this request of the stream.
    Waited {
        /// The request.
        write: Vec<u8>,
        /// How many were wanted.
        replicas: i64,
        /// How long the answer may wait for them.
        timeout_us: u64,
    },
    /// Whether that write is on this server's disk, and on those of how many replicas.
    WaitedForDisks {
        /// The request.
        write: Vec<u8>,
    },
    /// `+OK`: for so long no client writes.
    Paused {
        /// For how long.
        us: u64,
    },
    /// What a key holds that was just watched.
    Watched,
    /// The same in EXEC, to compare: had it become another, EXEC would have done nothing.
    Unchanged,
    /// The replies to what was queued; nothing at all only if a key was watched that others change.
    Exec {
        /// To each queued command.
        inner: Vec<Expected>,
        /// Somebody else may have changed a watched key.
        contended: bool,
    },
}

impl Expected {
    /// What to expect of a request on keys that all clients share.
    fn of(args: &[Vec<u8>]) -> Expected {
        match args[0].eq_ignore_ascii_case(b"flushall") {
            true => Expected::Flush(0),
            false => Expected::Anything,
        }
    }

    /// The request is sent now.
    pub fn sent(&mut self, now_us: u64) {
        match self {
            Expected::Flush(sent_us) => *sent_us = now_us,
            Expected::Exec { inner, .. } => inner.iter_mut().for_each(|e| e.sent(now_us)),
            _ => {}
        }
    }
}

/// Commands of which requests are drawn, and how.
struct Family {
    /// The commands, each with its weight.
    commands: &'static [(u64, &'static str)],
    /// Draws a request of one of them, on keys that clients share, at a wall clock's time in milliseconds.
    request: fn(&Load, &mut Chance, i64, &'static str) -> Vec<Vec<u8>>,
}

const FAMILIES: &[Family] = &[
    string::FAMILY,
    keys::FAMILY,
    hash::FAMILY,
    list::FAMILY,
    set::FAMILY,
    zset::FAMILY,
    stream::FAMILY,
];

/// Shapes of the load, drawn once for a seed.
#[derive(Clone, Debug)]
pub struct Load {
    /// Commands to draw from: the number of the family, the name.
    commands: Vec<(usize, &'static str)>,
    weights: Vec<u64>,
    /// Keys shared by all, in each database.
    pub keys: u64,
    /// As many more mostly hold collections.
    pub collections: u64,
    /// Elements that a collection may have.
    pub elements: u64,
    /// Large collections, if the seed leans on them.
    pub large: Option<Large>,
    /// Databases in use.
    pub dbs: u64,
    /// One value in so many is long.
    pub long_one_in: u64,
    /// How long a long value is at most.
    pub long_max: u64,
    /// In a hundred writes, so many set an expiry.
    pub expiry_percent: u64,
    /// Longest expiry, milliseconds.
    pub expiry_ms_max: u64,
    /// FLUSHALL is called now and then, so clients have no keys of their own.
    pub flushes_all: bool,
    /// Clients close connections of others now and then.
    pub kills: bool,
    /// Clients look at places of others.
    pub peeks: bool,
}

/// How a seed leans on collections that a walk takes in many slices.
#[derive(Clone, Debug)]
pub struct Large {
    /// How many there are in each database.
    pub keys: u64,
    /// Elements of each at most.
    pub elements: u64,
    /// The database that is used most.
    pub db: u64,
    /// In a hundred requests, so many begin to build one.
    pub build_percent: u64,
}

impl Large {
    fn draw(chance: &mut Chance, dbs: u64) -> Large {
        Large {
            keys: chance.between(2, 3),
            elements: chance.skewed(300, 5000),
            db: chance.below(dbs),
            build_percent: chance.between(1, 3),
        }
    }
}

impl Load {
    /// The shapes of a seed, over the commands that the engine has.
    pub fn draw(chance: &mut Chance, known: &CommandTable) -> Load {
        let flushes_all = chance.one_in(6);
        // Some seeds lean on a few commands, so that each gets its turn in the foreground.
        let leaning = chance.percent(50);
        let (mut commands, mut weights) = (Vec::new(), Vec::new());
        for (number, family) in FAMILIES.iter().enumerate() {
            let known = |name: &str| known.find(name.as_bytes()).is_some();
            let wanted = |name: &str| known(name) && (flushes_all || name != "flushall");
            for &(weight, name) in family.commands.iter().filter(|(_, name)| wanted(name)) {
                let factor = if leaning { *chance.pick(&[0, 1, 1, 4]) } else { 1 };
                weights.push(if name == "set" { weight } else { weight * factor });
                commands.push((number, name));
            }
        }
        let dbs = chance.between(1, 5);
        Load {
            weights,
            commands,
            keys: chance.skewed(30, 800),
            collections: chance.skewed(2, 60),
            elements: chance.skewed(2, 100),
            large: chance.percent(LARGE_PERCENT).then(|| Large::draw(chance, dbs)),
            dbs,
            long_one_in: chance.skewed(20, 2000),
            long_max: chance.skewed(2000, 100_000),
            expiry_percent: *chance.pick(&[0, 10, 30, 60]),
            expiry_ms_max: chance.skewed(50, 60_000),
            flushes_all,
            kills: chance.percent(25),
            peeks: false,
        }
    }

    /// The same without what costs much or is not of interest where other things are tested: large values, expiries, what
    /// disturbs other clients.
    pub fn light(mut self) -> Load {
        let flushes = self.commands.iter().position(|(_, name)| *name == "flushall");
        if let Some(index) = flushes {
            self.commands.remove(index);
            self.weights.remove(index);
        }
        (self.large, self.flushes_all, self.kills, self.peeks) = (None, false, false, false);
        (self.expiry_percent, self.long_one_in, self.elements) = (0, 1000, 10);
        self
    }

    /// Draws a request on keys that all clients share.
    fn request(&self, chance: &mut Chance, wall_ms: i64) -> Vec<Vec<u8>> {
        let index = chance.weighted(&self.weights);
        let (family, name) = self.commands[index];
        (FAMILIES[family].request)(self, chance, wall_ms, name)
    }

    /// Whether the engine has a command.
    pub fn has(&self, name: &str) -> bool {
        self.commands.iter().any(|(_, known)| *known == name)
    }

    fn db(&self, chance: &mut Chance) -> u64 {
        match &self.large {
            Some(large) if chance.percent(50) => large.db,
            _ => chance.below(self.dbs),
        }
    }

    /// A key for a string, mostly.
    fn key(&self, chance: &mut Chance) -> Vec<u8> {
        let number = chance.below(self.keys);
        // A few keys with long names, and one with none.
        match number {
            0 => Vec::new(),
            n if n % 97 == 5 => format!("k{n}-{}", "x".repeat(300)).into_bytes(),
            n => format!("k{n}").into_bytes(),
        }
    }

    /// A key that now and then is one of those that mostly hold collections: so many times in a hundred.
    fn key_or_collection(&self, chance: &mut Chance, percent: u64) -> Vec<u8> {
        if !chance.percent(percent) {
            return self.key(chance);
        }
        match &self.large {
            // Else large ones would hardly ever grow.
            Some(large) if chance.percent(30) => large.key(chance),
            _ => format!("c{}", chance.below(self.collections)).into_bytes(),
        }
    }

    /// A key for a collection, and how many elements that may have.
    fn collection(&self, chance: &mut Chance) -> (Vec<u8>, u64) {
        match &self.large {
            Some(large) if chance.percent(60) => (large.key(chance), large.elements),
            _ => (self.key_or_collection(chance, 88), self.elements),
        }
    }

    /// A key that mostly holds a collection of a type, and a large one in seeds that lean on those.
    fn typed_key(&self, chance: &mut Chance, ty: &str) -> Vec<u8> {
        match &self.large {
            _ if chance.percent(10) => self.key_or_collection(chance, 50),
            Some(large) if chance.percent(60) => {
                format!("large-{ty}{}", chance.below(large.keys)).into_bytes()
            }
            _ => format!("{ty}{}", chance.below(self.collections)).into_bytes(),
        }
    }

    /// Another key for what stands under this one. Large collections mostly stay among themselves.
    fn target(&self, chance: &mut Chance, source: &[u8]) -> Vec<u8> {
        match &self.large {
            Some(large) if source.starts_with(b"large") && chance.percent(70) => large.key(chance),
            _ => self.key_or_collection(chance, 15),
        }
    }

    fn value(&self, chance: &mut Chance) -> Vec<u8> {
        if chance.percent(25) {
            return (chance.bits() as i64 >> chance.below(64)).to_string().into_bytes();
        }
        let len = match chance.one_in(self.long_one_in) {
            true => chance.skewed(1000, self.long_max),
            false => chance.skewed(0, 100),
        };
        bytes(chance, len)
    }

    fn expiry_ms(&self, chance: &mut Chance) -> u64 {
        chance.skewed(1, self.expiry_ms_max)
    }

    fn expiry_s(&self, chance: &mut Chance) -> u64 {
        chance.skewed(1, self.expiry_ms_max / 1000 + 1)
    }
}

impl Large {
    fn key(&self, chance: &mut Chance) -> Vec<u8> {
        format!("large{}", chance.below(self.keys)).into_bytes()
    }
}

fn bytes(chance: &mut Chance, len: u64) -> Vec<u8> {
    let (first, step) = (chance.bits() as u8, *chance.pick(&[0, 0, 1, 7, 89]));
    (0..len).map(|i| first.wrapping_add((i as u8).wrapping_mul(step))).collect()
}

/// For how long a command may wait, in milliseconds: mostly not for long, since its client does nothing else meanwhile.
fn millis(chance: &mut Chance) -> u64 {
    if chance.percent(10) { chance.skewed(100, 999) } else { chance.skewed(1, 50) }
}

fn text(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// What a client has said so far on its connection, and what it writes next.
#[derive(Debug, Default)]
pub struct Speech {
    /// Which client it is: its own keys carry its number.
    pub client: usize,
    /// Which of its connections this is: what an older one said may still arrive, so each writes keys of its own.
    pub connection: u64,
    /// The same of all clients, if they look at each other's keys.
    pub peers: Vec<u64>,
    db: u64,
    /// Bytes to send.
    pub out: Vec<u8>,
    /// What their replies should be.
    pub expected: Vec<Expected>,
    serial: u64,
    /// A large collection that is being built.
    building: Option<Building>,
    /// So many of the next requests are to change large collections.
    pub disturbs: u64,
    /// The database of the last that was built.
    built_in: u64,
    /// How often it has closed connections of others amid its writes.
    pub kills: u64,
    /// A key is watched, and a transaction is to follow: its database, and the request that reads it.
    watching: Option<(u64, [Vec<u8>; 2])>,
}

#[derive(Debug)]
struct Building {
    db: u64,
    key: Vec<u8>,
    elements: u64,
    done: u64,
}

impl Speech {
    /// That of a client.
    pub fn of(client: usize) -> Speech {
        Speech { client, ..Speech::default() }
    }

    /// A new connection: nothing is selected.
    pub fn restart(&mut self) {
        self.connection += 1;
        self.db = 0;
        self.out.clear();
        self.expected.clear();
        self.building = None;
        self.disturbs = 0;
        self.watching = None;
    }

    /// Appends a request.
    pub fn say<A: AsRef<[u8]>>(&mut self, args: &[A], expected: Expected) {
        push_command(&mut self.out, args);
        self.expected.push(expected);
    }

    fn select(&mut self, db: u64) {
        if self.db != db {
            self.db = db;
            self.say(&[b"SELECT".to_vec(), db.to_string().into_bytes()], Expected::Session);
        }
    }

    /// Draws the next request or two.
    pub fn draw(&mut self, load: &Load, chance: &mut Chance, wall_ms: i64, transactions: bool) {
        if load.kills && chance.one_in(150) {
            self.kill(load, chance, wall_ms);
        } else if self.disturbs > 0 && chance.percent(80) {
            self.disturb(load, chance, wall_ms);
        } else if self.building.is_some() && chance.percent(70) {
            self.build(load, chance);
        } else if transactions && self.watching.is_some() && chance.percent(20) {
            self.transaction(load, chance, wall_ms);
        } else if transactions && self.watching.is_none() && chance.percent(6) {
            match chance.percent(25) {
                true => self.watch(load, chance),
                false => self.transaction(load, chance, wall_ms),
            }
        } else if load.peeks && chance.percent(12) {
            self.select(0);
            let (args, expected) = self.peek(chance);
            self.say(&args, expected);
        } else if !load.flushes_all && chance.percent(if load.peeks { 35 } else { 20 }) {
            self.select(0);
            let (args, expected) = self.own(load, chance);
            let is_set = matches!(expected, Expected::Set(..));
            self.say(&args, expected);
            if is_set && chance.percent(10) {
                match load.peeks && chance.percent(50) {
                    true => self.wait_for_disks(chance, &args),
                    false => self.wait(chance, &args),
                }
            }
        } else {
            self.select(load.db(chance));
            let args = load.request(chance, wall_ms);
            if load.flushes_all && chance.one_in(150) {
                // The one gives the other up.
                self.say(&[b"BGSAVE"], Expected::Anything);
                self.say(&[b"FLUSHALL"], Expected::Flush(0));
            }
            self.say(&args, Expected::of(&args));
            if let Some(large) = &load.large
                && self.building.is_none()
                && chance.percent(large.build_percent)
            {
                let elements = chance.between(large.elements / 4, large.elements);
                self.building =
                    Some(Building { db: self.db, key: large.key(chance), elements, done: 0 });
            }
        }
    }

    /// Goes on with a large collection; when it is complete a snapshot may be next.
    fn build(&mut self, load: &Load, chance: &mut Chance) {
        let Some(Building { db, key, elements, done }) = self.building.take() else { return };
        self.select(db);
        let count = chance.between(20, 120).min(elements - done);
        self.say(&hash::part(load, chance, &key, done, count), Expected::Anything);
        let done = done + count;
        if done < elements {
            self.building = Some(Building { db, key, elements, done });
        } else if chance.percent(40) {
            let snapshot: &[u8] =
                if load.peeks && chance.percent(50) { b"BGREWRITEAOF" } else { b"BGSAVE" };
            self.say(&[snapshot], Expected::Anything);
            (self.disturbs, self.built_in) = (chance.between(5, 40), db);
        }
    }

    /// Changes large collections, while a walk goes through them.
    fn disturb(&mut self, load: &Load, chance: &mut Chance, wall_ms: i64) {
        self.disturbs -= 1;
        let Some(large) = &load.large else { return };
        let key = large.key(chance);
        let args = match chance.below(100) {
            0..45 => hash::change(load, chance, wall_ms),
            45..60 => list::change(load, chance, wall_ms),
            60..68 => set::change(load, chance, wall_ms),
            68..80 => zset::change(load, chance, wall_ms),
            80..90 => stream::change(load, chance, wall_ms),
            _ => keys::change(load, chance, key),
        };
        self.select(self.built_in);
        self.say(&args, Expected::Anything);
    }

    /// A request on a place of the client's own.
    fn own(&mut self, load: &Load, chance: &mut Chance) -> (Vec<Vec<u8>>, Expected) {
        self.serial += 1;
        let in_hash = load.has("hset") && load.has("hget") && chance.percent(40);
        let place = self.place(self.connection, chance.below(4), in_hash);
        let counter = self.place(self.connection, 4, in_hash);
        let has = |string, hash| load.has(if in_hash { hash } else { string });
        match chance.below(10) {
            0..=3 => {
                let value = format!("{}:{}", self.serial, chance.below(1000)).into_bytes();
                let mut args = place.request("SET", "HSET");
                args.push(value.clone());
                (args, Expected::Set(place, value))
            }
            4 if has("del", "hdel") => (place.request("DEL", "HDEL"), Expected::Delete(place)),
            5 | 6 if has("incrby", "hincrby") => {
                let mut args = counter.request("INCRBY", "HINCRBY");
                args.push(b"1".to_vec());
                (args, Expected::Increment(counter))
            }
            _ => {
                let connection = self.connection.saturating_sub(chance.below(3));
                let place = self.place(connection, chance.below(5), in_hash);
                (place.request("GET", "HGET"), Expected::Get(place))
            }
        }
    }

    /// Looks at some places of other clients.
    pub fn look_around(&mut self, chance: &mut Chance) {
        self.select(0);
        for _ in 0..chance.between(1, 4) {
            let (args, expected) = self.peek(chance);
            self.say(&args, expected);
        }
    }

    /// A read of a place of another client, on one of its connections.
    fn peek(&self, chance: &mut Chance) -> (Vec<Vec<u8>>, Expected) {
        let client = chance.index(self.peers.len().max(1));
        let other = Speech { client, ..Speech::default() };
        let connection = self.peers.get(client).copied().unwrap_or(0);
        let place = other.place(connection, chance.below(5), chance.percent(40));
        (place.request("GET", "HGET"), Expected::Peek(place))
    }

    fn own_key(&self, connection: u64, number: u64) -> Vec<u8> {
        format!("own:{}:{connection}:{number}", self.client).into_bytes()
    }

    fn place(&self, connection: u64, number: u64, in_hash: bool) -> Place {
        match in_hash {
            true => Place {
                key: format!("own:{}:{connection}:hash", self.client).into_bytes(),
                field: Some(format!("f{number}").into_bytes()),
            },
            false => Place { key: self.own_key(connection, number), field: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use russet_engine::command::Group;

    use super::*;

    #[test]
    fn all_commands_for_collections_are_in_the_load() {
        let table = CommandTable::default();
        for (group, family) in [
            (Group::Hash, hash::FAMILY),
            (Group::List, list::FAMILY),
            (Group::Set, set::FAMILY),
            (Group::Stream, stream::FAMILY),
            (Group::SortedSet, zset::FAMILY),
        ] {
            let rows = table.all().filter(|row| row.group == group);
            let names: BTreeSet<&str> = rows.map(|row| row.name).collect();
            let drawn: BTreeSet<&str> = family.commands.iter().map(|(_, name)| *name).collect();
            assert_eq!(names, drawn);
        }
    }

    #[test]
    fn requests_have_as_many_words_as_their_commands_take() {
        let (table, mut chance) = (CommandTable::default(), Chance::new(1));
        for _ in 0..50 {
            let load = Load::draw(&mut chance, &table);
            for _ in 0..100 {
                let request = load.request(&mut chance, 1_700_000_000_000);
                let row = table.find(&request[0]).expect("only known commands are drawn");
                assert!(row.takes(request.len()), "{}: {} words", row.name, request.len());
            }
        }
    }
}
