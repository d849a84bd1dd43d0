//! Files that are appended to: steps are carried out at once, or when a test says so, and what of a file would survive a
//! loss of power is known.
//!
//! ```text
//!   step ──▶ waiting ──▶ file ─ Written        held until Driver::do_appends(steps)
//!   Sync ───────────────▶ syncs ─ Synced       held until Driver::finish_syncs()
//! ```

use std::collections::{BTreeMap, VecDeque};

use russet_engine::io::{AppendEvent, AppendStep, Input, JobId};

use crate::Files;

/// The threads of files that are appended to.
#[derive(Default)]
pub struct Appends {
    /// Whether steps wait for [`crate::Driver::do_appends`].
    pub held: bool,
    /// Whether syncs wait for [`crate::Driver::finish_syncs`], while later steps are carried out.
    pub syncs_held: bool,
    /// The error of each opening; none: success.
    pub open_fails_with: Option<String>,
    /// The error of each write; none: success.
    pub write_fails_with: Option<String>,
    /// The errors of the next syncs.
    pub sync_errors: VecDeque<String>,
    /// The file whose syncs fail.
    pub bad_path: Option<String>,
    /// Each file that was opened, with the length from which on it was appended to.
    pub opened: Vec<(String, u64)>,
    /// Length of what would survive a loss of power, by path.
    pub synced: BTreeMap<String, usize>,
    /// Steps carried out so far, without those that failed.
    pub writes: usize,
    /// See `writes`.
    pub syncs: usize,
    waiting: VecDeque<(JobId, AppendStep)>,
    pending_syncs: VecDeque<(JobId, u64)>,
    open: BTreeMap<JobId, Open>,
}

/// An open file.
struct Open {
    path: String,
    /// Length when it was opened.
    base: usize,
    /// Bytes written since then.
    written: u64,
    /// Steps that wait for a write that has failed; the first is that write.
    stuck: VecDeque<AppendStep>,
    has_failed_sync: bool,
}

impl Appends {
    /// Paths of the files that are open.
    pub fn paths(&self) -> Vec<&str> {
        self.open.values().map(|file| file.path.as_str()).collect()
    }

    /// Number of steps that wait, but for syncs that have begun.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Number of syncs that have begun.
    pub fn pending_syncs(&self) -> usize {
        self.pending_syncs.len()
    }

    pub(crate) fn step(
        &mut self,
        job: JobId,
        step: AppendStep,
        files: &mut Files,
        inputs: &mut VecDeque<Input>,
    ) {
        self.waiting.push_back((job, step));
        if !self.held {
            self.carry_out(usize::MAX, files, inputs);
        }
    }

    /// Carries out so many of the waiting steps.
    pub(crate) fn carry_out(
        &mut self,
        steps: usize,
        files: &mut Files,
        inputs: &mut VecDeque<Input>,
    ) {
        for _ in 0..steps.min(self.waiting.len()) {
            let Some((job, step)) = self.waiting.pop_front() else { return };
            let mut events = Vec::new();
            self.carry_out_step(job, step, files, &mut events);
            inputs.extend(events.into_iter().map(|event| Input::Append { job, event }));
        }
    }

    /// Finishes all syncs that have begun.
    pub(crate) fn finish_syncs(&mut self, inputs: &mut VecDeque<Input>) {
        while let Some((job, covered)) = self.pending_syncs.pop_front() {
            let event = self.finish_sync(job, covered);
            inputs.extend(event.map(|event| Input::Append { job, event }));
        }
    }

