//! Signals: SIGTERM and SIGINT become inputs of the node, SIGHUP and SIGPIPE nothing.
//!
//! A thread waits for them, so that whoever presses Ctrl-C while the server ends is heard also when
//! the loop does not answer: SIGINT then ends the process at once, without a save.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russet_engine::io::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::Signals as Incoming;

use crate::log;
use crate::snapshot_writer::remove_own_files;
use crate::sys;

/// Which signals have come.
pub struct Signals {
    /// A byte for each signal: its number.
    wake: UnixStream,
    /// From a signal on, until the node has ended or has found that it can't.
    ending: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the process' signals over.
    pub fn take_over() -> std::io::Result<Signals> {
        sys::ignore_signal(SIGHUP);
        sys::ignore_signal(SIGPIPE);
        let (signals, poke) = Signals::new()?;
        let incoming = Incoming::new([SIGINT, SIGTERM])?;
        let ending = signals.ending.clone();
        let thread = std::thread::Builder::new().name("russet-signals".into());
        thread.spawn(move || listen(incoming, &ending, &poke))?;
        Ok(signals)
    }

    fn new() -> std::io::Result<(Signals, UnixStream)> {
        let (wake, poke) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        poke.set_nonblocking(true)?;
        Ok((Signals { wake, ending: Arc::default() }, poke))
    }

    /// A stand-in to which no signal comes: the process' signals belong to the test runner.
    #[cfg(test)]
    pub fn none() -> std::io::Result<Signals> {
        let (signals, poke) = Signals::new()?;
        std::mem::forget(poke);
        Ok(signals)
    }

    /// Readable when a signal has come.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// The signals that have come since the last call.
    pub fn take(&mut self) -> impl Iterator<Item = Signal> + use<> {
        let mut bytes = [0; 64];
        let count = self.wake.read(&mut bytes).unwrap_or(0);
        let came = |number: i32, signal| {
            bytes[..count].iter().any(|&byte| i32::from(byte) == number).then_some(signal)
        };
        let terminate = came(SIGTERM, Signal::Terminate);
        let interrupt = came(SIGINT, Signal::Interrupt);
        terminate.into_iter().chain(interrupt)
    }

    /// The node goes on after all: the next SIGINT asks for an orderly end again.
    pub fn calm_down(&self) {
        self.ending.store(false, Ordering::Release);
    }
}

fn listen(mut incoming: Incoming, ending: &AtomicBool, mut poke: &UnixStream) {
    for signal in incoming.forever() {
        if ending.swap(true, Ordering::AcqRel) && signal == SIGINT {
            log::warning("You insist... exiting now.");
            remove_own_files(Path::new("."));
            sys::exit_now(1);
        }
        // Full: the loop hasn't taken thousands of signals, and one more says nothing new.
        let _ = poke.write(&[signal.unsigned_abs() as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_is_told_once_at_a_time() {
        let (mut signals, mut poke) = Signals::new().unwrap();
        let (interrupt, terminate) = (SIGINT as u8, SIGTERM as u8);
        poke.write_all(&[interrupt, terminate, interrupt]).unwrap();
        assert_eq!(signals.take().collect::<Vec<_>>(), [Signal::Terminate, Signal::Interrupt]);
        assert_eq!(signals.take().count(), 0);
    }
}
