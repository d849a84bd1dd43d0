//! Serving ready clients: the hot path.
//!
//! Commands of many clients run in *batches*. Each batch is parsed, then hashed, then prefetched
//! in stages, then executed:
//!
//! ```text
//!   client A  GET a │ GET b │ SET c        batch of up to 32 commands
//!   client B  SET d                  ──▶   ┌───┬───┬───┬───┐
//!   client C  GET e │ GET f                │ a │ b │ c │ d │ …
//!                                          └───┴───┴───┴───┘
//!   stage 0   segments ←  all of them        one memory access each, overlapping,
//!   stage 1   buckets  ←  all of them        instead of three in a row for each command
//!   stage 2   entries  ←  all of them
//!   execute in order
//! ```
//!
//! A client has a quota, which may span several batches, and then goes to the end of the queue. A
//! turn ends after a maximum number of commands or time, and the rest is served in the next one.

use russet_protocol::{ArgRange, ErrorReply, Parsed, RequestParser};

use super::Node;
use crate::clients::{Client, Large, LinkOwner, Role};
use crate::command::args::slice;
use crate::command::{Args, Command, CommandTable};
use crate::ids::Handle;
use crate::io::Host;
use crate::keyspace::KeyHasher;
use crate::parts::Parts;
use crate::repl::following::Rest;

/// Commands in a batch.
const BATCH: usize = 32;

/// Commands of one client before the next one is served. A pipeline is usually answered with a
/// single write: with quotas of 8 a pipeline of 100 took five.
const QUOTA: usize = 256;

/// Maximum number of commands in a turn.
const TURN_COMMANDS: usize = 4096;

/// Microseconds after which a turn executes no further commands and loads no further slices.
pub(super) const TURN_US: u64 = 250;

/// Arguments executed between two readings of the clock within a batch: a command with many takes
/// long.
const ARGS_UNTIMED: usize = 24;

/// Maximum number of empty requests (blank lines) of a client in a batch: each costs a parse.
const EMPTY_MAX: usize = 256;

/// Scratch space for more arguments is freed after use.
const SPARE_ARGS_MAX: usize = 16 * 1024;

/// A table of more arguments is not copied.
const LONG_ARGS: usize = 1024;

/// A parsed request in the batch.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// Index of its source.
    source: usize,
    /// Its range in the client's buffer.
    start: usize,
    len: usize,
    first_arg: usize,
    argc: usize,
    command: Option<&'static Command>,
    /// Index of the first key, its hash; index 0 if there is no key.
    key: (usize, u64),
    db: u32,
    inline: bool,
    /// Whether empty requests follow, which count as part of it.
    then_empty: bool,
}

/// A client with requests in the batch.
#[derive(Debug)]
struct Source {
    handle: Handle,
    /// The client's query buffer, taken while its commands run.
    bytes: Vec<u8>,
    /// Unquoted bytes of inline requests in this batch.
    inline: Vec<u8>,
    /// The long arguments of its first request.
    large: Large,
    /// Its first request begins here.
    begin: usize,
    /// Bytes before this offset are consumed.
    done: usize,
    /// Whether the client executes no more commands of this batch.
    is_stopped: bool,
    /// Whether its buffer has more parsable bytes.
    has_more: bool,
}

/// Scratch space of a turn, kept between turns.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pending: Vec<Pending>,
    args: Vec<ArgRange>,
    sources: Vec<Source>,
    /// The current client and the rest of its quota.
    served: Option<Handle>,
    quota: usize,
}

impl Batch {
    /// Leaves the requests from `index` on to a later turn.
    fn stop(&mut self, index: usize) {
        for pending in &self.pending[index..] {
            self.sources[pending.source].is_stopped = true;
        }
    }

    /// Takes a long table of arguments, to which the others are appended: it is not copied.
    #[cold]
    fn take_long_args(&mut self, mut long: Vec<ArgRange>, base: usize) {
        for range in long.iter_mut().filter(|_| base > 0) {
            *range = range.moved_by(base);
        }
        self.pending.iter_mut().for_each(|pending| pending.first_arg += long.len());
        long.append(&mut self.args);
        self.args = long;
    }

