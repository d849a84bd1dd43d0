//! Sets in RDB files.
//!
//! ```text
//!   2         count member*
//!   11, 20    a string: intset, listpack
//! ```

use std::borrow::Cow;

use russet_ds::intset;
use russet_ds::listpack::{self, Digits, Element as Member};

use super::form::check_unique;
use super::set::{KIND_INTSET, KIND_LISTPACK, Limits, Set, SetMut, SetRef};
use super::{Build, BuildContext, Editable, Invalid, RdbForm, Read, StoredElement, Value};
use crate::rdb::elements::{Element, Head};
use crate::rdb::fields::Stored;
use crate::rdb::format;
use crate::rdb::strings::StringWriter;

pub const PLAIN: u8 = 2;
pub const INTSET: u8 = 11;

pub const FORMS: &[RdbForm] = &[
    RdbForm {
        code: PLAIN,
        flavour: None,
        name: "plain set",
        read: Read::Elements {
            head: |fields| Ok(Head::of(fields.length()?)),
            element: |_, fields| {
                let name = fields.string()?;
                Ok(StoredElement { name, value: Stored::Plain(b""), expiry: None })
            },
            begin: |head, context| {
                let mut set = Set::empty(context);
                set.announce(head.count);
                Box::new(Building(set))
            },
        },
    },
    RdbForm {
        code: INTSET,
        flavour: None,
        name: "intset",
        read: Read::String { skip: 0, decode: decode_integers },
    },
    RdbForm {
        code: 20,
        flavour: None,
        name: "listpack",
        read: Read::String { skip: 0, decode: decode_listpack },
    },
];

/// A set being built.
#[derive(Debug)]
struct Building(SetMut<'static>);

impl Build for Building {
    fn element(&mut self, element: Element<'_>) -> Result<(), Invalid> {
        if self.0.add(Member::Text(element.name)) { Ok(()) } else { Err(Invalid::Duplicate) }
    }

    fn finish(self: Box<Self>) -> Result<Value<'static>, Invalid> {
        Set::into_value(self.0).ok_or(Invalid::Empty)
    }
}

fn decode_integers<'a>(
    bytes: Cow<'a, [u8]>,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, Invalid> {
    match intset::check(&bytes)? {
        0 => Err(Invalid::Empty),
        len if len <= Limits::of(context.config).integers => Ok(Value::compact(KIND_INTSET, bytes)),
        _ => rebuild(SetRef::Integers(&bytes), context),
    }
}

/// A listpack that has more than the configured limits is put together anew, which finds members that are there twice. In one
/// within them they are few enough to be compared.
fn decode_listpack<'a>(
    bytes: Cow<'a, [u8]>,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, Invalid> {
    let limits = Limits::of(context.config);
    let len = listpack::check(&bytes)?;
    let set = SetRef::Compact(&bytes);
    let mut fits = limits.allow_members(len);
    set.each(&mut |member| fits &= limits.allow_member(member));
    if len == 0 {
        return Err(Invalid::Empty);
    }
    if !fits {
        return rebuild(set, context);
    }
    check_unique(listpack::iter(&bytes).map(|(_, member)| member))?;
    Ok(Value::compact(KIND_LISTPACK, bytes))
}

fn rebuild(set: SetRef<'_>, context: &BuildContext<'_>) -> Result<Value<'static>, Invalid> {
    let mut building = Set::empty(context);
    building.announce(set.len() as u64);
    let mut is_unique = true;
    set.each(&mut |member| is_unique &= building.add(member));
    if !is_unique {
        return Err(Invalid::Duplicate);
    }
    Set::into_value(building).ok_or(Invalid::Empty)
}

pub fn write_element(
    _head: &Head,
    element: &Element<'_>,
    strings: &mut StringWriter,
    out: &mut Vec<u8>,
) {
    strings.put(element.name, out);
}

/// Writes a listpack as a plain set.
pub fn write_members(bytes: &[u8], strings: &mut StringWriter, out: &mut Vec<u8>) {
    format::put_len(listpack::len(bytes) as u64, out);
    for (_, member) in listpack::iter(bytes) {
        strings.put(member.text(&mut Digits::default()), out);
    }
}
