//! The startup banner.

use russet_engine::io::Level;
use russet_engine::mode::Mode;

use crate::listen::Listener;
use crate::log;

/// Logs the logo with port and process id (scripts wait for ` PID: `), or a single line.
pub fn show(mode: Mode, port: u16, pid: u32, with_logo: bool) {
    let mode = mode.name();
    if !with_logo {
        return log::notice(&format!("Running mode={mode}, port={port}."));
    }
    if !log::enabled(Level::Notice) {
        return;
    }
    let version = env!("CARGO_PKG_VERSION");
    log::write_raw(
        format!(
            "\n\
             \x20    .--------.\n\
             \x20   /  .----.  \\      Russet {version} (64 bit)\n\
             \x20  |  |  o   |  |\n\
             \x20  |  |___.-'   |     Running in {mode} mode\n\
             \x20  |  |  \\ \\    |     Port: {port}\n\
             \x20   \\ '   \\ \\  /      PID: {pid}\n\
             \x20    '--------'\n\n"
        )
        .as_bytes(),
    );
}

/// Logs the addresses and an example command, for a server started without arguments.
pub fn show_usage<'a>(listeners: impl Iterator<Item = &'a Listener>, port: u16) {
    let addresses: Vec<String> = listeners.map(Listener::display).collect();
    log::notice(&format!("Listening on {}", addresses.join(", ")));
    log::notice(&format!("Try it from another terminal: redis-cli -p {port} set greeting hello"));
}
