//! The log, in the format that operators and upstream's tests expect:
//! `PID:ROLE DD Mon YYYY HH:MM:SS.mmm LEVEL message`, local time.
//!
//! The log is a static because the crash report must reach it from any thread. The log file is
//! opened for each line, so that it can be rotated; lines are rare.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use russet_engine::io::Level;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::sys;

static LEVEL: AtomicU8 = AtomicU8::new(2);
static ROLE: AtomicU32 = AtomicU32::new('C' as u32);
/// Path of the log file; empty: standard output.
static PATH: Mutex<String> = Mutex::new(String::new());

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn rank(level: Level) -> u8 {
    match level {
        Level::Debug => 0,
        Level::Verbose => 1,
        Level::Notice => 2,
        Level::Warning => 3,
    }
}

/// Where warnings are copied to while the server starts.
static COPY: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Copies the texts of warnings to a pipe too, whatever the level of the log.
pub fn copy_warnings_to(pipe: Option<OwnedFd>) {
    if let Ok(mut copy) = COPY.lock() {
        *copy = pipe;
    }
}

/// Writes bytes to the pipe of [`copy_warnings_to`].
pub fn copy_raw(bytes: &[u8]) {
    // A reader that has gone away is none.
    if let Ok(copy) = COPY.lock()
        && let Some(pipe) = &*copy
    {
        let _ = rustix::io::write(pipe, bytes);
    }
}

/// Sets the log file (empty: standard output) and the minimum level.
pub fn set_target(path: &str, level: Level) {
    LEVEL.store(rank(level), Ordering::Relaxed);
    if let Ok(mut current) = PATH.lock() {
        *current = path.to_string();
    }
}

/// Disables logging.
pub fn silence() {
    LEVEL.store(u8::MAX, Ordering::Relaxed);
}

/// Checks that lines can be appended to this file; creates it if it is missing.
pub fn check_file(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Ok(());
    }
    open(path).map(drop).map_err(|error| match error {
        Errno::NXIO => "it is a pipe that nobody reads, or a missing device".to_owned(),
        error => sys::error_text(&error.into()),
    })
}

/// Sets the role letter of lines that this crate writes: `C` until the node exists.
pub fn set_role(role: char) {
    ROLE.store(role as u32, Ordering::Relaxed);
}

/// Whether a line of this level would be written.
pub fn enabled(level: Level) -> bool {
    rank(level) >= LEVEL.load(Ordering::Relaxed)
}

/// Logs a line of this crate.
pub fn log(level: Level, text: &str) {
    let role = char::from_u32(ROLE.load(Ordering::Relaxed)).unwrap_or('M');
    log_as(role, level, text);
}

/// [`log`] at `Notice`.
pub fn notice(text: &str) {
    log(Level::Notice, text);
}

/// [`log`] at `Warning`.
pub fn warning(text: &str) {
    log(Level::Warning, text);
}

/// Logs a line with a role letter.
pub fn log_as(role: char, level: Level, text: &str) {
    if level == Level::Warning {
        copy_raw(format!("{text}\n").as_bytes());
    }
    if enabled(level) {
        let now = clock_gettime(ClockId::Realtime);
        let line = line(std::process::id(), role, now.tv_sec, now.tv_nsec / 1_000_000, level, text);
        write_raw(line.as_bytes());
    }
}

/// Writes bytes without a prefix: the banner and the crash report.
pub fn write_raw(bytes: &[u8]) {
    // Errors are ignored: a failing log must not stop the server.
    let path = PATH.lock().map(|p| p.clone()).unwrap_or_default();
    let _ = if path.is_empty() {
        let mut out = std::io::stdout();
        out.write_all(bytes).and_then(|()| out.flush())
    } else {
        open(&path).map_err(Into::into).and_then(|fd| std::fs::File::from(fd).write_all(bytes))
    };
}

/// Writes that a signal ends the process, between the markers that tools look for.
///
/// Called by a signal handler, whatever the thread was doing: it takes no lock that might be held and allocates nothing
/// (unless the path of the log file is long).
pub fn write_crash(signal: i32) {
    let mut text = [0_u8; 256];
    let mut rest = &mut text[..];
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        rest,
        "\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===\n\
         Russet {version} crashed by signal: {signal}\n\
         === REDIS BUG REPORT END. Make sure to include from START to END. ===\n\n"
    );
    let left = rest.len();
    let text = &text[..text.len() - left];
    let Ok(path) = PATH.try_lock() else { return };
    let _ = match path.is_empty() {
        true => rustix::io::write(rustix::stdio::stdout(), text),
        false => open(&path).and_then(|file| rustix::io::write(file, text)),
    };
}

/// Opens the log file. Neither opening nor writing waits for the reader of a pipe: without one,
/// opening fails, and a line that does not fit is lost.
fn open(path: &str) -> rustix::io::Result<rustix::fd::OwnedFd> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))
}

fn line(pid: u32, role: char, secs: i64, ms: i64, level: Level, text: &str) -> String {
    let t = sys::local_time(secs);
    let mark = ['.', '-', '*', '#'][usize::from(rank(level))];
    format!(
        "{pid}:{role} {:02} {} {} {:02}:{:02}:{:02}.{ms:03} {mark} {text}\n",
        t.day, MONTHS[t.month], t.year, t.hour, t.minute, t.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_without_a_reader_is_refused_at_once() {
        let dir = crate::testing::directory("log-pipe");
        let path = dir.path().join("log");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let path = path.to_str().unwrap();
        let refused = check_file(path).unwrap_err();
        assert_eq!(refused, "it is a pipe that nobody reads, or a missing device");
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let reader = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        assert_eq!(check_file(path), Ok(()));
        // A reader that does not read cannot block the server.
        let pipe = open(path).unwrap();
        while rustix::io::write(&pipe, &[b'x'; 4096]).is_ok() {}
        drop(reader);
    }

    #[test]
    fn lines_have_the_format_that_tools_parse() {
        let text = line(42, 'M', 1_700_000_000, 7, Level::Warning, "Server initialized");
        let parts: Vec<&str> = text.trim_end().splitn(7, ' ').collect();
        assert_eq!(parts[0], "42:M");
        // The day depends on the time zone; month and year do not at this time.
        assert_eq!(&parts[2..4], ["Nov", "2023"]);
        assert!(parts[4].ends_with(":20.007"), "{text}");
        assert_eq!(&parts[5..], ["#", "Server initialized"]);
    }
}
