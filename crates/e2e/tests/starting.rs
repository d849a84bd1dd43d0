//! Command lines of a server, and messages when it cannot start.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::process::Command;

use russet_e2e::program::russet;
use russet_e2e::server::{Folder, free_port};
use russet_e2e::tools::{Output, run};
use russet_e2e::{Client, Program, Setup, Value};

#[test]
fn a_link_named_redis_server_reports_a_redis_version() {
    let folder = Folder::new();
    for name in ["redis-server", "valkey-server", "redis-server-7.2"] {
        let link = folder.path().join(name);
        symlink(russet(), &link).expect("the folder is ours");
        let mut command = Command::new(&link);
        command.args(["--version", "--port", "1"]);
        let output = run(command, b"");
        assert_eq!(output.code, Some(0));
        assert!(output.out.starts_with("Redis server v=7.2.4 sha="), "{}", output.out);
    }
}

#[test]
fn a_password_in_a_file_relative_to_dir_is_read() {
    let setup = Setup::new(&Program::under_test()).conf("dir data\ninclude *.conf");
    let folder = Folder::new();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("a folder.conf")).expect("the folder is ours");
    // One of two lines is refused, and the error shows that the file was read.
    fs::write(data.join("local.conf"), "requirepass secret\nport x\n").expect("it is ours");
    let output = setup.run_to_end(folder.path());
    assert_eq!(output.code, Some(1));
    assert!(output.err.contains(">>> 'port x'"), "{output:?}");
    assert!(output.err.contains("data/local.conf"), "{output:?}");
}

#[test]
fn a_failed_include_is_logged() {
    let folder = Folder::new();
    let output =
        Setup::new(&Program::under_test()).conf("include no.conf").run_to_end(folder.path());
    assert_eq!((output.code, output.err.as_str()), (Some(1), ""));
    let line = "# Fatal error, can't open config file 'no.conf': No such file or directory";
    assert!(output.out.trim_end().ends_with(line), "{}", output.out);
    assert!(output.out.starts_with(|first: char| first.is_ascii_digit()), "{}", output.out);
}

#[test]
fn configuration_may_come_from_standard_input() {
    let mut command = Program::under_test().command();
    command.arg("-");
    let output = run(command, b"port x\n");
    assert_eq!(output.code, Some(1));
    assert!(output.out.contains("* Reading config from stdin"), "{output:?}");
    assert!(
        output.err.contains("Reading the configuration from standard input, at line 1"),
        "{output:?}"
    );
}

/// Runs the binary as a user types it, in a folder with the files `r.conf` and `conf`.
fn typed(words: &[&str], input: &[u8]) -> Output {
    let folder = Folder::new();
    for name in ["r.conf", "conf"] {
        fs::write(folder.path().join(name), "port a\n").expect("the folder is ours");
    }
    let mut command = Command::new(russet());
    command.args(words).current_dir(folder.path());
    run(command, input)
}

#[test]
fn a_configuration_file_needs_no_command() {
    for words in [&["./r.conf"][..], &["r.conf", "--hz", "b"], &["conf", "--hz", "b", "-"]] {
        let output = typed(words, b"timeout c\n");
        assert_eq!(output.code, Some(1), "{output:?}");
        let name = words[0].trim_start_matches("./");
        assert!(output.err.contains(&format!("/{name}', at line 1\n>>> 'port a'")), "{output:?}");
        assert_eq!(output.err.contains(">>> 'hz \"b\"'"), words.len() > 1, "{output:?}");
        assert_eq!(output.err.contains(">>> 'timeout c'"), words.len() > 3, "{output:?}");
    }
    let options = typed(&["--port", "b"], b"");
    assert!(options.err.contains(">>> 'port \"b\"'"), "{options:?}");
    let stdin = typed(&["-"], b"port c\n");
    assert!(stdin.err.contains(">>> 'port c'"), "{stdin:?}");
    for missing in ["./no/file", "no.conf"] {
        let output = typed(&[missing], b"");
        assert_eq!((output.code, output.err.as_str()), (Some(1), ""));
        assert!(output.out.contains("can't open config file"), "{output:?}");
    }
    let nothing = typed(&["sever"], b"");
    assert!(nothing.err.contains("neither a command nor a configuration file"), "{nothing:?}");
}

#[test]
fn folders_of_another_machine_are_all_named() {
    let setup = Setup::new(&Program::under_test()).conf("logfile /nonexistent/server.log");
    let output = setup.conf("dir /nonexistent/data").run_to_end(Folder::new().path());
    assert_eq!(output.code, Some(1));
    for line in [">>> 'logfile /nonexistent/server.log'", ">>> 'dir /nonexistent/data'"] {
        assert!(output.err.contains(line), "{output:?}");
    }
}

#[test]
fn a_daemon_without_a_log_warns_before_it_detaches() {
    let folder = Folder::new();
    let setup = Setup::new(&Program::under_test()).conf("daemonize yes\nsyslog-enabled yes");
    // The child cannot listen there and exits.
    let output = setup.conf("bind 192.0.2.1").run_to_end(folder.path());
    assert!(output.out.contains("syslog is not implemented yet"), "{output:?}");
}

#[test]
fn a_daemon_that_cannot_start_says_why_and_fails() {
    let damaged = Folder::new();
    fs::write(damaged.path().join("dump.rdb"), "this is no data").expect("it is ours");
    let first = Setup::new(&Program::under_test()).start();
    let new = || Setup::new(&Program::under_test()).conf("daemonize yes\nlogfile server.log");
    for (setup, folder, reason) in [
        (new().port(first.port()), Folder::new(), "Failed listening on port"),
        (new().conf("unixsocket /nonexistent/socket"), Folder::new(), "Failed opening Unix socket"),
        (new(), damaged, "Fatal error loading the DB"),
    ] {
        let output = setup.run_to_end(folder.path());
        assert_eq!((output.code, output.out.as_str()), (Some(1), ""), "{output:?}");
        assert!(output.err.contains(reason), "{output:?}");
        let log = fs::read_to_string(folder.path().join("server.log")).expect("it logs there too");
        assert!(log.contains(reason), "{log}");
    }
}

#[test]
fn a_daemon_serves_when_its_command_returns() {
    let (folder, port) = (Folder::new(), free_port());
    let setup = Setup::new(&Program::under_test()).conf("daemonize yes\nmaxclients 10000000");
    let output = setup.port(port).run_to_end(folder.path());
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""), "its warnings are for the log");
    let mut client = Client::connect((Ipv4Addr::LOCALHOST, port).into()).expect("it listens");
    assert_eq!(client.text("PING"), "PONG");
    let _ = client.try_command(&["SHUTDOWN", "NOSAVE"]); // it closes the connection
}

#[test]
fn a_rewritten_value_survives_an_included_file() {
    let setup = Setup::new(&Program::under_test()).conf("hz 20\ninclude local*.conf");
    let mut server = setup.conf("enable-protected-configs yes").start();
    fs::create_dir(server.folder().join("data")).expect("the folder is ours");
    fs::write(server.folder().join("local.conf"), "hz 30\ntimeout 7\n").expect("it is ours");
    server.terminate();
    server.start_again();
    let mut client = server.client();
    // The file is found although the working directory has changed meanwhile.
    client.ok("CONFIG SET dir data");
    client.ok("CONFIG SET hz 40");
    client.ok("CONFIG REWRITE");
    server.terminate();
    server.start_again();
    let shown = server.client().run("CONFIG GET hz timeout");
    let shown: Vec<String> = shown.items().iter().map(Value::text).collect();
    assert_eq!(shown, ["hz", "40", "timeout", "7"]);
}
