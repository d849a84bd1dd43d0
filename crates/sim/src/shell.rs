//! The loop around a node, as the shell runs it: inbox, reads, a turn, requests, writes.
//!
//! This is the contract of `russet_engine::io` from the driver's side, and here it is checked: requests end, deadlines
//! lie ahead, a node that has nothing to do does nothing.

use std::io::IoSlice;

use russet_engine::io::{
    AppendEvent, Input, Level, Output, Service, SnapshotEvent, SnapshotTarget,
};

use crate::cluster_start::BUS_PORT;
use crate::net::Owner;
use crate::plan::{PORT, node_of};
use crate::process::{Inbox, VirtualHost};
use crate::world::{Event, World};

/// Requests that one call may make before it counts as endless.
const OUTPUTS_MAX: usize = 100_000;

/// Turns in a second in which nothing comes in and nothing changes.
const IDLE_TURNS_MAX: u64 = 60;

/// The same of a node of a cluster: in a manual failover it looks each 10 ms how far its data is.
const POLLING_TURNS_MAX: u64 = 130;

/// Bytes that one read takes at most.
const READ_BYTES: usize = 16 << 10;

impl World {
    /// Something for a process' inbox.
    pub(crate) fn deliver(&mut self, node: usize, item: Inbox) {
        self.processes[node].inbox.push_back(item);
        self.wake(node);
    }

    /// The process' loop is to go round as soon as it can.
    pub(crate) fn wake(&mut self, node: usize) {
        self.round_at(node, self.now);
    }

    fn round_at(&mut self, node: usize, at: u64) {
        let now = self.now;
        let process = &mut self.processes[node];
        let at = at.max(process.busy_until).max(now);
        if process.is_up() && at < process.loop_at {
            process.loop_at = at;
            self.queue.push(at, Event::Loop(node));
        }
    }

    /// One round of a process' loop.
    pub(crate) fn go_round(&mut self, node: usize) {
        let now_us = self.now;
        let process = &mut self.processes[node];
        if process.loop_at != now_us || !process.is_up() {
            return;
        }
        process.loop_at = u64::MAX;
        if process.busy_until > now_us {
            // It was suspended after this round was planned.
            self.round_at(node, now_us);
            return;
        }
        let busy = !process.inbox.is_empty()
            || !process.readable.is_empty()
            || !process.writable.is_empty();
        while let Some(item) = self.processes[node].inbox.pop_front() {
            self.take_in(node, item);
            if !self.processes[node].is_up() {
                return;
            }
        }
        let readable = self.processes[node].readable.len();
        for _ in 0..readable {
            self.read_some(node);
        }
        while let Some(handle) = self.processes[node].writable.pop_front() {
            self.flush(node, handle);
        }
        self.turn(node, busy);
    }

    fn take_in(&mut self, node: usize, item: Inbox) {
        self.before_call(node);
        let process = &mut self.processes[node];
        let now = process.now(self.now);
        let Some(n) = process.machine.as_deref_mut() else { return };
        let ends_save =
            matches!(item, Inbox::Input(Input::Snapshot { event: SnapshotEvent::Done(_), .. }));
        let failed_sync = match &item {
            Inbox::Input(Input::Append { job, event: AppendEvent::SyncFailed(_) }) => Some(*job),
            _ => None,
        };
        match item {
            Inbox::Input(input) => n.handle(now, input),
            Inbox::Accept(conn) => {
                let [peer, local] = self.conns[conn].hosts;
                let service = self.conns[conn].service;
                let ends = self.ends(peer, local);
                let process = &mut self.processes[node];
                let Some(n) = process.machine.as_deref_mut() else { return };
                match n.accept(now, service, ends) {
                    Ok(handle) => {
                        process.conns.insert(handle, (conn, 1));
                        let incarnation = process.incarnation;
                        if self.conns[conn].pipes[0].is_readable() {
                            process.readable.push_back(handle);
                        }
                        self.conns[conn].owners[1] =
                            Owner::Node { node, incarnation, handle: Some(handle) };
                    }
                    Err(refusal) => {
                        self.send(conn, 1, refusal);
                        self.close_end(conn, 1);
                    }
                }
            }
        }
        self.drain(node);
        if let Some(job) = failed_sync {
            self.note_told(node, job);
        }
        if ends_save {
            self.check_saved(node, true);
        }
    }

