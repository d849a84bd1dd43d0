//! What clients say: every command that exists, on keys shared by all, and on keys of each client's own,
//! whose replies are known.

use russet_engine::command::table::CommandTable;

use crate::chance::Chance;
use crate::resp::push_command;

/// What a client expects of the reply to a request.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Anything that is a reply.
    Anything,
    /// `+OK`; another answer makes the rest of the pipeline meaningless.
    Session,
    /// `+OK`, and the key of the client's own has this value from now on.
    Set(Vec<u8>, Vec<u8>),
    /// The value that the key of the client's own has.
    Get(Vec<u8>),
    /// One more than the counter of the client's own had.
    Increment(Vec<u8>),
    /// The key of the client's own is gone.
    Delete(Vec<u8>),
    /// `+QUEUED`, or a refusal.
    Queued,
    /// The replies to what was queued; nothing at all only if a key was watched that others change.
    Exec {
        /// To each queued command.
        inner: Vec<Expected>,
        /// Somebody else may have changed a watched key.
        contended: bool,
    },
}

/// Shapes of the load, drawn once for a seed.
#[derive(Clone, Debug)]
pub struct Load {
    /// Commands to draw from, each with its weight.
    commands: Vec<(u64, &'static str)>,
    weights: Vec<u64>,
    /// Keys shared by all, in each database.
    pub keys: u64,
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
}

const COMMANDS: &[(u64, &str)] = &[
    (40, "set"),
    (10, "get"),
    (8, "incr"),
    (4, "decrby"),
    (3, "incrbyfloat"),
    (8, "append"),
    (4, "setrange"),
    (3, "setnx"),
    (4, "setex"),
    (4, "psetex"),
    (3, "getset"),
    (3, "getdel"),
    (3, "getex"),
    (5, "mset"),
    (2, "msetnx"),
    (3, "mget"),
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
    (1, "strlen"),
    (1, "touch"),
    (1, "ping"),
    (1, "wait"),
    (1, "role"),
    (1, "info"),
];

impl Load {
    /// The shapes of a seed, over the commands that the engine has.
    pub fn draw(chance: &mut Chance, known: &CommandTable) -> Load {
        let flushes_all = chance.one_in(6);
        // Some seeds lean on a few commands, so that each gets its turn in the foreground.
        let leaning = chance.percent(50);
        let commands: Vec<(u64, &'static str)> = COMMANDS
            .iter()
            .filter(|(_, name)| known.find(name.as_bytes()).is_some())
            .filter(|(_, name)| flushes_all || *name != "flushall")
            .map(|&(weight, name)| {
                let factor = if leaning { *chance.pick(&[0, 1, 1, 4]) } else { 1 };
                (if name == "set" { weight } else { weight * factor }, name)
            })
            .collect();
        Load {
            weights: commands.iter().map(|(weight, _)| *weight).collect(),
            commands,
            keys: chance.skewed(30, 800),
            dbs: chance.between(1, 5),
            long_one_in: chance.skewed(20, 2000),
            long_max: chance.skewed(2000, 100_000),
            expiry_percent: *chance.pick(&[0, 10, 30, 60]),
            expiry_ms_max: chance.skewed(50, 60_000),
            flushes_all,
        }
    }

    fn name(&self, chance: &mut Chance) -> &'static str {
        let index = chance.weighted(&self.weights);
        self.commands.get(index).map_or("set", |(_, name)| name)
    }

    /// Whether the engine has a command.
    pub fn has(&self, name: &str) -> bool {
        self.commands.iter().any(|(_, known)| *known == name)
    }

