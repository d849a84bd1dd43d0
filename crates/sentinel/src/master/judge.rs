//! Who is down. *Subjectively*: in our own view, for want of a valid reply. *Objectively*: a master that `quorum` Sentinels
//! find subjectively down. That is a weak agreement, since the opinions are from different moments, and it is only good
//! for starting an election.

use super::Master;
use crate::address::Address;
use crate::context::Context;
use crate::explain::FOUND_DOWN;
use crate::info::{Info, Role};
use crate::io::Level;
use crate::link::Expect;
use crate::peers::Peers;
use crate::server::Server;

/// The least time between two questions to the same Sentinel.
pub(super) const ASK_AGAIN_MS: u64 = 10;

impl Master {
    /// Updates who is down.
    pub(super) fn judge(&mut self, cx: &mut Context, peers: &Peers) {
        self.judge_servers(cx);
        self.judge_voters(cx, peers);
        self.judge_objectively(cx);
    }

    /// Marks the servers that are down, in one pass: there may be a thousand of them.
    fn judge_servers(&mut self, cx: &mut Context) {
        let (now, down_after) = (cx.ms(), self.settings.down_after_ms);
        let demoted_after = down_after + cx.periods.info * 2;
        let reboot_after = self.settings.reboot_down_after_ms;
        let master = self.server.id;
        let mut changed: Vec<(u32, Option<&str>)> = Vec::new();
        for server in self.servers_mut() {
            let is_master = server.id == master;
            server.link.close_silent(cx, down_after);
            let is_silent = server.link.silence(now) > down_after;
            let role_for = now.saturating_sub(server.role_since);
            let is_demoted = is_master && server.role == Role::Replica && role_for > demoted_after;
            let reboots =
                server.reboot_since.is_some_and(|at| now.saturating_sub(at) > reboot_after);
            let is_down = is_silent || is_demoted || (is_master && reboots);
            if is_down == server.is_down() {
                continue;
            }
            let why = match (is_silent, is_demoted) {
                (true, _) if server.link.is_busy => "it is busy with a script",
                (true, _) if server.link.has_commands() => "connected, but without a valid reply",
                (true, _) => "not connected",
                (_, true) => "it reports that it is a replica",
                _ => "it does not answer after a restart",
            };
            if is_down {
                (server.down_since, server.last_down) = (Some(now), Some(now));
            } else {
                (server.down_since, server.script_kill_sent) = (None, false);
            }
            changed.push((server.id, is_down.then_some(why)));
        }
        for (id, why) in changed {
            let event = if why.is_some() { "+sdown" } else { "-sdown" };
            self.server_event(cx, Level::Warning, event, id);
            if let Some(why) = why {
                let text = format!("{}: {why}", self.server_label(cx, id));
                self.note(cx, text);
            }
        }
    }

    fn judge_voters(&mut self, cx: &mut Context, peers: &Peers) {
        let (now, down_after) = (cx.ms(), self.settings.down_after_ms);
        let mut changed: Vec<(String, Address, bool)> = Vec::new();
        for (id, voter) in &mut self.voters {
            let Some(peer) = peers.get(id) else { continue };
            let is_down = peer.link.silence(now) > down_after;
            if is_down != voter.down_since.is_some() {
                voter.down_since = is_down.then_some(now);
                changed.push((id.clone(), peer.address.clone(), is_down));
            }
        }
        for (id, address, is_down) in changed {
            let text = self.sentinel_label(cx, &id, &address);
            self.report(cx, Level::Warning, if is_down { "+sdown" } else { "-sdown" }, text);
        }
    }

    fn judge_objectively(&mut self, cx: &mut Context) {
        let quorum = self.settings.quorum;
        let others = self.voters.values().filter(|voter| voter.says_down).count();
        let agree = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        let is_down = self.server.is_down() && agree >= quorum;
        if is_down == self.odown_since.is_some() {
            return;
        }
        if is_down {
            self.odown_since = Some(cx.ms());
            self.server.last_down = Some(cx.ms());
            let text = format!("{} #quorum {agree}/{quorum}", self.label(cx));
            self.report(cx, Level::Warning, "+odown", text);
            let others = self.voters.iter().filter(|(_, it)| it.says_down);
            let others: String = others.map(|(id, _)| format!(", {id}")).collect();
            let text = format!("{FOUND_DOWN}this Sentinel ({}){others}", cx.my_id);
            self.note(cx, text);
        } else {
            self.odown_since = None;
            (self.candidacy_at, self.lost_elections) = (None, 0);
            self.event(cx, Level::Warning, "-odown");
        }
    }

