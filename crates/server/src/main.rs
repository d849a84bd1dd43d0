//! The shell: sockets, files, threads, clocks, entropy and signals around `engine::Node`.
fn main() {}
