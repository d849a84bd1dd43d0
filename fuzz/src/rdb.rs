//! Dump files: what a loader finds in one, and bytes that look like one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use russet_ds::listpack::{self, Digits, Element as Stored};
use russet_ds::{intset, ziplist, zipmap};
use russet_engine::Node;
use russet_engine::persist::rdb_load::{Fed, LoadSettings, RdbLoader, RdbSink, Refusal};
use russet_engine::rdb::Access;
use russet_engine::rdb::elements::{Element, Head};
use russet_engine::rdb::error::RdbError;
use russet_engine::rdb::format::Checksum;
use russet_engine::types::RdbForm;
use russet_engine::types::double;
use russet_engine::types::hash::HashRef;
use russet_engine::types::list::ListRef;
use russet_engine::types::set::SetRef;
use russet_engine::types::stream::{Stream, StreamId};
use russet_engine::types::string::Text;
use russet_engine::types::zset::ZsetRef;

/// A key of a file: database, name, value, expiry, what is known of its use.
pub type Entry = (u32, Vec<u8>, Vec<u8>, Option<i64>, Access);

/// A value, whatever form it has in a file or a node.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// The bytes of a string.
    String(Vec<u8>),
    /// A hash.
    Hash(Fields),
    /// A list.
    List(Vec<Vec<u8>>),
    /// A set.
    Set(BTreeSet<Vec<u8>>),
    /// The entries of a stream: names and values in turn.
    Stream(Vec<(StreamId, Vec<Vec<u8>>)>),
    /// Members with the bits of their scores.
    Zset(BTreeMap<Vec<u8>, u64>),
}

impl Value {
    /// Whether it is a collection without elements.
    fn is_empty(&self) -> bool {
        match self {
            // A stream stays without entries.
            Value::String(_) | Value::Stream(_) => false,
            Value::Hash(fields) => fields.is_empty(),
            Value::List(elements) => elements.is_empty(),
            Value::Set(members) => members.is_empty(),
            Value::Zset(members) => members.is_empty(),
        }
    }
}

/// Fields by name, with value and expiry.
pub type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

/// Keys by database and name, with value and expiry.
pub type Data = BTreeMap<(u32, Vec<u8>), (Value, Option<i64>)>;

/// Whether no key and no field expires by a time.
pub fn is_permanent(data: &Data, now_ms: i64) -> bool {
    let stays = |expiry: Option<i64>| expiry.is_none_or(|at| at > now_ms);
    data.values().all(|(value, expiry)| {
        let fields_stay = match value {
            Value::String(_)
            | Value::List(_)
            | Value::Set(_)
            | Value::Zset(_)
            | Value::Stream(_) => true,
            Value::Hash(fields) => fields.values().all(|(_, expiry)| stays(*expiry)),
        };
        stays(*expiry) && fields_stay
    })
}

/// Writes down what a loader finds.
#[derive(Default, PartialEq, Debug)]
pub struct Recorder {
    db: u32,
    /// Keys in the file's order.
    pub entries: Vec<Entry>,
    /// Names and values of what else there is.
    pub others: Vec<(Vec<u8>, Vec<u8>)>,
    /// The data. The last key of a name counts. Values that no node accepts are left out.
    pub data: Data,
    /// The collection that has begun.
    open: Option<Open>,
}

/// A collection whose elements come one by one.
#[derive(PartialEq, Debug)]
struct Open {
    /// Its elements one behind another.
    entry: Entry,
    /// Its form.
    code: u8,
    elements: Vec<(Vec<u8>, Vec<u8>, Option<i64>)>,
}

impl Open {
    /// Its value; none if an element is malformed.
    fn value(&self) -> Option<Value> {
        let names = || self.elements.iter().map(|(name, ..)| name.clone());
        Some(match self.code {
            1 | 14 | 18 => {
                let mut list = Vec::new();
                for (name, value, _) in &self.elements {
                    list.extend(leaf_of(self.code, name, value)?);
                }
                Value::List(list)
            }
            2 => Value::Set(names().collect()),
            15 | 19 | 21 => Value::Stream(self.entries()?),
            3 | 5 => {
                let mut members = BTreeMap::new();
                for (name, value, _) in &self.elements {
                    let score = match self.code {
                        3 => double::parse(value)?,
                        _ => f64::from_le_bytes(value.as_slice().try_into().ok()?),
                    };
                    members.insert(name.clone(), score.to_bits());
                }
                Value::Zset(members)
            }
            _ => {
                let fields = self.elements.iter().cloned();
                Value::Hash(fields.map(|(name, value, expiry)| (name, (value, expiry))).collect())
            }
        })
    }
}

