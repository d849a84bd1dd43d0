//! A small world around one node, for tests in process: it plays the shell.
//!
//! Snapshots are encoded into a map of files, reads come from it, questions are answered with yes unless a test says
//! otherwise, and the clock moves when a test says so.
#![allow(dead_code, reason = "each test file uses its share of it")]

pub mod peers;

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;

use russet_engine::config::Config;
use russet_engine::io::{
    Endpoints, FileEvent, Handle, Host, Input, JobId, Now, Output, Request, SnapshotEvent,
    SnapshotTarget,
};
use russet_engine::persist::rdb_save::RdbEncoder;
use russet_engine::{Boot, Node};

/// A node and what it believes to be the world.
pub struct World {
    pub node: Node,
    pub now: Now,
    /// The disk.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Bytes written to connections and not taken by a test.
    pub written: BTreeMap<Handle, Vec<u8>>,
    /// Connections that the node closed.
    pub closed: Vec<Handle>,
    /// Log lines.
    pub log: Vec<String>,
    /// Questions so far.
    pub requests: Vec<Request>,
    /// Answers to the next questions; when there are none left, yes.
    pub answers: VecDeque<Result<(), String>>,
    /// Questions stay open until [`World::answer`].
    pub hold_answers: bool,
    /// Snapshots are encoded but do not end until [`World::end_saves`].
    pub hold_saves: bool,
    /// Whether the writer of snapshots takes chunks and does nothing with them.
    pub writer_hangs: bool,
    /// Files are opened and read no further than [`World::read_on`] lets them.
    pub hold_reads: bool,
    /// Paths of files that were to be read.
    pub reads: Vec<String>,
    /// How often a further piece of a file was asked for.
    pub read_more: usize,
    /// How many bytes connections still take; who is not named takes all.
    pub room: BTreeMap<Handle, usize>,
    /// Bytes of a file that arrive at once.
    pub piece: usize,
    /// Things dropped elsewhere.
    pub garbage: usize,
    /// What the next snapshots fail with.
    pub save_errors: VecDeque<String>,
    /// Each time that the node said it is ready: whether it waits for its master.
    pub ready: Vec<bool>,
    /// Connections whose packets may be gathered.
    pub gathered: Vec<Handle>,
    /// The status with which the node left.
    pub exit: Option<i32>,
    /// When the node wants its next turn.
    deadline: Option<u64>,
    open_asks: VecDeque<(russet_engine::io::AskId, Result<(), String>)>,
    saves: BTreeMap<JobId, Save>,
    ended: VecDeque<(JobId, SnapshotEvent)>,
    /// Events of files that are held.
    pub held_reads: VecDeque<Input>,
    inputs: VecDeque<Input>,
}

struct Save {
    encoder: RdbEncoder,
    bytes: Vec<u8>,
    target: SnapshotTarget,
}

struct Ticks(u64);