    /// Reads from the first readable connection.
    fn read_some(&mut self, node: usize) {
        let partly = self.chance.percent(self.plan.short_read_percent);
        let max = if partly { self.chance.skewed(1, 4000) as usize } else { READ_BYTES };
        let process = &mut self.processes[node];
        let now = process.now(self.now);
        let Some(handle) = process.readable.pop_front() else { return };
        let Some(&(conn, end)) = process.conns.get(&handle) else { return };
        let Some(n) = process.machine.as_deref_mut() else { return };
        let pipe = &mut self.conns[conn].pipes[1 - end];
        if pipe.is_over() {
            self.note_cut(node, handle);
            self.drop_conn(node, handle);
            self.take_in(node, Inbox::Input(Input::Closed(handle)));
            return;
        }
        let Some(buffer) = n.read_buffer(handle) else {
            self.coverage.reads_put_off += 1;
            return process.paused.push(handle);
        };
        let before = buffer.len();
        buffer.extend_from_slice(pipe.take(max));
        let service = self.conns[conn].service;
        if end == 1 && service == Service::Clients {
            let now_us = self.now.saturating_sub(process.suspended_us);
            let c = &mut self.conns[conn];
            process.heard_us.insert(c.hosts[0], now_us);
            c.tap.hear(&buffer[before..], now_us);
        }
        let is_watched = process.is_sentinel && end == 0;
        let read = (is_watched || service == Service::Bus).then(|| buffer[before..].to_vec());
        if let Some(bytes) = read.as_ref().filter(|_| is_watched) {
            self.watch_read(conn, bytes);
        }
        if let Some(bytes) = read.filter(|_| service == Service::Bus) {
            self.bus_reads(conn, 1 - end, &bytes);
        } else if let Owner::Agent(agent) = self.conns[conn].owners[0] {
            self.note_agent_read(agent, node);
        }
        let Some(n) = self.processes[node].machine.as_deref_mut() else { return };
        n.received(now, handle);
        self.note_asked(node, handle, conn);
        let pipe = &self.conns[conn].pipes[1 - end];
        let process = &mut self.processes[node];
        if pipe.is_readable() {
            process.readable.push_back(handle);
        }
        self.made_room(conn, 1 - end);
    }

    /// A connection ended under a node: was it in the middle of something of its master's?
    fn note_cut(&mut self, node: usize, handle: russet_engine::io::Handle) {
        let data = self.processes[node].data();
        if data.is_some_and(|data| data.is_mid_frame(handle)) {
            self.coverage.cuts_in_frame += 1;
            let inside = data.is_some_and(|data| data.is_mid_value(handle));
            self.coverage.cuts_in_value += u64::from(inside);
        }
    }

    /// Forgets a socket, and closes it.
    fn drop_conn(&mut self, node: usize, handle: russet_engine::io::Handle) {
        self.processes[node].unanswered.remove(&handle);
        if let Some((conn, end)) = self.processes[node].conns.remove(&handle) {
            let lost = end == 1 && self.conns[conn].tap.is_replica();
            self.processes[node].replicas_lost += u64::from(lost);
            if end == 0 && self.processes[node].is_sentinel {
                self.forget_unhandled(conn);
            }
            self.close_end(conn, end);
        }
    }

    fn turn(&mut self, node: usize, busy: bool) {
        self.before_call(node);
        let process = &mut self.processes[node];
        let now = process.now(self.now);
        let mut host = VirtualHost { us: now.mono_us, tick_us: self.plan.tick_us };
        let Some(n) = process.machine.as_deref_mut() else { return };
        n.turn(now, &mut host);
        let (paused, readable) = (&mut process.paused, &mut process.readable);
        paused.retain(|&handle| {
            let stays = n.read_buffer(handle).is_none() && n.knows(handle);
            if !stays {
                readable.push_back(handle);
            }
            stays
        });
        process.busy_until = process.busy_until.max(self.now + (host.us - now.mono_us));
        let changed = self.drain(node);
        // Of a long pipeline some turns are all that comes of a second.
        let was_flooded = self.processes[node].was_flooded;
        self.count_idle(node, busy || changed || was_flooded);
        self.count_down_to_crash(node);
        self.check_silent(node);
        self.check_served(node);
        let process = &self.processes[node];
        if !process.is_up() {
            return;
        }
        let again = process.deadline == Some(0) || !process.readable.is_empty();
        let at = match process.deadline {
            _ if again => {
                let wait = self.chance.skewed(1, self.plan.scheduling_us);
                self.processes[node].busy_until + wait
            }
            Some(due) => due.saturating_sub(process.mono_offset_us),
            None => return,
        };
        self.round_at(node, at);
    }

    /// A crash that was planned when a snapshot began comes while it is walked, or a little later.
    fn count_down_to_crash(&mut self, node: usize) {
        let process = &mut self.processes[node];
        let Some(turns) = process.crash_after_turns.filter(|_| process.is_up()) else { return };
        let walking = process.data().is_some_and(|data| data.is_walking());
        process.crash_after_turns = Some(turns - 1).filter(|&turns| turns > 0 && walking);
        if !walking {
            let incarnation = process.incarnation;
            let at = self.now + self.chance.skewed(1, 20_000);
            self.queue.push(at, Event::Crash { node, incarnation });
        } else if turns == 1 && self.phase == crate::world::Phase::Chaos {
            self.crash(node);
        }
    }

