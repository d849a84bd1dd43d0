//! Files that the manifest calls history: they are removed once it is on disk, and then forgotten by a further manifest.
//!
//! If one cannot be removed it stays, without harm, and the manifests go on naming it. Removal is tried again at the next
//! start, after the next rewrite, and when `aof-disable-auto-gc` is switched off.

use super::files::{Aof, path_of};
use super::manifest::Manifest;
use super::replace::write_manifest;
use crate::core::Core;
use crate::ids::RequestId;
use crate::injected::Bug;
use crate::io::Request;

/// The removal of history.
#[derive(Debug, Default)]
pub(super) struct Removal {
    /// The files that are being removed.
    requests: Vec<RequestId>,
    has_failed: bool,
}

impl Aof {
    /// Removes the files that the manifest on disk calls history.
    pub(crate) fn remove_history(&mut self, core: &mut Core) {
        let Some(manifest) = self.manifest.as_ref().filter(|_| !core.config.aof_disable_auto_gc)
        else {
            return;
        };
        let files = manifest.history().iter();
        let paths: Vec<String> = files.map(|file| path_of(core, &file.name)).collect();
        let requests = paths.into_iter().map(|path| core.request(Request::RemoveFile(path)));
        self.removal = Removal { requests: requests.collect(), has_failed: false };
    }

    /// Whether history is being removed, or the manifest without it written.
    pub fn is_removing_history(&self) -> bool {
        !self.removal.requests.is_empty() || self.forgetting.is_some()
    }

    /// Handles the answer to a request, which may be of a removed file or of the manifest after the last.
    pub(super) fn history_answered(
        &mut self,
        core: &mut Core,
        id: RequestId,
        answer: &Result<(), String>,
    ) {
        if self.forgetting == Some(id) {
            self.forgetting = None;
            if let (Ok(()), Some(manifest)) = (answer, &mut self.manifest) {
                manifest.clear_history();
            }
        }
        let Some(at) = self.removal.requests.iter().position(|&request| request == id) else {
            return;
        };
        self.removal.requests.swap_remove(at);
        self.removal.has_failed |= answer.is_err();
        // A manifest that is being written names the files once more, and its own history later.
        if self.removal.requests.is_empty() && !self.removal.has_failed && !self.is_replacing() {
            self.forget_history(core);
        }
    }

    fn forget_history(&mut self, core: &mut Core) {
        let Some(mut manifest) = self.manifest.clone() else { return };
        manifest.clear_history();
        self.forgetting = Some(write_manifest(core, &manifest));
    }
}

/// Requests the removal of a manifest's history before it is on disk: an injected bug.
pub(super) fn remove_too_early(core: &mut Core, manifest: &Manifest) {
    if core.injected(Bug::RemovedTooEarly) {
        for file in manifest.history() {
            let path = path_of(core, &file.name);
            core.request(Request::RemoveFile(path));
        }
    }
}
