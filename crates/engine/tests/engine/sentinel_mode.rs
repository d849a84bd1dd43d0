//! A node in Sentinel mode: which commands it has, and what it does not do.

use russet_driver::{Driver, Files};
use russet_engine::config::{Config, Place, SentinelStart, Source, Store};
use russet_engine::io::{Endpoints, Programs};
use russet_engine::mode::Mode;
use russet_engine::node::{Boot, Seeds};

fn sentinel(conf: &str) -> Driver {
    let config = Config::parse_text(conf.as_bytes()).expect("the test's conf").config;
    let boot = Boot { seeds: Seeds::derive([1, 2, 3, 4]), mode: Mode::Sentinel, ..Boot::default() };
    Driver::start(config, boot, Files::new())
}

/// Starts one that watches a master.
fn watching(statements: &str) -> Driver {
    watching_again(statements, b"")
}

/// The same, with a journal of the run before.
fn watching_again(statements: &str, journal: &[u8]) -> Driver {
    let text = format!("sentinel monitor m 10.0.0.1 6379 2\n{statements}").into_bytes();
    let sources = [Source { place: Place::Text, text }];
    let loaded = Config::parse_for(Mode::Sentinel, &sources, &mut |_, _| Ok(vec![]));
    let loaded = loaded.expect("the test's configuration");
    let settings = loaded.sentinel.expect("the mode").settings;
    let store = Store::Configuration { path: "/sentinel.conf".into() };
    let boot = Boot {
        seeds: Seeds::derive([1, 2, 3, 4]),
        mode: Mode::Sentinel,
        sentinel: Some(SentinelStart { settings, store, journal: journal.to_vec() }),
        programs: Programs(|path| path == "/notify"),
        ..Boot::default()
    };
    Driver::start(loaded.config, boot, Files::new())
}

#[test]
fn a_script_that_cannot_be_run_is_refused() {
    let mut world = watching("sentinel deny-scripts-reconfig no");
    let c = world.connect();
    let scripts = [
        ("notification-script", "Notification script"),
        ("client-reconfig-script", "Client reconfiguration script"),
    ];
    for (option, name) in scripts {
        let error = format!("-ERR {name} seems non existing or non executable\r\n");
        let set = |path: &str| format!("SENTINEL SET m quorum 2 {option} {path}");
        assert_eq!(world.request(c, &set("/notify")), "+OK\r\n");
        assert_eq!(world.request(c, &set("/gone")), error);
        let master = world.request(c, "SENTINEL MASTER m");
        assert!(master.contains(&format!("{option}\r\n$7\r\n/notify\r\n")), "{master}");
        assert_eq!(world.request(c, &set("''")), "+OK\r\n", "an empty path is none");
        assert!(!world.request(c, "SENTINEL MASTER m").contains(option));
    }
}

#[test]
fn a_script_that_runs_has_the_id_of_its_process() {
    let mut world = watching("sentinel notification-script m /notify");
    let c = world.connect();
    let scripts = world.request(c, "SENTINEL PENDING-SCRIPTS");
    let running = "flags\r\n$7\r\nrunning\r\n$3\r\npid\r\n$4\r\n1000\r\n";
    assert!(scripts.contains(running), "{scripts}");
}

#[test]
fn other_sentinels_get_the_password() {
    let id = "a".repeat(40);
    let cases = [
        ("requirepass ours", Some("*2\r\n$4\r\nAUTH\r\n$4\r\nours\r\n")),
        (
            "requirepass ours\nsentinel sentinel-pass theirs",
            Some("*2\r\n$4\r\nAUTH\r\n$6\r\ntheirs\r\n"),
        ),
        (
            "requirepass ours\nsentinel sentinel-pass theirs\nsentinel sentinel-user me",
            Some("*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$6\r\ntheirs\r\n"),
        ),
        // A user without a password is nobody.
        ("sentinel sentinel-user me", None),
    ];
    for (text, auth) in cases {
        let mut world = watching(&format!("sentinel known-sentinel m 10.0.0.2 26379 {id}\n{text}"));
        let links = world.connecting.clone();
        assert_eq!(links.len(), 3, "two to the master, one to the other Sentinel");
        let mut sent = Vec::new();
        for link in links {
            let ends = Endpoints::Tcp {
                peer: "10.0.0.2:26379".parse().expect("an address"),
                local: "10.0.0.3:4000".parse().expect("an address"),
            };
            world.connected(link, ends);
            sent.push(world.take(link));
        }
        let with_auth: Vec<&String> = sent.iter().filter(|bytes| bytes.contains("AUTH")).collect();
        assert_eq!(with_auth.len(), usize::from(auth.is_some()), "{text}: {sent:?}");
        assert!(with_auth.iter().all(|bytes| bytes.starts_with(auth.unwrap_or_default())));
        assert!(with_auth.iter().all(|bytes| bytes.contains("MYID")), "{text}: {sent:?}");
    }
}

