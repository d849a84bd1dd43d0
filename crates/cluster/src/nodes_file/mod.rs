//! `nodes.conf`: what a node of a cluster knows about all nodes, and must not forget in a crash.
//!
//! The file has a line for each node, in no particular order, and one for the two epochs of the node itself:
//!
//! ```text
//!   07c3…d1 127.0.0.1:7000@17000,,tls-port=0,shard-id=91ab…02 myself,master - 0 0 1 connected 0-98 100 [98->-3e1f…77]
//!   │       │                     │                           │             │ │ │ │ │         │        └ slots on the move
//!   │       │                     │                           │             │ │ │ │ │         └ slots, in ranges
//!   │       │                     │                           │             │ │ │ │ └ link
//!   │       │                     │                           │             │ │ │ └ configuration epoch
//!   │       │                     │                           │             │ │ └ when the last pong came
//!   │       │                     │                           │             │ └ when the ping without an answer was sent, in ms
//!   │       │                     │                           │             └ master
//!   │       │                     │                           └ flags
//!   │       │                     └ behind the host name (none here): aux fields
//!   │       └ address: ip:port@bus port
//!   └ id
//!
//!   3e1f…77 127.0.0.1:7001@17001,b.example.com,tls-port=0,shard-id=c0de…11 master - 0 1764263600123 2 connected 101-16383
//!   a5a5…00 127.0.0.1:7002@17002,,tls-port=0,shard-id=91ab…02 slave,fail 07c3…d1 1764263601005 1764263600871 1 disconnected
//!   ee40…9b :0@0,,tls-port=0,shard-id=5d11…f3 master,noaddr - 1764263601005 1764263600871 0 disconnected
//!   vars currentEpoch 2 lastVoteEpoch 0
//! ```
//!
//! CLUSTER NODES replies with the same lines without aux fields, and CLUSTER REPLICAS with those of some nodes.
//!
//! # What the file is trusted with
//!
//! `wonEpoch` is there if the node has once got the place of its master: with the same epoch as another master, it tells the two
//! apart. Stock servers skip it, with a line in the log.
//!
//! `lastVoteEpoch` is a promise: a master that has voted in an epoch never votes in it again. `currentEpoch` and the
//! configuration epochs decide which of two owners of a slot is right. A node that read older or smaller numbers than it once
//! wrote could elect two masters for the same slots, so a damaged file must not be taken for a shorter one. Its format has no
//! checksum. What protects it is that `vars` is its last line, as stock servers write it, and that this parser insists on it and
//! on the end of each line: every proper prefix of a written file lacks one or the other, so it is refused.
//!
//! Stock servers are less strict. Their numbers are the digits at the start of a text (`12x` is 12, `x` is 0), and a file
//! without `vars` is one with zeros. Of what they write, only a `nodename` is refused that is not UTF-8; of what a person may have edited,
//! all that could only be understood by a guess, and the node does not start. Each error has the number of its line.
//!
//! | in the file | stock | here |
//! |---|---|---|
//! | no bytes at all | a node that starts for the first time | the same: [`NodesFile::parse`] returns none |
//! | empty lines; other variables; `primary` and `replica` as flags; any case | accepted | the same |
//! | `ip:port` without `@cport` (before version 4), no aux fields (before 7.2) | accepted | the same |
//! | a master or an open slot's node without a line | added as a node without address | accepted; see [`NodesFile::node`] |
//! | slots of a replica, replicas of replicas | accepted | the same |
//! | an epoch above `currentEpoch` | `currentEpoch` is raised | the same |
//! | a slot of two nodes | belongs to the first | refused |
//! | two lines with one id | merged | refused |
//! | two lines with `myself`, unknown flags, a line of blanks | crashes | refused |
//! | a node that is master and replica, or its own master | accepted | refused |
//! | unknown aux fields | refused | refused |
//! | no `vars`, no end of the last line | accepted | refused |
//! | an open slot of another node | becomes one of `myself` | refused |
//! | quotes and escapes; a `nodename` that is not UTF-8 | accepted | refused |
//!
//! # Shards
//!
//! A master and its replicas have the same shard id. Versions before 7.2 did not write them, and later ones give each node
//! of such a file a random id until it tells them its own. What they write meanwhile has different ids for a replica and its
//! master, and 7.2.4 and 8.0.1 refuse to load that, their own file. Later versions of both servers load it: the replica
//! follows its master. So does this parser, and a replica without an id has that of its master too. If neither has one there
//! is none, and the machine chooses. Replicas of replicas keep what they have.