    /// Asks the other Sentinels whether the master is down and, during an election, for their votes. `at_once`: also those
    /// that were asked a moment ago. Returns whether all of them were asked.
    pub(super) fn ask_others(
        &mut self,
        cx: &mut Context,
        peers: &mut Peers,
        at_once: bool,
    ) -> bool {
        let mut asked_all = true;
        let now = cx.ms();
        let wants_votes = self.stands_for_election(cx);
        let period = if at_once { ASK_AGAIN_MS } else { cx.periods.ask };
        let address = &self.server.address;
        let (host, port) = (address.shown(&cx.globals), address.port.to_string());
        let epoch = cx.epoch.to_string();
        let candidate = if wants_votes { cx.my_id.clone() } else { "*".to_owned() };
        for (id, voter) in &mut self.voters {
            if now.saturating_sub(voter.replied) > cx.periods.ask * 5 {
                (voter.says_down, voter.leader) = (false, None);
            }
            if !(self.server.is_down() || wants_votes)
                || voter.asked.is_some_and(|at| now < at + period)
            {
                asked_all = false;
                continue;
            }
            let Some(peer) = peers.get_mut(id).filter(|peer| peer.impostor.is_none()) else {
                continue;
            };
            if peer.link.accepts_more() {
                voter.asked = Some(now);
                let words =
                    ["SENTINEL", "is-master-down-by-addr", &host, &port, &epoch, &candidate];
                peer.link.send(cx, Expect::Opinion(self.number), &words);
            }
        }
        asked_all
    }

    /// Handles an opinion: whether a Sentinel finds the master down, and its vote.
    pub(crate) fn opinion(
        &mut self,
        cx: &mut Context,
        id: &str,
        says_down: bool,
        vote: Option<(String, u64)>,
    ) {
        let now = cx.ms();
        let Some(voter) = self.voters.get_mut(id) else { return };
        (voter.replied, voter.says_down) = (now, says_down);
        let Some((leader, epoch)) = vote else { return };
        let is_new = voter.leader_epoch != epoch || voter.leader.as_ref() != Some(&leader);
        (voter.leader, voter.leader_epoch) = (Some(leader.clone()), epoch);
        if is_new {
            cx.log(Level::Notice, format!("{id} voted for {leader} {epoch}"));
            self.note(cx, format!("{id} voted for {leader} in epoch {epoch}"));
        }
    }

    /// Another Sentinel asks whether the master is down, so it believes that it is. If we do too, its opinion is worth asking
    /// for right now.
    pub(crate) fn was_asked(&mut self) {
        self.asks_soon = self.server.is_down() && self.odown_since.is_none();
    }

    /// Forgets replicas and Sentinels that have been down for as long as the settings say. Sentinels change the majority,
    /// so they go one at a time, and only while every other one answers: then those that remain differ by one member at
    /// most, and any two of their majorities have a member in common.
    pub(super) fn forget_stale(&mut self, cx: &mut Context, peers: &Peers) {
        let (now, settings) = (cx.ms(), &self.settings);
        let is_old = |since: Option<u64>, age: u64| {
            age > 0 && since.is_some_and(|since| now.saturating_sub(since) > age)
        };
        let age = settings.replica_forget_after_ms;
        if age > 0 && self.failover.is_none() && !self.server.is_down() {
            let text = String::from_utf8_lossy(&self.server.info_text);
            let listed = Info::parse(&text).replicas;
            let is_listed = |at: &Address| listed.iter().any(|(host, port)| at.is_at(host, *port));
            let is_stale = |it: &Server| is_old(it.down_since, age) && !is_listed(&it.address);
            if let Some(index) = self.replicas.iter().position(is_stale) {
                let mut replica = self.replicas.remove(index);
                replica.link.close(cx);
                let text = self.replica_label(cx, &replica.address);
                self.report(cx, Level::Notice, "-slave", text);
                cx.changed();
            }
        }
        let age = self.settings.sentinel_forget_after_ms;
        let down: Vec<&String> = self
            .voters
            .iter()
            .filter(|(_, voter)| voter.down_since.is_some())
            .map(|(id, _)| id)
            .collect();
        let [only] = down[..] else { return };
        let id = only.clone();
        let is_stale = is_old(self.voters[&id].down_since, age);
        if is_stale && self.odown_since.is_none() && is_old(Some(self.forgotten_at), age) {
            self.forgotten_at = now;
            self.remove_voter(cx, peers, &id, "-sentinel");
        }
    }

    /// Removes a Sentinel.
    pub(crate) fn remove_voter(&mut self, cx: &mut Context, peers: &Peers, id: &str, event: &str) {
        let address = peers.get(id).map(|peer| peer.address.clone());
        if let (Some(_), Some(address)) = (self.voters.remove(id), address) {
            let text = self.sentinel_label(cx, id, &address);
            self.report(cx, Level::Notice, event, text);
            cx.changed();
        }
    }
}
