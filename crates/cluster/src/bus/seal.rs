//! Proofs that messages come from a node that knows the bus secret (`cluster-bus-secret`).
//!
//! The bus of stock servers believes whoever can connect. With a secret, each connection begins with a greeting of either
//! side, and each message is followed by a proof:
//!
//! ```text
//!   opener      "RSec" nonce (40)                 message  proof (32)   message  proof (32)   …
//!   acceptor    "RSec" nonce (40)                 message  proof (32)   …
//!
//!   key of a direction   HMAC-SHA-256(secret, direction, nonce of the opener, nonce of the acceptor)
//!   proof                HMAC-SHA-256(key, number of the message in its direction (8), message)
//! ```
//!
//! **Why it holds.** Without the secret no key is known, and so no proof of any message. Both nonces are new with each
//! connection and each side has chosen one, so what was sent on another connection, or in the other direction, proves
//! nothing here. The number keeps messages of one connection from being repeated, left out or reordered. A side sends no
//! message before it has the other's nonce: until then messages wait here.
//!
//! **What it does not do.** Messages can be read on their way: nothing is encrypted. All nodes share the secret, so one that
//! knows it can speak for any other. Stock servers do not know of it: a node with a secret has no connections with them.
//!
//! A wrong proof, or none, ends the connection: where the next message begins is not known either.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::frame::{FrameError, NextFrame, next_frame};

/// Length of a nonce.
pub const NONCE_LEN: usize = 40;

/// What a greeting begins with. A node without a secret finds a bad signature.
const GREETING: &[u8; 4] = b"RSec";

const GREETING_LEN: usize = GREETING.len() + NONCE_LEN;

const PROOF_LEN: usize = 32;

/// Messages that wait for the greeting of the peer have no more bytes than this.
const WAITING_MAX: usize = 1 << 20;

/// What received bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub enum NextSealed {
    /// An incomplete greeting or message.
    NeedMore,
    /// A greeting.
    Greeting {
        /// Its length.
        len: usize,
        /// Bytes to send: messages that waited for it.
        waited: Vec<u8>,
    },
    /// A message with a right proof.
    Message {
        /// The length of the message.
        len: usize,
        /// … and with its proof.
        with_proof: usize,
    },
}

/// Why a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The peer has not sent a greeting.
    NoGreeting,
    /// A proof is wrong: the peer has another secret, or somebody has changed or repeated a message.
    WrongProof,
    /// These are no bytes of the bus.
    Frame(FrameError),
    /// The peer takes no messages.
    TooManyWait,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::NoGreeting => f.write_str("it does not use a bus secret"),
            SealError::WrongProof => {
                f.write_str("it has another bus secret, or is not who it says")
            }
            SealError::Frame(error) => error.fmt(f),
            SealError::TooManyWait => f.write_str("it does not prove that it has the bus secret"),
        }
    }
}

impl std::error::Error for SealError {}

/// A direction of a connection.
struct Direction {
    mac: Hmac<Sha256>,
    /// How many messages there were.
    count: u64,
}

impl Direction {
    /// Returns the state behind the next message, of which the proof is made.
    fn next(&mut self, message: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&self.count.to_be_bytes());
        mac.update(message);
        self.count += 1;
        mac
    }
}

