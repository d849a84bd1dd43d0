//! What a dump file or a full synchronization holds, as a model.
//!
//! The engine's loader takes the file apart; what it finds becomes values here, without the engine's types.

use std::borrow::Cow;
use std::sync::Arc;

use russet_engine::persist::rdb_load::{Fed, LoadSettings, RdbLoader, RdbSink, Refusal};
use russet_engine::rdb::Access;
use russet_engine::rdb::elements::{Element, Head};
use russet_engine::types::RdbForm;

use crate::listpack;
use crate::model::hash::Hash;
use crate::model::set::Set;
use crate::model::stream::Reader;
use crate::model::zset::Zset;
use crate::model::{Model, Value};
use crate::resp::parse_command;

/// A form in which files hold values.
struct Form {
    /// The byte that stands before it.
    code: u8,
    /// The oldest version of files that know it.
    version: u32,
    /// Makes a value of what stands there.
    read: Read,
}

enum Read {
    /// Of one string.
    Bytes(fn(&[u8]) -> Result<Value, String>),
    /// Of elements that come one by one, of this collection.
    Elements(fn() -> Value),
    /// Of the parts of a stream.
    Parts,
}

/// All forms that the nodes write.
const FORMS: &[Form] = &[
    Form { code: 0, version: 1, read: Read::Bytes(|bytes| Ok(Value::String(bytes.to_vec()))) },
    Form { code: 2, version: 1, read: Read::Elements(|| Value::Set(Arc::default())) },
    Form { code: 4, version: 1, read: Read::Elements(|| Value::Hash(Arc::default())) },
    Form { code: 5, version: 8, read: Read::Elements(|| Value::Zset(Arc::default())) },
    Form { code: 11, version: 2, read: Read::Bytes(set_of_integers) },
    Form { code: 16, version: 10, read: Read::Bytes(|bytes| hash_of(bytes, 2)) },
    Form { code: 17, version: 10, read: Read::Bytes(zset_of) },
    Form { code: 18, version: 10, read: Read::Elements(|| Value::List(Arc::default())) },
    Form { code: 19, version: 10, read: Read::Parts },
    Form { code: 24, version: 12, read: Read::Elements(|| Value::Hash(Arc::default())) },
    Form { code: 25, version: 12, read: Read::Bytes(|bytes| hash_of(bytes, 3)) },
];

/// The hash in a listpack, which has so many elements for each field.
fn hash_of(bytes: &[u8], elements: usize) -> Result<Value, String> {
    let mut hash = Hash::default();
    let (mut latest, list) = (0, listpack::read(bytes)?);
    for field in list.chunks(elements) {
        if field.len() < elements {
            return Err("half a field".to_owned());
        }
        let mut expiry = None;
        if let Some(text) = field.get(2).filter(|text| *text != b"0") {
            let text = String::from_utf8_lossy(text);
            let at = text.parse::<i64>().map_err(|_| format!("{text} is no time"))?;
            expiry = Some(at);
        }
        // Those that expire first come first.
        let order = expiry.unwrap_or(i64::MAX);
        if order < latest && elements > 2 {
            return Err("fields that are not in the order of their expiries".to_owned());
        }
        latest = order;
        add(&mut hash, &field[0], &field[1], expiry)?;
    }
    whole(hash)
}

fn add(hash: &mut Hash, name: &[u8], value: &[u8], expiry: Option<i64>) -> Result<(), String> {
    if hash.set(name, value, expiry) { Ok(()) } else { Err("a field twice".to_owned()) }
}

fn whole(hash: Hash) -> Result<Value, String> {
    if hash.is_empty() {
        Err("a hash without fields".to_owned())
    } else {
        Ok(Value::Hash(Arc::new(hash)))
    }
}

