//! A node in a world that does what it asks at once, unless a target says otherwise. It is quick to make, and what must hold
//! whenever the node waits is checked.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use russet_driver::{Driver, Files};
use russet_engine::config::Config;
use russet_engine::io::{Endpoints, Handle};
use russet_engine::{Boot, Node};

use crate::{commands, replies};

/// Longest string; no target may raise it, so that memory is used up by defects only.
pub const STRING_BYTES_MAX: u64 = 1 << 20;

/// Output at which a client that does not read is let go.
pub const OUTPUT_BYTES_MAX: u64 = 256 << 10;

const CONF: &str = "\
proto-max-bulk-len 1mb
enable-debug-command local
client-output-buffer-limit normal 256kb 0 0
protected-mode no
save \"\"
";

/// Pieces in which bytes arrive before the rest comes at once.
const PIECES_MAX: usize = 100;

/// Bytes of a file that are delivered at once.
const PIECE_BYTES: usize = 100;

/// See the module.
pub struct World {
    /// The node and what is around it.
    pub driver: Driver,
    /// Connections that have been a replica's or a master's: what they are sent is no longer replies only.
    streams: BTreeSet<Handle>,
}

fn usual() -> &'static Config {
    static USUAL: OnceLock<Config> = OnceLock::new();
    USUAL.get_or_init(|| Config::parse_text(CONF.as_bytes()).expect("our own text").config)
}

/// Whoever raises it wants more memory than this world has.
fn limit_strings(node: &mut Node) {
    let string_max = &mut node.core.config.proto_max_bulk_len;
    *string_max = (*string_max).min(STRING_BYTES_MAX);
}

impl World {
    /// A node whose settings `change` may change, with a dump file if there is one.
    pub fn new(tick_us: u8, dump: Option<Vec<u8>>, change: impl FnOnce(&mut Config)) -> World {
        let mut config = usual().clone();
        change(&mut config);
        let boot = Boot { seed: [1, 2, 3, 4], load: dump.is_some(), ..Boot::default() };
        let files: Files = dump.map(|file| ("dump.rdb".to_owned(), file)).into_iter().collect();
        let mut driver = Driver::idle(config, boot, files, russet_driver::START);
        driver.tick_us = u64::from(tick_us).max(1);
        driver.reads.piece_bytes = PIECE_BYTES;
        driver.after_round = Some(limit_strings);
        let mut world = World { driver, streams: BTreeSet::new() };
        world.run();
        world
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.driver.node
    }

    /// Whether the node has left.
    pub fn is_over(&self) -> bool {
        self.driver.exit.is_some()
    }

    /// How many full synchronisations have come to their end.
    pub fn synchronised(&self) -> usize {
        let ends = |line: &&String| line.ends_with("sync: Finished with success");
        self.driver.log.iter().filter(ends).count()
    }

    /// A client comes; none if the node refuses it.
    pub fn connect(&mut self, is_local: bool) -> Option<Handle> {
        let handle = self.driver.accept(ends(is_local)).ok()?;
        self.run();
        self.driver.is_open(handle).then_some(handle)
    }

    /// The node's wish for a master is granted.
    pub fn grant_link(&mut self) -> Option<Handle> {
        let link = *self.driver.connecting.first()?;
        self.streams.insert(link);
        self.driver.connected(link, ends(true));
        self.run();
        self.driver.is_open(link).then_some(link)
    }

    /// Bytes arrive, the first ones in pieces of `step`; printed, if `RUSSET_FUZZ_SHOW` is set.
    pub fn send(&mut self, handle: Handle, bytes: &[u8], step: usize) {
        if shows() {
            eprintln!("to {}, by {step}: {}", handle.index, bytes.escape_ascii());
        }
        let (first, rest) = bytes.split_at(bytes.len().min(step.max(1).saturating_mul(PIECES_MAX)));
        for piece in first.chunks(step.max(1)).chain(rest.chunks(usize::MAX)) {
            self.driver.queue(handle, piece);
            self.run();
        }
    }

    /// The far end goes away.
    pub fn hang_up(&mut self, handle: Handle) {
        self.driver.hang_up(handle);
        self.run();
    }

    /// Time passes while the node does nothing; the wall clock may go elsewhere.
    pub fn advance(&mut self, ms: u64, wall_ms: i64) {
        self.driver.now.mono_us += ms * 1000;
        self.driver.now.wall_us += wall_ms * 1000;
        self.run();
    }

    /// The world does what the node asks, or all of it fails.
    pub fn set_willing(&mut self, willing: bool) {
        let unless = |why: &str| (!willing).then(|| why.to_owned());
        self.driver.requests.refused_with = unless("no");
        self.driver.snapshots.fails_with = unless("the disk is full");
        self.driver.reads.fails_with = unless("the disk is broken");
    }

    /// Snapshots stand still, or go on.
    pub fn hold_saves(&mut self, held: bool) {
        self.driver.snapshots.held = held;
        if !held {
            self.driver.end_saves();
        }
        self.run();
    }

    /// Somebody reads, or stops reading.
    pub fn set_deaf(&mut self, handle: Handle, is_deaf: bool) {
        self.driver.set_room(handle, is_deaf.then_some(0));
        self.run();
    }

    /// Works until the node waits for a time to come or for an event, and looks whether all is as it must be.
    pub fn run(&mut self) {
        self.driver.run();
        if self.is_over() {
            return;
        }
        let streams = &mut self.streams;
        let (node, connections) = self.driver.parts();
        for (handle, connection) in connections {
            let Some(client) = node.parts.clients.get(handle) else {
                panic!("{handle:?} was forgotten without a word");
            };
            if client.is_replica() || client.is_master_link() {
                streams.insert(handle);
            }
            if streams.contains(&handle) {
                connection.received.clear();
                continue;
            }
            replies::take_whole(&mut connection.received);
            let waits = client.blocked.is_some() || client.transaction.running;
            let whole = connection.received.is_empty() || waits || connection.room.is_some();
            let rest = connection.received.escape_ascii();
            assert!(whole, "a reply is only half there: {rest}");
            let limit = node.core.config.client_output_buffer_limit.normal.hard_bytes;
            let len = client.wire.outbox.len() as u64;
            let is_bounded = len <= OUTPUT_BYTES_MAX || limit != OUTPUT_BYTES_MAX;
            assert!(is_bounded || client.closing, "{len} bytes wait for one who does not read");
        }
    }

    /// Sends a command, and gives what the node answers to it.
    pub fn ask(&mut self, handle: Handle, words: &[&str]) -> Vec<u8> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.ask_bytes(handle, &words)
    }

    /// Sends a command of any bytes, and gives what the node answers to it.
    pub fn ask_bytes(&mut self, handle: Handle, words: &[&[u8]]) -> Vec<u8> {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
        self.driver.send(handle, &commands::encoded(&words, false));
        let reply = self.driver.take_raw(handle);
        self.run();
        reply
    }
}

fn shows() -> bool {
    static SHOWS: OnceLock<bool> = OnceLock::new();
    *SHOWS.get_or_init(|| std::env::var_os("RUSSET_FUZZ_SHOW").is_some())
}

fn ends(is_local: bool) -> Endpoints {
    let host = if is_local { [127, 0, 0, 1] } else { [10, 0, 0, 1] };
    Endpoints::Tcp { peer: (host, 50_000).into(), local: ([127, 0, 0, 1], 6379).into() }
}
