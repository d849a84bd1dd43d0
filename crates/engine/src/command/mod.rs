//! Commands: what a row states, and what a command's function takes and returns.
//!
//! A command is a row and the function below it, in the file of its family. Dispatch, arity errors,
//! COMMAND and its subcommands, HELP, key extraction, statistics and docs/commands.md derive from
//! the row.

pub mod args;
pub mod argument;
pub mod catalogue;
pub mod client;
pub mod config;
pub mod connection;
pub mod debug;
pub mod describe;
pub mod help;
pub mod introspect;
pub mod keys;
pub mod keyspec;
pub mod replication;
pub mod reply;
pub mod server;
pub mod string;
pub mod table;
pub mod transaction;

use russet_protocol::ErrorReply;

use crate::client::Client;
use crate::config::Config;
use crate::config::value::ProtectedAction;
use crate::io::{Handle, Request};
use crate::keyspace::{Edit, Key};
use crate::node::Node;
use crate::types::string::Text;
pub use args::Args;
pub use argument::Argument;
pub use keyspec::KeySpec;
pub use reply::Reply;
pub use table::CommandTable;

/// A command, or a subcommand of one.
#[derive(Debug)]
pub struct Command {
    /// In lower case. The name of a subcommand begins with its container's: `config|get`.
    pub name: &'static str,
    /// The version of Redis that introduced it.
    pub since: &'static str,
    /// The family that COMMAND DOCS puts it in.
    pub group: Group,
    /// Number of arguments, the name included. Negative: at least that many.
    pub arity: i32,
    /// What it does and when it may run: bits of [`flag`].
    pub flags: u64,
    /// ACL categories beside those that follow from the flags: bits of [`acl`].
    pub acl: u64,
    /// Its key specs: which of its arguments are keys.
    pub keys: &'static [KeySpec],
    /// What happens to its keys, if other arguments decide that (`VARIABLE_FLAGS`): bits of
    /// [`keyspec::key_flag`].
    pub key_flags: Option<fn(&Args<'_>) -> u32>,
    /// Its arguments, as COMMAND DOCS and HELP describe them.
    pub arguments: &'static [Argument],
    /// What it does, in a sentence or two.
    pub summary: &'static str,
    /// Its time complexity.
    pub complexity: &'static str,
    /// Its subcommands: the argument after its name picks one.
    pub subcommands: &'static [Command],
    /// The directive that must allow it, if it is not allowed by default.
    pub protection: Option<Protection>,
    /// Its function.
    pub run: Handler,
}

impl Command {
    /// The base of all rows: it states what is true of most commands.
    pub const ROW: Command = Command {
        name: "",
        since: "",
        group: Group::Generic,
        arity: 0,
        flags: 0,
        acl: 0,
        keys: &[],
        key_flags: None,
        arguments: &[],
        summary: "",
        complexity: "O(1)",
        subcommands: &[],
        protection: None,
        run: help::container,
    };
}

/// The directive that allows a protected command, and where its value is.
#[derive(Clone, Copy, Debug)]
pub struct Protection {
    /// The name of the directive.
    pub directive: &'static str,
    /// Its value.
    pub allowed: fn(&Config) -> ProtectedAction,
}

/// A command's function.
pub type Handler = fn(&mut Ctx<'_>, &Args<'_>, &mut Reply<'_>) -> Outcome;

/// How a command ends.
pub type Outcome = Result<Flow, ErrorReply>;

/// How a command that was not refused ends.
#[derive(Debug)]
pub enum Flow {
    /// The reply is written.
    Done,
    /// The client is blocked ([`Client::blocked`]). Whatever unblocks it writes the reply.
    Blocked,
    /// The client has become a replica. Its synchronisation starts behind the reply.
    Attached,
    /// EXEC has written the header of its reply. The queued commands run next.
    Transaction,
    /// The connection is closed once the reply is sent.
    Close,
    /// The driver is asked to do something. The reply is `+OK` or an error, according to its
    /// answer.
    Ask(Request),
}

/// The groups of commands in COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Pubsub,
    Transactions,
    Connection,
    Server,
    Scripting,
    Hyperloglog,
    Cluster,
    Sentinel,
    Geo,
    Stream,
    Bitmap,
}

/// Flags of commands, most of which COMMAND INFO shows.
#[expect(missing_docs, reason = "the names are Redis' and explained in its documentation")]
pub mod flag {
    pub const WRITE: u64 = 1 << 0;
    pub const READONLY: u64 = 1 << 1;
    pub const DENYOOM: u64 = 1 << 2;
    pub const ADMIN: u64 = 1 << 3;
    pub const PUBSUB: u64 = 1 << 4;
    pub const NOSCRIPT: u64 = 1 << 5;
    pub const BLOCKING: u64 = 1 << 6;
    pub const LOADING: u64 = 1 << 7;
    pub const STALE: u64 = 1 << 8;
    pub const SKIP_MONITOR: u64 = 1 << 9;
    pub const SKIP_SLOWLOG: u64 = 1 << 10;
    pub const ASKING: u64 = 1 << 11;
    pub const FAST: u64 = 1 << 12;
    pub const NO_AUTH: u64 = 1 << 13;
    pub const MAY_REPLICATE: u64 = 1 << 14;
    pub const NO_ASYNC_LOADING: u64 = 1 << 15;
    pub const NO_MULTI: u64 = 1 << 16;
    pub const MOVABLEKEYS: u64 = 1 << 17;
    pub const ALLOW_BUSY: u64 = 1 << 18;
    // COMMAND INFO does not show the following.

