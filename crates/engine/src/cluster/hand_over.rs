//! The hand-over before a shutdown: a master asks a replica to take its place, and goes when that has happened.
//!
//! ```text
//!   SIGTERM    this master                                            its best replica
//!   ────────▶  connects as a client ── CLUSTER FAILOVER ────────────▶ begins a manual failover
//!              holds writes  ◀────────────── MFSTART (bus) ───────────┤
//!              says where its stream ends ──────────────────────────▶ waits for that, is elected, claims the slots
//!              is its replica, redirects the clients, shuts down ◀────┘
//! ```
//!
//! So it is what an operator would do, with the same guarantee: no acknowledged write is lost, and it works with replicas of
//! any version. A replica that refuses, does not answer or is not elected in time costs nothing but time: the next one is
//! asked, in the order of their offsets. If none takes over before `shutdown-timeout`, the shutdown goes on without.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use russet_cluster::Successor;
use russet_protocol::reply::push_command;
use russet_protocol::{ParsedReply, Reply, ReplyLimits, ReplyParser};

use super::{Cluster, World};
use crate::clients::LinkOwner;
use crate::core::Order;
use crate::ids::Handle;
use crate::io::{Endpoints, Level};
use crate::timers::Timer;

/// How long this node still redirects clients when it has been replaced, microseconds.
const REDIRECT_US: u64 = 100_000;

/// Limits of replies, which are short.
const LIMITS: ReplyLimits = ReplyLimits::new(64 * 1024);

/// A hand-over in progress.
#[derive(Debug)]
pub(super) struct HandOver {
    /// When it is given up, monotonic microseconds.
    deadline_us: u64,
    /// Replicas that have not been asked, the next one last.
    candidates: Vec<Successor>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// A replica is being asked.
    Asks {
        link: Handle,
        parser: ReplyParser,
        /// Replies before that of CLUSTER FAILOVER.
        replies_before: usize,
        /// When the next one is asked.
        until_us: u64,
    },
    /// A replica has agreed.
    Awaits {
        /// When the next one is asked.
        until_us: u64,
    },
    /// This node has been replaced, and goes then.
    Replaced { until_us: u64 },
}

impl HandOver {
    fn link(&self) -> Option<Handle> {
        match self.stage {
            Stage::Asks { link, .. } => Some(link),
            Stage::Awaits { .. } | Stage::Replaced { .. } => None,
        }
    }

    fn due_us(&self) -> u64 {
        match self.stage {
            Stage::Asks { until_us, .. } | Stage::Awaits { until_us } => {
                until_us.min(self.deadline_us)
            }
            Stage::Replaced { until_us } => until_us,
        }
    }
}

impl Cluster {
    /// Begins to hand over, for so long at most: to the replica with the most data. `acknowledged` says how far one is by
    /// its address, which it says more often than the cluster is told. [`Order::HandedOver`] follows, whatever comes of
    /// it.
    pub(crate) fn begin_hand_over(
        &mut self,
        world: &mut World<'_>,
        timeout_us: u64,
        acknowledged: &BTreeMap<(String, u16), u64>,
    ) {
        let mut candidates = self.machine().map(|machine| machine.successors()).unwrap_or_default();
        candidates.sort_by_cached_key(|successor| {
            let place = (successor.host.clone(), successor.port);
            let offset = acknowledged.get(&place).copied().unwrap_or(0).max(successor.offset);
            (Reverse(successor.is_reluctant), offset, Reverse(successor.id))
        });
        if candidates.is_empty() {
            let why = "This node has no slots, or no working replica, so it does not hand over";
            world.core.log(Level::Notice, why);
            return self.end_hand_over(world);
        }
        let deadline_us = world.core.now.mono_us.saturating_add(timeout_us);
        self.ask_successor(world, deadline_us, candidates);
    }

    /// Asks the next replica.
    fn ask_successor(
        &mut self,
        world: &mut World<'_>,
        deadline_us: u64,
        mut candidates: Vec<Successor>,
    ) {
        let now_us = world.core.now.mono_us;
        let Some(next) = candidates.pop().filter(|_| now_us < deadline_us) else {
            world.core.log(Level::Warning, "No replica has taken over");
            return self.end_hand_over(world);
        };
        let text = format!("Asking replica {} to take over before the shutdown.", next.label);
        world.core.log(Level::Notice, text);
        let link = world.clients.connect(world.core, LinkOwner::Successor, &next.host, next.port);
        let attempt_us = u64::from(world.core.config.cluster_manual_failover_timeout) * 1000;
        let until_us = now_us.saturating_add(attempt_us);
        let (parser, replies_before) = (ReplyParser::default(), 0);
        let stage = Stage::Asks { link, parser, replies_before, until_us };
        self.set_hand_over(world, HandOver { deadline_us, candidates, stage });
    }

    fn set_hand_over(&mut self, world: &mut World<'_>, hand_over: HandOver) {
        world.core.timers.set(Timer::HandOver, hand_over.due_us());
        self.hand_over = Some(hand_over);
    }

    /// Ends it, and lets the shutdown go on, unless that was cancelled.
    pub(crate) fn end_hand_over(&mut self, world: &mut World<'_>) {
        self.cancel_hand_over(world);
        world.core.order(Order::HandedOver);
    }

