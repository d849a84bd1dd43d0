//! A list being changed, in any form.
//!
//! A compact list is copied, changed and stored again, a large one is changed in place. Copies of a large list share its leaves
//! until they are changed.

use std::ops::Deref;

use russet_ds::SharedBytes;
use russet_ds::listpack::{self, Element as Member};
use russet_ds::tree::Tree;

use super::leaf_sum::{LeafSum, at};
use super::list::{KIND_COMPACT, List, ListRef, NUMBER};
use super::list_leaf::{Content, LeafLimits, ListLeaf, Place, seek};
use super::walkers::Walkers;
use super::{BuildContext, Collection, Editable, INLINE_MAX, Object, Value};

/// An end of a list, or a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The beginning.
    Left,
    /// The end.
    Right,
}

/// An element that was removed.
#[derive(Clone, Debug)]
pub enum Popped {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// A long one.
    Shared(SharedBytes),
}

impl Deref for Popped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Popped::Bytes(bytes) => bytes,
            Popped::Shared(bytes) => bytes,
        }
    }
}

/// A list being changed.
#[derive(Debug)]
pub struct ListMut<'a> {
    state: State<'a>,
    limits: LeafLimits,
}

#[derive(Debug)]
enum State<'a> {
    Compact(Vec<u8>),
    /// It was compact or is being built.
    New(List),
    /// It is in its entry.
    Large(&'a mut List),
}

impl Editable for List {
    const NUMBER: u8 = NUMBER;
    /// Elements do not expire.
    const REMOVAL: &'static [u8] = b"LREM";

    type Mut<'a> = ListMut<'a>;

    fn empty(context: &BuildContext<'_>) -> ListMut<'static> {
        let limits = LeafLimits::of(context.config.list_max_listpack_size);
        ListMut { state: State::Compact(listpack::EMPTY.to_vec()), limits }
    }

    fn copy_of(_kind: u8, bytes: &[u8], context: &BuildContext<'_>) -> ListMut<'static> {
        let limits = LeafLimits::of(context.config.list_max_listpack_size);
        ListMut { state: State::Compact(bytes.to_vec()), limits }
    }

    fn of_object<'a>(
        object: &'a mut Object,
        _walkers: Walkers<'a>,
        context: &BuildContext<'_>,
    ) -> Option<ListMut<'a>> {
        let Object::List(list) = object else { return None };
        let limits = LeafLimits::of(context.config.list_max_listpack_size);
        Some(ListMut { state: State::Large(list), limits })
    }

    fn is_empty(list: &ListMut<'_>) -> bool {
        list.is_empty()
    }

    fn into_value(list: ListMut<'static>) -> Option<Value<'static>> {
        if list.is_empty() {
            return None;
        }
        Some(match list.state {
            State::Compact(bytes) => Value::compact(KIND_COMPACT, bytes),
            State::New(list) => Value::large(list.kind(), Object::List(list)),
            State::Large(_) => unreachable!("a list in its entry does not live for ever"),
        })
    }
}

impl ListMut<'_> {
    /// Returns it as a borrowed list.
    pub fn view(&self) -> ListRef<'_> {
        match &self.state {
            State::Compact(bytes) => ListRef::Compact(bytes),
            State::New(list) => ListRef::Large(list),
            State::Large(list) => ListRef::Large(list),
        }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn list_mut(&mut self) -> Option<&mut List> {
        match &mut self.state {
            State::Compact(_) => None,
            State::New(list) => Some(list),
            State::Large(list) => Some(list),
        }
    }

