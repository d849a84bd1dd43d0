//! Clients in the world: when they connect, speak, read and give up.

use russet_engine::io::Service;

use crate::model::excerpt;
use crate::net::Owner;
use crate::process::WALL_BASE_US;
use crate::resp::parse_command;
use crate::workload::Expected;
use crate::world::{Event, Phase, World};

/// A client that hears nothing for so long gives its connection up.
const PATIENCE_US: u64 = 3_000_000;

/// For so long orders on a connection that was given up may still be carried out.
const LATE_ORDERS_US: u64 = 30_000_000;

impl World {
    /// A client acts at this time, and not at the one planned before.
    pub(crate) fn client_acts_at(&mut self, client: usize, at: u64) {
        self.clients[client].act_at = at;
        self.queue.push(at, Event::Client(client));
    }

    /// A client connects, speaks, or gives up.
    pub(crate) fn client_acts(&mut self, client: usize) {
        if self.clients[client].act_at != self.now {
            return;
        }
        let is_operator = self.clients[client].is_operator;
        let think = if is_operator { 200_000 } else { self.plan.think_us };
        let mut wait = self.chance.skewed(think / 20, think);
        if self.clients[client].burst > 0 || self.clients[client].speech.disturbs > 0 {
            self.clients[client].burst = self.clients[client].burst.saturating_sub(1);
            wait = self.chance.skewed(100, 5000);
        } else if self.clients[client].peeks > 0 {
            self.clients[client].peeks -= 1;
            wait = self.chance.skewed(1000, 30_000);
        } else if self.chance.one_in(30) {
            self.clients[client].burst = self.chance.skewed(2, 40);
        } else if self.plan.load.peeks && self.chance.one_in(20) {
            self.clients[client].peeks = self.chance.skewed(5, 60);
        }
        if self.clients[client].conn.is_none() {
            self.client_connects(client);
        } else if self.clients[client].is_waiting() {
            if self.now > self.clients[client].progress_us + PATIENCE_US {
                self.client_gives_up(client);
            }
        } else if self.connected_to(client) {
            self.client_speaks(client);
        }
        let quiet = !is_operator && self.is_quiet();
        if !quiet {
            self.client_acts_at(client, self.now + wait);
        }
    }

    /// Some time after the faults the load ends too.
    fn is_quiet(&self) -> bool {
        matches!(self.phase, Phase::Healed { since_us, .. } if self.now > since_us + 4_000_000)
    }

    fn connected_to(&self, client: usize) -> bool {
        self.clients[client].conn.is_some_and(|conn| self.conns[conn].established)
    }

    fn client_connects(&mut self, client: usize) {
        let nodes = self.plan.data_nodes();
        let c = &self.clients[client];
        if !c.is_operator && (c.is_refused || self.chance.one_in(4)) {
            // Mostly to somebody who calls himself master.
            let wanted = self.chance.percent(85);
            let masters =
                |n: usize| !self.processes[n].seen.is_replica && self.processes[n].is_up();
            let masters: Vec<usize> = (0..nodes).filter(|&n| masters(n)).collect();
            self.clients[client].target = match wanted && !masters.is_empty() {
                true => *self.chance.pick(&masters),
                false => self.chance.index(nodes),
            };
        }
        let c = &self.clients[client];
        if c.is_operator && c.orders.is_empty() {
            return;
        }
        let target = c.target;
        let from = if c.is_operator { target } else { self.processes.len() };
        let conn = self.open(Owner::Client(client), from, target, Service::Clients);
        self.clients[client].speech.restart();
        if let Some(password) = self.plan.password.filter(|_| target < nodes) {
            self.clients[client].speech.say(&["AUTH", password], Expected::Session);
        }
        self.clients[client].conn = Some(conn);
        self.clients[client].progress_us = self.now;
        self.clients[client].is_slow = !self.clients[client].is_operator && self.chance.one_in(8);
    }

    /// The answer to its try to connect.
    pub(crate) fn client_connected(&mut self, client: usize, worked: bool) {
        if !worked {
            self.clients[client].is_refused = true;
            self.client_gives_up(client);
        }
    }

    /// Closes a client's connection.
    pub(crate) fn client_gives_up(&mut self, client: usize) {
        if let Some(conn) = self.clients[client].conn {
            self.close_end(conn, 0);
        }
        if self.clients[client].is_operator && self.clients[client].is_waiting() {
            let target = self.clients[client].target;
            self.processes[target].unsure_until_us = self.now + LATE_ORDERS_US;
        }
        self.clients[client].disconnected();
    }

