//! The server itself: saving, ending, telling about itself.

use super::Command;

/// The family's rows.
pub const COMMANDS: &[Command] = &[];
