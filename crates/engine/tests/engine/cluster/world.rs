//! Several driven nodes and the connections between them, in virtual time.

use std::net::SocketAddr;

use russet_driver::{Driver, Files};
use russet_engine::config::Config;
use russet_engine::config::{BUS_PORT_OFFSET, ClusterStart};
use russet_engine::io::{Endpoints, Handle, Service};
use russet_engine::mode::Mode;
use russet_engine::node::{Boot, Seeds};

/// The port of the first node; the others follow.
const PORT: u16 = 7000;

/// Where the state of each node is.
pub const NODES_CONF: &str = "/data/nodes.conf";

/// A connection of two nodes: which one, and its number there.
type End = (usize, Handle);

/// The nodes.
pub struct World {
    /// Each has a client.
    pub nodes: Vec<Driver>,
    clients: Vec<Handle>,
    pipes: Vec<[End; 2]>,
    /// Ends of connections of the bus.
    buses: Vec<End>,
    /// Nodes that are cut off from all others.
    pub cut: Vec<usize>,
    /// Nodes whose acknowledgements wait: what they send to clients' ports.
    pub silent: Vec<usize>,
    opened: u16,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Starts a node in cluster mode.
pub fn node(number: usize, conf: &str, files: Files) -> Driver {
    let port = PORT + number as u16;
    let conf = format!("port {port}\ncluster-enabled yes\ncluster-node-timeout 1000\n{conf}");
    let mut config = Config::parse_text(conf.as_bytes()).expect("the test's conf").config;
    config.dir = b"/data".to_vec();
    let boot = Boot {
        seeds: Seeds::derive([1, (number as u64 + 1) << 32, 3, 4]),
        mode: Mode::Cluster,
        cluster: Some(ClusterStart {
            path: NODES_CONF.to_owned(),
            file: None,
            journal: Vec::new(),
        }),
        load: !files.is_empty(),
        ..Boot::default()
    };
    Driver::start(config, boot, files)
}

impl World {
    /// Starts nodes that do not know each other.
    pub fn new(count: usize, conf: &str) -> World {
        let mut nodes: Vec<Driver> =
            (0..count).map(|number| node(number, conf, Files::new())).collect();
        let clients = nodes.iter_mut().map(Driver::connect).collect();
        World {
            nodes,
            clients,
            pipes: Vec::new(),
            buses: Vec::new(),
            cut: Vec::new(),
            silent: Vec::new(),
            opened: 0,
        }
    }

    /// Starts masters that share the slots, and replicas: as many as `replicas` has elements, each of the master of that
    /// number.
    pub fn cluster(masters: usize, replicas: &[usize], conf: &str) -> World {
        let count = masters + replicas.len();
        let mut world = World::new(count, conf);
        for master in 0..masters {
            let (first, last) = (16384 * master / masters, 16384 * (master + 1) / masters - 1);
            world.ok(master, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
            world.ok(master, &format!("CLUSTER SET-CONFIG-EPOCH {}", master + 1));
        }
        for other in 1..count {
            world.ok(0, &format!("CLUSTER MEET 127.0.0.1 {}", PORT + other as u16));
        }
        let known = format!("cluster_known_nodes:{count}\r\n");
        world.until("all nodes know each other", |world| {
            (0..count).all(|node| world.request(node, "CLUSTER INFO").contains(&known))
        });
        for (replica, master) in (masters..).zip(replicas) {
            let id = world.id(*master);
            world.ok(replica, &format!("CLUSTER REPLICATE {id}"));
        }
        world.until("all nodes serve", |world| {
            (0..count).all(|node| world.request(node, "CLUSTER INFO").contains("state:ok"))
                && (masters..count)
                    .all(|node| world.request(node, "INFO").contains("master_link_status:up"))
        });
        world
    }

    /// Opens another client of a node.
    pub fn connect(&mut self, node: usize) -> Handle {
        self.nodes[node].connect()
    }

    /// Sends a request of the node's client and returns the reply, when there is one.
    pub fn request(&mut self, node: usize, line: &str) -> String {
        let client = self.clients[node];
        self.request_of(node, client, line)
    }

    /// The same for another client.
    pub fn request_of(&mut self, node: usize, client: Handle, line: &str) -> String {
        let mut reply = self.nodes[node].request(client, line);
        self.settle();
        reply.push_str(&self.nodes[node].take(client));
        reply
    }

    /// Sends a request that succeeds.
    #[track_caller]
    pub fn ok(&mut self, node: usize, line: &str) {
        assert_eq!(self.request(node, line), "+OK\r\n", "node {node}: {line}");
    }

    /// Returns the name of a node.
    pub fn id(&mut self, node: usize) -> String {
        self.request(node, "CLUSTER MYID").lines().nth(1).expect("a bulk string").to_owned()
    }

    /// Lets time pass.
    pub fn advance_ms(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            self.nodes.iter_mut().for_each(|node| node.advance_ms(10));
            self.settle();
        }
    }

