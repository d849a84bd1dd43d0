//! WATCH: which client watches which keys. The keyspace maps keys to their watchers, each client
//! lists the keys that it watches.

use crate::clients::Clients;
use crate::ids::Handle;
use crate::keyspace::{Key, Keyspace};

/// Watches a key for a client.
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
        // The name is stored twice: here and in the keyspace's table of watched keys.
        let place = size_of::<(u32, Box<[u8]>)>() + key.bytes.len();
        client.watched_bytes += 2 * place;
        client.watched.push((db, key.bytes.into()));
    }
}

/// Whether a watched key has expired since WATCH without having been deleted yet.
pub(crate) fn has_expired(clients: &Clients, data: &Keyspace, handle: Handle) -> bool {
    let hasher = data.hasher();
    let watched = clients.get(handle).map(|client| &client.watched);
    watched.into_iter().flatten().any(|(db, name)| {
        data.is_expired(*db, hasher.key(name)) && !data.watch.was_expired(handle, *db, name)
    })
}

/// Unwatches all keys of a client: UNWATCH, and the end of every transaction.
pub(crate) fn unwatch_all(clients: &mut Clients, data: &mut Keyspace, handle: Handle) {
    let Some(client) = clients.get_mut(handle) else { return };
    for (db, key) in std::mem::take(&mut client.watched) {
        data.watch.remove(handle, db, &key);
    }
    client.transaction.broken = false;
    client.watched_bytes = 0;
}

/// Ends a client's transaction and unwatches its keys.
pub(crate) fn discard_transaction(clients: &mut Clients, data: &mut Keyspace, handle: Handle) {
    unwatch_all(clients, data, handle);
    if let Some(client) = clients.get_mut(handle) {
        let transaction = std::mem::take(&mut client.transaction);
        // EXEC has freed the commands that it ran.
        let bytes = if transaction.queue.is_empty() { 0 } else { transaction.queued_bytes };
        data.free_sized(bytes, transaction);
    }
}

/// Marks the transactions of clients whose watched keys have changed, including the client that
/// changed them.
pub(crate) fn break_transactions(clients: &mut Clients, data: &mut Keyspace) {
    for handle in data.watch.take_touched() {
        if let Some(client) = clients.get_mut(handle) {
            client.transaction.broken = true;
        }
    }
}
