//! What is left of moves is mended when the faults have ended, as `redis-cli --cluster fix` does it: keys go to whoever has the
//! slot, and then nobody moves it any more. A slot that its old owner was told to give, and the new one not to take, is nobody's:
//! it goes to who has keys of it, or to anybody.

use russet_cluster::Route;

use crate::cluster_agent::{Answer, Next, Question};
use crate::cluster_mover::{Move, Mover, migrate, words};
use crate::clusters::{TAGS, slot_of_tag};
use crate::resp::Reply;
use crate::world::{Phase, World};

/// A slot that was left open at a node.
#[derive(Clone, Debug)]
pub(super) struct Fix {
    tag: usize,
    node: usize,
    step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// It must be open to send its keys away.
    Open,
    List,
    Keys(Vec<Vec<u8>>),
    /// The owner has this one too, and it is the newer one.
    Drop(Vec<u8>, Vec<Vec<u8>>),
    Close,
    /// Nobody has the slot: this node forgets who had it, takes it, and lets all know.
    Vacate,
    Cover,
    Bump,
}

/// From the end of the faults on, nodes find the owners of slots by themselves for so long.
const UNCOVERED_US: u64 = 60_000_000;

impl World {
    /// The slots that nodes still move, or have keys of without having the slot.
    fn open_slots(&self) -> Vec<Fix> {
        let mut fixes = Vec::new();
        for tag in 0..TAGS {
            for node in 0..self.plan.data_nodes() {
                if self.is_open_at(tag, node) {
                    fixes.push(Fix { tag, node, step: Step::Open });
                }
            }
        }
        // The owner, which sends nothing away, comes first: it must not send others elsewhere.
        fixes.sort_by_key(|fix| (fix.tag, self.owner_of(fix.tag) != Some(fix.node)));
        fixes
    }

    /// Whether a master moves the slot of a tag, or has keys of it and is not its owner. Replicas have what their masters have.
    pub(super) fn is_open_at(&self, tag: usize, node: usize) -> bool {
        let Some(machine) = self.processes[node].cluster() else { return false };
        let route = machine.route(slot_of_tag(tag));
        let is_moved = matches!(route, Route::Migrating { .. } | Route::Importing { .. });
        let is_owner = route == Route::Here;
        let has_keys =
            || self.processes[node].data().is_some_and(|data| data.has_keys_in(slot_of_tag(tag)));
        !machine.is_replica() && (is_moved || (!is_owner && has_keys()))
    }

    /// A slot whose move was broken off, and that is nobody's since.
    fn uncovered(&self) -> Option<Fix> {
        let Phase::Healed { since_us, .. } = self.phase else { return None };
        if self.now < since_us + UNCOVERED_US {
            return None;
        }
        let tag = *self.cluster.moving.iter().find(|tag| self.owner_of(**tag).is_none())?;
        let has_keys = |node: &usize| {
            self.processes[*node].data().is_some_and(|data| data.has_keys_in(slot_of_tag(tag)))
        };
        let votes = |node: &usize| {
            self.processes[*node].cluster().is_some_and(|machine| machine.nodes().me().votes())
        };
        let node = (0..self.plan.data_nodes()).filter(votes).max_by_key(has_keys)?;
        Some(Fix { tag, node, step: Step::Vacate })
    }

    /// A slot that its owner still moves to somebody.
    fn open_move(&self) -> Option<Move> {
        (0..TAGS).find_map(|tag| {
            let from = self.owner_of(tag)?;
            let Route::Migrating { to } = self.processes[from].cluster()?.route(slot_of_tag(tag))
            else {
                return None;
            };
            let to = self.cluster.node(&to)?;
            // One that is a replica by now has given what it got to its shard.
            let to = self.master_of(to).unwrap_or(to);
            (to != from).then(|| Move::again(tag, from, to))
        })
    }

    pub(super) fn fixer_acts(&mut self, mover: &mut Mover, answer: Option<Answer>) -> Next {
        if !mover.mends {
            mover.moving = None;
            return Next::End;
        }
        if let Some(moving) = mover.moving.take() {
            // After a failure all may be otherwise.
            let moving = answer.and_then(|answer| self.moved_on(moving, answer));
            mover.moving = moving.filter(|moving| !moving.has_failed());
            return match &mover.moving {
                Some(moving) => Next::Ask(self.question_of(moving)),
                None => Next::Wait(self.chance.skewed(50_000, 500_000)),
            };
        }
        if let Some(answer) = answer
            && let Some(fix) = mover.fixes.pop()
        {
            match self.fixed(fix, answer) {
                Ok(next) => mover.fixes.extend(next),
                // An order of somebody else may have come in between, so it is looked again at what is open.
                Err(fix) => {
                    mover.fixes.clear();
                    mover.fixes.extend(Some(fix).filter(|fix| fix.step == Step::Bump));
                    return Next::Wait(self.chance.skewed(50_000, 500_000));
                }
            }
        }
        while let Some(fix) = mover.fixes.last() {
            match self.fix_question(fix) {
                Some(question) => return Next::Ask(question),
                None => _ = mover.fixes.pop(),
            }
        }
        mover.fixes.extend(self.uncovered());
        if let Some(question) = mover.fixes.last().and_then(|fix| self.fix_question(fix)) {
            return Next::Ask(question);
        }
        // Failovers must be over, or the owner may be another one in the middle of it.
        if self.is_agreed() {
            mover.moving = self.open_move();
            if let Some(moving) = &mover.moving {
                return Next::Ask(self.question_of(moving));
            }
            mover.fixes = self.open_slots();
            mover.fixes.reverse();
        }
        Next::Wait(self.chance.skewed(100_000, 1_000_000))
    }

