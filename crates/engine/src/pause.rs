//! Pauses: for a limited time no commands of clients run, or none that write.
//!
//! CLIENT PAUSE starts one, and so do SHUTDOWN and FAILOVER while replicas catch up. They are independent:
//! one may end before another. During a pause keys are not deleted when they expire, since that
//! would be a write, but only hidden. Replicas are never held. The stream of this node's own master
//! is: it waits in the query buffer.

use std::collections::{BTreeSet, VecDeque};

use crate::clients::{Clients, Waiting};
use crate::command::flag;
use crate::core::{Core, Order};
use crate::ids::Handle;
use crate::io::Now;
use crate::timers::Timer;

/// Number of held handles up to which those of closed connections are not removed.
const HELD_UNCHECKED: usize = 64;

/// The commands that a pause holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseMode {
    /// Commands that write or may replicate.
    Write,
    /// All commands.
    All,
}

/// The reason for a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseReason {
    /// CLIENT PAUSE.
    Client,
    /// SHUTDOWN.
    Shutdown,
    /// FAILOVER.
    Failover,
    /// CLUSTER FAILOVER of one of our replicas.
    Cluster,
}

/// The active pauses and the clients held by them.
#[derive(Debug, Default)]
pub struct Pause {
    /// The combined pause: the strictest mode and the latest end, in monotonic microseconds.
    combined: Option<(PauseMode, u64)>,
    by_reason: [Option<(PauseMode, u64)>; 4],
    held: VecDeque<Handle>,
    /// Clients that wait for keys, and would run again but for a pause. Some may wait no more.
    waking: BTreeSet<Handle>,
}

impl Pause {
    /// Whether a command with these flags must wait. The flags of an EXEC include those of its
    /// queued commands.
    #[inline]
    pub fn holds(&self, flags: u64, now: Now) -> bool {
        match self.combined {
            None => false,
            Some((_, end)) if now.mono_us >= end => false,
            Some((PauseMode::All, _)) => true,
            Some((PauseMode::Write, _)) => flags & (flag::WRITE | flag::MAY_REPLICATE) != 0,
        }
    }

    /// Whether a pause is active. Every mode holds writes, so keys must not be expired either.
    #[inline]
    pub fn is_on(&self, now: Now) -> bool {
        self.combined.is_some_and(|(_, end)| now.mono_us < end)
    }

    /// Returns the combined pause, if any is active: mode and end in monotonic microseconds.
    pub fn mode(&self, now: Now) -> Option<(PauseMode, u64)> {
        self.combined.filter(|&(_, end)| now.mono_us < end)
    }

    /// Returns the pause for one reason: mode and end in monotonic microseconds.
    pub fn of(&self, reason: PauseReason) -> Option<(PauseMode, u64)> {
        self.by_reason[reason as usize]
    }

    /// Returns the number of held clients, including some that have disconnected.
    pub fn held_len(&self) -> usize {
        self.held.len()
    }

    /// Holds a client until the pause ends.
    pub(crate) fn hold(&mut self, core: &mut Core, clients: &mut Clients, handle: Handle) {
        clients.block(core, handle, Waiting::Pause, None);
        if self.held.len() >= 2 * clients.len() + HELD_UNCHECKED {
            // Most of the held clients have disconnected; a long pause must not accumulate them.
            self.held.retain(|&held| clients.get(held).is_some());
        }
        self.held.push_back(handle);
    }

    /// Has a client that waits for keys run again when the pause ends, if it still waits then.
    pub(crate) fn hold_blocked(&mut self, handle: Handle) {
        self.waking.insert(handle);
    }

    /// Starts a pause, or extends the active one for this reason; it is never shortened or relaxed.
    pub fn begin(&mut self, core: &mut Core, reason: PauseReason, mode: PauseMode, end_us: u64) {
        let pause = &mut self.by_reason[reason as usize];
        let before = pause.filter(|(_, end)| core.now.mono_us < *end);
        *pause = Some(before.map_or((mode, end_us), |(m, end)| (m.max(mode), end.max(end_us))));
        self.combine(core);
    }

    /// Ends the pause for this reason and resumes the held clients in the order of arrival.
    pub fn end(&mut self, core: &mut Core, reason: PauseReason) {
        self.by_reason[reason as usize] = None;
        self.ended(core);
    }

    /// Resumes all held clients after a pause has ended. Another pause may hold some of them again.
    pub(crate) fn ended(&mut self, core: &mut Core) {
        self.combine(core);
        self.held.drain(..).for_each(|handle| core.order(Order::Resume(handle)));
        let waking = std::mem::take(&mut self.waking);
        waking.into_iter().for_each(|handle| core.order(Order::Wake(handle)));
    }

    fn combine(&mut self, core: &mut Core) {
        let now_us = core.now.mono_us;
        for one in &mut self.by_reason {
            one.take_if(|(_, end)| *end <= now_us);
        }
        let all = || self.by_reason.iter().flatten();
        self.combined = all().map(|&(mode, _)| mode).max().zip(all().map(|&(_, end)| end).max());
        match all().map(|&(_, end)| end).min() {
            Some(next) => core.timers.set(Timer::PauseEnd, next),
            None => core.timers.stop(Timer::PauseEnd),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::io::{Endpoints, Handle, Host, Input, Now, Service};
    use crate::{Boot, Node};

    struct NoTicks;

    impl Host for NoTicks {
        fn ticks_us(&mut self) -> u64 {
            0
        }
    }

    fn send(node: &mut Node, client: Handle, bytes: &[u8]) {
        node.read_buffer(client).unwrap().extend_from_slice(bytes);
        node.received(node.core.now, client);
        node.turn(node.core.now, &mut NoTicks);
    }

    fn connect(node: &mut Node) -> Handle {
        node.accept(node.core.now, Service::Clients, Endpoints::Unix("s".to_owned())).unwrap()
    }

    #[test]
    fn disconnected_waiters_do_not_accumulate() {
        let now = Now { mono_us: 1, wall_us: 1 };
        let mut node = Node::new(Config::default(), Boot::default(), now);
        let first = connect(&mut node);
        for _ in 0..1000 {
            let client = connect(&mut node);
            send(&mut node, client, b"WAIT 1 0\r\n");
            node.handle(now, Input::Closed(client));
        }
        assert!(!node.parts.master.has_waiters());
        for _ in 0..1000 {
            send(&mut node, first, b"WAIT 1 1\r\n");
            let now = Now { mono_us: node.core.now.mono_us + 10_000, ..now };
            node.turn(now, &mut NoTicks);
        }
        assert!(!node.parts.master.has_waiters());
        send(&mut node, first, b"CLIENT PAUSE 1000000\r\n");
        for _ in 0..10_000 {
            let client = connect(&mut node);
            send(&mut node, client, b"PING\r\n");
            node.handle(node.core.now, Input::Closed(client));
        }
        assert!(node.parts.pause.held_len() < 200);
    }
}
