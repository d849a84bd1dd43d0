//! Somebody who asks nodes of a cluster one thing after the other, over a connection with each, and waits for each answer.
//!
//! What to ask, and what the answers mean, is in the files of the two kinds: `user.rs`, and `mover.rs` with `fixer.rs`.

use std::collections::BTreeMap;

use russet_engine::io::Service;

use crate::cluster_mover::Mover;
use crate::cluster_user::User;
use crate::net::{ConnId, Owner};
use crate::resp::{Reply, parse_reply, push_command};
use crate::world::{Event, World};

/// Somebody who hears nothing for so long gives the connection up.
const PATIENCE_US: u64 = 2_500_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Agent {
    kind: Kind,
    conns: BTreeMap<usize, ConnId>,
    asked: Option<Asked>,
    inbox: Vec<u8>,
    /// When it acts next; older events are stale.
    act_at: u64,
}

#[derive(Debug)]
enum Kind {
    User(User),
    Mover(Mover),
    /// It is acting right now.
    Acting,
}

/// A question.
#[derive(Debug)]
struct Asked {
    node: usize,
    bytes: Vec<u8>,
    /// How many replies are still to come before the one that counts.
    skipped: usize,
    is_sent: bool,
    /// When the node read it.
    read_us: Option<u64>,
}

/// What a question for a node is.
pub(super) struct Question {
    pub node: usize,
    pub words: Vec<Vec<u8>>,
    /// ASKING comes before it.
    pub is_asking: bool,
}

/// What came of a question.
pub(super) enum Answer {
    Reply(Reply),
    /// Nothing: whether it was carried out, or will be, is not known.
    Lost,
    /// The node could not be reached.
    Refused,
}

/// What somebody does next.
pub(super) enum Next {
    Ask(Question),
    /// Wait for so long, then see.
    Wait(u64),
    /// Nothing any more.
    End,
}

impl Agent {
    pub fn user(user: User) -> Agent {
        Agent::new(Kind::User(user))
    }

    pub fn mover(mover: Mover) -> Agent {
        Agent::new(Kind::Mover(mover))
    }

    fn new(kind: Kind) -> Agent {
        Agent { kind, conns: BTreeMap::new(), asked: None, inbox: Vec::new(), act_at: 0 }
    }

    /// The client that it is, if it is one and has asked without ASKING.
    pub(super) fn asking_user(&self) -> Option<(&User, Option<u64>)> {
        let asked = self.asked.as_ref().filter(|asked| asked.skipped == 0)?;
        match &self.kind {
            Kind::User(user) => Some((user, asked.read_us)),
            _ => None,
        }
    }

    /// Whether it has moved, or mended, all that it wanted.
    pub(super) fn is_idle_mover(&self) -> bool {
        match &self.kind {
            Kind::Mover(mover) => mover.is_idle() && self.asked.is_none(),
            _ => true,
        }
    }
}

impl World {
    pub(crate) fn agent_acts_at(&mut self, agent: usize, at: u64) {
        self.cluster.agents[agent].act_at = at;
        self.queue.push(at, Event::Agent(agent));
    }

    /// It is time for somebody to ask, or to give up.
    pub(crate) fn agent_acts(&mut self, agent: usize) {
        let it = &mut self.cluster.agents[agent];
        if it.act_at != self.now {
            return;
        }
        if it.asked.is_some() {
            return self.agent_loses(agent);
        }
        self.agent_goes_on(agent, None);
    }

    /// The connection, or the patience, is at its end.
    fn agent_loses(&mut self, agent: usize) {
        let it = &mut self.cluster.agents[agent];
        let Some(asked) = it.asked.take() else { return };
        it.inbox.clear();
        let conn = it.conns.remove(&asked.node);
        if let Some(conn) = conn {
            self.close_end(conn, 0);
        }
        let answer = if asked.is_sent { Answer::Lost } else { Answer::Refused };
        self.agent_goes_on(agent, Some(answer));
    }

    /// Tells it what came of its question, if it had one, and does what it wants next.
    fn agent_goes_on(&mut self, agent: usize, answer: Option<Answer>) {
        let mut kind = std::mem::replace(&mut self.cluster.agents[agent].kind, Kind::Acting);
        let next = match &mut kind {
            Kind::User(user) => self.user_acts(user, answer),
            Kind::Mover(mover) => self.mover_acts(mover, answer),
            Kind::Acting => Next::End,
        };
        self.cluster.agents[agent].kind = kind;
        match next {
            Next::Ask(question) => self.agent_asks(agent, question),
            Next::Wait(us) => self.agent_acts_at(agent, self.now + us),
            Next::End => {}
        }
    }

