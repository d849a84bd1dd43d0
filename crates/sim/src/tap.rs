//! What the bytes of a replication link show of it, whatever the two nodes believe.
//!
//! A replica as stock has them looks for a payload's end mark in the last bytes of each read, and would miss it if the stream
//! followed in the same read. So a master sends nothing behind the mark before it has read an acknowledgement.

/// How an acknowledgement begins, as a request.
const ACK: &[u8] = b"REPLCONF\r\n$3\r\nACK\r\n";

/// A replication link, seen from its master's host.
#[derive(Debug, Default)]
pub struct Tap {
    state: State,
    /// The end of what was sent, while a line or a mark may be incomplete.
    sent: Vec<u8>,
    /// The end of what was read.
    read: Vec<u8>,
    /// When the master last read something, without the time in which it was suspended.
    heard_us: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    /// Replies to a handshake, or to a client.
    #[default]
    Lines,
    /// A full synchronisation was announced: its payload's header is next.
    Header,
    /// The payload, up to this mark.
    Marked(Vec<u8>),
    /// The payload, so many bytes.
    Counted(usize),
    /// The payload was sent, and nothing may follow.
    AwaitsAck,
    /// The stream.
    Stream,
}

impl Tap {
    /// Whether the other end was told that it is a replica.
    pub fn is_replica(&self) -> bool {
        self.state != State::Lines
    }

    /// Whether a payload has just been sent, and nothing may follow.
    pub fn awaits_ack(&self) -> bool {
        self.state == State::AwaitsAck
    }

    /// When a replica that follows the stream was last heard of.
    pub fn follower_heard_us(&self) -> Option<u64> {
        (self.state == State::Stream).then_some(self.heard_us)
    }

    /// The master sends bytes.
    pub fn send(&mut self, mut bytes: &[u8], now_us: u64) -> Result<(), String> {
        while !bytes.is_empty() {
            let used = match &mut self.state {
                State::Lines | State::Header => self.line(bytes, now_us),
                State::Marked(mark) => {
                    let mark = mark.clone();
                    self.payload(&mark, bytes)
                }
                State::Counted(left) => {
                    let used = bytes.len().min(*left);
                    *left -= used;
                    if *left == 0 {
                        self.state = State::Stream;
                        self.heard_us = now_us;
                    }
                    used
                }
                State::AwaitsAck => {
                    return Err("bytes follow a payload before it was acknowledged".to_owned());
                }
                State::Stream => return Ok(()),
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Takes a line, or a part of one.
    fn line(&mut self, bytes: &[u8], now_us: u64) -> usize {
        let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
            self.sent.extend_from_slice(bytes);
            return bytes.len();
        };
        self.sent.extend_from_slice(&bytes[..end]);
        let line = std::mem::take(&mut self.sent);
        let line = line.trim_ascii();
        let header = line.strip_prefix(b"$").filter(|_| self.state == State::Header);
        if line.starts_with(b"+CONTINUE") {
            self.state = State::Stream;
            self.heard_us = now_us;
        } else if line.starts_with(b"+FULLRESYNC") {
            self.state = State::Header;
        } else if let Some(mark) = header.and_then(|header| header.strip_prefix(b"EOF:")) {
            self.state = State::Marked(mark.to_vec());
        } else if let Some(len) = header {
            let len = std::str::from_utf8(len).ok().and_then(|len| len.parse().ok());
            self.state = State::Counted(len.unwrap_or(0));
        }
        end + 1
    }

    /// Takes a part of a payload; its mark may have come in two parts.
    fn payload(&mut self, mark: &[u8], bytes: &[u8]) -> usize {
        let before = self.sent.len();
        let held = before + bytes.len().min(mark.len());
        self.sent.extend_from_slice(&bytes[..held - before]);
        let mut used = find(&self.sent, mark).map(|at| at + mark.len() - before);
        used = used.or_else(|| find(bytes, mark).map(|at| at + mark.len()));
        match used {
            Some(used) => {
                self.sent.clear();
                self.state = State::AwaitsAck;
                used
            }
            None => {
                if bytes.len() > mark.len() {
                    self.sent.clear();
                    self.sent.extend_from_slice(&bytes[bytes.len() - mark.len()..]);
                }
                let surplus = self.sent.len().saturating_sub(mark.len() - 1);
                self.sent.drain(..surplus);
                bytes.len()
            }
        }
    }

    /// The master has read bytes.
    pub fn hear(&mut self, bytes: &[u8], now_us: u64) {
        self.heard_us = now_us;
        if self.state != State::AwaitsAck {
            return;
        }
        self.read.extend_from_slice(bytes);
        if find(&self.read, ACK).is_some() {
            self.state = State::Stream;
            self.read.clear();
        }
        let surplus = self.read.len().saturating_sub(ACK.len());
        self.read.drain(..surplus);
    }
}

/// Where a string stands in another.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, mut from) = (*needle.first()?, 0);
    while let Some(at) = bytes.get(from..)?.iter().position(|&byte| byte == first) {
        if bytes[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_payload_before_its_acknowledgement() {
        let mark = "mark".repeat(9) + "last";
        let text = format!("+OK\r\n\n+FULLRESYNC id 7\r\n$EOF:{mark}\r\nREDISmarkmark{mark}");
        for step in 1..=text.len() {
            let mut tap = Tap::default();
            text.as_bytes().chunks(step).for_each(|part| tap.send(part, 0).expect("a payload"));
            let mut early = Tap { state: tap.state.clone(), ..Tap::default() };
            assert_eq!(tap.state, State::AwaitsAck, "{step}");
            assert!(early.send(b"*1", 0).is_err());
            tap.hear(b"\n*3\r\n$8\r\nREPLCONF\r\n$3\r", 1);
            assert!(tap.state == State::AwaitsAck);
            tap.hear(b"\nACK\r\n$1\r\n7\r\n", 2);
            tap.send(b"*1\r\n$4\r\nPING\r\n", 3).expect("the stream");
        }
        let mut tap = Tap::default();
        assert!(
            tap.send(format!("+FULLRESYNC id 7\r\n$EOF:{mark}\r\nmar{mark}*").as_bytes(), 0)
                .is_err()
        );
        let mut tap = Tap::default();
        tap.send(b"+FULLRESYNC id 7\r\n$3\r\nabc*1\r\n", 0).expect("by length");
        assert_eq!(tap.state, State::Stream);
    }
}
