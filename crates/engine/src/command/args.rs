//! The arguments of a command, as its function sees them.

use std::ops::Index;

use russet_ds::SharedBytes;
use russet_protocol::number::parse_i64;
use russet_protocol::{ArgRange, ErrorReply};

use super::Command;
use crate::io::Now;
use crate::keyspace::{Key, KeyHasher};
use crate::transaction::Queued;
use crate::types::long_double::LongDouble;

/// Arguments borrowed from a query buffer or a transaction's queue. The first is the name of the
/// command.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    ranges: &'a [ArgRange],
    /// Long arguments, which have their own buffers.
    large: &'a [SharedBytes],
    hasher: KeyHasher,
    /// The hash of the argument at an index, computed when the command was prefetched.
    ready: Option<(usize, u64)>,
    /// The command that they are arguments of.
    row: Option<&'static Command>,
}

impl<'a> Args<'a> {
    /// Takes the arguments at `ranges` of `bytes`.
    pub fn new(bytes: &'a [u8], ranges: &'a [ArgRange], hasher: KeyHasher) -> Args<'a> {
        Args { bytes, ranges, large: &[], hasher, ready: None, row: None }
    }

    /// Takes those of a request that was kept.
    pub(crate) fn of_queued(queued: &'a Queued, hasher: KeyHasher) -> Args<'a> {
        Args::new(&queued.bytes, &queued.ranges, hasher).with_large(&queued.large)
    }

    /// Adds the detached arguments.
    #[inline]
    pub(crate) fn with_large(mut self, large: &'a [SharedBytes]) -> Args<'a> {
        self.large = large;
        self
    }

    /// Returns the buffer of a long argument, to be shared instead of copied.
    #[inline]
    pub(crate) fn large(&self, index: usize) -> Option<&'a SharedBytes> {
        self.large.get(self.ranges.get(index)?.detached()?)
    }

    /// Returns the bytes of the long arguments.
    pub(crate) fn large_bytes(&self) -> usize {
        self.large.iter().map(|argument| argument.len()).sum()
    }

    /// Adds the hash of one argument, if it has been computed already.
    #[inline]
    pub(crate) fn with_ready(mut self, index: usize, hash: u64) -> Args<'a> {
        self.ready = Some((index, hash));
        self
    }

    /// Sets the command, whose key specs determine which arguments are keys.
    #[inline]
    pub(crate) fn of(mut self, row: &'static Command) -> Args<'a> {
        self.row = Some(row);
        self
    }

    /// Returns the number of arguments, including the name.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none, which is never true for a running command.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns an argument, with the lifetime of the buffer.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|range| slice(self.bytes, self.large, *range))
    }

    /// Iterates over the arguments from an index on.
    pub fn from(&self, from: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (bytes, ranges, large) = (self.bytes, self.ranges, self.large);
        ranges.iter().skip(from).map(move |range| slice(bytes, large, *range))
    }

    /// Iterates over all arguments.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.from(0)
    }

    /// Returns the command after the first `count` arguments.
    pub fn behind(&self, count: usize) -> Args<'a> {
        let ranges = self.ranges.get(count..).unwrap_or_default();
        Args { ranges, ready: None, row: None, ..*self }
    }

    /// Returns the key at an index, which a key spec of the command must name.
    #[inline]
    pub fn key(&self, index: usize) -> Key<'a> {
        debug_assert!(
            self.row.is_none_or(|row| row.names_key(index, self)),
            "no key spec names argument {index} of {:?}",
            self.row.map(|row| row.name)
        );
        let bytes = slice(self.bytes, self.large, self.ranges[index]);
        match self.ready {
            Some((ready, hash)) if ready == index => Key { bytes, hash },
            _ => self.hasher.key(bytes),
        }
    }

    /// Whether an argument is this word, ignoring case.
    #[inline]
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Parses an argument as a 64-bit integer.
    pub fn integer(&self, index: usize) -> Result<i64, ErrorReply> {
        self.get(index).and_then(parse_i64).ok_or(ErrorReply::NotInteger)
    }

    /// Parses an argument as an integer between two others, inclusive.
    pub fn integer_within(&self, index: usize, min: i64, max: i64) -> Result<i64, ErrorReply> {
        let integer = self.integer(index)?;
        if (min..=max).contains(&integer) {
            return Ok(integer);
        }
        let text = format_args!("value is out of range, value must between {min} and {max}");
        Err(ErrorReply::err(text))
    }

    /// Parses an argument as the index of one of `count` databases.
    pub fn db_index(&self, index: usize, count: u32) -> Result<u32, ErrorReply> {
        let number = self.integer_within(index, i64::from(i32::MIN), i64::from(i32::MAX))?;
        let db = u32::try_from(number).ok().filter(|&db| db < count);
        db.ok_or_else(|| ErrorReply::err("DB index is out of range"))
    }

    /// Parses an argument as a timeout: its milliseconds, and the monotonic microseconds at which
    /// it ends.
    pub fn timeout(&self, index: usize, now: Now) -> Result<(u64, u64), ErrorReply> {
        let error = |text: &'static str| Err(ErrorReply::fixed(text));
        let Ok(timeout) = self.integer(index) else {
            return error("ERR timeout is not an integer or out of range");
        };
        let Ok(timeout) = u64::try_from(timeout) else {
            return error("ERR timeout is negative");
        };
        let end_ms = now.mono_ms().saturating_add(timeout);
        if i64::try_from(end_ms).is_err() {
            return error("ERR timeout is out of range");
        }
        let wait_us = timeout.saturating_mul(1000);
        Ok((timeout, now.mono_us.saturating_add(wait_us)))
    }

    /// Parses an argument as the seconds that a command may block, with a fraction. Returns the monotonic microseconds at which
    /// that ends; none: never.
    pub fn blocking_seconds(&self, index: usize, now: Now) -> Result<Option<u64>, ErrorReply> {
        let not_a_float = ErrorReply::fixed("ERR timeout is not a float or out of range");
        let seconds = LongDouble::parse(&self[index]).ok_or(not_a_float)?;
        let out_of_range = ErrorReply::fixed("ERR timeout is out of range");
        blocking_deadline(seconds.to_millis().ok_or(out_of_range)?, now)
    }

    /// Returns an argument as text for messages, with invalid UTF-8 replaced.
    pub fn text(&self, index: usize) -> String {
        String::from_utf8_lossy(self.get(index).unwrap_or_default()).into_owned()
    }

    /// Copies the arguments: their bytes, the range of each, and the long ones, which are shared.
    pub fn to_owned_parts(&self) -> (Vec<u8>, Vec<ArgRange>, Vec<SharedBytes>) {
        let short = self.ranges.iter().filter(|range| range.detached().is_none());
        let mut bytes = Vec::with_capacity(short.map(|range| range.end - range.start).sum());
        let mut ranges = Vec::with_capacity(self.len());
        for range in self.ranges {
            if range.detached().is_some() {
                ranges.push(*range);
                continue;
            }
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[range.start..range.end]);
            ranges.push(ArgRange { start, end: bytes.len() });
        }
        (bytes, ranges, self.large.to_vec())
    }
}