    fn key(&self, chance: &mut Chance) -> Vec<u8> {
        let number = chance.below(self.keys);
        // A few keys with long names, and one with none.
        match number {
            0 => Vec::new(),
            n if n % 97 == 5 => format!("k{n}-{}", "x".repeat(300)).into_bytes(),
            n => format!("k{n}").into_bytes(),
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
        let (first, step) = (chance.bits() as u8, *chance.pick(&[0, 0, 1, 7, 89]));
        (0..len).map(|i| first.wrapping_add((i as u8).wrapping_mul(step))).collect()
    }

    fn expiry_ms(&self, chance: &mut Chance) -> u64 {
        chance.skewed(1, self.expiry_ms_max)
    }
}

/// What a client has said so far on its connection, and what it writes next.
#[derive(Debug, Default)]
pub struct Speech {
    /// Which client it is: its own keys carry its number.
    pub client: usize,
    /// Which of its connections this is: what an older one said may still arrive, so each writes keys of its own.
    connection: u64,
    db: u64,
    /// Bytes to send.
    pub out: Vec<u8>,
    /// What their replies should be.
    pub expected: Vec<Expected>,
    serial: u64,
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
        if transactions && chance.percent(6) {
            self.transaction(load, chance, wall_ms);
        } else if !load.flushes_all && chance.percent(20) {
            self.select(0);
            let (args, expected) = self.own(load, chance);
            self.say(&args, expected);
        } else {
            self.select(chance.below(load.dbs));
            let args = shared(load, chance, wall_ms);
            self.say(&args, Expected::Anything);
        }
    }

    /// A request on a key of the client's own.
    fn own(&mut self, load: &Load, chance: &mut Chance) -> (Vec<Vec<u8>>, Expected) {
        self.serial += 1;
        let key = self.own_key(self.connection, chance.below(4));
        let counter = self.own_key(self.connection, 4);
        match chance.below(10) {
            0..=3 => {
                let value = format!("{}:{}", self.serial, chance.below(1000)).into_bytes();
                (vec![b"SET".to_vec(), key.clone(), value.clone()], Expected::Set(key, value))
            }
            4 if load.has("del") => (vec![b"DEL".to_vec(), key.clone()], Expected::Delete(key)),
            5 | 6 if load.has("incr") => {
                (vec![b"INCR".to_vec(), counter.clone()], Expected::Increment(counter))
            }
            _ => {
                let connection = self.connection.saturating_sub(chance.below(3));
                let key = self.own_key(connection, chance.below(5));
                (vec![b"GET".to_vec(), key.clone()], Expected::Get(key))
            }
        }
    }

    fn own_key(&self, connection: u64, number: u64) -> Vec<u8> {
        format!("own:{}:{connection}:{number}", self.client).into_bytes()
    }