    /// Gives it up, since the shutdown was cancelled. A replica that has agreed takes over all the same.
    pub(crate) fn cancel_hand_over(&mut self, world: &mut World<'_>) {
        world.core.timers.stop(Timer::HandOver);
        if let Some(link) = self.hand_over.take().and_then(|hand_over| hand_over.link()) {
            world.clients.drop_without_flush(world.core, link);
        }
    }

    /// Asks the next replica, since this one does not take over.
    fn successor_failed(&mut self, world: &mut World<'_>, why: &str) {
        let Some(hand_over) = self.hand_over.take() else { return };
        world.core.log(Level::Warning, format!("The replica does not take over: {why}"));
        if let Some(link) = hand_over.link() {
            world.clients.drop_without_flush(world.core, link);
        }
        self.ask_successor(world, hand_over.deadline_us, hand_over.candidates);
    }

    /// Handles the result of connecting to a replica. Returns false if the connection is not wanted any more.
    pub(crate) fn successor_connected(
        &mut self,
        world: &mut World<'_>,
        handle: Handle,
        result: Result<Endpoints, String>,
    ) -> bool {
        let Some(Stage::Asks { link, replies_before, .. }) = self.stage_mut() else { return false };
        if *link != handle {
            return false;
        }
        let config = &world.core.config;
        let (user, password) = (config.masteruser.clone(), config.masterauth.0.clone());
        let mut auth: Vec<&[u8]> = vec![b"AUTH"];
        auth.extend(Some(user.as_slice()).filter(|user| !user.is_empty()));
        auth.push(&password);
        let mut requests = Vec::new();
        if !password.is_empty() {
            push_command(&mut requests, &auth);
            *replies_before = 1;
        }
        push_command(&mut requests, &[b"CLUSTER".as_slice(), b"FAILOVER"]);
        match result {
            Ok(_) => world.clients.send(world.core, handle, &requests),
            Err(error) => self.successor_failed(world, &error),
        }
        true
    }

    fn stage_mut(&mut self) -> Option<&mut Stage> {
        self.hand_over.as_mut().map(|hand_over| &mut hand_over.stage)
    }

    /// Handles received bytes of a replica.
    pub(crate) fn successor_replied(&mut self, world: &mut World<'_>, handle: Handle) {
        let Some(Stage::Asks { link, parser, replies_before, until_us }) = self.stage_mut() else {
            return;
        };
        let Some(client) = world.clients.get_mut(handle).filter(|_| *link == handle) else {
            return;
        };
        loop {
            let bytes = &client.wire.query[client.wire.start..];
            let len = match parser.parse(bytes, &LIMITS) {
                ParsedReply::Reply { len } => len,
                ParsedReply::Incomplete => return,
                ParsedReply::Malformed(_) => {
                    return self.successor_failed(world, "it is not a server");
                }
            };
            let error = match parser.reply(bytes) {
                Some(Reply::Error(error)) => Some(String::from_utf8_lossy(error).into_owned()),
                _ => None,
            };
            client.wire.consume(client.wire.start + len);
            parser.reset();
            if *replies_before > 0 {
                // Without a password at the other side, AUTH is refused, and that does not matter.
                *replies_before -= 1;
                continue;
            }
            if let Some(error) = error {
                return self.successor_failed(world, &error);
            }
            break;
        }
        let until_us = *until_us;
        if let Some(hand_over) = self.hand_over.take() {
            world.clients.drop_without_flush(world.core, handle);
            let stage = Stage::Awaits { until_us };
            self.set_hand_over(world, HandOver { stage, ..hand_over });
        }
    }

    /// Handles that the connection to a replica is closed.
    pub(super) fn successor_closed(&mut self, world: &mut World<'_>, handle: Handle) {
        if self.hand_over.as_ref().and_then(HandOver::link) == Some(handle) {
            self.successor_failed(world, "it has closed the connection");
        }
    }

    /// Notices that this node has been replaced.
    pub(super) fn note_replaced(&mut self, world: &mut World<'_>) {
        let is_replica = self.machine().is_some_and(|machine| machine.is_replica());
        let Some(stage) = self.hand_over.as_ref().map(|hand_over| &hand_over.stage) else { return };
        if !is_replica || matches!(stage, Stage::Replaced { .. }) {
            return;
        }
        let Some(hand_over) = self.hand_over.take() else { return };
        if let Some(link) = hand_over.link() {
            world.clients.drop_without_flush(world.core, link);
        }
        world.core.log(Level::Notice, "A replica has taken over.");
        let stage = Stage::Replaced { until_us: world.core.now.mono_us + REDIRECT_US };
        self.set_hand_over(world, HandOver { stage, ..hand_over });
    }

    /// Handles that its time is over.
    pub(crate) fn hand_over_due(&mut self, world: &mut World<'_>) {
        match self.stage_mut() {
            None => {}
            Some(Stage::Replaced { .. }) => self.end_hand_over(world),
            Some(Stage::Asks { .. } | Stage::Awaits { .. }) => {
                self.successor_failed(world, "it took too long");
            }
        }
    }
}
