//! Expiration of fields: hiding, active expiry, propagation, and files.

use std::collections::BTreeMap;

use proptest::prelude::*;
use russet_driver::Driver;
use russet_driver::mirror::Mirror;
use russet_driver::peers::{attach, command, replica};
use russet_engine::Node;
use russet_engine::io::Handle;
use russet_engine::types::hash::HashRef;

const COMPACT: &str = "save \"\"\nenable-debug-command yes\n";
const TABLES: &str = "save \"\"\nenable-debug-command yes\nhash-max-listpack-entries 0\nnotify-keyspace-events Kgh\n";

fn new(conf: &str) -> (Driver, Handle) {
    let mut w = Driver::new(conf);
    let c = w.connect();
    (w, c)
}

/// Fields with their values and expiration times.
type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

/// Hashes by key.
fn hashes(node: &Node) -> BTreeMap<Vec<u8>, Fields> {
    let mut found = BTreeMap::new();
    node.data.db(0).table().for_each(&mut |entry| {
        let mut fields = BTreeMap::new();
        HashRef::of(&entry).expect("only hashes are set").each(&mut |field| {
            let value = (field.value_text().into_owned(), field.expiry);
            fields.insert(field.name_text().into_owned(), value);
        });
        found.insert(entry.key().to_vec(), fields);
    });
    found
}

#[test]
fn expired_fields_are_hidden() {
    for conf in [COMPACT, TABLES] {
        let (mut w, c) = new(conf);
        w.request(c, "DEBUG SET-ACTIVE-EXPIRE 0");
        w.request(c, "HSET h a 1 b 2 c 3");
        w.request(c, "HPEXPIRE h 100 FIELDS 2 a b");
        w.advance_ms(100);
        assert_eq!(w.request(c, "HLEN h"), ":3\r\n", "it is not past yet");
        w.advance_ms(1);
        assert_eq!(w.request(c, "HLEN h"), ":1\r\n");
        assert_eq!(w.request(c, "HGET h a"), "$-1\r\n");
        assert_eq!(w.request(c, "HMGET h a c"), "*2\r\n$-1\r\n$1\r\n3\r\n");
        assert_eq!(w.request(c, "HEXISTS h a"), ":0\r\n");
        assert_eq!(w.request(c, "HSTRLEN h a"), ":0\r\n");
        assert_eq!(w.request(c, "HGETALL h"), "*2\r\n$1\r\nc\r\n$1\r\n3\r\n");
        assert_eq!(w.request(c, "HKEYS h"), "*1\r\n$1\r\nc\r\n");
        assert_eq!(w.request(c, "HVALS h"), "*1\r\n$1\r\n3\r\n");
        assert_eq!(w.request(c, "HSCAN h 0"), "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nc\r\n$1\r\n3\r\n");
        assert_eq!(w.request(c, "HTTL h FIELDS 2 a c"), "*2\r\n:-2\r\n:-1\r\n");
        assert_eq!(w.request(c, "HPERSIST h FIELDS 1 a"), "*1\r\n:-2\r\n");
        for _ in 0..20 {
            assert_eq!(w.request(c, "HRANDFIELD h"), "$1\r\nc\r\n");
            assert_eq!(w.request(c, "HRANDFIELD h 5"), "*1\r\n$1\r\nc\r\n");
            assert_eq!(w.request(c, "HRANDFIELD h -2"), "*2\r\n$1\r\nc\r\n$1\r\nc\r\n");
        }
        assert_eq!(hashes(&w.node)[&b"h"[..]].len(), 2, "HPERSIST deleted the one that it named");
        assert_eq!(w.request(c, "HINCRBY h b 5"), ":5\r\n", "it counts from nothing");
        assert_eq!(w.request(c, "HTTL h FIELDS 1 b"), "*1\r\n:-1\r\n");
        assert_eq!(w.request(c, "HLEN h"), ":2\r\n");
    }
}

