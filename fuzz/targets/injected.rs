//! A test of the fuzzer itself: a panic that random input would practically never find, but coverage
//! finds in seconds. `cargo xtask fuzz` runs it first and fails if the fuzzer does not find it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // One branch for each byte, so that each correct byte is new coverage.
    let injected = bytes.len() > 5
        && bytes[0] == b'R'
        && bytes[1] == b'u'
        && bytes[2] == b's'
        && bytes[3] == b's'
        && bytes[4] == b'e'
        && bytes[5] == b't';
    assert!(!injected, "the injected panic");
});
