//! Disks that fail: full ones, files that may not grow, disks that can only be read, folders that are gone. Reads go on,
//! writes are refused with the reason, and when the disk takes bytes again the server goes on without a restart, with
//! everything that it has acknowledged.
//!
//! The disk is a tmpfs in a mount namespace of the server's, which needs root or user namespaces.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use russet_e2e::client::encode;
use russet_e2e::server::Folder;
use russet_e2e::tools::run;
use russet_e2e::{Client, Program, Server, Setup, Value, wait_for, wait_until};

/// Mounts a small disk as `disk` and becomes the program.
const ON_A_DISK: &str =
    "mkdir -p disk && mount -t tmpfs -o size=4m tmpfs disk && exec \"$0\" \"$@\"";

fn setup(lines: &[&str]) -> Setup {
    let setup = Setup::new(&Program::under_test()).conf("enable-debug-command yes");
    lines.iter().fold(setup, |setup, line| setup.conf(line))
}

fn on_a_disk(lines: &[&str]) -> Server {
    let wrapper = ["unshare", "--map-root-user", "--mount", "sh", "-c", ON_A_DISK];
    setup(lines).conf("dir disk").wrapper(&wrapper).start()
}

/// Returns the path of the disk, by which it can be seen from outside.
fn disk(server: &Server) -> PathBuf {
    let folder = server.folder().strip_prefix("/").expect("it is absolute");
    Path::new("/proc").join(server.pid().to_string()).join("root").join(folder).join("disk")
}

/// Fills a file's disk up.
fn fill_up(path: &Path) {
    let block = vec![1; 4096];
    let mut file = fs::File::create(path).expect("the disk is ours");
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    while std::io::Write::write_all(&mut file, &[1]).is_ok() {}
}

/// A client that writes and does not wait for replies.
struct Writer {
    client: Client,
    sent: usize,
}

impl Writer {
    fn new(server: &Server) -> Writer {
        Writer { client: server.client(), sent: 0 }
    }

    /// Writes until the server refuses writes of others, and returns what it tells them.
    fn until_refused(&mut self, server: &Server) -> String {
        let value = "x".repeat(2000);
        wait_for("writes are refused", || {
            let words = ["SET", &format!("key:{}", self.sent), &value];
            self.client.send(&encode(&words)).expect("it is connected");
            self.sent += 1;
            let failed = server.info_field("persistence", "aof_last_write_status") == "err";
            failed.then(|| server.client().text("SET another 1"))
        })
    }

    /// Returns the keys whose writes were executed, when all replies are there.
    fn written(&mut self) -> Vec<usize> {
        let replies = (0..self.sent).map(|_| self.client.read_reply().expect("it answers"));
        let replies: Vec<Value> = replies.collect();
        (0..self.sent).filter(|&number| !replies[number].is_error()).collect()
    }
}

/// What a disk must not lose.
struct Held {
    digest: String,
    keys: Vec<usize>,
}

/// Breaks the disk, checks that reads go on and writes are refused, mends it, and checks that all goes on.
fn refused_and_resumed(
    server: &Server,
    why: &str,
    break_it: impl Fn(),
    mend_it: impl Fn(),
) -> Held {
    server.client().ok("SET before 1");
    break_it();
    let mut writer = Writer::new(server);
    let refusal = writer.until_refused(server);
    assert!(refusal.starts_with("MISCONF ") && refusal.contains(why), "{refusal}");
    assert_eq!(server.client().text("GET before"), "1", "reads go on");
    assert!(server.client().text("INCR before").starts_with("MISCONF "));
    assert_eq!(server.client().text("EXISTS another"), "0");
    mend_it();
    wait_until("writes are taken again", || server.client().text("SET after 1") == "OK");
    let keys = writer.written();
    assert!(!keys.is_empty(), "some were written before");
    assert_eq!(server.info_field("persistence", "aof_last_write_status"), "ok");
    Held { digest: server.client().text("DEBUG DIGEST"), keys }
}

