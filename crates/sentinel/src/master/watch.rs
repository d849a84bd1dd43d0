//! Watching: connections to the servers, what is sent to them periodically, and what their replies say.

use std::net::IpAddr;

use russet_protocol::Reply;

use super::{Master, Phase, VOTERS_MAX, Voter};
use crate::address::Address;
use crate::context::{Context, Owner};
use crate::hello::Hello;
use crate::info::{Info, Role};
use crate::io::{Level, LinkId};
use crate::link::Link;
use crate::peers::{Peers, ping_ms};
use crate::server::{Changes, Pace, Server};

/// Interval of INFO while replicas are observed closely.
const CLOSE_INFO_MS: u64 = 1000;
/// Interval of INFO to a replica that is about to be promoted.
const PROMOTION_INFO_MS: u64 = 25;

impl Master {
    /// Connects to all servers and sends what is due.
    pub(super) fn watch(&mut self, cx: &mut Context) {
        let hello = self.hello(cx);
        let announced = cx.globals.announce_ip.clone();
        let is_safe = cx.is_saved(self.config_version);
        let text = |link: &Link| {
            let host = announced.clone().or(link.local.map(|ip| ip.to_string()))?;
            is_safe.then(|| Hello { host, ..hello.clone() }.text())
        };
        self.hello_waits |= !is_safe;
        let number = self.number;
        let paces: Vec<Pace> = self.paces(cx);
        self.with_access(|master, access| {
            for (server, pace) in master.servers_mut().zip(paces) {
                let owner = Owner::Server(number, server.id);
                server.link.reconnect(cx, &server.address, &owner, pace.ping);
                server.send_periodic(cx, pace, access, &text);
            }
        });
    }

    /// Handles that a connection to one of its servers could not be opened.
    pub fn not_connected(&mut self, cx: &mut Context, id: u32, link: LinkId, error: &str) {
        let kind = self.server_mut(id).and_then(|server| server.link.kind_of(link));
        if let Some(kind) = kind {
            let text = format!("{} #{error}", self.server_label(cx, id));
            self.report(cx, Level::Debug, kind.failure(), text);
        }
    }

    /// Returns the hello message, without our address.
    fn hello(&self, cx: &Context) -> Hello {
        let address = self.current_address();
        Hello {
            host: String::new(),
            port: if cx.globals.announce_port > 0 { cx.globals.announce_port } else { cx.port },
            id: cx.my_id.clone(),
            epoch: cx.epoch,
            master: self.settings.name.clone(),
            master_host: address.shown(&cx.globals),
            master_port: address.port,
            config_epoch: self.settings.config_epoch,
        }
    }

    /// Returns the hello message for another Sentinel, unless it must not be sent yet.
    pub fn hello_over(&self, cx: &Context, link: &Link) -> Option<String> {
        let host = cx.globals.announce_ip.clone().or(link.local.map(|ip| ip.to_string()))?;
        cx.is_saved(self.config_version).then(|| Hello { host, ..self.hello(cx) }.text())
    }

    /// Handles that a version of the state is on disk, for which a hello message may have waited.
    pub fn saved(&mut self, cx: &Context, peers: &mut Peers) {
        if self.hello_waits && cx.is_saved(self.config_version) {
            self.hello_waits = false;
            self.hurry_hello(peers);
        }
    }

    /// Returns how often each server is asked.
    fn paces(&self, cx: &Context) -> Vec<Pace> {
        let ping = ping_ms(cx, self.settings.down_after_ms);
        let is_close =
            self.server.is_down() || self.odown_since.is_some() || self.failover.is_some();
        let phase = self.failover.as_ref().map(|it| it.phase);
        let is_promotion = matches!(phase, Some(Phase::HandOver | Phase::WaitPromotion));
        let of = |server: &Server| {
            let info = match server.id == self.server.id {
                true => cx.periods.info,
                false if server.is_promoted && is_promotion => PROMOTION_INFO_MS,
                // One that says it is a master may have to be told otherwise.
                false if is_close || server.link_down_ms > 0 || server.role == Role::Master => {
                    CLOSE_INFO_MS.min(cx.periods.info)
                }
                false => cx.periods.info,
            };
            Pace { ping, info }
        };
        std::iter::once(&self.server).chain(&self.replicas).map(of).collect()
    }

