//! The methods of [`russet_engine::node::Node`] that the event loop calls, as a trait, so that the
//! loop can be tested with something simpler than a database.

use russet_engine::clients::Outbox;
use russet_engine::io::{Endpoints, Handle, Host, Input, Now, Output, Service};

/// A state machine driven by the event loop; [`russet_engine::io`] defines the contract.
pub trait Engine {
    /// Handles one event.
    fn handle(&mut self, now: Now, input: Input);
    /// Returns the next output; the last one is `Wait`.
    fn poll_output(&mut self, now: Now) -> Output;
    /// Registers a new connection, or returns the error to send before it is closed.
    fn accept(&mut self, now: Now, service: Service, ends: Endpoints) -> Result<Handle, Vec<u8>>;
    /// Returns the buffer to read into; `None` if the connection is closed or must not be read now.
    fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>>;
    /// Reports that bytes were read.
    fn received(&mut self, now: Now, handle: Handle);
    /// Works for a bounded time.
    fn turn(&mut self, now: Now, host: &mut dyn Host);
    /// Reports how long a round of the event loop took, in microseconds.
    fn count_round(&mut self, us: u64);
    /// Moves the connections with pending output into `into`.
    fn take_dirty(&mut self, into: &mut Vec<Handle>);
    /// Returns the pending output of a connection.
    fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox>;
    /// Whether a request of this connection is in progress that continues after the peer has shut
    /// down its side.
    fn works_for(&self, handle: Handle) -> bool;
    /// Reports that this many bytes of the outbox were written; they are consumed.
    fn written(&mut self, handle: Handle, bytes: usize);
}

impl Engine for russet_engine::node::Node {
    fn handle(&mut self, now: Now, input: Input) {
        self.handle(now, input);
    }

    #[inline]
    fn poll_output(&mut self, now: Now) -> Output {
        self.poll_output(now)
    }

    fn accept(&mut self, now: Now, service: Service, ends: Endpoints) -> Result<Handle, Vec<u8>> {
        self.accept(now, service, ends)
    }

    #[inline]
    fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>> {
        self.read_buffer(handle)
    }

    #[inline]
    fn received(&mut self, now: Now, handle: Handle) {
        self.received(now, handle);
    }

    #[inline]
    fn turn(&mut self, now: Now, host: &mut dyn Host) {
        self.turn(now, host);
    }

    #[inline]
    fn count_round(&mut self, us: u64) {
        self.count_round(us);
    }

    #[inline]
    fn take_dirty(&mut self, into: &mut Vec<Handle>) {
        self.take_dirty(into);
    }

    #[inline]
    fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox> {
        self.outbox(handle)
    }

    fn works_for(&self, handle: Handle) -> bool {
        self.works_for(handle)
    }

    #[inline]
    fn written(&mut self, handle: Handle, bytes: usize) {
        self.written(handle, bytes);
    }
}
