//! Serving ready clients: the hot path.
//!
//! Commands of many clients go through the machine in *windows*. Each window is parsed, then hashed, then prefetched
//! in stages, then executed:
//!
//! ```text
//!   client A  GET a │ GET b │ SET c        window of up to 32 commands
//!   client B  SET d                  ──▶   ┌───┬───┬───┬───┐
//!   client C  GET e │ GET f                │ a │ b │ c │ d │ …
//!                                          └───┴───┴───┴───┘
//!   stage 0   segments ←  all of them        one memory access each, all under way at once,
//!   stage 1   buckets  ←  all of them        instead of three in a row for each command
//!   stage 2   entries  ←  all of them
//!   execute in order
//! ```
//!
//! A client gives its share, over several windows if need be, and then goes to the end of the queue; a turn ends after
//! a number of commands or a stretch of time, whichever comes first, and what is left is served in the next.

use russet_protocol::{ArgRange, ErrorReply, Parsed, RequestParser};

use crate::client::Client;
use crate::command::{Args, Command};
use crate::io::{Handle, Host};
use crate::keyspace::KeyHasher;
use crate::node::Node;

/// Commands in a window.
const WINDOW: usize = 32;

/// Commands of one client before the next one's. What a client sends at once is so answered at once, with one write,
/// unless it is very long: with shares of 8 a pipeline of 100 was answered in five.
const SHARE: usize = 256;

/// Commands that a turn executes at most.
const TURN_COMMANDS: usize = 4096;

/// Microseconds after which a turn takes no further window.
const TURN_US: u64 = 250;

/// Empty requests (blank lines) that a client may have in a window: each costs a parse.
const EMPTY_MAX: usize = 256;

/// Scratch space for more arguments than this is given back: requests of so many are rare.
const SPARE_ARGS_MAX: usize = 16 * 1024;

/// Output up to this many bytes is within anybody's limits.
const OUTPUT_UNCHECKED: usize = 16 * 1024;

/// A command that was parsed and waits in the window.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// Which of the window's clients.
    client: usize,
    /// Its request's place: bytes from the start of the client's buffer.
    start: usize,
    len: usize,
    first_arg: usize,
    argc: usize,
    command: Option<&'static Command>,
    /// Index of the first key, its hash; index 0 if there is no key.
    key: (usize, u64),
    db: u32,
    inline: bool,
    /// Empty requests follow, and count as part of it.
    then_empty: bool,
}

#[derive(Debug)]
struct Seat {
    handle: Handle,
    /// The client's query buffer, taken out while its commands run.
    bytes: Vec<u8>,
    /// Unquoted bytes of inline requests in this window.
    inline: Vec<u8>,
    /// Bytes before this are done with.
    done: usize,
    /// The client can take no more commands in this window.
    stopped: bool,
    /// Its buffer holds more that can be parsed now.
    more: bool,
}

/// Scratch space of a turn, kept between turns.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pending: Vec<Pending>,
    args: Vec<ArgRange>,
    seats: Vec<Seat>,
    /// Whose turn it is, and how many more of its requests are taken before others'.
    served: Option<Handle>,
    share: usize,
}

impl Window {
    /// Adds the request that `parser` has found at `at` in the bytes of the seat that is being filled.
    fn push(&mut self, seat: &mut Seat, parser: &RequestParser, at: usize, len: usize, db: u32) {
        let first_arg = self.args.len();
        let inline = parser.inline_bytes();
        // Where the arguments' places count from.
        let base = inline.map_or(at, |_| seat.inline.len());
        seat.inline.extend_from_slice(inline.unwrap_or_default());
        let args = parser.args();
        let moved = args.iter().map(|a| ArgRange { start: base + a.start, end: base + a.end });
        self.args.extend(moved);
        self.pending.push(Pending {
            // The seat takes its place when it is full.
            client: self.seats.len(),
            start: at,
            len,
            first_arg,
            argc: args.len(),
            command: None,
            key: (0, 0),
            db,
            inline: inline.is_some(),
            then_empty: false,
        });
    }
}

