//! The slow log: what is logged, how it is cut, and what is not shown.

use russet_driver::Driver;
use russet_engine::io::Handle;
use russet_engine::slowlog::SlowCommand;
use russet_protocol::reply::push_command;

fn entries(world: &Driver) -> Vec<SlowCommand> {
    world.node.parts.slowlog.iter().cloned().collect()
}

/// Returns the arguments of the latest entry, with spaces between.
fn latest(world: &Driver) -> String {
    let entry = entries(world).into_iter().next().expect("an entry");
    String::from_utf8(entry.args.join(&b' ')).expect("text")
}

fn start(config: &str) -> (Driver, Handle) {
    let mut world = Driver::new(config);
    let client = world.connect();
    (world, client)
}

#[test]
fn commands_that_take_long_are_logged_with_their_client() {
    let (mut world, client) = start("slowlog-log-slower-than 100\n");
    world.request(client, "CLIENT SETNAME me");
    world.tick_us = 99;
    world.request(client, "SET a 1");
    assert_eq!(entries(&world), []);
    world.tick_us = 100;
    world.request(client, "SET a 2");
    world.request(client, "GET a");
    let found = entries(&world);
    assert_eq!(found.len(), 2);
    let peer = world.node.parts.clients.get(client).expect("a client").peer();
    let expected = SlowCommand {
        id: 0,
        at_s: world.now.wall_ms() / 1000,
        took_us: 100,
        args: vec![b"SET".to_vec(), b"a".to_vec(), b"2".to_vec()],
        peer: peer.clone(),
        name: b"me".to_vec(),
    };
    assert_eq!(found[1], expected);
    let reply = world.request(client, "SLOWLOG GET 1");
    let time = expected.at_s;
    let shown = format!(
        "*1\r\n*6\r\n:1\r\n:{time}\r\n:100\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n${}\r\n{peer}\r\n$2\r\nme\r\n",
        peer.len()
    );
    assert_eq!(reply, shown);
    // Numbers go on after a reset.
    world.request(client, "SLOWLOG RESET");
    assert_eq!(entries(&world)[0].id, 3);
}

#[test]
fn arguments_are_cut() {
    let (mut world, client) = start("slowlog-log-slower-than 0\n");
    let long = "x".repeat(128);
    world.request(client, &format!("SET a {long}"));
    assert_eq!(latest(&world), format!("SET a {long}"));
    world.request(client, &format!("SET a {long}yy"));
    assert_eq!(latest(&world), format!("SET a {long}... (2 more bytes)"));
    let many: Vec<String> = (0..31).map(|n| n.to_string()).collect();
    world.request(client, &format!("MGET {}", many.join(" ")));
    assert_eq!(entries(&world)[0].args.len(), 32);
    world.request(client, &format!("MGET {} more", many.join(" ")));
    let args = &entries(&world)[0].args;
    assert_eq!((args.len(), &args[31][..]), (32, &b"... (2 more arguments)"[..]));
    let mut request = Vec::new();
    push_command(&mut request, &vec![b"x".as_slice(); 100_000]);
    world.send(client, &request);
    assert!(entries(&world)[0].args.len() <= 32);
}

#[test]
fn secrets_are_not_kept() {
    let (mut world, client) = start("slowlog-log-slower-than 0\n");
    for (request, shown) in [
        ("AUTH secret", "AUTH (redacted)"),
        ("AUTH default secret", "AUTH (redacted) (redacted)"),
        ("HELLO 2 AUTH default secret SETNAME me", "HELLO 2 AUTH (redacted) (redacted) SETNAME me"),
        (
            "CONFIG SET maxmemory 0 masterauth secret",
            "CONFIG SET maxmemory 0 masterauth (redacted)",
        ),
        ("CONFIG SET primaryauth secret", "CONFIG SET primaryauth (redacted)"),
        ("CONFIG SET requirepass secret", "CONFIG SET requirepass (redacted)"),
        ("MIGRATE h 1 a 0 1 AUTH secret", "MIGRATE h 1 a 0 1 AUTH (redacted)"),
        ("MIGRATE h 1 a 0 1 AUTH2 me secret", "MIGRATE h 1 a 0 1 AUTH2 (redacted) (redacted)"),
    ] {
        world.request(client, request);
        assert_eq!(latest(&world), shown);
    }
}

#[test]
fn commands_of_a_transaction_are_logged_without_exec() {
    let (mut world, client) = start("slowlog-log-slower-than 0\n");
    for request in ["MULTI", "SET a 1", "INCR a", "EXEC"] {
        world.request(client, request);
    }
    let found: Vec<String> = entries(&world)
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.args.join(&b' ')).into_owned())
        .collect();
    assert_eq!(found, ["INCR a", "SET a 1", "MULTI"]);
}

#[test]
fn a_sleep_counts_as_the_execution_of_its_command() {
    let (mut world, client) = start("slowlog-log-slower-than 200000\nenable-debug-command yes\n");
    world.request(client, "DEBUG SLEEP 0.1");
    world.advance_ms(150);
    assert_eq!(entries(&world), []);
    world.request(client, "DEBUG SLEEP 0.3");
    world.advance_ms(400);
    assert_eq!(latest(&world), "DEBUG SLEEP 0.3");
    assert!(entries(&world)[0].took_us >= 300_000);
}
