//! Error replies, with the exact texts that clients match on.

use std::borrow::Cow;
use std::fmt;

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorReply {
    /// The key holds another type.
    WrongType,
    /// The arguments are invalid.
    Syntax,
    /// An argument or value is not a 64-bit integer.
    NotInteger,
    /// An argument or value is not a double.
    NotFloat,
    /// An increment would overflow 64 bits.
    Overflow,
    /// A count or offset is out of its range.
    OutOfRange,
    /// The key must exist.
    NoSuchKey,
    /// A string would grow past `proto-max-bulk-len`.
    StringTooLong,
    /// The number of arguments is wrong for this command (full name in lower case).
    WrongArity(String),
    /// The expiry for this command is not positive or out of range.
    InvalidExpire(&'static str),
    /// The data set is being loaded.
    Loading,
    /// This is a read-only replica.
    ReadOnly,
    /// The client must authenticate first.
    NoAuth,
    /// Saving to disk fails, so writes are refused.
    Misconf,
    /// Writing the append-only file fails, for this reason, so writes are refused.
    MisconfAof(String),
    /// The link to the master is down, and stale data must not be served.
    MasterDown,
    /// There are fewer replicas than `min-replicas-to-write`.
    NoReplicas,
    /// A command of the transaction could not be queued.
    ExecAbort,
    /// Any other error, including its code: `ERR text`.
    Text(Cow<'static, str>),
    /// Any other error that quotes bytes, which may not be UTF-8.
    Quoting(Vec<u8>),
}

impl ErrorReply {
    /// Creates an error with the generic code: `ERR` and a text.
    pub fn err(text: impl fmt::Display) -> ErrorReply {
        ErrorReply::Text(Cow::Owned(format!("ERR {text}")))
    }

    /// Creates an error with a constant text, including its code.
    pub const fn fixed(text: &'static str) -> ErrorReply {
        ErrorReply::Text(Cow::Borrowed(text))
    }

    /// Creates an error that quotes bytes up to the first NUL, as Redis does with C strings.
    pub fn quoting(before: &str, quoted: &[u8], after: &str) -> ErrorReply {
        ErrorReply::Quoting([before.as_bytes(), c_str(quoted), after.as_bytes()].concat())
    }

    /// Returns the bytes of the reply, without `-` and CR LF.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            ErrorReply::Quoting(bytes) => Cow::Borrowed(bytes),
            ErrorReply::Text(text) => Cow::Borrowed(text.as_bytes()),
            other => Cow::Owned(other.to_string().into_bytes()),
        }
    }

    /// Returns the code for INFO's error statistics: the first word of the text.
    pub fn code(&self) -> String {
        let text = self.to_string();
        text.split(' ').next().unwrap_or("ERR").to_owned()
    }
}

/// Returns the bytes before the first NUL.
pub fn c_str(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorReply::WrongType => {
                "WRONGTYPE Operation against a key holding the wrong kind of value"
            }
            ErrorReply::Syntax => "ERR syntax error",
            ErrorReply::NotInteger => "ERR value is not an integer or out of range",
            ErrorReply::NotFloat => "ERR value is not a valid float",
            ErrorReply::Overflow => "ERR increment or decrement would overflow",
            ErrorReply::OutOfRange => "ERR value is out of range",
            ErrorReply::NoSuchKey => "ERR no such key",
            ErrorReply::StringTooLong => {
                "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
            }
            ErrorReply::WrongArity(name) => {
                return write!(f, "ERR wrong number of arguments for '{name}' command");
            }
            ErrorReply::InvalidExpire(name) => {
                return write!(f, "ERR invalid expire time in '{name}' command");
            }
            ErrorReply::Loading => "LOADING Redis is loading the dataset in memory",
            ErrorReply::ReadOnly => "READONLY You can't write against a read only replica.",
            ErrorReply::NoAuth => "NOAUTH Authentication required.",
            ErrorReply::Misconf => {
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to \
                 persist to disk. Commands that may modify the data set are disabled, because this \
                 instance is configured to report errors during writes if RDB snapshotting fails \
                 (stop-writes-on-bgsave-error option). Please check the Redis logs for details \
                 about the RDB error."
            }
            ErrorReply::MisconfAof(why) => {
                return write!(f, "MISCONF Errors writing to the AOF file: {why}");
            }
            ErrorReply::MasterDown => {
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
            }
            ErrorReply::NoReplicas => "NOREPLICAS Not enough good replicas to write.",
            ErrorReply::ExecAbort => "EXECABORT Transaction discarded because of previous errors.",
            ErrorReply::Text(text) => text,
            ErrorReply::Quoting(bytes) => return f.write_str(&String::from_utf8_lossy(bytes)),
        })
    }
}
