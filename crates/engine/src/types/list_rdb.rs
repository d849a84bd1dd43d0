//! Lists in RDB files.
//!
//! ```text
//!   1      count element*
//!   10     a string: ziplist
//!   14     count ziplist*
//!   18     count (1 element | 2 listpack)*
//! ```

use std::borrow::Cow;

use russet_ds::SharedBytes;
use russet_ds::listpack::{self, Element as Member};

use super::form::listpack_of_ziplist;
use super::list::{List, ListMut, Side};
use super::list_leaf::Content;
use super::{Build, BuildContext, Editable, Invalid, RdbForm, Read, StoredElement, Value};
use crate::rdb::elements::{Element, Head};
use crate::rdb::fields::{Parsed, Stored};
use crate::rdb::format;
use crate::rdb::strings::StringWriter;

pub const QUICKLIST_2: u8 = 18;

/// The name of a leaf that is a long element: the number of such a node in form 18.
pub const PLAIN: u8 = 1;

/// The name of a leaf that is a listpack.
pub const PACKED: u8 = 2;

/// The name of an element alone, in form 1.
const ELEMENT: u8 = 0;

/// The name of a ziplist, in form 14.
const ZIPLIST: u8 = 3;

pub const FORMS: &[RdbForm] = &[
    RdbForm { code: 1, flavour: None, name: "plain list", read: nodes(ELEMENT) },
    RdbForm {
        code: 10,
        flavour: None,
        name: "ziplist",
        read: Read::String { skip: 0, decode: decode_ziplist },
    },
    RdbForm { code: 14, flavour: None, name: "ziplist quicklist", read: nodes(ZIPLIST) },
    RdbForm {
        code: QUICKLIST_2,
        flavour: None,
        name: "listpack quicklist",
        read: Read::Elements {
            head: |fields| Ok(Head::of(fields.length()?)),
            element: |_, fields| {
                let name: &'static [u8] = match fields.length()? {
                    1 => &[PLAIN],
                    2 => &[PACKED],
                    // Refused when it is added.
                    _ => &[],
                };
                stored(name, fields.string()?)
            },
            begin,
        },
    },
];

const fn nodes(name: u8) -> Read {
    Read::Elements {
        head: |fields| Ok(Head::of(fields.length()?)),
        element: match name {
            ZIPLIST => |_, fields| stored(&[ZIPLIST], fields.string()?),
            _ => |_, fields| stored(&[ELEMENT], fields.string()?),
        },
        begin,
    }
}

fn stored<'a>(name: &'static [u8], value: Stored<'a>) -> Parsed<StoredElement<'a>> {
    Ok(StoredElement { name: Stored::Plain(name), value, expiry: None })
}

/// A list being built.
#[derive(Debug)]
struct Building(ListMut<'static>);

fn begin(_head: &Head, context: &BuildContext<'_>) -> Box<dyn Build> {
    Box::new(Building(List::empty(context)))
}

impl Build for Building {
    fn element(&mut self, element: Element<'_>) -> Result<(), Invalid> {
        let Building(list) = self;
        match *element.name {
            [ELEMENT] => {
                list.prepare(std::iter::once(element.value));
                list.push(Side::Right, element.value);
            }
            [PLAIN] => list.push_leaf(Content::Long(SharedBytes::new(element.value))),
            // Old servers have left some without elements.
            [PACKED] if listpack::check(element.value)? == 0 => {}
            [PACKED] => list.push_leaf(Content::Pack(element.value.to_vec())),
            [ZIPLIST] => {
                let bytes = listpack_of_ziplist(element.value)?;
                if !listpack::is_empty(&bytes) {
                    list.push_leaf(Content::Pack(bytes));
                }
            }
            _ => return Err(Invalid::Malformed),
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Value<'static>, Invalid> {
        self.0.settle();
        List::into_value(self.0).ok_or(Invalid::Empty)
    }
}

fn decode_ziplist<'a>(
    bytes: Cow<'a, [u8]>,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, Invalid> {
    let mut building = Building(List::empty(context));
    building.element(Element { name: &[ZIPLIST], value: &bytes, expiry: None })?;
    Box::new(building).finish()
}

/// Calls back for each element of a leaf.
pub fn each_member(leaf: &Element<'_>, sink: &mut dyn FnMut(Member<'_>)) {
    match *leaf.name {
        [PACKED] => listpack::iter(leaf.value).for_each(|(_, member)| sink(member)),
        _ => sink(Member::Text(leaf.value)),
    }
}

pub fn write_leaf(_head: &Head, leaf: &Element<'_>, strings: &mut StringWriter, out: &mut Vec<u8>) {
    format::put_len(leaf.name.first().map_or(0, |name| u64::from(*name)), out);
    strings.put(leaf.value, out);
}

/// Writes a listpack as the only leaf.
pub fn write_compact(bytes: &[u8], strings: &mut StringWriter, out: &mut Vec<u8>) {
    format::put_len(1, out);
    format::put_len(u64::from(PACKED), out);
    strings.put(bytes, out);
}
