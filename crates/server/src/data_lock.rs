//! Keeps two servers off one dump file.
//!
//! Two servers in one folder are fine if their dump files have different names, so the lock is
//! a file of its own beside the dump: `.<dbfilename>.lock`, with an advisory lock that the kernel releases when the
//! process ends, however it ends. It is removed at an orderly end.

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
    /// Takes the lock of a dump file. An error says who holds it; `None`: the folder allows no lock file,
    /// then nothing can be written there either.
    pub fn take(folder: &Path, dbfilename: &str) -> Result<Option<DataLock>, String> {
        let path = match std::path::absolute(folder.join(format!(".{dbfilename}.lock"))) {
            Ok(path) => path,
            Err(error) => return Err(error_text(&error)),
        };
        // Its holder may remove the file between our opening and locking it: then begin again.
        for _ in 0..100 {
            match try_take(&path) {
                Ok(Some(file)) => return Ok(Some(DataLock { file, path })),
                Ok(None) => {}
                Err(Refusal::Held(pid)) => {
                    return Err(format!(
                        "Another server{pid} already uses the dump file '{dbfilename}' in this folder: \
                         give this one a different 'dir' or 'dbfilename'"
                    ));
                }
                Err(Refusal::Io(error)) => {
                    let why = error_text(&error);
                    log::notice(&format!("The folder cannot be locked: {}: {why}", path.display()));
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
    // The number only helps people; without it the lock holds all the same.
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
        // Removed while still locked, so nobody loses a lock on it.
        let _ = fs::remove_file(&self.path);
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dump_file_has_one_server() {
        let dir = crate::testing::folder("data-lock");
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