#[test]
fn a_hash_of_hidden_fields_is_empty() {
    for conf in [COMPACT, TABLES] {
        let (mut w, c) = new(conf);
        w.request(c, "DEBUG SET-ACTIVE-EXPIRE 0");
        w.request(c, "HSET h a 1 b 2");
        w.request(c, "HPEXPIRE h 100 FIELDS 2 a b");
        w.advance_ms(101);
        assert_eq!(w.request(c, "HLEN h"), ":0\r\n");
        assert_eq!(w.request(c, "HGETALL h"), "*0\r\n");
        assert_eq!(w.request(c, "HRANDFIELD h"), "$-1\r\n");
        assert_eq!(w.request(c, "HRANDFIELD h -3"), "*0\r\n");
        assert_eq!(w.request(c, "HDEL h a b"), ":0\r\n");
        assert_eq!(w.request(c, "EXISTS h"), ":0\r\n");
        w.request(c, "HSETEX h PX 100 FIELDS 1 a 1");
        w.advance_ms(101);
        assert_eq!(w.request(c, "HSETEX h FXX FIELDS 1 a 1"), ":0\r\n");
        assert_eq!(w.request(c, "EXISTS h"), ":0\r\n", "it deleted the field that it named");
    }
}

#[test]
fn masters_delete_expired_fields_and_propagate_that() {
    for (conf, fields) in [(COMPACT, 5), (TABLES, 5), (TABLES, 5000)] {
        let mut w = Driver::new(conf);
        let r = attach(&mut w);
        let c = w.connect();
        for field in 0..fields {
            w.send(
                c,
                &command(&["HSETEX", "h", "PX", "100", "FIELDS", "1", &field.to_string(), "v"]),
            );
        }
        w.request(c, "HSET h stays 1");
        w.take(r);
        w.advance_ms(5000);
        assert_eq!(hashes(&w.node)[&b"h"[..]].len(), 1);
        let stream = w.take(r);
        for field in 0..fields {
            assert!(stream.contains(&format!("\r\n{field}\r\n")), "{field} of {fields}");
        }
        assert!(!stream.contains("HLEN"), "reads are not propagated");
        w.request(c, "HPEXPIRE h 100 FIELDS 1 stays");
        w.advance_ms(5000);
        assert_eq!(hashes(&w.node).len(), 0);
        assert_eq!(w.node.data.allocated_bytes(), 0);
        assert_eq!(w.node.data.stats.expired_elements, fields + 1);
    }
}

#[test]
fn events_of_expired_fields() {
    for (conf, fields) in [("notify-keyspace-events Kgh\n", 3), (TABLES, 3), (TABLES, 3000)] {
        let mut w = Driver::new(conf);
        let c = w.connect();
        let subscriber = w.connect();
        for field in 0..fields {
            w.send(
                c,
                &command(&["HSETEX", "h", "PX", "100", "FIELDS", "1", &field.to_string(), "v"]),
            );
        }
        w.request(subscriber, "PSUBSCRIBE *");
        w.advance_ms(5000);
        let text = w.take(subscriber);
        let events: Vec<&str> = text.split("\r\n").skip(8).step_by(9).collect();
        let (last, before) = events.split_last().expect("events");
        assert_eq!(*last, "del");
        assert!(!before.is_empty() && before.iter().all(|event| *event == "hexpired"));
    }
}

/// What replicas make of the deletions that come before a command is what the master makes.
#[test]
fn a_hash_of_expired_fields_loses_its_own_expiry() {
    for conf in [COMPACT, TABLES] {
        for line in ["HSET h a 3 b 4", "HINCRBY h a 1", "HSETNX h a 1", "HDEL h a"] {
            let (mut w, c) = new(conf);
            w.request(c, "DEBUG SET-ACTIVE-EXPIRE 0");
            let mut mirror = Mirror::of(&mut w);
            w.request(c, "HSET h a 1 b 2");
            w.request(c, "HPEXPIRE h 100 FIELDS 2 a b");
            w.request(c, "PEXPIRE h 100000");
            w.advance_ms(101);
            // The other field is removed before, or by the command itself.
            w.request(c, "HDEL h b");
            w.request(c, line);
            assert_eq!(mirror.difference(&w), None, "{line}");
            let answer = if line.starts_with("HDEL") { ":-2\r\n" } else { ":-1\r\n" };
            assert_eq!(w.request(c, "PTTL h"), answer, "{line}");
        }
    }
}

