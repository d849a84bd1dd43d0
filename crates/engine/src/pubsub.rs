//! Pub/sub: which clients are subscribed to what, and the delivery of messages.
//!
//! Shard channels have a namespace of their own: only SPUBLISH reaches them, and no pattern matches
//! them. A message is encoded once for each protocol that its receivers use; large ones are shared
//! among their outboxes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use russet_ds::glob::{self, Case};
use russet_protocol::slot::slot_of;
use russet_protocol::{Protocol, ReplyWriter};

use crate::clients::Clients;
use crate::clients::subscriptions::{Kind, Subscriptions};
use crate::core::Core;
use crate::ids::Handle;

type Name = Arc<[u8]>;

/// Subscriptions of all clients.
#[derive(Debug, Default)]
pub struct PubSub {
    /// For each kind the subscribers of each name. A name without subscribers is removed.
    topics: [BTreeMap<Name, BTreeSet<Handle>>; 3],
    /// For each subscriber the names of each kind. A client without subscriptions is removed.
    subscribers: BTreeMap<Handle, [BTreeSet<Name>; 3]>,
}

/// Subscriptions.
impl PubSub {
    /// Subscribes a client, unless it is subscribed already.
    pub fn subscribe(&mut self, clients: &mut Clients, handle: Handle, kind: Kind, name: &[u8]) {
        let Some(client) = clients.get_mut(handle) else { return };
        let topics = &mut self.topics[kind as usize];
        let known = topics.get_key_value(name).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| name.into());
        if topics.entry(name.clone()).or_default().insert(handle) {
            client.subscriptions.add(kind, &name);
            self.subscribers.entry(handle).or_default()[kind as usize].insert(name);
        }
    }

    /// Ends a subscription, if there is one.
    pub fn unsubscribe(&mut self, clients: &mut Clients, handle: Handle, kind: Kind, name: &[u8]) {
        let Some(names) = self.subscribers.get_mut(&handle) else { return };
        if !names[kind as usize].remove(name) {
            return;
        }
        if names.iter().all(BTreeSet::is_empty) {
            self.subscribers.remove(&handle);
        }
        self.remove_from_topic(handle, kind, name);
        if let Some(client) = clients.get_mut(handle) {
            client.subscriptions.remove(kind, name);
        }
    }

    /// Ends all subscriptions of a client.
    pub fn unsubscribe_all(&mut self, clients: &mut Clients, handle: Handle) {
        self.on_close(handle);
        if let Some(client) = clients.get_mut(handle) {
            client.subscriptions = Subscriptions::default();
        }
    }

    /// Removes a closed connection.
    pub fn on_close(&mut self, handle: Handle) {
        let subscriptions = self.subscribers.remove(&handle).unwrap_or_default();
        for (kind, names) in Kind::ALL.into_iter().zip(subscriptions) {
            for name in names {
                self.remove_from_topic(handle, kind, &name);
            }
        }
    }

    fn remove_from_topic(&mut self, handle: Handle, kind: Kind, name: &[u8]) {
        let topics = &mut self.topics[kind as usize];
        let Some(handles) = topics.get_mut(name) else { return };
        handles.remove(&handle);
        if handles.is_empty() {
            topics.remove(name);
        }
    }
}

/// Inspection.
impl PubSub {
    /// Iterates over the names of a kind that have subscribers, in order.
    pub fn names(&self, kind: Kind) -> impl ExactSizeIterator<Item = &[u8]> {
        self.topics[kind as usize].keys().map(|name| &**name)
    }

    /// Returns the number of subscribers of a name.
    pub fn subscribers_of(&self, kind: Kind, name: &[u8]) -> usize {
        self.topics[kind as usize].get(name).map_or(0, BTreeSet::len)
    }

    /// Returns the names of a kind that a client is subscribed to, in order.
    pub fn names_of(&self, handle: Handle, kind: Kind) -> Vec<Arc<[u8]>> {
        let names = self.subscribers.get(&handle).map(|names| &names[kind as usize]);
        names.into_iter().flatten().cloned().collect()
    }

    /// Returns the number of clients with subscriptions.
    pub fn clients(&self) -> usize {
        self.subscribers.len()
    }
}

/// Delivery.
impl PubSub {
    /// Sends a message to the subscribers of a channel, and to those of each pattern that matches
    /// it. Returns the number of messages sent.
    pub fn publish(
        &self,
        core: &mut Core,
        clients: &mut Clients,
        channel: &[u8],
        message: &[u8],
    ) -> usize {
        let mut sent = 0;
        if let Some(handles) = self.topics[Kind::Channel as usize].get(channel) {
            send(core, clients, handles, &[b"message", channel, message]);
            sent += handles.len();
        }
        for (pattern, handles) in &self.topics[Kind::Pattern as usize] {
            if glob::matches(pattern, channel, Case::Sensitive) {
                send(core, clients, handles, &[b"pmessage", pattern, channel, message]);
                sent += handles.len();
            }
        }
        sent
    }

