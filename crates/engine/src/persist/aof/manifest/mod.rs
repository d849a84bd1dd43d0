//! The manifest: which files are the append-only file, and in which order they are loaded.
//!
//! ```text
//!   #RM:43f8c2d1a9e07b56                          Russet's checksum of everything below; stock servers skip the line
//!   file appendonly.aof.2.base.rdb seq 2 type b   at most one base: all data at one time, RDB or AOF
//!   file appendonly.aof.1.base.rdb seq 1 type h   history: part of the base by now, to be deleted
//!   file appendonly.aof.1.incr.aof seq 1 type h
//!   file appendonly.aof.2.incr.aof seq 2 type i   incremental files: the commands since then, the last one grows
//! ```
//!
//! The grammar and its errors are those of Redis 7: words with the quotes of redis.conf, in pairs of name and value. Pairs
//! with other names are skipped (Redis 8 writes `startoffset` and `endoffset`), and so are lines that begin with `#`.
//! Stricter than stock: a sequence number is a positive decimal number, a file has a name in UTF-8 that is not `.` or
//! `..`, a name does not occur twice, since history is deleted, and there is at least one file.
//!
//! A manifest without the checksum is a stock server's. The checksum is the first line, so that a manifest that lost its
//! end is refused. Whoever edits a manifest removes that line.
//!
//! Not here: files. The caller writes a manifest as a temporary file, syncs, renames and syncs the folder.

pub mod error;
mod text;

use self::error::ManifestErrorKind;

/// A manifest is not longer than this many bytes.
pub(in crate::persist::aof) const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// The name of the manifest of an append-only file (`appendfilename`).
pub fn manifest_name(filename: &str) -> String {
    format!("{filename}.manifest")
}

/// A file of the append-only file, in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AofFile {
    /// Its name, without a path.
    pub name: String,
    /// Its sequence number, from 1 on, counted for bases and incremental files separately.
    pub sequence: u64,
}

/// The format of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseFormat {
    /// An RDB file: `aof-use-rdb-preamble yes`.
    Rdb,
    /// Commands.
    Aof,
}

/// A manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    base: Option<AofFile>,
    history: Vec<AofFile>,
    incremental: Vec<AofFile>,
    base_sequence: u64,
    incremental_sequence: u64,
}

impl AofFile {
    /// Whether its name is that of an incremental file.
    fn is_incremental(&self) -> bool {
        self.name.contains(".incr.")
    }
}

impl Manifest {
    /// Returns the base.
    pub fn base(&self) -> Option<&AofFile> {
        self.base.as_ref()
    }

    /// Returns the incremental files in the order in which they are loaded.
    pub fn incremental(&self) -> &[AofFile] {
        &self.incremental
    }

    /// Returns the files to load, in order: the base, then the incremental ones.
    pub fn files(&self) -> impl Iterator<Item = &AofFile> {
        self.base.iter().chain(&self.incremental)
    }

    /// Returns the files that may be deleted, once the manifest that calls them history is on disk.
    pub fn history(&self) -> &[AofFile] {
        &self.history
    }

    /// Makes an existing file of the old single-file layout the base.
    pub fn adopt_base(&mut self, name: &str) {
        self.base_sequence = 1;
        self.base = Some(AofFile { name: name.to_owned(), sequence: 1 });
    }

    /// Adds a new base, makes the previous one history, and returns the name. `filename`: `appendfilename`.
    pub fn next_base(&mut self, filename: &str, format: BaseFormat) -> String {
        if let Some(old) = self.base.take() {
            self.history.insert(0, old);
            self.skip_names_of_history();
        }
        let ending = match format {
            BaseFormat::Rdb => "rdb",
            BaseFormat::Aof => "aof",
        };
        self.base_sequence += 1;
        let name = format!("{filename}.{}.base.{ending}", self.base_sequence);
        self.base = Some(AofFile { name: name.clone(), sequence: self.base_sequence });
        name
    }

    /// Adds a new incremental file behind the others and returns its name.
    pub fn next_incremental(&mut self, filename: &str) -> String {
        self.incremental_sequence += 1;
        let name = format!("{filename}.{}.incr.aof", self.incremental_sequence);
        self.incremental.push(AofFile { name: name.clone(), sequence: self.incremental_sequence });
        name
    }

