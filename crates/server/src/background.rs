//! Background jobs: a thread runs requests that may wait for a disk, in order, and reports their
//! results.

use std::sync::mpsc::{Sender, channel};

use russet_engine::io::{Input, RequestId};

use crate::completions::Reporter;
use crate::sys::error_text;

/// The work of a job; its result is the answer.
type Job = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// The queue of background jobs. The thread is started by the first job.
pub struct Background {
    reporter: Reporter,
    sender: Option<Sender<(RequestId, Job)>>,
}

impl Background {
    /// Creates a queue that sends answers to `reporter`.
    pub fn new(reporter: Reporter) -> Background {
        Background { reporter, sender: None }
    }

    /// Queues a job. The answer is a later input.
    pub fn send(
        &mut self,
        id: RequestId,
        job: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) {
        if self.sender.is_none() {
            let (sender, receiver) = channel::<(RequestId, Job)>();
            let reporter = self.reporter.clone();
            let thread = std::thread::Builder::new().name("russet-jobs".into());
            let started = thread.spawn(move || {
                for (id, job) in receiver {
                    reporter.input(Input::Answer { id, answer: job() });
                }
            });
            match started {
                Ok(_) => self.sender = Some(sender),
                Err(error) => {
                    let answer = Err(error_text(&error));
                    return self.reporter.input(Input::Answer { id, answer });
                }
            }
        }
        if let Some(sender) = &self.sender {
            // Cannot fail: the thread lives as long as this sender.
            let _ = sender.send((id, Box::new(job)));
        }
    }
}
