//! An in-process driver of one node, for tests, transcripts, fuzz targets and benchmarks.
//!
//! Time is virtual. Files are a map, snapshots are encoded by the engine's own encoder, and a
//! connection is two buffers. Outputs of the node are carried out at once, unless a test delays them
//! or lets them fail:
//!
//! | part | replaces | faults |
//! |---|---|---|
//! | [`Connection`] | sockets | pieces of any length, a peer that reads slowly or not at all |
//! | [`Snapshots`] | the snapshot writer | delayed results, failures, a writer that hangs |
//! | [`Reads`] | the file reader | delayed pieces, short pieces, failures |
//! | [`Appends`] | the threads that append to files | steps and syncs that wait, failures |
//! | [`Scripts`] | programs of a Sentinel | ends that tests choose |
//! | [`Requests`] | other actions of the shell | delayed answers, errors |
//!
//! A round has the same order as the shell's: reads, events, a turn, then outputs and writes until
//! there are none. The driver asserts the node's side of the contract of [`russet_engine::io`].

mod appends;
mod connections;
pub mod mirror;
pub mod peers;
mod reads;
mod requests;
mod scripts;
mod snapshots;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use russet_engine::config::Config;
use russet_engine::io::{
    Handle, Host, Input, JobId, Now, Output, ProcessMetrics, ScriptOutcome, Status,
};
use russet_engine::node::{Boot, Node, Seeds};

pub use appends::Appends;
pub use connections::Connection;
use connections::Connections;
pub use reads::Reads;
pub use requests::Requests;
pub use scripts::{Script, Scripts};
pub use snapshots::Snapshots;

/// Files by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The time at which a node starts: in November 2023.
pub const START: Now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };

/// Maximum number of rounds without progress of time.
const ROUNDS_MAX: usize = 100_000;

/// Maximum number of outputs after one call.
const OUTPUTS_MAX: usize = 100_000;

/// A driven node.
pub struct Driver {
    /// The node.
    pub node: Node,
    /// Both clocks.
    pub now: Now,
    /// Microseconds by which each read advances the tick counter; with 0, slices never end early.
    pub tick_us: u64,
    /// Memory that the process may use; 0: unknown.
    pub memory_bytes: u64,
    /// The files.
    pub files: Files,
    /// Snapshots being written.
    pub snapshots: Snapshots,
    /// Files being read.
    pub reads: Reads,
    /// Files that are appended to.
    pub appends: Appends,
    /// Requests of the node.
    pub requests: Requests,
    /// Scripts that the node runs.
    pub scripts: Scripts,
    /// Connections that the node closed.
    pub closed: Vec<Handle>,
    /// Outgoing connections that the node requested and has not closed.
    pub connecting: Vec<Handle>,
    /// Where open outgoing connections and those lead: host and port.
    pub targets: BTreeMap<Handle, (String, u16)>,
    /// Log lines.
    pub log: Vec<String>,
    /// The role of the last one.
    pub log_role: char,
    /// The reports of the node that it is ready: whether it waits for its master.
    pub ready: Vec<bool>,
    /// Connections without TCP_NODELAY.
    pub delayed: Vec<Handle>,
    /// Number of values to be freed on another thread.
    pub garbage: usize,
    /// The exit status of the node. It is not driven any further.
    pub exit: Option<i32>,
    /// Called after each round, to revert changes of the node that a test does not allow.
    pub after_round: Option<fn(&mut Node)>,
    /// Events to deliver to the node.
    pub inputs: VecDeque<Input>,
    connections: Connections,
    /// The node's deadline for its next turn.
    deadline: Option<u64>,
}

/// A tick counter that advances with each read, so that slices of work end.
struct Ticks {
    us: u64,
    step_us: u64,
    memory_bytes: u64,
}

impl Host for Ticks {
    fn ticks_us(&mut self) -> u64 {
        self.us += self.step_us;
        self.us
    }

    fn process(&mut self) -> ProcessMetrics {
        ProcessMetrics { memory_limit_bytes: self.memory_bytes, ..ProcessMetrics::default() }
    }
}

impl Driver {
    /// Starts a node with this configuration text and no files.
    pub fn new(conf: &str) -> Driver {
        Driver::with_files(conf, Files::new())
    }

