//! Sinks of the journal other than replication: their effects lead to the same data, whatever the
//! origin. The transcripts check the same after each step.

use std::sync::{Arc, Mutex};

use russet_driver::Driver;
use russet_driver::mirror::{Mirror, contents};
use russet_driver::peers::{attach, command, replica};
use russet_engine::journal::{Origin, Sink, Unit};

#[test]
fn a_sink_of_a_replica_receives_its_masters_effects() {
    let (mut w, link) = replica("", &[]);
    let mut mirror = Mirror::of(&mut w);
    let lines = [
        "SELECT 3",
        "SET a 1",
        "PEXPIREAT a 1700000001000",
        "MULTI",
        "INCR b",
        "SELECT 0",
        "SET c x",
        "EXEC",
        "SWAPDB 0 3",
        "RENAME b d",
        "PING",
    ];
    for line in lines {
        w.send(link, &command(&line.split(' ').collect::<Vec<_>>()));
        assert_eq!(mirror.difference(&w), None, "{line}");
    }
    // An expired key exists until the master deletes it.
    w.advance_ms(5000);
    assert_eq!((contents(&w.node).len(), mirror.difference(&w)), (3, None));
    w.send(link, &command(&["DEL", "a"]));
    assert_eq!((contents(&w.node).len(), mirror.difference(&w)), (2, None));
}

/// Records the effects, one line each.
struct Lines(Arc<Mutex<Vec<String>>>);

impl Sink for Lines {
    fn listens(&self, _origin: Origin) -> bool {
        true
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        let words = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.lines().skip(2).step_by(2).collect::<Vec<_>>().join(" ")
        };
        let effects: Vec<String> =
            unit.iter().map(|(db, bytes)| format!("{db}: {}", words(bytes))).collect();
        let line = format!("{} {}", unit.position, effects.join(", "));
        self.0.lock().expect("one thread").push(line);
    }

    fn replaced(&mut self) {
        self.0.lock().expect("one thread").push("replaced".to_owned());
    }
}

#[test]
fn effects_before_a_replacement_of_the_data_are_not_passed_to_sinks() {
    let mut w = Driver::new("save \"\"\nenable-debug-command yes\n");
    let lines = Arc::new(Mutex::new(Vec::new()));
    w.node.journal.attach(Box::new(Lines(lines.clone())));
    let take = || std::mem::take(&mut *lines.lock().expect("one thread"));
    let (r, c) = (attach(&mut w), w.connect());
    w.request(c, "SET a 1");
    w.request(c, "DEBUG RELOAD");
    w.request(c, "SELECT 2");
    w.request(c, "APPEND b x");
    assert_eq!(take(), ["1 0: SET a 1", "replaced", "2 2: APPEND b x"]);
    w.take(r);
    // The reload is within a unit; the file contains the effects before it.
    for line in ["MULTI", "INCR n", "DEBUG RELOAD", "INCR n", "DEL b", "EXEC"] {
        w.request(c, line);
    }
    assert_eq!(take(), ["replaced", "5 2: INCR n, 2: DEL b"]);
    assert_eq!(w.take(r).matches("INCR").count(), 2, "to replicas nothing was replaced");
}

#[test]
fn a_full_synchronization_replaces_the_data() {
    let (mut w, link) = replica("", &["old"]);
    let lines = Arc::new(Mutex::new(Vec::new()));
    w.node.journal.attach(Box::new(Lines(lines.clone())));
    w.send(link, &command(&["SET", "a", "1"]));
    w.disconnect(link);
    w.advance_ms(2000);
    let link = russet_driver::peers::link(&w).expect("it comes again");
    russet_driver::peers::connected(&mut w, link);
    let mut bytes = russet_driver::peers::payload(&["new"]);
    bytes.extend(command(&["SET", "b", "2"]));
    w.send(link, &bytes);
    let lines = lines.lock().expect("one thread").clone();
    assert_eq!(lines, ["1 0: SET a 1", "replaced", "2 0: SET b 2"]);
}
