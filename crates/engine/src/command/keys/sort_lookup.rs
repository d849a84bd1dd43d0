//! Values of other keys, whose names SORT makes from elements.

use russet_ds::listpack::Digits;
use russet_protocol::slot;

use super::sort::Rows;
use crate::command::Ctx;
use crate::command::hash::{hidden_before, is_visible};
use crate::keyspace::Key;
use crate::types::hash::HashRef;
use crate::types::string::Text;

/// So many keys are prefetched together.
const BATCH: usize = 16;

/// A pattern of BY or GET.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Without a `*`: there is no value.
    Fixed(&'a [u8]),
    /// `before*after` or `before*after->field`.
    Key { before: &'a [u8], after: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    pub(super) fn of(text: &'a [u8]) -> Pattern<'a> {
        let star = text.iter().position(|byte| *byte == b'*');
        let Some(star) = star else {
            return if text == b"#" { Pattern::Element } else { Pattern::Fixed(text) };
        };
        let (before, after) = (&text[..star], &text[star + 1..]);
        let arrow = after.windows(2).position(|pair| pair == b"->");
        let arrow = arrow.filter(|at| at + 2 < after.len());
        let field = arrow.map(|at| &after[at + 2..]);
        Pattern::Key { before, after: &after[..arrow.unwrap_or(after.len())], field }
    }

    /// Whether it has a place for the element.
    pub(super) fn has_place(&self) -> bool {
        matches!(self, Pattern::Key { .. })
    }

    pub(super) fn is_element(&self) -> bool {
        matches!(self, Pattern::Element)
    }

    /// Whether it names a field of hashes.
    pub(super) fn has_field(&self) -> bool {
        matches!(self, Pattern::Key { field: Some(_), .. })
    }

    /// Returns the slot of all of its keys, if it is the same whatever the element is.
    pub(super) fn slot(&self) -> Option<u16> {
        match *self {
            Pattern::Element => None,
            Pattern::Fixed(text) => Some(slot::slot_of(text)),
            Pattern::Key { before, .. } => {
                let open = before.iter().position(|byte| *byte == b'{')?;
                let close = before[open + 1..].iter().position(|byte| *byte == b'}')?;
                (close > 0).then(|| slot::slot_of(before))
            }
        }
    }

    /// Appends the name of the key for an element.
    fn push_key(&self, element: &[u8], out: &mut Vec<u8>) {
        if let Pattern::Key { before, after, .. } = self {
            out.extend_from_slice(before);
            out.extend_from_slice(element);
            out.extend_from_slice(after);
        }
    }

    /// Emits the value that it names, none if there is none.
    fn read(
        &self,
        ctx: &mut Ctx<'_>,
        key: Key<'_>,
        element: &[u8],
        sink: &mut dyn FnMut(Option<&[u8]>),
    ) {
        let field = match self {
            Pattern::Element => return sink(Some(element)),
            Pattern::Fixed(_) => return sink(None),
            Pattern::Key { field, .. } => field,
        };
        let hidden_before = hidden_before(ctx.data);
        let entry = ctx.data.read(ctx.call.db, key);
        match field {
            None => sink(entry.and_then(|entry| Text::of(&entry)).map(Text::bytes)),
            Some(name) => {
                let found = entry.and_then(|entry| HashRef::of(&entry)?.get(name));
                let found = found.filter(|field| is_visible(field, hidden_before));
                let mut digits = Digits::default();
                sink(found.as_ref().map(|field| field.value.text(&mut digits)));
            }
        }
    }
}

/// Emits the values of all patterns for each row in order.
pub(super) fn look_up(
    ctx: &mut Ctx<'_>,
    rows: &Rows,
    patterns: &[Pattern<'_>],
    sink: &mut dyn FnMut(Option<&[u8]>),
) {
    let hasher = ctx.data.hasher();
    let total = rows.len().saturating_mul(patterns.len());
    let mut names = Vec::new();
    for first in (0..total).step_by(BATCH) {
        let batch = first..(first + BATCH).min(total);
        names.clear();
        let ends = batch.clone().map(|at| {
            patterns[at % patterns.len()].push_key(rows.get(at / patterns.len()), &mut names);
            names.len()
        });
        let ends: Vec<usize> = ends.collect();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let keys: Vec<Key<'_>> =
            starts.zip(&ends).map(|(start, end)| hasher.key(&names[start..*end])).collect();
        for stage in 0..3 {
            keys.iter().for_each(|key| ctx.data.prefetch(ctx.call.db, key.hash, stage));
        }
        for (at, key) in batch.zip(keys) {
            let (pattern, element) =
                (&patterns[at % patterns.len()], rows.get(at / patterns.len()));
            pattern.read(ctx, key, element, sink);
        }
    }
}
