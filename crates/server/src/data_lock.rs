//! Prevents two servers from using the same dump file or the same append-only files, and two Sentinels from using the same state.
//!
//! Servers may share a directory if their dump files have different names, so the lock is a
//! separate file next to the dump: `.<dbfilename>.lock`. That of append-only files is in their folder:
//! `.<appendfilename>.lock`.
//! A file with a Sentinel's state, which each save replaces, has its lock next to it too. The kernel releases its advisory lock when
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
#[derive(Debug)]
pub struct DataLock {
    file: File,
    path: PathBuf,
    /// Device and inode: a path may lead to the file in several ways, and to another one later.
    identity: Identity,
}

type Identity = (u64, u64);

/// The result of acquiring a lock.
#[derive(Debug)]
pub enum Taken {
    /// The lock.
    New(DataLock),
    /// It is the given one.
    Same,
    /// The directory is not writable, so no dump can be written there either.
    Unavailable,
}

impl DataLock {
    /// Acquires the lock of a dump file, which may be `ours` already. An error names its holder, or
    /// what is in its place.
    pub fn take(
        directory: &Path,
        dbfilename: &str,
        ours: Option<&DataLock>,
    ) -> Result<Taken, String> {
        DataLock::take_file(directory, dbfilename, ours, &|pid| {
            format!(
                "Another server{pid} already uses the dump file '{dbfilename}' in this directory: use a different \
                 'dir' or 'dbfilename'"
            )
        })
    }

    /// Acquires the lock of append-only files, likewise.
    pub fn take_appends(
        folder: &Path,
        appendfilename: &str,
        ours: Option<&DataLock>,
    ) -> Result<Taken, String> {
        DataLock::take_file(folder, appendfilename, ours, &|pid| {
            format!(
                "Another server{pid} already uses the append-only files '{appendfilename}' in the folder '{}': use a \
                 different 'dir', 'appenddirname' or 'appendfilename'",
                folder.display()
            )
        })
    }

    /// Acquires the lock of a file with the state of a Sentinel: with one state two of them would have the same id and votes.
    pub fn take_state(path: &Path) -> Result<Taken, String> {
        let (folder, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name());
        let name = name.unwrap_or_default().to_string_lossy();
        DataLock::take_file(folder, &name, None, &|pid| {
            let path = path.display();
            format!(
                "Another Sentinel{pid} already keeps its state in '{path}': each needs a file of its own"
            )
        })
    }

    /// Acquires the lock of a file with the state of a cluster node: with one state two of them would have the same name and
    /// votes.
    pub fn take_cluster_state(path: &Path) -> Result<Taken, String> {
        let (folder, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name());
        let name = name.unwrap_or_default().to_string_lossy();
        DataLock::take_file(folder, &name, None, &|pid| {
            let path = path.display();
            format!(
                "Sorry, the cluster configuration file {path} is already used by a different cluster node{pid}. Please \
                 make sure that different nodes use different cluster configuration files."
            )
        })
    }

    /// Acquires the lock of append-only files for a tool that changes them while no server may.
    pub fn take_for_repair(folder: &Path, appendfilename: &str) -> Result<Taken, String> {
        DataLock::take_file(folder, appendfilename, None, &|pid| {
            format!(
                "A server{pid} is using the append-only files '{appendfilename}': shut it down before they are changed"
            )
        })
    }

    /// Returns the folder of the lock.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Writes the process id again: it is another one in the background.
    pub fn renew(&mut self) {
        write_pid(&mut self.file);
    }

    fn take_file(
        directory: &Path,
        name: &str,
        ours: Option<&DataLock>,
        held_by: &dyn Fn(&str) -> String,
    ) -> Result<Taken, String> {
        let path = match std::path::absolute(directory.join(format!(".{name}.lock"))) {
            Ok(path) => path,
            Err(error) => return Err(error_text(&error)),
        };
        let is_ours = |ours: &DataLock| identity(&path) == Some(ours.identity);
        if ours.is_some_and(is_ours) {
            return Ok(Taken::Same);
        }
        // If its holder removes the file between our opening and locking it, try again.
        for _ in 0..100 {
            match try_take(&path) {
                Ok(Some((file, identity))) => {
                    return Ok(Taken::New(DataLock { file, path, identity }));
                }
                Ok(None) => {}
                Err(Refusal::Held(pid)) => return Err(held_by(&pid)),
                Err(Refusal::Foreign(what)) => {
                    return Err(format!("'{}' should be a lock file and {what}", path.display()));
                }
                Err(Refusal::Io(error)) => {
                    let why = error_text(&error);
                    log::notice(&format!("Cannot create the lock file {}: {why}", path.display()));
                    return Ok(Taken::Unavailable);
                }
            }
        }
        Err("the lock file keeps changing".into())
    }
}

fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|about| (about.dev(), about.ino()))
}

#[derive(Debug)]
enum Refusal {
    /// Another process holds the lock.
    Held(String),
    /// Something else is in its place, which cannot be locked or must not be overwritten.
    Foreign(String),
    /// It cannot be created.
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Io(error)
    }
}

