//! Helpers of this crate's tests.

use std::path::{Path, PathBuf};

/// A folder that vanishes with its owner.
pub struct Folder(PathBuf);

impl Folder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A new empty folder; `name` must be one test's own.
pub fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("russet-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the folder for temporary files can be written");
    Folder(path)
}
