//! What the process asks of the allocator and of the kernel about its memory, as the system sees it.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::fs;

use russet_e2e::{Program, Server, Setup, wait_until};

/// Whether the allocator's own thread runs.
fn purges_in_background(server: &Server) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    threads.flatten().any(|thread| {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        name.starts_with("jemalloc_bg")
    })
}

#[test]
fn the_allocator_has_a_thread_of_its_own_unless_told_otherwise() {
    let program = Program::under_test();
    let server = Server::start(&program);
    wait_until("the thread is there", || purges_in_background(&server));
    server.client().ok("CONFIG SET jemalloc-bg-thread no");
    wait_until("the thread is gone", || !purges_in_background(&server));

    let server = Setup::new(&program).conf("jemalloc-bg-thread no").start();
    assert!(!purges_in_background(&server));
    server.client().ok("CONFIG SET jemalloc-bg-thread yes");
    wait_until("the thread is there", || purges_in_background(&server));
}
