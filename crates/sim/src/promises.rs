//! Promises about what is on a disk: what was deleted stays deleted, and a transaction is there as a whole or not at all.

use crate::model::Model;
use crate::process::Save;
use crate::world::World;

/// Two keys that operators increment in one EXEC, and nobody changes otherwise.
const TWINS: [&[u8]; 2] = [b"twin:a", b"twin:b"];

impl World {
    /// A node replied to a FLUSHALL that was sent at this time. No snapshot from before may get its name any more; with
    /// save points, one from after it has it already.
    pub(crate) fn flushed(&mut self, node: usize, sent_us: u64) {
        self.coverage.flushes += 1;
        let process = &mut self.processes[node];
        process.flushed_us = process.flushed_us.max(sent_us);
        // A failed save is no reason for another reply, in Redis either.
        if !process.config.save.0.is_empty() && process.save_failed_us < sent_us {
            process.flush_saved_us = process.flush_saved_us.max(sent_us);
        }
    }

    /// A dump file gets its name. One without keys brings none back: a FLUSHALL of nothing may be answered by the save of an
    /// earlier one.
    pub(crate) fn check_published(&mut self, node: usize, save: Save) {
        if !save.is_empty && save.began_us < self.processes[node].flushed_us {
            self.fail(format!("node{node} ends a save of keys whose FLUSHALL it has confirmed"));
        }
    }

    /// A process starts and finds a dump file.
    pub(crate) fn check_found(&mut self, node: usize, save: Save) {
        if !save.is_empty && save.began_us < self.processes[node].flush_saved_us {
            self.fail(format!("node{node} finds keys whose FLUSHALL it has confirmed"));
        }
    }

    /// Does a snapshot hold the whole of each EXEC?
    pub(crate) fn check_twins(&mut self, node: usize, model: &Model) {
        for db in model.numbers() {
            let [a, b] = TWINS.map(|key| model.value(db, key));
            if a != b {
                self.fail(format!("node{node}: a snapshot holds a part of an EXEC: {a:?}, {b:?}"));
                return;
            }
            self.coverage.twins += u64::from(a.is_some());
        }
    }
}
