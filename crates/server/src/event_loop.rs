//! The loop around the node: wait, read, let it work, write.
//!
//! ```text
//!   epoll_wait ─▶ one read per ready socket ─▶ turn ─▶ its requests ─▶ one write per dirty socket ─▶ …
//! ```
//!
//! Level-triggered. A round costs one `epoll_wait`, one clock reading, and for each client that spoke one
//! `recv` and one `send`; nothing is allocated and nothing else is called. A socket is watched for
//! room to write only while it had none. `listeners.rs` takes new connections in, `outputs.rs` does what
//! the node asks for, `requests.rs` what its commands ask for.

use std::collections::{BTreeSet, VecDeque};
use std::io::IoSlice;
use std::net::IpAddr;

use russet_engine::io::{Handle, Host, Input, Now};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::background::Background;
use crate::clock::Clock;
use crate::completions::{Completion, Completions};
use crate::connections::{Connections, Target};
use crate::engine::Engine;
use crate::file_reader::FileReader;
use crate::garbage::Collector;
use crate::signals::Signals;
use crate::snapshot_writer::SnapshotWriter;
use crate::world::World;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Events of the control plane given to the node in one round.
const INPUTS_PER_ROUND: usize = 64;
/// How many rounds a client that will send no more may be without output while the node has work left.
const PATIENCE_ROUNDS: u32 = 1000;

/// Tokens of what is not a connection; listeners count from the last.
pub const COMPLETIONS: u32 = 0;
/// See [`COMPLETIONS`].
pub const SIGNALS: u32 = 1;
/// See [`COMPLETIONS`].
pub const LISTENERS: u32 = 2;

/// See the module.
pub struct EventLoop<E> {
    pub(crate) node: E,
    pub(crate) now: Now,
    /// What the node's requests change.
    pub(crate) world: World,
    pub(crate) connections: Connections,
    pub(crate) completions: Completions,
    /// Events for the node, in order.
    pub(crate) inputs: VecDeque<Input>,
    pub(crate) resolving: BTreeSet<Handle>,
    pub(crate) snapshots: SnapshotWriter,
    pub(crate) files: FileReader,
    pub(crate) garbage: Collector,
    pub(crate) background: Background,
    pub(crate) source_address: Option<IpAddr>,
    /// The node's last answer to when it wants the next turn.
    pub(crate) deadline: Option<u64>,
    pub(crate) exit: Option<i32>,
    clock: Clock,
    pub(crate) signals: Signals,
    dirty: Vec<Handle>,
    /// Connections that the node does not want read now.
    paused: Vec<Handle>,
    /// Connections whose far end will send no more.
    finishing: Vec<Handle>,
}

impl<E: Engine> EventLoop<E> {
    /// A loop around a node; `clock` is the one by which the node was born.
    pub fn new(
        node: E,
        (clock, now): (Clock, Now),
        world: World,
        signals: Signals,
        source_address: Option<IpAddr>,
    ) -> rustix::io::Result<EventLoop<E>> {
        let completions = Completions::new()?;
        let (number, flags) = (Target::other(COMPLETIONS), EventFlags::IN);
        epoll::add(&world.epoll, completions.fd(), number, flags)?;
        epoll::add(&world.epoll, signals.fd(), Target::other(SIGNALS), EventFlags::IN)?;
        Ok(EventLoop {
            node,
            now,
            connections: Connections::default(),
            inputs: VecDeque::new(),
            resolving: BTreeSet::new(),
            snapshots: SnapshotWriter::new(completions.reporter(), world.syncs_as_written),
            files: FileReader::new(completions.reporter()),
            background: Background::new(completions.reporter()),
            world,
            completions,
            garbage: Collector::default(),
            source_address,
            deadline: None,
            exit: None,
            clock,
            signals,
            dirty: Vec::new(),
            paused: Vec::new(),
            finishing: Vec::new(),
        })
    }

    /// Runs until the node asks to leave; returns the status to leave with.
    pub fn run(&mut self) -> i32 {
        let mut events = Vec::with_capacity(EVENTS);
        self.settle();
        loop {
            if let Some(status) = self.exit {
                self.snapshots.abandon_all();
                self.world.listeners.remove_files();
                return status;
            }
            self.round(&mut events);
        }
    }

    /// Gives up what others may wait for. The node's memory is left to the operating system, which
    /// is faster at it.
    pub fn leave(mut self) {
        self.world.release();
        std::mem::forget(self);
    }

