//! The world of a scenario: carries messages, runs timers, and writes down what comes of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use russet_protocol::{ParsedReply, Reply, ReplyLimits, ReplyParser};
use russet_sentinel::{Input, Level, Now, Output, ScriptId, ScriptOutcome};

use crate::network::{Connection, Event, Key, Network};
use crate::sentinel::{Disk, Peer, Process};
use crate::server::Server;

/// The start of time.
const START_MS: u64 = 1_000_000;
const START_WALL_MS: i64 = 1_700_000_000_000;
/// Events of a directive, more of which are a loop.
const STEPS_MAX: usize = 1_000_000;
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Commands to servers that are not shown, unless all are.
const USUAL: [&str; 10] = [
    "PING",
    "INFO",
    "PUBLISH",
    "AUTH",
    "CLIENT",
    "SUBSCRIBE",
    "MULTI",
    "EXEC",
    "CONFIG",
    "SENTINEL",
];

/// What is written down, besides events, scripts, and commands that change a server.
#[derive(Default)]
pub struct Shown {
    pub saves: bool,
    pub log: bool,
    pub commands: bool,
    /// Only of these, if there are any.
    pub only: Vec<String>,
}

/// The world.
pub struct World {
    pub mono_ms: u64,
    pub wall_ms: i64,
    pub network: Network,
    pub servers: BTreeMap<u16, Server>,
    pub processes: Vec<Process>,
    pub peers: Vec<Peer>,
    pub shown: Shown,
    /// Since when lines are timed.
    pub since: u64,
    pub lines: Vec<String>,
    /// Names of the events since the directive.
    pub events: Vec<String>,
}

impl World {
    pub fn new() -> World {
        World {
            mono_ms: START_MS,
            wall_ms: START_WALL_MS,
            network: Network::default(),
            servers: BTreeMap::new(),
            processes: Vec::new(),
            peers: Vec::new(),
            shown: Shown::default(),
            since: START_MS,
            lines: Vec::new(),
            events: Vec::new(),
        }
    }

    pub fn now(&self) -> Now {
        Now { mono_ms: self.mono_ms, wall_ms: self.wall_ms }
    }

    /// Lets time pass until then, or until one of these events was published.
    pub fn run_until(&mut self, end: u64, event: Option<&str>) {
        for _ in 0..STEPS_MAX {
            if event.is_some_and(|event| self.events.iter().any(|known| known == event)) {
                return;
            }
            let timers = self.processes.iter().filter_map(Process::due).min();
            let next = timers.into_iter().chain(self.network.due()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                return self.pass(end);
            };
            self.pass(next);
            if self.network.due().is_some_and(|due| due <= self.mono_ms) {
                if let Some(event) = self.network.take() {
                    self.deliver(event);
                }
                continue;
            }
            let now = self.mono_ms;
            for index in 0..self.processes.len() {
                if self.processes[index].due().is_some_and(|due| due <= now) {
                    self.input(index, Input::Tick);
                }
            }
        }
        panic!("time does not pass");
    }

    fn pass(&mut self, to: u64) {
        let ms = to.saturating_sub(self.mono_ms);
        self.mono_ms += ms;
        self.wall_ms += i64::try_from(ms).expect("a short time");
    }

    /// Returns the name of who listens on a port.
    fn name_of(&self, port: u16) -> String {
        let process = self.processes.iter().find(|it| it.port == port).map(|it| it.name.clone());
        let peer = self.peers.iter().find(|it| it.port == port).map(|it| it.name.clone());
        process.or(peer).unwrap_or_else(|| port.to_string())
    }

    /// Whether somebody listens on a port.
    fn listens(&self, port: u16) -> bool {
        self.servers.get(&port).is_some_and(|it| it.is_up)
            || self.peers.iter().any(|it| it.port == port && it.is_up)
            || self.processes.iter().any(|it| it.port == port && it.machine.is_some())
    }

    /// Returns until when the receiver of an event is stopped.
    fn paused_until(&self, event: &Event) -> u64 {
        match event.route() {
            Some((_, port, true)) => {
                let process = self.processes.iter().find(|it| it.port == port);
                let server = self.servers.get(&port).map(|it| it.paused_until);
                server.or(process.map(|it| it.paused_until)).unwrap_or_default()
            }
            Some((sentinel, ..)) => self.processes[sentinel].paused_until,
            None => match event {
                Event::Saved(sentinel, ..) => self.processes[*sentinel].paused_until,
                _ => 0,
            },
        }
    }

