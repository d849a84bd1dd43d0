//! Glob patterns of KEYS, SCAN, PSUBSCRIBE, CONFIG GET and ACLs, which differ from those of shells.
//!
//! | pattern | matches |
//! |---|---|
//! | `*` | any bytes, also none |
//! | `?` | one byte |
//! | `[abc]` `[a-z]` `[^a]` | one byte of, or not of, the set; a reversed range is turned round |
//! | `\x` | the byte x |
//!
//! Details follow stock servers on x86-64: an unclosed set ends at the end of the pattern; `[]`
//! matches nothing and `[^]` any byte; a backslash at the end matches itself; an escaped byte in a
//! set is case-sensitive; ranges compare bytes as signed numbers; an empty text is only matched by
//! the empty pattern, not by `*`.
//!
//! **No exponential time, no recursion.** Each element except `*` consumes exactly one byte, so if
//! the rest after the last `*` cannot match, no other choice for an earlier `*` helps: a single
//! position for backtracking is sufficient, and the time is at most pattern × text.

/// Whether matching is case-sensitive (ASCII only).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `a` does not match `A`.
    Sensitive,
    /// `a` matches `A`.
    Ignored,
}

/// Whether all of `text` matches `pattern`.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut from) = (0, 0);
    // Where to continue if the rest after the last star fails: after the star, one byte later.
    let mut retry: Option<(usize, usize)> = None;
    while from < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            retry = Some((at, from));
            continue;
        }
        match element(&pattern[at..], text[from], case) {
            Some(len) => {
                at += len;
                from += 1;
            }
            None => {
                let Some((star, begin)) = retry else { return false };
                (at, from) = (star, begin + 1);
                retry = Some((star, begin + 1));
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Returns the length of the pattern's first element if it matches `byte`.
fn element(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    let (wanted, len) = match pattern {
        [] => return None,
        [b'?', ..] => return Some(1),
        [b'[', set @ ..] => return set_matches(set, byte, case).map(|len| len + 1),
        [b'\\', escaped, ..] => (*escaped, 2),
        [plain, ..] => (*plain, 1),
    };
    (fold(wanted, case) == fold(byte, case)).then_some(len)
}

/// Returns the length of a set, without its opening bracket, if it matches `byte`.
fn set_matches(set: &[u8], byte: u8, case: Case) -> Option<usize> {
    let negated = set.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &set[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [first, b'-', last, ..] => {
                found |= in_range(*first, *last, byte, case);
                at += 3;
            }
            [plain, ..] => {
                found |= fold(*plain, case) == fold(byte, case);
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

fn in_range(first: u8, last: u8, byte: u8, case: Case) -> bool {
    let signed = |byte: u8| fold(byte, case).cast_signed();
    // Swapped before case folding, as in stock servers.
    let (low, high) = if first.cast_signed() > last.cast_signed() {
        (signed(last), signed(first))
    } else {
        (signed(first), signed(last))
    };
    (low..=high).contains(&signed(byte))
}

fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Sensitive => byte,
        Case::Ignored => byte.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, matches};

    fn sensitive(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive)
    }

    #[test]
    fn usual_patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "abc", true),
            ("***", "abc", true),
            ("h?llo", "hallo", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h*llo", "hllo", true),
            ("h[ae]llo", "hello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("a*", "a", true),
            ("*b", "ab", true),
            ("*b", "ba", false),
            ("a*b?", "aXbYbZ", true),
        ] {
            assert_eq!(sensitive(pattern, text), expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn odd_corners() {
        for (pattern, text, expected) in [
            ("*", "", false),
            ("**", "", false),
            ("?", "", false),
            ("[abc", "b", true),
            ("[abc", "d", false),
            ("[", "[", false),
            ("[^", "x", true),
            ("[]", "]", false),
            ("[]a]", "a]", false),
            ("[^]", "x", true),
            ("[a-", "-", true),
            ("[a-", "a", true),
            ("[a-]", "]", true),
            ("[a-]", "^", true),
            ("[a-]", "b", false),
            ("[\\]]", "]", true),
            ("[\\", "\\", true),
            ("\\", "\\", true),
            ("a\\", "a\\", true),
            ("a\\", "a", false),
            ("[\\a-c]", "b", false),
            ("[\\a-c]", "-", true),
            ("[*]", "*", true),
            ("[?]", "x", false),
            ("[^a-c]", "d", true),
            ("x[", "x", false),
        ] {
            assert_eq!(sensitive(pattern, text), expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn case() {
        for (pattern, text, expected) in [
            ("MAX*", "maxmemory", true),
            ("[A-C]x", "bX", true),
            ("[\\A]", "a", false),
            ("[\\a]", "a", true),
            ("\\A", "a", true),
            ("[Z-a]", "m", false),
            ("[Z-a]", "Z", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes(), Case::Ignored),
                expected,
                "{pattern:?} {text:?}"
            );
        }
    }

    #[test]
    fn bytes_in_ranges_are_signed() {
        assert!(matches(b"[\x80-\xff]", b"\xf0", Case::Sensitive));
        // As signed numbers 0xff (-1) is below 'a', so the range covers 0 to 'a' and 0xff.
        assert!(matches(b"[a-\xff]", b"0", Case::Sensitive));
        assert!(!matches(b"[a-\xff]", b"b", Case::Sensitive));
    }

    #[test]
    fn stars_do_not_explode() {
        let pattern = "a*".repeat(2000) + "b";
        let text = "a".repeat(10_000);
        assert!(!sensitive(&pattern, &text));
        let pattern = "*?".repeat(5000);
        assert!(sensitive(&pattern, &text));
    }
}
