//! What other threads tell the loop: a channel, and an eventfd that `epoll` can watch.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use russet_engine::io::{Handle, Input};
use rustix::event::{EventfdFlags, eventfd};

/// Something that another thread has finished.
#[derive(Debug)]
pub enum Completion {
    /// News for the node.
    Input(Input),
    /// A name was looked up for an outgoing connection.
    Resolved {
        /// The connection.
        link: Handle,
        /// Its addresses, or why there are none.
        addresses: Result<Vec<SocketAddr>, String>,
    },
}

/// The loop's end.
pub struct Completions {
    receiver: Receiver<Completion>,
    reporter: Reporter,
}

/// The other threads' end.
#[derive(Clone)]
pub struct Reporter {
    sender: Sender<Completion>,
    wake: Arc<OwnedFd>,
}

impl Completions {
    /// A channel with its descriptor.
    pub fn new() -> rustix::io::Result<Completions> {
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let (sender, receiver) = channel();
        Ok(Completions { receiver, reporter: Reporter { sender, wake } })
    }

    /// An end to give to a thread.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// What `epoll` watches: readable when something has come.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.reporter.wake.as_fd()
    }

    /// Takes all that has come. The descriptor is reset first, so nothing can be missed.
    pub fn take(&self) -> impl Iterator<Item = Completion> + '_ {
        let mut count = [0; 8];
        let _ = rustix::io::read(self.fd(), &mut count);
        self.receiver.try_iter()
    }
}

impl Reporter {
    /// Tells the loop.
    pub fn report(&self, completion: Completion) {
        // Both fail only when the loop is gone and with it whoever could care.
        if self.sender.send(completion).is_ok() {
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }

    /// Tells the loop something for the node.
    pub fn input(&self, input: Input) {
        self.report(Completion::Input(input));
    }
}
