//! The recorder: for each replication history its bytes, and the data that an independent applier makes of them.
//!
//! ```text
//!   bytes   ├───────────────────────────────────────┤     as the backlog of whoever wrote them first had them
//!           first                                   end
//!   data            ├──▪──▪───▪─▪──────▪──▪─▪──▪────┤     a digest at each offset where a replica may stand
//!                   base: scanned
//! ```
//!
//! What any node holds of a history is compared with it: its backlog with the bytes, its data with the digest.

use std::collections::BTreeMap;

use crate::model::{Model, PAIR};
use crate::resp::parse_command;

/// One history. See the module.
#[derive(Debug)]
pub struct History {
    first: i64,
    bytes: Vec<u8>,
    base: i64,
    base_model: Model,
    model: Model,
    /// Offset of the last byte that the model has applied.
    applied: i64,
    marks: Vec<Mark>,
    /// Databases that nodes claim to be selected at the end, and are not: the next effect must select its own.
    claims: Vec<(u32, usize)>,
    /// A key of a pair was written since the last mark.
    writes_pair: bool,
    /// How far each node was seen to have come in it, in each life of its process.
    pub reached: BTreeMap<(usize, u32), i64>,
    /// The same of what each process has on its disk, in its append-only file.
    pub on_disk: BTreeMap<(usize, u32), i64>,
}

/// An offset where a replica may stand.
#[derive(Clone, Copy, Debug)]
struct Mark {
    offset: i64,
    /// Digest of the data.
    digest: u64,
    /// The database that the stream has selected, if that is known.
    selected: Option<u32>,
}

impl Mark {
    fn of(offset: i64, model: &Model) -> Mark {
        Mark { offset, digest: model.digest(), selected: model.selected() }
    }
}

/// Where these bytes stand last in others: the index of their end.
pub(crate) fn last_end(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(needle.len())?;
    (0..=last).rev().find(|&at| bytes[at..].starts_with(needle)).map(|at| at + needle.len())
}

/// Whether a command of a stream changes data, or selects where.
fn is_effect(name: &[u8]) -> bool {
    let others: [&[u8]; 4] = [b"ping", b"replconf", b"multi", b"exec"];
    !others.iter().any(|other| name.eq_ignore_ascii_case(other))
}

impl History {
    /// A history of which `bytes`, the last at offset `end`, are known, and the data at `end`.
    pub fn new(end: i64, bytes: Vec<u8>, model: Model) -> History {
        History {
            first: end + 1 - bytes.len() as i64,
            bytes,
            base: end,
            marks: vec![Mark::of(end, &model)],
            claims: Vec::new(),
            writes_pair: false,
            reached: BTreeMap::new(),
            on_disk: BTreeMap::new(),
            base_model: model.clone(),
            model,
            applied: end,
        }
    }

    /// The same, with this model of the data at its base.
    pub fn on(self, model: Model) -> History {
        History {
            marks: vec![Mark::of(self.base, &model)],
            base_model: model.clone(),
            model,
            ..self
        }
    }

    /// Offset of the last byte known.
    pub fn end(&self) -> i64 {
        self.first + self.bytes.len() as i64 - 1
    }

    /// Offset of the first byte known.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// The bytes known.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The offset of the last byte of these bytes, where they stand last.
    pub fn end_of(&self, bytes: &[u8]) -> Option<i64> {
        last_end(&self.bytes, bytes).map(|end| self.first + end as i64 - 1)
    }

    /// The first offset whose data is known.
    pub fn base(&self) -> i64 {
        self.base
    }

    /// Compares bytes that begin at `offset` with those known, as far as they overlap.
    pub fn compare(&self, offset: i64, bytes: &[u8]) -> Result<(), String> {
        let from = offset.max(self.first);
        let to = (offset + bytes.len() as i64).min(self.end() + 1);
        if from >= to {
            return Ok(());
        }
        let ours = &self.bytes[(from - self.first) as usize..(to - self.first) as usize];
        let theirs = &bytes[(from - offset) as usize..(to - offset) as usize];
        match ours.iter().zip(theirs).position(|(a, b)| a != b) {
            None => Ok(()),
            Some(at) => Err(format!(
                "byte {} of the history differs: {:?} was written, {:?} is held",
                from + at as i64,
                crate::model::excerpt(&ours[at.saturating_sub(20)..]),
                crate::model::excerpt(&theirs[at.saturating_sub(20)..]),
            )),
        }
    }

