//! Results of other threads for the event loop: a channel, and an eventfd that `epoll` can watch.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use russet_engine::io::{Handle, Input};
use rustix::event::{EventfdFlags, eventfd};

/// A result of another thread.
#[derive(Debug)]
pub enum Completion {
    /// An input for the node.
    Input(Input),
    /// A name was looked up for an outgoing connection.
    Resolved {
        /// The connection.
        link: Handle,
        /// Its addresses, or why there are none.
        addresses: Result<Vec<SocketAddr>, String>,
    },
}

/// The receiver, owned by the event loop.
pub struct Completions {
    receiver: Receiver<Completion>,
    reporter: Reporter,
}

/// A sender for another thread.
#[derive(Clone)]
pub struct Reporter {
    sender: Sender<Completion>,
    wake: Arc<OwnedFd>,
}

impl Completions {
    /// Creates the channel and its eventfd.
    pub fn new() -> rustix::io::Result<Completions> {
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let (sender, receiver) = channel();
        Ok(Completions { receiver, reporter: Reporter { sender, wake } })
    }

    /// Returns a sender for another thread.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// The eventfd, readable when there are completions.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.reporter.wake.as_fd()
    }

    /// Takes all completions. The eventfd is reset first, so that none is missed.
    pub fn take(&self) -> impl Iterator<Item = Completion> + '_ {
        let mut count = [0; 8];
        let _ = rustix::io::read(self.fd(), &mut count);
        self.receiver.try_iter()
    }
}

impl Reporter {
    /// Sends a completion to the event loop.
    pub fn report(&self, completion: Completion) {
        // Both fail only when the event loop has ended.
        if self.sender.send(completion).is_ok() {
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }

    /// Sends an input for the node.
    pub fn input(&self, input: Input) {
        self.report(Completion::Input(input));
    }
}
