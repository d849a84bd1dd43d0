//! What a node says of its last save: without unsaved changes its data is what that save holds, and a save point that is reached
//! leads to a save.

use crate::model::Model;
use crate::world::World;

/// A node that says nothing is unsaved is compared with its save once in so many looks, beside those that matter most.
const SAVED_CHECK_ONE_IN: u64 = 2000;

/// The last save of a process, or the file that it has loaded.
#[derive(Debug)]
pub struct Saved {
    /// What it holds.
    model: Model,
    /// The latest time that its wall clock has shown since, milliseconds: what ended before may be gone.
    latest_ms: i64,
}

impl World {
    /// This is what a node's dump file holds now.
    pub(crate) fn note_saved(&mut self, node: usize, model: Model) {
        let process = &mut self.processes[node];
        let now_ms = process.now(self.now).wall_ms();
        // The clock may have been set back while the file was written: what had ended before is not in it.
        let shown_ms = process.saved.as_ref().map_or(now_ms, |saved| saved.latest_ms);
        process.saved = Some(Saved { model, latest_ms: now_ms.max(shown_ms) });
    }

    /// A wall clock will be set: what it shows now was shown.
    pub(crate) fn note_wall_clock(&mut self, node: usize) {
        let process = &mut self.processes[node];
        let now_ms = process.now(self.now).wall_ms();
        if let Some(saved) = &mut process.saved {
            saved.latest_ms = saved.latest_ms.max(now_ms);
        }
    }

    /// Looks whether a node's data is what its last save holds, if it says that nothing has changed since; now and then, or
    /// surely.
    pub(crate) fn check_saved(&mut self, node: usize, surely: bool) {
        let Some(data) = self.processes[node].data() else { return };
        if data.unsaved_changes() != 0 || data.is_loading() || data.is_within_exec() {
            return;
        }
        if !surely && !self.chance.one_in(SAVED_CHECK_ONE_IN) {
            return;
        }
        self.note_wall_clock(node);
        let process = &self.processes[node];
        let (Some(saved), Some(data)) = (&process.saved, process.data()) else { return };
        let keeps = |at: Option<i64>| at.is_none_or(|at| at > saved.latest_ms);
        let is = data.model();
        self.coverage.saved_checks += 1;
        if saved.model.digest_if(keeps) != is.digest_if(keeps) {
            let difference = saved.model.difference(&is).unwrap_or_default();
            self.fail(format!(
                "node{node} says that nothing has changed since its last save, and holds other data: {difference}"
            ));
        }
    }
}