    /// Lets time pass until something holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut World) -> bool) {
        for _ in 0..300 {
            if holds(self) {
                return;
            }
            self.advance_ms(100);
        }
        let seen = (0..self.nodes.len()).map(|node| {
            let log = self.nodes[node].log.join("\n");
            format!("node {node}:\n{log}\n{}", self.request(node, "CLUSTER NODES"))
        });
        panic!("never: {what}\n{}", seen.collect::<Vec<_>>().join("\n"));
    }

    /// Carries bytes and connections until there are none.
    fn settle(&mut self) {
        loop {
            let mut any = false;
            for node in 0..self.nodes.len() {
                for link in self.nodes[node].connecting.clone() {
                    self.open(node, link);
                    any = true;
                }
            }
            for [a, b] in self.pipes.clone() {
                any |= self.carry(a, b) | self.carry(b, a);
            }
            let is_open = |(node, handle): &End| self.nodes[*node].is_open(*handle);
            let (open, ended): (Vec<_>, Vec<_>) =
                self.pipes.iter().partition(|ends| ends.iter().all(is_open));
            self.pipes = open;
            for (node, handle) in ended.into_iter().flatten() {
                self.nodes[node].disconnect(handle);
            }
            if !any {
                return;
            }
        }
    }

    fn open(&mut self, from: usize, link: Handle) {
        let target = self.nodes[from].targets.get(&link).expect("where it leads").1;
        let is_bus = target > BUS_PORT_OFFSET;
        let port = if is_bus { target - BUS_PORT_OFFSET } else { target };
        let to = usize::from(port - PORT);
        if to >= self.nodes.len() || self.cut.contains(&from) || self.cut.contains(&to) {
            return self.nodes[from].connect_failed(link, "Connection refused");
        }
        self.opened += 1;
        let (here, there) = (address(30_000 + self.opened), address(target));
        let service = if is_bus { Service::Bus } else { Service::Clients };
        let ends = Endpoints::Tcp { peer: here, local: there };
        let accepted = self.nodes[to].accept_for(service, ends).expect("the node accepts");
        self.pipes.push([(from, link), (to, accepted)]);
        if is_bus {
            self.buses.extend([(from, link), (to, accepted)]);
        }
        self.nodes[from].connected(link, Endpoints::Tcp { peer: there, local: here });
        self.nodes[to].run();
    }

    fn carry(&mut self, from: End, to: End) -> bool {
        if self.silent.contains(&from.0) && !self.buses.contains(&to) {
            return false;
        }
        let bytes = self.nodes[from.0].take_raw(from.1);
        if bytes.is_empty() {
            return false;
        }
        if !self.cut.contains(&from.0) && !self.cut.contains(&to.0) {
            self.nodes[to.0].send(to.1, &bytes);
        }
        true
    }
}
