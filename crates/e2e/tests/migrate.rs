//! MIGRATE between processes, ours and stock ones in all combinations.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use russet_e2e::{Client, Program, Server, Setup, Value, wait_until};

fn start(program: &Program) -> Server {
    Setup::new(program).conf("enable-debug-command yes").start()
}

/// Sets keys of each type that all servers have, with values of every encoding; returns the keys.
fn fill(client: &mut Client) -> Vec<String> {
    for (key, value) in [("int", "12"), ("large", "-9223372036854775808"), ("short", "text")] {
        client.ok(&format!("SET {key} {value}"));
    }
    client.command(&["SET", "empty", ""]);
    client.command(&["SET", "", "of the empty key"]);
    client.command(&["SET", "repeated", &"ab".repeat(50_000)]);
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    client.command(&[b"SET".as_slice(), b"binary", &bytes]);
    client.run("HSET hash a 1 b text c -5");
    for i in 0..2000 {
        client.run(&format!("HSET fields field:{i} {i}"));
    }
    client.command(&["HSET", "values", "a", &"x".repeat(1000), "b", ""]);
    client.run("SET expiring 1 PX 600000");
    let mut keys: Vec<String> = client.run("KEYS *").items().iter().map(Value::text).collect();
    keys.sort();
    keys
}

fn digests(client: &mut Client, keys: &[String]) -> Vec<String> {
    let words = ["DEBUG", "DIGEST-VALUE"].into_iter().chain(keys.iter().map(String::as_str));
    client.command(&words.collect::<Vec<_>>()).items().iter().map(Value::text).collect()
}

/// Sends MIGRATE of keys to a server's database 3.
fn migrate(client: &mut Client, to: &Server, options: &[&str], keys: &[String]) -> String {
    let port = to.port().to_string();
    let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "3", "30000"];
    words.extend(options);
    words.push("KEYS");
    words.extend(keys.iter().map(String::as_str));
    client.command(&words).text()
}

/// Moves all keys from one server to another, and back one by one.
fn there_and_back(here: &Program, there: &Program) {
    let (from, to) = (start(here), start(there));
    let (mut client, mut other) = (from.client(), to.client());
    other.ok("SELECT 3");
    let keys = fill(&mut client);
    let expected = digests(&mut client, &keys);
    assert_eq!(migrate(&mut client, &to, &["COPY"], &keys), "OK");
    assert_eq!(digests(&mut other, &keys), expected);
    assert_eq!(digests(&mut client, &keys), expected);
    let reply = migrate(&mut client, &to, &[], &keys);
    assert!(reply.starts_with("ERR Target instance replied with error: BUSYKEY"), "{reply}");
    assert_eq!(migrate(&mut client, &to, &["REPLACE"], &keys), "OK");
    assert_eq!(client.run("DBSIZE").int(), 0);
    assert_eq!(digests(&mut other, &keys), expected);
    let ttl = other.run("PTTL expiring").int();
    assert!((1..=600_000).contains(&ttl), "{ttl}");
    assert_eq!(migrate(&mut client, &to, &[], &keys), "NOKEY");
    let port = from.port().to_string();
    for key in &keys {
        let reply = other.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "30000"]);
        assert_eq!(reply.text(), "OK", "{key}");
    }
    assert_eq!(other.run("DBSIZE").int(), 0);
    assert_eq!(digests(&mut client, &keys), expected);
}

#[test]
fn keys_move_there_and_back() {
    let ours = Program::under_test();
    there_and_back(&ours, &ours);
    there_and_back(&ours, &Program::Stock);
    there_and_back(&Program::Stock, &ours);
}

#[test]
fn expiring_fields_move_where_they_are_known() {
    let (from, ours, stock) =
        (start(&Program::Russet), start(&Program::Russet), start(&Program::Stock));
    let (mut client, mut other) = (from.client(), ours.client());
    client.run("HSET h a 1 b 2");
    client.run("HPEXPIRE h 600000 FIELDS 1 a");
    let reply = migrate(&mut client, &stock, &[], &["h".to_owned()]);
    assert!(reply.starts_with("ERR Target instance replied with error: "), "{reply}");
    assert_eq!(client.run("HLEN h").int(), 2);
    assert_eq!(migrate(&mut client, &ours, &[], &["h".to_owned()]), "OK");
    other.ok("SELECT 3");
    let ttl = other.run("HPTTL h FIELDS 1 a").items()[0].int();
    assert!((1..=600_000).contains(&ttl), "{ttl}");
}

#[test]
fn passwords_are_given_and_a_stopped_target_is_an_error() {
    for target in [Program::under_test(), Program::Stock] {
        let from = start(&Program::Russet);
        let to = Setup::new(&target).conf("requirepass secret").start();
        // It says that a password is needed also while it loads.
        let mut admin = to.client();
        admin.ok("AUTH secret");
        wait_until("it has loaded", || admin.run("PING").text() == "PONG");
        let mut client = from.client();
        client.ok("SET a 1");
        let key = ["a".to_owned()];
        let reply = migrate(&mut client, &to, &[], &key);
        assert!(reply.contains("error: NOAUTH"), "{reply}");
        let reply = migrate(&mut client, &to, &["AUTH", "wrong"], &key);
        assert!(reply.contains("error: WRONGPASS"), "{reply}");
        assert_eq!(migrate(&mut client, &to, &["COPY", "AUTH", "secret"], &key), "OK");
        let user = ["REPLACE", "AUTH2", "default", "secret"];
        assert_eq!(migrate(&mut client, &to, &user, &key), "OK");
        client.ok("SET a 2");
        to.signal(rustix::process::Signal::STOP);
        let port = to.port().to_string();
        let reply = client.run(&format!("MIGRATE 127.0.0.1 {port} a 3 100 AUTH secret"));
        assert_eq!(reply.text(), "IOERR error or timeout reading to target instance");
        // Others are served while it waits.
        let words = ["MIGRATE", "127.0.0.1", &port, "a", "3", "60000", "REPLACE", "AUTH", "secret"];
        client.send(&russet_e2e::client::encode(&words)).expect("it is sent");
        wait_until("the migration begins", || from.info_field("clients", "blocked_clients") == "1");
        from.client().ok("SET b 1");
        to.signal(rustix::process::Signal::CONT);
        assert_eq!(client.read_reply().expect("a reply").text(), "OK");
        assert_eq!(client.run("EXISTS a b").int(), 1);
    }
}

#[test]
fn moved_keys_are_gone_on_replicas_and_after_a_restart() {
    let mut from = Setup::new(&Program::Russet).conf("appendonly yes").start();
    let replica = Setup::new(&Program::Stock).replica_of(&from).start();
    let to = start(&Program::Russet);
    replica.wait_for_link();
    let mut client = from.client();
    client.run("MSET a 1 b 2 c 3");
    let (mut other, both) = (to.client(), ["a".to_owned(), "b".to_owned()]);
    assert_eq!(migrate(&mut client, &to, &[], &both), "OK");
    replica.wait_for_offset_of(&from);
    assert_eq!(replica.client().run("EXISTS a b c").int(), 1);
    from.kill();
    from.start_again();
    assert_eq!(from.client().run("EXISTS a b c").int(), 1);
    other.ok("SELECT 3");
    assert_eq!(other.run("EXISTS a b c").int(), 2);
}
