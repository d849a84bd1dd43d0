//! What a node claims of its place, whenever that changes: nothing of it is believed.
//!
//! * The history that it says went before its own is the same up to the offset where it says they part: the bytes as far as both
//!   are kept, and the data. A node that is promoted names the history that it has followed.
//! * The database that it believes to be selected in the stream is the one that the bytes select, or the next effect selects another.
//! * It continues the stream for a replica at those offsets only that the two histories share and it keeps, and at all of these.

use crate::check::model_of;
use crate::history::History;
use crate::model::Model;
use crate::process::Seen;
use crate::resp::parse_command;
use crate::world::World;

/// What a node would answer to PSYNC is looked at once in so many changes of its offset, and at each of its history.
const ANSWERS_CHECK_ONE_IN: u64 = 50;

/// The database that these bytes of a stream have selected last.
fn selected_in(bytes: &[u8]) -> Option<u32> {
    let (mut at, mut selected) = (0, None);
    while let Ok(Some((args, used))) = parse_command(&bytes[at..]) {
        if args[0].eq_ignore_ascii_case(b"select") {
            selected = std::str::from_utf8(args.get(1)?).ok()?.parse().ok();
        }
        at += used;
    }
    selected
}

impl World {
    /// Records a history that a node is the first to have. `selected` is the node's word for the database selected, if it must
    /// be taken.
    pub(crate) fn begin_history(
        &mut self,
        node: usize,
        id: &str,
        offset: i64,
        bytes: Vec<u8>,
        selected: Option<u32>,
    ) {
        self.coverage.histories += 1;
        let Some(data) = self.processes[node].data() else { return };
        let (id2, second_offset) = {
            let place = data.place();
            (place.second_id.to_owned(), place.second_offset)
        };
        let mut model = data.model();
        // What the bytes do not say the next effect has to.
        if let Some(db) = selected.or_else(|| selected_in(&bytes)) {
            model.select(db);
        }
        let history = History::new(offset, bytes, model);
        let history = match self.descent(node, &history, (&id2, second_offset - 1), offset) {
            Ok(None) => history,
            Ok(Some(model)) => history.on(model),
            Err(what) => {
                self.fail(format!("node{node} begins {id}: {what}"));
                return;
            }
        };
        let parent = Some(id2.as_str()).filter(|_| second_offset >= 0);
        self.note_family(node, id, parent);
        self.histories.insert(id.to_owned(), history);
    }

    /// What the data of a new history must be if it parted from another one at this offset, as far as that is known: the
    /// other's data, and then the new one's bytes.
    fn descent(
        &self,
        node: usize,
        history: &History,
        (id, parted): (&str, i64),
        offset: i64,
    ) -> Result<Option<Model>, String> {
        let known = self.histories.get(id).filter(|parent| {
            parted >= 0
                && (parent.base()..=parent.end()).contains(&parted)
                && history.knows_from(parted)
                && parted <= offset
        });
        let Some(parent) = known else { return Ok(None) };
        let after = |what: String| format!("it goes on from {parted} of {id}: {what}");
        parent.digest_at(parted).map_err(after)?;
        let mut expected = parent.model_at(parted).map_err(after)?;
        history.apply_between(&mut expected, parted, offset).map_err(after)?;
        let difference = expected.difference(&model_of(&self.processes[node]));
        match difference {
            None => Ok(Some(expected)),
            Some(what) => Err(after(format!("it holds other data: {what}"))),
        }
    }

