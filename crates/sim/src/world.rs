//! The world: nodes, clients, network and disks under one virtual clock, and the loop that lets time pass.
//!
//! First anything may happen (*chaos*), and only what must never be is checked. Then faults end, the operators
//! arrange the nodes, and within a bounded time all must agree (*healed*).

use std::collections::{BTreeSet, VecDeque};

use russet_engine::command::table::CommandTable;
use russet_engine::config::Config;
use russet_engine::io::{Endpoints, Input, JobId, Now, Service};

use crate::chance::Chance;
use crate::client::{Client, Tenure};
use crate::clusters::{CLUSTER_START_US, ClusterWatch};
use crate::coverage::{Coverage, Worlds};
use crate::digest::Running;
use crate::disk::Disk;
use crate::durability::Durability;
use crate::history::Histories;
use crate::machine::Machine;
use crate::net::{Arrival, Conn, ConnId, Link, Owner};
use crate::node::{Bug, Injected, SentinelBug, forgets_folders};
use crate::plan::{PORT, Plan};
use crate::process::{Inbox, Process};
use crate::queue::Queue;
use crate::sentinels::{Watch, write_first};

/// Sentinels learn of replicas from INFO of their master, once in ten seconds. Of one that they have never seen they know nothing.
const LEARNING_US: u64 = 14_000_000;

/// What is due at some time.
#[derive(Debug)]
pub(crate) enum Event {
    /// Bytes, or an end, arrive.
    Arrive { conn: ConnId, direction: usize },
    /// A request to connect arrives.
    Syn { conn: ConnId, tries: u32 },
    /// A process' loop goes round.
    Loop(usize),
    /// Something for a process' inbox.
    Deliver { node: usize, incarnation: u32, item: Inbox },
    /// A writer's step.
    Write { node: usize, incarnation: u32, job: JobId },
    /// A file that is appended to takes its next steps.
    Append { node: usize, incarnation: u32, job: JobId },
    /// Its sync ends.
    AppendSync { node: usize, incarnation: u32, job: JobId },
    /// The first request about a file takes its next step.
    Job { node: usize, incarnation: u32 },
    /// A reader's step.
    Read { node: usize, incarnation: u32, job: JobId },
    /// A client acts.
    Client(usize),
    /// A slow client reads.
    ClientRead(usize),
    /// Somebody who asks nodes of a cluster acts.
    Agent(usize),
    /// The next fault.
    Fault,
    /// A process starts.
    Start(usize),
    /// An operator makes a request.
    Order { node: usize, line: String },
    /// A process is killed, if it still lives this life.
    Crash { node: usize, incarnation: u32 },
    /// A link carries again.
    Unblock { from: usize, to: usize },
    /// A disk works again.
    DiskHeals(usize),
    /// A connection that lost its peer without a word learns of it.
    Reset(ConnId),
    /// Chaos ends.
    Heal,
    /// After that: is all well yet?
    Verify,
}

/// What part of a run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Anything may fail.
    Chaos,
    /// Nothing fails any more, since this time; the root of the arrangement.
    Healed { since_us: u64, root: usize },
    /// It is over.
    Over,
}

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// What it covered.
    pub coverage: Coverage,
    /// Hash over outputs and clients' bytes.
    pub hash: u64,
    /// What was wrong, if anything was.
    pub violation: Option<String>,
    /// The last lines of the trace, if one was kept.
    pub trace: VecDeque<String>,
}

/// What every run shares, worked out once.
#[derive(Default)]
pub struct Common {
    usual: Config,
    commands: CommandTable,
    guests: Vec<Guest>,
    worlds: Worlds,
    injected: Option<Injected>,
}

impl Common {
    /// The same for worlds with machines beside the data nodes, each on a host of its own behind theirs.
    pub fn with_guests(guests: Vec<Guest>) -> Common {
        Common { guests, ..Common::default() }
    }

    /// What runs in worlds of a kind share, perhaps with a bug.
    pub fn of(worlds: Worlds, injected: Option<Injected>) -> Common {
        Common { worlds, injected, ..Common::default() }
    }
}

