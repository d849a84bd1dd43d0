//! The link to a master that says anything: lines of the handshake, a payload in either frame, a stream, in any pieces and any
//! order, with clients and replicas of the node's own looking on.
//!
//! Byte 0 says how far the first connection gets before the fuzzer has its say, so that it need not find out the handshake.
//! What must hold: a payload that the loader takes gives exactly its keys, any other leaves the data as it was; no line and no
//! claim makes the node hold more than was sent; the offset counts bytes that came.
#![no_main]

use russet_engine::config::words::MasterAddress;
use russet_engine::io::Handle;
use russet_fuzz::commands::{draw, encoded, may_raise_limits};
use russet_fuzz::input::Input;
use russet_fuzz::rdb::{held, load, mended};
use russet_fuzz::world::World;

const ID: &str = "00112233445566778899aabbccddeeff00112233";
const MARK: &str = "0123456789abcdef0123456789abcdef01234567";

/// Offsets that a master may claim, and some that it may not.
const OFFSETS: [i64; 8] = [0, 1, 100, 1 << 32, i64::MAX - 1000, i64::MAX, -1, i64::MIN];

/// The node, its link, and two clients of its own.
struct Scene {
    world: World,
    link: Option<Handle>,
    clients: [Option<Handle>; 2],
    /// Bytes that the link brought.
    sent: usize,
}

impl Scene {
    /// Grants the link that the node wants; a refused one is wanted again after a second.
    fn reach(&mut self) -> Option<Handle> {
        let is_open = |world: &World, link| world.driver.is_open(link);
        if self.link.is_none_or(|link| !is_open(&self.world, link)) {
            if self.world.driver.connecting.is_empty() {
                self.world.advance(1100, 1100);
            }
            self.link = self.world.grant_link();
            self.sent = 0;
        }
        self.link
    }

    fn say(&mut self, bytes: &[u8], step: usize) {
        let Some(link) = self.reach() else { return };
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

    /// The node waits for the line that announces a payload.
    fn wants_payload(&self) -> bool {
        let master = self.world.driver.node.parts.following.master();
        master.is_some_and(|m| m.sync_progress().is_some() && !m.is_loading())
    }

    fn shake_hands(&mut self) {
        self.say(b"+PONG\r\n", usize::MAX);
        self.say(b"+OK\r\n+OK\r\n+OK\r\n", usize::MAX);
    }

    fn offer_full(&mut self, offset: i64) {
        self.say(format!("+FULLRESYNC {ID} {offset}\r\n").as_bytes(), usize::MAX);
    }

    /// A payload in one of the frames: it counts, or it does not.
    fn give_payload(&mut self, file: &[u8], frame: u8, step: usize) {
        let whole = match frame % 4 {
            0 | 1 => [format!("${}\r\n", file.len()).as_bytes(), file].concat(),
            2 => [b"$EOF:", MARK.as_bytes(), b"\r\n", file, MARK.as_bytes()].concat(),
            // It claims more than it has.
            _ => [b"$9223372036854775807\r\n", file].concat(),
        };
        let counts = self.wants_payload() && self.reach().is_some();
        let (before, synchronised) = (held(&self.world.driver.node), self.world.synchronised());
        self.say(&whole, step);
        if !counts || self.world.is_over() {
            return;
        }
        let is = held(&self.world.driver.node);
        if self.world.synchronised() == synchronised {
            assert!(is == before, "a payload that failed has left its mark");
            return;
        }
        let (recorder, end) = load(file, file.len().max(1));
        assert!(end.is_ok(), "what no loader takes was taken: {end:?}");
        assert!(recorder.strings_are_in(is), "the payload's strings and no others");
    }

    fn happen(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let step = usize::from(input.byte());
        match what {
            0..24 => {
                let bytes = input.blob();
                if !may_raise_limits(bytes) {
                    self.say(bytes, step);
                }
            }
            24..32 => self.shake_hands(),
            32..48 => self.offer_full(OFFSETS[step % OFFSETS.len()]),
            48..56 => self.say(b"+CONTINUE\r\n", step),
            56..64 => self.say(format!("+CONTINUE {MARK}\r\n").as_bytes(), step),
            64..112 => {
                let file = mended(input.byte(), input.blob());
                self.give_payload(&file, what, step);
            }
            112..192 => {
                let words = draw(input);
                if !is_obeyed_at_any_price(&words) {
                    self.say(&encoded(&words, what % 16 == 15), step);
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
                    self.world.hang_up(link);
                }
            }
            244..248 => {
                self.world.hold_saves(what & 1 == 0);
            }
            _ => self.world.set_willing(what & 1 == 0),
        }
    }
}

/// What a master did is done, whatever memory it takes: one short SETRANGE can want gigabytes.
fn is_obeyed_at_any_price(words: &[Vec<u8>]) -> bool {
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
        scene.shake_hands();
    }
    if mode % 4 > 1 {
        scene.offer_full(100);
        assert!(scene.wants_payload(), "the handshake is what it was");
    }
    if mode % 4 > 2 {
        scene.give_payload(&mended(11, b"\x00\x01k\x01v"), 0, usize::MAX);
        assert!(scene.is_online(), "a good payload is taken");
    }
    while !input.is_over() && !scene.world.is_over() {
        scene.happen(&mut input);
    }
    if !scene.world.is_over() {
        held(&scene.world.driver.node);
    }
});
