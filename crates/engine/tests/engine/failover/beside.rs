//! FAILOVER beside other things: pauses, transactions, WAIT, SHUTDOWN, loads, sleeps, full synchronizations.

use std::time::Duration;

use russet_driver::{Driver, Files};

use super::{IN_PROGRESS, NONE, WAITING, ack, asks, attach, master, offset, pair, state};

#[test]
fn a_pause_of_a_user_is_independent() {
    let (mut w, r, c) = pair();
    w.request(c, "SET a 1");
    w.request(c, "CLIENT PAUSE 1000 WRITE");
    w.request(c, "FAILOVER");
    let d = w.connect();
    assert_eq!(w.request(d, "SET b 1"), "");
    assert_eq!(w.request(c, "CLIENT UNPAUSE"), "+OK\r\n");
    assert_eq!(w.take(d), "", "the failover holds it");
    w.request(c, "CLIENT PAUSE 1000 WRITE");
    w.request(c, "FAILOVER ABORT");
    assert_eq!((state(&w), w.take(d).as_str()), (NONE, ""), "the user holds it");
    w.advance_ms(1000);
    assert_eq!(w.take(d), "+OK\r\n");
    // Replicas are heard whatever is paused.
    w.request(c, "FAILOVER");
    w.request(c, "CLIENT PAUSE 1000 ALL");
    ack(&mut w, r);
    assert_eq!(state(&w), IN_PROGRESS);
}

#[test]
fn keys_do_not_expire_meanwhile() {
    let (mut w, r, c) = pair();
    w.request(c, "SET a 1 PX 10");
    w.request(c, "FAILOVER");
    w.advance_ms(100);
    assert_eq!(w.request(c, "GET a"), "$-1\r\n", "hidden");
    assert!(!w.take(r).contains("DEL"), "but nothing is written");
}

#[test]
fn the_rest_of_a_transaction_must_have_arrived_too() {
    let (mut w, r, c) = pair();
    w.send(c, b"MULTI\r\nFAILOVER\r\nSET a 1\r\nFAILOVER ABORT\r\nFAILOVER\r\nSET b 1\r\nEXEC\r\n");
    assert!(w.take(c).ends_with("*5\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n"));
    assert_eq!(state(&w), WAITING, "the replica lacks the transaction");
    let sent = w.take(r);
    assert!(sent.contains("EXEC") && sent.ends_with("GETACK\r\n$1\r\n*\r\n"), "{sent}");
    ack(&mut w, r);
    assert_eq!(state(&w), IN_PROGRESS);
    // An EXEC with writes is held.
    let (mut w, _, c) = pair();
    w.request(c, "SET a 1");
    let d = w.connect();
    w.request(d, "MULTI");
    w.request(d, "SET a 2");
    w.request(c, "FAILOVER");
    assert_eq!(w.request(d, "EXEC"), "");
    w.request(c, "FAILOVER ABORT");
    assert_eq!(w.take(d), "*1\r\n+OK\r\n");
}

#[test]
fn a_client_in_wait_gets_its_answer_and_cannot_delay_it() {
    let (mut w, r, c) = pair();
    let d = w.connect();
    w.request(d, "SET a 1");
    assert_eq!(w.request(d, "WAIT 1 0"), "");
    w.request(c, "FAILOVER");
    let at = offset(&w);
    let others: Vec<_> = (0..10).map(|_| w.connect()).collect();
    for &other in &others {
        w.request(other, "WAIT 2 0");
    }
    assert_eq!(offset(&w), at, "the stream does not grow with each WAIT");
    ack(&mut w, r);
    assert_eq!((state(&w), w.take(d).as_str()), (IN_PROGRESS, ":1\r\n"));
    for other in others {
        assert!(w.take(other).starts_with("-UNBLOCKED"), "no master will answer it");
        assert!(!w.is_open(other));
    }
}

#[test]
fn pings_go_on_and_are_acknowledged_at_once() {
    let (mut w, r, c) = pair();
    w.request(c, "CONFIG SET repl-ping-replica-period 1");
    w.request(c, "SET a 1");
    w.request(c, "FAILOVER");
    w.take(r);
    w.advance_ms(1500);
    let sent = w.take(r);
    assert!(sent.contains("PING") && sent.ends_with("GETACK\r\n$1\r\n*\r\n"), "{sent}");
    ack(&mut w, r);
    assert_eq!(state(&w), IN_PROGRESS);
}

