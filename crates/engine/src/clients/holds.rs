//! Output that waits for the disk: for the answer to a request, for example a vote that must not be
//! sent before the file that records it is durable, or for the save that follows a FLUSHALL.
//!
//! ```text
//!   part:   id = core.request(ReplaceFile …)      clients.hold(handle, at, id)
//!   outbox: │ earlier replies │╫ gate: Request(id) │ the vote │ later output …
//!   driver: Answer { id, Ok }  ─▶ the gate opens
//!           Answer { id, Err } ─▶ the connection is closed: the held output would be wrong
//! ```

use super::{Client, Clients, Gate, Waiting};
use crate::core::{Answer, Core, Order};
use crate::ids::{Handle, RequestId};

impl Clients {
    /// Holds a connection's output from this absolute offset of its outbox on until a request is
    /// answered.
    pub fn hold(&mut self, handle: Handle, at: u64, id: RequestId) {
        let Some(client) = self.get_mut(handle) else { return };
        client.wire.outbox.mark(at, Gate::Request(id));
        self.held.push((id, handle));
    }

    /// Holds the output of a client's EXEC from this offset on, unless it is held already, until the
    /// save after its FLUSHALL has ended.
    pub(crate) fn hold_for_flush(&mut self, handle: Handle, at: u64) {
        if let Some(client) = self.get_mut(handle)
            && !client.wire.outbox.has_gate(Gate::Flush)
        {
            client.wire.outbox.mark(at, Gate::Flush);
        }
    }

    /// Blocks a client whose EXEC has ended if its reply is held for a save.
    pub(crate) fn block_for_flush(&mut self, core: &mut Core, handle: Handle) {
        let waits = |client: &Client| client.wire.outbox.has_gate(Gate::Flush);
        if self.get(handle).is_some_and(waits) {
            self.block(core, handle, Waiting::FlushInExec, None);
        }
    }

    /// Answers all clients that wait for a save after FLUSHALL.
    pub(crate) fn flush_saved(&mut self, core: &mut Core) {
        for handle in self.waiting_for(|waiting| waiting == Waiting::Flush) {
            core.order(Order::Answer(handle, Answer::Ok));
        }
        for handle in self.waiting_for(|waiting| waiting == Waiting::FlushInExec) {
            if let Some(outbox) = self.outbox(handle) {
                outbox.open_gate(Gate::Flush);
            }
            self.mark_dirty(handle);
            core.order(Order::Resume(handle));
        }
    }

    /// Releases the output held for a request, or closes those connections if the request failed.
    pub(crate) fn request_answered(&mut self, core: &mut Core, id: RequestId, is_ok: bool) {
        let (answered, waiting) = self.held.drain(..).partition(|(held, _)| *held == id);
        self.held = waiting;
        let answered: Vec<(RequestId, Handle)> = answered;
        for (_, handle) in answered {
            if !is_ok {
                self.drop_without_flush(core, handle);
            } else if let Some(client) = self.get_mut(handle) {
                client.wire.outbox.open_gate(Gate::Request(id));
                self.mark_dirty(handle);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::core::Boot;
    use crate::io::{Endpoints, Now};

    fn fixture() -> (Core, Clients, [Handle; 2]) {
        let mut core = Core::new(Config::default(), Boot::default(), Now::default());
        let mut clients = Clients::default();
        let mut connect = || {
            let handle = clients.add(Endpoints::Unix("s".to_owned()), 0).handle;
            clients.send(&mut core, handle, b"before ");
            let at = clients.outbox(handle).map_or(0, |outbox| outbox.end());
            clients.send(&mut core, handle, b"vote");
            clients.hold(handle, at, RequestId(if at > 0 { 7 } else { 8 }));
            handle
        };
        let handles = [connect(), connect()];
        (core, clients, handles)
    }

    fn open_len(clients: &mut Clients, handle: Handle) -> usize {
        clients.outbox(handle).map_or(0, |outbox| outbox.open_len())
    }

    #[test]
    fn output_held_for_a_request_is_released_by_its_answer() {
        let (mut core, mut clients, [a, b]) = fixture();
        clients.request_answered(&mut core, RequestId(8), true);
        assert_eq!([open_len(&mut clients, a), open_len(&mut clients, b)], [7, 7]);
        let mut dirty = Vec::new();
        clients.take_dirty(&mut dirty);
        clients.request_answered(&mut core, RequestId(7), true);
        assert_eq!([open_len(&mut clients, a), open_len(&mut clients, b)], [11, 11]);
        dirty.clear();
        clients.take_dirty(&mut dirty);
        assert_eq!(dirty, [a, b]);
    }

    #[test]
    fn output_held_for_a_failed_request_is_discarded() {
        let (mut core, mut clients, [a, b]) = fixture();
        clients.request_answered(&mut core, RequestId(7), false);
        assert!(clients.outbox(a).is_none_or(|outbox| outbox.is_empty()));
        assert!(clients.get(b).is_none_or(|client| client.closed));
        assert!(clients.held.is_empty());
    }
}
