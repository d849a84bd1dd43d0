//! Events of commands and their order, as received by subscribers of keyspace notifications.

use russet_driver::Driver;
use russet_driver::peers::{command, replica};
use russet_engine::io::Handle;
use russet_engine::keyspace::EventKind;

/// A client, and a subscriber to all events.
struct Watch {
    w: Driver,
    c: Handle,
    subscriber: Handle,
}

impl Watch {
    fn new(selected: &str) -> Watch {
        let conf = format!("enable-debug-command yes\nnotify-keyspace-events {selected}\n");
        let mut w = Driver::new(&conf);
        let (c, subscriber) = (w.connect(), w.connect());
        w.request(subscriber, "PSUBSCRIBE *");
        Watch { w, c, subscriber }
    }

    /// Runs a command and returns its events: class, name, key, and the database if it is not 0.
    fn events(&mut self, command: &str) -> String {
        self.w.request(self.c, command);
        let text = self.w.take(self.subscriber);
        let lines: Vec<&str> = text.split("\r\n").collect();
        // *4, then four strings, each after its length.
        let messages = lines.chunks_exact(9).map(|message| (message[6], message[8]));
        messages.map(|(channel, key)| show(channel, key)).collect::<Vec<_>>().join(" ")
    }
}

fn show(channel: &str, key: &str) -> String {
    let (kind, rest) = channel.split_once('@').expect("the database follows");
    let (db, name) = rest.split_once("__:").expect("the name follows");
    let db = if db == "0" { String::new() } else { format!("@{db}") };
    if kind == "__keyspace" {
        return format!("{name}={key}{db}");
    }
    let known = EventKind::ALL.iter().find(|kind| kind.name() == name).expect("a known event");
    format!("{}:{name}:{key}{db}", char::from(known.class().letter()))
}

#[test]
fn commands_cause_the_events_of_redis() {
    let mut t = Watch::new("EAmn");
    for (command, expected) in [
        ("SET a 1", "n:new:a $:set:a"),
        ("SET a 1", "$:set:a"),
        ("SET a 1 NX", ""),
        ("SET a 1 XX GET", "$:set:a"),
        ("SET a 1 EX 100", "$:set:a g:expire:a"),
        ("SET a 1 KEEPTTL", "$:set:a"),
        ("PERSIST a", "g:persist:a"),
        ("PERSIST a", ""),
        ("SETEX b 100 x", "n:new:b $:set:b g:expire:b"),
        ("PSETEX b 100000 x", "$:set:b g:expire:b"),
        ("SETNX b x", ""),
        ("SETNX c x", "n:new:c $:set:c"),
        ("MSET c 1 d 2", "$:set:c n:new:d $:set:d"),
        ("MSETNX e 1 f 2", "n:new:e $:set:e n:new:f $:set:f"),
        ("MSETNX e 1 g 2", ""),
        ("GETSET e 5", "$:set:e"),
        ("GETSET h 5", "m:keymiss:h n:new:h $:set:h"),
        ("GETDEL h", "g:del:h"),
        ("GETDEL h", "m:keymiss:h"),
        ("GETEX e", ""),
        ("GETEX e EX 100", "g:expire:e"),
        ("GETEX e PERSIST", "g:persist:e"),
        ("GETEX e PERSIST", ""),
        ("GETEX e EXAT 1", "g:del:e"),
        ("GETEX e EXAT 1", "m:keymiss:e"),
        ("APPEND e x", "n:new:e $:append:e"),
        ("APPEND e x", "$:append:e"),
        ("SETRANGE e 0 y", "$:setrange:e"),
        ("SETRANGE e 0 \"\"", ""),
        ("SETRANGE i 3 y", "n:new:i $:setrange:i"),
        ("INCR j", "n:new:j $:incrby:j"),
        ("DECRBY j 5", "$:incrby:j"),
        ("INCRBYFLOAT j 0.5", "$:incrbyfloat:j"),
        ("INCR e", ""),
        ("EXPIRE j 100", "g:expire:j"),
        ("EXPIRE j 100 NX", ""),
        ("PEXPIREAT j 1", "g:del:j"),
        ("EXPIRE j 100", ""),
        ("RENAME a k", "n:new:k g:rename_from:a g:rename_to:k"),
        ("RENAME b k", "n:new:k g:rename_from:b g:rename_to:k"),
        ("RENAME k k", ""),
        ("RENAMENX k c", ""),
        ("COPY k l", "n:new:l g:copy_to:l"),
        ("COPY k l", ""),
        ("COPY k l REPLACE", "n:new:l g:copy_to:l"),
        ("COPY k l DB 1", "n:new:l@1 g:copy_to:l@1"),
        ("COPY missing l", "m:keymiss:missing"),
        ("MOVE k 1", "n:new:k@1 g:move_from:k g:move_to:k@1"),
        ("MOVE l 1", ""),
        ("DEL c d missing", "g:del:c g:del:d"),
        ("UNLINK f", "g:del:f"),
        ("SWAPDB 0 1", ""),
        ("FLUSHALL", ""),
        ("DEBUG POPULATE 2", "n:new:key:0 n:new:key:1"),
    ] {
        assert_eq!(t.events(command), expected, "{command}");
    }
}

#[test]
fn restore_causes_the_events_of_redis() {
    let mut t = Watch::new("EAmn");
    let payload = r#""\x00\x05hello\n\x00cr\xdfve4 \n""#;
    for (command, expected) in [
        ("RESTORE a 0 {}", "n:new:a g:restore:a"),
        ("RESTORE a 0 {}", ""),
        ("RESTORE a 100 {} REPLACE", "n:new:a g:restore:a"),
        ("RESTORE a 1 {} REPLACE ABSTTL", "g:del:a"),
        ("RESTORE a 1 {} REPLACE ABSTTL", ""),
        ("RESTORE a 0 other", ""),
        ("DUMP a", "m:keymiss:a"),
    ] {
        assert_eq!(t.events(&command.replace("{}", payload)), expected, "{command}");
    }
}

