//! The RDB loader: any bytes in any pieces give the same content and the same error, and what loads can be saved
//! and loaded again.
//!
//! Byte 0 is the size of the pieces, byte 1 the header that is put in front; then EOF and the checksum that fits are
//! put behind, so that the fuzzer works on what stands between. One header in sixteen leaves the bytes as they are.
#![no_main]

use russet_engine::persist::Access;
use russet_engine::persist::chunk::{Chunk, ChunkValue, Kind};
use russet_engine::persist::rdb_error::RdbError;
use russet_engine::persist::rdb_format::Checksum;
use russet_engine::persist::rdb_load::{
    Fed, LoadSettings, LoadedValue, RdbLoader, RdbSink, Refusal,
};
use russet_engine::persist::rdb_save::{RdbEncoder, RdbSettings};

type Entry = (u32, Vec<u8>, Vec<u8>, Option<i64>, Access);

#[derive(Default, PartialEq, Debug)]
struct Recorder {
    db: u32,
    entries: Vec<Entry>,
    others: Vec<(Vec<u8>, Vec<u8>)>,
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

    fn entry(
        &mut self,
        key: &[u8],
        value: LoadedValue<'_>,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal> {
        let LoadedValue::String(value) = value else { return Err(Refusal("a new type".into())) };
        self.entries.push((self.db, key.to_vec(), value.into_owned(), expiry, access));
        Ok(())
    }

    fn function(&mut self, library: &[u8]) -> Result<(), Refusal> {
        self.others.push((b"function".to_vec(), library.to_vec()));
        Ok(())
    }
}

fn load(bytes: &[u8], step: usize) -> (Recorder, Result<usize, RdbError>) {
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

fn save(entries: &[Entry]) -> Vec<u8> {
    let mut encoder = RdbEncoder::new(RdbSettings::default());
    let mut out = Vec::new();
    encoder.begin(&[], &mut out);
    for (db, key, value, expiry, access) in entries {
        let mut chunk = Chunk::new(*db, 0);
        chunk.push_with_access(Kind::String, key, *expiry, *access, ChunkValue::Bytes(value));
        encoder.chunk(&chunk, &mut out);
    }
    encoder.finish(&mut out);
    out
}

fn mended(header: u8, body: &[u8]) -> Vec<u8> {
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

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [step, header, body @ ..] = bytes else { return };
    let file = mended(*header, body);
    let (loaded, end) = load(&file, file.len().max(1));
    let pieces = load(&file, usize::from(*step).max(1));
    assert_eq!((&loaded, &end), (&pieces.0, &pieces.1));
    if let Err(error) = &end {
        assert!(!error.to_string().contains(['\r', '\n', '\0']), "{error:?} breaks the log");
        assert!(error.offset <= file.len() as u64);
    }
    let again = save(&loaded.entries);
    let (reloaded, end) = load(&again, again.len());
    assert_eq!((reloaded.entries, end), (loaded.entries, Ok(again.len())));
});