/// Starts another server on a copy of the files, as after kill -9.
fn nothing_is_lost(files: &Path, held: &Held) {
    let mut copied = setup(&["appendonly yes"]).start();
    copied.kill();
    let target = copied.folder().join("appendonlydir");
    fs::remove_dir_all(&target).expect("it is ours");
    fs::create_dir(&target).expect("it is ours");
    for entry in fs::read_dir(files.join("appendonlydir")).expect("it is there").flatten() {
        fs::copy(entry.path(), target.join(entry.file_name())).expect("it can be read");
    }
    copied.start_again();
    let mut client = copied.client();
    for number in &held.keys {
        assert_eq!(client.run(&format!("STRLEN key:{number}")).int(), 2000, "key:{number}");
    }
    assert_eq!(client.text("DEBUG DIGEST"), held.digest);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space_again() {
    for policy in ["always", "everysec", "no"] {
        let server = on_a_disk(&["appendonly yes", &format!("appendfsync {policy}")]);
        let (path, filler) = (disk(&server), disk(&server).join("filler"));
        for _ in 0..2 {
            let mend = || fs::remove_file(&filler).expect("it is ours");
            let why = "No space left on device";
            let held = refused_and_resumed(&server, why, || fill_up(&filler), mend);
            nothing_is_lost(&path, &held);
        }
    }
}

#[test]
fn a_full_disk_fails_a_rewrite_and_nothing_else() {
    let server = on_a_disk(&["appendonly yes", "appendfsync always"]);
    let mut client = server.client();
    let value = "x".repeat(100_000);
    // The base does not compress.
    client.ok("CONFIG SET rdbcompression no");
    for number in 0..10 {
        client.command(&["SET", &format!("key:{number}"), &value]);
    }
    let (path, filler) = (disk(&server), disk(&server).join("filler"));
    fs::write(&filler, vec![1; 2_600_000]).expect("the disk is ours");
    let status = |expected: &str| {
        client_is_done(&server);
        assert_eq!(server.info_field("persistence", "aof_last_bgrewrite_status"), expected);
    };
    assert!(!server.client().run("BGREWRITEAOF").is_error());
    status("err");
    client.ok("SET more 1");
    fs::remove_file(&filler).expect("it is ours");
    assert!(!server.client().run("BGREWRITEAOF").is_error());
    status("ok");
    client.ok("SET more 2");
    let digest = client.text("DEBUG DIGEST");
    nothing_is_lost(&path, &Held { digest, keys: vec![] });
    let names = fs::read_dir(path.join("appendonlydir")).expect("it is there").flatten();
    let names: Vec<_> = names.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.contains("temp") || name.ends_with(".tmp")), "{names:?}");
}

fn client_is_done(server: &Server) {
    wait_until("the rewrite has ended", || {
        let info = server.info("persistence");
        info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0"
    });
}

/// A write beyond RLIMIT_FSIZE would end the process if its signal were not ignored.
#[test]
fn a_file_that_may_not_grow_refuses_writes_until_it_may() {
    let lines = ["appendonly yes", "appendfsync always", "logfile /dev/null"];
    let server = setup(&lines).wrapper(&["prlimit", "--fsize=200000:unlimited"]).start();
    let pid = server.pid().to_string();
    let resume = || {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &pid, "--fsize=unlimited:unlimited"]);
        let output = run(command, b"");
        assert_eq!(output.code, Some(0), "{output:?}");
    };
    let held = refused_and_resumed(&server, "File too large", || {}, resume);
    nothing_is_lost(server.folder(), &held);
}

#[test]
fn a_disk_that_can_only_be_read_is_refused_at_the_start() {
    let folder = Folder::new();
    let data = folder.path().join("disk");
    fs::create_dir(&data).expect("it is ours");
    let mount = "mount -t tmpfs -o ro tmpfs disk && exec \"$0\" \"$@\"";
    let wrapper = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount];
    let setup = setup(&["appendonly yes", "dir disk"]).wrapper(&wrapper);
    let output = setup.run_to_end(folder.path());
    assert_eq!(output.code, Some(1), "{output:?}");
    let why = "disk/appendonlydir': Read-only file system";
    assert!(output.out.contains(why), "{output:?}");
}

/// What is open stays open; the next rewrite makes the folder, and everything is on disk again.
#[test]
fn a_folder_that_is_gone_is_made_again_by_a_rewrite() {
    let mut server = setup(&["appendonly yes", "appendfsync always"]).start();
    let mut client = server.client();
    client.ok("SET key 1");
    fs::remove_dir_all(server.folder().join("appendonlydir")).expect("it is ours");
    client.ok("SET key 2");
    assert!(!client.run("BGREWRITEAOF").is_error());
    client_is_done(&server);
    client.ok("SET key 3");
    assert_eq!(server.info_field("persistence", "aof_last_bgrewrite_status"), "ok");
    server.kill();
    server.start_again();
    assert_eq!(server.client().text("GET key"), "3");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = Folder::new();
    fs::write(folder.path().join("appendonlydir"), "a file").expect("it is ours");
    let output = setup(&["appendonly yes"]).run_to_end(folder.path());
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.out.contains("appendonlydir'"), "{output:?}");
}