#[test]
fn misses_of_reads_are_events_but_not_of_inspections() {
    let mut t = Watch::new("EAmn");
    for (command, expected) in [
        ("GET a", "m:keymiss:a"),
        ("MGET a b", "m:keymiss:a m:keymiss:b"),
        ("STRLEN a", "m:keymiss:a"),
        ("EXISTS a b", "m:keymiss:a m:keymiss:b"),
        ("TTL a", "m:keymiss:a"),
        ("TYPE a", "m:keymiss:a"),
        ("TOUCH a", "m:keymiss:a"),
        ("OBJECT ENCODING a", ""),
        ("OBJECT IDLETIME a", ""),
        ("SETRANGE a 0 \"\"", ""),
        ("PERSIST a", ""),
        ("DEL a", ""),
        ("RANDOMKEY", ""),
        ("SCAN 0 TYPE string", ""),
        ("HSET h f v", "n:new:h h:hset:h"),
        ("LCS h a", "m:keymiss:a"),
    ] {
        assert_eq!(t.events(command), expected, "{command}");
    }
}

#[test]
fn expiry_is_an_event_before_that_of_the_accessing_command() {
    let mut t = Watch::new("EAmn");
    t.w.request(t.c, "DEBUG SET-ACTIVE-EXPIRE 0");
    for (command, expected) in [
        ("GET a", "x:expired:a m:keymiss:a"),
        ("SET a 2", "x:expired:a n:new:a $:set:a"),
        ("APPEND a 2", "x:expired:a n:new:a $:append:a"),
        ("DEL a", "x:expired:a"),
        ("RANDOMKEY", "x:expired:a"),
        ("SCAN 0", "x:expired:a"),
        ("SCAN 0 TYPE string", "x:expired:a m:keymiss:a"),
        ("COPY b a", "x:expired:a n:new:a g:copy_to:a"),
        ("COPY b a REPLACE", "x:expired:a n:new:a g:copy_to:a"),
        ("RESTORE a x other REPLACE", ""),
        ("RESTORE a 0 other REPLACE", ""),
        (r#"RESTORE a 0 "\x00\x05hello\n\x00cr\xdfve4 \n" REPLACE"#, "n:new:a g:restore:a"),
    ] {
        t.events("FLUSHALL");
        if command.starts_with("COPY") {
            t.events("SET b 1");
        }
        t.events("SET a 1 PX 1");
        t.w.advance_ms(2);
        assert_eq!(t.events(command), expected, "{command}");
    }
    t.events("FLUSHALL");
    t.events("SET a 1 PX 1");
    t.w.request(t.c, "DEBUG SET-ACTIVE-EXPIRE 1");
    t.w.advance_ms(500);
    assert_eq!(t.events("PING"), "x:expired:a");
}

#[test]
fn classes_and_channels_are_selected() {
    for (selected, expected) in [
        ("\"\"", ""),
        ("A", ""),
        ("KE", ""),
        ("E$", "$:set:a"),
        ("K$", "a=set"),
        ("KE$", "a=set $:set:a"),
        ("Kn", "a=new"),
        ("Eg", "g:expire:a"),
        ("KAn", "a=new a=set a=expire"),
        ("Em", ""),
    ] {
        let mut t = Watch::new(selected);
        assert_eq!(t.events("SET a 1 EX 100"), expected, "{selected}");
        let wanted = t.w.node.data.has_events();
        assert!(!wanted, "events are delivered at once");
    }
}

#[test]
fn events_are_selected_at_runtime() {
    let mut t = Watch::new("\"\"");
    assert_eq!(t.events("SET a 1"), "");
    t.events("CONFIG SET notify-keyspace-events E$");
    assert_eq!(t.events("SET a 1"), "$:set:a");
    t.events("CONFIG SET notify-keyspace-events E");
    assert_eq!(t.events("SET a 1"), "");
    assert_eq!(t.events("EXEC"), "");
}

#[test]
fn loading_causes_no_events() {
    let mut t = Watch::new("EAmn");
    t.events("MSET a 1 b 2");
    assert_eq!(t.events("DEBUG RELOAD"), "");
    assert_eq!(t.events("SET a 2"), "$:set:a");
}

#[test]
fn a_transaction_causes_the_events_of_its_commands() {
    let mut t = Watch::new("EA");
    t.events("MULTI");
    t.events("SET a 1");
    t.events("DEL a");
    assert_eq!(t.events("EXEC"), "$:set:a g:del:a");
}

#[test]
fn a_replica_causes_the_events_of_its_masters_commands() {
    let (mut w, link) = replica("notify-keyspace-events EAmn\n", &[]);
    let (c, subscriber) = (w.connect(), w.connect());
    w.request(subscriber, "PSUBSCRIBE *");
    let mut t = Watch { w, c, subscriber };
    let at_ms = (t.w.now.wall_us / 1000 + 50).to_string();
    t.w.send(link, &command(&["SET", "a", "1", "PXAT", &at_ms]));
    assert_eq!(t.events("PING"), "n:new:a $:set:a g:expire:a");
    // The replica only hides the key; the deletion by the master causes the event.
    t.w.advance_ms(1000);
    assert_eq!(t.events("GET a"), "m:keymiss:a");
    t.w.send(link, &command(&["DEL", "a"]));
    assert_eq!(t.events("PING"), "g:del:a");
}
