//! What requests of the node change in the world: the working folder, listeners, the log, limits.
//!
//! The same requests bring a configuration into force at the start and change it while the server runs, so what each does
//! stands here once.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use russet_engine::io::{Level, Request};
use rustix::event::epoll;

use crate::data_lock::DataLock;
use crate::limits;
use crate::listeners::Listeners;
use crate::log;
use crate::memory;
use crate::sys::error_text;

/// See the module.
pub struct World {
    /// Watches sockets.
    pub(crate) epoll: OwnedFd,
    /// Where connections come in.
    pub(crate) listeners: Listeners,
    /// Name of the dump file in the working folder; none until the first request names it.
    dbfilename: Option<String>,
    /// Keeps others out of the data; none if the folder allows no lock.
    lock: Option<DataLock>,
    /// Seconds of silence before a peer is probed.
    pub(crate) keepalive_secs: u32,
    /// A snapshot's file is forced to disk as it is written.
    pub(crate) syncs_as_written: bool,
}

impl World {
    /// A world in which nothing has been requested yet. `backlog`: connections that may wait to be accepted.
    pub fn new(backlog: i32) -> rustix::io::Result<World> {
        Ok(World {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            listeners: Listeners::new(backlog),
            dbfilename: None,
            lock: None,
            keepalive_secs: 0,
            syncs_as_written: true,
        })
    }

    /// Carries out a request that takes no time. One that may wait for a disk is given back.
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
        let lock = match &self.dbfilename {
            Some(name) => DataLock::take(Path::new(path), name)?,
            None => None,
        };
        std::env::set_current_dir(path).map_err(|error| error_text(&error))?;
        // No lock: the one already held is this folder's, or the folder allows none.
        self.lock = lock.or(self.lock.take());
        Ok(())
    }

    fn rename_dump(&mut self, name: String) -> Result<(), String> {
        let lock = DataLock::take(Path::new("."), &name)?;
        self.lock = lock.or(self.lock.take());
        self.dbfilename = Some(name);
        Ok(())
    }

    /// Gives up what others may wait for.
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

/// Removes a file, if it is there.
pub fn remove_file(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error_text(&error)),
        _ => Ok(()),
    }
}
