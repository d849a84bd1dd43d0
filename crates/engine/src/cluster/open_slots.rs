//! Moves of slots in the payload of a full synchronization: a replica that takes over goes on with them.
//!
//! They are an auxiliary field, `cluster-slot-states`, in the form of Valkey 8. A dump file that is loaded at the start has it only
//! if it was written for a replica, and there it does not count: `nodes.conf` has the moves of this node.
//!
//! ```text
//!   609>ID,    slot 609 is moved to the node of this name
//!   7<ID,      slot 7 is moved here from it
//! ```

use std::fmt::Write as _;

use russet_cluster::{NodeId, OpenSlot};
use russet_protocol::slot::SLOTS;

use super::{Cluster, World};
use crate::io::Level;

/// The most bytes that the moves of all slots have, in both directions.
const TEXT_MAX: usize = 2 * SLOTS as usize * "16383>,".len() + 2 * SLOTS as usize * 40;

impl Cluster {
    /// Returns the moves of slots as text; nothing if there are none.
    pub(crate) fn open_slots(&self) -> String {
        let mut text = String::new();
        for open in self.machine().into_iter().flat_map(|machine| machine.open_slots()) {
            let direction = if open.is_importing { '<' } else { '>' };
            _ = write!(text, "{}{direction}{},", open.slot, open.node);
        }
        text
    }

    /// Takes the moves of slots of this replica's master instead of what is known of them.
    pub(crate) fn take_open_slots(&mut self, world: &mut World<'_>, text: &str) {
        match parse(text) {
            Some(open) => _ = self.call(world, |machine, now| machine.set_open_slots(now, &open)),
            None => {
                let text = "The master's payload has moves of slots that cannot be read";
                world.core.log(Level::Warning, text);
            }
        }
    }
}

fn parse(text: &str) -> Option<Vec<OpenSlot>> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let parse_one = |text: &str| {
        let at = text.find(['<', '>'])?;
        let slot = text[..at].parse().ok().filter(|slot| *slot < SLOTS)?;
        let node = NodeId::parse(&text.as_bytes()[at + 1..])?;
        Some(OpenSlot { slot, is_importing: text[at..].starts_with('<'), node })
    };
    text.split_terminator(',').map(parse_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_read_whole_or_not_at_all() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let open = parse(&format!("609>{a},7<{b},")).expect("well formed");
        let open: Vec<_> = open.iter().map(|open| (open.slot, open.is_importing)).collect();
        assert_eq!(open, [(609, false), (7, true)]);
        assert_eq!(parse("").map(|open| open.len()), Some(0));
        for text in [",", "609", "609>", &format!("16384>{a},"), &format!("7={a},"), "7>abc,"] {
            assert!(parse(text).is_none(), "{text}");
        }
        assert!(parse(&"1".repeat(TEXT_MAX + 1)).is_none());
    }
}
