//! Results of other threads for the event loop: a channel, and an eventfd that `epoll` can watch.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    wake: Arc<Wake>,
}

/// The eventfd, and whether it was written since the event loop has last taken all completions: then it need not be
/// written again.
struct Wake {
    fd: OwnedFd,
    is_signalled: AtomicBool,
}

impl Completions {
    /// Creates the channel and its eventfd.
    pub fn new() -> rustix::io::Result<Completions> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let wake = Arc::new(Wake { fd, is_signalled: AtomicBool::new(false) });
        let (sender, receiver) = channel();
        Ok(Completions { receiver, reporter: Reporter { sender, wake } })
    }

    /// Returns a sender for another thread.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// The eventfd, readable when there are completions.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.reporter.wake.fd.as_fd()
    }

    /// Takes all completions. The eventfd is reset first, so that none is missed: whoever finds it signalled has
    /// sent its completion before this swap, and whoever does not writes it again.
    pub fn take(&self) -> impl Iterator<Item = Completion> + '_ {
        let mut count = [0; 8];
        let _ = rustix::io::read(self.fd(), &mut count);
        self.reporter.wake.is_signalled.swap(false, Ordering::AcqRel);
        self.receiver.try_iter()
    }
}

impl Reporter {
    /// Sends a completion to the event loop.
    pub fn report(&self, completion: Completion) {
        self.queue(completion);
        self.wake();
    }

    /// Sends an input for the node.
    pub fn input(&self, input: Input) {
        self.report(Completion::Input(input));
    }

    /// Adds a completion, which the event loop may not notice before [`Reporter::wake`].
    pub fn queue(&self, completion: Completion) {
        // Fails only when the event loop has ended, and so does `wake`.
        let _ = self.sender.send(completion);
    }

    /// Wakes the event loop up, unless it was and has not taken the completions yet.
    pub fn wake(&self) {
        if !self.wake.is_signalled.swap(true, Ordering::AcqRel) {
            let _ = rustix::io::write(&self.wake.fd, &1_u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use russet_engine::io::{FileEvent, JobId};
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn the_event_loop_is_woken_once_for_what_it_has_not_taken() {
        let completions = Completions::new().unwrap();
        let (reporter, fd) = (completions.reporter(), completions.fd());
        for _ in 0..3 {
            reporter.input(Input::File { job: JobId(1), event: FileEvent::End });
        }
        let mut count = [0; 8];
        rustix::io::read(fd, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
        assert_eq!(completions.take().count(), 3);
    }

    #[test]
    fn no_completion_is_missed() {
        const COUNT: u64 = 20_000;
        let completions = Completions::new().unwrap();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let reporter = completions.reporter();
                std::thread::spawn(move || {
                    for job in (0..COUNT).map(JobId) {
                        reporter.input(Input::File { job, event: FileEvent::End });
                    }
                })
            })
            .collect();
        // A wait for one that was missed would not end.
        let mut taken = 0;
        while taken < 2 * COUNT {
            let fd = completions.fd();
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
            taken += completions.take().count() as u64;
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
