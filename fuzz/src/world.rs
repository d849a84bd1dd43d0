//! A world around one node, as the contract of `russet_engine::io` wants it. It is quick to make, does what the node asks at
//! once unless a target says otherwise, and checks the node's side of the contract on the way.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::OnceLock;

use russet_engine::config::Config;
use russet_engine::io::{
    Endpoints, FileEvent, Handle, Host, Input, JobId, Now, Output, SnapshotEvent, SnapshotTarget,
};
use russet_engine::persist::rdb_save::RdbEncoder;
use russet_engine::{Boot, Node};

use crate::{commands, replies};

/// Longest string; no target may raise it, so that memory is used up by defects only.
pub const STRING_BYTES_MAX: u64 = 1 << 20;

/// Output at which a client that does not read is let go.
pub const OUTPUT_BYTES_MAX: u64 = 256 << 10;

const CONF: &str = "\
proto-max-bulk-len 1mb
enable-debug-command local
client-output-buffer-limit normal 256kb 0 0
protected-mode no
save \"\"
";

/// Inputs and turns after one event before the node counts as busy for ever.
const ROUNDS_MAX: usize = 100_000;

/// Requests of the node after one call before they count as endless.
const OUTPUTS_MAX: usize = 100_000;

/// Pieces in which bytes arrive before the rest comes at once.
const PIECES_MAX: usize = 100;

/// Bytes of a file that are delivered at once.
const PIECE_BYTES: usize = 100;

/// See the module.
pub struct World {
    /// The node.
    pub node: Node,
    /// The clocks.
    pub now: Now,
    /// The disk.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Open connections, and what each was sent that is not yet understood.
    pub connections: BTreeMap<Handle, Connection>,
    /// What the node asks is done; else it fails.
    pub willing: bool,
    /// Snapshots go on when this is over.
    pub saves_are_held: bool,
    /// The connection that the node wants to its master.
    pub connecting: Option<Handle>,
    /// The node has left.
    pub is_over: bool,
    /// Log lines about a full synchronisation that came to its end.
    pub synchronised: u64,
    /// Microseconds that each look at the counter takes.
    tick_us: u64,
    /// When the node wants its next turn.
    deadline: Option<u64>,
    writers: BTreeMap<JobId, Writer>,
    readers: BTreeMap<JobId, VecDeque<FileEvent>>,
    inputs: VecDeque<Input>,
    snapshot_inputs: VecDeque<Input>,
}

/// A connection.
#[derive(Default)]
pub struct Connection {
    /// What came and is no whole reply yet.
    pub received: Vec<u8>,
    /// Its far end does not read.
    pub is_deaf: bool,
    /// What it is sent is no longer replies only.
    pub is_stream: bool,
    /// Somebody looks at what it is sent.
    is_asked: bool,
}

struct Writer {
    encoder: RdbEncoder,
    target: SnapshotTarget,
    bytes: Vec<u8>,
    sent: usize,
}

struct Ticks {
    us: u64,
    step: u64,
}

impl Host for Ticks {
    fn ticks_us(&mut self) -> u64 {
        self.us += self.step;
        self.us
    }
}

fn usual() -> &'static Config {
    static USUAL: OnceLock<Config> = OnceLock::new();
    USUAL.get_or_init(|| Config::parse_text(CONF.as_bytes()).expect("our own text").config)
}

