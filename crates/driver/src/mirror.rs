//! A node that is fed by another one's journal: if a sink is given every effect, it holds the same data.
//!
//! This is what an append-only file, slot migration and whatever else listens rely on. The sink writes what a master would
//! send; the mirror follows it as a replica does, so nothing happens to its data by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use russet_engine::Node;
use russet_engine::busy::With;
use russet_engine::io::Handle;
use russet_engine::journal::{Origin, Sink, Unit};
use russet_engine::types::digest::Digest;
use russet_engine::types::{ValueRef, type_of};

use crate::{Driver, peers};

/// What was recorded and not yet followed.
#[derive(Default)]
struct Tape {
    stream: Vec<u8>,
    selected: Option<u32>,
    position: u64,
    /// The data was replaced: no stream leads to it from where the mirror is.
    is_void: bool,
}

struct Recorder(Arc<Mutex<Tape>>);

impl Sink for Recorder {
    fn listens(&self, _origin: Origin) -> bool {
        true
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        let mut tape = self.0.lock().expect("nobody panics while holding it");
        let mut count = 0;
        if unit.is_atomic {
            tape.stream.extend(peers::command(&["MULTI"]));
        }
        for (db, command) in unit.iter() {
            if tape.selected != Some(db) {
                tape.stream.extend(peers::command(&["SELECT", &db.to_string()]));
                tape.selected = Some(db);
            }
            tape.stream.extend_from_slice(command);
            count += 1;
        }
        if unit.is_atomic {
            tape.stream.extend(peers::command(&["EXEC"]));
        }
        assert!(count > 0, "a unit has an effect");
        assert!(tape.is_void || unit.position == tape.position + count, "it counts effects");
        tape.position = unit.position;
    }

    fn replaced(&mut self) {
        self.0.lock().expect("nobody panics while holding it").is_void = true;
    }
}

/// See the module.
pub struct Mirror {
    driver: Driver,
    link: Handle,
    tape: Arc<Mutex<Tape>>,
}

impl Mirror {
    /// A mirror of a node that holds nothing yet.
    pub fn of(driver: &mut Driver) -> Mirror {
        assert!(contents(&driver.node).is_empty(), "the mirror begins with nothing");
        let position = driver.node.journal.position();
        let tape = Arc::new(Mutex::new(Tape { position, ..Tape::default() }));
        driver.node.journal.attach(Box::new(Recorder(tape.clone())));
        let databases = driver.node.data.count();
        let conf = format!("databases {databases}\nproto-max-bulk-len 1gb\n");
        let (mirror, link) = peers::replica(&conf, &[]);
        Mirror { driver: mirror, link, tape }
    }

    /// Brings the mirror level with the node, and says where they differ. In the middle of an EXEC the data is
    /// ahead of the journal, and once all of it was replaced no effects lead to it: then nothing is compared.
    pub fn difference(&mut self, from: &Driver) -> Option<String> {
        let stream = {
            let mut tape = self.tape.lock().expect("nobody panics while holding it");
            if tape.is_void || from.node.parts.busy.is(With::Exec) {
                return None;
            }
            std::mem::take(&mut tape.stream)
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

/// What a node holds: by database and key the expiry, and a digest of the value. Keys past their time are there too.
pub fn contents(node: &Node) -> BTreeMap<(u32, Vec<u8>), (Option<i64>, String)> {
    let mut found = BTreeMap::new();
    for (number, db) in node.data.dbs() {
        db.table().for_each(&mut |entry| {
            let (ty, mut digest) = (type_of(entry.kind()), Digest::default());
            (ty.digest)(&mut digest, entry.kind(), ValueRef::of(&entry));
            let value = (entry.expiry(), format!("{} {}", ty.name, digest.hex()));
            found.insert((number, entry.key().to_vec()), value);
        });
    }
    found
}
