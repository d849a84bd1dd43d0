//! A client: what it has asked, what it knows, and whether the replies agree with it.
//!
//! The promise it checks: what a master has acknowledged, the same master shows from then on, as long as it neither ends nor
//! follows another in between. Such a stretch of a master's life is a *tenure* and has a number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::excerpt;
use crate::net::ConnId;
use crate::resp::{Reply, parse_reply};
use crate::workload::{Expected, Place, Speech};

/// Number of a stretch of a master's life; 0: it is none now and promises nothing.
pub type Tenure = u64;

/// A promise about more than the client's own data, which the world has to look at.
#[derive(Debug)]
pub enum Finding {
    /// A write of its own was accepted.
    Accepted,
    /// So many replicas have this request of the stream.
    Acknowledged {
        /// The request.
        write: Vec<u8>,
        /// How many.
        count: i64,
    },
    /// This request of the stream is on the server's disk, if the first number says so, and on those of so many replicas.
    OnDisk {
        /// The request.
        write: Vec<u8>,
        /// How many.
        counts: [i64; 2],
    },
    /// No client writes until this time.
    Paused(u64),
    /// A place of some client's own holds, or held, this value.
    Shown(Place, Vec<u8>),
    /// A write of its own was acknowledged, which gives a place this value.
    Written(Place, Vec<u8>),
    /// A write was refused because of the append-only file.
    Refused,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    /// The node that it talks to, or wants to.
    pub target: usize,
    /// An operator stays with its node and says what it is told to.
    pub is_operator: bool,
    /// Its connection.
    pub conn: Option<ConnId>,
    /// What it says.
    pub speech: Speech,
    /// Bytes said that the connection had no room for.
    pub unsent: Vec<u8>,
    /// What is expected, in which tenure it was said, and when.
    expected: VecDeque<(Expected, Tenure, u64)>,
    /// What the world has to look at, and when it was asked for.
    pub findings: Vec<(Finding, u64)>,
    inbox: Vec<u8>,
    /// Values of its own places in the tenure of `known_in`.
    known: BTreeMap<Place, Option<Vec<u8>>>,
    known_in: Tenure,
    /// What the key held that it watches.
    watched: Option<Reply>,
    /// When the wall clock of its node was last set: what had expired may be there again.
    clock_set_us: u64,
    /// Places that a lost connection may yet write to.
    uncertain: BTreeSet<Place>,
    /// When it last sent or heard something.
    pub progress_us: u64,
    /// It reads late.
    pub is_slow: bool,
    /// Requests of the next moments, many at once.
    pub burst: u64,
    /// So many of its next pipelines do nothing but look at places of others, in quick succession.
    pub peeks: u64,
    /// Its next pipeline begins with so many requests that cost little.
    pub flood: u64,
    /// What an operator has yet to say.
    pub orders: VecDeque<Vec<Vec<u8>>>,
    /// The replies to what it said, while it is an operator.
    pub answers: VecDeque<Reply>,
    /// Its act is due at this time; older events are stale.
    pub act_at: u64,
    /// Replies heard.
    pub replies: u64,
    /// When the last FLUSHALL was sent that was confirmed, until the world takes note of it.
    pub flushed_us: Option<u64>,
    /// The last reply said that the node takes no writes.
    pub is_refused: bool,
}

impl Client {
    /// A client that is not connected.
    pub fn new(number: usize, target: usize, is_operator: bool) -> Client {
        Client {
            target,
            is_operator,
            conn: None,
            speech: Speech::of(number),
            unsent: Vec::new(),
            expected: VecDeque::new(),
            findings: Vec::new(),
            inbox: Vec::new(),
            known: BTreeMap::new(),
            known_in: 0,
            watched: None,
            clock_set_us: 0,
            uncertain: BTreeSet::new(),
            progress_us: 0,
            is_slow: false,
            burst: 0,
            peeks: 0,
            flood: 0,
            orders: VecDeque::new(),
            answers: VecDeque::new(),
            act_at: 0,
            replies: 0,
            flushed_us: None,
            is_refused: false,
        }
    }

    /// Whether it waits for replies.
    pub fn is_waiting(&self) -> bool {
        !self.expected.is_empty() || !self.unsent.is_empty()
    }

    /// Whether all that it waits for is the reply to one read.
    pub fn waits_for_read(&self) -> bool {
        let mut expected = self.expected.iter();
        let first = expected.next().map(|(expected, ..)| expected);
        matches!(first, Some(Expected::Get(_) | Expected::Peek(_))) && expected.next().is_none()
    }

    /// What was said is on its way: its replies are awaited.
    pub fn sent(&mut self, tenure: Tenure, now_us: u64) {
        self.unsent.append(&mut self.speech.out);
        for mut expected in self.speech.expected.drain(..) {
            expected.sent(now_us);
            self.expected.push_back((expected, tenure, now_us));
        }
    }

    /// The wall clock of its node is set.
    pub fn clock_is_set(&mut self, now_us: u64) {
        (self.watched, self.clock_set_us) = (None, now_us);
    }

