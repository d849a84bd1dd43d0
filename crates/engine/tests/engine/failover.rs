//! FAILOVER of a master to its replica, and PSYNC with FAILOVER, by which a replica takes over.

mod beside;

use russet_driver::Driver;
use russet_driver::peers::{ID, link, replica};
use russet_engine::io::{Endpoints, Handle};

const WAITING: &str = "waiting-for-sync";
const IN_PROGRESS: &str = "failover-in-progress";
const NONE: &str = "no-failover";
const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";

fn master() -> Driver {
    Driver::new("save \"\"\nrepl-diskless-sync-delay 0\nenable-debug-command yes\n")
}

/// Attaches a replica that listens on this port.
fn attach(w: &mut Driver, port: u16) -> Handle {
    let r = w.connect();
    w.request(r, &format!("REPLCONF listening-port {port} capa eof capa psync2"));
    w.request(r, "PSYNC ? -1");
    w.advance_ms(1);
    w.request(r, "REPLCONF ACK 0");
    ack(w, r);
    w.take(r);
    r
}

/// A master with one replica, at 127.0.0.1:7001, and a client.
fn pair() -> (Driver, Handle, Handle) {
    let mut w = master();
    let r = attach(&mut w, 7001);
    let c = w.connect();
    (w, r, c)
}

fn offset(w: &Driver) -> i64 {
    w.node.parts.master.stream.offset()
}

fn ack(w: &mut Driver, r: Handle) {
    let offset = offset(w);
    w.send(r, format!("REPLCONF ACK {offset}\r\n").as_bytes());
}

fn state(w: &Driver) -> &'static str {
    w.node.parts.failover.state_name()
}

fn id(w: &Driver) -> String {
    w.node.parts.master.stream.ids.id.clone()
}

fn logged(w: &Driver, text: &str) -> bool {
    w.log.iter().any(|line| line == text)
}

/// Completes the connection to the target up to PSYNC, and returns what follows PSYNC.
fn asks(w: &mut Driver) -> (Handle, String) {
    w.advance_ms(1);
    let link = link(w).expect("it connects to the target");
    let ends =
        Endpoints::Tcp { peer: ([127, 0, 0, 1], 7001).into(), local: ([127, 0, 0, 1], 5).into() };
    w.connected(link, ends);
    w.send(link, b"+PONG\r\n");
    w.send(link, b"+OK\r\n+OK\r\n+OK\r\n");
    let sent = w.take(link);
    let (_, psync) = sent.split_once("PSYNC\r\n").expect("it sends PSYNC");
    (link, psync.lines().filter(|line| !line.starts_with('$')).collect::<Vec<_>>().join(" "))
}

/// Hands a write over to the replica, up to the request to the target.
fn in_progress(w: &mut Driver, r: Handle, c: Handle) -> Handle {
    w.request(c, "SET a 1");
    assert_eq!(w.request(c, "FAILOVER"), "+OK\r\n");
    assert_eq!(state(w), WAITING);
    ack(w, r);
    assert_eq!(state(w), IN_PROGRESS);
    asks(w).0
}

