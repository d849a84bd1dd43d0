//! Commands: what a row states, and what a command's function takes and returns.
//!
//! A command is a row and the function below it, in the file of its family. Dispatch, arity errors, COMMAND and its
//! subcommands, HELP, key extraction, statistics and docs/commands.md derive from the row.

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
    /// Which of its arguments are keys.
    pub keys: &'static [KeySpec],
    /// What happens to its keys, where other arguments decide it (`VARIABLE_FLAGS`).
    pub key_flags: Option<fn(&Args<'_>) -> u32>,
    /// Its arguments, as COMMAND DOCS and HELP describe them.
    pub arguments: &'static [Argument],
    /// What it does, in a sentence or two.
    pub summary: &'static str,
    /// Its time complexity: `O(…)`.
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
    /// The client waits; what for stands in [`Client::blocked`], and who wakes it writes the reply.
    Blocked,
    /// The client has become a replica: what follows the reply is prepared behind it.
    Attached,
    /// EXEC has written the header of its reply: the queue runs next.
    Transaction,
    /// The connection is closed when the reply has been written.
    Close,
    /// The world is asked; the reply is `+OK` or the error that it answers, unless `Node` knows better.
    Ask(Request),
}

/// The families of commands, as COMMAND DOCS names them.
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

/// Flags of a command; most are those that COMMAND INFO shows.
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
    // The rest is not shown.
    /// Runs within MULTI instead of being queued.
    pub const IN_MULTI: u64 = 1 << 40;
    /// Runs the commands that the client has queued: it needs what they need, and may do what they may.
    pub const RUNS_QUEUE: u64 = 1 << 41;
    /// May find expired keys that its arguments do not name: each removal is propagated by itself.
    pub const ARBITRARY_KEYS: u64 = 1 << 42;
    /// Runs when a master sends it, although it is an administrator's command.
    pub const FROM_MASTER: u64 = 1 << 43;
    /// Clients do not see its subcommands as commands: neither COMMAND nor statistics list them.
    pub const PRIVATE_SUBCOMMANDS: u64 = 1 << 44;
}

/// ACL categories, for those that do not follow from flags and group.
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

/// On whose behalf a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client's.
    Client,
    /// A client's, as part of EXEC.
    Exec,
    /// Our master's: its stream of effects.
    Master,
}

/// What a handler works on.
pub struct Ctx<'a> {
    /// The node, whole.
    pub node: &'a mut Node,
    /// Whose command it is.
    pub client: Handle,
    /// The database that the client has selected.
    pub db: u32,
    /// On whose behalf.
    pub caller: Caller,
    /// The row.
    pub command: &'static Command,
}

impl Ctx<'_> {
    /// The client that called. Its outbox is in the [`Reply`] meanwhile.
    pub fn me(&mut self) -> &mut Client {
        self.node.clients.get_mut(self.client).expect("a client exists while its command runs")
    }

    /// Reads a string: expiry, statistics and access clock as a read does. WRONGTYPE for another type.
    #[inline]
    pub fn string<'s>(&'s mut self, key: Key<'_>) -> Result<Option<Text<'s>>, ErrorReply> {
        match self.node.keyspace.read(self.db, key) {
            None => Ok(None),
            Some(entry) => Ok(Some(Text::of(&entry))),
        }
    }

    /// The door to a key whose old value does not matter: one that is past its time ends first, as if met.
    #[inline]
    pub fn overwrite<'s>(&'s mut self, key: Key<'s>) -> Edit<'s> {
        self.node.keyspace.meet(self.db, key);
        self.edit(key)
    }

    /// The door to a key, to change it; who has not looked at it yet lets it be met first.
    #[inline]
    pub fn edit<'s>(&'s mut self, key: Key<'s>) -> Edit<'s> {
        self.node.keyspace.edit(self.db, key)
    }

    /// Wall clock of this turn in milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.node.keyspace.now_ms
    }

    /// Replicates this instead of the command as it was given; may be called several times.
    pub fn effect(&mut self, args: &[&[u8]]) {
        let db = self.db;
        self.node.tell_expired();
        self.node.effects.push(db, args);
    }

    /// Replicates nothing, though the command changed something.
    pub fn no_effect(&mut self) {
        self.node.effects.suppress();
    }
}
