//! Doubles as arguments and in files: read like C's `strtod`.

use rustc_apfloat::Float;
use rustc_apfloat::ieee::Double;

use super::long_double::parse_unsigned;

/// Maximum number of digits of integers that are doubles without rounding.
const EXACT_DIGITS: usize = 15;

/// Parses a whole text: decimal, hexadecimal, or infinity. Returns none for other texts, for NaN, and for numbers out of range:
/// too large, or so small that they would be zero.
pub fn parse(text: &[u8]) -> Option<f64> {
    let (negative, unsigned) = split_sign(text);
    let magnitude = magnitude(unsigned)?;
    Some(if negative { -magnitude } else { magnitude })
}

/// Parses a limit of a range like `strtod` without its errors: blanks may come first, no text is zero, and what is out of range
/// is infinite or zero. What follows a NUL is ignored.
pub fn parse_limit(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    if text.is_empty() {
        return Some(0.0);
    }
    let (negative, unsigned) = split_sign(&text[start..]);
    let out_of_range = || {
        // It has the form of a number, so std reads it, unless it is hexadecimal.
        let decimal = std::str::from_utf8(unsigned).ok().filter(|_| is_decimal(unsigned))?;
        decimal.parse::<f64>().ok()
    };
    let magnitude = magnitude(unsigned).or_else(out_of_range)?;
    Some(if negative { -magnitude } else { magnitude })
}

fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

/// Whether only digits, points and exponents are in it, as far as characters tell.
fn is_decimal(text: &[u8]) -> bool {
    text.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.')
        && text.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
}

fn magnitude(text: &[u8]) -> Option<f64> {
    if text.len() <= EXACT_DIGITS && text.iter().all(u8::is_ascii_digit) && !text.is_empty() {
        let integer = text.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        return Some(integer as f64);
    }
    if is_decimal(text) {
        let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        let mark = text.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(text.len());
        let is_zero = text[..mark].iter().all(|b| matches!(b, b'0' | b'.'));
        return (value.is_finite() && (value == 0.0) == is_zero).then_some(value);
    }
    let value = parse_unsigned::<Double>(text)?;
    u64::try_from(value.to_bits()).ok().map(f64::from_bits)
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_limit};

    #[test]
    fn numbers_are_read_as_in_c() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("-0", Some(-0.0)),
            ("+17", Some(17.0)),
            ("1.5e3", Some(1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("0x10", Some(16.0)),
            ("-0x1.8p1", Some(-3.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("9007199254740993", Some(9_007_199_254_740_992.0)),
            ("5e-324", Some(5e-324)),
            ("0e999", Some(0.0)),
        ] {
            assert_eq!(
                parse(text.as_bytes()).map(f64::to_bits),
                expected.map(f64::to_bits),
                "{text}"
            );
        }
        for text in [
            "", "-", ".", "nan", "1e400", "1e-400", "0x", "1 ", " 1", "1_0", "--1", "e5", "1e",
            "1\0",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn limits_are_read_without_errors_of_range() {
        for (text, expected) in [
            ("", Some(0.0)),
            (" \t1", Some(1.0)),
            ("1e400", Some(f64::INFINITY)),
            ("-1e400", Some(f64::NEG_INFINITY)),
            ("1e-400", Some(0.0)),
            ("1\0x", Some(1.0)),
            ("nan", None),
            ("1 ", None),
            ("x", None),
        ] {
            assert_eq!(parse_limit(text.as_bytes()), expected, "{text:?}");
        }
    }
}
