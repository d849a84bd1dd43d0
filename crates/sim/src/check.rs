//! What must hold at every moment, whatever fails. Nothing in here knows of any particular bug.
//!
//! * A node at offset n of history X holds X's bytes up to n, as far back as its backlog goes.
//! * Its data is what an independent applier makes of X's bytes up to n.
//! * Its data is also what its journal's effects make, as any further sink is given them.
//! * A snapshot holds exactly the data at its begin.
//! * A replica understands all that its master sends, and can do it.
//! * A process that starts finds its last completed save, and loads exactly what the file holds.

use russet_engine::io::JobId;

use crate::appends::place_of;
use crate::digest;
use crate::files::{DUMP, Use};
use crate::machine::DataNode;
use crate::model::Model;
use crate::model::dump::decode;
use crate::process::{Begun, Process, Seen};
use crate::world::{Phase, World};

/// Data is compared at one look in so many, beside those that matter most.
const DATA_CHECK_ONE_IN: u64 = 150;

/// What the journal's second sink makes is compared more often: that costs less.
const MIRROR_CHECK_ONE_IN: u64 = 50;

fn changes(process: &Process) -> (u64, u64) {
    process.data().map_or((0, 0), |data| data.changes())
}

fn seen(data: &dyn DataNode) -> Seen {
    let place = data.place();
    Seen {
        place: data.backlog().map(|_| (place.id.to_owned(), place.offset)),
        second: (place.second_id.to_owned(), place.second_offset),
        is_replica: data.is_replica(),
        is_loading: data.is_loading(),
    }
}

pub(crate) fn model_of(process: &Process) -> Model {
    process.data().map(|data| data.model()).unwrap_or_default()
}

impl World {
    /// Takes note of what a node is like before a call.
    pub(crate) fn before_call(&mut self, node: usize) {
        let before = changes(&self.processes[node]);
        self.processes[node].changes_before = before;
        self.processes[node].replicas_lost = 0;
    }

    /// Looks at a node after a call. True if the call changed data.
    pub(crate) fn observe(&mut self, node: usize) -> bool {
        let changed = self.look_at(node);
        self.keep_ledger(node);
        changed
    }

    fn look_at(&mut self, node: usize) -> bool {
        let process = &self.processes[node];
        let Some(data) = process.data() else { return true };
        let changed = changes(process) != process.changes_before;
        let least = data.least_replicas();
        if self.processes[node].least_replicas.0 != least {
            self.processes[node].least_replicas = (least, self.now);
        }
        if self.now < self.processes[node].paused_until_us {
            self.check_pause(node, changed);
        }
        self.check_failover(node, changed);
        let process = &self.processes[node];
        let Some(data) = process.data() else { return true };
        if data.is_within_exec() && !self.histories.contains_key(data.place().id) {
            // Where the data is ahead of the stream no record of the two can begin.
            return changed;
        }
        let before = &process.seen;
        let same_place = match (&before.place, data.backlog()) {
            (None, None) => true,
            (Some((id, offset)), Some(_)) => {
                let place = data.place();
                let second = (before.second.0.as_str(), before.second.1);
                (id.as_str(), *offset) == (place.id, place.offset)
                    && second == (place.second_id, place.second_offset)
            }
            _ => false,
        };
        let same = same_place
            && before.is_replica == data.is_replica()
            && before.is_loading == data.is_loading();
        if same {
            if changed && self.chance.one_in(DATA_CHECK_ONE_IN) {
                self.check_data(node);
                self.check_mirror(node);
                self.check_ledger(node);
            }
            return changed;
        }
        let now = seen(data);
        let before = std::mem::replace(&mut self.processes[node].seen, now);
        if before.is_loading && !self.processes[node].seen.is_loading {
            self.check_loaded(node);
        }
        self.keep_tenure(node, &before);
        if changed && self.chance.one_in(MIRROR_CHECK_ONE_IN) {
            self.check_mirror(node);
            self.check_ledger(node);
        }
        if !same_place {
            self.moved(node, &before);
            self.note_reached(node);
            self.check_claims(node, &before);
        }
        changed
    }

