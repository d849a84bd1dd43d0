//! A node in Sentinel mode that watches one or two masters: replies of servers and Sentinels, hello messages, commands of
//! clients with odd arguments, time, and saves that fail.
//!
//! Byte 0 selects the number of masters, byte 1 whether everything is connected before the fuzzer takes over. Invariants: no
//! second vote in an epoch, and no vote that is not on disk; epochs never go back; what is on disk can be loaded; the numbers
//! of replicas, Sentinels, connections and scripts have limits.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use russet_driver::{Driver, Files};
use russet_engine::config::{Config, Loaded, Place, SentinelStart, Source, Store};
use russet_engine::io::{Endpoints, Handle, ScriptOutcome};
use russet_engine::mode::Mode;
use russet_engine::node::{Boot, Seeds};
use russet_fuzz::commands::encoded;
use russet_fuzz::input::Input;
use russet_fuzz::sentinel::{
    IDS, Servers, bulk, command, hello, long_info, odd_info, take_commands,
};
use russet_protocol::{ParsedReply, Reply, ReplyLimits, ReplyParser};

const PATH: &str = "sentinel.conf";
/// Steps of a run; the rest of the input is ignored.
const STEPS_MAX: usize = 400;
/// Requests without a reply that are remembered for a connection.
const REQUESTS_MAX: usize = 2000;
/// Limits that the machine promises.
const REPLICAS_MAX: usize = 1000;
const SENTINELS_MAX: usize = 201;
const SCRIPTS_MAX: usize = 272;
const LOG_LINES_MAX: usize = 50_000;

struct Scene {
    driver: Driver,
    servers: Servers,
    client: Handle,
    /// A client that only asks for votes, one at a time.
    voter: Handle,
    requests: BTreeMap<Handle, VecDeque<Vec<String>>>,
    /// Masters that were ever monitored.
    monitored: usize,
    /// Votes by epoch, of a Sentinel with one master.
    votes: BTreeMap<u64, String>,
    events: BTreeMap<u64, usize>,
    epochs: BTreeMap<String, u64>,
    has_flooded: bool,
    /// How long a run goes on with a flood of servers.
    flooded_ms: u64,
    /// Who is gone, by port.
    gone: u16,
}

fn load(text: &[u8]) -> Loaded {
    let source = Source { place: Place::Text, text: text.to_vec() };
    let loaded = Config::parse_for(Mode::Sentinel, &[source], &mut |_, _| Ok(vec![]));
    loaded.unwrap_or_else(|error| panic!("{error}:\n{}", text.escape_ascii()))
}

impl Scene {
    fn new(masters: usize) -> Scene {
        let mut text = format!("port 26000\nprotected-mode no\nsentinel myid {}\n", IDS[0]);
        for (name, port) in [("m", 7001), ("n", 7002)].into_iter().take(masters) {
            text.push_str(&format!("sentinel monitor {name} 127.0.0.1 {port} 2\n"));
            text.push_str(&format!("sentinel down-after-milliseconds {name} 1000\n"));
            text.push_str(&format!("sentinel failover-timeout {name} 5000\n"));
            text.push_str(&format!("sentinel notification-script {name} /notify\n"));
            text.push_str(&format!("sentinel known-sentinel {name} 127.0.0.1 26001 {}\n", IDS[1]));
            text.push_str(&format!("sentinel known-sentinel {name} 127.0.0.1 26002 {}\n", IDS[2]));
        }
        let loaded = load(text.as_bytes());
        let store = Store::Configuration { path: PATH.to_owned() };
        let settings = loaded.sentinel.expect("the mode has them").settings;
        let boot = Boot {
            seeds: Seeds::derive([1, 2, 3, 4]),
            mode: Mode::Sentinel,
            sentinel: Some(SentinelStart { settings, store, journal: Vec::new() }),
            ..Boot::default()
        };
        let files: Files = [(PATH.to_owned(), text.into_bytes())].into_iter().collect();
        let mut driver = Driver::start(loaded.config, boot, files);
        let (client, voter) = (driver.connect(), driver.connect());
        Scene {
            driver,
            servers: Servers::new(),
            client,
            voter,
            requests: BTreeMap::new(),
            monitored: 0,
            votes: BTreeMap::new(),
            events: BTreeMap::new(),
            epochs: BTreeMap::new(),
            has_flooded: false,
            flooded_ms: 5000,
            gone: 0,
        }
    }

