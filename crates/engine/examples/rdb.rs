//! Writes, reads and benchmarks RDB files.
//!
//! ```text
//! cargo run --release -p russet-engine --example rdb -- write dump.rdb
//! cargo run --release -p russet-engine --example rdb -- read dump.rdb
//! cargo run --release -p russet-engine --example rdb -- bench
//! ```
#![allow(clippy::disallowed_methods, reason = "a tool with files and a clock, not the engine")]

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use russet_ds::SharedBytes;
use russet_engine::persist::rdb_load::{Fed, LoadSettings, RdbLoader, RdbSink, Refusal};
use russet_engine::persist::rdb_save::RdbEncoder;
use russet_engine::rdb::chunk::{Chunk, ChunkValue};
use russet_engine::rdb::elements::{Element, Head};
use russet_engine::rdb::{Access, RdbSettings};
use russet_engine::types::RdbForm;
use russet_engine::types::string::KIND_RAW;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", path] => std::fs::write(path, sample()).expect("the file can be written"),
        ["read", path] => read(&std::fs::read(path).expect("the file can be read")),
        ["bench"] => bench(),
        _ => eprintln!("usage: rdb write FILE | read FILE | bench"),
    }
}

/// Returns a file with all encodings of strings.
fn sample() -> Vec<u8> {
    let mut chunk = Chunk::new(0, 4096);
    for value in [0, -1, 127, 128, -129, 32_767, 32_768, 1 << 31, i64::MIN] {
        let (key, text) = (format!("int:{value}"), value.to_string());
        chunk.push(KIND_RAW, key.as_bytes(), None, ChunkValue::Bytes(text.as_bytes()));
    }
    let expiry = Some(4_102_444_800_123);
    chunk.push(KIND_RAW, b"expires", expiry, ChunkValue::Bytes(b"later"));
    chunk.push(KIND_RAW, b"empty", None, ChunkValue::Bytes(b""));
    chunk.push(KIND_RAW, b"binary", None, ChunkValue::Bytes(b"\x00\xff\r\n"));
    let packed = "compress me ".repeat(1000);
    chunk.push(KIND_RAW, b"packed", None, ChunkValue::Bytes(packed.as_bytes()));
    chunk.push(
        KIND_RAW,
        b"shared",
        None,
        ChunkValue::Shared(SharedBytes::new(&vec![b'x'; 1 << 20])),
    );
    let mut other = Chunk::new(9, 64);
    other.push(KIND_RAW, b"12345", None, ChunkValue::Bytes(b"the key is a number"));

    let mut encoder = RdbEncoder::new(RdbSettings::default());
    let mut out = Vec::new();
    encoder.begin(&[("redis-ver", b"7.2.4"), ("redis-bits", b"64")], &mut out);
    encoder.chunk(&chunk, &mut out);
    encoder.chunk(&other, &mut out);
    encoder.finish(&mut out);
    out
}

/// A sink that prints or only counts the content of a file.
struct Printer {
    print: bool,
    entries: u64,
    bytes: u64,
}

impl RdbSink for Printer {
    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if self.print {
            println!("aux {} = {}", name.escape_ascii(), value.escape_ascii());
        }
        Ok(())
    }

    fn select(&mut self, db: u64) -> Result<(), Refusal> {
        if self.print {
            println!("db {db}");
        }
        Ok(())
    }

    fn resize(&mut self, keys: u64, expires: u64) -> Result<(), Refusal> {
        if self.print {
            println!("keys {keys}, expiring {expires}");
        }
        Ok(())
    }

    fn value(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        value: Cow<'_, [u8]>,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal> {
        self.entries += 1;
        self.bytes += (key.len() + value.len()) as u64;
        if self.print {
            let shown = &value[..value.len().min(40)];
            let (name, shown) = (key.escape_ascii(), shown.escape_ascii());
            println!(
                "{name} = {shown} ({}, {} bytes) {expiry:?} {access:?}",
                form.name,
                value.len()
            );
        }
        Ok(())
    }

    fn begin(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        head: Head,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal> {
        self.entries += 1;
        if self.print {
            println!("{} ({}) {head:?} {expiry:?} {access:?}", key.escape_ascii(), form.name);
        }
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Refusal> {
        self.bytes += (element.name.len() + element.value.len()) as u64;
        if self.print {
            let Element { name, value, expiry } = element;
            println!("  {} = {} {expiry:?}", name.escape_ascii(), value.escape_ascii());
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        Ok(())
    }
}

fn read(bytes: &[u8]) {
    let mut printer = Printer { print: bytes.len() < 1 << 16, entries: 0, bytes: 0 };
    let mut loader = RdbLoader::new(LoadSettings::default());
    let start = Instant::now();
    for piece in bytes.chunks(64 << 10) {
        match loader.feed(piece, &mut printer) {
            Ok(Fed::NeedMore) => {}
            Ok(Fed::Done { consumed }) => println!("done, {consumed} of the last piece"),
            Err(error) => return println!("{error}"),
        }
    }
    match loader.end() {
        Ok(()) => report("read", start, printer.entries, bytes.len()),
        Err(error) => println!("{error}"),
    }
}

fn report(what: &str, start: Instant, entries: u64, bytes: usize) {
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what:28} {entries:8} entries {:6.1} MB {:7.2} M/s {:7.1} MB/s",
        bytes as f64 / 1e6,
        entries as f64 / seconds / 1e6,
        bytes as f64 / seconds / 1e6
    );
}

