//! SORT: the elements of a list, a set or a sorted set in order, by themselves or by values of other keys.
//!
//! The elements are copied into one buffer, since looking up other keys updates their access times, and may delete
//! expired ones. A pattern such as `weight_*` or `user_*->age` makes the name of a key from each element; the keys of
//! several elements are prefetched together, and each weight is looked up once.

use std::cmp::Ordering;
use std::ops::Range;

use russet_ds::listpack::Digits;
use russet_protocol::{ErrorReply, slot};

use super::ROW;
use super::sort_lookup::{Pattern, look_up};
use super::sort_weight::weight;
use crate::command::argument::{
    Argument, after, block, int, key, named, one_of, optional, pattern, repeated_with_token,
    shown_as, token,
};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, acl, flag as f};
use crate::keyspace::{EventKind, Expiry, Key};
use crate::mode::Mode;
use crate::types::list::{List, ListRef, Side};
use crate::types::set::SetRef;
use crate::types::zset::ZsetRef;
use crate::types::{BuildContext, Editable};

const BY: Argument = optional(after("BY", shown_as("pattern", pattern("by-pattern"))));
const LIMIT: Argument =
    optional(after("LIMIT", block("limit", const { &[int("offset"), int("count")] })));
const GET: Argument =
    optional(repeated_with_token(after("GET", shown_as("pattern", pattern("get-pattern")))));
const ORDER: Argument = optional(one_of("order", const { &[token("ASC"), token("DESC")] }));
const ALPHA: Argument = optional(named("sorting", token("ALPHA")));

const SORTED: KeySpec = KeySpec::one(1, k::RO | k::ACCESS);
/// The keys of BY and GET, whose names derive from elements.
const DERIVED: KeySpec = KeySpec::unknown(|_| None, k::RO | k::ACCESS);

pub(super) const SORT: Command = Command {
    name: "sort",
    since: "1.0.0",
    arity: -2,
    flags: f::WRITE | f::DENYOOM,
    acl: acl::SET | acl::SORTEDSET | acl::LIST | acl::DANGEROUS,
    keys: &[SORTED, DERIVED, KeySpec::unknown(target_of, k::OW | k::UPDATE)],
    arguments: &[
        key("key", 0),
        BY,
        LIMIT,
        GET,
        ORDER,
        ALPHA,
        optional(after("STORE", key("destination", 2))),
    ],
    summary: "Sorts the elements of a list, a set or a sorted set, and replies with them or stores them as a list.",
    complexity: "O(N+M*log(M)) with N elements of which M are returned; O(N*log(N)) without LIMIT",
    run: sort,
    ..ROW
};

fn sort(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = Options::parse(ctx, args, true)?;
    let rows = sorted(ctx, args.key(1), &options)?;
    match options.target {
        None => show(ctx, &rows, &options, reply),
        Some(at) => store(ctx, args.key(at), &rows, &options, reply),
    }
    Ok(Flow::Done)
}

pub(super) const SORT_RO: Command = Command {
    name: "sort_ro",
    since: "7.0.0",
    arity: -2,
    flags: f::READONLY,
    acl: acl::SET | acl::SORTEDSET | acl::LIST | acl::DANGEROUS,
    keys: &[SORTED, DERIVED],
    arguments: &[key("key", 0), BY, LIMIT, GET, ORDER, ALPHA],
    summary: "Replies with the sorted elements of a list, a set or a sorted set.",
    complexity: "O(N+M*log(M)) with N elements of which M are returned; O(N*log(N)) without LIMIT",
    run: sort_ro,
    ..ROW
};

fn sort_ro(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = Options::parse(ctx, args, false)?;
    let rows = sorted(ctx, args.key(1), &options)?;
    show(ctx, &rows, &options, reply);
    Ok(Flow::Done)
}

