//! Process-wide resources that the node's requests change: working directory, listeners, log and
//! limits.
//!
//! The same requests apply a configuration at the start and change it at runtime.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russet_engine::io::{Level, Request};
use rustix::event::epoll;

use crate::append_disk::make_folder;
use crate::data_lock::{DataLock, Taken};
use crate::limits;
use crate::listeners::Listeners;
use crate::log;
use crate::memory;
use crate::requests::remove_left_temps;
use crate::snapshot_writer::{remove_leftovers, sync_directory};
use crate::sys::error_text;

/// Process-wide resources.
pub struct Resources {
    /// The directory in which the process was started.
    pub(crate) start_dir: PathBuf,
    /// The epoll instance.
    pub(crate) epoll: OwnedFd,
    /// Listening sockets.
    pub(crate) listeners: Listeners,
    /// Name of the dump file in the working directory; none until the first request sets it.
    dbfilename: Option<String>,
    /// Lock of the dump file; none if the directory is not writable.
    lock: Option<DataLock>,
    /// Lock of the append-only files.
    pub(crate) append_lock: AppendLock,
    /// TCP keepalive of outgoing connections, seconds.
    pub(crate) keepalive_secs: u32,
}

impl Resources {
    /// Creates the resources before any request. `backlog`: maximum number of pending connections
    /// of a listener.
    pub fn new(backlog: i32) -> rustix::io::Result<Resources> {
        Ok(Resources {
            start_dir: std::env::current_dir().unwrap_or_default(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            listeners: Listeners::new(backlog),
            dbfilename: None,
            lock: None,
            append_lock: AppendLock::default(),
            keepalive_secs: 0,
        })
    }

    /// Carries out a request that does not block. One that may wait for a disk is returned.
    pub fn carry_out(&mut self, request: Request) -> Result<Result<(), String>, Request> {
        Ok(match request {
            Request::ChangeDir(path) => self.change_dir(&path),
            Request::Listen { service, bind, port } => {
                self.listeners.rebind(&self.epoll, service, &bind, port)
            }
            Request::LogTo { path, level } => log_to(&path, level),
            Request::KeepAlive(seconds) => {
                self.keepalive_secs = seconds;
                self.listeners.set_keepalive(seconds)
            }
            Request::DumpFile(name) => self.rename_dump(name),
            Request::MaxClients(clients) => raise_limit(clients),
            Request::PurgeInBackground(wanted) => memory::purge_in_background(wanted),
            Request::AppendFolder(None) => Ok(()),
            Request::AppendFolder(Some(_))
            | Request::ReplaceFile { .. }
            | Request::MoveFile { .. }
            | Request::RemoveFile(_) => {
                return Err(request);
            }
        })
    }

    fn change_dir(&mut self, path: &str) -> Result<(), String> {
        let taken = match &self.dbfilename {
            Some(name) => DataLock::take(Path::new(path), name, self.lock.as_ref())?,
            None => Taken::Unavailable,
        };
        // If this fails, a new lock is released.
        std::env::set_current_dir(path).map_err(|error| error_text(&error))?;
        self.replace_lock(taken);
        Ok(())
    }

    fn rename_dump(&mut self, name: String) -> Result<(), String> {
        let taken = DataLock::take(Path::new("."), &name, self.lock.as_ref())?;
        self.replace_lock(taken);
        self.dbfilename = Some(name);
        Ok(())
    }

    /// Releases the lock of the former dump file, unless it is still in use.
    fn replace_lock(&mut self, taken: Taken) {
        match taken {
            Taken::New(lock) => self.lock = Some(lock),
            Taken::Same => {}
            Taken::Unavailable => self.lock = None,
        }
    }

    /// Releases all locks of files.
    pub fn release(&mut self) {
        drop(self.lock.take());
        self.append_lock.release();
    }
}

/// The lock of the append-only files, if there are any. It is taken in the background, since creating their folder may
/// wait for the disk.
#[derive(Clone, Default)]
pub struct AppendLock(Arc<Mutex<Option<DataLock>>>);

impl AppendLock {
    /// Creates the folder and acquires the lock in it, then releases the former one. Removes what killed saves have left
    /// there.
    pub fn take(&self, folder: &Path, name: &str) -> Result<(), String> {
        let say = |why: &str| format!("Can't use the folder '{}': {why}", folder.display());
        make_folder(folder).map_err(|error| say(&error_text(&error)))?;
        let mut lock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match DataLock::take_appends(folder, name, lock.as_ref())? {
            Taken::New(taken) => *lock = Some(taken),
            Taken::Same => {}
            Taken::Unavailable => return Err(say("no lock file can be created in it")),
        }
        remove_leftovers(folder);
        remove_left_temps(folder, &format!("{name}.manifest"));
        Ok(())
    }

    /// Returns the folder; none without a lock, or while it is being taken.
    pub fn folder(&self) -> Option<PathBuf> {
        self.0.try_lock().ok()?.as_ref().map(|lock| lock.folder().to_path_buf())
    }

    fn release(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn log_to(path: &str, level: Option<Level>) -> Result<(), String> {
    log::check_file(path).map_err(|why| format!("Can't open the log file: {why}"))?;
    match level {
        Some(level) => log::set_target(path, level),
        None => log::silence(),
    }
    Ok(())
}

fn raise_limit(clients: u32) -> Result<(), String> {
    let able = limits::raise(clients).clients;
    if able < clients {
        return Err(format!(
            "The operating system is not able to handle the specified number of clients, try with {able}"
        ));
    }
    Ok(())
}

/// Gives a file another name, in a folder that exists, and makes both names durable.
pub fn move_file(from: &Path, to: &Path) -> Result<(), String> {
    let say = |error: std::io::Error| error_text(&error);
    fs::rename(from, to).map_err(say)?;
    for path in [to, from] {
        sync_directory(path.parent().unwrap_or(Path::new("/"))).map_err(say)?;
    }
    Ok(())
}

/// Removes a file if it exists.
pub fn remove_file(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error_text(&error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn append_only_files_have_one_server_and_their_folder_may_have_several() {
        let dir = crate::testing::directory("append-lock");
        let folder = dir.path().join("appendonlydir");
        let (first, second) = (AppendLock::default(), AppendLock::default());
        assert_eq!(first.take(&folder, "a.aof"), Ok(()));
        assert_eq!(first.take(&folder, "a.aof"), Ok(()), "it is ours already");
        let why = second.take(&folder, "a.aof").unwrap_err();
        let pid = format!("(process {})", std::process::id());
        assert!(why.contains(&pid) && why.contains(folder.to_str().unwrap()), "{why}");
        assert_eq!(second.take(&folder, "b.aof"), Ok(()));
        assert_eq!(AppendLock::default().take(&dir.path().join("other"), "a.aof"), Ok(()));
        // Another name releases the former one.
        fs::write(folder.join("temp-12-3.rdb"), "left by a killed save").unwrap();
        assert_eq!(first.take(&folder, "c.aof"), Ok(()));
        assert!(!folder.join("temp-12-3.rdb").exists());
        assert_eq!(second.take(&folder, "a.aof"), Ok(()));
        first.release();
        second.release();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let why = first.take(&dir.path().join("none/none"), "a.aof").unwrap_err();
        assert!(why.ends_with("No such file or directory"), "{why}");
    }
}
