//! The default user's password: what `requirepass` says, or a `user default` line of the configuration file.
//!
//! Stock servers keep passwords as SHA-256, and CONFIG REWRITE of theirs writes the hash into such a line. Here a
//! password that was given as text stays text, since CONFIG GET shows it; it is compared by its hash all the same,
//! which takes the same time wherever two passwords differ.

use std::fmt;

use sha2::{Digest, Sha256};

use super::grammar::{VALUE_BYTES_MAX, quote};
use super::value::{Kind, Line, Origin, Refusal, Setting};

/// SHA-256 of a password.
pub type Hash = [u8; 32];

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The password itself; empty if none is asked for.
    Text(Vec<u8>),
    /// Its hash: the password is not known.
    Hash(Hash),
}

impl Default for Password {
    fn default() -> Password {
        Password::Text(Vec::new())
    }
}

impl Password {
    /// Whether no password is asked for.
    pub fn is_empty(&self) -> bool {
        matches!(self, Password::Text(text) if text.is_empty())
    }

    /// Whether this is the password.
    pub fn matches(&self, given: &[u8]) -> bool {
        // Hashing takes as long as what is given; no configuration can say a longer one.
        given.len() < VALUE_BYTES_MAX && is_same(&self.hash(), &hash(given))
    }

    /// Its hash.
    pub fn hash(&self) -> Hash {
        match self {
            Password::Text(text) => hash(text),
            Password::Hash(hash) => *hash,
        }
    }

    /// The line that says it in a configuration file, if `requirepass` cannot.
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

/// Reads a hash as a `user` line says it: 64 lower-case hexadecimal digits.
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

/// Compares in a time that tells nothing of where two hashes differ.
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
            // As with stock servers, whose CONFIG GET knows only what `requirepass` said.
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
    fn a_hash_knows_its_password() {
        let password = Password::Hash(parse_hash(ABC.as_bytes()).expect("a hash"));
        assert!(password.matches(b"abc") && !password.is_empty());
        for other in [&b""[..], b"ab", b"abcd", b"Abc", ABC.as_bytes()] {
            assert!(!password.matches(other));
        }
        assert_eq!(Password::Text(b"abc".to_vec()).hash(), password.hash());
        assert!(!format!("{password:?}").contains("ba"));
    }

    #[test]
    fn what_is_no_hash() {
        for text in ["", &ABC[1..], &ABC.to_uppercase(), &ABC.replace('b', "g"), &format!("{ABC}0")]
        {
            assert_eq!(parse_hash(text.as_bytes()), None, "{text}");
        }
    }
}
