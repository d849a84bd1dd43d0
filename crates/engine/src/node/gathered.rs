//! Commands of the append-only file that were read and wait to run: gathered, so that the memory that their keys need is
//! fetched for all of them at once, as for the batches of clients ([`super::serve`]).

use russet_protocol::request::ArgRange;

use crate::command::{Args, Command, CommandTable};
use crate::keyspace::{KeyHasher, Keyspace};

/// Commands that are gathered.
const COMMANDS: usize = 32;

/// A longer command is not copied.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
    commands: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where it is in the file.
    offset: u64,
    /// Where its bytes and arguments begin and end among the gathered ones.
    bytes: (usize, usize),
    ranges: (usize, usize),
    row: Option<&'static Command>,
    /// Index of the first key, and its hash; index 0 if there is no key.
    key: (usize, u64),
}

impl Gathered {
    /// Whether there is no room for a further command.
    pub(crate) fn is_full(&self) -> bool {
        self.commands.len() >= COMMANDS
    }

    /// Whether a command is to run by itself.
    pub(crate) fn is_too_long(bytes: &[u8]) -> bool {
        bytes.len() > COPIED_BYTES_MAX
    }

    /// Returns the number of commands.
    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }

    /// Forgets the commands, which have run.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
        self.commands.clear();
    }

    /// Adds the command at an offset of the file.
    pub(crate) fn push(
        &mut self,
        offset: u64,
        bytes: &[u8],
        ranges: &[ArgRange],
        table: &CommandTable,
        hasher: KeyHasher,
    ) {
        let (bytes_at, ranges_at) = (self.bytes.len(), self.ranges.len());
        self.bytes.extend_from_slice(bytes);
        self.ranges.extend_from_slice(ranges);
        let text = |index: usize| ranges.get(index).map(|range| &bytes[range.start..range.end]);
        let row = text(0).and_then(|name| table.find(name));
        let at = row.and_then(|row| row.keys.first()).map_or(0, |spec| spec.first);
        let key = text(at).filter(|_| at > 0).map_or((0, 0), |key| (at, hasher.hash(key)));
        self.commands.push(Entry {
            offset,
            bytes: (bytes_at, self.bytes.len()),
            ranges: (ranges_at, self.ranges.len()),
            row,
            key,
        });
    }

    /// Fetches what the keys of all commands need, as if they were in this database.
    pub(crate) fn prefetch(&self, data: &Keyspace, db: u32) {
        for stage in 0..3 {
            for command in self.commands.iter().filter(|command| command.key.0 > 0) {
                data.prefetch(db, command.key.1, stage);
            }
        }
    }

    /// Returns a command: its offset in the file, its row if there is one of its name, its arguments.
    pub(crate) fn get(
        &self,
        index: usize,
        hasher: KeyHasher,
    ) -> (u64, Option<&'static Command>, Args<'_>) {
        let entry = self.commands[index];
        let bytes = &self.bytes[entry.bytes.0..entry.bytes.1];
        let args = Args::new(bytes, &self.ranges[entry.ranges.0..entry.ranges.1], hasher);
        let args = match entry.key {
            (0, _) => args,
            (at, hash) => args.with_ready(at, hash),
        };
        (entry.offset, entry.row, args)
    }
}
