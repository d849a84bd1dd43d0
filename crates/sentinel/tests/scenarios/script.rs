//! The directives of a scenario.
//!
//! ```text
//!   begin                            a new world
//!   server PORT [of PORT]            a server; `set PORT KEY VALUE` changes what it says (server.rs)
//!   config LINE                      a line for the files of the Sentinels that follow
//!   peers N                          scripted Sentinels p1 … pN, known to the real ones that follow
//!   sentinels N quorum Q             real Sentinels s1 … sN that monitor `mymaster`, the first server
//!   usual N quorum Q [peers N]       a master 6379 with replicas 6380 and 6381, Sentinels, and five seconds
//!   advance TIME · until EVENT [TIME]     lets time pass, until an event was published
//!   kill NAME · start NAME · pause NAME TIME · move NAME PORT
//!   cut A -> B · cut A <-> B · heal
//!   save NAME works · save NAME takes TIME · save NAME fails N
//!   peer NAME down yes|no · peer NAME vote nobody|asker|NAME · peer NAME claims NAME
//!   hello NAME KEY VALUE …           a hello message of a scripted Sentinel: epoch, master, config, port, id
//!   send NAME COMMAND                a command of SENTINEL, with its reply
//!   look NAME                        flags of what it knows
//!   file NAME                        the lines of its file
//!   script NAME RUN exits|killed N   ends a script
//!   wall TIME                        the wall clock jumps, back if the time is negative
//!   show|hide saves|log|commands · only NAME … · silently DIRECTIVE
//! ```

use std::path::Path;

use russet_protocol::{Protocol, ReplyWriter};
use russet_sentinel::{End, ScriptOutcome};

use crate::commands::{execute, flags, format};
use crate::sentinel::{Disk, Peer, Process, Vote};
use crate::server::{self, Server};
use crate::world::{World, with_reply};

/// Ports of Sentinels.
const SENTINEL_PORT: u16 = 26_379;
const PEER_PORT: u16 = 26_401;
/// Limit of `until`.
const UNTIL_MS: u64 = 600_000;

/// Runs the text of a scenario. Returns it with what came of the directives.
pub fn run(path: &Path, text: &str) -> String {
    let mut stage = Stage { world: World::new(), config: Vec::new() };
    let mut actual = String::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("  ") {
            continue;
        }
        actual.push_str(line);
        actual.push('\n');
        let Some(directive) = line.strip_prefix("> ") else {
            assert!(
                line.is_empty() || line.starts_with('#'),
                "{}:{}: {line}",
                path.display(),
                index + 1
            );
            continue;
        };
        stage.world.since = stage.world.mono_ms;
        stage.world.events.clear();
        stage.directive(directive);
        for line in stage.world.lines.drain(..) {
            actual.push_str(&line);
            actual.push('\n');
        }
    }
    actual
}

struct Stage {
    world: World,
    config: Vec<String>,
}

fn ms(text: &str) -> u64 {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let found = units.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)));
    let (number, unit) = found.unwrap_or_else(|| panic!("{text} is no time"));
    number.parse::<u64>().unwrap_or_else(|_| panic!("{text} is no time")) * unit
}

fn port(text: &str) -> u16 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no port"))
}

impl Stage {
    fn directive(&mut self, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        let world = &mut self.world;
        match &words[..] {
            ["begin"] => *self = Stage { world: World::new(), config: Vec::new() },
            ["silently", ..] => {
                self.directive(text.strip_prefix("silently ").expect("it is there"));
                self.world.lines.clear();
            }
            ["server", new, rest @ ..] => {
                let of = rest.get(1).map(|of| port(of));
                let server = Server::new(port(new), of, world.mono_ms.saturating_sub(1_000));
                world.servers.insert(server.port, server);
            }
            ["set", at, key, value] => {
                let now = world.mono_ms;
                world.servers.get_mut(&port(at)).expect("a server").set(key, value, now);
            }
            ["config", ..] => {
                self.config.push(text.strip_prefix("config ").expect("it is there").to_owned());
            }
            ["peers", count] => self.add_peers(count.parse().expect("a number")),
            ["sentinels", count, "quorum", quorum] => {
                self.add_sentinels(count.parse().expect("a number"), quorum);
            }
            ["usual", count, "quorum", quorum, rest @ ..] => {
                let peers = rest.get(1).map_or(0, |count| count.parse().expect("a number"));
                self.add_peers(peers);
                for (port, of) in [(6379, None), (6380, Some(6379)), (6381, Some(6379))] {
                    let server = Server::new(port, of, self.world.mono_ms - 1000);
                    self.world.servers.insert(port, server);
                }
                self.add_sentinels(count.parse().expect("a number"), quorum);
                self.world.run_until(self.world.mono_ms + 5000, None);
                self.world.lines.clear();
            }
            ["advance", time] => world.run_until(world.mono_ms + ms(time), None),
            ["until", event, rest @ ..] => {
                let limit = rest.first().map_or(UNTIL_MS, |time| ms(time));
                world.run_until(world.mono_ms + limit, Some(event));
            }
            ["wall", jump] => {
                let (back, text) = jump.strip_prefix('-').map_or((1, *jump), |text| (-1, text));
                world.wall_ms += back * i64::try_from(ms(text)).expect("a short time");
            }
            ["show" | "hide", what] => {
                let shown = &mut world.shown;
                let flag = match *what {
                    "saves" => &mut shown.saves,
                    "log" => &mut shown.log,
                    "commands" => &mut shown.commands,
                    _ => panic!("{what} cannot be shown"),
                };
                *flag = words[0] == "show";
            }
            ["only", names @ ..] => {
                world.shown.only = names.iter().map(|name| (*name).to_owned()).collect();
            }
            _ => self.fault(&words),
        }
    }

