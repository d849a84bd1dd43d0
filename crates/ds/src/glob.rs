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
//! **The time is bounded, whatever the pattern.** Each element except `*` consumes exactly one byte,
//! so if the rest after the last `*` cannot match, no other choice for an earlier `*` helps: a single
//! position for backtracking is sufficient, and there is no recursion. That still reads the same part
//! of a pattern for each position of the text, so after 16 times the length of both, the rest is left
//! to an automaton that reads the pattern once and follows 128 of its elements at a time:
//!
//! | | steps at most |
//! |---|---|
//! | backtracking | 16 × (pattern + text) |
//! | automaton | 100 × pattern + text × (elements ÷ 128) |

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
    counted(pattern, text, case).0
}

/// Returns whether all of `text` matches `pattern`, and the number of steps that backtracking and
/// the automaton took.
#[must_use]
pub fn counted(pattern: &[u8], text: &[u8], case: Case) -> (bool, u64) {
    if text.is_empty() {
        return (pattern.is_empty(), 0);
    }
    let (mut at, mut from) = (0, 0);
    // Where to continue if the rest after the last star fails: after the star, one byte later.
    let mut retry: Option<(usize, usize)> = None;
    // Bytes of the pattern read in vain.
    let (mut steps, steps_max) = (0, 16 * (pattern.len() as u64 + text.len() as u64));
    while from < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return (true, steps);
            }
            retry = Some((at, from));
            continue;
        }
        let (is_match, len) = element(&pattern[at..], text[from], case);
        if is_match {
            at += len;
            from += 1;
            continue;
        }
        let Some((star, begin)) = retry else { return (false, steps) };
        steps += (at + len - star) as u64;
        if steps > steps_max {
            let (is_match, more) = automaton(pattern, text, case);
            return (is_match, steps + more);
        }
        (at, from) = (star, begin + 1);
        retry = Some((star, begin + 1));
    }
    (pattern[at..].iter().all(|byte| *byte == b'*'), steps)
}

/// Returns whether the pattern's first element matches `byte`, and the element's length.
fn element(pattern: &[u8], byte: u8, case: Case) -> (bool, usize) {
    let (wanted, len) = match pattern {
        [] => return (false, 0),
        [b'?', ..] => return (true, 1),
        [b'[', set @ ..] => {
            let mut found = false;
            let (is_negated, len) = read_set(set, |item| found |= item.contains(byte, case));
            return (found != is_negated, len + 1);
        }
        [b'\\', escaped, ..] => (*escaped, 2),
        [plain, ..] => (*plain, 1),
    };
    (fold(wanted, case) == fold(byte, case), len)
}

/// A part of a set.
#[derive(Clone, Copy)]
enum Item {
    Plain(u8),
    Escaped(u8),
    Range(u8, u8),
}

impl Item {
    fn contains(self, byte: u8, case: Case) -> bool {
        match self {
            Item::Plain(plain) => fold(plain, case) == fold(byte, case),
            Item::Escaped(escaped) => escaped == byte,
            Item::Range(first, last) => in_range(first, last, byte, case),
        }
    }

    /// Calls `sink` with each byte that it contains.
    fn for_each(self, case: Case, sink: impl FnMut(u8)) {
        match self {
            Item::Escaped(byte) => [byte].into_iter().for_each(sink),
            Item::Plain(byte) if case == Case::Sensitive => [byte].into_iter().for_each(sink),
            Item::Plain(byte) => {
                [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()].into_iter().for_each(sink);
            }
            Item::Range(..) => {
                (0..=255).filter(|&byte| self.contains(byte, case)).for_each(sink);
            }
        }
    }
}

