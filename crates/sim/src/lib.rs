//! The simulator: several nodes in a world made from a seed, which breaks in every way and then heals.
//!
//! Start at [`world`]; `check` says what must hold at every moment, `verify` what must hold in the end, `faults` what goes
//! wrong. `docs/internals/simulator.md` explains how to read a failing seed.
//!
//! Architecture invariant: nothing here reads a clock, draws from anything but the seed or knows the shell; a seed
//! gives the same run in every process.

pub mod appends;
pub mod chance;
mod check;
mod claims;
pub mod client;
mod cluster_agent;
mod cluster_bus;
mod cluster_check;
mod cluster_faults;
mod cluster_fixer;
mod cluster_heal;
mod cluster_keys;
mod cluster_mover;
mod cluster_plan;
mod cluster_start;
mod cluster_user;
mod clusters;
pub mod coverage;
pub mod digest;
pub mod disk;
pub mod durability;
mod failovers;
mod faults;
pub mod files;
mod guarantees;
pub mod history;
pub mod jobs;
pub mod ledger;
mod life;
mod listpack;
mod losses;
pub mod machine;
pub mod model;
pub mod net;
pub mod node;
pub mod plan;
pub mod process;
mod promises;
pub mod queue;
pub mod resp;
mod saves;
pub mod scale;
mod sentinel_check;
mod sentinel_faults;
mod sentinel_heal;
mod sentinel_lineages;
mod sentinel_orders;
pub mod sentinel_plan;
mod sentinel_wire;
mod sentinels;
mod shell;
pub mod stock;
mod talk;
pub mod tap;
mod taps;
mod verify;
pub mod workload;
pub mod world;
