//! System calls that `rustix` lacks, behind safe signatures. All `unsafe` code of this crate is in
//! this file.

#![allow(unsafe_code, reason = "system calls and the CPU's counter that no safe crate offers")]

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::net::RecvFlags;

/// A broken-down local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Year, such as 2024.
    pub year: i32,
    /// Month, 0 to 11.
    pub month: usize,
    /// Day of the month, 1 to 31.
    pub day: i32,
    /// Hour, 0 to 23.
    pub hour: i32,
    /// Minute, 0 to 59.
    pub minute: i32,
    /// Second, 0 to 60.
    pub second: i32,
}

/// Converts Unix time to local time in the process' time zone.
pub fn local_time(unix_seconds: i64) -> LocalTime {
    // SAFETY: `tm` is a plain struct of integers and one pointer, for which all zeros are valid.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right types; localtime_r keeps neither.
    unsafe { libc::localtime_r(&unix_seconds, &mut tm) };
    LocalTime {
        year: tm.tm_year + 1900,
        month: usize::try_from(tm.tm_mon).unwrap_or(0).min(11),
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
    }
}

/// Which side of a fork this is.
pub enum Fork {
    /// The parent process, with the child's id.
    Parent(i32),
    /// The child process.
    Child,
}

/// Forks. Must be called while the process has a single thread.
pub fn fork() -> std::io::Result<Fork> {
    // SAFETY: the caller has started no thread, so the child's copy of every lock is free and it
    // may go on to run anything.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent(child)),
    }
}

/// Exits at once without running destructors: for the parent after a fork.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Whose CPU time to measure.
#[derive(Clone, Copy)]
pub enum Usage {
    /// The process'.
    Process,
    /// The calling thread's.
    Thread,
}

/// Returns the CPU time in the kernel and in user space, in microseconds.
pub fn cpu_times_us(usage: Usage) -> (u64, u64) {
    let who = match usage {
        Usage::Process => libc::RUSAGE_SELF,
        Usage::Thread => libc::RUSAGE_THREAD,
    };
    // SAFETY: `rusage` is a struct of integers, for which all zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live rusage, which the call fills.
    if unsafe { libc::getrusage(who, &mut usage) } != 0 {
        return (0, 0);
    }
    let us = |t: libc::timeval| u64::try_from(t.tv_sec * 1_000_000 + t.tv_usec).unwrap_or(0);
    (us(usage.ru_stime), us(usage.ru_utime))
}

/// Starts writing `len` bytes at `offset` to the disk; with `wait`, also waits for completion.
/// `len` must not be 0, which the kernel takes for the whole file.
/// This only smooths the load: errors are reported by the fsync that must follow.
pub fn write_back(file: BorrowedFd<'_>, offset: u64, len: u64, wait: bool) {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
    let mut flags = libc::SYNC_FILE_RANGE_WRITE;
    if wait {
        flags |= libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    }
    // SAFETY: the descriptor is open as long as it is borrowed; no memory is passed.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, flags) };
}

/// Reads the CPU's time stamp counter; returns 0 on unsupported architectures.
#[inline]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: RDTSC exists on every x86-64 and touches no memory.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        0
    }
}

/// Stops the calling process with SIGSTOP, which signals readiness to upstart.
pub fn stop_self() {
    // SAFETY: raise has no preconditions.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Ignores a signal.
pub fn ignore_signal(signal: i32) {
    // SAFETY: SIG_IGN is a valid disposition and replaces no handler that another part relies on.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// What [`report_crashes`] calls.
static REPORT: OnceLock<fn(i32)> = OnceLock::new();

/// Calls `report` with the number of a signal that shows a crash, before that signal ends the process as usual. The
/// function may only do what is safe in a signal handler.
pub fn report_crashes(report: fn(i32)) {
    extern "C" fn handle(signal: libc::c_int) {
        if let Some(report) = REPORT.get() {
            report(signal);
        }
        // SAFETY: raise is safe in a handler. The signal is blocked until the handler returns, and then has its default
        // effect, which SA_RESETHAND restored.
        unsafe { libc::raise(signal) };
    }
    let _ = REPORT.set(report);
    let handler: extern "C" fn(libc::c_int) = handle;
    // SAFETY: `sigaction` is a struct of integers and pointers, for which all zeros are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // On the alternate stack that std gives each thread: the usual one may have overflowed.
    action.sa_flags = libc::SA_RESETHAND | libc::SA_ONSTACK;
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT] {
        // SAFETY: the action is valid, and its handler calls nothing that is unsafe in one.
        unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    }
}

/// Reads the time zone once, before there are other threads.
pub fn read_time_zone() {
    unsafe extern "C" {
        fn tzset();
    }
    // SAFETY: called at the start of main, so nobody else touches the environment.
    unsafe { tzset() };
}

/// Returns the paths that match a pattern, sorted.
///
/// Uses glob(3), so that `include` matches as in Redis: no dot files unless the pattern starts with
/// a dot, `[^a]`, and escapes with backslashes.
pub fn glob(pattern: &CStr) -> Vec<PathBuf> {
    // SAFETY: `glob_t` is a struct of integers and pointers, for which all zeros are valid.
    let mut found: libc::glob_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pattern ends with a NUL, `found` is live, and there is no error function.
    let status = unsafe { libc::glob(pattern.as_ptr(), 0, None, &mut found) };
    let count = if status == 0 { found.gl_pathc } else { 0 };
    let paths = (0..count).map(|at| {
        // SAFETY: a glob that succeeded has `gl_pathc` C strings at `gl_pathv`, which stay as they
        // are until globfree.
        let path = unsafe { CStr::from_ptr(*found.gl_pathv.add(at)) };
        PathBuf::from(OsStr::from_bytes(path.to_bytes()))
    });
    let paths = paths.collect();
    // SAFETY: `found` was filled by glob or is all zeros; nothing points into it any more.
    unsafe { libc::globfree(&mut found) };
    paths
}

/// Receives up to `most` bytes behind those in the buffer, whose capacity does not change. Returns their number.
#[inline]
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, most: usize) -> Result<usize, Errno> {
    let spare = buffer.spare_capacity_mut();
    let room = spare.len().min(most);
    let ((received, _), _) = rustix::net::recv(fd, &mut spare[..room], RecvFlags::empty())?;
    let received = received.len();
    // SAFETY: this number of bytes behind the vector's length were initialised, as their type says.
    unsafe { buffer.set_len(buffer.len() + received) };
    Ok(received)
}

/// Returns the message of an I/O error without the error number.
pub fn error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_are_those_of_the_c_library() {
        let error = std::io::Error::from_raw_os_error(libc::EADDRINUSE);
        assert_eq!(error_text(&error), "Address already in use");
    }

    /// Work is counted by the clock under test, so the machine may be as slow as it likes.
    #[test]
    fn cpu_time_is_counted_for_each_thread_and_for_all_together() {
        const WORK_US: u64 = 20_000;
        let total = |usage| {
            let (system, user) = cpu_times_us(usage);
            system + user
        };
        let spin = std::thread::spawn(move || while total(Usage::Thread) < WORK_US {});
        spin.join().expect("it only counts");
        let idle = std::thread::spawn(move || total(Usage::Thread));
        assert!(idle.join().expect("it only reads") < WORK_US);
        assert!(total(Usage::Process) >= WORK_US);
    }
}
