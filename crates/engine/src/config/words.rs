//! Values with their own formats: `save`, `bind`, `replicaof`, output buffer limits and the like.

use super::check;
use super::grammar::{format_memory, parse_lenient_integer, parse_memory, quote, quote_if_needed};
use super::value::{Kind, Line, Origin, Refusal, Setting, one_of};

/// Joins words with spaces, as CONFIG GET shows a list.
fn join<W: AsRef<[u8]>>(words: impl IntoIterator<Item = W>) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, word) in words.into_iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend(word.as_ref());
    }
    out
}

fn forced(words: Vec<u8>) -> Vec<Line> {
    vec![Line { words, forced: true }]
}

/// Treats a single empty word as none: `save ""`, `bind ""`.
fn none_if_empty<'a, 'w>(words: &'a [&'w [u8]]) -> &'a [&'w [u8]] {
    match words {
        [[]] => &[],
        _ => words,
    }
}

/// A save point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// Minimum seconds since the last save.
    pub seconds: u64,
    /// Minimum changes since the last save.
    pub changes: u64,
}

impl SavePoint {
    fn words(&self) -> String {
        format!("{} {}", self.seconds, self.changes)
    }
}

/// Maximum number of save points. Redis has no limit.
const SAVE_POINTS_MAX: usize = 1000;

/// The value of `save`: a snapshot is taken when any save point is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavePoints(pub Vec<SavePoint>);

impl SavePoints {
    fn joined(&self) -> Vec<u8> {
        join(self.0.iter().map(|point| point.words()))
    }
}

impl Setting for SavePoints {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], origin: Origin) -> Result<(), Refusal> {
        let invalid = || Refusal::from("Invalid save parameters");
        let clears = words == [b""];
        let words = none_if_empty(words);
        if !words.len().is_multiple_of(2) {
            return Err(invalid());
        }
        let number = |word: &[u8]| parse_lenient_integer(word).and_then(|n| u64::try_from(n).ok());
        let mut points = Vec::new();
        for pair in words.chunks_exact(2) {
            let seconds = number(pair[0]).filter(|&seconds| seconds >= 1).ok_or_else(invalid)?;
            let changes = number(pair[1]).filter(|&n| n <= i32::MAX as u64).ok_or_else(invalid)?;
            points.push(SavePoint { seconds, changes });
        }
        let kept = if clears || origin != Origin::LaterLine { 0 } else { self.0.len() };
        if kept + points.len() > SAVE_POINTS_MAX {
            return Err(invalid());
        }
        self.0.truncate(kept);
        self.0.extend(points);
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        self.joined()
    }

    fn lines(&self, _: &Kind, _: &Self) -> Vec<Line> {
        if self.0.is_empty() {
            return forced(b"\"\"".to_vec());
        }
        self.0.iter().flat_map(|point| forced(point.words().into_bytes())).collect()
    }
}

/// The value of `bind`: addresses to listen on; none disables TCP.
///
/// An address that begins with `-` is ignored if it is not available.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BindList(pub Vec<Vec<u8>>);

impl BindList {
    /// Iterates over the addresses, each with whether it is optional.
    pub fn addresses(&self) -> impl Iterator<Item = (&[u8], bool)> {
        self.0.iter().map(|word| match word.strip_prefix(b"-") {
            Some(address) => (address, true),
            None => (word.as_slice(), false),
        })
    }
}

impl Setting for BindList {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        if words.len() > 16 {
            return Err("Too many bind addresses specified.".into());
        }
        if words.iter().any(|word| word.contains(&0)) {
            return Err("argument contains a NUL byte".into());
        }
        words.iter().try_for_each(|word| check::path(word))?;
        self.0 = none_if_empty(words).iter().map(|word| word.to_vec()).collect();
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        join(&self.0)
    }

    fn lines(&self, _: &Kind, default: &Self) -> Vec<Line> {
        if self == default {
            return Vec::new();
        }
        forced(match self.0.as_slice() {
            [] => b"\"\"".to_vec(),
            // A single word is split again when it is loaded.
            [word] => quote_if_needed(&quote_if_needed(word)).into_owned(),
            words => join(words.iter().map(|word| quote_if_needed(word))),
        })
    }
}

