//! Commands: the fields of a row, and the arguments and results of a command's function.
//!
//! A command is a row and the function below it, in the file of its family. Dispatch, arity errors,
//! COMMAND and its subcommands, HELP, key extraction, statistics and docs/commands.md are derived
//! from the row.

pub mod args;
pub mod argument;
mod bitmap;
pub mod catalogue;
pub mod client;
mod cluster;
pub mod config;
pub mod connection;
pub mod debug;
pub mod describe;
pub mod expiration;
mod failover;
pub mod families;
pub mod flag;
pub mod geo;
pub mod hash;
pub mod help;
mod hyperloglog;
pub mod introspect;
pub mod keys;
pub mod keyspec;
pub mod list;
pub mod memory;
pub mod monitor;
pub mod pubsub;
pub mod replication;
pub mod reply;
mod sample;
pub mod scan;
pub mod sentinel;
pub mod server;
pub mod set;
pub mod slowlog;
pub mod stream;
pub mod string;
pub mod table;
pub mod transaction;
pub mod zset;

use std::ops::Range;

use russet_ds::{EntryRef, OutOfMemory};
use russet_protocol::ErrorReply;

use crate::blocking::Awaits;
pub use crate::call::{Call, Caller};
use crate::clients::{Client, Waiting};
use crate::config::Config;
use crate::config::value::ProtectedAction;
use crate::core::Core;
use crate::ids::Handle;
use crate::io::Request;
use crate::journal::Journal;
use crate::keyspace::{Change, Edit, EventKind, Key, Keyspace, Wanted};
use crate::parts::Parts;
use crate::persist::fill::StreamPosition;
use crate::rdb::format::STRING_BYTES_MAX;
use crate::transaction::{Queued, Transaction};
use crate::types::string::Text;
use crate::types::{BuildContext, Editable, Object, Type};
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
    /// Its group in COMMAND DOCS.
    pub group: Group,
    /// Number of arguments, the name included. Negative: at least that many.
    pub arity: i32,
    /// What it does and when it may run: bits of [`flag`].
    pub flags: u64,
    /// ACL categories except those implied by the flags: bits of [`acl`].
    pub acl: u64,
    /// Its key specs: which of its arguments are keys.
    pub keys: &'static [KeySpec],
    /// Returns the access to its keys if it depends on other arguments (`VARIABLE_FLAGS`): bits of
    /// [`keyspec::key_flag`].
    pub key_flags: Option<fn(&Args<'_>) -> u32>,
    /// Returns the indexes of its keys if the specs cannot find them.
    pub find_keys: Option<fn(&Args<'_>) -> Range<usize>>,
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
    /// Tells whether the argument at an index is a secret, which the slow log does not keep.
    pub secrets: Option<fn(&Args<'_>, usize) -> bool>,
    /// Its function.
    pub run: Handler,
}

impl Command {
    /// The base of all rows, with the defaults.
    pub const ROW: Command = Command {
        name: "",
        since: "",
        group: Group::Generic,
        arity: 0,
        flags: 0,
        acl: 0,
        keys: &[],
        key_flags: None,
        find_keys: None,
        arguments: &[],
        summary: "",
        complexity: "O(1)",
        subcommands: &[],
        protection: None,
        secrets: None,
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

/// The result of a command.
pub type Outcome = Result<Flow, ErrorReply>;

/// The result of a command that was not refused.
#[derive(Debug)]
pub enum Flow {
    /// The reply is written.
    Done,
    /// The client is blocked ([`Client::blocked`]). The reply is written when it is unblocked.
    Blocked,
    /// The client waits for keys. The command runs again when they have changed.
    Waits,
    /// The client has become a replica. Its synchronization starts after the reply.
    Attached,
    /// EXEC has written the header of its reply. The queued commands run next.
    Transaction,
    /// The connection is closed once the reply is sent.
    Close,
    /// A request for the driver. The reply is `+OK` or the driver's error, unless `Node` overrides it.
    Request(Request),
}

/// The groups of commands in COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are self-explanatory")]
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

/// The context of a command: its call, the data, the journal, and the parts of the node.
pub struct Ctx<'a> {
    /// The caller and the selected database.
    pub call: &'a mut Call,
    /// The row.
    pub command: &'static Command,
    /// All rows.
    pub commands: &'a CommandTable,
    /// Settings, time, random numbers, counters, the log.
    pub core: &'a mut Core,
    /// The keys.
    pub data: &'a mut Keyspace,
    /// The effects.
    pub journal: &'a mut Journal,
    /// All other parts.
    pub parts: &'a mut Parts,
}

impl Ctx<'_> {
    /// Returns the calling connection.
    pub fn session(&self) -> Result<Handle, ErrorReply> {
        self.call.session.ok_or(NO_SESSION)
    }

    /// Returns the calling client. Its outbox is in the [`Reply`] meanwhile.
    pub fn client(&mut self) -> Result<&mut Client, ErrorReply> {
        let handle = self.session()?;
        self.parts.clients.get_mut(handle).ok_or(NO_SESSION)
    }

    /// Returns the transaction of the caller: a client, or the master's stream.
    pub fn transaction(&mut self) -> Result<&mut Transaction, ErrorReply> {
        if self.call.caller == Caller::Master {
            return self.parts.following.transaction_mut().ok_or(NO_SESSION);
        }
        Ok(&mut self.client()?.transaction)
    }

    /// Ends a command without a reply. Within EXEC it replies OK, since a client would wait for
    /// missing elements of EXEC's reply.
    pub fn no_reply(&self, reply: &mut Reply<'_>) -> Outcome {
        if self.call.caller == Caller::Exec {
            reply.ok();
        }
        Ok(Flow::Done)
    }

    /// Blocks the calling client.
    pub fn block(&mut self, waiting: Waiting, deadline_us: Option<u64>) -> Outcome {
        let handle = self.session()?;
        self.parts.clients.block(self.core, handle, waiting, deadline_us);
        Ok(Flow::Blocked)
    }

    /// Blocks the calling client until one of its keys has changed, when the command runs again. Within EXEC, and for a master's
    /// stream, nothing waits: returns false.
    pub(in crate::command) fn waits(
        &mut self,
        args: &Args<'_>,
        awaits: Awaits,
    ) -> Result<bool, ErrorReply> {
        if self.call.caller != Caller::Client {
            return Ok(false);
        }
        let request = Queued::new(self.commands.id_of(self.command), args.to_owned_parts());
        self.waits_with(args, request, awaits)
    }

    /// The same with another request to run again.
    pub(in crate::command) fn waits_with(
        &mut self,
        args: &Args<'_>,
        request: Queued,
        awaits: Awaits,
    ) -> Result<bool, ErrorReply> {
        if self.call.caller != Caller::Client {
            return Ok(false);
        }
        let (handle, db) = (self.session()?, self.call.db);
        let keys = awaits.keys.clone().filter_map(|index| args.get(index)).map(Into::into);
        let request = (request, keys.collect());
        let Parts { blocking, clients, .. } = &mut *self.parts;
        let deadline_us = blocking.wait(self.data, handle, db, request, awaits);
        clients.block(self.core, handle, Waiting::Keys, deadline_us);
        Ok(true)
    }

    /// The same until one of these keys has this type. Where nothing waits, the reply is no array.
    pub(in crate::command) fn wait_for_type(
        &mut self,
        args: &Args<'_>,
        reply: &mut Reply<'_>,
        keys: Range<usize>,
        wanted: &Type,
        deadline_us: Option<u64>,
    ) -> Outcome {
        let wanted = Wanted { number: wanted.number, or_gone: false };
        if self.waits(args, Awaits { keys, wanted, deadline_us })? {
            return Ok(Flow::Waits);
        }
        reply.null_array();
        Ok(Flow::Done)
    }

    /// Reads a string. See [`Ctx::read_as`].
    #[inline]
    pub fn string<'s>(&'s mut self, key: Key<'_>) -> Result<Option<Text<'s>>, ErrorReply> {
        self.read_as(key, Text::of)
    }

    /// Reads a value of a type: hides an expired key, counts a hit or a miss, updates the access time. `of` returns none if a
    /// value has another type.
    #[inline]
    pub fn read_as<'s, V>(
        &'s mut self,
        key: Key<'_>,
        of: impl FnOnce(&EntryRef<'s, Object>) -> Option<V>,
    ) -> Result<Option<V>, ErrorReply> {
        let entry = self.data.read(self.call.db, key);
        entry.map(|entry| of(&entry).ok_or(ErrorReply::WrongType)).transpose()
    }

    /// Looks at a value of a type that the command is going to change: no hit, no miss.
    pub fn peek_as<'s, V>(
        &'s mut self,
        key: Key<'_>,
        of: impl FnOnce(&EntryRef<'s, Object>) -> Option<V>,
    ) -> Result<Option<V>, ErrorReply> {
        let entry = self.data.peek(self.call.db, key);
        entry.map(|entry| of(&entry).ok_or(ErrorReply::WrongType)).transpose()
    }

    /// Opens the write guard of a key that was not read before: an expired one is removed first.
    #[inline]
    pub fn overwrite<'s>(&'s mut self, key: Key<'s>) -> Edit<'s> {
        self.data.expire_if_needed(self.call.db, key);
        self.edit(key)
    }

    /// Opens the write guard of a key that was read before, and so is not expired.
    #[inline]
    pub fn edit<'s>(&'s mut self, key: Key<'s>) -> Edit<'s> {
        self.data.edit(self.call.db, key)
    }

    /// Lends the collection of a key to `change` and stores the result: a missing or expired one is
    /// created, an empty one removed. See [`Edit::change`].
    pub fn change<C: Editable, R>(
        &mut self,
        key: Key<'_>,
        change: impl FnOnce(&mut C::Mut<'_>) -> Change<R>,
    ) -> Result<R, ErrorReply> {
        let db = self.call.db;
        self.data.expire_if_needed(db, key);
        let context = BuildContext { config: &self.core.config, seed: self.data.hasher().seed() };
        let edit = self.data.edit(db, key);
        edit.change::<C, R>(&context, change).ok_or(ErrorReply::WrongType)
    }

    /// Lends the bytes of a string to `change`, which returns a result and how many changes that was. Zero bytes are
    /// added up to a length of `len`. See [`Edit::change_bytes`]; the caller has seen that the value has no other type.
    pub fn change_bytes<R>(
        &mut self,
        key: Key<'_>,
        len: usize,
        event: impl Into<Option<EventKind>>,
        change: impl FnOnce(&mut [u8]) -> (R, u64),
    ) -> Result<R, ErrorReply> {
        let changed = self.edit(key).change_bytes(len, event, change);
        changed.map_err(|OutOfMemory| ErrorReply::StringTooLong)
    }

    /// Reads the values of several keys: hides expired keys, counts hits and misses, updates access times. Fails if one has
    /// another type, whatever the others are.
    pub(in crate::command) fn read_all_as<'s, V>(
        &'s mut self,
        args: &Args<'_>,
        keys: Range<usize>,
        of: impl Fn(&EntryRef<'s, Object>) -> Option<V>,
    ) -> Result<Vec<Option<V>>, ErrorReply>
    where
        V: 's,
    {
        let mut are_there = Vec::with_capacity(keys.len());
        for at in keys.clone() {
            let entry = self.data.read(self.call.db, args.key(at));
            are_there.push(entry.is_some());
        }
        // An expired key may still be there, on a replica.
        let db = self.data.db(self.call.db);
        let seen = keys.zip(are_there);
        seen.map(|(at, is_there)| {
            let entry = db.get(args.key(at)).filter(|_| is_there);
            entry.map(|entry| of(&entry).ok_or(ErrorReply::WrongType)).transpose()
        })
        .collect()
    }

    /// Reads a key without updating its access time and those of keys that the command reads later.
    /// It counts as a hit or a miss.
    pub(in crate::command) fn read_without_touch(
        &mut self,
        key: Key<'_>,
    ) -> Option<EntryRef<'_, Object>> {
        // Dispatch sets this for each command.
        self.data.no_touch = true;
        self.data.read(self.call.db, key)
    }

    /// Reads a key for OBJECT: like above, but a miss is not an event.
    pub(in crate::command) fn inspect(&mut self, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        self.data.no_touch = true;
        self.data.inspect(self.call.db, key)
    }

    /// Whether a key with this expiration time is deleted immediately. A replica leaves that to its
    /// master.
    pub(in crate::command) fn is_expired(&self, at_ms: i64) -> bool {
        at_ms <= self.now_ms() && self.call.caller != Caller::Master && !self.core.is_replica
    }

    /// Returns the maximum length of a string that this call may create. The limit of clients does not
    /// bind a replica: it must accept what its master did.
    pub(in crate::command) fn string_bytes_max(&self) -> u64 {
        match self.call.caller {
            Caller::Master => STRING_BYTES_MAX,
            Caller::Client | Caller::Exec => self.core.config.proto_max_bulk_len,
        }
    }

    /// Returns the name of the command that propagates the deletion of an expired key.
    pub(in crate::command) fn delete_command(&self) -> &'static [u8] {
        crate::expiry::delete_command(self.core)
    }

    /// Returns the wall clock of this turn in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.data.now_ms
    }

    /// Propagates this in place of the command; may be called several times.
    pub fn effect(&mut self, args: &[&[u8]]) {
        crate::expiry::propagate(self.core, self.data, self.journal);
        self.journal.add_override(self.call.db, args);
    }

    /// Propagates nothing, although the command changed something.
    pub fn no_effect(&mut self) {
        self.journal.suppress();
    }

    /// Returns the replication position of the data, for a dump file; none within an EXEC.
    pub fn stream_position(&self) -> Option<StreamPosition> {
        let is_level = self.journal.is_empty() && self.call.caller != Caller::Exec;
        let upstream_db = self.parts.following.upstream_db();
        is_level.then(|| self.parts.master.stream.position(upstream_db)).flatten()
    }
}

/// The largest gap that a command fills with zero bytes, whatever the configuration allows. A gap costs the client
/// nothing, so it must not allocate without limit.
const STRING_GAP_MAX: u64 = 1 << 32;

/// The error of a command that needs a connection and has none.
const NO_SESSION: ErrorReply = ErrorReply::fixed("ERR This command needs a connection");
