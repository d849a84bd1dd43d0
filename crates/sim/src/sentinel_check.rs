//! What must hold of Sentinels at every moment, whatever fails. Nothing in here knows of any particular bug.
//!
//! * A Sentinel votes once for each master and epoch, in all its lives; a vote that leaves is in the file that survives.
//! * An epoch has one leader of a master. An elected leader has the votes of a majority of all Sentinels that it knows.
//! * The epoch of a configuration that a Sentinel tells never goes back, in all its lives, and it is in the file that survives. A
//!   configuration's epoch says where the master is: to all the same.
//! * A replica that is chosen has data of its master's histories, and a priority.
//! * A master that has answered within `down-after-milliseconds` is not down.
//! * A leader whose failover came to nothing waits before it tries again, and so does who has lost an election.
//!
//! What a promoted replica may lose is looked at in `losses.rs`.

use crate::machine::Beliefs;
use crate::resp::Reply;
use crate::sentinel_plan::{NEVER, SENTINEL_FILE, SentinelPlan};
use crate::sentinel_wire::TOGETHER_US;
use crate::sentinels::{Track, epoch_in};
use crate::world::World;

/// Slack of times that are compared: clocks count milliseconds.
const SLACK_US: u64 = 5000;

/// The least time between two elections that a Sentinel begins.
const TRIES_US: u64 = 200_000;

/// The groups's name in an event's text.
fn master_in(text: &str) -> Option<&str> {
    let mut words = text.split(' ');
    match words.next()? {
        "master" => words.next(),
        "slave" | "sentinel" => text.split_once("@ ")?.1.split(' ').next(),
        name => Some(name),
    }
}

impl World {
    pub(crate) fn sentinel_plan(&self) -> &SentinelPlan {
        self.plan.sentinels.as_ref().expect("only Sentinels' worlds have Sentinels")
    }

