//! Tests of `snapshot_writer.rs`, with real threads and files.

use rustix::event::{PollFd, PollFlags, poll};

use super::*;
use crate::completions::{Completion, Completions};
use russet_engine::rdb::chunk::ChunkValue;
use russet_engine::types::string::KIND_RAW;

const JOB: JobId = JobId(5);

fn chunk(keys: usize) -> Chunk {
    let mut chunk = Chunk::new(0, 1024);
    for i in 0..keys {
        let key = format!("key{i}");
        chunk.push(KIND_RAW, key.as_bytes(), None, ChunkValue::Bytes(b"v"));
    }
    chunk
}

fn writer() -> (Completions, SnapshotWriter) {
    let completions = Completions::new().unwrap();
    let writer = SnapshotWriter::new(completions.reporter());
    (completions, writer)
}

/// Returns all events up to the last one of the job.
fn until_end(completions: &Completions) -> Vec<SnapshotEvent> {
    let mut events = Vec::new();
    while !matches!(events.last(), Some(SnapshotEvent::Done(_) | SnapshotEvent::Failed(_))) {
        let fd = completions.fd();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
        events.extend(completions.take().map(|c| match c {
            Completion::Input(Input::Snapshot { job: JOB, event }) => event,
            other => panic!("unexpected {other:?}"),
        }));
    }
    events
}

#[test]
fn a_file_is_complete_when_it_appears() {
    let dir = crate::testing::directory("snapshot-file");
    let path = dir.path().join("dump.rdb");
    let (completions, mut writer) = writer();
    let target = SnapshotTarget::File { path: path.to_str().unwrap().into() };
    writer.begin(JOB, target, RdbSettings::default(), vec![("redis-ver", "7.2.4".into())]);
    let len = chunk(9).len_bytes() as u64;
    writer.chunk(JOB, chunk(9));
    writer.end(JOB);
    let events = until_end(&completions);
    let [SnapshotEvent::Consumed(n), SnapshotEvent::Done(size)] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(n, len);
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.starts_with(b"REDIS00"));
    assert_eq!(bytes.len() as u64, size);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(writer.admit(JOB, &events[1]) && !writer.admit(JOB, &events[1]));
}

#[test]
fn a_stream_carries_the_same_bytes_as_a_file() {
    let (completions, mut writer) = writer();
    writer.begin(JOB, SnapshotTarget::Stream, RdbSettings::default(), vec![]);
    writer.chunk(JOB, chunk(3));
    writer.end(JOB);
    let mut bytes = Vec::new();
    let events = until_end(&completions);
    for event in &events {
        if let SnapshotEvent::Bytes(part) = event {
            bytes.extend_from_slice(part);
        }
    }
    assert!(matches!(events.last(), Some(SnapshotEvent::Done(n)) if *n == bytes.len() as u64));
    assert!(bytes.starts_with(b"REDIS00"));
}

#[test]
fn a_missing_directory_is_reported() {
    let (completions, mut writer) = writer();
    let target = SnapshotTarget::File { path: "/nonexistent/dump.rdb".into() };
    writer.begin(JOB, target, RdbSettings::default(), vec![]);
    writer.chunk(JOB, chunk(1));
    let events = until_end(&completions);
    let [SnapshotEvent::Failed(why)] = &events[..] else { panic!("{events:?}") };
    assert!(why.ends_with(": No such file or directory"), "{why}");
}

#[test]
fn only_unused_files_are_removed() {
    let dir = crate::testing::directory("leftovers");
    let names = ["temp-12-3.rdb", "temp-12.rdb", "temp-x-1.rdb", "dump.rdb"];
    for name in names {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    let path = dir.path().join("other.rdb");
    let files = Files::new(path.to_str().unwrap(), JobId(77));
    let temp = files.temp.clone();
    let (_completions, writer) = writer();
    let living = TempFile::create(files, false, writer.temps.clone()).unwrap();
    remove_leftovers(dir.path());
    let left = |name: &str| dir.path().join(name).exists();
    assert_eq!(names.map(left), [false, true, true, true]);
    assert!(temp.exists());
    living.publish().unwrap();
    assert!(path.exists());
}

#[test]
fn nothing_is_left_of_an_aborted_file() {
    let dir = crate::testing::directory("snapshot-abort");
    let path = dir.path().join("dump.rdb");
    let (completions, mut writer) = writer();
    let target = SnapshotTarget::File { path: path.to_str().unwrap().into() };
    writer.begin(JobId(1), target.clone(), RdbSettings::default(), vec![]);
    writer.chunk(JobId(1), chunk(1));
    writer.abort(JobId(1));
    assert!(!writer.admit(JobId(1), &SnapshotEvent::Consumed(1)));
    // Its successor is renamed after the thread of the aborted one has ended.
    writer.begin(JOB, target, RdbSettings::default(), vec![]);
    writer.end(JOB);
    while !completions.take().any(|c| {
        matches!(c, Completion::Input(Input::Snapshot { event: SnapshotEvent::Done(_), .. }))
    }) {
        let fd = completions.fd();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
    }
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["dump.rdb"]);
}

