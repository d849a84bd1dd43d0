//! What a run has seen. A million tiny seeds prove little, and a fault that stopped happening would not be missed: each count
//! has a floor, about half of what 2000 seeds give.

use std::fmt;

use crate::faults::{FAULTS, Fault};
use crate::machine::Machine;

/// Floors are for so many seeds; a run of fewer or more has its share.
const FLOOR_SEEDS: u64 = 2000;

/// What kind of worlds a run has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Worlds {
    /// Data nodes and their operators.
    #[default]
    Data,
    /// Data nodes and the Sentinels that watch them.
    Sentinels,
    /// Data nodes that are a cluster.
    Cluster,
}

macro_rules! counters {
    ($($worlds:ident { $($(#[doc = $doc:literal])* $name:ident = $text:literal, at least $floor:literal;)* })*) => {
        /// Counts of one seed, or the sum over many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($($(#[doc = $doc])* pub $name: u64,)*)*
            /// How often each of [`FAULTS`] was drawn.
            pub faults: [u64; FAULTS.len()],
        }

        impl Coverage {
            /// Adds another's counts.
            pub fn add(&mut self, other: &Coverage) {
                $($(self.$name += other.$name;)*)*
                for (ours, theirs) in self.faults.iter_mut().zip(other.faults) {
                    *ours += theirs;
                }
            }

    /// The counts in the order of their declaration.
            pub fn values(&self) -> Vec<u64> {
                [&[$($(self.$name,)*)*][..], &self.faults].concat()
            }

            /// What stands beside each count but the faults', in which worlds it has a floor, and its floor in [`FLOOR_SEEDS`], in
            /// the same order.
            fn rows() -> Vec<(&'static str, Worlds, u64)> {
                vec![$($(($text, Worlds::$worlds, $floor),)*)*]
            }

            /// The inverse of `values`.
            pub fn from_values(values: &[u64]) -> Coverage {
                let mut values = values.iter().copied();
                Coverage {
                    $($($name: values.next().unwrap_or(0),)*)*
                    faults: [(); FAULTS.len()].map(|()| values.next().unwrap_or(0)),
                }
            }
        }

        impl fmt::Display for Coverage {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Worlds of one kind have nothing of what is only in the others.
                $($(if self.$name > 0 || Worlds::$worlds == Worlds::Data {
                    writeln!(f, "{:>12}  {}", self.$name, $text)?;
                })*)*
                for (fault, count) in FAULTS.iter().zip(self.faults) {
                    writeln!(f, "{count:>12}  faults: {}", fault.name)?;
                }
                Ok(())
            }
        }
    };
}

counters! {
    Data {
    /// Virtual time.
    simulated_seconds = "simulated seconds", at least 85_000;
    /// By all nodes, the stream's included.
    commands = "commands run by nodes", at least 14_000_000;
    /// To clients.
    replies = "replies checked", at least 10_000_000;
    /// Payloads that a replica took over.
    full_syncs = "full synchronisations completed", at least 9000;
    /// `+CONTINUE` taken.
    partial_syncs = "partial synchronisations completed", at least 7000;
    /// A replication link died inside a command, a transaction or a payload.
    cuts_in_frame = "replication links cut in mid-frame", at least 6500;
    /// … or between elements of a large value in a payload.
    cuts_in_value = "replication links cut in the middle of a payload's large value", at least 280;
    /// All that were reset.
    resets = "connections reset", at least 20_000;
    /// A process was killed.
    crashes = "crashes", at least 12_000;
    /// … while a snapshot's walk was going on.
    crashes_in_walk = "crashes during a walk", at least 1200;
    /// … and had handed on some elements of a large value.
    crashes_in_value = "crashes in the middle of a large value's walk", at least 1000;
    /// … or its bytes were being written.
    crashes_in_save = "crashes during a snapshot, walked or being written", at least 3500;
    /// A crash left a file shorter than it was written.
    torn_tails = "torn tails", at least 1200;
    /// SIGTERM.
    terminations = "orderly ends", at least 4000;
    /// A replica was made a master.
    promotions = "REPLICAOF NO ONE that promoted", at least 7000;
    /// A node was told to follow another.
    replicaofs = "REPLICAOF host port", at least 10_000;
    /// Replicas of replicas, as seen when data was checked.
    chained_checks = "data checks of a replica's replica", at least 5000;
    /// Dump files written whole.
    saves = "saves completed", at least 18_000;
    /// Saves that failed.
    failed_saves = "saves failed", at least 700;
    /// Replies to them.
    flushes = "FLUSHALLs confirmed", at least 3500;
    /// … that gave a running save up.
    flushes_in_save = "FLUSHALLs during a save", at least 2500;
    /// A process was told to end while an EXEC waited for an answer.
    ends_amid_exec = "orderly ends in the middle of an EXEC", at least 90;
    /// The folder or files that a loss of power took the new name of.
    lost_renames = "losses of power that took a name, a rename or a removal", at least 230;
    /// Append-only files loaded.
    aof_loads = "append-only files loaded and compared with what was executed", at least 5500;
    /// A node that starts as a replica.
    aof_loads_by_replicas = "append-only files loaded by replicas", at least 1400;
    /// By a full synchronisation, or DEBUG RELOAD.
    replaced = "replacements of all data of a node with an append-only file", at least 1000;
    /// Those of replicas.
    disk_checks = "answers of WAITAOF compared with what is on replicas' disks", at least 120;
    /// A torn end.
    aof_cut = "append-only files cut off at a torn end", at least 800;
    /// States executed that were not found: none of them had been seen.
    states_lost = "states lost that nobody had seen", at least 8500;
    /// Replies that show something of a state.
    shown_checks = "replies that show what must not be lost", at least 100_000;
    /// No state was found where some are not known: the check is blind there, so this has a ceiling of none.
    unknown_states = "append-only files that could not be compared", at least 0;
    /// Walks for them.
    bases = "bases of append-only files begun", at least 7000;
    /// By CONFIG SET.
    switched_off = "append-only files switched off", at least 100;
    /// The node relies on one that it had not loaded.
    switched_on = "append-only files begun at run time", at least 1400;
    /// Started from another file than the append-only one, which was switched off.
    starts_without = "starts that were told not to look at an append-only file", at least 220;
    /// The manifest names the new files.
    rewrites = "rewrites of append-only files completed", at least 3900;
    /// Their files were given up.
    failed_rewrites = "rewrites of append-only files that failed", at least 1500;
    /// The file had grown.
    automatic_rewrites = "rewrites of append-only files begun since they had grown", at least 1300;
    /// A process was killed in a step of its append-only file.
    crashes_in_base = "crashes while a base was written", at least 600;
    /// The same, in another step.
    crashes_in_manifest = "crashes while a manifest was replaced", at least 350;
    /// The same.
    crashes_in_removal = "crashes while old files were removed", at least 110;
    /// The same.
    crashes_in_open = "crashes while an incremental file was opened", at least 420;
    /// The same.
    crashes_in_append = "crashes while something was not written or not synced", at least 750;
    /// The same.
    crashes_in_load = "crashes while an append-only file was loaded", at least 900;
    /// By the world.
    aof_failed_syncs = "syncs of append-only files that failed", at least 50;
    /// By the world.
    aof_failed_writes = "writes to append-only files that failed", at least 400;
    /// Then a write succeeded again.
    aof_writes_again = "append-only files that were written again after an error", at least 150;
    /// With MISCONF.
    aof_refused = "writes refused since the append-only file fails", at least 12_000;
    /// A client waits for the reply to a read, of what is not safe.
    held_reads = "reads held since they show what is not safe", at least 150;
    /// … or hears it.
    free_reads = "reads answered beside what is not safe", at least 10_000;
    /// A flipped bit.
    rot_refused = "starts refused because of a rotten file", at least 130;
    /// The same.
    rot_cut = "rotten files loaded up to the damage, or unharmed", at least 17;
    /// Its disk was in trouble.
    refused_starts = "starts that a disk in trouble ended", at least 550;
    /// Snapshots with keys that are always changed by one EXEC.
    twins = "snapshots compared with what EXEC wrote", at least 1300;
    /// Dump files loaded and compared.
    loads = "loads compared with their file", at least 13_000;
    /// Snapshots decoded and compared.
    snapshots = "snapshots compared with the data at their begin", at least 24_000;
    /// Those to a file with large values in it, which are walked in slices.
    large_files = "files of snapshots with large values", at least 12_000;
    /// The same to replicas.
    large_payloads = "payloads of full synchronisations with large values", at least 2500;
    /// A large value's elements changed while a walk was in its middle.
    changed_in_walk = "changes of large values in the middle of their walk", at least 3000;
    /// It got another key then.
    moved_in_walk = "renames of large values in the middle of their walk", at least 80;
    /// It was removed then.
    removed_in_walk = "removals of large values in the middle of their walk", at least 180;
    /// Its key got another value then.
    replaced_in_walk = "overwritings of large values in the middle of their walk", at least 120;
    /// Fields of hashes.
    expired_elements = "expired elements of collections", at least 100_000;
    /// From listpack to table.
    converted = "collections that became large", at least 35_000;
    /// Data compared with the applier's.
    data_checks = "data checks at an offset", at least 48_000;
    /// What a second sink of the journal makes, compared with the data.
    mirror_checks = "data checks against a second sink of the journal", at least 18_000;
    /// Backlogs compared with the recorder's bytes.
    backlog_checks = "backlog comparisons", at least 1_900_000;
    /// What a node says of its place, compared with what the recorder knows of it.
    claim_checks = "claims of nodes about their place compared", at least 2_000_000;
    /// WAIT said that replicas have a write: they were seen to.
    wait_checks = "answers of WAIT compared with where replicas have been", at least 10_000;
    /// A master that wants replicas took a write.
    least_checks = "writes that needed enough replicas", at least 2000;
    /// Of masters to replicas, by FAILOVER.
    failovers = "failovers completed", at least 750;
    /// … with FORCE, after their time.
    forced_failovers = "failovers forced", at least 20;
    /// No replica had all in time.
    late_failovers = "failovers aborted by their timeout", at least 60;
    /// FAILOVER ABORT.
    aborted_failovers = "failovers aborted by an operator", at least 110;
    /// By the target's reply to PSYNC.
    refused_failovers = "failovers refused by the target", at least 40;
    /// Disconnected.
    lost_failovers = "failovers that lost their last candidate", at least 50;
    /// The reply was lost, and then the target was a master.
    repeated_failovers = "failovers whose request was repeated to a target that had taken over", at least 70;
    /// A master becomes a replica by FAILOVER: its target has all of its history.
    failover_checks = "failovers whose target was found to have everything", at least 750;
    /// Calls of masters meanwhile: nothing was written.
    failover_calls = "calls of masters that wait for a replica to fail over to", at least 1000;
    /// A call in a pause: nothing was written.
    pause_checks = "calls of nodes whose clients are paused", at least 500;
    /// A node said that nothing is unsaved.
    saved_checks = "data compared with the last save", at least 15_000;
    /// Payloads with an end mark, behind which nothing came before an acknowledgement.
    marked_payloads = "payloads with an end mark sent whole", at least 5000;
    /// Replicas of a node that were looked at for how long they have been silent.
    silence_checks = "looks for silent replicas", at least 120_000;
    /// A full synchronisation without a disk, in a turn that has written before.
    dirty_syncs = "full synchronisations that begin in a turn that has written", at least 60;
    /// A client's CLIENT KILL, with writes before and behind it.
    kills_amid_writes = "CLIENT KILL amid pipelines of writes", at least 6000;
    /// A replica came into another history, and its own replicas had to follow it.
    handed_down = "replicas with replicas that changed their history", at least 60;
    /// Histories that began.
    histories = "histories recorded", at least 16_000;
    /// A history was recorded anew because one call wrote more than its backlog keeps. From there on the node's own data is
    /// believed, so this has a ceiling instead.
    rebases = "histories that had to be recorded anew", at least 0;
    /// One-way and two-way.
    partitions = "links blocked", at least 11_000;
    /// A node did not want a connection read now.
    reads_put_off = "reads put off by a node", at least 1200;

    }
    Sentinels {
    /// Replies with a vote, and own votes that were counted.
    votes = "votes told or counted", at least 17600;
    /// Messages with a configuration.
    hellos = "hello messages of Sentinels compared", at least 1780500;
    /// A master was found down.
    down_checks = "masters found down, compared with when they answered", at least 10000;
    /// Of any kind.
    tries = "failovers begun", at least 7700;
    /// By a majority.
    elections = "elections won", at least 4400;
    /// Several candidates, and nobody had a majority.
    split_votes = "elections that nobody won, with votes for several", at least 100;
    /// Of the same master.
    leader_changes = "leaders that changed", at least 2000;
    /// A replica was chosen.
    choices = "replicas chosen", at least 2100;
    /// The history of the master is not known to a Sentinel that was restarted after it was lost.
    blind_choices = "replicas chosen without knowing the master's history", at least 250;
    /// … but from the file of its last run.
    choices_by_file = "replicas chosen by histories of the last run", at least 200;
    /// A replica became a master.
    promotions_by_leaders = "replicas promoted by a leader", at least 1700;
    /// By order of a user.
    failovers_by_users = "failovers that a user has forced", at least 200;
    /// … without a majority.
    forced_alone = "failovers forced without a majority", at least 120;
    /// With the master's help.
    coordinated_failovers = "coordinated failovers", at least 180;
    /// By an older peer.
    stock_refusals = "requests of Sentinels that older peers refused", at least 12000;
    /// The same.
    stock_infos = "INFOs of older peers, which tell less", at least 55000;
    /// All was well.
    resets_by_users = "masters that a user has reset", at least 110;
    /// All was well.
    monitored_again = "masters that a user has removed and monitored again", at least 80;
    /// Writes of a client's own place, found in a history.
    acknowledged = "acknowledged writes found in their history", at least 110000;
    /// A replica was promoted, in whose history clients have seen writes acknowledged.
    loss_checks = "promotions after acknowledged writes", at least 1100;
    /// Some of them had not arrived.
    lossy_promotions = "promotions that lost what had not arrived", at least 70;
    /// From the order to the promotion.
    undisturbed_failovers = "coordinated failovers that no fault disturbed", at least 120;
    /// … in a history with acknowledged writes: none was lost.
    handed_over_writes = "coordinated failovers that were found to lose nothing", at least 80;
    /// All Sentinels count their own.
    switches = "changes of a master's address", at least 4600;
    /// By hello messages.
    config_updates = "configurations taken over from others", at least 3300;
    /// In the phase of election.
    aborted_not_elected = "failovers aborted in the election", at least 1100;
    /// In the choice.
    aborted_no_replica = "failovers aborted for want of a replica", at least 2300;
    /// In the promotion.
    aborted_timeout = "failovers aborted while waiting for the promotion", at least 170;
    /// By the master, that should have handed over.
    aborted_refused = "coordinated failovers that the master refused", at least 170;
    /// By a newer one.
    aborted_superseded = "failovers that others have overtaken", at least 20;
    /// By one with another replica.
    overtaken = "failovers that ended since another leader had finished one", at least 80;
    /// Some replicas did not follow in time.
    ended_for_timeout = "failovers that ended before all replicas followed", at least 200;
    /// They returned as masters.
    converted_masters = "old masters made replicas", at least 1800;
    /// They followed somebody else.
    fixed_replicas = "replicas that followed the wrong master, put right", at least 740;
    /// A Sentinel ended while it carried one out.
    restarts_in_failover = "Sentinels that ended amid their failover", at least 1200;
    /// By the disk.
    failed_state_saves = "saves of a Sentinel's state that failed", at least 5500;
    /// … with a vote.
    failed_vote_saves = "saves of a vote that failed", at least 2900;
    /// After a pause.
    tilts = "Sentinels that stopped judging after a pause", at least 300;
    /// Virtual time from the end of the faults to agreement.
    healing_seconds = "seconds until all was well after the faults", at least 6700;
    }

    Cluster {
    /// Acknowledged to clients of a cluster.
    cluster_writes = "writes acknowledged by clusters", at least 700_000;
    /// … and what they read.
    cluster_reads = "reads compared with what clusters acknowledged", at least 470_000;
    /// MOVED and ASK.
    redirections = "redirections followed", at least 210_000;
    /// ASK alone.
    asks = "keys asked for where their slot moves to", at least 20_000;
    /// Replies of nodes to clients, when they leave.
    serves_checked = "replies of which it was checked who may serve", at least 1_150_000;
    /// FAIL, in any node's view.
    nodes_failed = "nodes marked as failed", at least 17_000;
    /// As they leave.
    cluster_votes = "votes of masters", at least 14_000;
    /// With the reason in the log.
    votes_refused = "votes that masters refused", at least 30_000;
    /// By votes.
    elections_won = "elections won", at least 3300;
    /// Their time passed without a majority.
    elections_lost = "elections lost", at least 1400;
    /// Replicas that asked for votes while others had more data.
    ranks_checked = "elections of replicas that had to wait for better ones", at least 150;
    /// A candidate's process ended.
    restarts_in_election = "restarts of candidates", at least 300;
    /// Two masters had one epoch.
    epoch_collisions = "collisions of epochs", at least 80;
    /// To masters without replicas.
    replica_migrations = "replicas that moved to an orphaned master", at least 600;
    /// From begin to end.
    slots_moved = "slots moved", at least 5800;
    /// By MIGRATE.
    keys_moved = "keys moved with them", at least 11_000;
    /// Given away too early, with keys.
    slots_refused = "slots that were not given away with their keys", at least 700;
    /// After the faults.
    slots_fixed = "slots that were left open, and mended", at least 1000;
    /// Both sides have nodes that run.
    splits = "partitions with nodes on both sides", at least 5200;
    /// FORCE and TAKEOVER.
    forced_takeovers = "failovers that operators forced", at least 500;
    /// Acknowledged, and not received by the replica that was elected.
    keys_lost = "keys of which a failover lost an acknowledged write", at least 5000;
    /// At the end of a run.
    keys_checked = "keys compared at the end", at least 69_000;
    /// Virtual time from the end of the faults to agreement.
    cluster_healing_seconds = "seconds until all was well in clusters", at least 11_000;
    }
}

impl Coverage {
    /// Adds what a machine has counted in its life.
    pub fn add_machine(&mut self, machine: &dyn Machine) {
        self.commands += machine.commands();
        let counts = machine.data().map(|data| data.counts()).unwrap_or_default();
        self.expired_elements += counts.expired_elements;
        self.converted += counts.converted;
        self.changed_in_walk += counts.changed_in_walk;
        self.moved_in_walk += counts.moved_in_walk;
        self.removed_in_walk += counts.removed_in_walk;
        self.replaced_in_walk += counts.replaced_in_walk;
        self.failovers += counts.failovers;
        self.forced_failovers += counts.forced_failovers;
        self.late_failovers += counts.late_failovers;
        self.aborted_failovers += counts.aborted_failovers;
        self.refused_failovers += counts.refused_failovers;
        self.lost_failovers += counts.lost_failovers;
    }

    /// Which bounds a run of so many seeds does not keep.
    pub fn out_of_bounds(&self, worlds: Worlds, seeds: u64) -> Vec<String> {
        let mut bad = Vec::new();
        for ((what, of, floor), count) in Coverage::rows().into_iter().zip(self.values()) {
            if of == worlds && count * FLOOR_SEEDS < floor * seeds {
                bad.push(format!(
                    "TOO FEW {what}: {count} in {seeds} seeds, the floor is {floor} in {FLOOR_SEEDS}"
                ));
            }
        }
        // Each fault is to have at least half of its share.
        let weight = |fault: &Fault| fault.weights.of(worlds);
        let (drawn, weights): (u64, u64) =
            (self.faults.iter().sum(), FAULTS.iter().map(weight).sum());
        for (fault, count) in FAULTS.iter().zip(self.faults) {
            let floor = drawn * weight(fault) / weights / 2;
            if count < floor {
                let name = fault.name;
                bad.push(format!(
                    "TOO FEW {name}: {count} of {drawn} faults, the floor is {floor}"
                ));
            }
        }
        let rebases_max = seeds.div_ceil(FLOOR_SEEDS);
        if self.unknown_states > 0 {
            let count = self.unknown_states;
            bad.push(format!("TOO MANY append-only files that could not be compared: {count}"));
        }
        if self.rebases > rebases_max {
            let rebases = self.rebases;
            bad.push(format!("TOO MANY histories recorded anew: {rebases}, not {rebases_max}"));
        }
        bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vanishes_and_what_must_not_become_usual_is_noticed() {
        let floors: Vec<u64> = Coverage::rows().iter().map(|(.., floor)| *floor).collect();
        let usual = Coverage::from_values(&floors);
        assert_eq!(usual.out_of_bounds(Worlds::Data, FLOOR_SEEDS), Vec::<String>::new());
        let named = |coverage: Coverage, what: &str| {
            let bad = coverage.out_of_bounds(Worlds::Data, FLOOR_SEEDS);
            bad.len() == 1 && bad[0].contains(what)
        };
        assert!(named(Coverage { torn_tails: 0, ..usual }, "torn tails"));
        assert!(named(Coverage { rebases: 2, ..usual }, "recorded anew"));
        assert!(named(Coverage { unknown_states: 1, ..usual }, "could not be compared"));
        let mut faults = [(); FAULTS.len()].map(|()| 0);
        faults.iter_mut().zip(FAULTS).for_each(|(count, fault)| *count = fault.weights.data * 10);
        let bad = Coverage { faults, ..usual }.out_of_bounds(Worlds::Data, FLOOR_SEEDS);
        assert_eq!(bad, Vec::<String>::new());
        faults[3] /= 3;
        assert!(named(Coverage { faults, ..usual }, FAULTS[3].name));
        let rows = Coverage::rows();
        // What must not be usual.
        let others = ["recorded anew", "could not be compared"];
        let is_other = |what: &str| others.iter().any(|other| what.contains(other));
        assert!(rows.iter().all(|(what, _, floor)| *floor > 0 || is_other(what)));
    }
}
