//! WATCH: which client watches which keys. The keyspace knows who is to be told of a change, the client what it watches.

use crate::clients::Clients;
use crate::ids::Handle;
use crate::keyspace::{Key, Keyspace};

/// WATCH of one key.
pub(crate) fn watch(
    clients: &mut Clients,
    data: &mut Keyspace,
    handle: Handle,
    db: u32,
    key: Key<'_>,
) {
    let was_expired = data.is_expired(db, key);
    if data.watch.add(handle, db, key.bytes, was_expired)
        && let Some(client) = clients.get_mut(handle)
    {
        // The name stands here and in the table of watched keys.
        let place = size_of::<(u32, Box<[u8]>)>() + key.bytes.len();
        client.watched_bytes += 2 * place;
        client.watched.push((db, key.bytes.into()));
    }
}

/// Whether a key that a client watches has expired since, though no command has come upon it.
pub(crate) fn has_expired(clients: &Clients, data: &Keyspace, handle: Handle) -> bool {
    let hasher = data.hasher();
    let watched = clients.get(handle).map(|client| &client.watched);
    watched.into_iter().flatten().any(|(db, name)| {
        data.is_expired(*db, hasher.key(name)) && !data.watch.was_expired(handle, *db, name)
    })
}

/// UNWATCH, and the end of every transaction.
pub(crate) fn unwatch_all(clients: &mut Clients, data: &mut Keyspace, handle: Handle) {
    let Some(client) = clients.get_mut(handle) else { return };
    for (db, key) in std::mem::take(&mut client.watched) {
        data.watch.remove(handle, db, &key);
    }
    client.transaction.broken = false;
    client.watched_bytes = 0;
}

/// DISCARD, and EXEC that is not to be.
pub(crate) fn discard_transaction(clients: &mut Clients, data: &mut Keyspace, handle: Handle) {
    unwatch_all(clients, data, handle);
    if let Some(client) = clients.get_mut(handle) {
        client.transaction = Default::default();
    }
}

/// Clients whose watched keys changed cannot EXEC any more; the one that changed them neither, if it watched.
pub(crate) fn break_transactions(clients: &mut Clients, data: &mut Keyspace) {
    for handle in data.watch.take_touched() {
        if let Some(client) = clients.get_mut(handle) {
            client.transaction.broken = true;
        }
    }
}
