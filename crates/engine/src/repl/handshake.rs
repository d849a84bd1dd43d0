//! The first words between a replica and its master: one line at a time, until the stream or a payload.
//!
//! ```text
//!   we                                              master
//!   PING                                  ──▶
//!                                         ◀──       +PONG, or that it wants a password
//!   AUTH …, REPLCONF listening-port …,    ──▶
//!   ip-address …, capa …, version …
//!                                         ◀──       one line for each
//!   PSYNC <history> <offset>              ──▶
//!                                         ◀──       +CONTINUE, or +FULLRESYNC and a payload's header
//! ```

use std::collections::VecDeque;

use super::payload::Payload;
use super::psync::{self, OFFSET_MAX};
use super::replica::{Expect, Stage};
use crate::io::Level;
use crate::node::Node;
use crate::persist::fill::{StreamPosition, keys_expected};
use crate::persist::rdb_load::RdbLoader;

impl Node {
    pub(super) fn link_line(&mut self, line: &str) {
        let Some(master) = &mut self.repl.master else { return };
        match &mut master.stage {
            Stage::Handshake(expected) => {
                let expect = expected.pop_front();
                let done = expected.is_empty();
                self.handshake_reply(expect, done, line);
            }
            Stage::Psync => self.psync_reply(line),
            Stage::Header(id, offset) => {
                let (id, offset) = (std::mem::take(id), *offset);
                self.payload_header(id, offset, line);
            }
            _ => {}
        }
    }

    fn handshake_reply(&mut self, expect: Option<Expect>, done: bool, line: &str) {
        let refused = line.starts_with('-');
        match expect {
            Some(Expect::Pong) => {
                let tolerated = ["+", "-NOAUTH", "-NOPERM", "-ERR operation not permitted"];
                if !tolerated.iter().any(|good| line.starts_with(good)) {
                    let text = format!("Error reply to PING from master: '{line}'");
                    self.link_failed(Level::Warning, &text);
                    return;
                }
                self.log(Level::Notice, "Master replied to PING, replication can continue...");
                self.introduce_ourselves();
                return;
            }
            Some(Expect::Auth) if refused => {
                let text = format!("Unable to AUTH to PRIMARY: {line}");
                self.link_failed(Level::Warning, &text);
                return;
            }
            Some(expect) if refused => {
                let text = format!(
                    "(Non critical) Master does not understand REPLCONF {expect:?}: {line}"
                );
                self.log(Level::Notice, text);
            }
            _ => {}
        }
        if done {
            self.ask_to_synchronise();
        }
    }

    /// Password, port, capabilities: sent at once, answered in this order.
    fn introduce_ourselves(&mut self) {
        let mut expected = VecDeque::new();
        let (user, password) = (self.config.masteruser.clone(), self.config.masterauth.clone());
        if !password.is_empty() {
            if user.is_empty() {
                self.send_command(&[b"AUTH", &password.0]);
            } else {
                self.send_command(&[b"AUTH", &user, &password.0]);
            }
            expected.push_back(Expect::Auth);
        }
        let port = match self.config.replica_announce_port {
            0 => self.config.port,
            port => port,
        };
        self.send_command(&[b"REPLCONF", b"listening-port", port.to_string().as_bytes()]);
        expected.push_back(Expect::ListeningPort);
        let ip = self.config.replica_announce_ip.clone();
        if !ip.is_empty() {
            self.send_command(&[b"REPLCONF", b"ip-address", &ip]);
            expected.push_back(Expect::IpAddress);
        }
        self.send_command(&[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
        expected.push_back(Expect::Capabilities);
        self.send_command(&[b"REPLCONF", b"version", crate::REDIS_VERSION.as_bytes()]);
        expected.push_back(Expect::Version);
        if let Some(master) = &mut self.repl.master {
            master.stage = Stage::Handshake(expected);
        }
    }

    fn ask_to_synchronise(&mut self) {
        let knows = self.repl.master.as_ref().is_some_and(|master| master.knows_history);
        let (id, offset) = if knows {
            (self.repl.histories.id.clone(), self.repl.offset + 1)
        } else {
            ("?".to_owned(), -1)
        };
        if knows {
            let text = format!("Trying a partial resynchronization (request {id}:{offset}).");
            self.log(Level::Notice, text);
        } else {
            self.log(Level::Notice, "Partial resynchronization not possible (no cached master)");
        }
        self.send_command(&[b"PSYNC", id.as_bytes(), offset.to_string().as_bytes()]);
        if let Some(master) = &mut self.repl.master {
            master.stage = Stage::Psync;
        }
    }

    fn psync_reply(&mut self, line: &str) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["+FULLRESYNC", id, offset] if psync::is_id(id) => {
                let offset = offset.parse().ok().filter(|at| (0..=OFFSET_MAX).contains(at));
                let Some(offset) = offset else {
                    self.link_failed(
                        Level::Warning,
                        "Master replied with wrong +FULLRESYNC syntax.",
                    );
                    return;
                };
                self.log(Level::Notice, format!("Full resync from master: {id}:{offset}"));
                if let Some(master) = &mut self.repl.master {
                    master.stage = Stage::Header((*id).to_owned(), offset);
                }
            }
            ["+CONTINUE", rest @ ..] => self.continue_stream(rest.first().copied()),
            [first, ..] if ["-NOMASTERLINK", "-LOADING", "-BUSY"].contains(first) => {
                let text = format!(
                    "Master is currently unable to PSYNC but should be in the future: {line}"
                );
                self.link_failed(Level::Notice, &text);
            }
            _ => {
                let text = format!("Unexpected reply to PSYNC from master: {line}");
                self.link_failed(Level::Warning, &text);
            }
        }
    }

    fn payload_header(&mut self, id: String, offset: i64, line: &str) {
        let mark = line.strip_prefix("$EOF:").filter(|mark| mark.len() == 40);
        let len = line.strip_prefix('$').and_then(|len| len.parse::<u64>().ok());
        if mark.is_none() && len.is_none() {
            let text = match line.strip_prefix('-') {
                Some(error) => format!("MASTER aborted replication with an error: {error}"),
                None => format!(
                    "Bad protocol from MASTER, the first byte is not '$' (we received '{line}'), are you sure the host and port are right?"
                ),
            };
            self.link_failed(Level::Warning, &text);
            return;
        }
        let what = match len {
            Some(len) => format!("receiving {len} bytes from master"),
            None => "receiving streamed RDB from master with EOF".to_owned(),
        };
        self.log(Level::Notice, format!("MASTER <-> REPLICA sync: {what} to parser"));
        let len = len.filter(|_| mark.is_none());
        let payload = Payload {
            id,
            offset,
            len,
            keys_max: keys_expected(len),
            mark: mark.map(|mark| mark.as_bytes().to_vec()),
            received: 0,
            loader: RdbLoader::new(self.load_settings()),
            fresh: Box::new(self.keyspace.empty_like()),
            position: StreamPosition::default(),
            loaded: false,
            tail: Vec::new(),
            db: 0,
        };
        if let Some(master) = &mut self.repl.master {
            master.stage = Stage::Payload(Box::new(payload));
        }
    }
}
