//! Collections in parts, as loader, chunks and encoder pass them: a head, then the elements.

/// The head of a collection, which precedes its elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Number of elements.
    pub count: u64,
    /// Lower bound of the elements' expiries in milliseconds since the Unix epoch; none if no
    /// element has one.
    pub earliest: Option<i64>,
}

impl Head {
    /// Returns the head of a collection whose elements do not expire.
    pub fn of(count: u64) -> Head {
        Head { count, earliest: None }
    }
}

/// Where a reader is in a value whose elements are of several kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The kind of the next element, as the type has it, or [`Cursor::END`].
    pub part: u8,
    /// Numbers of elements that are left, as the type counts them.
    pub left: [u64; 3],
}

impl Cursor {
    /// There are no more elements.
    pub const END: u8 = u8::MAX;

    /// Whether there are no more elements.
    pub fn is_at_end(self) -> bool {
        self.part == Cursor::END
    }
}

/// An element of a collection. Its type determines which of the fields are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its key: the field of a hash, or a member.
    pub name: &'a [u8],
    /// The value of a field; empty if the type has none.
    pub value: &'a [u8],
    /// Its own expiry in milliseconds since the Unix epoch.
    pub expiry: Option<i64>,
}
