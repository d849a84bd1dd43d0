//! Signals: SIGTERM and SIGINT become inputs of the node, SIGHUP, SIGPIPE and SIGXFSZ are ignored: the write that caused
//! the last two fails, as on a full disk. SIGALRM is logged, and those of a crash are before they end the process.
//!
//! A thread waits for them, so that a second Ctrl-C works even if the event loop does not respond:
//! a SIGINT during shutdown ends the process at once, without a save.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russet_engine::io::Signal;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::Signals as Incoming;

use crate::log;
use crate::requests::remove_own_temps;
use crate::resources::AppendLock;
use crate::snapshot_writer::remove_own_files;
use crate::sys;

/// The received signals.
pub struct Signals {
    /// Receives the number of each signal as a byte.
    wake: UnixStream,
    /// Set by a signal until the shutdown completes or is cancelled.
    ending: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the signal handlers of the process. `appends`: where it may have temporary files besides the working
    /// directory.
    pub fn install(appends: AppendLock) -> std::io::Result<Signals> {
        [SIGHUP, SIGPIPE, libc::SIGXFSZ].into_iter().for_each(sys::ignore_signal);
        let (signals, sender) = Signals::new()?;
        sys::report_crashes(crate::log::write_crash);
        let incoming = Incoming::new([SIGINT, SIGTERM, SIGALRM])?;
        let ending = signals.ending.clone();
        let thread = std::thread::Builder::new().name("russet-signals".into());
        thread.spawn(move || listen(incoming, &ending, &sender, &appends))?;
        Ok(signals)
    }

    fn new() -> std::io::Result<(Signals, UnixStream)> {
        let (wake, sender) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        Ok((Signals { wake, ending: Arc::default() }, sender))
    }

    /// Returns a stub that receives no signals: those of the process belong to the test runner.
    #[cfg(test)]
    pub fn none() -> std::io::Result<Signals> {
        let (signals, sender) = Signals::new()?;
        std::mem::forget(sender);
        Ok(signals)
    }

    /// Returns a descriptor that is readable when a signal was received.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Returns the signals received since the last call.
    pub fn take(&mut self) -> impl Iterator<Item = Signal> + use<> {
        let mut bytes = [0; 64];
        let count = self.wake.read(&mut bytes).unwrap_or(0);
        let received = |number: i32, signal| {
            bytes[..count].iter().any(|&byte| i32::from(byte) == number).then_some(signal)
        };
        let terminate = received(SIGTERM, Signal::Terminate);
        let interrupt = received(SIGINT, Signal::Interrupt);
        terminate.into_iter().chain(interrupt)
    }

    /// Reports that the shutdown was cancelled: the next SIGINT requests an orderly one again.
    pub fn shutdown_cancelled(&self) {
        self.ending.store(false, Ordering::Release);
    }
}

fn listen(
    mut incoming: Incoming,
    ending: &AtomicBool,
    mut sender: &UnixStream,
    appends: &AppendLock,
) {
    for signal in incoming.forever() {
        if signal == SIGALRM {
            // Redis' watchdog and tests send it to a server that does not respond.
            log::warning("Received SIGALRM");
            continue;
        }
        if ending.swap(true, Ordering::AcqRel) && signal == SIGINT {
            log::warning("You insist... exiting now.");
            for folder in std::iter::once(PathBuf::from(".")).chain(appends.folder()) {
                remove_own_files(&folder);
                remove_own_temps(&folder);
            }
            sys::exit_now(1);
        }
        // If the socket is full, the loop has thousands of signals pending, and one more adds
        // nothing.
        let _ = sender.write(&[signal.unsigned_abs() as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_signals_are_merged() {
        let (mut signals, mut sender) = Signals::new().unwrap();
        let (interrupt, terminate) = (SIGINT as u8, SIGTERM as u8);
        sender.write_all(&[interrupt, terminate, interrupt]).unwrap();
        assert_eq!(signals.take().collect::<Vec<_>>(), [Signal::Terminate, Signal::Interrupt]);
        assert_eq!(signals.take().count(), 0);
    }
}
