//! Log lines about lost connections and refused synchronizations: who, why, and what to change.

use russet_driver::Driver;
use russet_driver::peers::{ID, command, replica};
use russet_engine::io::{Handle, Input};

/// Connects a replica that announces a port and requests a synchronization.
fn psync(w: &mut Driver, request: &str) -> Handle {
    let r = w.connect();
    w.request(r, "REPLCONF listening-port 7777 capa eof capa psync2");
    w.request(r, request);
    r
}

/// Takes the lines that were logged since the last call and contain a text.
fn logged(w: &mut Driver, text: &str) -> Vec<String> {
    std::mem::take(&mut w.log).into_iter().filter(|line| line.contains(text)).collect()
}

#[track_caller]
fn one_line(w: &mut Driver, parts: &[&str]) {
    let lines = logged(w, parts[0]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in parts {
        assert!(lines[0].contains(part), "{part} in {lines:?}");
    }
}

const STREAMED: &str = "save \"\"\nrepl-diskless-sync-delay 0\nrepl-backlog-size 16kb\n";

#[test]
fn a_lost_replica_is_named_with_who_closed_it() {
    let mut w = Driver::new(STREAMED);
    let r = psync(&mut w, "PSYNC ? -1");
    one_line(&mut w, &["Full resync requested by replica", "127.0.0.1:7777"]);
    w.input(Input::Closed(r));
    one_line(&mut w, &["Connection with replica 127.0.0.1:7777 lost. The other side closed it"]);
    let c = w.connect();
    psync(&mut w, "PSYNC ? -1");
    w.request(c, "CLIENT KILL TYPE replica");
    one_line(&mut w, &["Connection with replica 127.0.0.1:7777 lost. This server closed it"]);
    let r = psync(&mut w, "PSYNC ? -1");
    w.request(r, "REPLCONF ACK 0");
    w.advance_ms(62_000);
    let lines = logged(&mut w, "127.0.0.1:7777");
    let timed_out = "Disconnecting timedout replica (streaming sync): 127.0.0.1:7777 (no progress \
                     for 60 seconds, 'repl-timeout')";
    assert!(lines[lines.len() - 2].contains(timed_out), "{lines:?}");
    let unannounced = w.connect();
    w.request(unannounced, "PSYNC ? -1");
    one_line(&mut w, &["requested by replica 127.0.0.1:<unknown-replica-port>"]);
}

#[test]
fn a_refused_partial_resynchronization_says_why() {
    let mut w = Driver::new(STREAMED);
    let none_yet = psync(&mut w, &format!("PSYNC {ID} 5"));
    one_line(
        &mut w,
        &[
            "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '",
            ID,
            "127.0.0.1:7777",
        ],
    );
    let ids = w.node.parts.master.stream.ids.clone();
    let c = w.connect();
    for _ in 0..10 {
        w.send(c, &command(&["SET", "a", &"x".repeat(10_000)]));
    }
    psync(&mut w, &format!("PSYNC {} 5", ids.id));
    one_line(
        &mut w,
        &[
            "Unable to partial resync with replica 127.0.0.1:7777 for lack of backlog (Replica \
             request was: 5)",
            "'repl-backlog-size' than 16384 bytes",
        ],
    );
    psync(&mut w, &format!("PSYNC {} 999999999", ids.id));
    one_line(&mut w, &["for lack of backlog (Replica request was: 999999999)", "is greater"]);
    w.input(Input::Closed(none_yet));
}

#[test]
fn a_replica_with_writes_of_its_former_master_is_told_apart() {
    let (mut w, _) = replica("", &["a"]);
    let c = w.connect();
    w.request(c, "REPLICAOF NO ONE");
    psync(&mut w, &format!("PSYNC {ID} 5000"));
    one_line(
        &mut w,
        &["Requested offset for second ID was 5000, but I can reply up to 101", "127.0.0.1:7777"],
    );
}

#[test]
fn a_lost_master_is_named() {
    let (mut w, link) = replica("", &["a"]);
    w.input(Input::Closed(link));
    one_line(&mut w, &["Connection with master lost. It was 127.0.0.1:7000. The other side"]);
}

#[test]
fn a_client_over_a_limit_is_described_with_the_directive() {
    let mut w = Driver::new(
        "client-output-buffer-limit normal 64kb 0 0\nclient-query-buffer-limit 1mb\ntimeout 10\n\
         loglevel verbose\n",
    );
    let c = w.connect();
    w.request(c, "CLIENT SETNAME slow");
    w.set_read_limit(c, Some(0));
    w.send(c, &command(&["ECHO", &"x".repeat(100_000)]));
    one_line(
        &mut w,
        &[
            "closed ASAP for overcoming of output buffer limits. Its limit is \
             'client-output-buffer-limit normal'.",
            " addr=127.0.0.1:",
            " name=slow ",
            " cmd=echo ",
        ],
    );
    let c = w.connect();
    w.send(c, format!("*1\r\n$2000000\r\n{}", "x".repeat(1_900_000)).as_bytes());
    let lines = logged(&mut w, "Closing client that reached max query buffer length: id=");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("'client-query-buffer-limit'"), "{lines:?}");
    w.connect();
    w.advance_ms(12_000);
    one_line(&mut w, &["Closing idle client 127.0.0.1:", "('timeout')"]);
}