    /// The connection is gone: what was not answered may have happened or not.
    pub fn disconnected(&mut self) {
        self.conn = None;
        for (expected, ..) in std::mem::take(&mut self.expected) {
            self.forget(&expected);
        }
        self.inbox.clear();
        self.unsent.clear();
        self.speech.restart();
    }

    fn forget(&mut self, expected: &Expected) {
        match expected {
            Expected::Set(place, _) | Expected::Increment(place) | Expected::Delete(place) => {
                self.known.remove(place);
                self.uncertain.insert(place.clone());
            }
            Expected::Exec { inner, .. } => inner.iter().for_each(|e| self.forget(e)),
            _ => {}
        }
    }

    /// Bytes came in. False: the connection is of no more use.
    pub fn received(&mut self, bytes: &[u8], tenure: Tenure, now_us: u64) -> Result<bool, String> {
        self.inbox.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((reply, used)) = parse_reply(&self.inbox[at..])? {
            at += used;
            let Some((expected, sent_in, sent_us)) = self.expected.pop_front() else {
                return Err(format!("a reply that nobody asked for: {reply:?}"));
            };
            self.replies += 1;
            let same = if sent_in == tenure { tenure } else { 0 };
            if self.known_in != same {
                self.known.clear();
                self.known_in = same;
            }
            if self.is_operator {
                self.answers.push_back(reply.clone());
            }
            self.find(&expected, &reply, sent_us, now_us)?;
            if matches!(expected, Expected::Watched) && sent_us <= self.clock_set_us {
                continue;
            }
            if !self.check(expected, reply)? {
                return Ok(false);
            }
        }
        self.inbox.drain(..at);
        Ok(true)
    }

    /// What a reply promises about more than the client's own data.
    fn find(
        &mut self,
        expected: &Expected,
        reply: &Reply,
        sent_us: u64,
        now_us: u64,
    ) -> Result<(), String> {
        let promised = self.known_in != 0;
        self.note_shown(expected, reply, sent_us);
        let finding = match (expected, reply) {
            (Expected::Set(..) | Expected::Increment(_), Reply::Simple(_) | Reply::Int(_))
                if promised =>
            {
                Finding::Accepted
            }
            (Expected::Waited { write, replicas, timeout_us }, Reply::Int(count)) => {
                if count < replicas && now_us < sent_us + timeout_us {
                    return Err(format!("WAIT for {replicas} gave up early, with {count}"));
                }
                if !promised || *count == 0 {
                    return Ok(());
                }
                Finding::Acknowledged { write: write.clone(), count: *count }
            }
            (Expected::WaitedForDisks { write }, Reply::Array(Some(replies))) => {
                let [Reply::Int(local), Reply::Int(count)] = replies[..] else {
                    return Err(format!("WAITAOF was answered by {reply:?}"));
                };
                if !promised {
                    return Ok(());
                }
                Finding::OnDisk { write: write.clone(), counts: [local, count] }
            }
            (Expected::Paused { us }, reply) if reply.is_ok() => Finding::Paused(sent_us + us),
            _ => return Ok(()),
        };
        self.findings.push((finding, sent_us));
        Ok(())
    }

    /// Notes what a reply shows of places that one client alone writes.
    fn note_shown(&mut self, expected: &Expected, reply: &Reply, sent_us: u64) {
        let finding = match (expected, reply) {
            (Expected::Set(place, value), Reply::Simple(_) | Reply::Int(_)) => {
                self.findings.push((Finding::Written(place.clone(), value.clone()), sent_us));
                Finding::Shown(place.clone(), value.clone())
            }
            (Expected::Increment(place), Reply::Int(count)) => {
                Finding::Shown(place.clone(), count.to_string().into_bytes())
            }
            (Expected::Get(place) | Expected::Peek(place), Reply::Bulk(Some(value))) => {
                Finding::Shown(place.clone(), value.clone())
            }
            (Expected::Exec { inner, .. }, Reply::Array(Some(replies))) => {
                for (expected, reply) in inner.iter().zip(replies) {
                    self.note_shown(expected, reply, sent_us);
                }
                return;
            }
            (_, Reply::Error(text)) if text.starts_with("MISCONF Errors writing to the AOF") => {
                Finding::Refused
            }
            _ => return,
        };
        self.findings.push((finding, sent_us));
    }

