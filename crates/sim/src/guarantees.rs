//! Promises about more than one node's data: what WAIT counts, what `min-replicas-to-write` demands, and what a pause holds.

use russet_engine::io::Handle;

use crate::client::Finding;
use crate::history::last_end;
use crate::machine::DataNode;
use crate::net::{ConnId, Owner};
use crate::process::Seen;
use crate::resp::parse_command;
use crate::world::World;

/// How much later than the lag allows a replica may be heard: INFO counts whole seconds.
const LAG_SLACK_US: u64 = 2_000_000;

/// A ready client has its turn within so many of its node's turns, for each client: one may run its whole quota first, and slow
/// commands take a turn for eight of them.
const TURNS_MAX: u64 = 36;

impl World {
    /// A client was promised something: was it true?
    pub(crate) fn look_into(&mut self, client: usize, finding: Finding, sent_us: u64) {
        let node = self.clients[client].target;
        let checked = match finding {
            Finding::Acknowledged { write, count } => self.check_wait(node, &write, count),
            Finding::OnDisk { write, counts } => self.check_disks(node, &write, counts),
            Finding::Accepted => self.check_accepted(node, sent_us),
            Finding::Shown(place, value) => {
                self.check_shown(node, &place, &value, sent_us);
                Ok(())
            }
            Finding::Written(place, value) => self.note_acknowledged(node, &place, &value),
            Finding::Refused => {
                self.coverage.aof_refused += 1;
                Ok(())
            }
            Finding::Paused(until) => {
                let process = &mut self.processes[node];
                // What an operator said on a connection that was lost may still end it.
                if sent_us >= process.unsure_until_us {
                    process.paused_until_us = until;
                }
                Ok(())
            }
        };
        if let Err(what) = checked {
            self.fail(format!("client {client} of node{node}: {what}"));
        }
    }

    /// So many other nodes have had a write.
    fn check_wait(&mut self, node: usize, write: &[u8], count: i64) -> Result<(), String> {
        let Some((id, _)) = &self.processes[node].seen.place else { return Ok(()) };
        let Some(history) = self.histories.get(id) else { return Ok(()) };
        // What was written before the history began came to all that are in it with a payload, or they had it when they
        // went on from there.
        let Some(end) = last_end(history.bytes(), write) else { return Ok(()) };
        self.coverage.wait_checks += 1;
        let offset = history.first() + end as i64 - 1;
        // A process that was killed counts beside its next life until the master misses it, as in stock.
        let have = history.reached.iter();
        let have = have.filter(|&(&(other, _), &at)| other != node && at >= offset).count();
        match have as i64 >= count {
            true => Ok(()),
            false => {
                Err(format!("WAIT counts {count} replicas with offset {offset}, {have} have it"))
            }
        }
    }

    /// A write is on the node's disk, if the first number says so, and on those of so many others.
    fn check_disks(&mut self, node: usize, write: &[u8], counts: [i64; 2]) -> Result<(), String> {
        let Some((id, _)) = &self.processes[node].seen.place else { return Ok(()) };
        let Some(history) = self.histories.get(id) else { return Ok(()) };
        let Some(end) = last_end(history.bytes(), write) else { return Ok(()) };
        self.coverage.disk_checks += u64::from(counts[1] > 0);
        let offset = history.first() + end as i64 - 1;
        let have = history.on_disk.iter().filter(|&(_, &at)| at >= offset);
        let (ours, theirs): (Vec<_>, Vec<_>) = have.partition(|&(&(other, _), _)| other == node);
        match ours.len() as i64 >= counts[0] && theirs.len() as i64 >= counts[1] {
            true => Ok(()),
            false => Err(format!(
                "WAITAOF counts {counts:?} disks with offset {offset}, {} and {} have it",
                ours.len(),
                theirs.len()
            )),
        }
    }

    /// A node's disk has the effects up to a place in a history.
    pub(crate) fn note_on_disk(&mut self, node: usize, place: Option<(String, i64)>) {
        let life = (node, self.processes[node].incarnation);
        let Some((id, offset)) = place else { return };
        if let Some(history) = self.histories.get_mut(&id) {
            let on_disk = history.on_disk.entry(life).or_insert(offset);
            *on_disk = offset.max(*on_disk);
        }
        self.processes[node].disk_place = Some((id, offset));
    }

