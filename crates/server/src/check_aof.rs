//! `russet check-aof [--fix | --truncate-to-timestamp SECONDS] FILE`, also as a link named `redis-check-aof`: checks an
//! append-only file, given its manifest or a single file of it, and cuts off a damaged or too recent end.
//!
//! Output and exit status are those of Redis 7.0 where scripts look at them. Beyond Redis it verifies Russet's checksums,
//! says what would be kept, syncs what it has cut, and does not throw away what may be of use: if what is cut off is more
//! than an incomplete end, it goes into a file beside it. Files that a running Russet uses are only checked, not changed:
//! it holds their lock.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use russet_engine::persist::aof::error::{AofError, AofErrorKind};
use russet_engine::persist::aof::manifest::Manifest;
use russet_engine::persist::aof::manifest::error::ManifestError;
use russet_engine::persist::aof::read::{AofReader, RDB_ENDING, Step, Verdict, starts_with_rdb};

use crate::check_rdb::{self, open, read_block};
use crate::data_lock::{DataLock, Taken};
use crate::sys::error_text;

/// A longer manifest is none.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// What to do with a file besides checking it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Check,
    Fix,
    /// Cut before the first command that is later than this, in seconds since 1970.
    TruncateTo(i64),
}

/// Why the tool ends early; the reason is printed.
enum Stop {
    Refused,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

type Outcome = Result<(), Stop>;

/// Runs the tool and returns its exit status.
pub fn run(
    called: &str,
    arguments: &[Vec<u8>],
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> i32 {
    let words: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
    let (mode, file) = match words[..] {
        [b"-v" | b"--version"] => return check_rdb::version("redis-check-aof", out),
        [file] => (Mode::Check, file),
        [b"--fix", file] => (Mode::Fix, file),
        [b"--truncate-to-timestamp", seconds, file] => match parse_seconds(seconds) {
            Some(seconds) => (Mode::TruncateTo(seconds), file),
            None => {
                return check_rdb::status(
                    writeln!(out, "Invalid timestamp, aborting...").map(|()| false),
                );
            }
        },
        _ => {
            let options = "[--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>";
            return check_rdb::status(writeln!(out, "Usage: {called} {options}").map(|()| false));
        }
    };
    let path = PathBuf::from(std::ffi::OsString::from_vec(file.to_vec()));
    match (Tool { mode, input, out }).run(&path) {
        Ok(()) => 0,
        Err(Stop::Refused) => 1,
        Err(Stop::Io(error)) => check_rdb::status(Err(error)),
    }
}

fn parse_seconds(text: &[u8]) -> Option<i64> {
    let seconds: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (seconds > 0).then_some(seconds)
}

/// A file to check.
struct Target<'a> {
    /// As it is called in messages.
    name: &'a str,
    path: &'a Path,
    /// `AOF`, `BASE AOF` or `INCR AOF`.
    kind: &'a str,
    /// Whether it may be cut: no file follows it.
    is_last: bool,
}

/// What was found in a file.
struct Findings {
    len: u64,
    boundary: u64,
    lines: u64,
    verdict: Verdict,
    /// Where the first timestamp after the requested one is.
    too_late: Option<u64>,
}

struct Tool<'a> {
    mode: Mode,
    input: &'a mut dyn BufRead,
    out: &'a mut dyn Write,
}