/// Starts a machine that is no data node, with what is random in it.
pub type Guest = fn([u64; 4], Now) -> Box<dyn Machine>;

/// How much is told of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// Nothing.
    Off,
    /// So many last lines are kept.
    Keep(usize),
    /// Every line is printed.
    Print,
}

/// See the module.
pub struct World {
    pub(crate) now: u64,
    pub(crate) queue: Queue<Event>,
    pub(crate) chance: Chance,
    pub(crate) plan: Plan,
    pub(crate) links: Vec<Vec<Link>>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) processes: Vec<Process>,
    pub(crate) clients: Vec<Client>,
    pub(crate) histories: Histories,
    /// Those whose record was given up in the middle of a transaction, and begins anew.
    pub(crate) lost_histories: BTreeSet<String>,
    pub(crate) coverage: Coverage,
    pub(crate) hash: Running,
    pub(crate) violation: Option<String>,
    pub(crate) phase: Phase,
    /// When all nodes were last seen to agree after the end of the faults.
    pub(crate) agreed_us: u64,
    /// In the healed phase: whom each node is to follow.
    pub(crate) arrangement: Vec<Option<usize>>,
    pub(crate) last_tenure: Tenure,
    pub(crate) injected: Option<Injected>,
    /// What is known of the Sentinels.
    pub(crate) watch: Watch,
    /// What is known of the cluster.
    pub(crate) cluster: ClusterWatch,
    tracing: Tracing,
    trace: VecDeque<String>,
}

/// Runs one seed.
pub fn run(common: &Common, seed: u64, tracing: Tracing) -> Report {
    let mut world = World::new(common, seed, tracing);
    world.start();
    while world.violation.is_none() && world.phase != Phase::Over {
        let Some((at, event)) = world.queue.pop() else {
            world.fail("nothing is left to happen, and the run is not over".to_owned());
            break;
        };
        world.now = at;
        world.happen(event);
    }
    world.coverage.simulated_seconds = world.now / 1_000_000;
    let machines = world.processes.iter().filter_map(|process| process.machine.as_deref());
    machines.for_each(|machine| world.coverage.add_machine(machine));
    world.coverage.kills_amid_writes = world.clients.iter().map(|client| client.speech.kills).sum();
    world.coverage.replies = world.clients.iter().map(|client| client.replies).sum();
    Report {
        coverage: world.coverage,
        hash: world.hash.0,
        violation: world.violation,
        trace: world.trace,
    }
}

impl World {
    fn new(common: &Common, seed: u64, tracing: Tracing) -> World {
        let mut chance = Chance::new(seed);
        let draw = match common.worlds {
            Worlds::Data => Plan::draw,
            Worlds::Sentinels => Plan::draw_with_sentinels,
            Worlds::Cluster => Plan::draw_with_cluster,
        };
        let bug = common.injected.and_then(Injected::of_data);
        let plan = draw(&mut chance.fork(), &common.usual, &common.commands);
        let nodes = plan.data_nodes();
        let hosts = plan.operated() + common.guests.len() + 1;
        // The last host is where clients are.
        let links = vec![vec![plan.link; hosts]; hosts];
        let process = |config: &Config| {
            let mut disk = Disk::new(forgets_folders(bug));
            disk.sync_us = plan.sync_us;
            // Where no checksum tells, zeros within a command are a value.
            disk.loses_sectors = config.aof_checksum;
            Process {
                config: config.clone(),
                durability: Durability::of(config),
                disk,
                loop_at: u64::MAX,
                ..Process::default()
            }
        };
        let guest = |guest: &Guest| Process { guest: Some(*guest), ..process(&common.usual) };
        let sentinel = |_| {
            let mut process = Process { is_sentinel: true, ..process(&common.usual) };
            write_first(&mut process.disk, &plan);
            process
        };
        let processes = plan.configs.iter().map(process);
        let processes = processes.chain((nodes..plan.operated()).map(sentinel));
        let mut processes: Vec<Process> =
            processes.chain(common.guests.iter().map(guest)).collect();
        let disks = processes.iter_mut().map(|process| &mut process.disk);
        let cluster = ClusterWatch::begin(&plan, disks, &mut chance);
        let mut clients: Vec<Client> =
            (0..plan.clients).map(|n| Client::new(n, chance.index(nodes), false)).collect();
        let operated = 0..plan.operated();
        clients.extend(operated.map(|node| Client::new(plan.clients + node, node, true)));
        World {
            now: 0,
            queue: Queue::default(),
            chance,
            links,
            conns: Vec::new(),
            processes,
            clients,
            histories: Histories::new(),
            lost_histories: BTreeSet::new(),
            coverage: Coverage::default(),
            hash: Running(seed),
            violation: None,
            phase: Phase::Chaos,
            arrangement: vec![None; hosts],
            agreed_us: 0,
            last_tenure: 0,
            plan,
            injected: common.injected,
            watch: Watch::default(),
            cluster,
            tracing,
            trace: VecDeque::new(),
        }
    }

