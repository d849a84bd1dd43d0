//! CLIENT PAUSE: for a while no client's commands run, or none that write.

use std::collections::VecDeque;

use crate::client::Waiting;
use crate::command::{Command, flag};
use crate::io::{Handle, Now};
use crate::node::Node;
use crate::timers::Timer;

/// What is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseMode {
    /// Commands that write, or may.
    Write,
    /// All commands.
    All,
}

/// The pause, if there is one, and those that it holds back.
#[derive(Debug, Default)]
pub struct Pause {
    /// Its kind and the monotonic microseconds at which it ends.
    pub until: Option<(PauseMode, u64)>,
    held: VecDeque<Handle>,
}

impl Pause {
    /// Whether a command must wait.
    #[inline]
    pub(crate) fn holds(&self, command: &Command, now: Now) -> bool {
        match self.until {
            None => false,
            Some((_, end)) if now.mono_us >= end => false,
            // CLIENT UNPAUSE must get through.
            Some(_) if command.name.starts_with("client|") => false,
            Some((PauseMode::All, _)) => !command.has(flag::ADMIN) || command.name != "shutdown",
            Some((PauseMode::Write, _)) => {
                command.has(flag::WRITE)
                    || command.has(flag::MAY_REPLICATE)
                    || command.name == "exec"
            }
        }
    }

    /// Whether writes wait now: replicas must not see keys end meanwhile either.
    pub fn is_on(&self, now: Now) -> bool {
        self.until.is_some_and(|(_, end)| now.mono_us < end)
    }
}

impl Node {
    /// Keeps a client's next command for after the pause.
    pub(crate) fn hold_back(&mut self, handle: Handle) {
        self.block(handle, Waiting::Pause, None);
        self.pause.held.push_back(handle);
    }

    /// Starts a pause, or makes the one there is longer or wider; never shorter.
    pub(crate) fn pause_clients(&mut self, mode: PauseMode, end_us: u64) {
        let (mode, end) = match self.pause.until {
            Some((old, end)) if self.now.mono_us < end => (mode.max(old), end_us.max(end)),
            _ => (mode, end_us),
        };
        self.pause.until = Some((mode, end));
        self.timers.set(Timer::PauseEnd, end);
    }

    /// Ends the pause: the held clients go on in the order in which they were held.
    pub(crate) fn unpause_clients(&mut self) {
        self.pause.until = None;
        self.timers.stop(Timer::PauseEnd);
        while let Some(handle) = self.pause.held.pop_front() {
            self.resume(handle);
        }
    }
}
