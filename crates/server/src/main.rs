//! The `russet` executable: sockets, files, threads, clocks, entropy and signals around the pure
//! [`russet_engine::node::Node`]. It contains no Redis semantics.
//!
//! Reading order: `start.rs` starts a server, `event_loop.rs` runs it, `outputs.rs` and
//! `requests.rs` carry out the node's outputs and requests with the help of one file for each kind
//! (`snapshot_writer`, `file_reader`, `connect`, …).

#![allow(
    clippy::disallowed_methods,
    reason = "clocks, threads, files and sockets belong in this crate"
)]

mod append_disk;
mod append_file;
mod append_pace;
mod append_queue;
#[cfg(test)]
mod append_tests;
mod background;
mod banner;
mod cgroup;
mod check_aof;
mod check_rdb;
mod clock;
mod cluster_state;
mod completions;
mod config_files;
mod connect;
mod connections;
mod crash;
mod daemon;
mod data_lock;
mod engine;
mod event_loop;
mod file_reader;
mod garbage;
mod journal_file;
mod limits;
mod listen;
mod listeners;
mod log;
#[cfg(test)]
mod loop_tests;
mod memory;
mod outputs;
mod process;
mod program;
mod requests;
mod resources;
mod rotation;
mod scripts;
mod sentinel_state;
mod signals;
mod snapshot_writer;
mod start;
mod supervise;
mod sys;
#[cfg(test)]
mod testing;

use std::os::unix::ffi::OsStringExt;

#[global_allocator]
static ALLOCATOR: russet_ds::jemalloc::Jemalloc = russet_ds::jemalloc::Jemalloc;

fn main() {
    let arguments: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
    std::process::exit(program::run(&arguments));
}
