//! What must hold at every moment among the nodes of a cluster.
//!
//! * A master votes once in an epoch, and the vote is on its disk before it leaves (`bus.rs`). An epoch has one winner.
//! * Who is marked FAIL was silent for a majority of the masters that its judge knows, or they have received FAIL about it.
//! * A replica lets those go first that have more of the data.
//! * In no node's view does a slot go to an older epoch, or to another node with the same one.
//! * A node serves slots that it believes its own, and sends clients to whom it believes they belong.
//! * A master serves only while a majority of the masters can be heard, and not after another one, with a newer epoch, has begun to.
//!
//! Where users move slots or force failovers less is promised: `standing.rs` of the machine says what, and so does each check here.

use std::collections::BTreeSet;

use russet_cluster::bus::NodeFlags;
use russet_cluster::{Cluster, NodeId, Route};

use crate::clusters::{Seen, TAGS, is, slot_of_tag};
use crate::net::ConnId;
use crate::plan::node_of;
use crate::world::World;

/// How much later than it should a node may notice that it is alone: its timers and turns.
const SLACK_US: u64 = 300_000;

/// The least that a replica waits for each that has more data.
const RANK_US: u64 = 1_000_000;

/// After an operator had a master hand over, it may serve reads until it hears of its successor.
const HANDED_OVER_US: u64 = 30_000_000;

/// Who has served a tag, or was elected to.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    node: usize,
    /// The masters that count for it.
    voters: BTreeSet<NodeId>,
    epoch: u64,
    since_us: u64,
}

/// The masters that count for a node.
fn voters(machine: &Cluster) -> BTreeSet<NodeId> {
    let voters = machine.nodes().iter().filter(|(_, node)| node.votes());
    voters.map(|(_, node)| node.id).collect()
}

impl World {
    /// A node's process begins: what it had seen is forgotten.
    pub(crate) fn cluster_begins(&mut self, node: usize) {
        self.cluster.views.remove(&node);
        self.cluster.failed_us.remove(&node);
        if self.cluster.electing.remove(&node) {
            self.coverage.restarts_in_election += 1;
        }
        self.cluster.told.remove(&node);
        // An epoch that was not on its disk it has told nobody, and does not know any more.
        let Some(machine) = self.processes[node].cluster() else { return };
        let (nodes, me) = (machine.nodes(), machine.nodes().me());
        if !me.is_master() {
            return;
        }
        // It may have been elected, and come back with that only now: its voters let the old master go on.
        for (tag, served) in &mut self.cluster.served {
            let is_own = nodes.owner(slot_of_tag(*tag)) == Some(nodes.my_key());
            if served.node == node {
                served.epoch = served.epoch.min(me.config_epoch);
            } else if is_own && served.epoch < me.config_epoch {
                self.cluster.keys.excuse_tag(*tag);
                self.cluster.promoted_us.insert(*tag, self.now);
            }
        }
    }