    /// Makes all incremental files but the last `kept` ones history: the base contains their effects.
    pub fn retire_incremental(&mut self, kept: usize) {
        let retired = self.incremental.len().saturating_sub(kept);
        self.history.splice(0..0, self.incremental.drain(..retired));
        self.skip_names_of_history();
    }

    /// Gives new files other names than those of another manifest, which may be on disk too.
    pub fn skip_names_of(&mut self, other: &Manifest) {
        self.base_sequence = self.base_sequence.max(other.base_sequence);
        self.incremental_sequence = self.incremental_sequence.max(other.incremental_sequence);
    }

    /// Gives new files other names than those of the history, which may not be removed yet.
    fn skip_names_of_history(&mut self) {
        for file in &self.history {
            let last = match file.is_incremental() {
                true => &mut self.incremental_sequence,
                false => &mut self.base_sequence,
            };
            *last = file.sequence.max(*last);
        }
    }

    /// Forgets the history: its files are deleted.
    pub fn clear_history(&mut self) {
        self.history.clear();
    }

    /// Adds a file of this type behind those of its kind.
    fn add(&mut self, file: AofFile, file_type: u8) -> Result<(), ManifestErrorKind> {
        let is_known = self.files().chain(&self.history).any(|known| known.name == file.name);
        match file_type {
            b'b' if self.base.is_some() => return Err(ManifestErrorKind::DuplicateBase),
            b'i' if file.sequence <= self.incremental_sequence => {
                return Err(ManifestErrorKind::NotMonotonic);
            }
            b'b' | b'h' | b'i' if is_known => return Err(ManifestErrorKind::DuplicateName),
            b'b' => {
                self.base_sequence = file.sequence;
                self.base = Some(file);
            }
            b'i' => {
                self.incremental_sequence = file.sequence;
                self.incremental.push(file);
            }
            b'h' => self.history.push(file),
            _ => return Err(ManifestErrorKind::UnknownType),
        }
        Ok(())
    }

    /// Whether incremental files in the history can be there since a rewrite, which replaced a base with them and left a
    /// newer one. The types `h` and `i` differ in one bit, and history is deleted.
    fn is_history_replaced(&self) -> bool {
        let incremental = self.history.iter().filter(|file| file.is_incremental());
        let Some(last) = incremental.clone().map(|file| file.sequence).max() else { return true };
        let has_base = incremental.count() < self.history.len();
        let oldest = match (self.incremental.first(), self.history.last()) {
            (Some(first), _) => first.sequence,
            // A rewrite without an append-only file leaves a base alone. An `i` that has become an `h` would be the last.
            (None, last) if !last.is_some_and(AofFile::is_incremental) => u64::MAX,
            (None, _) => 0,
        };
        self.base.is_some() && has_base && last < oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewrite_makes_old_files_history() {
        let mut manifest = Manifest::default();
        assert_eq!(manifest.next_base("a", BaseFormat::Rdb), "a.1.base.rdb");
        assert_eq!(manifest.next_incremental("a"), "a.1.incr.aof");
        assert_eq!(manifest.next_incremental("a"), "a.2.incr.aof");
        assert_eq!(manifest.next_incremental("a"), "a.3.incr.aof");
        assert_eq!(manifest.next_base("a", BaseFormat::Aof), "a.2.base.aof");
        manifest.retire_incremental(1);
        let text = "file a.2.base.aof seq 2 type b\nfile a.1.incr.aof seq 1 type h\n\
            file a.2.incr.aof seq 2 type h\nfile a.1.base.rdb seq 1 type h\n\
            file a.3.incr.aof seq 3 type i\n";
        assert_eq!(String::from_utf8(manifest.format(false)).unwrap(), text);
        manifest.clear_history();
        manifest.retire_incremental(0);
        assert_eq!(manifest.history().len(), 1);
        assert_eq!(manifest.next_incremental("a"), "a.4.incr.aof");
    }

    #[test]
    fn the_old_single_file_becomes_the_base() {
        let mut manifest = Manifest::default();
        manifest.adopt_base("appendonly.aof");
        assert_eq!(manifest.format(false), b"file appendonly.aof seq 1 type b\n");
        assert_eq!(
            manifest.next_base("appendonly.aof", BaseFormat::Rdb),
            "appendonly.aof.2.base.rdb"
        );
    }
}
