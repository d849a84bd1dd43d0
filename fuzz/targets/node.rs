//! The node itself: clients of all kinds send commands and plain bytes in any pieces, read or do not read, come and go,
//! while time passes and the world fails.
//!
//! A byte picks what happens next and another who does it; see `happen`. What must hold is in `World::check`: the node
//! comes to rest, replies are whole values, nobody's output grows past his limit. In the end its counts are right,
//! and a reload gives the same data.
#![no_main]

use russet_engine::io::{Handle, Input as Event, Signal};
use russet_fuzz::commands::{draw, encoded, may_raise_limits};
use russet_fuzz::input::Input;
use russet_fuzz::rdb::{held, mended};
use russet_fuzz::world::World;

/// Clients at once: the last one is no friend of the house.
const CLIENTS: usize = 4;

fn happen(world: &mut World, clients: &mut [Option<Handle>; CLIENTS], input: &mut Input<'_>) {
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
            // Several at once, so that they run in one window.
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
        228..232 => world.set_deaf(client, true),
        232..236 => world.set_deaf(client, false),
        236..240 => world.hang_up(client),
        240..242 => world.set_willing(what & 1 == 0),
        242..246 => {
            world.hold_saves(what & 1 == 0);
        }
        246..250 => {
            let file = mended(input.byte(), input.blob());
            world.driver.files.insert("dump.rdb".to_owned(), file);
        }
        250..252 => {
            if let Some(&link) = world.driver.connecting.first() {
                world.driver.refused(link, "refused");
                world.run();
            }
        }
        252 => {
            world.driver.give(Event::Signal(Signal::Terminate));
            world.run();
        }
        _ => {}
    }
}

/// A reload takes nothing away and adds nothing, if the node can be asked for one.
fn reload(world: &mut World) {
    world.set_willing(true);
    world.hold_saves(false);
    let Some(client) = world.connect(true) else { return };
    let before = held(&world.driver.node);
    let now_ms = world.driver.now.wall_ms();
    let is_lasting = before.values().all(|(_, expiry)| expiry.is_none_or(|at| at > now_ms));
    if world.ask(client, &["DEBUG", "RELOAD"]) == b"+OK\r\n" && is_lasting {
        assert!(held(&world.driver.node) == before, "a reload changes data");
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut world = World::new(input.byte(), None, |_| {});
    let mut clients = [None; CLIENTS];
    while !input.is_over() && !world.is_over() {
        happen(&mut world, &mut clients, &mut input);
    }
    if !world.is_over() {
        held(&world.driver.node);
        reload(&mut world);
    }
});
