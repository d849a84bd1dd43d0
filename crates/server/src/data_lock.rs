//! Prevents two servers from using the same dump file.
//!
//! Servers may share a directory if their dump files have different names, so the lock is a
//! separate file next to the dump: `.<dbfilename>.lock`. The kernel releases its advisory lock when
//! the process ends for any reason; an orderly shutdown also removes the file.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::log;
use crate::sys::error_text;

/// The lock, held until it is dropped.
pub struct DataLock {
    file: File,
    path: PathBuf,
}

impl DataLock {
    /// Acquires the lock of a dump file. An error names its holder; `None`: the directory is not
    /// writable, so no dump can be written there either.
    pub fn take(directory: &Path, dbfilename: &str) -> Result<Option<DataLock>, String> {
        let path = match std::path::absolute(directory.join(format!(".{dbfilename}.lock"))) {
            Ok(path) => path,
            Err(error) => return Err(error_text(&error)),
        };
        // If its holder removes the file between our opening and locking it, try again.
        for _ in 0..100 {
            match try_take(&path) {
                Ok(Some(file)) => return Ok(Some(DataLock { file, path })),
                Ok(None) => {}
                Err(Refusal::Held(pid)) => {
                    return Err(format!(
                        "Another server{pid} already uses the dump file '{dbfilename}' in this \
                         directory: use a different 'dir' or 'dbfilename'"
                    ));
                }
                Err(Refusal::Io(error)) => {
                    let why = error_text(&error);
                    log::notice(&format!("Cannot create the lock file {}: {why}", path.display()));
                    return Ok(None);
                }
            }
        }
        Err("the lock file keeps changing".into())
    }
}

enum Refusal {
    Held(String),
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Io(error)
    }
}

fn try_take(path: &Path) -> Result<Option<File>, Refusal> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o644);
    let mut file = options.custom_flags(libc::O_NOFOLLOW).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(Refusal::Held(holder(&mut file))),
        Err(errno) => return Err(Refusal::Io(errno.into())),
    }
    let ours = file.metadata()?;
    let is_current =
        fs::symlink_metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == (ours.dev(), ours.ino()));
    if !is_current {
        return Ok(None);
    }
    // The process id is only informative; the lock works without it.
    let _ = file.set_len(0);
    let _ = write!(file, "{}", std::process::id());
    Ok(Some(file))
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.take(20).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) => format!(" (process {pid})"),
        Err(_) => String::new(),
    }
}

impl Drop for DataLock {
    fn drop(&mut self) {
        // Removed before it is unlocked, so that nobody else can hold a lock on it.
        let _ = fs::remove_file(&self.path);
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dump_file_has_one_server() {
        let dir = crate::testing::directory("data-lock");
        let first = DataLock::take(dir.path(), "dump.rdb").unwrap().unwrap();
        let refusal = DataLock::take(dir.path(), "dump.rdb").err().unwrap();
        assert!(refusal.contains(&format!("(process {})", std::process::id())), "{refusal}");
        let other = DataLock::take(dir.path(), "dump-6380.rdb").unwrap();
        assert!(other.is_some());
        drop(first);
        assert!(DataLock::take(dir.path(), "dump.rdb").unwrap().is_some());
        drop(other);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_not_locked() {
        assert!(DataLock::take(Path::new("/proc"), "dump.rdb").unwrap().is_none());
    }
}
