//! Random commands with hostile arguments: Russet and a stock server return the same replies and
//! have the same data.
//!
//! Replies that depend on time or random numbers are excluded. Unordered replies are sorted before
//! the comparison.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes")]

/// Commands, with a letter for each random argument (see [`Random::argument`]).
#[rustfmt::skip]
const COMMANDS: &[&str] = &[
    "GET k", "GETDEL k", "GETEX k e", "GETEX k e e", "GETRANGE k i i", "GETSET k v", "MGET k h k", "STRLEN k", "SUBSTR k i i",
    "SET k v", "SET k v", "SET k v", "SET k v o", "SET k v o o", "SET k v e o", "SETNX k v", "SETRANGE k n v", "APPEND k v",
    "MSET k v k v", "MSETNX k v k v", "INCR k", "DECR k", "INCRBY k i", "DECRBY k i", "INCRBYFLOAT k d", "INCRBYFLOAT k d",
    "LCS k k", "LCS k k l", "LCS k k l l",
    "DEL k h", "UNLINK k", "EXISTS k h k", "TOUCH k h", "TYPE k", "OBJECT ENCODING k", "OBJECT ENCODING h",
    "RENAME k h", "RENAMENX h k", "COPY k h", "COPY h h REPLACE", "COPY h k DB n", "MOVE k n", "SELECT i",
    "EXPIRE k t", "PEXPIRE h t b", "EXPIREAT k t c c", "PEXPIREAT k t c", "PERSIST h",
    "HSET h f v", "HSET h f v", "HSET h f v f v f v", "HSETNX h f v", "HMSET h f v f v", "HGET h f", "HMGET h f f f", "HDEL h f f",
    "HEXISTS h f", "HLEN h", "HSTRLEN h f", "HINCRBY h f i", "HINCRBYFLOAT h f d", "HINCRBYFLOAT h f d",
    "KEYS g", "HGETALL h", "HKEYS h", "HVALS h", "HSCAN h 0 MATCH g COUNT n", "SCAN 0 TYPE v COUNT i",
];

/// Those whose replies are unordered, or may be truncated by the server.
const UNORDERED: [&str; 6] = ["KEYS", "HGETALL", "HKEYS", "HVALS", "HSCAN", "SCAN"];

#[rustfmt::skip]
const INTEGERS: &[&str] = &[
    "0", "1", "-1", "2", "7", "-10", "100", "2147483648", "-4294967297", "9223372036854775807", "-9223372036854775808",
    "9223372036854775808", "-9223372036854775809", "99999999999999999999", "", "abc", "1.5", " 1", "1 ", "+1", "-0", "01", "1e3",
    "0x10", "-", "--1", "1\0",
];

#[rustfmt::skip]
const DECIMALS: &[&str] = &[
    "0.1", "-0.3", "3.0", "10.50", ".5", "5.", "1e5", "1E-5", "2.5e-17", "1e17", "1e20", "1e308", "-1e308", "1e309", "1e4931", "1e5000",
    "1e-4950", "1e-5000", "nan", "-nan", "inf", "-inf", "+Infinity", "0x1p4", "0x", "1e", "-0.0", "00.5", "9007199254740993", "1,5",
    "18446744073709551615.5", "0.99999999999999999999", "3.14159265358979323846", "\t1", "1_0", "+5",
];

/// Far enough in the future to be irrelevant for the test.
const TIMES: &[&str] = &[
    "100000",
    "9999999999",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
    "",
    "1.5",
];

