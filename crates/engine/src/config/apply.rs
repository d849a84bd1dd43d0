//! How a new value of a directive is applied: by a request to the driver, or by a hook of the
//! engine.
//!
//! The requests are the same at the start ([`requests_at_start`]) and for CONFIG SET.

use super::value::LogLevel;
use super::{Config, DIRECTIVES};
use crate::io::{AppendFolder, Level, Request, Service};
use crate::mode::Mode;

/// How a value changed by CONFIG SET is applied.
#[derive(Clone, Copy)]
pub enum Apply {
    /// Nothing to do: the value is read when it is needed.
    None,
    /// The engine runs this hook when all values are set.
    Engine(Hook),
    /// The driver carries out a request, which may fail.
    Shell(ShellStep),
    /// The driver carries out a request, then the engine runs this hook.
    Both(ShellStep, Hook),
}

impl Apply {
    /// Returns the request to the driver.
    pub fn step(&self) -> Option<ShellStep> {
        match self {
            Apply::Shell(step) | Apply::Both(step, _) => Some(*step),
            Apply::None | Apply::Engine(_) => None,
        }
    }

    /// Returns the hook.
    pub fn hook(&self) -> Option<Hook> {
        match self {
            Apply::Engine(hook) | Apply::Both(_, hook) => Some(*hook),
            Apply::None | Apply::Shell(_) => None,
        }
    }
}

/// A hook of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `cluster-…`: the cluster's machine takes the settings.
    Cluster,
    /// `cluster-slot-stats-enabled`: begins or ends counting.
    SlotStats,
    /// `hz`: changes the interval of the cron.
    CronPace,
    /// `repl-backlog-size`: resizes the backlog.
    BacklogSize,
    /// `maxmemory-policy` and LFU parameters: switches the access counters.
    UseCounting,
    /// `notify-keyspace-events`: switches the collection of keyspace events.
    KeyspaceEvents,
    /// `appendonly`: begins or ends the append-only file.
    AppendOnly,
    /// `dir`: begins the append-only file again, in the other folder.
    AppendElsewhere,
    /// `aof-timestamp-enabled`, `aof-checksum`: changes how effects are written.
    AppendSettings,
    /// `aof-disable-auto-gc`: removes unused append-only files once that is allowed.
    AppendHistory,
    /// `requirepass`: without a password all clients are authenticated.
    Password,
}

/// A request to the driver. Rows that make the same request share it.
#[derive(Clone, Copy)]
pub struct ShellStep {
    /// Returns the request that applies a value of this configuration.
    pub request: fn(&Config) -> Request,
    /// The error that clients see instead of the driver's, which is logged.
    pub shown: Option<&'static str>,
}

/// Returns a step whose error is the driver's.
pub(super) const fn shell(request: fn(&Config) -> Request) -> Apply {
    Apply::Shell(ShellStep { request, shown: None })
}

/// Returns the step of `appendonly`.
pub(super) const fn append_only() -> Apply {
    let request =
        |config: &Config| Request::AppendFolder(config.appendonly.then(|| append_folder(config)));
    Apply::Both(ShellStep { request, shown: None }, Hook::AppendOnly)
}

/// Returns the folder of the append-only files.
pub(crate) fn append_folder(config: &Config) -> AppendFolder {
    AppendFolder { folder: text(&config.appenddirname), name: text(&config.appendfilename) }
}

/// Returns the step of `bind` and `port`.
pub(super) const fn listen(shown: &'static str) -> Apply {
    Apply::Shell(ShellStep { request: listen_request, shown: Some(shown) })
}

fn listen_request(config: &Config) -> Request {
    Request::Listen { service: Service::Clients, bind: texts(&config.bind.0), port: config.port }
}

/// Returns the request of `loglevel`.
pub(super) fn log_to(config: &Config) -> Request {
    Request::LogTo { path: text(&config.logfile), level: level_of(config.loglevel) }
}

fn texts(list: &[Vec<u8>]) -> Vec<String> {
    list.iter().map(|item| text(item)).collect()
}

/// Converts a name or path to text. Rows of such values accept only valid UTF-8 (`check.rs`).
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

/// Returns the requests that apply a whole configuration, each once, in the order of the table. A Sentinel has no files
/// of data.
pub fn requests_at_start(config: &Config, mode: Mode) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for row in DIRECTIVES {
        let Some(step) = row.apply.step() else { continue };
        let request = (step.request)(config);
        let is_data = matches!(request, Request::DumpFile(_) | Request::AppendFolder(_));
        let is_needed = mode != Mode::Sentinel || !is_data;
        if is_needed && !requests.contains(&request) {
            requests.push(request);
        }
    }
    if mode == Mode::Cluster {
        let (service, bind, port) = (Service::Bus, texts(&config.bind.0), config.bus_port());
        requests.push(Request::Listen { service, bind, port });
    }
    requests
}
