//! Pauses: for a while no client's commands run, or none that write.
//!
//! CLIENT PAUSE requests one, and so does SHUTDOWN while replicas catch up; each for itself, so that ending the one leaves
//! the other. While any is on, no key is expired, for that would be a write: it is only hidden. Replicas are never held
//! back. Our own master's stream is: what it brings waits in the query buffer.

use std::collections::VecDeque;

use crate::clients::{Clients, Waiting};
use crate::command::flag;
use crate::core::{Core, Order};
use crate::ids::Handle;
use crate::io::Now;
use crate::timers::Timer;

/// So many may be held back before anybody checks who of them has left.
const HELD_UNCHECKED: usize = 64;

/// What is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseMode {
    /// Commands that write, or may.
    Write,
    /// All commands.
    All,
}

/// Who requests a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseReason {
    /// CLIENT PAUSE.
    Client,
    /// SHUTDOWN.
    Shutdown,
}

/// The pauses, if there are any, and those that they hold back.
#[derive(Debug, Default)]
pub struct Pause {
    /// The pause that they come to: the widest mode, and the monotonic microseconds at which the last ends.
    until: Option<(PauseMode, u64)>,
    by_reason: [Option<(PauseMode, u64)>; 2],
    held: VecDeque<Handle>,
}

impl Pause {
    /// Whether a command with these flags must wait; those of an EXEC are what its queue does, too.
    #[inline]
    pub fn holds(&self, flags: u64, now: Now) -> bool {
        match self.until {
            None => false,
            Some((_, end)) if now.mono_us >= end => false,
            Some((PauseMode::All, _)) => true,
            Some((PauseMode::Write, _)) => flags & (flag::WRITE | flag::MAY_REPLICATE) != 0,
        }
    }

    /// Whether writes wait now: replicas must not see keys expire meanwhile either.
    #[inline]
    pub fn is_on(&self, now: Now) -> bool {
        self.until.is_some_and(|(_, end)| now.mono_us < end)
    }

    /// The pause that they come to, if any is on.
    pub fn mode(&self, now: Now) -> Option<(PauseMode, u64)> {
        self.until.filter(|&(_, end)| now.mono_us < end)
    }

    /// The pause for one reason.
    pub fn of(&self, reason: PauseReason) -> Option<(PauseMode, u64)> {
        self.by_reason[reason as usize]
    }

    /// How many clients are held back, those included that have left meanwhile.
    pub fn held_len(&self) -> usize {
        self.held.len()
    }

    /// Keeps a client's next command for after the pause.
    pub(crate) fn hold_back(&mut self, core: &mut Core, clients: &mut Clients, handle: Handle) {
        clients.block(core, handle, Waiting::Pause, None);
        if self.held.len() >= 2 * clients.len() + HELD_UNCHECKED {
            // Most of those who were held have left: they must not pile up while a long pause lasts.
            self.held.retain(|&held| clients.get(held).is_some());
        }
        self.held.push_back(handle);
    }

    /// Starts a pause, or makes the one there is for this reason longer or wider; never shorter.
    pub fn begin(&mut self, core: &mut Core, reason: PauseReason, mode: PauseMode, end_us: u64) {
        let pause = &mut self.by_reason[reason as usize];
        let before = pause.filter(|(_, end)| core.now.mono_us < *end);
        *pause = Some(before.map_or((mode, end_us), |(m, end)| (m.max(mode), end.max(end_us))));
        self.sum_up(core);
    }

    /// Ends the pause for this reason: the held clients go on in the order in which they were held.
    pub fn end(&mut self, core: &mut Core, reason: PauseReason) {
        self.by_reason[reason as usize] = None;
        self.ended(core);
    }

    /// Some pause ended. Whoever another one still holds is held again when its command comes up.
    pub(crate) fn ended(&mut self, core: &mut Core) {
        self.sum_up(core);
        self.held.drain(..).for_each(|handle| core.order(Order::Resume(handle)));
    }

    fn sum_up(&mut self, core: &mut Core) {
        let now_us = core.now.mono_us;
        for one in &mut self.by_reason {
            one.take_if(|(_, end)| *end <= now_us);
        }
        let all = || self.by_reason.iter().flatten();
        self.until = all().map(|&(mode, _)| mode).max().zip(all().map(|&(_, end)| end).max());
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
    fn those_who_wait_and_leave_do_not_pile_up() {
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