    /// Adds the request parsed at `at` in the bytes of the current source.
    fn push(
        &mut self,
        source: &mut Source,
        parser: &mut RequestParser,
        at: usize,
        len: usize,
        db: u32,
    ) {
        let first_arg = self.args.len();
        let inline = parser.inline_bytes();
        let is_inline = inline.is_some();
        // Origin of the arguments' offsets.
        let base = inline.map_or(at, |_| source.inline.len());
        source.inline.extend_from_slice(inline.unwrap_or_default());
        let argc = parser.args().len();
        if argc > LONG_ARGS {
            self.take_long_args(parser.take_args(), base);
        } else {
            let args = parser.args().iter();
            self.args.extend(args.map(|range| range.moved_by(base)));
        }
        let first_arg = if argc > LONG_ARGS { 0 } else { first_arg };
        self.pending.push(Pending {
            // The source is added when it is complete.
            source: self.sources.len(),
            start: at,
            len,
            first_arg,
            argc,
            command: None,
            key: (0, 0),
            db,
            inline: is_inline,
            then_empty: false,
        });
    }
}

impl Node {
    /// Serves ready clients until none is left or the turn is used up.
    pub(super) fn serve(&mut self, host: &mut dyn Host, began_us: u64) {
        let mut executed = 0;
        while executed < TURN_COMMANDS
            && !self.parts.busy.holds_all()
            && self.parts.clients.ready_len() > 0
        {
            let mut batch = std::mem::take(&mut self.batch);
            self.gather(&mut batch);
            self.prefetch(&batch);
            executed += batch.pending.len();
            self.core.stats.tick(host.ticks_us());
            let mut timed_args = 0;
            for index in 0..batch.pending.len() {
                let args = batch.pending[index].first_arg;
                if args - timed_args >= ARGS_UNTIMED {
                    timed_args = args;
                    if host.ticks_us().saturating_sub(began_us) >= TURN_US {
                        batch.stop(index);
                        break;
                    }
                }
                self.run_pending(&mut batch, index, host);
            }
            self.put_back(&mut batch);
            self.batch = batch;
            if host.ticks_us().saturating_sub(began_us) >= TURN_US {
                break;
            }
        }
    }

    /// Fills the batch from the queue of ready clients. A client with more requests than fit is
    /// also first in the next batch, until its quota is used up.
    fn gather(&mut self, batch: &mut Batch) {
        batch.pending.clear();
        batch.args.clear();
        while batch.pending.len() < BATCH {
            let Some(handle) = self.parts.clients.take_ready() else { break };
            if batch.served != Some(handle) || batch.quota == 0 {
                (batch.served, batch.quota) = (Some(handle), QUOTA);
            }
            let most = (BATCH - batch.pending.len()).min(batch.quota);
            let before = batch.pending.len();
            let role = self.parts.clients.get(handle).map(|client| client.role);
            match role {
                Some(Role::Link(LinkOwner::Sentinel)) => {
                    self.with_sentinel(|sentinel, world| sentinel.received(world, handle));
                    continue;
                }
                Some(Role::Link(LinkOwner::Bus)) => {
                    self.with_cluster(|cluster, world| cluster.received(world, handle));
                    // Before the commands of this batch: if writes are to be held, a replica was told where the stream
                    // ends without them.
                    self.carry_out_orders();
                    continue;
                }
                Some(Role::Link(LinkOwner::Successor)) => {
                    self.with_cluster(|cluster, world| cluster.successor_replied(world, handle));
                    continue;
                }
                _ => {}
            }
            let is_link = role == Some(Role::Link(LinkOwner::Master));
            match if is_link { self.link_received(handle) } else { Rest::Stream } {
                Rest::Nothing => continue,
                Rest::Payload => {
                    self.parts.clients.mark_ready(handle);
                    break;
                }
                Rest::Stream => self.parse_some(batch, handle, most, is_link),
            }
            batch.quota -= batch.pending.len() - before;
        }
    }

