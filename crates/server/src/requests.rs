//! The node's requests: carried out at once by `resources.rs`, or in the background if they may
//! wait for a disk.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use russet_engine::io::{AppendFolder, Input, Request, RequestId, Rewrite};

use crate::append_disk::make_folder;
use crate::config_files::texts_of_included;
use crate::engine::Engine;
use crate::event_loop::EventLoop;
use crate::resources::{move_file, remove_file};
use crate::snapshot_writer::sync_directory;
use crate::sys::error_text;

impl<E: Engine> EventLoop<E> {
    /// Carries out a request, in the background if it may wait for a disk. The answer is a later
    /// input.
    pub(crate) fn do_request(&mut self, id: RequestId, request: Request) {
        match self.resources.carry_out(request) {
            Ok(answer) => self.inputs.push_back(Input::Answer { id, answer }),
            Err(request) => self.do_in_background(id, request),
        }
    }

    fn do_in_background(&mut self, id: RequestId, request: Request) {
        match request {
            Request::ReplaceFile { path, rewrite } => {
                let start = self.resources.start_dir.clone();
                // The working directory may change before the job runs.
                let path = std::path::absolute(&path).unwrap_or_else(|_| path.into());
                self.background.send(id, move || rewrite_file(&path, &rewrite, &start));
            }
            Request::AppendFolder(Some(AppendFolder { folder, name })) => {
                let lock = self.resources.append_lock.clone();
                let folder = std::path::absolute(&folder).unwrap_or_else(|_| folder.into());
                self.background.send(id, move || lock.take(&folder, &name));
            }
            Request::MoveFile { from, to } => {
                let from = std::path::absolute(&from).unwrap_or_else(|_| from.into());
                let to = std::path::absolute(&to).unwrap_or_else(|_| to.into());
                self.background.send(id, move || move_file(&from, &to));
            }
            Request::RemoveFile(path) => {
                let path = std::path::absolute(&path).unwrap_or_else(|_| path.into());
                self.background.send(id, move || remove_file(&path));
            }
            other => unreachable!("{other:?} does not block and was carried out"),
        }
    }
}

fn rewrite_file(path: &Path, rewrite: &Rewrite, start: &Path) -> Result<(), String> {
    let say = |error: std::io::Error| error_text(&error);
    let old = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(say)?,
    };
    let mut others = |directory: &[u8], word: &[u8]| texts_of_included(start, directory, word);
    let mode = if rewrite.is_public() { 0o644 } else { 0o600 };
    replace_file(path, &rewrite.apply(&old, &mut others), mode).map_err(say)
}

/// Replaces a file atomically: after a crash it has its old or its new contents. Its folder is created if it does not
/// exist. `mode`: its permissions if it did not exist.
fn replace_file(path: &Path, contents: &[u8], mode: u32) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        make_folder(folder)?;
    }
    // Replace the target of a symbolic link, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temp = path.with_file_name(format!(".{name}{}", temp_ending()));
    let _ = fs::remove_file(&temp);
    let mut file = create_like(&temp, &path, mode)?;
    let done = file
        .write_all(contents)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temp, &path))
        .and_then(|()| sync_directory(path.parent().unwrap_or(Path::new("/"))));
    if done.is_err() {
        let _ = fs::remove_file(&temp);
    }
    done
}

/// Creates a file with the permissions of another one before anything is written into it, since it
/// may contain passwords. If there is no other one, it has those of `mode` that the umask permits.
fn create_like(path: &Path, model: &Path, mode: u32) -> std::io::Result<fs::File> {
    let model = fs::metadata(model).ok();
    let mode = if model.is_some() { 0o600 } else { mode };
    let file = fs::File::options().write(true).create_new(true).mode(mode).open(path)?;
    if let Some(model) = model {
        file.set_permissions(model.permissions())?;
    }
    Ok(file)
}

/// The end of the names of temporary files, whose beginning is a dot and the name of the file that they are to replace.
fn temp_ending() -> String {
    format!(".{}.tmp", std::process::id())
}

/// Removes the temporary files of this process in a folder, before it exits without waiting for their writers.
pub fn remove_own_temps(folder: &Path) {
    remove_temps(folder, "", &temp_ending());
}

