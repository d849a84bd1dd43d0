//! RESTORE: any payload with a valid footer is rejected, or restored as a value that does not change
//! by DUMP and RESTORE, COPY, and a reload.
//!
//! Byte 0 selects the version, byte 1 options and settings; the rest is type and value. The footer is
//! appended, so that the checksum does not stop the fuzzer. The wall clock is 0, so that nothing
//! expires.
//!
//! Every 65536 payloads it prints how many of them were valid.
#![no_main]

use std::sync::atomic::{AtomicU64, Ordering};

use russet_engine::config::value::EvictionPolicy;
use russet_engine::io::Handle;
use russet_fuzz::rdb::sealed;
use russet_fuzz::world::World;

const IS_OK: &[u8] = b"+OK\r\n";
const NO_FOOTER: &[u8] = b"-ERR DUMP payload version or checksum are wrong\r\n";
const NO_VALUE: &[u8] = b"-ERR Bad data format\r\n";

/// Number of payloads so far, and of valid ones.
static TRIED: AtomicU64 = AtomicU64::new(0);
static VALUES: AtomicU64 = AtomicU64::new(0);

fn count(is_value: bool) {
    let tried = TRIED.fetch_add(1, Ordering::Relaxed) + 1;
    let values = VALUES.fetch_add(is_value.into(), Ordering::Relaxed) + u64::from(is_value);
    if tried.is_multiple_of(1 << 16) {
        eprintln!("restore: {values} of {tried} payloads were values");
    }
}

/// Returns the version for a byte, and whether it is supported: two in sixteen are not.
fn version_of(byte: u8) -> (u16, bool) {
    match byte % 16 {
        0 => (79, false),
        1 => (0, false),
        version @ 2..=14 => (version.into(), true),
        _ => (80 + u16::from(byte >> 7), true),
    }
}

fn restore(world: &mut World, client: Handle, key: &str, payload: &[u8], options: u8) -> Vec<u8> {
    let mut words = vec![b"RESTORE".as_slice(), key.as_bytes()];
    words.push(if options & 1 == 0 { b"0" } else { b"100000000" });
    words.push(payload);
    let given: [(u8, &[&[u8]]); 4] = [
        (2, &[b"ABSTTL"]),
        (4, &[b"REPLACE"]),
        (8, &[b"IDLETIME", b"5"]),
        (16, &[b"FREQ", b"100"]),
    ];
    for (bit, more) in given {
        // At most one of the last two.
        if options & bit != 0 && (bit != 16 || options & 8 == 0) {
            words.extend(more);
        }
    }
    world.request_bytes(client, &words)
}

/// Returns the bytes of a bulk string; none for other replies.
fn bulk(reply: &[u8]) -> Option<&[u8]> {
    let (len, rest) =
        reply.strip_prefix(b"$")?.split_at(reply.iter().position(|&b| b == b'\r')? - 1);
    let len = std::str::from_utf8(len).ok()?.parse().ok()?;
    rest.get(2..)?.get(..len)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [version, options, value @ ..] = bytes else { return };
    let (version, is_known) = version_of(*version);
    let mut world = World::new(1, None, |config| {
        if options & 32 != 0 {
            config.maxmemory_policy = EvictionPolicy::AllkeysLfu;
        }
        if options & 64 != 0 {
            config.hash_max_listpack_entries = 1;
        }
        config.rdbcompression = options & 128 == 0;
    });
    world.driver.now.wall_us = 0;
    let client = world.connect(true).expect("the first client is accepted");
    if options & 4 != 0 {
        world.request(client, &["SET", "key", "old"]);
    }
    let reply = restore(&mut world, client, "key", &sealed(value, version), *options);
    if !is_known {
        assert_eq!(reply, NO_FOOTER, "version {version}");
        return;
    }
    assert!(reply == IS_OK || reply == NO_VALUE, "{}", reply.escape_ascii());
    count(reply == IS_OK);
    if reply != IS_OK {
        let old = if options & 4 != 0 { ":1\r\n" } else { ":0\r\n" };
        assert_eq!(
            world.request(client, &["DBSIZE"]),
            old.as_bytes(),
            "a rejected payload changes nothing"
        );
        return;
    }
    let digest =
        |world: &mut World, key: &str| world.request(client, &["DEBUG", "DIGEST-VALUE", key]);
    let expected = digest(&mut world, "key");
    let dumped = world.request(client, &["DUMP", "key"]);
    let dumped = bulk(&dumped).expect("the key exists");
    assert_eq!(restore(&mut world, client, "again", dumped, options & 1), IS_OK, "a dump");
    assert_eq!(digest(&mut world, "again"), expected);
    assert_eq!(world.request(client, &["COPY", "key", "copy"]), b":1\r\n");
    assert_eq!(digest(&mut world, "copy"), expected);
    let all = world.request(client, &["DEBUG", "DIGEST"]);
    assert_eq!(world.request(client, &["DEBUG", "RELOAD"]), IS_OK);
    assert_eq!(world.request(client, &["DEBUG", "DIGEST"]), all);
});