    fn round(&mut self, events: &mut Vec<Event>) {
        let timeout = self.timeout();
        match epoll::wait(&self.world.epoll, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => panic!("epoll_wait: {errno}"),
        }
        self.now = self.clock.now();
        let began = self.clock.begin();
        for event in events.drain(..) {
            match Target::of(event.data) {
                Target::Connection(handle) => self.ready(handle, event.flags),
                Target::Other(COMPLETIONS) => self.take_completions(),
                Target::Other(SIGNALS) => {
                    self.inputs.extend(self.signals.take().map(Input::Signal))
                }
                Target::Other(number) => self.accept_some((number - LISTENERS) as usize),
            }
        }
        self.world.listeners.reopen_if_due(&self.world.epoll, self.now.mono_us);
        for _ in 0..self.inputs.len().min(INPUTS_PER_ROUND) {
            if let Some(input) = self.inputs.pop_front() {
                self.node.handle(self.now, input);
                self.perform_outputs();
            }
        }
        self.node.turn(self.now, &mut self.clock);
        self.settle();
        if !self.paused.is_empty() {
            self.resume_reading();
        }
        if !self.finishing.is_empty() {
            self.close_finished();
        }
        self.node.round_took(self.clock.since(began));
    }

    /// How long `epoll_wait` may sleep.
    fn timeout(&mut self) -> Option<Timespec> {
        if !self.inputs.is_empty() || self.deadline == Some(0) {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let due = match (self.deadline, self.world.listeners.reopens_at()) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        // Whole milliseconds, rounded up: a deadline has passed when the wait ends, and the older
        // system call, which takes no finer times, is enough.
        let ms = due.saturating_sub(self.clock.ticks_us()).div_ceil(1000).min(1 << 30);
        let ms = ms.cast_signed();
        Some(Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 })
    }

    /// Does what the node asks for and writes what it has to say, until it has nothing more.
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

    /// Whether an event is still of interest to the node.
    fn admits(&mut self, input: &Input) -> bool {
        match input {
            Input::Snapshot { job, event } => self.snapshots.admit(*job, event),
            Input::File { job, event } => self.files.admit(*job, event),
            _ => true,
        }
    }

    /// Something can be done with a connection.
    fn ready(&mut self, handle: Handle, flags: EventFlags) {
        // Events of a connection that was closed earlier in this round find nobody.
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
            // It can be told nothing any more, but what it sent before is still to be executed.
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
                connection.set_wants_read(&self.world.epoll, handle, false);
                return self.paused.push(handle);
            }
        };
        match rustix::net::recv(connection.fd(), spare_capacity(buffer), RecvFlags::empty()) {
            Ok((0, _)) => {
                connection.finishing = Some(0);
                self.finishing.push(handle);
            }
            Ok(_) => self.node.received(self.now, handle),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.lost(handle),
        }
    }

    /// Writes what a connection's outbox lets out; once, since a socket that takes less than all is full.
    #[inline]
    pub(crate) fn write(&mut self, handle: Handle, has_room: bool) {
        let Some(connection) = self.connections.get(handle) else { return };
        let is_full = connection.wants_write() && !has_room;
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
            connection.set_wants_write(&self.world.epoll, handle, more);
        }
    }

    /// A connection broke: nothing more can be read or written.
    pub(crate) fn lost(&mut self, handle: Handle) {
        if self.connections.remove(handle).is_some() {
            self.inputs.push_back(Input::Closed(handle));
        }
    }

    fn mute(&mut self, handle: Handle) {
        if let Some(connection) = self.connections.get(handle) {
            connection.mute(&self.world.epoll);
        }
    }

    fn resume_reading(&mut self) {
        let mut paused = std::mem::take(&mut self.paused);
        paused.retain(|&handle| {
            let Some(connection) = self.connections.get(handle) else { return false };
            let wanted = self.node.read_buffer(handle).is_some();
            if wanted {
                connection.set_wants_read(&self.world.epoll, handle, true);
            }
            !wanted
        });
        self.paused = paused;
    }

    /// Closes the connections whose far end sends no more, when they have got their replies.
    fn close_finished(&mut self) {
        let work_left = self.deadline == Some(0) || !self.inputs.is_empty();
        let mut finishing = std::mem::take(&mut self.finishing);
        finishing.retain(|&handle| {
            let Some(connection) = self.connections.get(handle) else { return false };
            let Some(rounds) = &mut connection.finishing else { return false };
            let writing = self.node.outbox(handle).is_some_and(|outbox| outbox.has_open_bytes());
            let busy = writing || self.node.works_for(handle);
            *rounds = if busy { 0 } else { *rounds + 1 };
            let stays = busy || (work_left && *rounds < PATIENCE_ROUNDS);
            if stays {
                // An end of file stays readable for ever.
                connection.set_wants_read(&self.world.epoll, handle, false);
            } else {
                self.lost(handle);
            }
            stays
        });
        self.finishing.append(&mut finishing);
    }
}
