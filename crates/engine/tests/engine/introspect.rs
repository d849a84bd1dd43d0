//! COMMAND, in both protocols. The contents of rows are tested in `rows.rs`.

use russet_driver::Driver;
use russet_engine::command::CommandTable;
use russet_engine::mode::Mode;

#[test]
fn a_command_is_described_in_both_protocols() {
    let mut world = Driver::new("");
    let client = world.connect();
    let two = "*1\r\n*10\r\n$4\r\nmset\r\n:-3\r\n*2\r\n+write\r\n+denyoom\r\n:1\r\n:-1\r\n:2\r\n\
               *3\r\n+@write\r\n+@string\r\n+@slow\r\n\
               *2\r\n$26\r\nrequest_policy:multi_shard\r\n$29\r\nresponse_policy:all_succeeded\r\n\
               *1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+OW\r\n+update\r\n\
               $12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n\
               $9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n\
               *6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:2\r\n$5\r\nlimit\r\n:0\r\n*0\r\n";
    assert_eq!(world.request(client, "COMMAND INFO MSET"), two);
    world.request(client, "HELLO 3");
    let three = world.request(client, "COMMAND INFO mset");
    assert!(three.contains("~2\r\n+write\r\n+denyoom\r\n") && three.contains("~1\r\n%3\r\n"));
    assert!(three.ends_with(
        "%3\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:2\r\n$5\r\nlimit\r\n:0\r\n~0\r\n"
    ));
    assert_eq!(world.request(client, "COMMAND INFO nosuch get|x"), "*2\r\n_\r\n_\r\n");
}

#[test]
fn subcommands_are_listed_in_their_container() {
    let mut world = Driver::new("");
    let client = world.connect();
    assert_eq!(world.request(client, "COMMAND INFO nosuch command|x|y"), "*2\r\n$-1\r\n$-1\r\n");
    let container = world.request(client, "COMMAND INFO command");
    assert!(container.contains("*7\r\n*10\r\n$13\r\ncommand|count\r\n:2\r\n"), "{container}");
    let alone = world.request(client, "COMMAND INFO command|COUNT");
    assert!(container.contains(alone.strip_prefix("*1\r\n").expect("one command")));
    let count = CommandTable::of(Mode::Standalone).all().count();
    assert_eq!(world.request(client, "COMMAND COUNT"), format!(":{count}\r\n"));
    assert!(world.request(client, "COMMAND").starts_with(&format!("*{count}\r\n*10\r\n")));
    assert!(world.request(client, "COMMAND INFO").starts_with(&format!("*{count}\r\n*10\r\n")));
}

#[test]
fn keys_of_a_command_are_found() {
    let mut world = Driver::new("");
    let client = world.connect();
    for (line, reply) in [
        ("GETKEYS MSET a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("GETKEYSANDFLAGS SET a 1", "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n"),
        (
            "GETKEYSANDFLAGS SET a 1 EX 9 get",
            "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update\r\n",
        ),
        (
            "GETKEYSANDFLAGS RENAME a b",
            "*2\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+delete\r\n*2\r\n$1\r\nb\r\n*2\r\n+OW\r\n+update\r\n",
        ),
        ("GETKEYS nosuch a", "-ERR Invalid command specified\r\n"),
        ("GETKEYS config nosuch", "-ERR Invalid command specified\r\n"),
        ("GETKEYS ping a", "-ERR The command has no key arguments\r\n"),
        ("GETKEYS spublish a b", "-ERR The command has no key arguments\r\n"),
        ("GETKEYS get", "-ERR Invalid number of arguments specified for command\r\n"),
        ("GETKEYS get a b", "-ERR Invalid number of arguments specified for command\r\n"),
        ("GETKEYS", "-ERR wrong number of arguments for 'command|getkeys' command\r\n"),
    ] {
        assert_eq!(world.request(client, &format!("COMMAND {line}")), reply, "{line}");
    }
}

#[test]
fn names_are_listed_by_filters() {
    let mut world = Driver::new("");
    let client = world.connect();
    let every = world.request(client, "COMMAND LIST");
    assert!(every.contains("$11\r\nconfig|get\r\n".trim_start_matches("$11\r\n")));
    assert_eq!(world.request(client, "COMMAND LIST FILTERBY pattern *"), every);
    assert_eq!(
        world.request(client, "COMMAND LIST filterby PATTERN INCRB*"),
        "*2\r\n$6\r\nincrby\r\n$11\r\nincrbyfloat\r\n"
    );
    assert!(world.request(client, "COMMAND LIST FILTERBY ACLCAT transaction").contains("exec\r\n"));
    assert_eq!(world.request(client, "COMMAND LIST FILTERBY ACLCAT none"), "*0\r\n");
    assert_eq!(world.request(client, "COMMAND LIST FILTERBY MODULE none"), "*0\r\n");
    for wrong in ["x", "FILTERBY PATTERN", "FILTERBY none *", "FILTERBY PATTERN * *"] {
        let reply = world.request(client, &format!("COMMAND LIST {wrong}"));
        assert_eq!(reply, "-ERR syntax error\r\n", "{wrong}");
    }
}

#[test]
fn arguments_are_documented() {
    let mut world = Driver::new("");
    let client = world.connect();
    let text = world.request(client, "COMMAND DOCS nosuch mset");
    let expected = "$9\r\narguments\r\n*1\r\n*8\r\n$4\r\nname\r\n$4\r\ndata\r\n$4\r\ntype\r\n$5\r\nblock\r\n\
                    $5\r\nflags\r\n*1\r\n+multiple\r\n$9\r\narguments\r\n*2\r\n\
                    *8\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$12\r\ndisplay_text\r\n$3\r\nkey\r\n\
                    $14\r\nkey_spec_index\r\n:0\r\n\
                    *6\r\n$4\r\nname\r\n$5\r\nvalue\r\n$4\r\ntype\r\n$6\r\nstring\r\n$12\r\ndisplay_text\r\n$5\r\nvalue\r\n";
    assert!(text.starts_with("*2\r\n$4\r\nmset\r\n") && text.ends_with(expected), "{text}");
    world.request(client, "HELLO 3");
    let text = world.request(client, "COMMAND DOCS getset config");
    assert!(text.starts_with("%2\r\n$6\r\ngetset\r\n%8\r\n$7\r\nsummary\r\n"), "{text}");
    assert!(text.contains("$9\r\ndoc_flags\r\n~1\r\n+deprecated\r\n$16\r\ndeprecated_since\r\n"));
    assert!(text.contains("$11\r\nsubcommands\r\n%") && text.contains("$10\r\nconfig|get\r\n"));
    assert_eq!(world.request(client, "COMMAND DOCS nosuch"), "%0\r\n");
    for internal in ["debug", "replconf"] {
        let text = world.request(client, &format!("COMMAND DOCS {internal}"));
        assert!(!text.contains("arguments"), "{text}");
    }
    let text = world.request(client, "COMMAND DOCS client|kill");
    let filter = "$5\r\ntoken\r\n$2\r\nID\r\n$5\r\nflags\r\n~1\r\n+optional\r\n";
    assert!(text.contains(filter) && text.contains("$5\r\nslave\r\n"), "{text}");
}
