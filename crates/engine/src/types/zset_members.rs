//! The members of a large sorted set: a sequence in the order of their hashes, in leaves.
//!
//! ```text
//!   a leaf    row row row … text text text …
//!
//!   a row      0           4           5                                  13        15
//!             ┌───────────┬───────────┬──────────────────────────────────┬─────────┐
//!             │ hash      │ ordinal   │ score                            │ end     │   of its text, from that of the
//!             │ u32       │ u8        │ f64                              │ u16     │   first one on
//!             └───────────┴───────────┴──────────────────────────────────┴─────────┘
//! ```
//!
//! Hash and ordinal are the [`MemberId`], big endian; the rest is little endian. A member that is longer than [`LONG_BYTES`] has
//! a leaf of its own, which copies share.

use russet_ds::SharedBytes;
use russet_ds::size::class_size;
use russet_ds::tree::Leaf;

use super::leaf_sum::LeafSum;

/// Size of a row in bytes.
const ROW: usize = 15;

/// Offset of the score in a row.
const SCORE_AT: usize = 5;

/// Offset of the end of the text in a row.
const END_AT: usize = 13;

/// Maximum number of members of a leaf.
const MEMBERS_MAX: usize = 128;

/// Maximum size of a leaf with several members in bytes.
const BYTES_MAX: usize = 6 * 1024;

/// A member that is longer is a leaf of its own.
pub const LONG_BYTES: usize = 512;

/// What identifies a member as long as it is there: 32 bits of its hash, and an ordinal that tells those with the same bits
/// apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberId(u64);

impl MemberId {
    /// Size in bytes.
    pub const BYTES: usize = 5;

    /// Returns the first id of a hash.
    pub fn first(hash: u32) -> MemberId {
        MemberId(u64::from(hash) << 8)
    }

    /// Returns the id that follows, of the same hash.
    ///
    /// # Panics
    ///
    /// If there are 256 already. That many of a billion members have the same 32 bits of a hash with a secret key with a
    /// probability of less than 10^-600.
    pub fn next(self) -> MemberId {
        let next = MemberId(self.0 + 1);
        assert!(next.hash() == self.hash(), "256 members have the same hash");
        next
    }

    /// Returns its part of the hash.
    pub fn hash(self) -> u32 {
        (self.0 >> 8) as u32
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let [_, _, _, a, b, c, d, e] = self.0.to_be_bytes();
        [a, b, c, d, e]
    }

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> MemberId {
        let [a, b, c, d, e] = bytes;
        MemberId(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]))
    }
}

/// A member with its score.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// Its score.
    pub score: f64,
}

/// Some members in the order of their ids.
#[derive(Clone, Debug)]
pub enum MemberLeaf {
    /// Short ones.
    Pack {
        /// Their number.
        len: u16,
        /// Rows and texts.
        bytes: Vec<u8>,
    },
    /// A long one.
    Long(MemberId, f64, SharedBytes),
}

impl Default for MemberLeaf {
    fn default() -> MemberLeaf {
        MemberLeaf::Pack { len: 0, bytes: Vec::new() }
    }
}

/// The rows of a leaf.
fn row(bytes: &[u8], index: usize) -> &[u8; ROW] {
    let row = bytes[index * ROW..].first_chunk();
    row.expect("a leaf has as many rows as it says")
}

fn id_of(row: &[u8; ROW]) -> MemberId {
    let [a, b, c, d, e, ..] = *row;
    MemberId::from_bytes([a, b, c, d, e])
}

