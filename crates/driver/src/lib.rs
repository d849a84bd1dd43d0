//! Plays the shell for one node, in process: what tests, transcripts, fuzz targets and benchmarks drive it with.
//!
//! Time goes by when a test says so. Files are a map, snapshots are encoded by the engine's own encoders, a connection is two
//! buffers of bytes. Whatever the node asks for is done at once, unless a test holds it back or lets it fail:
//!
//! | part | plays | faults |
//! |---|---|---|
//! | [`Connection`] | sockets | pieces of any length, a far end that takes only so many bytes or none |
//! | [`Snapshots`] | the snapshot writer | results that are held, failures, a writer that hangs |
//! | [`Reads`] | the file reader | pieces that are held, short pieces, failures |
//! | [`Requests`] | the rest of the world | answers that are held or negative |
//!
//! The order of a round is the shell's: read, events, a turn, then outputs and writes until there are none. The node's side of the
//! contract of [`russet_engine::io`] is asserted on the way.

mod connections;
pub mod mirror;
pub mod peers;
mod reads;
mod requests;
mod snapshots;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use russet_engine::config::Config;
use russet_engine::io::{Handle, Host, Input, Now, Output, Status};
use russet_engine::{Boot, Node};

pub use connections::Connection;
use connections::Connections;
pub use reads::Reads;
pub use requests::Requests;
pub use snapshots::Snapshots;

/// The disk: files by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// When a node starts: some time in November 2023.
pub const START: Now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };

/// Rounds at one time before the node counts as busy for ever.
const ROUNDS_MAX: usize = 100_000;

/// Outputs after one call before they count as endless.
const OUTPUTS_MAX: usize = 100_000;

/// A node and what it believes to be the world.
pub struct Driver {
    /// The node.
    pub node: Node,
    /// Both clocks.
    pub now: Now,
    /// Microseconds that each look at the tick counter takes; with none, slices of work never end early.
    pub tick_us: u64,
    /// The disk.
    pub files: Files,
    /// Snapshots being written.
    pub snapshots: Snapshots,
    /// Files being read.
    pub reads: Reads,
    /// What the node requested of the world.
    pub requests: Requests,
    /// Connections that the node closed.
    pub closed: Vec<Handle>,
    /// Connections that the node wants to be opened, and has not closed since.
    pub connecting: Vec<Handle>,
    /// Log lines.
    pub log: Vec<String>,
    /// Each time that the node reported to be ready: whether it waits for its master.
    pub ready: Vec<bool>,
    /// Connections whose packets may be gathered.
    pub gathered: Vec<Handle>,
    /// How many things were to be dropped elsewhere.
    pub garbage: usize,
    /// The status with which the node left. It is driven no further.
    pub exit: Option<i32>,
    /// Called after each round, to undo what a test does not want to happen to the node.
    pub after_round: Option<fn(&mut Node)>,
    /// Events that the node has yet to see.
    pub inputs: VecDeque<Input>,
    connections: Connections,
    /// When the node wants its next turn.
    deadline: Option<u64>,
}

/// A counter that goes on with each look, so that slices of work end.
struct Ticks {
    us: u64,
    step_us: u64,
}

impl Host for Ticks {
    fn ticks_us(&mut self) -> u64 {
        self.us += self.step_us;
        self.us
    }
}

impl Driver {
    /// A node with this configuration text and an empty disk.
    pub fn new(conf: &str) -> Driver {
        Driver::with_files(conf, Files::new())
    }

    /// The same with a disk, from which it loads its data.
    pub fn with_files(conf: &str, files: Files) -> Driver {
        let mut config = Config::parse_text(conf.as_bytes()).expect("the test's conf").config;
        config.dir = b"/data".to_vec();
        let boot = Boot {
            seed: [1, 2, 3, 4],
            pid: 42,
            load: !files.is_empty(),
            config_file: Some("/etc/russet.conf".to_owned()),
            ..Boot::default()
        };
        Driver::start(config, boot, files)
    }

    /// Starts a node.
    pub fn start(config: Config, boot: Boot, files: Files) -> Driver {
        let mut driver = Driver::idle(config, boot, files, START);
        driver.run();
        driver
    }

    /// A node that has had no turn yet.
    pub fn idle(config: Config, boot: Boot, files: Files, now: Now) -> Driver {
        Driver {
            node: Node::new(config, boot, now),
            now,
            tick_us: 1,
            files,
            snapshots: Snapshots::default(),
            reads: Reads::default(),
            requests: Requests::default(),
            closed: Vec::new(),
            connecting: Vec::new(),
            log: Vec::new(),
            ready: Vec::new(),
            gathered: Vec::new(),
            garbage: 0,
            exit: None,
            after_round: None,
            inputs: VecDeque::new(),
            connections: Connections::default(),
            deadline: Some(0),
        }
    }