    fn fault(&mut self, words: &[&str]) {
        let world = &mut self.world;
        let now = world.mono_ms;
        match words {
            ["kill", name] => self.kill(name),
            ["start", name] => self.start(name),
            ["pause", name, time] => {
                let until = now + ms(time);
                match world.processes.iter_mut().find(|it| it.name == *name) {
                    Some(process) => process.paused_until = until,
                    None => {
                        world.servers.get_mut(&port(name)).expect("a server").paused_until = until
                    }
                }
            }
            ["move", name, to] => {
                let index = self.process(name);
                let world = &mut self.world;
                world.close_all(world.processes[index].port);
                world.processes[index].port = port(to);
            }
            ["cut", from, way, to] => {
                world.network.cuts.insert(((*from).to_owned(), (*to).to_owned()));
                if *way == "<->" {
                    world.network.cuts.insert(((*to).to_owned(), (*from).to_owned()));
                }
            }
            ["heal"] => {
                world.network.cuts.clear();
                world.network.heal(now);
            }
            ["save", name, how @ ..] => {
                let index = self.process(name);
                self.world.processes[index].disk = match how {
                    ["works"] => Disk::Works(1),
                    ["takes", time] => Disk::Works(ms(time)),
                    ["fails", count] => Disk::Fails(count.parse().expect("a number")),
                    _ => panic!("a disk does not {how:?}"),
                };
            }
            ["script", name, run, how, number] => {
                let number = number.parse().expect("a number");
                let outcome = match *how {
                    "exits" => ScriptOutcome::Exited(number),
                    _ => ScriptOutcome::Killed(number),
                };
                let index = self.process(name);
                self.world.end_script(index, run.parse().expect("a number"), outcome);
            }
            _ => self.talk(words),
        }
    }

    fn talk(&mut self, words: &[&str]) {
        match words {
            ["peer", name, key, value] => self.set_peer(name, key, value),
            ["hello", name, pairs @ ..] => self.hello(name, pairs),
            ["send", name, words @ ..] => {
                let index = self.process(name);
                let words: Vec<String> = words.iter().map(|word| self.id(word)).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.send(index, &words);
            }
            ["look", name] => {
                let index = self.process(name);
                for command in ["master", "replicas", "sentinels"] {
                    let (reply, _) = self.command(index, &[command, "mymaster"]);
                    with_reply(&reply, |reply| flags(&mut self.world, command, &reply));
                }
            }
            ["file", name] => {
                let index = self.process(name);
                for line in self.world.processes[index].file.clone() {
                    self.world.note(&line);
                }
            }
            _ => panic!("no such directive: {words:?}"),
        }
    }

    fn process(&self, name: &str) -> usize {
        let position = self.world.processes.iter().position(|it| it.name == name);
        position.unwrap_or_else(|| panic!("no Sentinel {name}"))
    }

    /// Returns the id of a Sentinel; other words are unchanged.
    fn id(&self, word: &str) -> String {
        let process = self.world.processes.iter().find(|it| it.name == word).map(|it| &it.id);
        let peer = self.world.peers.iter().find(|it| it.name == word).map(|it| &it.id);
        process.or(peer).cloned().unwrap_or_else(|| word.to_owned())
    }

    fn add_peers(&mut self, count: u16) {
        for number in 0..count {
            let name = format!("p{}", number + 1);
            let (id, port) = (server::id(&name), PEER_PORT + number);
            self.config.push(format!("known-sentinel mymaster 127.0.0.1 {port} {id}"));
            let (vote, claims) = (Vote::Asker, None);
            self.world.peers.push(Peer {
                name,
                id,
                port,
                is_up: true,
                says_down: true,
                vote,
                claims,
            });
        }
    }