/// The set in a sorted array of integers, behind their width and their number.
fn set_of_integers(bytes: &[u8]) -> Result<Value, String> {
    let (head, integers) = bytes.split_at_checked(8).ok_or("half a head")?;
    let width = usize::from(head[0]);
    let count = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    if ![2, 4, 8].contains(&width) || count == 0 || integers.len() != count * width {
        return Err(format!("{count} integers of {width} bytes in {}", integers.len()));
    }
    let mut latest = None;
    let mut set = Set::new();
    for integer in integers.chunks(width) {
        let mut wide = [if integer[width - 1] < 0x80 { 0 } else { 0xff }; 8];
        wide[..width].copy_from_slice(integer);
        let integer = i64::from_le_bytes(wide);
        if latest.is_some_and(|latest| latest >= integer) {
            return Err("integers that are not in order".to_owned());
        }
        latest = Some(integer);
        set.insert(integer.to_string().into_bytes());
    }
    Ok(Value::Set(Arc::new(set)))
}

/// The sorted set in a listpack of members and scores.
fn zset_of(bytes: &[u8]) -> Result<Value, String> {
    let elements = listpack::read(bytes)?;
    let (mut zset, mut latest) = (Zset::new(), None);
    for pair in elements.chunks(2) {
        let [member, score] = pair else { return Err("a member without a score".to_owned()) };
        let score = std::str::from_utf8(score).ok().and_then(|text| text.parse::<f64>().ok());
        let score = score.filter(|score| !score.is_nan()).ok_or("a score that is no number")?;
        if latest.is_some_and(|latest| latest >= (score, member)) {
            return Err("members that are not in order".to_owned());
        }
        latest = Some((score, member));
        zset.insert(member.clone(), score.to_bits());
    }
    if zset.is_empty() || zset.len() * 2 != elements.len() {
        return Err(format!("{} members of {} elements", zset.len(), elements.len()));
    }
    Ok(Value::Zset(Arc::new(zset)))
}

