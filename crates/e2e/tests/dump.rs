//! DUMP and RESTORE between processes, and in the stream of a stock master.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use russet_e2e::{Client, Program, Server, Setup, Value};

fn start(program: &Program) -> Server {
    Setup::new(program).conf("enable-debug-command yes").start()
}

/// Whether a server has a command.
fn has_command(client: &mut Client, name: &str) -> bool {
    client.run(&format!("COMMAND INFO {name}")).items() != [Value::Nil]
}

/// Sets keys of each type that both servers have, with values of every encoding; returns the keys.
fn fill(client: &mut Client, other: &mut Client) -> Vec<String> {
    for (key, value) in [("int", "12"), ("large", "-9223372036854775808"), ("short", "text")] {
        client.ok(&format!("SET {key} {value}"));
    }
    client.command(&["SET", "empty", ""]);
    client.command(&["SET", "repeated", &"ab".repeat(50_000)]);
    let bytes: Vec<u8> = (0..70_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    client.command(&[b"SET".as_slice(), b"binary", &bytes]);
    if has_command(client, "hset") && has_command(other, "hset") {
        client.run("HSET hash a 1 b text c -5");
        for i in 0..600 {
            client.run(&format!("HSET fields field:{i} {i}"));
        }
        client.command(&["HSET", "values", "a", &"x".repeat(1000), "b", ""]);
    }
    if has_command(client, "rpush") && has_command(other, "rpush") {
        client.run("RPUSH list a 1 b");
        for i in 0..3000 {
            client.run(&format!("RPUSH elements element:{i} {i}"));
        }
        client.command(&["RPUSH", "long", "a", &"x".repeat(30_000), "b", ""]);
        client.run("SADD integers 1 -70000 3");
        client.run("SADD members a 1 b");
        for i in 0..600 {
            client.run(&format!("SADD many member:{i} {i}"));
        }
        client.run("ZADD scores 1 a -2.5 b inf c 0 d");
        for i in 0..600 {
            client.run(&format!("ZADD ranks {}.5 member:{i}", i % 70));
        }
        client.command(&["ZADD", "wide", "1", &"x".repeat(1000), "2", ""]);
    }
    if has_command(client, "xadd") && has_command(other, "xadd") {
        for i in 1..1500 {
            client.run(&format!("XADD entries 5-{i} name value:{i} other {i}"));
        }
        client.run("XADD entries 6-1 another name");
        client.command(&["XADD", "entries", "6-2", "long", &"x".repeat(9000), "", ""]);
        client.run("XDEL entries 5-3 5-700 6-1");
        client.run("XTRIM entries MAXLEN 1400");
        client.run("XGROUP CREATE entries group 0");
        client.run("XGROUP CREATE entries idle $");
        client.run("XREADGROUP GROUP group one COUNT 300 STREAMS entries >");
        client.run("XREADGROUP GROUP group two COUNT 300 STREAMS entries >");
        client.run("XACK entries group 5-200 5-400");
        client.run("XGROUP CREATE void group $ MKSTREAM");
    }
    let mut keys: Vec<String> = client.run("KEYS *").items().iter().map(Value::text).collect();
    keys.sort();
    keys
}

fn dump(client: &mut Client, key: &str) -> Vec<u8> {
    match client.run(&format!("DUMP {key}")) {
        Value::Bulk(payload) => payload,
        other => panic!("{key}: {other:?}"),
    }
}

fn digest(client: &mut Client, key: &str) -> String {
    client.run(&format!("DEBUG DIGEST-VALUE {key}")).items()[0].text()
}

/// Copies all keys from one server to the other and back.
fn there_and_back(here: &Program, there: &Program) {
    let (from, to) = (start(here), start(there));
    let (mut from, mut to) = (from.client(), to.client());
    for key in fill(&mut from, &mut to) {
        let payload = dump(&mut from, &key);
        let restore = |client: &mut Client, name: &str, payload: &[u8]| {
            let reply = client.command(&[b"RESTORE".as_slice(), name.as_bytes(), b"0", payload]);
            assert_eq!(reply.text(), "OK", "{key}");
        };
        restore(&mut to, &key, &payload);
        let expected = digest(&mut from, &key);
        assert_eq!(digest(&mut to, &key), expected, "{key}");
        let encoding = format!("OBJECT ENCODING {key}");
        // Before 7.2 a short list is a quicklist, and a short set of texts a table.
        let is_newer = here == there || !["list", "members"].contains(&&*key);
        assert!(!is_newer || to.text(&encoding) == from.text(&encoding), "{key}");
        let back = format!("back:{key}");
        let payload = dump(&mut to, &key);
        restore(&mut from, &back, &payload);
        assert_eq!(digest(&mut from, &back), expected, "{key}");
        // Groups are no part of the digest.
        if key == "entries" {
            let pending = |client: &mut Client, key: &str| {
                ["", " - + 1000"].map(|range| client.run(&format!("XPENDING {key} group{range}")))
            };
            let [summary, list] = pending(&mut from, &key);
            assert_eq!(summary.items()[0].int(), 598);
            for (client, name) in [(&mut to, &key), (&mut from, &back)] {
                let [theirs, entries] = pending(client, name);
                assert_eq!(theirs, summary);
                assert_eq!(entries.items().len(), list.items().len());
            }
        }
    }
}

#[test]
fn copied_and_restored_values_are_equal() {
    let program = Program::under_test();
    there_and_back(&program, &program);
    let server = start(&program);
    let (mut client, mut other) = (server.client(), server.client());
    for key in fill(&mut client, &mut other) {
        assert_eq!(client.run(&format!("COPY {key} copy")).int(), 1, "{key}");
        assert_eq!(digest(&mut client, "copy"), digest(&mut client, &key), "{key}");
        // The order of a table's elements is not part of the value.
        assert_eq!(dump(&mut client, "copy").len(), dump(&mut client, &key).len(), "{key}");
        client.run("DEL copy");
    }
}

mod with_peers {
    use super::*;

    #[test]
    fn values_move_between_ours_and_stock() {
        let ours = Program::under_test();
        there_and_back(&ours, &Program::Stock);
        there_and_back(&Program::Stock, &ours);
    }

    /// RESTORE has the same effect on master and replica, in both combinations.
    #[test]
    fn restored_values_reach_replicas() {
        let ours = Program::under_test();
        for (master, replica) in [(&ours, &Program::Stock), (&Program::Stock, &ours)] {
            let setup = |program| Setup::new(program).conf("enable-debug-command yes");
            let master = setup(master).conf("repl-diskless-sync-delay 0").start();
            let replica = setup(replica).replica_of(&master).start();
            replica.wait_for_link();
            let mut client = master.client();
            let mut other = replica.client();
            for key in fill(&mut client, &mut other) {
                let payload = dump(&mut client, &key);
                for (name, ttl, options) in [
                    ("plain", "0", &[][..]),
                    (&key, "600000", &["REPLACE", "IDLETIME", "5"]),
                    ("absolute", "99999999999999", &["ABSTTL"]),
                    ("plain", "1", &["ABSTTL", "REPLACE"]),
                    ("past", "1", &["ABSTTL"]),
                ] {
                    let mut words = vec![b"RESTORE".as_slice(), name.as_bytes(), ttl.as_bytes()];
                    words.push(&payload);
                    words.extend(options.iter().map(|word| word.as_bytes()));
                    assert_eq!(client.command(&words).text(), "OK", "{key} to {name}");
                }
                replica.wait_for_offset_of(&master);
                for name in [&key, "absolute", "plain", "past"] {
                    assert_eq!(digest(&mut other, name), digest(&mut client, name), "{key}");
                    let expiry = format!("PEXPIRETIME {name}");
                    assert_eq!(other.text(&expiry), client.text(&expiry), "{key} to {name}");
                }
                client.run("DEL absolute");
            }
            replica.wait_for_offset_of(&master);
            assert_eq!(other.text("DBSIZE"), client.text("DBSIZE"));
        }
    }
}
