//! The link to a malicious master: lines of the handshake, payloads in both framings and the stream,
//! in any pieces and order, while clients and replicas of the node are connected.
//!
//! Byte 0 selects how far the first connection gets before the fuzzer takes over, so that it need
//! not discover the handshake. Invariants: a valid payload results in exactly its keys, any other
//! leaves the data unchanged; no claimed length makes the node buffer more than was sent; the offset
//! counts received bytes.
#![no_main]

use russet_engine::config::words::MasterAddress;
use russet_engine::io::Handle;
use russet_fuzz::commands::{draw, encoded, may_raise_limits};
use russet_fuzz::input::Input;
use russet_fuzz::rdb::{held, load, mended};
use russet_fuzz::world::World;

const ID: &str = "00112233445566778899aabbccddeeff00112233";
const MARK: &str = "0123456789abcdef0123456789abcdef01234567";

/// Valid and invalid offsets.
const OFFSETS: [i64; 8] = [0, 1, 100, 1 << 32, i64::MAX - 1000, i64::MAX, -1, i64::MIN];

/// The node, its link to the master, and two clients.
struct Scene {
    world: World,
    link: Option<Handle>,
    clients: [Option<Handle>; 2],
    /// Bytes sent on the link.
    sent: usize,
}

impl Scene {
    /// Returns the link, and connects it if necessary. The node retries after a second.
    fn open_link(&mut self) -> Option<Handle> {
        let is_open = |world: &World, link| world.driver.is_open(link);
        if self.link.is_none_or(|link| !is_open(&self.world, link)) {
            if self.world.driver.connecting.is_empty() {
                self.world.advance(1100, 1100);
            }
            self.link = self.world.connect_link();
            self.sent = 0;
        }
        self.link
    }

    fn send(&mut self, bytes: &[u8], step: usize) {
        let Some(link) = self.open_link() else { return };
        let before = self.world.driver.node.parts.master.stream.offset();
        let was_online = self.is_online();
        self.sent += bytes.len();
        self.world.send(link, bytes, step);
        if let Some(client) = self.world.driver.node.parts.clients.get(link) {
            assert!(client.wire.pending() <= self.sent, "more than was sent");
        }
        let after = self.world.driver.node.parts.master.stream.offset();
        if was_online && self.is_online() && self.link == Some(link) {
            let gained = after - before;
            assert!((0..=self.sent as i64).contains(&gained), "{before} to {after}");
        }
    }

    fn is_online(&self) -> bool {
        self.world.driver.node.parts.following.master().is_some_and(|master| master.is_online())
    }

    /// Whether the node waits for the header of a payload.
    fn expects_payload(&self) -> bool {
        let master = self.world.driver.node.parts.following.master();
        master.is_some_and(|m| m.sync_progress().is_some() && !m.is_loading())
    }

    fn complete_handshake(&mut self) {
        self.send(b"+PONG\r\n", usize::MAX);
        self.send(b"+OK\r\n+OK\r\n+OK\r\n", usize::MAX);
    }

    fn send_full_resync(&mut self, offset: i64) {
        self.send(format!("+FULLRESYNC {ID} {offset}\r\n").as_bytes(), usize::MAX);
    }

    /// Sends a payload in one of the framings, and checks whether it was loaded correctly.
    fn send_payload(&mut self, file: &[u8], framing: u8, step: usize) {
        let payload = match framing % 4 {
            0 | 1 => [format!("${}\r\n", file.len()).as_bytes(), file].concat(),
            2 => [b"$EOF:", MARK.as_bytes(), b"\r\n", file, MARK.as_bytes()].concat(),
            // The claimed length is too large.
            _ => [b"$9223372036854775807\r\n", file].concat(),
        };
        let is_expected = self.expects_payload() && self.open_link().is_some();
        let (before, full_syncs) = (held(&self.world.driver.node), self.world.full_syncs());
        self.send(&payload, step);
        if !is_expected || self.world.has_exited() {
            return;
        }
        let after = held(&self.world.driver.node);
        if self.world.full_syncs() == full_syncs {
            assert!(after == before, "a failed payload has changed the data");
            return;
        }
        let (recorder, end) = load(file, file.len().max(1));
        assert!(end.is_ok(), "an invalid payload was loaded: {end:?}");
        assert!(recorder.data == after, "the payload's data and no other");
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let step = usize::from(input.byte());
        match what {
            0..24 => {
                let bytes = input.blob();
                if !may_raise_limits(bytes) {
                    self.send(bytes, step);
                }
            }
            24..32 => self.complete_handshake(),
            32..48 => self.send_full_resync(OFFSETS[step % OFFSETS.len()]),
            48..56 => self.send(b"+CONTINUE\r\n", step),
            56..64 => self.send(format!("+CONTINUE {MARK}\r\n").as_bytes(), step),
            64..112 => {
                let file = mended(input.byte(), input.blob());
                self.send_payload(&file, what, step);
            }
            112..192 => {
                let words = draw(input);
                if !may_need_much_memory(&words) {
                    self.send(&encoded(&words, what % 16 == 15), step);
                }
            }
            192..232 => {
                let who = &mut self.clients[usize::from(what & 1)];
                if who.is_none_or(|client| !self.world.driver.is_open(client)) {
                    *who = self.world.connect(true);
                }
                let Some(client) = *who else { return };
                let request = match what % 8 {
                    0 => b"PSYNC ? -1\r\n".to_vec(),
                    1 => format!("PSYNC {ID} {}\r\n", step).into_bytes(),
                    _ => encoded(&draw(input), false),
                };
                self.world.send(client, &request, step);
            }
            232..240 => self.world.advance(100 << (what % 8), 100 << (what % 8)),
            240..244 => {
                if let Some(link) = self.link.take() {
                    self.world.disconnect(link);
                }
            }
            244..248 => {
                self.world.hold_saves(what & 1 == 0);
            }
            _ => self.world.set_failing(what & 1 == 1),
        }
    }
}

/// Whether a command of a master, which a replica must execute, may need gigabytes of memory.
fn may_need_much_memory(words: &[Vec<u8>]) -> bool {
    words[0].eq_ignore_ascii_case(b"setrange") && words.get(2).is_none_or(|at| at.len() > 6)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (mode, tick_us) = (input.byte(), input.byte());
    let world = World::new(tick_us, None, |config| {
        config.replicaof = Some(MasterAddress { host: b"127.0.0.1".into(), port: 7000 });
        config.repl_diskless_sync_delay = 0;
    });
    let mut scene = Scene { world, link: None, clients: [None; 2], sent: 0 };
    if mode % 4 > 0 {
        scene.complete_handshake();
    }
    if mode % 4 > 1 {
        scene.send_full_resync(100);
        assert!(scene.expects_payload(), "the handshake is complete");
    }
    if mode % 4 > 2 {
        scene.send_payload(&mended(11, b"\x00\x01k\x01v"), 0, usize::MAX);
        assert!(scene.is_online(), "a valid payload is loaded");
    }
    while !input.is_empty() && !scene.world.has_exited() {
        scene.step(&mut input);
    }
    if !scene.world.has_exited() {
        held(&scene.world.driver.node);
    }
});