    /// Returns an outgoing connection.
    fn link(&self, choice: u8) -> Option<(Handle, u16)> {
        let open = || {
            let targets = self.driver.targets.iter();
            targets.filter(|(link, _)| self.driver.is_open(**link))
        };
        let index = usize::from(choice) % open().count().max(1);
        open().nth(index).map(|(link, (_, port))| (*link, *port))
    }

    fn connect(&mut self, choice: u8, is_ok: bool) {
        let count = self.driver.connecting.len();
        if count == 0 {
            return;
        }
        let link = self.driver.connecting[usize::from(choice) % count];
        let port = self.driver.targets.get(&link).map_or(1, |(_, port)| *port);
        let (peer, local) = (([127, 0, 0, 1], port).into(), ([127, 0, 0, 1], 50_000).into());
        match is_ok && port != self.gone {
            true => self.driver.connected(link, Endpoints::Tcp { peer, local }),
            false => self.driver.connect_failed(link, "Connection refused"),
        }
    }

    /// Closes the connections to a port. Nobody can connect to it any more.
    fn kill(&mut self, port: u16) {
        self.gone = port;
        let leads_there = |(_, to): &(&Handle, &(String, u16))| to.1 == port;
        let links: Vec<Handle> =
            self.driver.targets.iter().filter(leads_there).map(|(link, _)| *link).collect();
        for link in links {
            self.driver.disconnect(link);
        }
    }