    /// Lets time go by: the node has each turn when it wants it.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now.mono_us + time.as_micros() as u64;
        self.run();
        while self.now.mono_us < end {
            let next = self.deadline.map_or(end, |due| due.clamp(self.now.mono_us + 1, end));
            self.jump_us(next - self.now.mono_us);
            self.run();
        }
    }

    /// Lets so many milliseconds go by.
    pub fn advance_ms(&mut self, ms: u64) {
        self.advance(Duration::from_millis(ms));
    }

    /// Time goes by without a turn, as for a process that is suspended; then the node works.
    pub fn jump(&mut self, time: Duration) {
        self.jump_us(time.as_micros() as u64);
        self.run();
    }

    fn jump_us(&mut self, us: u64) {
        self.now.mono_us += us;
        self.now.wall_us += us.cast_signed();
    }

    /// An event.
    pub fn give(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.run();
    }

    /// Works until the node waits for an event or for a time to come.
    pub fn run(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut has_news = self.read_connections();
            for _ in 0..self.inputs.len() {
                let Some(input) = self.inputs.pop_front() else { break };
                has_news = true;
                self.node.handle(self.now, input);
                self.perform_outputs();
            }
            let is_due = self.deadline.is_some_and(|due| due <= self.now.mono_us);
            if is_due || has_news {
                self.turn();
            }
            has_news |= self.settle() > 0;
            if let Some(after_round) = self.after_round {
                after_round(&mut self.node);
            }
            if self.exit.is_some() || !(has_news || is_due || self.has_work()) {
                return;
            }
        }
        panic!("the node is busy for ever");
    }

    /// One turn of the node.
    pub fn turn(&mut self) {
        self.node.turn(self.now, &mut Ticks { us: self.now.mono_us, step_us: self.tick_us });
    }

    /// Does what the node asks for and writes what it has to send, until it has nothing more; how many bytes that were.
    pub fn settle(&mut self) -> usize {
        let mut written = 0;
        loop {
            self.perform_outputs();
            match self.connections.write_dirty(&mut self.node) {
                None => return written,
                Some(bytes) => written += bytes,
            }
        }
    }

    /// Whether the node has something to do at this time.
    pub fn has_work(&self) -> bool {
        let is_due = self.deadline.is_some_and(|due| due <= self.now.mono_us);
        is_due || !self.inputs.is_empty()
    }

    fn perform_outputs(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            match self.node.poll_output(self.now) {
                Output::Wait(deadline) => {
                    let is_past = |due| due != 0 && due <= self.now.mono_us;
                    assert!(!deadline.is_some_and(is_past), "it waits for a time that is past");
                    self.deadline = deadline;
                    return;
                }
                output => self.perform(output),
            }
        }
        panic!("outputs without end");
    }

    fn perform(&mut self, output: Output) {
        let inputs = &mut self.inputs;
        match output {
            Output::Status(Status::Ready { waits_for_master }) => self.ready.push(waits_for_master),
            Output::Wait(_) | Output::Status(_) => {}
            Output::Close(handle) => {
                self.connections.close(&mut self.node, handle);
                self.connecting.retain(|link| *link != handle);
                self.closed.push(handle);
            }
            Output::Connect { link, .. } => self.connecting.push(link),
            Output::Log { text, .. } => {
                assert!(!text.contains(char::is_control), "{text:?} is more than a line");
                self.log.push(text);
            }
            Output::Exit(status) => self.exit = Some(status),
            Output::Request { id, request } => {
                self.requests.make(id, request, &mut self.files, inputs);
            }
            Output::SnapshotBegin { job, target, settings, aux } => {
                self.snapshots.begin(job, target, settings, &aux, inputs);
            }
            Output::SnapshotChunk { job, chunk } => self.snapshots.chunk(job, &chunk, inputs),
            Output::SnapshotEnd { job } => self.snapshots.end(job, &mut self.files, inputs),
            Output::SnapshotAbort { job } => self.snapshots.abort(job, inputs),
            Output::Read { job, path } => self.reads.begin(job, &path, &self.files, inputs),
            Output::ReadMore { job } => self.reads.more(job, inputs),
            Output::ReadStop { job } => self.reads.stop(job, inputs),
            Output::DisableNoDelay(handle) => self.gathered.push(handle),
            Output::Garbage(_) => self.garbage += 1,
        }
    }

    /// Answers the request that has been open longest.
    pub fn answer(&mut self) {
        let input = self.requests.answer(&mut self.files).expect("a request is open");
        self.give(input);
    }

    /// Delivers what is held of snapshots.
    pub fn end_saves(&mut self) {
        self.inputs.append(&mut self.snapshots.held_events);
        self.run();
    }

    /// Delivers the next events of files whose reading is held.
    pub fn read_on(&mut self, events: usize) {
        let events = events.min(self.reads.held_events.len());
        self.inputs.extend(self.reads.held_events.drain(..events));
        self.run();
    }
}
