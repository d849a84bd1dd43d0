//! Starts a server from its command line, runs it and shuts it down.

use std::fs;
use std::io::Read;
use std::path::Path;

use russet_engine::config::{BUS_PORT_OFFSET, Config, Loaded, requests_at_start};
use russet_engine::io::{AppendFolder, Level, Request};
use russet_engine::mode::Mode;
use russet_engine::node::{Boot, Node, Seeds};

use crate::banner;
use crate::clock::Clock;
use crate::cluster_state;
use crate::config_files::{Refusal, Sources};
use crate::crash;
use crate::daemon::{self, PidFile};
use crate::data_lock::DataLock;
use crate::event_loop::EventLoop;
use crate::limits;
use crate::listen;
use crate::log;
use crate::memory;
use crate::process;
use crate::resources::Resources;
use crate::sentinel_state::{self, Version};
use crate::signals::Signals;
use crate::snapshot_writer::remove_leftovers;
use crate::supervise;
use crate::sys::{self, error_text};

/// Redis' default PID files of daemons.
const DEFAULT_PIDFILE: &str = "/var/run/redis.pid";
const SENTINEL_PIDFILE: &str = "/var/run/redis-sentinel.pid";

/// The start failed; the reason has been logged.
struct Failed;

/// Runs a server or Sentinel with these arguments and returns the exit status.
pub fn serve(arguments: &[Vec<u8>], mode: Mode) -> i32 {
    sys::read_time_zone();
    start(arguments, mode).unwrap_or(1)
}

fn start(arguments: &[Vec<u8>], mode: Mode) -> Result<i32, Failed> {
    let sources = Sources::of(arguments);
    let is_sentinel = mode == Mode::Sentinel;
    if is_sentinel {
        log::set_role('X');
    }
    let version = sources.file.as_deref().and_then(Version::of);
    let loaded = sources.load(mode).map_err(show_refusal)?;
    let mut config = loaded.config.clone();
    let mode = match mode {
        Mode::Standalone if config.cluster_enabled => Mode::Cluster,
        mode => mode,
    };
    if arguments.is_empty() {
        // Without arguments, listen on loopback only.
        config.bind.0 = vec![b"127.0.0.1".to_vec(), b"-::1".to_vec()];
    }
    let resources = Resources::new(config.tcp_backlog);
    let mut resources = log_error("Failed creating the event loop", resources.map_err(Into::into))?;
    enter_and_log(&mut resources, (&config, mode), &loaded)?;
    set_absolute_dir(&mut config);
    let file = (sources.file.as_deref(), version);
    let opened = sentinel_state::open(file, loaded.sentinel.as_ref());
    let mut sentinel = opened.map_err(show_refusal)?;
    let mut cluster = open_cluster_state(&config, mode)?;

    let is_supervised = supervise::begin(config.supervised);
    let in_background = config.daemonize && !is_supervised;
    if in_background {
        if config.syslog_enabled && config.logfile.is_empty() {
            // Nobody sees later log lines.
            log::warning("A daemon without 'logfile' logs nothing: syslog is not implemented yet.");
        }
        log_error("Can't daemonize", daemon::daemonize())?;
    }
    crash::install();
    log_start(&sources, arguments.is_empty(), &loaded.warnings);
    if let Some(opened) = &mut sentinel {
        opened.lock.iter_mut().for_each(DataLock::renew);
        opened.note.iter().for_each(|note| log::warning(note));
    }
    if let Some(opened) = &mut cluster {
        opened.lock.iter_mut().for_each(DataLock::renew);
    }
    config.maxclients = limits::adjust(config.maxclients).ok_or(Failed)?;
    log::set_role(match config.replicaof {
        _ if is_sentinel => 'X',
        Some(_) => 'S',
        None => 'M',
    });
    let is_terminal =
        config.logfile.is_empty() && std::io::IsTerminal::is_terminal(&std::io::stdout());
    banner::show(mode, config.port, std::process::id(), config.always_show_logo || is_terminal);
    check_backlog(config.tcp_backlog);
    let requests = requests_at_start(&config, mode).into_iter();
    for request in requests.filter(|request| !comes_before_daemonize(request)) {
        apply_at_start(&mut resources, request, &config)?;
    }
    open_unix_socket(&mut resources, &config)?;
    if resources.listeners.is_empty() {
        log::warning("Configured to not listen anywhere, exiting.");
        return Err(Failed);
    }
    if !is_sentinel {
        remove_leftovers(Path::new("."));
    }
    let pid_file = write_pid_file(&config, mode, in_background);
    if !is_sentinel {
        log::notice("Server initialized");
    }
    if arguments.is_empty() {
        banner::show_usage(resources.listeners.iter(), config.port);
    }

    let signals = Signals::install(resources.append_lock.clone());
    let signals = log_error("Can't set up signal handling", signals)?;
    let source_address = text(&config.bind_source_addr).parse().ok();
    if config.disable_thp
        && let Err(why) = memory::disable_huge_pages()
    {
        log::warning(&format!("'disable-thp': {why}"));
    }
    let (sentinel, state_lock) = sentinel.map(|it| (it.start, it.lock)).unzip();
    let (cluster, cluster_lock) = cluster.map(|it| (it.start, it.lock)).unzip();
    let boot = Boot { mode, load: !is_sentinel, sentinel, cluster, ..boot(&sources)? };
    let mut clock = Clock::new();
    let now = clock.now();
    let node = Node::new(config, boot, now);
    let event_loop = EventLoop::new(node, (clock, now), resources, signals, source_address);
    let event_loop = event_loop.map_err(Into::into);
    let mut event_loop = log_error("Failed creating the event loop", event_loop)?;
    daemon::listens();
    let status = event_loop.run();
    event_loop.release();
    drop((pid_file, state_lock, cluster_lock));
    Ok(status)
}

