//! The directory: maps a hash to its segment.
//!
//! ```text
//!  root cell ─▶ segment                              (a table with one segment: no directory)
//!  root cell ─▶ node ─┬─ 00 ─▶ segment (depth 1) ◀─┐
//!                     ├─ 01 ───────────────────────┘  a segment of lesser depth fills
//!                     ├─ 10 ─▶ segment (depth 2)       several neighbouring cells
//!                     └─ 11 ─▶ node ─▶ …
//! ```
//!
//! A node is indexed by the `bits` bits of the hash below the top `depth` bits, which lead to it,
//! and doubles when a segment needs one more bit. With good hashes there is one node. A node does
//! not double if it mostly consists of repeated cells (when many hashes share their top bits), or
//! beyond 2^17 cells (1 MB: some 50 million keys, copied in well under a millisecond): then the
//! segment is replaced by a child node. So neither skew nor size makes an insert expensive.
//!
//! A **cell** is a word with the address of a segment and everything needed to find a home bucket
//! in it. So a lookup accesses cell, bucket and entry, but no segment header.
//!
//! ```text
//!  63      61 60   54 53   48 47                              6 5      1  0
//! ┌──────────┬───────┬───────┬─────────────────────────────────┬────────┬──────┐
//! │    0     │ depth │ homes │ address, aligned to 64          │   0    │ node │
//! └──────────┴───────┴───────┴─────────────────────────────────┴────────┴──────┘
//! ```

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::bucket::{Bucket, prefetch};
use super::segment::{Seg, home_index};
use crate::size::class_size;

/// Nodes up to this number of cells always double.
const SMALL_CELLS: usize = 16;
/// Maximum number of bits of a node.
pub(crate) const BITS_MAX: u8 = 17;
const ADDRESS: u64 = 0x0000_ffff_ffff_ffc0;
const NODE: u64 = 1;

/// A reference to a segment or node, or none. Copying it does not copy ownership.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell(u64);

impl Cell {
    /// No segment: the table is empty.
    pub(crate) const EMPTY: Cell = Cell(0);

    pub(crate) fn of_segment(segment: Seg) -> Cell {
        Cell::placeholder(segment, segment.depth())
    }

    /// Creates a cell for a segment in place of another one with another depth.
    fn placeholder(segment: Seg, depth: u8) -> Cell {
        let homes = u64::from(segment.class().homes);
        Cell(pack(segment.address()) | homes << 48 | u64::from(depth) << 54)
    }

    fn of_node(node: Node) -> Cell {
        let address = node.0.as_ptr().expose_provenance() as u64;
        Cell(pack(address) | u64::from(node.depth()) << 54 | NODE)
    }

    #[inline(always)]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline(always)]
    fn is_node(self) -> bool {
        self.0 & NODE != 0
    }

    #[inline(always)]
    pub(crate) fn depth(self) -> u8 {
        (self.0 >> 54) as u8 & 0x7f
    }

    /// Returns the segment of a cell that is neither empty nor a node.
    #[inline(always)]
    pub(crate) fn segment(self) -> Seg {
        debug_assert!(!self.is_empty() && !self.is_node());
        // SAFETY: the cell was created from a segment's address, and is removed from the directory
        // before the segment is freed.
        unsafe { Seg::from_address(self.0 & ADDRESS) }
    }

    /// Returns the home bucket of a hash without accessing the segment.
    #[inline(always)]
    pub(crate) fn home(self, hash: u64) -> Bucket {
        let homes = (self.0 >> 48) as u8 & 0x3f;
        self.segment().bucket(home_index(hash, self.depth(), homes))
    }

    #[inline(always)]
    fn node(self) -> Node {
        debug_assert!(self.is_node());
        let ptr = std::ptr::with_exposed_provenance_mut((self.0 & ADDRESS) as usize);
        // SAFETY: the cell was created from a node's address, which is not null.
        Node(unsafe { NonNull::new_unchecked(ptr) })
    }
}

fn pack(address: u64) -> u64 {
    assert!(address & !ADDRESS == 0, "addresses above 48 bits are not supported");
    address
}

/// The header of a node, followed by its cells.
#[repr(C, align(8))]
struct NodeHeader {
    /// Number of bits of the hash that lead to the node.
    depth: u8,
    /// The node has `2^bits` cells.
    bits: u8,
    /// Number of different segments and nodes in the cells.
    kids: u32,
    /// Number of those with a single cell.
    deep: u32,
}