    /// Looks at a node of a cluster after a call.
    pub(crate) fn observe_cluster(&mut self, node: usize) {
        let Some(machine) = self.processes[node].cluster() else { return };
        let (mut wrong, mut news) = (Vec::new(), Vec::new());
        let nodes = machine.nodes();
        let view = self.cluster.views.entry(node).or_default();
        for tag in 0..TAGS {
            view.routes[tag] = Some(machine.route(slot_of_tag(tag)));
            // A slot that its owner has given up goes to whoever claims it, with whatever epoch.
            let claimed =
                nodes.owner(slot_of_tag(tag)).filter(|_| machine.is_claimed(slot_of_tag(tag)));
            let Some(owner) = claimed else {
                view.owners[tag] = None;
                continue;
            };
            let (key, owner) = (owner, &nodes[owner]);
            let before = view.owners[tag];
            if before.is_some_and(|it| (it.key, it.epoch) == (key, owner.config_epoch)) {
                continue;
            }
            let (id, epoch) = (owner.id, owner.config_epoch);
            view.owners[tag] = Some(Seen { key, id, epoch });
            news.push(format!("for node{node} tag {tag} is {id:?}'s (epoch {epoch})"));
            let Some(Seen { id, epoch, .. }) = before else { continue };
            let went_back = match id == owner.id {
                true => owner.config_epoch < epoch,
                // Whoever wins an epoch may not know that its master has taken the same one meanwhile.
                false if owner.id == nodes.me().id => owner.config_epoch < epoch,
                false => owner.config_epoch <= epoch,
            };
            // It may have given the slot up and another have claimed it within this call.
            let gave_up = nodes.find(&id).is_none_or(|former| nodes[former].is_replica());
            let is_loose = gave_up || self.cluster.moved.contains(&tag) || self.cluster.is_forced;
            if went_back && !is_loose {
                let text = format!(
                    "for node{node} slot {} goes from {id:?} (epoch {epoch}) to {:?} (epoch {})",
                    slot_of_tag(tag),
                    owner.id,
                    owner.config_epoch
                );
                wrong.push((id, slot_of_tag(tag), text));
            }
        }
        let me = nodes.me();
        let master = me.master.filter(|_| me.is_replica());
        let is_failed = master.is_some_and(|master| is(&nodes[master], NodeFlags::FAIL));
        match is_failed {
            true => _ = self.cluster.failed_us.entry(node).or_insert(self.now),
            false => _ = self.cluster.failed_us.remove(&node),
        }
        news.into_iter().for_each(|news| self.tell(|| news));
        // It may only have been thought to have the slot, as the successor of who had.
        let wrong = wrong.into_iter().find(|(former, slot, _)| {
            let former = self.cluster.node(former).and_then(|node| self.processes[node].cluster());
            former.is_none_or(|it| it.nodes().me().slots().contains(*slot))
        });
        if let Some((_, _, what)) = wrong {
            self.fail(what);
        }
    }

    /// A line of a node's log.
    pub(crate) fn cluster_log(&mut self, node: usize, text: &str) {
        if self.plan.cluster.is_none() {
            return;
        }
        if let Some(rest) = text.strip_prefix("Marking node ") {
            self.node_is_marked(node, rest);
        } else if let Some(rest) = text.strip_prefix("FAIL message received from ") {
            self.node_receives_fail(node, rest);
        } else if let Some(rest) = text.strip_prefix("configEpoch set to ") {
            let epoch = rest.split(' ').next().and_then(|epoch| epoch.parse().ok());
            self.election_is_won(node, epoch.unwrap_or(0));
        } else if text.starts_with("Starting a failover election for epoch") {
            // One that asks again, in a newer epoch, has waited before.
            if self.cluster.electing.insert(node) {
                self.check_rank(node);
            }
        } else if text.starts_with("Taking over the primary") || text.starts_with("Assigning slot")
        {
            self.cluster.ordered = Some((node, self.now));
        } else if text.contains("Failover attempt expired.") {
            self.cluster.electing.remove(&node);
            self.coverage.elections_lost += 1;
        } else if text.starts_with("Manual failover user request accepted")
            || text.starts_with("Forced failover user request accepted")
        {
            self.cluster.told.insert(node);
        } else if text.starts_with("Failover was won too late") {
            // It takes back what it has told nobody.
            self.cluster.views.remove(&node);
        } else if text.starts_with("Failover auth denied") {
            self.coverage.votes_refused += 1;
        } else if text.starts_with("configEpoch collision") {
            self.coverage.epoch_collisions += 1;
        } else if text.starts_with("Migrating to orphaned") {
            self.coverage.replica_migrations += 1;
        }
    }

    fn node_is_marked(&mut self, judge: usize, text: &str) {
        let id = text.split(' ').next().and_then(|id| NodeId::parse(id.as_bytes()));
        let Some(about) = id.and_then(|id| self.cluster.node(&id)) else { return };
        self.coverage.nodes_failed += 1;
        let Some(machine) = self.processes[judge].cluster() else { return };
        let (now, timeout_us) = (self.now, self.timeout_us());
        let is_silent = |voter: usize| {
            let heard = self.cluster.heard.get(&(voter, about));
            heard.is_none_or(|heard| heard.may_report(now, timeout_us))
        };
        let voters = machine.nodes().iter().filter(|(_, node)| node.votes());
        let silent =
            voters.filter(|(_, node)| self.cluster.node(&node.id).is_none_or(is_silent)).count();
        let quorum = machine.nodes().quorum();
        if silent < quorum {
            self.fail(format!(
                "node{judge} marks node{about} as FAIL, and only {silent} masters do not hear it"
            ));
        }
    }

