//! Append-only files on real disks: moved between Russet and stock servers in both directions, checked by both programs'
//! tools, and locked.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use russet_e2e::program::{russet, stock};
use russet_e2e::server::Folder;
use russet_e2e::tools::{Output, run};
use russet_e2e::{Client, Program, Server, Setup, wait_until};

/// Starts a server whose replies wait for its append-only file.
fn start(program: &Program, lines: &[&str]) -> Server {
    let setup = Setup::new(program).conf("appendonly yes").conf("appendfsync always");
    let setup = setup.conf("enable-debug-command yes");
    lines.iter().fold(setup, |setup, line| setup.conf(line)).start()
}

/// Writes keys of each type, in several databases, some of them in transactions. `round` makes it differ from other calls.
fn fill(client: &mut Client, round: u32) {
    let pairs = (0..50).flat_map(|n| [format!("key:{n}"), (n * 1000 + round).to_string()]);
    client.command(&[vec!["MSET".to_owned()], pairs.collect()].concat());
    client.command(&[b"SET".as_slice(), b"binary \0\r\n\xff key", &[0, round as u8, 255, 13, 10]]);
    client.command(&["APPEND", "long", &format!("{round}").repeat(40_000)]);
    client.ok(&format!("SET expiring {round} PX 100000000"));
    client.run("DEL key:7 key:8");
    client.run(&format!("HSET hash a {round} b text c:{round} -5"));
    let pairs = (0..600).flat_map(|n| [format!("field:{n}"), (n + round).to_string()]);
    client.command(&[vec!["HSET".to_owned(), "table".to_owned()], pairs.collect()].concat());
    client.run("PEXPIRE hash 90000000");
    client.ok("MULTI");
    for line in ["INCR counter", "SELECT 3", "INCRBY counter 5", "HINCRBY other n 7", "SELECT 0"] {
        assert_eq!(client.text(line), "QUEUED");
    }
    assert_eq!(client.run("EXEC").items().len(), 5);
}

fn digest(server: &Server) -> String {
    let digest = server.client().text("DEBUG DIGEST");
    assert!(digest.len() == 40 && digest.contains(|digit| digit != '0'), "{digest}");
    digest
}

/// Compares what DEBUG DIGEST does not cover: the times at which keys expire.
fn expiries(server: &Server) -> Vec<i64> {
    let mut client = server.client();
    ["expiring", "hash", "key:1"].map(|key| client.run(&format!("PEXPIRETIME {key}")).int()).into()
}

/// Kills both servers, replaces the append-only file of one by that of the other, and starts the one.
fn take_over(to: &mut Server, from: &mut Server, folder: &str) {
    let (expected, times) = (digest(from), expiries(from));
    from.kill();
    to.kill();
    let target = to.folder().join(folder);
    fs::remove_dir_all(&target).expect("it is ours");
    copy(&from.folder().join(folder), &target);
    to.start_again();
    assert_eq!((digest(to), expiries(to)), (expected, times), "{}", to.log());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it is ours");
    for entry in fs::read_dir(from).expect("it is there").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("both folders are ours");
    }
}

/// Lets a server write the base of its append-only file anew.
fn rewrite(server: &Server) {
    let mut client = server.client();
    let reply = client.text("BGREWRITEAOF");
    assert!(reply.starts_with("Background append only file rewriting"), "{reply}");
    wait_until("the file is rewritten", || {
        let info = server.info("persistence");
        let is = |name: &str, value: &str| info.get(name).is_some_and(|field| field == value);
        is("aof_rewrite_in_progress", "0") && is("aof_rewrite_scheduled", "0")
    });
    assert_eq!(server.info_field("persistence", "aof_last_bgrewrite_status"), "ok");
}

/// Runs `russet check-aof` in a folder.
fn check(folder: &Path, arguments: &[&str], answer: &str) -> Output {
    let mut command = Command::new(russet());
    command.arg("check-aof").args(arguments).current_dir(folder);
    run(command, answer.as_bytes())
}

/// The configurations that files are moved in: lines, and the folder.
const LAYOUTS: &[(&[&str], &str)] = &[
    (&[], "appendonlydir"),
    (&["aof-timestamp-enabled yes"], "appendonlydir"),
    (&["aof-use-rdb-preamble no"], "appendonlydir"),
    (&["appendfilename \"a b.aof\"", "appenddirname \"the folder\""], "the folder"),
];

/// One server writes, the other goes on with its files, and the first with those.
fn there_and_back(first: &Program, second: &Program) {
    for (lines, folder) in LAYOUTS {
        let (mut here, mut there) = (start(first, lines), start(second, lines));
        fill(&mut here.client(), 1);
        rewrite(&here);
        fill(&mut here.client(), 2);
        take_over(&mut there, &mut here, folder);
        fill(&mut there.client(), 3);
        here.start_again();
        take_over(&mut here, &mut there, folder);
        fill(&mut here.client(), 4);
        there.start_again();
        rewrite(&there);
        take_over(&mut there, &mut here, folder);
    }
}