    /// Ends the subscriptions to shard channels that do not stay on this node, and tells the subscribers.
    pub fn end_shard_channels(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        stays: &dyn Fn(&[u8]) -> bool,
    ) {
        let topics = &self.topics[Kind::Shard as usize];
        let ended = topics.iter().filter(|(name, _)| !stays(name));
        let ended: Vec<(Name, BTreeSet<Handle>)> =
            ended.map(|(name, handles)| (name.clone(), handles.clone())).collect();
        for (name, handle) in ended
            .iter()
            .flat_map(|(name, handles)| handles.iter().map(move |handle| (name, *handle)))
        {
            self.unsubscribe(clients, handle, Kind::Shard, name);
            let Some(client) = clients.get(handle) else { continue };
            let mut out = Vec::new();
            let mut writer = ReplyWriter::new(&mut out, client.protocol);
            writer.push(3);
            writer.bulk(b"sunsubscribe");
            writer.bulk(name);
            writer.count(client.subscriptions.reported(Kind::Shard));
            let message = core.shared.share(out);
            clients.push(core, handle, &message);
        }
    }

    /// Sends a message to the subscribers of a shard channel. Returns their number.
    pub fn publish_to_shard(
        &self,
        core: &mut Core,
        clients: &mut Clients,
        channel: &[u8],
        message: &[u8],
    ) -> usize {
        let Some(handles) = self.topics[Kind::Shard as usize].get(channel) else { return 0 };
        let bytes = send(core, clients, handles, &[b"smessage", channel, message]);
        if let Some(slots) = &mut core.stats.slots {
            slots.published(slot_of(channel), bytes);
        }
        handles.len()
    }
}

/// Sends a message to clients, each in its protocol. Returns the number of bytes.
fn send(
    core: &mut Core,
    clients: &mut Clients,
    handles: &BTreeSet<Handle>,
    words: &[&[u8]],
) -> usize {
    let mut encoded = [None, None];
    let mut bytes = 0;
    for &handle in handles {
        let Some(client) = clients.get(handle) else { continue };
        let (protocol, place) = match client.protocol {
            Protocol::Resp2 => (Protocol::Resp2, 0),
            Protocol::Resp3 => (Protocol::Resp3, 1),
        };
        let message =
            encoded[place].get_or_insert_with(|| core.shared.share(encode(protocol, words)));
        bytes += message.len();
        clients.push(core, handle, message);
    }
    bytes
}

fn encode(protocol: Protocol, words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ReplyWriter::new(&mut out, protocol);
    writer.push(words.len());
    words.iter().for_each(|word| writer.bulk(word));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::io::Endpoints;

    /// A step of the test: subscribe, unsubscribe, or unsubscribe from everything.
    #[derive(Clone, Copy, Debug)]
    struct Step {
        action: u8,
        client: usize,
        kind: Kind,
        name: &'static str,
    }

    fn step() -> impl Strategy<Value = Step> {
        let names = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("a*"), Just("")];
        (0..10u8, 0..4usize, 0..3usize, names).prop_map(|(action, client, kind, name)| Step {
            action,
            client,
            kind: Kind::ALL[kind],
            name,
        })
    }

    proptest! {
        #[test]
        fn subscriptions_are_a_set_of_triples(steps in prop::collection::vec(step(), 1..80)) {
            let (mut pubsub, mut clients) = (PubSub::default(), Clients::default());
            let ends = || Endpoints::Unix(String::new());
            let handles: Vec<Handle> = (0..4).map(|_| clients.add(ends(), 0).handle).collect();
            let mut model = BTreeSet::new();
            for Step { action, client, kind, name } in steps {
                let handle = handles[client];
                match action {
                    0..6 => {
                        pubsub.subscribe(&mut clients, handle, kind, name.as_bytes());
                        model.insert((kind as usize, name, client));
                    }
                    6..9 => {
                        pubsub.unsubscribe(&mut clients, handle, kind, name.as_bytes());
                        model.remove(&(kind as usize, name, client));
                    }
                    _ => {
                        pubsub.unsubscribe_all(&mut clients, handle);
                        model.retain(|(_, _, subscriber)| *subscriber != client);
                    }
                }
                for kind in Kind::ALL {
                    let of_kind = || model.iter().filter(|(of, _, _)| *of == kind as usize);
                    let names: BTreeSet<&str> = of_kind().map(|(_, name, _)| *name).collect();
                    prop_assert!(pubsub.names(kind).eq(names.iter().map(|name| name.as_bytes())));
                    for name in names {
                        let subscribers = of_kind().filter(|(_, of, _)| *of == name).count();
                        prop_assert_eq!(pubsub.subscribers_of(kind, name.as_bytes()), subscribers);
                    }
                    for (client, &handle) in handles.iter().enumerate() {
                        let count = of_kind().filter(|(_, _, of)| *of == client).count();
                        prop_assert_eq!(pubsub.names_of(handle, kind).len(), count);
                        let state = clients.get(handle).expect("added above");
                        prop_assert_eq!(state.subscriptions.of(kind), count);
                    }
                }
                let subscribed: BTreeSet<usize> = model.iter().map(|(_, _, of)| *of).collect();
                prop_assert_eq!(pubsub.clients(), subscribed.len());
            }
            for handle in handles {
                pubsub.unsubscribe_all(&mut clients, handle);
                let state = clients.get(handle).expect("added above");
                prop_assert_eq!(state.subscriptions, Subscriptions::default());
            }
            prop_assert!(pubsub.topics.iter().all(BTreeMap::is_empty));
        }
    }
}
