//! Russet: engine.
pub mod persist;
