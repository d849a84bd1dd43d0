//! In which mode a node runs: known before anything else of it is made, and never changed.

/// The mode of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One master, or a replica of one. A key's slot is the top bits of its hash: a means to go through the
    /// keyspace in parts, which nobody sees.
    #[default]
    Standalone,
    /// A node among many. A key's slot is the CRC16 of the key or of its hash tag, as Redis Cluster defines it.
    Cluster,
}

impl Mode {
    /// The name that INFO, HELLO and the log give it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Cluster => "cluster",
        }
    }
}
