//! Bugs planted on purpose, to see that the simulator's checkers catch them. Only with the feature
//! `planted`; without it every one of these is the honest answer.

use std::sync::Arc;

use crate::node::Node;

/// Which bug to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Now and then a byte of the stream does not reach the backlog.
    SkippedBacklogByte,
    /// A partial synchronisation goes on one byte too late.
    PsyncOffByOne,
    /// The stream after a full synchronisation does not select its database again.
    MissingSelect,
    /// A relative expiry is told to replicas as it was given.
    RelativeExpiry,
    /// A promoted replica goes on under its former master's id.
    KeptReplid,
    /// Now and then a write does not hand its bucket's old image to a snapshot.
    SkippedPreimage,
    /// A full synchronisation is loaded over the old keys instead of in their place.
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

impl Node {
    /// Whether this bug is planted.
    #[cfg(feature = "planted")]
    pub(crate) fn planted(&self, bug: Bug) -> bool {
        self.boot.bug == Some(bug)
    }

    /// No bug is planted.
    #[cfg(not(feature = "planted"))]
    #[inline(always)]
    pub(crate) fn planted(&self, _bug: Bug) -> bool {
        false
    }

    pub(crate) fn planted_skip(&self, bytes: Arc<Vec<u8>>) -> Arc<Vec<u8>> {
        let skip = self.planted(Bug::SkippedBacklogByte) && bytes.len() % 7 == 3;
        if skip { Arc::new(bytes[1..].to_vec()) } else { bytes }
    }
}