    fn node_receives_fail(&mut self, node: usize, text: &str) {
        let about = text.split(" about ").nth(1).and_then(|rest| rest.split(' ').next());
        let about = about.and_then(|id| NodeId::parse(id.as_bytes()));
        let about = about.and_then(|id| self.cluster.node(&id));
        if let Some(heard) = about.and_then(|about| self.cluster.heard.get_mut(&(node, about))) {
            heard.fail_received_us = Some(self.now);
        }
    }

    fn election_is_won(&mut self, node: usize, epoch: u64) {
        self.coverage.elections_won += 1;
        self.cluster.electing.remove(&node);
        let id = self.cluster.ids[node];
        let Some(machine) = self.processes[node].cluster() else { return };
        let voters = voters(machine);
        // Where a master and the one that has taken its place both count, to different nodes, two majorities need not meet.
        let winners = self.cluster.winners.entry((epoch, voters)).or_default();
        winners.insert(id);
        if winners.len() > 1 {
            let what = format!("epoch {epoch} has the winners {winners:?}, of the same voters");
            self.fail(what);
        }
    }

    /// A replica asks for votes: have those with more data had the time to?
    fn check_rank(&mut self, node: usize) {
        let Some(machine) = self.processes[node].cluster() else { return };
        if self.cluster.told.contains(&node) {
            return;
        }
        let nodes = machine.nodes();
        let (me, key) = (nodes.me(), nodes.my_key());
        // It may have been told in the same turn that somebody else has won.
        let Some(master) = me.master.filter(|master| is(&nodes[*master], NodeFlags::FAIL)) else {
            return;
        };
        let ours = self.processes[node].data().map_or(0, |data| data.place().offset.max(0) as u64);
        let better = nodes
            .replicas(master)
            .filter(|(other, it)| {
                *other != key && !is(it, NodeFlags::NO_FAILOVER) && it.offset > ours
            })
            .count() as u64;
        self.coverage.ranks_checked += u64::from(better > 0);
        let since = self.cluster.failed_us.get(&node).copied().unwrap_or(self.now);
        if self.now - since + 2000 < better * RANK_US {
            let waited = self.now - since;
            self.fail(format!(
                "node{node} asks for votes after {waited} us, and {better} replicas have more data"
            ));
        }
    }

    /// A reply of a node leaves for a client that has not said ASKING.
    pub(crate) fn reply_leaves(&mut self, conn: ConnId, agent: usize, bytes: &[u8]) {
        let node = self.conns[conn].hosts[1];
        let Some((user, read_us)) = self.cluster.agents[agent].asking_user() else { return };
        let (Some((tag, is_write)), Some(read_us)) = (user.asks(), read_us) else { return };
        let checked = match bytes.first() {
            // A part of a reply says nothing.
            _ if !bytes.ends_with(b"\r\n") => Ok(()),
            Some(b'+' | b'$') => self.check_served_slot(node, tag, is_write, read_us),
            Some(b'-') => self.check_redirection(node, tag, bytes, read_us),
            _ => Ok(()),
        };
        if let Err(what) = checked {
            self.fail(format!("node{node}, tag {tag}: {what}"));
        }
    }

