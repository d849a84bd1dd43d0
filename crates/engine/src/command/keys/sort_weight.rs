//! The numbers that SORT sorts by, from text as `strtod` of C reads it.

use russet_protocol::error::c_str;
use russet_protocol::number::parse_i64;

use crate::types::long_double::LongDouble;

/// Parses a number; no text is 0. None if it is none, or too large or too small for a double.
pub(super) fn weight(text: &[u8]) -> Option<f64> {
    if let Some(integer) = parse_i64(text) {
        return Some(integer as f64);
    }
    let text = c_str(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let text = text.trim_ascii_start();
    let is_infinite = text.iter().any(|byte| matches!(byte, b'n' | b'N'));
    let number = match text.iter().any(|byte| matches!(byte, b'x' | b'X')) {
        true => std::str::from_utf8(&LongDouble::parse(text)?.to_text()).ok()?.parse::<f64>(),
        false => std::str::from_utf8(text).ok()?.parse::<f64>(),
    };
    let number = number.ok()?;
    let has_digit = || {
        text.iter()
            .take_while(|byte| !matches!(byte, b'e' | b'E' | b'p' | b'P'))
            .any(|byte| (b'1'..=b'9').contains(byte))
    };
    let is_out_of_range = (number.is_infinite() && !is_infinite) || (number == 0.0 && has_digit());
    (!number.is_nan() && !is_out_of_range).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn numbers_are_those_of_c() {
        for (text, expected) in [
            ("", Some(0.0)),
            ("12", Some(12.0)),
            ("-9223372036854775808", Some(-9_223_372_036_854_775_808.0)),
            ("9223372036854775808", Some(9_223_372_036_854_775_808.0)),
            ("  1.5", Some(1.5)),
            ("+1.5e3", Some(1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("0x10", Some(16.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1\0junk", Some(1.0)),
            ("0e99", Some(0.0)),
            ("nan", None),
            ("1e999", None),
            ("1e-999", None),
            ("1.5 ", None),
            ("1,5", None),
            ("one", None),
            ("-", None),
            ("e5", None),
        ] {
            assert_eq!(weight(text.as_bytes()), expected, "{text:?}");
        }
    }
}