/// `rdb-key-save-delay` of hours: the successor waits for the thread of the aborted one, which must not sleep on.
#[test]
fn a_delayed_snapshot_is_aborted_at_once() {
    let dir = crate::testing::directory("snapshot-delay");
    let path = dir.path().join("dump.rdb");
    let (completions, mut writer) = writer();
    let target = SnapshotTarget::File { path: path.to_str().unwrap().into() };
    let settings = RdbSettings { key_delay: i32::MAX, ..RdbSettings::default() };
    writer.begin(JobId(1), target.clone(), settings, vec![]);
    writer.chunk(JobId(1), chunk(100));
    writer.abort(JobId(1));
    // A negative one is the number of keys that cost a microsecond.
    let settings = RdbSettings { key_delay: i32::MIN, ..RdbSettings::default() };
    writer.begin(JOB, target, settings, vec![]);
    writer.chunk(JOB, chunk(100));
    writer.end(JOB);
    assert!(matches!(until_end(&completions).last(), Some(SnapshotEvent::Done(_))));
    assert!(path.exists());
}

/// Write-back of a window is started when the next one is full, and waited for when the one after it is.
#[test]
fn a_file_is_synced_in_windows_while_it_is_written() {
    let dir = crate::testing::directory("snapshot-windows");
    let (_completions, writer) = writer();
    let create = |job: u64, sync_as_written| {
        let path = dir.path().join("dump.rdb");
        let files = Files::new(path.to_str().unwrap(), JobId(job));
        TempFile::create(files, sync_as_written, writer.temps.clone()).unwrap()
    };
    let megabyte = vec![b'x'; 1 << 20];
    let positions = |mut file: TempFile| {
        let mut positions = Vec::new();
        for _ in 0..13 {
            file.write(&megabyte).unwrap();
            positions.push((file.started >> 20, file.waited >> 20));
        }
        positions.dedup();
        positions
    };
    assert_eq!(positions(create(1, true)), [(0, 0), (4, 0), (8, 4), (12, 8)]);
    assert_eq!(positions(create(2, false)), [(0, 0)]);
}

/// The states in which a thread may be when the process exits, which waits for none.
#[test]
fn an_exit_leaves_no_temporary_file() {
    let dir = crate::testing::directory("snapshot-exit");
    let path = dir.path().join("dump.rdb");
    let count = || fs::read_dir(dir.path()).unwrap().count();
    let (_completions, mut writer) = writer();
    let create = |job: u64, temps: &Temps| {
        let files = Files::new(path.to_str().unwrap(), JobId(job));
        TempFile::create(files, false, temps.clone())
    };
    // One whose thread has not noticed yet that it was aborted, and one that has ended.
    let writing = create(1, &writer.temps).unwrap();
    drop(create(2, &writer.temps).unwrap());
    assert_eq!(count(), 1);
    let temps = writer.temps.clone();
    writer.abort_all();
    assert_eq!(count(), 0);
    // One whose thread begins only now.
    assert!(create(3, &temps).is_err());
    drop(writing);
    assert_eq!(count(), 0);
}

#[test]
fn a_blocked_file_delays_only_those_of_its_path() {
    let dir = crate::testing::directory("snapshot-slow-disk");
    let path = dir.path().join("dump.rdb");
    let base = dir.path().join("base.rdb");
    // A previous thread that does not end simulates a slow disk.
    let (hold, held) = channel::<()>();
    let (completions, mut writer) = writer();
    let slow = std::thread::spawn(move || held.iter().for_each(drop));
    writer.last_files.insert(path.clone(), slow);
    let file = |path: &Path| SnapshotTarget::File { path: path.to_str().unwrap().into() };
    writer.begin(JobId(1), file(&path), RdbSettings::default(), vec![]);
    writer.end(JobId(1));
    for target in [SnapshotTarget::Stream, file(&base)] {
        writer.begin(JOB, target, RdbSettings::default(), vec![]);
        writer.chunk(JOB, chunk(3));
        writer.end(JOB);
        assert!(matches!(until_end(&completions).last(), Some(SnapshotEvent::Done(_))));
    }
    assert!(base.exists() && !path.exists());
    drop(hold);
    writer.last_files.remove(&path).unwrap().join().unwrap();
    assert!(path.exists());
}
