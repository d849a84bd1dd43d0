//! Transactions: the commands queued between MULTI and EXEC, of a client or the master's stream.

use std::collections::VecDeque;

use russet_ds::SharedBytes;
use russet_protocol::ArgRange;

use crate::ids::CommandId;

/// A queued command, which owns its arguments.
#[derive(Debug)]
pub struct Queued {
    /// The command, or the subcommand if there is one.
    pub command: CommandId,
    /// The bytes of all arguments.
    pub bytes: Vec<u8>,
    /// The range of each argument in `bytes`.
    pub ranges: Vec<ArgRange>,
    /// Long arguments.
    pub large: Vec<SharedBytes>,
}

impl Queued {
    /// Keeps a request: bytes, ranges and long arguments are those of [`crate::command::Args::to_owned_parts`].
    pub(crate) fn new(
        command: CommandId,
        (bytes, ranges, large): (Vec<u8>, Vec<ArgRange>, Vec<SharedBytes>),
    ) -> Queued {
        Queued { command, bytes, ranges, large }
    }

    /// Keeps a request of these words.
    pub(crate) fn of_words<'a>(
        command: CommandId,
        words: impl Iterator<Item = &'a [u8]>,
    ) -> Queued {
        let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
        for word in words {
            let start = bytes.len();
            bytes.extend_from_slice(word);
            ranges.push(ArgRange { start, end: bytes.len() });
        }
        Queued { command, bytes, ranges, large: Vec::new() }
    }

    /// Returns its memory usage in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let large: usize = self.large.iter().map(SharedBytes::allocated_bytes).sum();
        let ranges = self.ranges.capacity() * size_of::<ArgRange>();
        size_of::<Queued>() + self.bytes.capacity() + ranges + large
    }

    /// Returns the bytes that are freed with it: not those of arguments that have become values.
    pub(crate) fn own_bytes(&self) -> usize {
        let own = self.large.iter().filter(|bytes| !bytes.is_shared());
        self.bytes.capacity() + own.map(|bytes| bytes.len()).sum::<usize>()
    }
}

/// The state of a transaction.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Whether MULTI has been called.
    pub open: bool,
    /// Whether a command could not be queued: EXEC will abort.
    pub refused: bool,
    /// Whether a watched key has changed: EXEC will do nothing.
    pub broken: bool,
    /// The queued commands. EXEC removes them from the front as it runs them.
    pub queue: VecDeque<Queued>,
    /// Memory of all commands queued so far, in bytes.
    pub queued_bytes: usize,
    /// Flags set on at least one queued command.
    pub flags: u64,
    /// Flags missing on at least one queued command.
    pub flags_lacking: u64,
    /// Whether EXEC is running or has yielded.
    pub running: bool,
}

impl Transaction {
    /// Queues a command with these flags.
    pub fn push(&mut self, queued: Queued, flags: u64) {
        self.flags |= flags;
        self.flags_lacking |= !flags;
        self.queued_bytes += queued.memory_bytes();
        self.queue.push_back(queued);
    }
}
