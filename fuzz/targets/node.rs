//! The node: clients send commands and arbitrary bytes in any pieces, read or do not read, connect
//! and disconnect, while time advances and requests of the node fail.
//!
//! One byte selects the next step and another one the client; see `step`. `World::run` checks that
//! the node becomes idle, replies are complete, and output stays within its limits. At the end, its
//! counts must be correct, and a reload must not change the data.
#![no_main]

use russet_engine::io::{Handle, Input as Event, Signal};
use russet_fuzz::commands::{draw, encoded, may_raise_limits};
use russet_fuzz::input::Input;
use russet_fuzz::rdb::{held, is_permanent, mended};
use russet_fuzz::world::World;

/// Number of clients; the last one is not local.
const CLIENTS: usize = 4;

fn step(world: &mut World, clients: &mut [Option<Handle>; CLIENTS], input: &mut Input<'_>) {
    let (what, who) = (input.byte(), input.below(CLIENTS));
    if clients[who].is_none_or(|handle| !world.driver.is_open(handle)) {
        clients[who] = world.connect(who + 1 < CLIENTS);
    }
    let Some(client) = clients[who] else { return };
    match what {
        0..160 => {
            let words = draw(input);
            let step = if what & 1 == 0 { usize::MAX } else { usize::from(input.byte()) };
            world.send(client, &encoded(&words, what & 14 == 14), step);
        }
        160..184 => {
            // Several at once, so that they run in one batch.
            let mut bytes = Vec::new();
            (0..1 + what % 8).for_each(|_| bytes.extend(encoded(&draw(input), false)));
            world.send(client, &bytes, usize::MAX);
        }
        184..208 => {
            let (step, bytes) = (input.byte(), input.blob());
            if !may_raise_limits(bytes) {
                world.send(client, bytes, step.into());
            }
        }
        208..220 => world.advance(1 << (what % 12), 1 << (what % 12)),
        220..224 => world.advance(5000 << (what % 4 * 4), i64::from(input.byte()) << 20),
        // The wall clock is set back.
        224..228 => world.advance(1, -(1 << input.below(32))),
        228..232 => world.set_reading(client, false),
        232..236 => world.set_reading(client, true),
        236..240 => world.disconnect(client),
        240..242 => world.set_failing(what & 1 == 1),
        242..246 => {
            world.hold_saves(what & 1 == 0);
        }
        246..250 => {
            let file = mended(input.byte(), input.blob());
            world.driver.files.insert("dump.rdb".to_owned(), file);
        }
        250..252 => {
            if let Some(&link) = world.driver.connecting.first() {
                world.driver.connect_failed(link, "refused");
                world.run();
            }
        }
        252 => {
            world.driver.input(Event::Signal(Signal::Terminate));
            world.run();
        }
        _ => {}
    }
}

/// Checks that a reload does not change the data, if one is possible.
fn reload(world: &mut World) {
    world.set_failing(false);
    world.hold_saves(false);
    let Some(client) = world.connect(true) else { return };
    if world.driver.node.parts.clients.iter().any(|client| client.blocked.is_some()) {
        // Its next requests may run before the reload: those behind a DEBUG SLEEP, for example.
        return;
    }
    let before = held(&world.driver.node);
    let now_ms = world.driver.now.wall_ms();
    let is_permanent = is_permanent(&before, now_ms);
    if world.request(client, &["DEBUG", "RELOAD"]) == b"+OK\r\n" && is_permanent {
        assert!(held(&world.driver.node) == before, "a reload changes data");
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut world = World::new(input.byte(), None, |_| {});
    let mut clients = [None; CLIENTS];
    while !input.is_empty() && !world.has_exited() {
        step(&mut world, &mut clients, &mut input);
    }
    if !world.has_exited() {
        held(&world.driver.node);
        reload(&mut world);
    }
});
