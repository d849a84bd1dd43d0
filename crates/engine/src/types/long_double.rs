//! Fractions for INCRBYFLOAT and HINCRBYFLOAT: 80-bit extended doubles of the x87, parsed and
//! formatted like C's `strtold` and `%.17Lf`, on any machine.
//!
//! ```text
//!   79     78             64 63                                          0
//!  ┌──────┬─────────────────┬────────────────────────────────────────────┐
//!  │ sign │ exponent, 15    │ significand, 64, its integer bit written   │   (-1)^s · m · 2^(e - 16446)
//!  └──────┴─────────────────┴────────────────────────────────────────────┘
//! ```
//!
//! Formatting is exact. Below 2^63 the number times 10^17 is a 121-bit integer divided by a power
//! of two; above it the number is an integer of at most 16384 bits.

use rustc_apfloat::ieee::{Double, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert, Round};

/// Maximum length of a parsed text in bytes, as in stock servers.
const TEXT_LEN_MAX: usize = 5 * 1024 - 1;

/// Larger exponents are clamped to this value: they are out of range for every significand that
/// fits into [`TEXT_LEN_MAX`].
const EXPONENT_MAX: i32 = 100_000;

/// Number of digits after the decimal point.
const FRACTION_DIGITS: usize = 17;

/// A finite or infinite extended double.
#[derive(Clone, Copy, Debug)]
pub struct LongDouble(X87DoubleExtended);

impl LongDouble {
    /// Zero.
    pub const ZERO: LongDouble = LongDouble(X87DoubleExtended::ZERO);

    /// Parses a number like `strtold`: decimal, hexadecimal, or infinity. Returns none for other or
    /// too long texts, and for numbers that are out of range or NaN.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() > TEXT_LEN_MAX {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let magnitude: X87DoubleExtended = parse_unsigned(unsigned)?;
        Some(LongDouble(if negative { -magnitude } else { magnitude }))
    }

    /// Converts a double.
    pub fn of(value: f64) -> LongDouble {
        let double = Double::from_bits(u128::from(value.to_bits()));
        LongDouble(double.convert(&mut false).value)
    }

    /// Whether it is finite.
    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }

    /// Returns the sum, rounded to nearest even; none if it is infinite or NaN.
    pub fn plus(self, other: LongDouble) -> Option<LongDouble> {
        let sum = (self.0 + other.0).value;
        sum.is_finite().then_some(LongDouble(sum))
    }

    /// Returns seconds as milliseconds, rounded up; none if they are out of range.
    pub fn to_millis(self) -> Option<i64> {
        let thousand = X87DoubleExtended::from_i128(1000).value;
        let millis = (self.0 * thousand).value.to_i128_r(128, Round::TowardPositive, &mut false);
        match self.0.is_negative() {
            true => Some(i64::try_from(millis.value).unwrap_or(i64::MIN)),
            false => i64::try_from(millis.value).ok(),
        }
    }

    /// Formats the number with 17 digits after the decimal point, without trailing zeros. Must be
    /// finite.
    pub fn to_text(self) -> Vec<u8> {
        let bits = self.0.to_bits();
        let significand = bits as u64;
        let exponent = (bits >> 64 & 0x7fff) as i32;
        // The lowest exponent (of denormals) has the same scale as the next one.
        let scale = exponent.max(1) - 16_446;
        let mut text = if scale < 0 {
            with_fraction(significand, scale.unsigned_abs())
        } else {
            integer(significand, scale.unsigned_abs())
        };
        if self.0.is_negative() && text != b"0" {
            text.insert(0, b'-');
        }
        text
    }
}

/// Parses a number without a sign. See [`LongDouble::parse`].
pub fn parse_unsigned<F: Float>(text: &[u8]) -> Option<F> {
    if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
        return Some(F::INFINITY);
    }
    let (hex, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let is_digit = |b: &u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    let mark = if hex { b'p' } else { b'e' };
    let end = digits.iter().position(|b| b.eq_ignore_ascii_case(&mark)).unwrap_or(digits.len());
    let (significand, exponent) = digits.split_at(end);
    let points = significand.iter().filter(|b| **b == b'.').count();
    let count = significand.iter().filter(|b| is_digit(b)).count();
    if points > 1 || count == 0 || count + points != significand.len() {
        return None;
    }
    let exponent = match exponent {
        [] => 0,
        [_, exponent @ ..] => parse_exponent(exponent)?,
    };
    let significand = std::str::from_utf8(significand).ok()?;
    let normal = match hex {
        true => format!("0x{significand}p{exponent}"),
        false => format!("{significand}e{exponent}"),
    };
    let value = normal.parse::<F>().ok()?;
    let is_zero = significand.bytes().all(|b| matches!(b, b'0' | b'.'));
    // Overflow and underflow are errors; a denormal is not.
    (value.is_finite() && value.is_zero() == is_zero).then_some(value)
}

fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i32, |value, digit| {
        value.saturating_mul(10).saturating_add(i32::from(digit - b'0')).min(EXPONENT_MAX)
    });
    Some(if negative { -value } else { value })
}

/// Returns `significand / 2^shift`, rounded half to even at the last digit.
fn with_fraction(significand: u64, shift: u32) -> Vec<u8> {
    let scaled = u128::from(significand) * 10_u128.pow(FRACTION_DIGITS as u32);
    // Below 2^121, a larger shift gives less than half of the last digit.
    let rounded = if shift > 121 {
        0
    } else {
        let (whole, rest) = (scaled >> shift, scaled & ((1 << shift) - 1));
        let half = 1 << (shift - 1);
        whole + u128::from(rest > half || (rest == half && whole & 1 == 1))
    };
    let unit = 10_u128.pow(FRACTION_DIGITS as u32);
    let mut text =
        format!("{}.{:0width$}", rounded / unit, rounded % unit, width = FRACTION_DIGITS);
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    text.into_bytes()
}

/// Returns `significand · 2^shift` in decimal, by dividing the integer by powers of ten.
fn integer(significand: u64, shift: u32) -> Vec<u8> {
    const CHUNK: u64 = 1_000_000_000_000_000_000;
    let (words, bits) = ((shift / 64) as usize, shift % 64);
    // The least significant word comes first.
    let wide = u128::from(significand) << bits;
    let mut number = vec![0_u64; words];
    number.extend([wide as u64, (wide >> 64) as u64]);
    let mut chunks = Vec::new();
    while number.iter().any(|&word| word != 0) {
        let mut rest = 0_u64;
        for word in number.iter_mut().rev() {
            let dividend = u128::from(rest) << 64 | u128::from(*word);
            // The remainder is below the divisor, so the quotient fits into a word.
            (*word, rest) =
                ((dividend / u128::from(CHUNK)) as u64, (dividend % u128::from(CHUNK)) as u64);
        }
        chunks.push(rest);
        while number.last() == Some(&0) {
            number.pop();
        }
    }
    let mut text = chunks.pop().unwrap_or(0).to_string();
    for chunk in chunks.iter().rev() {
        text.push_str(&format!("{chunk:018}"));
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::LongDouble;

    fn sum(a: &str, b: &str) -> Option<String> {
        let sum = LongDouble::parse(a.as_bytes())?.plus(LongDouble::parse(b.as_bytes())?)?;
        Some(String::from_utf8(sum.to_text()).expect("digits"))
    }

    // Replies of stock servers of version 7.0 on x86-64.
    #[test]
    fn sums_equal_those_of_stock_servers() {
        for (a, b, expected) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0", "-0", "0"),
            ("0", "-1e-19", "0"),
            ("1", "1e-17", "1.00000000000000001"),
            ("3.0", "1.000000000000000005", "4.00000000000000001"),
            ("17179869184", "1.5", "17179869185.5"),
            ("0.1", "0.2", "0.3"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("0x1p-3", "0X.8", "0.625"),
            ("1e22", "1", "10000000000000000000000"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn invalid_numbers_are_refused() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "e5",
            "1e",
            "1e+",
            "0x",
            "0x1p",
            "1.2.3",
            " 1",
            "1 ",
            "1a",
            "--1",
            "nan",
            "NAN",
            "1e5000",
            "1e-5000",
            "1e999999999999999999999",
            "0x1p99999999999",
            "1\0",
            "infinit",
        ] {
            assert!(LongDouble::parse(text.as_bytes()).is_none(), "{text:?}");
        }
        assert!(LongDouble::parse(&[b'0'; 5119]).is_some());
        assert!(LongDouble::parse(&[b'0'; 5120]).is_none());
    }

    #[test]
    fn infinity_is_parsed_and_never_formatted() {
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("+Infinity", "-inf"), None);
        assert_eq!(sum("1.1e4932", "1.1e4932"), None);
    }

    #[test]
    fn extreme_numbers_have_all_digits() {
        let largest = sum("1.18973149535723176502e4932", "0").expect("finite");
        assert_eq!(largest.len(), 4933);
        assert!(largest.starts_with("118973149535723176502126385303097020516906332229462420"));
        assert!(largest.ends_with("6811989770240"), "{}", &largest[4900..]);
        assert_eq!(sum("3.6e-4951", "0").as_deref(), Some("0"));
    }
}