    /// Connects everything, and answers all requests as they should be, this many times.
    fn help(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for _ in 0..self.driver.connecting.len().min(20) {
                self.connect(0, true);
            }
            self.collect();
            let links: Vec<Handle> = self.requests.keys().copied().take(40).collect();
            for link in links {
                let Some((_, port)) = self.driver.targets.get(&link).cloned() else { continue };
                let requests = self.requests.remove(&link).unwrap_or_default();
                let reply = |words: Vec<String>| self.servers.reply(port, &words);
                let bytes: Vec<u8> = requests.into_iter().flat_map(reply).collect();
                self.driver.send(link, &bytes);
            }
        }
    }

    /// Takes what the node has sent to servers and Sentinels.
    fn collect(&mut self) {
        let links: Vec<Handle> = self.driver.targets.keys().copied().collect();
        self.requests.retain(|link, _| self.driver.targets.contains_key(link));
        for link in links {
            if let Some(connection) = self.driver.connection(link) {
                let commands = take_commands(&mut connection.received);
                let requests = self.requests.entry(link).or_default();
                requests.extend(commands);
                assert!(requests.len() <= REQUESTS_MAX, "requests that nobody answers");
                if requests.is_empty() {
                    self.requests.remove(&link);
                }
            }
        }
    }

    /// Answers the oldest request of a connection.
    fn answer(&mut self, input: &mut Input<'_>) {
        self.collect();
        let Some((link, port)) = self.link(input.byte()) else { return };
        let request = self.requests.get_mut(&link).and_then(VecDeque::pop_front);
        let Some(words) = request else { return };
        let how = input.byte();
        let bytes = match (words[0].as_str(), how) {
            (_, 0..96) => self.servers.reply(port, &words),
            ("PING", _) => {
                let errors = ["LOADING x", "MASTERDOWN x", "BUSY x", "NOAUTH x", "ERR x"];
                format!("-{}\r\n", errors[usize::from(how) % errors.len()]).into_bytes()
            }
            ("INFO", 96..104) if !std::mem::replace(&mut self.has_flooded, true) => long_info(1200),
            ("INFO", 96..240) => odd_info(input),
            ("SENTINEL", 96..240) if words.len() == 6 => {
                let leader = bulk(IDS[usize::from(how) % IDS.len()]);
                let leader = String::from_utf8_lossy(&leader).into_owned();
                let epoch = i64::from(input.byte().cast_signed());
                format!("*3\r\n:{}\r\n{leader}:{epoch}\r\n", how & 1).into_bytes()
            }
            ("SENTINEL", _) => bulk(IDS[usize::from(how) % IDS.len()]),
            ("AUTH", _) => b"-WRONGPASS x\r\n".to_vec(),
            _ => b"-ERR no\r\n".to_vec(),
        };
        self.driver.send(link, &bytes);
    }

    /// Sends a hello message over a subscription, or many of different Sentinels.
    fn push(&mut self, input: &mut Input<'_>) {
        let Some((link, _)) = self.link(input.byte()) else { return };
        let channel = b"*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n";
        let mut texts = vec![hello(input)];
        if input.byte() == 255 && !std::mem::replace(&mut self.has_flooded, true) {
            let text = |index| format!("10.0.0.1,{},{index:040},1,m,127.0.0.1,7001,0", 1 + index);
            texts.extend((0..300).map(text));
        }
        for text in texts {
            self.driver.send(link, &[&channel[..], &bulk(&text)].concat());
        }
    }

    fn client(&mut self, words: &[String]) {
        if !self.driver.is_open(self.client) {
            self.client = self.driver.connect();
        }
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.driver.send(self.client, &encoded(&words, false));
        if self.driver.exit.is_none() {
            let bytes = self.driver.take_raw(self.client);
            with_replies(&bytes, |_| {});
        }
    }

    fn ask_for_vote(&mut self, input: &mut Input<'_>) {
        let (epoch, id) = (input.byte(), IDS[1 + input.below(3)]);
        let port = 7001 + u16::from(input.byte() % 3);
        let words = ["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1"].map(str::to_owned);
        let words = words.into_iter().chain([port.to_string(), epoch.to_string(), id.to_owned()]);
        let words: Vec<Vec<u8>> = words.map(String::into_bytes).collect();
        self.driver.send(self.voter, &encoded(&words, false));
    }

    /// Checks the votes that clients have been told.
    fn check_votes(&mut self) {
        let bytes = self.driver.take_raw(self.voter);
        let (votes, monitored) = (&mut self.votes, self.monitored);
        let file = String::from_utf8_lossy(&self.driver.files[PATH]).into_owned();
        let saved = file.lines().filter_map(|line| line.strip_prefix("sentinel leader-epoch "));
        let saved: Vec<u64> = saved.filter_map(last_number).collect();
        with_replies(&bytes, |reply| {
            let Some(mut elements) = reply.elements() else { return };
            let (_, leader, epoch) = (elements.next(), elements.next(), elements.next());
            let leader = leader.and_then(|it| it.bytes()).expect("a leader");
            let Some(Reply::Integer(epoch)) = epoch else { panic!("no epoch") };
            if leader == b"*" || monitored > 1 {
                return;
            }
            let (epoch, leader) = (epoch.cast_unsigned(), String::from_utf8_lossy(leader));
            let is_saved = saved.iter().any(|saved| *saved >= epoch);
            assert!(is_saved || saved.is_empty(), "a vote in {epoch} is not on disk:\n{file}");
            let vote = votes.entry(epoch).or_insert_with(|| leader.clone().into_owned());
            assert_eq!(*vote, leader, "two votes in epoch {epoch}");
        });
    }

    fn check(&mut self) {
        if self.driver.exit.is_some() {
            return;
        }
        self.collect();
        assert!(self.driver.log.len() <= LOG_LINES_MAX, "the log grows without bound");
        for line in std::mem::take(&mut self.driver.log) {
            if shows() {
                eprintln!("{line}");
            }
            if line.starts_with("+monitor ") {
                self.monitored += 1;
            }
            if let Some(vote) = line.strip_prefix("+vote-for-leader ") {
                let epoch = last_number(vote).expect("its epoch");
                let count = self.events.entry(epoch).or_default();
                *count += 1;
                assert!(*count <= self.monitored, "two votes in epoch {epoch}");
            }
        }
        self.check_votes();
        self.check_machine();
        self.driver.requests.received.clear();
        self.driver.closed.clear();
    }

    fn check_machine(&mut self) {
        let machine = self.driver.node.parts.sentinel.machine().expect("the mode");
        let (mut links, mut sentinels) = (0, 0);
        for summary in machine.summaries() {
            assert!(summary.replicas <= REPLICAS_MAX && summary.sentinels <= SENTINELS_MAX);
            links += 2 * (1 + summary.replicas);
            sentinels += summary.sentinels;
        }
        let outgoing = self.driver.targets.len();
        assert!(outgoing <= links + sentinels, "{outgoing} connections");
        assert!(machine.scripts().1 <= SCRIPTS_MAX, "scripts without bound");
        let lines = machine.state_lines();
        let mut epochs = BTreeMap::new();
        for line in &lines {
            let line = String::from_utf8_lossy(line);
            if let Some((name, epoch)) = line.rsplit_once(' ')
                && (name.starts_with("current-epoch") || name.starts_with("config-epoch"))
            {
                epochs.insert(name.to_owned(), epoch.parse::<u64>().expect("a number"));
            }
        }
        for (name, epoch) in &epochs {
            let before = self.epochs.get(name).copied().unwrap_or_default();
            assert!(*epoch >= before, "{name} goes back from {before} to {epoch}");
        }
        self.epochs = epochs;
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() {
            0..48 => self.answer(input),
            48..64 => self.help(1 + input.below(4)),
            64..80 => {
                let (choice, is_ok) = (input.byte(), input.byte() < 192);
                self.connect(choice, is_ok);
            }
            80..112 => {
                let ms = [1, 20, 100, 500, 1000, 3000, 10_000, 20_000][input.below(8)];
                // A second of a thousand servers that do not answer takes long.
                let ms = if self.has_flooded { ms.min(self.flooded_ms) } else { ms };
                self.flooded_ms -= if self.has_flooded { ms - 1 } else { 0 };
                self.driver.advance(Duration::from_millis(ms));
            }
            112..116 => {
                self.driver.jump(Duration::from_secs(1 << input.below(20)));
            }
            116..120 => {
                let jump = i64::from(input.byte().cast_signed()) << 40;
                self.driver.now.wall_us = self.driver.now.wall_us.wrapping_add(jump).max(0);
            }
            120..136 => self.push(input),
            136..176 => self.client(&command(input)),
            176..192 => self.ask_for_vote(input),
            192..208 => {
                let text = hello(input);
                self.client(&["PUBLISH".into(), "__sentinel__:hello".into(), text]);
            }
            208..220 => {
                let Some((link, _)) = self.link(input.byte()) else { return };
                match input.byte() {
                    0..128 => {
                        self.requests.remove(&link);
                        self.driver.disconnect(link);
                    }
                    _ => {
                        let bytes = input.blob();
                        self.driver.send(link, bytes);
                    }
                }
            }
            220..232 => {
                let fails = input.byte() & 1 == 1;
                self.driver.requests.fails_with = fails.then(|| "no space".to_owned());
            }
            232..244 => {
                let running = &self.driver.scripts.running;
                let index = usize::from(input.byte()) % running.len().max(1);
                let Some(&job) = running.get(index) else { return };
                let outcome = match input.byte() {
                    status @ 0..128 => ScriptOutcome::Exited(i32::from(status % 3)),
                    signal => ScriptOutcome::Killed(i32::from(signal % 16) + 1),
                };
                self.driver.end_script(job, outcome);
            }
            244..250 => self.kill([0, 7001, 7002, 26_001][input.below(4)]),
            _ => {
                let held = input.byte() & 1 == 1;
                self.driver.requests.held = held;
                while !held && self.driver.requests.has_pending() {
                    self.driver.answer();
                }
            }
        }
    }
}

