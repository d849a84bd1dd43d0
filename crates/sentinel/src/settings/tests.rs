//! The table itself, and reading and writing by it.

use std::collections::BTreeSet;

use super::read::{NO_MASTER, UNRECOGNIZED};
use super::*;

/// Splits a line into words as the grammar of configuration files does, as far as the tests need it.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = vec![Vec::new()];
    let (mut is_quoted, mut bytes) = (false, line.bytes());
    while let Some(byte) = bytes.next() {
        let word = words.last_mut().unwrap();
        match byte {
            b'"' => is_quoted = !is_quoted,
            b' ' if !is_quoted => words.push(Vec::new()),
            b'\\' => match bytes.next().unwrap() {
                b'n' => word.push(b'\n'),
                b'x' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    let digits = std::str::from_utf8(&digits).unwrap().to_owned();
                    word.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                byte => word.push(byte),
            },
            byte => word.push(byte),
        }
    }
    words
}

fn parse(text: &str) -> Result<Settings, LineError> {
    Settings::parse(&text.lines().map(words).collect::<Vec<_>>())
}

/// Returns the line of a row's example.
fn example(row: &Statement) -> String {
    let master = if row.subject == Subject::Master { "m " } else { "" };
    format!("{} {master}{}", row.name, row.example)
}

const MONITOR: &str = "monitor m 10.0.0.1 6379 2";

#[test]
fn rows_have_names_of_their_own_and_documentation() {
    let mut names = BTreeSet::new();
    for row in STATEMENTS {
        for name in row.names() {
            assert!(names.insert(name), "{name} is there twice");
            assert_eq!(Statement::find(&name.to_uppercase()).unwrap().name, row.name);
        }
        assert!(row.doc.ends_with('.') && row.doc.len() > 20, "{}: documentation", row.name);
        assert_eq!(words(row.example).len(), row.arguments.len(), "{}: example", row.name);
        assert!(row.has(FILE | SET), "{}: it is nowhere", row.name);
        let is_of_all = row.subject == Subject::All;
        assert!(if is_of_all { !row.has(SET) } else { !row.has(CONFIG) }, "{}: flags", row.name);
        assert!(!row.has(STATE) || !row.has(SET | CONFIG), "{}: state is not set", row.name);
    }
    // Those about all masters are in front and at the end, as stock Sentinels write them.
    assert_eq!(STATEMENTS.chunk_by(|one, next| one.subject == next.subject).count(), 3);
}

#[test]
fn each_statement_is_written_as_it_is_read() {
    for row in STATEMENTS.iter().filter(|row| row.has(FILE)) {
        for name in row.names() {
            let line = example(row).replacen(row.name, name, 1);
            let text = if row.name == "monitor" { line } else { format!("{MONITOR}\n{line}") };
            let settings = parse(&text).unwrap();
            let lines = settings.lines();
            assert!(lines.contains(&example(row)), "{text}: {lines:?}");
            assert_eq!(parse(&lines.join("\n")).unwrap(), settings, "{text}");
        }
    }
}

#[test]
fn all_statements_together_are_written_in_the_order_of_the_table() {
    let rows = || STATEMENTS.iter().filter(|row| row.has(FILE));
    let text: Vec<String> = rows().rev().map(example).collect();
    let lines = parse(&text.join("\n")).unwrap().lines();
    assert_eq!(lines, rows().map(example).collect::<Vec<_>>());
}

#[test]
fn a_default_is_not_written_and_reads_as_nothing() {
    let plain = parse(MONITOR).unwrap();
    assert_eq!(plain.lines(), [MONITOR, "config-epoch m 0", "leader-epoch m 0", "current-epoch 0"]);
    for row in STATEMENTS.iter().filter(|row| row.has(FILE) && !row.default_text().is_empty()) {
        let line = example(row).replace(row.example, &row.default_text());
        assert_ne!(line, example(row), "{}: its example is the default", row.name);
        assert_eq!(parse(&format!("{MONITOR}\n{line}")).unwrap(), plain, "{line}");
    }
    let secret = Statement::find("sentinel-pass").unwrap();
    assert_eq!(secret.default_text(), "");
    assert_eq!(Statement::find("failover-timeout").unwrap().default_text(), "180000");
}

#[test]
fn words_are_quoted_where_the_grammar_needs_it() {
    for password in ["a b", "\"'\\#", "line\nbreak", "ü", "#", "plain"] {
        let mut settings = parse(MONITOR).unwrap();
        settings.masters[0].auth_pass = Some(password.to_owned());
        settings.globals.sentinel_user = Some(password.to_owned());
        let lines = settings.lines();
        assert!(lines.iter().all(|line| line.lines().count() == 1), "{lines:?}");
        assert_eq!(parse(&lines.join("\n")).unwrap(), settings, "{lines:?}");
    }
}

#[test]
fn statements_may_come_in_any_order() {
    let text = "down-after-milliseconds m 500\nknown-sentinel m a.example 26379 x\n\
                config-epoch m 7\nmonitor m h.example 6379 2\nresolve-hostnames yes\n\
                known-sentinel other b.example 26379";
    let settings = parse(text).unwrap();
    let master = &settings.masters[0];
    assert_eq!((master.down_after_ms, master.quorum, settings.current_epoch), (500, 2, 7));
    assert_eq!(master.known_sentinels[0].host, "a.example");
}

#[test]
fn a_wrong_statement_is_named_by_its_line() {
    let cases = [
        ("auth-pass x y", NO_MASTER),
        ("monitor n host 6379 2", "Can't resolve instance hostname."),
        ("monitor n 127.0.0.1 65536 2", "Invalid port number."),
        ("monitor n 127.0.0.1 1 0", "Quorum must be 1 or greater."),
        ("monitor m 127.0.0.1 1 1", "Duplicate master name."),
        ("failover-timeout m 0", "negative or zero time parameter."),
        ("master-reboot-down-after-period m -1", "negative time parameter."),
        ("parallel-syncs m x", "Invalid parallel-syncs."),
        ("myid abc", "Malformed Sentinel id in myid option."),
        ("announce-port -1", "Invalid port number."),
        ("announce-hostnames 1", "Please specify yes or no for the announce-hostnames option."),
        (
            "deny-scripts-reconfig x",
            "Please specify yes or no for the deny-scripts-reconfig options.",
        ),
        (
            "notification-script m folder/",
            "Notification script seems non existing or non executable.",
        ),
        (
            "client-reconfig-script m \"\"",
            "Client reconfiguration script seems non existing or non executable.",
        ),
        ("quorum m 3", UNRECOGNIZED),
        ("nonsense", UNRECOGNIZED),
        (" ", UNRECOGNIZED),
        ("config-epoch m", UNRECOGNIZED),
        ("config-epoch x 1 2", UNRECOGNIZED),
    ];
    for (line, reason) in cases {
        let error = parse(&format!("{MONITOR}\n{line}")).unwrap_err();
        assert_eq!((error.line, error.reason.as_str()), (1, reason), "{line}");
    }
    let twice = "rename-command m config a\nrename-command m CONFIG b";
    let error = parse(&format!("{MONITOR}\n{twice}")).unwrap_err();
    assert_eq!(error.reason, "Same command renamed multiple times with rename-command.");
}
