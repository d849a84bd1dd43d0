//! A set being changed, in any form.
//!
//! A compact set is copied, changed and stored again; a table is changed in place, after copying pre-images for walks. A set
//! goes from an intset to a listpack or a table, and from a listpack to a table, as in Redis; never back, unless its members are
//! all put into a new one.

use russet_ds::hash::Seed;
use russet_ds::intset;
use russet_ds::listpack::{self, Digits, Element as Member};

use super::elements::Elements;
use super::set::{KIND_INTSET, KIND_LISTPACK, KIND_TABLE, Limits, NUMBER, Set, SetRef, find};
use super::walkers::Walkers;
use super::{BuildContext, Editable, Object, Value};
use crate::rng::Rng;

/// Maximum number of members to reserve memory for by a claim.
const ANNOUNCED_MAX: usize = 4096;

/// Upper bound of the size of an integer in a listpack in bytes.
const INTEGER_BYTES: usize = 10;

/// A set being changed.
#[derive(Debug)]
pub struct SetMut<'a> {
    state: State<'a>,
    limits: Limits,
    seed: Seed,
}

#[derive(Debug)]
enum State<'a> {
    Integers(Vec<u8>),
    Compact(Vec<u8>),
    /// It was compact or is being built.
    NewTable(Set),
    /// It is in its entry.
    Table(&'a mut Set, Walkers<'a>),
}

impl Editable for Set {
    const NUMBER: u8 = NUMBER;
    const REMOVAL: &'static [u8] = b"SREM";

    type Mut<'a> = SetMut<'a>;

    fn empty(context: &BuildContext<'_>) -> SetMut<'static> {
        let state = State::Integers(intset::EMPTY.to_vec());
        SetMut { state, limits: Limits::of(context.config), seed: context.seed }
    }

    fn copy_of(kind: u8, bytes: &[u8], context: &BuildContext<'_>) -> SetMut<'static> {
        let state = match kind {
            KIND_INTSET => State::Integers(bytes.to_vec()),
            _ => State::Compact(bytes.to_vec()),
        };
        SetMut { state, limits: Limits::of(context.config), seed: context.seed }
    }

    fn of_object<'a>(
        object: &'a mut Object,
        walkers: Walkers<'a>,
        context: &BuildContext<'_>,
    ) -> Option<SetMut<'a>> {
        let Object::Set(set) = object else { return None };
        let state = State::Table(set, walkers);
        Some(SetMut { state, limits: Limits::of(context.config), seed: context.seed })
    }

    fn is_empty(set: &SetMut<'_>) -> bool {
        set.is_empty()
    }