    /// A write was accepted: enough replicas were there.
    fn check_accepted(&mut self, node: usize, sent_us: u64) -> Result<(), String> {
        let process = &self.processes[node];
        let ((least, lag_secs), since_us) = process.least_replicas;
        if least == 0 || lag_secs == 0 || since_us >= sent_us {
            return Ok(());
        }
        let Some((id, _)) = &process.seen.place else {
            return Err("it takes a write without any replica".to_owned());
        };
        self.coverage.least_checks += 1;
        // Time in which the process was suspended does not count.
        let sent_us = sent_us.saturating_sub(process.suspended_us);
        let since_us = sent_us.saturating_sub(u64::from(lag_secs) * 1_000_000 + LAG_SLACK_US);
        let follows = |peer: usize| {
            let histories = [id, &process.seen.second.0].into_iter();
            let mut reached = histories.filter_map(|id| self.histories.get(id));
            reached.any(|history| history.reached.keys().any(|&(other, _)| other == peer))
        };
        let heard = process.heard_us.iter().filter(|&(&peer, &at)| at >= since_us && follows(peer));
        let have = heard.count();
        match have >= least as usize {
            true => Ok(()),
            false => {
                Err(format!("it takes a write with {have} replicas heard of, {least} are wanted"))
            }
        }
    }

    /// A node has read all that a client has asked.
    pub(crate) fn note_asked(&mut self, node: usize, handle: Handle, conn: ConnId) {
        let c = &self.conns[conn];
        let Owner::Client(client) = c.owners[0] else { return };
        let client = &self.clients[client];
        let is_all =
            client.unsent.is_empty() && !c.pipes[0].has_flight() && c.pipes[0].unread() == 0;
        if is_all && client.is_waiting() {
            self.processes[node].unanswered.insert(handle, 0);
        }
    }

    /// Clients that wait for nothing but their turn have it.
    pub(crate) fn check_served(&mut self, node: usize) {
        let process = &mut self.processes[node];
        if process.unanswered.is_empty() {
            return;
        }
        let Some(data) = process.machine.as_deref().and_then(|machine| machine.data()) else {
            return;
        };
        let conns = &self.conns;
        let is_client =
            |&&(conn, _): &&(ConnId, usize)| matches!(conns[conn].owners[0], Owner::Client(_));
        let most = TURNS_MAX * (1 + process.conns.values().filter(is_client).count() as u64);
        let mut starving = None;
        for (&handle, turns) in &mut process.unanswered {
            let room = process.conns.get(&handle).map_or(0, |&(c, _)| conns[c].pipes[1].room());
            *turns = if room == 0 || data.is_held(handle) { 0 } else { *turns + 1 };
            if *turns > most {
                starving = Some((*turns, handle, process.conns.get(&handle).map(|&(c, _)| c)));
            }
        }
        if let Some((turns, _, conn)) = starving {
            self.fail(format!("node{node} has not served its client on {conn:?}, which is ready, for {turns} turns"));
        }
    }

    /// A node stands at an offset of a history.
    pub(crate) fn note_reached(&mut self, node: usize) {
        let Some((id, offset)) = &self.processes[node].seen.place else { return };
        let life = (node, self.processes[node].incarnation);
        if let Some(history) = self.histories.get_mut(id) {
            let reached = history.reached.entry(life).or_insert(*offset);
            *reached = (*offset).max(*reached);
        }
    }

    /// While clients are paused, nothing is written but what keeps replicas in touch.
    pub(crate) fn check_pause(&mut self, node: usize, changed: bool) {
        let process = &mut self.processes[node];
        let Some(data) = process.data() else { return };
        let before = &process.seen;
        if data.is_replica() || before.is_replica || data.is_loading() || before.is_loading {
            process.paused_until_us = 0;
            return;
        }
        match stands_still(data, changed, before) {
            None => self.coverage.pause_checks += 1,
            Some(what) => self.fail(format!("node{node} {what}, though its clients are paused")),
        }
    }
}

/// What has changed of a node that stands still.
pub fn stands_still(data: &dyn DataNode, changed: bool, before: &Seen) -> Option<String> {
    if changed {
        return Some("changed data".to_owned());
    }
    let (_, offset) = before.place.as_ref().filter(|(id, _)| id == data.place().id)?;
    let bytes = data.stream_since(offset + 1);
    let mut at = 0;
    while let Ok(Some((args, used))) = parse_command(&bytes[at..]) {
        let name = args[0].to_ascii_lowercase();
        if name != b"ping" && name != b"replconf" {
            return Some(format!("wrote {} into its stream", String::from_utf8_lossy(&name)));
        }
        at += used;
    }
    None
}
