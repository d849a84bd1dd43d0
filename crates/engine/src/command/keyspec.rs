//! Key specs: which arguments of a command are keys.
//!
//! Prefetching, COMMAND GETKEYS and cluster routing find keys by these, and so will ACL. Where a
//! keyword precedes the keys, the row has a function that finds them
//! ([`Command::find_keys`](super::Command::find_keys)), and the spec only describes it to clients.

use super::Args;

/// A range of keys.
#[derive(Clone, Copy, Debug)]
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
    /// Whether the argument in front of the first key is the number of keys.
    pub is_counted: bool,
    /// Finds the only key where a spec cannot tell clients where it is; none for keys that are no arguments.
    pub hidden: Option<fn(&Args<'_>) -> Option<usize>>,
    /// If not 0, only the first part of that many equal ones in the range are keys.
    pub limit: u8,
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
        KeySpec { first: index, last: index as i32, flags, ..KeySpec::rest(index, 1, flags) }
    }

    /// Every `step`-th argument from this index to the end.
    pub const fn rest(first: usize, step: usize, flags: u32) -> KeySpec {
        KeySpec {
            first,
            last: -1,
            step,
            flags,
            keyword: None,
            is_counted: false,
            limit: 0,
            hidden: None,
        }
    }

    /// All arguments from this index to the last but one.
    pub const fn before_last(first: usize, flags: u32) -> KeySpec {
        KeySpec { last: -2, ..KeySpec::rest(first, 1, flags) }
    }

    /// All arguments behind a keyword.
    pub const fn behind(word: &'static str, from: i32, flags: u32) -> KeySpec {
        KeySpec { keyword: Some(Keyword { word, from }), ..KeySpec::rest(0, 1, flags) }
    }

    /// The first half of the arguments behind a keyword.
    pub const fn half_behind(word: &'static str, from: i32, flags: u32) -> KeySpec {
        KeySpec { limit: 2, ..KeySpec::behind(word, from, flags) }
    }

    /// The argument behind a keyword.
    pub const fn after(word: &'static str, from: i32, flags: u32) -> KeySpec {
        KeySpec { last: 0, ..KeySpec::behind(word, from, flags) }
    }

    /// As many arguments as the one at this index says, behind it.
    pub const fn counted(count: usize, flags: u32) -> KeySpec {
        KeySpec { is_counted: true, ..KeySpec::rest(count + 1, 1, flags) }
    }

    /// A key that only `find` can find: clients are told that its place is unknown.
    pub const fn unknown(find: fn(&Args<'_>) -> Option<usize>, flags: u32) -> KeySpec {
        KeySpec { hidden: Some(find), ..KeySpec::rest(0, 1, flags) }
    }

    /// Returns the index of the key, if there is one that does not depend on the arguments.
    #[inline]
    pub(crate) fn only_index(&self) -> Option<usize> {
        let is_one = self.first > 0 && self.last > 0 && self.last as usize == self.first;
        is_one.then_some(self.first)
    }

    /// Returns the indexes of the keys among these arguments. A number of keys that there cannot be stands for none.
    pub fn indexes(&self, args: &Args<'_>) -> impl Iterator<Item = usize> + use<> {
        let argc = args.len();
        if let Some(find) = self.hidden {
            let found = find(args).filter(|index| *index < argc);
            let (first, end) = found.map_or((0, 0), |index| (index, index + 1));
            return (first..end).step_by(1);
        }
        if let Some(Keyword { word, from }) = self.keyword.filter(|_| self.last == 0) {
            let from = usize::try_from(from).unwrap_or(0);
            let found = (from..argc).find(|at| args.is(*at, word)).map(|at| at + 1);
            let first = found.filter(|at| *at < argc).unwrap_or(argc);
            return (first..argc.min(first + 1)).step_by(1);
        }
        let end = if self.is_counted {
            let count =
                args.integer(self.first - 1).ok().and_then(|count| usize::try_from(count).ok());
            let end = count.and_then(|count| count.checked_add(self.first));
            end.filter(|end| *end <= argc)
        } else if self.last < 0 {
            argc.checked_sub(self.last.unsigned_abs() as usize).map(|last| last + 1)
        } else {
            Some((self.last as usize + 1).min(argc))
        };
        (self.first..end.unwrap_or(0).max(self.first)).step_by(self.step)
    }
}