/// Replicas hide expired fields, and delete them when the master propagates that.
#[test]
fn replicas_hide_expired_fields_until_the_master_deletes_them() {
    for conf in [COMPACT, TABLES] {
        let (mut w, link) = replica(conf, &[]);
        let at = w.now.wall_us / 1000 + 100;
        w.send(link, &command(&["HSET", "h", "a", "1", "b", "2"]));
        w.send(link, &command(&["HPEXPIREAT", "h", &at.to_string(), "FIELDS", "1", "a"]));
        w.advance_ms(1000);
        let c = w.connect();
        assert_eq!(w.request(c, "HGETALL h"), "*2\r\n$1\r\nb\r\n$1\r\n2\r\n");
        assert_eq!(w.request(c, "HLEN h"), ":1\r\n");
        assert_eq!(hashes(&w.node)[&b"h"[..]].len(), 2);
        // The master's HDEL comes after another command.
        w.send(link, &command(&["HINCRBY", "h", "a", "5"]));
        assert_eq!(hashes(&w.node)[&b"h"[..]][&b"a"[..]], (b"6".to_vec(), Some(at)));
        w.send(link, &command(&["HDEL", "h", "a"]));
        assert_eq!(hashes(&w.node)[&b"h"[..]].len(), 1);
    }
}

#[test]
fn files_contain_expiration_times() {
    for (conf, fields) in [(COMPACT, 5), (TABLES, 5), (TABLES, 5000)] {
        let (mut w, c) = new(conf);
        w.request(c, "SET other 1");
        w.request(c, "SAVE");
        assert!(w.files["dump.rdb"].starts_with(b"REDIS0010"));
        w.request(c, "DEL other");
        for field in 0..fields {
            let px = (60_000 + field).to_string();
            w.send(
                c,
                &command(&["HSETEX", "h", "PX", &px, "FIELDS", "1", &field.to_string(), "v"]),
            );
        }
        w.request(c, "HSET h stays 1");
        w.request(c, "HSET plain a 1");
        let (before, digest) = (hashes(&w.node), w.request(c, "DEBUG DIGEST"));
        assert_eq!(w.request(c, "SAVE"), "+OK\r\n");
        assert!(w.files["dump.rdb"].starts_with(b"REDIS0012"));
        assert_eq!(w.request(c, "DEBUG RELOAD"), "+OK\r\n");
        assert_eq!(hashes(&w.node), before);
        let mut again = Driver::with_files(conf, w.files);
        let c = again.connect();
        assert_eq!(hashes(&again.node), before);
        assert_eq!(again.request(c, "DEBUG DIGEST"), digest);
        again.advance_ms(120_000);
        assert_eq!(again.request(c, "HGETALL h"), "*2\r\n$5\r\nstays\r\n$1\r\n1\r\n");
        assert_eq!(hashes(&again.node)[&b"h"[..]].len(), 1, "what was loaded is swept too");
        assert_eq!(again.node.data.db(0).len_with_expiring_elements(), 0, "{conf}{fields}");
        assert_eq!(again.request(c, "SAVE"), "+OK\r\n");
        assert!(again.files["dump.rdb"].starts_with(b"REDIS0010"));
    }
}

/// The digest is that of redis-server 7.0.
#[test]
fn digests_do_not_depend_on_the_encoding() {
    for conf in [COMPACT, TABLES] {
        let (mut w, c) = new(conf);
        w.request(c, "HSET small a 1 b two");
        let digest = w.request(c, "DEBUG DIGEST-VALUE small");
        assert_eq!(digest, "*1\r\n+aaec2dd6dd5d0e6fbdce75b84b029b773e920b00\r\n");
        w.request(c, "HEXPIRE small 100 FIELDS 1 a");
        assert_ne!(w.request(c, "DEBUG DIGEST-VALUE small"), digest);
        w.request(c, "HPERSIST small FIELDS 1 a");
        assert_eq!(w.request(c, "DEBUG DIGEST-VALUE small"), digest);
    }
}

