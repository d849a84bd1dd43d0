//! Applications that write to a cluster with client libraries of other languages, and what they were told.
//!
//! The libraries are pinned by `clients/requirements.txt` and `clients/package-lock.json`, and installed beside the test's
//! program when they are first needed, by `pip` and `npm`. Where these are missing their tests are skipped, which the output
//! says; in CI that is a failure.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::clusters::{DEADLINE, Nodes};
use crate::program::{self, find};
use crate::tools;
use crate::wait::wait_for_within;

/// What an application was told so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// The numbers of the writes that were acknowledged.
    pub acknowledged: Vec<u64>,
    /// The errors of the others.
    pub errors: Vec<String>,
    /// How many were acknowledged since the last error.
    pub in_a_row: usize,
}

impl Progress {
    /// Notes the result of a write.
    pub fn note(&mut self, number: u64, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.acknowledged.push(number);
                self.in_a_row += 1;
            }
            Err(error) => {
                self.errors.push(error);
                self.in_a_row = 0;
            }
        }
    }
}

/// An application that writes as fast as it can, one key after the other: `{TAG}:NAME:NUMBER`, with all tags by turns.
pub struct Application {
    /// The client library.
    pub name: &'static str,
    progress: Arc<Mutex<Progress>>,
    end: Option<End>,
}

/// How an application is ended.
enum End {
    /// A process, whose input ends.
    Process(Child, ChildStdin, JoinHandle<()>),
    /// A thread.
    Thread(Box<dyn FnOnce() + Send>),
}

impl Application {
    /// Starts one with redis-py; none if that cannot be had here.
    ///
    /// # Panics
    /// If it cannot be had in CI.
    pub fn redis_py(nodes: &Nodes, tags: &[String]) -> Option<Application> {
        let library = redis_py()?;
        let mut command = Command::new("python3");
        command.arg(clients().join("writer.py")).env("PYTHONPATH", library);
        Some(Application::process("redis-py", command, nodes, tags))
    }

    /// Starts one with ioredis; none if that cannot be had here.
    ///
    /// # Panics
    /// If it cannot be had in CI.
    pub fn ioredis(nodes: &Nodes, tags: &[String]) -> Option<Application> {
        let library = ioredis()?;
        let mut command = Command::new("node");
        command.arg(clients().join("writer.js")).env("NODE_PATH", library.join("node_modules"));
        Some(Application::process("ioredis", command, nodes, tags))
    }

    /// Starts a thread of this process as one. `write` returns when `end` has been called.
    pub fn thread(
        name: &'static str,
        write: impl FnOnce(&Mutex<Progress>) + Send + 'static,
        end: impl FnOnce() + Send + 'static,
    ) -> Application {
        let progress = Arc::new(Mutex::new(Progress::default()));
        let told = Arc::clone(&progress);
        let thread = std::thread::spawn(move || write(&told));
        let end = move || {
            end();
            thread.join().expect("the application does not panic");
        };
        Application { name, progress, end: Some(End::Thread(Box::new(end))) }
    }

    fn process(
        name: &'static str,
        mut command: Command,
        nodes: &Nodes,
        tags: &[String],
    ) -> Application {
        let ports: Vec<_> = nodes.all().map(|node| nodes.server(node).port().to_string()).collect();
        command.args([name, &ports.join(","), &tags.join(",")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let progress = Arc::new(Mutex::new(Progress::default()));
        let told = Arc::clone(&progress);
        let reader = std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let (number, result) = parse(&line);
                told.lock().expect("nobody panics with it").note(number, result);
            }
        });
        Application { name, progress, end: Some(End::Process(child, stdin, reader)) }
    }

    /// Returns what it was told so far.
    ///
    /// # Panics
    /// If a thread has panicked with it.
    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("nobody panics with it")
    }

    /// Ends it, and returns all that it was told.
    ///
    /// # Panics
    /// If it does not end.
    pub fn end(mut self) -> Progress {
        match self.end.take() {
            Some(End::Process(mut child, stdin, reader)) => {
                drop(stdin);
                let status = wait_for_within(&format!("{} ends", self.name), DEADLINE, || {
                    child.try_wait().expect("it is our child")
                });
                assert!(status.success(), "{}: {status}", self.name);
                reader.join().expect("reading does not panic");
            }
            Some(End::Thread(end)) => end(),
            None => {}
        }
        std::mem::take(&mut *self.progress())
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        match self.end.take() {
            Some(End::Process(mut child, ..)) => {
                let _ = child.kill(); // it may have ended just now
                let _ = child.wait();
            }
            Some(End::Thread(end)) => end(),
            None => {}
        }
    }
}