    fn carry_out_step(
        &mut self,
        job: JobId,
        step: AppendStep,
        files: &mut Files,
        events: &mut Vec<AppendEvent>,
    ) {
        if let AppendStep::Open { path, len, .. } = step {
            assert!(!self.open.contains_key(&job), "a job has one file");
            events.push(self.open(job, path, len, files));
            return;
        }
        let Some(file) = self.open.get_mut(&job) else {
            // It could not be opened.
            return;
        };
        match step {
            AppendStep::Open { .. } => {}
            AppendStep::Retry | AppendStep::Close { .. } => {
                for stuck in std::mem::take(&mut file.stuck) {
                    self.carry_out_step(job, stuck, files, events);
                }
                if let AppendStep::Close { seal } = step {
                    self.close(job, seal, files, events);
                }
            }
            AppendStep::Commit(bytes) => {
                for step in [AppendStep::Write(bytes), AppendStep::Sync] {
                    self.carry_out_step(job, step, files, events);
                }
            }
            step if !file.stuck.is_empty() => file.stuck.push_back(step),
            AppendStep::Write(bytes) => match &self.write_fails_with {
                Some(why) => {
                    events.push(AppendEvent::WriteFailed(why.clone()));
                    file.stuck.push_back(AppendStep::Write(bytes));
                }
                None => {
                    self.writes += 1;
                    file.written += bytes.len() as u64;
                    let contents = files.entry(file.path.clone()).or_default();
                    contents.extend_from_slice(&bytes);
                    let end = file.base + usize::try_from(file.written).expect("it is in memory");
                    assert_eq!(contents.len(), end, "nobody else changes '{}'", file.path);
                    events.push(AppendEvent::Written(file.written));
                }
            },
            AppendStep::Sync if file.has_failed_sync => {}
            AppendStep::Sync if self.syncs_held => {
                self.pending_syncs.push_back((job, file.written));
            }
            AppendStep::Sync => {
                let covered = file.written;
                events.extend(self.finish_sync(job, covered));
            }
        }
    }

    fn open(&mut self, job: JobId, path: String, len: u64, files: &mut Files) -> AppendEvent {
        let base = usize::try_from(len).expect("it is in memory");
        let is = files.get(&path).map_or(0, Vec::len);
        if let Some(why) = &self.open_fails_with {
            return AppendEvent::OpenFailed(why.clone());
        }
        if is < base {
            return AppendEvent::OpenFailed(format!(
                "Can't append to '{path}': it has {is} bytes, {len} were expected"
            ));
        }
        files.entry(path.clone()).or_default().truncate(base);
        self.opened.push((path.clone(), len));
        self.synced.insert(path.clone(), base);
        let stuck = VecDeque::new();
        self.open.insert(job, Open { path, base, written: 0, stuck, has_failed_sync: false });
        AppendEvent::Opened
    }

    /// Ends a file. A sync that has begun ends first.
    fn close(
        &mut self,
        job: JobId,
        seal: Vec<u8>,
        files: &mut Files,
        events: &mut Vec<AppendEvent>,
    ) {
        while let Some(at) = self.pending_syncs.iter().position(|(of, _)| *of == job) {
            let covered = self.pending_syncs.remove(at).map_or(0, |(_, covered)| covered);
            events.extend(self.finish_sync(job, covered));
        }
        if !seal.is_empty() {
            let covered = self.open.get(&job).map_or(0, |file| file.written);
            events.extend(self.finish_sync(job, covered));
        }
        let Some(file) = self.open.remove(&job) else { return };
        if !seal.is_empty() && !file.has_failed_sync && self.write_fails_with.is_none() {
            let contents = files.entry(file.path.clone()).or_default();
            contents.extend_from_slice(&seal);
            self.synced.insert(file.path, contents.len());
        }
    }