const CELLS_AT: usize = 16;
const _: () = assert!(size_of::<NodeHeader>() <= CELLS_AT);

/// The address of a node. Copying it does not copy ownership.
///
/// Invariant: it points to a live node; writers hold the table exclusively.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Node(NonNull<u8>);

impl Node {
    fn layout(bits: u8) -> Layout {
        let size = CELLS_AT + (size_of::<Cell>() << bits);
        let Ok(layout) = Layout::from_size_align(size, 64) else {
            unreachable!("nodes are at most a megabyte")
        };
        layout
    }

    fn alloc(depth: u8, bits: u8, kids: u32, deep: u32) -> Node {
        let layout = Node::layout(bits);
        // SAFETY: the layout's size is not zero.
        let ptr = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        // SAFETY: new memory, large enough and aligned; zeroed cells are EMPTY.
        unsafe { ptr.cast::<NodeHeader>().write(NodeHeader { depth, bits, kids, deep }) };
        Node(ptr)
    }

    /// # Safety
    /// The caller owns the node and nothing uses it afterwards.
    unsafe fn free(self) {
        let layout = Node::layout(self.bits());
        // SAFETY: allocated by `alloc` with the same layout.
        unsafe { dealloc(self.0.as_ptr(), layout) }
    }

    fn bytes(self) -> usize {
        let layout = Node::layout(self.bits());
        class_size(layout.size().next_multiple_of(layout.align()))
    }

    #[inline(always)]
    fn header(self) -> *mut NodeHeader {
        self.0.as_ptr().cast()
    }

    #[inline(always)]
    fn depth(self) -> u8 {
        // SAFETY: the type's invariant.
        unsafe { (*self.header()).depth }
    }

    #[inline(always)]
    fn bits(self) -> u8 {
        // SAFETY: the type's invariant.
        unsafe { (*self.header()).bits }
    }

    fn count(self) -> usize {
        1 << self.bits()
    }

    /// Returns the depth of a child with a single cell.
    fn depth_end(self) -> u8 {
        self.depth() + self.bits()
    }

    fn kids(self) -> u32 {
        // SAFETY: the type's invariant.
        unsafe { (*self.header()).kids }
    }

    fn deep(self) -> u32 {
        // SAFETY: the type's invariant.
        unsafe { (*self.header()).deep }
    }

    fn set_counts(self, kids: u32, deep: u32) {
        // SAFETY: the type's invariant; held exclusively.
        unsafe {
            (*self.header()).kids = kids;
            (*self.header()).deep = deep;
        }
    }

    #[inline(always)]
    fn index(self, hash: u64) -> usize {
        // Overflow is impossible: depth is below 64, bits is 1 to 17.
        let below = hash.wrapping_shl(u32::from(self.depth()));
        below.wrapping_shr(64u32.wrapping_sub(u32::from(self.bits()))) as usize
    }

    #[inline(always)]
    fn cell_ptr(self, index: usize) -> *mut Cell {
        debug_assert!(index < self.count());
        // SAFETY: callers pass an index below `count()`.
        unsafe { self.0.add(CELLS_AT).cast::<Cell>().add(index).as_ptr() }
    }

    #[inline(always)]
    fn cell(self, index: usize) -> Cell {
        // SAFETY: an initialised cell of a live node.
        unsafe { self.cell_ptr(index).read() }
    }

    /// Sets all cells of the region of hashes that start with the `depth` top bits of `prefix`.
    ///
    /// The other bits of `prefix` are ignored: when a node is replaced, the caller only knows the
    /// prefix of some segment in it, which may refer to any of the node's cells.
    fn fill(self, prefix: u64, depth: u8, cell: Cell) {
        let span = self.span(depth);
        let first = self.index(prefix) & !(span - 1);
        assert!(first + span <= self.count(), "a region lies within its node");
        for index in first..first + span {
            // SAFETY: a region within the node; held exclusively.
            unsafe { self.cell_ptr(index).write(cell) };
        }
    }

    /// Returns the number of cells of a child with this depth.
    fn span(self, depth: u8) -> usize {
        1 << (self.depth_end() - depth)
    }

    /// Whether the node should double to get one more bit.
    fn may_double(self) -> bool {
        let count = self.count();
        self.bits() < BITS_MAX && (count < SMALL_CELLS || count <= 2 * self.kids() as usize)
    }