#[test]
fn the_named_replica_becomes_the_master() {
    let (mut w, r, c) = pair();
    let other = attach(&mut w, 7002);
    w.request(c, "SET a 1");
    w.take(r);
    assert_eq!(w.request(c, "FAILOVER TO 127.0.0.1 7001"), "+OK\r\n");
    assert!(
        w.request(c, "INFO replication").contains("master_failover_state:waiting-for-sync\r\n")
    );
    assert!(w.take(r).contains("GETACK"), "nobody waits for the second of its next ACK");
    assert_eq!(w.request(c, "FAILOVER"), "-ERR FAILOVER already in progress.\r\n");
    assert_eq!(w.request(c, "SET b 1"), "", "held");
    ack(&mut w, other);
    assert_eq!(state(&w), WAITING, "another one has all");
    let short = offset(&w) - 1;
    w.request(r, &format!("REPLCONF ACK {short}"));
    assert_eq!(state(&w), WAITING, "a byte is missing");
    let (old_id, at) = (id(&w), offset(&w));
    ack(&mut w, r);
    assert_eq!(state(&w), IN_PROGRESS);
    assert_eq!(w.closed, [other], "without its link the target would be stale");
    let (to, psync) = asks(&mut w);
    assert_eq!(psync, format!("{old_id} {} FAILOVER SYNCED", at + 1));

    let d = w.connect();
    assert!(w.request(d, "ROLE").starts_with("*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:7001\r\n"));
    assert_eq!(w.request(d, "SET c 1"), READONLY);
    for line in ["REPLICAOF NO ONE", "REPLICAOF 127.0.0.1 1", "SLAVEOF NO ONE"] {
        assert_eq!(w.request(d, line), "-ERR REPLICAOF not allowed while failing over.\r\n");
    }
    for line in ["PSYNC ? -1", "SYNC", &format!("PSYNC {old_id} 1 FAILOVER")] {
        assert_eq!(w.request(d, line), "-NOMASTERLINK Can't SYNC while failing over\r\n");
    }
    w.send(to, format!("+CONTINUE {ID}\r\n").as_bytes());
    assert_eq!((state(&w), id(&w), offset(&w)), (NONE, ID.to_owned(), at));
    assert_eq!(w.take(c), READONLY, "it is released");
    w.send(to, b"*3\r\n$3\r\nSET\r\n$1\r\nd\r\n$1\r\n1\r\n");
    assert_eq!(w.request(d, "EXISTS a b c d"), ":2\r\n");
    assert!(logged(&w, "FAILOVER requested to 127.0.0.1:7001."));
    assert!(logged(&w, "Failover target 127.0.0.1:7001 is synced, failing over."));
    assert_eq!(
        w.request(d, "FAILOVER"),
        "-ERR FAILOVER is not valid when server is a replica.\r\n"
    );
    assert_eq!(w.request(d, "CONFIG GET replicaof").lines().last(), Some("127.0.0.1 7001"));
}

#[test]
fn without_a_name_the_first_that_has_all_becomes_the_master() {
    let (mut w, _, c) = pair();
    let other = attach(&mut w, 7002);
    w.request(c, "SET a 1");
    assert_eq!(w.request(c, "FAILOVER"), "+OK\r\n");
    ack(&mut w, other);
    assert_eq!(state(&w), IN_PROGRESS);
    assert!(w.request(c, "ROLE").contains(":7002\r\n"));
    assert!(logged(&w, "FAILOVER requested to any replica."));
    let to = asks(&mut w).0;
    w.send(to, format!("+FULLRESYNC {ID} 1000\r\n").as_bytes());
    assert_eq!(state(&w), NONE, "a full synchronization is no refusal");
    // One that has all when it begins.
    let (mut w, _, c) = pair();
    assert_eq!(w.request(c, "FAILOVER"), "+OK\r\n");
    assert_eq!(state(&w), IN_PROGRESS);
}

#[test]
fn a_timeout_ends_the_wait() {
    let (mut w, r, c) = pair();
    w.request(c, "SET a 1");
    assert_eq!(w.request(c, "FAILOVER TIMEOUT 500"), "+OK\r\n");
    let d = w.connect();
    assert_eq!(w.request(d, "SET b 1\r\nWAIT 1 0"), "");
    w.advance_ms(499);
    assert_eq!((state(&w), w.take(d).as_str()), (WAITING, ""));
    w.take(r);
    w.advance_ms(1);
    assert_eq!((state(&w), w.take(d).as_str()), (NONE, "+OK\r\n"));
    assert!(logged(&w, "FAILOVER to any replica aborted: Replica never caught up before timeout"));
    assert!(w.request(c, "ROLE").contains("master"));
    assert!(w.take(r).contains("GETACK"), "for WAIT");
    assert_eq!(w.closed, [], "nobody had to leave");
    ack(&mut w, r);
    assert_eq!(w.take(d), ":1\r\n");
}

