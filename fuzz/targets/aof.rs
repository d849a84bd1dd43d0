//! The append-only file: manifest, reader and writer.
//!
//! Byte 0 selects what is fed. Manifests: any text; one with checksum, mended. Files: any bytes; or batches, whose lines are
//! mended, so that the fuzzer gets inside; or batches of which one bit is flipped.
//!
//! All splits of a file give the same commands and verdict, what is kept is good again, and can be continued.
#![no_main]

use russet_engine::persist::aof::batch::{BatchWriter, FileEnd, WriterSettings};
use russet_engine::persist::aof::manifest::{BaseFormat, Manifest};
use russet_engine::persist::aof::read::{AofReader, Step, Verdict};
use russet_fuzz::input::Input;

/// What a reader makes of a file.
#[derive(Debug, PartialEq)]
struct Reading {
    /// Offsets and bytes of commands.
    commands: Vec<(u64, Vec<u8>)>,
    verdict: Verdict,
    boundary: u64,
}

fn read(file: &[u8], piece: usize) -> (Reading, FileEnd) {
    let mut reader = AofReader::new(0, file.len() as u64);
    let mut commands = Vec::new();
    for mut input in file.chunks(piece.max(1)) {
        loop {
            match reader.next(&mut input) {
                Step::NeedMore => break,
                Step::Timestamp { .. } => {}
                Step::Command { offset, bytes, args } => {
                    assert!(!args.is_empty());
                    assert!(args.iter().all(|arg| arg.start <= arg.end && arg.end <= bytes.len()));
                    commands.push((offset, bytes.to_vec()));
                }
            }
        }
        assert!(input.is_empty());
        assert!(reader.buffered_bytes() <= 2 * file.len() + 64);
    }
    let (verdict, boundary, end) = (reader.end(), reader.boundary(), reader.file_end());
    (Reading { commands, verdict, boundary }, end)
}

fn manifest(text: &[u8]) {
    let Ok(mut manifest) = Manifest::parse(text) else { return };
    for checksum in [false, true] {
        assert_eq!(Manifest::parse(&manifest.format(checksum)).as_ref(), Ok(&manifest));
    }
    manifest.next_base("x", BaseFormat::Rdb);
    manifest.next_incremental("x");
    manifest.retire_incremental(1);
    // A name of the next files may be taken already.
    if let Ok(again) = Manifest::parse(&manifest.format(true)) {
        assert_eq!(again, manifest);
    }
}

/// Checks all about a file. Returns what it holds.
fn file(bytes: &[u8], piece: usize) -> Reading {
    let (whole, end) = read(bytes, bytes.len());
    assert_eq!(whole, read(bytes, piece).0);
    let kept = &bytes[..whole.boundary as usize];
    if whole.verdict == Verdict::Complete {
        assert_eq!(kept.len(), bytes.len());
    }
    let (again, _) = read(kept, kept.len());
    if !matches!(whole.verdict, Verdict::Corrupt(_)) {
        assert_eq!(again.verdict, Verdict::Complete);
        let before = whole.commands.iter().filter(|(at, _)| *at < whole.boundary);
        assert!(before.eq(&again.commands));
        let settings = WriterSettings { checksums: true, timestamps: true };
        let mut writer = BatchWriter::new(settings, end);
        writer.mark();
        let longer = [kept, &writer.take()].concat();
        assert_eq!(read(&longer, longer.len()).0.verdict, Verdict::Complete);
    }
    whole
}

/// Returns a file of batches with the fuzzer's bytes in them, whatever these are.
fn batches(input: &mut Input<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    let mut end = FileEnd::empty();
    while !input.is_empty() {
        let flags = input.byte();
        let settings = WriterSettings { checksums: flags & 7 != 0, timestamps: flags & 8 != 0 };
        let mut writer = BatchWriter::new(settings, end);
        writer.set_synced(if flags & 16 != 0 { file.len() as u64 } else { 0 });
        let effect = (u32::from(flags >> 6), input.blob());
        writer.effects(flags & 32 != 0, std::iter::once(effect), 1);
        file.extend(writer.take());
        end = writer.end();
    }
    file
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [mode, piece, rest @ ..] = bytes else { return };
    let piece = usize::from(*piece);
    match mode % 4 {
        0 => manifest(rest),
        1 => _ = file(rest, piece),
        2 => _ = file(&batches(&mut Input::new(rest)), piece),
        _ => {
            let mut input = Input::new(rest);
            let place = usize::from(u16::from_le_bytes([input.byte(), input.byte()]));
            let mut bytes = batches(&mut input);
            let good = file(&bytes, piece);
            if bytes.is_empty() || good.verdict != Verdict::Complete {
                return;
            }
            let at = place / 8 % bytes.len();
            bytes[at] ^= 1 << (place % 8);
            file(&bytes, piece);
        }
    }
});
