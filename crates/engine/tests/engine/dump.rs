//! DUMP and RESTORE: payloads are restored to the same value, and any payload with a valid checksum
//! is refused or a valid value.

use proptest::prelude::*;
use russet_ds::hash::Seed;
use russet_engine::config::Config;
use russet_engine::keyspace::{EventKind, Expiry, Keyspace};
use russet_engine::mode::Mode;
use russet_engine::persist::dump::{self, DumpError, RestoreSettings, dump};
use russet_engine::rdb::format::Checksum;
use russet_engine::types::string::KIND_RAW;
use russet_engine::types::{BuildContext, Value, encoding_of};

/// Returns the payload of this value.
fn dump_of(value: Value<'_>) -> Vec<u8> {
    let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
    let key = keyspace.hasher().key(b"key");
    keyspace.edit(0, key).set_value(value, Expiry::Clear, EventKind::Restore);
    dump(&keyspace.db(0).get(key).expect("it was set"), true)
}

/// Restores a payload.
fn restore<'a>(payload: &'a [u8], config: &Config) -> Result<Value<'a>, DumpError> {
    let settings = RestoreSettings { string_bytes_max: 512 << 20, checksum: true };
    dump::restore(payload, settings, &BuildContext { config, seed: Seed::new(1) })
}

/// Appends a valid footer of this version.
fn sealed(bytes: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [bytes, &version.to_le_bytes()].concat();
    let mut checksum = Checksum::new();
    checksum.update(&payload);
    payload.extend_from_slice(&checksum.value().to_le_bytes());
    payload
}

#[test]
fn versions() {
    let config = Config::default();
    let error = |version| restore(&sealed(b"\x00\x01a", version), &config).err();
    for version in [1, 6, 9, 10, 11, 12, 80] {
        assert_eq!(error(version), None, "{version}");
    }
    for version in [0, 79, 255, u16::MAX] {
        assert_eq!(error(version), Some(DumpError::Footer), "{version}");
    }
}

#[test]
fn malformed_payloads_are_refused() {
    let config = Config::default();
    for bytes in [
        &b""[..],
        b"\x00",
        b"\x00\x02a",
        b"\x00\x01ab",
        b"\x00\xc4",
        b"\x00\xc3\x01\x40\x64\x00",
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x08\x01a",
        b"\xfa\x01a\x01b",
        b"\xff",
    ] {
        let error = restore(&sealed(bytes, 10), &config).err();
        assert!(matches!(error, Some(DumpError::Content(_))), "{bytes:?}: {error:?}");
    }
    for len in 0..10 {
        assert_eq!(
            restore(&b"\x00\x01a\x0a\x00\0\0\0\0\0"[..len], &config).err(),
            Some(DumpError::Footer)
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_a_valid_value(
        code in 0..32_u8,
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        valkey: bool,
    ) {
        let payload = sealed(&[&[code], &bytes[..]].concat(), if valkey { 80 } else { 12 });
        let config = Config::default();
        if let Ok(value) = restore(&payload, &config) {
            let encoding = encoding_of(value.kind);
            let again = dump_of(value);
            prop_assert_eq!(again[0], encoding.code);
            let value = restore(&again, &config).expect("what was dumped");
            prop_assert_eq!(dump_of(value), again);
        }
    }

    #[test]
    fn damaged_payloads_are_refused(at in 0..1000_usize, bit in 0..8_u8) {
        let mut payload = dump_of(Value::compact(KIND_RAW, b"some text".repeat(20)));
        let at = at % payload.len();
        payload[at] ^= 1 << bit;
        prop_assert_eq!(restore(&payload, &Config::default()).err(), Some(DumpError::Footer));
    }
}
