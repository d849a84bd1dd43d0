//! Notifications of systemd.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use russet_e2e::server::Folder;
use russet_e2e::{Program, Server, Setup};

/// The socket of systemd.
struct Systemd {
    socket: UnixDatagram,
    folder: Folder,
}

impl Systemd {
    fn new() -> Systemd {
        let folder = Folder::new();
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("it is ours");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a good timeout");
        Systemd { socket, folder }
    }

    fn supervise(&self, setup: Setup) -> Server {
        let socket = self.folder.path().join("notify");
        let variable = format!("NOTIFY_SOCKET={}", socket.display());
        setup.conf("supervised systemd").wrapper(&["env", &variable]).start()
    }

    /// Returns the next message, without line feeds at its ends.
    fn next_message(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).expect("something is said");
        String::from_utf8_lossy(&bytes[..count]).trim().to_owned()
    }
}

#[test]
fn a_replica_notifies_when_it_is_in_sync_and_when_it_stops() {
    let master = Setup::new(&Program::under_test()).conf("repl-diskless-sync-delay 0").start();
    let systemd = Systemd::new();
    let replica = Setup::new(&Program::under_test()).replica_of(&master);
    let mut replica = systemd.supervise(replica);
    assert!(systemd.next_message().starts_with("STATUS=Russet is loading"));
    assert!(systemd.next_message().contains("Waiting for MASTER <-> REPLICA sync"));
    let synced = systemd.next_message();
    assert!(
        synced.starts_with("STATUS=MASTER <-> REPLICA sync: Finished with success. Ready"),
        "{synced}"
    );
    replica.client().ok("REPLICAOF NO ONE");
    assert_eq!(replica.terminate().code(), Some(0));
    assert_eq!(systemd.next_message(), "STOPPING=1");
}

#[test]
fn a_failed_shutdown_is_notified() {
    let systemd = Systemd::new();
    let server = systemd.supervise(Setup::new(&Program::under_test()).conf("save 3600 1"));
    server.client().ok("SET key value");
    let in_the_way = server.folder().join("dump.rdb/in the way");
    std::fs::create_dir_all(in_the_way).expect("the folder is ours");
    assert!(systemd.next_message().starts_with("STATUS=Russet is loading"));
    assert!(systemd.next_message().contains("READY=1"));
    assert!(server.client().text("SHUTDOWN").starts_with("ERR Errors trying to SHUTDOWN"));
    assert_eq!(systemd.next_message(), "STOPPING=1");
    assert_eq!(systemd.next_message(), "STATUS=Can't exit. Ready to accept connections");
}
