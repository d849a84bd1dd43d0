//! Clients that wait for keys: who is served, when, and what ends a wait.

use russet_driver::Driver;
use russet_engine::io::Handle;

fn lines(w: &mut Driver, client: Handle) -> Vec<String> {
    w.take(client).lines().map(str::to_owned).collect()
}

fn element(text: &str) -> String {
    format!("*2\r\n$1\r\nl\r\n${}\r\n{text}\r\n", text.len())
}

#[test]
fn clients_are_served_in_their_order_and_each_element_once() {
    let mut w = Driver::new("");
    let pusher = w.connect();
    let waiting: Vec<Handle> = (0..100).map(|_| w.connect()).collect();
    for (at, client) in waiting.iter().enumerate() {
        // Some wait for others, too.
        let keys = if at % 3 == 0 { "other l" } else { "l" };
        assert_eq!(w.request(*client, &format!("BLPOP {keys} 0")), "");
    }
    // Some go away.
    for at in [0, 7, 50, 99] {
        w.disconnect(waiting[at]);
    }
    let left: Vec<Handle> =
        (0..100).filter(|at| ![0, 7, 50, 99].contains(at)).map(|at| waiting[at]).collect();
    let numbers: Vec<String> = (0..40).map(|number: usize| number.to_string()).collect();
    w.request(pusher, &format!("RPUSH l {}", numbers.join(" ")));
    for (at, client) in left.iter().enumerate() {
        let expected = numbers.get(at).map(|text| element(text)).unwrap_or_default();
        assert_eq!(w.take(*client), expected, "client {at}");
    }
    assert_eq!(w.request(pusher, "EXISTS l"), ":0\r\n");
    // One that waits again is the last.
    w.request(left[0], "BLPOP l 0");
    w.request(pusher, "RPUSH l x");
    assert_eq!(w.take(left[40]), element("x"));
    assert_eq!(w.take(left[0]), "");
    let info = w.request(pusher, "INFO clients");
    assert!(info.contains("blocked_clients:56\r\n"), "{info}");
    assert!(info.contains("total_blocking_keys:2\r\n"), "{info}");
    for client in left {
        w.disconnect(client);
    }
    assert!(w.node.parts.blocking.is_empty() && w.node.data.awaited.is_empty());
    assert_eq!(w.node.parts.blocking.memory_bytes(), 0);
}

#[test]
fn a_client_gets_one_element_though_several_of_its_keys_change() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    w.request(c, "BLPOP a b a 0");
    w.send(d, b"MULTI\r\nRPUSH b 1 2\r\nRPUSH a 3 4\r\nEXEC\r\n");
    assert_eq!(w.take(c), "*2\r\n$1\r\na\r\n$1\r\n3\r\n");
    w.take(d);
    assert_eq!(w.request(d, "LLEN a"), ":1\r\n");
    assert_eq!(w.request(d, "LLEN b"), ":2\r\n");
    assert!(w.node.data.awaited.is_empty());
}

#[test]
fn what_waits_behind_a_blocked_command_runs_after_it() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    // Within one batch, with other clients behind it.
    w.queue(c, b"BLPOP l 0\r\nSET after 1\r\nBLPOP l 0\r\nGET after\r\n");
    w.queue(d, b"RPUSH l 1\r\nGET after\r\n");
    w.run();
    assert_eq!(w.take(d), ":1\r\n$-1\r\n");
    assert_eq!(w.take(c), format!("{}+OK\r\n", element("1")));
    w.request(d, "RPUSH l 2");
    assert_eq!(w.take(c), format!("{}$1\r\n1\r\n", element("2")));
}

#[test]
fn a_deadline_holds_across_wakes_that_bring_nothing() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    w.request(c, "BLPOP l 1");
    for _ in 0..9 {
        w.advance_ms(100);
        // It is another type, or gone again when the transaction ends.
        w.send(d, b"MULTI\r\nRPUSH l 1\r\nDEL l\r\nEXEC\r\nSET l 1\r\nDEL l\r\n");
        assert_eq!(w.take(c), "");
    }
    w.advance_ms(100);
    assert_eq!(w.take(c), "*-1\r\n");
    assert!(w.node.data.awaited.is_empty());
    w.take(d);
    assert!(w.request(d, "INFO commandstats").contains("cmdstat_blpop:calls=1,"));
}

