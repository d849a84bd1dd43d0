//! Carries out the node's outputs.

use std::net::SocketAddr;

use russet_engine::io::{Endpoints, Handle, Input, Output, Status};
use rustix::event::epoll::EventFlags;
use rustix::net::sockopt;

use crate::connect;
use crate::connections::Attempt;
use crate::daemon;
use crate::engine::Engine;
use crate::event_loop::EventLoop;
use crate::log;
use crate::supervise;
use crate::sys::error_text;

impl<E: Engine> EventLoop<E> {
    /// Carries out all pending outputs and stores the next deadline.
    #[inline]
    pub(crate) fn perform_outputs(&mut self) {
        loop {
            match self.node.poll_output(self.now) {
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
                output => self.perform(output),
            }
        }
    }

    #[cold]
    fn perform(&mut self, output: Output) {
        match output {
            Output::Wait(_) => {}
            Output::Close(handle) => self.close(handle),
            Output::Connect { link, host, port } => self.connect(link, host, port),
            Output::RunScript { job, path, arguments } => self.scripts.run(job, path, arguments),
            Output::KillScript { job } => self.scripts.kill(job),
            Output::SnapshotBegin { job, target, settings, aux } => {
                self.snapshots.begin(job, target, settings, aux);
            }
            Output::SnapshotChunk { job, chunk } => self.snapshots.chunk(job, chunk),
            Output::SnapshotEnd { job } => self.snapshots.end(job),
            Output::SnapshotAbort { job } => {
                self.snapshots.abort(job);
                self.inputs.retain(|i| !matches!(i, Input::Snapshot { job: of, .. } if *of == job));
            }
            Output::Read { job, path } => self.files.read(job, &path),
            Output::ReadMore { job } => self.files.more(job),
            Output::ReadStop { job } => {
                self.files.stop(job);
                self.inputs.retain(|i| !matches!(i, Input::File { job: of, .. } if *of == job));
            }
            Output::Append { job, step } => self.appends.step(job, step, self.now.mono_us),
            Output::Request { id, request } => self.do_request(id, request),
            Output::Log { level, text, role } => {
                log::set_role(role);
                log::log_as(role, level, &text);
            }
            Output::Status(status) => {
                match status {
                    Status::ShutdownCancelled => self.signals.shutdown_cancelled(),
                    Status::Ready { .. } => daemon::serves(),
                    _ => {}
                }
                supervise::report(status);
            }
            Output::DisableNoDelay(handle) => self.disable_no_delay(handle),
            Output::Garbage(garbage) => self.garbage.collect(garbage),
            Output::Exit(status) => self.exit = Some(status),
        }
    }

    /// Writes what can be written and closes the connection.
    fn close(&mut self, handle: Handle) {
        self.resolving.remove(&handle);
        self.write(handle, true);
        if let Some(connection) = self.connections.remove(handle) {
            // Closing a socket with unread bytes resets it, and a reset overtakes the last replies.
            connection.discard_unread();
        }
    }

    /// Prefers fewer packets to low latency, on a TCP connection.
    fn disable_no_delay(&mut self, handle: Handle) {
        if let Some(connection) = self.connections.get(handle) {
            let _ = sockopt::set_tcp_nodelay(connection.fd(), false);
        }
    }

    /// Opens a connection to a name or an address.
    fn connect(&mut self, link: Handle, host: String, port: u16) {
        match connect::literal(&host, port) {
            Some(address) => self.try_connect(link, vec![address]),
            None => {
                self.resolving.insert(link);
                connect::resolve(link, host, port, self.completions.reporter());
            }
        }
    }

    /// Handles the result of a name lookup.
    pub(crate) fn resolved(&mut self, link: Handle, addresses: Result<Vec<SocketAddr>, String>) {
        if !self.resolving.remove(&link) {
            return;
        }
        match addresses {
            Ok(mut addresses) => {
                addresses.reverse();
                self.try_connect(link, addresses);
            }
            Err(why) => self.inputs.push_back(Input::Connected { link, result: Err(why) }),
        }
    }

    /// Starts connecting to the last address; if that fails at once, tries the one before.
    fn try_connect(&mut self, link: Handle, mut untried: Vec<SocketAddr>) {
        let mut why = String::from("the name has no address");
        while let Some(address) = untried.pop() {
            let keepalive = self.resources.keepalive_secs;
            let started = connect::start(address, self.source_address, keepalive).and_then(|fd| {
                let attempt = Some(Box::new(Attempt { untried: std::mem::take(&mut untried) }));
                self.connections.insert(&self.resources.epoll, link, fd, EventFlags::OUT, attempt)
            });
            match started {
                Ok(()) => return,
                Err(errno) => why = error_text(&errno.into()),
            }
        }
        self.inputs.push_back(Input::Connected { link, result: Err(why) });
    }

    /// Handles the outcome of a connection attempt.
    pub(crate) fn connect_decided(&mut self, link: Handle) {
        let Some(connection) = self.connections.get(link) else { return };
        let Some(attempt) = connection.connecting.take() else { return };
        match connect::finish(&connection.fd()) {
            Ok((peer, local)) => {
                connection.set_interest(&self.resources.epoll, link, EventFlags::IN);
                let result = Ok(Endpoints::Tcp { peer, local });
                self.inputs.push_back(Input::Connected { link, result });
            }
            Err(errno) => {
                self.connections.remove(link);
                if attempt.untried.is_empty() {
                    let result = Err(error_text(&errno.into()));
                    self.inputs.push_back(Input::Connected { link, result });
                } else {
                    self.try_connect(link, attempt.untried);
                }
            }
        }
    }
}
