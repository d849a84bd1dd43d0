//! A master of a cluster that is told to go hands over to a replica first, and no acknowledged write is lost.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use russet_e2e::clusters::Nodes;
use russet_e2e::{Client, Program, Value, wait_until};

const ALL: [usize; 6] = [0, 1, 2, 3, 4, 5];

/// Writes keys of one slot, one after the other, until that does not work any more. Returns the answer to the last one;
/// none if the connection was closed.
fn write_on(mut client: Client, written: &AtomicU64) -> Option<Value> {
    loop {
        let number = written.load(Ordering::Relaxed);
        match client.try_command(&["set", &format!("{{k}}:{number}"), "written"]) {
            Ok(reply) if !reply.is_error() => written.store(number + 1, Ordering::Relaxed),
            Ok(error) => return Some(error),
            Err(_) => return None,
        }
    }
}

fn hand_over(replicas: &Program) {
    let ours = Program::under_test();
    let programs = [&ours, &ours, &ours, replicas, replicas, replicas];
    let mut nodes = Nodes::start(&programs, &["shutdown-on-sigterm nosave"]);
    for node in [0, 1, 2] {
        nodes.server(node).client().ok("config set shutdown-on-sigterm failover");
    }
    nodes.create(1);
    nodes.wait_until_ok(&ALL);
    nodes.wait_for_replicas();
    let slot = nodes.ask(0, "cluster keyslot k").expect("node 0 is there").int() as u16;
    let master = nodes.owner(0, slot).expect("somebody has it");
    let written = Arc::new(AtomicU64::new(0));
    let (client, count) = (nodes.server(master).client(), Arc::clone(&written));
    let writer = thread::spawn(move || write_on(client, &count));
    wait_until("some writes", || written.load(Ordering::Relaxed) > 500);
    let status = nodes.server_mut(master).terminate();
    assert!(status.success(), "{status}");
    let log = nodes.server(master).log();
    assert!(log.contains("A replica has taken over."), "{log}");
    let last = writer.join().expect("the writer does not panic").expect("an answer");
    assert!(last.text().contains("MOVED"), "{last:?}");
    let others: Vec<usize> = ALL.into_iter().filter(|node| *node != master).collect();
    nodes.wait_at(&others, "another node has the slots", |node| {
        nodes.owner(node, slot).is_some_and(|owner| owner != master)
    });
    let successor = nodes.owner(others[0], slot).expect("somebody has it");
    let mut client = nodes.server(successor).client();
    for number in 0..written.load(Ordering::Relaxed) {
        assert_eq!(client.text(&format!("get {{k}}:{number}")), "written", "{number}");
    }
}

#[test]
fn to_a_replica_of_ours() {
    hand_over(&Program::under_test());
}

mod with_peers {
    use super::*;

    #[test]
    fn to_a_stock_replica() {
        hand_over(&Program::Stock);
    }
}
