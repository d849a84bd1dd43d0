//! Russet: ds.
