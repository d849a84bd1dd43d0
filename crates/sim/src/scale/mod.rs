//! A model of large clusters: how long they take to form, to notice that many masters have died and to replace them, and
//! what the bus costs. It has machines of [`russet_cluster`] and a network, but no keys, clients, disks or faults.
//!
//! ```text
//!   create        masters take slots, everybody MEETs the first node, replicas are told whom to REPLICATE
//!   steady        nothing happens: what the bus costs
//!   deaths        a quarter of the masters ends at once: FAIL everywhere, replicas win, views are equal
//!   restart       they come back, and become replicas
//! ```
//!
//! The same is done with the rules of stock servers where ours differ ([`Bug::StockRules`]), to compare: both are this
//! implementation, so the costs of that run are not a stock server's. Results follow from the seed, except processor time,
//! which the caller measures.

mod network;
mod phases;
mod table;

use russet_cluster::{Bug, Settings};

pub use network::{Events, Network, Traffic};
pub use phases::Figures;

/// What the model cannot know of itself.
pub trait Meter {
    /// Processor time of this thread, microseconds.
    fn cpu_us(&self) -> u64;
    /// Bytes that this thread has allocated and not freed.
    fn allocated_bytes(&self) -> u64;
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many nodes; half of them are masters.
    pub nodes: usize,
    /// Determines everything random.
    pub seed: u64,
    /// Whether the same is done with the rules of stock servers.
    pub with_stock: bool,
}

/// Runs the model with our rules, and then, if wanted, with those of stock servers. Lines of the report go to `print`, as they come.
///
/// Fails if a phase does not end.
pub fn run(
    options: Options,
    meter: &dyn Meter,
    print: &mut dyn FnMut(String),
) -> Result<(), String> {
    let timeout_ms = Settings::default().node_timeout_ms;
    print(format!(
        "{} nodes ({} masters), cluster-node-timeout {timeout_ms} ms, seed {}",
        options.nodes,
        phases::masters(options.nodes),
        options.seed
    ));
    let ours = phases::run(options, None, meter, print)?;
    let stock = match options.with_stock {
        true => Some(phases::run(options, Some(Bug::StockRules), meter, print)?),
        false => None,
    };
    table::lines(&ours, stock.as_ref()).into_iter().for_each(print);
    Ok(())
}
