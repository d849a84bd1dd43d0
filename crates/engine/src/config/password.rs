//! The default user's password, from `requirepass` or a `user default` line.
//!
//! Stock servers store passwords as SHA-256, and their CONFIG REWRITE writes the hash into such a
//! line. A password given as text is kept as text, since CONFIG GET shows it, but is compared by
//! its hash, in constant time.

use std::fmt;

use sha2::{Digest, Sha256};

use super::grammar::{VALUE_BYTES_MAX, quote};
use super::value::{Kind, Line, Origin, Refusal, Setting};

/// SHA-256 of a password.
pub type Hash = [u8; 32];

/// A password.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The password itself; empty if none is required.
    Text(Vec<u8>),
    /// Its hash; the password is not known.
    Hash(Hash),
}

impl Default for Password {
    fn default() -> Password {
        Password::Text(Vec::new())
    }
}

impl Password {
    /// Whether no password is required.
    pub fn is_empty(&self) -> bool {
        matches!(self, Password::Text(text) if text.is_empty())
    }

    /// Whether this password is correct.
    pub fn matches(&self, given: &[u8]) -> bool {
        // Hashing time depends on the length, and no configuration can set a longer password.
        given.len() < VALUE_BYTES_MAX && is_same(&self.hash(), &hash(given))
    }

    /// Returns its hash.
    pub fn hash(&self) -> Hash {
        match self {
            Password::Text(text) => hash(text),
            Password::Hash(hash) => *hash,
        }
    }

    /// Returns the `user` line that sets it, if `requirepass` cannot.
    pub(super) fn user_line(&self) -> Option<Vec<u8>> {
        let Password::Hash(hash) = self else { return None };
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("user default on sanitize-payload #{hex} ~* &* +@all").into_bytes())
    }
}

/// SHA-256 of a password.
pub fn hash(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

/// Parses a hash of a `user` line: 64 lower-case hexadecimal digits.
pub(super) fn parse_hash(digits: &[u8]) -> Option<Hash> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut hash = Hash::default();
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(hash)
}

/// Compares two hashes in constant time.
fn is_same(one: &Hash, other: &Hash) -> bool {
    let differ = one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b));
    std::hint::black_box(differ) == 0
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Password(none)" } else { "Password(hidden)" })
    }
}

impl Setting for Password {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        let [word] = words else { return Err("wrong number of arguments".into()) };
        *self = Password::Text(word.to_vec());
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        match self {
            Password::Text(text) => text.clone(),
            // As in stock servers, CONFIG GET only shows a value of `requirepass`.
            Password::Hash(_) => Vec::new(),
        }
    }

    fn lines(&self, _: &Kind, default: &Self) -> Vec<Line> {
        match self {
            Password::Text(text) if !text.is_empty() => {
                vec![Line { words: quote(text), forced: self != default }]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2's example.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_hash_matches_its_password() {
        let password = Password::Hash(parse_hash(ABC.as_bytes()).expect("a hash"));
        assert!(password.matches(b"abc") && !password.is_empty());
        for other in [&b""[..], b"ab", b"abcd", b"Abc", ABC.as_bytes()] {
            assert!(!password.matches(other));
        }
        assert_eq!(Password::Text(b"abc".to_vec()).hash(), password.hash());
        assert!(!format!("{password:?}").contains("ba"));
    }

    #[test]
    fn invalid_hashes_are_refused() {
        for text in ["", &ABC[1..], &ABC.to_uppercase(), &ABC.replace('b', "g"), &format!("{ABC}0")]
        {
            assert_eq!(parse_hash(text.as_bytes()), None, "{text}");
        }
    }
}