    /// Chooses the form for these elements to be added.
    pub fn prepare<'t>(&mut self, elements: impl Iterator<Item = &'t [u8]>) {
        let (count, text_bytes, longest) = elements
            .fold((0, 0_usize, 0), |(n, sum, most), text| {
                (n + 1, sum.saturating_add(text.len()), most.max(text.len()))
            });
        let (limits, len) = (self.limits, self.len() + count);
        match &mut self.state {
            State::Compact(bytes) => {
                let grown = bytes.len().saturating_add(text_bytes);
                let is_quicklist = !limits.allow(grown, len);
                // What the elements may take beside their texts.
                let upper_bound = grown.saturating_add(count.saturating_mul(10));
                if is_quicklist || upper_bound > INLINE_MAX || longest > INLINE_MAX {
                    self.become_large(is_quicklist);
                }
            }
            State::New(list) => list.grow(limits, text_bytes, len),
            State::Large(list) => list.grow(limits, text_bytes, len),
        }
    }

    /// Adds an element at an end. The list must be prepared.
    pub fn push(&mut self, side: Side, element: &[u8]) {
        if let State::Compact(bytes) = &mut self.state {
            let front = listpack::first(bytes).filter(|_| side == Side::Left);
            return match front {
                Some(first) => listpack::insert(bytes, first, Member::of(element)),
                None => listpack::append(bytes, Member::of(element)),
            };
        }
        if let Some(list) = self.list_mut() {
            list.push(side, element);
        }
    }

    /// Appends a leaf from a file.
    pub(super) fn push_leaf(&mut self, content: Content) {
        self.become_large(true);
        let Some(list) = self.list_mut() else { return };
        match content {
            Content::Pack(bytes) => {
                let fits = list.limits.allow(bytes.len(), listpack::len(&bytes));
                let leaf = ListLeaf::of_pack(bytes, list.limits);
                match leaf.pack() {
                    // With other limits its elements are divided otherwise.
                    Some(bytes) if !fits => listpack::iter(bytes)
                        .for_each(|(_, member)| list.push(Side::Right, &member.to_text())),
                    _ => list.tree.push(leaf),
                }
            }
            Content::Long(bytes) => list.push(Side::Right, &bytes),
        }
    }

    /// Removes and returns the element at an end.
    pub fn pop(&mut self, side: Side) -> Option<Popped> {
        let last = self.len().checked_sub(1)?;
        let index = if side == Side::Left { 0 } else { last };
        let popped = match &self.state {
            State::Compact(_) => self.view().get(index)?.to_text().into_owned(),
            State::New(_) | State::Large(_) => match self.long(index) {
                Some(bytes) => {
                    self.remove(index, 1);
                    return Some(Popped::Shared(bytes));
                }
                None => self.view().get(index)?.to_text().into_owned(),
            },
        };
        self.remove(index, 1);
        Some(Popped::Bytes(popped))
    }

    /// Returns the element at an index if it is a leaf of its own.
    fn long(&self, index: usize) -> Option<SharedBytes> {
        let ListRef::Large(list) = self.view() else { return None };
        let (leaf, _) = list.tree.find(&mut at(index))?;
        match leaf.content() {
            Content::Pack(_) => None,
            Content::Long(bytes) => Some(bytes.clone()),
        }
    }

    /// Puts an element in front of the one at an index, or at the end. The list must be prepared.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        if index == 0 || index >= self.len() {
            let side = if index == 0 { Side::Left } else { Side::Right };
            return self.push(side, element);
        }
        match &mut self.state {
            State::Compact(bytes) => {
                if let Some(at) = seek(bytes, index) {
                    listpack::insert(bytes, at, Member::of(element));
                }
            }
            State::New(list) => list.insert(index, element),
            State::Large(list) => list.insert(index, element),
        }
    }

    /// Replaces the element at an index. The list must be prepared.
    pub fn replace(&mut self, index: usize, element: &[u8]) {
        match &mut self.state {
            State::Compact(bytes) => {
                if let Some(at) = seek(bytes, index) {
                    listpack::replace(bytes, at, Member::of(element));
                }
            }
            State::New(list) => list.replace(index, element),
            State::Large(list) => list.replace(index, element),
        }
        self.shrink();
    }

    /// Removes elements from an index on.
    pub fn remove(&mut self, index: usize, count: usize) {
        match &mut self.state {
            State::Compact(bytes) => {
                if let Some(at) = seek(bytes, index) {
                    listpack::delete(bytes, at, count);
                }
            }
            State::New(list) => list.remove(index, count),
            State::Large(list) => list.remove(index, count),
        }
        self.shrink();
    }

    /// Removes up to `most` elements that equal a text, from an end on. Returns their number.
    pub fn remove_equal(&mut self, text: &[u8], from: Side, most: usize) -> usize {
        let (len, mut found) = (self.len(), Vec::new());
        let Some(last) = len.checked_sub(1) else { return 0 };
        let (first, side) = match from {
            Side::Left => (0, Side::Right),
            Side::Right => (last, Side::Left),
        };
        let mut passed = 0;
        self.view().each_from(first, side, &mut |member| {
            if member.is_text(text) {
                found.push(if from == Side::Left { passed } else { last - passed });
            }
            passed += 1;
            found.len() < most
        });
        found.sort_unstable();
        for index in found.iter().rev() {
            self.remove(*index, 1);
        }
        found.len()
    }

    /// Chooses the form that a list has which was built from a file.
    pub(super) fn settle(&mut self) {
        let limits = self.limits;
        let State::New(list) = &mut self.state else { return };
        let only = list.only_pack().filter(|bytes| limits.allow(bytes.len(), listpack::len(bytes)));
        let Some(bytes) = only else { return };
        if bytes.len() <= INLINE_MAX {
            self.state = State::Compact(bytes.to_vec());
        } else {
            list.is_quicklist = false;
        }
    }

    /// Makes a quicklist a listpack again if it has become much smaller.
    fn shrink(&mut self) {
        let limits = self.limits;
        if let Some(list) = self.list_mut()
            && list.is_quicklist
            && let Some(bytes) = list.only_pack()
        {
            list.is_quicklist = !limits.allow_twice(bytes.len(), listpack::len(bytes));
        }
    }

    fn become_large(&mut self, is_quicklist: bool) {
        let State::Compact(bytes) = &mut self.state else { return };
        let (mut tree, limits) = (Tree::default(), self.limits);
        if !listpack::is_empty(bytes) {
            tree.push(ListLeaf::of_pack(std::mem::take(bytes), limits));
        }
        self.state = State::New(List { tree, limits, is_quicklist });
    }
}