    fn transaction(&mut self, load: &Load, chance: &mut Chance, wall_ms: i64) {
        let own = !load.flushes_all && chance.percent(50);
        self.select(if own { 0 } else { chance.below(load.dbs) });
        let mut contended = false;
        if chance.percent(40) {
            let key = if own && chance.percent(70) {
                self.own_key(self.connection, 0)
            } else {
                contended = true;
                load.key(chance)
            };
            self.say(&[b"WATCH".to_vec(), key], Expected::Session);
        }
        self.say(&[b"MULTI"], Expected::Session);
        let mut inner = Vec::new();
        for _ in 0..chance.between(0, 5) {
            let (args, expected) = match own {
                true => self.own(load, chance),
                false => (shared(load, chance, wall_ms), Expected::Anything),
            };
            inner.push(expected);
            self.say(&args, Expected::Queued);
        }
        if chance.percent(5) {
            self.say(&[b"DISCARD"], Expected::Session);
        } else {
            self.say(&[b"EXEC"], Expected::Exec { inner, contended });
        }
    }
}

fn text(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// A request on keys that all clients share.
fn shared(load: &Load, chance: &mut Chance, wall_ms: i64) -> Vec<Vec<u8>> {
    let name = load.name(chance);
    let word = name.as_bytes().to_vec();
    let key = load.key(chance);
    let db = text(chance.below(load.dbs));
    match name {
        "set" => set(load, chance, wall_ms, key),
        "setnx" | "getset" | "append" => vec![word, key, load.value(chance)],
        "setrange" => vec![word, key, text(chance.skewed(0, 300)), load.value(chance)],
        "decrby" => vec![word, key, text(chance.below(1000))],
        "incrbyfloat" => vec![word, key, text(chance.below(1000) as f64 / 8.0)],
        "setex" => {
            vec![
                word,
                key,
                text(chance.skewed(1, load.expiry_ms_max / 1000 + 1)),
                load.value(chance),
            ]
        }
        "psetex" => vec![word, key, text(load.expiry_ms(chance)), load.value(chance)],
        "getex" => vec![word, key, b"PX".to_vec(), text(load.expiry_ms(chance))],
        "mset" | "msetnx" => {
            let mut args = vec![word];
            for _ in 0..chance.between(1, 5) {
                args.extend([load.key(chance), load.value(chance)]);
            }
            args
        }
        "mget" | "del" | "unlink" | "exists" | "touch" => {
            let mut args = vec![word, key];
            args.extend((0..chance.skewed(0, 4)).map(|_| load.key(chance)));
            args
        }
        "pexpire" => vec![word, key, text(load.expiry_ms(chance) as i64 - 2)],
        "expire" => vec![word, key, text(chance.skewed(1, load.expiry_ms_max / 1000 + 1))],
        "pexpireat" => vec![word, key, text(wall_ms + load.expiry_ms(chance) as i64)],
        "expireat" => vec![word, key, text(wall_ms / 1000 + chance.below(30) as i64)],
        "rename" | "renamenx" => vec![word, key, load.key(chance)],
        "copy" if chance.percent(50) => {
            vec![word, key, load.key(chance), b"DB".to_vec(), db, b"REPLACE".to_vec()]
        }
        "copy" => vec![word, key, load.key(chance)],
        "move" => vec![word, key, db],
        // Database 0 holds the clients' own keys.
        "swapdb" => {
            let last = load.dbs.max(2) - 1;
            vec![word, text(chance.between(1, last)), text(chance.between(1, last))]
        }
        "flushdb" if load.dbs == 1 || !load.flushes_all => vec![b"DBSIZE".to_vec()],
        "scan" => vec![word, text(0), b"COUNT".to_vec(), text(chance.skewed(1, 50))],
        "wait" => vec![word, text(chance.below(3)), text(chance.between(1, 300))],
        "flushall" | "flushdb" | "randomkey" | "dbsize" | "ping" | "role" => vec![word],
        "info" => vec![word, b"replication".to_vec()],
        // GET, INCR, GETDEL, PERSIST, PTTL, STRLEN: the key and nothing else.
        _ => vec![word, key],
    }
}

fn set(load: &Load, chance: &mut Chance, wall_ms: i64, key: Vec<u8>) -> Vec<Vec<u8>> {
    let mut args = vec![b"SET".to_vec(), key, load.value(chance)];
    // Options are known to the engine if the commands are that came with them.
    if !load.has("setex") && !load.has("psetex") {
        return args;
    }
    if chance.percent(load.expiry_percent) {
        let ms = load.expiry_ms(chance);
        match chance.below(4) {
            0 => args.extend([b"EX".to_vec(), text(ms / 1000 + 1)]),
            1 => args.extend([b"PXAT".to_vec(), text(wall_ms + ms as i64)]),
            2 => args.extend([b"EXAT".to_vec(), text((wall_ms + ms as i64) / 1000 + 1)]),
            _ => args.extend([b"PX".to_vec(), text(ms)]),
        }
    } else if chance.percent(10) {
        args.push(b"KEEPTTL".to_vec());
    }
    match chance.below(20) {
        0 => args.push(b"NX".to_vec()),
        1 => args.push(b"XX".to_vec()),
        2 => args.push(b"GET".to_vec()),
        _ => {}
    }
    args
}
