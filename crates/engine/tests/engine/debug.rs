//! DEBUG.

use russet_driver::peers::{ID, dump, syncing_replica};
use russet_driver::{Driver, Files};

const DEBUG: &str = "enable-debug-command yes\nsave \"\"\n";

#[test]
fn debug_is_refused_unless_enabled() {
    let mut w = Driver::new("");
    let c = w.connect();
    let refusal = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \
                   \"local\", you can run it from a local connection, otherwise you need to set \
                   this option in the configuration file, and then restart the server.\r\n";
    assert_eq!(w.request(c, "DEBUG DIGEST"), refusal);
    assert_eq!(w.request(c, "DEBUG HELP"), refusal);
    assert_eq!(
        w.request(c, "CONFIG SET dbfilename x.rdb"),
        "-ERR CONFIG SET failed (possibly related to argument 'dbfilename') - can't set protected config\r\n"
    );
    let mut w = Driver::new("enable-debug-command local\nprotected-mode no\n");
    let (near, far) = (w.connect(), w.connect_from("192.0.2.7:50000"));
    assert_eq!(w.request(far, "DEBUG DIGEST"), refusal);
    assert_eq!(w.request(near, "DEBUG DIGEST"), format!("+{}\r\n", "0".repeat(40)));
    assert_eq!(
        w.request(near, "DEBUG JMAP"),
        "-ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.\r\n"
    );
}

/// The digits are those of redis-server 7.0.15 after the same commands.
#[test]
fn digests_equal_those_of_stock_servers() {
    let mut w = Driver::new(DEBUG);
    let c = w.connect();
    w.request(c, "SET a 1");
    w.request(c, "SET b hello");
    w.request(c, "SELECT 3");
    w.request(c, "SET c world PX 100000000");
    assert_eq!(w.request(c, "DEBUG DIGEST"), "+c463c1dba81bc732dc62772640881ccbccc63914\r\n");
    assert_eq!(
        w.request(c, "DEBUG DIGEST-VALUE c nosuchkey"),
        format!("*2\r\n+9b57a64cff36f9a962c2df21b924b0916c6e2b53\r\n+{}\r\n", "0".repeat(40))
    );
    assert_eq!(w.request(c, "DEBUG RELOAD"), "+OK\r\n");
    assert_eq!(w.request(c, "DEBUG DIGEST"), "+c463c1dba81bc732dc62772640881ccbccc63914\r\n");
}

#[test]
fn protocol_shows_each_type_in_both_versions() {
    let mut w = Driver::new(DEBUG);
    let c = w.connect();
    let text = "$37\r\n1234567999999999999999999999999999999\r\n";
    let attributes = "|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n";
    let with = "$39\r\nSome real reply following the attribute\r\n";
    let table = [
        ("string", "$11\r\nHello World\r\n", "$11\r\nHello World\r\n"),
        ("integer", ":12345\r\n", ":12345\r\n"),
        ("double", "$5\r\n3.141\r\n", ",3.141\r\n"),
        ("bignum", text, "(1234567999999999999999999999999999999\r\n"),
        ("null", "$-1\r\n", "_\r\n"),
        ("array", "*3\r\n:0\r\n:1\r\n:2\r\n", "*3\r\n:0\r\n:1\r\n:2\r\n"),
        ("set", "*3\r\n:0\r\n:1\r\n:2\r\n", "~3\r\n:0\r\n:1\r\n:2\r\n"),
        (
            "map",
            "*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n",
            "%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n",
        ),
        ("attrib", with, &format!("{attributes}{with}")),
        (
            "push",
            "-ERR RESP2 is not supported by this command\r\n",
            ">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\nSome real reply following the push reply\r\n",
        ),
        (
            "verbatim",
            "$25\r\nThis is a verbatim\nstring\r\n",
            "=29\r\ntxt:This is a verbatim\nstring\r\n",
        ),
        ("true", ":1\r\n", "#t\r\n"),
        ("false", ":0\r\n", "#f\r\n"),
    ];
    for (name, resp2, resp3) in table {
        w.request(c, "HELLO 2");
        assert_eq!(w.request(c, &format!("DEBUG PROTOCOL {name}")), resp2, "{name}");
        w.request(c, "HELLO 3");
        assert_eq!(w.request(c, &format!("DEBUG PROTOCOL {name}")), resp3, "{name}");
    }
    assert!(
        w.request(c, "DEBUG PROTOCOL x").starts_with("-ERR Wrong protocol type name. Please use")
    );
}

