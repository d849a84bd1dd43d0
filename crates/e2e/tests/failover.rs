//! FAILOVER while clients write: the replica becomes the master with every acknowledged write, and the old master its replica
//! without a full synchronization.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

mod support;

use std::thread;

use russet_e2e::{Program, Server, Setup};

/// Writes a number at a time until the server takes none. Returns the last that was acknowledged, and why there is no more.
fn write_until_refused(server: &Server) -> (i64, String) {
    let mut client = server.client();
    let mut last = 0;
    loop {
        match client.try_command(&["INCR", "written"]) {
            Ok(reply) if !reply.is_error() => last = reply.int(),
            Ok(reply) => return (last, reply.text()),
            Err(error) => return (last, error.to_string()),
        }
    }
}

fn fails_over(master: &Program, replica: &Program) {
    // With stale data such a replica answers nothing, not even PING: a stock master, which disconnects it, would wait forever.
    let serves = if *master == Program::Russet { "no" } else { "yes" };
    let setup = |program| Setup::new(program).conf("repl-diskless-sync-delay 0");
    let master = setup(master).start();
    let conf = format!("replica-serve-stale-data {serves}");
    let replica = setup(replica).conf(&conf).replica_of(&master).start();
    replica.wait_for_link();
    let mut client = master.client();
    client.ok("SET written 1000");
    replica.wait_for_offset_of(&master);
    let (writers, reply) = thread::scope(|scope| {
        let writers: Vec<_> =
            (0..3).map(|_| scope.spawn(|| write_until_refused(&master))).collect();
        let reply = client.run(&format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 10000", replica.port()));
        if reply.is_error() {
            client.run("SET written text");
        }
        let join = |writer: thread::ScopedJoinHandle<'_, _>| writer.join().expect("no panic");
        (writers.into_iter().map(join).collect::<Vec<_>>(), reply)
    });
    assert_eq!(reply.text(), "OK");
    assert!(writers.iter().all(|(_, why)| why.starts_with("READONLY")), "{writers:?}");
    master.wait_for_link();
    assert_eq!(replica.info_field("replication", "role"), "master");
    assert_eq!(master.info_field("replication", "master_failover_state"), "no-failover");
    let acked = writers.iter().map(|(last, _)| *last).max().filter(|&last| last > 0);
    let mut client = replica.client();
    let has: i64 = client.text("GET written").parse().expect("a number");
    assert!(acked.is_none_or(|acked| acked == has), "{acked:?} was acknowledged, {has} is there");
    client.ok("SET after it");
    assert_eq!(replica.info_field("stats", "sync_full"), "0");
    support::all_converge(&[replica, master]);
}

#[test]
fn ours_to_ours() {
    fails_over(&Program::under_test(), &Program::under_test());
}

mod with_peers {
    use super::*;

    #[test]
    fn ours_to_stock() {
        fails_over(&Program::under_test(), &Program::peer());
    }

    #[test]
    fn stock_to_ours() {
        fails_over(&Program::peer(), &Program::under_test());
    }
}
