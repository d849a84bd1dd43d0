//! What tests make a node lose: messages and connections.

use super::Cluster;
use super::commands::CommandError;
use crate::io::{Level, LinkId, Now};

/// Which connections with a node, as seen from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// That which this node has opened.
    To,
    /// That which the other node has opened.
    From,
    /// Both.
    All,
}

/// The messages that are passed over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    /// The number of their type.
    kind: Option<usize>,
    /// Whether their connection is closed as well.
    closes_link: bool,
}

impl Cluster {
    /// Passes over received messages of a type, by its number; none ends that.
    pub fn lose_messages(&mut self, kind: Option<usize>) {
        self.lost.kind = kind;
    }

    /// Sets whether the connection of a message that is passed over is closed.
    pub fn close_on_loss(&mut self, closes_link: bool) {
        self.lost.closes_link = closes_link;
    }

    /// Closes connections with a node. They are opened again like all that break.
    pub fn kill_links(
        &mut self,
        now: Now,
        id: &[u8],
        direction: Direction,
    ) -> Result<(), CommandError> {
        self.command(now, |cluster| {
            let key = cluster.known(id)?;
            if key == cluster.nodes.my_key() {
                return Err("Cannot free cluster link(s) to myself".to_owned());
            }
            let node = &cluster.nodes[key];
            let to = node.link.filter(|_| direction != Direction::From);
            let from = node.inbound.filter(|_| direction != Direction::To);
            to.into_iter().chain(from).for_each(|link| cluster.close(link));
            Ok(())
        })
    }

    /// Whether a received message of this type is passed over.
    pub(super) fn is_lost(&mut self, link: LinkId, kind: usize) -> bool {
        if self.lost.kind != Some(kind) {
            return false;
        }
        if self.lost.closes_link {
            self.log(Level::Warning, format!("Closing link for matching packet type {kind}"));
            self.close(link);
        }
        true
    }
}