impl List {
    /// Returns the listpack of its only leaf.
    fn only_pack(&self) -> Option<&[u8]> {
        let (leaf, _) = self.tree.find(&mut |_, _| true)?;
        leaf.pack().filter(|_| self.tree.summary().leaves == 1)
    }

    /// Makes it a quicklist if it becomes too large for a listpack.
    fn grow(&mut self, limits: LeafLimits, text_bytes: usize, len: usize) {
        if !self.is_quicklist {
            let bytes = self.only_pack().map_or(0, <[u8]>::len);
            self.is_quicklist = !limits.allow(bytes.saturating_add(text_bytes), len);
        }
    }

    fn push(&mut self, side: Side, element: &[u8]) {
        let (limits, is_left) = (self.limits, side == Side::Left);
        let place = if is_left { Place::At(0) } else { Place::End };
        self.tree.change(&mut |_, _| is_left, |leaf, _, beside| {
            if leaf.len() == 0 {
                *leaf = ListLeaf::of_element(element, limits);
            } else if leaf.takes(element.len()) {
                leaf.insert(place, element);
            } else {
                // It may not grow again for long.
                leaf.shrink();
                let new = Some(ListLeaf::of_element(element, limits));
                *(if is_left { &mut beside.before } else { &mut beside.after }) = new;
            }
        });
        self.note_leaves();
    }

    /// A list with several leaves is a quicklist: what elements take beside their texts is not known before they are added.
    fn note_leaves(&mut self) {
        self.is_quicklist |= self.tree.summary().leaves > 1;
    }

    fn insert(&mut self, index: usize, element: &[u8]) {
        let limits = self.limits;
        self.tree.change(&mut at(index), |leaf, before: &LeafSum, beside| {
            let within = index - before.elements;
            if leaf.takes(element.len()) {
                return leaf.insert(Place::At(within), element);
            }
            // In front of this leaf, or of its second part.
            let new = ListLeaf::of_element(element, limits);
            if within > 0 {
                let mut first = std::mem::replace(leaf, ListLeaf::new(limits));
                *leaf = first.split_off(within);
                beside.before = Some(first);
                let rest = std::mem::replace(leaf, new);
                beside.after = Some(rest);
            } else {
                beside.before = Some(new);
            }
        });
        self.note_leaves();
    }

    fn replace(&mut self, index: usize, element: &[u8]) {
        let limits = self.limits;
        let is_long =
            |leaf: &ListLeaf| !ListLeaf::new(limits).takes(element.len()) || leaf.pack().is_none();
        let divides = self.tree.find(&mut at(index)).is_some_and(|(leaf, _)| is_long(leaf));
        if !divides {
            self.tree.change(&mut at(index), |leaf, before: &LeafSum, _| {
                leaf.replace(index - before.elements, element);
            });
            return self.note_leaves();
        }
        self.remove(index, 1);
        match index {
            0 => self.push(Side::Left, element),
            index if index >= self.tree.summary().elements => self.push(Side::Right, element),
            index => self.insert(index, element),
        }
    }

    fn remove(&mut self, index: usize, mut count: usize) {
        while count > 0 && index < self.tree.summary().elements {
            self.tree.change(&mut at(index), |leaf, before: &LeafSum, _| {
                let within = index - before.elements;
                let here = count.min(leaf.len() - within);
                leaf.remove(within, here);
                count -= here;
            });
        }
    }
}
