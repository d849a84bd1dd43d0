//! Tests of `append_file.rs`, with real files and with a disk that fills up, fails and hangs.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russet_engine::io::{AppendEvent, AppendStep, Input, JobId};
use rustix::event::{PollFd, PollFlags, poll};

use crate::append_disk::Disk;
use crate::append_file::AppendFiles;
use crate::completions::{Completion, Completions};

const JOB: JobId = JobId(7);

/// An event loop that only appends.
struct Bench {
    completions: Completions,
    files: AppendFiles,
    events: VecDeque<AppendEvent>,
}

impl Bench {
    fn new() -> Bench {
        let completions = Completions::new().unwrap();
        let files = AppendFiles::new(completions.reporter());
        Bench { completions, files, events: VecDeque::new() }
    }

    /// Opens a file on a disk in memory that has these bytes.
    fn on(disk: &Fake) -> Bench {
        let mut bench = Bench::new();
        let (disk, len) = (disk.clone(), disk.bytes().len() as u64);
        bench.files.start(JOB, PathBuf::from("/fake"), move |_| Ok((disk, len)));
        assert_eq!(bench.next(), AppendEvent::Opened);
        bench
    }

    fn step(&mut self, step: AppendStep) {
        self.files.step(JOB, step, 0);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.step(AppendStep::Write(bytes.to_vec()));
    }

    fn take(&mut self) {
        self.events.extend(self.completions.take().map(|completion| match completion {
            Completion::Input(Input::Append { job: JOB, event }) => event,
            other => panic!("unexpected {other:?}"),
        }));
    }

    /// Waits for the next event.
    fn next(&mut self) -> AppendEvent {
        while self.events.is_empty() {
            let fd = self.completions.fd();
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
            self.take();
        }
        self.events.pop_front().unwrap()
    }

    /// Closes the file, waits for its end and returns all events that are left.
    fn end(mut self) -> Vec<AppendEvent> {
        self.files.finish();
        self.take();
        self.events.into()
    }
}

/// What a disk in memory does with a call. Without orders it works.
enum Order {
    /// Takes so many bytes of the next write.
    Takes(usize),
    /// Fails with this error number.
    Fails(i32),
}

/// What a call of the latched kind waits for, after it has reported that it has begun.
type Opened = Arc<Mutex<Receiver<()>>>;

#[derive(Default)]
struct Contents {
    bytes: Vec<u8>,
    writes: VecDeque<Order>,
    cuts: VecDeque<Order>,
    syncs: VecDeque<Order>,
    /// Calls so far.
    calls: Vec<&'static str>,
    latch: Option<(&'static str, Sender<()>, Opened)>,
}

/// A disk in memory.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Contents>>);

/// Holds the calls of one kind up.
struct Latch {
    begun: Receiver<()>,
    open: Sender<()>,
}

impl Latch {
    /// Waits until a call has begun.
    fn begun(&self) {
        self.begun.recv().unwrap();
    }

    /// Lets one call go on.
    fn open(&self) {
        self.open.send(()).unwrap();
    }
}

impl Fake {
    fn with(change: impl FnOnce(&mut Contents)) -> Fake {
        let fake = Fake::default();
        change(&mut fake.0.lock().unwrap());
        fake
    }

    fn change(&self, change: impl FnOnce(&mut Contents)) {
        change(&mut self.0.lock().unwrap());
    }