    fn agent_asks(&mut self, agent: usize, question: Question) {
        let Question { node, words, is_asking } = question;
        let mut bytes = Vec::new();
        if is_asking {
            push_command(&mut bytes, &["ASKING"]);
        }
        push_command(&mut bytes, &words);
        self.tell(|| {
            let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
            format!("agent {agent} to node{node}, asking: {is_asking}: {}", words.join(" "))
        });
        let skipped = usize::from(is_asking);
        let asked = Asked { node, bytes, skipped, is_sent: false, read_us: None };
        self.cluster.agents[agent].asked = Some(asked);
        self.agent_acts_at(agent, self.now + PATIENCE_US);
        match self.cluster.agents[agent].conns.get(&node) {
            Some(&conn) => {
                if self.conns[conn].established {
                    self.agent_sends(agent, conn);
                }
            }
            None => {
                let from = self.processes.len();
                let conn = self.open(Owner::Agent(agent), from, node, Service::Clients);
                self.cluster.agents[agent].conns.insert(node, conn);
            }
        }
    }

    fn agent_sends(&mut self, agent: usize, conn: ConnId) {
        let Some(asked) = &mut self.cluster.agents[agent].asked else { return };
        asked.is_sent = true;
        let bytes = std::mem::take(&mut asked.bytes);
        if !self.conns[conn].pipes[0].dead {
            self.send(conn, 0, bytes);
        }
    }

    /// A connection is open, or could not be opened.
    pub(crate) fn agent_connected(&mut self, agent: usize, conn: ConnId, worked: bool) {
        let node = self.conns[conn].hosts[1];
        if self.cluster.agents[agent].conns.get(&node) != Some(&conn) {
            return;
        }
        let is_asked =
            self.cluster.agents[agent].asked.as_ref().is_some_and(|asked| asked.node == node);
        if !worked {
            self.cluster.agents[agent].conns.remove(&node);
            self.close_end(conn, 0);
            if is_asked {
                self.agent_loses(agent);
            }
            return;
        }
        if let Some(password) = self.plan.password {
            let asked = self.cluster.agents[agent].asked.as_mut().filter(|_| is_asked);
            let mut bytes = Vec::new();
            push_command(&mut bytes, &["AUTH", password]);
            match asked {
                Some(asked) => {
                    asked.skipped += 1;
                    asked.bytes.splice(0..0, bytes);
                }
                None => self.send(conn, 0, bytes),
            }
        }
        if is_asked {
            self.agent_sends(agent, conn);
        }
    }

    /// A node has read what somebody asks.
    pub(crate) fn note_agent_read(&mut self, agent: usize, node: usize) {
        let now = self.now;
        if let Some(asked) = &mut self.cluster.agents[agent].asked
            && asked.node == node
        {
            asked.read_us.get_or_insert(now);
        }
    }

    /// Something has arrived for somebody.
    pub(crate) fn agent_reads(&mut self, agent: usize, conn: ConnId) {
        let node = self.conns[conn].hosts[1];
        let bytes = self.conns[conn].pipes[1].take(usize::MAX >> 1).to_vec();
        let is_over = self.conns[conn].pipes[1].is_over();
        self.hash.bytes(&bytes);
        self.made_room(conn, 1);
        let it = &mut self.cluster.agents[agent];
        if it.conns.get(&node) != Some(&conn) {
            return;
        }
        let is_asked = it.asked.as_ref().is_some_and(|asked| asked.node == node);
        if is_asked {
            it.inbox.extend_from_slice(&bytes);
            self.agent_hears(agent);
        }
        let it = &mut self.cluster.agents[agent];
        if is_over && it.conns.get(&node) == Some(&conn) {
            it.conns.remove(&node);
            self.close_end(conn, 0);
            if self.cluster.agents[agent].asked.as_ref().is_some_and(|asked| asked.node == node) {
                self.agent_loses(agent);
            }
        }
    }

    fn agent_hears(&mut self, agent: usize) {
        loop {
            let it = &mut self.cluster.agents[agent];
            let (reply, used) = match parse_reply(&it.inbox) {
                Ok(Some(found)) => found,
                Ok(None) => return,
                Err(what) => return self.fail(format!("agent {agent} hears {what}")),
            };
            it.inbox.drain(..used);
            let Some(asked) = &mut it.asked else { return };
            if asked.skipped > 0 {
                asked.skipped -= 1;
                continue;
            }
            it.asked = None;
            self.tell(|| format!("agent {agent} hears {reply:?}"));
            return self.agent_goes_on(agent, Some(Answer::Reply(reply)));
        }
    }
}