    /// Passes a link's lines and payload to its owner.
    fn link_received(&mut self, handle: Handle) -> Rest {
        let Node { core, data, journal, parts, .. } = self;
        let Parts { clients, master, following, .. } = parts;
        let rest = following.received(core, clients, journal, data, master, handle);
        self.carry_out_orders();
        rest
    }

    /// Parses up to `most` requests of a client into the batch.
    fn parse_some(&mut self, batch: &mut Batch, handle: Handle, most: usize, is_link: bool) {
        let upstream_db = self.parts.following.db();
        let hasher = self.data.hasher();
        let Some(client) = self.parts.clients.get_mut(handle) else { return };
        if !client.may_run() {
            return;
        }
        let limits = client.limits(&self.core);
        let db = if is_link { upstream_db } else { client.db };
        let begin = client.wire.start;
        let mut source = Source {
            handle,
            bytes: std::mem::take(&mut client.wire.query),
            inline: Vec::new(),
            large: std::mem::take(&mut client.wire.large),
            begin,
            done: begin,
            is_stopped: false,
            has_more: true,
        };
        let (mut at, mut found, mut empty) = (begin, 0, 0);
        let mut malformed = None;
        while found < most && empty < EMPTY_MAX && at < source.bytes.len() {
            match client.wire.parser.parse(&source.bytes[at..], &limits) {
                Parsed::Incomplete => {
                    source.has_more = false;
                    break;
                }
                Parsed::Malformed(error) => {
                    malformed = Some(error);
                    break;
                }
                Parsed::Request { len } => {
                    let parser = &mut client.wire.parser;
                    if parser.args().is_empty() {
                        empty += 1;
                        let before = batch.pending.last_mut().filter(|_| found > 0);
                        skip_empty_requests(client, &mut source, before, at + len);
                    } else if is_link && parser.inline_bytes().is_some() {
                        // No master sends inline requests: we are at a wrong position in its
                        // stream.
                        client.wire.parser.reset();
                        malformed = Some(ErrorReply::fixed("an inline request in its stream"));
                        break;
                    } else {
                        batch.push(&mut source, parser, at, len, db);
                        found += 1;
                    }
                    client.wire.parser.reset();
                    at += len;
                }
            }
        }
        if empty > 0 && client.is_replica() {
            self.parts.master.newline_received(handle, self.core.now.mono_us);
        }
        if is_link && source.done > begin {
            // They precede the first request, and count like all bytes of the stream.
            self.applied(handle, &source.bytes[begin..source.done]);
        }
        let first = batch.pending.len() - found;
        for pending in &mut batch.pending[first..] {
            look_up(pending, &source, &batch.args, &self.commands, hasher);
        }
        batch.sources.push(source);
        if let Some(error) = malformed {
            self.refuse_malformed(handle, &error, found == 0);
        }
    }

    /// Handles a protocol error: the error follows earlier replies, then the connection is closed.
    fn refuse_malformed(&mut self, handle: Handle, error: &ErrorReply, nothing_before: bool) {
        if !nothing_before {
            // Earlier requests run first; the same bytes are refused in the next batch.
            return;
        }
        let Node { core, parts, .. } = self;
        let Parts { clients, following, .. } = parts;
        if clients.get(handle).is_some_and(|client| client.is_master_link()) {
            let text = error.to_string();
            let what = text.trim_start_matches("ERR Protocol error: ");
            following.protocol_error(core, clients, handle, what);
        } else {
            core.stats.protocol_errors += 1;
            clients.reply_error(core, handle, error);
            clients.close_after_reply(core, handle);
        }
        self.carry_out_orders();
    }

    fn prefetch(&self, batch: &Batch) {
        for stage in 0..3 {
            for pending in &batch.pending {
                let (index, hash) = pending.key;
                if index != 0 {
                    self.data.prefetch(pending.db, hash, stage);
                }
            }
        }
    }

