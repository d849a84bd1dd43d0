//! Going through the table while it changes: scans and point-in-time walks; not what is written.
//!
//! **Scan.** A cursor is a lower bound of hashes. [`Table::scan`] emits the home bucket in which
//! it falls and answers the lower bound of the next one. All keys with a hash below the answer
//! and not below the question were emitted if they were there, and a key's hash never changes.
//! So by the end each key that was there all the time was emitted at least once, whatever grew,
//! split, merged or shrank meanwhile. A key may come twice: when buckets have become wider, the
//! one in which the cursor falls begins before it.
//!
//! ```text
//!   hashes   0 ──────────────────────────────────────────────────▶ 2^64
//!   before   │  bucket  │  bucket  │  bucket  │  bucket  │
//!   cursor                         ^ everything to the left has been emitted
//!   after    │       bucket        │       bucket        │    (merged: still true)
//! ```
//!
//! **Walk.** A snapshot is the table as it was when its epoch began, each key exactly once. The
//! walker visits bucket after bucket ([`Table::walk`]). Whoever is about to change a key first
//! calls [`Table::visit`] with its hash: if the bucket has not been visited in this epoch, its
//! entries are emitted now, as they were, and marked. A bucket's mark is a bit in its meta byte,
//! one per walker, valid only while the segment's header names the same epoch; so a new epoch
//! costs nothing to begin, and bits are cleared when a segment is first touched in it.
//!
//! A change that moves entries between buckets ([`Table::write_resizes`]) must not leave a
//! segment half visited: [`Scope::Resize`] visits all that such a change may move, and what
//! comes out of a resize of visited segments is visited.

use super::bucket::WALKERS;
use super::directory::Cell;
use super::entry::RawEntry;
use super::entry_ref::EntryRef;
use super::payload::Value;
use super::resize::Plan;
use super::segment::{Seg, home_index};
use super::{HashOf, Table};

/// How much [`Table::visit`] visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The home bucket of the hash, with its members elsewhere in the segment.
    Bucket,
    /// All of the hash's segment.
    Segment,
    /// All that inserting or removing a key with this hash may move.
    Resize,
}

fn home_of(segment: Seg, hash: u64) -> usize {
    home_index(hash, segment.depth(), segment.class().homes)
}

impl<V: Value> Table<V> {
    /// Emits the home bucket in which `from` falls and answers where to go on; `None` at the
    /// end. A scan begins at 0.
    pub fn scan(
        &self,
        from: u64,
        hash_of: HashOf<'_>,
        sink: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<u64> {
        let cell = self.directory.locate(from);
        if cell.is_empty() {
            return None;
        }
        let segment = cell.segment();
        let index = home_of(segment, from);
        fetch_next(segment, index);
        // SAFETY: live entries of this table, borrowed with it.
        segment.each_of_home(index, hash_of, &mut |entry| sink(unsafe { EntryRef::new(entry) }));
        segment.lower_bound(index + 1)
    }

    /// Emits what walker `w` (below [`WALKERS`]) has not yet visited in `epoch` within `scope`
    /// around a hash, and marks it visited. To be called before any change to a key with that hash
    /// while the walk goes on. Epochs are positive and unique among all walks of the table's life.
    pub fn visit(
        &mut self,
        w: usize,
        epoch: u32,
        hash: u64,
        scope: Scope,
        hash_of: HashOf<'_>,
        sink: &mut dyn FnMut(EntryRef<'_, V>),
    ) {
        let cell = self.enter(w, epoch, hash);
        if cell.is_empty() {
            return;
        }
        let segment = cell.segment();
        match scope {
            Scope::Bucket => {
                visit_home(segment, home_of(segment, hash), w, epoch, hash_of, sink);
            }
            Scope::Segment => visit_segment(segment, w, epoch, hash_of, sink),
            Scope::Resize => {
                visit_segment(segment, w, epoch, hash_of, sink);
                let used = segment.used().saturating_sub(1);
                if let Plan::Merge(buddy) = self.removal_plan(segment, used) {
                    visit_segment(buddy, w, epoch, hash_of, sink);
                }
            }
        }
    }

    /// Visits the bucket in which `pos` falls and answers the next position; `None` at the end.
    /// A walk begins at 0.
    pub fn walk(
        &mut self,
        w: usize,
        epoch: u32,
        pos: u64,
        hash_of: HashOf<'_>,
        sink: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<u64> {
        let cell = self.enter(w, epoch, pos);
        if cell.is_empty() {
            return None;
        }
        let segment = cell.segment();
        let index = home_of(segment, pos);
        fetch_next(segment, index);
        visit_home(segment, index, w, epoch, hash_of, sink);
        segment.lower_bound(index + 1)
    }

    fn enter(&mut self, w: usize, epoch: u32, hash: u64) -> Cell {
        assert!(w < WALKERS && epoch > 0, "three walkers, and epoch 0 means none");
        self.epochs[w] = epoch;
        self.directory.locate(hash)
    }
}

/// Asks for the entries of the bucket behind `index`, which will probably be wanted next.
fn fetch_next(segment: Seg, index: usize) {
    if index + 1 < segment.homes() {
        let next = segment.bucket(index + 1);
        next.used().for_each(|slot| next.entry(slot).prefetch());
    }
}

fn visit_segment<V>(
    segment: Seg,
    w: usize,
    epoch: u32,
    hash_of: HashOf<'_>,
    sink: &mut dyn FnMut(EntryRef<'_, V>),
) {
    for index in 0..segment.homes() {
        fetch_next(segment, index);
        visit_home(segment, index, w, epoch, hash_of, sink);
    }
}

fn visit_home<V>(
    segment: Seg,
    index: usize,
    w: usize,
    epoch: u32,
    hash_of: HashOf<'_>,
    sink: &mut dyn FnMut(EntryRef<'_, V>),
) {
    let mut epochs = segment.epochs();
    if epochs[w] != epoch {
        epochs[w] = epoch;
        segment.set_epochs(epochs);
        segment.mark_all(w, false);
    }
    let home = segment.bucket(index);
    if home.meta() & 1 << w != 0 {
        return;
    }
    home.set_meta(home.meta() | 1 << w);
    // SAFETY: live entries of the table, which nobody changes during the call.
    let mut emit = |entry: RawEntry| sink(unsafe { EntryRef::new(entry) });
    segment.each_of_home(index, hash_of, &mut emit);
}