impl Open {
    /// The entries of a stream, whose parts are IDs and nodes among others.
    fn entries(&self) -> Option<Vec<(StreamId, Vec<Vec<u8>>)>> {
        let (mut id, mut entries) = (StreamId::MIN, Vec::new());
        for (name, value, _) in &self.elements {
            match **name {
                [0] => id = StreamId::from_bytes(value.as_slice().try_into().ok()?),
                [1] => entries.extend(node_of(id, value)?),
                _ => {}
            }
        }
        Some(entries)
    }
}

/// The entries in a node of a stream.
fn node_of(id: StreamId, bytes: &[u8]) -> Option<Vec<(StreamId, Vec<Vec<u8>>)>> {
    listpack::check(bytes).ok()?;
    let mut elements = listpack::iter(bytes).map(|(_, element)| element.to_text().into_owned());
    let number = |text: Vec<u8>| std::str::from_utf8(&text).ok()?.parse::<i64>().ok();
    let (live, deleted) = (number(elements.next()?)?, number(elements.next()?)?);
    let count = number(elements.next()?)?;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(elements.next()?);
    }
    elements.next()?;
    let mut entries = Vec::new();
    for _ in 0..live.checked_add(deleted)? {
        let flags = number(elements.next()?)?;
        let (ms, seq) = (number(elements.next()?)?, number(elements.next()?)?);
        let mut fields = Vec::new();
        if flags & 2 != 0 {
            for name in &names {
                fields.extend([name.clone(), elements.next()?]);
            }
        } else {
            for _ in 0..number(elements.next()?)?.checked_mul(2)? {
                fields.push(elements.next()?);
            }
        }
        elements.next()?;
        if flags & 1 == 0 {
            let ms = id.ms.wrapping_add(ms as u64);
            entries.push((StreamId { ms, seq: id.seq.wrapping_add(seq as u64) }, fields));
        }
    }
    Some(entries)
}

/// The elements in a node of a list.
fn leaf_of(code: u8, name: &[u8], bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut texts = Vec::new();
    let mut push = |element: Stored<'_>| texts.push(element.to_text().into_owned());
    match (code, name) {
        (14, _) => ziplist::each(bytes, &mut push).ok()?,
        (18, [2]) => {
            listpack::check(bytes).ok()?;
            listpack::iter(bytes).for_each(|(_, element)| push(element));
        }
        (1, _) | (18, [1]) => push(Stored::Text(bytes)),
        _ => return None,
    }
    Some(texts)
}

impl Recorder {
    fn insert(&mut self, key: &[u8], value: Value, expiry: Option<i64>) {
        // Loaders leave them out.
        if !value.is_empty() {
            self.data.insert((self.db, key.to_vec()), (value, expiry));
        }
    }
}

