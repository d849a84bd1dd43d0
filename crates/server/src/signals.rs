//! Signals: SIGTERM and SIGINT become inputs of the node, SIGHUP and SIGPIPE nothing.
//!
//! A second SIGINT ends the process at once, also when the loop does not answer.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russet_engine::io::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};

use crate::sys;

/// Which signals have come.
pub struct Signals {
    wake: UnixStream,
    terminate: Arc<AtomicBool>,
    interrupt: Arc<AtomicBool>,
    /// From the first SIGINT on.
    interrupted: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the process' signals over.
    pub fn take_over() -> std::io::Result<Signals> {
        sys::ignore_signal(SIGHUP);
        sys::ignore_signal(SIGPIPE);
        let (signals, poke) = Signals::new()?;
        // Actions of one signal run in this order: the second SIGINT finds what the first has set.
        let armed = signals.interrupted.clone();
        signal_hook::flag::register_conditional_shutdown(SIGINT, 1, armed)?;
        signal_hook::flag::register(SIGINT, signals.interrupted.clone())?;
        signal_hook::flag::register(SIGINT, signals.interrupt.clone())?;
        signal_hook::flag::register(SIGTERM, signals.terminate.clone())?;
        for signal in [SIGINT, SIGTERM] {
            signal_hook::low_level::pipe::register(signal, poke.try_clone()?)?;
        }
        Ok(signals)
    }

    fn new() -> std::io::Result<(Signals, UnixStream)> {
        let (wake, poke) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let signals = Signals {
            wake,
            terminate: Arc::default(),
            interrupt: Arc::default(),
            interrupted: Arc::default(),
        };
        Ok((signals, poke))
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
        let mut pokes = [0; 64];
        let _ = self.wake.read(&mut pokes);
        let came = |flag: &AtomicBool, signal| flag.swap(false, Ordering::AcqRel).then_some(signal);
        let terminate = came(&self.terminate, Signal::Terminate);
        let interrupt = came(&self.interrupt, Signal::Interrupt);
        terminate.into_iter().chain(interrupt)
    }
}