impl Tool<'_> {
    fn refuse(&mut self, text: &str) -> Outcome {
        writeln!(self.out, "{text}")?;
        Err(Stop::Refused)
    }

    /// Checks the files, and holds their lock if they may be changed.
    fn run(&mut self, path: &Path) -> Outcome {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let _lock = match self.mode {
            Mode::Check => Taken::Unavailable,
            Mode::Fix | Mode::TruncateTo(_) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let taken = DataLock::take_for_repair(
                    folder.unwrap_or(Path::new(".")),
                    appendfilename_of(&name),
                );
                match taken {
                    // If no lock can be created, no server can have one either.
                    Ok(taken) => taken,
                    Err(why) => return self.refuse(&why),
                }
            }
        };
        self.check(path)
    }

    fn check(&mut self, path: &Path) -> Outcome {
        let name = path.to_string_lossy().into_owned();
        let (mut file, len) = self.open(&name, path, false)?;
        let mut text = Vec::new();
        let is_named_so = path.extension().is_some_and(|extension| extension == "manifest");
        if len <= MANIFEST_BYTES_MAX {
            read_head(&mut file, &mut text)?;
        }
        if is_named_so || is_manifest(&text) {
            if len > MANIFEST_BYTES_MAX {
                return self.refuse(&format!("{name} is too long for a manifest, aborting..."));
            }
            file.read_to_end(&mut text)?;
            return self.check_manifest(&name, path, &text);
        }
        writeln!(self.out, "Start checking Old-Style AOF")?;
        self.check_file(&Target { name: &name, path, kind: "AOF", is_last: true })
    }

    fn open(&mut self, name: &str, path: &Path, write: bool) -> Result<(File, u64), Stop> {
        open(path.as_os_str().as_encoded_bytes(), write).or_else(|error| {
            let text = error_text(&error);
            self.refuse(&format!("Cannot open file {name}: {text}, aborting..."))?;
            Err(Stop::Refused)
        })
    }

    fn check_manifest(&mut self, name: &str, path: &Path, text: &[u8]) -> Outcome {
        writeln!(self.out, "Start checking Multi Part AOF")?;
        let manifest = match Manifest::parse(text) {
            Ok(manifest) => manifest,
            Err(error) => return self.refuse_manifest(name, &error),
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let count = manifest.files().count();
        for (index, file) in manifest.files().enumerate() {
            let path = folder.join(&file.name);
            let is_base = manifest.base() == Some(file);
            if is_base {
                let (mut open, _) = self.open(&file.name, &path, false)?;
                let format = if is_rdb(&mut open)? { "RDB" } else { "RESP" };
                writeln!(self.out, "Start to check BASE AOF ({format} format).")?;
            } else if Some(file) == manifest.incremental().first() {
                writeln!(self.out, "Start to check INCR files.")?;
            }
            let kind = if is_base { "BASE AOF" } else { "INCR AOF" };
            let is_last = index + 1 == count;
            self.check_file(&Target { name: &file.name, path: &path, kind, is_last })?;
        }
        writeln!(self.out, "All AOF files and manifest are valid")?;
        Ok(())
    }

    fn refuse_manifest(&mut self, name: &str, error: &ManifestError) -> Outcome {
        writeln!(self.out, "\n*** FATAL AOF MANIFEST FILE ERROR ***\n")?;
        match &error.line {
            None => writeln!(self.out, "Reading the manifest file {name}")?,
            Some((number, text)) => {
                writeln!(self.out, "Reading the manifest file {name}, at line {number}")?;
                writeln!(self.out, ">>> '{}'", text.escape_ascii())?;
            }
        }
        self.refuse(&error.kind.to_string())
    }

    fn check_file(&mut self, target: &Target<'_>) -> Outcome {
        let (name, kind) = (target.name, target.kind);
        let (mut file, len) = self.open(name, target.path, self.mode != Mode::Check)?;
        // An empty file is no RDB file.
        let must_be_rdb = name.ends_with(RDB_ENDING);
        if len == 0 && !must_be_rdb {
            writeln!(self.out, "{kind} {name} is empty")?;
            return Ok(());
        }
        let is_rdb = is_rdb(&mut file)? || must_be_rdb;
        let start = if is_rdb { self.check_preamble(target, &mut file)? } else { 0 };
        let findings = read(&mut file, start, len, self.mode)?;
        if let (Mode::TruncateTo(seconds), Some(at)) = (self.mode, findings.too_late) {
            return self.truncate(target, &file, seconds, at);
        }
        self.report(target, &file, &findings)
    }

    /// Checks an RDB file at the beginning and returns where it ends.
    fn check_preamble(&mut self, target: &Target<'_>, file: &mut File) -> Result<u64, Stop> {
        let end = check_rdb::check(target.name, &mut *file, None, self.out)?;
        let Some(end) = end else {
            self.refuse("RDB preamble of AOF file is not sane, aborting.")?;
            return Err(Stop::Refused);
        };
        writeln!(self.out, "RDB preamble is OK, proceeding with AOF tail...")?;
        Ok(end)
    }

    fn report(&mut self, target: &Target<'_>, file: &File, findings: &Findings) -> Outcome {
        let (name, kind) = (target.name, target.kind);
        let Findings { len, boundary, lines, verdict, .. } = findings;
        if let Verdict::Truncated(error) | Verdict::Corrupt(error) = verdict {
            self.print_error(name, error)?;
        }
        let diff = len.saturating_sub(*boundary);
        if let Mode::TruncateTo(seconds) = self.mode
            && diff == 0
        {
            writeln!(self.out, "Truncate nothing in AOF {name} to timestamp {seconds}")?;
            writeln!(self.out, "{kind} {name} is valid")?;
            return Ok(());
        }
        writeln!(
            self.out,
            "AOF analyzed: filename={name}, size={len}, ok_up_to={boundary}, ok_up_to_line={}, \
             diff={diff}",
            lines + 1
        )?;
        match verdict {
            Verdict::Complete => {
                writeln!(self.out, "{kind} {name} is valid")?;
                Ok(())
            }
            _ if self.mode == Mode::Fix => self.fix(target, file, findings),
            _ => {
                self.explain(target, findings)?;
                self.refuse(&format!(
                    "AOF {name} is not valid. Use the --fix option to try fixing it."
                ))
            }
        }
    }

    fn print_error(&mut self, name: &str, error: &AofError) -> io::Result<()> {
        if matches!(error.kind, AofErrorKind::UnknownByte(_)) {
            writeln!(self.out, "AOF {name} format error")?;
        }
        writeln!(self.out, "0x{:>16x}: {}", error.offset, error.kind)
    }

    /// Says what would be kept and what would be lost.
    fn explain(&mut self, target: &Target<'_>, findings: &Findings) -> io::Result<()> {
        let (name, boundary) = (target.name, findings.boundary);
        let diff = findings.len.saturating_sub(boundary);
        writeln!(self.out, "The first {boundary} bytes of {name} are good.")?;
        match findings.verdict {
            Verdict::Corrupt(_) => writeln!(
                self.out,
                "The {diff} bytes from offset {boundary} on may contain good commands. --fix cuts them off, and keeps \
                 them in the file {}.",
                tail_path(target.path, boundary).display()
            ),
            _ => writeln!(
                self.out,
                "The {diff} bytes from offset {boundary} on are an end that was not written or synced as a whole."
            ),
        }
    }

    fn fix(&mut self, target: &Target<'_>, file: &File, findings: &Findings) -> Outcome {
        let (name, len, boundary) = (target.name, findings.len, findings.boundary);
        let diff = len.saturating_sub(boundary);
        if !target.is_last {
            return self
                .refuse(&format!("Failed to truncate AOF {name} because it is not the last file"));
        }
        self.explain(target, findings)?;
        writeln!(
            self.out,
            "This will shrink the AOF {name} from {len} bytes, with {diff} bytes, to {boundary} bytes"
        )?;
        write!(self.out, "Continue? [y/N]: ")?;
        self.out.flush()?;
        let mut answer = String::new();
        let read = self.input.take(100).read_line(&mut answer);
        if read.is_err() || !answer.starts_with(['y', 'Y']) {
            return self.refuse("Aborting...");
        }
        let keep_tail = matches!(findings.verdict, Verdict::Corrupt(_));
        match cut(target.path, file, len, boundary, keep_tail) {
            Ok(()) => writeln!(self.out, "Successfully truncated AOF {name}")?,
            Err(error) => {
                let text = error_text(&error);
                return self.refuse(&format!("Failed to truncate AOF {name}: {text}"));
            }
        }
        Ok(())
    }

    fn truncate(&mut self, target: &Target<'_>, file: &File, seconds: i64, at: u64) -> Outcome {
        let name = target.name;
        if at == 0 {
            return self.refuse(&format!(
                "AOF {name} has nothing before timestamp {seconds}, aborting..."
            ));
        }
        if !target.is_last {
            writeln!(
                self.out,
                "Failed to truncate AOF {name} to timestamp {seconds} to offset {at} because it is not the last file."
            )?;
            return self.refuse(
                "If you insist, please delete all files after this file according to the manifest file and delete the \
                 corresponding records in manifest file manually. Then re-run redis-check-aof.",
            );
        }
        let len = file.metadata()?.len();
        match cut(target.path, file, len, at, false) {
            Ok(()) => {
                writeln!(self.out, "Successfully truncated AOF {name} to timestamp {seconds}")?;
                Ok(())
            }
            Err(error) => {
                let text = error_text(&error);
                self.refuse(&format!(
                    "Failed to truncate AOF {name} to timestamp {seconds}: {text}"
                ))
            }
        }
    }
}

