//! What commands did, in the form in which it is told to others.
//!
//! A command's effect is a database and a command that is deterministic: a relative expiry has become an absolute one.
//! Effects of one command (or one EXEC) are gathered and leave together, wrapped in MULTI and EXEC if
//! there are several, so that no replica ever shows half of them.

use std::mem;

use russet_protocol::reply::push_command;
use russet_protocol::{Protocol, ReplyWriter};

use crate::command::Args;

/// Scratch space beyond this many bytes is given back.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// One effect, encoded as a command.
#[derive(Debug)]
pub struct Effect {
    /// Database that it happened in.
    pub db: u32,
    /// Where its bytes end in the gathered bytes.
    end: usize,
}

/// The effects of the command that runs.
#[derive(Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
    bytes: Vec<u8>,
    suppressed: bool,
    /// How many effects the command itself named.
    named: usize,
    /// Whether anybody listens; if not, nothing is encoded.
    pub(crate) listening: bool,
}

impl Effects {
    /// Adds an effect of the running command, in place of the command itself.
    pub fn push<A: AsRef<[u8]>>(&mut self, db: u32, args: &[A]) {
        self.named += 1;
        self.add(db, args);
    }

    /// Adds an effect that no command asked for: a key that ended.
    pub(crate) fn add<A: AsRef<[u8]>>(&mut self, db: u32, args: &[A]) {
        if self.listening {
            push_command(&mut self.bytes, args);
            self.list.push(Effect { db, end: self.bytes.len() });
        }
    }

    /// Adds the running command as it was given.
    pub(crate) fn add_args(&mut self, db: u32, args: &Args<'_>) {
        if self.listening {
            let mut writer = ReplyWriter { out: &mut self.bytes, protocol: Protocol::Resp2 };
            writer.array(args.len());
            for arg in args.iter() {
                writer.bulk(arg);
            }
            self.list.push(Effect { db, end: self.bytes.len() });
        }
    }

    /// The running command has no effect worth telling.
    pub fn suppress(&mut self) {
        self.suppressed = true;
    }

    /// Whether the command named its own effects, or none; asks once for each command.
    pub(crate) fn take_override(&mut self) -> bool {
        mem::take(&mut self.suppressed) | (mem::take(&mut self.named) > 0)
    }

    /// Whether nothing is gathered.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many are gathered.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Gives every effect to `sink` in order, and forgets them.
    pub(crate) fn drain(&mut self, mut sink: impl FnMut(u32, &[u8])) {
        let mut start = 0;
        for effect in &self.list {
            sink(effect.db, &self.bytes[start..effect.end]);
            start = effect.end;
        }
        self.list.clear();
        self.bytes.clear();
        if self.bytes.capacity() > SPARE_BYTES_MAX {
            self.bytes = Vec::new();
        }
        if self.list.capacity() * size_of::<Effect>() > SPARE_BYTES_MAX {
            self.list = Vec::new();
        }
    }
}
