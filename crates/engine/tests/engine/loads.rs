//! Loading a dump file or a payload: progress, log lines, `key-load-delay`, and files that are damaged.

use russet_driver::peers::{self, ID, connected, dump, replica, syncing_replica};
use russet_driver::{Driver, Files};
use russet_engine::config::Config;
use russet_engine::io::Handle;
use russet_engine::node::Boot;

/// A dump file with this many keys.
fn dump_of(keys: usize) -> Vec<u8> {
    let keys: Vec<String> = (0..keys).map(|key| format!("key:{key}")).collect();
    dump(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A node that has not begun to load this dump file; its reader delivers nothing by itself.
fn starting(conf: &str, bytes: Vec<u8>) -> Driver {
    let config = Config::parse_text(conf.as_bytes()).expect("the test's conf").config;
    let boot = Boot { load: true, ..Boot::default() };
    let files = Files::from([("dump.rdb".to_owned(), bytes)]);
    let mut w = Driver::idle(config, boot, files, russet_driver::START);
    w.reads.held = true;
    w.run();
    w
}

/// A field of INFO's persistence section.
fn field(w: &mut Driver, c: Handle, name: &str) -> Option<String> {
    let text = w.request(c, "INFO persistence");
    let of = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned);
    text.lines().find_map(of)
}

fn number(w: &mut Driver, c: Handle, name: &str) -> u64 {
    let text = field(w, c, name).unwrap_or_else(|| panic!("no field {name}"));
    text.parse().unwrap_or_else(|_| panic!("{name}:{text}"))
}

#[test]
fn a_load_at_the_start_reports_its_progress_and_serves_clients() {
    let bytes = dump_of(1000);
    let len = bytes.len() as u64;
    let mut w = starting("save \"\"\n", bytes);
    let c = w.connect();
    assert_eq!(number(&mut w, c, "loading"), 1);
    w.deliver_reads(101);
    w.jump(std::time::Duration::from_secs(7));
    assert_eq!(number(&mut w, c, "loading_total_bytes"), len);
    assert_eq!(number(&mut w, c, "loading_loaded_bytes"), 6400, "100 pieces of 64 bytes");
    assert!(number(&mut w, c, "loading_rdb_used_mem") > 0, "the file says so");
    let percent = format!("{:.2}", 6400.0 * 100.0 / len as f64);
    assert_eq!(field(&mut w, c, "loading_loaded_perc"), Some(percent));
    assert_eq!(number(&mut w, c, "loading_start_time"), 1_700_000_000);
    assert_eq!(number(&mut w, c, "loading_eta_seconds"), 7 * (len - 6400) / 6401);
    assert_eq!(number(&mut w, c, "async_loading"), 0);
    let refused = w.request(c, "GET key:1");
    assert_eq!(refused, "-LOADING Redis is loading the dataset in memory\r\n");
    w.deliver_reads(usize::MAX);
    assert_eq!(number(&mut w, c, "loading"), 0);
    assert_eq!(field(&mut w, c, "loading_start_time"), None);
    assert_eq!(number(&mut w, c, "rdb_last_load_keys_loaded"), 1000);
    assert_eq!(w.request(c, "DBSIZE"), ":1000\r\n");
}

#[test]
fn the_log_says_what_was_loaded_and_what_the_file_says_about_itself() {
    let mut w = Driver::with_files("", Files::from([("dump.rdb".to_owned(), dump_of(3))]));
    w.advance_ms(1);
    let lines = w.log.join("\n");
    for expected in [
        "Loading RDB produced by version 7.2.4",
        "RDB age 0 seconds",
        "RDB memory usage when created 0.00 Mb",
        "Done loading RDB, keys loaded: 3, keys expired: 0.",
        "DB loaded from disk: 0.000 seconds",
    ] {
        assert!(lines.contains(expected), "{expected}: {lines}");
    }
    let (w, _) = replica("", &["a"]);
    let lines = w.log.join("\n");
    for expected in [
        "MASTER <-> REPLICA sync: Loading DB in memory",
        "Loading RDB produced by version 7.2.4",
        "Done loading RDB, keys loaded: 1, keys expired: 0.",
        "MASTER <-> REPLICA sync: Finished with success",
    ] {
        assert!(lines.contains(expected), "{expected}: {lines}");
    }
}

/// A file without a checksum that says about itself, again and again, what it likes.
#[test]
fn a_file_cannot_flood_the_log_or_forge_lines() {
    let mut bytes = b"REDIS0011".to_vec();
    let mut aux = |name: &str, value: &str| {
        bytes.push(0xfa);
        for text in [name, value] {
            bytes.push(text.len() as u8);
            bytes.extend_from_slice(text.as_bytes());
        }
    };
    for _ in 0..1000 {
        aux("redis-ver", "7\n1:M * forged");
        aux("ctime", "-9223372036854775808");
        aux("used-mem", "18446744073709551615");
        aux("valkey-ver", "8.1.0");
    }
    bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let mut w = Driver::with_files("", Files::from([("dump.rdb".to_owned(), bytes)]));
    let c = w.connect();
    assert_eq!(w.request(c, "DBSIZE"), ":0\r\n");
    let about = w.log.iter().filter(|line| line.contains("RDB") && !line.contains("Done"));
    assert_eq!(about.count(), 8, "{:?}", w.log);
    assert!(w.log.iter().any(|line| line.ends_with("version 7\\n1:M * forged")), "{:?}", w.log);
    assert!(w.log.iter().any(|line| line.ends_with("by Valkey version 8.1.0")), "{:?}", w.log);
}

#[test]
fn a_full_synchronization_reports_its_progress_while_old_data_is_served() {
    let payload = dump_of(2000);
    for (header, total) in [
        (format!("${}", payload.len()), payload.len() as u64),
        ("$EOF:0123456789012345678901234567890123456789".to_owned(), 0),
    ] {
        let (mut w, link) = replica("", &["old"]);
        let c = w.connect();
        w.disconnect(link);
        w.advance_ms(2000);
        let link = peers::link(&w).expect("it reconnects");
        connected(&mut w, link);
        w.send(link, format!("+FULLRESYNC {ID} 5\r\n{header}\r\n").as_bytes());
        w.send(link, &payload[..10_000]);
        assert_eq!(number(&mut w, c, "loading"), 0);
        assert_eq!(number(&mut w, c, "async_loading"), 1);
        assert_eq!(number(&mut w, c, "loading_total_bytes"), total);
        assert_eq!(number(&mut w, c, "loading_loaded_bytes"), 10_000);
        // Without a known length, the memory that the data used is an estimate.
        let used = number(&mut w, c, "loading_rdb_used_mem");
        let of = if total == 0 { used } else { total };
        let percent = format!("{:.2}", (10_000.0 * 100.0 / of as f64).min(99.99));
        assert_eq!(field(&mut w, c, "loading_loaded_perc"), Some(percent));
        assert_eq!(w.request(c, "GET old"), "$3\r\nold\r\n");
        w.send(link, &payload[10_000..]);
        w.send(link, header.strip_prefix("$EOF:").unwrap_or_default().as_bytes());
        assert_eq!(number(&mut w, c, "async_loading"), 0);
        assert_eq!(field(&mut w, c, "loading_total_bytes"), None);
        assert_eq!(w.request(c, "DBSIZE"), ":2000\r\n");
    }
}

#[test]
fn the_load_of_an_append_only_file_reports_its_progress() {
    let sets = (0..200).map(|key| peers::command(&["SET", &format!("key:{key}"), "value"]));
    let files = Files::from([
        (
            "appendonlydir/appendonly.aof.manifest".to_owned(),
            b"file appendonly.aof.1.incr.aof seq 1 type i\n".to_vec(),
        ),
        ("appendonlydir/appendonly.aof.1.incr.aof".to_owned(), sets.collect::<Vec<_>>().concat()),
    ]);
    let len = files["appendonlydir/appendonly.aof.1.incr.aof"].len() as u64;
    let config = Config::parse_text(b"appendonly yes\n").expect("the test's conf").config;
    let boot = Boot { load: true, ..Boot::default() };
    let mut w = Driver::idle(config, boot, files, russet_driver::START);
    w.reads.held = true;
    w.run();
    let c = w.connect();
    while w.reads.paths.last().is_none_or(|path| !path.contains(".incr.")) {
        assert!(!w.reads.held_events.is_empty(), "{:?} {:?}", w.reads.paths, w.log);
        w.deliver_reads(1);
    }
    w.deliver_reads(20);
    assert_eq!(number(&mut w, c, "loading"), 1);
    assert_eq!(number(&mut w, c, "loading_total_bytes"), len);
    assert_eq!(number(&mut w, c, "loading_loaded_bytes"), 19 * 64, "as many pieces");
    while w.node.parts.loading.is_loading() {
        assert!(!w.reads.held_events.is_empty());
        w.deliver_reads(1);
    }
    assert_eq!(w.request(c, "DBSIZE"), ":200\r\n");
}

#[test]
fn key_load_delay_slows_a_load_down() {
    let mut w = starting("save \"\"\nkey-load-delay 10000\n", dump_of(100));
    let c = w.connect();
    w.deliver_reads(usize::MAX);
    w.advance_ms(500);
    assert_eq!(number(&mut w, c, "loading"), 1, "a hundred keys take a second");
    w.advance_ms(1000);
    assert_eq!(number(&mut w, c, "loading"), 0);
    assert_eq!(w.request(c, "DBSIZE"), ":100\r\n");
    // A negative one is a fraction of a microsecond.
    let mut w = starting("save \"\"\nkey-load-delay -10\n", dump_of(100));
    let c = w.connect();
    w.deliver_reads(usize::MAX);
    w.advance_ms(1);
    assert_eq!(number(&mut w, c, "loading"), 0);
    // A change has an effect on a load that waits.
    let mut w = starting("save \"\"\nkey-load-delay 2000000000\n", dump_of(100));
    let c = w.connect();
    w.deliver_reads(usize::MAX);
    w.advance_ms(10_000);
    assert_eq!(number(&mut w, c, "loading"), 1);
    assert_eq!(w.request(c, "CONFIG SET key-load-delay 0"), "+OK\r\n");
    w.advance_ms(200);
    assert_eq!(number(&mut w, c, "loading"), 0);
}

#[test]
fn key_load_delay_slows_a_full_synchronization_down() {
    let (mut w, link) = syncing_replica("key-load-delay 10000\nrepl-timeout 5\n");
    let c = w.connect();
    let payload = dump_of(1000);
    let header = format!("+FULLRESYNC {ID} 5\r\n${}\r\n", payload.len());
    w.send(link, &[header.as_bytes(), &payload].concat());
    w.advance_ms(8000);
    assert_eq!(number(&mut w, c, "async_loading"), 1, "a thousand keys take ten seconds");
    assert!(number(&mut w, c, "loading_loaded_bytes") > payload.len() as u64 / 2);
    w.advance_ms(4000);
    assert_eq!(number(&mut w, c, "async_loading"), 0);
    assert_eq!(w.request(c, "DBSIZE"), ":1000\r\n");
}

/// All damages of the last bytes of a file, of which the parts before are good: the mark of the end and the checksum
/// behind it, changed or missing.
fn damaged_at_the_end(good: &[u8]) -> Vec<Vec<u8>> {
    let flipped = (1..=9).flat_map(|back| {
        (0..8).map(move |bit| {
            let mut bytes = good.to_vec();
            bytes[good.len() - back] ^= 1 << bit;
            bytes
        })
    });
    let cut = (1..=9).map(|missing| good[..good.len() - missing].to_vec());
    flipped.chain(cut).collect()
}

#[test]
fn a_file_damaged_in_its_last_bytes_is_refused_at_the_start_and_stays() {
    for bytes in damaged_at_the_end(&dump_of(3)) {
        let mut w = starting("save 1 1\n", bytes.clone());
        w.deliver_reads(usize::MAX);
        w.advance_ms(5000);
        assert_eq!(w.exit, Some(1), "{:x?}", &bytes[bytes.len() - 9..]);
        assert!(w.ready.is_empty());
        assert_eq!(w.files["dump.rdb"], bytes);
        let named =
            w.log.iter().any(|line| line.starts_with("dump.rdb: ") && line.contains("offset"));
        assert!(named, "{:?}", w.log);
    }
}

#[test]
fn a_damaged_checksum_is_called_a_crc_error() {
    let mut bytes = dump_of(3);
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    let mut w = starting("", bytes);
    w.deliver_reads(usize::MAX);
    assert!(w.log.iter().any(|line| line.contains("RDB CRC error")), "{:?}", w.log);
}

#[test]
fn debug_reload_of_a_damaged_file_keeps_the_data() {
    let good = dump_of(3);
    for bytes in damaged_at_the_end(&good) {
        let mut w = Driver::new("enable-debug-command yes\nsave \"\"\n");
        let c = w.connect();
        w.request(c, "SET old 1");
        w.files.insert("dump.rdb".to_owned(), bytes);
        let reply = w.request(c, "DEBUG RELOAD NOSAVE");
        assert_eq!(reply, "-ERR Error trying to load the RDB dump, check server logs.\r\n");
        assert_eq!(w.request(c, "KEYS *"), "*1\r\n$3\r\nold\r\n");
    }
    // For tests of others' files the checksum can be ignored.
    let mut w = Driver::new("enable-debug-command yes\nsave \"\"\n");
    let c = w.connect();
    let mut bytes = good;
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    w.files.insert("dump.rdb".to_owned(), bytes);
    assert_eq!(w.request(c, "DEBUG SET-SKIP-CHECKSUM-VALIDATION 1"), "+OK\r\n");
    assert_eq!(w.request(c, "DEBUG RELOAD NOSAVE"), "+OK\r\n");
    assert_eq!(w.request(c, "DEBUG SET-SKIP-CHECKSUM-VALIDATION 0"), "+OK\r\n");
    assert!(w.request(c, "DEBUG RELOAD NOSAVE").starts_with("-ERR"));
}

#[test]
fn a_payload_damaged_in_its_last_bytes_keeps_the_old_data() {
    for bytes in damaged_at_the_end(&dump_of(3)) {
        let (mut w, link) = syncing_replica("repl-diskless-load swapdb\n");
        let c = w.connect();
        w.send(link, &peers::payload(&["old"]));
        w.disconnect(link);
        w.advance_ms(2000);
        let link = peers::link(&w).expect("it reconnects");
        connected(&mut w, link);
        w.send(link, format!("+FULLRESYNC {ID} 5\r\n${}\r\n", bytes.len()).as_bytes());
        w.send(link, &bytes);
        // What is too short is found to be so at its end, or with the next byte.
        w.send(link, b"*");
        assert!(w.closed.contains(&link), "{:x?}", &bytes[bytes.len() - 9..]);
        assert_eq!(w.request(c, "KEYS *"), "*1\r\n$3\r\nold\r\n");
    }
}

#[test]
fn restore_of_a_malformed_value_is_explained_in_the_log() {
    let mut w = Driver::new("loglevel verbose\n");
    let c = w.connect();
    // A hash as a ziplist with an entry that leaves it.
    let payload = b"\x0D\x1B\x1B\x00\x00\x00\x16\x00\x00\x00\x04\x00\x00\x02\x61\x00\x04\x02\x62\x00\x04\x14\x63\
        \x00\x04\x02\x64\x00\xFF\x09\x00\xD9\x10\x54\x92\x15\xF5\x5F\x52";
    let mut request = b"*4\r\n$7\r\nRESTORE\r\n$1\r\nk\r\n$1\r\n0\r\n".to_vec();
    request.extend_from_slice(format!("${}\r\n", payload.len()).as_bytes());
    request.extend_from_slice(payload);
    request.extend_from_slice(b"\r\n");
    w.send(c, &request);
    assert_eq!(w.take(c), "-ERR Bad data format\r\n");
    let line = w.log.last().expect("a line");
    assert!(
        line.starts_with("RESTORE of \"k\": ") && line.contains("integrity check failed"),
        "{line}"
    );
}
