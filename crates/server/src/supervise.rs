//! Readiness notification for systemd and upstart.

use std::sync::atomic::{AtomicBool, Ordering};

use russet_engine::config::value::Supervised;
use russet_engine::io::{Level, Status};
use sd_notify::NotifyState;

use crate::log;
use crate::sys;

/// Whether systemd is notified.
static NOTIFIES_SYSTEMD: AtomicBool = AtomicBool::new(false);

/// Notifies the supervisor that the start has begun. Returns whether there is one, in which case
/// the process stays in the foreground.
pub fn begin(mode: Supervised) -> bool {
    let is_set = |name| std::env::var_os(name).is_some();
    let mode = match mode {
        Supervised::Auto if is_set("UPSTART_JOB") => {
            log::log(Level::Verbose, "Upstart supervision detected.");
            Supervised::Upstart
        }
        Supervised::Auto if is_set("NOTIFY_SOCKET") => {
            log::log(Level::Verbose, "Systemd supervision detected.");
            Supervised::Systemd
        }
        mode => mode,
    };
    match mode {
        Supervised::Upstart if is_set("UPSTART_JOB") => {
            log::notice("supervised by upstart, will stop to signal readiness.");
            sys::stop_self();
            true
        }
        Supervised::Upstart => {
            log::warning("upstart supervision requested, but UPSTART_JOB not found!");
            false
        }
        Supervised::Systemd => begin_systemd(is_set("NOTIFY_SOCKET")),
        Supervised::Auto | Supervised::No => false,
    }
}

fn begin_systemd(has_socket: bool) -> bool {
    if !has_socket {
        log::warning("systemd supervision error: NOTIFY_SOCKET not found!");
        return false;
    }
    if !notify(&[NotifyState::Status("Russet is loading...")]) {
        return false;
    }
    NOTIFIES_SYSTEMD.store(true, Ordering::Relaxed);
    log::notice(
        "Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec \
         and TimeoutStopSec in your service unit.",
    );
    true
}

/// Notifies systemd of a status, if it supervises the server.
pub fn report(status: Status) {
    if !NOTIFIES_SYSTEMD.load(Ordering::Relaxed) {
        return;
    }
    let text = match status {
        Status::Ready { waits_for_master } => {
            let status = match waits_for_master {
                true => {
                    "Ready to accept connections in read-only mode. Waiting for MASTER <-> REPLICA sync"
                }
                false => "Ready to accept connections",
            };
            notify(&[NotifyState::Status(status), NotifyState::Ready]);
            return;
        }
        Status::Stopping => {
            notify(&[NotifyState::Stopping]);
            return;
        }
        Status::ShutdownCancelled => "Can't exit. Ready to accept connections",
        Status::Synced => {
            "MASTER <-> REPLICA sync: Finished with success. \
             Ready to accept connections in read-write mode."
        }
        Status::Resumed => {
            "MASTER <-> REPLICA sync: Partial Resynchronization accepted. \
             Ready to accept connections in read-write mode."
        }
    };
    notify(&[NotifyState::Status(text)]);
}

fn notify(states: &[NotifyState<'_>]) -> bool {
    match sd_notify::notify(states) {
        Ok(()) => true,
        Err(error) => {
            let why = sys::error_text(&error);
            log::warning(&format!("systemd supervision error: sd_notify: {why}"));
            false
        }
    }
}