    fn add_sentinels(&mut self, count: u16, quorum: &str) {
        let first = self.world.servers.values().find(|it| it.master.is_none());
        let master = first.map_or(6379, |server| server.port);
        for number in 0..count {
            let name = format!("s{}", number + 1);
            let id = server::id(&name);
            let mut file = vec![format!("myid {id}")];
            file.push(format!("monitor mymaster 127.0.0.1 {master} {quorum}"));
            file.push("down-after-milliseconds mymaster 1000".to_owned());
            file.extend(self.config.iter().cloned());
            self.world.processes.push(Process {
                name: name.clone(),
                id,
                port: SENTINEL_PORT + number,
                machine: None,
                life: 0,
                paused_until: 0,
                file,
                disk: Disk::Works(1),
                saves: Default::default(),
            });
            self.start(&name);
        }
    }

    fn kill(&mut self, name: &str) {
        if let Some(index) = self.world.processes.iter().position(|it| it.name == name) {
            return self.world.kill_process(index);
        }
        let now = self.world.mono_ms;
        let at = match self.world.peers.iter_mut().find(|it| it.name == name) {
            Some(peer) => {
                peer.is_up = false;
                peer.port
            }
            None => {
                let at = port(name);
                self.world.servers.get_mut(&at).expect("a server").is_up = false;
                for server in self.world.servers.values_mut() {
                    if server.master == Some(at) && server.link_up_at <= now {
                        server.link_down_since = now;
                    }
                }
                at
            }
        };
        self.world.close_all(at);
    }

    fn start(&mut self, name: &str) {
        let now = self.world.now();
        if let Some(index) = self.world.processes.iter().position(|it| it.name == name) {
            self.world.processes[index].start(now, index as u64);
            return self.world.carry_out(index);
        }
        match self.world.peers.iter_mut().find(|it| it.name == name) {
            Some(peer) => peer.is_up = true,
            None => {
                self.world.servers.get_mut(&port(name)).expect("a server").restart(now.mono_ms);
            }
        }
    }

    fn set_peer(&mut self, name: &str, key: &str, value: &str) {
        let id = self.id(value);
        let peer = self.world.peers.iter_mut().find(|it| it.name == name).expect("a peer");
        match (key, value) {
            ("down", _) => peer.says_down = value == "yes",
            ("vote", "nobody") => peer.vote = Vote::Nobody,
            ("vote", "asker") => peer.vote = Vote::Asker,
            ("vote", _) => peer.vote = Vote::Id(id),
            ("claims", _) => peer.claims = Some(server::id(&id)),
            _ => panic!("a peer has no {key}"),
        }
    }

    fn hello(&mut self, name: &str, pairs: &[&str]) {
        let peer = self.world.peers.iter().find(|it| it.name == name).expect("a peer").clone();
        let value = |key: &str, default: u64| -> u64 {
            let pair = pairs.chunks(2).find(|pair| pair[0] == key);
            pair.map_or(default, |pair| pair[1].parse().expect("a number"))
        };
        let (at, epoch) = (value("port", u64::from(peer.port)), value("epoch", 0));
        let (master, config) = (value("master", 6379), value("config", 0));
        let stranger = pairs.chunks(2).find(|pair| pair[0] == "id").map(|pair| server::id(pair[1]));
        let id = stranger.unwrap_or(peer.id);
        let text = format!("127.0.0.1,{at},{id},{epoch},mymaster,127.0.0.1,{master},{config}");
        let up = self.world.servers.values().find(|it| it.is_up).expect("a server").port;
        self.world.publish(up, &text);
    }

    /// Sends a command, waits for the disk if its reply does, and writes the reply down.
    fn send(&mut self, index: usize, words: &[&str]) {
        let (reply, end) = self.command(index, words);
        let mut shown = String::new();
        with_reply(&reply, |reply| shown = format(&reply));
        let waits = match end {
            End::Done => "",
            End::AfterSave(_) => " (when it is saved)",
        };
        let lines = shown.lines().collect::<Vec<_>>().join("\n      ");
        self.world.note(&format!("{lines}{waits}"));
    }

    fn command(&mut self, index: usize, words: &[&str]) -> (Vec<u8>, End) {
        let now = self.world.now();
        if let [name, rest @ ..] = words
            && name.eq_ignore_ascii_case("is-master-down-by-addr")
        {
            return self.world.opinion(index, rest).expect("it runs");
        }
        let mut bytes = Vec::new();
        let result = self.world.call(index, |machine| {
            let mut reply = ReplyWriter::new(&mut bytes, Protocol::Resp2);
            execute(machine, now, words, &mut reply)
        });
        let end = result.expect("it runs").unwrap_or_else(|error| {
            bytes.clear();
            ReplyWriter::new(&mut bytes, Protocol::Resp2).error(&error);
            End::Done
        });
        (bytes, end)
    }
}
