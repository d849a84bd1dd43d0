//! The event loop around the node: wait, read, run a turn, write.
//!
//! ```text
//!   epoll_wait ─▶ one read per ready socket ─▶ turn ─▶ its outputs ─▶ one write per dirty socket ─▶ …
//! ```
//!
//! Level-triggered. A round costs one `epoll_wait`, one clock reading, and one `recv` and one
//! `send` for each active client, without allocations or other system calls. A socket is watched
//! for writability only while its buffer is full. `listeners.rs` accepts connections, `outputs.rs`
//! carries out the node's outputs, `requests.rs` the requests among them.

use std::collections::{BTreeSet, VecDeque};
use std::io::IoSlice;
use std::net::IpAddr;

use russet_engine::io::{Handle, Host, Input, Now};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::append_file::AppendFiles;
use crate::background::Background;
use crate::clock::Clock;
use crate::completions::{Completion, Completions};
use crate::connections::{Connections, Target};
use crate::engine::Engine;
use crate::file_reader::FileReader;
use crate::garbage::Collector;
use crate::resources::Resources;
use crate::rotation::Rotation;
use crate::scripts::Scripts;
use crate::signals::Signals;
use crate::snapshot_writer::SnapshotWriter;
use crate::sys;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Inputs other than client data that the node handles in one round, unless they take too long.
const INPUTS_PER_ROUND: usize = 64;
/// Maximum length of a read: the buffer of a long argument may have room for more than a turn can copy.
const READ_BYTES_MAX: usize = 256 * 1024;
/// Microseconds after which the node handles no further input in a round.
const INPUTS_US: u64 = 250;
/// Rounds for which a half-closed client may stay without output while the node has work left.
const IDLE_ROUNDS_MAX: u32 = 1000;

/// Tokens of sources other than connections; listeners are numbered from [`LISTENERS`].
pub const COMPLETIONS: u32 = 0;
pub const SIGNALS: u32 = 1;
pub const LISTENERS: u32 = 2;

/// The event loop with everything that it owns.
pub struct EventLoop<E> {
    pub(crate) node: E,
    pub(crate) now: Now,
    /// Resources that the node's requests change.
    pub(crate) resources: Resources,
    pub(crate) connections: Connections,
    pub(crate) completions: Completions,
    /// Events for the node, in order.
    pub(crate) inputs: VecDeque<Input>,
    pub(crate) resolving: BTreeSet<Handle>,
    pub(crate) snapshots: SnapshotWriter,
    pub(crate) files: FileReader,
    pub(crate) appends: AppendFiles,
    pub(crate) garbage: Collector,
    pub(crate) background: Background,
    pub(crate) scripts: Scripts,
    pub(crate) source_address: Option<IpAddr>,
    /// When the node wants its next turn.
    pub(crate) deadline: Option<u64>,
    pub(crate) exit: Option<i32>,
    clock: Clock,
    pub(crate) signals: Signals,
    dirty: Vec<Handle>,
    /// Connections whose reading the node has suspended.
    paused: Rotation,
    /// Connections whose peer has shut down its side.
    finishing: Rotation,
}

impl<E: Engine> EventLoop<E> {
    /// Creates a loop around a node, which was created at `now` of `clock`.
    pub fn new(
        node: E,
        (clock, now): (Clock, Now),
        resources: Resources,
        signals: Signals,
        source_address: Option<IpAddr>,
    ) -> rustix::io::Result<EventLoop<E>> {
        let completions = Completions::new()?;
        let (number, flags) = (Target::other(COMPLETIONS), EventFlags::IN);
        epoll::add(&resources.epoll, completions.fd(), number, flags)?;
        epoll::add(&resources.epoll, signals.fd(), Target::other(SIGNALS), EventFlags::IN)?;
        Ok(EventLoop {
            node,
            now,
            connections: Connections::default(),
            inputs: VecDeque::new(),
            resolving: BTreeSet::new(),
            snapshots: SnapshotWriter::new(completions.reporter()),
            files: FileReader::new(completions.reporter()),
            appends: AppendFiles::new(completions.reporter()),
            background: Background::new(completions.reporter()),
            scripts: Scripts::new(completions.reporter()),
            resources,
            completions,
            garbage: Collector::default(),
            source_address,
            deadline: None,
            exit: None,
            clock,
            signals,
            dirty: Vec::new(),
            paused: Rotation::default(),
            finishing: Rotation::default(),
        })
    }