/// The value of `replicaof`: the master to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterAddress {
    /// Name or address.
    pub host: Vec<u8>,
    /// TCP port.
    pub port: u16,
}

impl Setting for Option<MasterAddress> {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        let (host, port) = match words {
            [b""] => {
                *self = None;
                return Ok(());
            }
            [host, port] => (*host, *port),
            _ => return Err("wrong number of arguments".into()),
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            *self = None;
            return Ok(());
        }
        let port = parse_lenient_integer(port).and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or("Invalid master port")?;
        if host.contains(&0) {
            return Err("argument contains a NUL byte".into());
        }
        check::host(host)?;
        *self = Some(MasterAddress { host: host.to_vec(), port });
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        self.as_ref().map_or(Vec::new(), |master| {
            join([master.host.as_slice(), master.port.to_string().as_bytes()])
        })
    }

    fn lines(&self, _: &Kind, _: &Self) -> Vec<Line> {
        self.as_ref().map_or(Vec::new(), |master| {
            let port = master.port.to_string();
            forced(join([&*quote_if_needed(&master.host), port.as_bytes()]))
        })
    }
}

/// Limits of an output buffer; 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes above which a client is disconnected at once.
    pub hard_bytes: u64,
    /// Bytes above which a client is disconnected after `soft_seconds`.
    pub soft_bytes: u64,
    /// Seconds above `soft_bytes`.
    pub soft_seconds: u64,
}

/// The value of `client-output-buffer-limit`, by client class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputLimits {
    /// Normal clients, including MONITOR.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Clients subscribed to a channel or pattern.
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    fn classes(&self) -> [(&'static str, &OutputLimit); 3] {
        [("normal", &self.normal), ("replica", &self.replica), ("pubsub", &self.pubsub)]
    }

    fn class_mut(&mut self, name: &[u8]) -> Option<&mut OutputLimit> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Some(&mut self.normal),
            b"replica" | b"slave" => Some(&mut self.replica),
            b"pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }
}

impl Setting for OutputLimits {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut limits = *self;
        for words in words.chunks_exact(4) {
            let class = limits
                .class_mut(words[0])
                .ok_or("Invalid client class specified in buffer limit configuration.")?;
            let seconds = parse_lenient_integer(words[3]).and_then(|n| i32::try_from(n).ok());
            let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds)) =
                (parse_memory(words[1]), parse_memory(words[2]), seconds)
            else {
                return Err(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration."
                        .into(),
                );
            };
            *class = OutputLimit { hard_bytes, soft_bytes, soft_seconds };
        }
        *self = limits;
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        join(self.classes().map(|(name, limit)| {
            let name = if name == "replica" { "slave" } else { name };
            format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
        }))
    }

    fn lines(&self, _: &Kind, default: &Self) -> Vec<Line> {
        let classes = self.classes().into_iter().zip(default.classes());
        classes
            .map(|((name, limit), (_, usual))| {
                let hard = format_memory(limit.hard_bytes);
                let soft = format_memory(limit.soft_bytes);
                let words = format!("{name} {hard} {soft} {}", limit.soft_seconds).into_bytes();
                Line { words, forced: limit != usual }
            })
            .collect()
    }
}

/// The value of `oom-score-adj-values`: master, replica, and background processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OomScores(pub [i32; 3]);

impl Setting for OomScores {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        let mut scores = [0; 3];
        if words.len() != scores.len() {
            return Err("wrong number of arguments".into());
        }
        for (score, word) in scores.iter_mut().zip(words) {
            let number = parse_lenient_integer(word).and_then(|number| i32::try_from(number).ok());
            *score = number
                .filter(|number| (-2000..=2000).contains(number))
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        }
        self.0 = scores;
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        join(self.0.map(|score| score.to_string()))
    }
}

/// The value of `latency-tracking-info-percentiles`, each from 0 to 100.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Percentiles(pub Vec<f64>);

