//! Somebody who moves slots from one master to another, key by key, as `redis-cli --cluster reshard` does:
//!
//! ```text
//!   to the new owner    CLUSTER SETSLOT s IMPORTING a
//!   to the old owner    CLUSTER SETSLOT s MIGRATING b
//!   to the old owner    CLUSTER GETKEYSINSLOT s 3, MIGRATE … KEYS …     until there are none
//!   to both             CLUSTER SETSLOT s NODE b
//! ```
//!
//! When something fails they try again for a while, and then leave the slot as it is.

use crate::cluster_agent::{Answer, Next, Question};
use crate::cluster_fixer::Fix;
use crate::clusters::{TAGS, slot_of_tag};
use crate::plan::{PORT, host_address};
use crate::resp::Reply;
use crate::world::{Phase, World};

/// So often a step is tried.
const TRIES_MAX: u32 = 6;

/// Time to move a key, milliseconds, as MIGRATE is told.
const MIGRATE_MS: u64 = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Mover {
    pub(super) moving: Option<Move>,
    /// It mends what is left after the faults.
    pub(super) mends: bool,
    /// What it mends.
    pub(super) fixes: Vec<Fix>,
}

/// A slot on its way.
#[derive(Clone, Debug)]
pub(super) struct Move {
    tag: usize,
    from: usize,
    to: usize,
    step: Step,
    tries: u32,
    /// The old owner has the newer values: the new one may have some already, of which it was not heard.
    replaces: bool,
}

impl Move {
    /// One that somebody has begun, and that begins again, with what the new owner may have by now.
    pub fn again(tag: usize, from: usize, to: usize) -> Move {
        Move { tag, from, to, step: Step::Import, tries: 0, replaces: true }
    }

    /// Whether its last question was of no use.
    pub fn has_failed(&self) -> bool {
        self.tries > 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Import,
    Migrate,
    /// Gives the slot away although it may still have keys: nodes must refuse that.
    TooEarly,
    List,
    Keys(Vec<Vec<u8>>),
    Take,
    Give,
}

pub(super) fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// MIGRATE of keys.
pub(super) fn migrate(
    to: usize,
    keys: &[Vec<u8>],
    replaces: bool,
    password: Option<&str>,
) -> Vec<Vec<u8>> {
    let mut list = words(&format!("MIGRATE {} {PORT}", host_address(to)));
    list.push(Vec::new());
    list.extend(words(&format!("0 {MIGRATE_MS}")));
    if replaces {
        list.push(b"REPLACE".to_vec());
    }
    if let Some(password) = password {
        list.extend([b"AUTH".to_vec(), password.as_bytes().to_vec()]);
    }
    list.push(b"KEYS".to_vec());
    list.extend(keys.iter().cloned());
    list
}

impl Mover {
    pub fn new(mends: bool) -> Mover {
        Mover { mends, ..Mover::default() }
    }

    /// Whether it has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.moving.is_none() && self.fixes.is_empty()
    }
}

impl World {
    /// Takes what came of a question, and finds the next.
    pub(super) fn mover_acts(&mut self, mover: &mut Mover, answer: Option<Answer>) -> Next {
        if self.phase != Phase::Chaos {
            return self.fixer_acts(mover, answer);
        }
        if let Some(answer) = answer
            && let Some(moving) = mover.moving.take()
        {
            mover.moving = self.moved_on(moving, answer);
            if mover.moving.as_ref().is_some_and(Move::has_failed) {
                return Next::Wait(self.chance.skewed(10_000, 3_000_000));
            }
        }
        if mover.moving.is_none() && self.chance.percent(30) {
            mover.moving = self.begin_move();
        }
        match &mover.moving {
            Some(moving) => Next::Ask(self.question_of(moving)),
            None => Next::Wait(self.chance.skewed(100_000, 8_000_000)),
        }
    }

    /// The node that has a tag in its own view.
    pub(super) fn owner_of(&self, tag: usize) -> Option<usize> {
        (0..self.plan.data_nodes()).find(|&node| {
            let machine = self.processes[node].cluster();
            machine.is_some_and(|machine| {
                let nodes = machine.nodes();
                nodes.me().is_master() && nodes.owner(slot_of_tag(tag)) == Some(nodes.my_key())
            })
        })
    }

