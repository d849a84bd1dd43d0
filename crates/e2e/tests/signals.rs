//! Termination of the server: by signals, by SHUTDOWN, and when saving fails.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::fs;

use russet_e2e::{Program, Server, Setup, wait_until};
use rustix::process::Signal;

/// Starts a server with a key that saves on exit.
fn saving() -> Server {
    let server = Setup::new(&Program::under_test()).conf("save 3600 1").start();
    server.client().ok("SET key value");
    server
}

fn file(server: &Server) -> std::path::PathBuf {
    server.folder().join("dump.rdb")
}

#[test]
fn termination_signals_save_as_configured_and_exit_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = saving();
        server.signal(signal);
        assert_eq!(server.wait_for_end().code(), Some(0), "{signal:?}");
        assert!(file(&server).exists(), "{signal:?}");
        server.start_again();
        assert_eq!(server.client().text("GET key"), "value", "{signal:?}");
    }
}

#[test]
fn without_save_points_nothing_is_written() {
    let mut server = Server::start(&Program::under_test());
    server.client().ok("SET key value");
    assert_eq!(server.terminate().code(), Some(0));
    assert!(!file(&server).exists());
}

#[test]
fn shutdown_saves_according_to_its_argument() {
    let mut server = saving();
    let gone = server.client().try_command(&["SHUTDOWN", "NOSAVE"]);
    assert!(gone.is_err(), "there is nobody to answer: {gone:?}");
    assert_eq!(server.wait_for_end().code(), Some(0));
    assert!(!file(&server).exists());

    let mut server = Server::start(&Program::under_test());
    server.client().ok("SET key value");
    let gone = server.client().try_command(&["SHUTDOWN", "SAVE"]);
    assert!(gone.is_err(), "there is nobody to answer: {gone:?}");
    assert_eq!(server.wait_for_end().code(), Some(0));
    assert!(file(&server).exists());
}

#[test]
fn data_that_cannot_be_saved_prevents_the_shutdown() {
    let mut server = saving();
    // A folder has the name of the file.
    fs::create_dir_all(file(&server).join("in the way")).expect("the folder is ours");
    server.signal(Signal::TERM);
    wait_until("the failed save is logged", || {
        server.log().contains("Error trying to save the DB, can't exit")
    });
    assert_eq!(server.client().text("GET key"), "value");
    let refusal = server.client().text("SHUTDOWN");
    assert!(refusal.starts_with("ERR Errors trying to SHUTDOWN"), "{refusal}");

    fs::remove_dir_all(file(&server)).expect("the folder is ours");
    assert_eq!(server.terminate().code(), Some(0));
    assert!(file(&server).exists());
}

#[test]
fn an_interrupt_after_a_failed_shutdown_does_not_kill_the_server() {
    let mut server = saving();
    fs::create_dir_all(file(&server).join("in the way")).expect("the folder is ours");
    for times in 1..=3 {
        server.signal(Signal::INT);
        wait_until("the failed save is logged", || {
            server.log().matches("Error trying to save the DB, can't exit").count() == times
        });
        assert_eq!(server.client().text("GET key"), "value", "it keeps serving");
    }
    assert!(!server.log().contains("You insist"), "{}", server.log());
    fs::remove_dir_all(file(&server)).expect("the folder is ours");
    server.signal(Signal::INT);
    assert_eq!(server.wait_for_end().code(), Some(0));
    assert!(file(&server).exists());
}

