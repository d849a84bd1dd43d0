//! Leaving the terminal, and the file that says which process this is.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use crate::log;
use crate::sys::{self, Fork, error_text};

/// Goes on in a process of its own session, without a terminal. Must come before the first thread.
pub fn daemonize() -> std::io::Result<()> {
    if matches!(sys::fork()?, Fork::Parent) {
        sys::exit_now(0);
    }
    rustix::process::setsid()?;
    // As in Redis, a system without /dev/null keeps its old descriptors.
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
    }
    Ok(())
}

/// A file with the process id, removed when it is dropped.
pub struct PidFile {
    path: PathBuf,
    pid: u32,
}

impl PidFile {
    /// Writes the file. A failure is logged and stops nobody, as in Redis.
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
    // A link may have been laid by another user, to have a file of ours overwritten.
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
        // A successor may have written its own number meanwhile.
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
    fn the_pid_file_comes_and_goes_with_its_process() {
        let dir = crate::testing::folder("pid-file");
        let path = dir.path().join("russet.pid");
        fs::write(&path, "123456789\n").unwrap();
        let file = PidFile::write(path.to_str().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = crate::testing::folder("pid-link");
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