/// Adds what a file calls an element: a field, a member, or a node of a list.
fn add_element(value: &mut Value, element: Element<'_>) -> Result<(), String> {
    let Element { name, value: bytes, expiry } = element;
    match value {
        Value::Hash(hash) => add(Arc::make_mut(hash), name, bytes, expiry),
        Value::Set(set) => match Arc::make_mut(set).insert(name.to_vec()) {
            true => Ok(()),
            false => Err("a member twice".to_owned()),
        },
        Value::List(list) => {
            let list = Arc::make_mut(list);
            match name {
                [1] => list.push(bytes.to_vec()),
                [2] => list.extend(listpack::read(bytes)?),
                _ => return Err(format!("a node of kind {name:?}")),
            }
            Ok(())
        }
        Value::Zset(zset) => {
            let score = bytes.try_into().map_err(|_| "a score that has not eight bytes")?;
            match Arc::make_mut(zset).insert(name.to_vec(), u64::from_le_bytes(score)) {
                None => Ok(()),
                Some(_) => Err("a member twice".to_owned()),
            }
        }
        Value::String(_) | Value::Stream(_) => Err("an element of a string".to_owned()),
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Content {
    /// Its data.
    pub model: Model,
    /// It says where it stands in a history.
    pub has_place: bool,
    /// Collections that come element by element: those that a walk went through in slices.
    pub large: u64,
    version: u32,
    db: u32,
    open: Option<Open>,
}

/// A collection whose elements come.
#[derive(Debug)]
struct Open {
    key: Vec<u8>,
    expiry: Option<i64>,
    head: Head,
    value: Value,
    elements: u64,
    /// Of a stream, what was said of the next part.
    reader: Reader,
}

impl Content {
    fn form(&self, form: &RdbForm) -> Result<&'static Form, Refusal> {
        let known = FORMS.iter().find(|known| known.code == form.code);
        let known = known.ok_or_else(|| Refusal(format!("no model for {form:?}")))?;
        if known.version > self.version {
            let version = self.version;
            return Err(Refusal(format!("{form:?} in a file of version {version}")));
        }
        Ok(known)
    }

    fn insert(&mut self, key: &[u8], value: Value, expiry: Option<i64>) -> Result<(), Refusal> {
        if self.model.contains(self.db, key) {
            return Err(Refusal("a key twice".to_owned()));
        }
        self.model.insert(self.db, key, value, expiry);
        Ok(())
    }
}

impl RdbSink for Content {
    fn aux(&mut self, name: &[u8], _value: &[u8]) -> Result<(), Refusal> {
        self.has_place |= name == b"repl-id";
        Ok(())
    }

    fn select(&mut self, db: u64) -> Result<(), Refusal> {
        self.db = db as u32;
        Ok(())
    }

    fn resize(&mut self, _keys: u64, _expires: u64) -> Result<(), Refusal> {
        Ok(())
    }

    fn value(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        bytes: Cow<'_, [u8]>,
        expiry: Option<i64>,
        _access: Access,
    ) -> Result<(), Refusal> {
        let Read::Bytes(read) = self.form(form)?.read else {
            return Err(Refusal(format!("{form:?} in one piece")));
        };
        let value = read(&bytes).map_err(Refusal)?;
        self.insert(key, value, expiry)
    }

    fn begin(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        head: Head,
        expiry: Option<i64>,
        _access: Access,
    ) -> Result<(), Refusal> {
        let value = match self.form(form)?.read {
            Read::Elements(fresh) => fresh(),
            Read::Parts => Value::Stream(Arc::default()),
            Read::Bytes(_) => return Err(Refusal(format!("{form:?} in pieces"))),
        };
        self.large += 1;
        let (key, reader) = (key.to_vec(), Reader::default());
        match self.open.replace(Open { key, expiry, head, value, elements: 0, reader }) {
            None => Ok(()),
            Some(_) => Err(Refusal("a collection within another".to_owned())),
        }
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Refusal> {
        let Some(open) = &mut self.open else {
            return Err(Refusal("an element of nothing".to_owned()));
        };
        let expiry = element.expiry;
        if expiry.is_some_and(|at| open.head.earliest.is_none_or(|earliest| at < earliest)) {
            return Err(Refusal("an element that expires before the earliest".to_owned()));
        }
        if let Value::Stream(stream) = &mut open.value {
            let stream = Arc::make_mut(stream);
            return open.reader.part(stream, element.name, element.value).map_err(Refusal);
        }
        open.elements += 1;
        add_element(&mut open.value, element).map_err(Refusal)
    }

    fn end(&mut self) -> Result<(), Refusal> {
        let Some(Open { key, expiry, head, value, elements, reader }) = self.open.take() else {
            return Err(Refusal("the end of nothing".to_owned()));
        };
        if !reader.is_whole() {
            return Err(Refusal("what is pending for nobody".to_owned()));
        }
        if elements != head.count {
            return Err(Refusal(format!("{elements} of {} elements", head.count)));
        }
        if value.is_empty() {
            return Err(Refusal("a collection without elements".to_owned()));
        }
        self.insert(&key, value, expiry)
    }
}

/// Reads commands, between which lines begin with `#`, into a model.
fn decode_commands(bytes: &[u8]) -> Result<Content, String> {
    let (mut content, mut at) = (Content::default(), 0);
    while at < bytes.len() {
        if bytes[at] == b'#' {
            let line = bytes[at..].iter().position(|&byte| byte == b'\n');
            at += line.ok_or("half a line")? + 1;
            continue;
        }
        let (args, used) = parse_command(&bytes[at..])?.ok_or("half a command")?;
        content.model.apply(&args)?;
        at += used;
    }
    Ok(content)
}

/// Reads a whole file into a model.
pub fn decode(bytes: &[u8]) -> Result<Content, String> {
    if !bytes.starts_with(b"REDIS") {
        return decode_commands(bytes);
    }
    let version = bytes.get(5..9).and_then(|digits| std::str::from_utf8(digits).ok());
    let version = version.and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let mut content = Content { version, ..Content::default() };
    let mut loader = RdbLoader::new(LoadSettings::default());
    match loader.feed(bytes, &mut content) {
        Ok(Fed::Done { consumed }) if consumed == bytes.len() => Ok(content),
        Ok(_) => Err(format!("its end is not at its end: {:?}", loader.end())),
        Err(error) => Err(error.to_string()),
    }
}
