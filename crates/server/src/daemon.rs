//! Daemonizing, and the PID file.
//!
//! The process that was started waits until the daemon serves clients or has failed, so that its
//! exit status says which, and prints the daemon's warnings if it failed. They come through a pipe:
//! the texts of log lines, and a NUL for each stage that is reached.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::log;
use crate::sys::{self, Fork, error_text};

/// How long the starting process waits for the data to be loaded, once the daemon listens. The
/// service managers that wait for it give up after 90 seconds or more.
const LOAD_SECS_MAX: i64 = 30;

/// Maximum number of bytes that the starting process keeps.
const REPORT_BYTES_MAX: usize = 64 << 10;

/// Written when the daemon listens, and again when it serves clients.
const STAGE: u8 = 0;

/// Continues in a child process with its own session and without a terminal. Must be called before
/// the first thread is started. The parent process ends here.
pub fn daemonize() -> std::io::Result<()> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    if let Fork::Parent(child) = sys::fork()? {
        drop(writer);
        let (status, report) = wait_for(reader, child);
        let _ = std::io::stderr().write_all(&report);
        sys::exit_now(status);
    }
    drop(reader);
    log::copy_warnings_to(Some(writer));
    rustix::process::setsid()?;
    // As in Redis, a system without /dev/null keeps its old descriptors.
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
    }
    Ok(())
}

/// Reports to the starting process that clients can connect.
pub fn listens() {
    log::copy_raw(&[STAGE]);
}

/// Reports to the starting process that clients are served, which ends its wait.
pub fn serves() {
    log::copy_raw(&[STAGE]);
    log::copy_warnings_to(None);
}

/// Waits for the daemon. Returns the exit status and what to print.
fn wait_for(reader: OwnedFd, child: i32) -> (i32, Vec<u8>) {
    let mut report = Vec::new();
    let mut stages = 0;
    let mut reader = fs::File::from(reader);
    let mut buffer = [0; 4096];
    loop {
        if stages == 1 && !is_readable(&reader) {
            return (0, b"The server is still loading its data: see its log.\n".to_vec());
        }
        let bytes = match reader.read(&mut buffer) {
            Ok(0) => return (status_of(child), report),
            Ok(len) => &buffer[..len],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return (1, report),
        };
        stages += bytes.iter().filter(|&&byte| byte == STAGE).count();
        if stages >= 2 {
            return (0, Vec::new());
        }
        let space = REPORT_BYTES_MAX.saturating_sub(report.len());
        report.extend(bytes.iter().filter(|&&byte| byte != STAGE).take(space));
    }
}

/// Waits until the daemon writes or ends; false if that takes too long.
fn is_readable(reader: &fs::File) -> bool {
    let timeout = Timespec { tv_sec: LOAD_SECS_MAX, tv_nsec: 0 };
    poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&timeout)) != Ok(0)
}

/// Returns the exit status of a process that has closed its pipe; 1 for one that a signal ended.
fn status_of(child: i32) -> i32 {
    let ended = Pid::from_raw(child).and_then(|pid| waitpid(Some(pid), WaitOptions::empty()).ok());
    ended.flatten().and_then(|(_, status)| status.exit_status()).unwrap_or(1)
}

/// A PID file, removed when it is dropped.
pub struct PidFile {
    path: PathBuf,
    pid: u32,
}

impl PidFile {
    /// Writes the file. A failure is only logged, as in Redis.
    pub fn write(path: &str) -> Option<PidFile> {
        let pid = std::process::id();
        match try_write(path, pid) {
            Ok(path) => Some(PidFile { path, pid }),
            Err(error) => {
                let why = error_text(&error);
                log::warning(&format!("Failed to write PID file '{path}': {why}"));
                None
            }
        }
    }
}

fn try_write(path: &str, pid: u32) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(false).mode(0o644);
    // Another user may have created a link to have one of our files overwritten.
    let mut file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.nlink() > 1 {
        return Err(std::io::Error::other("it exists and is not a plain file"));
    }
    file.set_len(0)?;
    writeln!(file, "{pid}")?;
    Ok(path)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another server may have overwritten it meanwhile.
        let is_ours =
            fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == self.pid.to_string());
        if is_ours {
            log::notice("Removing the pid file.");
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_removed_with_its_owner() {
        let dir = crate::testing::directory("pid-file");
        let path = dir.path().join("russet.pid");
        fs::write(&path, "123456789\n").unwrap();
        let file = PidFile::write(path.to_str().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = crate::testing::directory("pid-link");
        let (victim, link) = (dir.path().join("victim"), dir.path().join("russet.pid"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(PidFile::write(link.to_str().unwrap()).is_none());
        fs::remove_file(&link).unwrap();
        fs::hard_link(&victim, &link).unwrap();
        assert!(PidFile::write(link.to_str().unwrap()).is_none());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}
