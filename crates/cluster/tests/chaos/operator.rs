//! What operators order, and what tools like redis-cli do in several steps, between which anything may happen.

use russet_cluster::{NodeId, Reset, Settings, SlotStep, Takeover};

use crate::network::id_of;
use crate::world::World;

/// A slot on its way: the steps of redis-cli.
pub struct Move {
    slot: u16,
    source: usize,
    target: usize,
    step: u8,
}

impl World {
    /// Gives an order to a node.
    pub fn operate(&mut self) {
        let Some(number) = self.running() else { return };
        match self.network.rng.below(100) {
            0..20 => self.fail_over(number, Takeover::Coordinated),
            20..30 if self.may_force => self.fail_over(number, Takeover::Forced),
            30..36 if self.may_force => self.fail_over(number, Takeover::Unasked),
            36..42 => self.change_settings(number),
            _ if !self.may_operate => {}
            42..62 => self.begin_move(),
            62..70 => self.replicate(number),
            70..76 => self.leave_and_join(number),
            76..82 => self.forget_and_meet(number),
            82..86 => self.give_up_slots(),
            86..92 => {
                let epoch =
                    self.network.order(number, |cluster, now| cluster.bump_config_epoch(now));
                self.note(format!("BUMPEPOCH {number}: {epoch:?}"));
            }
            _ => {}
        }
    }

    fn fail_over(&mut self, number: usize, how: Takeover) {
        let result = self.network.order(number, |cluster, now| cluster.failover(now, how));
        self.note(format!("FAILOVER {number} {how:?}: {result:?}"));
    }

    fn change_settings(&mut self, number: usize) {
        let settings = &self.network.processes[number].settings;
        let settings = Settings {
            allow_replica_migration: self.network.rng.percent(60),
            require_full_coverage: self.network.rng.percent(60),
            no_failover: self.network.rng.percent(15),
            replica_validity_factor: [0, 10][self.network.rng.index(2)],
            ..settings.clone()
        };
        self.network.processes[number].settings = settings.clone();
        self.network.order(number, |cluster, now| cluster.set(now, settings));
    }

    fn replicate(&mut self, number: usize) {
        let Some(master) = self.running() else { return };
        if master == number {
            return;
        }
        let id = self.network.cluster(master).my_id();
        let result =
            self.network.order(number, |cluster, now| cluster.replicate(now, id.as_bytes(), false));
        self.note(format!("REPLICATE {number} {master}: {result:?}"));
    }

    /// A replica leaves with a new name, and comes back.
    fn leave_and_join(&mut self, number: usize) {
        let old = self.network.cluster(number).my_id();
        if !self.network.cluster(number).is_replica() {
            return;
        }
        let how = if self.network.rng.percent(50) { Reset::Hard } else { Reset::Soft };
        self.next_id += 1;
        let (id, shard) = (id_of(self.next_id, 1), id_of(self.next_id, 2));
        self.network.checks.excuse(number, None);
        // It has a new epoch, and gives up slots that others may still see as its own.
        let watched = self.network.checks.watched.clone();
        self.network.checks.loose.extend(watched);
        let result =
            self.network.order(number, |cluster, now| cluster.reset(now, how, false, id, shard));
        self.note(format!("RESET {number} {how:?}: {result:?}"));
        if how == Reset::Hard {
            self.gone.push(old);
            self.forget_everywhere(old);
        }
        self.meet(number);
    }

    pub fn forget_everywhere(&mut self, id: NodeId) {
        for other in 0..self.count() {
            let process = &self.network.processes[other];
            if process.is_alive && !process.is_suspended {
                // It spreads from there.
                (0..self.count()).for_each(|node| self.network.checks.excuse(node, None));
                _ = self.network.order(other, |cluster, now| cluster.forget(now, id.as_bytes()));
            }
        }
    }

    /// Introduces a node to some other.
    pub fn meet(&mut self, number: usize) {
        let Some(other) = self.running().filter(|other| *other != number) else { return };
        let ip = format!("10.0.0.{}", number + 1);
        self.note(format!("MEET {other} {number}"));
        self.network.order(other, |cluster, now| cluster.meet(now, &ip, 6379, 16379));
    }

