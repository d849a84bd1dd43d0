//! Glob patterns: general properties hold, and no input takes more steps than promised.
#![no_main]

use russet_ds::glob::{Case, counted, matches};

/// Bytes with a meaning in patterns.
const SPECIAL: &[u8] = b"*?[\\";

/// Number of repetitions, since steps that multiply show with long patterns and texts.
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
        assert!(matches(&starred, text, Case::Sensitive), "a leading star matches nothing");
        let longer = [b"x", text].concat();
        assert!(matches(&starred, &longer, Case::Sensitive), "a leading star matches any prefix");
    }
    let (pattern, text) = (pattern.repeat(REPEATED), text.repeat(REPEATED));
    let (_, steps) = counted(&pattern, &text, Case::Ignored);
    let (pattern, text) = (pattern.len() as u64, text.len() as u64);
    assert!(steps <= 128 * (pattern + text) + text * (pattern / 128) + 512, "{steps} steps");
});
