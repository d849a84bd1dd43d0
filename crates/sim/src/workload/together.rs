//! Requests that belong together: transactions, a write and WAIT, a kill amid writes.

use super::{Expected, Load, Speech};
use crate::chance::Chance;
use crate::model::PAIR;
use crate::resp::push_command;

impl Speech {
    /// Closes connections of others amid writes.
    pub(super) fn kill(&mut self, load: &Load, chance: &mut Chance, wall_ms: i64) {
        let kind = *chance.pick(&["normal", "replica", "replica", "master"]);
        self.select(load.db(chance));
        for turn in 0..2 {
            for _ in 0..chance.between(1, 6) {
                let args = load.request(chance, wall_ms);
                self.say(&args, Expected::Anything);
            }
            if turn == 0 {
                self.say(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"], Expected::Anything);
            }
        }
        self.kills += 1;
    }

    /// Waits for replicas to have a write.
    pub(super) fn wait(&mut self, chance: &mut Chance, write: &[Vec<u8>]) {
        let (replicas, timeout_ms) = (chance.between(1, 3), chance.skewed(50, 2000));
        let mut request = Vec::new();
        push_command(&mut request, write);
        self.say(
            &["WAIT".to_owned(), replicas.to_string(), timeout_ms.to_string()],
            Expected::Waited {
                write: request,
                replicas: replicas as i64,
                timeout_us: timeout_ms * 1000,
            },
        );
    }

    /// Waits for disks to have a write.
    pub(super) fn wait_for_disks(&mut self, chance: &mut Chance, write: &[Vec<u8>]) {
        let numbers = [chance.below(2), chance.below(3), chance.skewed(50, 2000)];
        let mut request = Vec::new();
        push_command(&mut request, write);
        let mut words = vec!["WAITAOF".to_owned()];
        words.extend(numbers.map(|number| number.to_string()));
        self.say(&words, Expected::WaitedForDisks { write: request });
    }

    /// Watches a key that all clients share; the transaction comes later, so that somebody may change it.
    pub(super) fn watch(&mut self, load: &Load, chance: &mut Chance) {
        self.select(load.db(chance));
        let collection = load.has("hset") && chance.percent(30);
        let key = match collection {
            true => format!("c{}", chance.below(load.collections)).into_bytes(),
            false => load.key(chance),
        };
        let read = if collection { "HGETALL" } else { "GET" };
        let read = [read.into(), key.clone()];
        self.say(&[b"WATCH".to_vec(), key], Expected::Session);
        self.say(&read, Expected::Watched);
        self.watching = Some((self.db, read));
    }

    /// A transaction, which ends what was watched.
    pub(super) fn transaction(&mut self, load: &Load, chance: &mut Chance, wall_ms: i64) {
        let watched = self.watching.take();
        let own = watched.is_none() && !load.flushes_all && chance.percent(50);
        self.select(match &watched {
            Some((db, _)) => *db,
            None if own => 0,
            None => load.db(chance),
        });
        let mut contended = watched.is_some();
        if watched.is_none() && chance.percent(40) {
            let key = if own && chance.percent(70) {
                self.place(self.connection, 0, chance.percent(40)).key
            } else {
                contended = true;
                load.key(chance)
            };
            self.say(&[b"WATCH".to_vec(), key], Expected::Session);
        }
        self.say(&[b"MULTI"], Expected::Session);
        let mut inner = Vec::new();
        if let Some((_, read)) = watched {
            self.say(&read, Expected::Queued);
            inner.push(Expected::Unchanged);
        }
        let pair = chance.percent(40).then(|| chance.bits() >> 40);
        self.half_of_pair(pair, "a", &mut inner);
        for _ in 0..chance.between(0, 5) {
            let (args, expected) = match own {
                true => self.own(load, chance),
                false => (load.request(chance, wall_ms), Expected::Anything),
            };
            // What empties or exchanges databases would part the halves.
            if pair.is_some() && (args[0].starts_with(b"flush") || args[0].starts_with(b"swap")) {
                continue;
            }
            inner.push(expected);
            self.say(&args, Expected::Queued);
        }
        self.half_of_pair(pair, "b", &mut inner);
        if chance.percent(5) {
            self.say(&[b"DISCARD"], Expected::Session);
        } else {
            self.say(&[b"EXEC"], Expected::Exec { inner, contended });
        }
    }

    /// One of two keys that this transaction sets to a value, and nothing but such transactions ever writes.
    fn half_of_pair(&mut self, pair: Option<u64>, half: &str, inner: &mut Vec<Expected>) {
        let Some(value) = pair else { return };
        let key = format!("{}{}:{half}", String::from_utf8_lossy(PAIR), self.client);
        self.say(&["SET", &key, &value.to_string()], Expected::Queued);
        inner.push(Expected::Anything);
    }
}
