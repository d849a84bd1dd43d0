//! The handshake of a replica with its master: one line at a time, until the stream or a payload.
//!
//! ```text
//!   we                                              master
//!   PING                                  ──▶
//!                                         ◀──       +PONG, or an error if it requires a password
//!   AUTH …, REPLCONF listening-port …,    ──▶
//!   ip-address …, capa …, version …
//!                                         ◀──       one reply for each
//!   PSYNC <id> <offset>              ──▶
//!                                         ◀──       +CONTINUE, or +FULLRESYNC and a payload's header
//! ```

use std::collections::VecDeque;

use super::following::{Expect, Following, Stage};
use super::master::Master;
use super::payload::Payload;
use super::psync::{self, OFFSET_MAX};
use crate::clients::Clients;
use crate::core::Core;
use crate::io::Level;
use crate::journal::Journal;
use crate::keyspace::Keyspace;
use crate::persist::fill::{Fill, StreamPosition, reserve_max};
use crate::persist::loading::load_settings;
use crate::persist::rdb_load::RdbLoader;

impl Following {
    pub(super) fn line(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        data: &Keyspace,
        master: &mut Master,
        line: &str,
    ) {
        let Some(link) = &mut self.master else { return };
        match &mut link.stage {
            Stage::Handshake(expected) => {
                let expect = expected.pop_front();
                let done = expected.is_empty();
                self.handshake_reply(core, clients, master, (expect, done), line);
            }
            Stage::Psync => self.psync_reply(core, clients, journal, master, line),
            Stage::Header(id, offset) => {
                let (id, offset) = (std::mem::take(id), *offset);
                self.payload_header(core, clients, data, (id, offset), line);
            }
            _ => {}
        }
    }

    fn handshake_reply(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        master: &Master,
        (expect, done): (Option<Expect>, bool),
        line: &str,
    ) {
        let refused = line.starts_with('-');
        match expect {
            Some(Expect::Pong) => {
                // A master that cannot save can still be followed, which is then all the more urgent.
                let tolerated =
                    ["+", "-NOAUTH", "-NOPERM", "-ERR operation not permitted", "-MISCONF"];
                if !tolerated.iter().any(|good| line.starts_with(good)) {
                    let text = format!("Error reply to PING from master: '{line}'");
                    self.link_failed(core, clients, Level::Warning, &text);
                    return;
                }
                core.log(Level::Notice, "Master replied to PING, replication can continue...");
                self.send_identification(core, clients);
                return;
            }
            Some(Expect::Auth) if refused => {
                let text = format!("Unable to AUTH to PRIMARY: {line}");
                self.link_failed(core, clients, Level::Warning, &text);
                return;
            }
            Some(expect) if refused => {
                let text = format!(
                    "(Non critical) Master does not understand REPLCONF {expect:?}: {line}"
                );
                core.log(Level::Notice, text);
            }
            _ => {}
        }
        if done {
            self.request_sync(core, clients, master);
        }
    }