/// Returns the index of the key behind the last STORE.
fn target_of(args: &Args<'_>) -> Option<usize> {
    let (mut found, mut at) = (None, 2);
    while at < args.len() {
        let takes = match () {
            () if args.is(at, "LIMIT") => 2,
            () if args.is(at, "BY") || args.is(at, "GET") => 1,
            () if args.is(at, "STORE") && at + 1 < args.len() => {
                found = Some(at + 1);
                1
            }
            () => 0,
        };
        at += takes + 1;
    }
    found
}

/// The options of SORT.
struct Options<'a> {
    by: Option<Pattern<'a>>,
    /// BY names no pattern: the order stays.
    keeps_order: bool,
    is_alpha: bool,
    is_descending: bool,
    start: i64,
    count: i64,
    gets: Vec<Pattern<'a>>,
    /// Index of the destination.
    target: Option<usize>,
}

impl<'a> Options<'a> {
    fn parse(ctx: &Ctx<'_>, args: &Args<'a>, may_store: bool) -> Result<Options<'a>, ErrorReply> {
        let mut options = Options {
            by: None,
            keeps_order: false,
            is_alpha: false,
            is_descending: false,
            start: 0,
            count: -1,
            gets: Vec::new(),
            target: None,
        };
        let mut at = 2;
        while at < args.len() {
            at += 1 + options.parse_one(ctx, args, at, may_store)?;
        }
        Ok(options)
    }

    /// Parses an option. Returns how many words follow its name.
    fn parse_one(
        &mut self,
        ctx: &Ctx<'_>,
        args: &Args<'a>,
        at: usize,
        may_store: bool,
    ) -> Result<usize, ErrorReply> {
        let rest = args.len() - at - 1;
        let next = args.get(at + 1);
        let denied = |option: &str| {
            let why = "keys formed by the pattern may be in different slots.";
            ErrorReply::err(format_args!(
                "{option} option of SORT denied in Cluster mode when {why}"
            ))
        };
        Ok(match next {
            _ if args.is(at, "ASC") || args.is(at, "DESC") => {
                self.is_descending = args.is(at, "DESC");
                0
            }
            _ if args.is(at, "ALPHA") => {
                self.is_alpha = true;
                0
            }
            Some(_) if args.is(at, "LIMIT") && rest >= 2 => {
                (self.start, self.count) = (args.integer(at + 1)?, args.integer(at + 2)?);
                2
            }
            Some(_) if may_store && args.is(at, "STORE") => {
                self.target = Some(at + 1);
                1
            }
            Some(text) if args.is(at, "BY") => {
                let pattern = Pattern::of(text);
                self.keeps_order |= !pattern.has_place();
                if pattern.has_place() && !is_in_slot(ctx, &pattern, args) {
                    return Err(denied("BY"));
                }
                self.by = Some(pattern);
                1
            }
            Some(text) if args.is(at, "GET") => {
                let pattern = Pattern::of(text);
                if !pattern.is_element() && !is_in_slot(ctx, &pattern, args) {
                    return Err(denied("GET"));
                }
                self.gets.push(pattern);
                1
            }
            _ => return Err(ErrorReply::Syntax),
        })
    }

    /// Returns those of `len` elements that LIMIT leaves.
    fn range(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.start.max(0)).unwrap_or(usize::MAX).min(len);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }
}

/// Whether all keys of a pattern are in the slot of the key to sort; without a cluster that does not matter.
fn is_in_slot(ctx: &Ctx<'_>, pattern: &Pattern<'_>, args: &Args<'_>) -> bool {
    let slot_of_key = || slot::slot_of(&args[1]);
    ctx.core.boot.mode != Mode::Cluster || pattern.slot() == Some(slot_of_key())
}

/// Elements in one buffer, in order.
#[derive(Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    texts: Vec<Range<usize>>,
}

impl Rows {
    fn push(&mut self, text: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.texts.push(start..self.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.texts[index].clone()]
    }

    /// Puts rows into this order; those that are not named are left out.
    fn pick(&mut self, order: &[usize]) {
        self.texts = order.iter().map(|index| self.texts[*index].clone()).collect();
    }
}

