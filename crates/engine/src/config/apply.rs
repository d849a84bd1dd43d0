//! What must happen when a directive has a new value: requests to the shell, hooks of the engine.
//!
//! At the start of the process the shell carries out the same requests as for CONFIG SET: [`requests_at_start`].

use super::value::LogLevel;
use super::{Config, DIRECTIVES};
use crate::io::{Level, Request, Service};

/// What must happen after CONFIG SET has changed a value.
#[derive(Clone, Copy)]
pub enum Apply {
    /// Nothing: the value is read when it is needed.
    None,
    /// The engine does this when all values are in force.
    Engine(Hook),
    /// The shell is requested to do this, and may fail.
    Shell(ShellStep),
}

/// What the engine does about a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `hz`: the next round of the cron comes at the new pace.
    CronPace,
    /// `repl-backlog-size`: the backlog grows or shrinks.
    BacklogSize,
    /// `maxmemory-policy` and what tunes LFU: whether use is counted, and how.
    UseCounting,
    /// `notify-keyspace-events`: the keyspace gathers events while any are selected.
    KeyspaceEvents,
    /// `requirepass`: without a password everybody is authenticated.
    Password,
}

/// What the shell is requested to do about a directive. Rows that make the same request share it.
#[derive(Clone, Copy)]
pub struct ShellStep {
    /// The request that brings a value of this configuration into force.
    pub request: fn(&Config) -> Request,
    /// The reason that clients see in place of the shell's, which is logged.
    pub shown: Option<&'static str>,
}

/// A row's step that shows the shell's own reason when it fails.
pub(super) const fn shell(request: fn(&Config) -> Request) -> Apply {
    Apply::Shell(ShellStep { request, shown: None })
}

/// The step of `bind` and `port`.
pub(super) const fn listen(shown: &'static str) -> Apply {
    Apply::Shell(ShellStep { request: listen_request, shown: Some(shown) })
}

fn listen_request(config: &Config) -> Request {
    Request::Listen {
        service: Service::Clients,
        bind: config.bind.0.iter().map(|address| text(address)).collect(),
        port: config.port,
    }
}

/// What `loglevel` requests of the shell.
pub(super) fn log_to(config: &Config) -> Request {
    Request::LogTo { path: text(&config.logfile), level: level_of(config.loglevel) }
}

/// A name or a path as text. Rows of such values accept nothing else (`check.rs`).
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn level_of(level: LogLevel) -> Option<Level> {
    Some(match level {
        LogLevel::Debug => Level::Debug,
        LogLevel::Verbose => Level::Verbose,
        LogLevel::Notice => Level::Notice,
        LogLevel::Warning => Level::Warning,
        LogLevel::Nothing => return None,
    })
}

/// The requests that bring a whole configuration into force, each once, in the order of the table.
pub fn requests_at_start(config: &Config) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for row in DIRECTIVES {
        let Apply::Shell(step) = row.apply else { continue };
        let request = (step.request)(config);
        if !requests.contains(&request) {
            requests.push(request);
        }
    }
    requests
}
