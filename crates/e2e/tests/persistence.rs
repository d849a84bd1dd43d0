//! Snapshots in real files: saved and loaded by Russet and stock, and after crashes.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

mod support;

use std::fs;

use russet_e2e::server::Folder;
use russet_e2e::{Client, Program, Server, Setup, wait_until};
use support::contents;

/// Strings of every encoding and length, expiries, several databases, binary names.
fn fill(client: &mut Client) {
    for i in [0, -1, 127, 128, 32_768, -2_147_483_649, i64::MAX, i64::MIN] {
        client.ok(&format!("SET number:{i} {i}"));
    }
    for length in [0, 1, 20, 44, 45, 63, 64, 1000, 16_383, 16_384, 100_000] {
        let repeated = "ab".repeat(length / 2);
        client.command(&["SET", &format!("repeated:{length}"), &repeated]);
        let mut state = 1_u32;
        let mixed: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(length)
        .collect();
        client.command(&[b"SET", format!("mixed:{length}").as_bytes(), &mixed[..]]);
    }
    client.command(&[b"SET".as_slice(), b"binary \0\r\n\xff key", b"\0\xff"]);
    client.ok("SET expiring value PX 100000000");
    client.ok("SET far value PXAT 9999999999999");
    client.ok("SELECT 3");
    client.ok("SET other database");
    client.ok("SELECT 0");
}

/// Saves with one program and loads with another; both have the same data.
fn file_of_one_is_loaded_by_other(saver: &Program, loader: &Program, lines: &[&str]) {
    let start = |program: &Program| {
        let setup = lines.iter().fold(Setup::new(program), |setup, line| setup.conf(line));
        setup.start()
    };
    let from = start(saver);
    let mut client = from.client();
    fill(&mut client);
    client.ok("SAVE");
    let mut to = start(loader);
    to.kill();
    fs::copy(from.folder().join("dump.rdb"), to.folder().join("dump.rdb"))
        .expect("both folders are ours");
    to.start_again();
    for database in [0, 3] {
        assert_eq!(contents(&to, database), contents(&from, database));
    }
    assert!(contents(&to, 0).len() > 25 && contents(&to, 3).len() == 1);
}

#[test]
fn saved_data_survives_a_crash() {
    let ours = Program::under_test();
    for lines in [&[][..], &["rdbcompression no"], &["rdbchecksum no"], &["dbfilename other.rdb"]] {
        let setup = lines.iter().fold(Setup::new(&ours), |setup, line| setup.conf(line));
        let mut server = setup.start();
        fill(&mut server.client());
        let before = contents(&server, 0);
        server.client().ok("SAVE");
        server.client().ok("SET lost value");
        server.kill();
        server.start_again();
        assert_eq!(contents(&server, 0), before, "{lines:?}");
    }
}

#[test]
fn save_points_save_by_themselves() {
    let server = Setup::new(&Program::under_test()).conf("save 1 1").start();
    let file = server.folder().join("dump.rdb");
    server.client().ok("SET key value");
    wait_until("it saves by itself", || file.exists());
    wait_until("nothing is unsaved", || {
        server.info_field("persistence", "rdb_changes_since_last_save") == "0"
    });
}

#[test]
fn a_background_save_contains_the_data_of_its_start() {
    let mut server = Server::start(&Program::under_test());
    let mut client = server.client();
    for i in 0..2000 {
        client.ok(&format!("SET key:{i} before"));
    }
    assert_eq!(client.text("BGSAVE"), "Background saving started");
    for i in 0..2000 {
        client.ok(&format!("SET key:{i} after"));
    }
    client.run("DEL key:0");
    wait_until("it is saved", || server.info_field("persistence", "rdb_bgsave_in_progress") == "0");
    assert_eq!(server.info_field("persistence", "rdb_last_bgsave_status"), "ok");
    server.kill();
    server.start_again();
    let saved = contents(&server, 0);
    assert_eq!(saved.len(), 2000);
    assert!(saved.iter().all(|(_, value, _)| value == "before"));
}

