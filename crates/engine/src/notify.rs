//! Keyspace notifications: events of keys as messages, as `notify-keyspace-events` selects them.
//!
//! ```text
//!   K   __keyspace@<db>__:<key>     the name of the event
//!   E   __keyevent@<db>__:<event>   the key
//! ```

use crate::clients::Clients;
use crate::config::words::KeyspaceEvents;
use crate::core::Core;
use crate::keyspace::Event;
use crate::pubsub::PubSub;

/// Whether any event is selected.
pub(crate) fn is_on(selected: KeyspaceEvents) -> bool {
    let channels = KeyspaceEvents::bit(b'K') | KeyspaceEvents::bit(b'E');
    selected.0 & channels != 0 && selected.0 & !channels != 0
}

/// Publishes an event, if it is selected.
pub(crate) fn publish(core: &mut Core, clients: &mut Clients, pubsub: &PubSub, event: &Event) {
    let selected = core.config.notify_keyspace_events;
    if !selected.contains(event.kind.class().letter()) {
        return;
    }
    let (name, key) = (event.kind.name().as_bytes(), &*event.key);
    let channel =
        |of: &str, suffix: &[u8]| [format!("__{of}@{}__:", event.db).as_bytes(), suffix].concat();
    if selected.contains(b'K') {
        pubsub.publish(core, clients, &channel("keyspace", key), name);
    }
    if selected.contains(b'E') {
        pubsub.publish(core, clients, &channel("keyevent", name), key);
    }
}
