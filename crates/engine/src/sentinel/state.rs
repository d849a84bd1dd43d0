//! The state on disk: saves, and replies that wait for them.

use std::collections::BTreeMap;

use russet_protocol::ErrorReply;
use russet_sentinel::{Input, ScriptOutcome};

use super::{End, Sentinel, World};
use crate::core::{Answer, Core, Order};
use crate::ids::{Handle, JobId, RequestId};

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
}

impl Saves {
    pub fn on_close(&mut self, client: Handle) {
        self.waiting.retain(|waiting| waiting.client != client);
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
        if self.journal_file.answered(world.core, id, answer) {
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
