//! Aborts the process on a panic, with a bug report in the log between the markers that tools look
//! for.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;

use crate::log;

/// Installs the panic hook for all threads.
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        report(info);
        std::process::abort();
    }));
}

fn report(info: &PanicHookInfo<'_>) {
    let message = info
        .payload()
        .downcast_ref::<&str>()
        .map(|text| text.to_string())
        .or_else(|| info.payload().downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_string());
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    log::write_raw(b"\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===\n");
    let version = env!("CARGO_PKG_VERSION");
    log::warning(&format!("Russet {version} crashed by a panic in thread '{thread}'"));
    log::warning(&format!("=== ASSERTION FAILED === {place} '{message}'"));
    log::write_raw(
        format!("\n------ STACK TRACE ------\n{}\n", Backtrace::force_capture()).as_bytes(),
    );
    log::write_raw(
        b"\n=== REDIS BUG REPORT END. Make sure to include from START to END. ===\n\n       \
        This is a bug in Russet: please report it with the lines above.\n\n",
    );
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const CRASH: &str = "RUSSET_TEST_CRASH";

    /// Runs a test of this module again in a child process, which must be ended by a signal. Returns its log.
    fn crashed(test: &str, signal: i32) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([&format!("crash::tests::{test}"), "--exact", "--nocapture"])
            .env(CRASH, "1")
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.signal(), Some(signal), "{log}");
        log
    }

    #[test]
    fn a_signal_of_a_crash_is_logged_and_ends_the_process() {
        if std::env::var_os(CRASH).is_some() {
            crate::sys::report_crashes(crate::log::write_crash);
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::SEGV,
            );
        }
        let test = "a_signal_of_a_crash_is_logged_and_ends_the_process";
        let log = crashed(test, libc::SIGSEGV);
        assert!(log.contains("crashed by signal: 11\n"), "{log}");
    }

    #[test]
    fn a_panic_leaves_a_report_and_aborts() {
        if std::env::var_os(CRASH).is_some() {
            super::install();
            panic!("planned by the test");
        }
        let log = crashed("a_panic_leaves_a_report_and_aborts", libc::SIGABRT);
        for expected in ["REPORT START", "planned by the test", "STACK TRACE", "REPORT END"] {
            assert!(log.contains(expected), "{log}");
        }
    }
}