impl Setting for Percentiles {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        let mut percentiles = Vec::new();
        for word in none_if_empty(words) {
            let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<f64>().ok());
            let number = number.filter(|number| !number.is_nan());
            let number = number.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&number) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                        .into(),
                );
            }
            percentiles.push(number.abs()); // -0 is 0
        }
        self.0 = percentiles;
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        join(self.0.iter().map(|number| {
            let mut text = format!("{number:.6}");
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
            text
        }))
    }

    fn lines(&self, _: &Kind, _: &Self) -> Vec<Line> {
        let empty = self.0.is_empty();
        forced(if empty { b"\"\"".to_vec() } else { join(self.0.iter().map(f64::to_string)) })
    }
}

/// The value of `shutdown-on-sigterm` and `shutdown-on-sigint`; none set is `default`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShutdownFlags {
    /// Save even if no save point is configured.
    pub save: bool,
    /// Do not save even if a save point is configured.
    pub nosave: bool,
    /// Do not wait for lagging replicas.
    pub now: bool,
    /// Exit even if the save fails.
    pub force: bool,
    /// Let a replica take over first, as a master of a cluster.
    pub failover: bool,
}

impl ShutdownFlags {
    const NAMES: &'static [&'static str] =
        &["default", "save", "nosave", "now", "force", "failover"];
}

impl Setting for ShutdownFlags {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        let mut flags = ShutdownFlags::default();
        if words.is_empty() {
            one_of(Self::NAMES, b"")?;
        }
        for word in words {
            match Self::NAMES[one_of(Self::NAMES, word)?] {
                "save" => flags.save = true,
                "nosave" => flags.nosave = true,
                "now" => flags.now = true,
                "force" => flags.force = true,
                "failover" => flags.failover = true,
                _ => {}
            }
        }
        if flags.save && flags.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        if flags.now && flags.failover {
            return Err("shutdown options NOW and FAILOVER can't be used simultaneously".into());
        }
        *self = flags;
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        if *self == ShutdownFlags::default() {
            return b"default".to_vec();
        }
        let flags = [
            (self.save, "save"),
            (self.nosave, "nosave"),
            (self.now, "now"),
            (self.force, "force"),
            (self.failover, "failover"),
        ];
        join(flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name))
    }
}

/// The value of `notify-keyspace-events`: a set of one-letter classes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyspaceEvents(pub u16);

/// The letters in the order of CONFIG GET; the first ten are those of `A`.
const EVENT_LETTERS: &[u8] = b"g$lshzxetdnKEm";

impl KeyspaceEvents {
    const ALL: u16 = (1 << 10) - 1;

    /// Returns the bit of a class; 0 for an unknown letter.
    pub const fn bit(letter: u8) -> u16 {
        let mut at = 0;
        while at < EVENT_LETTERS.len() {
            if EVENT_LETTERS[at] == letter {
                return 1 << at;
            }
            at += 1;
        }
        0
    }

    /// Whether events of this class are enabled.
    pub fn contains(self, letter: u8) -> bool {
        self.0 & KeyspaceEvents::bit(letter) != 0
    }
}

impl Setting for KeyspaceEvents {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        let [word] = words else {
            return Err("wrong number of arguments".into());
        };
        let mut set = 0;
        for &letter in *word {
            set |= match (letter, KeyspaceEvents::bit(letter)) {
                (b'A', _) => KeyspaceEvents::ALL,
                (_, 0) => {
                    return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into());
                }
                (_, bit) => bit,
            };
        }
        self.0 = set;
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        let mut text = String::new();
        let mut rest = *self;
        if self.0 & Self::ALL == Self::ALL {
            text.push('A');
            rest.0 &= !Self::ALL;
        }
        for &letter in EVENT_LETTERS.iter().filter(|&&letter| rest.contains(letter)) {
            text.push(char::from(letter));
        }
        text.into_bytes()
    }

    fn lines(&self, kind: &Kind, default: &Self) -> Vec<Line> {
        vec![Line { words: quote(&self.text(kind)), forced: self != default }]
    }
}