impl World {
    /// A node whose settings `change` may change, with a dump file if there is one.
    pub fn new(tick_us: u8, dump: Option<Vec<u8>>, change: impl FnOnce(&mut Config)) -> World {
        let mut config = usual().clone();
        change(&mut config);
        let now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };
        let boot = Boot { seed: [1, 2, 3, 4], load: dump.is_some(), ..Boot::default() };
        let mut world = World {
            node: Node::new(config, boot, now),
            now,
            files: dump.map(|file| ("dump.rdb".to_owned(), file)).into_iter().collect(),
            connections: BTreeMap::new(),
            willing: true,
            saves_are_held: false,
            connecting: None,
            is_over: false,
            synchronised: 0,
            tick_us: u64::from(tick_us).max(1),
            deadline: None,
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
            inputs: VecDeque::new(),
            snapshot_inputs: VecDeque::new(),
        };
        world.run();
        world
    }

    /// A client comes; none if the node refuses it.
    pub fn connect(&mut self, is_local: bool) -> Option<Handle> {
        let handle = self.node.accept(self.now, ends(is_local)).ok()?;
        self.connections.insert(handle, Connection::default());
        self.run();
        self.connections.contains_key(&handle).then_some(handle)
    }

    /// The node's wish for a master is granted.
    pub fn grant_link(&mut self) -> Option<Handle> {
        let link = self.connecting.take()?;
        let connection = Connection { is_stream: true, ..Connection::default() };
        self.connections.insert(link, connection);
        self.give(Input::Connected { link, result: Ok(ends(true)) });
        self.connections.contains_key(&link).then_some(link)
    }

    /// Bytes arrive, the first ones in pieces of `step`; printed, if `RUSSET_FUZZ_SHOW` is set. What the node does not want to
    /// read is lost.
    pub fn send(&mut self, handle: Handle, bytes: &[u8], step: usize) {
        if shows() {
            eprintln!("to {}, by {step}: {}", handle.index, bytes.escape_ascii());
        }
        let (first, rest) = bytes.split_at(bytes.len().min(step.max(1).saturating_mul(PIECES_MAX)));
        for piece in first.chunks(step.max(1)).chain(rest.chunks(usize::MAX)) {
            if !self.connections.contains_key(&handle) || self.is_over {
                return;
            }
            if let Some(buffer) = self.node.read_buffer(handle) {
                buffer.extend_from_slice(piece);
                self.node.received(self.now, handle);
            }
            self.run();
        }
    }

    /// The far end goes away.
    pub fn hang_up(&mut self, handle: Handle) {
        if self.connections.remove(&handle).is_some() {
            self.give(Input::Closed(handle));
        }
    }

    /// An event.
    pub fn give(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.run();
    }

    /// Time passes; the wall clock may go elsewhere.
    pub fn advance(&mut self, ms: u64, wall_ms: i64) {
        self.now.mono_us += ms * 1000;
        self.now.wall_us += wall_ms * 1000;
        self.run();
    }

    /// Works until the node waits for a time to come or for an event.
    pub fn run(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if self.is_over {
                return;
            }
            if self.deadline.is_some_and(|at| at <= self.now.mono_us) {
                let mut host = Ticks { us: self.now.mono_us, step: self.tick_us };
                self.node.turn(self.now, &mut host);
            }
            self.deadline = self.drain();
            let wrote = self.flush();
            // Whoever raises it wants more memory than this world has.
            let string_max = &mut self.node.config.proto_max_bulk_len;
            *string_max = (*string_max).min(STRING_BYTES_MAX);
            if let Some(input) = self.next_input() {
                self.node.handle(self.now, input);
            } else if !wrote && self.deadline.is_none_or(|at| at > self.now.mono_us) {
                return self.check();
            }
        }
        panic!("the node is busy for ever");
    }

    fn next_input(&mut self) -> Option<Input> {
        match self.inputs.pop_front() {
            None if !self.saves_are_held => self.snapshot_inputs.pop_front(),
            input => input,
        }
    }

    fn drain(&mut self) -> Option<u64> {
        for _ in 0..OUTPUTS_MAX {
            match self.node.poll_output(self.now) {
                Output::Wait(deadline) => {
                    let is_past = |at| at != 0 && at <= self.now.mono_us;
                    assert!(!deadline.is_some_and(is_past), "it waits for a time that is past");
                    return deadline;
                }
                output => self.act(output),
            }
        }
        panic!("requests without end");
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Wait(_)
            | Output::Garbage(_)
            | Output::Status(_)
            | Output::Ready { .. }
            | Output::Gather(_) => {}
            Output::Close(handle) => {
                self.connections.remove(&handle);
                self.connecting = self.connecting.take().filter(|link| *link != handle);
            }
            Output::Connect { link, .. } => self.connecting = Some(link),
            Output::Log { text, .. } => {
                assert!(!text.contains(char::is_control), "{text:?} is more than a line");
                self.synchronised += u64::from(text.ends_with("sync: Finished with success"));
            }
            Output::Exit(_) => self.is_over = true,
            Output::Ask { ask, .. } => {
                let answer = if self.willing { Ok(()) } else { Err("no".to_owned()) };
                self.inputs.push_back(Input::Answer { ask, answer });
            }
            Output::SnapshotBegin { job, target, settings, aux } => {
                let mut encoder = RdbEncoder::new(settings);
                let mut bytes = Vec::new();
                let aux: Vec<(&str, &[u8])> = aux.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
                encoder.begin(&aux, &mut bytes);
                self.writers.insert(job, Writer { encoder, target, bytes, sent: 0 });
            }
            Output::SnapshotChunk { job, chunk } => {
                let Some(writer) = self.writers.get_mut(&job) else { return };
                writer.encoder.chunk(&chunk, &mut writer.bytes);
                let event = SnapshotEvent::Consumed(chunk.len_bytes() as u64);
                self.snapshot_inputs.push_back(Input::Snapshot { job, event });
                self.stream(job);
            }
            Output::SnapshotEnd { job } => self.end_snapshot(job),
            Output::SnapshotAbort { job } => {
                self.writers.remove(&job);
                self.snapshot_inputs
                    .retain(|i| !matches!(i, Input::Snapshot { job: of, .. } if *of == job));
            }
            Output::Read { job, path } => self.read(job, &path),
            Output::ReadMore { job } => self.read_more(job),
            Output::ReadStop { job } => {
                self.readers.remove(&job);
                self.inputs.retain(|i| !matches!(i, Input::File { job: of, .. } if *of == job));
            }
        }
    }

    /// What is encoded of a snapshot for replicas goes back to the node.
    fn stream(&mut self, job: JobId) {
        let Some(writer) = self.writers.get_mut(&job) else { return };
        if writer.target == SnapshotTarget::Stream {
            let event = SnapshotEvent::Bytes(writer.bytes[writer.sent..].to_vec());
            writer.sent = writer.bytes.len();
            self.snapshot_inputs.push_back(Input::Snapshot { job, event });
        }
    }

    fn end_snapshot(&mut self, job: JobId) {
        let Some(writer) = self.writers.get_mut(&job) else { return };
        writer.encoder.finish(&mut writer.bytes);
        self.stream(job);
        let Some(writer) = self.writers.remove(&job) else { return };
        let event = match writer.target {
            _ if !self.willing => SnapshotEvent::Failed("the disk is full".to_owned()),
            SnapshotTarget::Stream => SnapshotEvent::Done(writer.bytes.len() as u64),
            SnapshotTarget::File { path } => {
                let len = writer.bytes.len() as u64;
                self.files.insert(path, writer.bytes);
                SnapshotEvent::Done(len)
            }
        };
        self.snapshot_inputs.push_back(Input::Snapshot { job, event });
    }

    fn read(&mut self, job: JobId, path: &str) {
        let events = match self.files.get(path) {
            None => VecDeque::from([FileEvent::Missing]),
            Some(bytes) => {
                let opened = FileEvent::Opened(bytes.len() as u64);
                let pieces = bytes.chunks(PIECE_BYTES).map(|p| FileEvent::Bytes(p.to_vec()));
                let end = match self.willing {
                    true => FileEvent::End,
                    false => FileEvent::Failed("the disk is broken".to_owned()),
                };
                std::iter::once(opened).chain(pieces).chain([end]).collect()
            }
        };
        self.readers.insert(job, events);
        (0..3).for_each(|_| self.read_more(job));
    }

    fn read_more(&mut self, job: JobId) {
        let Some(events) = self.readers.get_mut(&job) else { return };
        let Some(event) = events.pop_front() else { return };
        self.inputs.push_back(Input::File { job, event });
        if events.len() == 1 {
            // Behind the last piece nobody needs to ask.
            let event = events.pop_front().expect("one is left");
            self.inputs.push_back(Input::File { job, event });
        }
    }

    /// Writes what those who read are to get. False if there was nothing.
    fn flush(&mut self) -> bool {
        let mut dirty = Vec::new();
        self.node.take_dirty(&mut dirty);
        let mut wrote = false;
        for handle in dirty {
            wrote |= self.flush_one(handle);
        }
        wrote
    }

    fn flush_one(&mut self, handle: Handle) -> bool {
        let Some(connection) = self.connections.get_mut(&handle) else { return false };
        if connection.is_deaf {
            return false;
        }
        let mut wrote = false;
        while let Some(outbox) = self.node.outbox(handle).filter(|outbox| outbox.has_open_bytes()) {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = outbox.open_slices(&mut slices);
            let before = connection.received.len();
            slices[..count].iter().for_each(|slice| connection.received.extend_from_slice(slice));
            let bytes = connection.received.len() - before;
            assert!(bytes > 0, "open bytes were promised");
            self.node.written(handle, bytes);
            wrote = true;
        }
        wrote
    }

    /// Somebody reads, or stops reading.
    pub fn set_deaf(&mut self, handle: Handle, is_deaf: bool) {
        if let Some(connection) = self.connections.get_mut(&handle) {
            connection.is_deaf = is_deaf;
            self.flush_one(handle);
            self.run();
        }
    }

    /// What must hold whenever the node waits.
    fn check(&mut self) {
        for (handle, connection) in &mut self.connections {
            let Some(client) = self.node.clients.get(*handle) else {
                panic!("{handle:?} was forgotten without a word");
            };
            connection.is_stream |= client.is_replica() || client.is_master_link();
            if connection.is_asked {
                continue;
            }
            if connection.is_stream {
                connection.received.clear();
                continue;
            }
            replies::take_whole(&mut connection.received);
            let waits = client.blocked.is_some() || client.transaction.running;
            let whole = connection.received.is_empty() || waits || connection.is_deaf;
            let rest = connection.received.escape_ascii();
            assert!(whole, "a reply is only half there: {rest}");
            let limit = self.node.config.client_output_buffer_limit.normal.hard_bytes;
            let len = client.wire.outbox.len() as u64;
            let is_bounded = len <= OUTPUT_BYTES_MAX || limit != OUTPUT_BYTES_MAX;
            assert!(is_bounded || client.closing, "{len} bytes wait for one who does not read");
        }
    }

    /// Sends a command, and gives what the node says to it.
    pub fn ask(&mut self, handle: Handle, words: &[&str]) -> Vec<u8> {
        let Some(connection) = self.connections.get_mut(&handle) else { return Vec::new() };
        connection.is_asked = true;
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.send(handle, &commands::encoded(&words, false), usize::MAX);
        let Some(connection) = self.connections.get_mut(&handle) else { return Vec::new() };
        connection.is_asked = false;
        std::mem::take(&mut connection.received)
    }
}

fn shows() -> bool {
    static SHOWS: OnceLock<bool> = OnceLock::new();
    *SHOWS.get_or_init(|| std::env::var_os("RUSSET_FUZZ_SHOW").is_some())
}

fn ends(is_local: bool) -> Endpoints {
    let host = if is_local { [127, 0, 0, 1] } else { [10, 0, 0, 1] };
    Endpoints::Tcp { peer: (host, 50_000).into(), local: ([127, 0, 0, 1], 6379).into() }
}
