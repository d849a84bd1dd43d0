//! A driven node for fuzz targets. It is cheap to create, and its invariants are checked whenever it
//! waits.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use russet_driver::{Driver, Files};
use russet_engine::config::Config;
use russet_engine::io::{Endpoints, Handle};
use russet_engine::node::{Boot, Node, Seeds};

use crate::{commands, replies};

/// Maximum length of strings. No target may raise it, so that only defects run out of memory.
pub const STRING_BYTES_MAX: u64 = 1 << 20;

/// Output limit of normal clients in bytes.
pub const OUTPUT_BYTES_MAX: u64 = 256 << 10;

const CONF: &str = "\
proto-max-bulk-len 1mb
enable-debug-command local
client-output-buffer-limit normal 256kb 0 0
protected-mode no
save \"\"
";

/// Maximum number of pieces in which bytes are sent; the rest follows at once.
const PIECES_MAX: usize = 100;

/// Length of the pieces of a file.
const PIECE_BYTES: usize = 100;

/// A driven node.
pub struct World {
    /// The node and its driver.
    pub driver: Driver,
    /// Connections that are or were replicas or the master's link, whose output is not only replies.
    streams: BTreeSet<Handle>,
}

fn default_config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| Config::parse_text(CONF.as_bytes()).expect("valid").config)
}

/// Reverts changes of the maximum length of strings.
fn limit_strings(node: &mut Node) {
    let string_max = &mut node.core.config.proto_max_bulk_len;
    *string_max = (*string_max).min(STRING_BYTES_MAX);
}

impl World {
    /// Starts a node with settings changed by `change`, and a dump file if there is one.
    pub fn new(tick_us: u8, dump: Option<Vec<u8>>, change: impl FnOnce(&mut Config)) -> World {
        let mut config = default_config().clone();
        change(&mut config);
        let boot =
            Boot { seeds: Seeds::derive([1, 2, 3, 4]), load: dump.is_some(), ..Boot::default() };
        let files: Files = dump.map(|file| ("dump.rdb".to_owned(), file)).into_iter().collect();
        let mut driver = Driver::idle(config, boot, files, russet_driver::START);
        driver.tick_us = u64::from(tick_us).max(1);
        driver.reads.piece_bytes = PIECE_BYTES;
        driver.after_round = Some(limit_strings);
        let mut world = World { driver, streams: BTreeSet::new() };
        world.run();
        world
    }

    /// Returns the node.
    pub fn node(&self) -> &Node {
        &self.driver.node
    }

    /// Whether the node has exited.
    pub fn has_exited(&self) -> bool {
        self.driver.exit.is_some()
    }

    /// Returns the number of completed full synchronizations.
    pub fn full_syncs(&self) -> usize {
        let ends = |line: &&String| line.ends_with("sync: Finished with success");
        self.driver.log.iter().filter(ends).count()
    }

    /// Connects a client; none if the node rejects it.
    pub fn connect(&mut self, is_local: bool) -> Option<Handle> {
        let handle = self.driver.accept(ends(is_local)).ok()?;
        self.run();
        self.driver.is_open(handle).then_some(handle)
    }

    /// Completes the node's connection to its master.
    pub fn connect_link(&mut self) -> Option<Handle> {
        let link = *self.driver.connecting.first()?;
        self.streams.insert(link);
        self.driver.connected(link, ends(true));
        self.run();
        self.driver.is_open(link).then_some(link)
    }

    /// Sends bytes in pieces of `step`. Prints them if `RUSSET_FUZZ_SHOW` is set.
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

    /// Closes a connection by its peer.
    pub fn disconnect(&mut self, handle: Handle) {
        self.driver.disconnect(handle);
        self.run();
    }

    /// Advances the clocks without turns in between; the wall clock may jump.
    pub fn advance(&mut self, ms: u64, wall_ms: i64) {
        self.driver.now.mono_us += ms * 1000;
        self.driver.now.wall_us += wall_ms * 1000;
        self.run();
    }

    /// Lets all requests, snapshots and reads fail, or succeed.
    pub fn set_failing(&mut self, failing: bool) {
        let error = |why: &str| failing.then(|| why.to_owned());
        self.driver.requests.fails_with = error("no");
        self.driver.snapshots.fails_with = error("the disk is full");
        self.driver.reads.fails_with = error("the disk is broken");
    }

    /// Holds the results of snapshots, or delivers them.
    pub fn hold_saves(&mut self, held: bool) {
        self.driver.snapshots.held = held;
        if !held {
            self.driver.deliver_saves();
        }
        self.run();
    }

    /// Sets whether a peer reads.
    pub fn set_reading(&mut self, handle: Handle, is_reading: bool) {
        self.driver.set_read_limit(handle, (!is_reading).then_some(0));
        self.run();
    }

    /// Runs the node until it waits for a deadline or an event, and checks its invariants.
    pub fn run(&mut self) {
        self.driver.run();
        if self.has_exited() {
            return;
        }
        let streams = &mut self.streams;
        let (node, connections) = self.driver.parts();
        for (handle, connection) in connections {
            let Some(client) = node.parts.clients.get(handle) else {
                panic!("{handle:?} was removed without being closed");
            };
            if client.is_replica() || client.is_master_link() {
                streams.insert(handle);
            }
            if streams.contains(&handle) {
                connection.received.clear();
                continue;
            }
            replies::take_complete(&mut connection.received);
            let waits = client.blocked.is_some() || client.transaction.running;
            let is_reading = connection.read_limit.is_none();
            let is_complete = connection.received.is_empty() || waits || !is_reading;
            let rest = connection.received.escape_ascii();
            assert!(is_complete, "incomplete reply: {rest}");
            let limit = node.core.config.client_output_buffer_limit.normal.hard_bytes;
            let len = client.wire.outbox.limited_len() as u64;
            let is_bounded = len <= OUTPUT_BYTES_MAX || limit != OUTPUT_BYTES_MAX;
            assert!(is_bounded || client.closing, "{len} bytes of output exceed the limit");
        }
    }

    /// Sends a request and returns the reply.
    pub fn request(&mut self, handle: Handle, words: &[&str]) -> Vec<u8> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.request_bytes(handle, &words)
    }

    /// Sends a request of arbitrary bytes and returns the reply.
    pub fn request_bytes(&mut self, handle: Handle, words: &[&[u8]]) -> Vec<u8> {
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