    /// From now on, calls of this kind wait.
    fn latch(&self, call: &'static str) -> Latch {
        let ((begin, begun), (open, opened)) = (channel(), channel());
        self.change(|disk| disk.latch = Some((call, begin, Arc::new(Mutex::new(opened)))));
        Latch { begun, open }
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    fn calls(&self, call: &str) -> usize {
        self.0.lock().unwrap().calls.iter().filter(|of| **of == call).count()
    }

    fn pass_latch(&self, call: &'static str) {
        let latch = self.0.lock().unwrap().latch.clone().filter(|latch| latch.0 == call);
        if let Some((_, begin, opened)) = latch {
            // Both fail when the test has dropped the latch: then calls go on.
            let _ = begin.send(());
            let _ = opened.lock().unwrap().recv();
        }
        self.change(|disk| disk.calls.push(call));
    }
}

impl Disk for Fake {
    fn write(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.pass_latch("write");
        let mut disk = self.0.lock().unwrap();
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        match disk.writes.pop_front() {
            Some(Order::Fails(error)) => return Err(io::Error::from_raw_os_error(error)),
            Some(Order::Takes(most)) => bytes.truncate(most),
            None => {}
        }
        let offset = offset as usize;
        assert!(offset <= disk.bytes.len(), "no hole is left");
        let end = disk.bytes.len().max(offset + bytes.len());
        disk.bytes.resize(end, 0);
        disk.bytes[offset..offset + bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.pass_latch("cut");
        let mut disk = self.0.lock().unwrap();
        if let Some(Order::Fails(error)) = disk.cuts.pop_front() {
            return Err(io::Error::from_raw_os_error(error));
        }
        disk.bytes.truncate(len as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.pass_latch("sync");
        match self.0.lock().unwrap().syncs.pop_front() {
            Some(Order::Fails(error)) => Err(io::Error::from_raw_os_error(error)),
            _ => Ok(()),
        }
    }
}

fn full() -> AppendEvent {
    AppendEvent::WriteFailed("No space left on device".into())
}

#[test]
fn thousands_of_steps_are_carried_out_in_order() {
    let dir = crate::testing::directory("append-order");
    let path = dir.path().join("appendonlydir/x.incr.aof");
    let mut bench = Bench::new();
    bench.step(AppendStep::Open { path: path.to_str().unwrap().into(), len: 0, sure: 0 });
    let mut expected = Vec::new();
    for number in 0..20_000_u32 {
        let bytes = number.to_le_bytes().repeat(number as usize % 40);
        expected.extend_from_slice(&bytes);
        bench.write(&bytes);
        if number % 7 == 0 {
            bench.step(AppendStep::Sync);
        }
    }
    bench.step(AppendStep::Sync);
    bench.step(AppendStep::Close { seal: Vec::new() });
    let total = expected.len() as u64;
    let events = bench.end();
    assert_eq!(events[0], AppendEvent::Opened);
    let (mut written, mut synced) = (0, 0);
    for event in &events[1..] {
        match *event {
            AppendEvent::Written(bytes) => {
                assert!(bytes > written);
                written = bytes;
            }
            AppendEvent::Synced(bytes) => {
                assert!(bytes >= synced && bytes <= written, "{bytes} of {written} written");
                synced = bytes;
            }
            ref other => panic!("{other:?}"),
        }
    }
    assert_eq!((written, synced), (total, total));
    assert!(std::fs::read(&path).unwrap() == expected);
}

#[test]
fn a_file_goes_on_behind_the_bytes_that_it_has() {
    let dir = crate::testing::directory("append-again");
    let path = dir.path().join("file");
    std::fs::write(&path, "first, torn").unwrap();
    let mut bench = Bench::new();
    bench.step(AppendStep::Open { path: path.to_str().unwrap().into(), len: 7, sure: 7 });
    bench.write(b"second");
    assert_eq!(bench.next(), AppendEvent::Opened);
    assert_eq!(bench.next(), AppendEvent::Written(6));
    assert_eq!(bench.end(), []);
    assert_eq!(std::fs::read(&path).unwrap(), b"first, second");
}

#[test]
fn a_file_that_cannot_be_opened_is_reported_and_the_steps_are_dropped() {
    let mut bench = Bench::new();
    bench.step(AppendStep::Open { path: "/nonexistent/folder/file".into(), len: 0, sure: 0 });
    bench.write(b"bytes");
    let AppendEvent::OpenFailed(why) = bench.next() else { panic!("it does not exist") };
    assert!(why.contains("/nonexistent/folder/file") && why.ends_with("No such file or directory"));
    bench.step(AppendStep::Sync);
    bench.step(AppendStep::Close { seal: Vec::new() });
    assert_eq!(bench.end(), []);
}

#[test]
fn what_is_queued_meanwhile_is_one_write_and_one_sync() {
    let disk = Fake::default();
    let mut bench = Bench::on(&disk);
    let latch = disk.latch("write");
    bench.write(b"one ");
    latch.begun();
    for _ in 0..3 {
        bench.write(b"more ");
        bench.step(AppendStep::Sync);
    }
    latch.open();
    assert_eq!(bench.next(), AppendEvent::Written(4));
    latch.begun();
    latch.open();
    assert_eq!(bench.next(), AppendEvent::Written(19));
    assert_eq!(bench.next(), AppendEvent::Synced(19));
    assert_eq!((disk.calls("write"), disk.calls("sync")), (2, 1));
    // Nothing new: the disk is not asked again.
    bench.step(AppendStep::Sync);
    assert_eq!(bench.next(), AppendEvent::Synced(19));
    assert_eq!(disk.calls("sync"), 1);
    assert_eq!(bench.end(), []);
}

#[test]
fn commits_wait_for_the_sync_that_runs_and_are_reported_once() {
    let disk = Fake::default();
    let mut bench = Bench::on(&disk);
    let latch = disk.latch("sync");
    bench.step(AppendStep::Commit(b"one".to_vec()));
    latch.begun();
    for _ in 0..3 {
        bench.step(AppendStep::Commit(b"more".to_vec()));
    }
    latch.open();
    assert_eq!(bench.next(), AppendEvent::Synced(3));
    latch.begun();
    assert_eq!((disk.calls("write"), disk.calls("sync")), (2, 1));
    // A write that is awaited does not wait, and has those before it written.
    bench.step(AppendStep::Commit(b"last".to_vec()));
    bench.write(b"!");
    assert_eq!(bench.next(), AppendEvent::Written(20));
    latch.open();
    assert_eq!(bench.next(), AppendEvent::Synced(15));
    latch.begun();
    latch.open();
    assert_eq!(bench.next(), AppendEvent::Synced(20));
    assert_eq!(bench.end(), []);
}

#[test]
fn a_commit_that_could_not_be_written_is_reported_when_it_is() {
    let disk = Fake::with(|contents| contents.writes.push_back(Order::Fails(28)));
    let mut bench = Bench::on(&disk);
    bench.step(AppendStep::Commit(b"one".to_vec()));
    assert!(matches!(bench.next(), AppendEvent::WriteFailed(_)));
    bench.step(AppendStep::Retry);
    assert_eq!(bench.next(), AppendEvent::Written(3));
    assert_eq!(bench.next(), AppendEvent::Synced(3));
    assert_eq!(bench.end(), []);
}

#[test]
fn writes_go_on_during_a_slow_sync_and_further_syncs_are_merged() {
    let disk = Fake::default();
    let mut bench = Bench::on(&disk);
    let latch = disk.latch("sync");
    bench.write(b"0");
    bench.step(AppendStep::Sync);
    assert_eq!(bench.next(), AppendEvent::Written(1));
    latch.begun();
    for number in 2..100 {
        bench.write(b"x");
        bench.step(AppendStep::Sync);
        assert_eq!(bench.next(), AppendEvent::Written(number));
    }
    assert_eq!(disk.calls("sync"), 0, "the first sync still runs");
    latch.open();
    assert_eq!(bench.next(), AppendEvent::Synced(1));
    latch.begun();
    latch.open();
    assert_eq!(bench.next(), AppendEvent::Synced(99));
    assert_eq!((disk.calls("write"), disk.calls("sync")), (99, 2));
    assert_eq!(bench.end(), []);
}

/// Under load there is always something to write.
#[test]
fn a_sync_does_not_wait_until_there_is_nothing_to_write() {
    let disk = Fake::default();
    let mut bench = Bench::on(&disk);
    let latch = disk.latch("write");
    bench.write(b"0");
    bench.step(AppendStep::Sync);
    latch.begun();
    bench.write(b"1");
    latch.open();
    assert_eq!(bench.next(), AppendEvent::Written(1));
    // The other thread is in the second write.
    latch.begun();
    assert_eq!(bench.next(), AppendEvent::Synced(1));
    latch.open();
    assert_eq!(bench.next(), AppendEvent::Written(2));
    assert_eq!(bench.end(), []);
}

#[test]
fn a_full_disk_keeps_whole_writes_and_the_rest_is_written_at_a_retry() {
    let disk = Fake::with(|disk| disk.bytes = b"base ".to_vec());
    let mut bench = Bench::on(&disk);
    let latch = disk.latch("write");
    bench.write(b"first ");
    latch.begun();
    disk.change(|disk| {
        disk.writes = [Order::Takes(6), Order::Takes(10), Order::Fails(libc::ENOSPC)].into();
    });
    for word in ["second ", "third ", "fourth "] {
        bench.write(word.as_bytes());
        bench.step(AppendStep::Sync);
    }
    drop(latch);
    assert_eq!(bench.next(), AppendEvent::Written(6));
    // A short write of ten bytes: one whole word and three bytes, which are cut off.
    assert_eq!(bench.next(), AppendEvent::Written(13));
    assert_eq!(bench.next(), full());
    assert_eq!(bench.next(), AppendEvent::Synced(13), "the sync behind the whole one");
    assert_eq!(disk.bytes(), b"base first second ");
    // Still full; nothing is tried without being asked.
    disk.change(|disk| disk.writes = [Order::Fails(libc::ENOSPC)].into());
    bench.write(b"fifth ");
    bench.step(AppendStep::Retry);
    assert_eq!(bench.next(), full());
    let calls = disk.calls("write");
    bench.write(b"sixth");
    bench.step(AppendStep::Retry);
    assert_eq!(bench.next(), AppendEvent::Written(37));
    assert_eq!(bench.next(), AppendEvent::Synced(37));
    assert_eq!(disk.calls("write"), calls + 1);
    assert_eq!(disk.bytes(), b"base first second third fourth fifth sixth");
    bench.step(AppendStep::Retry);
    assert_eq!(bench.end(), [], "a retry of what has not failed does nothing");
}

#[test]
fn what_is_written_is_synced_while_the_disk_is_full() {
    let disk = Fake::with(|_| {});
    let mut bench = Bench::on(&disk);
    bench.write(b"written ");
    assert_eq!(bench.next(), AppendEvent::Written(8));
    disk.change(|disk| disk.writes = [Order::Fails(libc::ENOSPC)].into());
    bench.write(b"not");
    assert_eq!(bench.next(), full());
    bench.step(AppendStep::Sync);
    assert_eq!(bench.next(), AppendEvent::Synced(8));
    bench.step(AppendStep::Retry);
    assert_eq!(bench.next(), AppendEvent::Written(11));
    assert_eq!(bench.next(), AppendEvent::Synced(11), "the same sync, of the rest");
    assert_eq!(bench.end(), []);
}

#[test]
fn a_torn_end_that_cannot_be_cut_off_is_cut_off_before_the_next_write() {
    let disk = Fake::with(|disk| {
        disk.writes = [Order::Takes(5), Order::Fails(libc::EIO)].into();
        disk.cuts = [Order::Fails(libc::EIO), Order::Fails(libc::EROFS)].into();
    });
    let mut bench = Bench::on(&disk);
    bench.write(b"0123456789");
    assert_eq!(bench.next(), AppendEvent::WriteFailed("Input/output error".into()));
    assert_eq!(disk.bytes(), b"01234");
    bench.step(AppendStep::Retry);
    assert_eq!(bench.next(), AppendEvent::WriteFailed("Read-only file system".into()));
    assert_eq!(disk.calls("write"), 2);
    bench.step(AppendStep::Retry);
    assert_eq!(bench.next(), AppendEvent::Written(10));
    assert_eq!((disk.bytes(), disk.calls("cut")), (b"0123456789".to_vec(), 3));
    assert_eq!(bench.end(), []);
}

#[test]
fn after_a_failed_sync_none_is_claimed_any_more() {
    let disk = Fake::with(|disk| disk.syncs = [Order::Fails(libc::EIO)].into());
    let mut bench = Bench::on(&disk);
    bench.write(b"lost");
    bench.step(AppendStep::Sync);
    assert_eq!(bench.next(), AppendEvent::Written(4));
    assert_eq!(bench.next(), AppendEvent::SyncFailed("Input/output error".into()));
    bench.write(b"more");
    bench.step(AppendStep::Sync);
    assert_eq!(bench.next(), AppendEvent::Written(8));
    bench.step(AppendStep::Close { seal: Vec::new() });
    assert_eq!(bench.end(), []);
    assert_eq!(disk.calls("sync"), 1);
}

#[test]
fn interrupted_calls_are_repeated() {
    let disk = Fake::with(|disk| {
        disk.writes = [Order::Fails(libc::EINTR), Order::Takes(1)].into();
        disk.syncs = [Order::Fails(libc::EINTR)].into();
    });
    let mut bench = Bench::on(&disk);
    bench.write(b"");
    bench.write(b"bytes");
    bench.step(AppendStep::Sync);
    assert_eq!(bench.next(), AppendEvent::Written(5));
    assert_eq!(bench.next(), AppendEvent::Synced(5));
    assert_eq!(bench.end(), []);
    assert_eq!((disk.bytes(), disk.calls("write")), (b"bytes".to_vec(), 3));
}

#[test]
fn a_write_of_nothing_does_not_fail() {
    let disk = Fake::default();
    let mut bench = Bench::on(&disk);
    bench.write(b"");
    bench.step(AppendStep::Sync);
    assert_eq!(bench.next(), AppendEvent::Synced(0));
    assert_eq!(bench.end(), []);
    assert_eq!(disk.calls("write"), 0);
}

#[test]
fn an_exit_waits_for_what_was_given() {
    let disk = Fake::default();
    let mut bench = Bench::on(&disk);
    let latch = disk.latch("write");
    bench.write(b"one ");
    latch.begun();
    bench.write(b"two");
    bench.step(AppendStep::Sync);
    let opener = std::thread::spawn(move || {
        latch.open();
        latch.begun();
        latch.open();
    });
    let events = bench.end();
    opener.join().unwrap();
    let expected =
        [AppendEvent::Written(4), AppendEvent::Written(7), AppendEvent::Synced(7)].to_vec();
    assert_eq!((events, disk.bytes()), (expected, b"one two".to_vec()));
}

#[test]
fn an_exit_tries_a_full_disk_once_more() {
    let disk = Fake::with(|disk| disk.writes = [Order::Fails(libc::ENOSPC)].into());
    let mut bench = Bench::on(&disk);
    bench.write(b"bytes");
    assert_eq!(bench.next(), full());
    assert_eq!(bench.end(), [AppendEvent::Written(5)]);
    assert_eq!(disk.bytes(), b"bytes");
    // … and no more than once.
    let disk = Fake::with(|disk| {
        disk.writes = [Order::Fails(libc::ENOSPC), Order::Fails(libc::ENOSPC)].into();
    });
    let mut bench = Bench::on(&disk);
    bench.write(b"bytes");
    assert_eq!(bench.next(), full());
    assert_eq!(bench.end(), [full()]);
    assert_eq!((disk.bytes(), disk.calls("write")), (Vec::new(), 2));
}

#[test]
fn an_exit_does_not_wait_for_ever() {
    for call in ["write", "sync"] {
        let disk = Fake::default();
        let mut bench = Bench::on(&disk);
        let latch = disk.latch(call);
        bench.write(b"bytes");
        bench.step(AppendStep::Sync);
        latch.begun();
        bench.files.finish_within(Duration::ZERO);
        assert_eq!(disk.calls(call), 0, "it still hangs");
    }
}

#[test]
fn files_have_threads_of_their_own() {
    let (slow, quick) = (Fake::default(), Fake::default());
    let mut bench = Bench::on(&slow);
    let latch = slow.latch("write");
    bench.write(b"slow");
    latch.begun();
    let mut other = Bench::on(&quick);
    other.write(b"quick");
    assert_eq!(other.next(), AppendEvent::Written(5));
    latch.open();
    assert_eq!(bench.next(), AppendEvent::Written(4));
}
