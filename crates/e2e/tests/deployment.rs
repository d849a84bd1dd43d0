//! The deployment of `examples/replication`: a master and its replica, in all combinations of
//! Russet and stock, and chains of three.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

mod support;

use std::fs;

use russet_e2e::{Program, Server, Setup, wait_until};
use support::daemon::Daemon;
use support::{assert_same_data, chain};

/// Runs the commands of a new user, with the example files on free ports.
fn deployment(master: &Program, replica: &Program) {
    let mut master = Daemon::start(master, "master.conf", None);
    let replica = Daemon::start(replica, "replica.conf", Some(master.port));
    let link = || replica.cli("info replication").contains("master_link_status:up");
    wait_until("the replica is connected", link);

    writes_are_replicated(&master, &replica);
    assert_eq!(
        replica.cli("set test 123"),
        "(error) READONLY You can't write against a read only replica."
    );
    info_shows_the_roles(&master, &replica);

    assert_eq!(master.cli("set before snapshot"), "OK");
    let saved = master.cli("lastsave");
    wait_until("a second has passed", || master.cli("time").lines().next() != Some(&saved));
    assert_eq!(master.cli("bgsave"), "Background saving started");
    wait_until("the snapshot is saved", || {
        let persistence = master.cli("info persistence");
        persistence.contains("rdb_bgsave_in_progress:0") && master.cli("lastsave") != saved
    });
    assert_eq!(master.cli("set after snapshot"), "OK");

    master.kill();
    let down = || replica.cli("info replication").contains("master_link_status:down");
    wait_until("the replica notices", down);
    assert_eq!(replica.cli("get before"), "snapshot", "it serves what it has");

    master.start_again();
    wait_until("the replica reconnects by itself", link);
    assert_eq!(master.cli("get before"), "snapshot");
    assert_eq!(master.cli("get after"), "(nil)", "it came after the snapshot");
    wait_until("the replica has what its master has", || replica.cli("get after") == "(nil)");
    assert_eq!(replica.cli("get before"), "snapshot");
    assert_eq!(master.cli("set again 1"), "OK");
    wait_until("writes arrive again", || replica.cli("get again") == "1");

    replica.shut_down();
    master.shut_down();
}

/// The commands of README with their output, of which `…` stands for anything.
fn readme_commands() -> Vec<(String, Vec<String>)> {
    let path = russet_e2e::program::workspace().join("README.md");
    let text = fs::read_to_string(path).expect("README is there");
    let (_, block) = text.split_once("```\n$ cargo build --release\n").expect("the example");
    let (block, _) = block.split_once("```\n").expect("the end of the example");
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), vec![])),
            (None, Some((_, output))) => output.push(line.to_owned()),
            (None, None) => panic!("output without a command: {line}"),
        }
    }
    commands
}

/// Whether a line is the expected one, in which `…` stands for anything.
fn is_like(line: &str, expected: &str) -> bool {
    let mut rest = line;
    expected.split('…').enumerate().all(|(at, part)| {
        let found = if at == 0 { rest.starts_with(part).then_some(0) } else { rest.find(part) };
        found.map(|found| rest = &rest[found + part.len()..]).is_some()
    })
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() {
    let ours = Program::under_test();
    let mut servers: Vec<Daemon> = Vec::new();
    for (command, expected) in readme_commands() {
        let words: Vec<&str> = command.split(' ').collect();
        match words.as_slice() {
            ["./target/release/russet", file] => {
                let name = file.strip_prefix("examples/replication/").expect("an example");
                let master = servers.first().map(|server| server.port);
                servers.push(Daemon::start(&ours, name, master));
            }
            ["redis-cli", "-p", port, rest @ ..] => {
                let server = &servers[usize::from(*port == "6380")];
                let port = |text: &str| {
                    let text = text.replace("6379", &servers[0].port.to_string());
                    text.replace("6380", &servers[1].port.to_string())
                };
                let mut arguments = if rest[0] == "info" { vec![] } else { vec!["--no-raw"] };
                arguments.extend(rest);
                let text = russet_e2e::redis_cli(server.port, &arguments);
                let mut lines = text.lines();
                for expected in &expected {
                    let expected = port(expected);
                    let line = lines.next();
                    assert!(line.is_some_and(|l| is_like(l, &expected)), "{command}: {text}");
                }
            }
            _ => panic!("a command that this test does not know: {command}"),
        }
    }
    servers.into_iter().rev().for_each(Daemon::shut_down);
}

/// Writes, changes, expiries and deletes on the master are visible on the replica.
fn writes_are_replicated(master: &Daemon, replica: &Daemon) {
    assert_eq!(master.cli("set greeting hello"), "OK");
    wait_until("a set arrives", || replica.cli("get greeting") == "hello");
    assert_eq!(master.cli("append greeting !"), "6");
    wait_until("a change arrives", || replica.cli("get greeting") == "hello!");
    assert_eq!(master.cli("expire greeting 1000"), "1");
    wait_until("an expiry arrives", || {
        replica.cli("ttl greeting").parse().is_ok_and(|ttl: i64| (900..=1000).contains(&ttl))
    });
    assert_eq!(master.cli("del greeting"), "1");
    wait_until("a delete arrives", || replica.cli("get greeting") == "(nil)");
    assert_eq!(master.cli("set short lived px 150"), "OK");
    wait_until("it expires on the master", || master.cli("get short") == "(nil)");
    wait_until("it is gone on the replica", || replica.cli("dbsize") == "0");
}

/// INFO shows the roles.
fn info_shows_the_roles(master: &Daemon, replica: &Daemon) {
    let text = master.cli("info replication");
    let slave = format!("slave0:ip=127.0.0.1,port={},state=online,offset=", replica.port);
    for line in [
        "role:master",
        "connected_slaves:1",
        &slave,
        "master_repl_offset:",
        "repl_backlog_active:1",
        "repl_backlog_size:1048576",
        "repl_backlog_first_byte_offset:",
        "repl_backlog_histlen:",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line} in\n{text}");
    }
    let text = replica.cli("info replication");
    let port = format!("master_port:{}", master.port);
    for line in [
        "role:slave",
        "master_host:127.0.0.1",
        &port,
        "master_link_status:up",
        "master_last_io_seconds_ago:",
        "master_sync_in_progress:0",
        "slave_repl_offset:",
        "slave_priority:100",
        "slave_read_only:1",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line} in\n{text}");
    }
}

