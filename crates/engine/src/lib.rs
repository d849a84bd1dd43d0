//! Russet: engine.
pub mod config;
pub mod persist;