fn score_of(row: &[u8; ROW]) -> f64 {
    let [_, _, _, _, _, a, b, c, d, e, f, g, h, _, _] = *row;
    f64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn end_of(row: &[u8; ROW]) -> usize {
    let [.., low, high] = *row;
    usize::from(u16::from_le_bytes([low, high]))
}

/// Makes room for more bytes without wasting any of the allocator's class.
pub fn make_room(bytes: &mut Vec<u8>, more: usize) {
    let len = bytes.len() + more;
    if len > bytes.capacity() {
        bytes.reserve_exact(class_size(len) - bytes.len());
    }
}

/// Gives memory back if there is much less than there was.
pub fn give_back(bytes: &mut Vec<u8>) {
    if class_size(bytes.len()) * 4 < bytes.capacity() * 3 {
        bytes.shrink_to(class_size(bytes.len()));
    }
}

impl MemberLeaf {
    /// Creates a leaf with a member.
    pub fn of(id: MemberId, member: Scored<'_>) -> MemberLeaf {
        if member.text.len() > LONG_BYTES {
            return MemberLeaf::Long(id, member.score, SharedBytes::new(member.text));
        }
        let mut leaf = MemberLeaf::default();
        leaf.put(0, id, member);
        leaf
    }

    /// Returns the number of members.
    pub fn len(&self) -> usize {
        match self {
            MemberLeaf::Pack { len, .. } => usize::from(*len),
            MemberLeaf::Long(..) => 1,
        }
    }

    /// Returns the number of members with a lower id.
    pub fn place(&self, id: MemberId) -> usize {
        match self {
            MemberLeaf::Pack { len, bytes } => {
                let rows = &bytes.as_chunks::<ROW>().0[..usize::from(*len)];
                rows.partition_point(|row| id_of(row) < id)
            }
            MemberLeaf::Long(own, ..) => usize::from(*own < id),
        }
    }

    /// Returns the member at an index.
    pub fn get(&self, index: usize) -> Option<(MemberId, Scored<'_>)> {
        if index >= self.len() {
            return None;
        }
        match self {
            MemberLeaf::Pack { len, bytes } => {
                let (row, texts) = (row(bytes, index), &bytes[usize::from(*len) * ROW..]);
                let text = &texts[self.text_start(index)..end_of(row)];
                Some((id_of(row), Scored { text, score: score_of(row) }))
            }
            MemberLeaf::Long(id, score, text) => Some((*id, Scored { text, score: *score })),
        }
    }

    /// Returns the member with an id.
    pub fn find(&self, id: MemberId) -> Option<Scored<'_>> {
        let found = self.get(self.place(id));
        found.filter(|(own, _)| *own == id).map(|(_, member)| member)
    }

    /// Iterates over the members.
    pub fn iter(&self) -> impl Iterator<Item = (MemberId, Scored<'_>)> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// Offset of a member's text, from the first text on.
    fn text_start(&self, index: usize) -> usize {
        match self {
            MemberLeaf::Pack { bytes, .. } if index > 0 => end_of(row(bytes, index - 1)),
            _ => 0,
        }
    }

    /// Whether a member can be put beside those that are there.
    pub fn takes(&self, text: &[u8]) -> bool {
        text.len() <= LONG_BYTES && matches!(self, MemberLeaf::Pack { .. })
    }

    /// Whether another member would make it large.
    pub fn is_full(&self, text: &[u8]) -> bool {
        match self {
            MemberLeaf::Pack { len, bytes } => {
                usize::from(*len) >= MEMBERS_MAX || bytes.len() + ROW + text.len() > BYTES_MAX
            }
            MemberLeaf::Long(..) => true,
        }
    }

    /// Puts a member, which is not long, at an index of a leaf that takes it.
    pub fn put(&mut self, index: usize, id: MemberId, member: Scored<'_>) {
        let (start, more) = (self.text_start(index), member.text.len());
        let MemberLeaf::Pack { len, bytes } = self else { return };
        let (old_len, rows) = (bytes.len(), usize::from(*len) * ROW);
        make_room(bytes, ROW + more);
        bytes.resize(old_len + ROW + more, 0);
        // From the back: each part goes to where the next one was.
        let text_at = rows + start;
        bytes.copy_within(text_at..old_len, text_at + ROW + more);
        bytes.copy_within(rows..text_at, rows + ROW);
        bytes.copy_within(index * ROW..rows, (index + 1) * ROW);
        bytes[text_at + ROW..text_at + ROW + more].copy_from_slice(member.text);
        let new = &mut bytes[index * ROW..(index + 1) * ROW];
        new[..SCORE_AT].copy_from_slice(&id.to_bytes());
        new[SCORE_AT..END_AT].copy_from_slice(&member.score.to_le_bytes());
        new[END_AT..].copy_from_slice(&(start as u16).to_le_bytes());
        *len += 1;
        // Its own end, and those behind it.
        shift_ends(&mut bytes[index * ROW..rows + ROW], |end| end + more as u16);
    }

    /// Sets the score of the member at an index.
    pub fn set_score(&mut self, index: usize, new: f64) {
        match self {
            MemberLeaf::Pack { bytes, .. } => {
                let at = index * ROW + SCORE_AT;
                bytes[at..at + size_of::<f64>()].copy_from_slice(&new.to_le_bytes());
            }
            MemberLeaf::Long(_, score, _) => *score = new,
        }
    }

    /// Removes members from an index on.
    pub fn remove(&mut self, index: usize, count: usize) {
        let end = (index + count).min(self.len());
        let (text_start, text_end) = (self.text_start(index), self.text_start(end));
        let MemberLeaf::Pack { len, bytes } = self else {
            if count > 0 {
                *self = MemberLeaf::default();
            }
            return;
        };
        let (rows, count) = (usize::from(*len) * ROW, end - index);
        bytes.drain(rows + text_start..rows + text_end);
        bytes.drain(index * ROW..end * ROW);
        *len -= count as u16;
        let gone = (text_end - text_start) as u16;
        shift_ends(&mut bytes[index * ROW..rows - count * ROW], |end| end - gone);
        give_back(bytes);
    }

    /// Removes and returns the members from an index on.
    pub fn split_at(&mut self, index: usize) -> MemberLeaf {
        let mut second = MemberLeaf::default();
        second.append(self, index);
        self.remove(index, usize::from(u16::MAX));
        second
    }

    /// Appends the members of another leaf from an index on.
    fn append(&mut self, other: &MemberLeaf, from: usize) {
        if let MemberLeaf::Pack { bytes, .. } = self {
            make_room(bytes, other.bytes().len());
        }
        for index in from..other.len() {
            if let Some((id, member)) = other.get(index) {
                self.put(self.len(), id, member);
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            MemberLeaf::Pack { bytes, .. } => bytes,
            MemberLeaf::Long(..) => &[],
        }
    }
}

/// Changes the ends of texts in rows.
fn shift_ends(rows: &mut [u8], shift: impl Fn(u16) -> u16) {
    for row in rows.as_chunks_mut::<ROW>().0 {
        let end = shift(u16::from_le_bytes([row[END_AT], row[END_AT + 1]]));
        row[END_AT..].copy_from_slice(&end.to_le_bytes());
    }
}

impl Leaf for MemberLeaf {
    type Summary = LeafSum;
    type Key = MemberId;

    fn summary(&self) -> LeafSum {
        let bytes = match self {
            MemberLeaf::Pack { bytes, .. } => class_size(bytes.capacity()),
            MemberLeaf::Long(_, _, text) => text.allocated_bytes(),
        };
        LeafSum { elements: self.len(), leaves: 1, bytes }
    }

    fn update_key(&self, key: &mut MemberId) {
        if let Some((id, _)) = self.len().checked_sub(1).and_then(|last| self.get(last)) {
            *key = id;
        }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_large(&self) -> bool {
        self.len() > MEMBERS_MAX || (self.len() > 1 && self.bytes().len() > BYTES_MAX)
    }

    fn is_small(&self) -> bool {
        matches!(self, MemberLeaf::Pack { .. })
            && self.len() < MEMBERS_MAX / 4
            && self.bytes().len() < BYTES_MAX / 4
    }

    fn split(&mut self) -> MemberLeaf {
        self.split_at(self.len().div_ceil(2))
    }

    fn fits(&self, next: &MemberLeaf) -> bool {
        let are_packs = [self, next].iter().all(|leaf| matches!(leaf, MemberLeaf::Pack { .. }));
        are_packs
            && self.len() + next.len() <= MEMBERS_MAX
            && self.bytes().len() + next.bytes().len() <= BYTES_MAX
    }

    fn join(&mut self, next: &MemberLeaf) {
        self.append(next, 0);
    }
}
