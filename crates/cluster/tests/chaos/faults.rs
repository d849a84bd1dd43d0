//! What breaks by itself.

use crate::world::World;

impl World {
    /// Breaks something, or mends it.
    pub fn fault(&mut self) {
        let (count, draw) = (self.count(), self.network.rng.below(100));
        let (a, b) = (self.network.rng.index(count), self.network.rng.index(count));
        match draw {
            0..12 => self.cut(a, b, true),
            12..20 => self.cut(a, b, false),
            20..24 => {
                self.note(format!("isolated: {a}"));
                self.network.isolate(a);
            }
            24..27 => self.split(),
            27..38 => {
                self.note("healed".to_owned());
                self.network.heal();
            }
            38..47 => self.kill(a),
            47..60 => self.restart_some(),
            60..66 => self.suspend(a),
            66..76 => self.resume_some(),
            76..84 => self.slow_down(a, b),
            84..91 => self.break_disk(a),
            91..95 => self.jump(a),
            _ => self.write(a),
        }
    }

    fn cut(&mut self, a: usize, b: usize, is_both: bool) {
        if a != b {
            self.note(format!("cut: {a} → {b}, both ways: {is_both}"));
            self.network.set_cut(a, b, true);
            if is_both {
                self.network.set_cut(b, a, true);
            }
        }
    }

    /// Cuts the nodes into two parts.
    fn split(&mut self) {
        let side: Vec<bool> = (0..self.count()).map(|_| self.network.rng.percent(50)).collect();
        self.note(format!("split: {side:?}"));
        for a in 0..self.count() {
            for b in 0..self.count() {
                if side[a] != side[b] {
                    self.network.set_cut(a, b, true);
                }
            }
        }
    }

    fn kill(&mut self, number: usize) {
        if self.network.processes[number].is_alive {
            self.note(format!("killed: {number}"));
            self.network.kill(number);
        }
    }

    fn restart_some(&mut self) {
        for number in 0..self.count() {
            if !self.network.processes[number].is_alive && self.network.rng.percent(60) {
                self.note(format!("restarted: {number}"));
                self.network.restart(number);
            }
        }
    }

    fn suspend(&mut self, number: usize) {
        let process = &self.network.processes[number];
        if process.is_alive && !process.is_suspended {
            self.note(format!("suspended: {number}"));
            self.network.suspend(number);
        }
    }

    fn resume_some(&mut self) {
        for number in 0..self.count() {
            if self.network.processes[number].is_suspended && self.network.rng.percent(60) {
                self.note(format!("resumed: {number}"));
                let is_tick_first = self.network.rng.percent(50);
                self.network.resume(number, is_tick_first);
            }
        }
    }

    fn slow_down(&mut self, a: usize, b: usize) {
        let most = match self.network.rng.percent(20) {
            true => self.network.rng.within(300..3_000),
            false => self.network.rng.within(1..300),
        };
        let least = self.network.rng.below(most);
        self.note(format!("slow: {a} → {b}: {least} to {most} ms"));
        self.network.delays.insert((a, b), (least, most - least));
    }

    fn break_disk(&mut self, number: usize) {
        if self.network.rng.percent(50) {
            let save_ms = self.network.rng.within(1..2_000);
            self.note(format!("slow disk: {number}, {save_ms} ms"));
            self.network.processes[number].save_ms = save_ms;
        } else if !self.network.failing_disks.remove(&number) {
            self.note(format!("broken disk: {number}"));
            self.network.failing_disks.insert(number);
        }
    }

    fn jump(&mut self, number: usize) {
        if self.may_jump {
            let ahead = self.network.rng.within(0..200_000) as i64 - 100_000;
            self.note(format!("clock: {number} is {ahead} ms ahead"));
            self.network.processes[number].wall_ahead_ms = ahead;
        }
    }

    /// Clients write.
    fn write(&mut self, number: usize) {
        let bytes = self.network.rng.below(1_000);
        let process = &mut self.network.processes[number];
        if process.is_alive && !process.cluster.is_replica() {
            process.offset += bytes;
        }
    }
}
