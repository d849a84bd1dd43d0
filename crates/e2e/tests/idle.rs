//! Ten thousand idle clients.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

use russet_e2e::{Client, Program, Setup, wait_until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Number of clients to open, if the system permits.
const CLIENTS: u64 = 10_000;

/// Additional descriptors that either process needs.
const SPARE: u64 = 200;

/// Raises our own limit, which the server inherits, and returns the possible number of clients.
fn clients_that_fit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(CLIENTS + SPARE);
    let raised = Rlimit { current: Some(maximum), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit everybody may");
    CLIENTS.min(maximum.saturating_sub(SPARE))
}

#[test]
fn ten_thousand_idle_clients_do_not_slow_down_others() {
    let count = clients_that_fit();
    assert!(count >= 1000, "the hard limit of descriptors leaves room for only {count} clients");
    let setup = Setup::new(&Program::under_test());
    let server = setup.conf(&format!("maxclients {}", count + 50)).start();
    let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();

    let mut busy = server.client();
    let connected = |busy: &mut Client| {
        let text = busy.text("INFO clients");
        let line = text.lines().find_map(|l| l.strip_prefix("connected_clients:"));
        line.expect("the field is there").parse::<u64>().expect("it is a number")
    };
    wait_until("all are accepted", || connected(&mut busy) > count);
    for i in 0..1000 {
        busy.ok(&format!("SET key:{i} {i}"));
    }
    for client in clients.iter_mut().step_by(500) {
        assert_eq!(client.text("PING"), "PONG");
    }
    drop(clients);
    wait_until("all have left", || connected(&mut busy) < 10);
    assert_eq!(busy.text("GET key:7"), "7");
}
