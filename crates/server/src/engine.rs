//! What the loop needs of the thing that it drives: the methods of [`russet_engine::Node`], as a
//! trait, so that the loop can be tested with something simpler than a database.

use russet_engine::clients::Outbox;
use russet_engine::io::{Endpoints, Handle, Host, Input, Now, Output, Service};

/// See [`russet_engine::io`] for the contract.
pub trait Engine {
    /// Takes in one event.
    fn handle(&mut self, now: Now, input: Input);
    /// The next request to the world; finally `Wait`.
    fn poll_output(&mut self, now: Now) -> Output;
    /// A new connection, or what to write to it before it is closed.
    fn accept(&mut self, now: Now, service: Service, ends: Endpoints) -> Result<Handle, Vec<u8>>;
    /// Where to read into; `None` if it is gone or must not be read now.
    fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>>;
    /// Bytes were read.
    fn received(&mut self, now: Now, handle: Handle);
    /// Works for a bounded time.
    fn turn(&mut self, now: Now, host: &mut dyn Host);
    /// The round around a turn took so many microseconds of this thread.
    fn round_took(&mut self, us: u64);
    /// Which connections have something to write.
    fn take_dirty(&mut self, into: &mut Vec<Handle>);
    /// What to write.
    fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox>;
    /// Whether a request of this connection is under way that goes on though its far end sends no more.
    fn works_for(&self, handle: Handle) -> bool;
    /// So much of the outbox was written, and is to be consumed.
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
    fn round_took(&mut self, us: u64) {
        self.round_took(us);
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