#[test]
fn time_goes_on_after_a_transaction_that_took_long() {
    let mut w = Driver::new("enable-debug-command yes");
    let (c, d) = (w.connect(), w.connect());
    w.request(c, "BLPOP l 1");
    w.send(d, b"MULTI\r\nRPUSH l a\r\nPEXPIRE l 100\r\nDEBUG SLEEP 0.2\r\nEXEC\r\n");
    w.advance_ms(200);
    assert!(w.take(d).ends_with(":1\r\n:1\r\n+OK\r\n"));
    // The key that the transaction has made has expired when the client is served.
    assert_eq!(w.take(c), "");
    w.advance_ms(800);
    assert_eq!(w.take(c), "*-1\r\n");
}

#[test]
fn loads_and_expiry_count_as_changes() {
    let mut w = Driver::new("enable-debug-command yes");
    let (c, d) = (w.connect(), w.connect());
    w.request(d, "SET l 1 PX 50");
    w.request(c, "BLPOP k 0");
    w.request(d, "RPUSH k 1");
    assert_eq!(w.take(c), "*2\r\n$1\r\nk\r\n$1\r\n1\r\n");
    w.request(d, "RPUSH l2 1");
    // The key is awaited while it has another type, which expires.
    w.request(d, "DEL l");
    w.request(c, "BLPOP l 0");
    w.request(d, "SET l 1 PX 50");
    w.advance_ms(100);
    w.request(d, "RENAME l2 l");
    assert_eq!(w.take(c), element("1"));
}

#[test]
fn a_pause_holds_what_wakes_up() {
    let mut w = Driver::new("");
    let (c, d, e) = (w.connect(), w.connect(), w.connect());
    w.request(c, "BLPOP l 0");
    w.request(d, "BLPOP l 0");
    // The push is in the transaction that begins the pause.
    w.send(e, b"MULTI\r\nCLIENT PAUSE 1000 WRITE\r\nRPUSH l 1 2 3\r\nEXEC\r\n");
    assert_eq!((w.take(c), w.take(d)), (String::new(), String::new()));
    w.take(e);
    assert_eq!(w.request(e, "LLEN l"), ":3\r\n");
    w.advance_ms(999);
    assert_eq!(w.take(c), "");
    w.advance_ms(1);
    assert_eq!((w.take(c), w.take(d)), (element("1"), element("2")));
    assert_eq!(w.request(e, "LLEN l"), ":1\r\n");
}

#[test]
fn the_end_of_a_pause_ends_no_other_wait() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    w.request(c, "BLPOP l 0.1");
    w.send(d, b"MULTI\r\nCLIENT PAUSE 1000 WRITE\r\nRPUSH l 1\r\nEXEC\r\n");
    w.take(d);
    w.advance_ms(100);
    assert_eq!(w.take(c), "*-1\r\n");
    // Its next command waits for something else when the pause ends.
    assert_eq!(w.request(c, "WAIT 1 2000"), "");
    w.advance_ms(900);
    assert_eq!(w.take(c), "");
    w.advance_ms(1100);
    assert_eq!(w.take(c), ":0\r\n");
    assert_eq!(w.request(d, "LLEN l"), ":1\r\n");
}

#[test]
fn checks_are_passed_again() {
    let mut w = Driver::new("min-replicas-to-write 0");
    let (c, d) = (w.connect(), w.connect());
    w.request(c, "BLPOP l 0");
    w.send(d, b"MULTI\r\nRPUSH l 1\r\nCONFIG SET min-replicas-to-write 1\r\nEXEC\r\n");
    assert_eq!(lines(&mut w, c), ["-NOREPLICAS Not enough good replicas to write."]);
    assert!(w.node.data.awaited.is_empty());
    w.take(d);
    assert_eq!(w.request(d, "LLEN l"), ":1\r\n");
}