    /// Returns a copy with twice the cells.
    fn doubled(self) -> Node {
        let node = Node::alloc(self.depth(), self.bits() + 1, self.kids(), 0);
        for index in 0..self.count() {
            // SAFETY: the new node has twice the cells.
            unsafe {
                node.cell_ptr(2 * index).write(self.cell(index));
                node.cell_ptr(2 * index + 1).write(self.cell(index));
            }
        }
        node
    }

    /// Returns a copy with half the cells; none if that would lose a child or is not worthwhile.
    fn halved(self) -> Option<Node> {
        if self.deep() > 0 || self.bits() == 1 || self.kids() as usize * 4 > self.count() {
            return None;
        }
        let node = Node::alloc(self.depth(), self.bits() - 1, self.kids(), 0);
        let mut deep = 0;
        for index in 0..node.count() {
            let cell = self.cell(2 * index);
            deep += u32::from(cell.depth() == node.depth_end());
            // SAFETY: the new node has half the cells.
            unsafe { node.cell_ptr(index).write(cell) };
        }
        node.set_counts(self.kids(), deep);
        Some(node)
    }
}

/// The tree of nodes.
pub(crate) struct Directory {
    root: Cell,
    /// Memory of all nodes in bytes.
    bytes: usize,
}

impl Directory {
    pub(crate) const fn new() -> Directory {
        Directory { root: Cell::EMPTY, bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the cell of a hash; EMPTY only if the table is empty.
    #[inline(always)]
    pub(crate) fn locate(&self, hash: u64) -> Cell {
        let mut cell = self.root;
        while cell.is_node() {
            let node = cell.node();
            cell = node.cell(node.index(hash));
        }
        cell
    }

    /// Prefetches the line with the cell of a hash.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        if self.root.is_node() {
            let node = self.root.node();
            prefetch(node.cell_ptr(node.index(hash)).cast());
        }
    }

    /// Sets the root to `cell`. All previous nodes must have been freed.
    pub(crate) fn set_root(&mut self, cell: Cell) {
        debug_assert!(!self.root.is_node());
        self.root = cell;
    }

    /// Fills an empty directory with `2^bits` segments, at most [`BITS_MAX`], created by
    /// `make(prefix, depth)`.
    pub(crate) fn spread(&mut self, bits: u8, make: &mut dyn FnMut(u64, u8) -> Seg) {
        debug_assert!(self.is_empty() && bits <= BITS_MAX);
        if bits == 0 {
            return self.set_root(Cell::of_segment(make(0, 0)));
        }
        let count = 1u32 << bits;
        let node = Node::alloc(0, bits, count, count);
        self.bytes += node.bytes();
        for index in 0..count {
            let cell = Cell::of_segment(make(u64::from(index) << (64 - bits), bits));
            // SAFETY: the index is below the node's count; held exclusively.
            unsafe { node.cell_ptr(index as usize).write(cell) };
        }
        self.root = Cell::of_node(node);
    }

    /// Whether there are no segments.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// Replaces a segment or node by another cell of the same depth.
    pub(crate) fn replace(&mut self, prefix: u64, old: Cell, new: Cell) {
        if self.root == old {
            self.root = new;
            return;
        }
        let mut node = self.root.node();
        loop {
            let cell = node.cell(node.index(prefix));
            if cell == old {
                return node.fill(prefix, old.depth(), new);
            }
            node = cell.node();
        }
    }

    /// Returns the deepest node on the path to a hash.
    fn holder(&self, hash: u64) -> Option<Node> {
        let mut holder = None;
        let mut cell = self.root;
        while cell.is_node() {
            let node = cell.node();
            holder = Some(node);
            cell = node.cell(node.index(hash));
        }
        holder
    }

    /// Replaces the segment of the given depth and prefix by two with one more bit.
    fn split_cell(&mut self, prefix: u64, depth: u8, pair: [Cell; 2]) {
        let upper = prefix | 1 << (63 - depth);
        let Some(mut node) = self.holder(prefix) else {
            let node = Node::alloc(0, 1, 2, 2);
            self.bytes += node.bytes();
            node.fill(prefix, 1, pair[0]);
            node.fill(upper, 1, pair[1]);
            self.root = Cell::of_node(node);
            return;
        };
        if depth == node.depth_end() {
            if !node.may_double() {
                let child = Node::alloc(depth, 1, 2, 2);
                self.bytes += child.bytes();
                child.fill(prefix, depth + 1, pair[0]);
                child.fill(upper, depth + 1, pair[1]);
                return node.fill(prefix, depth, Cell::of_node(child));
            }
            node = self.exchange(prefix, node, node.doubled());
        }
        let deep = if depth + 1 == node.depth_end() { 2 } else { 0 };
        node.set_counts(node.kids() + 1, node.deep() + deep);
        node.fill(prefix, depth + 1, pair[0]);
        node.fill(upper, depth + 1, pair[1]);
    }

