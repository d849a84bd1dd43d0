//! Active expiry, in slices, and what is propagated of keys that expired.

use crate::core::Core;
use crate::journal::{Journal, Origin};
use crate::keyspace::Keyspace;

/// Entries that one slice of active expiry looks at with the least `active-expire-effort`; each further
/// step adds a quarter.
const BUDGET: usize = 200;

/// Slices of active expiry in a turn.
const SLICES: usize = 4;

/// Whether some key may have reached its expiry.
pub(crate) fn is_due(data: &Keyspace) -> bool {
    data.earliest_expiry().is_some_and(|at| at < data.now_ms)
}

/// Removes some of the keys that have reached their expiry, and gathers that as effects. True if there are more.
pub(crate) fn slice(core: &Core, data: &mut Keyspace, journal: &mut Journal) -> bool {
    let steps = core.config.active_expire_effort.saturating_sub(1) as usize;
    let budget = BUDGET + BUDGET / 4 * steps;
    journal.set_origin(Origin::Local);
    let mut more = true;
    for _ in 0..SLICES {
        more = data.expire_slice(budget);
        propagate(core, data, journal);
        if !more {
            break;
        }
    }
    more
}

/// The command by which the removal of an expired key is propagated.
pub(crate) fn removal_word(core: &Core) -> &'static [u8] {
    if core.config.lazyfree_lazy_expire { b"UNLINK" } else { b"DEL" }
}

/// Keys that expired on the way are propagated as deletes, before what follows.
#[inline]
pub(crate) fn propagate(core: &Core, data: &mut Keyspace, journal: &mut Journal) {
    if !data.has_expired() {
        return;
    }
    let word = removal_word(core);
    for ended in data.take_expired() {
        match &ended.elements {
            None => journal.add(ended.db, &[word, &ended.key[..]]),
            Some((word, names)) => {
                let names = names.iter().map(|name| &name[..]);
                let words: Vec<&[u8]> = [word, &ended.key[..]].into_iter().chain(names).collect();
                journal.add(ended.db, &words);
            }
        }
    }
}
