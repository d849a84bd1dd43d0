//! A client's number of subscriptions, maintained by [`PubSub`](crate::pubsub::PubSub).

/// What a client subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A channel.
    Channel,
    /// A pattern of channels.
    Pattern,
    /// A shard channel.
    Shard,
}

impl Kind {
    /// All kinds, in the order of their indexes.
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];
}

/// Estimated memory of a subscription besides its name, in bytes.
const BYTES: usize = 96;

/// Counts of a client's subscriptions.
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

    /// Whether there are no subscriptions.
    pub fn is_empty(&self) -> bool {
        self.counts == [0; 3]
    }

    /// Returns the count in confirmations: channels and patterns together, shard channels
    /// separately.
    pub fn reported(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.of(Kind::Channel) + self.of(Kind::Pattern),
            Kind::Shard => self.of(Kind::Shard),
        }
    }

    /// Returns their memory usage in bytes.
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