    /// The file of a Sentinel as a loss of power would leave it.
    fn durable_file(&self, node: usize) -> String {
        let text = self.processes[node].disk.read_durable(SENTINEL_FILE).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// An epoch in that file, and whether an id is in it.
    fn durable_epoch(
        &mut self,
        node: usize,
        statement: &'static str,
        group: usize,
        id: &str,
    ) -> (u64, bool) {
        let bytes = self.processes[node].disk.read_durable(SENTINEL_FILE).unwrap_or_default();
        let file = self.watch.files.entry(node).or_default();
        file.update(bytes);
        (file.epoch(statement, group), file.has(id))
    }

    /// A reply with a vote leaves a Sentinel.
    pub(crate) fn vote_leaves(&mut self, node: usize, group: Option<usize>, reply: &Reply) {
        let Reply::Array(Some(parts)) = reply else { return };
        let [Reply::Int(_), Reply::Bulk(Some(candidate)), Reply::Int(epoch)] = &parts[..] else {
            return;
        };
        let candidate = String::from_utf8_lossy(candidate).into_owned();
        let (Some(group), Ok(epoch)) = (group, u64::try_from(*epoch)) else { return };
        if candidate != "*" {
            self.note_vote(node, group, epoch, candidate);
        }
    }

    /// A Sentinel has voted, and others know of it, or it counts its own vote.
    fn note_vote(&mut self, node: usize, group: usize, epoch: u64, candidate: String) {
        self.coverage.votes += 1;
        let Some(life) = self.watch.lives.get(&node) else { return };
        let id = life.id.clone();
        let known = self.watch.votes.entry((id.clone(), group, epoch));
        let known = known.or_insert_with(|| candidate.clone()).clone();
        if known != candidate {
            self.fail(format!(
                "Sentinel node{node} votes for {candidate} in epoch {epoch} of m{group}, and has voted for {known}"
            ));
        }
        let (saved, has_id) = self.durable_epoch(node, "leader-epoch", group, &id);
        if saved < epoch || !has_id {
            self.fail(format!(
                "Sentinel node{node} tells its vote in epoch {epoch} of m{group}; its file has {saved}"
            ));
        }
    }

    /// A hello message leaves a Sentinel.
    pub(crate) fn hello_leaves(&mut self, node: usize, hello: &str) {
        let fields: Vec<&str> = hello.split(',').collect();
        let [_, _, id, _, name, host, _, epoch] = fields[..] else { return };
        let Some(group) = self.sentinel_plan().group_named(name) else { return };
        let epoch: u64 = epoch.parse().unwrap_or(0);
        self.coverage.hellos += 1;
        let told = self.watch.announced.entry(group).or_default();
        match told.get_mut(id) {
            Some(told) => *told = epoch.max(*told),
            None => _ = told.insert(id.to_owned(), epoch),
        }
        let (saved, has_id) = self.durable_epoch(node, "config-epoch", group, id);
        if saved < epoch || !has_id {
            self.fail(format!(
                "Sentinel node{node} ({id}) tells of configuration {epoch} of m{group}; its file has {saved}"
            ));
        }
        let host = host.to_owned();
        let known = self.watch.addresses.entry((group, epoch)).or_insert_with(|| host.clone());
        let is_given = epoch == 0 && self.watch.monitored_again.iter().any(|it| it.0 == group);
        if *known != host && !is_given && !self.watch.forced_alone.contains(&group) {
            let known = known.clone();
            self.fail(format!(
                "Sentinel node{node} says that configuration {epoch} of m{group} is at {host}; it was at {known}"
            ));
        }
    }

    /// Looks at what a Sentinel believes after a call.
    pub(crate) fn observe_sentinel(&mut self, node: usize) {
        let process = &self.processes[node];
        let Some(machine) = process.machine.as_deref() else { return };
        let mut wrong = None;
        let watch = &mut self.watch;
        let Some(life) = watch.lives.get_mut(&node) else { return };
        if !machine.observe_beliefs(&mut life.beliefs) {
            return;
        }
        life.id.clone_from(&life.beliefs.id);
        for belief in &life.beliefs.masters {
            let plan = self.plan.sentinels.as_ref();
            let Some(group) = plan.and_then(|plan| plan.group_named(&belief.name)) else {
                continue;
            };
            let track = life.groups.entry(group).or_default();
            let told = watch.announced.get(&group).and_then(|told| told.get(&life.id)).copied();
            let told = told.unwrap_or(0);
            let before = track.config_epoch.max(told);
            if belief.config_epoch < before {
                let is = belief.config_epoch;
                wrong = Some(format!(
                    "Sentinel node{node} goes back from configuration {before} of m{group} to {is}"
                ));
            }
            track.config_epoch = belief.config_epoch;
        }
        if let Some(what) = wrong {
            self.fail(what);
        }
    }

    /// A line of a Sentinel's log.
    pub(crate) fn sentinel_log(&mut self, node: usize, line: &str) {
        let (event, text) = line.split_once(' ').unwrap_or((line, ""));
        if line.starts_with("WARNING: Sentinel was not able to save") {
            return self.note_failed_save(node);
        }
        if let Some(name) = line.strip_prefix("Executing user requested FAILOVER of '") {
            let group = self.sentinel_plan().group_named(name.trim_end_matches('\''));
            if let (Some(group), Some(life)) = (group, self.watch.lives.get_mut(&node)) {
                life.groups.entry(group).or_default().is_forced = true;
            }
            return;
        }
        match event {
            "+new-epoch" => {
                if let Some(life) = self.watch.lives.get_mut(&node) {
                    life.epoch = text.parse().unwrap_or(0);
                }
                return;
            }
            "+tilt" => self.coverage.tilts += 1,
            "+vote-for-leader" => self.note_own_vote(node, text),
            _ => {}
        }
        let group = master_in(text).and_then(|name| self.sentinel_plan().group_named(name));
        if let Some(group) = group {
            self.sentinel_event(node, group, event, text);
        }
    }

    fn sentinel_event(&mut self, node: usize, group: usize, event: &str, text: &str) {
        self.check_calm(node, group, event, text);
        match event {
            "+sdown" if text.starts_with("master ") => self.check_down(node, group, text),
            "+try-failover" => self.check_try(node, group),
            "+elected-leader" => self.check_elected(node, group),
            "+selected-slave" => {
                self.check_selected(node, group, text);
                self.maybe_trouble_choice(node, text);
            }
            "+failover-state-send-failover" => {
                let is_true = self.has_true_master(group, node);
                let faults = self.faults_so_far(group, node).filter(|_| is_true);
                let track = self.track(node, group);
                (track.is_coordinated, track.faults_at_begin) = (true, faults);
            }
            "+promoted-slave" => {
                self.note_promoted(node, group, text);
                self.maybe_trouble_promoted(node, group, text);
            }
            "+switch-master" => {
                self.coverage.switches += 1;
                self.note_switch(node, group, text);
            }
            "+reset-master" => {
                let track = self.track(node, group);
                *track = Track { config_epoch: track.config_epoch, ..Track::default() };
                self.forget_lineages(node, group);
            }
            "-monitor" => self.note_removed(node, group),
            "+set" => self.note_set(node, group, text),
            "+restore-master" => self.note_restored(group, text),
            "-failover-abort-not-elected" => {
                self.coverage.aborted_not_elected += 1;
                self.note_lost(node, group);
            }
            "-failover-abort-no-good-slave" => self.coverage.aborted_no_replica += 1,
            "-failover-abort-slave-timeout" => self.coverage.aborted_timeout += 1,
            "-failover-abort-refused" => self.coverage.aborted_refused += 1,
            "-failover-abort-superseded" => self.coverage.aborted_superseded += 1,
            "+failover-end-for-timeout" => self.coverage.ended_for_timeout += 1,
            "+convert-to-slave" => self.coverage.converted_masters += 1,
            "+fix-slave-config" => self.coverage.fixed_replicas += 1,
            "+config-update-from" => self.note_update(node, group),
            _ => {}
        }
        let steps = ["+elected-leader", "+selected-slave", "+promoted-slave", "+slave-reconf-sent"];
        if steps.contains(&event) || event.starts_with("+failover-state") {
            self.maybe_crash_sentinel(node);
        }
    }

    /// A Sentinel takes over the configuration of another one, perhaps while it carries out a failover itself.
    fn note_update(&mut self, node: usize, group: usize) {
        self.coverage.config_updates += 1;
        let name = SentinelPlan::name(group);
        let masters = self.watch.lives.get(&node).into_iter().flat_map(|it| &it.beliefs.masters);
        let mut ours = masters.filter(|belief| belief.name == name);
        self.coverage.overtaken += u64::from(ours.any(|belief| belief.failover.is_some()));
    }

    fn track(&mut self, node: usize, group: usize) -> &mut Track {
        self.watch.lives.entry(node).or_default().groups.entry(group).or_default()
    }

    fn note_failed_save(&mut self, node: usize) {
        self.coverage.failed_state_saves += 1;
        let text = self.durable_file(node);
        let Some(life) = self.watch.lives.get(&node) else { return };
        let lost = life.beliefs.masters.iter().filter(|master| {
            epoch_in(&text, &format!("sentinel leader-epoch {}", master.name)) < master.leader_epoch
        });
        self.coverage.failed_vote_saves += lost.count() as u64;
    }

    /// It helps another one: when it may try itself depends on that one.
    fn note_own_vote(&mut self, node: usize, text: &str) {
        let candidate = text.split(' ').next().unwrap_or_default();
        if let Some(life) = self.watch.lives.get_mut(&node)
            && candidate != life.id
        {
            life.groups.values_mut().for_each(|track| track.not_before_us = 0);
        }
    }

    /// A Sentinel finds a master down: it has not answered for long enough.
    fn check_down(&mut self, node: usize, group: usize, text: &str) {
        let host = text.split(' ').nth(2).unwrap_or_default();
        let Some(server) = self.server_at(host) else { return };
        let down_after_us = self.sentinel_plan().down_after_ms * 1000;
        let Some(life) = self.watch.lives.get(&node) else { return };
        self.coverage.down_checks += 1;
        let is_demoted = life.infos.get(&server).is_some_and(|told| told.is_replica);
        let pongs = life.pongs.get(&server).copied().unwrap_or_default();
        let is_handled = self.now > pongs[0] + TOGETHER_US;
        let heard_us = if is_handled { pongs[0] } else { pongs[1] };
        let silent_us = self.now - heard_us;
        if !is_demoted && silent_us + SLACK_US < down_after_us {
            self.fail(format!(
                "Sentinel node{node} finds m{group} down, which answered {silent_us} us ago"
            ));
        }
    }

    fn check_try(&mut self, node: usize, group: usize) {
        let (now, timeout_us) = (self.now, self.sentinel_plan().failover_timeout_ms * 1000);
        self.coverage.tries += 1;
        let Some(life) = self.watch.lives.get_mut(&node) else { return };
        let epoch = life.epoch;
        let track = life.groups.entry(group).or_default();
        let is_early = now + SLACK_US < track.not_before_us;
        track.trying = Some((epoch, now));
        (track.is_elected, track.is_coordinated) = (false, false);
        track.not_before_us = now + timeout_us * 2;
        if is_early && !track.is_forced {
            self.fail(format!("Sentinel node{node} tries to fail m{group} over again too early"));
        }
    }

    /// An election was lost or given up: the next one may be soon, but not at once, unless this one has lasted for long, with
    /// the process stopped in the middle.
    fn note_lost(&mut self, node: usize, group: usize) {
        let now = self.now;
        let track = self.track(node, group);
        track.is_forced = false;
        track.not_before_us = match track.is_elected {
            true => track.not_before_us,
            false if track.not_before_us == 0 => now + TRIES_US,
            false => track.not_before_us.min(now + TRIES_US),
        };
        let Some((epoch, _)) = track.trying.take() else { return };
        let votes = self.watch.votes.iter();
        let of_epoch = votes.filter(|((_, of, at), _)| (*of, *at) == (group, epoch));
        let candidates: std::collections::BTreeSet<&String> = of_epoch.map(|(_, it)| it).collect();
        let has_leader = self.watch.leaders.contains_key(&(group, epoch));
        self.coverage.split_votes += u64::from(candidates.len() > 1 && !has_leader);
    }

    /// A Sentinel is the leader of its epoch.
    fn check_elected(&mut self, node: usize, group: usize) {
        let track = self.track(node, group);
        track.is_elected = true;
        let is_forced = track.is_forced;
        let Some((epoch, _)) = track.trying else {
            return self
                .fail(format!("Sentinel node{node} leads a failover that it did not begin"));
        };
        let Some(life) = self.watch.lives.get(&node) else { return };
        let id = life.id.clone();
        let name = SentinelPlan::name(group);
        let belief = life.beliefs.masters.iter().find(|belief| belief.name == name);
        let needed = belief.map_or(1, |belief| belief.quorum.max(belief.sentinels / 2 + 1));
        self.note_vote(node, group, epoch, id.clone());
        let votes =
            self.watch.votes.iter().filter(|((_, of, at), candidate)| {
                (*of, *at) == (group, epoch) && **candidate == id
            });
        let votes = votes.count();
        let has_majority = votes >= needed;
        if !is_forced && !has_majority {
            self.fail(format!(
                "Sentinel node{node} leads epoch {epoch} of m{group} with {votes} votes of {needed}"
            ));
        }
        // Who does not know the others yet believes to have one.
        if !has_majority || votes < self.sentinel_plan().count / 2 + 1 {
            self.coverage.forced_alone += 1;
            self.watch.forced_alone.insert(group);
            return;
        }
        self.coverage.elections += u64::from(!is_forced);
        let leaders = self.watch.leaders.entry((group, epoch)).or_default();
        leaders.insert(id.clone());
        let is_one = leaders.len() == 1;
        let last = self.watch.last_leader.insert(group, id.clone());
        self.coverage.leader_changes += u64::from(last.is_some_and(|last| last != id));
        if !is_one {
            self.fail(format!("epoch {epoch} of m{group} has two leaders, one is node{node}"));
        }
    }

    /// A replica is chosen: it may be promoted, and has the data of the group.
    fn check_selected(&mut self, node: usize, group: usize, text: &str) {
        let host = text.split(' ').nth(2).unwrap_or_default();
        let Some(server) = self.server_at(host) else {
            return self.fail(format!("Sentinel node{node} chooses {host}, which is no server"));
        };
        self.coverage.choices += 1;
        let told = self.watch.lives.get(&node).and_then(|life| life.infos.get(&server));
        if told.and_then(|told| told.priority) == Some(NEVER) {
            self.fail(format!("Sentinel node{node} chooses node{server}, whose priority is 0"));
        }
        let track = self.track(node, group);
        if track.knows_history {
            self.check_family(node, group, server);
        } else if track.has_heard_former {
            self.coverage.blind_choices += 1;
        } else {
            self.check_selected_by_file(node, group, server);
        }
    }

    fn note_promoted(&mut self, node: usize, group: usize, text: &str) {
        let host = text.split(' ').nth(2).unwrap_or_default();
        if let Some(server) = self.server_at(host) {
            self.note_master(group, server);
            if self.track(node, group).is_coordinated {
                self.check_handed_over(node, group, server);
            }
        }
        let track = self.track(node, group);
        let (is_forced, is_coordinated) = (track.is_forced, track.is_coordinated);
        self.coverage.promotions_by_leaders += 1;
        self.coverage.failovers_by_users += u64::from(is_forced && !is_coordinated);
        self.coverage.coordinated_failovers += u64::from(is_coordinated);
    }

    /// After all was well nothing happens to a master any more.
    fn check_calm(&mut self, node: usize, group: usize, event: &str, text: &str) {
        let is_of_master = text.starts_with("master ") || event == "+switch-master";
        let disturbs = ["+sdown", "+odown", "+try-failover", "+switch-master"].contains(&event);
        if self.watch.settled_us.is_some() && is_of_master && disturbs {
            self.fail(format!("m{group} is healthy, and Sentinel node{node} says {event} {text}"));
        }
    }

    /// What is new of a Sentinel's beliefs, for a test of the end.
    pub(crate) fn beliefs_of(&self, node: usize) -> Option<Beliefs> {
        self.processes[node].machine.as_deref()?.beliefs()
    }
}