    /// Node processes and clients begin, faults are on their way.
    fn start(&mut self) {
        for node in 0..self.processes.len() {
            for to in 0..=self.processes.len() {
                // Operators sit beside their node.
                if to == node {
                    self.links[node][to].delay_us = 10;
                    self.links[node][to].jitter_us = 0;
                }
            }
            // Else Sentinels would find a master down that was never up.
            let after = if self.processes[node].is_sentinel { 2_000_000 } else { 0 };
            let at = after + self.chance.below(2_000_000);
            self.queue.push(at, Event::Start(node));
        }
        for client in 0..self.clients.len() {
            let at = self.chance.below(3_000_000);
            self.client_acts_at(client, at);
        }
        for agent in 0..self.cluster.agents.len() {
            let at = CLUSTER_START_US + self.chance.below(3_000_000);
            self.agent_acts_at(agent, at);
        }
        let calm_us = if self.plan.sentinels.is_some() { LEARNING_US } else { 2_000_000 };
        self.queue.push(calm_us + self.plan.fault_us, Event::Fault);
        self.queue.push(self.plan.chaos_us, Event::Heal);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { conn, direction } => self.arrive(conn, direction),
            Event::Syn { conn, tries } => self.syn(conn, tries),
            Event::Loop(node) => self.go_round(node),
            Event::Deliver { node, incarnation, item } => {
                if self.lives(node, incarnation) {
                    self.deliver(node, item);
                }
            }
            Event::Write { node, incarnation, job } if self.lives(node, incarnation) => {
                self.write(node, job);
            }
            Event::Read { node, incarnation, job } if self.lives(node, incarnation) => {
                self.read(node, job);
            }
            Event::Append { node, incarnation, job } if self.lives(node, incarnation) => {
                self.append(node, job);
            }
            Event::AppendSync { node, incarnation, job } if self.lives(node, incarnation) => {
                self.append_sync(node, job);
            }
            Event::Job { node, incarnation } if self.lives(node, incarnation) => self.job(node),
            Event::Write { .. }
            | Event::Read { .. }
            | Event::Job { .. }
            | Event::Append { .. }
            | Event::AppendSync { .. } => {}
            Event::Client(client) => self.client_acts(client),
            Event::ClientRead(client) => self.client_reads(client),
            Event::Agent(agent) => self.agent_acts(agent),
            Event::Fault => self.next_fault(),
            Event::Order { node, line } => self.order(node, &line),
            Event::Start(node) => self.start_process(node),
            Event::Crash { node, incarnation } => {
                if self.lives(node, incarnation) && self.phase == Phase::Chaos {
                    self.crash(node);
                }
            }
            Event::Unblock { from, to } => self.unblock(from, to),
            Event::DiskHeals(node) => {
                let disk = &mut self.processes[node].disk;
                (disk.failing, disk.slowness, disk.sync_us) = (None, 1, self.plan.sync_us);
            }
            Event::Reset(conn) => self.reset(conn),
            Event::Heal => self.heal(),
            Event::Verify => self.verify(),
        }
    }

    /// The bug that data nodes have.
    pub(crate) fn data_bug(&self) -> Option<Bug> {
        self.injected.and_then(Injected::of_data)
    }

    /// The bug that Sentinels have.
    pub(crate) fn sentinel_bug(&self) -> Option<SentinelBug> {
        match self.injected {
            Some(Injected::Sentinel(bug)) => Some(bug),
            _ => None,
        }
    }

    /// Notes that something is wrong; the first is what counts.
    pub(crate) fn fail(&mut self, what: String) {
        self.tell(|| format!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }

    /// Adds a line to the trace, if anybody wants one.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.tracing == Tracing::Off {
            return;
        }
        let mut line = format!("{:>12.6} {}", self.now as f64 / 1e6, line());
        if let (Tracing::Keep(_), Some((end, _))) = (self.tracing, line.char_indices().nth(240)) {
            line.truncate(end);
        }
        match self.tracing {
            Tracing::Print => println!("{line}"),
            Tracing::Keep(lines) => {
                self.trace.push_back(line);
                if self.trace.len() > lines {
                    self.trace.pop_front();
                }
            }
            Tracing::Off => {}
        }
    }

    pub(crate) fn lives(&self, node: usize, incarnation: u32) -> bool {
        self.processes[node].is_up() && self.processes[node].incarnation == incarnation
    }

    // Connections.

    /// Opens a connection; its request to connect is on its way.
    pub(crate) fn open(
        &mut self,
        owner: Owner,
        from: usize,
        to: usize,
        service: Service,
    ) -> ConnId {
        let windows = [(); 2].map(|()| self.chance.skewed(500, 100_000) as usize);
        self.conns.push(Conn::new(owner, [from, to], windows, service));
        let conn = self.conns.len() - 1;
        let delay = self.links[from][to].delay_us;
        self.queue.push(self.now + delay, Event::Syn { conn, tries: 0 });
        conn
    }

    fn syn(&mut self, conn: ConnId, tries: u32) {
        let [from, to] = self.conns[conn].hosts;
        if self.conns[conn].owners[0] == Owner::Nobody {
            return;
        }
        if self.links[from][to].blocked || self.links[to][from].blocked {
            if tries < 20 {
                self.queue.push(self.now + 1_000_000, Event::Syn { conn, tries: tries + 1 });
            } else {
                self.connected(conn, Err("Connection timed out".to_owned()));
            }
            return;
        }
        if !self.processes[to].is_up() {
            self.connected(conn, Err("Connection refused".to_owned()));
            return;
        }
        let incarnation = self.processes[to].incarnation;
        self.conns[conn].established = true;
        self.conns[conn].owners[1] = Owner::Node { node: to, incarnation, handle: None };
        self.deliver(to, Inbox::Accept(conn));
        self.connected(conn, Ok(()));
    }

    /// Whoever asked for a connection learns what became of it.
    fn connected(&mut self, conn: ConnId, result: Result<(), String>) {
        let [from, to] = self.conns[conn].hosts;
        let delay = self.links[to][from].delay_us;
        match self.conns[conn].owners[0] {
            Owner::Node { node, incarnation, handle: Some(link) } => {
                let ends = result.map(|()| self.ends(to, from));
                let item = Inbox::Input(Input::Connected { link, result: ends });
                self.queue.push(self.now + delay, Event::Deliver { node, incarnation, item });
            }
            Owner::Client(client) => self.client_connected(client, result.is_ok()),
            Owner::Agent(agent) => self.agent_connected(agent, conn, result.is_ok()),
            _ => {}
        }
    }

    pub(crate) fn ends(&self, peer: usize, local: usize) -> Endpoints {
        let address = |host: usize| ([127, 0, 0, host as u8 + 1], PORT).into();
        Endpoints::Tcp { peer: address(peer), local: address(local) }
    }

    /// Puts bytes into a connection.
    pub(crate) fn send(&mut self, conn: ConnId, direction: usize, bytes: Vec<u8>) {
        let bytes = self.as_stock(conn, direction, bytes);
        if bytes.is_empty() {
            return;
        }
        match self.conns[conn].service {
            Service::Bus => self.bus_sends(conn, direction, &bytes),
            Service::Clients if direction == 1 => self.tap_sent(conn, &bytes),
            Service::Clients => {}
        }
        if let (Owner::Agent(agent), 1) = (self.conns[conn].owners[0], direction) {
            self.reply_leaves(conn, agent, &bytes);
        }
        if self.plan.sentinels.is_some() {
            self.watch_sent(conn, direction, &bytes);
        }
        let (from, to) = self.conns[conn].link(direction);
        let link = self.links[from][to];
        let at = self.conns[conn].pipes[direction].send(self.now, bytes, &link, &mut self.chance);
        self.queue.push(at, Event::Arrive { conn, direction });
    }

    fn arrive(&mut self, conn: ConnId, direction: usize) {
        let (from, to) = self.conns[conn].link(direction);
        if self.links[from][to].blocked {
            return;
        }
        let mut something = false;
        loop {
            match self.conns[conn].pipes[direction].arrive(self.now) {
                Arrival::Nothing => break,
                Arrival::Something => something = true,
                Arrival::Cut => {
                    something = true;
                    self.reset(conn);
                    break;
                }
            }
        }
        if something {
            self.notify_readable(conn, direction);
        }
    }

    fn notify_readable(&mut self, conn: ConnId, direction: usize) {
        match self.conns[conn].owners[1 - direction] {
            Owner::Node { node, incarnation, handle: Some(handle) } => {
                if self.lives(node, incarnation) {
                    let process = &mut self.processes[node];
                    if process.paused.contains(&handle) {
                        // The shell does not watch it now: nothing wakes up.
                        return;
                    }
                    if !process.readable.contains(&handle) {
                        process.readable.push_back(handle);
                    }
                    self.wake(node);
                }
            }
            Owner::Client(client) => {
                if self.clients[client].is_slow {
                    let delay = self.chance.skewed(1000, 500_000);
                    self.queue.push(self.now + delay, Event::ClientRead(client));
                } else {
                    self.client_reads(client);
                }
            }
            Owner::Agent(agent) => self.agent_reads(agent, conn),
            Owner::Node { .. } | Owner::Nobody => {}
        }
    }

    /// A reader made room: the writer hears of it if it waits for that.
    pub(crate) fn made_room(&mut self, conn: ConnId, direction: usize) {
        let pipe = &mut self.conns[conn].pipes[direction];
        if !std::mem::take(&mut pipe.starved) {
            return;
        }
        match self.conns[conn].owners[direction] {
            Owner::Node { node, incarnation, handle: Some(handle) }
                if self.lives(node, incarnation) =>
            {
                self.processes[node].writable.push_back(handle);
                self.wake(node);
            }
            Owner::Client(client) => self.client_writes(client),
            _ => {}
        }
    }

    /// An owner closes its end: the other one reads what is under way, then the end.
    pub(crate) fn close_end(&mut self, conn: ConnId, end: usize) {
        let (from, to) = self.conns[conn].link(end);
        let link = self.links[from][to];
        let c = &mut self.conns[conn];
        c.owners[end] = Owner::Nobody;
        c.pipes[1 - end].dead = true;
        if !c.pipes[end].dead {
            let at = c.pipes[end].close(self.now, &link, &mut self.chance);
            self.queue.push(at, Event::Arrive { conn, direction: end });
        }
    }

    /// A connection breaks: what is under way is lost, both ends learn of it.
    pub(crate) fn reset(&mut self, conn: ConnId) {
        self.coverage.resets += 1;
        for direction in 0..2 {
            let (from, to) = self.conns[conn].link(direction);
            let at = self.now + self.links[from][to].delay_us;
            self.conns[conn].pipes[direction].break_off(at);
            self.queue.push(at, Event::Arrive { conn, direction });
        }
    }

    pub(crate) fn unblock(&mut self, from: usize, to: usize) {
        if !std::mem::take(&mut self.links[from][to].blocked) {
            return;
        }
        self.tell(|| format!("link {from} -> {to} carries again"));
        for conn in 0..self.conns.len() {
            for direction in 0..2 {
                let c = &self.conns[conn];
                if c.link(direction) == (from, to) && c.pipes[direction].has_flight() {
                    self.queue.push(self.now, Event::Arrive { conn, direction });
                }
            }
        }
    }
}
