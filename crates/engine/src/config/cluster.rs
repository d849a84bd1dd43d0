//! What a node of a cluster keeps in a file of its own, `cluster-config-file`.

pub use russet_cluster::nodes_file::NodesFile;

/// What a node of a cluster starts with.
#[derive(Clone, Debug)]
pub struct ClusterStart {
    /// Absolute path of `cluster-config-file`.
    pub path: String,
    /// What it says; none if it is new.
    pub file: Option<NodesFile>,
    /// The file of the journal, or its end. Empty if there is none, or if it cannot be read.
    pub journal: Vec<u8>,
}