    /// Sends password, port and capabilities at once; the replies come in this order.
    fn send_identification(&mut self, core: &mut Core, clients: &mut Clients) {
        let mut expected = VecDeque::new();
        let (user, password) = (core.config.masteruser.clone(), core.config.masterauth.clone());
        if !password.is_empty() {
            if user.is_empty() {
                self.send_command(core, clients, &[b"AUTH", &password.0]);
            } else {
                self.send_command(core, clients, &[b"AUTH", &user, &password.0]);
            }
            expected.push_back(Expect::Auth);
        }
        let port = match core.config.replica_announce_port {
            0 => core.config.port,
            port => port,
        };
        self.send_command(
            core,
            clients,
            &[b"REPLCONF", b"listening-port", port.to_string().as_bytes()],
        );
        expected.push_back(Expect::ListeningPort);
        let ip = core.config.replica_announce_ip.clone();
        if !ip.is_empty() {
            self.send_command(core, clients, &[b"REPLCONF", b"ip-address", &ip]);
            expected.push_back(Expect::IpAddress);
        }
        self.send_command(core, clients, &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
        expected.push_back(Expect::Capabilities);
        self.send_command(
            core,
            clients,
            &[b"REPLCONF", b"version", crate::REDIS_VERSION.as_bytes()],
        );
        expected.push_back(Expect::Version);
        if let Some(master) = &mut self.master {
            master.stage = Stage::Handshake(expected);
        }
    }

    fn request_sync(&mut self, core: &mut Core, clients: &mut Clients, master: &Master) {
        let has_history = self.master.as_ref().is_some_and(|master| master.has_history);
        let (id, offset) = if has_history {
            (master.stream.ids.id.clone(), master.stream.offset() + 1)
        } else {
            ("?".to_owned(), -1)
        };
        if has_history {
            let text = format!("Trying a partial resynchronization (request {id}:{offset}).");
            core.log(Level::Notice, text);
        } else {
            core.log(Level::Notice, "Partial resynchronization not possible (no cached master)");
        }
        self.send_command(core, clients, &[b"PSYNC", id.as_bytes(), offset.to_string().as_bytes()]);
        if let Some(master) = &mut self.master {
            master.stage = Stage::Psync;
        }
    }

    fn psync_reply(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        master: &mut Master,
        line: &str,
    ) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["+FULLRESYNC", id, offset] if psync::is_id(id) => {
                let offset = offset.parse().ok().filter(|at| (0..=OFFSET_MAX).contains(at));
                let Some(offset) = offset else {
                    self.link_failed(
                        core,
                        clients,
                        Level::Warning,
                        "Master replied with wrong +FULLRESYNC syntax.",
                    );
                    return;
                };
                core.log(Level::Notice, format!("Full resync from master: {id}:{offset}"));
                if let Some(master) = &mut self.master {
                    master.stage = Stage::Header((*id).to_owned(), offset);
                }
            }
            ["+CONTINUE", rest @ ..] => {
                self.continue_stream(core, clients, journal, master, rest.first().copied())
            }
            [first, ..] if ["-NOMASTERLINK", "-LOADING", "-BUSY"].contains(first) => {
                let text = format!(
                    "Master is currently unable to PSYNC but should be in the future: {line}"
                );
                self.link_failed(core, clients, Level::Notice, &text);
            }
            _ => {
                let text = format!("Unexpected reply to PSYNC from master: {line}");
                self.link_failed(core, clients, Level::Warning, &text);
            }
        }
    }

    fn payload_header(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        data: &Keyspace,
        (id, offset): (String, i64),
        line: &str,
    ) {
        let mark = line.strip_prefix("$EOF:").filter(|mark| mark.len() == 40);
        let len = line.strip_prefix('$').and_then(|len| len.parse::<u64>().ok());
        if mark.is_none() && len.is_none() {
            let text = match line.strip_prefix('-') {
                Some(error) => format!("MASTER aborted replication with an error: {error}"),
                None => format!(
                    "Bad protocol from MASTER, the first byte is not '$' (we received '{line}'), are you sure the host and port are right?"
                ),
            };
            self.link_failed(core, clients, Level::Warning, &text);
            return;
        }
        let what = match len {
            Some(len) => format!("receiving {len} bytes from master"),
            None => "receiving streamed RDB from master with EOF".to_owned(),
        };
        core.log(Level::Notice, format!("MASTER <-> REPLICA sync: {what} to parser"));
        let len = len.filter(|_| mark.is_none());
        let payload = Payload {
            id,
            offset,
            len,
            fill: Fill::new(reserve_max(len)),
            mark: mark.map(|mark| mark.as_bytes().to_vec()),
            received: 0,
            loader: RdbLoader::new(load_settings(core)),
            fresh: Box::new(data.empty_like()),
            position: StreamPosition::default(),
            loaded: false,
            tail: Vec::new(),
        };
        if let Some(master) = &mut self.master {
            master.stage = Stage::Payload(Box::new(payload));
        }
    }
}
