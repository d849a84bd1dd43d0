//! Connections of the bus, and the proofs of their messages if there is a bus secret.

use std::collections::BTreeMap;

use russet_cluster::bus::{NONCE_LEN, NextFrame, NextSealed, Seal, SealError, next_frame};
use russet_cluster::{Input, LinkId};

use super::{Cluster, World};
use crate::clients::LinkOwner;
use crate::core::Core;
use crate::ids::Handle;
use crate::io::{Endpoints, Level};

/// That somebody does not have the bus secret is logged no more often than this, microseconds: nodes connect again and
/// again.
const RELOG_US: u64 = 10_000_000;

/// The connections.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_handle: BTreeMap<Handle, LinkId>,
    by_id: BTreeMap<LinkId, Handle>,
    /// The proofs of each, if there is a secret.
    seals: BTreeMap<LinkId, Seal>,
    /// The secret.
    secret: Vec<u8>,
    /// When it was last logged that somebody does not have it.
    logged_us: Option<u64>,
}

/// What received bytes begin with.
enum Next {
    NeedMore,
    /// Bytes that are done with, and bytes to send.
    Skip(usize, Vec<u8>),
    /// The length of a message, and that with all that belongs to it.
    Message(usize, usize),
}

impl Links {
    /// Returns the greeting of a new connection, if there is a secret.
    fn seal(&mut self, core: &mut Core, id: LinkId, is_opener: bool) -> Option<Vec<u8>> {
        if self.secret.is_empty() {
            return None;
        }
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(core.ids.hex40().as_bytes());
        let seal = Seal::new(&self.secret, nonce, is_opener);
        let greeting = seal.greeting();
        self.seals.insert(id, seal);
        Some(greeting)
    }

    /// Returns what received bytes begin with.
    fn next(&mut self, id: LinkId, bytes: &[u8], is_known: bool) -> Result<Next, SealError> {
        let Some(seal) = self.seals.get_mut(&id) else {
            return match next_frame(bytes, is_known) {
                Ok(NextFrame::NeedMore) => Ok(Next::NeedMore),
                Ok(NextFrame::Frame(len)) => Ok(Next::Message(len, len)),
                Err(error) => Err(SealError::Frame(error)),
            };
        };
        Ok(match seal.next(bytes, is_known)? {
            NextSealed::NeedMore => Next::NeedMore,
            NextSealed::Greeting { len, waited } => Next::Skip(len, waited),
            NextSealed::Message { len, with_proof } => Next::Message(len, with_proof),
        })
    }

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
        self.seals.remove(&id);
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
        self.greet(world, link, handle, false);
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
                self.greet(world, link, handle, true);
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

    /// Begins the proofs of a new connection, if there is a secret.
    fn greet(&mut self, world: &mut World<'_>, link: LinkId, handle: Handle, is_opener: bool) {
        if let Some(greeting) = self.links.seal(world.core, link, is_opener) {
            world.clients.send(world.core, handle, &greeting);
        }
    }

    /// Sends a message.
    pub(super) fn send(&mut self, world: &mut World<'_>, link: LinkId, message: Vec<u8>) {
        let Some(handle) = self.links.handle(link) else { return };
        let sealed = match self.links.seals.get_mut(&link) {
            None => Ok(Some(message)),
            Some(seal) => seal.seal(message),
        };
        match sealed {
            Ok(bytes) => {
                bytes.into_iter().for_each(|it| world.clients.send(world.core, handle, &it));
            }
            Err(_) => world.clients.drop_without_flush(world.core, handle),
        }
    }

    /// Takes the secret. With another one all connections begin anew.
    pub(super) fn set_secret(&mut self, world: &mut World<'_>) {
        let secret = world.core.config.cluster_bus_secret.0.clone();
        if self.links.secret == secret {
            return;
        }
        self.links.secret = secret;
        let open: Vec<LinkId> = self.links.by_id.keys().copied().collect();
        for link in open {
            if let Some(handle) = self.links.remove(link) {
                world.clients.drop_without_flush(world.core, handle);
                self.handle(world, Input::Closed { link });
            }
        }
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
            self.log_refusal(world, handle, error);
            world.clients.drop_without_flush(world.core, handle);
        }
    }

    fn log_refusal(&mut self, world: &mut World<'_>, handle: Handle, error: SealError) {
        let who = world.clients.get(handle).map(|client| client.peer()).unwrap_or_default();
        if let SealError::Frame(error) = error {
            let text = format!(
                "Bad message length or signature received from the cluster bus ({who}): {error}"
            );
            return world.core.log(Level::Warning, text);
        }
        if let Some(machine) = self.machine.as_deref_mut() {
            machine.link_unproved();
        }
        let now_us = world.core.now.mono_us;
        if self.links.logged_us.is_none_or(|at| now_us.saturating_sub(at) >= RELOG_US) {
            self.links.logged_us = Some(now_us);
            let text = format!("Refused a connection of the cluster bus ({who}): {error}");
            world.core.log(Level::Warning, text);
        }
    }

    /// Handles whole messages. Returns their length, and why what follows is none.
    fn messages(
        &mut self,
        world: &mut World<'_>,
        handle: Handle,
        bytes: &[u8],
    ) -> (usize, Option<SealError>) {
        let mut at = 0;
        while let Some(link) = self.links.id(handle) {
            let is_known = self.machine.as_ref().is_some_and(|machine| machine.is_link_known(link));
            match self.links.next(link, &bytes[at..], is_known) {
                Ok(Next::NeedMore) => break,
                Ok(Next::Skip(len, answer)) => {
                    at += len;
                    if !answer.is_empty() {
                        world.clients.send(world.core, handle, &answer);
                    }
                }
                Ok(Next::Message(len, whole)) => {
                    self.handle(world, Input::Message { link, bytes: &bytes[at..at + len] });
                    at += whole;
                }
                Err(error) => return (at, Some(error)),
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