    /// Runs until the node exits and returns the exit status.
    pub fn run(&mut self) -> i32 {
        let mut events = Vec::with_capacity(EVENTS);
        self.settle();
        loop {
            if let Some(status) = self.exit {
                self.snapshots.abort_all();
                self.appends.finish();
                self.background.finish();
                self.resources.listeners.remove_files();
                return status;
            }
            self.round(&mut events);
        }
    }

    /// Releases what other processes may wait for. The node's memory is left to the operating
    /// system, which frees it faster.
    pub fn release(mut self) {
        self.resources.release();
        std::mem::forget(self);
    }

    fn round(&mut self, events: &mut Vec<Event>) {
        let timeout = self.timeout();
        match epoll::wait(&self.resources.epoll, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => panic!("epoll_wait: {errno}"),
        }
        self.now = self.clock.now();
        let start = self.clock.begin();
        let is_node_due = self.deadline.is_some_and(|due| due <= self.now.mono_us);
        if !events.is_empty() || !self.inputs.is_empty() || is_node_due {
            self.paused.wake();
            self.finishing.wake();
        }
        for event in events.drain(..) {
            match Target::of(event.data) {
                Target::Connection(handle) => self.ready(handle, event.flags),
                Target::Other(COMPLETIONS) => self.take_completions(),
                Target::Other(SIGNALS) => {
                    self.inputs.extend(self.signals.take().map(Input::Signal))
                }
                Target::Other(number) => self.accept_pending((number - LISTENERS) as usize),
            }
        }
        self.resources.listeners.resume_if_due(&self.resources.epoll, self.now.mono_us);
        for _ in 0..self.inputs.len().min(INPUTS_PER_ROUND) {
            if let Some(input) = self.inputs.pop_front() {
                self.node.handle(self.now, input);
                self.perform_outputs();
            }
            if self.clock.since(start) >= INPUTS_US {
                break;
            }
        }
        self.node.turn(self.now, &mut self.clock);
        self.settle();
        if self.paused.is_due() {
            self.resume_reading();
        }
        if self.finishing.is_due() {
            self.close_finished();
        }
        if self.appends.due_us().is_some() {
            self.appends.wake_due(self.clock.ticks_us());
        }
        self.node.count_round(self.clock.since(start));
    }

    /// Returns how long `epoll_wait` may sleep.
    fn timeout(&mut self) -> Option<Timespec> {
        let looks = self.paused.is_due() || self.finishing.is_due();
        if looks || !self.inputs.is_empty() || self.deadline == Some(0) {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        if let Some(due_us) = self.appends.due_us() {
            let us = due_us.saturating_sub(self.clock.ticks_us()).min(1000).cast_signed();
            return Some(Timespec { tv_sec: 0, tv_nsec: us * 1000 });
        }
        let wake_at = match (self.deadline, self.resources.listeners.resumes_at()) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        // Rounded up to milliseconds: the deadline has passed when the wait ends, and plain
        // `epoll_wait` suffices, which has no finer resolution.
        let ms = wake_at.saturating_sub(self.clock.ticks_us()).div_ceil(1000).min(1 << 30);
        let ms = ms.cast_signed();
        Some(Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 })
    }

    /// Carries out outputs and writes replies until the node has no more of either.
    fn settle(&mut self) {
        loop {
            self.perform_outputs();
            let mut dirty = std::mem::take(&mut self.dirty);
            self.node.take_dirty(&mut dirty);
            let any = !dirty.is_empty();
            for handle in dirty.drain(..) {
                self.write(handle, false);
            }
            self.dirty = dirty;
            if !any {
                return;
            }
        }
    }

    fn take_completions(&mut self) {
        let completions: Vec<Completion> = self.completions.take().collect();
        for completion in completions {
            match completion {
                Completion::Input(input) => {
                    if self.admits(&input) {
                        self.inputs.push_back(input);
                    }
                }
                Completion::Resolved { link, addresses } => self.resolved(link, addresses),
            }
        }
    }

    /// Whether the node still expects this event.
    fn admits(&mut self, input: &Input) -> bool {
        match input {
            Input::Snapshot { job, event } => self.snapshots.admit(*job, event),
            Input::File { job, event } => self.files.admit(*job, event),
            Input::ScriptStarted { job, .. } => self.scripts.is_known(*job),
            Input::ScriptEnded { job, .. } => self.scripts.ended(*job),
            _ => true,
        }
    }

