//! Programs that a Sentinel runs: each has a thread, which starts it, waits for its end and reports that.
//!
//! ```text
//!   Starting ──▶ Running ──▶ Ended           its thread
//!      ╰ kill: noted   ╰ kill: SIGKILL       the event loop
//! ```
//!
//! The thread waits without reaping the process, and reaps it only when the event loop cannot kill it any more: until then
//! its process id belongs to nobody else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use russet_engine::io::{Input, JobId, ScriptOutcome};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::completions::Reporter;
use crate::sys::error_text;

/// The programs that run.
pub struct Scripts {
    reporter: Reporter,
    running: BTreeMap<JobId, Arc<Mutex<Stage>>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Starting { is_killed: bool },
    Running(Pid),
    Ended,
}

impl Scripts {
    /// Creates an empty list. Ends are sent to `reporter`.
    pub fn new(reporter: Reporter) -> Scripts {
        Scripts { reporter, running: BTreeMap::new() }
    }

    /// Starts a program.
    pub fn run(&mut self, job: JobId, path: String, arguments: Vec<String>) {
        let stage = Arc::new(Mutex::new(Stage::Starting { is_killed: false }));
        self.running.insert(job, stage.clone());
        let reporter = self.reporter.clone();
        let spawned = std::thread::Builder::new().name("russet-script".into()).spawn(move || {
            let started = |pid| reporter.input(Input::ScriptStarted { job, pid });
            let outcome = run(&stage, &path, &arguments, started)
                .unwrap_or_else(|error| ScriptOutcome::NotStarted(error_text(&error)));
            reporter.input(Input::ScriptEnded { job, outcome });
        });
        if let Err(error) = spawned {
            let outcome = ScriptOutcome::NotStarted(error_text(&error));
            self.reporter.input(Input::ScriptEnded { job, outcome });
        }
    }

    /// Kills a program, unless it has ended.
    pub fn kill(&mut self, job: JobId) {
        let Some(stage) = self.running.get(&job) else { return };
        let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *stage {
            Stage::Starting { is_killed } => *is_killed = true,
            // Fails only if it has ended just now.
            Stage::Running(pid) => drop(kill_process(*pid, Signal::KILL)),
            Stage::Ended => {}
        }
    }

    /// Whether a program has not ended yet, as far as the event loop knows.
    pub fn is_known(&self, job: JobId) -> bool {
        self.running.contains_key(&job)
    }

    /// Forgets a program that has ended. Returns whether it was known.
    pub fn ended(&mut self, job: JobId) -> bool {
        self.running.remove(&job).is_some()
    }
}

/// Whether there is a program at this path that may be run: what is there, and not whether it will succeed.
pub fn can_run(path: &str) -> bool {
    let is_file = fs::metadata(path).is_ok_and(|about| about.is_file());
    is_file && access(path, Access::EXEC_OK).is_ok()
}

/// Runs a program, reports its process id, and returns how it ended, or why it could not be started.
fn run(
    stage: &Mutex<Stage>,
    path: &str,
    arguments: &[String],
    started: impl FnOnce(u32),
) -> std::io::Result<ScriptOutcome> {
    // A name alone would be searched in the directories of PATH.
    let path = if path.contains('/') { path.to_owned() } else { format!("./{path}") };
    let mut child = Command::new(path).args(arguments).stdin(Stdio::null()).spawn()?;
    let pid = Pid::from_child(&child);
    started(child.id());
    {
        let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
        if *stage == (Stage::Starting { is_killed: true }) {
            let _ = child.kill(); // fails only if it has ended
        }
        *stage = Stage::Running(pid);
    }
    wait_without_reaping(pid);
    *stage.lock().unwrap_or_else(PoisonError::into_inner) = Stage::Ended;
    child.wait().map(outcome_of)
}

fn wait_without_reaping(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
}

fn outcome_of(status: ExitStatus) -> ScriptOutcome {
    match status.signal() {
        Some(signal) => ScriptOutcome::Killed(signal),
        None => ScriptOutcome::Exited(status.code().unwrap_or_default()),
    }
}
