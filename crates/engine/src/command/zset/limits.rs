//! What a range of members is limited by: ranks, scores, or texts.

use russet_protocol::ErrorReply;

use crate::command::{Args, list};
use crate::types::double::parse_limit;
use crate::types::zset::ZsetRef;

/// A range of members.
#[derive(Clone, Copy, Debug)]
pub enum Range<'a> {
    /// Between two ranks, inclusive; negative ones count from the end.
    Ranks(i64, i64),
    /// Between two scores.
    Scores(Limit<f64>, Limit<f64>),
    /// Between two texts.
    Texts(TextLimit<'a>, TextLimit<'a>),
}

/// A limit.
#[derive(Clone, Copy, Debug)]
pub struct Limit<T> {
    value: T,
    /// Whether what equals it is outside.
    is_exclusive: bool,
}

/// A limit of texts.
#[derive(Clone, Copy, Debug)]
pub enum TextLimit<'a> {
    /// In front of all.
    First,
    /// Behind all.
    Last,
    /// At a text.
    At(Limit<&'a [u8]>),
}

impl<'a> Range<'a> {
    /// Parses two ranks, at an index and behind it.
    pub fn of_ranks(args: &Args<'_>, at: usize) -> Result<Range<'a>, ErrorReply> {
        Ok(Range::Ranks(args.integer(at)?, args.integer(at + 1)?))
    }

    /// Parses limits of scores.
    pub fn of_scores(min: &[u8], max: &[u8]) -> Result<Range<'a>, ErrorReply> {
        let parse = |text: &[u8]| {
            let exclusive = text.strip_prefix(b"(");
            let value = parse_limit(exclusive.unwrap_or(text))?;
            Some(Limit { value, is_exclusive: exclusive.is_some() })
        };
        let limits = parse(min).zip(parse(max));
        let (min, max) = limits.ok_or_else(|| ErrorReply::err("min or max is not a float"))?;
        Ok(Range::Scores(min, max))
    }

    /// Parses limits of texts.
    pub fn of_texts(min: &'a [u8], max: &'a [u8]) -> Result<Range<'a>, ErrorReply> {
        let parse = |text: &'a [u8]| match text {
            b"-" => Some(TextLimit::First),
            b"+" => Some(TextLimit::Last),
            [b'(', value @ ..] => Some(TextLimit::At(Limit { value, is_exclusive: true })),
            [b'[', value @ ..] => Some(TextLimit::At(Limit { value, is_exclusive: false })),
            _ => None,
        };
        let limits = parse(min).zip(parse(max));
        let why = "min or max not valid string range item";
        let (min, max) = limits.ok_or_else(|| ErrorReply::err(why))?;
        Ok(Range::Texts(min, max))
    }

    /// Whether its members depend on how a sorted set is kept, which is not the same at a replica: texts mean nothing where scores
    /// differ. Such a range is propagated by its ranks.
    pub fn depends_on_form(&self, zset: ZsetRef<'_>) -> bool {
        matches!(self, Range::Texts(..)) && zset.has_several_scores()
    }

    /// Returns the ranks of its members.
    pub fn ranks(&self, zset: ZsetRef<'_>) -> std::ops::Range<usize> {
        let (start, end) = match *self {
            Range::Ranks(first, last) => return list::range(first, last, zset.len()),
            Range::Scores(min, max) => (
                zset.count_below(min.value, min.is_exclusive),
                zset.count_below(max.value, !max.is_exclusive),
            ),
            Range::Texts(min, max) => {
                let place = |limit, is_end: bool| match limit {
                    TextLimit::First => 0,
                    TextLimit::Last => zset.len(),
                    TextLimit::At(Limit { value, is_exclusive }) => {
                        zset.count_in_front(value, is_exclusive != is_end)
                    }
                };
                (place(min, false), place(max, true))
            }
        };
        start.min(end)..end
    }
}
