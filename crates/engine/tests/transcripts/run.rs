//! Runs a transcript, and writes the results in the form of a transcript.

use std::fmt::Write;
use std::time::Duration;

use crate::resp;
use crate::script::{Step, words};

/// The options of a start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    pub resp3: bool,
    pub replica: bool,
}

/// A server for transcripts.
pub trait Server {
    /// Starts without data and clients, with default settings.
    fn start(&mut self, start: Start);
    /// Changes a setting until the next start.
    fn set(&mut self, name: &str, value: &str);
    /// Advances time. Returns false if that takes too long.
    fn advance(&mut self, time: Duration) -> bool;
    /// Sends requests of a client, given their bytes and number.
    fn send(&mut self, client: &str, bytes: &[u8], requests: usize);
    /// Takes the replies to a client, as lines.
    fn replies(&mut self, client: &str) -> Vec<String>;
    /// Returns the names of the clients so far, in order.
    fn clients(&self) -> Vec<String>;
    /// Takes the effects propagated to the replica.
    fn effects(&mut self) -> Vec<String>;
}

/// The server that a transcript runs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A node in this process; everything is compared.
    Local,
    /// Russet over TCP.
    Remote,
    /// redis-server 7.0 over TCP, with its recorded differences.
    Stock,
}

/// Runs a transcript. Returns its text with the actual replies.
pub fn run(steps: &[Step], server: &mut dyn Server, mode: Mode) -> String {
    let mut text = String::new();
    let mut skipping = false;
    server.start(Start::default());
    for step in steps {
        for line in &step.head {
            writeln!(text, "{line}").expect("a string");
            if let Some(directive) = line.strip_prefix("@ ") {
                skipping = follow(directive, server, skipping, mode);
            }
        }
        let (replies, stock, effects) = if skipping {
            (step.replies.clone(), step.stock.clone(), step.effects.clone())
        } else {
            answer(step, server, mode)
        };
        for request in &step.requests {
            writeln!(text, "{}", request.line).expect("a string");
        }
        for (client, reply) in replies {
            writeln!(text, "{client}< {reply}").expect("a string");
        }
        for (client, reply) in stock {
            writeln!(text, "7.0{client}< {reply}").expect("a string");
        }
        for effect in effects {
            writeln!(text, "= {effect}").expect("a string");
        }
    }
    text
}

type Lines = Vec<(String, String)>;

/// Runs a step. Returns its actual lines: replies, those of redis-server 7.0, effects.
fn answer(step: &Step, server: &mut dyn Server, mode: Mode) -> (Lines, Lines, Vec<String>) {
    let mut first = 0;
    while first < step.requests.len() {
        let client = &step.requests[first].client;
        let group: Vec<_> =
            step.requests[first..].iter().take_while(|r| r.client == *client).collect();
        let bytes: Vec<u8> = group.iter().flat_map(|r| resp::request(&r.words)).collect();
        server.send(client, &bytes, group.len());
        first += group.len();
    }
    let mut replies = Vec::new();
    for client in server.clients() {
        let lines = server.replies(&client);
        replies.extend(lines.into_iter().map(|line| (client.clone(), line)));
    }
    let effects = server.effects();
    if mode == Mode::Local {
        return (replies, step.stock.clone(), effects);
    }
    let effects = if same_lines(&step.effects, &effects) { step.effects.clone() } else { effects };
    let is_expected = same(&step.replies, &replies);
    match mode {
        _ if is_expected => (step.replies.clone(), Vec::new(), effects),
        Mode::Stock if same(&step.stock, &replies) => {
            (step.replies.clone(), step.stock.clone(), effects)
        }
        Mode::Stock => (step.replies.clone(), replies, effects),
        _ => (replies, step.stock.clone(), effects),
    }
}

/// Executes a directive. Returns whether the following steps are skipped.
fn follow(directive: &str, server: &mut dyn Server, skipping: bool, mode: Mode) -> bool {
    let words: Vec<&str> = directive.split(' ').collect();
    match words[..] {
        ["start", ref options @ ..] => {
            let has = |word: &str| options.contains(&word);
            server.start(Start { resp3: has("resp3"), replica: has("replica") });
            has("local") && mode != Mode::Local
        }
        _ if skipping => true,
        ["set", name, value] => {
            server.set(name, value);
            false
        }
        ["advance", time] => !server.advance(duration(time)),
        _ => panic!("no such directive: {directive}"),
    }
}

fn duration(text: &str) -> Duration {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = digits.parse().expect("a number with its unit");
    match &text[digits.len()..] {
        "ms" => Duration::from_millis(count),
        "s" => Duration::from_secs(count),
        "h" => Duration::from_secs(count * 3600),
        "d" => Duration::from_secs(count * 86_400),
        unit => panic!("no such unit: {unit}"),
    }
}

/// Whether the replies of a server with its own clock are as expected.
fn same(expected: &Lines, got: &Lines) -> bool {
    expected.len() == got.len()
        && expected.iter().zip(got).all(|((a, x), (b, y))| a == b && alike(x, y))
}

fn same_lines(expected: &[String], got: &[String]) -> bool {
    expected.len() == got.len() && expected.iter().zip(got).all(|(x, y)| alike(x, y))
}

/// Whether two lines are equal except for times: numbers near the current Unix time, and durations
/// that are a little shorter.
fn alike(expected: &str, got: &str) -> bool {
    let number = |word: &[u8]| -> Option<i64> {
        let text = std::str::from_utf8(word).ok()?;
        text.trim_start_matches(':').parse().ok()
    };
    let (expected, got) = (words(expected), words(got));
    expected.len() == got.len()
        && expected.iter().zip(&got).all(|(x, y)| match (number(x), number(y)) {
            (Some(x), Some(y)) => x == y || is_today(x) && is_today(y) || is_near(x, y),
            _ => x == y,
        })
}

fn is_today(number: i64) -> bool {
    let (begin, end) = (1_690_000_000, 2_100_000_000);
    (begin..end).contains(&number) || (begin..end).contains(&(number / 1000))
}

fn is_near(expected: i64, got: i64) -> bool {
    expected > 1000 && (expected - 100..=expected).contains(&got)
}
