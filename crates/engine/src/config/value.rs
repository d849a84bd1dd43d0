//! The types of configuration values: how each is parsed, shown and written back.
//!
//! A row in `directives.rs` names a field type and a [`Kind`]; fields are accessed through the
//! [`Setting`] trait of their type. Values of several words (`save`, `bind`, …) have their own
//! types in `words.rs`.

use std::borrow::Cow;
use std::fmt;

use super::grammar::{format_memory, parse_integer, parse_memory, quote};

/// Why a value was refused, as shown to clients.
pub type Refusal = Cow<'static, str>;

/// How the words of a directive are parsed, with its limits.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// An integer within inclusive bounds.
    Int(i64, i64),
    /// A size in bytes with an optional unit, within inclusive bounds.
    Memory(u64, u64),
    /// A size in bytes, or a percentage of `maxmemory`.
    MemoryOrPercent,
    /// File permissions in octal, from 0 to the bound.
    Octal(u32),
    /// One word, validated by the function.
    Text(fn(&[u8]) -> Result<(), Refusal>),
    /// One optional word; empty means unset.
    OptionalText(fn(&[u8]) -> Result<(), Refusal>),
    /// One of these names.
    Enum(&'static [&'static str]),
    /// One word with a format of its type, described here.
    Word(&'static str),
    /// Any number of words with a format of their type, described here.
    Words(&'static str),
}

impl Kind {
    /// Whether the directive takes any number of words instead of exactly one.
    pub fn takes_words(&self) -> bool {
        matches!(self, Kind::Words(_))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Bool => f.write_str("yes or no"),
            Kind::Int(min, max) => write!(f, "number from {min} to {max}"),
            Kind::Memory(min, max) => {
                let (min, max) = (format_memory(*min), format_memory(*max));
                write!(f, "size from {min} to {max}")
            }
            Kind::MemoryOrPercent => f.write_str("size, or percentage up to 100%"),
            Kind::Octal(max) => write!(f, "octal number up to {max:o}"),
            Kind::Text(_) => f.write_str("text"),
            Kind::OptionalText(_) => f.write_str("text, may be empty"),
            Kind::Enum(names) => f.write_str(&names.join(", ")),
            Kind::Word(form) | Kind::Words(form) => f.write_str(form),
        }
    }
}

/// The origin of a value, which matters to a few directives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The first line in the configuration: replaces the default.
    FirstLine,
    /// A later line: `save` lines add up.
    LaterLine,
    /// CONFIG SET: replaces the value.
    ConfigSet,
}

/// A line written by CONFIG REWRITE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The arguments, quoted if needed.
    pub words: Vec<u8>,
    /// Whether it is written even if the old file had no such line.
    pub forced: bool,
}

/// A type of configuration values.
pub trait Setting: Clone + PartialEq {
    /// Sets the value from words; an error leaves it unchanged.
    fn assign(&mut self, kind: &Kind, words: &[&[u8]], origin: Origin) -> Result<(), Refusal>;

    /// Returns the value as CONFIG GET shows it.
    fn text(&self, kind: &Kind) -> Vec<u8>;

    /// Returns the lines of a configuration file for this value; none removes the directive.
    fn lines(&self, kind: &Kind, default: &Self) -> Vec<Line> {
        vec![Line { words: self.text(kind), forced: self != default }]
    }
}

/// Returns the single word of a directive.
fn only<'w>(words: &[&'w [u8]]) -> Result<&'w [u8], Refusal> {
    match words {
        [word] => Ok(word),
        _ => Err("wrong number of arguments".into()),
    }
}

impl Setting for bool {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        let word = only(words)?;
        *self = match (word.eq_ignore_ascii_case(b"yes"), word.eq_ignore_ascii_case(b"no")) {
            (true, _) => true,
            (_, true) => false,
            _ => return Err("argument must be 'yes' or 'no'".into()),
        };
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        if *self { b"yes".to_vec() } else { b"no".to_vec() }
    }
}

