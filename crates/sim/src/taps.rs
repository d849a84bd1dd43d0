//! Replication links as their bytes show them: what masters send too early, and replicas that they keep too long.

use crate::net::ConnId;
use crate::world::World;

/// A master has so much time beyond its limit to notice that a replica is silent.
const SILENCE_SLACK_US: u64 = 5_000_000;

/// Silent replicas are looked for once in so many turns.
const SILENCE_CHECK_TURNS: u64 = 64;

impl World {
    /// The node that accepted a connection of another one sends bytes.
    pub(crate) fn tap_sent(&mut self, conn: ConnId, bytes: &[u8]) {
        let [peer, node] = self.conns[conn].hosts;
        if peer >= self.plan.data_nodes() {
            return;
        }
        let now_us = self.now.saturating_sub(self.processes[node].suspended_us);
        let tap = &mut self.conns[conn].tap;
        let sent = tap.send(bytes, now_us);
        self.coverage.marked_payloads += u64::from(tap.awaits_ack());
        if let Err(what) = sent {
            self.fail(format!("node{node} to node{peer}: {what}"));
        }
    }

    /// A replica that has not been heard of for too long is let go.
    pub(crate) fn check_silent(&mut self, node: usize) {
        let process = &mut self.processes[node];
        process.turns += 1;
        if !process.turns.is_multiple_of(SILENCE_CHECK_TURNS) {
            return;
        }
        let process = &self.processes[node];
        let Some(data) = process.data() else { return };
        let most_us = data.replica_timeout_us() + SILENCE_SLACK_US;
        let now_us = self.now.saturating_sub(process.suspended_us);
        let silent = process.conns.values().filter(|(_, end)| *end == 1).find_map(|&(conn, _)| {
            let heard_us = self.conns[conn].tap.follower_heard_us()?;
            (now_us > heard_us + most_us).then(|| (now_us - heard_us) / 1_000_000)
        });
        self.coverage.silence_checks += 1;
        if let Some(seconds) = silent {
            self.fail(format!("node{node} keeps a replica that was silent for {seconds} s"));
        }
    }
}
