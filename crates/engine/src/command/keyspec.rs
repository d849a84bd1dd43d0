//! Key specs: which arguments of a command are keys.
//!
//! Prefetching and COMMAND GETKEYS find keys by these, and so will ACL and cluster routing. Where a
//! keyword precedes the keys, the row has a function that finds them
//! ([`Command::find_keys`](super::Command::find_keys)), and the spec only describes it to clients.

/// A range of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Index of the first key; 0 if a keyword precedes it.
    pub first: usize,
    /// Index of the last one. If negative it counts from the end: -1 is the last argument.
    pub last: i32,
    /// Distance from one key to the next.
    pub step: usize,
    /// What happens to them: bits of [`key_flag`].
    pub flags: u32,
    /// The word behind which the keys begin, if their index depends on others.
    pub keyword: Option<Keyword>,
}

/// A word behind which keys begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyword {
    /// In upper case.
    pub word: &'static str,
    /// Where the search for it begins. If negative it counts from the end, and the search goes backwards.
    pub from: i32,
}

/// What a command does with a key, as COMMAND INFO shows it.
#[expect(missing_docs, reason = "the names are Redis' and explained in its documentation")]
pub mod key_flag {
    pub const RW: u32 = 1 << 0;
    pub const RO: u32 = 1 << 1;
    pub const OW: u32 = 1 << 2;
    pub const RM: u32 = 1 << 3;
    pub const ACCESS: u32 = 1 << 4;
    pub const UPDATE: u32 = 1 << 5;
    pub const INSERT: u32 = 1 << 6;
    pub const DELETE: u32 = 1 << 7;
    pub const NOT_KEY: u32 = 1 << 8;
    pub const INCOMPLETE: u32 = 1 << 9;
    pub const VARIABLE_FLAGS: u32 = 1 << 10;
}

impl KeySpec {
    /// A single key.
    pub const fn one(index: usize, flags: u32) -> KeySpec {
        KeySpec { first: index, last: index as i32, step: 1, flags, keyword: None }
    }

    /// Every `step`-th argument from this index to the end.
    pub const fn rest(first: usize, step: usize, flags: u32) -> KeySpec {
        KeySpec { first, last: -1, step, flags, keyword: None }
    }

    /// All arguments behind a keyword.
    pub const fn behind(word: &'static str, from: i32, flags: u32) -> KeySpec {
        KeySpec { first: 0, last: -1, step: 1, flags, keyword: Some(Keyword { word, from }) }
    }

    /// Returns the index of the key, if there is one that does not depend on the arguments.
    #[inline]
    pub(crate) fn only_index(&self) -> Option<usize> {
        let is_one = self.first > 0 && self.last > 0 && self.last as usize == self.first;
        is_one.then_some(self.first)
    }

    /// Returns the indexes of the keys among `argc` arguments.
    pub fn indexes(&self, argc: usize) -> impl Iterator<Item = usize> + use<> {
        let last = if self.last < 0 {
            argc.checked_sub(self.last.unsigned_abs() as usize)
        } else {
            Some(self.last as usize)
        };
        let end = last.map_or(self.first, |last| last.min(argc.saturating_sub(1)) + 1);
        (self.first..end.max(self.first)).step_by(self.step)
    }
}