/// Removes the temporary files that killed processes have left beside a file whose folder is locked.
pub fn remove_left_temps(folder: &Path, name: &str) {
    remove_temps(folder, name, ".tmp");
}

fn remove_temps(folder: &Path, name: &str, ending: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let start = format!(".{name}");
    for entry in entries.flatten() {
        let found = entry.file_name();
        if found.to_str().is_some_and(|found| found.starts_with(&start) && found.ends_with(ending))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn removing_a_missing_file_succeeds() {
        let dir = crate::testing::directory("remove-file");
        let path = dir.path().join("dump.rdb");
        fs::write(&path, "data").unwrap();
        assert_eq!(remove_file(&path), Ok(()));
        assert!(!path.exists());
        assert_eq!(remove_file(&path), Ok(()));
        assert_eq!(remove_file(dir.path()), Err("Is a directory".into()));
    }

    #[test]
    fn a_password_is_never_written_where_others_may_read_it() {
        let dir = crate::testing::directory("replace-secret");
        let old = dir.path().join("russet.conf");
        let mode_of = |name: &str| {
            let file = create_like(&dir.path().join(name), &old, 0o600).unwrap();
            file.metadata().unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode_of("without an old one"), 0o600);
        fs::write(&old, "requirepass secret").unwrap();
        for mode in [0o600, 0o640, 0o664] {
            fs::set_permissions(&old, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(mode_of(&format!("{mode:o}")), mode);
        }
        fs::remove_file(&old).unwrap();
        replace_file(&old, b"requirepass secret", 0o600).unwrap();
        assert_eq!(fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_folder_is_created_but_not_the_one_around_it() {
        let dir = crate::testing::directory("replace-folder");
        let path = dir.path().join("appendonlydir/appendonly.aof.manifest");
        let text = Rewrite::new(|old, _| [old, b"a line\n"].concat());
        for lines in 1..3 {
            assert_eq!(rewrite_file(&path, &text, dir.path()), Ok(()));
            assert_eq!(fs::read_to_string(&path).unwrap(), "a line\n".repeat(lines));
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let path = dir.path().join("none/none/manifest");
        let answer = rewrite_file(&path, &text, dir.path());
        assert_eq!(answer, Err("No such file or directory".into()));
    }

    #[test]
    fn what_is_no_secret_may_be_read_by_others() {
        let dir = crate::testing::directory("replace-public");
        let path = dir.path().join("manifest");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        rewrite_file(&path, &Rewrite::public(b"one".to_vec()), dir.path()).unwrap();
        // The umask may take rights away.
        let beside = dir.path().join("beside");
        fs::File::options().write(true).create_new(true).mode(0o644).open(&beside).unwrap();
        assert_eq!(mode(), fs::metadata(&beside).unwrap().permissions().mode() & 0o777);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        rewrite_file(&path, &Rewrite::public(b"two".to_vec()), dir.path()).unwrap();
        assert_eq!((mode(), fs::read(&path).unwrap()), (0o640, b"two".to_vec()));
    }

    #[test]
    fn temporary_files_are_removed_and_no_others() {
        let dir = crate::testing::directory("replace-temps");
        let own = format!(".a.manifest.{}.tmp", std::process::id());
        let files = [own.as_str(), ".a.manifest.1.tmp", ".b.manifest.1.tmp", ".a.lock", "a.1.tmp"];
        files.iter().for_each(|name| fs::write(dir.path().join(name), "x").unwrap());
        let left = || {
            let exists = |name: &&&str| dir.path().join(name).exists();
            files.iter().filter(exists).copied().collect::<Vec<_>>()
        };
        remove_own_temps(dir.path());
        assert_eq!(left(), files[1..]);
        remove_left_temps(dir.path(), "a.manifest");
        assert_eq!(left(), files[2..]);
    }

    #[test]
    fn a_replaced_file_keeps_its_permissions_and_its_link() {
        let dir = crate::testing::directory("replace-file");
        let (file, link) = (dir.path().join("real.conf"), dir.path().join("link.conf"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace_file(&link, b"new", 0o644).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