    /// Idle nodes sleep: they do not turn more often than their timers are set.
    fn count_idle(&mut self, node: usize, busy: bool) {
        let now = self.now;
        let process = &mut self.processes[node];
        let saving = process.data().is_some_and(|data| data.is_saving());
        let loaded = process.data().map_or(0, |data| data.loaded_bytes());
        let loading = std::mem::replace(&mut process.loaded_bytes, loaded) != loaded;
        if busy || saving || loading || now - process.idle_since_us > 1_000_000 {
            process.idle_turns = 0;
            process.idle_since_us = now;
            return;
        }
        process.idle_turns += 1;
        let most = if process.cluster().is_some() { POLLING_TURNS_MAX } else { IDLE_TURNS_MAX };
        if process.idle_turns > most {
            self.fail(format!("node{node} turned {most} times in a second for nothing"));
        }
    }

    /// Takes a node's requests until it waits, and writes what it has to say. True if it changed data.
    pub(crate) fn drain(&mut self, node: usize) -> bool {
        let mut rounds = 0;
        let mut dirty = Vec::new();
        loop {
            let process = &mut self.processes[node];
            let now = process.now(self.now);
            let Some(n) = process.machine.as_deref_mut() else { return true };
            match n.poll_output(now) {
                Output::Wait(deadline) => {
                    process.deadline = deadline;
                    if deadline.is_some_and(|due| due != 0 && due <= now.mono_us) {
                        self.fail(format!("node{node} waits for a time that is past"));
                    }
                    let Some(n) = self.processes[node].machine.as_deref_mut() else { return true };
                    n.take_dirty(&mut dirty);
                    if dirty.is_empty() {
                        break;
                    }
                    for handle in dirty.drain(..) {
                        self.flush(node, handle);
                    }
                }
                output => self.output(node, output),
            }
            rounds += 1;
            if rounds > OUTPUTS_MAX {
                self.fail(format!("node{node} makes requests without end"));
                break;
            }
        }
        if self.processes[node].is_sentinel {
            self.observe_sentinel(node);
        }
        self.observe_cluster(node);
        let changed = self.observe(node);
        self.check_saved(node, false);
        if let Some(code) = self.processes[node].exited {
            self.left(node, code);
        }
        changed
    }

    fn output(&mut self, node: usize, output: Output) {
        self.trace_output(node, &output);
        match output {
            Output::Wait(_)
            | Output::Garbage(_)
            | Output::Status(_)
            | Output::DisableNoDelay(_) => {}
            Output::Close(handle) => self.drop_conn(node, handle),
            Output::Connect { link, host, port } => self.connect(node, link, &host, port),
            Output::SnapshotBegin { job, target, settings, aux } => {
                self.snapshot_begins(node, job, &aux, target == SnapshotTarget::Stream);
                let writer = crate::files::Writer::new(target, settings, &aux, self.now);
                self.processes[node].writers.insert(job, writer);
            }
            Output::SnapshotChunk { job, chunk } => self.writer_chunk(node, job, chunk),
            Output::SnapshotEnd { job } => self.writer_end(node, job),
            Output::SnapshotAbort { job } => self.writer_abort(node, job),
            Output::Read { job, path } => self.read_begin(node, job, &path),
            Output::ReadMore { job } => self.read_more(node, job),
            Output::ReadStop { job } => {
                self.processes[node].readers.remove(&job);
            }
            Output::Append { job, step } => self.append_step(node, job, step),
            Output::Request { id, request } => {
                self.request(node, id, request);
                self.maybe_end_amid_exec(node);
            }
            Output::Log { text, level, .. } => {
                if self.processes[node].is_sentinel {
                    return self.sentinel_log(node, &text);
                }
                self.count_log(node, &text);
                self.cluster_log(node, &text);
                if level == Level::Warning && self.processes[node].durability.ledger.is_some() {
                    self.processes[node].durability.warnings.push(text.clone());
                }
                self.check_log(node, &text);
            }
            Output::Exit(code) => self.processes[node].exited = Some(code),
            Output::RunScript { .. } | Output::KillScript { .. } => {
                self.fail(format!("node{node} is no Sentinel: it has no scripts"));
            }
        }
    }

    /// Everything but bulk data goes into the hash, and into the trace.
    fn trace_output(&mut self, node: usize, output: &Output) {
        self.hash.number(self.now);
        self.hash.number(node as u64);
        match output {
            Output::Log { text, level, .. } => {
                self.hash.bytes(text.as_bytes());
                if *level >= Level::Notice {
                    self.tell(|| format!("node{node} log: {text}"));
                }
            }
            Output::SnapshotChunk { chunk, .. } => self.hash.number(chunk.len_bytes() as u64),
            Output::Garbage(_) => self.hash.number(1),
            output => {
                let text = format!("{output:?}");
                self.hash.bytes(text.as_bytes());
                self.tell(|| format!("node{node} asks: {text}"));
            }
        }
    }