/// Parses a line of a writer.
fn parse(line: &str) -> (u64, Result<(), String>) {
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    let number = words.get(1).and_then(|word| word.parse().ok());
    match (words[0], number) {
        ("ok", Some(number)) => (number, Ok(())),
        ("failed", Some(number)) => (number, Err(words.get(2).unwrap_or(&"").to_string())),
        _ => panic!("a writer has printed {line:?}"),
    }
}

/// Returns the folder of redis-py, for `PYTHONPATH`; none if it cannot be had here.
///
/// # Panics
/// If it cannot be had in CI.
pub fn redis_py() -> Option<PathBuf> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--no-cache-dir", "--require-hashes", "--requirement"]);
    pip.arg(clients().join("requirements.txt")).args(["--target", "."]);
    install("redis-py", &["python3"], &["requirements.txt"], pip)
}

/// Returns the folder with the `node_modules` of ioredis; none if it cannot be had here.
fn ioredis() -> Option<PathBuf> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
    install("ioredis", &["node", "npm"], &["package.json", "package-lock.json"], npm)
}

/// Installs a library into a folder of its own, unless it is there, with a command that runs in it.
fn install(name: &str, programs: &[&str], files: &[&str], mut command: Command) -> Option<PathBuf> {
    let program = std::env::current_exe().expect("this program has a path");
    let parent = program.ancestors().nth(2).expect("it is in the folder of builds");
    let libraries = parent.join("e2e-clients");
    let folder = libraries.join(name);
    // Another test may do the same, and must not replace what this one uses.
    fs::create_dir_all(&libraries).expect("the folder of builds can be written");
    let lock = fs::File::create(libraries.join(format!("{name}.lock"))).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    let _lock = lock.expect("the folder of builds can be written");
    let is_current =
        |file: &&str| fs::read(folder.join(file)).ok() == fs::read(clients().join(file)).ok();
    if files.iter().all(is_current) {
        return Some(folder);
    }
    if let Some(missing) = programs.iter().find(|program| find(program).is_none()) {
        return unavailable(name, &format!("{missing} is not installed"));
    }
    let unfinished = libraries.join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&unfinished).expect("the folder of builds can be written");
    let output = {
        for file in files.iter().filter(|file| file.ends_with(".json")) {
            copy(file, &unfinished);
        }
        command.current_dir(&unfinished);
        tools::run(command, b"")
    };
    if output.code != Some(0) {
        let _ = fs::remove_dir_all(&unfinished); // nothing depends on it
        return unavailable(name, &format!("{}{}", output.out, output.err));
    }
    for file in files {
        copy(file, &unfinished);
    }
    let _ = fs::remove_dir_all(&folder); // an earlier version
    fs::rename(&unfinished, &folder).expect("the folder of builds can be written");
    Some(folder)
}

fn copy(file: &str, to: &Path) {
    fs::copy(clients().join(file), to.join(file)).expect("the folder of builds can be written");
}

fn unavailable(name: &str, why: &str) -> Option<PathBuf> {
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "CI needs {name}: {why}");
    eprintln!("NOT CHECKED: {name}: {why}");
    None
}

/// Returns the folder of the applications.
fn clients() -> PathBuf {
    program::workspace().join("crates/e2e/clients")
}
