//! Stock Sentinels monitor our servers, agree that the master is down, promote a replica and
//! reconfigure the old master as a replica.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use russet_e2e::{Client, Program, Server, Setup, Value, wait_for_within};

/// Sentinels check servers every ten seconds, and retry after twice their timeout.
const DEADLINE: Duration = Duration::from_secs(120);

/// Waits as long as Sentinels may need.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for_within(what, DEADLINE, || condition().then_some(()));
}

/// Starts a Sentinel that monitors `master` with two others: two of three must agree. The time
/// after which a silent master counts as down must exceed the second that a Sentinel waits between
/// two attempts to connect: it also starts when the Sentinel switches to the promoted replica,
/// which would otherwise be failed over immediately.
fn sentinel(master: &Server) -> Server {
    let port = master.port();
    Setup::new(&Program::Stock)
        .conf(&format!("sentinel monitor ours 127.0.0.1 {port} 2"))
        .conf("sentinel down-after-milliseconds ours 2500")
        .conf("sentinel failover-timeout ours 5000")
        .arguments(&["--sentinel"])
        .start()
}

/// Returns a Sentinel's information about the master.
fn known(sentinel: &Server) -> BTreeMap<String, String> {
    let reply = sentinel.client().run("SENTINEL MASTER ours");
    let words: Vec<String> = reply.items().iter().map(Value::text).collect();
    words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// Waits until a server follows the master at this port. Sentinels close the connections of clients
/// of a server that they reconfigure, so any of ours may break.
fn wait_until_it_follows(server: &Server, port: u16) {
    let wanted = format!("master_port:{port}\r\n");
    wait_until(&format!("{} follows {port}", server.port()), || {
        let reply = Client::connect(server.address())
            .and_then(|mut client| client.try_command(&["INFO", "replication"]));
        reply.is_ok_and(|reply| reply.text().contains(&wanted))
    });
}

/// Returns the master's port according to a Sentinel.
fn master_port(sentinel: &Server) -> u16 {
    let reply = sentinel.client().run("SENTINEL GET-MASTER-ADDR-BY-NAME ours");
    reply.items()[1].text().parse().expect("a port")
}

/// Returns the master's port according to all Sentinels, once they agree. Two of them may have
/// started a failover, each as leader of another epoch and with another replica: the later epoch
/// wins, so the first reply of a Sentinel may not be final.
fn agreed_port(sentinels: &[Server]) -> Option<u16> {
    let port = master_port(&sentinels[0]);
    sentinels[1..].iter().all(|sentinel| master_port(sentinel) == port).then_some(port)
}

#[test]
fn stock_sentinels_fail_over_our_servers() {
    let ours = Program::under_test();
    let setup = || Setup::new(&ours).conf("repl-diskless-sync-delay 0");
    let mut old = setup().start();
    let replicas = [setup().replica_of(&old).start(), setup().replica_of(&old).start()];
    replicas.iter().for_each(Server::wait_for_link);
    let sentinels = [sentinel(&old), sentinel(&old), sentinel(&old)];
    for sentinel in &sentinels {
        wait_until("the Sentinel knows all others and both replicas", || {
            let known = known(sentinel);
            known["num-other-sentinels"] == "2" && known["num-slaves"] == "2"
        });
    }
    let mut client = old.client();
    for number in 0..1000 {
        client.ok(&format!("SET key:{number} {number}"));
    }
    replicas.iter().for_each(|replica| replica.wait_for_offset_of(&old));

    old.kill();
    let port = wait_for_within("all Sentinels send clients elsewhere", DEADLINE, || {
        agreed_port(&sentinels).filter(|&port| port != old.port())
    });
    let [first, second] = replicas;
    let (new, other) = if first.port() == port { (first, second) } else { (second, first) };
    assert_eq!(new.port(), port, "a replica was promoted");
    wait_until_it_follows(&other, port);
    assert_eq!(new.info_field("replication", "role"), "master");
    new.client().ok("SET written afterwards");

    old.start_again();
    wait_until_it_follows(&old, port);
    support::all_converge(&[new, other, old]);
    assert_eq!(agreed_port(&sentinels), Some(port));
}