#[test]
fn replicas_without_the_data_or_an_address_do_not_become_masters() {
    let mut w = master();
    let (c, r) = (w.connect(), w.connect());
    w.request(c, "SET a 1");
    w.request(r, "REPLCONF listening-port 7001 capa eof capa psync2");
    w.snapshots.held = true;
    w.request(r, "PSYNC ? -1");
    let online = "-ERR FAILOVER target replica is not online.\r\n";
    assert_eq!(w.request(c, "FAILOVER TO 127.0.0.1 7001"), online);
    assert_eq!(w.request(c, "FAILOVER TIMEOUT 1000"), "+OK\r\n");
    ack(&mut w, r);
    assert_eq!(state(&w), WAITING, "it claims what it cannot have");
    w.advance_ms(1000);
    assert_eq!(state(&w), NONE);
    // One that does not say where it listens could not be followed.
    let (mut w, r, c) = pair();
    let unknown = attach(&mut w, 0);
    w.request(c, "SET a 1");
    w.request(c, "FAILOVER");
    ack(&mut w, unknown);
    assert_eq!(state(&w), WAITING);
    ack(&mut w, r);
    assert_eq!(state(&w), IN_PROGRESS);
}

#[test]
fn a_shutdown_comes_to_its_end() {
    // It waits for the same replica.
    let (mut w, r, c) = pair();
    w.request(c, "SET a 1");
    w.request(c, "FAILOVER");
    let d = w.connect();
    w.request(d, "SHUTDOWN");
    assert_eq!((w.exit, state(&w)), (None, WAITING));
    ack(&mut w, r);
    assert_eq!(w.exit, Some(0));
    // One that is cancelled leaves the failover alone.
    let (mut w, r, c) = pair();
    w.request(c, "SET a 1");
    w.request(c, "FAILOVER");
    let d = w.connect();
    w.request(d, "SHUTDOWN");
    w.request(c, "SHUTDOWN ABORT");
    assert!(w.take(d).starts_with("-ERR Errors trying to SHUTDOWN"));
    assert_eq!((w.request(d, "SET b 1").as_str(), state(&w)), ("", WAITING));
    ack(&mut w, r);
    assert_eq!((w.exit, state(&w)), (None, IN_PROGRESS));
    let e = w.connect();
    w.request(e, "SHUTDOWN");
    assert_eq!(w.exit, Some(0));
}

#[test]
fn the_time_of_a_sleeping_process_counts() {
    let (mut w, _, c) = pair();
    w.request(c, "SET a 1");
    w.request(c, "FAILOVER TIMEOUT 1000");
    w.request(c, "DEBUG SLEEP 2");
    w.advance_ms(1900);
    assert_eq!(state(&w), WAITING);
    w.advance_ms(200);
    assert_eq!(state(&w), NONE);
    // A process that was stopped sees the timeout before acknowledgements that have arrived.
    w.request(c, "FAILOVER TIMEOUT 1000");
    w.jump(Duration::from_secs(5));
    assert_eq!(state(&w), NONE);
    assert_eq!(w.node.parts.failover.counts.timed_out, 2);
}

#[test]
fn a_client_that_goes_takes_nothing_with_it() {
    let (mut w, r, c) = pair();
    w.request(c, "SET a 1");
    w.request(c, "FAILOVER");
    w.disconnect(c);
    ack(&mut w, r);
    let (to, psync) = asks(&mut w);
    assert!(psync.ends_with("FAILOVER SYNCED") && w.is_open(to));
    // One that is held, too.
    let (mut w, _, c) = pair();
    w.request(c, "SET a 1");
    w.request(c, "FAILOVER");
    let d = w.connect();
    w.request(d, "SET b 1");
    w.disconnect(d);
    w.request(c, "FAILOVER ABORT");
    assert_eq!(w.request(c, "EXISTS a b"), ":1\r\n");
}

#[test]
fn a_loading_server_refuses_it() {
    let (mut w, ..) = pair();
    let c = w.connect();
    w.request(c, "SET a 1");
    w.request(c, "SAVE");
    let files: Files = w.files.clone();
    let mut w = Driver::with_files("key-load-delay 1000000\n", files);
    let c = w.connect();
    assert!(w.request(c, "FAILOVER").starts_with("-LOADING"));
}
