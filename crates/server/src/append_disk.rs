//! A file that is appended to, as its threads see it: opening it, writing at its end, cutting off a torn end, syncing.
//! Not in here: when these are done, which is `append_file.rs`.
//!
//! [`Disk`] is a trait so that tests can have a disk that fills up, fails and hangs.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use crate::snapshot_writer::sync_directory;
use crate::sys::error_text;

/// Buffers that one system call takes at most: IOV_MAX of Linux.
const SLICES_MAX: usize = 1024;

/// Bytes that are copied at once.
const COPY_BYTES: usize = 256 << 10;

/// What is done with an open file. A sync may run beside writes, from another thread.
pub trait Disk: Send + Sync {
    /// Writes some of the bytes at this offset and returns their number.
    fn write(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Cuts off what is behind `len` bytes.
    fn cut(&self, len: u64) -> io::Result<()>;
    /// Waits until all bytes written before are on disk, with the length that is needed to read them.
    fn sync(&self) -> io::Result<()>;
}

impl Disk for File {
    fn write(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(self, slices, offset)?)
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Writes all buffers at an offset with as few system calls as possible. Returns how many bytes were written, and the
/// error that ended it before the last.
pub fn write_all(
    disk: &dyn Disk,
    slices: &mut [IoSlice<'_>],
    offset: u64,
) -> (u64, Option<io::Error>) {
    let mut rest = slices;
    let mut written = 0;
    while !rest.is_empty() {
        let most = rest.len().min(SLICES_MAX);
        match disk.write(&rest[..most], offset + written) {
            Ok(0) => return (written, Some(io::Error::other("the file takes no more bytes"))),
            Ok(bytes) => {
                written += bytes as u64;
                IoSlice::advance_slices(&mut rest, bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Syncs, again if a signal interrupts it, which says nothing of the bytes.
pub fn sync(disk: &dyn Disk) -> io::Result<()> {
    loop {
        match disk.sync() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Opens a file for appending behind `len` bytes, whatever else is there is cut off. With a length of 0 the file and its
/// folder are created if they do not exist. Afterwards file, folder and the folder's name are on disk. The bytes from
/// `sure` on are written again before, since the kernel does not try it again for a page after a sync that failed.
///
/// A symbolic link in the place of the file is refused, as in that of a lock: who may write into the folder could
/// otherwise have another file of ours cut off. A link in the place of the folder is the operator's way to another
/// disk. Hard links are allowed: they are how backups are made.
pub fn open(path: &Path, len: u64, sure: u64) -> Result<File, String> {
    let say = |what: &str, error: io::Error| {
        let why = match error.raw_os_error() {
            Some(libc::ELOOP) => "it is a symbolic link".to_owned(),
            _ => error_text(&error),
        };
        format!("Can't {what} '{}': {why}", path.display())
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    make_folder(folder).map_err(|error| say("create the folder of", error))?;
    let mut options = File::options();
    // Without O_NONBLOCK, opening a FIFO waits for a reader.
    options.read(true).write(true).create(len == 0).truncate(false).mode(0o644);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).map_err(|error| say("open", error))?;
    let about = file.metadata().map_err(|error| say("open", error))?;
    if !about.is_file() {
        return Err(say("append to", io::Error::other("it is not a regular file")));
    }
    let is = about.len();
    if is < len {
        let text = format!("it has {is} bytes, {len} were expected");
        return Err(say("append to", io::Error::other(text)));
    }
    if is > len {
        file.set_len(len).map_err(|error| say("truncate", error))?;
    }
    write_again(&file, sure, len).map_err(|error| say("write to", error))?;
    file.sync_all().map_err(|error| say("sync", error))?;
    sync_directory(folder).map_err(|error| say("sync the folder of", error))?;
    Ok(file)
}

/// Writes the bytes of a range again, where they are.
fn write_again(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        file.read_exact_at(&mut buffer[..len], at)?;
        file.write_all_at(&buffer[..len], at)?;
        at += len as u64;
    }
    Ok(())
}

/// Creates a folder for files of ours if it does not exist, and makes its name durable: also of one that exists, since
/// a process that created it may have been killed before it had synced it.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let created = match fs::DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        other => other.map(|()| true)?,
    };
    match sync_directory(folder.parent().unwrap_or(Path::new("/"))) {
        // Of a folder that is not ours we may not even be allowed to open the parent.
        Err(error) if created => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_missing_folder_and_file_are_created() {
        let dir = crate::testing::directory("append-create");
        let path = dir.path().join("appendonlydir/a.aof.1.incr.aof");
        let file = open(&path, 0, 0).unwrap();
        assert_eq!(write_all(&file, &mut [IoSlice::new(b"one"), IoSlice::new(b"two")], 0).0, 6);
        assert_eq!(fs::read(&path).unwrap(), b"onetwo");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        // The umask may take rights away.
        assert_eq!(mode(&path) & !0o644, 0);
        assert_eq!(mode(path.parent().unwrap()) & !0o755, 0);
    }

    #[test]
    fn what_is_behind_the_length_is_cut_off_and_what_is_missing_is_an_error() {
        let dir = crate::testing::directory("append-cut");
        let path = dir.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        let link = dir.path().join("backup");
        fs::hard_link(&path, &link).unwrap();
        open(&path, 10, 10).unwrap();
        open(&path, 7, 7).unwrap().write_all_at(b"x", 7).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0123456x");
        assert_eq!(fs::metadata(&link).unwrap().nlink(), 2);
        let why = open(&path, 9, 9).unwrap_err();
        assert_eq!(
            why,
            format!("Can't append to '{}': it has 8 bytes, 9 were expected", path.display())
        );
        fs::remove_file(&path).unwrap();
        let why = open(&path, 1, 1).unwrap_err();
        assert!(why.starts_with("Can't open ") && why.ends_with("No such file or directory"));
        assert!(!path.exists(), "a file that was to have bytes is not replaced by an empty one");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_kept() {
        let dir = crate::testing::directory("append-foreign");
        let path = dir.path().join("file");
        let victim = dir.path().join("victim");
        fs::write(&victim, "data").unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let fifo = || {
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        };
        let foreign: [(&dyn Fn(), &str); 4] = [
            (&|| symlink(&victim, &path).unwrap(), "it is a symbolic link"),
            (&|| symlink("nowhere", &path).unwrap(), "it is a symbolic link"),
            (&|| fs::create_dir(&path).unwrap(), "Is a directory"),
            (&fifo, "it is not a regular file"),
        ];
        for (make, expected) in foreign {
            make();
            let why = open(&path, 0, 0).unwrap_err();
            assert!(why.ends_with(expected), "{why}");
            let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
        }
        assert_eq!(fs::read(&victim).unwrap(), b"data");
        // The folder's own link is followed.
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        symlink(&real, dir.path().join("link")).unwrap();
        open(&dir.path().join("link/file"), 0, 0).unwrap();
        assert!(real.join("file").exists());
    }

    #[test]
    fn more_buffers_than_a_call_takes_are_written_in_order() {
        let dir = crate::testing::directory("append-many");
        let path = dir.path().join("file");
        let file = open(&path, 0, 0).unwrap();
        let bytes: Vec<u8> = (0..3 * SLICES_MAX + 1).map(|i| i as u8).collect();
        let mut slices: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
        let (written, error) = write_all(&file, &mut slices, 0);
        assert!(error.is_none());
        assert_eq!((written, fs::read(&path).unwrap()), (bytes.len() as u64, bytes));
    }
}
