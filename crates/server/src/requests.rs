//! What the node requests of the world: done at once by `world.rs`, or by `background.rs` what may wait for a disk.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use russet_engine::io::{Input, Request, RequestId, Rewrite};

use crate::engine::Engine;
use crate::event_loop::EventLoop;
use crate::snapshot_writer::sync_folder;
use crate::sys::error_text;
use crate::world::remove_file;

impl<E: Engine> EventLoop<E> {
    /// Carries out a request, or has it carried out where a disk may be waited for; the answer is an input to come.
    pub(crate) fn do_request(&mut self, id: RequestId, request: Request) {
        match self.world.carry_out(request) {
            Ok(answer) => {
                self.snapshots.set_incremental_fsync(self.world.syncs_as_written);
                self.inputs.push_back(Input::Answer { id, answer });
            }
            Err(request) => self.do_in_background(id, request),
        }
    }

    fn do_in_background(&mut self, id: RequestId, request: Request) {
        match request {
            Request::ReplaceFile { path, rewrite } => {
                self.background.send(id, move || rewrite_file(Path::new(&path), &rewrite));
            }
            Request::RemoveFile(path) => {
                // The folder may be another one when its turn comes.
                let path = std::path::absolute(&path).unwrap_or_else(|_| path.into());
                self.background.send(id, move || remove_file(&path));
            }
            other => unreachable!("{other:?} takes no time and was carried out"),
        }
    }
}

fn rewrite_file(path: &Path, rewrite: &Rewrite) -> Result<(), String> {
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
