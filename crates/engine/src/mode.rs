//! The mode of a node.

/// The mode of a node, which is set at its start and never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A single master or its replica. A key's slot is the top bits of its hash; it is only used
    /// internally, to iterate over the keyspace in parts.
    #[default]
    Standalone,
    /// A node of a cluster. A key's slot is the CRC16 of the key or of its hash tag, as Redis
    /// Cluster defines it.
    Cluster,
    /// A Sentinel, which watches masters and fails them over. It has no keys of its own, and loads and saves none.
    Sentinel,
}

impl Mode {
    /// Returns its name in INFO, HELLO and the log.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Cluster => "cluster",
            Mode::Sentinel => "sentinel",
        }
    }
}
