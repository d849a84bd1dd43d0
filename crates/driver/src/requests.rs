//! Requests of the node, which are recorded and answered.

use std::collections::VecDeque;

use russet_engine::io::{Input, Request, RequestId};

use crate::Files;

/// The path by which the node opens a file of its working directory.
fn relative(path: &str) -> &str {
    path.strip_prefix("/data/").unwrap_or(path)
}

/// The requests of the node.
#[derive(Default)]
pub struct Requests {
    /// Requests so far.
    pub received: Vec<Request>,
    /// Whether requests stay pending until [`crate::Driver::answer`].
    pub held: bool,
    /// Answers to the next requests.
    pub answers: VecDeque<Result<(), String>>,
    /// The error of all other requests; none: success.
    pub fails_with: Option<String>,
    /// Whether a replacement that fails has been carried out: only the sync of the folder has failed.
    pub fails_late: bool,
    pending: VecDeque<(RequestId, Request, Result<(), String>)>,
}

impl Requests {
    /// Whether a request waits for its answer.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn add(
        &mut self,
        id: RequestId,
        request: Request,
        files: &mut Files,
        inputs: &mut VecDeque<Input>,
    ) {
        let default = self.fails_with.clone().map_or(Ok(()), Err);
        let answer = self.answers.pop_front().unwrap_or(default);
        self.received.push(request.clone());
        self.pending.push_back((id, request, answer));
        if !self.held {
            inputs.extend(self.answer(files));
        }
    }

    /// Carries out the oldest pending request, unless it is to fail. Returns its answer.
    pub(crate) fn answer(&mut self, files: &mut Files) -> Option<Input> {
        let (id, request, answer) = self.pending.pop_front()?;
        let is_late = self.fails_late && matches!(request, Request::ReplaceFile { .. });
        match (&request, answer.is_ok() || is_late) {
            (Request::RemoveFile(path), true) => {
                files.remove(relative(path));
            }
            (Request::MoveFile { from, to }, true) => {
                if let Some(file) = files.remove(relative(from)) {
                    files.insert(relative(to).to_owned(), file);
                }
            }
            (Request::ReplaceFile { path, rewrite }, true) => {
                let path = relative(path);
                let old = files.get(path).cloned().unwrap_or_default();
                // Files that a configuration includes do not exist here.
                files.insert(path.to_owned(), rewrite.apply(&old, &mut |_, _| Vec::new()));
            }
            _ => {}
        }
        Some(Input::Answer { id, answer })
    }
}