/// Reads and sorts the elements, and leaves those within LIMIT.
fn sorted(ctx: &mut Ctx<'_>, key: Key<'_>, options: &Options<'_>) -> Result<Rows, ErrorReply> {
    let mut source = load(ctx, key, options)?;
    // A set has no order. What is stored must have one, since replicas store it as well.
    let needs_order = source.is_set && options.target.is_some();
    let len = source.rows.len();
    let range = options.range(len);
    let order = if !options.keeps_order {
        order(ctx, &source, options, options.by.as_ref(), options.is_alpha, range)?
    } else if needs_order {
        order(ctx, &source, options, None, true, range)?
    } else if options.is_descending && !source.is_set {
        range.map(|at| len - 1 - at).collect()
    } else {
        range.collect()
    };
    source.rows.pick(&order);
    Ok(source.rows)
}

/// What is sorted.
struct Source {
    rows: Rows,
    is_set: bool,
}

/// Copies the elements of a key of any type that can be sorted: one line for each.
fn load(ctx: &mut Ctx<'_>, key: Key<'_>, options: &Options<'_>) -> Result<Source, ErrorReply> {
    let (mut rows, mut is_set) = (Rows::default(), false);
    let mut digits = Digits::default();
    // Of a long list whose order stays, what LIMIT leaves out need not be copied.
    let first_rows = match options.keeps_order && !options.is_descending {
        true => options.range(usize::MAX).end,
        false => usize::MAX,
    };
    let Some(entry) = ctx.data.read(ctx.call.db, key) else { return Ok(Source { rows, is_set }) };
    if let Some(list) = ListRef::of(&entry) {
        list.each_from(0, Side::Right, &mut |element| {
            rows.push(element.text(&mut digits));
            rows.len() < first_rows
        });
    } else if let Some(set) = SetRef::of(&entry) {
        is_set = true;
        set.each(&mut |member| rows.push(member.text(&mut digits)));
    } else if let Some(zset) = ZsetRef::of(&entry) {
        zset.each_from(0, true, &mut |member, _| {
            rows.push(member.text(&mut digits));
            rows.len() < first_rows
        });
    } else {
        return Err(ErrorReply::WrongType);
    }
    Ok(Source { rows, is_set })
}

/// Returns the indexes of the rows within a range of the sorted ones.
fn order(
    ctx: &mut Ctx<'_>,
    source: &Source,
    options: &Options<'_>,
    by: Option<&Pattern<'_>>,
    is_alpha: bool,
    range: Range<usize>,
) -> Result<Vec<usize>, ErrorReply> {
    let rows = &source.rows;
    let directed = |ascending: Ordering| match options.is_descending {
        true => ascending.reverse(),
        false => ascending,
    };
    if is_alpha {
        let mut weights = Weights::default();
        if let Some(by) = by {
            let patterns = std::slice::from_ref(by);
            look_up(ctx, rows, patterns, &mut |text| weights.push(text));
        }
        let text = |at: usize| if by.is_some() { weights.get(at) } else { Some(rows.get(at)) };
        // Members of a set come in an order that replicas do not share.
        let undecided = |a: usize, b: usize| match source.is_set {
            true => rows.get(a).cmp(rows.get(b)),
            false => a.cmp(&b),
        };
        let compare = |a: &usize, b: &usize| {
            directed(text(*a).cmp(&text(*b))).then_with(|| undecided(*a, *b))
        };
        return Ok(sort_range((0..rows.len()).collect(), range, compare));
    }
    let mut is_wrong = false;
    let mut numbers: Vec<(f64, usize)> = Vec::with_capacity(rows.len());
    let mut push = |text: Option<&[u8]>| {
        let number = text.map_or(Some(0.0), weight);
        is_wrong |= number.is_none();
        numbers.push((number.unwrap_or(0.0), numbers.len()));
    };
    match by {
        Some(by) => look_up(ctx, rows, std::slice::from_ref(by), &mut push),
        None => (0..rows.len()).for_each(|at| push(Some(rows.get(at)))),
    }
    if is_wrong {
        return Err(ErrorReply::err("One or more scores can't be converted into double"));
    }
    let compare = |a: &(f64, usize), b: &(f64, usize)| {
        let numbers = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
        directed(numbers.then_with(|| rows.get(a.1).cmp(rows.get(b.1))))
    };
    let sorted = sort_range(numbers, range, compare);
    Ok(sorted.into_iter().map(|(_, at)| at).collect())
}

