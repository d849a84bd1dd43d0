//! Replays the effects of a node's journal into a second node and compares the data.
//!
//! Sinks such as an append-only file or slot migration rely on effects being complete. The sink here
//! records the stream that a master would send; the mirror is a replica that applies it, so its data
//! changes in no other way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use russet_engine::Node;
use russet_engine::busy::Activity;
use russet_engine::io::Handle;
use russet_engine::journal::{Origin, Sink, Unit};
use russet_engine::types::digest::Digest;
use russet_engine::types::stream::Stream;
use russet_engine::types::{ValueRef, type_of};

use crate::{Driver, peers};

/// The recorded effects that were not applied to the mirror yet.
#[derive(Default)]
struct Recording {
    stream: Vec<u8>,
    selected: Option<u32>,
    position: u64,
    /// Whether the data was replaced, so that effects do not lead to it.
    is_void: bool,
}

struct Recorder(Arc<Mutex<Recording>>);

impl Sink for Recorder {
    fn listens(&self, _origin: Origin) -> bool {
        true
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        let mut recording = self.0.lock().expect("not poisoned");
        let mut count = 0;
        if unit.is_atomic {
            recording.stream.extend(peers::command(&["MULTI"]));
        }
        for (db, command) in unit.iter() {
            if recording.selected != Some(db) {
                recording.stream.extend(peers::command(&["SELECT", &db.to_string()]));
                recording.selected = Some(db);
            }
            recording.stream.extend_from_slice(command);
            count += 1;
        }
        if unit.is_atomic {
            recording.stream.extend(peers::command(&["EXEC"]));
        }
        assert!(count > 0, "a unit has an effect");
        let is_counted = unit.position == recording.position + count;
        assert!(recording.is_void || is_counted, "the position counts effects");
        recording.position = unit.position;
    }

    fn replaced(&mut self) {
        self.0.lock().expect("not poisoned").is_void = true;
    }
}

/// A mirror of a node.
pub struct Mirror {
    driver: Driver,
    link: Handle,
    recording: Arc<Mutex<Recording>>,
}

impl Mirror {
    /// Creates a mirror of an empty node.
    pub fn of(driver: &mut Driver) -> Mirror {
        assert!(contents(&driver.node).is_empty(), "the node must be empty");
        let position = driver.node.journal.position();
        let recording = Arc::new(Mutex::new(Recording { position, ..Recording::default() }));
        driver.node.journal.attach(Box::new(Recorder(recording.clone())));
        let databases = driver.node.data.count();
        let conf = format!("databases {databases}\nproto-max-bulk-len 1gb\n");
        let (mirror, link) = peers::replica(&conf, &[]);
        Mirror { driver: mirror, link, recording }
    }

    /// Applies the recorded effects and describes the first difference between mirror and node.
    ///
    /// Nothing is compared during an EXEC, when the data is ahead of the journal, or after all data
    /// was replaced.
    pub fn difference(&mut self, from: &Driver) -> Option<String> {
        let stream = {
            let mut recording = self.recording.lock().expect("not poisoned");
            if recording.is_void || from.node.parts.busy.is(Activity::Exec) {
                return None;
            }
            std::mem::take(&mut recording.stream)
        };
        self.driver.now.wall_us = from.now.wall_us;
        self.driver.send(self.link, &stream);
        if !self.driver.is_open(self.link) {
            let why = self.driver.log.last().cloned().unwrap_or_default();
            return Some(format!("the mirror cannot follow: {why}"));
        }
        let (ours, theirs) = (contents(&from.node), contents(&self.driver.node));
        let differs = |key: &&(u32, Vec<u8>)| ours.get(*key) != theirs.get(*key);
        let key = ours.keys().chain(theirs.keys()).find(differs)?;
        let (db, name) = (key.0, key.1.escape_ascii());
        Some(format!("db {db} key {name}: {:?}, mirrored {:?}", ours.get(key), theirs.get(key)))
    }
}

/// Describes the groups of a stream, which are no part of its digest, but for the times of consumers.
fn groups(stream: &Stream) -> String {
    let mut text = String::new();
    for (name, group) in &stream.groups {
        let (last, read) = (group.last_id, group.entries_read);
        text += &format!("; group {name:?} at {last}, {read:?} read");
        for (name, consumer) in group.consumers() {
            let ids: Vec<_> = consumer.pending().iter().map(|(id, ())| id.to_string()).collect();
            text += &format!(", {name:?} has {ids:?}");
        }
        for (id, pending) in group.pending() {
            text += &format!(", {id} {pending:?}");
        }
    }
    text
}

/// Returns expiry, digest and groups of each key, by database and key, including expired keys.
pub fn contents(node: &Node) -> BTreeMap<(u32, Vec<u8>), (Option<i64>, String)> {
    let mut found = BTreeMap::new();
    for (number, db) in node.data.dbs() {
        db.table().for_each(&mut |entry| {
            let (ty, mut digest) = (type_of(entry.kind()), Digest::default());
            (ty.digest)(&mut digest, entry.kind(), ValueRef::of(&entry));
            let groups = Stream::of(&entry).map(groups).unwrap_or_default();
            let value = (entry.expiry(), format!("{} {}{groups}", ty.name, digest.hex()));
            found.insert((number, entry.key().to_vec()), value);
        });
    }
    found
}
