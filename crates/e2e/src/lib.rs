//! End-to-end tests: real processes, real sockets, real files.
//!
//! This library is what such a test needs: it starts servers (ours or the stock one) in folders of their own, talks to
//! them, kills them, and waits for conditions with a deadline. It knows nothing of the engine and reads only what
//! a user could read: replies, logs, files, `/proc`. The tests are in `tests/`.
//!
//! Tests that need a stock program live in a module named `with_peers`, so that a test run on a machine without them can
//! count those tests and leave them out (`cargo xtask test` does), instead of passing them unseen.
#![allow(
    clippy::disallowed_methods,
    reason = "processes, sockets, files and clocks are what this crate is about"
)]

pub mod client;
pub mod process;
pub mod program;
pub mod server;
pub mod tools;
pub mod wait;

pub use client::{Client, Value};
pub use program::Program;
pub use server::{Server, Setup};
pub use tools::{Output, redis_cli};
pub use wait::{wait_for, wait_for_within, wait_until};