/// Texts to sort by; a row may have none.
#[derive(Default)]
struct Weights {
    texts: Rows,
    /// Of each row, the index of its text.
    of: Vec<Option<usize>>,
}

impl Weights {
    fn push(&mut self, text: Option<&[u8]>) {
        let index = self.texts.len();
        self.of.push(text.map(|_| index));
        if let Some(text) = text {
            self.texts.push(text);
        }
    }

    fn get(&self, row: usize) -> Option<&[u8]> {
        self.of[row].map(|index| self.texts.get(index))
    }
}

/// Returns the items that are in a range when all are sorted. Only those are.
fn sort_range<T>(
    mut items: Vec<T>,
    range: Range<usize>,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Vec<T> {
    if range.is_empty() {
        return Vec::new();
    }
    if range.end < items.len() {
        items.select_nth_unstable_by(range.end, &compare);
        items.truncate(range.end);
    }
    if range.start > 0 {
        items.select_nth_unstable_by(range.start, &compare);
        items.drain(..range.start);
    }
    items.sort_unstable_by(compare);
    items
}

/// Emits what GET asks for, or the elements themselves.
fn emit(
    ctx: &mut Ctx<'_>,
    rows: &Rows,
    options: &Options<'_>,
    sink: &mut dyn FnMut(Option<&[u8]>),
) {
    match &options.gets[..] {
        [] => (0..rows.len()).for_each(|at| sink(Some(rows.get(at)))),
        gets => look_up(ctx, rows, gets, sink),
    }
}

fn show(ctx: &mut Ctx<'_>, rows: &Rows, options: &Options<'_>, reply: &mut Reply<'_>) {
    reply.array(rows.len().saturating_mul(options.gets.len().max(1)));
    emit(ctx, rows, options, &mut |text| match text {
        Some(text) => reply.bulk(text),
        None => reply.null(),
    });
}

fn store(
    ctx: &mut Ctx<'_>,
    target: Key<'_>,
    rows: &Rows,
    options: &Options<'_>,
    reply: &mut Reply<'_>,
) {
    let mut values = Rows::default();
    emit(ctx, rows, options, &mut |text| values.push(text.unwrap_or_default()));
    let seed = ctx.data.hasher().seed();
    let mut list = List::empty(&BuildContext { config: &ctx.core.config, seed });
    let texts = || (0..values.len()).map(|at| values.get(at));
    list.prepare(texts());
    texts().for_each(|text| list.push(Side::Right, text));
    let edit = ctx.overwrite(target);
    match List::into_value(list) {
        Some(value) => {
            edit.set_value(value, Expiry::Clear, EventKind::SortStore);
            ctx.data.dirty += values.len() as u64 - 1;
        }
        None => {
            edit.remove(EventKind::Del);
        }
    }
    if options.reads_fields() && ctx.data.db(ctx.call.db).len_with_expiring_elements() > 0 {
        store_elsewhere(ctx, target, &values);
    }
    reply.count(values.len());
}

impl Options<'_> {
    fn reads_fields(&self) -> bool {
        self.by.iter().chain(&self.gets).any(Pattern::has_field)
    }
}

/// How many elements one effect has.
const EFFECT_ELEMENTS: usize = 1024;

/// Propagates the stored list itself: an expired field is hidden here, and not yet deleted on replicas.
fn store_elsewhere(ctx: &mut Ctx<'_>, target: Key<'_>, values: &Rows) {
    ctx.effect(&[ctx.delete_command(), target.bytes]);
    let mut at = 0;
    while at < values.len() {
        let end = (at + EFFECT_ELEMENTS).min(values.len());
        let mut args = vec![&b"RPUSH"[..], target.bytes];
        args.extend((at..end).map(|at| values.get(at)));
        ctx.effect(&args);
        at = end;
    }
}