fn chunks(count: u64, value: impl Fn(u64) -> Vec<u8>, expiry: Option<i64>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for start in (0..count).step_by(1000) {
        let mut chunk = Chunk::new(0, 64 << 10);
        for i in start..start + 1000 {
            let key = format!("key:{i:012}");
            chunk.push(KIND_RAW, key.as_bytes(), expiry, ChunkValue::Bytes(&value(i)));
        }
        chunks.push(chunk);
    }
    chunks
}

fn time_push(count: u64) {
    let (key, value) = ([b'k'; 16], [b'v'; 16]);
    let mut chunk = Chunk::new(0, 64 << 10);
    let start = Instant::now();
    for _ in 0..count {
        if chunk.len_bytes() > 60 << 10 {
            chunk.reset(0);
        }
        chunk.push(KIND_RAW, black_box(&key), None, ChunkValue::Bytes(black_box(&value)));
    }
    report("push 16+16", start, count, count as usize * 36);
}

fn time(name: &str, compression: bool, chunks: &[Chunk]) {
    let settings = RdbSettings { compression, ..RdbSettings::default() };
    let entries: u64 = chunks.iter().map(|chunk| chunk.entries() as u64).sum();
    let mut encoder = RdbEncoder::new(settings);
    let mut file = Vec::with_capacity(chunks.iter().map(Chunk::len_bytes).sum::<usize>() * 2);
    file.resize(file.capacity(), 1);
    file.clear();
    let start = Instant::now();
    encoder.begin(&[], &mut file);
    for chunk in chunks {
        encoder.chunk(chunk, &mut file);
    }
    encoder.finish(&mut file);
    report(&format!("save {name}"), start, entries, file.len());

    let mut printer = Printer { print: false, entries: 0, bytes: 0 };
    let mut loader = RdbLoader::new(LoadSettings::default());
    let start = Instant::now();
    for piece in file.chunks(64 << 10) {
        loader.feed(piece, &mut printer).expect("our own file");
    }
    loader.end().expect("a whole file");
    report(&format!("load {name}"), start, printer.entries, file.len());
}

fn bench() {
    const COUNT: u64 = 2_000_000;
    time_push(10 * COUNT);
    let small = chunks(COUNT, |i| format!("value:{i:010}").into_bytes(), None);
    time("16+16", true, &small);
    let expiring = chunks(COUNT, |i| format!("value:{i:010}").into_bytes(), Some(1 << 40));
    time("16+16 with expiry", true, &expiring);
    let numbers = chunks(COUNT, |i| i.to_string().into_bytes(), None);
    time("16+number", true, &numbers);
    let text = chunks(COUNT, |i| format!("value:{i:026}").into_bytes(), None);
    time("16+32", false, &text);
    time("16+32 compressed", true, &text);
    let noise = |i: u64| {
        let step = |n: &u64| Some(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n >> 29);
        std::iter::successors(Some(i + 1), step)
            .skip(1)
            .take(4)
            .flat_map(|n| n.to_le_bytes())
            .collect()
    };
    time("16+32 incompressible", true, &chunks(COUNT, noise, None));
    let page =
        |i: u64| format!("{{\"id\":{i},\"name\":\"user {i}\",\"tags\":[\"a\",\"b\"]}},").repeat(20);
    let pages = chunks(50_000, |i| page(i).into_bytes(), None);
    time("16+1000 JSON compressed", true, &pages);
    time("16+1000 JSON plain", false, &pages);
}
