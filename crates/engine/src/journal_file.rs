//! The file of a journal, beside the state of the machine that writes the journal.
//!
//! Nothing depends on it: it is written a moment after the news, and a file that cannot be written means only that there is
//! less to tell after a restart.

pub use russet_sentinel::JOURNAL_LEN_MAX as LEN_MAX;

use crate::core::Core;
use crate::ids::RequestId;
use crate::io::{Level, Request, Rewrite};

/// What happens at once is written at once, and votes come before.
const DELAY_US: u64 = 1_000_000;

/// When the file is written again.
#[derive(Debug, Default)]
pub struct JournalFile {
    /// When it is due.
    at_us: Option<u64>,
    /// The request that writes it.
    request: Option<RequestId>,
    /// Whether the last one failed, which is logged once.
    fails: bool,
}

impl JournalFile {
    /// Returns the path of the file that belongs to the state at a path.
    pub fn path(state: &str) -> String {
        format!("{state}.journal")
    }

    /// Notes that there are new entries.
    pub(crate) fn is_new(&mut self, now_us: u64) {
        self.at_us.get_or_insert(now_us.saturating_add(DELAY_US));
    }

    /// Returns when it is due, `u64::MAX` if it is not.
    pub(crate) fn due_us(&self) -> u64 {
        self.at_us.filter(|_| self.request.is_none()).unwrap_or(u64::MAX)
    }

    /// Writes it beside the state at a path, if it is due.
    pub(crate) fn write_if_due(
        &mut self,
        core: &mut Core,
        state: &str,
        text: impl FnOnce() -> String,
    ) {
        if self.due_us() > core.now.mono_us {
            return;
        }
        self.at_us = None;
        let text = text().into_bytes();
        let (path, rewrite) = (JournalFile::path(state), Rewrite::new(move |_, _| text.clone()));
        self.request = Some(core.request(Request::ReplaceFile { path, rewrite }));
    }

    /// Handles the answer to a request. Returns whether it was about the file.
    pub(crate) fn answered(
        &mut self,
        core: &mut Core,
        id: RequestId,
        answer: &Result<(), String>,
    ) -> bool {
        if self.request != Some(id) {
            return false;
        }
        self.request = None;
        let had_failed = std::mem::replace(&mut self.fails, answer.is_err());
        if let Err(error) = answer
            && !had_failed
        {
            core.log(Level::Warning, format!("The journal's file cannot be written: {error}"));
        }
        true
    }
}
