//! Dump files: what a loader finds in one, and bytes that look like one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use russet_engine::Node;
use russet_engine::persist::rdb_load::{Fed, LoadSettings, RdbLoader, RdbSink, Refusal};
use russet_engine::rdb::Access;
use russet_engine::rdb::elements::{Element, Head};
use russet_engine::rdb::error::RdbError;
use russet_engine::rdb::format::Checksum;
use russet_engine::types::digest::Digest;
use russet_engine::types::string::Text;
use russet_engine::types::{RdbForm, ValueRef, type_of};

/// The byte of strings in files.
const STRING: u8 = 0;

/// A key of a file: database, name, value, expiry, what is known of its use.
pub type Entry = (u32, Vec<u8>, Vec<u8>, Option<i64>, Access);

/// Keys by database and name, with value and expiry.
pub type Data = BTreeMap<(u32, Vec<u8>), (Vec<u8>, Option<i64>)>;

/// Writes down what a loader finds.
#[derive(Default, PartialEq, Debug)]
pub struct Recorder {
    db: u32,
    /// Keys in the file's order.
    pub entries: Vec<Entry>,
    /// Names and values of what else there is.
    pub others: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys that have a collection somewhere in the file.
    collections: BTreeSet<(u32, Vec<u8>)>,
    /// The collection that has begun: its elements one behind another.
    open: Option<Entry>,
}

impl Recorder {
    /// Whether a node holds the file's strings and no others. The last key of a name counts.
    pub fn strings_are_in(&self, mut held: Data) -> bool {
        let entries = self.entries.iter().cloned();
        let mut strings: Data =
            entries.map(|(db, key, value, expiry, _)| ((db, key), (value, expiry))).collect();
        for data in [&mut strings, &mut held] {
            data.retain(|place, _| !self.collections.contains(place));
        }
        strings == held
    }
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
        if form.code != STRING {
            self.collections.insert((self.db, key.to_vec()));
        }
        self.entries.push((self.db, key.to_vec(), bytes.into_owned(), expiry, access));
        Ok(())
    }

    fn begin(
        &mut self,
        key: &[u8],
        _form: &'static RdbForm,
        _head: Head,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal> {
        assert!(self.open.is_none(), "one at a time");
        self.collections.insert((self.db, key.to_vec()));
        self.open = Some((self.db, key.to_vec(), Vec::new(), expiry, access));
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Refusal> {
        let (_, _, value, ..) = self.open.as_mut().expect("an element of what has begun");
        for part in [element.name, element.value, &element.expiry.unwrap_or(-1).to_le_bytes()] {
            value.extend_from_slice(&(part.len() as u64).to_le_bytes());
            value.extend_from_slice(part);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        self.entries.push(self.open.take().expect("the end of what has begun"));
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
            let value = match Text::of(&entry) {
                Some(text) => text.bytes().to_vec(),
                None => {
                    let mut digest = Digest::default();
                    (type_of(entry.kind()).digest)(&mut digest, entry.kind(), ValueRef::of(&entry));
                    format!("{digest:?}").into_bytes()
                }
            };
            let twice = data.insert((number, entry.key().to_vec()), (value, entry.expiry()));
            assert_eq!(twice, None, "a key stands once in its database");
        });
        assert_eq!((db.len(), db.len_with_expiry()), (keys, expiring), "of database {number}");
    }
    data
}
