//! The journal: every effect advances one position and is passed to all sinks.
//!
//! A command's *effect* is a database and a deterministic command: a relative expiry becomes an
//! absolute one. Effects of one command (or one EXEC) are propagated together as a [`Unit`], so
//! that no sink ever exposes only some of them:
//!
//! ```text
//!   command ──▶ effects ──┐
//!   command ──▶ effects ──┼─▶ unit ──▶ position moves ──▶ replication stream   (its own SELECT, MULTI, EXEC)
//!   expired keys      ────┘                          └──▶ any other sink        (append-only file, slot migration, tests)
//! ```
//!
//! The position counts effects. It also advances without active sinks, and on a replica, whose
//! effects come from its master's stream. Effects are only encoded if there is an active sink.

use std::mem;

use russet_protocol::reply::push_command;
use russet_protocol::{Protocol, ReplyWriter};

use crate::effects::Effect;
pub use crate::effects::{Origin, Sink, Unit};
use crate::persist::aof::append::AppendTail;

/// Begins a unit of several effects in the replication stream.
pub(crate) const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

/// Ends it.
pub(crate) const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// Larger scratch buffers are freed.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// The journal.
#[derive(Default)]
pub struct Journal {
    gathered: Vec<Effect>,
    bytes: Vec<u8>,
    /// Number of pending effects, encoded or not.
    count: u64,
    origin: Option<Origin>,
    /// Whether the running command must not be propagated.
    suppressed: bool,
    /// Number of effects that replace the running command.
    overrides: usize,
    position: u64,
    /// Number of pending effects that precede a replacement of all data; only the replication
    /// stream receives them.
    replaced: usize,
    /// Whether the replication stream receives local effects.
    stream_listens: bool,
    /// Whether effects go nowhere: they come from our own file.
    is_muted: bool,
    /// The append-only file.
    pub(crate) tail: AppendTail,
    /// Other sinks.
    sinks: Vec<Box<dyn Sink + Send>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Journal {
    /// Returns the number of effects so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Adds a sink, which receives all effects from now on.
    pub fn attach(&mut self, sink: Box<dyn Sink + Send>) {
        self.sinks.push(sink);
    }

    /// Sets whether the replication stream receives local effects.
    pub(crate) fn set_stream_listens(&mut self, listens: bool) {
        self.stream_listens = listens;
    }

    /// Sets whether effects go nowhere.
    pub(crate) fn set_muted(&mut self, is_muted: bool) {
        self.is_muted = is_muted;
    }

    /// Sets the origin of effects added from now on.
    #[inline]
    pub(crate) fn set_origin(&mut self, origin: Origin) {
        self.origin = Some(origin);
    }

    /// Whether any sink receives effects of the current origin.
    #[inline]
    fn is_recorded(&self) -> bool {
        let local = self.origin != Some(Origin::Upstream);
        let listens = (local && self.stream_listens) || self.tail.is_on() || !self.sinks.is_empty();
        listens && !self.is_muted
    }

    /// Adds an effect that is propagated in place of the running command.
    pub fn add_override<A: AsRef<[u8]>>(&mut self, db: u32, args: &[A]) {
        self.overrides += 1;
        self.add(db, args);
    }

    /// Adds an effect that is independent of the command: an expired key.
    pub(crate) fn add<A: AsRef<[u8]>>(&mut self, db: u32, args: &[A]) {
        self.count += 1;
        if self.is_recorded() {
            push_command(&mut self.bytes, args);
            self.gathered.push(Effect { db, end: self.bytes.len() });
        }
    }

    /// Adds the running command as it was received.
    pub(crate) fn add_given<'a>(
        &mut self,
        db: u32,
        argc: usize,
        args: impl Iterator<Item = &'a [u8]>,
    ) {
        self.count += 1;
        if self.is_recorded() {
            let mut writer = ReplyWriter::new(&mut self.bytes, Protocol::Resp2);
            writer.array(argc);
            args.for_each(|arg| writer.bulk(arg));
            self.gathered.push(Effect { db, end: self.bytes.len() });
        }
    }

    /// Notifies the sinks that all data was replaced other than by effects.
    pub(crate) fn data_replaced(&mut self) {
        self.replaced = self.gathered.len();
        self.tail.replaced();
        self.sinks.iter_mut().for_each(|sink| sink.replaced());
    }

    /// Suppresses the propagation of the running command.
    pub fn suppress(&mut self) {
        self.suppressed = true;
    }

    /// Returns whether the command has set its own effects, or none; called once for each command.
    #[inline]
    pub(crate) fn take_override(&mut self) -> bool {
        mem::take(&mut self.suppressed) | (mem::take(&mut self.overrides) > 0)
    }

    /// Whether there are no pending effects.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the bytes of the pending effects as one unit of the replication stream, if they go anywhere.
    pub(crate) fn pending_bytes(&self) -> usize {
        let is_atomic = self.count > 1 && !self.bytes.is_empty();
        self.bytes.len() + if is_atomic { MULTI.len() + EXEC.len() } else { 0 }
    }

    /// Passes the pending effects to the replication stream and all other sinks as one unit.
    pub(crate) fn flush(&mut self, stream: &mut dyn Sink) {
        self.flush_as(stream, self.count > 1);
    }

    /// Passes independent effects on as separate units.
    pub(crate) fn flush_apart(&mut self, stream: &mut dyn Sink) {
        self.flush_as(stream, false);
    }

    fn flush_as(&mut self, stream: &mut dyn Sink, is_atomic: bool) {
        if self.count == 0 {
            return;
        }
        self.position += mem::take(&mut self.count);
        let origin = self.origin.unwrap_or(Origin::Local);
        let (effects, bytes) = (&self.gathered[..], &self.bytes[..]);
        let unit = Unit { effects, bytes, start: 0, origin, is_atomic, position: self.position };
        if !effects.is_empty() && stream.listens(origin) {
            stream.unit(&unit);
        }
        let replaced = mem::take(&mut self.replaced);
        let start = replaced.checked_sub(1).map_or(0, |last| effects[last].end);
        let unit = Unit { effects: &effects[replaced..], start, ..unit };
        if !unit.effects.is_empty() {
            if self.tail.listens(origin) {
                self.tail.unit(&unit);
            }
            for sink in self.sinks.iter_mut().filter(|sink| sink.listens(origin)) {
                sink.unit(&unit);
            }
        }
        self.gathered.clear();
        self.bytes.clear();
        if self.bytes.capacity() > SPARE_BYTES_MAX {
            self.bytes = Vec::new();
        }
        if self.gathered.capacity() * size_of::<Effect>() > SPARE_BYTES_MAX {
            self.gathered = Vec::new();
        }
    }
}
