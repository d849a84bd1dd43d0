//! Connections of Sentinels as their bytes show them: what they ask, what they are told, and what they tell.
//!
//! A vote counts from the moment when its reply leaves the voter; a reply to PING or INFO, when the Sentinel reads it.

use std::collections::VecDeque;

use crate::net::ConnId;
use crate::plan::node_of;
use crate::resp::{Reply, parse_command, parse_reply};
use crate::sentinels::Reported;
use crate::world::World;

/// What a Sentinel reads within this time may be handled later: a slow machine has turns between.
pub(crate) const TOGETHER_US: u64 = 250_000;

/// A connection that a Sentinel has opened.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Bytes of an incomplete request.
    asking: Vec<u8>,
    /// What the next replies are about.
    asked: VecDeque<Asked>,
    /// Bytes of an incomplete reply.
    answering: Vec<u8>,
    /// It has become a subscription: what comes is no reply.
    is_subscription: bool,
}

/// What a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Ping,
    Info,
    /// A vote about the master of this group.
    Vote(Option<usize>),
    Other,
}

impl World {
    fn is_sentinel(&self, host: usize) -> bool {
        self.processes.get(host).is_some_and(|process| process.is_sentinel)
    }

    /// Bytes leave an end of a connection.
    pub(crate) fn watch_sent(&mut self, conn: ConnId, direction: usize, bytes: &[u8]) {
        let [from, to] = self.conns[conn].hosts;
        if !self.is_sentinel(from) {
            return;
        }
        if direction == 0 {
            self.watch_asked(conn, bytes);
        } else if self.is_sentinel(to) {
            for (asked, reply) in self.replies(conn, bytes) {
                if let Asked::Vote(group) = asked {
                    self.vote_leaves(to, group, &reply);
                }
            }
        }
    }

    /// A Sentinel reads bytes from a server.
    pub(crate) fn watch_read(&mut self, conn: ConnId, bytes: &[u8]) {
        let [sentinel, server] = self.conns[conn].hosts;
        if !self.is_sentinel(sentinel) || server >= self.plan.data_nodes() {
            return;
        }
        let now = self.now;
        let replies = self.replies(conn, bytes);
        let Some(plan) = &self.plan.sentinels else { return };
        for (asked, reply) in replies {
            let Some(life) = self.watch.lives.get_mut(&sentinel) else { return };
            match (asked, reply) {
                (Asked::Ping, reply) if is_alive(&reply) => {
                    let pongs = life.pongs.entry(server).or_insert([now, 0]);
                    if now > pongs[0] + TOGETHER_US {
                        *pongs = [now, pongs[0]];
                    }
                }
                (Asked::Info, Reply::Bulk(Some(text))) => {
                    let told = Reported::read(&text);
                    life.note_reported(plan.group_of(server), server, told);
                }
                _ => {}
            }
        }
    }

    /// A Sentinel's connection ends: what it has read of it last, it may not have handled, and never will.
    pub(crate) fn forget_unhandled(&mut self, conn: ConnId) {
        let ([sentinel, server], now) = (self.conns[conn].hosts, self.now);
        let life = self.watch.lives.get_mut(&sentinel);
        if let Some(pongs) = life.and_then(|life| life.pongs.get_mut(&server))
            && now <= pongs[0] + TOGETHER_US
        {
            pongs[0] = pongs[1];
        }
    }

    /// Takes the whole replies, with what they are about.
    fn replies(&mut self, conn: ConnId, bytes: &[u8]) -> Vec<(Asked, Reply)> {
        let mut found = Vec::new();
        let wire = self.watch.wires.entry(conn).or_default();
        if wire.is_subscription {
            return found;
        }
        wire.answering.extend_from_slice(bytes);
        let mut at = 0;
        while let Ok(Some((reply, used))) = parse_reply(&wire.answering[at..]) {
            at += used;
            found.push((wire.asked.pop_front().unwrap_or(Asked::Other), reply));
        }
        wire.answering.drain(..at);
        found
    }

    /// A Sentinel sends requests.
    fn watch_asked(&mut self, conn: ConnId, bytes: &[u8]) {
        let mut wire = self.watch.wires.remove(&conn).unwrap_or_default();
        wire.asking.extend_from_slice(bytes);
        let (mut at, mut hellos) = (0, Vec::new());
        while let Ok(Some((words, used))) = parse_command(&wire.asking[at..]) {
            at += used;
            let word = |index: usize| words.get(index).copied().unwrap_or_default();
            let text = |index: usize| String::from_utf8_lossy(word(index)).into_owned();
            let asked = match (word(0), word(1)) {
                (b"PING", _) => Asked::Ping,
                (b"INFO", _) => Asked::Info,
                (b"SUBSCRIBE", _) => {
                    wire.is_subscription = true;
                    Asked::Other
                }
                (b"PUBLISH", _) => {
                    hellos.push(text(2));
                    Asked::Other
                }
                (b"SENTINEL", b"is-master-down-by-addr") => {
                    let plan = self.plan.sentinels.as_ref();
                    let server = node_of(&text(2));
                    Asked::Vote(server.and_then(|server| plan?.group_of(server)))
                }
                _ => Asked::Other,
            };
            wire.asked.push_back(asked);
        }
        wire.asking.drain(..at);
        self.watch.wires.insert(conn, wire);
        let sentinel = self.conns[conn].hosts[0];
        hellos.iter().for_each(|hello| self.hello_leaves(sentinel, hello));
    }
}

/// Whether a reply to PING says that the server lives.
fn is_alive(reply: &Reply) -> bool {
    match reply {
        Reply::Simple(text) => text == b"PONG",
        Reply::Error(text) => text.starts_with("LOADING") || text.starts_with("MASTERDOWN"),
        _ => false,
    }
}
