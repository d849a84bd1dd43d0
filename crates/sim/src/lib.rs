//! Russet: sim.