    /// A tenure lasts while a master is neither ended nor made a replica.
    fn keep_tenure(&mut self, node: usize, before: &Seen) {
        let process = &mut self.processes[node];
        if process.seen.is_replica || process.seen.is_loading {
            process.tenure = 0;
        } else if process.tenure == 0 || before.is_replica {
            self.last_tenure += 1;
            process.tenure = self.last_tenure;
        }
    }

    /// A node stands elsewhere in its history, or in another one.
    fn moved(&mut self, node: usize, before: &Seen) {
        let Some((id, offset)) = self.processes[node].seen.place.clone() else { return };
        let Some(data) = self.processes[node].data() else { return };
        let Some(backlog) = data.backlog() else { return };
        if backlog.next != offset + 1 {
            let next = backlog.next;
            self.fail(format!(
                "node{node} is at offset {offset}, and its backlog goes on at {next}"
            ));
            return;
        }
        let went_on = before.place.as_ref().filter(|(old, at)| *old == id && *at <= offset);
        let from = match went_on {
            Some((_, at)) => (at + 1).max(backlog.first),
            None => backlog.first,
        };
        let bytes = data.stream_since(from);
        let went_on = went_on.is_some();
        // It may have written and then become a replica, all in one call.
        let leads = !before.is_replica || !self.processes[node].seen.is_replica;
        self.check_bytes(node, &id, (offset, leads), from, &bytes);
        if !went_on || self.chance.one_in(DATA_CHECK_ONE_IN) {
            self.check_data(node);
        }
    }

    /// Compares what a node holds of a history with the recorder's bytes; a master's news extend them.
    fn check_bytes(
        &mut self,
        node: usize,
        id: &str,
        (offset, leads): (i64, bool),
        from: i64,
        bytes: &[u8],
    ) {
        self.coverage.backlog_checks += 1;
        let Some(history) = self.histories.get_mut(id) else {
            // Of one that begins anew the bytes kept need not say which database is selected.
            let begins_anew = self.lost_histories.remove(id);
            let data = self.processes[node].data().filter(|_| begins_anew);
            let selected = data.map(|data| data.selected_db());
            self.begin_history(node, id, offset, bytes.to_vec(), selected);
            return;
        };
        if let Err(what) = history.compare(from, bytes) {
            self.fail(format!("node{node} at {offset} of {id}: {what}"));
            return;
        }
        let end = history.end();
        if offset <= end {
            return;
        }
        if !leads {
            self.fail(format!(
                "node{node} follows {id} and is at {offset}, where nobody has written: it ends at {end}"
            ));
            return;
        }
        if from > end + 1 {
            // A call that writes more than the backlog keeps, in two parts, may lose the first of them; a
            // backlog that has room has nothing to lose.
            let data = self.processes[node].data();
            let backlog = data.and_then(|data| data.backlog());
            if backlog.is_none_or(|backlog| !backlog.is_full) {
                self.fail(format!(
                    "node{node} leads {id} and keeps it from {from} on, though it ended at {end}"
                ));
                return;
            }
            self.coverage.rebases += 1;
            if data.is_some_and(|data| data.is_within_exec()) {
                // It begins anew when the data is level with the stream.
                self.histories.remove(id);
                self.lost_histories.insert(id.to_owned());
                return;
            }
            let selected = data.map(|data| data.selected_db());
            self.begin_history(node, id, offset, bytes.to_vec(), selected);
            return;
        }
        if let Err(what) = history.extend(&bytes[(end + 1 - from) as usize..]) {
            self.fail(format!("the stream of {id} by node{node} makes no sense: {what}"));
        }
    }