#[test]
fn sentinel_config_changes_all_or_nothing() {
    let mut world = watching("");
    let c = world.connect();
    let refused = [
        (
            "loglevel debug announce-port x",
            "Invalid value 'x' to SENTINEL CONFIG SET 'announce-port'",
        ),
        ("announce-ip 10.1.1.1 loglevel x", "Invalid value 'x' to SENTINEL CONFIG SET 'loglevel'"),
        ("announce-ip 10.1.1.1 quorum 3", "Invalid argument 'quorum' to SENTINEL CONFIG SET"),
        (
            "announce-ip 10.1.1.1 Announce-IP ::1",
            "Duplicate argument 'Announce-IP' to SENTINEL CONFIG SET",
        ),
        ("loglevel debug announce-ip", "Missing argument 'announce-ip' value"),
    ];
    for (pairs, error) in refused {
        let reply = world.request(c, &format!("SENTINEL CONFIG SET {pairs}"));
        assert_eq!(reply, format!("-ERR {error}\r\n"));
    }
    let reply = world.request(c, "SENTINEL CONFIG GET announce-[ip]* LOGLEVEL");
    assert_eq!(
        reply,
        "*6\r\n$11\r\nannounce-ip\r\n$0\r\n\r\n$13\r\nannounce-port\r\n$1\r\n0\r\n$8\r\nloglevel\r\n$6\r\nnotice\r\n"
    );
    assert_eq!(world.request(c, "SENTINEL CONFIG SET announce-ip ::1 loglevel debug"), "+OK\r\n");
    let saved = &world.files["/sentinel.conf"];
    assert!(String::from_utf8_lossy(saved).contains("\nsentinel announce-ip ::1\n"), "{saved:?}");
}

#[test]
fn only_its_commands_exist() {
    let mut world = sentinel("");
    let c = world.connect();
    for line in ["GET key", "CONFIG GET *", "REPLICAOF NO ONE", "MULTI", "TIME", "DEBUG SLEEP 0"] {
        let (name, argument) = line.split_once(' ').unwrap_or((line, ""));
        let words = argument.split(' ').filter(|word| !word.is_empty());
        let quoted: String = words.map(|word| format!("'{word}' ")).collect();
        let error =
            format!("-ERR unknown command '{name}', with args beginning with: {quoted}\r\n");
        assert_eq!(world.request(c, line), error);
    }
    assert!(!world.log.iter().any(|line| line.contains("does not have")), "{:?}", world.log);
    assert_eq!(world.request(c, "PING"), "+PONG\r\n");
    assert_eq!(world.request(c, "ROLE"), "*2\r\n$8\r\nsentinel\r\n*0\r\n");
    assert_eq!(world.request(c, "COMMAND INFO get hello|x get"), "*3\r\n$-1\r\n$-1\r\n$-1\r\n");
    assert_eq!(world.request(c, "COMMAND GETKEYS GET a"), "-ERR Invalid command specified\r\n");
    let listed = world.request(c, "COMMAND LIST");
    assert!(listed.contains("\r\nclient|kill\r\n") && !listed.contains("\r\nget\r\n"));
    assert!(world.request(c, "QUIT").starts_with("+OK"));
}

#[test]
fn a_server_has_no_command_of_sentinels() {
    let mut world = Driver::new("");
    let c = world.connect();
    assert!(world.request(c, "SENTINEL masters").starts_with("-ERR unknown command 'SENTINEL'"));
    assert_eq!(world.request(c, "COMMAND INFO sentinel"), "*1\r\n$-1\r\n");
    assert_eq!(world.request(c, "INFO sentinel"), "$0\r\n\r\n");
    assert!(!world.request(c, "INFO everything").contains("# Sentinel"));
}

