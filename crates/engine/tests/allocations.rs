//! How many allocations small hashes take: those that stay, and those on the way.

use russet_driver::Driver;
use russet_driver::peers::command;
use russet_ds::counting::{CountingAllocator, Counts, counts};
use russet_engine::ids::Handle;
use russet_engine::io::Host;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const KEYS: usize = 200;
const FIELDS: usize = 16;

/// Time that does not pass.
struct Still;

impl Host for Still {
    fn ticks_us(&mut self) -> u64 {
        1
    }
}

/// A node with one client, and keys whose number stays about the same: their table has room.
struct World {
    driver: Driver,
    client: Handle,
}

impl World {
    fn new() -> World {
        let mut driver = Driver::new("");
        let client = driver.connect();
        driver.connection(client).expect("just accepted").discards = true;
        let mut world = World { driver, client };
        for number in 0..KEYS {
            world.cost(&["SET", &key(number), "value"]);
        }
        world
    }

    /// Runs a command, and returns what that counted.
    fn cost(&mut self, words: &[&str]) -> Counts {
        self.driver.queue(self.client, &command(words));
        self.driver.read_connections();
        let before = counts();
        self.driver.node.turn(self.driver.now, &mut Still);
        self.driver.flush();
        counts().since(before)
    }
}

fn key(number: usize) -> String {
    format!("key:{number:012}")
}

fn field(number: usize) -> String {
    format!("field{number:02}")
}

/// An HSET of all fields, with values of so many bytes.
fn hset(key: &str, value_len: usize) -> Vec<String> {
    let mut words = vec!["HSET".to_owned(), key.to_owned()];
    words.extend((0..FIELDS).flat_map(|number| [field(number), "v".repeat(value_len)]));
    words
}

#[test]
fn a_small_hash_is_one_allocation() {
    let mut world = World::new();
    for (number, value_len) in [(3, 1), (50, 8), (120, 32)] {
        let key = key(number);
        assert_eq!(world.cost(&["DEL", &key]).live, -1, "a string was one, too");
        let words = hset(&key, value_len);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(world.cost(&words).live, 1, "values of {value_len} bytes");
        assert_eq!(world.cost(&["HDEL", &key, &field(7)]).live, 0);
        assert_eq!(world.cost(&["DEL", &key]).live, -1);
        world.cost(&["SET", &key, "value"]);
    }
}

#[test]
fn a_hash_that_grows_stays_one_allocation() {
    let mut world = World::new();
    let key = key(90);
    assert_eq!(world.cost(&["DEL", &key]).live, -1);
    for number in 0..FIELDS {
        let cost = world.cost(&["HSET", &key, &field(number), "a value of 23 bytes, say"]);
        assert_eq!(cost.live, i64::from(number == 0), "field {number}");
    }
}

#[test]
fn a_change_of_a_small_hash_needs_one_allocation_beside_it() {
    let mut world = World::new();
    let key = key(90);
    world.cost(&["DEL", &key]);
    let words = hset(&key, 16);
    world.cost(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let (plain, change) = (["SET", &self::key(91), "other"], ["HSET", &key, &field(9), "w"]);
    let (get, hget) = (["GET", &self::key(91)], ["HGET", &key, &field(9)]);
    // The first call of a command makes its statistics.
    for words in [&change[..], &get, &hget] {
        world.cost(words);
    }
    let changed = world.cost(&change);
    assert_eq!((changed.live, changed.requested), (0, world.cost(&plain).requested + 1));
    assert_eq!(world.cost(&hget), world.cost(&get));
}