    /// Compares a node's data with what its history says it is.
    pub(crate) fn check_data(&mut self, node: usize) {
        let process = &self.processes[node];
        let Some(data) = process.data() else { return };
        let Some((id, offset)) = &process.seen.place else { return };
        let Some(history) = self.histories.get(id) else { return };
        if data.is_loading() || data.is_within_exec() {
            return;
        }
        let known = history.digest_at(*offset);
        let is = data.digest();
        match known {
            Ok(None) => return,
            Ok(Some(digest)) if digest == is => {}
            Ok(Some(_)) => {
                let difference = history
                    .model_at(*offset)
                    .map(|model| model.difference(&model_of(process)).unwrap_or_default());
                let what = format!(
                    "node{node} at {offset} of {id} holds other data than the stream makes: {}",
                    difference.unwrap_or_else(|why| why)
                );
                self.fail(what);
            }
            Err(what) => {
                let what = format!("node{node} in {id}: {what}");
                self.fail(what);
            }
        }
        self.coverage.data_checks += 1;
        let Some(data) = self.processes[node].data() else { return };
        let master = data.upstream().and_then(|master| crate::plan::node_of(master.host));
        let chained = master.is_some_and(|m| self.processes[m].seen.is_replica);
        self.coverage.chained_checks += u64::from(chained);
    }

    /// Compares a node's data with what its journal's effects make.
    pub(crate) fn check_mirror(&mut self, node: usize) {
        let Some(data) = self.processes[node].data() else { return };
        let Some(mirrored) = data.mirrored() else { return };
        self.coverage.mirror_checks += 1;
        let what = match mirrored {
            Ok(digest) if digest == data.digest() => return,
            Ok(_) => data.mirror_difference().unwrap_or_default(),
            Err(what) => what,
        };
        self.fail(format!("node{node}'s data is not what its journal's effects make: {what}"));
    }