#[test]
fn force_goes_on_after_the_timeout() {
    let (mut w, r, c) = pair();
    w.request(c, "SET a 1");
    assert_eq!(w.request(c, "FAILOVER TO 127.0.0.1 7001 FORCE TIMEOUT 100"), "+OK\r\n");
    w.disconnect(r);
    w.advance_ms(99);
    assert_eq!(state(&w), WAITING, "FORCE does not need a link");
    w.advance_ms(1);
    assert_eq!(state(&w), IN_PROGRESS);
    assert!(logged(&w, "FAILOVER to 127.0.0.1:7001 time out exceeded, failing over."));
    let (to, psync) = asks(&mut w);
    assert!(psync.ends_with(" FAILOVER"));
    w.send(to, format!("+CONTINUE {ID}\r\n").as_bytes());
    assert_eq!(state(&w), NONE);
    assert_eq!(w.node.parts.failover.counts.forced, 1);
}

#[test]
fn abort_ends_either_stage() {
    let (mut w, _, c) = pair();
    w.request(c, "SET a 1");
    w.request(c, "FAILOVER TO 127.0.0.1 7001");
    let d = w.connect();
    assert_eq!(w.request(d, "SET b 1"), "");
    assert_eq!(w.request(c, "FAILOVER ABORT"), "+OK\r\n");
    assert_eq!((state(&w), w.take(d).as_str()), (NONE, "+OK\r\n"));
    assert!(logged(&w, "FAILOVER to 127.0.0.1:7001 aborted: Failover manually aborted"));
    assert_eq!(w.request(c, "FAILOVER ABORT"), "-ERR No failover in progress.\r\n");

    let (mut w, r, c) = pair();
    let (old_id, to) = (id(&w), in_progress(&mut w, r, c));
    let at = offset(&w);
    assert_eq!(w.request(c, "FAILOVER ABORT"), "+OK\r\n");
    assert!(!w.is_open(to) && w.request(c, "ROLE").contains("master"));
    assert_eq!(w.request(c, "SET b 1"), "+OK\r\n");
    assert_eq!(w.request(c, "CONFIG GET replicaof"), "*2\r\n$9\r\nreplicaof\r\n$0\r\n\r\n");
    // Its replicas come back without a full synchronization.
    let r = w.connect();
    w.request(r, "REPLCONF capa psync2");
    let reply = w.request(r, &format!("PSYNC {old_id} {}", at + 1));
    assert!(reply.starts_with("+CONTINUE ") && reply.contains("\r\nb\r\n"), "{reply}");
}

#[test]
fn a_refusal_makes_it_a_master_again() {
    for reply in [
        "-NOPERM no permission\r\n",
        "-NOMASTERLINK Can't SYNC while not connected with my master\r\n",
        "-LOADING\r\n",
        "-ERR PSYNC FAILOVER replid must match my replid.\r\n+CONTINUE\r\n",
        "-ERR PSYNC FAILOVER can't be sent to a master.\r\n",
        "garbage\r\n",
    ] {
        let (mut w, r, c) = pair();
        let d = w.connect();
        w.request(c, "SET x 1");
        w.request(c, "FAILOVER TO 127.0.0.1 7001");
        assert_eq!(w.request(d, "SET held 1"), "");
        ack(&mut w, r);
        let to = asks(&mut w).0;
        w.send(to, reply.as_bytes());
        assert_eq!((state(&w), w.take(d).as_str()), (NONE, "+OK\r\n"), "{reply}");
        assert!(!w.is_open(to) && w.request(c, "ROLE").contains("master"), "{reply}");
        assert!(!w.is_open(r), "it has to come again, in a new history");
        let text = "FAILOVER to 127.0.0.1:7001 aborted: Failover target rejected psync request";
        assert!(logged(&w, text), "{reply}");
        w.advance_ms(5000);
        assert_eq!(link(&w), None, "{reply}");
    }
}

