//! nodes.conf on disk, and replies that wait for it.

use std::collections::BTreeMap;

use russet_cluster::Input;
use russet_protocol::ErrorReply;

use super::{Cluster, World};
use crate::core::{Answer, Core, Order};
use crate::ids::{Handle, RequestId};
use crate::io::{Request, Rewrite};

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

impl Cluster {
    /// Begins to save the state.
    pub(super) fn save(&mut self, core: &mut Core, version: u64, text: Vec<u8>) {
        let (path, rewrite) = (self.path.clone(), Rewrite::public(text));
        let id = core.request(Request::ReplaceFile { path, rewrite });
        self.saves.open.insert(id, version);
    }

    /// Ends a command: its reply is sent now, or when the state is on disk. Returns whether it is sent now.
    pub(crate) fn end_command(&mut self, client: Handle, reply: &[u8]) -> bool {
        let version = self.machine().and_then(|machine| machine.unsaved_version());
        let Some(version) = version else { return true };
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
        let is_over = |waiting: &mut Waiting| waiting.version <= version;
        let over: Vec<Waiting> = self.saves.waiting.extract_if(.., is_over).collect();
        for Waiting { client, reply, .. } in over {
            let answer = match answer {
                Ok(()) => Answer::Bytes(reply),
                Err(why) => Answer::Error(ErrorReply::err(format!(
                    "error saving the cluster node config: {why}"
                ))),
            };
            world.core.order(Order::Answer(client, answer));
        }
        self.handle(world, Input::Saved { version, result: answer.clone() });
    }
}