/// The proofs of a connection.
pub struct Seal {
    secret: Hmac<Sha256>,
    nonce: [u8; NONCE_LEN],
    is_opener: bool,
    /// Sent and received; none before the greeting of the peer.
    directions: Option<(Direction, Direction)>,
    waiting: Vec<Vec<u8>>,
    waiting_bytes: usize,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("is_opener", &self.is_opener).finish_non_exhaustive()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl Seal {
    /// Creates the proofs of a connection. The nonce must be new, and not to be foreseen.
    pub fn new(secret: &[u8], nonce: [u8; NONCE_LEN], is_opener: bool) -> Seal {
        let secret = keyed(secret);
        let (directions, waiting, waiting_bytes) = (None, Vec::new(), 0);
        Seal { secret, nonce, is_opener, directions, waiting, waiting_bytes }
    }

    /// Returns what to send first.
    pub fn greeting(&self) -> Vec<u8> {
        [GREETING.as_slice(), &self.nonce].concat()
    }

    /// Returns a message with its proof; none if it waits for the greeting of the peer.
    pub fn seal(&mut self, message: Vec<u8>) -> Result<Option<Vec<u8>>, SealError> {
        if let Some((sent, _)) = &mut self.directions {
            return Ok(Some(with_proof(sent, message)));
        }
        self.waiting_bytes += message.len();
        if self.waiting_bytes > WAITING_MAX {
            return Err(SealError::TooManyWait);
        }
        self.waiting.push(message);
        Ok(None)
    }

    /// Returns what received bytes begin with, which the next call must not see again, except after `NeedMore`.
    pub fn next(&mut self, bytes: &[u8], is_known: bool) -> Result<NextSealed, SealError> {
        let Some((_, received)) = &mut self.directions else { return self.greeted(bytes) };
        let len = match next_frame(bytes, is_known).map_err(SealError::Frame)? {
            NextFrame::NeedMore => return Ok(NextSealed::NeedMore),
            NextFrame::Frame(len) => len,
        };
        let with_proof = len + PROOF_LEN;
        let Some(proof) = bytes.get(len..with_proof) else { return Ok(NextSealed::NeedMore) };
        let is_right = received.next(&bytes[..len]).verify_slice(proof).is_ok();
        match is_right {
            true => Ok(NextSealed::Message { len, with_proof }),
            false => Err(SealError::WrongProof),
        }
    }

    fn greeted(&mut self, bytes: &[u8]) -> Result<NextSealed, SealError> {
        if bytes.iter().zip(GREETING).any(|(byte, expected)| byte != expected) {
            return Err(SealError::NoGreeting);
        }
        let Some(theirs) = bytes.get(GREETING.len()..GREETING_LEN) else {
            return Ok(NextSealed::NeedMore);
        };
        let nonces = match self.is_opener {
            true => [self.nonce.as_slice(), theirs],
            false => [theirs, self.nonce.as_slice()],
        };
        let direction = |label: &[u8]| {
            let mut mac = self.secret.clone();
            mac.update(label);
            nonces.iter().for_each(|nonce| mac.update(nonce));
            Direction { mac: keyed(&mac.finalize().into_bytes()), count: 0 }
        };
        let (from_opener, from_acceptor) = (direction(b"opener:"), direction(b"acceptor:"));
        let (mut sent, received) = match self.is_opener {
            true => (from_opener, from_acceptor),
            false => (from_acceptor, from_opener),
        };
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let waited = waiting.flat_map(|message| with_proof(&mut sent, message)).collect();
        self.directions = Some((sent, received));
        Ok(NextSealed::Greeting { len: GREETING_LEN, waited })
    }
}

fn with_proof(direction: &mut Direction, mut message: Vec<u8>) -> Vec<u8> {
    let proof = direction.next(&message).finalize().into_bytes();
    message.extend_from_slice(&proof);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef";

    fn message(kind: u8) -> Vec<u8> {
        let mut bytes = b"RCmb\0\0\x08\xd0\0\x01\0\0\0".to_vec();
        bytes.push(kind);
        bytes.resize(2256, kind);
        bytes
    }

    /// Two sides of a connection that have greeted each other.
    fn pair(nonces: [u8; 2], secrets: [&[u8]; 2]) -> (Seal, Seal) {
        let mut opener = Seal::new(secrets[0], [nonces[0]; NONCE_LEN], true);
        let mut acceptor = Seal::new(secrets[1], [nonces[1]; NONCE_LEN], false);
        let waited = |next| match next {
            Ok(NextSealed::Greeting { len: GREETING_LEN, waited }) => waited,
            other => panic!("{other:?}"),
        };
        assert!(waited(acceptor.next(&opener.greeting(), false)).is_empty());
        assert!(waited(opener.next(&acceptor.greeting(), false)).is_empty());
        (opener, acceptor)
    }

    fn sealed(side: &mut Seal, kind: u8) -> Vec<u8> {
        side.seal(message(kind)).unwrap().unwrap()
    }

    const GOOD: NextSealed = NextSealed::Message { len: 2256, with_proof: 2288 };

    #[test]
    fn messages_of_one_who_knows_the_secret_pass() {
        let (mut opener, mut acceptor) = pair([1, 2], [SECRET; 2]);
        for kind in 0..3 {
            let bytes = sealed(&mut opener, kind);
            assert_eq!(acceptor.next(&bytes[..2287], false), Ok(NextSealed::NeedMore));
            assert_eq!(acceptor.next(&bytes, false), Ok(GOOD));
            assert_eq!(opener.next(&sealed(&mut acceptor, kind), false), Ok(GOOD));
        }
    }

    #[test]
    fn a_changed_byte_or_another_secret_is_refused() {
        for at in [14, 2255, 2256, 2287] {
            let (mut opener, mut acceptor) = pair([1, 2], [SECRET; 2]);
            let mut bytes = sealed(&mut opener, 0);
            bytes[at] ^= 1;
            assert_eq!(acceptor.next(&bytes, false), Err(SealError::WrongProof), "{at}");
        }
        let (mut opener, mut acceptor) = pair([1, 2], [SECRET, b"fedcba9876543210"]);
        let bytes = sealed(&mut opener, 0);
        assert_eq!(acceptor.next(&bytes, false), Err(SealError::WrongProof));
    }

    #[test]
    fn what_was_recorded_proves_nothing() {
        let (mut opener, mut acceptor) = pair([1, 2], [SECRET; 2]);
        let (first, second) = (sealed(&mut opener, 0), sealed(&mut opener, 0));
        // On the same connection: again, or not in order.
        assert_eq!(acceptor.next(&first, false), Ok(GOOD));
        assert_eq!(acceptor.next(&first, false), Err(SealError::WrongProof));
        let (_, mut other) = pair([1, 2], [SECRET; 2]);
        assert_eq!(other.next(&second, false), Err(SealError::WrongProof));
        // On another one, whose acceptor has another nonce, though the opener repeats its own.
        let (_, mut other) = pair([1, 3], [SECRET; 2]);
        assert_eq!(other.next(&first, false), Err(SealError::WrongProof));
        // Sent back, with the nonce sent back as well.
        let (mut opener, _) = pair([1, 1], [SECRET; 2]);
        let bytes = sealed(&mut opener, 0);
        assert_eq!(opener.next(&bytes, false), Err(SealError::WrongProof));
    }

    #[test]
    fn messages_wait_for_the_greeting() {
        let mut opener = Seal::new(SECRET, [1; NONCE_LEN], true);
        let mut acceptor = Seal::new(SECRET, [2; NONCE_LEN], false);
        assert_eq!(opener.seal(message(0)), Ok(None));
        assert_eq!(opener.seal(message(1)), Ok(None));
        assert!(acceptor.next(&opener.greeting(), false).is_ok());
        let greeting = acceptor.greeting();
        assert_eq!(opener.next(&greeting[..GREETING_LEN - 1], false), Ok(NextSealed::NeedMore));
        let Ok(NextSealed::Greeting { waited, .. }) = opener.next(&greeting, false) else {
            panic!("a greeting");
        };
        assert_eq!(acceptor.next(&waited, false), Ok(GOOD));
        assert_eq!(acceptor.next(&waited[2288..], false), Ok(GOOD));
    }

    #[test]
    fn who_does_not_greet_is_refused_and_not_waited_for() {
        let mut acceptor = Seal::new(SECRET, [2; NONCE_LEN], false);
        assert_eq!(acceptor.next(&message(0), false), Err(SealError::NoGreeting));
        assert_eq!(acceptor.next(b"G", false), Err(SealError::NoGreeting));
        let mut sent = 0;
        while acceptor.seal(message(0)).is_ok() {
            sent += 1;
        }
        assert_eq!(sent, WAITING_MAX / 2256);
    }
}