mod error;
mod line;
mod parse_line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use russet_protocol::number::push_u64;
use russet_protocol::slot::SLOTS;

use crate::NodeId;
use crate::bus::NodeFlags;
pub use error::{ErrorKind, NodesFileError};
pub use line::{Aux, NodeLine};

/// Longest line with its end, in bytes. Stock servers read longer ones as several.
pub const LINE_BYTES_MAX: usize = 1024 + 128 * SLOTS as usize - 1;

/// Largest number of nodes. It bounds the memory for a file of garbage, and is far above what a cluster's bus can bear.
pub const NODES_MAX: usize = 1 << 16;

/// What a node has saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesFile {
    /// The nodes, in the order of the file. A machine does not save those in a handshake: their names are not real.
    pub nodes: Vec<NodeLine>,
    /// The greatest epoch that the node has seen. At least the configuration epoch of each node that is no replica.
    pub current_epoch: u64,
    /// The last epoch that the node has voted in.
    pub last_vote_epoch: u64,
    /// The last epoch that the node got with the place of its master; 0 if it never did, or if a stock server wrote the file.
    pub won_epoch: u64,
}

impl NodesFile {
    /// Parses a file; none if it is empty, as that of a node that starts for the first time.
    pub fn parse(text: &[u8]) -> Result<Option<NodesFile>, NodesFileError> {
        if text.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::default();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            reader.line += 1;
            reader.read(line).map_err(|kind| NodesFileError { line: reader.line, kind })?;
        }
        let line = reader.line;
        reader.finish().map(Some).map_err(|kind| NodesFileError { line, kind })
    }

    /// Appends the file.
    pub fn write(&self, out: &mut Vec<u8>) {
        for node in &self.nodes {
            node.push_file(out);
            out.push(b'\n');
        }
        out.extend_from_slice(b"vars currentEpoch ");
        push_u64(out, self.current_epoch);
        out.extend_from_slice(b" lastVoteEpoch ");
        push_u64(out, self.last_vote_epoch);
        if self.won_epoch != 0 {
            out.extend_from_slice(b" wonEpoch ");
            push_u64(out, self.won_epoch);
        }
        out.push(b'\n');
    }

    /// Returns the line of the node itself. A parsed file has exactly one.
    pub fn myself(&self) -> Option<&NodeLine> {
        self.nodes.iter().find(|node| node.flags.has(NodeFlags::MYSELF))
    }

    /// Returns the line of a node. A master or the other node of an open slot may have none: stock servers write the
    /// temporary name of a node in a handshake there, but not its line. They add it when they load the file, as
    /// [`NodeLine::new`] is.
    pub fn node(&self, id: NodeId) -> Option<&NodeLine> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    /// The number of the current line, from 1.
    line: usize,
    nodes: Vec<NodeLine>,
    /// Where each node is, in `nodes`, and its line.
    places: BTreeMap<NodeId, (usize, usize)>,
    /// The line of each slot's owner; empty before the first.
    slot_lines: Vec<usize>,
    myself_line: Option<usize>,
    current_epoch: Option<u64>,
    last_vote_epoch: Option<u64>,
    won_epoch: Option<u64>,
}