    fn client_speaks(&mut self, client: usize) {
        let wall_ms = (WALL_BASE_US + self.now as i64) / 1000;
        if self.plan.load.peeks {
            let others = self.clients[..self.plan.clients].iter();
            let peers = others.map(|other| other.speech.connection).collect();
            self.clients[client].speech.peers = peers;
        }
        let c = &mut self.clients[client];
        if c.is_operator {
            let Some(order) = c.orders.pop_front() else { return };
            // A transaction is said in one breath: without its begin, its commands would be no transaction.
            let mut is_open = order[0] == b"MULTI";
            let expected = match pause_of(&order) {
                Some(us) => Expected::Paused { us },
                None => Expected::Anything,
            };
            c.speech.say(&order, expected);
            let said = order;
            while is_open && let Some(order) = c.orders.pop_front() {
                is_open = order[0] != b"EXEC";
                c.speech.say(&order, Expected::Anything);
            }
            let target = c.target;
            self.note_failover_order(target, &said);
            // What may end a pause, or change data by other ways, ends what is promised of it.
            self.processes[target].paused_until_us = 0;
        } else {
            if c.is_refused && self.chance.percent(70) {
                self.client_gives_up(client);
                return;
            }
            let most = match c.speech.disturbs {
                0 if c.burst > 0 => 60,
                0 => 8,
                _ => 3,
            };
            // The rest of such a pipeline is served after its client has given up.
            self.processes[c.target].was_flooded |= c.flood > 0;
            for _ in 0..std::mem::take(&mut c.flood) {
                c.speech.say(&["PING"], Expected::Anything);
            }
            if c.peeks > 0 {
                c.speech.look_around(&mut self.chance);
            }
            let requests = if c.peeks > 0 { 0 } else { self.chance.skewed(1, most) };
            for _ in 0..requests {
                c.speech.draw(&self.plan.load, &mut self.chance, wall_ms, self.plan.transactions);
            }
        }
        let target = self.clients[client].target;
        let tenure = self.processes[target].tenure;
        let c = &self.clients[client];
        let (text, conn) = (c.speech.out.clone(), c.conn);
        self.tell(|| format!("client {client} to node{target} on {conn:?}: {}", requests(&text)));
        self.clients[client].sent(tenure, self.now);
        self.clients[client].progress_us = self.now;
        self.client_writes(client);
    }

    /// Sends as much as the connection takes.
    pub(crate) fn client_writes(&mut self, client: usize) {
        let Some(conn) = self.clients[client].conn else { return };
        while !self.clients[client].unsent.is_empty() {
            let pipe = &mut self.conns[conn].pipes[0];
            let room = if pipe.dead { usize::MAX } else { pipe.room() };
            if room == 0 {
                pipe.starved = true;
                return;
            }
            let dead = pipe.dead;
            let c = &mut self.clients[client];
            let mut len = c.unsent.len().min(room);
            if self.chance.percent(20) {
                len = len.min(self.chance.skewed(1, 200) as usize);
            }
            let rest = c.unsent.split_off(len);
            let bytes = std::mem::replace(&mut c.unsent, rest);
            if !dead {
                self.send(conn, 0, bytes);
            }
        }
    }

    /// Reads what has arrived for a client.
    pub(crate) fn client_reads(&mut self, client: usize) {
        let Some(conn) = self.clients[client].conn else { return };
        let tenure = self.processes[self.clients[client].target].tenure;
        let max = if self.clients[client].is_slow { 4000 } else { usize::MAX >> 1 };
        let pipe = &mut self.conns[conn].pipes[1];
        let bytes = pipe.take(max);
        self.hash.bytes(bytes);
        let c = &mut self.clients[client];
        c.progress_us = self.now;
        let good = c.received(bytes, tenure, self.now);
        let (over, more) = (pipe.is_over(), pipe.unread() > 0);
        match good {
            Ok(true) => {}
            Ok(false) => {
                self.client_gives_up(client);
                return;
            }
            Err(what) => {
                let target = self.clients[client].target;
                self.fail(format!("client {client} of node{target}: {what}"));
            }
        }
        if let Some(sent_us) = self.clients[client].flushed_us.take() {
            self.flushed(self.clients[client].target, sent_us);
        }
        for (finding, sent_us) in std::mem::take(&mut self.clients[client].findings) {
            self.look_into(client, finding, sent_us);
        }
        while let Some(answer) = self.clients[client].answers.pop_front() {
            self.tell(|| format!("operator {client} hears {answer:?}"));
        }
        self.made_room(conn, 1);
        if over {
            self.client_gives_up(client);
        } else if more {
            let delay = self.chance.skewed(1000, 100_000);
            self.queue.push(self.now + delay, Event::ClientRead(client));
        }
    }
}

/// For how long an order pauses clients, microseconds.
fn pause_of(order: &[Vec<u8>]) -> Option<u64> {
    let words: Vec<&str> =
        order.iter().map(|word| std::str::from_utf8(word)).collect::<Result<_, _>>().ok()?;
    match words[..] {
        ["CLIENT", "PAUSE", ms, ..] => Some(ms.parse::<u64>().ok()? * 1000),
        _ => None,
    }
}

/// Requests on one line, for people.
fn requests(mut bytes: &[u8]) -> String {
    let mut lines = Vec::new();
    while let Ok(Some((args, used))) = parse_command(bytes) {
        lines.push(args.iter().map(|arg| excerpt(arg)).collect::<Vec<_>>().join(" "));
        bytes = &bytes[used..];
    }
    lines.join(" | ")
}
