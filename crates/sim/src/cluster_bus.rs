//! The bus, as its bytes show it: votes when they leave, and who has read something of whom.

use russet_cluster::bus::{self, Message, NextFrame, next_frame};
use russet_cluster::nodes_file::NodesFile;

use crate::cluster_start::FILE;
use crate::net::ConnId;
use crate::world::World;

/// A silence counts for this time after its end: reports of it are still on their way, over links that were blocked meanwhile.
const SILENCE_COUNTS_US: u64 = 75_000_000;

/// What a node has read of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub last_us: u64,
    /// The newest config epoch that the other one has said it has.
    pub config_epoch: u64,
    silence_end_us: Option<u64>,
    /// When it last received a FAIL message about the other one. Its own reports repeat that.
    pub fail_received_us: Option<u64>,
}

impl Heard {
    /// Whether it may report the other one: that was silent for so long, or is said to be, now or lately.
    pub fn may_report(&self, now_us: u64, timeout_us: u64) -> bool {
        let is_recent = |at: Option<u64>| at.is_some_and(|at| now_us - at < SILENCE_COUNTS_US);
        now_us - self.last_us >= timeout_us
            || is_recent(self.silence_end_us)
            || is_recent(self.fail_received_us)
    }
}

/// The begin of a message on a connection.
#[derive(Debug, Default)]
pub(crate) struct Begun(Vec<u8>);

impl Begun {
    /// Takes bytes, and returns the messages that are whole with them.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        self.0.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let NextFrame::Frame(len) =
            next_frame(&self.0, true).map_err(|what| what.to_string())?
        {
            frames.push(self.0.drain(..len).collect());
        }
        Ok(frames)
    }
}

impl World {
    /// Bytes leave an end of a connection of the bus.
    pub(crate) fn bus_sends(&mut self, conn: ConnId, direction: usize, bytes: &[u8]) {
        let (from, to) = self.conns[conn].link(direction);
        match self.cluster.sent.entry((conn, direction)).or_default().take(bytes) {
            Ok(frames) => frames.iter().for_each(|frame| self.message_leaves(from, to, frame)),
            Err(what) => self.fail(format!("node{from} sends what is no message: {what}")),
        }
    }

    fn message_leaves(&mut self, from: usize, to: usize, frame: &[u8]) {
        if bus::type_of(frame) != AUTH_ACK {
            return;
        }
        let message = match bus::decode(frame) {
            Ok(message) => message,
            Err(what) => {
                return self.fail(format!("node{from} sends what cannot be decoded: {what}"));
            }
        };
        let (Message::AuthAck, Some(header)) = (message.message, message.header) else { return };
        self.bus_vote_leaves(from, to, header.current_epoch);
    }

    /// A vote counts from the moment when it leaves.
    fn bus_vote_leaves(&mut self, voter: usize, candidate: usize, epoch: u64) {
        self.coverage.cluster_votes += 1;
        let known = *self.cluster.votes.entry((voter, epoch)).or_insert(candidate);
        if known != candidate {
            self.fail(format!(
                "node{voter} votes for node{candidate} in epoch {epoch}, and has voted for node{known}"
            ));
        }
        let text = self.processes[voter].disk.read_durable(FILE).unwrap_or_default();
        let saved = match NodesFile::parse(text) {
            Ok(file) => file.map_or(0, |file| file.last_vote_epoch),
            Err(what) => return self.fail(format!("node{voter}'s file cannot be read: {what}")),
        };
        if saved < epoch {
            self.fail(format!("node{voter} votes in epoch {epoch}, on its disk is {saved}"));
        }
    }

    /// A node reads bytes of another. Part of a message says nothing.
    pub(crate) fn bus_reads(&mut self, conn: ConnId, direction: usize, bytes: &[u8]) {
        let (other, node) = self.conns[conn].link(direction);
        match self.cluster.read.entry((conn, direction)).or_default().take(bytes) {
            Ok(frames) if frames.is_empty() => {}
            Ok(frames) => {
                let header = |frame: &Vec<u8>| bus::decode(frame).ok()?.header;
                let epochs = frames.iter().filter_map(header).map(|header| header.config_epoch);
                self.bus_hears(node, other, epochs.max());
            }
            Err(what) => self.fail(format!("node{node} reads what is no message: {what}")),
        }
    }

    fn bus_hears(&mut self, node: usize, other: usize, config_epoch: Option<u64>) {
        let now = self.now;
        let timeout_us = self.timeout_us();
        let heard = self.cluster.heard.entry((node, other));
        let silence_end_us = (now >= timeout_us).then_some(now);
        let heard = heard.or_insert(Heard {
            last_us: now,
            config_epoch: 0,
            silence_end_us,
            fail_received_us: None,
        });
        if now - heard.last_us >= timeout_us {
            heard.silence_end_us = Some(now);
        }
        heard.last_us = now;
        heard.config_epoch = heard.config_epoch.max(config_epoch.unwrap_or(0));
    }

    /// `cluster-node-timeout`.
    pub(super) fn timeout_us(&self) -> u64 {
        self.plan.cluster.as_ref().map_or(0, |plan| plan.timeout_ms * 1000)
    }
}

/// The type of a vote.
const AUTH_ACK: usize = 6;
