//! Daemonizing, and the PID file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use crate::log;
use crate::sys::{self, Fork, error_text};

/// Continues in a child process with its own session and without a terminal. Must be called before
/// the first thread is started.
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