    fn is_cut(&self, event: &Event) -> bool {
        let Some((sentinel, port, goes_there)) = event.route() else { return false };
        let (near, far) = (self.processes[sentinel].name.clone(), self.name_of(port));
        let way = if goes_there { (near, far) } else { (far, near) };
        self.network.cuts.contains(&way)
    }

    fn deliver(&mut self, event: Event) {
        // A connection request is answered by the kernel, also of a process that is stopped.
        let is_connect = matches!(event, Event::Connect(..));
        let paused_until = self.paused_until(&event);
        if paused_until > self.mono_ms && !is_connect {
            return self.network.at(paused_until, event);
        }
        if self.is_cut(&event) {
            return self.network.hold(event);
        }
        match event {
            Event::Connect(key, port) => {
                let opens = self.listens(port);
                if opens {
                    let connection = Connection { port, ..Connection::default() };
                    self.network.connections.insert(key, connection);
                }
                let event = if opens { Event::Opened(key, port) } else { Event::Closed(key, port) };
                self.network.send(self.mono_ms, event);
            }
            Event::Opened(key, _) => {
                let ends = Some(HOST);
                self.input_of(key, Input::Connected { link: key.link, local: ends, peer: ends });
            }
            Event::Closed(key, _) => self.input_of(key, Input::Closed { link: key.link }),
            Event::Request(key, port, words) => self.request(key, port, words),
            Event::Answer(key, _, bytes) => with_reply(&bytes, |reply| {
                self.input_of(key, Input::Reply { link: key.link, reply });
            }),
            Event::Saved(sentinel, life, version, is_ok) => {
                self.saved(sentinel, life, version, is_ok)
            }
            Event::HandedOver(from, to) => {
                let now = self.mono_ms;
                self.servers.get_mut(&to).expect("a server").follow(None, now);
                self.servers.get_mut(&from).expect("a server").follow(Some(to), now);
            }
        }
    }

    /// Hands an input to a connection's Sentinel, if it was not started anew meanwhile.
    fn input_of(&mut self, key: Key, input: Input<'_>) {
        if self.processes[key.sentinel].life == key.life {
            self.input(key.sentinel, input);
        }
    }

    fn input(&mut self, index: usize, input: Input<'_>) {
        let now = self.now();
        self.call(index, |machine| machine.handle(now, input));
    }