    /// Handles the events of a connection.
    fn ready(&mut self, handle: Handle, flags: EventFlags) {
        // The connection may have been closed earlier in this round.
        let Some(connection) = self.connections.get(handle) else { return };
        if connection.connecting.is_some() {
            return self.connect_decided(handle);
        }
        let (finishing, reads) = (connection.finishing.is_some(), connection.wants_read());
        if flags.contains(EventFlags::OUT) {
            self.write(handle, true);
        }
        let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        match (finishing, reads) {
            // Nothing can be sent any more, but the commands received before must still be
            // executed.
            (true, _) if broken => self.mute(handle),
            (false, false) if broken => self.lost(handle),
            (false, true) if broken || flags.contains(EventFlags::IN) => self.read(handle),
            _ => {}
        }
    }

    #[inline]
    fn read(&mut self, handle: Handle) {
        let Some(connection) = self.connections.get(handle) else { return };
        let buffer = match self.node.read_buffer(handle) {
            Some(buffer) if buffer.len() < buffer.capacity() => buffer,
            _ => {
                connection.set_wants_read(&self.resources.epoll, handle, false);
                return self.paused.add(handle);
            }
        };
        match sys::receive(connection.fd(), buffer, READ_BYTES_MAX) {
            Ok(0) => {
                connection.finishing = Some(0);
                self.finishing.add(handle);
            }
            Ok(_) => self.node.received(self.now, handle),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.lost(handle),
        }
    }

    /// Writes a connection's open output with a single system call. What is left has to wait until
    /// the socket is writable, which it may be in the next round.
    #[inline]
    pub(crate) fn write(&mut self, handle: Handle, is_writable: bool) {
        let Some(connection) = self.connections.get(handle) else { return };
        let is_full = connection.wants_write() && !is_writable;
        if is_full || connection.connecting.is_some() {
            return;
        }
        let Some(outbox) = self.node.outbox(handle) else { return };
        let mut two = [IoSlice::new(&[]); 2];
        let result = match outbox.open_slices(&mut two) {
            0 => Ok(0),
            1 => rustix::net::send(connection.fd(), &two[0], SendFlags::NOSIGNAL),
            _ => {
                let mut many = [IoSlice::new(&[]); 64];
                let filled = outbox.open_slices(&mut many);
                rustix::io::writev(connection.fd(), &many[..filled])
            }
        };
        match result {
            Ok(written) => self.node.written(handle, written),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return self.lost(handle),
        }
        let more = self.node.outbox(handle).is_some_and(|outbox| outbox.has_open_bytes());
        if let Some(connection) = self.connections.get(handle) {
            connection.set_wants_write(&self.resources.epoll, handle, more);
        }
    }

    /// Removes a broken connection and reports it to the node.
    pub(crate) fn lost(&mut self, handle: Handle) {
        if self.connections.remove(handle).is_some() {
            self.inputs.push_back(Input::Closed(handle));
        }
    }

    fn mute(&mut self, handle: Handle) {
        if let Some(connection) = self.connections.get(handle) {
            connection.mute(&self.resources.epoll);
        }
    }

    fn resume_reading(&mut self) {
        let EventLoop { node, connections, resources, paused, .. } = self;
        paused.look(|handle| {
            let Some(connection) = connections.get(handle) else { return false };
            let wanted = node.read_buffer(handle).is_some();
            if wanted {
                connection.set_wants_read(&resources.epoll, handle, true);
            }
            !wanted
        });
    }

    /// Closes half-closed connections that have received their replies.
    fn close_finished(&mut self) {
        let work_left = self.deadline == Some(0) || !self.inputs.is_empty();
        let mut finishing = std::mem::take(&mut self.finishing);
        finishing.look(|handle| {
            let Some(connection) = self.connections.get(handle) else { return false };
            let Some(rounds) = &mut connection.finishing else { return false };
            let writing = self.node.outbox(handle).is_some_and(|outbox| outbox.has_open_bytes());
            let busy = writing || self.node.works_for(handle);
            *rounds = if busy { 0 } else { *rounds + 1 };
            let stays = busy || (work_left && *rounds < IDLE_ROUNDS_MAX);
            if stays {
                // End of file would be reported as readable in every round.
                connection.set_wants_read(&self.resources.epoll, handle, false);
            } else {
                self.lost(handle);
            }
            stays
        });
        self.finishing = finishing;
    }
}