#[test]
fn it_names_its_mode() {
    let mut world = sentinel("");
    let c = world.connect();
    let hello = world.request(c, "HELLO 2");
    assert!(hello.starts_with("*12\r\n") && !hello.contains("role"), "{hello}");
    assert!(hello.contains("\r\nmode\r\n$8\r\nsentinel\r\n"), "{hello}");
    let info = world.request(c, "INFO");
    assert!(info.contains("redis_mode:sentinel\r\n"), "{info}");
    let section = "\r\n\r\n# Sentinel\r\nsentinel_masters:0\r\nsentinel_tilt:0\r\n\
                   sentinel_tilt_since_seconds:-1\r\nsentinel_running_scripts:0\r\n\
                   sentinel_scripts_queue_length:0\r\nsentinel_simulate_failure_flags:0\r\n";
    assert!(info.contains(section), "{info}");
    assert!(!info.contains("# Replication"), "{info}");
}

#[test]
fn only_greetings_may_be_published() {
    let mut world = sentinel("");
    let (c, subscriber) = (world.connect(), world.connect());
    world.request(subscriber, "PSUBSCRIBE *");
    let refused = "-ERR Only HELLO messages are accepted by Sentinel instances.\r\n";
    assert_eq!(world.request(c, "PUBLISH news x"), refused);
    assert_eq!(world.request(c, "PUBLISH __sentinel__:hello x"), ":1\r\n");
    assert_eq!(world.take(subscriber), "");
}

#[test]
fn it_neither_follows_nor_saves() {
    let mut world = sentinel("replicaof 127.0.0.1 7000\nsave 1 1\nappendonly yes\n");
    assert_eq!((&world.ready[..], world.connecting.len()), (&[false][..], 0));
    world.advance_ms(10_000);
    let c = world.connect();
    world.send(c, b"SHUTDOWN SAVE\r\n");
    assert_eq!((world.exit, world.files.len(), world.requests.received.len()), (Some(0), 0, 0));
    assert_eq!(world.log.last().unwrap(), "Sentinel is now ready to exit, bye bye...");
    assert_eq!(world.log_role, 'X');
    assert!(!world.log.iter().any(|line| line.contains("Ready to accept")), "{:?}", world.log);
}

#[test]
fn the_journal_goes_on_after_a_restart() {
    let old = "2022-01-02T03:04:05.678Z m epoch 7 +odown master m 10.0.0.1 6379 #quorum 2/2\n";
    let mut world = watching_again("", format!("damaged\n{old}").as_bytes());
    let c = world.connect();
    let events = world.request(c, "SENTINEL EVENTS m");
    let [before, after] = ["2022-01-02T03:04:05.678Z", "+monitor"].map(|word| events.find(word));
    assert!(before.is_some() && before < after, "{events}");
    assert!(events.contains("\r\nepoch\r\n:7\r\n"), "{events}");
    world.advance_ms(1100);
    let file = String::from_utf8_lossy(&world.files["/sentinel.conf.journal"]).into_owned();
    assert!(file.starts_with(old) && file.contains(" m epoch 0 +monitor master m "), "{file}");
    let mut again = watching_again("", file.as_bytes());
    again.advance_ms(1100);
    let longer = String::from_utf8_lossy(&again.files["/sentinel.conf.journal"]).into_owned();
    assert!(longer.starts_with(&file) && longer.matches(" +monitor ").count() == 2, "{longer}");
}

#[test]
fn a_journal_that_cannot_be_written_is_reported_once() {
    let mut world = watching("");
    let reports = |world: &Driver| {
        let text = "The journal's file cannot be written: no space";
        world.log.iter().filter(|line| *line == text).count()
    };
    world.requests.fails_with = Some("no space".into());
    world.advance_ms(1100);
    assert_eq!(reports(&world), 1);
    let c = world.connect();
    let monitor = |world: &mut Driver, name: &str, port: u16| {
        world.request(c, &format!("SENTINEL MONITOR {name} 10.0.0.9 {port} 1"));
        world.advance_ms(1100);
    };
    monitor(&mut world, "a", 1);
    assert_eq!(reports(&world), 1);
    world.requests.fails_with = None;
    monitor(&mut world, "b", 2);
    let file = String::from_utf8_lossy(&world.files["/sentinel.conf.journal"]).into_owned();
    assert!(file.contains(" a epoch 0 +monitor ") && file.contains(" b epoch 0 +monitor "));
}