#[test]
fn a_second_interrupt_does_not_wait() {
    let setup = Setup::new(&Program::under_test()).conf("shutdown-timeout 3600");
    let setup = setup.conf("appendonly yes");
    let mut master = setup.conf("repl-diskless-sync-delay 0").start();
    let mut replica = Setup::new(&Program::under_test()).replica_of(&master).start();
    replica.wait_for_offset_of(&master);
    replica.signal(Signal::STOP);
    master.client().ok("SET key value");
    let waits = |times: usize| {
        wait_until("it waits", || master.log().matches("Waiting for replicas").count() == times);
    };
    master.signal(Signal::INT);
    waits(1);
    master.client().ok("SHUTDOWN ABORT");
    master.signal(Signal::TERM);
    waits(2);
    let id = master.pid();
    let temps = [
        format!("temp-{id}-9.rdb"),
        format!("appendonlydir/temp-{id}-9.rdb"),
        format!("appendonlydir/.appendonly.aof.manifest.{id}.tmp"),
    ];
    let temps = temps.map(|name| master.folder().join(name));
    temps.iter().for_each(|temp| fs::write(temp, "half").expect("the folder is ours"));
    master.signal(Signal::INT);
    assert_eq!(master.wait_for_end().code(), Some(1));
    assert!(master.log().contains("# You insist... exiting now."), "{}", master.log());
    assert!(!temps.iter().any(|temp| temp.exists()));
    replica.kill();
}

#[test]
fn shutdown_waits_for_a_replica_until_it_disconnects() {
    // Waiting for the timeout would fail this test.
    let setup = Setup::new(&Program::under_test()).conf("shutdown-timeout 3600");
    let mut master = setup.conf("repl-diskless-sync-delay 0").start();
    let mut replica = Setup::new(&Program::under_test()).replica_of(&master).start();
    replica.wait_for_offset_of(&master);
    replica.signal(Signal::STOP);
    let mut client = master.client();
    client.ok("SET key value");
    client.send(b"SHUTDOWN\r\n").expect("it is connected");
    wait_until("it waits", || master.log().contains("Waiting for"));
    assert_eq!(master.client().text("GET key"), "value", "it still serves");
    replica.kill();
    assert_eq!(master.wait_for_end().code(), Some(0));
}

#[test]
fn shutdown_logs_lagging_replicas() {
    let setup = Setup::new(&Program::under_test()).conf("repl-ping-replica-period 3600");
    let mut master = setup.conf("repl-diskless-sync-delay 0").start();
    let good = Setup::new(&Program::under_test()).replica_of(&master).start();
    let stopped = Setup::new(&Program::under_test()).replica_of(&master).start();
    good.wait_for_offset_of(&master);
    stopped.wait_for_offset_of(&master);
    stopped.signal(Signal::STOP);
    master.client().ok("SET key value");
    wait_until("one has acknowledged all", || {
        let info = master.info("replication");
        let all = format!(",offset={},", info["master_repl_offset"]);
        info["slave0"].contains(&all) || info["slave1"].contains(&all)
    });
    let gone = master.client().try_command(&["SHUTDOWN", "NOW"]);
    assert!(gone.is_err(), "there is nobody to answer: {gone:?}");
    assert_eq!(master.wait_for_end().code(), Some(0));
    stopped.signal(Signal::CONT);
    let log = master.log();
    let lagging = format!("* Lagging replica 127.0.0.1:{} reported offset ", stopped.port());
    let line = log.split_once(&lagging).unwrap_or_else(|| panic!("{log}")).1;
    assert!(line.lines().next().is_some_and(|l| l.ends_with(", state=online.")), "{log}");
    assert!(log.contains("* 1 of 2 replicas are in sync when shutting down."), "{log}");
}

#[test]
fn hang_up_is_ignored() {
    let server = Server::start(&Program::under_test());
    server.signal(Signal::HUP);
    assert_eq!(server.client().text("PING"), "PONG");
}

#[test]
fn a_stopped_server_continues() {
    let server = Server::start(&Program::under_test());
    let mut client = server.client();
    client.ok("SET key value");
    server.signal(Signal::STOP);
    client.send(b"GET key\r\n").expect("the kernel takes it");
    server.signal(Signal::CONT);
    assert_eq!(client.read_reply().expect("it answers").text(), "value");
}

#[test]
fn the_pid_file_exists_while_it_runs() {
    let setup = Setup::new(&Program::under_test()).conf("pidfile server.pid");
    let mut server = setup.start();
    let path = server.folder().join("server.pid");
    let text = fs::read_to_string(&path).expect("it is written before it answers");
    assert_eq!(text.trim(), server.pid().to_string());
    assert_eq!(server.terminate().code(), Some(0));
    assert!(!path.exists());
}