/// Shows why a configuration is refused: lines on standard error, a file that cannot be used in the log.
fn show_refusal(refusal: Refusal) -> Failed {
    match refusal {
        Refusal::Unreadable(text) => log::warning(&text),
        Refusal::Fatal(text) => eprint!("{text}"),
    }
    Failed
}

/// Logs an error of the start.
fn log_error<T>(what: &str, result: std::io::Result<T>) -> Result<T, Failed> {
    result.map_err(|error| {
        log::warning(&format!("{what}: {}", error_text(&error)));
        Failed
    })
}

/// Converts a name or path of the configuration to text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Changes to `dir` and checks `logfile`, and reports the lines of both if they can't be applied.
fn enter_and_log(
    resources: &mut Resources,
    (config, mode): (&Config, Mode),
    loaded: &Loaded,
) -> Result<(), Failed> {
    let mut reasons: Vec<(&str, String)> = Vec::new();
    for request in requests_at_start(config, mode).into_iter().filter(comes_before_daemonize) {
        let directive = if matches!(request, Request::ChangeDir(_)) { "dir" } else { "logfile" };
        if let Err(why) = carry_out(resources, request) {
            reasons.push((directive, why));
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    match loaded.refusal(&reasons) {
        Some(error) => eprint!("{error}"),
        None => reasons.iter().for_each(|(name, why)| log::warning(&format!("'{name}': {why}"))),
    }
    Err(Failed)
}

/// Whether a request must be carried out while the process still has a terminal.
fn comes_before_daemonize(request: &Request) -> bool {
    matches!(request, Request::ChangeDir(_) | Request::LogTo { .. })
}

fn carry_out(resources: &mut Resources, request: Request) -> Result<(), String> {
    resources.carry_out(request).unwrap_or_else(|request| match request {
        // Nobody is served yet who would wait for the disk with us.
        Request::AppendFolder(Some(AppendFolder { folder, name })) => {
            let folder = std::path::absolute(&folder).unwrap_or_else(|_| folder.into());
            resources.append_lock.take(&folder, &name)
        }
        other => Err(format!("unexpected {other:?}")),
    })
}

/// Carries out a request at the start. A failure is logged, and aborts the start if the server
/// needs what was requested.
fn apply_at_start(
    resources: &mut Resources,
    request: Request,
    config: &Config,
) -> Result<(), Failed> {
    let mut failing_port = config.port;
    let (name, is_needed) = match &request {
        Request::Listen { port, .. } => {
            failing_port = *port;
            ("port", true)
        }
        Request::DumpFile(_) => ("dbfilename", true),
        Request::AppendFolder(_) => ("appendonly", true),
        Request::MaxClients(_) => ("maxclients", false),
        Request::PurgeInBackground(_) => ("jemalloc-bg-thread", false),
        _ => ("configuration", false),
    };
    let Err(why) = carry_out(resources, request) else { return Ok(()) };
    match name {
        "port" => {
            log::warning(&format!("Failed listening on port {failing_port} (tcp), aborting."))
        }
        "dbfilename" | "appendonly" => log::warning(&format!("{why}. Exiting.")),
        name => log::warning(&format!("'{name}': {why}")),
    }
    if is_needed { Err(Failed) } else { Ok(()) }
}

/// Reads what a node of a cluster knows of it.
fn open_cluster_state(
    config: &Config,
    mode: Mode,
) -> Result<Option<cluster_state::Opened>, Failed> {
    if mode != Mode::Cluster {
        return Ok(None);
    }
    if config.cluster_port == 0 && config.port > u16::MAX - BUS_PORT_OFFSET {
        log::warning(
            "Redis port number too high for cluster mode. Cluster communication port, which is usually 10,000 port \
             numbers higher than your Redis port. Your Redis port number must be 55535 or less.",
        );
        return Err(Failed);
    }
    match cluster_state::open(config) {
        Ok(opened) => Ok(Some(opened)),
        Err(why) => {
            log::warning(&why);
            Err(Failed)
        }
    }
}

/// Sets `dir` to the absolute path of the working directory, if that is valid UTF-8.
fn set_absolute_dir(config: &mut Config) {
    if let Some(absolute) = std::env::current_dir().ok().as_deref().and_then(Path::to_str) {
        config.dir = absolute.as_bytes().to_vec();
    }
}

fn log_start(sources: &Sources, no_arguments: bool, warnings: &[String]) {
    log::notice("oO0OoO0OoO0Oo Russet is starting oO0OoO0OoO0Oo");
    log::notice(&format!(
        "Russet version={}, bits=64, compatible with Redis 7.2.4, pid={}, just started",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    ));
    if no_arguments {
        log::warning(
            "Warning: no config file specified, using the default config. In order to specify a \
             config file use russet server /path/to/redis.conf",
        );
    } else {
        log::notice("Configuration loaded");
    }
    if let Some(path) = &sources.file {
        log::log(Level::Verbose, &format!("Configuration file: {}", path.display()));
    }
    for warning in warnings {
        log::warning(warning);
    }
}

/// Warns if the kernel's limit of pending connections is below `tcp-backlog`.
fn check_backlog(backlog: i32) {
    let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    if let Ok(somaxconn) = somaxconn.trim().parse::<i32>()
        && somaxconn < backlog
    {
        log::warning(&format!(
            "WARNING: The TCP backlog setting of {backlog} cannot be enforced because \
             /proc/sys/net/core/somaxconn is set to the lower value of {somaxconn}."
        ));
    }
}

fn open_unix_socket(resources: &mut Resources, config: &Config) -> Result<(), Failed> {
    if config.unixsocket.is_empty() {
        return Ok(());
    }
    let path = text(&config.unixsocket);
    let mode = Some(config.unixsocketperm).filter(|&mode| mode != 0);
    let listener = listen::unix(&path, mode, config.tcp_backlog).map_err(|why| {
        log::warning(&format!("Failed opening Unix socket '{path}': {why}"));
        Failed
    })?;
    let opened = resources.listeners.open(&resources.epoll, vec![listener]);
    log_error("Failed creating the event loop", opened.map_err(Into::into))
}

fn write_pid_file(config: &Config, mode: Mode, in_background: bool) -> Option<PidFile> {
    match text(&config.pidfile) {
        path if !path.is_empty() => PidFile::write(&path),
        _ if in_background && mode == Mode::Sentinel => PidFile::write(SENTINEL_PIDFILE),
        _ if in_background => PidFile::write(DEFAULT_PIDFILE),
        _ => None,
    }
}

fn boot(sources: &Sources) -> Result<Boot, Failed> {
    let mut bytes = [0_u8; Seeds::BYTES];
    let random = fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    log_error("Can't read /dev/urandom", random)?;
    let path = |p: &Path| p.to_string_lossy().into_owned();
    Ok(Boot {
        seeds: Seeds::from_bytes(&bytes),
        pid: std::process::id(),
        executable: std::env::current_exe().map(|p| path(&p)).unwrap_or_default(),
        config_file: sources.file.as_deref().and_then(Path::to_str).map(str::to_owned),
        platform: process::platform(),
        programs: sentinel_state::PROGRAMS,
        ..Boot::default()
    })
}