    fn finish_sync(&mut self, job: JobId, covered: u64) -> Option<AppendEvent> {
        let file = self.open.get_mut(&job).filter(|file| !file.has_failed_sync)?;
        let bad = self.bad_path.as_ref().filter(|path| **path == file.path);
        let error = bad.map(|_| "Input/output error".to_owned());
        if let Some(why) = error.or_else(|| self.sync_errors.pop_front()) {
            file.has_failed_sync = true;
            return Some(AppendEvent::SyncFailed(why));
        }
        self.syncs += 1;
        let end = file.base + usize::try_from(covered).expect("it is in memory");
        let synced = self.synced.entry(file.path.clone()).or_default();
        *synced = end.max(*synced);
        Some(AppendEvent::Synced(covered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId(3);

    #[derive(Default)]
    struct Bench {
        appends: Appends,
        files: Files,
        inputs: VecDeque<Input>,
    }

    impl Bench {
        /// Gives a step and returns the events that it leads to.
        fn step(&mut self, step: AppendStep) -> Vec<AppendEvent> {
            self.appends.step(JOB, step, &mut self.files, &mut self.inputs);
            self.events()
        }

        fn write(&mut self, text: &str) -> Vec<AppendEvent> {
            self.step(AppendStep::Write(text.into()))
        }

        fn open(&mut self, len: u64) -> Vec<AppendEvent> {
            self.step(AppendStep::Open { path: "folder/file".to_owned(), len, sure: len })
        }

        fn events(&mut self) -> Vec<AppendEvent> {
            let of = |input| match input {
                Input::Append { job: JOB, event } => event,
                other => panic!("{other:?}"),
            };
            self.inputs.drain(..).map(of).collect()
        }

        fn text(&self) -> &str {
            std::str::from_utf8(&self.files["folder/file"]).expect("tests write text")
        }
    }

    #[test]
    fn steps_are_carried_out_at_once() {
        let mut bench = Bench::default();
        bench.files.insert("folder/file".to_owned(), b"old, torn".to_vec());
        assert_eq!(bench.open(4), [AppendEvent::Opened]);
        assert_eq!(bench.write(" new"), [AppendEvent::Written(4)]);
        assert_eq!(bench.appends.synced["folder/file"], 4);
        assert_eq!(bench.step(AppendStep::Sync), [AppendEvent::Synced(4)]);
        assert_eq!((bench.text(), bench.appends.synced["folder/file"]), ("old, new", 8));
        assert_eq!(bench.step(AppendStep::Close { seal: Vec::new() }), []);
        assert!(bench.appends.paths().is_empty());
        assert!(matches!(bench.open(9)[..], [AppendEvent::OpenFailed(_)]));
        assert_eq!(bench.write("dropped"), []);
    }

    #[test]
    fn a_test_decides_when_a_step_is_done() {
        let mut bench = Bench::default();
        bench.open(0);
        (bench.appends.held, bench.appends.syncs_held) = (true, true);
        for word in ["one ", "two "] {
            assert_eq!(bench.write(word), []);
            assert_eq!(bench.step(AppendStep::Sync), []);
        }
        let carry_out = |bench: &mut Bench, steps| {
            bench.appends.carry_out(steps, &mut bench.files, &mut bench.inputs);
            bench.events()
        };
        assert_eq!(carry_out(&mut bench, 3), [AppendEvent::Written(4), AppendEvent::Written(8)]);
        assert_eq!((bench.text(), bench.appends.pending_syncs()), ("one two ", 1));
        bench.appends.finish_syncs(&mut bench.inputs);
        assert_eq!(bench.events(), [AppendEvent::Synced(4)]);
        assert_eq!(carry_out(&mut bench, 9), []);
        assert_eq!(bench.appends.waiting(), 0);
        bench.appends.held = false;
        assert_eq!(bench.step(AppendStep::Close { seal: Vec::new() }), [AppendEvent::Synced(8)]);
    }

    #[test]
    fn what_cannot_be_written_waits_and_a_failed_sync_stays_so() {
        let mut bench = Bench::default();
        bench.open(0);
        let full = || AppendEvent::WriteFailed("full".to_owned());
        bench.appends.write_fails_with = Some("full".to_owned());
        assert_eq!(bench.write("one "), [full()]);
        assert_eq!(bench.write("two "), []);
        assert_eq!(bench.step(AppendStep::Sync), []);
        assert_eq!(bench.step(AppendStep::Retry), [full()]);
        bench.appends.write_fails_with = None;
        bench.appends.sync_errors.push_back("broken".to_owned());
        let failed = AppendEvent::SyncFailed("broken".to_owned());
        let events = bench.step(AppendStep::Retry);
        assert_eq!(events, [AppendEvent::Written(4), AppendEvent::Written(8), failed]);
        assert_eq!(bench.step(AppendStep::Sync), []);
        assert_eq!((bench.text(), bench.appends.synced["folder/file"]), ("one two ", 0));
    }
}
