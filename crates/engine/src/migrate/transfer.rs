//! A migration: what the client asked for, and how far it has come.

use std::collections::{BTreeSet, VecDeque};

use russet_protocol::{ErrorReply, Protocol, Reply, ReplyWriter};

use crate::ids::Handle;

/// Milliseconds of a timeout that is zero or negative.
const TIMEOUT_MS: u64 = 1000;

/// What MIGRATE asks for, except the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Name or address of the target.
    pub host: String,
    /// Its port, as it was given.
    pub port: String,
    /// The database there, as it was given; the target decides whether it exists.
    pub db: i64,
    /// Milliseconds without progress after which the migration fails, as they were given.
    pub timeout_ms: i64,
    /// Whether the keys stay.
    pub copies: bool,
    /// Whether keys of the target are replaced.
    pub replaces: bool,
    /// The user there, if one was given.
    pub username: Option<Vec<u8>>,
    /// The password there.
    pub password: Option<Vec<u8>>,
}

impl Transfer {
    /// Returns the port if it is one.
    pub fn port_number(&self) -> Option<u16> {
        self.port.parse().ok().filter(|&port| port != 0)
    }

    /// Returns the target for messages.
    pub fn target(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Returns AUTH with its arguments, if there is a password.
    pub fn auth_command(&self) -> Option<Vec<&[u8]>> {
        let password = self.password.as_deref()?;
        Some([&b"AUTH"[..]].into_iter().chain(self.username.as_deref()).chain([password]).collect())
    }

    fn timeout_us(&self) -> u64 {
        let ms = u64::try_from(self.timeout_ms).ok().filter(|&ms| ms > 0).unwrap_or(TIMEOUT_MS);
        ms.saturating_mul(1000)
    }
}

/// What the next reply of the target answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Auth,
    Select,
    /// RESTORE of the key with this index.
    Restore(usize),
}

/// A migration in progress.
#[derive(Debug)]
pub(super) struct Running {
    pub client: Handle,
    /// The database here.
    pub db: u32,
    pub transfer: Transfer,
    keys: Vec<Box<[u8]>>,
    /// Their hashes.
    pub hashes: BTreeSet<u64>,
    /// The index of the next key to send.
    next: usize,
    pub link: Option<Handle>,
    /// When the target counts as silent.
    pub deadline_us: u64,
    /// The replies that are missing, in order.
    pub awaited: VecDeque<Awaited>,
    /// How many of them must come before payloads are sent; none: there is no connection yet.
    pub greetings: Option<usize>,
    /// The indexes of the keys that the target has.
    pub acknowledged: Vec<usize>,
    /// The first error of the target.
    pub error: Option<ErrorReply>,
    /// Whether a payload has been answered.
    has_answers: bool,
    has_retried: bool,
    /// Whether the target was once slower than this node.
    pub is_behind: bool,
    /// Whether the connection was lost with output that was not written.
    pub is_writing: bool,
    /// Whether the keys that are here now may not be those that were sent.
    pub is_void: bool,
    was_replica: bool,
}

impl Running {
    pub fn new(
        (client, db): (Handle, u32),
        transfer: Transfer,
        keys: Vec<Box<[u8]>>,
        is_replica: bool,
    ) -> Running {
        Running {
            client,
            db,
            transfer,
            keys,
            hashes: BTreeSet::new(),
            next: 0,
            link: None,
            deadline_us: 0,
            awaited: VecDeque::new(),
            greetings: None,
            acknowledged: Vec::new(),
            error: None,
            has_answers: false,
            has_retried: false,
            is_behind: false,
            is_writing: false,
            is_void: false,
            was_replica: is_replica,
        }
    }

    /// Computes the hashes of the keys.
    pub fn hash_keys(&mut self, hash: impl Fn(&[u8]) -> u64) {
        self.hashes = self.keys.iter().map(|key| hash(key)).collect();
    }

    /// Sets the deadline after something was read or written.
    pub fn progressed(&mut self, now_us: u64) {
        self.deadline_us = now_us.saturating_add(self.transfer.timeout_us());
    }

    /// Takes the index of the next key to send.
    pub fn take_next(&mut self) -> Option<usize> {
        let index = self.next;
        self.next += usize::from(index < self.keys.len());
        (self.next > index).then_some(index)
    }

    /// Whether there are keys to send.
    pub fn has_more(&self) -> bool {
        self.next < self.keys.len()
    }

    /// Returns a key by its index.
    pub fn key(&self, index: usize) -> &[u8] {
        &self.keys[index]
    }

    /// Whether everything is sent and answered.
    pub fn is_complete(&self) -> bool {
        !self.has_more() && self.awaited.is_empty()
    }