fn shows() -> bool {
    std::env::var_os("RUSSET_FUZZ_SHOW").is_some()
}

/// Returns the number behind the last space.
fn last_number(text: &str) -> Option<u64> {
    text.rsplit_once(' ').and_then(|(_, number)| number.parse().ok())
}

/// Calls a function with each reply.
fn with_replies(bytes: &[u8], mut call: impl FnMut(Reply<'_>)) {
    let (mut parser, mut at) = (ReplyParser::default(), 0);
    while at < bytes.len() {
        let ParsedReply::Reply { len } = parser.parse(&bytes[at..], &ReplyLimits::new(usize::MAX))
        else {
            panic!("an incomplete reply: {}", bytes[at..].escape_ascii());
        };
        call(parser.reply(&bytes[at..]).expect("it is complete"));
        at += len;
        parser.reset();
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut scene = Scene::new(1 + input.below(2));
    if input.byte() & 1 == 1 {
        scene.help(6);
    }
    scene.check();
    for _ in 0..STEPS_MAX {
        if input.is_empty() || scene.driver.exit.is_some() {
            break;
        }
        scene.step(&mut input);
        scene.check();
    }
    if scene.driver.exit.is_none() {
        // What is on disk is what a restart begins with.
        load(&scene.driver.files[PATH]);
    }
});
