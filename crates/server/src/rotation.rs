//! Connections that wait for a change in the node, looked at in rotation.
//!
//! What they wait for (room in a buffer, the end of a command) has no event of its own, so any event
//! may have brought it. A look at all of them in each round would make everybody pay for each that
//! waits. Instead a round looks at a few, and rounds follow without waiting until each has been
//! looked at since the last event:
//!
//! ```text
//!   front ┌───┬───┬───┬───┬───┬───┐ back      due: not looked at since the last event
//!         │ d │ d │ d │ e │ a │ b │           a, b: looked at, still waiting
//!         └───┴───┴───┴───┴───┴───┘
//!         due = 3
//! ```

use std::collections::VecDeque;

use russet_engine::io::Handle;

/// Connections looked at in a round.
const LOOKS: usize = 32;

/// Waiting connections.
#[derive(Debug, Default)]
pub struct Rotation {
    queue: VecDeque<Handle>,
    /// Number of connections at the front to look at.
    due: usize,
}

impl Rotation {
    /// Adds a connection.
    pub fn add(&mut self, handle: Handle) {
        self.queue.push_back(handle);
        self.wake();
    }

    /// Makes all connections due, since something has happened.
    pub fn wake(&mut self) {
        self.due = self.queue.len();
    }

    /// Whether some connection is due.
    pub fn is_due(&self) -> bool {
        self.due > 0
    }

    /// Looks at the next due connections, and keeps those for which `waits` returns true.
    pub fn look(&mut self, mut waits: impl FnMut(Handle) -> bool) {
        for _ in 0..self.due.min(LOOKS) {
            let Some(handle) = self.queue.pop_front() else { break };
            self.due -= 1;
            if waits(handle) {
                self.queue.push_back(handle);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(index: usize) -> Handle {
        Handle { index: index as u32, generation: 1 }
    }

    #[test]
    fn each_is_looked_at_once_after_an_event_and_a_few_at_a_time() {
        let mut all = Rotation::default();
        (0..100).for_each(|index| all.add(handle(index)));
        let mut seen = Vec::new();
        let mut rounds = 0;
        while all.is_due() {
            let before = seen.len();
            all.look(|handle| {
                seen.push(handle.index);
                handle.index % 2 == 0
            });
            assert!(seen.len() - before <= LOOKS);
            rounds += 1;
        }
        assert_eq!(seen, (0..100).collect::<Vec<u32>>());
        assert_eq!(rounds, 100_usize.div_ceil(LOOKS));
        seen.clear();
        all.look(|_| panic!("nothing has happened"));
        all.wake();
        while all.is_due() {
            all.look(|handle| {
                seen.push(handle.index);
                false
            });
        }
        assert_eq!(seen, (0..100).step_by(2).collect::<Vec<u32>>());
    }
}
