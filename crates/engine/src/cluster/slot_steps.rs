//! Steps of moves of slots that a master's replicas must have before it carries them out.
//!
//! A replica that takes over must know which slots its master was moving, and which it had just got: else they have no
//! owner, or two. So a master with replicas sends them CLUSTER SETSLOT first:
//!
//! ```text
//!   client      SETSLOT 5 NODE B ──▶ B ──stream──▶ B's replicas: carry it out
//!                                    B ◀──────ack── all that understand it
//!               +OK              ◀── B carries it out, saves it, and tells the other nodes
//! ```
//!
//! If they do not acknowledge it in time, the client gets `NOREPLICAS` and the master has changed nothing; what replicas
//! have carried out then, the next SETSLOT for the slot overwrites.

use std::collections::BTreeMap;

use russet_cluster::SlotStep;

use super::Cluster;
use crate::ids::Handle;

/// A step that waits for replicas.
#[derive(Debug)]
pub(crate) struct SlotOrder {
    /// The slot.
    pub slot: u16,
    /// The step.
    pub step: SlotStep,
}

/// The steps that wait, by the client that waits for each.
pub(super) type SlotOrders = BTreeMap<Handle, SlotOrder>;

impl Cluster {
    /// Keeps a step until replicas have it.
    pub(crate) fn await_replicas(&mut self, client: Handle, order: SlotOrder) {
        self.slot_orders.insert(client, order);
    }

    /// Takes the step that a client waits for: it is carried out, or given up.
    pub(crate) fn take_slot_order(&mut self, client: Handle) -> Option<SlotOrder> {
        self.slot_orders.remove(&client)
    }
}
