//! Simulated servers and Sentinels for a node in Sentinel mode, and commands with odd arguments.

use std::collections::BTreeMap;

use russet_protocol::{ParsedReply, ReplyLimits, ReplyParser};

use crate::input::Input;

/// Ids of Sentinels.
pub const IDS: [&str; 4] = [
    "0123456789012345678901234567890123456789",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "cccccccccccccccccccccccccccccccccccccccc",
];

/// Numbers at limits.
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "1000",
    "65535",
    "65536",
    "-1",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
];

/// Subcommands of SENTINEL.
const SUBCOMMANDS: [&str; 24] = [
    "masters",
    "master",
    "replicas",
    "sentinels",
    "get-master-addr-by-name",
    "is-master-down-by-addr",
    "is-master-down-by-addr",
    "ckquorum",
    "failover",
    "failover",
    "monitor",
    "remove",
    "reset",
    "set",
    "set",
    "config",
    "flushconfig",
    "info-cache",
    "pending-scripts",
    "debug",
    "events",
    "explain",
    "myid",
    "simulate-failure",
];

/// Arguments of SENTINEL.
const WORDS: [&str; 48] = [
    "m",
    "n",
    "*",
    "?",
    "127.0.0.1",
    "::1",
    "host.example",
    "7001",
    "7002",
    "7003",
    "",
    "a b",
    "\"#'\\",
    "\r\n",
    "\u{e9}",
    "yes",
    "no",
    "get",
    "set",
    "coordinated",
    "crash-after-election",
    "quorum",
    "down-after-milliseconds",
    "failover-timeout",
    "parallel-syncs",
    "notification-script",
    "client-reconfig-script",
    "auth-pass",
    "auth-user",
    "rename-command",
    "SLAVEOF",
    "PING",
    "master-reboot-down-after-period",
    "replica-forget-after",
    "sentinel-forget-after",
    "resolve-hostnames",
    "announce-hostnames",
    "announce-ip",
    "announce-port",
    "sentinel-user",
    "sentinel-pass",
    "loglevel",
    "debug",
    "INFO-PERIOD",
    "ELECTION-TIMEOUT",
    "TILT-PERIOD",
    "/notify",
    "/reconfig",
];

/// Returns a word of the input's choice.
pub fn word(input: &mut Input<'_>) -> String {
    match input.byte() {
        byte @ 0..128 => WORDS[usize::from(byte) % WORDS.len()].to_owned(),
        byte @ 128..208 => number(byte).to_owned(),
        byte @ 208..240 => IDS[usize::from(byte) % IDS.len()].to_owned(),
        _ => {
            let len = input.below(16);
            String::from_utf8_lossy(input.bytes(len)).into_owned()
        }
    }
}

fn number(byte: u8) -> &'static str {
    NUMBERS[usize::from(byte) % NUMBERS.len()]
}

/// Returns a command of SENTINEL.
pub fn command(input: &mut Input<'_>) -> Vec<String> {
    let name = SUBCOMMANDS[input.below(SUBCOMMANDS.len())];
    let mut words = vec!["SENTINEL".to_owned(), name.to_owned()];
    let shape = input.byte();
    if shape < 160 {
        words.extend(usual(name, input));
    }
    for _ in 0..shape % 8 {
        words.push(word(input));
    }
    if name == "debug" {
        // Periods of a millisecond take as long as they say.
        words.iter_mut().skip(2).filter(|it| it.len() < 4).for_each(|it| *it = "1000".into());
    }
    words
}

/// Returns the arguments that a subcommand begins with.
fn usual(name: &str, input: &mut Input<'_>) -> Vec<String> {
    let own = |text: &str| text.to_owned();
    match name {
        "is-master-down-by-addr" => {
            let port = format!("700{}", 1 + input.below(3));
            let epoch = number(input.byte());
            vec![own("127.0.0.1"), port, own(epoch), own(IDS[input.below(IDS.len())])]
        }
        "masters" | "myid" | "flushconfig" | "pending-scripts" | "config" | "debug"
        | "simulate-failure" => Vec::new(),
        _ => vec![own("m")],
    }
}

/// Takes complete commands from the front.
pub fn take_commands(bytes: &mut Vec<u8>) -> Vec<Vec<String>> {
    let (mut parser, mut at, mut commands) = (ReplyParser::default(), 0, Vec::new());
    loop {
        match parser.parse(&bytes[at..], &ReplyLimits::new(usize::MAX)) {
            ParsedReply::Incomplete => break,
            ParsedReply::Malformed(error) => panic!("{error}: {}", bytes[at..].escape_ascii()),
            ParsedReply::Reply { len } => {
                let reply = parser.reply(&bytes[at..]).expect("it is complete");
                let elements = reply.elements().expect("a command is an array");
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                commands.push(elements.map(|it| text(it.bytes().expect("a word"))).collect());
                at += len;
            }
        }
        parser.reset();
    }
    bytes.drain(..at);
    commands
}

