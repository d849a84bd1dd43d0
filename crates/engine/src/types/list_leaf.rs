//! The leaves of a large list: elements in a listpack, or a single long one.

use russet_ds::SharedBytes;
use russet_ds::listpack::{self, Element};
use russet_ds::size::class_size;
use russet_ds::tree::Leaf;

use super::leaf_sum::LeafSum;

/// An element that is longer is a leaf of its own, which copies share, bytes.
const LONG_BYTES: usize = 16 * 1024;

/// Maximum size of a leaf whose limit is a number of elements, bytes.
const COUNTED_BYTES_MAX: usize = 8192;

/// Sizes of leaves for a limit of -1 to -5, bytes.
const BYTES_BY_LEVEL: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];

/// How large a leaf may be: `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeafLimits {
    bytes: usize,
    elements: usize,
}

impl LeafLimits {
    /// Returns those of a positive number, of elements, or of a negative one, a level of bytes.
    pub fn of(setting: i32) -> LeafLimits {
        match usize::try_from(setting) {
            Ok(elements) => LeafLimits { bytes: COUNTED_BYTES_MAX, elements: elements.max(1) },
            Err(_) => {
                let level = setting.unsigned_abs() as usize - 1;
                let bytes = BYTES_BY_LEVEL[level.min(BYTES_BY_LEVEL.len() - 1)];
                LeafLimits { bytes, elements: usize::MAX }
            }
        }
    }

    /// Whether they allow a listpack of this size.
    pub fn allow(&self, bytes: usize, elements: usize) -> bool {
        bytes <= self.bytes && elements <= self.elements
    }

    /// Whether they allow twice as much as this.
    pub fn allow_twice(&self, bytes: usize, elements: usize) -> bool {
        bytes <= self.bytes / 2 && elements <= self.elements / 2
    }
}

/// Some elements in a row.
#[derive(Clone, Debug)]
pub struct ListLeaf {
    content: Content,
    limits: LeafLimits,
}

/// What a leaf holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A listpack.
    Pack(Vec<u8>),
    /// A long element.
    Long(SharedBytes),
}

/// Where an element is put into a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In front of the element with this index, or at the end.
    At(usize),
    /// At the end.
    End,
}

impl ListLeaf {
    /// Creates one without elements.
    pub fn new(limits: LeafLimits) -> ListLeaf {
        ListLeaf { content: Content::Pack(listpack::EMPTY.to_vec()), limits }
    }

    /// Creates one from a valid listpack.
    pub fn of_pack(bytes: Vec<u8>, limits: LeafLimits) -> ListLeaf {
        ListLeaf { content: Content::Pack(bytes), limits }
    }

    /// Creates one with a single element.
    pub fn of_element(element: &[u8], limits: LeafLimits) -> ListLeaf {
        if element.len() > LONG_BYTES {
            return ListLeaf { content: Content::Long(SharedBytes::new(element)), limits };
        }
        let mut leaf = ListLeaf::new(limits);
        leaf.insert(Place::End, element);
        leaf
    }

