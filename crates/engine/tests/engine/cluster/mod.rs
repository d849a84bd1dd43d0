//! Nodes in cluster mode: the commands of operators and clients, where keys are served, and what follows from it.

mod changes;
mod commands;
mod links;
mod moves;
mod replicas;
mod secret;
mod shape;
mod slot_stats;
mod world;

use world::World;

/// Requests with the beginning of their replies, which may be all of it.
fn expect(world: &mut World, node: usize, cases: &[(&str, &str)]) {
    for (request, reply) in cases {
        let got = world.request(node, request);
        assert!(got.starts_with(reply), "node {node}: {request}\n{got}expected\n{reply}");
        let is_whole = reply.starts_with(['+', ':', '-']);
        assert!(!is_whole || got.trim_end() == reply.trim_end(), "node {node}: {request}\n{got}");
    }
}
