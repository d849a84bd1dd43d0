//! Why a file is refused.

use std::error::Error;
use std::fmt;

/// Why a file is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesFileError {
    /// The number of the line, from 1; the last one if something is missing.
    pub line: usize,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The line is longer than any that is written.
    LineTooLong,
    /// The file ends within the line.
    NoLineEnd,
    /// There are more nodes than a cluster has.
    TooManyNodes,
    /// A part of the line is not what is written there.
    Malformed(&'static str),
    /// An aux field has a name that no version writes.
    UnknownAux(String),
    /// The node has a flag that no version writes.
    UnknownFlag(String),
    /// The node has been described.
    NodeTwice {
        /// Where.
        line: usize,
    },
    /// Another node is the node itself.
    MyselfTwice {
        /// Where.
        line: usize,
    },
    /// A slot has an owner.
    SlotTwice {
        /// The slot.
        slot: u16,
        /// The line of its owner.
        line: usize,
    },
    /// No node is the node itself.
    NoMyself,
    /// The epochs are missing, so the end of the file probably is.
    NoVars,
}

impl fmt::Display for NodesFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::LineTooLong => f.write_str("the line is too long"),
            ErrorKind::NoLineEnd => f.write_str("the file ends within the line"),
            ErrorKind::TooManyNodes => f.write_str("there are too many nodes"),
            ErrorKind::Malformed(what) => f.write_str(what),
            ErrorKind::UnknownAux(name) => write!(f, "there is no aux field {name:?}"),
            ErrorKind::UnknownFlag(name) => write!(f, "there is no flag {name:?}"),
            ErrorKind::NodeTwice { line } => write!(f, "line {line} is about the same node"),
            ErrorKind::MyselfTwice { line } => write!(f, "the node of line {line} is myself too"),
            ErrorKind::SlotTwice { slot, line } => {
                write!(f, "slot {slot} already belongs to the node of line {line}")
            }
            ErrorKind::NoMyself => f.write_str("the file ends, and no node is myself"),
            ErrorKind::NoVars => {
                f.write_str("the file ends, and there is no currentEpoch or lastVoteEpoch")
            }
        }
    }
}

impl Error for NodesFileError {}