    /// The writer of the history went on: these bytes follow `end`.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes.extend_from_slice(bytes);
        let from = (self.applied + 1 - self.first) as usize;
        let mut at = from;
        while let Some((args, used)) = parse_command(&self.bytes[at..])? {
            if !self.claims.is_empty() && is_effect(args[0]) {
                settle(&self.claims, args[0], self.model.selected())?;
                self.claims.clear();
            }
            self.model.apply(&args)?;
            at += used;
            self.applied += used as i64;
            self.writes_pair |= args.get(1).is_some_and(|key| key.starts_with(PAIR));
            if !self.model.in_transaction() {
                if std::mem::take(&mut self.writes_pair)
                    && let Some(what) = self.model.torn_pair()
                {
                    return Err(format!("at {}, where a replica may stand, {what}", self.applied));
                }
                self.marks.push(Mark::of(self.applied, &self.model));
            }
        }
        Ok(())
    }

    /// A node stands at an offset and claims that the stream has selected a database there.
    pub fn claim(&mut self, offset: i64, db: u32, node: usize) -> Result<(), String> {
        let Some(mark) = self.mark_at(offset)? else { return Ok(()) };
        if mark.selected.is_none_or(|selected| selected == db) {
            return Ok(());
        }
        let mut at = (offset + 1 - self.first) as usize;
        while let Some((args, used)) = parse_command(&self.bytes[at..])? {
            if is_effect(args[0]) {
                return settle(&[(db, node)], args[0], mark.selected);
            }
            at += used;
        }
        if !self.claims.contains(&(db, node)) {
            self.claims.push((db, node));
        }
        Ok(())
    }

    /// The digest of the data at an offset: an error if no replica can stand there, none if it is not known.
    pub fn digest_at(&self, offset: i64) -> Result<Option<u64>, String> {
        Ok(self.mark_at(offset)?.map(|mark| mark.digest))
    }

    fn mark_at(&self, offset: i64) -> Result<Option<Mark>, String> {
        if offset < self.base {
            return Ok(None);
        }
        if offset > self.end() {
            return Err(format!("nobody has written offset {offset}: it ends at {}", self.end()));
        }
        match self.marks.binary_search_by_key(&offset, |mark| mark.offset) {
            Ok(found) => Ok(Some(self.marks[found])),
            Err(_) => Err(format!("offset {offset} is in the middle of a command or transaction")),
        }
    }

    /// The data at an offset, worked out again; for those who look for the difference.
    pub fn model_at(&self, offset: i64) -> Result<Model, String> {
        let mut model = self.base_model.clone();
        self.apply_between(&mut model, self.base, offset)?;
        Ok(model)
    }

    /// Brings data of offset `from` forward to `to` by the bytes between.
    pub fn apply_between(&self, model: &mut Model, from: i64, to: i64) -> Result<(), String> {
        if from + 1 < self.first || to > self.end() {
            return Err(format!("bytes {from} to {to} are not all known"));
        }
        let (mut at, end) = ((from + 1 - self.first) as usize, (to + 1 - self.first) as usize);
        while at < end {
            let parsed = parse_command(&self.bytes[at..end])?;
            let (args, used) = parsed.ok_or("the stream ends in the middle of a command")?;
            model.apply(&args)?;
            at += used;
        }
        Ok(())
    }

    /// The arguments of all commands behind an offset: keys are among them.
    pub fn keys_since(&self, offset: i64) -> Vec<Vec<u8>> {
        let mut at = (offset + 1 - self.first).max(0) as usize;
        let mut keys = Vec::new();
        while at < self.bytes.len()
            && let Ok(Some((args, used))) = parse_command(&self.bytes[at..])
        {
            keys.extend(args[1..].iter().map(|arg| arg.to_vec()));
            at += used;
        }
        keys
    }

    /// Whether bytes from behind this offset on are known.
    pub fn knows_from(&self, offset: i64) -> bool {
        offset + 1 >= self.first
    }
}

/// A command follows where databases were claimed to be selected: it selects its own, or they are.
fn settle(claims: &[(u32, usize)], name: &[u8], selected: Option<u32>) -> Result<(), String> {
    let wrong = claims.iter().find(|(db, _)| Some(*db) != selected);
    match wrong.filter(|_| !name.eq_ignore_ascii_case(b"select")) {
        None => Ok(()),
        Some((db, node)) => {
            let name = String::from_utf8_lossy(name);
            Err(format!(
                "node{node} claims that database {db} is selected where {name} follows for {selected:?}"
            ))
        }
    }
}

/// All histories, by their id.
pub type Histories = BTreeMap<String, History>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::push_command;

    fn stream(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        lines
            .iter()
            .for_each(|line| push_command(&mut bytes, &line.split(' ').collect::<Vec<_>>()));
        bytes
    }

    #[test]
    fn a_replica_stands_between_commands_and_never_inside_a_transaction() {
        let mut history = History::new(100, b"past".to_vec(), Model::new(0));
        let set = stream(&["SET a 1"]);
        history.extend(&set).expect("a good stream");
        let middle = 100 + set.len() as i64;
        history.extend(&stream(&["MULTI", "SET a 2", "SET b 3", "EXEC"])).expect("a good stream");
        assert!(history.digest_at(middle).expect("between commands").is_some());
        assert!(history.digest_at(middle + 1).is_err());
        assert!(history.digest_at(middle + stream(&["MULTI"]).len() as i64).is_err());
        assert_eq!(history.digest_at(50), Ok(None));
        let data = history.model_at(history.end()).expect("all known");
        assert_eq!(history.digest_at(history.end()), Ok(Some(data.digest())));
        assert!(history.compare(97, b"past").is_ok());
        assert!(history.compare(97, b"pasta").is_err());
        assert!(history.compare(1, b"far away").is_ok());
    }
}
