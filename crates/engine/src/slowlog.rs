//! The slow log: commands whose execution took longer than `slowlog-log-slower-than`, the latest first.
//!
//! Times are those of the node's clocks: the wall clock of the turn, and the ticks by which INFO counts commands.

use std::collections::VecDeque;

use crate::clients::Clients;
use crate::core::Core;
use crate::ids::Handle;

/// A slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowCommand {
    /// Its number, which no other command has.
    pub id: u64,
    /// Unix time in seconds.
    pub at_s: i64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// Its arguments, as far as they are shown.
    pub args: Vec<Vec<u8>>,
    /// The address of its client.
    pub peer: String,
    /// The name of its client.
    pub name: Vec<u8>,
}

/// The log.
#[derive(Debug, Default)]
pub struct SlowLog {
    entries: VecDeque<SlowCommand>,
    next_id: u64,
    /// The arguments of the command that lets the server sleep, and since when.
    sleeping: Option<(Vec<Vec<u8>>, u64)>,
}

impl SlowLog {
    /// Adds a command that took so many microseconds if that is too long.
    #[inline]
    pub(crate) fn executed(
        &mut self,
        core: &Core,
        clients: &Clients,
        client: Option<Handle>,
        took_us: u64,
        args: impl FnOnce() -> Vec<Vec<u8>>,
    ) {
        if is_slow(core, took_us) {
            self.add(core, clients, client, args(), took_us);
        }
    }

    #[cold]
    fn add(
        &mut self,
        core: &Core,
        clients: &Clients,
        client: Option<Handle>,
        args: Vec<Vec<u8>>,
        took_us: u64,
    ) {
        let client = client.and_then(|handle| clients.get(handle));
        self.entries.push_front(SlowCommand {
            id: self.next_id,
            at_s: core.now.wall_ms() / 1000,
            took_us,
            args,
            peer: client.map_or_else(String::new, |client| client.peer()),
            name: client.map_or_else(Vec::new, |client| client.name.clone()),
        });
        self.next_id += 1;
        let most = usize::try_from(core.config.slowlog_max_len).unwrap_or(usize::MAX);
        self.entries.truncate(most);
    }

    /// A command lets the server sleep, which counts as its execution.
    pub(crate) fn sleep_began(&mut self, core: &Core, args: Vec<Vec<u8>>) {
        self.sleeping = Some((args, core.now.mono_us));
    }

    /// The sleep has ended.
    pub(crate) fn sleep_ended(&mut self, core: &Core, clients: &Clients, client: Handle) {
        let Some((args, began_us)) = self.sleeping.take() else { return };
        let took_us = core.now.mono_us.saturating_sub(began_us);
        if is_slow(core, took_us) {
            self.add(core, clients, Some(client), args, took_us);
        }
    }

    /// Iterates over the entries, the latest first.
    pub fn iter(&self) -> impl Iterator<Item = &SlowCommand> {
        self.entries.iter()
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Removes all entries. Their numbers are not used again.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[inline]
fn is_slow(core: &Core, took_us: u64) -> bool {
    let slow_us = u64::try_from(core.config.slowlog_log_slower_than);
    slow_us.is_ok_and(|slow_us| took_us >= slow_us) && core.config.slowlog_max_len > 0
}