    fn into_value(set: SetMut<'static>) -> Option<Value<'static>> {
        if set.is_empty() {
            return None;
        }
        Some(match set.state {
            State::Integers(bytes) => Value::compact(KIND_INTSET, bytes),
            State::Compact(bytes) => Value::compact(KIND_LISTPACK, bytes),
            State::NewTable(set) => Value::large(KIND_TABLE, Object::Set(set)),
            State::Table(..) => unreachable!("a table in its entry does not live for ever"),
        })
    }
}

impl SetMut<'_> {
    /// Returns it as a borrowed set.
    pub fn view(&self) -> SetRef<'_> {
        match &self.state {
            State::Integers(bytes) => SetRef::Integers(bytes),
            State::Compact(bytes) => SetRef::Compact(bytes),
            State::NewTable(set) => SetRef::Table(set),
            State::Table(set, _) => SetRef::Table(set),
        }
    }

    /// Returns the number of members.
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Chooses the form for this number of members to be added, the first of which is given.
    pub fn prepare(&mut self, first: Member<'_>, members: usize) {
        let fits_compact = self.limits.allow_members(members);
        match &self.state {
            State::Integers(bytes) if intset::is_empty(bytes) => {
                let is_integer = matches!(first.canonical(), Member::Int(_));
                if is_integer && members <= self.limits.integers {
                    return;
                }
                match fits_compact {
                    true => self.state = State::Compact(listpack::EMPTY.to_vec()),
                    false => self.become_table(members),
                }
            }
            State::Integers(_) if members > self.limits.integers => self.become_table(members),
            State::Compact(_) if !fits_compact => self.become_table(members),
            _ => {}
        }
    }

    /// Converts it to a table if it cannot remain compact with this number of members, claimed by a file.
    pub fn announce(&mut self, members: u64) {
        let members = usize::try_from(members).unwrap_or(usize::MAX);
        if members > self.limits.integers && !self.limits.allow_members(members) {
            self.become_table(members);
        }
    }

    /// Adds a member. Returns false if it is there.
    pub fn add(&mut self, member: Member<'_>) -> bool {
        match &mut self.state {
            State::Integers(bytes) => match member.canonical() {
                Member::Int(value) => {
                    let is_new = intset::insert(bytes, value);
                    if is_new && intset::len(bytes) > self.limits.integers {
                        self.become_table(0);
                    }
                    return is_new;
                }
                Member::Text(_) => self.leave_intset(member),
            },
            State::Compact(bytes) => {
                if find(bytes, member).is_some() {
                    return false;
                }
                let members = listpack::len(bytes) + 1;
                let has_room = listpack::has_room(bytes, member.stored_bytes());
                if !has_room
                    || !self.limits.allow_members(members)
                    || !self.limits.allow_member(member)
                {
                    self.become_table(members);
                }
            }
            State::NewTable(_) | State::Table(..) => {}
        }
        let mut digits = Digits::default();
        let name = member.text(&mut digits);
        match &mut self.state {
            State::Compact(bytes) => listpack::append(bytes, member.canonical()),
            State::NewTable(set) => {
                return set.elements.set(name, b"", None, &mut Walkers::default());
            }
            // A member that is there is not replaced, which a walk would have to be told of.
            State::Table(set, walkers) => {
                return set.elements.get(name).is_none()
                    && set.elements.set(name, b"", None, walkers);
            }
            State::Integers(_) => unreachable!("it has become another form"),
        }
        true
    }

    /// Removes a member. Returns false if it is not there.
    pub fn remove(&mut self, member: Member<'_>) -> bool {
        let mut digits = Digits::default();
        let name = member.text(&mut digits);
        match &mut self.state {
            State::Integers(bytes) => match member.canonical() {
                Member::Int(value) => intset::remove(bytes, value),
                Member::Text(_) => false,
            },
            State::Compact(bytes) => {
                let found = find(bytes, member);
                if let Some(at) = found {
                    listpack::delete(bytes, at, 1);
                }
                found.is_some()
            }
            State::NewTable(set) => set.elements.remove(name, &mut Walkers::default()),
            State::Table(set, walkers) => {
                set.elements.get(name).is_some() && set.elements.remove(name, walkers)
            }
        }
    }

    /// Makes an intset a listpack, or a table, for a member that is no integer.
    fn leave_intset(&mut self, member: Member<'_>) {
        let State::Integers(integers) = &self.state else { return };
        let (limits, len) = (self.limits, intset::len(integers));
        let (first, last) =
            (intset::get(integers, 0), intset::get(integers, len.saturating_sub(1)));
        let ends = [first, last].into_iter().flatten().map(Member::Int);
        let bytes = len.saturating_mul(INTEGER_BYTES).saturating_add(member.stored_bytes());
        let stays_compact = limits.allow_members(len + 1)
            && limits.allow_member(member)
            && ends.into_iter().all(|end| limits.allow_member(end))
            && listpack::has_room(&listpack::EMPTY, bytes);
        if !stays_compact {
            return self.become_table(len + 1);
        }
        let mut compact = Vec::with_capacity(listpack::EMPTY.len() + bytes);
        compact.extend_from_slice(&listpack::EMPTY);
        for value in intset::iter(integers) {
            listpack::append(&mut compact, Member::Int(value));
        }
        self.state = State::Compact(compact);
    }

    /// Converts it to a table with memory for this number of members.
    fn become_table(&mut self, members: usize) {
        let mut elements = Elements::new(self.seed);
        elements.reserve(members.min(ANNOUNCED_MAX).max(self.len()));
        self.view().each(&mut |member| {
            elements.set(member.text(&mut Digits::default()), b"", None, &mut Walkers::default());
        });
        self.state = State::NewTable(Set { elements });
    }
}

impl SetMut<'_> {
    /// Removes this number of random members, or all, and returns their names.
    pub fn pop(&mut self, count: usize, rng: &mut Rng) -> Vec<Box<[u8]>> {
        let len = self.len();
        let count = count.min(len);
        let mut popped = Vec::with_capacity(count.min(ANNOUNCED_MAX));
        if matches!(self.view(), SetRef::Table(_)) {
            for _ in 0..count {
                let Some(member) = self.view().random(&mut || rng.draw()) else { break };
                let name = Box::from(&*member.to_text());
                self.remove(Member::Text(&name));
                popped.push(name);
            }
            return popped;
        }
        // A compact set is gone through once, whatever the count.
        let chosen = rng.choose(count, len);
        let mut rest = match &self.state {
            State::Integers(_) => State::Integers(intset::EMPTY.to_vec()),
            _ => State::Compact(listpack::EMPTY.to_vec()),
        };
        let mut index = 0;
        self.view().each(&mut |member| {
            match (chosen.contains(&index), &mut rest, member) {
                (true, ..) => popped.push(Box::from(&*member.to_text())),
                (false, State::Integers(bytes), Member::Int(value)) => {
                    intset::insert(bytes, value);
                }
                (false, State::Compact(bytes), member) => listpack::append(bytes, member),
                _ => unreachable!("an intset has integers, and tables are not gone through"),
            }
            index += 1;
        });
        self.state = rest;
        popped
    }
}
