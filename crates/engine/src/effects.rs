//! Effects as the journal passes them on, and who receives them.

/// The origin of effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Commands of clients, and expired keys.
    Local,
    /// The master's stream, whose bytes are passed on to replicas unchanged.
    Upstream,
}

/// One effect, encoded as a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub db: u32,
    /// End offset of its bytes in the buffer.
    pub end: usize,
}

/// Effects that are propagated together.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    pub(crate) effects: &'a [Effect],
    pub(crate) bytes: &'a [u8],
    /// Offset of the first effect's bytes.
    pub(crate) start: usize,
    /// Their origin.
    pub origin: Origin,
    /// Whether they are atomic.
    pub is_atomic: bool,
    /// The journal's position after them.
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

/// A receiver of all effects.
pub trait Sink {
    /// Whether it needs effects of this origin to be encoded.
    fn listens(&self, origin: Origin) -> bool;

    /// Takes the effects of one command or one EXEC.
    fn unit(&mut self, unit: &Unit<'_>);

    /// Handles a replacement of all data other than by effects: a load from a file or a master.
    /// Earlier units do not lead to the new data; later units apply to it.
    fn replaced(&mut self) {}
}
