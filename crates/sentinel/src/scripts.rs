//! Scripts of the user: a bounded queue, retries, and a limit of running time.
//!
//! A script that exits with status 1 or is killed by a signal is tried again, ten times in all, with delays that
//! double; other failures are final.

use std::collections::VecDeque;

use crate::context::Context;
use crate::io::{Level, Output, ScriptId, ScriptOutcome};

const QUEUE_MAX: usize = 256;
const RUNNING_MAX: usize = 16;
const TRIES_MAX: u32 = 10;

/// A script in the queue.
#[derive(Debug)]
pub(crate) struct Script {
    pub path: String,
    pub arguments: Vec<String>,
    pub tries: u32,
    /// Its process; 0 if it does not run.
    pub pid: u32,
    pub state: State,
}

/// The state of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It may run from this time on.
    Waiting(u64),
    /// It has run since this time; whether it was killed.
    Running(ScriptId, u64, bool),
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    pub queue: VecDeque<Script>,
    last_id: u64,
}

impl Scripts {
    /// Returns the number of running scripts.
    pub fn running(&self) -> usize {
        self.queue.iter().filter(|script| matches!(script.state, State::Running(..))).count()
    }

    fn position(&self, id: ScriptId) -> Option<usize> {
        let is_it =
            |script: &Script| matches!(script.state, State::Running(known, ..) if known == id);
        self.queue.iter().position(is_it)
    }

    /// Returns when something is due.
    fn due(&self, run_ms: u64) -> Option<u64> {
        let may_start = self.running() < RUNNING_MAX;
        let due = |script: &Script| match script.state {
            State::Waiting(at) => may_start.then_some(at),
            State::Running(_, since, false) => Some(since + run_ms + 1),
            State::Running(_, _, true) => None,
        };
        self.queue.iter().filter_map(due).min()
    }
}

impl Scripts {
    /// Queues the scripts that were asked for; the oldest that waits gives way if there are too many.
    fn queue_requested(&mut self, cx: &mut Context) {
        let now = cx.ms();
        for (path, arguments) in cx.script_requests.drain(..) {
            let state = State::Waiting(now);
            self.queue.push_back(Script { path, arguments, tries: 0, pid: 0, state });
            if self.queue.len() > QUEUE_MAX
                && let Some(oldest) =
                    self.queue.iter().position(|script| matches!(script.state, State::Waiting(_)))
            {
                self.queue.remove(oldest);
            }
        }
    }

    /// Starts scripts that are due, kills those that have run for too long, and returns when something is due again.
    pub fn tick(&mut self, cx: &mut Context) -> u64 {
        self.queue_requested(cx);
        let (now, run_ms) = (cx.ms(), cx.periods.script_run);
        let mut running = self.running();
        for script in &mut self.queue {
            match script.state {
                State::Waiting(at) if at <= now && running < RUNNING_MAX => {
                    running += 1;
                    self.last_id += 1;
                    let id = ScriptId(self.last_id);
                    script.state = State::Running(id, now, false);
                    script.tries += 1;
                    let (path, arguments) = (script.path.clone(), script.arguments.clone());
                    cx.output(Output::RunScript { id, path, arguments });
                }
                State::Running(id, since, false) if now > since + run_ms => {
                    script.state = State::Running(id, since, true);
                    let text = format!("{} {}", script.path, script.pid);
                    cx.event(Level::Warning, "-script-timeout", &text);
                    cx.output(Output::KillScript { id });
                }
                _ => {}
            }
        }
        self.due(run_ms).map_or(u64::MAX, |due| due.max(now + 1))
    }

    /// Handles that a script runs as this process.
    pub fn started(&mut self, cx: &mut Context, id: ScriptId, pid: u32) {
        let Some(index) = self.position(id) else { return };
        self.queue[index].pid = pid;
        cx.event(Level::Debug, "+script-child", &pid.to_string());
    }

    /// Handles the end of a script.
    pub fn ended(&mut self, cx: &mut Context, id: ScriptId, outcome: &ScriptOutcome) {
        let Some(index) = self.position(id) else { return };
        let (signal, status) = match outcome {
            ScriptOutcome::Exited(status) => (0, *status),
            ScriptOutcome::Killed(signal) => (*signal, 0),
            ScriptOutcome::NotStarted(_) => (0, 2),
        };
        let now = cx.ms();
        let script = &mut self.queue[index];
        let pid = std::mem::take(&mut script.pid);
        if pid != 0 {
            cx.event(Level::Debug, "-script-child", &format!("{pid} {status} {signal}"));
        }
        if (signal != 0 || status == 1) && script.tries < TRIES_MAX {
            let delay = cx.periods.script_retry.saturating_mul(1 << (script.tries - 1));
            script.state = State::Waiting(now.saturating_add(delay));
            return;
        }
        let path = script.path.clone();
        self.queue.remove(index);
        if signal != 0 || status != 0 {
            let text = format!("{path} {signal} {status}");
            cx.event(Level::Warning, "-script-error", &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Now;
    use crate::settings::Globals;

    fn context() -> Context {
        Context::new(Now { mono_ms: 1000, wall_ms: 0 }, 1, Globals::default(), 0)
    }

    fn ask(cx: &mut Context, from: usize, to: usize) {
        cx.script_requests.extend((from..to).map(|index| (format!("/{index}"), Vec::new())));
    }

    #[test]
    fn sixteen_run_and_the_oldest_that_waits_gives_way() {
        let (mut cx, mut scripts) = (context(), Scripts::default());
        ask(&mut cx, 0, 20);
        scripts.tick(&mut cx);
        ask(&mut cx, 20, 1000);
        scripts.tick(&mut cx);
        assert_eq!((scripts.running(), scripts.queue.len()), (RUNNING_MAX, QUEUE_MAX));
        let paths: Vec<&str> = scripts.queue.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths[..17], [&paths[..16], &["/760"]].concat()[..]);
        assert_eq!((paths[15], paths.last()), ("/15", Some(&"/999")));
    }

    #[test]
    fn ten_tries_are_enough() {
        let (mut cx, mut scripts) = (context(), Scripts::default());
        ask(&mut cx, 0, 1);
        let mut starts = Vec::new();
        for id in 1..=10 {
            scripts.tick(&mut cx);
            starts.push(cx.ms());
            scripts.ended(&mut cx, ScriptId(id), &ScriptOutcome::Exited(1));
            if let Some(State::Waiting(at)) = scripts.queue.front().map(|script| script.state) {
                cx.now.mono_ms = at;
            }
        }
        assert!(scripts.queue.is_empty(), "the tenth failure is final");
        let delays: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let doubling: Vec<u64> = (0..9).map(|index| 30_000 << index).collect();
        assert_eq!(delays, doubling);
    }
}
