//! The histories of masters that Sentinels know from their last run: one that starts while a master is down chooses by them.
//!
//! ```text
//!   sentinel config-epoch m0 3
//!   #sentinel known-lineage m0 3 0 1f0c…      counts, since the epoch is that of the configuration
//!   #sentinel known-lineage m0 2 0 99a4…      does not
//! ```
//!
//! If any replica has the data of one of them, or of one that continues it, no replica with other data must be promoted. If
//! none has, the file is older than the data, and the choice is blind.

use std::collections::BTreeMap;

use crate::plan::node_of;
use crate::sentinel_plan::SentinelPlan;
use crate::sentinels::{Reported, Track, epoch_in};
use crate::world::World;

/// Reads the histories in a state file, by group.
pub(crate) fn lineages_in(text: &str) -> BTreeMap<usize, Vec<String>> {
    let mut lineages: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("#sentinel known-lineage m")) {
        let [group, epoch, _age, id] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        let Ok(group) = group.parse::<usize>() else { continue };
        let present = epoch_in(text, &format!("sentinel config-epoch m{group}"));
        if epoch == present.to_string() {
            lineages.entry(group).or_default().push(id.to_owned());
        }
    }
    lineages
}

impl World {
    /// A Sentinel has chosen a server without having heard of the master's history in its present life.
    pub(crate) fn check_selected_by_file(&mut self, node: usize, group: usize, chosen: usize) {
        let Some(life) = self.watch.lives.get(&node) else { return };
        let known = life.lineages.get(&group).map(Vec::as_slice).unwrap_or_default();
        let has =
            |told: &Reported| known.contains(&told.lineage) || known.contains(&told.former_lineage);
        let name = SentinelPlan::name(group);
        let belief = life.beliefs.masters.iter().find(|belief| belief.name == name);
        let master = belief.and_then(|belief| node_of(&belief.host));
        let servers = &self.sentinel_plan().groups[group];
        let mut replicas = servers.iter().filter(|&&server| Some(server) != master);
        if !replicas.any(|server| life.infos.get(server).is_some_and(has)) {
            self.coverage.blind_choices += 1;
            return;
        }
        self.coverage.choices_by_file += 1;
        self.check_family(node, group, chosen);
    }

    /// A Sentinel that knows the histories of a master has chosen a server: as far as it was told, that has the group's data.
    pub(crate) fn check_family(&mut self, node: usize, group: usize, chosen: usize) {
        let told = self.watch.lives.get(&node).and_then(|life| life.infos.get(&chosen));
        let family_of = |id: &String| self.watch.families.get(id).copied();
        let family = told.and_then(|told| family_of(&told.lineage));
        let former = told.and_then(|told| family_of(&told.former_lineage));
        let is_ours = former.flatten() == Some(group);
        if family.is_some_and(|family| family != Some(group)) && !is_ours {
            let whose = match family.flatten() {
                Some(other) => format!("m{other}"),
                None => "a stranger".to_owned(),
            };
            self.fail(format!(
                "Sentinel node{node} chooses node{chosen} for m{group}, which has the data of {whose}"
            ));
        }
    }

    /// A Sentinel watches another server as the master: all begins anew.
    pub(crate) fn note_switch(&mut self, node: usize, group: usize, text: &str) {
        let server = text.split(' ').nth(3).and_then(node_of);
        let Some(life) = self.watch.lives.get_mut(&node) else { return };
        let told = server.and_then(|server| life.infos.get(&server));
        let knows_history = told.is_some_and(|told| !told.is_replica && !told.lineage.is_empty());
        let track = life.groups.entry(group).or_default();
        let has_heard_former = track.has_heard_former || track.knows_history;
        let config_epoch = track.config_epoch;
        *track = Track { config_epoch, knows_history, has_heard_former, ..Track::default() };
    }

    /// A master that followed somebody else, and all its replicas with it, is made a master again: what it has is the group's.
    pub(crate) fn note_restored(&mut self, group: usize, text: &str) {
        if let Some(server) = text.split(' ').nth(2).and_then(node_of) {
            self.note_master(group, server);
        }
    }

    /// A Sentinel forgets all about a master.
    pub(crate) fn forget_lineages(&mut self, node: usize, group: usize) {
        if let Some(life) = self.watch.lives.get_mut(&node) {
            life.lineages.remove(&group);
        }
    }
}
