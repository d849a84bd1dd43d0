//! Requests of the node, which are recorded and answered.

use std::collections::VecDeque;

use russet_engine::io::{Input, Request, RequestId};

use crate::Files;

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
    pending: VecDeque<(RequestId, Request, Result<(), String>)>,
}

impl Requests {
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
        if let (Request::RemoveFile(path), Ok(())) = (&request, &answer) {
            files.remove(path);
        }
        Some(Input::Answer { id, answer })
    }
}