/// Parses a number of a kind within its bounds.
fn parse_number(kind: &Kind, word: &[u8]) -> Result<i128, Refusal> {
    let (number, min, max) = match *kind {
        Kind::Memory(min, max) => {
            let bytes = parse_memory(word).ok_or("argument must be a memory value")?;
            (i128::from(bytes), i128::from(min), i128::from(max))
        }
        Kind::Octal(max) => {
            let number = std::str::from_utf8(word).ok();
            let number = number.and_then(|text| i64::from_str_radix(text, 8).ok());
            let number = number.ok_or("argument couldn't be parsed as an octal number")?;
            if number < 0 || number > i64::from(max) {
                return Err(format!("argument must be between 0 and {max:o} inclusive").into());
            }
            return Ok(i128::from(number));
        }
        Kind::Int(min, max) => {
            let number =
                parse_integer(word).ok_or("argument couldn't be parsed into an integer")?;
            (i128::from(number), i128::from(min), i128::from(max))
        }
        _ => return Err("argument couldn't be parsed into an integer".into()),
    };
    if number < min || number > max {
        return Err(format!("argument must be between {min} and {max} inclusive").into());
    }
    Ok(number)
}

macro_rules! number_settings {
    ($($number:ty),*) => {$(
        impl Setting for $number {
            fn assign(&mut self, kind: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
                let number = parse_number(kind, only(words)?)?;
                *self = <$number>::try_from(number)
                    .map_err(|_| format!("argument must be at most {}", <$number>::MAX))?;
                Ok(())
            }

            fn text(&self, kind: &Kind) -> Vec<u8> {
                match kind {
                    Kind::Octal(_) => format!("{self:o}").into_bytes(),
                    _ => self.to_string().into_bytes(),
                }
            }

            fn lines(&self, kind: &Kind, default: &Self) -> Vec<Line> {
                let words = match (kind, u64::try_from(*self)) {
                    (Kind::Memory(..), Ok(bytes)) => format_memory(bytes).into_bytes(),
                    _ => self.text(kind),
                };
                vec![Line { words, forced: self != default }]
            }
        }
    )*};
}
number_settings!(u8, u16, u32, u64, i32, i64);

/// The value of `maxmemory-clients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryOrPercent {
    /// Bytes; 0 is no limit.
    Bytes(u64),
    /// Percentage of `maxmemory`.
    Percent(u8),
}

impl Default for MemoryOrPercent {
    fn default() -> Self {
        MemoryOrPercent::Bytes(0)
    }
}

impl Setting for MemoryOrPercent {
    fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        let word = only(words)?;
        if let Some(bytes) = parse_memory(word) {
            if bytes > i64::MAX as u64 {
                let text = format!("argument must be between -100 and {} inclusive", i64::MAX);
                return Err(text.into());
            }
            *self = MemoryOrPercent::Bytes(bytes);
            return Ok(());
        }
        let percent = word.strip_suffix(b"%").and_then(parse_integer).filter(|&number| number >= 0);
        let percent = percent.ok_or("argument must be a memory or percent value")?;
        *self = match u8::try_from(percent) {
            Ok(0) => MemoryOrPercent::Bytes(0),
            Ok(percent) if percent <= 100 => MemoryOrPercent::Percent(percent),
            _ => return Err("percentage argument must be less or equal to 100".into()),
        };
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        match self {
            MemoryOrPercent::Bytes(bytes) => bytes.to_string().into_bytes(),
            MemoryOrPercent::Percent(percent) => format!("{percent}%").into_bytes(),
        }
    }
}

/// Returns the single word if its kind accepts it.
fn checked_word<'w>(kind: &Kind, words: &[&'w [u8]]) -> Result<&'w [u8], Refusal> {
    let word = only(words)?;
    if let Kind::Text(check) | Kind::OptionalText(check) = kind {
        check(word)?;
    }
    Ok(word)
}

