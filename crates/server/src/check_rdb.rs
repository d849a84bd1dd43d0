//! `russet check-rdb FILE`, also as a link named `redis-check-rdb`: reads a whole RDB file as a server would, without
//! keeping its data. Output and exit status are those of Redis 7.0 where scripts look at them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use russet_engine::persist::rdb_check::RdbCheck;
use russet_engine::persist::rdb_load::{Fed, LoadSettings, RdbLoader};
use russet_engine::rdb::error::{RdbError, RdbErrorKind};

use crate::sys::error_text;

/// Bytes read at once.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// Runs the tool and returns its exit status.
pub fn run(called: &str, arguments: &[Vec<u8>], out: &mut dyn Write) -> i32 {
    let [name] = arguments else {
        eprintln!("Usage: {called} <rdb-file-name>");
        return 1;
    };
    if matches!(name.as_slice(), b"-v" | b"--version") {
        return version("redis-check-rdb", out);
    }
    let shown = String::from_utf8_lossy(name);
    let result = match open(name, false) {
        Ok((file, len)) => check(&shown, file, Some(len), out).map(|end| end.is_some()),
        Err(error) => {
            writeln!(out, "Cannot open file {shown}: {}", error_text(&error)).map(|()| false)
        }
    };
    status(result)
}

/// Prints the version line of a tool.
pub fn version(tool: &str, out: &mut dyn Write) -> i32 {
    let version = env!("CARGO_PKG_VERSION");
    status(writeln!(out, "{tool} 7.2.4 (Russet {version})").map(|()| true))
}

/// Returns the exit status for whether a check succeeded.
pub fn status(result: io::Result<bool>) -> i32 {
    match result {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            eprintln!("russet: {}", error_text(&error));
            1
        }
    }
}