impl Node {
    /// Serves ready clients until none is ready or the turn is used up.
    pub(crate) fn serve(&mut self, host: &mut dyn Host, began_us: u64) {
        let mut executed = 0;
        while executed < TURN_COMMANDS && self.standstill.is_none() && !self.ready.is_empty() {
            let mut window = std::mem::take(&mut self.window);
            self.gather(&mut window);
            self.prefetch(&window);
            executed += window.pending.len();
            self.stats.tick(host.ticks_us());
            for index in 0..window.pending.len() {
                self.run_pending(&mut window, index, host);
            }
            self.put_back(&mut window);
            self.window = window;
            if host.ticks_us().saturating_sub(began_us) >= TURN_US {
                break;
            }
        }
    }

    /// Fills the window from the queue of ready clients. Who has more to say than fits is first in the next
    /// window too, until its share is used up.
    fn gather(&mut self, window: &mut Window) {
        window.pending.clear();
        window.args.clear();
        while window.pending.len() < WINDOW {
            let Some(handle) = self.ready.pop_front() else { break };
            if window.served != Some(handle) || window.share == 0 {
                (window.served, window.share) = (Some(handle), SHARE);
            }
            let room = (WINDOW - window.pending.len()).min(window.share);
            let before = window.pending.len();
            self.parse_some(window, handle, room);
            window.share -= window.pending.len() - before;
        }
    }

    /// Parses up to `room` requests of a client into the window.
    fn parse_some(&mut self, window: &mut Window, handle: Handle, room: usize) {
        let bulk_len_max = self.config.proto_max_bulk_len;
        let hasher = self.keyspace.hasher();
        let now_us = self.now.mono_us;
        let Some(client) = self.clients.get_mut(handle) else { return };
        client.is_ready = false;
        if client.is_master_link() && !self.link_received(handle) {
            return;
        }
        let Some(client) = self.clients.get_mut(handle) else { return };
        if !client.may_run() {
            return;
        }
        let limits = client.limits(bulk_len_max);
        let mut seat = Seat {
            handle,
            bytes: std::mem::take(&mut client.wire.query),
            inline: Vec::new(),
            done: client.wire.start,
            stopped: false,
            more: true,
        };
        let (begin, is_link) = (client.wire.start, client.is_master_link());
        let (mut at, mut found, mut empty) = (begin, 0, 0);
        let mut malformed = None;
        while found < room && empty < EMPTY_MAX && at < seat.bytes.len() {
            match client.wire.parser.parse(&seat.bytes[at..], &limits) {
                Parsed::Incomplete => {
                    seat.more = false;
                    break;
                }
                Parsed::Malformed(error) => {
                    malformed = Some(error);
                    break;
                }
                Parsed::Request { len } => {
                    let parser = &client.wire.parser;
                    if parser.args().is_empty() {
                        empty += 1;
                        let before = window.pending.last_mut().filter(|_| found > 0);
                        pass_over_empty(client, &mut seat, before, at + len, now_us);
                    } else if is_link && parser.inline_bytes().is_some() {
                        // No server writes its stream so: we are not where we believe to be in it.
                        client.wire.parser.reset();
                        malformed = Some(ErrorReply::fixed("an inline request in its stream"));
                        break;
                    } else {
                        window.push(&mut seat, parser, at, len, client.db);
                        found += 1;
                    }
                    client.wire.parser.reset();
                    at += len;
                }
            }
        }
        if is_link && seat.done > begin {
            // They stand before the first request, and count like all bytes of the stream.
            self.master_stream_applied(handle, &seat.bytes[begin..seat.done]);
        }
        let first = window.pending.len() - found;
        for pending in &mut window.pending[first..] {
            look_up(pending, &seat, &window.args, &self.commands, hasher);
        }
        window.seats.push(seat);
        if let Some(error) = malformed {
            self.refuse_malformed(handle, &error, found == 0);
        }
    }

    /// A peer that does not speak the protocol: told so after the replies before it, then closed.
    fn refuse_malformed(&mut self, handle: Handle, error: &ErrorReply, nothing_before: bool) {
        if !nothing_before {
            // The requests before it run first; the same bytes are refused in the next window.
            return;
        }
        let link = self.clients.get(handle).is_some_and(|client| client.is_master_link());
        if link {
            let text = error.to_string();
            self.master_spoke_garbage(handle, text.trim_start_matches("ERR Protocol error: "));
            return;
        }
        self.stats.protocol_errors += 1;
        self.reply_error(handle, error);
        self.close_after_reply(handle);
    }