    fn check_served_slot(
        &mut self,
        node: usize,
        tag: usize,
        is_write: bool,
        read_us: u64,
    ) -> Result<(), String> {
        let Some(machine) = self.processes[node].cluster() else { return Ok(()) };
        // Else the reply has waited for a disk, and the node may have lost the slot meanwhile.
        let is_here = |route: &Route| matches!(route, Route::Here | Route::Migrating { .. });
        let has_slot = self.routes_in_turn(node, tag).iter().any(is_here);
        if read_us == self.now && !has_slot {
            return Err(format!("it serves its slot: {:?}", self.routes_in_turn(node, tag)));
        }
        let epoch = machine.nodes().me().config_epoch;
        // Or has noticed meanwhile that it must not serve, in a view with other masters.
        let has_stopped = read_us != self.now && !(machine.is_ok() && has_slot);
        if !has_stopped {
            self.is_heard(machine, node, read_us)?;
        }
        self.coverage.serves_checked += 1;
        let is_handed_over =
            self.cluster.handed_over_us.get(&tag).is_some_and(|end| self.now < *end);
        let is_loose = self.cluster.is_forced || self.cluster.moving.contains(&tag);
        let voters = voters(machine);
        let known = self.cluster.served.get(&tag);
        let is_unknown = has_stopped
            || known.is_some_and(|known| {
                self.is_cut_off(known, &voters) || !self.is_told(&known.voters, node, epoch)
            });
        match self.cluster.served.get_mut(&tag) {
            // A node may forget an epoch that was not on its disk, of which it has told nobody.
            Some(known) if known.epoch > epoch && known.node != node => {
                let is_late = read_us > known.since_us && (is_write || !is_handed_over);
                if is_late && is_unknown {
                    self.cluster.keys.excuse_tag(tag);
                } else if is_late && !is_loose {
                    return Err(format!(
                        "it serves with epoch {epoch} what node{} has served with {} since {}",
                        known.node, known.epoch, known.since_us
                    ));
                }
            }
            Some(known) if known.epoch == epoch && known.node == node => known.voters = voters,
            _ => {
                let served = Served { node, voters, epoch, since_us: self.now };
                self.cluster.served.insert(tag, served);
            }
        }
        Ok(())
    }

    /// Whether an older master may go on, since it and the new one do not agree who the voters are by more than one place, or since
    /// no majority of its voters was told by the new one: that was cut off from them before they could. (Or the older one was
    /// cut off from the voters of the new one, when it had won. So they voted in the place of the master before both.)
    fn is_cut_off(&self, new: &Served, voters: &BTreeSet<NodeId>) -> bool {
        new.voters.symmetric_difference(voters).count() > 2
            || !self.is_told(voters, new.node, new.epoch)
    }

    /// Whether a majority of voters has heard of a master with an epoch.
    fn is_told(&self, voters: &BTreeSet<NodeId>, master: usize, epoch: u64) -> bool {
        let is_told = |voter: &NodeId| {
            let voter = self.cluster.node(voter);
            let heard = voter.and_then(|voter| self.cluster.heard.get(&(voter, master)));
            heard.is_some_and(|heard| heard.config_epoch >= epoch)
        };
        voters.iter().filter(|voter| is_told(voter)).count() > voters.len() / 2
    }

    /// Whether a majority of the masters that a node knows was heard within the last timeout.
    fn is_heard(&self, machine: &Cluster, node: usize, at_us: u64) -> Result<(), String> {
        let nodes = machine.nodes();
        let since_us = at_us.saturating_sub(self.timeout_us() + SLACK_US);
        let is_heard = |id: &NodeId| {
            let other = self.cluster.node(id);
            other.is_some_and(|other| {
                other == node
                    || self
                        .cluster
                        .heard
                        .get(&(node, other))
                        .is_some_and(|it| it.last_us >= since_us)
            })
        };
        let voters = nodes.iter().filter(|(_, node)| node.votes());
        let heard = voters.filter(|(_, node)| is_heard(&node.id)).count();
        match heard >= nodes.quorum() {
            true => Ok(()),
            false => Err(format!(
                "it serves, and has heard of {heard} of {} masters since {since_us}",
                nodes.voters()
            )),
        }
    }

    fn check_redirection(
        &mut self,
        node: usize,
        tag: usize,
        bytes: &[u8],
        read_us: u64,
    ) -> Result<(), String> {
        let text = String::from_utf8_lossy(bytes);
        let words: Vec<&str> = text.trim_end().split(' ').collect();
        // One that changes routes in the same turn, by order, may have had other ones in between than before and after it.
        let was_ordered = self.cluster.ordered == Some((node, self.now));
        if read_us != self.now || words.len() < 3 || was_ordered {
            return Ok(());
        }
        if !["-MOVED", "-ASK"].contains(&words[0]) {
            return Ok(());
        }
        self.coverage.asks += u64::from(words[0] == "-ASK");
        let told = words[2].split(':').next().and_then(node_of);
        let is_meant = |route: &Route| {
            let to = match (words[0], route) {
                (
                    "-MOVED",
                    Route::Elsewhere { owner }
                    | Route::Importing { owner }
                    | Route::Replicated { owner },
                ) => owner,
                ("-ASK", Route::Migrating { to }) => to,
                _ => return false,
            };
            self.cluster.node(to) == told
        };
        let routes = self.routes_in_turn(node, tag);
        match routes.iter().any(is_meant) {
            true => Ok(()),
            false => Err(format!("it says {}: {routes:?}", text.trim_end())),
        }
    }