/// Opens a regular file and returns it with its length.
pub fn open(path: &[u8], write: bool) -> io::Result<(File, u64)> {
    // Without O_NONBLOCK, opening a FIFO waits for a writer.
    let mut options = File::options();
    let options = options.read(true).write(write).custom_flags(libc::O_NONBLOCK);
    let file = options.open(OsStr::from_bytes(path))?;
    let about = file.metadata()?;
    match about.is_file() {
        true => Ok((file, about.len())),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// Reads the next block; an empty one is the end.
pub fn read_block(file: &mut impl Read, block: &mut Vec<u8>) -> io::Result<()> {
    block.clear();
    file.take(BLOCK_BYTES as u64).read_to_end(block)?;
    Ok(())
}

/// Checks an RDB file and prints what it contains. Returns where it ends; none if it is damaged. `len`: the length of a
/// file that consists of nothing else.
pub fn check(
    name: &str,
    mut file: impl Read,
    len: Option<u64>,
    out: &mut dyn Write,
) -> io::Result<Option<u64>> {
    writeln!(out, "[offset 0] Checking RDB file {name}")?;
    let mut loader = RdbLoader::new(LoadSettings::default());
    let mut sink = RdbCheck::new(now_ms(), seed()?);
    let mut block = Vec::new();
    let end = loop {
        read_block(&mut file, &mut block)?;
        let fed = match block.is_empty() {
            true => loader.end().map(|()| Fed::NeedMore),
            false => loader.feed(&block, &mut sink),
        };
        for (offset, note) in sink.notes.drain(..) {
            writeln!(out, "[offset {offset}] {note}")?;
        }
        match fed {
            Ok(Fed::NeedMore) => {}
            Ok(Fed::Done { .. }) => break loader.offset(),
            Err(error) => {
                print_error(&error, &sink, out)?;
                return Ok(None);
            }
        }
    };
    match loader.stored_checksum() {
        None => {}
        Some(0) => {
            let note = "RDB file was saved with checksum disabled: no check performed.";
            writeln!(out, "[offset {end}] {note}")?;
        }
        Some(_) => writeln!(out, "[offset {end}] Checksum OK")?,
    }
    writeln!(out, "[offset {end}] \\o/ RDB looks OK! \\o/")?;
    print_counts(&sink, out)?;
    if let Some(more) = len.and_then(|len| len.checked_sub(end)).filter(|&more| more > 0) {
        writeln!(out, "[info] {more} bytes behind the end of the RDB file")?;
    }
    Ok(Some(end))
}

fn print_counts(sink: &RdbCheck, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "[info] {} keys read", sink.keys)?;
    writeln!(out, "[info] {} expires", sink.expires)?;
    writeln!(out, "[info] {} already expired", sink.expired)
}

fn print_error(error: &RdbError, sink: &RdbCheck, out: &mut dyn Write) -> io::Result<()> {
    let what = match &error.kind {
        RdbErrorKind::Truncated(_) => "Unexpected EOF reading RDB file: ",
        RdbErrorKind::WrongChecksum { .. } => "RDB CRC error: ",
        RdbErrorKind::WrongSignature(_) => "Wrong signature trying to load DB from file: ",
        RdbErrorKind::UnknownVersion(_) => "Can't handle RDB format version: ",
        RdbErrorKind::UnknownType(_) => "Invalid object type: ",
        _ => "",
    };
    writeln!(out, "--- RDB ERROR DETECTED ---")?;
    writeln!(out, "[offset {}] {what}{}", error.offset, error.kind)?;
    if let Some(key) = sink.open_key() {
        writeln!(out, "[additional info] Reading key '{}'", key.escape_ascii())?;
    }
    print_counts(sink, out)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Returns random bits, since the names of elements are untrusted.
fn seed() -> io::Result<u128> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] =
        include_bytes!("../../engine/src/persist/aof/fixtures/stock70/appendonly.aof.2.base.rdb");

    fn run_on(name: &str, bytes: &[u8]) -> (i32, String) {
        let dir = crate::testing::directory(name);
        let path = dir.path().join("dump.rdb");
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        let mut out = Vec::new();
        let status = run("redis-check-rdb", &[path.as_bytes().to_vec()], &mut out);
        (status, String::from_utf8(out).unwrap().replace(path, "FILE"))
    }

    #[test]
    fn a_good_file_is_reported_as_by_redis_70() {
        let (status, out) = run_on("check-rdb-good", FILE);
        let expected = "[offset 0] Checking RDB file FILE\n\
            [offset 27] AUX FIELD redis-ver = '7.0.15'\n\
            [offset 41] AUX FIELD redis-bits = '64'\n\
            [offset 53] AUX FIELD ctime = '1795745951'\n\
            [offset 68] AUX FIELD used-mem = '1014056'\n\
            [offset 80] AUX FIELD aof-base = '1'\n\
            [offset 82] Selecting DB ID 0\n\
            [offset 141] Checksum OK\n\
            [offset 141] \\o/ RDB looks OK! \\o/\n\
            [info] 4 keys read\n\
            [info] 1 expires\n\
            [info] 0 already expired\n";
        assert_eq!((status, out.as_str()), (0, expected));
    }

    #[test]
    fn errors_have_their_offset() {
        let (status, out) = run_on("check-rdb-cut", &FILE[..100]);
        let expected = "--- RDB ERROR DETECTED ---\n[offset 100] Unexpected EOF reading RDB file";
        assert!(status == 1 && out.contains(expected), "{out}");
        let mut damaged = FILE.to_vec();
        damaged[70] ^= 1;
        let (status, out) = run_on("check-rdb-flipped", &damaged);
        assert!(status == 1 && out.contains("[offset 133] RDB CRC error"), "{out}");
        let (status, out) = run_on("check-rdb-other", b"hello, world");
        assert!(status == 1 && out.contains("[offset 0] Wrong signature"), "{out}");
        assert_eq!(run_on("check-rdb-longer", &[FILE, b"more"].concat()).0, 0);
        let run_with = |words: &[&str]| {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            run("redis-check-rdb", &words, &mut Vec::new())
        };
        assert_eq!((run_with(&["/nowhere/x"]), run_with(&[]), run_with(&["-v"])), (1, 1, 0));
    }
}
