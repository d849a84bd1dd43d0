//! Glob patterns: no input takes long, and the laws that hold for any pattern hold. The fuzzer's own time limit is the check
//! against patterns that go back and forth for ever.
#![no_main]

use russet_ds::glob::{Case, matches};

/// Bytes that mean something in a pattern.
const SPECIAL: &[u8] = b"*?[\\";

/// How often a text is repeated: a pattern that costs exponential time does so on long texts.
const REPEATED: usize = 20;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&split, rest)) = bytes.split_first() else { return };
    let (pattern, text) = rest.split_at(usize::from(split).min(rest.len()));
    let exact = matches(pattern, text, Case::Sensitive);
    let loose = matches(pattern, text, Case::Ignored);

    let is_plain = !pattern.iter().any(|byte| SPECIAL.contains(byte));
    if is_plain {
        assert_eq!(exact, pattern == text, "a plain pattern matches itself");
        assert_eq!(loose, pattern.eq_ignore_ascii_case(text));
    }
    let escaped: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
    assert!(matches(&escaped, text, Case::Sensitive), "an escaped text matches itself");
    if exact && !text.is_empty() {
        let starred = [b"*", pattern].concat();
        assert!(matches(&starred, text, Case::Sensitive), "a star in front takes nothing away");
        let longer = [b"x", text].concat();
        assert!(matches(&starred, &longer, Case::Sensitive), "and lets more stand in front");
    }
    let (pattern, text) = (pattern.repeat(REPEATED), text.repeat(REPEATED));
    let _ = matches(&pattern, &text, Case::Ignored); // only the time counts
});
