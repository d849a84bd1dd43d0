//! Background jobs: a thread runs requests that may wait for a disk, in order, and reports their
//! results.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use russet_engine::io::{Input, RequestId};

use crate::completions::Reporter;
use crate::sys::error_text;

/// The work of a job; its result is the answer.
type Job = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// The queue of background jobs. The thread is started by the first job.
pub struct Background {
    reporter: Reporter,
    sender: Option<Sender<(RequestId, Job)>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Creates a queue that sends answers to `reporter`.
    pub fn new(reporter: Reporter) -> Background {
        Background { reporter, sender: None, thread: None }
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
                Ok(thread) => (self.sender, self.thread) = (Some(sender), Some(thread)),
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

    /// Waits until all jobs are done, before the process exits: one in the middle of a file would
    /// leave a temporary one.
    pub fn finish(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a job that panicked has ended the process
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completions::Completions;

    #[test]
    fn an_exit_waits_for_jobs() {
        let completions = Completions::new().unwrap();
        let mut background = Background::new(completions.reporter());
        background.finish();
        let (start, started) = channel::<()>();
        background.send(RequestId(1), move || started.recv().map_err(|e| e.to_string()));
        background.send(RequestId(2), || Ok(()));
        start.send(()).unwrap();
        background.finish();
        assert_eq!(completions.take().count(), 2);
    }
}
