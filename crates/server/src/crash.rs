//! A panic is a bug: it ends the process with a report in the log, in the frame that tools look for.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;

use crate::log;

/// Makes panics end the process with a report, on whatever thread.
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