/// Returns a quoted line, or none if an optional text is empty.
fn text_lines(kind: &Kind, value: &[u8], forced: bool) -> Vec<Line> {
    if value.is_empty() && matches!(kind, Kind::OptionalText(_)) {
        return Vec::new();
    }
    vec![Line { words: quote(value), forced }]
}

/// Any bytes except NUL.
impl Setting for Vec<u8> {
    fn assign(&mut self, kind: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        let word = checked_word(kind, words)?;
        if word.contains(&0) {
            return Err("argument contains a NUL byte".into());
        }
        *self = word.to_vec();
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        self.clone()
    }

    fn lines(&self, kind: &Kind, default: &Self) -> Vec<Line> {
        text_lines(kind, self, self != default)
    }
}

/// A password: any bytes, not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl Secret {
    /// Whether no password is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(none)" } else { "Secret(hidden)" })
    }
}

impl Setting for Secret {
    fn assign(&mut self, kind: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
        self.0 = checked_word(kind, words)?.to_vec();
        Ok(())
    }

    fn text(&self, _: &Kind) -> Vec<u8> {
        self.0.clone()
    }

    fn lines(&self, kind: &Kind, default: &Self) -> Vec<Line> {
        text_lines(kind, &self.0, self != default)
    }
}

/// Finds a word among the names of an enumeration; the error lists them.
pub(super) fn one_of(names: &[&'static str], word: &[u8]) -> Result<usize, Refusal> {
    names.iter().position(|name| word.eq_ignore_ascii_case(name.as_bytes())).ok_or_else(|| {
        format!("argument(s) must be one of the following: {}", names.join(", ")).into()
    })
}

/// Declares an enumeration with named values; the first name of a value is shown.
macro_rules! enum_setting {
    ($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal $(| $other:literal)?,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[doc = $variant_doc])+ $variant,)+ }

        impl $name {
            /// All names, in the order of error messages.
            pub const NAMES: &'static [&'static str] = &[$($text, $($other,)?)+];
            const VALUES: &'static [(&'static str, $name)] =
                &[$(($text, $name::$variant), $(($other, $name::$variant),)?)+];

            /// Returns the value's name.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name::VALUES[0].1
            }
        }

        impl Setting for $name {
            fn assign(&mut self, _: &Kind, words: &[&[u8]], _: Origin) -> Result<(), Refusal> {
                *self = $name::VALUES[one_of($name::NAMES, only(words)?)?].1;
                Ok(())
            }

            fn text(&self, _: &Kind) -> Vec<u8> {
                self.name().as_bytes().to_vec()
            }
        }
    };
}

enum_setting! {
    /// The minimum level of log lines.
    LogLevel {
        /// Everything, for development.
        Debug = "debug",
        /// Much that is rarely useful.
        Verbose = "verbose",
        /// What an operator wants to see.
        Notice = "notice",
        /// Only what needs attention.
        Warning = "warning",
        /// No line at all.
        Nothing = "nothing",
    }
}

enum_setting! {
    /// The process supervisor that is notified of readiness.
    Supervised {
        /// Upstart: the process stops itself with SIGSTOP.
        Upstart = "upstart",
        /// systemd: a datagram to `$NOTIFY_SOCKET`.
        Systemd = "systemd",
        /// Detected from the environment.
        Auto = "auto",
        /// Nobody.
        No = "no",
    }
}

enum_setting! {
    /// Who may use a protected command or directive.
    ProtectedAction {
        /// Nobody.
        No = "no",
        /// Everybody.
        Yes = "yes",
        /// Local clients, over loopback or a Unix socket.
        Local = "local",
    }
}

enum_setting! {
    /// Whether a replica loads its master's snapshot directly from the socket.
    DisklessLoad {
        /// No: the snapshot goes through a file.
        Disabled = "disabled",
        /// Yes if the replica is empty.
        OnEmptyDb = "on-empty-db",
        /// Yes, keeping the old data until the new data is complete.
        Swapdb = "swapdb",
        /// Yes, after flushing the old data.
        FlushBeforeLoad = "flush-before-load",
    }
}

