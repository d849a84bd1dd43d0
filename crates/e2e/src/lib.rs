//! Russet: e2e.
