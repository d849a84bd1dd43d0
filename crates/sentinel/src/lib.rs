//! Sentinel.
pub mod settings;

pub use settings::{LineError, Settings};