    /// Returns when something is due.
    pub(super) fn due(&self, cx: &Context, peers: &Peers) -> u64 {
        let (now, down_after) = (cx.ms(), self.settings.down_after_ms);
        let servers = std::iter::once(&self.server).chain(&self.replicas);
        let mut due = u64::MAX;
        for (server, pace) in servers.zip(self.paces(cx)) {
            due = due.min(server.due(cx, pace, down_after));
        }
        for (id, voter) in &self.voters {
            let silent = peers.get(id).and_then(|peer| peer.link.silent_since);
            if let (None, Some(since)) = (voter.down_since, silent) {
                due = due.min(since + down_after + 1);
            }
        }
        if self.server.is_down() || self.failover.is_some() {
            let asked = self.voters.values().filter_map(|voter| voter.asked).min();
            due = due.min(asked.map_or(now, |at| at + cx.periods.ask));
            due = due.min(now + 100);
        }
        if self.asks_soon {
            due = due.min(now + super::judge::ASK_AGAIN_MS);
        }
        let election = self.candidacy_at.unwrap_or(u64::MAX);
        let hurry = match self.failover.as_ref().map(|it| it.phase) {
            Some(Phase::WaitStart | Phase::SelectReplica) => now + 20,
            _ => u64::MAX,
        };
        due.min(election).min(hurry).max(now + 1)
    }

    /// Handles an open connection to one of the servers.
    pub fn connected(
        &mut self,
        cx: &mut Context,
        id: u32,
        link: LinkId,
        (local, peer): (Option<IpAddr>, Option<IpAddr>),
    ) {
        self.with_access(|master, access| {
            let Some(server) = master.server_mut(id) else { return };
            server.address.ip = peer.or(server.address.ip);
            server.link.connected(cx, link, access, local);
            if server.link.commands.as_ref().is_some_and(|channel| channel.id == link) {
                let ping = (access.renamed)("PING");
                server.link.ping(cx, &ping);
                server.ask_info(cx, access);
            }
        });
    }

    /// Handles a reply to PING.
    pub fn answered_ping(&mut self, cx: &mut Context, id: u32, reply: &Reply<'_>) {
        self.with_access(|master, access| {
            if let Some(server) = master.server_mut(id) {
                server.answered_ping(cx, reply, access);
            }
        });
    }

    /// Handles an INFO.
    pub fn informed(&mut self, cx: &mut Context, peers: &mut Peers, id: u32, text: &[u8]) {
        let now = cx.ms();
        let Some(server) = self.server_mut(id) else { return };
        let (info, changes) = server.informed(now, text);
        let role = server.role;
        self.report_changes(cx, id, &changes, role);
        let is_master = id == self.server.id;
        if is_master && role == Role::Master {
            self.learn_lineage(cx);
            self.find_replicas(cx, &info);
        }
        if !is_master {
            self.merge_moved_replica(cx, id);
        }
        if !cx.is_tilted && !is_master {
            match role {
                Role::Master => self.replica_is_master(cx, peers, id),
                Role::Replica => self.replica_follows(cx, id),
            }
        }
    }

    fn report_changes(&mut self, cx: &mut Context, id: u32, changes: &Changes, role: Role) {
        if changes.has_restarted {
            self.server_event(cx, Level::Notice, "+reboot", id);
            if id == self.server.id && self.settings.reboot_down_after_ms > 0 {
                self.server.reboot_since = Some(cx.ms());
            }
        }
        if changes.has_new_role {
            let wanted = if id == self.server.id { Role::Master } else { Role::Replica };
            let event = if role == wanted { "+role-change" } else { "-role-change" };
            let label = self.server_label(cx, id);
            let text = format!("{label} new reported role is {}", role.name());
            self.report(cx, Level::Verbose, event, text);
        }
    }

