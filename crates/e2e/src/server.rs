//! A server process in its own folder: starting, observing, killing, restarting.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::client::{Client, Value};
use crate::process;
use crate::program::Program;
use crate::wait::{DEADLINE, wait_for, wait_for_within, wait_until};

/// Number of retries with another port if a port was taken by another process meanwhile.
const PORT_TRIES: u32 = 5;

/// What to start: a program, its configuration, and further directives.
#[derive(Debug, Clone)]
pub struct Setup {
    program: Program,
    conf: String,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    port: Option<u16>,
    patience: Duration,
}

impl Setup {
    /// Creates a setup with test defaults: one address, no save points, and the program's defaults
    /// otherwise.
    pub fn new(program: &Program) -> Setup {
        let conf = "bind 127.0.0.1\nsave \"\"\n".to_owned();
        Setup {
            program: program.clone(),
            conf,
            arguments: vec![],
            wrapper: vec![],
            port: None,
            patience: DEADLINE,
        }
    }

    /// Adds a line to the configuration file.
    #[must_use]
    pub fn conf(mut self, line: &str) -> Setup {
        self.conf.push_str(line);
        self.conf.push('\n');
        self
    }

    /// Adds arguments to the command line, after the configuration file.
    #[must_use]
    pub fn arguments(mut self, words: &[&str]) -> Setup {
        self.arguments.extend(words.iter().map(|w| (*w).to_owned()));
        self
    }

    /// Starts the program by another one, such as `taskset -c 0`.
    #[must_use]
    pub fn wrapper(mut self, words: &[&str]) -> Setup {
        self.wrapper.extend(words.iter().map(|w| (*w).to_owned()));
        self
    }

    /// Makes it a replica of `master` from the start.
    #[must_use]
    pub fn replica_of(self, master: &Server) -> Setup {
        let line = format!("replicaof 127.0.0.1 {}", master.port());
        self.conf(&line)
    }

    /// Uses this port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Setup {
        self.port = Some(port);
        self
    }

    /// Sets the timeout of the first reply, for servers that load much data.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Setup {
        self.patience = patience;
        self
    }

    /// Starts it and waits until it replies.
    ///
    /// # Panics
    /// If it does not start; the message contains its log.
    pub fn start(self) -> Server {
        let folder = Folder::new();
        for _ in 0..PORT_TRIES {
            let port = self.port.unwrap_or_else(free_port);
            let mut server =
                Server { setup: self.clone(), folder: folder.clone(), port, child: None };
            server.write_conf();
            if server.try_start() {
                return server;
            }
            let in_use = server.log().contains("Address already in use");
            assert!(in_use && self.port.is_none(), "it did not start:\n{}", server.log());
        }
        panic!("no port stays free long enough");
    }

    /// Runs it in `folder` until it exits by itself, for invalid configurations.
    ///
    /// # Panics
    /// If it does not exit.
    pub fn run_to_end(self, folder: &Path) -> crate::tools::Output {
        let port = self.port.unwrap_or_else(free_port);
        let conf = folder.join("server.conf");
        fs::write(&conf, format!("port {port}\n{}", self.conf)).expect("the folder is ours");
        let mut command = command_of(&self.program, &self.wrapper);
        command.arg(conf).args(&self.arguments).current_dir(folder);
        crate::tools::run(command, b"")
    }
}

/// A running server. It is killed and its folder removed when dropped.
pub struct Server {
    setup: Setup,
    folder: Folder,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts a server with test defaults.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(program: &Program) -> Server {
        Setup::new(program).start()
    }

    /// Returns its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Returns its working folder, with configuration, log and data.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Returns its process id.
    ///
    /// # Panics
    /// If it is not running.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Opens a connection.
    ///
    /// # Panics
    /// If the server does not accept it.
    pub fn client(&self) -> Client {
        Client::connect(self.address()).unwrap_or_else(|e| panic!("{e}; its log:\n{}", self.log()))
    }

    /// Returns everything it has printed since it was first started.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the fields of an INFO section.
    ///
    /// # Panics
    /// If the server does not reply.
    pub fn info(&self, section: &str) -> BTreeMap<String, String> {
        info(&mut self.client(), section)
    }

    /// Returns a field of INFO; empty if it is missing.
    ///
    /// # Panics
    /// If the server does not reply.
    pub fn info_field(&self, section: &str, field: &str) -> String {
        self.info(section).remove(field).unwrap_or_default()
    }