    /// Replaces a node by another one and frees it.
    fn exchange(&mut self, prefix: u64, old: Node, new: Node) -> Node {
        self.bytes = self.bytes + new.bytes() - old.bytes();
        self.replace(prefix, Cell::of_node(old), Cell::of_node(new));
        // SAFETY: no cell refers to the old node any more.
        unsafe { old.free() };
        new
    }

    /// Replaces the segment of `depth` and `prefix` by `low` and `high` with depth `at + 1 >
    /// depth`: their bits from `depth` up to `at` are the same. Regions off that path get segments
    /// created by `empty(prefix, depth)`.
    pub(crate) fn split(
        &mut self,
        depth: u8,
        low: Seg,
        high: Seg,
        empty: &mut dyn FnMut(u64, u8) -> Seg,
    ) {
        let at = low.depth() - 1;
        for depth in depth..at {
            let bit = 1u64 << (63 - depth);
            let prefix = low.prefix() & !(bit | (bit - 1));
            let on_path_high = low.prefix() & bit != 0;
            let path = Cell::placeholder(low, depth + 1);
            let pair = if on_path_high {
                [Cell::of_segment(empty(prefix, depth + 1)), path]
            } else {
                [path, Cell::of_segment(empty(prefix | bit, depth + 1))]
            };
            self.split_cell(prefix, depth, pair);
        }
        self.split_cell(low.prefix(), at, [Cell::of_segment(low), Cell::of_segment(high)]);
    }

    /// Replaces two buddies by one segment with one bit less.
    pub(crate) fn merge(&mut self, merged: Seg) {
        let (prefix, depth) = (merged.prefix(), merged.depth());
        let cell = Cell::of_segment(merged);
        let Some(mut node) = self.holder(prefix) else { unreachable!("two segments imply a node") };
        if node.depth() == depth {
            // The buddies were all cells of the node.
            self.bytes -= node.bytes();
            self.replace(prefix, Cell::of_node(node), cell);
            // SAFETY: no cell refers to the node any more.
            return unsafe { node.free() };
        }
        let deep = if depth + 1 == node.depth_end() { 2 } else { 0 };
        node.set_counts(node.kids() - 1, node.deep() - deep);
        node.fill(prefix, depth, cell);
        while let Some(half) = node.halved() {
            node = self.exchange(prefix, node, half);
        }
    }

    /// Removes everything, passing each segment to `sink`, which takes the ownership.
    pub(crate) fn drain(&mut self, sink: &mut dyn FnMut(Seg)) {
        let root = std::mem::replace(&mut self.root, Cell::EMPTY);
        self.bytes = 0;
        drain_cell(root, sink);
    }

    /// Calls `sink` with each segment in hash order.
    pub(crate) fn each(&self, sink: &mut dyn FnMut(Seg)) {
        each_cell(self.root, sink);
    }
}

/// Calls `sink` with each segment below the cell in hash order, and frees the nodes.
fn drain_cell(cell: Cell, sink: &mut dyn FnMut(Seg)) {
    visit(cell, sink, drain_cell);
    if !cell.is_empty() && cell.is_node() {
        // SAFETY: the only cell that referred to the node was removed.
        unsafe { cell.node().free() };
    }
}

/// Calls `sink` with each segment below the cell in hash order.
fn each_cell(cell: Cell, sink: &mut dyn FnMut(Seg)) {
    visit(cell, sink, each_cell);
}

/// Calls `sink` with the segment of the cell, or `descend` with each distinct cell of its node. The
/// depth of recursion is bounded, since each level consumes at least one of 64 bits.
fn visit(cell: Cell, sink: &mut dyn FnMut(Seg), descend: fn(Cell, &mut dyn FnMut(Seg))) {
    if cell.is_empty() {
        return;
    }
    if !cell.is_node() {
        return sink(cell.segment());
    }
    let node = cell.node();
    let mut index = 0;
    while index < node.count() {
        let kid = node.cell(index);
        index += node.span(kid.depth());
        descend(kid, sink);
    }
}
