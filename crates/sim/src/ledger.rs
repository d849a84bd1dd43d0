//! What a node has executed, state by state, to compare with what it finds in its append-only file when it starts again.
//!
//! ```text
//!   states    0 ─── 1 ─── 2 ─── 3 ─── 4 ─── 5 ─── 6      one after each unit of the journal: its digest
//!                         ▲           ▲           ▲
//!                         │           │           └ the last one executed
//!                         │           └ the newest that any client has seen a trace of
//!                         └ found at the next start: a state, hence whole transactions, but too old
//! ```
//!
//! A ledger is a sink of the node's journal, and it outlives the process. Which states must be found is decided in
//! `durability.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russet_engine::journal::{Origin, Sink, Unit};

use crate::digest;
use crate::model::{Model, Value};
use crate::resp::parse_command;
use crate::workload::OWN;

/// The data after a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    number: u64,
    digest: u64,
    /// Those between the one before and this one are not known.
    follows_gap: bool,
}

/// A ledger that a node writes and the world reads.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    model: Model,
    states: Vec<State>,
    /// The data of the first state, and what was executed since then, with the state that it belongs to: for messages.
    base: Model,
    effects: Vec<(u64, u32, Vec<u8>)>,
    /// In which state a value was first in a place that one client alone writes, by [`trace_of`].
    traces: BTreeMap<u64, u64>,
    /// Those that were in states given up at the last start.
    lost: BTreeSet<u64>,
    /// All data was replaced: the next state is a copy of it.
    is_stale: bool,
    /// An effect that could not be applied.
    broken: Option<String>,
}

/// What the data of a node that has started is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The data of this state.
    State(u64),
    /// No state that is known. There are others, after this one.
    Unknown(u64),
    /// None at all.
    Nothing,
}

/// Stands for a value in a place: a key, or a field of one.
pub fn trace_of(key: &[u8], field: Option<&[u8]>, value: &[u8]) -> u64 {
    let place = digest::mix(digest::of_bytes(6, key), field.map_or(7, |f| digest::of_bytes(8, f)));
    digest::mix(place, digest::of_bytes(9, value))
}

