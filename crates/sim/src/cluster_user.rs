//! A client of a cluster: it follows redirections, and remembers what was acknowledged.

use crate::cluster_agent::{Answer, Next, Question};
use crate::cluster_keys::Name;
use crate::clusters::TAGS;
use crate::plan::node_of;
use crate::resp::Reply;
use crate::workload::Place;
use crate::world::{Phase, World};

/// So often in a row it follows a redirection.
const HOPS_MAX: u32 = 5;

/// So long it tries one thing.
const TRIES_MAX: u32 = 12;

/// Some time after the faults the load ends too, microseconds.
const QUIET_US: u64 = 4_000_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct User {
    number: usize,
    /// The key of each tag.
    generations: Vec<u32>,
    /// Where it believes each tag to be.
    table: Vec<usize>,
    /// The number that it wrote last.
    last: u64,
    doing: Option<Doing>,
}

/// What it wants.
#[derive(Clone, Debug)]
struct Doing {
    name: Name,
    /// SET with this number; else GET.
    write: Option<u64>,
    /// When it has asked.
    since_us: u64,
    node: usize,
    is_asking: bool,
    hops: u32,
    tries: u32,
}

impl User {
    pub fn new(number: usize) -> User {
        User { number, generations: vec![0; TAGS], table: vec![0; TAGS], last: 0, doing: None }
    }

    /// The tag that it asks about, and whether it writes.
    pub fn asks(&self) -> Option<(usize, bool)> {
        self.doing.as_ref().map(|doing| (doing.name.tag, doing.write.is_some()))
    }
}

fn number_of(value: &Reply) -> Option<u64> {
    match value {
        Reply::Bulk(Some(text)) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

impl World {
    /// Takes what came of a client's question, and finds the next.
    pub(super) fn user_acts(&mut self, user: &mut User, answer: Option<Answer>) -> Next {
        let Some(mut doing) = user.doing.take() else { return self.user_begins(user) };
        let think = self.chance.skewed(self.plan.think_us / 20 + 1, self.plan.think_us);
        match answer {
            None => {
                // It has waited before it tries again.
                doing.since_us = self.now;
                user.doing = Some(doing.clone());
                return Next::Ask(question(&doing));
            }
            Some(Answer::Reply(Reply::Error(text))) => {
                return self.user_is_refused(user, doing, &text);
            }
            Some(Answer::Reply(reply)) => {
                self.user_is_answered(user, &doing, &reply);
                user.table[doing.name.tag] = doing.node;
            }
            Some(Answer::Refused) if doing.tries < TRIES_MAX => {
                doing.tries += 1;
                (doing.node, doing.is_asking) = (self.chance.index(self.plan.data_nodes()), false);
                user.doing = Some(doing);
                return Next::Wait(think);
            }
            Some(Answer::Refused) => {}
            Some(Answer::Lost) => {
                user.table[doing.name.tag] = self.chance.index(self.plan.data_nodes());
                if let Some(number) = doing.write {
                    self.cluster.keys.of(doing.name).uncertain = Some(number);
                    user.generations[doing.name.tag] += 1;
                }
            }
        }
        Next::Wait(think)
    }

    fn user_begins(&mut self, user: &mut User) -> Next {
        if matches!(self.phase, Phase::Healed { since_us, .. } if self.now > since_us + QUIET_US) {
            return Next::End;
        }
        let tag = self.chance.index(user.table.len());
        let mut name = Name { tag, user: user.number, generation: user.generations[tag] };
        if self.cluster.keys.of(name).is_excused {
            user.generations[tag] += 1;
            name.generation += 1;
            // Already now: it may be excused before its first write is answered.
            self.cluster.keys.of(name);
        }
        let write = self.chance.percent(60).then(|| {
            user.last += 1;
            user.last
        });
        let node = user.table[tag];
        let since_us = self.now;
        let doing = Doing { name, write, since_us, node, is_asking: false, hops: 0, tries: 0 };
        user.doing = Some(doing.clone());
        Next::Ask(question(&doing))
    }

    /// It was told that it has to ask elsewhere, or later.
    fn user_is_refused(&mut self, user: &mut User, mut doing: Doing, text: &str) -> Next {
        let words: Vec<&str> = text.split(' ').collect();
        let code = words.first().copied().unwrap_or_default();
        let think = self.chance.skewed(self.plan.think_us / 20 + 1, self.plan.think_us);
        doing.is_asking = false;
        doing.tries += 1;
        doing.since_us = self.now;
        match code {
            "MOVED" | "ASK" => {
                let host = words.get(2).and_then(|host| host.split(':').next());
                let Some(node) = host.and_then(node_of) else {
                    self.fail(format!("a client is sent to nowhere: {text}"));
                    return Next::End;
                };
                (doing.node, doing.is_asking) = (node, code == "ASK");
                if code == "MOVED" {
                    user.table[doing.name.tag] = node;
                }
                doing.hops += 1;
                self.coverage.redirections += 1;
            }
            "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY" | "MISCONF" | "TRYAGAIN"
            | "NOREPLICAS" => {
                doing.node = match self.chance.percent(50) {
                    true => self.chance.index(self.plan.data_nodes()),
                    false => doing.node,
                };
                doing.hops = HOPS_MAX;
            }
            _ => {
                self.fail(format!("a client is answered by {text}"));
                return Next::End;
            }
        }
        if doing.tries > TRIES_MAX {
            return Next::Wait(think);
        }
        let is_patient = doing.hops >= HOPS_MAX;
        if is_patient {
            doing.hops = 0;
        }
        user.doing = Some(doing.clone());
        if is_patient { Next::Wait(think) } else { Next::Ask(question(&doing)) }
    }

    fn user_is_answered(&mut self, user: &mut User, doing: &Doing, reply: &Reply) {
        let (name, node, now) = (doing.name, doing.node, self.now);
        let Some(number) = doing.write else {
            let value = number_of(reply);
            let is_handed_over =
                self.cluster.handed_over_us.get(&name.tag).is_some_and(|until| now < *until);
            let is_forced = self.cluster.is_forced;
            let promise = self.cluster.keys.of(name);
            let is_fine =
                is_forced || promise.allows(value) || (is_handed_over && promise.allowed(value));
            if !is_fine {
                let what = format!(
                    "client {} reads {value:?} of {} at node{node}: {promise:?}",
                    user.number,
                    String::from_utf8_lossy(&name.text())
                );
                self.fail(what);
            }
            self.coverage.cluster_reads += 1;
            return;
        };
        let place = Place { key: name.text(), field: None };
        let written_at = self.find_write(node, &place, number.to_string().as_bytes());
        let promise = self.cluster.keys.of(name);
        promise.written_at = written_at;
        let former = promise.acknowledged.replace(number);
        promise.former.extend(former);
        if self.cluster.promoted_us.get(&name.tag).is_some_and(|at| *at >= doing.since_us) {
            self.cluster.keys.excuse(name);
        }
        self.coverage.cluster_writes += 1;
        if let Err(what) = self.note_acknowledged(node, &place, number.to_string().as_bytes()) {
            self.fail(what);
        }
    }
}

fn question(doing: &Doing) -> Question {
    let key = doing.name.text();
    let words = match doing.write {
        Some(number) => vec![b"SET".to_vec(), key, number.to_string().into_bytes()],
        None => vec![b"GET".to_vec(), key],
    };
    Question { node: doing.node, words, is_asking: doing.is_asking }
}