/// Returns `appendfilename` of the server that a file belongs to: without `.manifest`, or `.5.incr.aof` and the like.
fn appendfilename_of(name: &str) -> &str {
    if let Some(stem) = name.strip_suffix(".manifest") {
        return stem;
    }
    for ending in [".incr.aof", ".base.aof", ".base.rdb"] {
        let numbered = name.strip_suffix(ending).and_then(|stem| stem.rsplit_once('.'));
        if let Some((stem, number)) = numbered
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            return stem;
        }
    }
    name
}

/// Reads the beginning of a file, enough to know what it is.
fn read_head(file: &mut File, text: &mut Vec<u8>) -> io::Result<()> {
    file.take(64 * 1024).read_to_end(text)?;
    Ok(())
}

/// Whether the first line that is no comment is one of a manifest.
fn is_manifest(text: &[u8]) -> bool {
    let mut lines = text.split_inclusive(|&byte| byte == b'\n');
    lines.find(|line| !line.starts_with(b"#")).is_some_and(|line| line.starts_with(b"file"))
}

/// Whether a file begins with an RDB file. Goes back to its beginning.
fn is_rdb(file: &mut File) -> io::Result<bool> {
    let mut magic = Vec::new();
    file.take(5).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(starts_with_rdb(&magic))
}

