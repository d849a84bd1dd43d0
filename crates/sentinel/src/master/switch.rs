//! Another server becomes the master that is watched: at the end of our own failover, or because another Sentinel has a
//! newer configuration. A configuration has an epoch, and the newest one wins.

use super::{Master, Phase, REPLICAS_MAX};
use crate::address::Address;
use crate::context::Context;
use crate::hello::Hello;
use crate::info::Role;
use crate::injected::Bug;
use crate::io::Level;
use crate::peers::Peers;
use crate::server::{Reconf, Server};

impl Master {
    /// Marks the address or the configuration's epoch as changed.
    pub(super) fn config_changed(&mut self, cx: &mut Context) {
        cx.changed();
        self.config_version = cx.version_of_changes();
    }

    /// Compares the configuration of a hello message with ours.
    pub(super) fn compare_config(&mut self, cx: &mut Context, peers: &mut Peers, hello: &Hello) {
        let (theirs, ours) = (hello.config_epoch, self.settings.config_epoch);
        let is_here = self.current_address().is_at(&hello.master_host, hello.master_port);
        if cx.globals.check_host(&hello.master_host).is_err() || !self.see_epoch(cx, theirs) {
            return;
        }
        let is_stale_accepted = cx.injected(Bug::StaleEpochAccepted) && theirs < ours;
        if theirs > ours || is_stale_accepted {
            self.settings.config_epoch = theirs;
            self.config_changed(cx);
            if !self.server.address.is_at(&hello.master_host, hello.master_port) {
                self.follow_config(cx, peers, hello);
            } else if !is_here {
                // Our own failover has led elsewhere: it is overtaken, and the master is the old one again.
                self.report_abort(cx, "-failover-abort-superseded");
            }
        } else if theirs == ours && theirs > 0 && !is_here && cx.my_id > hello.id {
            // Two failovers with one epoch, which only happens if users ordered both while no majority could be asked. As with
            // the slots of a cluster, the greater id takes a new epoch, and the others follow.
            self.note(cx, format!("the configuration of {} has the same epoch", hello.id));
            self.settings.config_epoch = self.next_epoch(cx);
            self.config_changed(cx);
            self.hurry_hello(peers);
        }
    }

    fn follow_config(&mut self, cx: &mut Context, peers: &mut Peers, hello: &Hello) {
        let from = peers.get(&hello.id).map(|peer| peer.address.clone());
        let from = from.unwrap_or_else(|| Address::new(&hello.host, hello.port));
        let text = self.sentinel_label(cx, &hello.id, &from);
        self.report(cx, Level::Warning, "+config-update-from", text);
        let old = self.server.address.clone();
        let new = Address::new(&hello.master_host, hello.master_port);
        self.switch_to(cx, peers, &new);
        self.call_reconfig_script(cx, "observer", &old, &new);
    }

    /// Ends our own failover.
    pub(super) fn switch_to_promoted(&mut self, cx: &mut Context, peers: &mut Peers) {
        let address = self.current_address().clone();
        self.switch_to(cx, peers, &address);
    }

    /// Makes the server at this address the master; the old one becomes a replica. Connections are kept.
    fn switch_to(&mut self, cx: &mut Context, peers: &mut Peers, address: &Address) {
        let old = self.server.address.clone();
        let (host, new_host) = (old.shown(&cx.globals), address.shown(&cx.globals));
        let text = format!("{} {host} {} {new_host} {}", self.name(), old.port, address.port);
        self.report(cx, Level::Warning, "+switch-master", text);
        let index = self.replicas.iter().position(|replica| replica.address.is_same(address));
        let new = match index {
            Some(index) => self.replicas.remove(index),
            None => {
                let id = cx.next_number();
                Server::new(id, address.clone(), Role::Master, cx.ms())
            }
        };
        let mut demoted = std::mem::replace(&mut self.server, new);
        match demoted.address.is_same(address) {
            true => demoted.link.close(cx),
            false => {
                // The new master may be one that was not known.
                if self.replicas.len() >= REPLICAS_MAX
                    && let Some(mut last) = self.replicas.pop()
                {
                    last.link.close(cx);
                }
                self.replicas.push(demoted);
            }
        }
        self.reset_after_switch(cx);
        self.config_changed(cx);
        let labels: Vec<String> =
            self.replicas.iter().map(|replica| self.replica_label(cx, &replica.address)).collect();
        for label in labels {
            self.report(cx, Level::Notice, "+slave", label);
        }
        self.log_account(cx);
        self.hurry_hello(peers);
    }

    /// Forgets what was believed of the servers in their old roles.
    fn reset_after_switch(&mut self, cx: &mut Context) {
        let now = cx.ms();
        // What it last said as a replica may be about the data of somebody else.
        let is_known_as_master = self.server.role == Role::Master;
        (self.failover, self.vote, self.odown_since) = (None, None, None);
        (self.not_before, self.candidacy_at, self.lost_elections) = (0, None, 0);
        for voter in self.voters.values_mut() {
            (voter.says_down, voter.leader, voter.asked) = (false, None, None);
        }
        let master = self.server.id;
        for server in self.servers_mut() {
            let wanted = if server.id == master { Role::Master } else { Role::Replica };
            // What it says about that from now on counts, not for how long it has said so.
            (server.role, server.role_since, server.master_since) = (wanted, now, now);
            (server.down_since, server.last_down, server.reboot_since) = (None, None, None);
            (server.is_promoted, server.reconf) = (false, Reconf::None);
            server.script_kill_sent = false;
            server.link.restart_clock(now);
            server.forget_info();
        }
        if is_known_as_master {
            self.learn_lineage(cx);
        }
    }

    /// Forgets replicas, Sentinels and all that was believed, as SENTINEL RESET does.
    pub fn reset(&mut self, cx: &mut Context, peers: &mut Peers) {
        if self.failover.as_ref().is_some_and(|it| it.phase >= Phase::Reconfigure) {
            // Others were told who the master is in this epoch.
            self.switch_to_promoted(cx, peers);
        }
        for mut replica in std::mem::take(&mut self.replicas) {
            replica.link.close(cx);
        }
        self.voters.clear();
        self.server.link.close(cx);
        (self.lineages, self.has_told_lineage) = (Vec::new(), false);
        self.reset_after_switch(cx);
        self.server.run_id = None;
        self.event(cx, Level::Warning, "+reset-master");
        cx.changed();
    }
}
