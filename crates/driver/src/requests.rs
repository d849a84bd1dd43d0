//! Requests of the node to the world: noted, and answered.

use std::collections::VecDeque;

use russet_engine::io::{Input, Request, RequestId};

use crate::Files;

/// See the module.
#[derive(Default)]
pub struct Requests {
    /// Requests so far.
    pub made: Vec<Request>,
    /// Requests stay open until [`crate::Driver::answer`].
    pub held: bool,
    /// Answers to the next requests.
    pub answers: VecDeque<Result<(), String>>,
    /// Why every other request is refused.
    pub refused_with: Option<String>,
    open: VecDeque<(RequestId, Request, Result<(), String>)>,
}

impl Requests {
    pub(crate) fn make(
        &mut self,
        id: RequestId,
        request: Request,
        files: &mut Files,
        inputs: &mut VecDeque<Input>,
    ) {
        let usual = self.refused_with.clone().map_or(Ok(()), Err);
        let answer = self.answers.pop_front().unwrap_or(usual);
        self.made.push(request.clone());
        self.open.push_back((id, request, answer));
        if !self.held {
            inputs.extend(self.answer(files));
        }
    }

    /// Does what was requested first of what is open, or not.
    pub(crate) fn answer(&mut self, files: &mut Files) -> Option<Input> {
        let (id, request, answer) = self.open.pop_front()?;
        if let (Request::RemoveFile(path), Ok(())) = (&request, &answer) {
            files.remove(path);
        }
        Some(Input::Answer { id, answer })
    }
}
