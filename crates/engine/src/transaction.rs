//! A transaction: what MULTI queues until EXEC, for a client or for the master's stream.

use std::collections::VecDeque;

use russet_protocol::ArgRange;

use crate::ids::CommandId;

/// A command that is kept to run later: its arguments outlive the buffer that they came in.
#[derive(Debug)]
pub struct Queued {
    /// The row (of the subcommand, if one was named).
    pub command: CommandId,
    /// The bytes of all arguments.
    pub bytes: Vec<u8>,
    /// Where each argument lies in them.
    pub ranges: Vec<ArgRange>,
}

impl Queued {
    /// Bytes of memory that it takes.
    fn memory_bytes(&self) -> usize {
        size_of::<Queued>() + self.bytes.capacity() + self.ranges.capacity() * size_of::<ArgRange>()
    }
}

/// From MULTI to EXEC or DISCARD.
#[derive(Debug, Default)]
pub struct Transaction {
    /// MULTI was called.
    pub open: bool,
    /// A command was refused when it was to be queued: EXEC will abort.
    pub refused: bool,
    /// A watched key changed: EXEC will do nothing.
    pub broken: bool,
    /// The commands so far; those that EXEC has run are taken from the front.
    pub queue: VecDeque<Queued>,
    /// Bytes of memory that the queued commands took when the last was added.
    pub queued_bytes: usize,
    /// Flags that some queued command has.
    pub flags: u64,
    /// Flags that some queued command lacks.
    pub flags_lacking: u64,
    /// EXEC runs, or waits in its middle.
    pub running: bool,
}

impl Transaction {
    /// Queues a command whose row has these flags.
    pub fn push(&mut self, queued: Queued, flags: u64) {
        self.flags |= flags;
        self.flags_lacking |= !flags;
        self.queued_bytes += queued.memory_bytes();
        self.queue.push_back(queued);
    }
}
