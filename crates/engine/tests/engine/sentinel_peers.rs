//! A Sentinel whose servers lie, flood, fall silent or break off: nothing of that is believed, or grows without bound.

use std::time::Duration;

use russet_driver::{Driver, Files};
use russet_engine::config::{Config, Place, SentinelStart, Source, Store};
use russet_engine::io::{Endpoints, Handle};
use russet_engine::mode::Mode;
use russet_engine::node::{Boot, Seeds};

/// The longest reply that is accepted.
const REPLY_BYTES_MAX: usize = 4 << 20;
const INFO: &str = "role:master\r\nrun_id:0123456789012345678901234567890123456789\r\n";

/// Starts a Sentinel that watches a master.
fn watching() -> Driver {
    let text = b"port 26379\nsentinel monitor m 127.0.0.1 7001 1\n".to_vec();
    let source = Source { place: Place::Text, text: text.clone() };
    let loaded = Config::parse_for(Mode::Sentinel, &[source], &mut |_, _| Ok(vec![]));
    let loaded = loaded.expect("the test's conf");
    let settings = loaded.sentinel.expect("the mode has them").settings;
    let store = Store::Configuration { path: "sentinel.conf".to_owned() };
    let boot = Boot {
        seeds: Seeds::derive([1, 2, 3, 4]),
        mode: Mode::Sentinel,
        sentinel: Some(SentinelStart { settings, store, journal: Vec::new() }),
        ..Boot::default()
    };
    let files: Files = [("sentinel.conf".to_owned(), text)].into_iter().collect();
    Driver::start(loaded.config, boot, files)
}

/// Opens the connections that the Sentinel wants: that for commands, and that for messages.
fn connect(world: &mut Driver) -> [Handle; 2] {
    let links: [Handle; 2] = world.connecting.clone().try_into().expect("two connections");
    for link in links {
        let (peer, local) = (([127, 0, 0, 1], 7001).into(), ([127, 0, 0, 1], 50_000).into());
        world.connected(link, Endpoints::Tcp { peer, local });
    }
    links
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn message(text: &str) -> Vec<u8> {
    let (kind, channel) = (bulk("message"), bulk("__sentinel__:hello"));
    format!("*3\r\n{kind}{channel}{}", bulk(text)).into_bytes()
}

/// Replies to the first commands: CLIENT SETNAME, PING and INFO.
fn greet(world: &mut Driver, link: Handle) {
    world.send(link, format!("+OK\r\n+PONG\r\n{}", bulk(INFO)).as_bytes());
}

/// Returns the numbers of the master's replicas and Sentinels.
fn numbers(world: &Driver) -> (usize, usize) {
    let machine = world.node.parts.sentinel.machine().expect("the mode");
    let summary = machine.summaries().next().expect("a master");
    (summary.replicas, summary.sentinels)
}

#[test]
fn claims_of_length_close_the_connection() {
    let too_long = REPLY_BYTES_MAX + 1;
    for claim in [format!("${too_long}\r\n"), "*1000000000\r\n".into(), "$-7\r\n".into()] {
        let mut world = watching();
        let [commands, _] = connect(&mut world);
        world.send(commands, claim.as_bytes());
        assert!(!world.is_open(commands), "{claim:?}");
    }
    let mut world = watching();
    let [commands, _] = connect(&mut world);
    world.send(commands, format!("${}\r\nab", REPLY_BYTES_MAX - 100).as_bytes());
    let client = world.node.parts.clients.get(commands).expect("it is not complete");
    assert!(client.wire.pending() < 100, "bytes that never came");
}

#[test]
fn what_nobody_asked_for_is_ignored() {
    let mut world = watching();
    let [commands, messages] = connect(&mut world);
    greet(&mut world, commands);
    for reply in ["+PONG\r\n", ":1\r\n", "-ERR x\r\n", "*0\r\n", "$-1\r\n", "*1\r\n*1\r\n:1\r\n"] {
        world.send(commands, reply.repeat(100).as_bytes());
        world.send(messages, reply.repeat(100).as_bytes());
    }
    world.send(commands, bulk("role:slave\r\nmaster_host:h\r\nmaster_port:1\r\n").as_bytes());
    world.send(commands, &message("10.0.0.9,1,abc,9,m,10.0.0.9,1,9"));
    assert!(world.is_open(commands) && world.is_open(messages));
    let c = world.connect();
    let address = world.request(c, "SENTINEL GET-MASTER-ADDR-BY-NAME m");
    assert_eq!(address, "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n7001\r\n");
    assert!(world.request(c, "SENTINEL MASTER m").contains("role-reported\r\n$6\r\nmaster\r\n"));
}

#[test]
fn hello_messages_are_claims_with_limits() {
    let mut world = watching();
    let [_, messages] = connect(&mut world);
    let hello = |id: &str, name: &str| format!("10.0.0.9,26379,{id},1,{name},127.0.0.1,7001,0");
    for text in [
        hello(&"a".repeat(5000), "m"),
        hello("a\u{1}b", "m"),
        hello("abc", "other"),
        hello("", "m"),
        "x".to_owned(),
        String::new(),
    ] {
        world.send(messages, &message(&text));
    }
    assert_eq!(numbers(&world), (0, 1));
    for index in 0..300 {
        world.send(messages, &message(&hello(&format!("{index:040}"), "m")));
    }
    assert_eq!(numbers(&world), (0, 201), "as many as may be known");
    assert!(world.targets.len() <= 2 + 200, "{} connections", world.targets.len());
}

#[test]
fn replicas_of_one_master_have_a_limit() {
    let mut world = watching();
    let [commands, _] = connect(&mut world);
    let line =
        |index: u32| format!("slave{index}:ip=10.0.{}.{},port=1\r\n", index / 250, index % 250);
    let lines: String = (0..1500).map(line).collect();
    world.send(commands, format!("+OK\r\n+PONG\r\n{}", bulk(&format!("{INFO}{lines}"))).as_bytes());
    assert_eq!(numbers(&world), (1000, 1));
}

#[test]
fn nothing_is_sent_without_end_to_a_server_that_is_silent() {
    let mut world = watching();
    connect(&mut world);
    for _ in 0..60 {
        world.advance(Duration::from_secs(10));
        let links: Vec<Handle> = world.targets.keys().copied().collect();
        assert!(links.len() <= 2, "{links:?}");
        for link in links {
            let received = world.connection(link).map_or(0, |it| it.received.len());
            assert!(received < 10_000, "{received} bytes that nobody answers");
        }
        if world.connecting.len() == 2 {
            connect(&mut world);
        }
    }
}

#[test]
fn a_reply_that_breaks_off_is_forgotten() {
    let mut world = watching();
    let [commands, messages] = connect(&mut world);
    world.send(commands, b"+OK\r\n+PONG\r\n$1000\r\nrole:mas");
    world.disconnect(commands);
    world.disconnect(messages);
    world.advance(Duration::from_secs(2));
    let [commands, _] = connect(&mut world);
    greet(&mut world, commands);
    let c = world.connect();
    let master = world.request(c, "SENTINEL MASTER m");
    assert!(master.contains("runid\r\n$40\r\n01234567890"), "{master}");
}