    /// Whether the old owner has keys of the slot, so that it must not give it away.
    fn has_keys(&self, moving: &Move) -> bool {
        let data = self.processes[moving.from].data();
        data.is_some_and(|data| data.has_keys_in(slot_of_tag(moving.tag)))
    }

    fn begin_move(&mut self) -> Option<Move> {
        let tag = self.chance.index(TAGS);
        let from = self.owner_of(tag).filter(|_| !self.cluster.moving.contains(&tag))?;
        let is_master = |node: &usize| {
            let machine = self.processes[*node].cluster();
            machine.is_some_and(|machine| !machine.is_replica()) && *node != from
        };
        let others: Vec<usize> = (0..self.plan.data_nodes()).filter(is_master).collect();
        if others.is_empty() {
            return None;
        }
        let to = *self.chance.pick(&others);
        self.cluster.moving.insert(tag);
        self.cluster.moved.insert(tag);
        self.tell(|| format!("tag {tag} is to move from node{from} to node{to}"));
        Some(Move { tag, from, to, step: Step::Import, tries: 0, replaces: false })
    }

    pub(super) fn question_of(&self, moving: &Move) -> Question {
        let Move { tag, from, to, ref step, replaces, .. } = *moving;
        let (slot, ids) = (slot_of_tag(tag), &self.cluster.ids);
        let (node, words) = match step {
            Step::Import => {
                (to, words(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[from].as_str())))
            }
            Step::Migrate => {
                (from, words(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[to].as_str())))
            }
            Step::TooEarly | Step::Give => {
                (from, words(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[to].as_str())))
            }
            Step::List => (from, words(&format!("CLUSTER GETKEYSINSLOT {slot} 3"))),
            Step::Keys(keys) => (from, migrate(to, keys, replaces, self.plan.password)),
            Step::Take => (to, words(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[to].as_str()))),
        };
        Question { node, words, is_asking: false }
    }

    /// What comes after an answer; none if it is over, for good or not.
    pub(super) fn moved_on(&mut self, mut moving: Move, answer: Answer) -> Option<Move> {
        let reply = match answer {
            Answer::Reply(reply) => reply,
            Answer::Lost | Answer::Refused => Reply::Error("LOST".to_owned()),
        };
        let step = match (&moving.step, &reply) {
            (Step::Import, reply) if reply.is_ok() => Some(Step::Migrate),
            (Step::Migrate, reply)
                if reply.is_ok() && self.has_keys(&moving) && self.chance.percent(15) =>
            {
                Some(Step::TooEarly)
            }
            (Step::Migrate, reply) if reply.is_ok() => Some(Step::List),
            (Step::TooEarly, Reply::Error(text)) if text.starts_with("ERR Can't assign") => {
                self.coverage.slots_refused += 1;
                Some(Step::List)
            }
            (Step::TooEarly, reply) if reply.is_ok() => Some(Step::Take),
            (Step::List, Reply::Array(Some(keys))) => {
                let keys: Vec<Vec<u8>> = keys
                    .iter()
                    .filter_map(|key| match key {
                        Reply::Bulk(Some(key)) => Some(key.clone()),
                        _ => None,
                    })
                    .collect();
                Some(if keys.is_empty() { Step::Take } else { Step::Keys(keys) })
            }
            (Step::Keys(keys), Reply::Simple(_)) => {
                self.coverage.keys_moved += keys.len() as u64;
                Some(Step::List)
            }
            (Step::Take, reply) if reply.is_ok() => Some(Step::Give),
            (Step::Give, reply) if reply.is_ok() => {
                self.coverage.slots_moved += 1;
                self.tell(|| format!("tag {} has moved to node{}", moving.tag, moving.to));
                self.cluster.moving.remove(&moving.tag);
                // The former owner may have had a newer epoch that it has told nobody yet.
                self.cluster.served.remove(&moving.tag);
                return None;
            }
            _ => None,
        };
        match step {
            Some(step) => Some(Move { step, tries: 0, ..moving }),
            None => {
                moving.tries += 1;
                moving.replaces = true;
                (moving.tries < TRIES_MAX).then_some(moving)
            }
        }
    }
}
