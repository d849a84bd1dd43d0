//! Expiration times as commands take and return them: of keys, and of elements within values.

use super::Args;
use super::argument::{Argument, after, int, one_of, optional, token, unix_time};

/// `EX`, an option.
pub const EX: Argument = after("EX", int("seconds"));
/// `PX`, an option.
pub const PX: Argument = after("PX", int("milliseconds"));
/// `EXAT`, an option.
pub const EXAT: Argument = after("EXAT", unix_time("unix-time-seconds"));
/// `PXAT`, an option.
pub const PXAT: Argument = after("PXAT", unix_time("unix-time-milliseconds"));

/// How a time is expressed: in which unit, and what it counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
}

/// How a time that is no whole number of seconds is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest second: those of keys.
    Nearest,
    /// Up: those of elements.
    Up,
}

impl TimeForm {
    /// Returns the form that an option names: `EX`, `PX`, `EXAT` or `PXAT`.
    pub fn named(args: &Args<'_>, at: usize) -> Option<TimeForm> {
        let options = [
            ("EX", TimeForm::Seconds),
            ("PX", TimeForm::Milliseconds),
            ("EXAT", TimeForm::UnixSeconds),
            ("PXAT", TimeForm::UnixMilliseconds),
        ];
        options.into_iter().find(|(word, _)| args.is(at, word)).map(|(_, form)| form)
    }

    /// Whether it counts from now.
    pub fn is_relative(self) -> bool {
        matches!(self, TimeForm::Seconds | TimeForm::Milliseconds)
    }

    fn unit_ms(self) -> i64 {
        match self {
            TimeForm::Seconds | TimeForm::UnixSeconds => 1000,
            TimeForm::Milliseconds | TimeForm::UnixMilliseconds => 1,
        }
    }

    /// Converts a time to Unix milliseconds; none if it does not fit.
    pub fn to_unix_ms(self, time: i64, now_ms: i64) -> Option<i64> {
        let base_ms = if self.is_relative() { now_ms } else { 0 };
        time.checked_mul(self.unit_ms())?.checked_add(base_ms)
    }

    /// Expresses Unix milliseconds; what counts from now and has passed is 0.
    pub fn of_unix_ms(self, at_ms: i64, now_ms: i64, rounding: Rounding) -> i64 {
        let ms = if self.is_relative() { at_ms.saturating_sub(now_ms).max(0) } else { at_ms };
        let unit_ms = self.unit_ms();
        let added = match rounding {
            Rounding::Nearest => unit_ms / 2,
            Rounding::Up => unit_ms - 1,
        };
        ms.saturating_add(added) / unit_ms
    }
}

/// The conditions, as an argument.
pub const CONDITION: Argument =
    optional(one_of("condition", &[token("NX"), token("XX"), token("GT"), token("LT")]));

/// The conditions under which an expiration time is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Condition {
    /// There is none yet.
    pub nx: bool,
    /// There is one.
    pub xx: bool,
    /// It becomes later.
    pub gt: bool,
    /// It becomes earlier.
    pub lt: bool,
}

impl Condition {
    /// Adds the condition that an argument names. False if it names none.
    pub fn add(&mut self, args: &Args<'_>, at: usize) -> bool {
        let known = [
            ("NX", &mut self.nx),
            ("XX", &mut self.xx),
            ("GT", &mut self.gt),
            ("LT", &mut self.lt),
        ];
        let named = known.into_iter().find(|(word, _)| args.is(at, word));
        named.map(|(_, given)| *given = true).is_some()
    }

    /// Compares the old expiration time with the new one. Having none counts as infinitely late.
    pub fn allows(self, old: Option<i64>, new: i64) -> bool {
        let refused = (self.nx && old.is_some())
            || (self.xx && old.is_none())
            || (self.gt && old.is_none_or(|old| new <= old))
            || (self.lt && old.is_some_and(|old| new >= old));
        !refused
    }
}
