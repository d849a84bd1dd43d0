//! Command lines of a server, and messages when it cannot start.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use russet_e2e::program::russet;
use russet_e2e::server::Folder;
use russet_e2e::tools::run;
use russet_e2e::{Program, Setup};

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