#[test]
fn reload_replaces_or_merges_the_data() {
    let mut w = Driver::new(DEBUG);
    let (c, d) = (w.connect(), w.connect());
    w.request(c, "SET a 1");
    w.request(c, "SAVE");
    w.request(c, "SET b 2");
    let fails = "-ERR Error trying to load the RDB dump, check server logs.\r\n";
    assert_eq!(w.request(c, "DEBUG RELOAD NOSAVE NOFLUSH"), fails, "`a` is in both");
    assert_eq!(w.request(c, "DBSIZE"), ":2\r\n");
    w.request(c, "SET a 7");
    assert_eq!(w.request(c, "DEBUG RELOAD NOSAVE NOFLUSH MERGE"), "+OK\r\n");
    assert_eq!(w.request(c, "MGET a b"), "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    assert_eq!(w.request(c, "DEBUG RELOAD NOSAVE"), "+OK\r\n");
    assert_eq!(w.request(c, "MGET a b"), "*2\r\n$1\r\n1\r\n$-1\r\n");
    w.request(c, "CONFIG RESETSTAT");
    assert!(w.request(c, "INFO persistence").contains("rdb_last_load_keys_loaded:1\r\n"));
    let good = w.files["dump.rdb"].clone();
    w.files.get_mut("dump.rdb").expect("it was saved").truncate(good.len() - 3);
    assert_eq!(w.request(c, "DEBUG RELOAD NOSAVE"), fails);
    w.files.clear();
    assert_eq!(w.request(c, "DEBUG RELOAD NOSAVE"), fails);
    assert_eq!(w.request(c, "GET a"), "$1\r\n1\r\n", "a bad file never replaces good data");
    w.snapshots.errors.push_back("No space left on device".to_owned());
    assert_eq!(w.request(c, "DEBUG RELOAD"), fails);
    assert!(w.request(c, "DEBUG RELOAD X").starts_with("-ERR DEBUG RELOAD only supports"));
    // It waits for a running save, and no write can happen in between.
    w.snapshots.held = true;
    assert_eq!(w.request(c, "BGSAVE"), "+Background saving started\r\n");
    w.request(c, "SET late 1");
    assert_eq!(w.request(c, "DEBUG RELOAD"), "");
    w.deliver_saves();
    assert_eq!(w.request(d, "SET d 1"), "", "nobody is served");
    assert_eq!(w.take(c), "");
    w.deliver_saves();
    assert_eq!((w.take(c), w.take(d)), ("+OK\r\n".to_owned(), "+OK\r\n".to_owned()));
    assert_eq!(w.request(c, "EXISTS a late d"), ":3\r\n");
}

#[test]
fn commands_that_wait_for_the_driver_work_within_a_transaction() {
    let mut w = Driver::new(DEBUG);
    let (c, d) = (w.connect(), w.connect());
    let queue = |w: &mut Driver| {
        w.request(c, "MULTI");
        w.request(c, "SET a 1");
        w.request(c, "DEBUG RELOAD");
        w.request(c, "CONFIG SET maxclients 77");
        w.request(c, "INCR a");
        w.request(c, "DEBUG SLEEP 0.5");
        w.request(c, "INCR a");
    };
    queue(&mut w);
    assert_eq!(w.request(c, "SAVE"), "-ERR Command not allowed inside a transaction\r\n");
    w.request(c, "DISCARD");
    queue(&mut w);
    w.requests.held = true;
    assert_eq!(w.request(c, "EXEC"), "*6\r\n+OK\r\n+OK\r\n");
    assert_eq!(w.request(d, "GET a"), "", "it is atomic for all that");
    w.answer();
    assert_eq!(w.take(c), "+OK\r\n:2\r\n");
    w.advance_ms(499);
    assert_eq!(w.take(c), "");
    w.advance_ms(1);
    assert_eq!(w.take(c), "+OK\r\n:3\r\n");
    assert_eq!(w.take(d), "$1\r\n3\r\n");
    // The transaction of a client that disconnects is completed.
    queue(&mut w);
    w.snapshots.held = true;
    w.send(c, b"EXEC\r\n");
    w.disconnect(c);
    w.deliver_saves();
    w.advance_ms(500);
    assert_eq!(w.request(d, "GET a"), "$1\r\n3\r\n");
    assert_eq!(w.request(d, "CONFIG GET maxclients"), "*2\r\n$10\r\nmaxclients\r\n$2\r\n77\r\n");
    assert_eq!(w.node.parts.clients.len(), 1);
}

#[test]
fn inspecting_keys_does_not_touch_them() {
    let mut w = Driver::new(DEBUG);
    let c = w.connect();
    w.request(c, "SET n 300");
    w.request(c, &format!("SET s {}", "x".repeat(100)));
    w.advance_ms(5000);
    let found = w.request(c, "DEBUG OBJECT n");
    assert!(found.starts_with("+Value at:0x"), "{found}");
    assert!(found.contains(" refcount:1 encoding:int serializedlength:3 lru:"), "{found}");
    assert!(found.ends_with(" lru_seconds_idle:5\r\n"), "{found}");
    let found = w.request(c, "DEBUG OBJECT s");
    assert!(found.contains(" encoding:raw serializedlength:9 "), "{found}");
    assert_eq!(w.request(c, "DEBUG OBJECT none"), "-ERR no such key\r\n");
    assert!(w.request(c, "DEBUG HTSTATS 0").contains("\n number of elements: 2\n"));
    assert!(w.request(c, "DEBUG HTSTATS 1").contains("No stats available for empty dictionaries"));
    assert_eq!(w.request(c, "DEBUG HTSTATS 16"), "-ERR Out of range database\r\n");
    assert_eq!(w.request(c, "DEBUG HTSTATS-KEY none"), "-ERR no such key\r\n");
    assert_eq!(
        w.request(c, "DEBUG HTSTATS-KEY n"),
        "-ERR The value stored at the specified key is not represented using an hash table\r\n"
    );
}

#[test]
fn populate_adds_missing_keys() {
    let mut w = Driver::new(DEBUG);
    let c = w.connect();
    w.request(c, "SET key:1 mine");
    assert_eq!(w.request(c, "DEBUG POPULATE 3"), "+OK\r\n");
    assert_eq!(
        w.request(c, "MGET key:0 key:1 key:2"),
        "*3\r\n$7\r\nvalue:0\r\n$4\r\nmine\r\n$7\r\nvalue:2\r\n"
    );
    assert_eq!(w.request(c, "DEBUG POPULATE 1 p 3"), "+OK\r\n");
    assert_eq!(w.request(c, "DEBUG POPULATE 1 q 10"), "+OK\r\n");
    assert_eq!(w.request(c, "MGET p:0 q:0"), "*2\r\n$3\r\nval\r\n$10\r\nvalue:0\0\0\0\r\n");
    let negative = "-ERR value is out of range, must be positive\r\n";
    assert_eq!(w.request(c, "DEBUG POPULATE -1"), negative);
    assert_eq!(w.request(c, "DEBUG POPULATE x"), negative);
    let long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
    assert_eq!(w.request(c, "DEBUG POPULATE 1 p 99999999999999"), long);
}

#[test]
fn sleep_and_disabled_expiry() {
    let mut w = Driver::new(DEBUG);
    let (c, d) = (w.connect(), w.connect());
    assert_eq!(w.request(c, "DEBUG SET-ACTIVE-EXPIRE 0"), "+OK\r\n");
    w.request(c, "SET a 1 PX 10");
    w.advance_ms(1000);
    assert_eq!(w.request(c, "DBSIZE"), ":1\r\n");
    assert_eq!(w.request(c, "DEBUG SET-ACTIVE-EXPIRE 1"), "+OK\r\n");
    assert_eq!(w.request(c, "DEBUG PAUSE-CRON 1"), "+OK\r\n");
    w.advance_ms(1000);
    assert_eq!(w.request(c, "DBSIZE"), ":1\r\n");
    assert_eq!(w.request(c, "DEBUG PAUSE-CRON 0"), "+OK\r\n");
    w.advance_ms(1000);
    assert_eq!(w.request(c, "DBSIZE"), ":0\r\n");
    for nonsense in ["x", "-1", "nan"] {
        assert_eq!(w.request(c, &format!("DEBUG SLEEP {nonsense}")), "");
        w.advance_ms(1);
        assert_eq!(w.take(c), "+OK\r\n");
    }
    assert_eq!(w.request(c, "DEBUG SLEEP 2"), "");
    assert_eq!(w.request(d, "PING"), "");
    w.disconnect(c);
    w.advance_ms(1999);
    assert_eq!(w.take(d), "");
    w.advance_ms(1);
    assert_eq!(w.take(d), "+PONG\r\n");
}

#[test]
fn other_subcommands() {
    let mut w = Driver::new(DEBUG);
    let c = w.connect();
    assert_eq!(w.request(c, "DEBUG ERROR \"MY error\\r\\ntext\""), "-MY error  text\r\n");
    assert_eq!(w.request(c, "DEBUG LOG hello"), "+OK\r\n");
    assert!(w.log.iter().any(|line| line == "DEBUG LOG: hello"));
    let id = w.node.parts.master.stream.ids.id.clone();
    assert_eq!(w.request(c, "DEBUG CHANGE-REPL-ID"), "+OK\r\n");
    assert_ne!(w.node.parts.master.stream.ids.id, id);
    assert_eq!(w.request(c, "DEBUG REPLICATE SET a 1"), "+OK\r\n");
    assert_eq!(w.request(c, "EXISTS a"), ":0\r\n");
    assert!(w.request(c, "DEBUG STRINGMATCH-TEST").ends_with("test passed\r\n"));
    assert!(
        w.request(c, "DEBUG HELP").starts_with(
            "*45\r\n+DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n"
        )
    );
    for line in ["SLEEP", "sleep 1 2", "OBJECT k fast x", "POPULATE 1 p 2 x", "HELP x", "NONE"] {
        let (word, _) = line.split_once(' ').unwrap_or((line, ""));
        let error = format!(
            "-ERR unknown subcommand or wrong number of arguments for '{word}'. Try DEBUG HELP.\r\n"
        );
        assert_eq!(w.request(c, &format!("DEBUG {line}")), error);
    }
}

/// Appends an entry to a dump file: an opcode or a type byte, and what follows it.
fn append(file: &mut Vec<u8>, entry: &[u8]) {
    file.truncate(file.len() - 9);
    file.extend_from_slice(entry);
    // The end, and no checksum.
    file.extend_from_slice(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/// A string `x` for the key `a`.
const AGAIN: &[u8] = b"\0\x01a\x01x";
const TWICE: &str = "RDB has duplicated key 'a' in DB 0";

#[test]
fn a_key_that_a_file_has_twice_is_refused() {
    let many: Vec<String> = (0..100).map(|at| format!("key:{at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain(["a"]).collect();
    let slot_info = [b"\xf4\x01\x01\x00", AGAIN].concat();
    let long = [b"\0\x01a\x42\x58".as_slice(), &[b'x'; 0x258]].concat();
    for (keys, entry) in
        [(&["a"][..], AGAIN), (&many, AGAIN), (&["a"], &slot_info), (&["a"], &long)]
    {
        let mut file = dump(keys);
        append(&mut file, entry);
        let files = Files::from([("dump.rdb".to_owned(), file.clone())]);
        let started = Driver::with_files(DEBUG, files);
        assert_eq!(started.exit, Some(1));
        assert!(started.log.iter().any(|line| line.contains(TWICE)), "{:?}", started.log);

        let mut w = Driver::new(DEBUG);
        let c = w.connect();
        w.request(c, "SET old 1");
        w.files.insert("dump.rdb".to_owned(), file.clone());
        let fails = "-ERR Error trying to load the RDB dump, check server logs.\r\n";
        assert_eq!(w.request(c, "DEBUG RELOAD NOSAVE"), fails);
        assert_eq!(w.request(c, "DEBUG RELOAD NOSAVE NOFLUSH"), fails);
        assert_eq!(w.request(c, "KEYS *"), "*1\r\n$3\r\nold\r\n");
        assert_eq!(w.request(c, "DEBUG RELOAD NOSAVE NOFLUSH MERGE"), "+OK\r\n");
        assert!(w.request(c, "GET a").contains('x'), "the last one counts");
        let loaded = format!("rdb_last_load_keys_loaded:{}\r\n", keys.len());
        assert!(w.request(c, "INFO persistence").contains(&loaded));

        let (mut replica, link) = syncing_replica("");
        let payload = format!("+FULLRESYNC {ID} 100\r\n${}\r\n", file.len()).into_bytes();
        replica.send(link, &[payload, file].concat());
        assert_eq!(replica.closed, [link]);
        assert!(replica.log.iter().any(|line| line.contains(TWICE)), "{:?}", replica.log);
    }
}

#[test]
fn the_same_key_in_two_databases_is_no_duplicate() {
    let mut file = dump(&["a"]);
    append(&mut file, &[b"\xfe\x01", AGAIN].concat());
    let mut w = Driver::with_files(DEBUG, Files::from([("dump.rdb".to_owned(), file)]));
    let c = w.connect();
    assert_eq!(w.request(c, "INFO keyspace").matches("keys=1").count(), 2);
}
