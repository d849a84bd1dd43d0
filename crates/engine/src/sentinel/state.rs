//! The state on disk: saves, replies that wait for them, and the file of the journal.

use std::collections::BTreeMap;

use russet_protocol::ErrorReply;
use russet_sentinel::{Input, ScriptOutcome};

use super::{End, Sentinel, World};
use crate::core::{Answer, Core, Order};
use crate::ids::{Handle, JobId, RequestId};
use crate::io::{Level, Request, Rewrite};

/// Delay of the journal's file: what happens at once is written at once, and votes come before.
const JOURNAL_DELAY_US: u64 = 1_000_000;

/// A reply that waits for a version of the state.
#[derive(Debug)]
struct Waiting {
    client: Handle,
    version: u64,
    reply: Vec<u8>,
}

/// Saves under way.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// The version that each request saves.
    open: BTreeMap<RequestId, u64>,
    waiting: Vec<Waiting>,
    /// When the journal is due, and the request that writes it.
    journal_at_us: Option<u64>,
    journal: Option<RequestId>,
    /// Whether the last one could not be written, which is logged once.
    journal_fails: bool,
}

impl Saves {
    pub fn on_close(&mut self, client: Handle) {
        self.waiting.retain(|waiting| waiting.client != client);
    }

    pub fn journal_is_new(&mut self, now_us: u64) {
        self.journal_at_us.get_or_insert(now_us + JOURNAL_DELAY_US);
    }

    pub fn journal_due_us(&self) -> u64 {
        self.journal_at_us.filter(|_| self.journal.is_none()).unwrap_or(u64::MAX)
    }
}

impl Sentinel {
    /// Begins to save the state.
    pub(super) fn save(&mut self, core: &mut Core, version: u64) {
        let (Some(machine), Some(store)) = (&self.machine, &self.store) else { return };
        let request = store.save(&core.config, machine.state_lines());
        let id = core.request(request);
        self.saves.open.insert(id, version);
    }

    /// Writes the journal's file, beside the state.
    pub(super) fn save_journal_if_due(&mut self, core: &mut Core) {
        let is_due = self.saves.journal_due_us() <= core.now.mono_us;
        let (Some(machine), Some(store)) = (&self.machine, &self.store) else { return };
        if is_due {
            self.saves.journal_at_us = None;
            let (path, text) = (store.journal_path(), machine.journal_text().into_bytes());
            let rewrite = Rewrite::new(move |_, _| text.clone());
            self.saves.journal = Some(core.request(Request::ReplaceFile { path, rewrite }));
        }
    }

    /// Ends a command: its reply is sent now, or when the state is on disk. Returns whether it is sent now.
    pub(crate) fn end_command(&mut self, client: Handle, end: End, reply: &[u8]) -> bool {
        let End::AfterSave(version) = end else { return true };
        self.saves.waiting.push(Waiting { client, version, reply: reply.to_vec() });
        false
    }

    /// Handles the answer to a request.
    pub(crate) fn answered(
        &mut self,
        world: &mut World<'_>,
        id: RequestId,
        answer: &Result<(), String>,
    ) {
        if self.saves.journal == Some(id) {
            self.saves.journal = None;
            let had_failed = std::mem::replace(&mut self.saves.journal_fails, answer.is_err());
            if let Err(error) = answer
                && !had_failed
            {
                let text = format!("The journal's file cannot be written: {error}");
                world.core.log(Level::Warning, text);
            }
            return self.tick(world);
        }
        let Some(version) = self.saves.open.remove(&id) else { return };
        let is_over = |waiting: &mut Waiting| match answer {
            Ok(()) => waiting.version <= version,
            Err(_) => waiting.version == version,
        };
        let over: Vec<Waiting> = self.saves.waiting.extract_if(.., is_over).collect();
        for Waiting { client, reply, .. } in over {
            let answer = match answer {
                Ok(()) => Answer::Bytes(reply),
                Err(_) => {
                    Answer::Error(ErrorReply::err("Failed to save config file. Check server logs."))
                }
            };
            world.core.order(Order::Answer(client, answer));
        }
        self.handle(world, Input::Saved { version, result: answer.clone() });
    }

    /// Handles that a script runs.
    pub(crate) fn script_started(&mut self, world: &mut World<'_>, job: JobId, pid: u32) {
        if let Some(&id) = self.scripts.get(&job) {
            self.handle(world, Input::ScriptStarted { id, pid });
        }
    }

    /// Handles the end of a script.
    pub(crate) fn script_ended(
        &mut self,
        world: &mut World<'_>,
        job: JobId,
        outcome: ScriptOutcome,
    ) {
        if let Some(id) = self.scripts.remove(&job) {
            self.handle(world, Input::ScriptEnded { id, outcome });
        }
    }
}
