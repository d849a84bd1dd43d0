//! Test helpers.

use std::path::{Path, PathBuf};

/// A temporary directory, removed when it is dropped.
pub struct Directory(PathBuf);

impl Directory {
    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Creates an empty directory; `name` must be unique to the test.
pub fn directory(name: &str) -> Directory {
    let path = std::env::temp_dir().join(format!("russet-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the temporary directory is writable");
    Directory(path)
}
