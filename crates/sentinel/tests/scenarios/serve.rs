//! Requests: how simulated servers take commands, and how they reach other Sentinels.

use russet_protocol::{Protocol, ReplyWriter};
use russet_sentinel::{End, HELLO_CHANNEL};

use crate::network::{Event, Key};
use crate::server::Server;
use crate::world::{World, bulk, text};

/// How long a master takes to hand over.
const HAND_OVER_MS: u64 = 50;

impl World {
    /// Answers a request that waited for this version, and the requests behind it.
    pub fn answer_waiting(&mut self, key: Key, port: u16, version: u64, is_ok: bool) {
        let Some(connection) = self.network.connections.get_mut(&key) else { return };
        let is_over = |waits: &mut (u64, Vec<u8>)| match is_ok {
            true => waits.0 <= version,
            false => waits.0 == version,
        };
        let Some((_, reply)) = connection.waits.take_if(is_over) else { return };
        let behind = std::mem::take(&mut connection.behind);
        let error = b"-ERR Failed to save config file. Check server logs.\r\n".to_vec();
        self.answer(key, port, if is_ok { reply } else { error });
        for words in behind {
            self.request(key, port, words);
        }
    }

    /// Handles a request.
    pub fn request(&mut self, key: Key, port: u16, words: Vec<String>) {
        let Some(connection) = self.network.connections.get_mut(&key) else { return };
        if connection.waits.is_some() {
            return connection.behind.push(words);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let process = self.processes.iter().position(|it| it.port == port && it.machine.is_some());
        let peer = self.peers.iter().position(|it| it.port == port && it.is_up);
        let reply = match (process, peer) {
            (Some(index), _) => self.ask_process(index, key, &words),
            (_, Some(index)) => Some(self.peers[index].reply(&words)),
            _ if self.servers.get(&port).is_some_and(|it| it.is_up) => {
                Some(self.ask_server(port, key, &words))
            }
            _ => None,
        };
        if let Some(reply) = reply {
            self.answer(key, port, reply);
        }
    }

    /// Returns a Sentinel's reply; none if it waits for the disk.
    fn ask_process(&mut self, index: usize, key: Key, words: &[&str]) -> Option<Vec<u8>> {
        let now = self.now();
        match words {
            ["PUBLISH", _, text] => {
                let text = text.as_bytes().to_vec();
                self.call(index, |machine| machine.published(now, &text));
                Some(b":1\r\n".to_vec())
            }
            ["SENTINEL", "MYID"] => Some(bulk(&self.processes[index].id)),
            ["SENTINEL", "is-master-down-by-addr", rest @ ..] => {
                let (reply, end) = self.opinion(index, rest)?;
                if let End::AfterSave(version) = end {
                    let connection = self.network.connections.get_mut(&key)?;
                    connection.waits = Some((version, reply));
                    return None;
                }
                Some(reply)
            }
            ["PING"] => Some(b"+PONG\r\n".to_vec()),
            _ => Some(b"+OK\r\n".to_vec()),
        }
    }

    /// Asks a machine for its opinion and its vote.
    pub fn opinion(&mut self, index: usize, words: &[&str]) -> Option<(Vec<u8>, End)> {
        let [host, port, epoch, candidate] = words else { panic!("not a question: {words:?}") };
        let (port, epoch) = (port.parse().expect("a port"), epoch.parse().expect("an epoch"));
        let (now, mut reply) = (self.now(), Vec::new());
        let end = self.call(index, |machine| {
            let mut writer = ReplyWriter::new(&mut reply, Protocol::Resp2);
            machine.is_master_down(now, (host, port), epoch, candidate, &mut writer)
        })?;
        Some((reply, end))
    }

    /// Returns a server's reply.
    pub fn ask_server(&mut self, port: u16, key: Key, words: &[&str]) -> Vec<u8> {
        let connection = self.network.connections.get_mut(&key).expect("it is open");
        let server = &self.servers[&port];
        if server.password.is_some() && words[0] != "AUTH" && !connection.is_authenticated {
            return b"-NOAUTH Authentication required.\r\n".to_vec();
        }
        match &mut connection.queued {
            Some(queued) if words[0] != "EXEC" => {
                queued.push(words.iter().map(|word| (*word).to_owned()).collect());
                return b"+QUEUED\r\n".to_vec();
            }
            _ => {}
        }
        // A script blocks everything but its end.
        let is_held = |ping: &&String| {
            words[0] == "PING" || (ping.starts_with("BUSY") && words[0] != "SCRIPT")
        };
        if let Some(ping) = server.ping.as_ref().filter(is_held) {
            return format!("-{ping}\r\n").into_bytes();
        }
        match words {
            ["AUTH", _] if server.password.is_none() => {
                b"-ERR AUTH <password> called without any password configured\r\n".to_vec()
            }
            ["AUTH", .., password] => {
                connection.is_authenticated = server.password.as_deref() == Some(password);
                match connection.is_authenticated {
                    true => b"+OK\r\n".to_vec(),
                    false => b"-WRONGPASS invalid username-password pair\r\n".to_vec(),
                }
            }
            ["PING"] => b"+PONG\r\n".to_vec(),
            // The second is its name in a scenario that renames it.
            ["INFO" | "report"] => bulk(&self.info(port)),
            ["SUBSCRIBE", channel] => {
                connection.is_subscribed = true;
                format!("*3\r\n{}{}:1\r\n", text(&bulk("subscribe")), text(&bulk(channel)))
                    .into_bytes()
            }
            ["PUBLISH", _, message] => {
                self.publish(port, message);
                b":1\r\n".to_vec()
            }
            ["MULTI"] => {
                connection.queued = Some(Vec::new());
                b"+OK\r\n".to_vec()
            }
            ["EXEC"] => {
                let queued = connection.queued.take().unwrap_or_default();
                for words in &queued {
                    self.change_role(port, words);
                }
                let replies = "+OK\r\n".repeat(queued.len());
                format!("*{}\r\n{replies}", queued.len()).into_bytes()
            }
            ["SCRIPT", "KILL"] => {
                self.servers.get_mut(&port).expect("it is up").ping = None;
                b"+OK\r\n".to_vec()
            }
            ["FAILOVER", "TO", _, to, ..] => match &server.refuses {
                Some(error) => format!("-{error}\r\n").into_bytes(),
                None if self.servers[&to.parse().expect("a port")].master != Some(port) => {
                    b"-ERR FAILOVER target HOST and PORT is not a replica.\r\n".to_vec()
                }
                None => {
                    let event = Event::HandedOver(port, to.parse().expect("a port"));
                    if server.obeys {
                        self.network.at(self.mono_ms + HAND_OVER_MS, event);
                    }
                    b"+OK\r\n".to_vec()
                }
            },
            _ => b"+OK\r\n".to_vec(),
        }
    }

    fn change_role(&mut self, port: u16, words: &[String]) {
        let now = self.mono_ms;
        let server = self.servers.get_mut(&port).expect("it is up");
        match words {
            [name, no, _] if name == "SLAVEOF" && no == "NO" => server.follow(None, now),
            [name, _, to] if name == "SLAVEOF" => server.follow(to.parse().ok(), now),
            _ => {}
        }
    }

    fn info(&self, port: u16) -> String {
        let server = &self.servers[&port];
        let runs = |server: &&Server| server.is_up && server.paused_until <= self.mono_ms;
        let master = server.master.and_then(|port| self.servers.get(&port)).filter(runs);
        let follows = |it: &&Server| it.master == Some(port) && self.mono_ms >= it.link_up_at;
        let replicas = self.servers.values().filter(runs).filter(follows).map(|it| it.port);
        server.info(self.mono_ms, master, &replicas.collect::<Vec<u16>>())
    }

    /// Publishes a hello message on a server.
    pub fn publish(&mut self, port: u16, message: &str) {
        let (kind, channel) = (bulk("message"), bulk(HELLO_CHANNEL));
        let bytes = [b"*3\r\n".to_vec(), kind, channel, bulk(message)].concat();
        for key in self.network.to(port) {
            if self.network.connections[&key].is_subscribed {
                self.answer(key, port, bytes.clone());
            }
        }
    }
}
