//! Bugs to inject, compiled only for tests of the simulator, whose checks must find each of them.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A vote is sent before it is on disk.
    VoteBeforeSave,
    /// A majority of the Sentinels that answer is enough, not of those that are known.
    MajorityOfReachable,
    /// A second vote is given in an epoch.
    TwoVotesInEpoch,
    /// A configuration of an older epoch is accepted.
    StaleEpochAccepted,
    /// A failover does not raise the epoch of the configuration.
    ConfigEpochNotRaised,
    /// A replica of priority 0 is promoted.
    PriorityZeroPromoted,
    /// A replica of another lineage is promoted.
    ForeignLineagePromoted,
    /// An old master that returns is not turned into a replica.
    OldMasterNotConverted,
    /// A failover is tried again at once.
    FailoverTooEarly,
    /// A timer uses the wall clock.
    WallClockInTimer,
}

/// All bugs.
pub const BUGS: [Bug; 10] = [
    Bug::VoteBeforeSave,
    Bug::MajorityOfReachable,
    Bug::TwoVotesInEpoch,
    Bug::StaleEpochAccepted,
    Bug::ConfigEpochNotRaised,
    Bug::PriorityZeroPromoted,
    Bug::ForeignLineagePromoted,
    Bug::OldMasterNotConverted,
    Bug::FailoverTooEarly,
    Bug::WallClockInTimer,
];
