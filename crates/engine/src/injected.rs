//! Bugs that are injected on purpose, to see that the simulator's checkers catch them. Only with the feature `injected`;
//! without it [`Core::injected`](crate::core::Core::injected) is always false.

/// Which bug to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Now and then a byte of the stream does not reach the backlog.
    SkippedBacklogByte,
    /// A partial synchronization goes on one byte too late.
    PsyncOffByOne,
    /// The stream after a full synchronization does not select its database again.
    MissingSelect,
    /// A relative expiry is propagated to replicas as it was given.
    RelativeExpiry,
    /// A promoted replica goes on under its former master's id.
    KeptReplid,
    /// Now and then a write does not hand its bucket's old image to a snapshot.
    SkippedPreimage,
    /// A full synchronization is loaded over the old keys instead of in their place.
    KeptOldKeys,
}

/// All of them, for those who try each.
pub const BUGS: [Bug; 7] = [
    Bug::SkippedBacklogByte,
    Bug::PsyncOffByOne,
    Bug::MissingSelect,
    Bug::RelativeExpiry,
    Bug::KeptReplid,
    Bug::SkippedPreimage,
    Bug::KeptOldKeys,
];