/// Generates arguments from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// Returns the argument for a letter of [`COMMANDS`]: a key, usually of a string or a hash, a
    /// field, a value, …
    fn argument(&mut self, letter: &str) -> Vec<String> {
        let word = match letter {
            "k" if self.below(8) == 0 => self.one(&["h1", "h2", "h3"]),
            "h" if self.below(8) == 0 => self.one(&["s1", "s2", ""]),
            "k" => self.one(&["s1", "s2", "s3", "", "s\0\r\n"]),
            "h" => self.one(&["h1", "h2", "h3", "h{x}"]),
            "f" => {
                let end = if self.below(3) == 0 { 200 } else { 9 };
                return vec![format!("f{}", self.below(end))];
            }
            "v" => return vec![self.value()],
            "i" => self.one(INTEGERS),
            "n" => self.one(&["0", "1", "5", "30", "-1", "x"]),
            "d" if self.below(3) > 0 => self.one(DECIMALS),
            "d" => self.one(INTEGERS),
            "t" => self.one(TIMES),
            // Which of two relative times is greater may depend on when they were set.
            "b" => self.one(&["NX", "xx", "no"]),
            "c" => self.one(&["NX", "xx", "GT", "lt", "no"]),
            "o" => self.one(&["NX", "xx", "GET", "KeepTTL", "PERSIST", ""]),
            "e" => {
                let word = self.one(&["EX", "px", "EXAT", "PxAt", "PERSIST", "KEEPTTL"]);
                return vec![word.to_owned(), self.one(TIMES).to_owned()];
            }
            "l" => self.one(&["LEN", "idx", "MINMATCHLEN", "2", "WITHMATCHLEN"]),
            "g" => self.one(&["*", "h*", "?1", "[^h]*", "f1*", "[f-", "\\*", "", "f[9-1]*"]),
            fixed => fixed,
        };
        vec![word.to_owned()]
    }

    fn value(&mut self) -> String {
        match self.below(6) {
            0 => self.one(INTEGERS).to_owned(),
            1 => self.one(DECIMALS).to_owned(),
            2 => "x".repeat(43 + self.below(4)),
            3 => "y".repeat(63 + self.below(4)),
            4 => "z".repeat(self.below(3000)),
            _ => format!("v{}", self.below(100)),
        }
    }

    /// Returns a command; one in 25 has an argument too many or too few.
    fn command(&mut self) -> Vec<String> {
        let pattern = self.one(COMMANDS);
        let mut words: Vec<String> =
            pattern.split(' ').flat_map(|word| self.argument(word)).collect();
        let at = 1 + self.below(words.len());
        match self.below(50) {
            0 if at < words.len() => drop(words.remove(at)),
            1 if at < words.len() => words.insert(at, words[at].clone()),
            _ => {}
        }
        words
    }

    /// Returns some commands, one time in eight as a transaction.
    fn batch(&mut self) -> Vec<Vec<String>> {
        let mut batch: Vec<_> = (0..20).map(|_| self.command()).collect();
        if self.below(8) == 0 {
            batch.retain(|words| !UNORDERED.contains(&words[0].as_str()));
            batch.insert(0, vec!["MULTI".to_owned()]);
            batch.push(vec!["EXEC".to_owned()]);
        }
        batch
    }
}

mod with_peers {
    use russet_e2e::{Client, Program, Server, Setup, Value};

    use super::{Random, UNORDERED};

    const SEEDS: u64 = 30;
    const BATCHES: usize = 25;

    /// Returns the parts of a reply without their order. A scan may return any part of the data, so
    /// only its form is compared.
    fn without_order(command: &str, reply: &Value) -> Vec<String> {
        let mut parts: Vec<String> = match reply {
            Value::Array(parts) if command.ends_with("SCAN") => vec![parts.len().to_string()],
            Value::Array(parts) => parts.iter().map(Value::text).collect(),
            Value::Map(pairs) => pairs.iter().flat_map(|(a, b)| [a.text(), b.text()]).collect(),
            other => vec![format!("{other:?}")],
        };
        parts.sort();
        parts
    }

    fn replies(client: &mut Client, batch: &[Vec<String>]) -> Vec<Value> {
        batch.iter().map(|words| client.command(words)).collect()
    }

    fn compare(ours: &mut Client, stock: &mut Client, seed: u64) {
        let mut random = Random(seed);
        for _ in 0..BATCHES {
            let batch = random.batch();
            let pairs = replies(ours, &batch).into_iter().zip(replies(stock, &batch));
            for (words, (ours, stock)) in batch.iter().zip(pairs) {
                let name = words[0].as_str();
                if UNORDERED.contains(&name) {
                    let sorted = without_order(name, &ours);
                    assert_eq!(sorted, without_order(name, &stock), "seed {seed}: {words:?}");
                } else {
                    assert_eq!(ours, stock, "seed {seed}: {words:?}");
                }
            }
        }
    }

    /// Returns all keys with the digests and encodings of their values. DEBUG DIGEST would include
    /// expired keys.
    fn data(client: &mut Client) -> Vec<(usize, Vec<u8>, String, String)> {
        let mut data = Vec::new();
        for db in 0..16 {
            client.ok(&format!("SELECT {db}"));
            let mut keys = client.run("KEYS *").items().to_vec();
            keys.sort_by_key(Value::text);
            for key in keys {
                let Value::Bulk(key) = key else { panic!("no key: {key:?}") };
                let digest = client.command(&[b"DEBUG", b"DIGEST-VALUE".as_slice(), &key]);
                let encoding = client.command(&[b"OBJECT", b"ENCODING".as_slice(), &key]);
                data.push((db, key, digest.items()[0].text(), encoding.text()));
            }
        }
        data
    }

    #[test]
    fn random_commands_have_the_effects_and_replies_of_stock() {
        let start = |program: &Program| -> Server {
            let limits = "hash-max-listpack-entries 20";
            Setup::new(program).conf("enable-debug-command yes").conf(limits).start()
        };
        let (ours, stock) = (start(&Program::under_test()), start(&Program::Stock));
        for seed in 0..SEEDS {
            let (mut ours, mut stock) = (ours.client(), stock.client());
            for client in [&mut ours, &mut stock] {
                client.ok("FLUSHALL");
                client.run(&format!("HELLO {}", 2 + seed % 2));
            }
            compare(&mut ours, &mut stock, seed);
            assert_eq!(data(&mut ours), data(&mut stock), "seed {seed}");
        }
    }
}
