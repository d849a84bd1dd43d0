//! Russet: engine.
