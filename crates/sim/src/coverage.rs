//! What a run has seen. A million tiny seeds prove little: each count has a floor.

use std::fmt;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// Counts of one seed, or the sum over many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Coverage {
            /// Adds another's counts.
            pub fn add(&mut self, other: &Coverage) {
                $(self.$name += other.$name;)*
            }

            /// The counts in the order of their declaration.
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$name),*]
            }

            /// The inverse of `values`.
            pub fn from_values(values: &[u64]) -> Coverage {
                let mut values = values.iter().copied();
                Coverage { $($name: values.next().unwrap_or(0),)* }
            }
        }

        impl fmt::Display for Coverage {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(writeln!(f, "{:>12}  {}", self.$name, $text)?;)*
                Ok(())
            }
        }
    };
}

counters! {
    /// Virtual time.
    simulated_seconds = "simulated seconds",
    /// By all nodes, the stream's included.
    commands = "commands run by nodes",
    /// To clients.
    replies = "replies checked",
    /// Payloads that a replica took over.
    full_syncs = "full synchronisations completed",
    /// `+CONTINUE` taken.
    partial_syncs = "partial synchronisations completed",
    /// A replication link died inside a command, a transaction or a payload.
    cuts_in_frame = "replication links cut in mid-frame",
    /// All that were reset.
    resets = "connections reset",
    /// A process was killed.
    crashes = "crashes",
    /// … while a snapshot's walk was going on.
    crashes_in_walk = "crashes during a walk",
    /// … or its bytes were being written.
    crashes_in_save = "crashes during a snapshot, walked or being written",
    /// A crash left a file shorter than it was written.
    torn_tails = "torn tails",
    /// SIGTERM.
    terminations = "orderly ends",
    /// A replica was made a master.
    promotions = "REPLICAOF NO ONE that promoted",
    /// A node was told to follow another.
    replicaofs = "REPLICAOF host port",
    /// Replicas of replicas, as seen when data was checked.
    chained_checks = "data checks of a replica's replica",
    /// Dump files written whole.
    saves = "saves completed",
    /// Saves that failed.
    failed_saves = "saves failed",
    /// Dump files loaded and compared.
    loads = "loads compared with their file",
    /// Snapshots decoded and compared.
    snapshots = "snapshots compared with the data at their begin",
    /// Data compared with the applier's.
    data_checks = "data checks at an offset",
    /// Backlogs compared with the recorder's bytes.
    backlog_checks = "backlog comparisons",
    /// Histories that began.
    histories = "histories recorded",
    /// A history was recorded anew because bytes were missed.
    rebases = "histories that had to be recorded anew",
    /// One-way and two-way.
    partitions = "links blocked",
    /// The wall clock jumped.
    clock_jumps = "jumps of the wall clock",
}

impl Coverage {
    /// Which floors are not reached by a run of so many seeds.
    pub fn below_floors(&self, seeds: u64) -> Vec<String> {
        let floors = [
            (self.full_syncs, 3000, "full synchronisations"),
            (self.partial_syncs, 3000, "partial synchronisations"),
            (self.cuts_in_frame, 1000, "cuts in mid-frame"),
            (self.crashes_in_walk, 1000, "crashes during a walk"),
            (self.promotions, 300, "REPLICAOF NO ONE"),
        ];
        floors
            .iter()
            .filter(|(count, floor, _)| count * 2000 < floor * seeds)
            .map(|(count, floor, what)| {
                format!("{what}: {count} in {seeds} seeds, the floor is {floor} in 2000")
            })
            .collect()
    }
}