#[test]
fn a_failed_save_is_reported_and_refuses_writes_until_one_succeeds() {
    let setup = Setup::new(&Program::under_test()).conf("save 3600 100000");
    let server = setup.start();
    let mut client = server.client();
    client.ok("SET key value");
    let in_the_way = server.folder().join("dump.rdb");
    fs::create_dir_all(in_the_way.join("x")).expect("the folder is ours");
    assert!(client.run("SAVE").is_error());
    assert_eq!(client.text("BGSAVE"), "Background saving started");
    wait_until("it has ended", || {
        server.info_field("persistence", "rdb_bgsave_in_progress") == "0"
    });
    assert_eq!(server.info_field("persistence", "rdb_last_bgsave_status"), "err");
    let refused = client.text("SET key again");
    assert!(refused.starts_with("MISCONF "), "{refused}");
    assert_eq!(client.text("GET key"), "value");
    fs::remove_dir_all(&in_the_way).expect("the folder is ours");
    assert_eq!(client.text("BGSAVE"), "Background saving started");
    wait_until("writes are taken again", || client.text("SET key again") == "OK");
}

#[test]
fn no_temporary_file_is_left() {
    let server = Server::start(&Program::under_test());
    let mut client = server.client();
    client.ok("SET key value");
    client.ok("SAVE");
    client.run("BGSAVE");
    wait_until("it is saved", || server.info_field("persistence", "rdb_bgsave_in_progress") == "0");
    let entries = fs::read_dir(server.folder()).expect("it is there").flatten();
    let names: Vec<_> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    let data: Vec<_> = names.iter().filter(|name| name.ends_with(".rdb")).collect();
    assert_eq!(data, ["dump.rdb"]);
}

#[test]
fn a_folder_can_be_left_and_entered_again() {
    let setup = Setup::new(&Program::under_test()).conf("enable-protected-configs yes");
    let server = setup.start();
    let mut client = server.client();
    client.ok("SET key value");
    let folder = server.folder().to_str().expect("the folder is ours").to_owned();
    // It is the same folder by another name, or none that can be written.
    for path in [format!("{folder}/"), ".".to_owned(), "/proc".to_owned(), folder.clone()] {
        client.ok(&format!("CONFIG SET dir {path}"));
    }
    client.ok("SAVE");
    // It is locked again, for one file.
    let second = |name: &str| {
        let setup = Setup::new(&Program::under_test()).conf(&format!("dir {folder}"));
        let elsewhere = Folder::new();
        setup.conf(&format!("dbfilename {name}\nport 0")).run_to_end(elsewhere.path())
    };
    let output = second("dump.rdb");
    assert_eq!(output.code, Some(1));
    assert!(output.out.contains("already uses the dump file"), "{output:?}");
    client.ok("CONFIG SET dbfilename other.rdb");
    assert!(second("other.rdb").out.contains("already uses the dump file"));
    assert!(!second("dump.rdb").out.contains("already uses the dump file"));
    // A folder that cannot be entered changes nothing.
    let refused = client.text("CONFIG SET dir /nonexistent");
    assert!(refused.contains("No such file or directory"), "{refused}");
    client.ok("SAVE");
    assert!(server.folder().join("other.rdb").exists());
}

#[test]
fn start_without_a_file_is_empty() {
    let server = Server::start(&Program::under_test());
    assert_eq!(server.client().run("DBSIZE").int(), 0);
}

mod with_peers {
    use super::*;

    #[test]
    fn stock_loads_ours() {
        let ours = Program::under_test();
        for lines in [&[][..], &["rdbcompression no"], &["rdbchecksum no"]] {
            file_of_one_is_loaded_by_other(&ours, &Program::Stock, lines);
        }
    }

    #[test]
    fn ours_loads_stock() {
        let ours = Program::under_test();
        for lines in [&[][..], &["rdbcompression no"], &["rdbchecksum no"]] {
            file_of_one_is_loaded_by_other(&Program::Stock, &ours, lines);
        }
    }
}