impl Host for Ticks {
    fn ticks_us(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl World {
    /// A world whose node has this configuration text.
    pub fn new(conf: &str) -> World {
        World::with_files(conf, BTreeMap::new())
    }

    /// The same, with a disk.
    pub fn with_files(conf: &str, files: BTreeMap<String, Vec<u8>>) -> World {
        let mut config = Config::parse_text(conf.as_bytes()).expect("the test's conf").config;
        config.dir = b"/data".to_vec();
        let boot = Boot {
            seed: [1, 2, 3, 4],
            pid: 42,
            load: !files.is_empty(),
            config_file: Some("/etc/russet.conf".to_owned()),
            ..Boot::default()
        };
        let now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };
        let mut world = World {
            node: Node::new(config, boot, now),
            now,
            files,
            written: BTreeMap::new(),
            closed: Vec::new(),
            log: Vec::new(),
            requests: Vec::new(),
            answers: VecDeque::new(),
            hold_answers: false,
            hold_saves: false,
            writer_hangs: false,
            hold_reads: false,
            reads: Vec::new(),
            read_more: 0,
            room: BTreeMap::new(),
            piece: 64,
            garbage: 0,
            save_errors: VecDeque::new(),
            ready: Vec::new(),
            gathered: Vec::new(),
            exit: None,
            deadline: None,
            open_asks: VecDeque::new(),
            saves: BTreeMap::new(),
            ended: VecDeque::new(),
            held_reads: VecDeque::new(),
            inputs: VecDeque::new(),
        };
        world.run();
        world
    }

    /// A connection from this machine.
    pub fn connect(&mut self) -> Handle {
        self.connect_from("127.0.0.1:50000")
    }

    /// A connection from elsewhere.
    pub fn connect_from(&mut self, peer: &str) -> Handle {
        let peer = peer.parse().expect("an address");
        let local = "127.0.0.1:6379".parse().expect("an address");
        self.node.accept(self.now, Endpoints::Tcp { peer, local }).expect("the node accepts")
    }

    /// Sends bytes and lets everybody work until nothing is left to do.
    pub fn send(&mut self, client: Handle, bytes: &[u8]) {
        if let Some(buffer) = self.node.read_buffer(client) {
            buffer.extend_from_slice(bytes);
            self.node.received(self.now, client);
        }
        self.run();
    }

    /// Sends an inline request and gives the reply's bytes as text.
    pub fn ask(&mut self, client: Handle, line: &str) -> String {
        self.send(client, format!("{line}\r\n").as_bytes());
        self.take(client)
    }

    /// What a connection has been sent since it was last asked.
    pub fn take(&mut self, client: Handle) -> String {
        let bytes = self.written.remove(&client).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The far end goes away.
    pub fn hang_up(&mut self, client: Handle) {
        self.inputs.push_back(Input::Closed(client));
        self.run();
    }

    /// Moves both clocks and lets everybody work.
    pub fn advance_ms(&mut self, ms: u64) {
        self.now.mono_us += ms * 1000;
        self.now.wall_us += i64::try_from(ms).expect("a test's time") * 1000;
        self.run();
    }

    /// Answers the question that has been open longest.
    pub fn answer(&mut self) {
        let (ask, answer) = self.open_asks.pop_front().expect("a question is open");
        self.inputs.push_back(Input::Answer { ask, answer });
        self.run();
    }

    /// Lets held snapshots end.
    pub fn end_saves(&mut self) {
        for (job, event) in std::mem::take(&mut self.ended) {
            self.inputs.push_back(Input::Snapshot { job, event });
        }
        self.run();
    }

    /// Delivers the next events of held files.
    pub fn read_on(&mut self, events: usize) {
        for _ in 0..events {
            self.inputs.extend(self.held_reads.pop_front());
        }
        self.run();
    }

    /// A connection takes so many bytes more, of those that wait and of those to come.
    pub fn take_bytes(&mut self, client: Handle, bytes: usize) {
        *self.room.entry(client).or_default() += bytes;
        self.write(client);
        self.run();
    }

    /// Works until the node waits for a time to come.
    pub fn run(&mut self) {
        for _ in 0..100_000 {
            if self.deadline.is_some_and(|at| at <= self.now.mono_us) {
                let mut host = Ticks(self.now.mono_us);
                self.node.turn(self.now, &mut host);
            }
            self.deadline = self.drain();
            while self.flush() {
                self.deadline = self.drain();
            }
            if let Some(input) = self.inputs.pop_front() {
                self.node.handle(self.now, input);
            } else if self.deadline.is_none_or(|at| at > self.now.mono_us) {
                return;
            }
        }
        panic!("the node is busy for ever");
    }

    fn drain(&mut self) -> Option<u64> {
        loop {
            match self.node.poll_output(self.now) {
                Output::Wait(deadline) => return deadline,
                Output::Close(handle) => self.closed.push(handle),
                Output::Log { text, .. } => self.log.push(text),
                Output::Exit(status) => self.exit = Some(status),
                Output::Ask { ask, request } => self.asked(ask, request),
                Output::SnapshotBegin { job, target, settings, aux } => {
                    let mut save =
                        Save { encoder: RdbEncoder::new(settings), bytes: Vec::new(), target };
                    let aux: Vec<(&str, &[u8])> =
                        aux.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
                    save.encoder.begin(&aux, &mut save.bytes);
                    self.saves.insert(job, save);
                }
                Output::SnapshotChunk { job, chunk } => {
                    let len = chunk.len_bytes() as u64;
                    let save = self.saves.get_mut(&job).expect("it has begun");
                    save.encoder.chunk(&chunk, &mut save.bytes);
                    if !self.writer_hangs {
                        let event = SnapshotEvent::Consumed(len);
                        self.inputs.push_back(Input::Snapshot { job, event });
                    }
                }
                Output::SnapshotEnd { job } => self.save_ends(job),
                Output::SnapshotAbort { job } => {
                    self.saves.remove(&job);
                    self.ended.retain(|(of, _)| *of != job);
                    self.inputs
                        .retain(|i| !matches!(i, Input::Snapshot { job: of, .. } if *of == job));
                }
                Output::Read { job, path } => self.read(job, &path),
                Output::ReadStop { job } => {
                    let other = |i: &Input| !matches!(i, Input::File { job: of, .. } if *of == job);
                    self.inputs.retain(other);
                    self.held_reads.retain(other);
                }
                Output::Ready { waits_for_master } => self.ready.push(waits_for_master),
                Output::Gather(handle) => self.gathered.push(handle),
                Output::ReadMore { .. } => self.read_more += 1,
                Output::Garbage(_) => self.garbage += 1,
                Output::Connect { .. } | Output::Status(_) => {}
            }
        }
    }

    fn asked(&mut self, ask: russet_engine::io::AskId, request: Request) {
        self.requests.push(request);
        let answer = self.answers.pop_front().unwrap_or(Ok(()));
        if self.hold_answers {
            self.open_asks.push_back((ask, answer));
        } else {
            self.inputs.push_back(Input::Answer { ask, answer });
        }
    }

    fn save_ends(&mut self, job: JobId) {
        let mut save = self.saves.remove(&job).expect("it has begun");
        save.encoder.finish(&mut save.bytes);
        let event = match self.save_errors.pop_front() {
            Some(why) => SnapshotEvent::Failed(why),
            None => {
                let len = save.bytes.len() as u64;
                match save.target {
                    SnapshotTarget::File { path } => {
                        self.files.insert(path, save.bytes);
                    }
                    SnapshotTarget::Stream => {
                        self.snapshot_news(job, SnapshotEvent::Bytes(save.bytes));
                    }
                }
                SnapshotEvent::Done(len)
            }
        };
        self.snapshot_news(job, event);
    }

    fn snapshot_news(&mut self, job: JobId, event: SnapshotEvent) {
        if self.hold_saves {
            self.ended.push_back((job, event));
        } else {
            self.inputs.push_back(Input::Snapshot { job, event });
        }
    }

    fn read(&mut self, job: JobId, path: &str) {
        self.reads.push(path.to_owned());
        let Some(bytes) = self.files.get(path) else {
            self.inputs.push_back(Input::File { job, event: FileEvent::Missing });
            return;
        };
        let opened = FileEvent::Opened(bytes.len() as u64);
        let pieces = bytes.chunks(self.piece).map(|piece| FileEvent::Bytes(piece.to_vec()));
        for event in std::iter::once(opened).chain(pieces).chain([FileEvent::End]) {
            let events = if self.hold_reads { &mut self.held_reads } else { &mut self.inputs };
            events.push_back(Input::File { job, event });
        }
    }

    /// Writes what dirty connections have. False if there were none.
    fn flush(&mut self) -> bool {
        let mut dirty = Vec::new();
        self.node.take_dirty(&mut dirty);
        let any = !dirty.is_empty();
        dirty.into_iter().for_each(|handle| self.write(handle));
        any
    }

    fn write(&mut self, handle: Handle) {
        let Some(outbox) = self.node.outbox(handle) else { return };
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = outbox.open_slices(&mut slices);
        let mut bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.iter().copied()).collect();
        if let Some(room) = self.room.get_mut(&handle) {
            bytes.truncate(*room);
            *room -= bytes.len();
        }
        self.written.entry(handle).or_default().extend_from_slice(&bytes);
        self.node.written(handle, bytes.len());
    }
}
