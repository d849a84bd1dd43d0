//! Collections in parts: what stands before the elements, and one element, as loader, chunk and encoder hand them on.

/// What a file says of a collection before its elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// How many elements follow.
    pub count: u64,
    /// No element expires before this time, in milliseconds since the Unix epoch; `None` if none does.
    pub earliest: Option<i64>,
}

/// An element of a collection. Which of its parts there are is known to the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// What it is found by: a hash's field, a member.
    pub name: &'a [u8],
    /// What belongs to the name: a field's value; empty if nothing does.
    pub value: &'a [u8],
    /// When it expires by itself, in milliseconds since the Unix epoch.
    pub expiry: Option<i64>,
}