    /// Adds the replicas that the master lists.
    fn find_replicas(&mut self, cx: &mut Context, info: &Info) {
        for (host, port) in &info.replicas {
            if cx.globals.check_host(host).is_err() {
                continue;
            }
            let address = Address::new(host, *port);
            let text = self.replica_label(cx, &address);
            if self.add_replica(cx, address) {
                self.report(cx, Level::Notice, "+slave", text);
                cx.changed();
            }
        }
    }

    /// A server with the run id of another one that is gone is that server at a new address.
    fn merge_moved_replica(&mut self, cx: &mut Context, id: u32) {
        let run_id = self.replica(id).and_then(|replica| replica.run_id.clone());
        let is_old = |replica: &Server| {
            replica.id != id
                && replica.run_id.is_some()
                && replica.run_id == run_id
                && replica.link.commands.as_ref().is_none_or(|channel| !channel.is_open)
                && !replica.is_promoted
        };
        let Some(index) = self.replicas.iter().position(is_old) else { return };
        let mut old = self.replicas.remove(index);
        old.link.close(cx);
        let label = self.server_label(cx, id);
        let text = format!("{label} was {}", old.address.with_port(&cx.globals));
        self.report(cx, Level::Notice, "+slave-address-switch", text);
        cx.changed();
    }

    /// Handles a hello message about this master. Returns whether it said anything new.
    pub fn heard(&mut self, cx: &mut Context, peers: &mut Peers, hello: &Hello) -> bool {
        let known = |master: &Master, cx: &Context, peers: &Peers| {
            let address = peers.get(&hello.id).map(|peer| peer.address.clone());
            (cx.epoch, master.settings.config_epoch, master.voters.len(), address)
        };
        let before = known(self, cx, peers);
        self.take_in(cx, peers, hello);
        before != known(self, cx, peers)
    }

    fn take_in(&mut self, cx: &mut Context, peers: &mut Peers, hello: &Hello) {
        if !self.add_or_update_sentinel(cx, peers, hello) || !self.see_epoch(cx, hello.epoch) {
            return;
        }
        let now = cx.ms();
        if let Some(voter) = self.voters.get_mut(&hello.id) {
            (voter.last_hello, voter.hello_epoch) = (now, hello.epoch);
        }
        self.compare_config(cx, peers, hello);
    }

    /// Reports that a Sentinel has moved that watches other masters too.
    pub fn moved_for_others(&mut self, cx: &mut Context, id: &str, to: &Address, others: usize) {
        let label = self.sentinel_label(cx, id, to);
        let text = format!("{label} {others} additional matching instances");
        self.report(cx, Level::Notice, "+sentinel-address-update", text);
    }

    /// Adds a Sentinel that is not known yet, or notes that its address has changed. Returns false if it is not accepted.
    fn add_or_update_sentinel(
        &mut self,
        cx: &mut Context,
        peers: &mut Peers,
        hello: &Hello,
    ) -> bool {
        let is_known = self.voters.contains_key(&hello.id);
        let is_refused = cx.globals.check_host(&hello.host).is_err() || hello.id == cx.my_id;
        if is_refused || (!is_known && self.voters.len() >= VOTERS_MAX) {
            return false;
        }
        let address = Address::new(&hello.host, hello.port);
        let peer = peers.add(cx, &hello.id, address.clone());
        let has_moved = !peer.address.is_same(&address);
        if has_moved {
            peer.address = address.clone();
            peer.link.close(cx);
        }
        if !is_known {
            self.voters.insert(hello.id.clone(), Voter::new(cx.ms()));
            let text = self.sentinel_label(cx, &hello.id, &address);
            self.report(cx, Level::Notice, "+sentinel", text);
            cx.changed();
        } else if has_moved {
            let (label, id) = (self.label(cx), &hello.id);
            let text = format!("{label} ip {} port {} for {id}", hello.host, hello.port);
            self.report(cx, Level::Notice, "+sentinel-address-switch", text);
            cx.changed();
        }
        true
    }
}