/// Returns the monotonic microseconds at which a command ends that may block so many milliseconds; none: never.
pub(in crate::command) fn blocking_deadline(
    millis: i64,
    now: Now,
) -> Result<Option<u64>, ErrorReply> {
    let Ok(millis) = u64::try_from(millis) else {
        return Err(ErrorReply::fixed("ERR timeout is negative"));
    };
    if millis == 0 {
        return Ok(None);
    }
    let is_in_range = now.wall_ms().checked_add_unsigned(millis).is_some();
    let end_us = millis.checked_mul(1000).and_then(|wait_us| now.mono_us.checked_add(wait_us));
    match is_in_range {
        // So late that it is never due.
        true => Ok(Some(end_us.unwrap_or(u64::MAX - 1))),
        false => Err(ErrorReply::fixed("ERR timeout is out of range")),
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// Returns an argument. The command's arity determines which indexes exist.
    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        slice(self.bytes, self.large, self.ranges[index])
    }
}

/// Returns the bytes of an argument of a request in `bytes`.
#[inline]
pub(crate) fn slice<'a>(bytes: &'a [u8], large: &'a [SharedBytes], range: ArgRange) -> &'a [u8] {
    match bytes.get(range.start..range.end) {
        Some(bytes) => bytes,
        None => large_slice(large, range),
    }
}

#[cold]
fn large_slice(large: &[SharedBytes], range: ArgRange) -> &[u8] {
    let bytes = range.detached().and_then(|index| large.get(index));
    bytes.expect("an argument is in its request's bytes or detached")
}
