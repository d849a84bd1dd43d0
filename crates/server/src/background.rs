//! Background jobs: a thread carries out, one after another, requests that may wait for a disk, and answers them.

use std::sync::mpsc::{Sender, channel};

use russet_engine::io::{Input, RequestId};

use crate::completions::Reporter;
use crate::sys::error_text;

/// What is to be done; its result is the answer.
type Job = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// The loop's end. The thread starts with the first job.
pub struct Background {
    reporter: Reporter,
    sender: Option<Sender<(RequestId, Job)>>,
}

impl Background {
    /// Background whose answers are reported there.
    pub fn new(reporter: Reporter) -> Background {
        Background { reporter, sender: None }
    }

    /// Does this elsewhere, after all that was sent before; the answer comes as an input.
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
            // The thread lives as long as this sender.
            let _ = sender.send((id, Box::new(job)));
        }
    }
}