/// Returns the names of the fields in the replication section, except those of a running transfer.
fn field_names(server: &Server) -> Vec<String> {
    let text = server.client().command(&["INFO", "replication"]).text();
    let names = text.lines().filter_map(|l| l.split_once(':')).map(|(name, _)| name.to_owned());
    names.collect()
}

mod with_peers {
    use super::*;

    #[test]
    fn russet_follows_russet() {
        deployment(&Program::Russet, &Program::Russet);
    }

    #[test]
    fn russet_follows_stock() {
        deployment(&Program::Stock, &Program::Russet);
    }

    #[test]
    fn stock_follows_russet() {
        deployment(&Program::Russet, &Program::Stock);
    }

    #[test]
    fn stock_follows_stock() {
        deployment(&Program::Stock, &Program::Stock);
    }

    #[test]
    fn every_field_of_info_replication_exists_in_order() {
        let mut names = [Program::Stock, Program::Russet].iter().map(|program| {
            let master = Setup::new(program).conf("repl-diskless-sync-delay 0").start();
            let replica = Setup::new(program).replica_of(&master).start();
            replica.wait_for_link();
            (field_names(&master), field_names(&replica))
        });
        let stock = names.next().expect("two programs");
        let russet = names.next().expect("two programs");
        assert_eq!(russet, stock);
    }

    #[test]
    fn chain_russet_stock_russet() {
        chain(&[Program::Russet, Program::Stock, Program::Russet]);
    }

    #[test]
    fn chain_stock_russet_stock() {
        chain(&[Program::Stock, Program::Russet, Program::Stock]);
    }

    #[test]
    fn chain_russet_russet_stock() {
        chain(&[Program::Russet, Program::Russet, Program::Stock]);
    }

    #[test]
    fn chain_stock_stock_stock() {
        chain(&[Program::Stock, Program::Stock, Program::Stock]);
    }

    #[test]
    fn replica_changes_masters_between_ours_and_stock() {
        let start = |program| Setup::new(program).conf("repl-diskless-sync-delay 0").start();
        let first = start(&Program::Stock);
        let second = start(&Program::Russet);
        first.client().ok("SET from stock");
        second.client().ok("SET from russet");
        for program in [Program::Russet, Program::Stock] {
            let replica = Server::start(&program);
            for master in [&first, &second, &first] {
                replica.replicate(master);
                replica.wait_for_offset_of(master);
                assert_same_data(master, &replica);
            }
            replica.client().ok("REPLICAOF NO ONE");
            replica.client().ok("SET now mine");
        }
    }
}

#[test]
fn chain_russet_russet_russet() {
    let ours = Program::under_test();
    chain(&[ours.clone(), ours.clone(), ours]);
}

#[test]
fn a_configuration_that_a_stock_server_rewrote_keeps_its_password() {
    let stock = Setup::new(&Program::Stock).conf("requirepass abc").start();
    let mut client = stock.client();
    client.ok("AUTH abc");
    client.ok("CONFIG REWRITE");
    let text = fs::read_to_string(stock.folder().join("server.conf")).expect("it was rewritten");
    assert!(text.contains("\nuser default on "), "{text}");
    let is_of_place = |line: &&str| line.starts_with("port ") || line.starts_with("dir ");
    for without in ["", "requirepass "] {
        let is_kept =
            |line: &&str| !is_of_place(line) && (without.is_empty() || !line.starts_with(without));
        let conf = text.lines().filter(is_kept).collect::<Vec<_>>().join("\n");
        let server = Setup::new(&Program::Russet).conf(&conf).start();
        let mut client = server.client();
        assert!(client.run("AUTH abd").is_error());
        client.ok("AUTH abc");
        client.ok("CONFIG REWRITE");
        let text = fs::read_to_string(server.folder().join("server.conf")).expect("rewritten");
        assert_eq!(text.contains("user default on sanitize-payload #"), !without.is_empty());
    }
}