    fn prefetch(&self, window: &Window) {
        for stage in 0..3 {
            for pending in &window.pending {
                let (index, hash) = pending.key;
                if index != 0 {
                    self.keyspace.prefetch(pending.db, hash, stage);
                }
            }
        }
    }

    fn run_pending(&mut self, window: &mut Window, index: usize, host: &mut dyn Host) {
        let pending = window.pending[index];
        let Window { args, seats, .. } = window;
        let seat = &mut seats[pending.client];
        let may_run = self.standstill.is_none()
            && self.clients.get(seat.handle).is_some_and(|client| client.may_run());
        if seat.stopped || !may_run {
            seat.stopped = true;
            return;
        }
        let bytes = if pending.inline { &seat.inline } else { &seat.bytes };
        let ranges = &args[pending.first_arg..pending.first_arg + pending.argc];
        let (key, hash) = pending.key;
        let mut command_args = Args::new(bytes, ranges, self.keyspace.hasher());
        if key != 0 {
            command_args = command_args.with_ready(key, hash);
        }
        let handle = seat.handle;
        let raw = &seat.bytes[pending.start..pending.start + pending.len];
        let taken = self.execute(handle, pending.command, &command_args, raw, host);
        if taken {
            seat.done = pending.start + pending.len;
            if pending.then_empty {
                self.request_over(handle);
            }
        } else {
            seat.stopped = true;
        }
    }

    /// Returns the buffers to their clients; those with more to serve go to the end of the queue.
    fn put_back(&mut self, window: &mut Window) {
        for seat in window.seats.drain(..) {
            let Some(client) = self.clients.get_mut(seat.handle) else { continue };
            client.wire.query = seat.bytes;
            client.wire.start = seat.done;
            if seat.stopped {
                // What was parsed ahead and not run is parsed again when the client may go on.
                client.wire.parser.reset();
            }
            client.wire.consume(0);
            let waiting = client.wire.outbox.len();
            if client.wire.query.is_empty() {
                let buffer = std::mem::take(&mut client.wire.query);
                self.recycle(buffer);
            } else if (seat.more || seat.stopped) && client.may_run() && !client.is_ready {
                client.is_ready = true;
                match window.served == Some(seat.handle) && window.share > 0 {
                    true => self.ready.push_front(seat.handle),
                    false => self.ready.push_back(seat.handle),
                }
            }
            if waiting > OUTPUT_UNCHECKED {
                self.enforce_output_limit(seat.handle);
            }
        }
        if window.args.capacity() > SPARE_ARGS_MAX {
            window.args = Vec::new();
        }
    }
}

/// An empty request, up to `end`, goes with the one before it, if that is in the window.
fn pass_over_empty(
    client: &mut Client,
    seat: &mut Seat,
    before: Option<&mut Pending>,
    end: usize,
    now_us: u64,
) {
    if let Some(state) = client.replica_mut() {
        // So a replica says that it lives while it loads.
        state.acked_us = now_us;
    }
    match before {
        Some(before) => {
            before.len = end - before.start;
            before.then_empty = true;
        }
        None => {
            seat.done = end;
            client.reply_mode.request_over();
        }
    }
}

/// Finds the row and the first key's place.
#[inline]
fn look_up(
    pending: &mut Pending,
    seat: &Seat,
    args: &[ArgRange],
    commands: &crate::command::CommandTable,
    hasher: KeyHasher,
) {
    let bytes = if pending.inline { &seat.inline } else { &seat.bytes };
    let args = &args[pending.first_arg..pending.first_arg + pending.argc];
    pending.command = commands.find(&bytes[args[0].start..args[0].end]);
    let Some(command) = pending.command else { return };
    let Some(spec) = command.keys.first() else { return };
    if let Some(range) = args.get(spec.first) {
        pending.key = (spec.first, hasher.hash(&bytes[range.start..range.end]));
    }
}
