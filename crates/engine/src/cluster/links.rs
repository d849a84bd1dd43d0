//! Connections of the bus.

use std::collections::BTreeMap;

use russet_cluster::bus::{NextFrame, next_frame};
use russet_cluster::{Input, LinkId};

use super::{Cluster, World};
use crate::clients::LinkOwner;
use crate::ids::Handle;
use crate::io::{Endpoints, Level};

/// The connections.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_handle: BTreeMap<Handle, LinkId>,
    by_id: BTreeMap<LinkId, Handle>,
}

impl Links {
    pub fn add(&mut self, id: LinkId, handle: Handle) {
        self.by_handle.insert(handle, id);
        self.by_id.insert(id, handle);
    }

    pub fn handle(&self, id: LinkId) -> Option<Handle> {
        self.by_id.get(&id).copied()
    }

    fn id(&self, handle: Handle) -> Option<LinkId> {
        self.by_handle.get(&handle).copied()
    }

    pub fn remove(&mut self, id: LinkId) -> Option<Handle> {
        let handle = self.by_id.remove(&id)?;
        self.by_handle.remove(&handle);
        Some(handle)
    }
}

impl Cluster {
    /// Returns the connection of a link, for its sizes.
    pub(crate) fn link_handle(&self, id: LinkId) -> Option<Handle> {
        self.links.handle(id)
    }

    /// Handles that another node has connected.
    pub(crate) fn accepted(&mut self, world: &mut World<'_>, ends: Endpoints) -> Option<Handle> {
        let (local, peer) = ends.addresses();
        let link = self.machine.as_deref_mut()?.next_link();
        let handle = world.clients.add_link(world.core, LinkOwner::Bus, ends);
        self.links.add(link, handle);
        self.handle(world, Input::Accepted { link, local, peer });
        Some(handle)
    }

    /// Handles the result of connecting. Returns false if the connection is not wanted any more.
    pub(crate) fn connected(
        &mut self,
        world: &mut World<'_>,
        handle: Handle,
        result: Result<Endpoints, String>,
    ) -> bool {
        let Some(link) = self.links.id(handle) else { return false };
        match result {
            Ok(ends) => {
                let (local, peer) = ends.addresses();
                if let Some(client) = world.clients.get_mut(handle) {
                    client.ends = ends;
                }
                self.handle(world, Input::Connected { link, local, peer });
            }
            Err(error) => {
                self.links.remove(link);
                world.clients.drop_without_flush(world.core, handle);
                self.handle(world, Input::NotConnected { link, error });
            }
        }
        true
    }

    /// Handles received bytes.
    pub(crate) fn received(&mut self, world: &mut World<'_>, handle: Handle) {
        // The machine looks at messages where they are, so the buffer is taken meanwhile.
        let Some(client) = world.clients.get_mut(handle) else { return };
        let bytes = std::mem::take(&mut client.wire.query);
        let begin = std::mem::take(&mut client.wire.start);
        let (end, error) = self.messages(world, handle, &bytes[begin..]);
        if let Some(client) = world.clients.get_mut(handle) {
            (client.wire.query, client.wire.start) = (bytes, begin);
            client.wire.consume(end);
        }
        if let Some(error) = error {
            let who = world.clients.get(handle).map(|client| client.peer()).unwrap_or_default();
            let text = format!(
                "Bad message length or signature received from the cluster bus ({who}): {error}"
            );
            world.core.log(Level::Warning, text);
            world.clients.drop_without_flush(world.core, handle);
        }
    }

    /// Handles whole messages. Returns their length, and why what follows is none.
    fn messages(
        &mut self,
        world: &mut World<'_>,
        handle: Handle,
        bytes: &[u8],
    ) -> (usize, Option<String>) {
        let mut at = 0;
        while let Some(link) = self.links.id(handle) {
            let is_known = self.machine.as_ref().is_some_and(|machine| machine.is_link_known(link));
            match next_frame(&bytes[at..], is_known) {
                Ok(NextFrame::NeedMore) => break,
                Ok(NextFrame::Frame(len)) => {
                    self.handle(world, Input::Message { link, bytes: &bytes[at..at + len] });
                    at += len;
                }
                Err(error) => return (at, Some(error.to_string())),
            }
        }
        (at, None)
    }

    /// Notes that a connection is closed, since too many bytes waited to be sent on it. A peer that does not read keeps its
    /// other connection, and is connected to again.
    pub(crate) fn over_limit(&mut self, world: &mut World<'_>, handle: Handle, bytes: usize) {
        if let Some(link) = self.links.id(handle) {
            self.call(world, |machine, _| machine.link_over_limit(link, bytes));
        }
    }

    /// Forgets a connection: one of the bus, or a client whose reply waits for the disk.
    pub(crate) fn on_close(&mut self, world: &mut World<'_>, handle: Handle) {
        self.saves.on_close(handle);
        self.take_slot_order(handle);
        self.successor_closed(world, handle);
        if let Some(link) = self.links.id(handle) {
            self.links.remove(link);
            self.handle(world, Input::Closed { link });
        }
    }
}