    /// A node stands elsewhere: is what it says of that place true?
    pub(crate) fn check_claims(&mut self, node: usize, before: &Seen) {
        let process = &self.processes[node];
        let Some((id, offset)) = process.seen.place.clone() else { return };
        let Some(data) = process.data().filter(|data| !data.is_within_exec()) else { return };
        let is_elsewhere = before.place.as_ref().is_none_or(|(old, _)| *old != id)
            || before.second != process.seen.second;
        let db = data.selected_db();
        let follows = before.is_replica && process.seen.is_replica;
        let leaves = before.place.as_ref().is_some_and(|(old, _)| *old != id);
        if follows && leaves && process.replicas_lost > 0 {
            self.coverage.handed_down += 1;
        }
        self.coverage.claim_checks += 1;
        if let Some(history) = self.histories.get_mut(&id)
            && let Err(what) = history.claim(offset, db, node)
        {
            self.fail(format!("node{node} at {offset} of {id}: {what}"));
        }
        if is_elsewhere {
            self.cluster.keys.note_parent(&id, &self.processes[node].seen.second);
        }
        let checked =
            if is_elsewhere { self.check_second(node, before, (&id, offset)) } else { Ok(()) };
        let checked = checked.and_then(|()| self.check_losses(node, before));
        let checked = checked.and_then(|()| {
            let looks = is_elsewhere || self.chance.one_in(ANSWERS_CHECK_ONE_IN);
            if looks { self.check_answers(node, &id) } else { Ok(()) }
        });
        if let Err(what) = checked {
            self.fail(format!("node{node} at {offset} of {id}: {what}"));
        }
    }

    /// The history that a node says went before.
    fn check_second(
        &self,
        node: usize,
        before: &Seen,
        (id, offset): (&str, i64),
    ) -> Result<(), String> {
        let process = &self.processes[node];
        let Some(data) = process.data() else { return Ok(()) };
        let (second, first_other) = &process.seen.second;
        let parted = first_other - 1;
        if before.is_replica
            && !process.seen.is_replica
            && let Some((followed, at)) = &before.place
        {
            if followed == id {
                return Err("it was promoted, and writes into the history of others".to_owned());
            }
            // It may have been made a replica and promoted once more meanwhile.
            if *first_other < 0 || second == followed && parted < *at {
                return Err(format!(
                    "it was promoted at {at} of {followed}, and says that {parted} of {second} went before"
                ));
            }
        }
        if *first_other < 0 {
            return Ok(());
        }
        let claim =
            |what: &str| Err(format!("it says that {parted} of {second} went before: {what}"));
        if parted > offset {
            return claim("that is ahead of it");
        }
        let Some(parent) = self.histories.get(second) else { return Ok(()) };
        let theirs = match parent.digest_at(parted) {
            Ok(digest) => digest,
            Err(what) => return claim(&what),
        };
        let Some(backlog) = data.backlog() else { return Ok(()) };
        let mut bytes = data.stream_since(backlog.first);
        bytes.truncate(usize::try_from(parted + 1 - backlog.first).unwrap_or(0));
        if let Err(what) = parent.compare(backlog.first, &bytes) {
            return claim(&what);
        }
        // A history that was recorded later is compared when its record begins.
        let ours = self.histories.get(id).map(|history| history.digest_at(parted));
        match (theirs, ours) {
            (Some(theirs), Some(Ok(Some(ours)))) if theirs != ours => claim("it has other data"),
            (_, Some(Err(what))) => claim(&what),
            _ => Ok(()),
        }
    }

    /// What a node would answer to PSYNC, at the offsets where the answer changes.
    fn check_answers(&mut self, node: usize, id: &str) -> Result<(), String> {
        let other = self.chance.index(self.histories.len().max(1));
        let process = &self.processes[node];
        let Some(data) = process.data() else { return Ok(()) };
        let Some(backlog) = data.backlog() else { return Ok(()) };
        let (second, first_other) = &process.seen.second;
        let ask = |id: &str, offset: i64, end: i64| {
            let right = (backlog.first..=end).contains(&offset);
            match data.continues(id, offset) == right {
                true => Ok(()),
                false => Err(format!("whether it continues {id} from {offset} should be {right}")),
            }
        };
        for offset in [backlog.first - 1, backlog.first, backlog.next, backlog.next + 1] {
            ask(id, offset, backlog.next)?;
        }
        if *first_other >= 0 {
            let shared = backlog.next.min(*first_other);
            for offset in [backlog.first - 1, backlog.first, *first_other, first_other + 1] {
                ask(second, offset, shared)?;
            }
        }
        match self.histories.keys().nth(other).filter(|other| *other != id && *other != second) {
            Some(other) => ask(other, backlog.next, 0),
            None => Ok(()),
        }
    }
}
