//! The node's requests to the world. Those about files are carried out on the disk, one after the other and step by step, so
//! that a process may be killed between any two; all others are just answered.

use std::collections::VecDeque;

use russet_engine::io::{AppendFolder, Input, Request, RequestId};

use crate::disk::Disk;
use crate::node::renames_unsynced;
use crate::process::Inbox;
use crate::world::{Event, Phase, World};

/// These steps are rare, and between them a process is killed so much more often than between others.
pub const RARE: u64 = 4;

/// Jobs that wait for those before them; the first is under way.
pub type Jobs = VecDeque<Job>;

/// A request about a file.
pub struct Job {
    id: RequestId,
    request: Request,
    name: String,
    stage: Stage,
}

/// What of a file's replacement is next.
#[derive(Clone, Copy)]
enum Stage {
    Write,
    Sync(u64),
    Rename,
    SyncFolder,
}

impl Job {
    fn temp(&self) -> String {
        format!("{}.tmp", self.name)
    }

    /// Whether it replaces a file.
    pub fn is_replacement(&self) -> bool {
        matches!(self.request, Request::ReplaceFile { .. })
    }

    /// Whether it removes one.
    pub fn is_removal(&self) -> bool {
        matches!(self.request, Request::RemoveFile(_))
    }

    /// Does the next step. True if it was the last.
    fn step(&mut self, disk: &mut Disk) -> Result<bool, String> {
        let rewrite = match &self.request {
            Request::ReplaceFile { rewrite, .. } => rewrite,
            Request::MoveFile { from, .. } => {
                disk.rename(from, &self.name)?;
                disk.sync_folder_of(from)?;
                disk.sync_folder_of(&self.name)?;
                return Ok(true);
            }
            Request::AppendFolder(_) => {
                disk.create_folder_of(&self.name)?;
                return Ok(true);
            }
            _ => {
                disk.unlink(&self.name)?;
                return Ok(true);
            }
        };
        self.stage = match self.stage {
            Stage::Write => {
                let old = disk.read(&self.name).unwrap_or_default();
                disk.create_folder_of(&self.name)?;
                let file = disk.create(&self.temp())?;
                // What a configuration includes does not exist here.
                disk.write(file, &rewrite.apply(&old, &mut |_, _| Vec::new()))?;
                Stage::Sync(file)
            }
            Stage::Sync(file) => {
                disk.sync(file)?;
                Stage::Rename
            }
            Stage::Rename => {
                disk.rename(&self.temp(), &self.name)?;
                Stage::SyncFolder
            }
            Stage::SyncFolder => {
                disk.sync_folder_of(&self.name)?;
                return Ok(true);
            }
        };
        Ok(false)
    }
}

impl World {
    /// A node's request. Some are refused.
    pub(crate) fn request(&mut self, node: usize, id: RequestId, request: Request) {
        // A failed rewrite is tried again after up to a minute: the disk is as good as it can be when faults have ended.
        let is_of_file = matches!(request, Request::ReplaceFile { .. } | Request::AppendFolder(_));
        let may_refuse = self.phase == Phase::Chaos || !is_of_file;
        let is_refused = may_refuse && self.chance.percent(self.plan.refusal_percent);
        let name = match &request {
            Request::ReplaceFile { path, .. }
            | Request::RemoveFile(path)
            | Request::MoveFile { to: path, .. }
                if !is_refused =>
            {
                self.processes[node].file_name(path)
            }
            Request::AppendFolder(Some(AppendFolder { folder, name })) if !is_refused => {
                self.processes[node].file_name(&format!("{folder}/{name}"))
            }
            _ => {
                let at = self.now + self.chance.skewed(10, 50_000);
                let refusal = Err("the world is not willing".to_owned());
                self.answer_at(at, node, id, if is_refused { refusal } else { Ok(()) });
                return;
            }
        };
        let jobs = &mut self.processes[node].jobs;
        jobs.push_back(Job { id, request, name, stage: Stage::Write });
        if jobs.len() == 1 {
            self.schedule_job(node);
        }
    }

    fn answer_at(&mut self, at: u64, node: usize, id: RequestId, answer: Result<(), String>) {
        let item = Inbox::Input(Input::Answer { id, answer });
        let incarnation = self.processes[node].incarnation;
        self.queue.push(at, Event::Deliver { node, incarnation, item });
    }

    fn schedule_job(&mut self, node: usize) {
        let process = &self.processes[node];
        let incarnation = process.incarnation;
        let delay = self.chance.skewed(10, 12_000) * process.disk.slowness;
        self.queue.push(self.now + delay, Event::Job { node, incarnation });
    }

    /// The first job takes its next step.
    pub(crate) fn job(&mut self, node: usize) {
        self.maybe_crash_within(node, RARE, 5000);
        let is_hasty = renames_unsynced(self.data_bug());
        let process = &mut self.processes[node];
        let Some(job) = process.jobs.front_mut() else { return };
        if matches!(job.stage, Stage::Sync(_)) && is_hasty {
            job.stage = Stage::Rename;
        }
        let answer = match job.step(&mut process.disk) {
            Ok(false) => return self.schedule_job(node),
            Ok(true) => Ok(()),
            Err(why) => {
                process.disk.remove(&job.temp());
                Err(why)
            }
        };
        let id = job.id;
        process.jobs.pop_front();
        let is_any = !process.jobs.is_empty();
        self.answer_at(self.now, node, id, answer);
        if is_any {
            self.schedule_job(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use russet_engine::io::Rewrite;

    use super::*;
    use crate::chance::Chance;

    fn job(text: &'static [u8]) -> Job {
        let (path, rewrite) = (String::new(), Rewrite::new(move |_, _| text.to_vec()));
        let request = Request::ReplaceFile { path, rewrite };
        Job { id: RequestId(1), request, name: "folder/manifest".to_owned(), stage: Stage::Write }
    }

    #[test]
    fn there_is_the_old_file_or_the_new_one_after_each_step() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..200 {
            let mut disk = Disk::new(false);
            let mut first = job(b"old");
            while !first.step(&mut disk).expect("no fault") {}
            let mut second = job(b"new");
            let steps = seed % 5;
            let ends = (0..steps).map(|_| second.step(&mut disk).expect("no fault"));
            let is_done = ends.last() == Some(true);
            disk.lose_power(&mut Chance::new(seed));
            match disk.read("folder/manifest").as_deref() {
                Some(b"new") => new += 1,
                Some(b"old") if !is_done => old += 1,
                other => panic!("after {steps} steps: {other:?}"),
            }
        }
        assert!(old > 0 && new > 0);
        let mut disk = Disk::new(false);
        let mut only = job(b"text");
        while !only.step(&mut disk).expect("no fault") {}
        let removal = Request::RemoveFile(String::new());
        assert_eq!(Job { request: removal, ..job(b"") }.step(&mut disk), Ok(true));
        assert_eq!(disk.read("folder/manifest"), None);
    }
}