/// Reads a set without its opening bracket. Returns whether it is negated, and its length.
fn read_set(set: &[u8], mut sink: impl FnMut(Item)) -> (bool, usize) {
    let is_negated = set.first() == Some(&b'^');
    let mut at = usize::from(is_negated);
    loop {
        let (item, len) = match &set[at..] {
            [] => return (is_negated, at),
            [b']', ..] => return (is_negated, at + 1),
            [b'\\', escaped, ..] => (Item::Escaped(*escaped), 2),
            [first, b'-', last, ..] => (Item::Range(*first, *last), 3),
            [plain, ..] => (Item::Plain(*plain), 1),
        };
        sink(item);
        at += len;
    }
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

/// Matches as an automaton whose state *n* means that the first *n* elements have matched the text
/// so far; a star after an element is a loop at its state (Baeza-Yates and Gonnet, "A New Approach to
/// Text Searching", 1992). Blocks of states are bits of a word, one block after the other for the
/// whole text: what leaves a block at a position enters the next one there.
///
/// Returns the number of steps too. `text` must not be empty.
fn automaton(pattern: &[u8], text: &[u8], case: Case) -> (bool, u64) {
    let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
    let mut rest = &pattern[stars..];
    // Whether the elements before the block can match the text before each position.
    let mut entered = vec![stars > 0; text.len() + 1];
    entered[0] = true;
    let mut steps = 0;
    while !rest.is_empty() {
        let (block, len, read) = Block::read(rest, case);
        rest = &rest[len..];
        let mut is_alive = false;
        let mut state = 0;
        let mut enters = std::mem::take(&mut entered[0]);
        for (&byte, entered) in text.iter().zip(&mut entered[1..]) {
            state = (state << 1 | u128::from(enters)) & block.matching[usize::from(byte)]
                | state & block.loops;
            enters = std::mem::replace(entered, state & block.last != 0);
            is_alive |= *entered;
        }
        steps += read + text.len() as u64;
        if !is_alive {
            return (false, steps);
        }
    }
    (entered[text.len()], steps)
}

/// Up to 128 elements and the stars after them, a bit for each element.
struct Block {
    /// The elements that match a byte.
    matching: [u128; 256],
    /// The elements with a star after them.
    loops: u128,
    /// The last element.
    last: u128,
}

impl Block {
    /// Reads a block, at least one element. Returns its length and the number of steps too.
    fn read(pattern: &[u8], case: Case) -> (Block, usize, u64) {
        let mut block = Block { matching: [0; 256], loops: 0, last: 0 };
        let (mut at, mut bit, mut steps) = (0, 1_u128, 0);
        // The elements that match any byte, except those of `matching`, where they are negated.
        let mut inverted = 0;
        while at < pattern.len() && bit != 0 {
            let mut add = |byte: u8| {
                block.matching[usize::from(byte)] |= bit;
                steps += 1;
            };
            at += match &pattern[at..] {
                [b'?', ..] => {
                    inverted |= bit;
                    1
                }
                [b'[', set @ ..] => {
                    let (is_negated, len) = read_set(set, |item| item.for_each(case, &mut add));
                    inverted |= if is_negated { bit } else { 0 };
                    len + 1
                }
                [b'\\', byte, ..] => {
                    Item::Plain(*byte).for_each(case, add);
                    2
                }
                [byte, ..] => {
                    Item::Plain(*byte).for_each(case, add);
                    1
                }
                [] => 0,
            };
            let stars = pattern[at..].iter().take_while(|byte| **byte == b'*').count();
            block.loops |= if stars > 0 { bit } else { 0 };
            at += stars;
            block.last = bit;
            bit <<= 1;
        }
        block.matching.iter_mut().for_each(|matching| *matching ^= inverted);
        (block, at, steps + at as u64 + 256)
    }
}

fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Sensitive => byte,
        Case::Ignored => byte.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, automaton, counted, matches};

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

    /// Whether the text matches, in no more steps than the module promises.
    fn bounded(pattern: &[u8], text: &[u8]) -> bool {
        let (is_match, steps) = counted(pattern, text, Case::Ignored);
        let (pattern, text) = (pattern.len() as u64, text.len() as u64);
        let bound = 128 * (pattern + text) + text * (pattern / 128) + 512;
        assert!(steps <= bound, "{steps} steps for {pattern} and {text} bytes");
        is_match
    }

    #[test]
    fn no_pattern_takes_more_than_its_share_of_steps() {
        let text = "a".repeat(20_000);
        let sets = ["b", "\\b", "b-c"].map(|item| format!("*[{}]z", item.repeat(6000)));
        let negated = format!("*[^{}]z", "b".repeat(20_000));
        let unclosed = format!("*z[{}", "a".repeat(20_000));
        let late = format!("*{}b", "a".repeat(10_000));
        let wild = format!("*{}b", "?".repeat(10_000));
        let classes = format!("*{}b", "[a-z]".repeat(4_000));
        let stars = format!("{}b", "*aaaa[ab]?".repeat(2_000));
        for pattern in sets.iter().chain([&negated, &unclosed, &late, &wild, &classes, &stars]) {
            assert!(!bounded(pattern.as_bytes(), text.as_bytes()), "{:.20}", pattern);
        }
        let found = text.clone() + "b";
        for pattern in [&late, &wild, &classes, &stars] {
            assert!(bounded(pattern.as_bytes(), found.as_bytes()), "{:.20}", pattern);
        }
    }

    #[test]
    fn the_automaton_agrees_with_backtracking() {
        let mut state = 1_u64;
        let mut draw = |end: usize| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 33) as usize % end
        };
        let mut words = |letters: &[u8], len_max: usize| -> Vec<u8> {
            (0..draw(len_max)).map(|_| letters[draw(letters.len())]).collect()
        };
        let mut matched = 0;
        for round in 0..40_000 {
            // Some patterns have more elements than a block.
            let len_max = if round % 50 == 0 { 400 } else { 12 };
            let letters: &[u8] = if round % 3 == 0 { b"a?*" } else { b"ab*?[]^-\\AB\x90" };
            let pattern = words(letters, len_max);
            let text = [b"a".as_slice(), &words(b"aab-]\\B\x90", len_max)].concat();
            for case in [Case::Sensitive, Case::Ignored] {
                let expected = matches(&pattern, &text, case);
                assert_eq!(automaton(&pattern, &text, case).0, expected, "{pattern:?} {text:?}");
                matched += usize::from(expected);
            }
        }
        assert!(matched > 1000, "only {matched} matches");
    }
}
