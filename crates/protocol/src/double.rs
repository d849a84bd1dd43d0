//! Doubles as text: the shortest digits that are read as the same double, laid out as Redis does from version 7.2 on.
//!
//! ```text
//!   digits · 10^k          as                   such as
//!   k ≥ 0, few zeros       an integer           1500
//!   k < 0, close enough    a decimal fraction   0.00015  1.5
//!   else                   with an exponent     1.5e-9  1e+25
//! ```

use std::io::Write;

use crate::number::push_i64;

/// Maximum number of zeros behind the digits of an integer, less one.
const ZEROS_MAX: i32 = 7;

/// Doubles with a larger magnitude are never formatted as integers of 64 bits.
const INTEGER_MAX: f64 = (i64::MAX / 2) as f64;

/// Returns the integer that a double equals, for magnitudes up to 2^62. Both zeros are zero.
#[must_use]
pub fn as_integer(value: f64) -> Option<i64> {
    let is_within = (-INTEGER_MAX..=INTEGER_MAX).contains(&value);
    is_within.then_some(value as i64).filter(|integer| *integer as f64 == value)
}

/// Appends a double as replies show it: integers of up to 2^62 with all digits, others like [`push_shortest`].
pub fn push_double(out: &mut Vec<u8>, value: f64) {
    match as_integer(value) {
        Some(0) if value.is_sign_negative() => out.extend_from_slice(b"-0"),
        Some(integer) => push_i64(out, integer),
        None => push_shortest(out, value),
    }
}

/// Appends the shortest text of a double: `inf`, `-inf`, `nan`, or digits.
pub fn push_shortest(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value.is_infinite() {
        return out.extend_from_slice(b"inf");
    }
    // At most 17 digits, a point, and an exponent of up to four characters.
    let mut scientific = [0; 32];
    let mut rest = &mut scientific[..];
    if write!(rest, "{:e}", value.abs()).is_err() {
        unreachable!("the text of a double has less than 32 characters");
    }
    let unused = rest.len();
    layout(&scientific[..scientific.len() - unused], out);
}

/// Appends a positive number, given as digits with a point behind the first, `e`, and an exponent.
fn layout(scientific: &[u8], out: &mut Vec<u8>) {
    let mark = scientific.iter().position(|byte| *byte == b'e').unwrap_or(scientific.len());
    let (significand, exponent) = scientific.split_at(mark);
    let exponent: i32 = exponent
        .get(1..)
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .unwrap_or(0);
    let mut buffer = [0; 32];
    let mut count = 0;
    for digit in significand.iter().filter(|byte| **byte != b'.') {
        buffer[count] = *digit;
        count += 1;
    }
    let (digits, len) = (&buffer[..count], count as i32);
    // The number is the digits, read as an integer, times ten to this power.
    let power = exponent - (len - 1);
    let zeros = |count: i32| std::iter::repeat_n(b'0', count.max(0) as usize);
    if power >= 0 && exponent < len + ZEROS_MAX {
        out.extend_from_slice(digits);
        out.extend(zeros(power));
    } else if power < 0 && (power > -7 || exponent.abs() < 4) {
        let whole = len + power;
        if whole <= 0 {
            out.extend_from_slice(b"0.");
            out.extend(zeros(-whole));
            out.extend_from_slice(digits);
        } else {
            let (integer, fraction) = digits.split_at(whole as usize);
            out.extend_from_slice(integer);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        out.extend_from_slice(&digits[..1]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        push_i64(out, i64::from(exponent.abs()));
    }
}

#[cfg(test)]
mod tests {
    use super::{push_double, push_shortest};

    fn text(push: fn(&mut Vec<u8>, f64), value: f64) -> String {
        let mut out = Vec::new();
        push(&mut out, value);
        String::from_utf8(out).expect("digits")
    }

    #[test]
    fn doubles_have_the_text_of_redis() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1500.0, "-1500"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1.23456789, "1.23456789"),
            (0.000_123, "0.000123"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-9, "1.5e-9"),
            (0.1 + 0.2, "0.30000000000000004"),
            // The power of ten of the last digit decides, not the size of the number.
            (3.141_592_653_589_793e-5, "3.141592653589793e-5"),
            (1e17, "100000000000000000"),
            (1e22, "1e+22"),
            (1.234_567_890_123_456_7e23, "123456789012345670000000"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(text(push_double, value), expected);
        }
        assert_eq!(text(push_shortest, 1e17), "1e+17");
        assert_eq!(text(push_shortest, 1e7), "10000000");
        assert_eq!(text(push_shortest, 1e8), "1e+8");
        assert_eq!(text(push_shortest, -0.0), "-0");
    }

    #[test]
    fn texts_are_read_as_the_same_double() {
        let mut bits = 1_u64;
        for _ in 0..20_000 {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                assert_eq!(text(push_double, value).parse(), Ok(value), "{value:e}");
                assert_eq!(text(push_shortest, value).parse(), Ok(value), "{value:e}");
            }
        }
    }
}