#[test]
fn a_killed_server_finds_everything_again() {
    let ours = Program::under_test();
    there_and_back(&ours, &ours);
}

/// A file that is checked, repaired and loaded by one program and the other.
struct Torn {
    folder: Folder,
    /// Path of the manifest in the folder.
    manifest: &'static str,
    /// The last file, without its last bytes.
    last: PathBuf,
}

/// Returns a copy of a server's files whose last file has lost its last bytes.
fn torn(server: &Server) -> Torn {
    let folder = Folder::new();
    let copied = folder.path().join("appendonlydir");
    copy(&server.folder().join("appendonlydir"), &copied);
    let names = fs::read_dir(&copied).expect("it is there").flatten().map(|e| e.path());
    let is_incremental = |path: &PathBuf| path.to_string_lossy().ends_with(".incr.aof");
    let last = names.filter(is_incremental).max().expect("there is one");
    let bytes = fs::read(&last).expect("it is there");
    fs::write(&last, &bytes[..bytes.len() - 3]).expect("it is ours");
    Torn { folder, manifest: "appendonlydir/appendonly.aof.manifest", last }
}

/// Checks and repairs files of a server with a tool.
fn checked_and_repaired(
    server: &Server,
    tool: &dyn Fn(&Path, &[&str], &str) -> Output,
    name: &str,
) {
    let manifest = "appendonlydir/appendonly.aof.manifest";
    let good = tool(server.folder(), &[manifest], "");
    assert_eq!(good.code, Some(0), "{name}: {good:?}");
    assert!(good.out.ends_with("All AOF files and manifest are valid\n"), "{name}: {good:?}");
    let Torn { folder, manifest, last } = torn(server);
    let bad = tool(folder.path(), &[manifest], "");
    assert_eq!(bad.code, Some(1), "{name}: {bad:?}");
    let len = || fs::metadata(&last).expect("it is there").len();
    let before = len();
    let refused = tool(folder.path(), &["--fix", manifest], "n\n");
    assert_eq!((refused.code, len()), (Some(1), before), "{name}: {refused:?}");
    let fixed = tool(folder.path(), &["--fix", manifest], "y\n");
    assert!(fixed.code == Some(0) && len() < before, "{name}: {fixed:?}");
    let good = tool(folder.path(), &[manifest], "");
    assert_eq!(good.code, Some(0), "{name}: {good:?}");
}