    /// Starts a node with files, from which it loads its data.
    pub fn with_files(conf: &str, files: Files) -> Driver {
        let mut config = Config::parse_text(conf.as_bytes()).expect("the test's conf").config;
        config.dir = b"/data".to_vec();
        let boot = Boot {
            seeds: Seeds::derive([1, 2, 3, 4]),
            pid: 42,
            load: !files.is_empty() || config.appendonly,
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

    /// Creates a node without running it.
    pub fn idle(config: Config, boot: Boot, files: Files, now: Now) -> Driver {
        Driver {
            node: Node::new(config, boot, now),
            now,
            tick_us: 1,
            memory_bytes: 0,
            files,
            snapshots: Snapshots::default(),
            reads: Reads::default(),
            appends: Appends::default(),
            requests: Requests::default(),
            scripts: Scripts::default(),
            closed: Vec::new(),
            connecting: Vec::new(),
            targets: BTreeMap::new(),
            log: Vec::new(),
            log_role: ' ',
            ready: Vec::new(),
            delayed: Vec::new(),
            garbage: 0,
            exit: None,
            after_round: None,
            inputs: VecDeque::new(),
            connections: Connections::default(),
            deadline: Some(0),
        }
    }

    /// Advances time and runs each turn at the node's deadline.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now.mono_us + time.as_micros() as u64;
        self.run();
        while self.now.mono_us < end {
            let next = self.deadline.map_or(end, |due| due.clamp(self.now.mono_us + 1, end));
            self.jump_us(next - self.now.mono_us);
            self.run();
        }
    }

    /// Advances time by milliseconds.
    pub fn advance_ms(&mut self, ms: u64) {
        self.advance(Duration::from_millis(ms));
    }

    /// Advances time without turns, as for a suspended process, then runs the node.
    pub fn jump(&mut self, time: Duration) {
        self.jump_us(time.as_micros() as u64);
        self.run();
    }

    fn jump_us(&mut self, us: u64) {
        self.now.mono_us += us;
        self.now.wall_us += us.cast_signed();
    }

    /// Delivers an event and runs the node.
    pub fn input(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.run();
    }

    /// Runs the node until it waits for an event or a deadline.
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
            has_news |= self.flush() > 0;
            if let Some(after_round) = self.after_round {
                after_round(&mut self.node);
            }
            if self.exit.is_some() || !(has_news || is_due || self.has_work()) {
                return;
            }
        }
        panic!("the node never becomes idle");
    }

    /// Runs one turn of the node.
    pub fn turn(&mut self) {
        let (us, step_us, memory_bytes) = (self.now.mono_us, self.tick_us, self.memory_bytes);
        self.node.turn(self.now, &mut Ticks { us, step_us, memory_bytes });
    }

    /// Carries out outputs and writes to connections until there is nothing left. Returns the number
    /// of bytes written.
    pub fn flush(&mut self) -> usize {
        let mut written = 0;
        loop {
            self.perform_outputs();
            match self.connections.write_dirty(&mut self.node) {
                None => return written,
                Some(bytes) => written += bytes,
            }
        }
    }

    /// Returns the node's deadline for its next turn.
    pub fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// Whether the node has work to do at this time.
    pub fn has_work(&self) -> bool {
        let is_due = self.deadline.is_some_and(|due| due <= self.now.mono_us);
        is_due || !self.inputs.is_empty()
    }

    fn perform_outputs(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            match self.node.poll_output(self.now) {
                Output::Wait(deadline) => {
                    let is_past = |due| due != 0 && due <= self.now.mono_us;
                    assert!(!deadline.is_some_and(is_past), "the deadline has passed");
                    self.deadline = deadline;
                    return;
                }
                output => self.perform(output),
            }
        }
        panic!("endless outputs");
    }

    fn perform(&mut self, output: Output) {
        let inputs = &mut self.inputs;
        match output {
            Output::Status(Status::Ready { waits_for_master }) => self.ready.push(waits_for_master),
            Output::Wait(_) | Output::Status(_) => {}
            Output::Close(handle) => {
                self.connections.close(&mut self.node, handle);
                self.connecting.retain(|link| *link != handle);
                self.targets.remove(&handle);
                self.closed.push(handle);
            }
            Output::Connect { link, host, port } => {
                self.connecting.push(link);
                self.targets.insert(link, (host, port));
            }
            Output::RunScript { job, path, arguments } => {
                self.scripts.run(job, path, arguments, inputs);
            }
            Output::KillScript { job } => self.scripts.kill(job, inputs),
            Output::Log { text, role, .. } => {
                self.log_role = role;
                assert!(!text.contains(char::is_control), "{text:?} is more than a line");
                self.log.push(text);
            }
            Output::Exit(status) => self.exit = Some(status),
            Output::Request { id, request } => {
                self.requests.add(id, request, &mut self.files, inputs);
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
            Output::Append { job, step } => {
                self.appends.step(job, step, &mut self.files, inputs);
            }
            Output::DisableNoDelay(handle) => self.delayed.push(handle),
            Output::Garbage(_) => self.garbage += 1,
        }
    }

    /// Answers the oldest pending request.
    pub fn answer(&mut self) {
        let input = self.requests.answer(&mut self.files).expect("a pending request");
        self.input(input);
    }

    /// Ends a script that runs.
    pub fn end_script(&mut self, job: JobId, outcome: ScriptOutcome) {
        self.scripts.end(job, outcome, &mut self.inputs);
        self.run();
    }

    /// Delivers the held events of snapshots.
    pub fn deliver_saves(&mut self) {
        self.inputs.append(&mut self.snapshots.held_events);
        self.run();
    }

    /// Carries out the next steps of files that are appended to, which were held.
    pub fn do_appends(&mut self, steps: usize) {
        self.appends.carry_out(steps, &mut self.files, &mut self.inputs);
        self.run();
    }

    /// Finishes the syncs that were held.
    pub fn finish_syncs(&mut self) {
        self.appends.finish_syncs(&mut self.inputs);
        self.run();
    }

    /// Delivers the next held events of files.
    pub fn deliver_reads(&mut self, events: usize) {
        let events = events.min(self.reads.held_events.len());
        self.inputs.extend(self.reads.held_events.drain(..events));
        self.run();
    }
}
