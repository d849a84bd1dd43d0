//! Bugs to inject, which the simulator's checks must find.

/// A bug to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A vote leaves before it is on disk.
    EarlyVote,
    /// A second vote in an epoch.
    SecondVote,
    /// A claim of a slot is accepted with an epoch that is not newer.
    EqualEpochClaim,
    /// One node's word is enough for FAIL.
    FailByOneWord,
    /// A master in a minority goes on.
    MinorityServes,
    /// A replica does not wait for those that have more.
    RankIgnored,
    /// A node that claims the slots of others is not told.
    NoUpdate,
    /// A client is sent to the node that takes a slot for good, not for one command. In the driver.
    AskAsMoved,
    /// MIGRATE deletes a key before the other node has it. In the driver.
    LostInMigrate,
    /// A slot is given to another node although this one has keys of it, and so both have the slot.
    SlotGivenTwice,
    /// No bug, and not one of [`BUGS`]: the rules of stock servers for suspicions and elections where ours differ, to
    /// compare the two.
    StockRules,
}

/// All of them, with the names by which they are asked for.
pub const BUGS: &[(&str, Bug)] = &[
    ("early-vote", Bug::EarlyVote),
    ("second-vote", Bug::SecondVote),
    ("equal-epoch-claim", Bug::EqualEpochClaim),
    ("fail-by-one-word", Bug::FailByOneWord),
    ("minority-serves", Bug::MinorityServes),
    ("rank-ignored", Bug::RankIgnored),
    ("no-update", Bug::NoUpdate),
];
