//! What clients were promised of their keys.
//!
//! A key belongs to one client, who writes a greater number with each SET, and gives the key up for a new one when it does not
//! know whether a SET was carried out. So of each key is known what it may hold: the last number acknowledged, or one that was
//! written without an answer. A key that a failover may have lost is *excused*: nothing is promised of it any more.

use std::collections::BTreeMap;

use crate::clusters::tag_text;

/// A key's name: its tag, its client and the client's how manieth key of the tag it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub tag: usize,
    pub user: usize,
    pub generation: u32,
}

impl Name {
    pub fn text(&self) -> Vec<u8> {
        format!("{{{}}}u{}.{}", tag_text(self.tag), self.user, self.generation).into_bytes()
    }

    pub fn parse(text: &[u8]) -> Option<Name> {
        let text = std::str::from_utf8(text).ok()?.strip_prefix("{t")?;
        let (tag, rest) = text.split_once("}u")?;
        let (user, generation) = rest.split_once('.')?;
        Some(Name {
            tag: tag.parse().ok()?,
            user: user.parse().ok()?,
            generation: generation.parse().ok()?,
        })
    }
}

/// What was promised of a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promise {
    /// The last number that was acknowledged.
    pub acknowledged: Option<u64>,
    /// In which history that write is, and where it ends there, as far as that is known.
    pub written_at: Option<(String, i64)>,
    /// Those before it.
    pub former: Vec<u64>,
    /// One that may be written, or not.
    pub uncertain: Option<u64>,
    /// Nothing is promised.
    pub is_excused: bool,
}

impl Promise {
    /// Whether the key may hold this.
    pub fn allows(&self, value: Option<u64>) -> bool {
        self.is_excused
            || value == self.acknowledged
            || (self.uncertain.is_some() && value == self.uncertain)
    }

    /// Whether it may have held it before.
    pub fn allowed(&self, value: Option<u64>) -> bool {
        value.is_none_or(|value| self.former.contains(&value))
    }
}

/// All keys.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    promises: BTreeMap<Name, Promise>,
    /// From which history another one went on, and up to where it has that one.
    parents: BTreeMap<String, (String, i64)>,
}

impl Keys {
    pub fn of(&mut self, name: Name) -> &mut Promise {
        self.promises.entry(name).or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Promise)> {
        self.promises.iter()
    }

    /// Nothing is promised of a key any more. Whether an acknowledged write may be lost by that.
    pub fn excuse(&mut self, name: Name) -> bool {
        let Some(promise) = self.promises.get_mut(&name) else { return false };
        let is_news = !promise.is_excused && promise.acknowledged.is_some();
        promise.is_excused = true;
        is_news
    }

    /// A history goes on from another one, at whose offset it leaves that.
    pub fn note_parent(&mut self, id: &str, (parent, first_other): &(String, i64)) {
        if *first_other > 0 && id != parent {
            self.parents.insert(id.to_owned(), (parent.clone(), first_other - 1));
        }
    }

    /// Whether data at an offset of a history has a write.
    fn has(&self, (mut id, mut offset): (&str, i64), write: &(String, i64)) -> bool {
        for _ in 0..=self.parents.len() {
            if write.0 == id {
                return write.1 <= offset;
            }
            let Some((parent, parted)) = self.parents.get(id) else { return false };
            (id, offset) = (parent, *parted);
        }
        false
    }

    /// A replica goes on as master of these tags, from this place: what it did not have is lost. Returns how many
    /// acknowledged writes that are.
    pub fn excuse_absent(&mut self, tags: &[usize], place: (&str, i64)) -> u64 {
        self.excuse_if(tags, |keys, write| !write.is_some_and(|write| keys.has(place, write)))
    }

    /// A master's process ends, whose disk has what is at this place: what it has not got of the time before its own history
    /// is lost. Returns how many acknowledged writes that are.
    pub fn excuse_unsaved(
        &mut self,
        tags: &[usize],
        on_disk: Option<(&str, i64)>,
        own: &str,
    ) -> u64 {
        self.excuse_if(tags, |keys, write| {
            let is_saved =
                |write: &(String, i64)| on_disk.is_some_and(|place| keys.has(place, write));
            !write.is_some_and(|write| write.0 == own || is_saved(write))
        })
    }

    fn excuse_if(
        &mut self,
        tags: &[usize],
        is_lost: impl Fn(&Keys, Option<&(String, i64)>) -> bool,
    ) -> u64 {
        let of_tags = self.promises.iter().filter(|(name, _)| tags.contains(&name.tag));
        let lost = of_tags.filter(|(_, promise)| is_lost(self, promise.written_at.as_ref()));
        let lost: Vec<Name> = lost.map(|(name, _)| *name).collect();
        lost.into_iter().map(|name| u64::from(self.excuse(name))).sum()
    }

    /// The same of all keys of a tag.
    pub fn excuse_tag(&mut self, tag: usize) {
        let of_tag = self.promises.iter_mut().filter(|(name, _)| name.tag == tag);
        of_tag.for_each(|(_, promise)| promise.is_excused = true);
    }
}
