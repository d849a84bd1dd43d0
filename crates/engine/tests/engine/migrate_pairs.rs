//! Two nodes that move keys to each other over connections that are slow, split everything, and break.
//!
//! Clients set keys that exist, each time to a new number, one at a time for each key. So the last number that was
//! acknowledged must be the value in the end, and whatever happens, no key may be lost. A key may be in both nodes only
//! if a MIGRATE of it failed, or nobody knows how it ended.

use std::collections::{BTreeMap, BTreeSet};

use russet_driver::Driver;
use russet_engine::io::{Endpoints, Handle};
use russet_engine::rng::Rng;

const KEYS: u64 = 6;
const STEPS: u64 = 400;

/// A connection from a node to the other: bytes on their way in both directions.
struct Pipe {
    from: usize,
    link: Handle,
    client: Handle,
    there: Vec<u8>,
    back: Vec<u8>,
}

/// What a client of a node waits for.
enum Waits {
    /// SET of a key to a number.
    Set(u64, u64),
    /// MIGRATE of keys.
    Migrate(Vec<u64>),
}

struct Pair {
    nodes: [Driver; 2],
    pipes: Vec<Pipe>,
    waiting: Vec<(usize, Handle, Waits)>,
    rng: Rng,
    /// The last number that was acknowledged, by key.
    last: BTreeMap<u64, u64>,
    next: u64,
    /// Keys that may be in both nodes.
    doubled: BTreeSet<u64>,
    moved: usize,
    failed: usize,
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let mut nodes = [0, 1].map(|_| Driver::new("save \"\"\n"));
        let client = nodes[0].connect();
        for key in 0..KEYS {
            nodes[0].request(client, &format!("SET k{key} 0"));
        }
        Pair {
            nodes,
            pipes: Vec::new(),
            waiting: Vec::new(),
            rng: Rng::new([seed, 1, 2, 3]),
            last: (0..KEYS).map(|key| (key, 0)).collect(),
            next: 0,
            doubled: BTreeSet::new(),
            moved: 0,
            failed: 0,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.rng.draw() % limit
    }

    /// Accepts the connections that nodes open, or refuses them.
    fn connect(&mut self) {
        for from in 0..2 {
            for link in self.nodes[from].connecting.clone() {
                match self.below(6) {
                    0 => self.nodes[from].connect_failed(link, "refused"),
                    1 | 2 => {}
                    _ => {
                        let ends = Endpoints::Tcp {
                            peer: ([127, 0, 0, 1], 7000).into(),
                            local: ([127, 0, 0, 1], 5).into(),
                        };
                        let client = self.nodes[1 - from].connect();
                        self.nodes[from].connected(link, ends);
                        let (there, back) = (Vec::new(), Vec::new());
                        self.pipes.push(Pipe { from, link, client, there, back });
                    }
                }
            }
        }
    }

    /// Moves some bytes along a connection.
    fn carry(&mut self, index: usize) {
        let (len, turn) = (self.below(60) as usize, self.below(2));
        let Pipe { from, link, client, there, back } = &mut self.pipes[index];
        there.extend(self.nodes[*from].take_raw(*link));
        back.extend(self.nodes[1 - *from].take_raw(*client));
        let (node, handle, bytes) = match turn {
            0 => (1 - *from, *client, there),
            _ => (*from, *link, back),
        };
        let len = len.min(bytes.len());
        let some: Vec<u8> = bytes.drain(..len).collect();
        self.nodes[node].send(handle, &some);
    }

    /// Closes a connection for both ends; what was on its way may still arrive at the target.
    fn disconnect(&mut self, index: usize) {
        let late = self.below(2) == 0;
        let Pipe { from, link, client, mut there, .. } = self.pipes.swap_remove(index);
        there.extend(self.nodes[from].take_raw(link));
        self.nodes[from].disconnect(link);
        if late {
            self.nodes[1 - from].send(client, &there);
        }
        self.nodes[1 - from].disconnect(client);
    }

    /// Closes the other ends of connections that a node has closed.
    fn close_other_ends(&mut self) {
        let mut index = 0;
        while let Some(pipe) = self.pipes.get(index) {
            match self.nodes[pipe.from].is_open(pipe.link) {
                true => index += 1,
                false => self.disconnect(index),
            }
        }
    }

