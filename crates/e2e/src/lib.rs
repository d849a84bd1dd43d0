//! End-to-end tests: real processes, real sockets, real files.
//!
//! This library provides what such tests need: it starts servers (Russet or stock) in their own
//! folders, connects to them, kills them, and waits for conditions with a deadline. It is
//! independent of the engine and only uses external interfaces: replies, logs, files, `/proc`. The
//! tests are in `tests/`.
//!
//! Tests that need a stock program are in modules named `with_peers`, so that `cargo xtask test`
//! can skip and count them on machines without these programs.
#![allow(
    clippy::disallowed_methods,
    reason = "processes, sockets, files and clocks are what this crate is about"
)]

pub mod applications;
pub mod client;
pub mod clusters;
pub mod example;
pub mod process;
pub mod program;
pub mod sentinels;
pub mod server;
pub mod tools;
pub mod wait;

pub use client::{Client, Value};
pub use program::Program;
pub use server::{Server, Setup};
pub use tools::{Output, redis_cli};
pub use wait::{wait_for, wait_for_within, wait_until};