impl Reader {
    fn read(&mut self, line: &[u8]) -> Result<(), ErrorKind> {
        if line == b"\n" {
            return Ok(());
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(ErrorKind::LineTooLong);
        }
        let Some(line) = line.strip_suffix(b"\n") else { return Err(ErrorKind::NoLineEnd) };
        let words = parse_line::split(line)?;
        match words.as_slice() {
            [] => Err(ErrorKind::Malformed("the line has only blanks")),
            [vars, rest @ ..] if vars.eq_ignore_ascii_case("vars") => self.read_vars(rest),
            words => self.add_node(NodeLine::parse_words(words)?),
        }
    }

    fn read_vars(&mut self, words: &[&str]) -> Result<(), ErrorKind> {
        let (pairs, rest) = words.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(ErrorKind::Malformed("a variable has no value"));
        }
        for [name, value] in pairs {
            let variable = match name.to_ascii_lowercase().as_str() {
                "currentepoch" => &mut self.current_epoch,
                "lastvoteepoch" => &mut self.last_vote_epoch,
                "wonepoch" => &mut self.won_epoch,
                // One of a later version; stock servers skip it too.
                _ => continue,
            };
            let value = parse_line::number(value)
                .ok_or(ErrorKind::Malformed("the value of a variable is not an epoch"))?;
            if variable.replace(value).is_some() {
                return Err(ErrorKind::Malformed("a variable has two values"));
            }
        }
        Ok(())
    }

    fn add_node(&mut self, node: NodeLine) -> Result<(), ErrorKind> {
        if self.nodes.len() == NODES_MAX {
            return Err(ErrorKind::TooManyNodes);
        }
        if let Some((_, line)) = self.places.insert(node.id, (self.nodes.len(), self.line)) {
            return Err(ErrorKind::NodeTwice { line });
        }
        if node.flags.has(NodeFlags::MYSELF)
            && let Some(line) = self.myself_line.replace(self.line)
        {
            return Err(ErrorKind::MyselfTwice { line });
        }
        self.slot_lines.resize(usize::from(SLOTS), 0);
        for slot in node.slots.iter() {
            let owner = &mut self.slot_lines[usize::from(slot)];
            if *owner != 0 {
                return Err(ErrorKind::SlotTwice { slot, line: *owner });
            }
            *owner = self.line;
        }
        self.nodes.push(node);
        Ok(())
    }

    fn finish(mut self) -> Result<NodesFile, ErrorKind> {
        let (Some(current_epoch), Some(last_vote_epoch)) =
            (self.current_epoch, self.last_vote_epoch)
        else {
            return Err(ErrorKind::NoVars);
        };
        if self.myself_line.is_none() {
            return Err(ErrorKind::NoMyself);
        }
        self.share_shards();
        // The line of a replica has the epoch of its master, as it was when it was written.
        let is_replica =
            |node: &NodeLine| node.flags.has(NodeFlags::REPLICA) && node.master.is_some();
        let others = self.nodes.iter().filter(|node| !is_replica(node));
        let newest = others.map(|node| node.config_epoch).max().unwrap_or_default();
        Ok(NodesFile {
            nodes: self.nodes,
            current_epoch: current_epoch.max(newest),
            last_vote_epoch,
            won_epoch: self.won_epoch.unwrap_or(0),
        })
    }

    /// Gives replicas the shard ids of their masters. A replica of a replica keeps its own until the bus tells it who its
    /// master really is.
    fn share_shards(&mut self) {
        let shard_of_master = |node: &NodeLine| {
            let (place, _) = self.places.get(&node.master?)?;
            let master = &self.nodes[*place];
            if master.master.is_some() { None } else { master.aux.shard_id }
        };
        let shards: Vec<_> = self.nodes.iter().map(shard_of_master).collect();
        for (node, shard) in self.nodes.iter_mut().zip(shards) {
            node.aux.shard_id = shard.or(node.aux.shard_id);
        }
    }
}
