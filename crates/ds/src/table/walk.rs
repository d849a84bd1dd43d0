//! Iterating over the table during changes: scans and point-in-time walks.
//!
//! **Scan.** A cursor is a lower bound of hashes. [`Table::scan`] emits the home bucket of the
//! cursor and returns the lower bound of the next one. All existing keys with hashes between the
//! two were emitted, and a key's hash never changes. So at the end each key that existed all the
//! time was emitted at least once, regardless of growth, splits, merges and shrinks. A key may be
//! emitted twice: if buckets have become wider, that of the cursor starts before it.
//!
//! ```text
//!   hashes   0 ──────────────────────────────────────────────────▶ 2^64
//!   before   │  bucket  │  bucket  │  bucket  │  bucket  │
//!   cursor                         ^ everything to the left has been emitted
//!   after    │       bucket        │       bucket        │    (merged: still true)
//! ```
//!
//! **Walk.** A walk emits the table as it was when its epoch began, each key exactly once. The
//! walker visits bucket after bucket ([`Table::walk`]). Before a change of a key, the caller must
//! call [`Table::visit`] with its hash: if the bucket was not visited in this epoch, its entries
//! are emitted before the change, and it is marked as visited. The mark is a bit in the bucket's
//! meta byte for each walker, which is valid only while the segment's header has the same epoch; so
//! starting an epoch costs nothing, and bits are cleared when a segment is first visited in it.
//!
//! A change that moves entries between buckets ([`Table::write_resizes`]) must not leave a segment
//! partly visited: [`Scope::Resize`] visits everything that such a change may move, and a segment
//! that results from visited ones is visited.

use super::bucket::WALKERS;
use super::directory::Cell;
use super::entry::RawEntry;
use super::entry_ref::EntryRef;
use super::payload::Value;
use super::resize::Plan;
use super::segment::{Seg, home_index};
use super::{HashOf, Table};

/// The scope of [`Table::visit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The home bucket of the hash, with its entries elsewhere in the segment.
    Bucket,
    /// The whole segment of the hash.
    Segment,
    /// Everything that inserting or removing a key with this hash may move.
    Resize,
}

fn home_of(segment: Seg, hash: u64) -> usize {
    home_index(hash, segment.depth(), segment.class().homes)
}

impl<V: Value> Table<V> {
    /// Emits the home bucket of `from` and returns the next position, none at the end. A scan
    /// starts at 0.
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

    /// Emits what walker `w` (below [`WALKERS`]) has not visited in `epoch` within `scope` of a
    /// hash, and marks it as visited. Must be called before any change of a key with that hash
    /// during the walk. Epochs are positive and unique among all walks of a table.
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

    /// Visits the bucket of `pos` and returns the next position, none at the end. A walk starts at
    /// 0.
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

/// Prefetches the entries of the bucket after `index`, which will probably be visited next.
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
