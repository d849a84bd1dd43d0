//! The last step of a rewrite: the manifest is replaced, and the next files are the present ones.
//!
//! If it cannot be replaced, the rename may have been done all the same, and only the sync of the folder have failed: then
//! a start may find either manifest. So nothing is given up. Effects go on to both files, what is not safe in both is not
//! safe, and the manifest is written again after a delay, until the disk has taken it:
//!
//! ```text
//!                   ┌───────── after a delay, the next file is good ─────────┐
//!                   ▼                                                        │
//!   Levelling ──▶ ByNext ──failed──▶ Failed ──after a delay, the next file──▶ ByPresent ──▶ the next files are
//!                   │                  ▲      cannot be written or synced        │           removed: try anew
//!                   ▼                  └──────────────────failed─────────────────┘
//!            the next files are the present ones
//! ```
//!
//! Names are not used twice: a removal may still be on its way to the disk ([`Manifest::skip_names_of`]).

use super::append::{AppendTail, End};
use super::files::{Aof, Status, filename, path_of};
use super::history::remove_too_early;
use super::manifest::{Manifest, manifest_name};
use super::rewrite::{Next, Step};
use crate::clients::Clients;
use crate::core::{Core, Order};
use crate::ids::RequestId;
use crate::io::{Level, Output, Request, Rewrite};

/// A replacement of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replacing {
    /// By that of the next files.
    ByNext(RequestId),
    /// By that of the present ones again.
    ByPresent(RequestId),
    /// The last attempt has failed.
    Failed,
}

impl Next {
    /// Writes the manifest of the next files.
    pub(super) fn replace_manifest(&mut self, core: &mut Core) {
        self.step = Step::Replacing(Replacing::ByNext(write_manifest(core, &self.manifest)));
    }

    /// Tries again to write a manifest, after a failure.
    pub(super) fn replace_again(&mut self, core: &mut Core, present: Option<&Manifest>) {
        if !matches!(self.step, Step::Replacing(Replacing::Failed)) {
            return;
        }
        match present.filter(|_| self.log.as_ref().is_some_and(|log| log.error().is_some())) {
            Some(present) => {
                let request = write_manifest(core, present);
                self.step = Step::Replacing(Replacing::ByPresent(request));
            }
            None => self.replace_manifest(core),
        }
    }
}

impl Aof {
    /// Handles the answer to a request.
    pub(crate) fn answered(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        tail: &mut AppendTail,
        id: RequestId,
        answer: &Result<(), String>,
    ) {
        self.history_answered(core, id, answer);
        let Some(next) = &mut self.next else { return };
        match (&next.step, answer) {
            (Step::Locking(request), answer) if *request == id => match answer {
                Ok(()) => {
                    let job = core.next_job();
                    let path = path_of(core, &manifest_name(&filename(core)));
                    core.output(Output::Read { job, path });
                    next.step = Step::Reading(job, Vec::new());
                }
                Err(why) => self.next_failed(core, tail, format!("folder: {why}")),
            },
            (Step::Replacing(Replacing::ByNext(request)), Ok(())) if *request == id => {
                self.take_over(core, clients, tail);
            }
            (Step::Replacing(Replacing::ByPresent(request)), Ok(())) if *request == id => {
                let error = next.log.as_ref().and_then(|log| log.error()).unwrap_or_default();
                let why = format!("the next incremental file: {error}");
                next.step = Step::Levelling;
                self.next_failed(core, tail, why);
                self.note_safe(clients);
            }
            (
                Step::Replacing(Replacing::ByNext(request) | Replacing::ByPresent(request)),
                Err(why),
            ) if *request == id => {
                self.not_replaced(core, tail, format!("the manifest cannot be replaced: {why}"));
            }
            _ => {}
        }
    }

    fn not_replaced(&mut self, core: &mut Core, tail: &mut AppendTail, why: String) {
        if self.status() != Status::On {
            // Nothing relies on the present files.
            return self.next_failed(core, tail, why);
        }
        if let Some(next) = &mut self.next {
            next.step = Step::Replacing(Replacing::Failed);
            self.note_failure(core, why);
        }
    }

    /// Whether the manifest is being replaced.
    pub(super) fn is_replacing(&self) -> bool {
        self.next.as_ref().is_some_and(|next| matches!(next.step, Step::Replacing(_)))
    }

    /// The next files are the present ones from now on.
    fn take_over(&mut self, core: &mut Core, clients: &mut Clients, tail: &mut AppendTail) {
        let Some(next) = self.next.take() else { return };
        let Next { manifest, log, base_bytes, began_us, is_added, .. } = *next;
        self.manifest = Some(manifest);
        if !is_added {
            (self.older_bytes, self.base_bytes) = (base_bytes, base_bytes);
        }
        self.is_loaded = false;
        if let Some(mut log) = log {
            log.promote();
            tail.promote();
            if let Some(old) = self.log.replace(log) {
                old.close(core);
            }
            self.rely(core, clients);
        }
        self.rewrites.succeeded(self.size(), core.now.mono_us.saturating_sub(began_us));
        self.note_refusal(core);
        if !is_added {
            core.log(Level::Notice, "Background AOF rewrite finished successfully");
        }
        self.remove_history(core);
    }

    /// Gives the next files up because of a failure.
    pub(super) fn next_failed(&mut self, core: &mut Core, tail: &mut AppendTail, why: String) {
        self.drop_next(core, tail);
        let is_first = self.status() == Status::Starting && self.rewrites.is_first();
        self.note_failure(core, why);
        if is_first {
            core.order(Order::AofFailed);
        }
    }

    fn note_failure(&mut self, core: &mut Core, why: String) {
        let what = if self.status() == Status::Starting { "begun" } else { "rewritten" };
        core.log(Level::Warning, format!("The append-only file cannot be {what}: {why}"));
        let is_awaited = self.found_logs().any(|log| log.sync_error.is_some());
        let is_awaited = is_awaited || self.is_replacing() || self.status() == Status::Starting;
        self.rewrites.failed(why, is_awaited, core.now.mono_us);
        self.note_refusal(core);
    }

    /// Gives the next files up.
    pub(super) fn drop_next(&mut self, core: &mut Core, tail: &mut AppendTail) {
        let Some(next) = self.next.take() else { return };
        tail.end(End::Next);
        if let Some(manifest) = &mut self.manifest {
            manifest.skip_names_of(&next.manifest);
        }
        if let Some(log) = next.log {
            log.close(core);
        }
        match next.step {
            Step::Base(job) => core.order(Order::AbortSnapshot(job)),
            // A start may find these files, now or later.
            Step::Replacing(_) => return,
            _ => {}
        }
        for path in next.paths {
            core.request(Request::RemoveFile(path));
        }
    }
}

/// Writes a manifest in place of the one on disk.
pub(super) fn write_manifest(core: &mut Core, manifest: &Manifest) -> RequestId {
    let path = path_of(core, &manifest_name(&filename(core)));
    let text = manifest.format(core.config.aof_checksum);
    remove_too_early(core, manifest);
    core.request(Request::ReplaceFile { path, rewrite: Rewrite::public(text) })
}