    /// Calls a machine, and carries out what it wants.
    pub fn call<T>(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut russet_sentinel::Sentinel) -> T,
    ) -> Option<T> {
        let result = call(self.processes[index].machine.as_mut()?);
        self.carry_out(index);
        Some(result)
    }

    /// Carries out what a machine wants.
    pub fn carry_out(&mut self, index: usize) {
        loop {
            let machine = self.processes[index].machine.as_mut();
            let Some(output) = machine.and_then(|machine| machine.poll_output()) else { return };
            self.output(index, output);
        }
    }

    fn output(&mut self, index: usize, output: Output) {
        let (now, life) = (self.mono_ms, self.processes[index].life);
        let key = |link| Key { sentinel: index, life, link };
        match output {
            Output::Connect { link, port, .. } => {
                self.network.send(now, Event::Connect(key(link), port));
            }
            Output::Send { link, bytes } => self.sent(key(link), &bytes),
            Output::Close { link } => {
                self.network.connections.remove(&key(link));
            }
            Output::Save { version } => self.save(index, version),
            Output::Publish { channel, message } => {
                self.write(index, &format!("{channel} {message}"));
                self.events.push(channel);
            }
            Output::Log { level, text } => {
                let is_event = text.starts_with(['+', '-']);
                if self.shown.log && !is_event && level >= Level::Notice {
                    self.write(index, &format!("logs: {text}"));
                }
            }
            Output::RunScript { id, path, arguments } => {
                self.write(index, &format!("runs {}: {path} {}", id.0, arguments.join(" ")));
                let pid = id.0.try_into().expect("few scripts");
                self.input(index, Input::ScriptStarted { id, pid });
            }
            Output::KillScript { id } => self.write(index, &format!("kills script {}", id.0)),
            Output::SaveJournal => {}
            Output::Exit(status) => {
                self.write(index, &format!("exits with {status}"));
                self.kill_process(index);
            }
        }
    }

    /// Writes a line down.
    pub fn write(&mut self, index: usize, text: &str) {
        let name = self.processes[index].name.clone();
        let only = &self.shown.only;
        if only.is_empty() || only.contains(&name) {
            self.note(&format!("{name} {text}"));
        }
    }

    /// Writes a line down, with names in place of ids.
    pub fn note(&mut self, text: &str) {
        let mut text = text.to_owned();
        let ids = self.processes.iter().map(|it| (&it.id, &it.name));
        for (id, name) in ids.chain(self.peers.iter().map(|it| (&it.id, &it.name))) {
            text = text.replace(id.as_str(), name);
        }
        let tenths = (self.mono_ms - self.since) / 100;
        self.lines.push(format!("  {}.{} {}", tenths / 10, tenths % 10, text.trim_end()));
    }

    fn save(&mut self, index: usize, version: u64) {
        let now = self.mono_ms;
        let process = &mut self.processes[index];
        let machine = process.machine.as_ref().expect("it has just asked for it");
        let text = |line: Vec<u8>| String::from_utf8(line).expect("text");
        let lines = machine.state_lines().into_iter().map(text).collect();
        process.saves.insert(version, lines);
        let (ms, is_ok) = match process.disk {
            Disk::Works(ms) => (ms, true),
            Disk::Fails(_) => (1, false),
        };
        if let Disk::Fails(count) = &mut process.disk {
            *count -= 1;
            if *count == 0 {
                process.disk = Disk::Works(1);
            }
        }
        let event = Event::Saved(index, process.life, version, is_ok);
        self.network.at(now + ms, event);
        if self.shown.saves {
            self.write(index, &format!("saves version {version}"));
        }
    }

    fn saved(&mut self, index: usize, life: u32, version: u64, is_ok: bool) {
        let process = &mut self.processes[index];
        let Some(lines) = process.saves.remove(&version).filter(|_| process.life == life) else {
            return;
        };
        if is_ok {
            process.file = lines;
        }
        if self.shown.saves {
            let result = if is_ok { "is saved" } else { "cannot be saved" };
            self.write(index, &format!("version {version} {result}"));
        }
        let result = if is_ok { Ok(()) } else { Err("no space".to_owned()) };
        self.input(index, Input::Saved { version, result });
        let port = self.processes[index].port;
        for key in self.network.to(port) {
            self.answer_waiting(key, port, version, is_ok);
        }
    }

    fn sent(&mut self, key: Key, bytes: &[u8]) {
        let Some(connection) = self.network.connections.get(&key) else { return };
        let port = connection.port;
        let mut words = Vec::new();
        with_reply(bytes, |reply| {
            let elements = reply.elements().expect("a command");
            let text =
                |word: Reply<'_>| String::from_utf8_lossy(word.bytes().unwrap()).into_owned();
            words = elements.map(text).collect();
        });
        if self.shown.commands || !USUAL.contains(&words[0].as_str()) {
            let text = format!("-> {}: {}", self.name_of(port), words.join(" "));
            self.write(key.sentinel, &text);
        }
        self.network.send(self.mono_ms, Event::Request(key, port, words));
    }

    /// Sends a reply, or a message.
    pub fn answer(&mut self, key: Key, port: u16, bytes: Vec<u8>) {
        self.network.send(self.mono_ms, Event::Answer(key, port, bytes));
    }

    /// Closes all connections to a port.
    pub fn close_all(&mut self, port: u16) {
        for key in self.network.to(port) {
            self.network.connections.remove(&key);
            self.network.send(self.mono_ms, Event::Closed(key, port));
        }
    }

    /// Ends a Sentinel's process.
    pub fn kill_process(&mut self, index: usize) {
        let process = &mut self.processes[index];
        process.machine = None;
        let port = process.port;
        self.close_all(port);
        self.network.connections.retain(|key, _| key.sentinel != index);
    }

    /// Ends a script.
    pub fn end_script(&mut self, index: usize, id: u64, outcome: ScriptOutcome) {
        self.input(index, Input::ScriptEnded { id: ScriptId(id), outcome });
    }
}

/// Returns bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns a bulk string.
pub fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Calls a function with the reply that these bytes are.
pub fn with_reply(bytes: &[u8], call: impl FnOnce(Reply<'_>)) {
    let mut parser = ReplyParser::default();
    let parsed = parser.parse(bytes, &ReplyLimits::new(1 << 20));
    assert_eq!(parsed, ParsedReply::Reply { len: bytes.len() }, "{}", bytes.escape_ascii());
    call(parser.reply(bytes).expect("it is complete"));
}
