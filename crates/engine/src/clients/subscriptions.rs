//! How many subscriptions a client has. [`PubSub`](crate::pubsub::PubSub) knows to what, and keeps
//! the counts.

/// What a client subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A channel.
    Channel,
    /// All channels whose names match a pattern.
    Pattern,
    /// A shard channel.
    Shard,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];
}

/// Bytes of memory that a subscription takes beside its name, estimated.
const BYTES: usize = 96;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    counts: [usize; 3],
    bytes: usize,
}

impl Subscriptions {
    /// Returns the number of subscriptions of a kind.
    pub fn of(&self, kind: Kind) -> usize {
        self.counts[kind as usize]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts == [0; 3]
    }

    /// Returns the number that confirmations report: channels and patterns count together, shard
    /// channels for themselves.
    pub fn reported(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.of(Kind::Channel) + self.of(Kind::Pattern),
            Kind::Shard => self.of(Kind::Shard),
        }
    }

    /// Returns the bytes of memory that they take.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn add(&mut self, kind: Kind, name: &[u8]) {
        self.counts[kind as usize] += 1;
        self.bytes += BYTES + name.len();
    }

    pub(crate) fn remove(&mut self, kind: Kind, name: &[u8]) {
        self.counts[kind as usize] -= 1;
        self.bytes -= BYTES + name.len();
    }
}
