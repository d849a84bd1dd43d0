//! The RDB loader: all splits of a file give the same content and error; loaded content can be saved
//! and loaded again; and (for every other size of pieces) a node that starts with the file contains
//! its data.
//!
//! Byte 0 is the size of the pieces, byte 1 selects the header. EOF and a valid checksum are appended,
//! so that the fuzzer works on the content. One header in sixteen leaves the bytes unchanged.
#![no_main]

use russet_engine::persist::rdb_save::RdbEncoder;
use russet_engine::rdb::RdbSettings;
use russet_engine::rdb::chunk::{Chunk, ChunkValue};
use russet_engine::types::string::KIND_RAW;
use russet_fuzz::rdb::{Entry, held, is_permanent, load, mended};
use russet_fuzz::world::World;

fn save(entries: &[Entry]) -> Vec<u8> {
    let mut encoder = RdbEncoder::new(RdbSettings::default());
    let mut out = Vec::new();
    encoder.begin(&[], &mut out);
    for (db, key, value, expiry, access) in entries {
        let mut chunk = Chunk::new(*db, 0);
        chunk.push_with_access(KIND_RAW, key, *expiry, *access, ChunkValue::Bytes(value));
        encoder.chunk(&chunk, &mut out);
    }
    encoder.finish(&mut out);
    out
}

/// Starts a node with the file, and checks that it contains the file's keys unless some are expired,
/// or exits.
fn start_with(file: Vec<u8>) {
    let (recorder, end) = load(&file, file.len().max(1));
    let world = World::new(1, Some(file), |_| {});
    if world.has_exited() {
        return;
    }
    assert!(end.is_ok(), "an invalid file was loaded: {end:?}");
    let now_ms = world.driver.now.wall_ms();
    // An expired key is left out, so an earlier one of the same name may count.
    let stay = recorder.entries.iter().all(|entry| entry.3.is_none_or(|at| at > now_ms));
    if stay && is_permanent(&recorder.data, now_ms) {
        assert!(recorder.data == held(&world.driver.node), "the file's data and no other");
    }
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
    if step % 2 == 1 {
        start_with(file);
    }
    let again = save(&loaded.entries);
    let (reloaded, end) = load(&again, again.len());
    assert_eq!((reloaded.entries, end), (loaded.entries, Ok(again.len())));
});