enum_setting! {
    /// How errors of replicated commands are handled.
    PropagationErrorBehavior {
        /// It is counted and logged.
        Ignore = "ignore",
        /// The process stops.
        Panic = "panic",
        /// The process stops if it is a replica.
        PanicOnReplicas = "panic-on-replicas",
    }
}

enum_setting! {
    /// Which keys are evicted when `maxmemory` is reached.
    EvictionPolicy {
        /// Keys with a TTL, the least recently used.
        VolatileLru = "volatile-lru",
        /// Keys with a TTL, the least frequently used.
        VolatileLfu = "volatile-lfu",
        /// Keys with a TTL, any.
        VolatileRandom = "volatile-random",
        /// Keys with a TTL, those that expire soonest.
        VolatileTtl = "volatile-ttl",
        /// The least recently used.
        AllkeysLru = "allkeys-lru",
        /// The least frequently used.
        AllkeysLfu = "allkeys-lfu",
        /// Any.
        AllkeysRandom = "allkeys-random",
        /// None: writes are refused.
        NoEviction = "noeviction",
    }
}

enum_setting! {
    /// When the append-only file is synced to disk.
    AppendFsync {
        /// Once a second.
        Everysec = "everysec",
        /// Before the reply to each write.
        Always = "always",
        /// When the kernel decides.
        No = "no",
    }
}

enum_setting! {
    /// The syslog facility.
    SyslogFacility {
        /// User processes.
        User = "user",
        /// Local use 0.
        Local0 = "local0",
        /// Local use 1.
        Local1 = "local1",
        /// Local use 2.
        Local2 = "local2",
        /// Local use 3.
        Local3 = "local3",
        /// Local use 4.
        Local4 = "local4",
        /// Local use 5.
        Local5 = "local5",
        /// Local use 6.
        Local6 = "local6",
        /// Local use 7.
        Local7 = "local7",
    }
}

enum_setting! {
    /// Whether the process adjusts its OOM score.
    OomScoreAdj {
        /// Does not change the score.
        No = "no",
        /// Adds its values to the initial score.
        Relative = "yes" | "relative",
        /// Sets its values.
        Absolute = "absolute",
    }
}

enum_setting! {
    /// The channels a new ACL user may use.
    AclPubsubDefault {
        /// All.
        Allchannels = "allchannels",
        /// None.
        Resetchannels = "resetchannels",
    }
}

enum_setting! {
    /// When serialized values are deeply validated.
    SanitizeDumpPayload {
        /// Never.
        No = "no",
        /// Always.
        Yes = "yes",
        /// For normal clients.
        Clients = "clients",
    }
}

enum_setting! {
    /// The kind of address that cluster clients are redirected to.
    ClusterEndpointType {
        /// The node's IP address.
        Ip = "ip",
        /// The node's announced host name.
        Hostname = "hostname",
        /// None: clients use the current address.
        UnknownEndpoint = "unknown-endpoint",
    }
}

enum_setting! {
    /// Whether TLS clients must present a certificate.
    TlsAuthClients {
        /// They must not.
        No = "no",
        /// They must.
        Yes = "yes",
        /// Optional, but validated if present.
        Optional = "optional",
    }
}

enum_setting! {
    /// The format of log lines.
    LogFormat {
        /// As Redis writes them.
        Legacy = "legacy",
        /// `key=value` pairs.
        Logfmt = "logfmt",
    }
}

enum_setting! {
    /// The format of timestamps in log lines.
    LogTimestampFormat {
        /// As Redis writes them.
        Legacy = "legacy",
        /// ISO 8601 with the zone.
        Iso8601 = "iso8601",
        /// Milliseconds since 1970.
        Milliseconds = "milliseconds",
    }
}

enum_setting! {
    /// Whether snapshots of unknown newer versions are loaded.
    RdbVersionCheck {
        /// It is refused.
        Strict = "strict",
        /// It is tried.
        Relaxed = "relaxed",
    }
}
