//! Scripts that the node runs, whose ends tests choose.

use std::collections::{BTreeMap, VecDeque};

use russet_engine::io::{Input, JobId, ScriptOutcome};

/// The process of the first script.
const FIRST_PID: u32 = 1000;

/// A script that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its job.
    pub job: JobId,
    /// Its path.
    pub path: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// The scripts of the node.
#[derive(Debug, Default)]
pub struct Scripts {
    /// All scripts that were started, in order.
    pub started: Vec<Script>,
    /// How the scripts with these paths end, at once. Others run until [`crate::Driver::end_script`] or until the node
    /// kills them.
    pub outcomes: BTreeMap<String, ScriptOutcome>,
    /// The scripts that run.
    pub running: Vec<JobId>,
}

impl Scripts {
    pub(crate) fn run(
        &mut self,
        job: JobId,
        path: String,
        arguments: Vec<String>,
        inputs: &mut VecDeque<Input>,
    ) {
        assert!(self.started.iter().all(|script| script.job != job), "a job is not used twice");
        self.running.push(job);
        let pid = FIRST_PID + u32::try_from(self.started.len()).unwrap_or_default();
        inputs.push_back(Input::ScriptStarted { job, pid });
        let outcome = self.outcomes.get(&path).cloned();
        self.started.push(Script { job, path, arguments });
        if let Some(outcome) = outcome {
            self.end(job, outcome, inputs);
        }
    }

    pub(crate) fn kill(&mut self, job: JobId, inputs: &mut VecDeque<Input>) {
        if self.running.contains(&job) {
            self.end(job, ScriptOutcome::Killed(9), inputs);
        }
    }

    pub(crate) fn end(&mut self, job: JobId, outcome: ScriptOutcome, inputs: &mut VecDeque<Input>) {
        let running = self.running.len();
        self.running.retain(|other| *other != job);
        assert_eq!(self.running.len() + 1, running, "the script runs");
        inputs.push_back(Input::ScriptEnded { job, outcome });
    }
}
