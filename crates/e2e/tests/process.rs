//! Properties of the process: threads, memory, descriptors, its supervisor.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use russet_e2e::server::Folder;
use russet_e2e::{Program, Server, Setup, wait_until};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// Whether the allocator's background thread is running.
fn purges_in_background(server: &Server) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    threads.flatten().any(|thread| {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        name.starts_with("jemalloc_bg")
    })
}

#[test]
fn the_allocator_has_a_background_thread_by_default() {
    let program = Program::under_test();
    let server = Server::start(&program);
    wait_until("the thread is there", || purges_in_background(&server));
    server.client().ok("CONFIG SET jemalloc-bg-thread no");
    wait_until("the thread is gone", || !purges_in_background(&server));

    let server = Setup::new(&program).conf("jemalloc-bg-thread no").start();
    assert!(!purges_in_background(&server));
    server.client().ok("CONFIG SET jemalloc-bg-thread yes");
    wait_until("the thread is there", || purges_in_background(&server));
}

#[test]
fn huge_pages_are_disabled_by_default() {
    let program = Program::under_test();
    for (line, enabled) in [("disable-thp yes", "0"), ("disable-thp no", "1")] {
        let server = Setup::new(&program).conf(line).start();
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
        let shown = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
        assert_eq!(shown.map(str::trim), Some(enabled), "{line}");
    }
}

#[test]
fn the_supervisor_is_notified_when_the_server_is_ready() {
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("the folder is ours");
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let setup = Setup::new(&Program::under_test()).conf("supervised systemd");
    let _server = setup.wrapper(&["env", &variable]).start();
    let mut heard = String::new();
    while !heard.contains("READY=1") {
        let mut bytes = [0; 1000];
        let len = socket.recv(&mut bytes).expect("the server speaks");
        heard.push_str(&String::from_utf8_lossy(&bytes[..len]));
    }
    assert!(heard.contains("STATUS=Ready to accept connections\n"), "{heard}");
}

/// Returns the number of the server's next descriptor.
fn next_descriptor(server: &Server) -> u64 {
    let is_open = |fd: &u64| Path::new(&format!("/proc/{}/fd/{fd}", server.pid())).exists();
    (0..).find(|fd| !is_open(fd)).expect("there are only so many")
}

#[test]
fn without_descriptors_only_new_clients_are_refused() {
    let server = Setup::new(&Program::under_test()).conf("dbfilename full.rdb").start();
    let mut client = server.client();
    client.ok("SET key value");
    let alone = || client.text("INFO clients").contains("connected_clients:1\r\n");
    wait_until("nobody else is connected", alone);
    // There is no descriptor for another client.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| Rlimit { current: Some(current), maximum };
    let pid = Pid::from_raw(server.pid().cast_signed());
    let before =
        prlimit(pid, Resource::Nofile, limit(next_descriptor(&server))).expect("it is ours");
    for _ in 0..3 {
        let refusal = server.client().try_command(&["PING"]);
        let text = refusal.map_or_else(|error| error.to_string(), |value| value.text());
        assert!(text.contains("max number of clients reached"), "{text}");
    }
    assert!(server.log().contains("Accepting client connection: accept: Too many open files"));
    assert_eq!(client.text("GET key"), "value");
    prlimit(pid, Resource::Nofile, before).expect("it is ours");
    assert_eq!(server.client().text("PING"), "PONG");
}

#[test]
fn descriptors_are_reserved_for_persistence_and_replication() {
    let program = Program::under_test();
    let few = ["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"];
    let server = Setup::new(&program).wrapper(&few).conf("repl-diskless-sync no").start();
    let mut clients = vec![server.client()];
    let maxclients = clients[0].run("CONFIG GET maxclients").items()[1].text();
    let maxclients: usize = maxclients.parse().expect("a number");
    assert!(maxclients < 64);
    // One slot is left for the replica.
    while clients.len() < maxclients - 1 {
        clients.push(server.client());
        assert_eq!(clients.last_mut().expect("just added").text("PING"), "PONG");
    }
    clients[0].ok("SET key value");
    clients[0].ok("SAVE");
    let replica = Setup::new(&program).replica_of(&server).start();
    replica.wait_for_link();
    assert_eq!(replica.client().text("GET key"), "value");
    clients[0].ok("SAVE");
}

#[test]
fn an_empty_server_counts_its_own_memory() {
    let server = Server::start(&Program::under_test());
    let memory = server.info("memory");
    let number = |field: &str| memory[field].parse::<f64>().expect("a number");
    let (used, startup) = (number("used_memory"), number("used_memory_startup"));
    assert!(startup > 100_000.0 && used - startup < 1_000_000.0, "{memory:?}");
    assert!(number("used_memory_overhead") >= startup, "{memory:?}");
    // Alerts take more for a leak. Most of it is the program, as with a stock server.
    assert!(number("mem_fragmentation_ratio") < 30.0, "{memory:?}");
}
