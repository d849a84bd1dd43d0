//! Bugs that are injected on purpose, to test that the simulator's checks find them.
//!
//! Without the feature `injected`, [`Core::injected`](crate::core::Core::injected) is always false.

pub use russet_cluster::Bug as ClusterBug;
pub use russet_sentinel::{BUGS as SENTINEL_BUGS, Bug as SentinelBug};

/// Those of a node of a cluster that the simulator hunts.
pub const CLUSTER_BUGS: [ClusterBug; 10] = [
    ClusterBug::EarlyVote,
    ClusterBug::SecondVote,
    ClusterBug::EqualEpochClaim,
    ClusterBug::FailByOneWord,
    ClusterBug::MinorityServes,
    ClusterBug::RankIgnored,
    ClusterBug::AskAsMoved,
    ClusterBug::LostInMigrate,
    ClusterBug::SlotGivenTwice,
    ClusterBug::NoUpdate,
];

/// A bug to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Occasionally a byte of the stream is missing in the backlog.
    SkippedBacklogByte,
    /// A partial synchronization continues one byte too late.
    PsyncOffByOne,
    /// The stream after a full synchronization does not select its database again.
    MissingSelect,
    /// A relative expiry is propagated as it was received.
    RelativeExpiry,
    /// A promoted replica keeps its former master's replication id.
    KeptReplid,
    /// Occasionally a write does not pass its bucket's pre-image to a snapshot.
    SkippedPreimage,
    /// Some changes of large values do not give a snapshot its pre-image.
    SkippedElements,
    /// The removal of expired fields is not propagated.
    SilentFieldExpiry,
    /// A full synchronization does not remove the old keys.
    KeptOldKeys,
    /// A promoted replica claims one byte too much of its former master's history.
    SecondOffsetOffByOne,
    /// REPLICAOF forgets the database selected in the stream.
    ForgottenSelection,
    /// FLUSHALL neither gives the running save up nor saves.
    FlushUnsaved,
    /// The final save of a shutdown may begin in the middle of an EXEC.
    HalfExecSaved,
    /// The stream follows a payload's end mark without waiting for an acknowledgement.
    EarlyStream,
    /// A replica that falls silent is not disconnected.
    KeptSilentReplica,
    /// After a failed save no changes count as unsaved.
    FailedSaveCounts,
    /// The driver does not sync the folder of the append-only file.
    UnsyncedFolder,
    /// The driver renames the append-only file's manifest and base before they are synced.
    UnsyncedRename,
    /// With `appendfsync always` a write is acknowledged before it is synced.
    UnsyncedWrite,
    /// With `appendfsync always` a read shows what is not synced.
    UnsyncedRead,
    /// A failed sync of the append-only file is forgotten.
    ForgottenSyncFailure,
    /// A loaded append-only file is cut off within its last record.
    CutTooFar,
    /// An EXEC that takes several turns is written to the append-only file in parts.
    SplitExec,
    /// Files that a rewrite replaces are removed before the manifest that does not need them is on disk.
    RemovedTooEarly,
    /// Writes while the base of an append-only file is written are not in its incremental file.
    MissingInBase,
    /// The base of an append-only file holds writes that are in its incremental file too.
    TwiceWithBase,
    /// FAILOVER goes on although no replica has acknowledged the whole stream.
    UnsyncedFailover,
}

/// All bugs.
pub const BUGS: [Bug; 27] = [
    Bug::SkippedBacklogByte,
    Bug::PsyncOffByOne,
    Bug::MissingSelect,
    Bug::RelativeExpiry,
    Bug::KeptReplid,
    Bug::SkippedPreimage,
    Bug::SkippedElements,
    Bug::SilentFieldExpiry,
    Bug::KeptOldKeys,
    Bug::SecondOffsetOffByOne,
    Bug::ForgottenSelection,
    Bug::FlushUnsaved,
    Bug::HalfExecSaved,
    Bug::EarlyStream,
    Bug::KeptSilentReplica,
    Bug::FailedSaveCounts,
    Bug::UnsyncedFolder,
    Bug::UnsyncedRename,
    Bug::UnsyncedWrite,
    Bug::UnsyncedRead,
    Bug::ForgottenSyncFailure,
    Bug::CutTooFar,
    Bug::SplitExec,
    Bug::RemovedTooEarly,
    Bug::MissingInBase,
    Bug::TwiceWithBase,
    Bug::UnsyncedFailover,
];
