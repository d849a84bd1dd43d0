//! Russet: protocol.
