//! Processes from outside: signals, exit, and their state in `/proc`.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::wait::wait_until;

/// Sends `signal` to the process. It is not an error if the process does not exist any more.
///
/// # Panics
/// If the id is invalid or the signal is not permitted.
pub fn signal(pid: u32, signal: Signal) {
    match kill_process(to_pid(pid), signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("signal {signal:?} to {pid}: {error}"),
    }
}

/// Whether the process is running. A process that has exited and was not reaped by its parent is
/// not.
///
/// # Panics
/// If the id is invalid.
pub fn is_alive(pid: u32) -> bool {
    test_kill_process(to_pid(pid)).is_ok() && !matches!(state(pid), None | Some('Z' | 'X'))
}

/// Waits until the process has exited.
///
/// # Panics
/// If it has not within the deadline.
pub fn wait_for_end(pid: u32) {
    wait_until(&format!("process {pid} ends"), || !is_alive(pid));
}

/// Returns the resident memory in bytes, `VmRSS` of `/proc/PID/status`.
///
/// # Panics
/// If the process does not exist.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("Linux has VmRSS");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("VmRSS is a number");
    kilobytes * 1024
}

/// Returns the letter of the process's state; none if it does not exist.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn to_pid(pid: u32) -> Pid {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    raw.expect("a process id is a positive number")
}