    fn request(&mut self) {
        let node = self.below(2) as usize;
        let client = self.nodes[node].connect();
        let key = self.below(KEYS);
        let is_free = |(_, _, waits): &(usize, Handle, Waits)| match waits {
            Waits::Set(other, _) => *other != key,
            Waits::Migrate(_) => true,
        };
        if self.below(3) > 0 {
            if self.waiting.iter().all(is_free) {
                self.next += 1;
                let line = format!("SET k{key} {} XX\r\n", self.next);
                self.nodes[node].send(client, line.as_bytes());
                self.waiting.push((node, client, Waits::Set(key, self.next)));
            }
            return;
        }
        let keys: Vec<u64> = (0..1 + self.below(3)).map(|_| self.below(KEYS)).collect();
        let names: String = keys.iter().map(|key| format!(" k{key}")).collect();
        let line = format!("MIGRATE other 7000 \"\" 0 50 KEYS{names}\r\n");
        let in_exec = self.below(4) == 0;
        let line = if in_exec { format!("MULTI\r\n{line}EXEC\r\n") } else { line };
        self.nodes[node].send(client, line.as_bytes());
        self.waiting.push((node, client, Waits::Migrate(keys)));
    }

    /// Takes the replies that have arrived.
    fn answers(&mut self) {
        for (node, client, waits) in std::mem::take(&mut self.waiting) {
            let received = self.nodes[node].connection(client).map(|it| it.received.clone());
            let text = String::from_utf8(received.unwrap_or_default()).expect("text");
            let last = text.lines().last().unwrap_or_default().to_owned();
            let is_open = self.nodes[node].is_open(client);
            let is_answered = !(last.is_empty() || ["+QUEUED", "*1"].contains(&&*last));
            match &waits {
                _ if !is_answered && is_open => self.waiting.push((node, client, waits)),
                Waits::Set(key, number) => {
                    if last == "+OK" {
                        self.last.insert(*key, *number);
                    } else {
                        assert_eq!(last, "$-1");
                    }
                }
                Waits::Migrate(keys) => match &*last {
                    "+OK" => self.moved += 1,
                    "+NOKEY" => {}
                    _ => {
                        assert!(!is_answered || last.starts_with('-'), "{last}");
                        self.failed += 1;
                        self.doubled.extend(keys);
                    }
                },
            }
        }
    }

    /// Closes a client that waits for a MIGRATE.
    fn close_client(&mut self) {
        if let Some((node, client, Waits::Migrate(_))) = self.waiting.first() {
            let (node, client) = (*node, *client);
            self.nodes[node].disconnect(client);
        }
    }

    fn step(&mut self) {
        match self.below(40) {
            0..6 => self.request(),
            6..8 => {
                let ms = self.below(15);
                self.nodes.iter_mut().for_each(|node| node.advance_ms(ms));
            }
            8 if self.below(4) == 0 && !self.pipes.is_empty() => {
                let index = self.below(self.pipes.len() as u64) as usize;
                self.disconnect(index);
            }
            9 if self.below(4) == 0 => self.close_client(),
            _ if !self.pipes.is_empty() => {
                let index = self.below(self.pipes.len() as u64) as usize;
                self.carry(index);
            }
            _ => {}
        }
        self.connect();
        self.close_other_ends();
        self.answers();
    }

    fn values(&mut self, key: u64) -> Vec<u64> {
        let mut found = Vec::new();
        for node in &mut self.nodes {
            let client = node.connect();
            let reply = node.request(client, &format!("GET k{key}"));
            found.extend(reply.lines().nth(1).map(|text| text.parse::<u64>().expect("a number")));
        }
        found
    }

    /// Lets everything end and compares.
    fn check(&mut self, seed: u64) {
        let mut rounds = 0;
        while !self.waiting.is_empty() {
            rounds += 1;
            assert!(rounds < 10_000, "seed {seed}: a client gets no answer");
            (0..self.pipes.len()).for_each(|index| self.carry(index));
            self.nodes.iter_mut().for_each(|node| node.advance_ms(1));
            self.connect();
            self.close_other_ends();
            self.answers();
        }
        self.nodes.iter_mut().for_each(|node| node.advance_ms(200));
        for key in 0..KEYS {
            let (values, last) = (self.values(key), self.last[&key]);
            assert!(!values.is_empty(), "seed {seed}: k{key} is lost");
            if !self.doubled.contains(&key) {
                assert_eq!(values, [last], "seed {seed}: k{key}");
            }
        }
    }
}

#[test]
fn no_key_is_lost_and_none_is_doubled_without_an_error() {
    let (mut moved, mut failed, mut single) = (0, 0, 0);
    for seed in 0..300 {
        let mut pair = Pair::new(seed);
        (0..STEPS).for_each(|_| pair.step());
        pair.check(seed);
        (moved, failed) = (moved + pair.moved, failed + pair.failed);
        single += KEYS as usize - pair.doubled.len();
    }
    // A test of nothing would pass as well.
    assert!(moved > 300 && failed > 300 && single > 300, "{moved} {failed} {single}");
}
