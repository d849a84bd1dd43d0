//! The error replies that clients match on, word for word.

use std::borrow::Cow;
use std::fmt;

/// An error for the client: what stands after the `-` of the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorReply {
    /// The key holds another type.
    WrongType,
    /// The arguments do not follow the command's grammar.
    Syntax,
    /// An argument, or a stored value, is no 64-bit integer.
    NotInteger,
    /// An argument, or a stored value, is no double.
    NotFloat,
    /// An increment would leave the 64 bits.
    Overflow,
    /// A count or offset is out of its range.
    OutOfRange,
    /// The key must exist.
    NoSuchKey,
    /// A string would grow past `proto-max-bulk-len`.
    StringTooLong,
    /// The number of arguments is wrong for the command (full name, lower case).
    WrongArity(String),
    /// An expiry that is not positive or does not fit, in this command.
    InvalidExpire(&'static str),
    /// The data set is being read from disk or from the master.
    Loading,
    /// This is a replica and takes no writes.
    ReadOnly,
    /// The client must authenticate first.
    NoAuth,
    /// Persistence is failing and writes are refused.
    Misconf,
    /// A replica that lost its master and must not serve stale data.
    MasterDown,
    /// Fewer replicas than `min-replicas-to-write`.
    NoReplicas,
    /// EXEC of a transaction in which a command was refused when queued.
    ExecAbort,
    /// Any other, with its code, as `ERR something`.
    Text(Cow<'static, str>),
    /// The same, with bytes in it that came from outside and may be no text.
    Quoting(Vec<u8>),
}

impl ErrorReply {
    /// An error with the generic code: `ERR` and this text.
    pub fn err(text: impl fmt::Display) -> ErrorReply {
        ErrorReply::Text(Cow::Owned(format!("ERR {text}")))
    }

    /// An error that is always the same, code included.
    pub const fn fixed(text: &'static str) -> ErrorReply {
        ErrorReply::Text(Cow::Borrowed(text))
    }

    /// An error that shows bytes that came from outside, as they came: but of a C string nothing behind
    /// a NUL is ever seen.
    pub fn quoting(before: &str, quoted: &[u8], after: &str) -> ErrorReply {
        ErrorReply::Quoting([before.as_bytes(), c_str(quoted), after.as_bytes()].concat())
    }

    /// The bytes of the reply.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            ErrorReply::Quoting(bytes) => Cow::Borrowed(bytes),
            ErrorReply::Text(text) => Cow::Borrowed(text.as_bytes()),
            other => Cow::Owned(other.to_string().into_bytes()),
        }
    }

    /// The code: the first word of the text, as INFO's error statistics count it.
    pub fn code(&self) -> String {
        let text = self.to_string();
        text.split(' ').next().unwrap_or("ERR").to_owned()
    }
}

/// What C shows of bytes: all before the first NUL.
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