    fn run_pending(&mut self, batch: &mut Batch, index: usize, host: &mut dyn Host) {
        let pending = batch.pending[index];
        let Batch { args, sources, .. } = batch;
        let source = &mut sources[pending.source];
        let may_run = !self.parts.busy.holds_all()
            && self.parts.clients.get(source.handle).is_some_and(Client::may_run);
        if source.is_stopped || !may_run {
            source.is_stopped = true;
            return;
        }
        let bytes = if pending.inline { &source.inline } else { &source.bytes };
        let ranges = &args[pending.first_arg..pending.first_arg + pending.argc];
        let (key, hash) = pending.key;
        let mut command_args =
            Args::new(bytes, ranges, self.data.hasher()).with_large(&source.large.arguments);
        if key != 0 {
            command_args = command_args.with_ready(key, hash);
        }
        let handle = source.handle;
        let raw = &source.bytes[pending.start..pending.start + pending.len];
        if self.execute(handle, pending.command, &command_args, raw, host) {
            source.done = pending.start + pending.len;
            if !source.large.is_empty() {
                let large = std::mem::take(&mut source.large);
                self.core.free_sized(large.own_bytes(), large);
            }
            if pending.then_empty {
                self.request_ended(handle);
            }
        } else {
            source.is_stopped = true;
        }
    }

    /// Returns the buffers to their clients and queues those with more requests again.
    fn put_back(&mut self, batch: &mut Batch) {
        let Node { core, parts, .. } = self;
        let clients = &mut parts.clients;
        for source in batch.sources.drain(..) {
            let Some(client) = clients.get_mut(source.handle) else {
                core.free_sized(source.bytes.capacity() + source.large.len(), source);
                continue;
            };
            client.wire.query = source.bytes;
            client.wire.start = source.done;
            if source.is_stopped {
                // Requests that were parsed but not executed are parsed again when the client
                // resumes.
                client.wire.parser.reset();
            }
            if !source.large.is_empty() && source.done == source.begin {
                client.wire.parser.set_detached(&source.large.places);
                client.wire.large = source.large;
            }
            client.wire.consume(0);
            if client.wire.query.is_empty() {
                let buffer = std::mem::take(&mut client.wire.query);
                clients.recycle(core, buffer);
            } else if (source.has_more || source.is_stopped) && client.may_run() {
                match batch.served == Some(source.handle) && batch.quota > 0 {
                    true => clients.mark_ready_first(source.handle),
                    false => clients.mark_ready(source.handle),
                }
            }
        }
        if batch.args.capacity() > SPARE_ARGS_MAX {
            let args = std::mem::take(&mut batch.args);
            core.free_sized(args.capacity() * size_of::<ArgRange>(), args);
        }
    }
}

/// Adds an empty request, up to `end`, to the one before it, if that is in the batch.
fn skip_empty_requests(
    client: &mut Client,
    source: &mut Source,
    before: Option<&mut Pending>,
    end: usize,
) {
    match before {
        Some(before) => {
            before.len = end - before.start;
            before.then_empty = true;
        }
        None => {
            source.done = end;
            client.reply_mode.request_ended();
        }
    }
}

/// Looks up the command and the position of its first key.
#[inline]
fn look_up(
    pending: &mut Pending,
    source: &Source,
    args: &[ArgRange],
    commands: &CommandTable,
    hasher: KeyHasher,
) {
    let bytes = if pending.inline { &source.inline } else { &source.bytes };
    let args = &args[pending.first_arg..pending.first_arg + pending.argc];
    let large = &source.large.arguments;
    pending.command = commands.find(slice(bytes, large, args[0]));
    let Some(command) = pending.command else { return };
    let Some(spec) = command.keys.first() else { return };
    if let Some(range) = args.get(spec.first) {
        pending.key = (spec.first, hasher.hash(slice(bytes, large, *range)));
    }
}
