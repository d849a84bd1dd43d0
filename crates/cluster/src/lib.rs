//! Cluster: 16384 hash slots over many masters that find each other, agree on which of them are down, and let replicas
//! take over, without a coordinator.

pub mod bus;
mod node_id;
pub mod nodes_file;
mod slots;

pub use node_id::NodeId;
pub use slots::SlotBitmap;
