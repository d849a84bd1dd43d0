//! Reads what a node knows of its cluster: `cluster-config-file`, which stock servers call nodes.conf.
//!
//! Two processes with one such file would be one node that votes twice, so it is locked before it is read. A file that cannot
//! be read or is damaged is never replaced: it may hold the only record of a vote.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use russet_engine::config::{ClusterStart, Config, NodesFile};

use crate::data_lock::{DataLock, Taken};
use crate::journal_file;
use crate::sys::error_text;

/// The state of a node.
pub struct Opened {
    /// The state.
    pub start: ClusterStart,
    /// Keeps other processes from using it, if its folder can be written.
    pub lock: Option<DataLock>,
}

/// Reads the state in the working directory, or says why not.
pub fn open(config: &Config) -> Result<Opened, String> {
    let name = std::ffi::OsStr::from_bytes(&config.cluster_config_file);
    let path = std::env::current_dir().unwrap_or_default().join(name);
    open_at(&path)
}

fn open_at(path: &Path) -> Result<Opened, String> {
    let lock = match DataLock::take_cluster_state(path)? {
        Taken::New(lock) => Some(lock),
        Taken::Same | Taken::Unavailable => None,
    };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(format!(
                "Loading the cluster node config from {}: {}",
                path.display(),
                error_text(&error)
            ));
        }
    };
    let file = NodesFile::parse(&text).map_err(|error| {
        format!(
            "Unrecoverable error: corrupted cluster config file {}: {error}. Nothing was changed",
            path.display()
        )
    })?;
    let path = path.to_str().ok_or("The path of the cluster config file is not valid UTF-8")?;
    let journal = journal_file::read(path);
    Ok(Opened { start: ClusterStart { path: path.to_owned(), file, journal }, lock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_refused_with_its_line_and_stays() {
        let dir = crate::testing::directory("cluster-state");
        let path = dir.path().join("nodes.conf");
        assert!(open_at(&path).is_ok_and(|opened| opened.start.file.is_none()));
        let id = "a".repeat(40);
        let good = format!(
            "{id} :0@0 myself,master - 0 0 0 connected\nvars currentEpoch 0 lastVoteEpoch 0\n"
        );
        fs::write(&path, &good).unwrap();
        assert!(open_at(&path).is_ok_and(|opened| opened.start.file.is_some()));
        fs::write(&path, good.replace("myself", "yourself")).unwrap();
        let error = open_at(&path).err().unwrap();
        assert!(
            error.contains("line 1") && error.contains("corrupted cluster config file"),
            "{error}"
        );
        assert!(fs::read_to_string(&path).unwrap().contains("yourself"));
    }

    #[test]
    fn two_nodes_cannot_share_a_file() {
        let dir = crate::testing::directory("cluster-lock");
        let path = dir.path().join("nodes.conf");
        let first = open_at(&path).ok().unwrap();
        assert!(first.lock.is_some());
    }
}
