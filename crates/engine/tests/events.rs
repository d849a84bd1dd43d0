//! Events: which a command makes, in which order, as keyspace notifications of Redis 7.2 spell them.

use russet_driver::Driver;
use russet_engine::io::Handle;
use russet_engine::types::Type;

/// A client of a node that gathers events.
struct Watch {
    w: Driver,
    c: Handle,
}

impl Watch {
    fn new() -> Watch {
        let mut w = Driver::new("enable-debug-command yes\n");
        w.node.data.want_events(true);
        let c = w.connect();
        Watch { w, c }
    }

    /// Runs a command and answers its events: class, name, key, and the database if it is not 0.
    fn events(&mut self, command: &str) -> String {
        self.w.ask(self.c, command);
        let events = self.w.node.data.take_events();
        let word = |event: &russet_engine::keyspace::Event| {
            let class = char::from(event.kind.class().letter());
            let key = String::from_utf8_lossy(&event.key);
            let db = if event.db == 0 { String::new() } else { format!("@{}", event.db) };
            assert_eq!(event.ty, (!gone(event.kind.name())).then_some(Type::String));
            format!("{class}:{}:{key}{db}", event.kind.name())
        };
        events.iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

/// Whether nothing stands under the key after it.
fn gone(name: &str) -> bool {
    ["del", "expired", "keymiss", "rename_from", "move_from"].contains(&name)
}

#[test]
fn commands_make_the_events_of_redis() {
    let mut t = Watch::new();
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
fn reads_that_find_nothing_are_events_and_looks_are_not() {
    let mut t = Watch::new();
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
    ] {
        assert_eq!(t.events(command), expected, "{command}");
    }
}

#[test]
fn a_key_that_expires_is_an_event_before_what_met_it() {
    let mut t = Watch::new();
    t.w.ask(t.c, "DEBUG SET-ACTIVE-EXPIRE 0");
    for (command, expected) in [
        ("GET a", "x:expired:a m:keymiss:a"),
        ("SET a 2", "x:expired:a n:new:a $:set:a"),
        ("APPEND a 2", "x:expired:a n:new:a $:append:a"),
        ("DEL a", "x:expired:a"),
        ("RANDOMKEY", "x:expired:a"),
        ("SCAN 0", "x:expired:a"),
        ("SCAN 0 TYPE string", "x:expired:a m:keymiss:a"),
    ] {
        t.events("FLUSHALL");
        t.events("SET a 1 PX 1");
        t.w.advance_ms(2);
        assert_eq!(t.events(command), expected, "{command}");
    }
    t.events("FLUSHALL");
    t.events("SET a 1 PX 1");
    t.w.ask(t.c, "DEBUG SET-ACTIVE-EXPIRE 1");
    t.w.advance_ms(500);
    assert_eq!(t.events("PING"), "x:expired:a");
}

#[test]
fn nothing_is_gathered_for_nobody() {
    let mut t = Watch::new();
    t.w.node.data.want_events(false);
    assert_eq!(t.events("SET a 1"), "");
    assert_eq!(t.events("GET b"), "");
    assert!(!t.w.node.data.has_events());
}

#[test]
fn what_a_file_holds_is_loaded_without_events() {
    let mut w = Driver::new("enable-debug-command yes\n");
    let c = w.connect();
    w.ask(c, "MSET a 1 b 2");
    w.node.data.want_events(true);
    assert_eq!(w.ask(c, "DEBUG RELOAD"), "+OK\r\n");
    assert!(!w.node.data.has_events());
}