/// The servers, by their ports: whom each of them follows.
pub struct Servers {
    follows: BTreeMap<u16, Option<u16>>,
}

impl Servers {
    /// A master and two replicas.
    pub fn new() -> Servers {
        let follows = [(7001, None), (7002, Some(7001)), (7003, Some(7001))];
        Servers { follows: follows.into_iter().collect() }
    }

    /// Returns a good reply to a command, and executes it.
    pub fn reply(&mut self, port: u16, words: &[String]) -> Vec<u8> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match &words[..] {
            ["PING"] => b"+PONG\r\n".to_vec(),
            ["INFO"] => bulk(&self.info(port)),
            ["SLAVEOF", _, to] => {
                self.follows.insert(port, to.parse().ok());
                b"+QUEUED\r\n".to_vec()
            }
            ["FAILOVER", "TO", _, to, ..] => {
                if let Ok(to) = to.parse() {
                    self.follows.insert(to, None);
                    self.follows.insert(port, Some(to));
                }
                b"+OK\r\n".to_vec()
            }
            ["SENTINEL", "MYID"] => bulk(IDS[usize::from(port) % IDS.len()]),
            ["SENTINEL", _, _, _, epoch, candidate] => {
                let leader = text(&bulk(candidate));
                format!("*3\r\n:1\r\n{leader}:{epoch}\r\n").into_bytes()
            }
            _ => b"+OK\r\n".to_vec(),
        }
    }

    fn info(&self, port: u16) -> String {
        let mut text = format!("run_id:{port:040}\r\nmaster_replid:{:040}\r\n", 1);
        match self.follows.get(&port).copied().flatten() {
            Some(master) => text.push_str(&format!(
                "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:{master}\r\n\
                 master_link_status:up\r\nslave_repl_offset:100\r\nslave_priority:100\r\n"
            )),
            None => {
                text.push_str("role:master\r\n");
                let follows = self.follows.iter().filter(|(_, to)| **to == Some(port));
                for (index, (port, _)) in follows.enumerate() {
                    let line = format!("slave{index}:ip=127.0.0.1,port={port},state=online\r\n");
                    text.push_str(&line);
                }
            }
        }
        text
    }
}

impl Default for Servers {
    fn default() -> Servers {
        Servers::new()
    }
}

/// Lines of an INFO that is not true.
const INFO_LINES: [&str; 26] = [
    "role:slave",
    "role:master",
    "role:sentinel",
    "run_id:0000000000000000000000000000000000000001",
    "run_id:1",
    "master_host:127.0.0.1",
    "master_host:",
    "master_host:host.example",
    "master_port:7001",
    "master_port:65536",
    "master_link_status:up",
    "master_link_status:down",
    "master_link_down_since_seconds:-1",
    "master_link_down_since_seconds:9223372036854775807",
    "slave_priority:0",
    "slave_priority:4294967296",
    "slave_repl_offset:18446744073709551615",
    "slave_repl_offset:-1",
    "replica_announced:0",
    "master_replid:0000000000000000000000000000000000000001",
    "master_replid:1111111111111111111111111111111111111111",
    "master_replid2:0000000000000000000000000000000000000001",
    "loading:1",
    "slave0:ip=127.0.0.1,port=7002,state=online",
    "slave1:ip=127.0.0.1,port=7001",
    "slave2:::1,7004,online",
];

/// Returns an INFO of odd lines.
pub fn odd_info(input: &mut Input<'_>) -> Vec<u8> {
    let count = input.below(16);
    let lines = (0..count).map(|_| INFO_LINES[input.below(INFO_LINES.len())].to_owned());
    bulk(&lines.collect::<Vec<String>>().join("\r\n"))
}

/// Returns an INFO of a master with this many replicas.
pub fn long_info(count: u32) -> Vec<u8> {
    let mut text = "role:master\r\n".to_owned();
    for index in 0..count {
        let (high, low) = (index / 250, index % 250);
        text.push_str(&format!("slave{index}:ip=10.0.{high}.{low},port=7000\r\n"));
    }
    bulk(&text)
}

/// Returns a hello message.
pub fn hello(input: &mut Input<'_>) -> String {
    let shape = input.byte();
    let id = IDS[usize::from(shape) % IDS.len()];
    let (epoch, config) = (number(input.byte()), number(input.byte()));
    let (port, master) = (26_000 + u16::from(shape / 64), 7001 + u16::from(input.byte() % 4));
    let name = if shape & 4 == 4 { "n" } else { "m" };
    match shape {
        0..240 => format!("127.0.0.1,{port},{id},{epoch},{name},127.0.0.1,{master},{config}"),
        _ => (0..input.below(10)).map(|_| word(input)).collect::<Vec<String>>().join(","),
    }
}

/// Returns a bulk string.
pub fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