    /// A snapshot begins: what it must hold is known now.
    pub(crate) fn snapshot_begins(
        &mut self,
        node: usize,
        job: JobId,
        aux: &[(&'static str, String)],
        is_for_replicas: bool,
    ) {
        let field = |name: &str| aux.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
        let process = &self.processes[node];
        let Some(data) = process.data() else { return };
        // A base is begun when a turn has ended.
        let is_base = field("aof-base").is_some_and(|is| is == "1");
        let unchanged = is_base || changes(process) == process.changes_before;
        let begins_dirty = !unchanged && is_for_replicas;
        let begun = Begun {
            digest: unchanged.then(|| data.digest()),
            place: field("repl-id").zip(field("repl-offset").and_then(|at| at.parse().ok())),
            selected: field("repl-stream-db").and_then(|db| db.parse().ok()).unwrap_or(0),
        };
        self.coverage.dirty_syncs += u64::from(begins_dirty);
        self.processes[node].begun.insert(job, begun);
        if is_base {
            let place = self.processes[node].data().and_then(place_of);
            self.processes[node].durability.base_place = place;
            self.processes[node].durability.base_begins();
        }
        if self.phase == Phase::Chaos && self.chance.percent(self.plan.crash_in_snapshot_percent) {
            self.processes[node].crash_after_turns = Some(self.chance.skewed(1, 12));
        }
    }

    /// A snapshot is encoded: does it hold the data at its begin?
    pub(crate) fn check_snapshot(&mut self, node: usize, job: JobId, bytes: &[u8], is_for: Use) {
        let Some(begun) = self.processes[node].begun.remove(&job) else { return };
        self.coverage.snapshots += 1;
        let to_replicas = is_for == Use::Replicas;
        let mut model = match decode(bytes) {
            Ok(content) => {
                self.coverage.large_files += u64::from(!to_replicas && content.large > 0);
                self.coverage.large_payloads += u64::from(to_replicas && content.large > 0);
                content.model
            }
            Err(what) => {
                self.fail(format!("node{node} wrote a snapshot that cannot be read: {what}"));
                return;
            }
        };
        self.check_twins(node, &model);
        let is = model.digest();
        if begun.digest.is_some_and(|digest| digest != is) {
            self.fail(format!("node{node}: a snapshot is not the data at its begin"));
        }
        if is_for == Use::Dump {
            self.note_saved(node, model.clone());
        }
        if let Some(what) = model.torn_pair() {
            self.fail(format!("node{node}: in a snapshot {what}"));
        }
        let Some((id, offset)) = begun.place else { return };
        let Some(history) = self.histories.get(&id) else { return };
        let wrong = if offset < history.base() && history.knows_from(offset) {
            // The recorder came later: what the stream makes of the snapshot is compared.
            let base = history.base();
            model.select(begun.selected);
            match history.apply_between(&mut model, offset, base) {
                Ok(()) if history.digest_at(base) == Ok(Some(model.digest())) => None,
                Ok(()) => Some("brought forward, it is other data".to_owned()),
                Err(what) => Some(what),
            }
        } else {
            match history.digest_at(offset) {
                Ok(None) => None,
                Ok(Some(digest)) if digest == is => None,
                Ok(Some(_)) => Some(
                    history
                        .model_at(offset)
                        .map(|data| data.difference(&model).unwrap_or_default())
                        .unwrap_or_else(|what| what),
                ),
                Err(what) => Some(what),
            }
        };
        if let Some(what) = wrong {
            self.fail(format!("node{node}: a snapshot at {offset} of {id} is wrong: {what}"));
        }
    }

    /// A process starts: what it finds is a save that was completed, and no older one than the last sure one.
    pub(crate) fn check_file(&mut self, node: usize) {
        let process = &self.processes[node];
        let found = process.disk.read(DUMP).map(|file| digest::of_bytes(0, &file));
        let which = match found {
            None => 0,
            Some(hash) => match process.saves.iter().rposition(|save| save.hash == hash) {
                Some(at) => at + 1,
                None => {
                    self.fail(format!("node{node} finds a dump file that was never completed"));
                    return;
                }
            },
        };
        let sure = process.durable_saves;
        if which < sure {
            self.fail(format!("node{node} finds save {which}, though save {sure} was confirmed"));
        }
        if let Some(save) = which.checked_sub(1).map(|at| self.processes[node].saves[at]) {
            self.check_found(node, save);
        }
        // A name that survived this time may still be lost with the next power: nobody synced the folder.
        self.processes[node].saves.truncate(which);
    }

    /// A dump file was loaded: is the data what the file holds?
    fn check_loaded(&mut self, node: usize) {
        if self.processes[node].exited.is_some() {
            return;
        }
        if self.processes[node].durability.is_starting() && self.check_recovered(node) {
            return;
        }
        let process = &mut self.processes[node];
        let Some(loading) = process.loading.take() else {
            if process.saves.is_empty() {
                self.note_saved(node, Model::default());
            }
            return;
        };
        let now_ms = process.now(self.now).wall_ms();
        self.coverage.loads += 1;
        let (file, has_place) = match decode(&loading.file) {
            Ok(content) => (content.model, content.has_place),
            Err(what) => {
                self.fail(format!("node{node} loaded a file that cannot be read: {what}"));
                return;
            }
        };
        let is = model_of(&self.processes[node]);
        // Keys whose time came while the file was read may be there or not.
        let (early, late) = (loading.began_ms.min(now_ms), loading.began_ms.max(now_ms));
        let unclear = |expiry: Option<i64>| expiry.is_some_and(|at| (early..=late).contains(&at));
        let past = |expiry: Option<i64>| expiry.is_some_and(|at| at < early);
        // A replica waits for its master's word; so does who may be asked to go on with a history.
        let keeps = loading.by_replica || has_place;
        let expected = file.digest_if(|at| keeps || !(unclear(at) || past(at)));
        let found = is.digest_if(|at| keeps || !(unclear(at) || past(at)));
        if expected != found {
            let difference = file.difference(&is).unwrap_or_default();
            self.fail(format!("node{node} loaded other data than its file holds: {difference}"));
        }
        self.note_saved(node, file);
    }
}
