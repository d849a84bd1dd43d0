//! The stock command line tools, run with a time limit.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::program::stock;
use crate::wait::wait_for_within;

/// Time limit of tools.
const TIME_MAX: Duration = Duration::from_secs(120);

/// The output and exit status of a tool.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Exit status; none if it was terminated by a signal.
    pub code: Option<i32>,
}

/// Runs stock `redis-cli` against a local port and returns its standard output.
///
/// # Panics
/// If it is not installed or does not exit in time.
pub fn redis_cli<A: AsRef<OsStr>>(port: u16, arguments: &[A]) -> String {
    let port = port.to_string();
    let mut command = Command::new(stock("redis-cli"));
    command.args(["-p", &port]).args(arguments);
    run(command, b"").out
}

/// Runs a command with `input` on its standard input until it exits.
///
/// # Panics
/// If it cannot be started or does not exit in time (then it is killed).
pub fn run(command: Command, input: &[u8]) -> Output {
    run_within(command, input, TIME_MAX)
}

/// Runs a command like [`run`] with another time limit.
///
/// # Panics
/// Like [`run`].
pub fn run_within(mut command: Command, input: &[u8], time_max: Duration) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut stderr = child.stderr.take().expect("it is piped");
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let _ = stdin.write_all(input); // a tool may end without reading all
        });
        let out = scope.spawn(move || read_all(&mut stdout));
        let err = scope.spawn(move || read_all(&mut stderr));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for_within(&format!("{command:?} ends"), time_max, || {
                child.try_wait().expect("it is our child")
            })
        }));
        let status = ended.unwrap_or_else(|panic| {
            let _ = child.kill(); // it may have ended just now
            let _ = child.wait();
            std::panic::resume_unwind(panic)
        });
        writer.join().expect("writing does not panic");
        Output {
            out: out.join().expect("reading does not panic"),
            err: err.join().expect("reading does not panic"),
            code: status.code(),
        }
    })
}

/// Runs a command that only ends when it is killed, until it has printed `count` lines.
///
/// # Panics
/// If it cannot be started or exits before.
pub fn first_lines(mut command: Command, count: usize) -> Vec<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let lines: Vec<String> = stdout.lines().take(count).map_while(Result::ok).collect();
    let _ = child.kill(); // it may have ended just now
    let _ = child.wait();
    assert_eq!(lines.len(), count, "{command:?} ended after {lines:?}");
    lines
}

fn read_all(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes); // what came is what counts
    String::from_utf8_lossy(&bytes).into_owned()
}
