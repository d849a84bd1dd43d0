//! Process-wide resources that the node's requests change: working directory, listeners, log and
//! limits.
//!
//! The same requests apply a configuration at the start and change it at runtime.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use russet_engine::io::{Level, Request};
use rustix::event::epoll;

use crate::data_lock::{DataLock, Taken};
use crate::limits;
use crate::listeners::Listeners;
use crate::log;
use crate::memory;
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
    /// TCP keepalive of outgoing connections, seconds.
    pub(crate) keepalive_secs: u32,
    /// Whether snapshot files are synced incrementally.
    pub(crate) syncs_as_written: bool,
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
            keepalive_secs: 0,
            syncs_as_written: true,
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
            Request::SyncAsWritten(wanted) => {
                self.syncs_as_written = wanted;
                Ok(())
            }
            Request::ReplaceFile { .. } | Request::RemoveFile(_) => return Err(request),
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

    /// Releases the lock of the dump file.
    pub fn release(&mut self) {
        drop(self.lock.take());
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

/// Removes a file if it exists.
pub fn remove_file(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error_text(&error)),
        _ => Ok(()),
    }
}
