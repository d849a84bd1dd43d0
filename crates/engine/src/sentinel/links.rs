//! Connections to servers and other Sentinels.

use std::collections::BTreeMap;

use russet_protocol::{ParsedReply, ReplyLimits, ReplyParser};
use russet_sentinel::{Input, LinkId};

use super::{Sentinel, World};
use crate::ids::Handle;
use crate::io::Endpoints;

/// Limits of replies: an INFO is the longest that is asked for.
const LIMITS: ReplyLimits = ReplyLimits::new(4 << 20);

/// The connections.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_handle: BTreeMap<Handle, Link>,
    by_id: BTreeMap<LinkId, Handle>,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    parser: ReplyParser,
}

impl Links {
    pub fn add(&mut self, id: LinkId, handle: Handle) {
        self.by_handle.insert(handle, Link { id, parser: ReplyParser::default() });
        self.by_id.insert(id, handle);
    }

    pub fn handle(&self, id: LinkId) -> Option<Handle> {
        self.by_id.get(&id).copied()
    }

    fn id(&self, handle: Handle) -> Option<LinkId> {
        self.by_handle.get(&handle).map(|link| link.id)
    }

    pub fn remove(&mut self, id: LinkId) -> Option<Handle> {
        let handle = self.by_id.remove(&id)?;
        self.by_handle.remove(&handle);
        Some(handle)
    }
}

impl Sentinel {
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
        // The reply that the machine is shown must stay while it acts, so its buffer is taken meanwhile.
        let Some(client) = world.clients.get_mut(handle) else { return };
        let bytes = std::mem::take(&mut client.wire.query);
        let begin = std::mem::take(&mut client.wire.start);
        let (end, is_malformed) = self.replies(world, handle, &bytes[begin..]);
        if let Some(client) = world.clients.get_mut(handle) {
            (client.wire.query, client.wire.start) = (bytes, begin);
            client.wire.consume(end);
        }
        if is_malformed {
            world.clients.drop_without_flush(world.core, handle);
        }
    }

    /// Handles whole replies. Returns their length, and whether what follows is none.
    fn replies(&mut self, world: &mut World<'_>, handle: Handle, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(link) = self.links.by_handle.get_mut(&handle) {
            let (id, mut parser) = (link.id, std::mem::take(&mut link.parser));
            let parsed = parser.parse(&bytes[at..], &LIMITS);
            if let ParsedReply::Reply { len } = parsed {
                if let Some(reply) = parser.reply(&bytes[at..]) {
                    self.handle(world, Input::Reply { link: id, reply });
                }
                at += len;
                parser.reset();
            }
            // The reply may have closed the connection.
            if let Some(link) = self.links.by_handle.get_mut(&handle) {
                link.parser = parser;
            }
            match parsed {
                ParsedReply::Reply { .. } => {}
                ParsedReply::Incomplete => break,
                ParsedReply::Malformed(_) => return (at, true),
            }
        }
        (at, false)
    }

    /// Forgets a connection: one of the machine, or a client whose reply waits for the disk.
    pub(crate) fn on_close(&mut self, world: &mut World<'_>, handle: Handle) {
        self.saves.on_close(handle);
        if let Some(link) = self.links.id(handle) {
            self.links.remove(link);
            self.handle(world, Input::Closed { link });
        }
    }
}