/// Starts a server on the single file of an old layout: a base, and the commands since then, which are cut out of a folder.
fn single_file(program: &Program, from: &Server, base: bool) -> Server {
    let files = from.folder().join("appendonlydir");
    let read = |name: &str| fs::read(files.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut bytes = if base { read("appendonly.aof.2.base.rdb") } else { Vec::new() };
    bytes.extend(read(&format!("appendonly.aof.{}.incr.aof", if base { 2 } else { 1 })));
    let mut server = start(program, &[]);
    server.kill();
    fs::remove_dir_all(server.folder().join("appendonlydir")).expect("it is ours");
    fs::write(server.folder().join("appendonly.aof"), bytes).expect("it is ours");
    server.start_again();
    server
}

#[test]
fn files_of_a_running_server_are_checked_and_copies_repaired() {
    let server = start(&Program::Russet, &["aof-timestamp-enabled yes"]);
    fill(&mut server.client(), 1);
    checked_and_repaired(&server, &check, "russet check-aof");
}

#[test]
fn two_servers_cannot_have_one_folder() {
    let mut server = start(&Program::Russet, &[]);
    let mut client = server.client();
    client.ok("SET key value");
    let dir = server.folder().to_str().expect("the folder is ours").to_owned();
    let second = |lines: &[&str]| {
        // The dump file has a lock of its own.
        let setup = Setup::new(&Program::Russet).conf(&format!("dir {dir}\ndbfilename other.rdb"));
        let setup = lines.iter().fold(setup.conf("port 0"), |setup, line| setup.conf(line));
        setup.run_to_end(Folder::new().path())
    };
    let refused = second(&["appendonly yes"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let why = "already uses the append-only files 'appendonly.aof' in the folder";
    assert!(refused.out.contains(why), "{refused:?}");
    assert!(refused.out.contains(&format!("(process {})", server.pid())), "{refused:?}");
    client.ok("SET key again");
    let manifest = "appendonlydir/appendonly.aof.manifest";
    let repair = check(server.folder(), &["--fix", manifest], "y\n");
    assert_eq!(repair.code, Some(1), "{repair:?}");
    let why = format!("A server (process {}) is using the append-only files", server.pid());
    assert!(repair.out.starts_with(&why), "{repair:?}");
    // Of another server the lock is gone with it, also after kill -9.
    server.kill();
    server.start_again();
    assert_eq!(server.client().text("GET key"), "again");
}

mod with_peers {
    use super::*;

    /// Runs `redis-check-aof`, which is the peer's server under another name.
    fn stock_check(folder: &Path, arguments: &[&str], answer: &str) -> Output {
        let mut command = Command::new(stock_tool("redis-check-aof"));
        command.args(arguments).current_dir(folder);
        run(command, answer.as_bytes())
    }

    /// Returns the path of a tool beside the peer's server.
    fn stock_tool(name: &str) -> PathBuf {
        match Program::peer() {
            Program::Other(path, _) => path.with_file_name(name),
            _ => stock(name),
        }
    }

    #[test]
    fn folders_move_between_ours_and_stock() {
        let ours = Program::under_test();
        there_and_back(&ours, &Program::peer());
        there_and_back(&Program::peer(), &ours);
    }

    #[test]
    fn both_tools_check_and_repair_the_files_of_both() {
        for program in [Program::under_test(), Program::peer()] {
            for lines in [&[][..], &["aof-timestamp-enabled yes"], &["aof-use-rdb-preamble no"]] {
                let server = start(&program, lines);
                fill(&mut server.client(), 1);
                rewrite(&server);
                fill(&mut server.client(), 2);
                let name = |tool: &str| format!("{tool} on files of {} {lines:?}", program.name());
                checked_and_repaired(&server, &stock_check, &name("redis-check-aof"));
                checked_and_repaired(&server, &check, &name("russet check-aof"));
                let folder = server.folder().join("appendonlydir");
                let base = folder.join("appendonly.aof.2.base.rdb");
                assert_eq!(base.exists(), !lines.contains(&"aof-use-rdb-preamble no"), "{lines:?}");
                if base.exists() {
                    let mut command = Command::new(stock_tool("redis-check-rdb"));
                    command.arg(&base);
                    let output = run(command, b"");
                    assert_eq!(output.code, Some(0), "{output:?}");
                }
            }
        }
    }

    /// A file that one tool has cut at a time is loaded by both servers, with the data of that time.
    #[test]
    fn both_tools_cut_the_files_of_both_at_a_time() {
        for program in [Program::under_test(), Program::peer()] {
            let mut server = start(&program, &["aof-timestamp-enabled yes"]);
            let mut client = server.client();
            client.ok("SET early 1");
            let second = || client_time(&server);
            let first = second();
            wait_until("a second goes by", || second() > first + 1);
            client.ok("SET late 1");
            server.kill();
            for tool in [&stock_check as &dyn Fn(&Path, &[&str], &str) -> Output, &check] {
                let seconds = (first + 1).to_string();
                let folder = Folder::new();
                copy(&server.folder().join("appendonlydir"), &folder.path().join("appendonlydir"));
                let manifest = "appendonlydir/appendonly.aof.manifest";
                let cut = tool(folder.path(), &["--truncate-to-timestamp", &seconds, manifest], "");
                assert!(
                    cut.code == Some(0) && cut.out.contains("Successfully truncated"),
                    "{cut:?}"
                );
                for loader in [Program::under_test(), Program::peer()] {
                    let mut loaded = start(&loader, &[]);
                    loaded.kill();
                    let target = loaded.folder().join("appendonlydir");
                    fs::remove_dir_all(&target).expect("it is ours");
                    copy(&folder.path().join("appendonlydir"), &target);
                    loaded.start_again();
                    let found = loaded.client().text("EXISTS early late");
                    assert_eq!(found, "1", "{} {cut:?}", loader.name());
                    assert_eq!(loaded.client().text("GET early"), "1");
                }
            }
        }
    }

    fn client_time(server: &Server) -> u64 {
        server.client().run("TIME").items()[0].text().parse().expect("seconds")
    }

    /// The layout before 7.0, made of the parts of a folder.
    #[test]
    fn single_files_of_both_are_upgraded_by_both() {
        for writer in [Program::under_test(), Program::peer()] {
            let mut from = start(&writer, &["auto-aof-rewrite-percentage 0"]);
            fill(&mut from.client(), 1);
            // Our batches know their place in a file, and we have never written behind a base.
            let layouts = if writer == Program::under_test() { 0..1 } else { 0..2 };
            for base in layouts.map(|layout| layout == 1) {
                if base {
                    rewrite(&from);
                    fill(&mut from.client(), 2);
                }
                let (expected, times) = (digest(&from), expiries(&from));
                from.kill();
                for loader in [Program::under_test(), Program::peer()] {
                    let mut server = single_file(&loader, &from, base);
                    let what = format!("{} of {}, base {base}", loader.name(), writer.name());
                    assert_eq!(
                        (digest(&server), expiries(&server)),
                        (expected.clone(), times.clone()),
                        "{what}"
                    );
                    server.client().ok("SET more 1");
                    server.client().run("DEL more");
                    server.kill();
                    server.start_again();
                    assert_eq!(digest(&server), expected, "{what}");
                    assert!(!server.folder().join("appendonly.aof").exists(), "{what}");
                }
                from.start_again();
            }
        }
    }
}