    /// Returns what it holds.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Returns its listpack; none if it has a long element.
    pub fn pack(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Pack(bytes) => Some(bytes),
            Content::Long(_) => None,
        }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.pack().map_or(1, listpack::len)
    }

    /// Whether it may have another element, of this length in bytes.
    pub fn takes(&self, element_bytes: usize) -> bool {
        // An upper bound of the size of an element's head and backward length.
        const OVERHEAD: usize = 10;
        let fits = |bytes: &[u8]| {
            self.limits.allow(bytes.len() + element_bytes + OVERHEAD, listpack::len(bytes) + 1)
        };
        element_bytes <= LONG_BYTES && self.pack().is_some_and(fits)
    }

    /// Returns the element at an index.
    pub fn get(&self, index: usize) -> Option<Element<'_>> {
        match &self.content {
            Content::Pack(bytes) => listpack::get(bytes, seek(bytes, index)?),
            Content::Long(bytes) => (index == 0).then_some(Element::Text(bytes)),
        }
    }

    /// Puts an element, which is not long, into a listpack.
    pub fn insert(&mut self, place: Place, element: &[u8]) {
        let Content::Pack(bytes) = &mut self.content else { return };
        let at = match place {
            Place::At(index) => seek(bytes, index),
            Place::End => None,
        };
        match at {
            Some(at) => listpack::insert(bytes, at, Element::of(element)),
            None => listpack::append(bytes, Element::of(element)),
        }
    }

    /// Replaces an element by another one, which is not long.
    pub fn replace(&mut self, index: usize, element: &[u8]) {
        match &mut self.content {
            Content::Pack(bytes) => {
                if let Some(at) = seek(bytes, index) {
                    listpack::replace(bytes, at, Element::of(element));
                }
            }
            Content::Long(_) => *self = ListLeaf::of_element(element, self.limits),
        }
    }

    /// Removes elements from an index on.
    pub fn remove(&mut self, index: usize, count: usize) {
        match &mut self.content {
            Content::Pack(bytes) => {
                if let Some(at) = seek(bytes, index) {
                    listpack::delete(bytes, at, count);
                }
            }
            Content::Long(_) if index == 0 && count > 0 => *self = ListLeaf::new(self.limits),
            Content::Long(_) => {}
        }
    }

    /// Removes and returns the elements from an index on.
    pub fn split_off(&mut self, index: usize) -> ListLeaf {
        let mut second = ListLeaf::new(self.limits);
        let count = self.len().saturating_sub(index);
        if let (Content::Pack(bytes), Content::Pack(rest)) = (&self.content, &mut second.content)
            && let Some(at) = seek(bytes, index)
        {
            listpack::iter_from(bytes, at).for_each(|(_, element)| listpack::append(rest, element));
        }
        self.remove(index, count);
        second
    }

    /// Gives memory back that it does not need.
    pub fn shrink(&mut self) {
        if let Content::Pack(bytes) = &mut self.content {
            bytes.shrink_to_fit();
        }
    }

    fn allocated_bytes(&self) -> usize {
        match &self.content {
            Content::Pack(bytes) => class_size(bytes.capacity()),
            Content::Long(bytes) => bytes.allocated_bytes(),
        }
    }
}

/// Returns the position of the element at an index of a listpack, from the nearer end.
pub fn seek(bytes: &[u8], index: usize) -> Option<usize> {
    let len = listpack::len(bytes);
    let from_front = index as isize;
    listpack::seek(bytes, if index > len / 2 { from_front - len as isize } else { from_front })
        .filter(|_| index < len)
}

impl Default for ListLeaf {
    fn default() -> ListLeaf {
        ListLeaf::new(LeafLimits::default())
    }
}

impl Leaf for ListLeaf {
    type Summary = LeafSum;
    type Key = ();

    fn summary(&self) -> LeafSum {
        LeafSum { elements: self.len(), leaves: 1, bytes: self.allocated_bytes() }
    }

    fn is_empty(&self) -> bool {
        self.pack().is_some_and(listpack::is_empty)
    }

    fn is_large(&self) -> bool {
        let is_large = |bytes: &[u8]| {
            let elements = listpack::len(bytes);
            elements > 1 && !self.limits.allow(bytes.len(), elements)
        };
        self.pack().is_some_and(is_large)
    }

    fn is_small(&self) -> bool {
        let is_small = |bytes: &[u8]| {
            bytes.len() <= self.limits.bytes / 4 && listpack::len(bytes) <= self.limits.elements / 4
        };
        self.pack().is_some_and(is_small)
    }

    fn split(&mut self) -> ListLeaf {
        self.split_off(self.len().div_ceil(2))
    }

    fn fits(&self, next: &ListLeaf) -> bool {
        let (Some(bytes), Some(more)) = (self.pack(), next.pack()) else { return false };
        self.limits.allow(bytes.len() + more.len(), listpack::len(bytes) + listpack::len(more))
    }

    fn join(&mut self, next: &ListLeaf) {
        if let (Content::Pack(bytes), Some(more)) = (&mut self.content, next.pack()) {
            bytes.reserve(more.len());
            listpack::iter(more).for_each(|(_, element)| listpack::append(bytes, element));
        }
    }
}
