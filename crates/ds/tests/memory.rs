//! Memory of entries and tables.
#![allow(clippy::disallowed_methods, reason = "settings of the test run")]

use russet_ds::hash::Seed;
use russet_ds::{NewPayload, Payload, Table};

#[test]
fn sizes_are_as_documented() {
    let size = |key: usize, value: usize, expiry: Option<i64>| {
        let mut table: Table<()> = Table::new();
        let key = vec![1; key];
        let payload = vec![2; value];
        table.set(1, &key, 0, NewPayload::Inline(&payload), expiry, 0, &|_| 1);
        let entry = table.get(1, &key).expect("just set");
        assert_eq!(entry.expiry(), expiry);
        assert_eq!(entry.payload(), Payload::Inline(payload.as_slice()));
        // Lists of one piece: the table's segments and the heap.
        let lists = if expiry.is_some() { 24 + 8 + 24 + 16 } else { 24 + 8 };
        assert_eq!(table.allocated_bytes(), entry.allocated_bytes() + 128 + lists);
        assert_eq!(table.entry_bytes(1, &key), Some(entry.allocated_bytes() + 128));
        assert_eq!(table.entry_bytes(1, b"no such key"), None);
        entry.allocated_bytes()
    };
    assert_eq!(size(16, 16, None), 40);
    assert_eq!(size(16, 32, None), 56);
    assert_eq!(size(16, 16, Some(1_900_000_000_000)), 48);
    assert_eq!(size(16, 16, Some(-1)), 48);
    assert_eq!(size(0, 0, None), 8);
    assert_eq!(size(255, 65535, None), 81920);
    assert_eq!(size(16, 65536, None), 81920);
    assert_eq!(size(256, 16, Some(i64::MIN)), 320);
    assert_eq!(Table::<String>::new().allocated_bytes(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "figures, and slow")]
fn memory_per_key_stays_within_its_target() {
    let mut table: Table<()> = Table::new();
    let seed = Seed::new(9);
    let (mut worst, mut sum, mut points) = (0.0f64, 0.0, 0.0);
    for number in 1..=300_000u64 {
        let key = format!("key:{number:012}");
        let value = NewPayload::Inline(&[0; 16]);
        table.set(seed.hash(key.as_bytes()), key.as_bytes(), 0, value, None, 0, &|key| {
            seed.hash(key)
        });
        if number > 100_000 && number % 1000 == 0 {
            let per_key = table.allocated_bytes() as f64 / number as f64;
            worst = worst.max(per_key);
            sum += per_key;
            points += 1.0;
        }
    }
    assert!(worst <= 58.0 && sum / points <= 54.0, "worst {worst}, mean {}", sum / points);
    assert_eq!(table.shape().overflowed, 0);
}