/// A command with few different keys, fields and times, so that they interact.
fn a_command() -> impl Strategy<Value = String> {
    let key = || (0..2_u8).prop_map(|n| format!("h{n}"));
    let field = || (0..4_u8).prop_map(|n| format!("f{n}"));
    let fields = || {
        prop::collection::vec(field(), 1..4)
            .prop_map(|names| format!("FIELDS {} {}", names.len(), names.join(" ")))
    };
    let pairs = || {
        prop::collection::vec((field(), 0..100_u8), 1..4).prop_map(|pairs| {
            let words: Vec<String> = pairs.iter().map(|(f, v)| format!("{f} {v}")).collect();
            (pairs.len(), words.join(" "))
        })
    };
    let condition = || prop_oneof![5 => Just(""), 1 => Just("NX"), 1 => Just("XX"), 1 => Just("GT"), 1 => Just("LT")];
    let time = || {
        prop_oneof![
            3 => (0..50_u8).prop_map(|ms| format!("PX {ms}")),
            1 => Just("PXAT 1".to_owned()),
            1 => Just("EX 1".to_owned()),
            1 => Just(String::new()),
        ]
    };
    prop_oneof![
        3 => (key(), pairs()).prop_map(|(key, (_, pairs))| format!("HSET {key} {pairs}")),
        1 => (key(), field()).prop_map(|(key, field)| format!("HSETNX {key} {field} 1")),
        1 => (key(), field()).prop_map(|(key, field)| format!("HINCRBY {key} {field} 7")),
        1 => (key(), field()).prop_map(|(key, field)| format!("HINCRBYFLOAT {key} {field} 0.5")),
        1 => (key(), field()).prop_map(|(key, field)| format!("HDEL {key} {field} f0")),
        4 => (key(), 0..50_u8, condition(), fields())
            .prop_map(|(key, ms, condition, fields)| format!("HPEXPIRE {key} {ms} {condition} {fields}")),
        1 => (key(), fields()).prop_map(|(key, fields)| format!("HEXPIREAT {key} 1 {fields}")),
        1 => (key(), fields()).prop_map(|(key, fields)| format!("HPERSIST {key} {fields}")),
        2 => (key(), prop_oneof![time(), Just("PERSIST".to_owned())], fields())
            .prop_map(|(key, time, fields)| format!("HGETEX {key} {time} {fields}")),
        1 => (key(), fields()).prop_map(|(key, fields)| format!("HGETDEL {key} {fields}")),
        4 => (
            key(),
            prop_oneof![3 => Just(""), 1 => Just("FNX"), 1 => Just("FXX")],
            prop_oneof![time(), Just("KEEPTTL".to_owned())],
            pairs(),
        )
            .prop_map(|(key, exist, time, (count, pairs))| {
                format!("HSETEX {key} {exist} {time} FIELDS {count} {pairs}")
            }),
        1 => key().prop_map(|key| format!("DEL {key}")),
        1 => key().prop_map(|key| format!("COPY {key} h2 REPLACE")),
        1 => key().prop_map(|key| format!("HLEN {key}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Replicas have the same data regardless of when fields expire; encodings and active expiry do
    /// not affect replies.
    #[test]
    fn effects_lead_to_the_same_data(steps in prop::collection::vec((a_command(), 0..30_u64), 1..60)) {
        let mut answers: Vec<Vec<String>> = Vec::new();
        for (conf, sweeps) in [(COMPACT, true), (TABLES, true), (COMPACT, false), (TABLES, false)] {
            let mut w = Driver::new(conf);
            let mut mirror = Mirror::of(&mut w);
            let r = attach(&mut w);
            let (mut follower, link) = replica(conf, &[]);
            let c = w.connect();
            if !sweeps {
                w.request(c, "DEBUG SET-ACTIVE-EXPIRE 0");
            }
            let mut replies = Vec::new();
            for (step, ms) in &steps {
                let words: Vec<&str> = step.split_whitespace().collect();
                w.send(c, &command(&words));
                let reply = w.take(c);
                prop_assert!(!reply.starts_with('-') || reply.contains("not an integer"), "{}: {}", step, reply);
                // Whether a key exists depends on active expiry.
                if !step.starts_with("COPY") && !step.starts_with("DEL") {
                    replies.push(format!("{step}: {reply}"));
                }
                w.advance_ms(*ms);
                prop_assert_eq!(mirror.difference(&w), None);
                let stream = w.take_raw(r);
                follower.send(link, &stream);
                prop_assert_eq!(hashes(&follower.node), hashes(&w.node), "after {}", step);
            }
            answers.push(replies);
        }
        for other in &answers[1..] {
            for (at, (other, first)) in other.iter().zip(&answers[0]).enumerate() {
                prop_assert_eq!(other, first, "reply {}", at);
            }
        }
    }
}
