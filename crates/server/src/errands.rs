//! A thread that does, one after another, what may wait for a disk, and answers the questions behind it.

use std::sync::mpsc::{Sender, channel};

use russet_engine::io::{AskId, Input};

use crate::completions::Reporter;
use crate::sys::error_text;

/// What is to be done, and said about it.
type Errand = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// The loop's end. The thread starts with the first errand.
pub struct Errands {
    reporter: Reporter,
    sender: Option<Sender<(AskId, Errand)>>,
}

impl Errands {
    /// Errands whose answers are reported there.
    pub fn new(reporter: Reporter) -> Errands {
        Errands { reporter, sender: None }
    }

    /// Does this elsewhere, after all that was sent before; the answer comes as an input.
    pub fn send(
        &mut self,
        ask: AskId,
        errand: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) {
        if self.sender.is_none() {
            let (sender, receiver) = channel::<(AskId, Errand)>();
            let reporter = self.reporter.clone();
            let thread = std::thread::Builder::new().name("russet-errands".into());
            let started = thread.spawn(move || {
                for (ask, errand) in receiver {
                    reporter.input(Input::Answer { ask, answer: errand() });
                }
            });
            match started {
                Ok(_) => self.sender = Some(sender),
                Err(error) => {
                    let answer = Err(error_text(&error));
                    return self.reporter.input(Input::Answer { ask, answer });
                }
            }
        }
        if let Some(sender) = &self.sender {
            // The thread lives as long as this sender.
            let _ = sender.send((ask, Box::new(errand)));
        }
    }
}