/// Reads the commands of a file from an offset on.
fn read(file: &mut File, start: u64, len: u64, mode: Mode) -> io::Result<Findings> {
    file.seek(SeekFrom::Start(start))?;
    let mut reader = AofReader::new(start, len);
    let mut block = Vec::new();
    let mut too_late = None;
    while too_late.is_none() {
        read_block(file, &mut block)?;
        if block.is_empty() {
            break;
        }
        let mut input = block.as_slice();
        loop {
            match (reader.next(&mut input), mode) {
                (Step::NeedMore, _) => break,
                (Step::Timestamp { offset, seconds, is_boundary }, Mode::TruncateTo(last))
                    if seconds > last =>
                {
                    let boundary = if is_boundary { offset } else { reader.boundary() };
                    too_late = Some(boundary);
                    break;
                }
                _ => {}
            }
        }
    }
    let (boundary, lines, verdict) = (reader.boundary(), reader.lines(), reader.end());
    Ok(Findings { len, boundary, lines, verdict, too_late })
}

/// Returns the path of the file that keeps what is cut off.
fn tail_path(path: &Path, boundary: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".cut-at-{boundary}"));
    PathBuf::from(name)
}

/// Cuts a file that still has the length it was read with. `keep_tail`: first copies what is cut off.
fn cut(path: &Path, mut file: &File, len: u64, boundary: u64, keep_tail: bool) -> io::Result<()> {
    if keep_tail {
        let mut tail =
            File::options().write(true).create_new(true).open(tail_path(path, boundary))?;
        file.seek(SeekFrom::Start(boundary))?;
        io::copy(&mut file.take(len.saturating_sub(boundary)), &mut tail)?;
        tail.sync_all()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    if file.metadata()?.len() != len {
        return Err(io::Error::other("its length has changed, a server may be using it"));
    }
    file.set_len(boundary)?;
    file.sync_all()
}

#[cfg(test)]
#[path = "check_aof_tests.rs"]
mod tests;