fn try_take(path: &Path) -> Result<Option<(File, Identity)>, Refusal> {
    let mut file = open(path)?;
    let ours = file.metadata()?;
    if !ours.is_file() || ours.nlink() > 1 {
        return Err(Refusal::Foreign("is something else".to_owned()));
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(Refusal::Held(holder(&mut file))),
        Err(errno) => return Err(Refusal::Io(errno.into())),
    }
    let identity_of_ours = (ours.dev(), ours.ino());
    if identity(path) != Some(identity_of_ours) {
        return Ok(None);
    }
    if !is_lock(&mut file) {
        // A dump, perhaps, that must not be lost.
        return Err(Refusal::Foreign("contains something else".to_owned()));
    }
    write_pid(&mut file);
    Ok(Some((file, identity_of_ours)))
}

/// Writes the process id, which is only informative: the lock works without it.
fn write_pid(file: &mut File) {
    let _ = file.set_len(0);
    let _ = file.rewind();
    let _ = write!(file, "{}", std::process::id());
}

/// Opens or creates the file. One of another user is opened for reading, which suffices to lock it.
fn open(path: &Path) -> Result<File, Refusal> {
    const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o644).custom_flags(FLAGS);
    let error = match options.open(path) {
        Ok(file) => return Ok(file),
        Err(error) => error,
    };
    if let Ok(file) = File::options().read(true).custom_flags(FLAGS).open(path) {
        return Ok(file);
    }
    match fs::symlink_metadata(path) {
        Ok(about) if !about.is_file() => Err(Refusal::Foreign("is something else".to_owned())),
        Ok(_) => Err(Refusal::Foreign(format!("cannot be opened: {}", error_text(&error)))),
        Err(_) => Err(Refusal::Io(error)),
    }
}

/// Longest content of a lock file: a process id.
const PID_BYTES_MAX: u64 = 20;

/// Whether a file is empty or contains a process id.
fn is_lock(file: &mut File) -> bool {
    let mut bytes = Vec::new();
    file.rewind().is_ok()
        && file.take(PID_BYTES_MAX + 1).read_to_end(&mut bytes).is_ok()
        && bytes.len() as u64 <= PID_BYTES_MAX
        && bytes.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.take(PID_BYTES_MAX).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) => format!(" (process {pid})"),
        Err(_) => String::new(),
    }
}

impl Drop for DataLock {
    fn drop(&mut self) {
        // Removed before it is unlocked, so that nobody else can hold a lock on it.
        if identity(&self.path) == Some(self.identity) {
            let _ = fs::remove_file(&self.path);
        }
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(directory: &Path, name: &str) -> Result<DataLock, String> {
        match DataLock::take(directory, name, None)? {
            Taken::New(lock) => Ok(lock),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn one_dump_file_has_one_server() {
        let dir = crate::testing::directory("data-lock");
        let first = take(dir.path(), "dump.rdb").unwrap();
        let refusal = take(dir.path(), "dump.rdb").unwrap_err();
        assert!(refusal.contains(&format!("(process {})", std::process::id())), "{refusal}");
        let other = take(dir.path(), "dump-6380.rdb").unwrap();
        drop(first);
        drop(take(dir.path(), "dump.rdb").unwrap());
        drop(other);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_is_recognized_by_all_of_its_paths() {
        let dir = crate::testing::directory("data-lock-same");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let lock = take(dir.path(), "dump.rdb").unwrap();
        for path in [dir.path().to_path_buf(), dir.path().join("."), link] {
            let again = DataLock::take(&path, "dump.rdb", Some(&lock));
            assert!(matches!(again, Ok(Taken::Same)), "{again:?}");
        }
        let other = DataLock::take(dir.path(), "other.rdb", Some(&lock));
        assert!(matches!(other, Ok(Taken::New(_))));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_not_locked() {
        let taken = DataLock::take(Path::new("/proc"), "dump.rdb", None);
        assert!(matches!(taken, Ok(Taken::Unavailable)), "{taken:?}");
    }

    #[test]
    fn what_is_in_the_place_of_a_lock_is_refused_and_kept() {
        let dir = crate::testing::directory("data-lock-foreign");
        let path = dir.path().join(".dump.rdb.lock");
        let (victim, elsewhere) = (dir.path().join("victim"), dir.path().join("elsewhere"));
        fs::write(&victim, "").unwrap();
        let foreign: [&dyn Fn(); 6] = [
            &|| fs::create_dir(&path).unwrap(),
            &|| std::os::unix::fs::symlink(&victim, &path).unwrap(),
            &|| std::os::unix::fs::symlink(&elsewhere, &path).unwrap(),
            &|| fs::hard_link(&victim, &path).unwrap(),
            &|| fs::write(&path, b"REDIS0011\xfa\x09redis-ver").unwrap(),
            &|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
        ];
        for (at, make) in foreign.iter().enumerate() {
            make();
            let before = fs::symlink_metadata(&path).unwrap().len();
            let refusal = take(dir.path(), "dump.rdb").unwrap_err();
            assert!(refusal.contains("should be a lock file"), "{at}: {refusal}");
            assert_eq!(fs::symlink_metadata(&path).unwrap().len(), before, "{at}");
            let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
        }
        // What a crashed server left is taken over.
        fs::write(&path, "4242").unwrap();
        drop(take(dir.path(), "dump.rdb").unwrap());
    }

    #[test]
    fn only_our_own_lock_is_removed() {
        let dir = crate::testing::directory("data-lock-replaced");
        let path = dir.path().join(".dump.rdb.lock");
        let lock = take(dir.path(), "dump.rdb").unwrap();
        fs::remove_file(&path).unwrap();
        let theirs = take(dir.path(), "dump.rdb").unwrap();
        drop(lock);
        assert!(path.exists());
        drop(theirs);
        assert!(!path.exists());
    }
}
