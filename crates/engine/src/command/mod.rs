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
pub mod expiration;
pub mod families;
pub mod flag;
pub mod hash;
pub mod help;
pub mod introspect;
pub mod keys;
pub mod keyspec;
pub mod memory;
pub mod pubsub;
pub mod replication;
pub mod reply;
pub mod scan;
pub mod server;
pub mod string;
pub mod table;
pub mod transaction;

use russet_ds::EntryRef;
use russet_protocol::ErrorReply;

pub use crate::call::{Call, Caller};
use crate::clients::{Client, Waiting};
use crate::config::Config;
use crate::config::value::ProtectedAction;
use crate::core::Core;
use crate::ids::Handle;
use crate::io::Request;
use crate::journal::Journal;
use crate::keyspace::{Change, Edit, Key, Keyspace};
use crate::parts::Parts;
use crate::persist::fill::StreamPosition;
use crate::transaction::Transaction;
use crate::types::string::Text;
use crate::types::{Editable, Making, Object};
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
    /// The client has become a replica. Its synchronization starts after the reply.
    Attached,
    /// EXEC has written the header of its reply. The queued commands run next.
    Transaction,
    /// The connection is closed once the reply is sent.
    Close,
    /// The world is requested to do this; the reply is `+OK` or the error that it answers, unless `Node` knows better.
    Request(Request),
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

/// What a command's function works on: its call, the data, the journal, and the parts of the node for those commands that
/// are about them.
pub struct Ctx<'a> {
    /// On whose behalf it runs, and in which database.
    pub call: &'a mut Call,
    /// The row.
    pub command: &'static Command,
    /// All rows.
    pub commands: &'a CommandTable,
    /// Settings, time, chance, counters, the log.
    pub core: &'a mut Core,
    /// The keys.
    pub data: &'a mut Keyspace,
    /// Where effects are gathered.
    pub journal: &'a mut Journal,
    /// Everything else.
    pub parts: &'a mut Parts,
}

impl Ctx<'_> {
    /// The connection that called.
    pub fn session(&self) -> Result<Handle, ErrorReply> {
        self.call.session.ok_or(NO_SESSION)
    }

    /// The client that called. Its outbox is in the [`Reply`] meanwhile.
    pub fn client(&mut self) -> Result<&mut Client, ErrorReply> {
        let handle = self.session()?;
        self.parts.clients.get_mut(handle).ok_or(NO_SESSION)
    }

    /// The transaction of whoever called: a client's, or that of our master's stream.
    pub fn transaction(&mut self) -> Result<&mut Transaction, ErrorReply> {
        if self.call.caller == Caller::Master {
            return self.parts.following.transaction_mut().ok_or(NO_SESSION);
        }
        Ok(&mut self.client()?.transaction)
    }

    /// Ends a command that has no reply. Within EXEC it replies OK: a client that got fewer elements
    /// than EXEC's reply announces would wait for them forever.
    pub fn no_reply(&self, reply: &mut Reply<'_>) -> Outcome {
        if self.call.caller == Caller::Exec {
            reply.ok();
        }
        Ok(Flow::Done)
    }

    /// Makes the client that called wait.
    pub fn block(&mut self, waiting: Waiting, deadline_us: Option<u64>) -> Outcome {
        let handle = self.session()?;
        self.parts.clients.block(self.core, handle, waiting, deadline_us);
        Ok(Flow::Blocked)
    }

    /// Reads a string: hides an expired key, counts a hit or a miss, updates the access time.
    #[inline]
    pub fn string<'s>(&'s mut self, key: Key<'_>) -> Result<Option<Text<'s>>, ErrorReply> {
        let entry = self.data.read(self.call.db, key);
        entry.map(|entry| Text::of(&entry).ok_or(ErrorReply::WrongType)).transpose()
    }

    /// The write guard of a key whose old value does not matter: one that has reached its expiry is removed first.
    #[inline]
    pub fn overwrite<'s>(&'s mut self, key: Key<'s>) -> Edit<'s> {
        self.data.expire_if_needed(self.call.db, key);
        self.edit(key)
    }

    /// The write guard of a key; whoever has not read it yet expires it first if need be.
    #[inline]
    pub fn edit<'s>(&'s mut self, key: Key<'s>) -> Edit<'s> {
        self.data.edit(self.call.db, key)
    }

    /// Lends the collection of a key to `change`, and keeps what becomes of it: one that is missing or has reached its expiry
    /// is made, one that has become empty is removed. See [`Edit::change`].
    pub fn change<C: Editable, R>(
        &mut self,
        key: Key<'_>,
        change: impl FnOnce(&mut C::Mut<'_>) -> Change<R>,
    ) -> Result<R, ErrorReply> {
        let db = self.call.db;
        self.data.expire_if_needed(db, key);
        let making = Making { config: &self.core.config, seed: self.data.hasher().seed() };
        let edit = self.data.edit(db, key);
        edit.change::<C, R>(&making, change).ok_or(ErrorReply::WrongType)
    }

    /// Reads a key without updating its access time, nor those of the keys that the command reads
    /// after it. It counts as a hit or a miss.
    pub(in crate::command) fn glance(&mut self, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        // Dispatch sets this for each command.
        self.data.no_touch = true;
        self.data.read(self.call.db, key)
    }

    /// Does the same for OBJECT, which emits no event for a miss.
    pub(in crate::command) fn inspect(&mut self, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        self.data.no_touch = true;
        self.data.inspect(self.call.db, key)
    }

    /// Whether a key with this expiration time is removed at once. A replica leaves that to its
    /// master.
    pub(in crate::command) fn is_expired(&self, at_ms: i64) -> bool {
        at_ms <= self.now_ms() && self.call.caller != Caller::Master && !self.core.is_replica
    }

    /// The command that propagates the removal of an expired key.
    pub(in crate::command) fn delete_command(&self) -> &'static [u8] {
        crate::expiry::delete_command(self.core)
    }

    /// Returns the wall clock of this turn in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.data.now_ms
    }

    /// Propagates this instead of the command as it was given; may be called several times.
    pub fn effect(&mut self, args: &[&[u8]]) {
        crate::expiry::propagate(self.core, self.data, self.journal);
        self.journal.add_override(self.call.db, args);
    }

    /// Propagates nothing, though the command changed something.
    pub fn no_effect(&mut self) {
        self.journal.suppress();
    }

    /// Where the data stands in the replication stream, for a dump file; none in the middle of an EXEC.
    pub fn stream_position(&self) -> Option<StreamPosition> {
        let is_level = self.journal.is_empty() && self.call.caller != Caller::Exec;
        let upstream_db = self.parts.following.upstream_db();
        is_level.then(|| self.parts.master.stream.position(upstream_db)).flatten()
    }
}

/// The error of a command that is about its connection and has none.
const NO_SESSION: ErrorReply = ErrorReply::fixed("ERR This command needs a connection");