/// The value that is one string in a file; none if it is malformed.
fn value_of(code: u8, bytes: &[u8]) -> Option<Value> {
    let mut texts = Vec::new();
    let mut push = |element: Stored<'_>| texts.push(element.text(&mut Digits::default()).to_vec());
    let elements = match code {
        0 => return Some(Value::String(bytes.to_vec())),
        10 => return leaf_of(14, b"", bytes).map(Value::List),
        11 => {
            intset::check(bytes).ok()?;
            let members = intset::iter(bytes).map(|member| member.to_string().into_bytes());
            return Some(Value::Set(members.collect()));
        }
        20 => {
            return leaf_of(18, &[2], bytes)
                .map(|members| Value::Set(members.into_iter().collect()));
        }
        12 | 17 => {
            let texts =
                if code == 12 { leaf_of(14, b"", bytes) } else { leaf_of(18, &[2], bytes) }?;
            let mut members = BTreeMap::new();
            for pair in texts.chunks(2) {
                let score = double::parse(pair.get(1)?)?;
                members.insert(pair[0].clone(), score.to_bits());
            }
            return Some(Value::Zset(members));
        }
        9 => {
            let mut push = |name: &[u8], value: &[u8]| {
                texts.extend([name.to_vec(), value.to_vec()]);
            };
            zipmap::each(bytes, &mut push).ok()?;
            2
        }
        13 => {
            ziplist::each(bytes, &mut push).ok()?;
            2
        }
        16 | 23 | 25 => {
            listpack::check(bytes).ok()?;
            listpack::iter(bytes).for_each(|(_, element)| push(element));
            if code == 16 { 2 } else { 3 }
        }
        _ => return None,
    };
    let mut fields = Fields::new();
    for field in texts.chunks(elements).filter(|field| field.len() == elements) {
        let expiry = field.get(2).map(|text| String::from_utf8_lossy(text).parse::<i64>());
        let expiry = expiry.transpose().ok()?.filter(|&at| at != 0);
        fields.insert(field[0].clone(), (field[1].clone(), expiry));
    }
    Some(Value::Hash(fields))
}