    /// None if there is nothing to do any more.
    fn fix_question(&self, fix: &Fix) -> Option<Question> {
        let slot = slot_of_tag(fix.tag);
        let alone = match fix.step {
            Step::Vacate => Some(format!("CLUSTER DELSLOTS {slot}")),
            Step::Cover => Some(format!("CLUSTER ADDSLOTS {slot}")),
            Step::Bump => Some("CLUSTER BUMPEPOCH".to_owned()),
            _ => None,
        };
        if let Some(text) = alone {
            return Some(Question { node: fix.node, words: words(&text), is_asking: false });
        }
        let owner = self.owner_of(fix.tag)?;
        let is_owner = owner == fix.node;
        let (words, is_asking) = match &fix.step {
            Step::Open if !is_owner => {
                let id = self.cluster.ids[owner];
                (words(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", id.as_str())), false)
            }
            Step::Open | Step::List if is_owner => {
                (words(&format!("CLUSTER SETSLOT {slot} STABLE")), false)
            }
            Step::Open | Step::List => (words(&format!("CLUSTER GETKEYSINSLOT {slot} 3")), false),
            Step::Keys(keys) => (migrate(owner, keys, false, self.plan.password), false),
            Step::Drop(key, _) => (vec![b"DEL".to_vec(), key.clone()], true),
            Step::Close | Step::Vacate | Step::Cover | Step::Bump => {
                (words(&format!("CLUSTER SETSLOT {slot} STABLE")), false)
            }
        };
        Some(Question { node: fix.node, words, is_asking })
    }

    /// What comes next, or what has failed.
    fn fixed(&mut self, fix: Fix, answer: Answer) -> Result<Option<Fix>, Fix> {
        let Answer::Reply(reply) = answer else { return Err(fix) };
        let next = |step: Step| Ok(Some(Fix { step, ..fix.clone() }));
        let is_owner = self.owner_of(fix.tag) == Some(fix.node);
        match (fix.step.clone(), reply) {
            // It may be nobody's for this node already.
            (Step::Vacate, _) => next(Step::Cover),
            (Step::Cover, reply) if reply.is_ok() => {
                self.coverage.slots_fixed += 1;
                // Keys may be at several nodes, and others have had the slot before.
                self.cluster.keys.excuse_tag(fix.tag);
                self.cluster.moving.remove(&fix.tag);
                self.cluster.moved.insert(fix.tag);
                self.cluster.served.remove(&fix.tag);
                next(Step::Bump)
            }
            (Step::Cover | Step::Bump, _) => Ok(None),
            (Step::Open | Step::List, reply) if is_owner && reply.is_ok() => Ok(None),
            (Step::Open, reply) if reply.is_ok() => next(Step::List),
            (Step::List, Reply::Array(Some(keys))) => {
                let key = |key: &Reply| match key {
                    Reply::Bulk(Some(key)) => Some(key.clone()),
                    _ => None,
                };
                let keys: Vec<Vec<u8>> = keys.iter().filter_map(key).collect();
                next(if keys.is_empty() { Step::Close } else { Step::Keys(keys) })
            }
            (Step::Keys(_), Reply::Simple(_)) => next(Step::List),
            (Step::Keys(keys), Reply::Error(text)) if text.contains("BUSYKEY") => {
                let mut keys = keys;
                // Of several it is not said which: one at a time.
                match keys.pop() {
                    Some(key) if keys.is_empty() => next(Step::Drop(key, keys)),
                    Some(key) => next(Step::Keys(vec![key])),
                    None => next(Step::List),
                }
            }
            (Step::Drop(..), Reply::Int(_)) => next(Step::List),
            (Step::Close, reply) if reply.is_ok() => {
                self.coverage.slots_fixed += 1;
                Ok(None)
            }
            // A replica lists nothing and settles nothing; it has what its master has.
            (_, Reply::Error(text)) if text.contains("only with masters") => Ok(None),
            (_, reply) => {
                self.tell(|| format!("the fix {fix:?} is answered by {reply:?}"));
                Err(fix)
            }
        }
    }
}
