//! The journal: every effect moves one position and feeds those who listen.
//!
//! A command's *effect* is a database and a command that is deterministic: a relative expiry has become an absolute one.
//! Effects of one command (or one EXEC) are gathered and leave together as a [`Unit`], so that no listener ever shows half
//! of them:
//!
//! ```text
//!   command ──▶ effects ──┐
//!   command ──▶ effects ──┼─▶ unit ──▶ position moves ──▶ replication stream   (its own SELECT, MULTI, EXEC)
//!   keys that expired ────┘                          └──▶ any other sink        (append-only file, slot migration, tests)
//! ```
//!
//! The position counts effects. It moves also while nobody listens and also on a replica, whose effects come from its
//! master's stream. If nobody listens, nothing is encoded.

use std::mem;

use russet_protocol::reply::push_command;
use russet_protocol::{Protocol, ReplyWriter};

/// Scratch space beyond this many bytes is given back.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// Where effects come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Commands of clients, and keys that expired.
    Local,
    /// Our master's stream: replicas of ours are given its own bytes.
    Upstream,
}

/// One effect, encoded as a command.
#[derive(Clone, Copy, Debug)]
struct Effect {
    db: u32,
    /// Where its bytes end among the gathered bytes.
    end: usize,
}

/// Effects that belong together, as a sink gets them.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    effects: &'a [Effect],
    bytes: &'a [u8],
    /// Where the first effect begins among the bytes.
    start: usize,
    /// Where they come from.
    pub origin: Origin,
    /// Nobody may see only some of them.
    pub is_atomic: bool,
    /// The journal's position behind them.
    pub position: u64,
}

impl<'a> Unit<'a> {
    /// Each effect: its database, and its command in RESP.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.effects.iter().scan(self.start, move |start, effect| {
            let command = &bytes[*start..effect.end];
            *start = effect.end;
            Some((effect.db, command))
        })
    }
}

/// Somebody who is given every effect.
pub trait Sink {
    /// Whether effects of this origin must be encoded for it now.
    fn listens(&self, origin: Origin) -> bool;

    /// Takes the effects of one command or one EXEC.
    fn unit(&mut self, unit: &Unit<'_>);

    /// All data was replaced in another way than by effects: loaded from a file, or from a master. What the sink has
    /// been given so far no longer makes this data; the units that follow build on it.
    fn replaced(&mut self) {}
}

/// See the module.
#[derive(Default)]
pub struct Journal {
    gathered: Vec<Effect>,
    bytes: Vec<u8>,
    /// How many effects are gathered, encoded or not.
    count: u64,
    origin: Option<Origin>,
    /// The running command has no effect worth propagating.
    suppressed: bool,
    /// How many effects the running command itself named.
    named: usize,
    position: u64,
    /// How many of the gathered effects came before all data was replaced: only replicas have yet to get those.
    replaced: usize,
    /// The replication stream listens to local effects.
    stream_listens: bool,
    /// Other sinks than the replication stream.
    sinks: Vec<Box<dyn Sink + Send>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Journal {
    /// How many effects there have been.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Adds a sink: it is given every effect from now on.
    pub fn attach(&mut self, sink: Box<dyn Sink + Send>) {
        self.sinks.push(sink);
    }

    /// The replication stream has begun or ceased to listen.
    pub(crate) fn set_stream_listens(&mut self, listens: bool) {
        self.stream_listens = listens;
    }

    /// Effects that are added from now on come from here.
    #[inline]
    pub(crate) fn set_origin(&mut self, origin: Origin) {
        self.origin = Some(origin);
    }

    #[inline]
    fn is_heard(&self) -> bool {
        let local = self.origin != Some(Origin::Upstream);
        (local && self.stream_listens) || !self.sinks.is_empty()
    }

    /// Adds an effect of the running command, in place of the command itself.
    pub fn name<A: AsRef<[u8]>>(&mut self, db: u32, args: &[A]) {
        self.named += 1;
        self.add(db, args);
    }

    /// Adds an effect that no command named: a key that expired.
    pub(crate) fn add<A: AsRef<[u8]>>(&mut self, db: u32, args: &[A]) {
        self.count += 1;
        if self.is_heard() {
            push_command(&mut self.bytes, args);
            self.gathered.push(Effect { db, end: self.bytes.len() });
        }
    }

    /// Adds the running command as it was given.
    pub(crate) fn add_given<'a>(
        &mut self,
        db: u32,
        argc: usize,
        args: impl Iterator<Item = &'a [u8]>,
    ) {
        self.count += 1;
        if self.is_heard() {
            let mut writer = ReplyWriter { out: &mut self.bytes, protocol: Protocol::Resp2 };
            writer.array(argc);
            args.for_each(|arg| writer.bulk(arg));
            self.gathered.push(Effect { db, end: self.bytes.len() });
        }
    }

    /// All data was replaced in another way than by effects.
    pub(crate) fn data_replaced(&mut self) {
        self.replaced = self.gathered.len();
        self.sinks.iter_mut().for_each(|sink| sink.replaced());
    }

    /// The running command has no effect worth propagating.
    pub fn suppress(&mut self) {
        self.suppressed = true;
    }

    /// Whether the command named its own effects, or none; to be called once for each command.
    #[inline]
    pub(crate) fn take_override(&mut self) -> bool {
        mem::take(&mut self.suppressed) | (mem::take(&mut self.named) > 0)
    }

    /// Whether nothing is gathered.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Gives what is gathered to the replication stream and all other sinks, as one unit.
    pub(crate) fn flush(&mut self, stream: &mut dyn Sink) {
        self.flush_as(stream, self.count > 1);
    }

    /// The same for effects that have nothing to do with each other: no listener needs to see them at once.
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