    /// Handles a reply. Returns false if it is none that a server gives to these commands.
    pub fn answered(&mut self, reply: Reply<'_>) -> bool {
        let Some(awaited) = self.awaited.pop_front() else { return false };
        if awaited == Awaited::Auth || awaited == Awaited::Select {
            self.greetings = self.greetings.map(|missing| missing.saturating_sub(1));
        } else {
            self.has_answers = true;
        }
        match (reply, awaited) {
            (Reply::Error(text), _) => {
                self.error.get_or_insert_with(|| target_error(text));
                if !matches!(awaited, Awaited::Restore(_)) {
                    // Nothing is sent to a target that refuses us.
                    self.next = self.keys.len();
                }
            }
            (Reply::Simple(b"OK"), Awaited::Restore(index)) => self.acknowledged.push(index),
            (Reply::Simple(b"OK"), _) => {}
            _ => return false,
        }
        true
    }

    /// Begins again on a new connection, if no payload was answered. Once only.
    pub fn begin_again(&mut self) -> bool {
        if self.has_retried || self.has_answers || self.error.is_some() {
            return false;
        }
        self.awaited.clear();
        (self.next, self.greetings, self.has_retried) = (0, None, true);
        true
    }

    /// Returns the keys to delete. If the migration is void, there are none, which is an error.
    pub fn take_acknowledged(&mut self, is_replica: bool) -> Vec<Box<[u8]>> {
        if self.transfer.copies || self.acknowledged.is_empty() {
            return Vec::new();
        }
        if self.is_void || is_replica != self.was_replica {
            self.error.get_or_insert(VOID);
            return Vec::new();
        }
        self.acknowledged.iter().map(|&index| std::mem::take(&mut self.keys[index])).collect()
    }
}

/// The error of a blocked client whose server is no master any more, in Redis' words.
const VOID: ErrorReply = ErrorReply::fixed(
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
);

fn target_error(text: &[u8]) -> ErrorReply {
    ErrorReply::quoting("ERR Target instance replied with error: ", text, "")
}

/// Returns RESTORE up to its payload.
pub(super) fn restore_head(
    (command, key, ttl_ms): (&[u8], &[u8], i64),
    payload_len: usize,
    replaces: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ReplyWriter::new(&mut out, Protocol::Resp2);
    writer.array(if replaces { 5 } else { 4 });
    writer.bulk(command);
    writer.bulk(key);
    writer.bulk_integer(ttl_ms);
    out.extend_from_slice(format!("${}\r\n", payload_len).as_bytes());
    out
}

/// Returns what follows the payload.
pub(super) fn restore_tail(replaces: bool) -> &'static [u8] {
    if replaces { b"\r\n$7\r\nREPLACE\r\n" } else { b"\r\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(keys: usize) -> Running {
        let keys = (0..keys).map(|index| vec![index as u8].into()).collect();
        Running::new((Handle { index: 0, generation: 0 }, 0), Transfer::default(), keys, false)
    }

    fn send_all(running: &mut Running) {
        while let Some(index) = running.take_next() {
            running.awaited.push_back(Awaited::Restore(index));
        }
    }

    #[test]
    fn the_first_error_is_reported_and_what_was_acknowledged_is_deleted() {
        let mut it = running(4);
        send_all(&mut it);
        let replies = [
            Reply::Simple(b"OK"),
            Reply::Error(b"A a"),
            Reply::Error(b"B b"),
            Reply::Simple(b"OK"),
        ];
        for reply in replies {
            assert!(!it.is_complete() && it.answered(reply));
        }
        assert!(it.is_complete() && !it.answered(Reply::Simple(b"OK")));
        let keys = it.take_acknowledged(false);
        assert_eq!(keys, [Box::from([0]), Box::from([3])]);
        let text = "ERR Target instance replied with error: A a";
        assert_eq!(it.error.map(|error| error.to_string()), Some(text.to_owned()));
    }

    #[test]
    fn a_void_migration_deletes_nothing() {
        for (is_void, is_replica) in [(true, false), (false, true)] {
            let mut it = running(1);
            send_all(&mut it);
            it.answered(Reply::Simple(b"OK"));
            it.is_void = is_void;
            assert!(it.take_acknowledged(is_replica).is_empty() && it.error.is_some());
        }
    }

    #[test]
    fn it_begins_again_once_and_only_before_the_first_answer() {
        let mut it = running(2);
        it.awaited.push_back(Awaited::Select);
        it.greetings = Some(1);
        assert!(it.answered(Reply::Simple(b"OK")));
        send_all(&mut it);
        assert!(it.begin_again() && it.awaited.is_empty() && !it.is_complete());
        assert!(!it.begin_again());
        let mut it = running(2);
        send_all(&mut it);
        it.answered(Reply::Simple(b"OK"));
        assert!(!it.begin_again());
    }

    #[test]
    fn timeouts_have_a_default_and_do_not_overflow() {
        for (given, us) in [(0, 1_000_000), (-5, 1_000_000), (1, 1000), (i64::MAX, u64::MAX)] {
            let transfer = Transfer { timeout_ms: given, ..Transfer::default() };
            assert_eq!(transfer.timeout_us(), us, "{given}");
        }
    }
}
