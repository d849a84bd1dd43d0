//! LZF: compressed bytes decompress to the original, and arbitrary bytes are decompressed to the
//! claimed length or rejected.
#![no_main]

use russet_ds::lzf::{Compressor, decompress};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut packed = b"before".to_vec();
    if Compressor::new().compress(bytes, bytes.len() + 100, &mut packed) {
        assert_eq!(decompress(&packed[6..], bytes.len()).as_deref(), Ok(bytes));
        assert!(bytes.is_empty() || decompress(&packed[6..], bytes.len() - 1).is_err());
    } else {
        assert_eq!(packed, b"before", "a failure appends nothing");
    }

    let Some((claim, packed)) = bytes.split_first_chunk::<2>() else { return };
    let claim = usize::from(u16::from_le_bytes(*claim));
    if let Ok(unpacked) = decompress(packed, claim) {
        assert_eq!(unpacked.len(), claim);
    }
    assert!(decompress(packed, usize::MAX).is_err(), "a claimed length allocates nothing");
});