    /// Where a node has sent clients before the present turn, and where it does now.
    fn routes_in_turn(&self, node: usize, tag: usize) -> Vec<Route> {
        let now = self.processes[node].cluster().map(|machine| machine.route(slot_of_tag(tag)));
        let before = self.cluster.views.get(&node).and_then(|view| view.routes[tag]);
        before.into_iter().chain(now).collect()
    }

    /// A node of a cluster was promoted: what its old master's history lost with that, and what is loose from now on.
    pub(crate) fn cluster_promoted(&mut self, node: usize, id: &str, went_on: i64) {
        let lost = self.histories.get(id).map(|history| history.keys_since(went_on));
        for key in lost.unwrap_or_default() {
            if let Some(name) = crate::cluster_keys::Name::parse(&key) {
                self.coverage.keys_lost += u64::from(self.cluster.keys.excuse(name));
            }
        }
        let Some(machine) = self.processes[node].cluster() else { return };
        let nodes = machine.nodes();
        // Keys of a slot that it imports were served there too.
        let mine = |tag: &usize| {
            let slot = slot_of_tag(*tag);
            let is_imported = matches!(machine.route(slot), Route::Importing { .. });
            is_imported
                || nodes.owner(slot).is_some_and(|owner| {
                    owner == nodes.my_key() || nodes.share_shard(owner, nodes.my_key())
                })
        };
        let mine: Vec<usize> = (0..TAGS).filter(mine).collect();
        let served = Served {
            node,
            voters: voters(machine),
            epoch: nodes.me().config_epoch,
            since_us: self.now,
        };
        for tag in &mine {
            let is_own = nodes.owner(slot_of_tag(*tag)) == Some(nodes.my_key());
            let known = self.cluster.served.get(tag);
            if is_own && known.is_none_or(|known| known.epoch < served.epoch) {
                self.cluster.served.insert(*tag, served.clone());
            }
        }
        let is_told = self.cluster.told.remove(&node);
        self.coverage.keys_lost += self.cluster.keys.excuse_absent(&mine, (id, went_on));
        for tag in mine {
            if is_told {
                self.cluster.handed_over_us.insert(tag, self.now + HANDED_OVER_US);
            } else {
                self.cluster.promoted_us.insert(tag, self.now);
            }
        }
        // It does not know which slots its master was moving, or is given.
        for tag in self.cluster.moving.clone() {
            self.cluster.keys.excuse_tag(tag);
        }
    }

    /// The process of a master ends: what is not on its disk may be gone when it comes back.
    pub(crate) fn cluster_ends(&mut self, node: usize) {
        let Some(plan) = &self.plan.cluster else { return };
        let Some(machine) = self.processes[node].cluster() else { return };
        let is_durable = plan.is_durable;
        if machine.is_replica() {
            return;
        }
        let nodes = machine.nodes();
        // Keys of a slot that it imports are served here too.
        let is_mine = |tag: &usize| {
            let slot = slot_of_tag(*tag);
            let is_imported = matches!(machine.route(slot), Route::Importing { .. });
            is_imported || nodes.owner(slot) == Some(nodes.my_key())
        };
        let tags: Vec<usize> = (0..TAGS).filter(is_mine).collect();
        if !is_durable {
            return tags.into_iter().for_each(|tag| self.cluster.keys.excuse_tag(tag));
        }
        // Its own writes are on its disk, or nobody was told of them. What it had as a replica may not be: the disk failed, or
        // was slow.
        let process = &self.processes[node];
        let Some((own, _)) = &process.seen.place else { return };
        let place = process.disk_place.as_ref().map(|(id, offset)| (&id[..], *offset));
        self.coverage.keys_lost += self.cluster.keys.excuse_unsaved(&tags, place, own);
    }
}
