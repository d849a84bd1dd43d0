//! Active expiry, in slices, and the propagation of expired keys.

use crate::core::Core;
use crate::injected::Bug;
use crate::journal::{Journal, Origin};
use crate::keyspace::Keyspace;

/// Entries examined by one slice with the lowest `active-expire-effort`; each further step adds a
/// quarter.
const BUDGET: usize = 200;

/// Slices of active expiry in a turn.
const SLICES: usize = 4;

/// Whether a key may have expired that this node deletes. A replica leaves those of its master to
/// the master.
pub(crate) fn is_due(core: &Core, data: &Keyspace) -> bool {
    let earliest = match core.is_replica {
        true => data.own_expiries.earliest(),
        false => data.earliest_expiry(),
    };
    earliest.is_some_and(|at| data.is_past(at))
}

/// Deletes some of the expired keys and records the effects. Returns whether there may be more.
pub(crate) fn slice(core: &Core, data: &mut Keyspace, journal: &mut Journal) -> bool {
    let steps = core.config.active_expire_effort.saturating_sub(1) as usize;
    let budget = BUDGET + BUDGET / 4 * steps;
    journal.set_origin(Origin::Local);
    let mut more = true;
    for _ in 0..SLICES {
        more = match core.is_replica {
            true => data.expire_own(budget),
            false => data.expire_slice(budget),
        };
        propagate(core, data, journal);
        if !more {
            break;
        }
    }
    more
}

/// Returns the name of the command that propagates the deletion of an expired key.
pub(crate) fn delete_command(core: &Core) -> &'static [u8] {
    if core.config.lazyfree_lazy_expire { b"UNLINK" } else { b"DEL" }
}

/// Records the deletions of keys that have expired meanwhile, before later effects.
#[inline]
pub(crate) fn propagate(core: &Core, data: &mut Keyspace, journal: &mut Journal) {
    if !data.has_expired() {
        return;
    }
    let delete = delete_command(core);
    for expired in data.take_expired() {
        match &expired.elements {
            Some(_) if core.injected(Bug::SilentFieldExpiry) => {}
            None => journal.add(expired.db, &[delete, &expired.key[..]]),
            Some((command, names)) => {
                let names = names.iter().map(|name| &name[..]);
                let args: Vec<&[u8]> =
                    [command, &expired.key[..]].into_iter().chain(names).collect();
                journal.add(expired.db, &args);
            }
        }
    }
}
