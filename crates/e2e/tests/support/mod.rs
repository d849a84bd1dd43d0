//! Shared by several test files, each of which uses a part of it.
#![allow(dead_code, reason = "each test file compiles this module and uses a part of it")]

pub mod daemon;

use russet_e2e::{Program, Server, Setup, Value};

/// A chain of replicas: all follow writes; a cut in the middle is resumed without a full transfer,
/// also after a crash.
pub fn chain(programs: &[Program]) {
    let setup = |program| Setup::new(program).conf("repl-diskless-sync-delay 0");
    let mut servers: Vec<Server> = vec![setup(&programs[0]).start()];
    for program in &programs[1..] {
        let server = setup(program).replica_of(servers.last().expect("one at least")).start();
        server.wait_for_link();
        servers.push(server);
    }
    let mut client = servers[0].client();
    for i in 0..1000 {
        client.ok(&format!("SET key:{i} {i}"));
    }
    client.ok("SET volatile value PX 600000");
    client.ok("SELECT 3");
    client.ok("SET other database");
    all_converge(&servers);

    let full = servers[0].info_field("stats", "sync_full");
    client.ok("SELECT 0");
    servers[0].client().run("CLIENT KILL TYPE replica");
    client.ok("SET after cut");
    assert_eq!(client.run("DEL key:1 key:2").int(), 2);
    all_converge(&servers);
    assert_eq!(servers[0].info_field("stats", "sync_full"), full, "a cut link heals partially");

    let middle = servers.len() / 2;
    servers[middle].kill();
    client.ok("SET while down");
    servers[middle].start_again();
    all_converge(&servers);
}

/// Waits until each server has applied everything that the first has sent, and compares all data.
pub fn all_converge(servers: &[Server]) {
    let (head, rest) = servers.split_first().expect("one at least");
    for server in rest {
        server.wait_for_offset_of(head);
    }
    for server in rest {
        assert_same_data(head, server);
    }
}

/// Compares keys, values and expiries of two servers, in the databases that tests use.
pub fn assert_same_data(left: &Server, right: &Server) {
    for database in [0, 3] {
        let (left, right) = (contents(left, database), contents(right, database));
        assert_eq!(left.len(), right.len(), "keys in database {database}");
        for (a, b) in left.iter().zip(&right) {
            assert_eq!(a, b, "database {database}");
        }
    }
}

/// Returns all keys of a database with their values and absolute expiries in milliseconds, sorted.
pub fn contents(server: &Server, database: u32) -> Vec<(String, String, i64)> {
    let mut client = server.client();
    client.ok(&format!("SELECT {database}"));
    let mut keys: Vec<String> = client.run("KEYS *").items().iter().map(Value::text).collect();
    keys.sort();
    let mut rows = Vec::with_capacity(keys.len());
    for key in keys {
        let value = client.command(&["GET", &key]).text();
        let expiry = client.command(&["PEXPIRETIME", &key]).int();
        rows.push((key, value, expiry));
    }
    rows
}