/// A world has one thread; one that panicked has nothing left to say.
pub fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// The number of the last state.
    pub fn last(&self) -> u64 {
        self.states.last().map_or(0, |state| state.number)
    }

    /// A process begins a life: what it loads is no effect.
    pub fn pause(&mut self) {
        self.is_stale = true;
    }

    /// Whether the data has changed in another way than by effects.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// The data was replaced by this.
    pub fn replace(&mut self, model: Model) {
        self.is_stale = false;
        self.model = model;
        self.push(1, true);
        self.rebase();
    }

    fn rebase(&mut self) {
        self.base = self.model.clone();
        self.effects.clear();
    }

    fn push(&mut self, step: u64, follows_gap: bool) {
        let (number, digest) = (self.last() + step, self.model.digest());
        self.states.push(State { number, digest, follows_gap });
    }

    /// The digest of the last state, or what is wrong with the effects; none while it is stale.
    pub fn digest(&self) -> Option<Result<u64, String>> {
        let digest = || self.broken.clone().map_or_else(|| Ok(self.model.digest()), Err);
        (!self.is_stale).then(digest)
    }

    /// Where the last state differs from some data, in words.
    pub fn difference(&self, data: &Model) -> String {
        data.difference(&self.model).unwrap_or_default()
    }

    /// The state since the last replacement that is most like some data, and the difference, in words.
    pub fn nearest(&self, data: &Model) -> String {
        let mut model = self.base.clone();
        let first = self.effects.first().map_or(self.last(), |effect| effect.0 - 1);
        let mut nearest = (data.differences(&model), first, data.difference(&model));
        for chunk in self.effects.chunk_by(|a, b| a.0 == b.0) {
            for (_, db, command) in chunk {
                model.select(*db);
                if let Ok(Some((args, _))) = parse_command(command) {
                    // It was applied before.
                    _ = model.apply(&args);
                }
            }
            let count = data.differences(&model);
            if count < nearest.0 {
                nearest = (count, chunk[0].0, data.difference(&model));
            }
        }
        format!("state {} is nearest: {}", nearest.1, nearest.2.unwrap_or_default())
    }

    /// Which state a node's data is: the last one that has this digest.
    pub fn find(&self, digest: u64) -> Found {
        match self.states.iter().rev().find(|state| state.digest == digest) {
            Some(state) => Found::State(state.number),
            None => match self.states.iter().rev().find(|state| state.follows_gap) {
                Some(state) => Found::Unknown(state.number - 1),
                None => Found::Nothing,
            },
        }
    }

    /// A node has started with this state: all later ones never were.
    pub fn go_back(&mut self, number: u64, model: Model) {
        let (kept, lost) =
            std::mem::take(&mut self.traces).into_iter().partition(|t| t.1 <= number);
        self.traces = kept;
        let lost: BTreeMap<u64, u64> = lost;
        self.lost = lost.into_keys().collect();
        (self.model, self.is_stale, self.broken) = (model, false, None);
        // A rotten file may be cut off before it.
        self.states.retain(|state| state.number < number);
        self.states.push(State { number, digest: self.model.digest(), follows_gap: false });
        self.rebase();
    }

    /// There is no file any more whose states these were.
    pub fn begin(&mut self, model: Model) {
        let number = self.last() + 1;
        self.states.clear();
        self.go_back(number, model);
        self.traces.clear();
        self.lost.clear();
    }

    /// In which state a value was first in its place.
    pub fn state_of(&self, trace: u64) -> Option<u64> {
        self.traces.get(&trace).copied()
    }

    /// Whether a value was given up at the last start.
    pub fn has_lost(&self, trace: u64) -> bool {
        self.lost.contains(&trace)
    }

    fn effect(&mut self, db: u32, command: &[u8], number: u64) -> Result<(), String> {
        let (args, used) = parse_command(command)?.ok_or("an effect is not a whole command")?;
        if used != command.len() {
            return Err("an effect is more than one command".to_owned());
        }
        self.model.select(db);
        self.model.apply(&args)?;
        self.effects.push((number, db, command.to_vec()));
        let Some(key) = args.get(1).filter(|key| key.starts_with(OWN)) else { return Ok(()) };
        match self.model.value(db, key) {
            Some(Value::String(value)) => {
                self.traces.entry(trace_of(key, None, value)).or_insert(number);
            }
            Some(Value::Hash(hash)) => {
                for field in &args[2..] {
                    if let Some(value) = hash.get(field) {
                        let trace = trace_of(key, Some(field), value);
                        self.traces.entry(trace).or_insert(number);
                    }
                }
            }
            // Of these types no client has values of its own.
            Some(Value::List(_) | Value::Set(_) | Value::Zset(_) | Value::Stream(_)) | None => {}
        }
        Ok(())
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        if self.is_stale {
            return;
        }
        for (db, command) in unit.iter() {
            let applied = self.effect(db, command, self.last() + 1);
            if let Err(what) = applied {
                self.broken.get_or_insert(what);
            }
            if !unit.is_atomic {
                self.push(1, false);
            }
        }
        if unit.is_atomic {
            self.push(1, false);
        }
    }
}

/// The sink that writes a ledger.
pub struct Recording(pub SharedLedger);

impl Sink for Recording {
    fn listens(&self, _origin: Origin) -> bool {
        true
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        lock(&self.0).unit(unit);
    }

    fn replaced(&mut self) {
        lock(&self.0).is_stale = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(words: &[&str]) -> Model {
        let mut model = Model::new(0);
        let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        model.apply(&args).expect("an effect");
        model
    }

    #[test]
    fn a_state_is_found_and_later_ones_are_given_up() {
        let mut ledger = Ledger::default();
        ledger.begin(Model::new(0));
        for value in ["1", "2", "3"] {
            ledger.model = model(&["SET", "own:1", value]);
            let (trace, number) = (trace_of(b"own:1", None, value.as_bytes()), ledger.last() + 1);
            ledger.traces.insert(trace, number);
            ledger.push(1, false);
        }
        let second = model(&["SET", "own:1", "2"]);
        assert_eq!(ledger.find(second.digest()), Found::State(3));
        assert_eq!(ledger.find(model(&["SET", "own:1", "4"]).digest()), Found::Nothing);
        ledger.go_back(3, second);
        let state_of = |value: &[u8]| ledger.state_of(trace_of(b"own:1", None, value));
        assert_eq!([state_of(b"1"), state_of(b"2"), state_of(b"3")], [Some(2), Some(3), None]);
        assert!(ledger.has_lost(trace_of(b"own:1", None, b"3")));
        assert_eq!(ledger.last(), 3);
        ledger.replace(model(&["SET", "a", "b"]));
        assert_eq!(ledger.find(1), Found::Unknown(3));
    }
}
