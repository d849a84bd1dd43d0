//! Reads what the last run has written into its journal.

use std::fs::{self, File};
use std::io::{Read, Result, Seek, SeekFrom};
use std::path::Path;

use russet_engine::journal_file::{JournalFile, LEN_MAX};

/// Reads the journal beside the state at a path, or its end. Nothing depends on it: without it there is less to tell.
pub fn read(state: &str) -> Vec<u8> {
    read_end(Path::new(&JournalFile::path(state))).unwrap_or_default()
}

fn read_end(path: &Path) -> Result<Vec<u8>> {
    let len_max = LEN_MAX as u64;
    let mut bytes = Vec::new();
    // Anything but a file might make us wait.
    if fs::metadata(path)?.is_file() {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(len_max)))?;
        file.take(len_max).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_far_as_it_can_be() {
        let dir = crate::testing::directory("journal");
        let state = dir.path().join("s.conf");
        let journal = || read(state.to_str().unwrap());
        assert_eq!(journal(), b"");
        let path = dir.path().join("s.conf.journal");
        fs::write(&path, "one\n").unwrap();
        assert_eq!(journal(), b"one\n");
        fs::write(&path, [vec![b'x'; LEN_MAX], b"end\n".to_vec()].concat()).unwrap();
        let end = journal();
        assert!(end.len() == LEN_MAX && end.ends_with(b"xend\n"));
        // What is no file is none of our business.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(journal(), b"");
    }
}