impl RdbSink for Recorder {
    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.others.push((name.to_vec(), value.to_vec()));
        Ok(())
    }

    fn select(&mut self, db: u64) -> Result<(), Refusal> {
        self.db = u32::try_from(db).map_err(|_| Refusal(format!("no database {db}")))?;
        Ok(())
    }

    fn resize(&mut self, keys: u64, expires: u64) -> Result<(), Refusal> {
        self.others.push((keys.to_le_bytes().to_vec(), expires.to_le_bytes().to_vec()));
        Ok(())
    }

    fn value(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        bytes: Cow<'_, [u8]>,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal> {
        if let Some(value) = value_of(form.code, &bytes) {
            self.insert(key, value, expiry);
        }
        self.entries.push((self.db, key.to_vec(), bytes.into_owned(), expiry, access));
        Ok(())
    }

    fn begin(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        _head: Head,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal> {
        assert!(self.open.is_none(), "one at a time");
        let entry = (self.db, key.to_vec(), Vec::new(), expiry, access);
        self.open = Some(Open { entry, code: form.code, elements: Vec::new() });
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Refusal> {
        let Open { entry, elements, .. } =
            self.open.as_mut().expect("an element of what has begun");
        let Element { name, value, expiry } = element;
        for part in [name, value, &expiry.unwrap_or(-1).to_le_bytes()] {
            entry.2.extend_from_slice(&(part.len() as u64).to_le_bytes());
            entry.2.extend_from_slice(part);
        }
        elements.push((name.to_vec(), value.to_vec(), expiry));
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        let open = self.open.take().expect("the end of what has begun");
        let (_, key, _, expiry, _) = &open.entry;
        if let Some(value) = open.value() {
            self.insert(key, value, *expiry);
        }
        self.entries.push(open.entry);
        Ok(())
    }

    fn function(&mut self, library: &[u8]) -> Result<(), Refusal> {
        self.others.push((b"function".to_vec(), library.to_vec()));
        Ok(())
    }
}

/// Loads bytes in pieces of `step`: what was found, and how many bytes the file has or why it is none.
pub fn load(bytes: &[u8], step: usize) -> (Recorder, Result<usize, RdbError>) {
    let settings = LoadSettings { string_bytes_max: 1 << 20, checksum: true };
    let (mut loader, mut recorder, mut before) = (RdbLoader::new(settings), Recorder::default(), 0);
    for piece in bytes.chunks(step) {
        match loader.feed(piece, &mut recorder) {
            Ok(Fed::NeedMore) => before += piece.len(),
            Ok(Fed::Done { consumed }) => return (recorder, Ok(before + consumed)),
            Err(error) => return (recorder, Err(error)),
        }
        assert!(
            loader.buffered_bytes() <= 2 * before + 512,
            "memory for bytes that have not arrived"
        );
    }
    let end = loader.end().map(|()| before);
    (recorder, end)
}

/// Puts a header before the bytes, and EOF and the checksum that fits behind them. One header in sixteen leaves them as
/// they are.
pub fn mended(header: u8, body: &[u8]) -> Vec<u8> {
    let header = match header % 16 {
        0 => return body.to_vec(),
        1 => "VALKEY080".to_owned(),
        2 => "REDIS0004".to_owned(),
        version => format!("REDIS{:04}", version.min(14)),
    };
    let mut file = [header.as_bytes(), body, b"\xff"].concat();
    let mut checksum = Checksum::new();
    checksum.update(&file);
    file.extend_from_slice(&checksum.value().to_le_bytes());
    file
}

/// A payload of RESTORE: type and value, then the version, and the checksum that fits.
pub fn sealed(value: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [value, &version.to_le_bytes()].concat();
    let mut checksum = Checksum::new();
    checksum.update(&payload);
    payload.extend_from_slice(&checksum.value().to_le_bytes());
    payload
}

/// What a node holds, of collections their digests. Its counts are right, too.
pub fn held(node: &Node) -> Data {
    let mut data = Data::new();
    for (number, db) in node.data.dbs() {
        let (mut keys, mut expiring) = (0, 0);
        db.table().for_each(&mut |entry| {
            (keys, expiring) = (keys + 1, expiring + usize::from(entry.expiry().is_some()));
            let value = None
                .or_else(|| Text::of(&entry).map(|text| Value::String(text.bytes().to_vec())))
                .or_else(|| HashRef::of(&entry).map(|hash| Value::Hash(fields_of(hash))))
                .or_else(|| ListRef::of(&entry).map(|list| Value::List(elements_of(list))))
                .or_else(|| SetRef::of(&entry).map(|set| Value::Set(members_of(set))))
                .or_else(|| Stream::of(&entry).map(|stream| Value::Stream(entries_of(stream))))
                .or_else(|| ZsetRef::of(&entry).map(|zset| Value::Zset(scores_of(zset))))
                .expect("a value of a type");
            let twice = data.insert((number, entry.key().to_vec()), (value, entry.expiry()));
            assert_eq!(twice, None, "a key stands once in its database");
        });
        assert_eq!((db.len(), db.len_with_expiry()), (keys, expiring), "of database {number}");
    }
    data
}

fn elements_of(list: ListRef<'_>) -> Vec<Vec<u8>> {
    let mut elements = Vec::new();
    list.each(&mut |element| elements.push(element.to_text().into_owned()));
    assert_eq!(list.len(), elements.len());
    elements
}

fn entries_of(stream: &Stream) -> Vec<(StreamId, Vec<Vec<u8>>)> {
    let mut entries = Vec::new();
    stream.log.each(&mut |entry| {
        let fields = entry.fields().flat_map(|(name, value)| [name, value]);
        let fields = fields.map(|text| text.to_text().into_owned());
        entries.push((entry.id, fields.collect()));
    });
    assert_eq!(stream.log.len(), entries.len() as u64);
    assert!(entries.is_sorted_by(|(a, _), (b, _)| a < b), "entries are in order");
    entries
}

fn scores_of(zset: ZsetRef<'_>) -> BTreeMap<Vec<u8>, u64> {
    let mut members = BTreeMap::new();
    zset.each(&mut |member, score| {
        let twice = members.insert(member.to_text().into_owned(), score.to_bits());
        assert_eq!(twice, None, "a member stands once in its sorted set");
    });
    assert_eq!(zset.len(), members.len());
    members
}

fn members_of(set: SetRef<'_>) -> BTreeSet<Vec<u8>> {
    let mut members = BTreeSet::new();
    set.each(&mut |member| {
        assert!(members.insert(member.to_text().into_owned()), "a member stands once in its set");
    });
    assert_eq!(set.len(), members.len());
    members
}

fn fields_of(hash: HashRef<'_>) -> Fields {
    let mut fields = Fields::new();
    hash.each(&mut |field| {
        let value = (field.value_text().into_owned(), field.expiry);
        let twice = fields.insert(field.name_text().into_owned(), value);
        assert_eq!(twice, None, "a field stands once in its hash");
    });
    assert_eq!(hash.len(), fields.len());
    fields
}