#[test]
fn a_target_that_refuses_the_handshake_ends_it() {
    for (conf, sent, is_end) in [
        ("", "-MASTERDOWN Link with MASTER is down\r\n", true),
        ("masterauth x", "+PONG\r\n-WRONGPASS invalid username-password pair\r\n", true),
        ("", "-LOADING Redis is loading the dataset in memory\r\n", false),
    ] {
        let (mut w, r, c) = pair();
        if let Some((name, value)) = conf.split_once(' ') {
            w.request(c, &format!("CONFIG SET {name} {value}"));
        }
        w.request(c, "SET x 1");
        w.request(c, "FAILOVER");
        ack(&mut w, r);
        w.advance_ms(1);
        let to = link(&w).expect("it connects to the target");
        let ends = Endpoints::Tcp {
            peer: ([127, 0, 0, 1], 7001).into(),
            local: ([127, 0, 0, 1], 5).into(),
        };
        w.connected(to, ends);
        w.send(to, sent.as_bytes());
        assert_eq!(state(&w), if is_end { NONE } else { IN_PROGRESS }, "{sent}");
    }
}

#[test]
fn a_request_without_a_reply_is_repeated() {
    let (mut w, r, c) = pair();
    let to = in_progress(&mut w, r, c);
    w.disconnect(to);
    assert_eq!(state(&w), IN_PROGRESS);
    w.advance_ms(100);
    let failing = link(&w).expect("it connects again at once");
    w.connect_failed(failing, "Connection refused");
    w.advance_ms(200);
    let (to, psync) = asks(&mut w);
    assert!(psync.ends_with(" FAILOVER SYNCED"));
    // It is a master since the first request.
    w.send(to, b"-ERR PSYNC FAILOVER can't be sent to a master.\r\n");
    assert_eq!(state(&w), NONE);
    let again = w.take(to);
    assert!(again.contains("PSYNC") && !again.contains("FAILOVER"), "{again}");
    w.send(to, format!("+CONTINUE {ID}\r\n").as_bytes());
    assert!(w.request(c, "INFO replication").contains("master_link_status:up"));
    assert_eq!(w.node.parts.failover.counts.completed, 1);
}

#[test]
fn the_loss_of_all_candidates_ends_it() {
    let (mut w, r, c) = pair();
    let other = attach(&mut w, 7002);
    w.request(c, "SET a 1");
    w.request(c, "FAILOVER");
    w.disconnect(r);
    assert_eq!(state(&w), WAITING, "another is left");
    w.disconnect(other);
    assert_eq!(state(&w), NONE);
    let text = "FAILOVER to any replica aborted: Replica disconnected before it caught up";
    assert!(logged(&w, text));
    assert_eq!(w.request(c, "SET b 1"), "+OK\r\n");

    let (mut w, r, c) = pair();
    attach(&mut w, 7002);
    w.request(c, "SET a 1");
    w.request(c, "FAILOVER TO 127.0.0.1 7001");
    w.request(c, "CLIENT KILL TYPE replica");
    assert_eq!((w.is_open(r), state(&w)), (false, NONE));
}

#[test]
fn a_replica_takes_over_for_its_master() {
    let (mut w, _) = replica("", &["a"]);
    let m = w.connect();
    w.request(m, "REPLCONF capa psync2");
    let other = "f".repeat(40);
    assert_eq!(
        w.request(m, &format!("PSYNC {other} 101 FAILOVER")),
        "-ERR PSYNC FAILOVER replid must match my replid.\r\n"
    );
    for offset in ["100", "102", "x"] {
        assert_eq!(
            w.request(m, &format!("PSYNC {ID} {offset} FAILOVER SYNCED")),
            "-ERR PSYNC FAILOVER offset must match my offset.\r\n"
        );
    }
    assert!(w.request(m, "ROLE").contains("slave"));
    let reply = w.request(m, &format!("PSYNC {ID} 101 FAILOVER SYNCED"));
    assert!(reply.starts_with("+CONTINUE ") && !reply.contains(ID), "{reply}");
    let c = w.connect();
    assert!(w.request(c, "ROLE").contains("master"));
    w.request(c, "SET b 1");
    assert!(w.take(m).ends_with("\r\nb\r\n$1\r\n1\r\n"));
    assert_eq!(
        w.request(c, &format!("PSYNC {ID} 101 failover")),
        "-ERR PSYNC FAILOVER can't be sent to a master.\r\n"
    );
}