    fn forget_and_meet(&mut self, number: usize) {
        let id = self.network.cluster(number).my_id();
        if !self.network.cluster(number).is_replica() {
            return;
        }
        let Some(other) = self.running().filter(|other| *other != number) else { return };
        (0..self.count()).for_each(|node| self.network.checks.excuse(node, None));
        let result = self.network.order(other, |cluster, now| cluster.forget(now, id.as_bytes()));
        self.note(format!("FORGET {other} {number}: {result:?}"));
        if self.network.rng.percent(50) {
            self.meet(number);
        }
    }

    /// Slots are given up everywhere, and assigned to another master.
    fn give_up_slots(&mut self) {
        let watched = &self.network.checks.watched;
        let slot = watched[self.network.rng.index(watched.len())];
        let Some(master) = self.running() else { return };
        self.note(format!("DELSLOTS {slot}, ADDSLOTS at {master}"));
        self.network.checks.loose.insert(slot);
        // Not all have been asked, perhaps not even the one that serves it.
        self.network.checks.contested.insert(slot);
        for number in 0..self.count() {
            let process = &self.network.processes[number];
            if process.is_alive && !process.is_suspended {
                self.network.checks.excuse(number, Some(slot));
                _ = self.network.order(number, |cluster, now| cluster.delete_slots(now, &[slot]));
            }
        }
        if !self.network.cluster(master).is_replica() {
            _ = self.network.order(master, |cluster, now| cluster.add_slots(now, &[slot]));
        }
    }

    fn begin_move(&mut self) {
        let watched = &self.network.checks.watched;
        let slot = watched[self.network.rng.index(watched.len())];
        let running = |number: &usize| {
            let process = &self.network.processes[*number];
            process.is_alive && !process.is_suspended && !process.cluster.is_replica()
        };
        let masters: Vec<usize> = (0..self.count()).filter(running).collect();
        let source = masters.iter().find(|number| self.network.cluster(**number).serves(slot));
        let (Some(&source), false) = (source, masters.is_empty()) else { return };
        let target = masters[self.network.rng.index(masters.len())];
        if target != source && !self.moves.iter().any(|other| other.slot == slot) {
            self.moves.push(Move { slot, source, target, step: 0 });
        }
    }

    /// Takes the next steps of moves. One that fails ends the move, wherever it is.
    pub fn go_on_moving(&mut self) {
        let mut moves = std::mem::take(&mut self.moves);
        moves.retain_mut(|one| {
            let is_due = self.network.rng.percent(70);
            if !is_due {
                return true;
            }
            let result = self.take_step(one);
            self.note(format!(
                "slot {} from {} to {}, step {}: {result:?}",
                one.slot, one.source, one.target, one.step
            ));
            one.step += 1;
            result.is_ok() && one.step < 4
        });
        self.moves = moves;
    }

    fn take_step(&mut self, one: &Move) -> Result<(), String> {
        let (source, target) = (one.source, one.target);
        let at = if one.step == 0 || one.step == 2 { target } else { source };
        let process = &self.network.processes[at];
        if !process.is_alive || process.is_suspended || process.cluster.is_replica() {
            return Err("cannot be reached".to_owned());
        }
        let (from, to) =
            (self.network.cluster(source).my_id(), self.network.cluster(target).my_id());
        self.network.checks.excuse(at, Some(one.slot));
        let slot = one.slot;
        self.network.checks.loose.insert(slot);
        self.network
            .order(at, |cluster, now| match one.step {
                0 => {
                    cluster.set_slot(now, slot, &SlotStep::Import(from.as_bytes().to_vec()), false)
                }
                1 => cluster.set_slot(now, slot, &SlotStep::Migrate(to.as_bytes().to_vec()), false),
                _ => cluster.set_slot(now, slot, &SlotStep::Give(to.as_bytes().to_vec()), false),
            })
            .map(drop)
    }
}
