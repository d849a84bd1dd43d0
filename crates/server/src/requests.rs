//! What the node requests of the world: done at once, or by `background.rs` what may wait for a disk.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use russet_engine::io::{Input, Level, Request, RequestId, Rewrite};

use crate::data_lock::DataLock;
use crate::engine::Engine;
use crate::event_loop::EventLoop;
use crate::limits;
use crate::log;
use crate::memory;
use crate::snapshot_writer::sync_folder;
use crate::sys::error_text;

/// Where the process lives.
pub struct Surroundings {
    /// Absolute path of the configuration file, if there is one.
    pub config_file: Option<PathBuf>,
    /// Name of the dump file in the working folder.
    pub dbfilename: String,
    /// Keeps others out of the data; `None` if the folder allows no lock.
    pub lock: Option<DataLock>,
    /// Seconds of silence before a peer is probed.
    pub keepalive_secs: u32,
}

impl<E: Engine> EventLoop<E> {
    /// Carries out a request, or has it carried out where a disk may be waited for; the answer is an input to come.
    pub(crate) fn do_request(&mut self, id: RequestId, request: Request) {
        let answer = match request {
            Request::ChangeDir(path) => self.surroundings.change_dir(&path),
            Request::Listen { bind, port } => self.door.rebind(&self.epoll, &bind, port),
            Request::LogTo { path, level } => log_to(&path, level),
            Request::KeepAlive(seconds) => {
                self.surroundings.keepalive_secs = seconds;
                self.door.set_keepalive(seconds)
            }
            Request::DumpFile(name) => self.surroundings.rename_dump(name),
            Request::MaxClients(clients) => raise_limit(clients),
            Request::PurgeInBackground(wanted) => memory::purge_in_background(wanted),
            Request::SyncAsWritten(wanted) => {
                self.snapshots.set_incremental_fsync(wanted);
                Ok(())
            }
            Request::RewriteConfig(rewrite) => {
                let path = self.surroundings.config_file.clone();
                return self.background.send(id, move || rewrite_config(path.as_deref(), &rewrite));
            }
            Request::RemoveFile(path) => {
                // The folder may be another one when its turn comes.
                let path = std::path::absolute(&path).unwrap_or_else(|_| path.into());
                return self.background.send(id, move || remove_file(&path));
            }
        };
        self.inputs.push_back(Input::Answer { id, answer });
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

fn remove_file(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error_text(&error)),
        _ => Ok(()),
    }
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

impl Surroundings {
    fn change_dir(&mut self, path: &str) -> Result<(), String> {
        let lock = DataLock::take(Path::new(path), &self.dbfilename)?;
        std::env::set_current_dir(path).map_err(|error| error_text(&error))?;
        // No lock: the one already held is this folder's, or the folder allows none.
        if let Some(lock) = lock {
            self.lock = Some(lock);
        }
        Ok(())
    }

    fn rename_dump(&mut self, name: String) -> Result<(), String> {
        let lock = DataLock::take(Path::new("."), &name)?;
        self.lock = lock.or(self.lock.take());
        self.dbfilename = name;
        Ok(())
    }
}

fn rewrite_config(path: Option<&Path>, rewrite: &Rewrite) -> Result<(), String> {
    let path = path.ok_or("The server is running without a config file")?;
    let say = |error: std::io::Error| error_text(&error);
    let old = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(say)?,
    };
    replace_file(path, &rewrite.apply(&old)).map_err(say)
}

/// Puts new contents under a name: there is the old file or the new one, whatever happens.
fn replace_file(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    // Through a link, the file it names is the one to replace.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temp = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let _ = fs::remove_file(&temp);
    let mut file = fs::File::options().write(true).create_new(true).mode(0o644).open(&temp)?;
    let done = file
        .write_all(contents)
        .and_then(|()| match fs::metadata(&path) {
            Ok(old) => file.set_permissions(old.permissions()),
            Err(_) => Ok(()),
        })
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temp, &path))
        .and_then(|()| sync_folder(path.parent().unwrap_or(Path::new("/"))));
    if done.is_err() {
        let _ = fs::remove_file(&temp);
    }
    done
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_gone_when_it_was_removed_or_never_there() {
        let dir = crate::testing::folder("remove-file");
        let path = dir.path().join("dump.rdb");
        fs::write(&path, "data").unwrap();
        assert_eq!(remove_file(&path), Ok(()));
        assert!(!path.exists());
        assert_eq!(remove_file(&path), Ok(()));
        assert_eq!(remove_file(dir.path()), Err("Is a directory".into()));
    }

    #[test]
    fn a_replaced_file_keeps_its_rights_and_its_link() {
        let dir = crate::testing::folder("replace-file");
        let (file, link) = (dir.path().join("real.conf"), dir.path().join("link.conf"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