    fn check(&mut self, expected: Expected, reply: Reply) -> Result<bool, String> {
        match expected {
            Expected::Watched => {
                self.watched = Some(reply);
                return Ok(true);
            }
            Expected::Unchanged => return self.check_unchanged(&reply),
            _ => {}
        }
        if let Reply::Error(text) = &reply {
            self.is_refused = ["READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "MISCONF"]
                .iter()
                .any(|code| text.starts_with(code));
            if !self.is_refused && !text.starts_with("EXECABORT") && self.is_own(&expected) {
                return Err(format!("{expected:?} was answered by the error {text}"));
            }
            return Ok(!matches!(expected, Expected::Session));
        }
        self.is_refused = false;
        let promised = self.known_in != 0;
        match (expected, reply) {
            (Expected::Anything | Expected::Paused { .. } | Expected::Peek(_), _) => {}
            (Expected::Waited { .. }, Reply::Int(_)) => {}
            (Expected::WaitedForDisks { .. }, Reply::Array(_)) => {}
            (Expected::Session, reply) if reply.is_ok() => {}
            (Expected::Flush(sent_us), reply) if reply.is_ok() => self.flushed_us = Some(sent_us),
            (Expected::Queued, Reply::Simple(text)) if text == b"QUEUED" => {}
            (Expected::Set(place, value), reply) if place.field.is_none() && reply.is_ok() => {
                self.known.insert(place, Some(value));
            }
            (Expected::Set(place, value), Reply::Int(created)) if place.field.is_some() => {
                let known = self.known.get(&place).map(|value| i64::from(value.is_none()));
                if promised && known.is_some_and(|known| known != created) {
                    return Err(format!("HSET of {place} made {created} fields"));
                }
                self.known.insert(place, Some(value));
            }
            (Expected::Delete(place), Reply::Int(count)) => {
                let known = self.known.get(&place).map(|value| i64::from(value.is_some()));
                if promised && known.is_some_and(|known| known != count) {
                    return Err(format!("the delete of {place} removed {count}"));
                }
                self.known.insert(place, None);
            }
            (Expected::Get(place), Reply::Bulk(value)) => {
                if let Some(known) = self.known.get(&place)
                    && promised
                    && *known != value
                {
                    let show = |v: &Option<Vec<u8>>| v.as_deref().map(excerpt);
                    return Err(format!(
                        "acknowledged was {place} = {:?}, read is {:?}",
                        show(known),
                        show(&value)
                    ));
                }
                if !self.uncertain.contains(&place) {
                    self.known.insert(place, value);
                }
            }
            (Expected::Increment(place), Reply::Int(count)) => {
                let known = self.known.get(&place).map(|value| number(value.as_deref()));
                if promised && known.is_some_and(|known| known + 1 != count) {
                    return Err(format!("the increment of {place} gave {count} after {known:?}"));
                }
                self.known.insert(place, Some(count.to_string().into_bytes()));
            }
            (Expected::Exec { contended, .. }, Reply::Array(None)) => {
                if !contended && promised {
                    return Err("EXEC did nothing though nobody touched what was watched".into());
                }
            }
            (Expected::Exec { inner, .. }, Reply::Array(Some(replies))) => {
                if inner.len() != replies.len() {
                    return Err(format!("EXEC of {} gave {} replies", inner.len(), replies.len()));
                }
                for (expected, reply) in inner.into_iter().zip(replies) {
                    self.check(expected, reply)?;
                }
            }
            (expected, reply) => {
                return Err(format!("{expected:?} was answered by {reply:?}"));
            }
        }
        Ok(true)
    }

    /// EXEC runs: what was watched is what it was.
    fn check_unchanged(&mut self, reply: &Reply) -> Result<bool, String> {
        let Some(watched) = self.watched.take() else { return Ok(true) };
        let is_refusal =
            |reply: &Reply| matches!(reply, Reply::Error(text) if !text.starts_with("WRONGTYPE"));
        if is_refusal(&watched) || is_refusal(reply) || watched.may_become(reply) {
            return Ok(true);
        }
        Err(format!("EXEC ran though what was watched had become {reply:?} from {watched:?}"))
    }

    fn is_own(&self, expected: &Expected) -> bool {
        matches!(
            expected,
            Expected::Set(..) | Expected::Get(_) | Expected::Increment(_) | Expected::Delete(_)
        )
    }
}

fn number(text: Option<&[u8]>) -> i64 {
    text.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        client: &mut Client,
        expected: Expected,
        tenure: Tenure,
        reply: &[u8],
    ) -> Result<bool, String> {
        client.speech.say(&[b"X"], expected);
        client.sent(tenure, 0);
        client.received(reply, tenure, 0)
    }

    #[test]
    fn a_lost_write_is_noticed_within_a_tenure_only() {
        let place = || Place { key: b"k".to_vec(), field: None };
        let set = || Expected::Set(place(), b"v".to_vec());
        let get = || Expected::Get(place());
        let mut client = Client::new(0, 0, false);
        ask(&mut client, set(), 1, b"+OK\r\n").expect("as promised");
        ask(&mut client, get(), 1, b"$1\r\nv\r\n").expect("as promised");
        assert!(ask(&mut client, get(), 1, b"$-1\r\n").is_err());
        let mut client = Client::new(0, 0, false);
        ask(&mut client, set(), 1, b"+OK\r\n").expect("as promised");
        ask(&mut client, get(), 2, b"$-1\r\n").expect("another tenure promises nothing");
        let mut client = Client::new(0, 0, false);
        ask(&mut client, set(), 1, b"+OK\r\n").expect("as promised");
        client.speech.say(&[b"X"], set());
        client.sent(1, 0);
        client.disconnected();
        ask(&mut client, get(), 1, b"$1\r\nw\r\n").expect("the last write is uncertain");
        ask(&mut client, get(), 1, b"$1\r\nv\r\n").expect("and may still come");
    }
}