    /// Kills it with SIGKILL, like a crash.
    ///
    /// # Panics
    /// If it is not running.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If it is not running.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits until it has exited by itself and returns its status.
    ///
    /// # Panics
    /// If it does not exit.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        wait_for("the server ends", || child.try_wait().expect("it is our child"))
    }

    /// Terminates it with SIGTERM and returns its status.
    ///
    /// # Panics
    /// If it does not exit.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end()
    }

    /// Restarts it in the same folder with the same configuration.
    ///
    /// # Panics
    /// If it is still running or does not start.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        assert!(self.try_start(), "it did not start again:\n{}", self.log());
    }

    /// Makes it a replica of `master` now.
    ///
    /// # Panics
    /// If it returns an error.
    pub fn replicate(&self, master: &Server) {
        self.client().ok(&format!("REPLICAOF 127.0.0.1 {}", master.port()));
    }

    /// Waits until its link to its master is up.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn wait_for_link(&self) {
        let what = format!("the link of {} is up", self.port);
        wait_until(&what, || self.info_field("replication", "master_link_status") == "up");
    }

    /// Waits until this replica has applied all that `master` has sent so far.
    ///
    /// # Panics
    /// If it does not get there.
    pub fn wait_for_offset_of(&self, master: &Server) {
        self.wait_for_link();
        let goal: u64 = offset(master);
        wait_until(&format!("{} reaches offset {goal}", self.port), || offset(self) >= goal);
    }

    fn write_conf(&self) {
        let head = format!("port {}\n", self.port);
        fs::write(self.folder().join("server.conf"), head + &self.setup.conf)
            .expect("the folder is ours");
    }

    fn log_path(&self) -> PathBuf {
        self.folder().join("server.log")
    }

    /// Starts the process and waits until it replies or exits. Returns false if it has exited.
    fn try_start(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("the folder is ours");
        let mut command = command_of(&self.setup.program, &self.setup.wrapper);
        command.arg("server.conf").args(&self.setup.arguments).current_dir(self.folder());
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("descriptors are left"));
        command.stdout(log);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let pid = child.id();
        let what = format!("{command:?} answers");
        let up = wait_for_within(&what, self.setup.patience, || {
            match child.try_wait().expect("it is our child") {
                Some(_) => Some(false),
                None => answers(self.address(), pid).then_some(true),
            }
        });
        self.child = up.then_some(child);
        up
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill(); // it may have ended by itself
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let start = log.len().saturating_sub(4000);
            let start = (start..=log.len()).find(|i| log.is_char_boundary(*i)).unwrap_or(0);
            eprintln!(
                "-- log of {} on {}:\n{}",
                self.setup.program.name(),
                self.port,
                &log[start..]
            );
        }
    }
}

/// Returns the fields of an INFO section, read over `client`.
///
/// # Panics
/// If the connection fails.
pub fn info(client: &mut Client, section: &str) -> BTreeMap<String, String> {
    let text = client.command(&["INFO", section]).text();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Whether the process `pid` replies to PING at `address`. A loading server does not.
pub fn answers(address: SocketAddr, pid: u32) -> bool {
    let Ok(mut client) = Client::connect(address) else { return false };
    let pong = match client.try_command(&["PING"]) {
        Ok(Value::Error(text)) => text.starts_with("NOAUTH"),
        Ok(_) => true,
        Err(_) => false,
    };
    // Another process may use the port; INFO, if permitted, contains its pid.
    let other = client.try_command(&["INFO", "server"]).is_ok_and(|reply| {
        let text = reply.text();
        let id = text.lines().find_map(|l| l.strip_prefix("process_id:").map(str::to_owned));
        id.is_some_and(|id| id != pid.to_string())
    });
    pong && !other
}

/// Returns a free TCP port.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

fn command_of(program: &Program, wrapper: &[String]) -> Command {
    let command = program.command();
    let Some((first, rest)) = wrapper.split_first() else { return command };
    let mut wrapped = Command::new(first);
    wrapped.args(rest).arg(command.get_program()).args(command.get_args());
    wrapped
}

fn offset(server: &Server) -> u64 {
    let fields = server.info("replication");
    let name = if fields.get("role").is_some_and(|r| r == "slave") {
        "slave_repl_offset"
    } else {
        "master_repl_offset"
    };
    fields.get(name).and_then(|n| n.parse().ok()).unwrap_or_default()
}

/// A temporary folder, removed when its last handle is dropped.
#[derive(Clone)]
pub struct Folder {
    path: PathBuf,
    _remover: std::sync::Arc<Remover>,
}

struct Remover(PathBuf);

impl Folder {
    /// Creates an empty folder.
    ///
    /// # Panics
    /// If it cannot be created.
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("russet-e2e-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path); // left by an earlier process with our id
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Folder { path: path.clone(), _remover: std::sync::Arc::new(Remover(path)) }
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for Folder {
    fn default() -> Folder {
        Folder::new()
    }
}

impl Drop for Remover {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // nothing depends on it
    }
}