    fn count_log(&mut self, node: usize, text: &str) {
        if text == "MASTER <-> REPLICA sync: Finished with success" {
            self.coverage.full_syncs += 1;
        } else if text == "Successful partial resynchronization with master." {
            self.coverage.partial_syncs += 1;
        } else if text.starts_with("Setting secondary replication ID") {
            self.coverage.promotions += 1;
        } else if text.starts_with("The running save is given up") {
            self.coverage.flushes_in_save += 1;
        } else if text.starts_with("!!! Warning: short read") {
            self.coverage.aof_cut += 1;
        } else if text.starts_with("AOF write error looks solved") {
            self.coverage.aof_writes_again += 1;
        } else if text.starts_with("Background AOF rewrite finished") {
            self.coverage.rewrites += 1;
            self.processes[node].durability.is_rewritten();
            let place = self.processes[node].durability.base_place.clone();
            self.note_on_disk(node, place);
        } else if text.starts_with("The append-only file cannot be") {
            self.coverage.failed_rewrites += 1;
        } else if text.starts_with("Background append only file rewriting started") {
            self.coverage.bases += 1;
        } else if text.starts_with("Starting automatic rewriting") {
            self.coverage.automatic_rewrites += 1;
        }
    }

    /// All nodes are alike and no byte of a connection is ever changed: a replica has nothing to complain of.
    fn check_log(&mut self, node: usize, text: &str) {
        let complaints = ["Protocol error from master", "== CRITICAL ==", "Failed trying to load"];
        self.coverage.repeated_failovers +=
            u64::from(text.starts_with("Failover target is a master"));
        if complaints.iter().any(|complaint| text.starts_with(complaint)) {
            self.fail(format!("node{node} cannot follow its master: {text}"));
        }
    }

    fn connect(&mut self, node: usize, link: russet_engine::io::Handle, host: &str, port: u16) {
        let incarnation = self.processes[node].incarnation;
        let target = node_of(host).filter(|&to| to < self.processes.len());
        let service = match port {
            PORT => Some(Service::Clients),
            BUS_PORT => Some(Service::Bus),
            _ => None,
        };
        let (Some(target), Some(service)) = (target, service) else {
            let result = Err("Name or service not known".to_owned());
            let item = Inbox::Input(Input::Connected { link, result });
            self.queue.push(self.now + 100, Event::Deliver { node, incarnation, item });
            return;
        };
        let owner = Owner::Node { node, incarnation, handle: Some(link) };
        let conn = self.open(owner, node, target, service);
        self.processes[node].conns.insert(link, (conn, 0));
        if service == Service::Clients {
            self.maybe_arm_cut(node, conn);
        }
    }

    /// Writes what a connection takes of a node's output.
    fn flush(&mut self, node: usize, handle: russet_engine::io::Handle) {
        loop {
            let process = &mut self.processes[node];
            let Some(&(conn, end)) = process.conns.get(&handle) else { return };
            let Some(n) = process.machine.as_deref_mut() else { return };
            let Some(outbox) = n.outbox(handle).filter(|outbox| !outbox.is_empty()) else { return };
            let is_held = !outbox.has_open_bytes();
            if let Owner::Client(client) = self.conns[conn].owners[1 - end]
                && self.clients[client].waits_for_read()
                && process.data().and_then(|data| data.append()).is_some_and(|a| a.is_behind)
            {
                let coverage = &mut self.coverage;
                let count =
                    if is_held { &mut coverage.held_reads } else { &mut coverage.free_reads };
                *count += 1;
            }
            if is_held {
                return;
            }
            let process = &mut self.processes[node];
            let Some(n) = process.machine.as_deref_mut() else { return };
            let Some(outbox) = n.outbox(handle) else { return };
            let pipe = &mut self.conns[conn].pipes[end];
            let mut room = if pipe.dead { usize::MAX } else { pipe.room() };
            if room == 0 {
                pipe.starved = true;
                return;
            }
            if self.chance.percent(self.plan.short_write_percent) {
                room = room.min(self.chance.skewed(1, 3000) as usize);
            }
            let mut slices = [IoSlice::new(&[]); 16];
            let count = outbox.open_slices(&mut slices);
            let mut bytes = Vec::new();
            for slice in &slices[..count] {
                let take = slice.len().min(room - bytes.len());
                bytes.extend_from_slice(&slice[..take]);
                if bytes.len() == room {
                    break;
                }
            }
            n.written(handle, bytes.len());
            process.unanswered.remove(&handle);
            if !self.conns[conn].pipes[end].dead {
                self.send(conn, end, bytes);
            }
        }
    }
}