    /// Runs within MULTI instead of being queued.
    pub const IN_MULTI: u64 = 1 << 40;
    /// Runs the queued commands of a transaction: it needs the permissions that they need.
    pub const RUNS_QUEUE: u64 = 1 << 41;
    /// May find expired keys that it was not given. The removal of each is propagated by itself.
    pub const ARBITRARY_KEYS: u64 = 1 << 42;
    /// Runs when our master sends it, though it has the flag `ADMIN`.
    pub const FROM_MASTER: u64 = 1 << 43;
    /// Its subcommands are not commands to clients: neither COMMAND nor INFO commandstats lists
    /// them.
    pub const PRIVATE_SUBCOMMANDS: u64 = 1 << 44;
}

/// ACL categories.
#[expect(missing_docs, reason = "the names are Redis' own")]
pub mod acl {
    pub const KEYSPACE: u64 = 1 << 0;
    pub const DANGEROUS: u64 = 1 << 1;
    pub const CONNECTION: u64 = 1 << 2;
    pub const TRANSACTION: u64 = 1 << 3;
    pub const STRING: u64 = 1 << 4;
    pub const ADMIN: u64 = 1 << 5;
    pub const READ: u64 = 1 << 6;
    pub const WRITE: u64 = 1 << 7;
    pub const SET: u64 = 1 << 8;
    pub const SORTEDSET: u64 = 1 << 9;
    pub const LIST: u64 = 1 << 10;
    pub const HASH: u64 = 1 << 11;
    pub const BITMAP: u64 = 1 << 12;
    pub const HYPERLOGLOG: u64 = 1 << 13;
    pub const GEO: u64 = 1 << 14;
    pub const STREAM: u64 = 1 << 15;
    pub const PUBSUB: u64 = 1 << 16;
    pub const FAST: u64 = 1 << 17;
    pub const SLOW: u64 = 1 << 18;
    pub const BLOCKING: u64 = 1 << 19;
    pub const SCRIPTING: u64 = 1 << 20;
}

/// Who runs a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client.
    Client,
    /// A client, within EXEC.
    Exec,
    /// Our master, by its replication stream.
    Master,
}

/// What the function of a command works on.
pub struct Ctx<'a> {
    /// The node.
    pub node: &'a mut Node,
    /// The client that sent the command.
    pub client: Handle,
    /// The database that the client has selected.
    pub db: u32,
    /// Who runs it.
    pub caller: Caller,
    /// The row of the command.
    pub command: &'static Command,
}

impl Ctx<'_> {
    /// Returns the client that sent the command. Its outbox is in the [`Reply`] meanwhile.
    pub fn me(&mut self) -> &mut Client {
        self.node.clients.get_mut(self.client).expect("a client exists while its command runs")
    }

    /// Reads a string: hides an expired key, counts a hit or a miss, updates the access time.
    #[inline]
    pub fn string<'s>(&'s mut self, key: Key<'_>) -> Result<Option<Text<'s>>, ErrorReply> {
        match self.node.keyspace.read(self.db, key) {
            None => Ok(None),
            Some(entry) => Ok(Some(Text::of(&entry))),
        }
    }

    /// Opens a key for writing, after removing it if it has expired: for commands that do not read
    /// it first.
    #[inline]
    pub fn overwrite<'s>(&'s mut self, key: Key<'s>) -> Edit<'s> {
        self.node.keyspace.expire_if_needed(self.db, key);
        self.edit(key)
    }

    /// Opens a key for writing. The caller has read it before, so that an expired one is gone.
    #[inline]
    pub fn edit<'s>(&'s mut self, key: Key<'s>) -> Edit<'s> {
        self.node.keyspace.edit(self.db, key)
    }

    /// Returns the wall clock of this turn in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.node.keyspace.now_ms
    }

    /// Propagates this command instead of the one that runs. May be called several times.
    pub fn effect(&mut self, args: &[&[u8]]) {
        let db = self.db;
        self.node.tell_expired();
        self.node.effects.push(db, args);
    }

    /// Propagates nothing, though the command changed something.
    pub fn no_effect(&mut self) {
        self.node.effects.suppress();
    }
}
