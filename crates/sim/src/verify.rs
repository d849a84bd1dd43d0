//! Progress: when nothing fails any more, all nodes come to agree, and within a bounded time.

use crate::plan::{address, host_name};
use crate::world::{Event, Phase, World};

/// From the end of the faults to agreement, at most.
const HEALED_US: u64 = 120_000_000;

/// So much more if replies, and with them the stream, may wait for an append-only file of which a sync had failed, as had
/// rewrites: the next one begins up to a minute later, and a manifest in doubt is replaced before that.
const REWRITES_US: u64 = 120_000_000;

/// The load goes on for so long; agreement is demanded after it.
const QUIET_US: u64 = 5_000_000;

impl World {
    /// Looks whether all is well, and tells operators what is left to do.
    pub(crate) fn verify(&mut self) {
        let Phase::Healed { since_us, root } = self.phase else { return };
        if self.plan.sentinels.is_some() {
            return self.verify_sentinels(since_us);
        }
        if self.plan.cluster.is_some() {
            return self.verify_cluster(since_us);
        }
        for node in 0..self.plan.data_nodes() {
            self.see_to_arrangement(node);
        }
        let missing = self.missing(root);
        if missing.is_none() {
            self.agreed_us = self.now;
        }
        // While a save is awaited, a PING on its way is no disagreement.
        let agreed_us = self.agreed_us.max(since_us);
        let has_files = self.processes.iter().any(|process| process.durability.ledger.is_some());
        let most_us = HEALED_US + if has_files { REWRITES_US } else { 0 };
        let missing = missing.map(|what| (what, agreed_us + most_us));
        let awaits_saves = self.plan.awaits_saves;
        let missing = missing.or_else(|| awaits_saves.then(|| self.unsaved(since_us)).flatten());
        let waited = self.now - since_us;
        match missing {
            None if waited > QUIET_US => {
                self.tell(|| format!("all agree after {waited} us"));
                self.agree(root);
                self.phase = Phase::Over;
            }
            Some((what, until_us)) if self.now > until_us => {
                let seconds = waited / 1_000_000;
                self.fail(format!("{seconds} s after the last fault {what}"));
            }
            _ => {
                let wait = self.chance.between(50_000, 300_000);
                self.queue.push(self.now + wait, Event::Verify);
            }
        }
    }

    fn see_to_arrangement(&mut self, node: usize) {
        let wanted = self.arrangement[node];
        let operator = self.plan.clients + node;
        let Some(data) = self.processes[node].data() else { return };
        let is = data.upstream().map(|master| master.host.to_owned());
        let busy = self.clients[operator].is_waiting() || !self.clients[operator].orders.is_empty();
        if busy || data.is_loading() {
            return;
        }
        let is_off = !data.wants_append_only() && self.processes[node].durability.ledger.is_some();
        if data.limits_replicas() {
            self.order(node, "CONFIG SET client-output-buffer-limit \"replica 0 0 0\"");
        }
        if is_off {
            self.order(node, "CONFIG SET appendonly yes");
        }
        if is != wanted.map(host_name) {
            self.follow(node, wanted);
        }
    }

    /// What is not yet as it must become.
    fn missing(&self, root: usize) -> Option<String> {
        if self.plan.is_solo {
            return self.solo_missing();
        }
        let Some(master) = self.processes[root].data() else {
            return Some(format!("node{root} does not run"));
        };
        if master.is_within_exec() {
            return Some(format!(
                "node{root} is in the middle of an EXEC: its data is ahead of the stream"
            ));
        }
        if master.is_replica() {
            return Some(format!("node{root} is no master"));
        }
        let data_nodes = &self.processes[..self.plan.data_nodes()];
        for (node, process) in data_nodes.iter().enumerate() {
            let Some(data) = process.data() else {
                return Some(format!("node{node} does not run"));
            };
            if node == root {
                continue;
            }
            let Some(link) = data.upstream() else {
                return Some(format!("node{node} is a master"));
            };
            let wanted = self.arrangement[node].map(address).map(|a| a.host);
            if Some(link.host.as_bytes()) != wanted.as_deref() {
                return Some(format!("node{node} follows {}", link.host));
            }
            if !link.is_online {
                return Some(format!("node{node} has no link ({})", link.state));
            }
            let (is, should) = (data.place(), master.place());
            if is.id != should.id {
                return Some(format!("node{node} is in another history"));
            }
            let (is, should) = (is.offset, should.offset);
            if is != should {
                return Some(format!("node{node} is at {is} and its master at {should}"));
            }
        }
        self.files_missing()
    }

    /// What is not yet as it must become of nodes that are each for itself.
    fn solo_missing(&self) -> Option<String> {
        let not_there = self.processes[..self.plan.data_nodes()].iter().enumerate().find_map(
            |(node, process)| {
                let what = match process.data() {
                    None => "does not run",
                    Some(data) if data.is_loading() => "loads",
                    Some(data) if data.is_within_exec() => "is in the middle of an EXEC",
                    Some(_) => return None,
                };
                Some(format!("node{node} {what}"))
            },
        );
        not_there.or_else(|| self.files_missing())
    }

    /// What is not yet as it must become of append-only files.
    fn files_missing(&self) -> Option<String> {
        self.processes[..self.plan.data_nodes()].iter().enumerate().find_map(|(node, process)| {
            let data = process.data().filter(|_| process.durability.ledger.is_some())?;
            let what = match data.append() {
                None => "has no append-only file",
                Some(append) if !append.is_relied_on => "has no complete append-only file",
                Some(append) if append.is_stuck && !append.has_failed_sync => "takes no writes",
                Some(_) => return None,
            };
            Some(format!("node{node} {what}"))
        })
    }

    /// A node whose changes have reached a save point and were not saved, and until when they may be unsaved: a save for a
    /// late replica counts as the last one, from which the seconds of the save point are counted.
    fn unsaved(&self, since_us: u64) -> Option<(String, u64)> {
        let nodes = self.processes[..self.plan.data_nodes()].iter().enumerate();
        let mut nodes = nodes.filter_map(|(node, process)| Some((node, process, process.data()?)));
        nodes.find_map(|(node, process, data)| {
            let changes = data.unsaved_changes();
            let what =
                format!("node{node} has {changes} unsaved changes and a save point for them");
            let secs = data.save_point_secs(changes)?;
            let last_us = process.saves.last().map_or(since_us, |save| save.began_us.max(since_us));
            Some((what, last_us + secs * 1_000_000 + HEALED_US))
        })
    }

    /// The nodes claim to agree: do they?
    fn agree(&mut self, root: usize) {
        let digest_of = |node: usize| self.processes[node].data().map(|data| data.digest());
        let ours = digest_of(root);
        let nodes = self.plan.data_nodes();
        let other = (0..nodes).find(|&node| digest_of(node) != ours && !self.plan.is_solo);
        for node in 0..nodes {
            self.check_data(node);
            self.check_mirror(node);
            self.check_ledger(node);
            self.check_saved(node, true);
        }
        if let Some(node) = other {
            let models = [root, node].map(|node| self.processes[node].data().map(|d| d.model()));
            let difference = match models {
                [Some(ours), Some(theirs)] => ours.difference(&theirs),
                _ => None,
            };
            let difference = difference.unwrap_or_default();
            self.fail(format!(
                "node{node} holds other data than its master node{root}: {difference}"
            ));
        }
    }
}
