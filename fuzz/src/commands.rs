//! Commands of the engine's table with arguments chosen by the fuzzer, so that it reaches the
//! commands instead of only the parser.

use std::sync::OnceLock;

use russet_engine::command::{Command, CommandTable};
use russet_engine::config::DIRECTIVES;

use crate::input::Input;

/// Numbers at limits.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "10",
    "100",
    "1000",
    "65535",
    "65536",
    "1048576",
    "2147483647",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "1700000000",
    "1700000001",
    "1700000000001",
    "0.1",
    "-2.5e3",
    "1e400",
    "nan",
    "inf",
    "007",
    "+1",
    " 1",
];

/// Words that several commands recognize.
const WORDS: &[&str] = &[
    "",
    "*",
    "k*",
    "k[0-3]",
    "?1",
    "default",
    "yes",
    "no",
    "on",
    "off",
    "one",
    "localhost",
    "127.0.0.1",
    "127.0.0.1:7000",
    "ID",
    "HELP",
    "FULL",
    "SKIP",
    "normal",
    "replica",
    "normal 0 0 0 replica 1000 0 0",
    "3600 1",
    "string",
    "set",
    "all",
    "everything",
    "SET",
    "GET",
    "MULTI",
    "EXEC",
    "NOEVICT",
    "allkeys-lru",
];

const DEBUG_WORDS: &[&str] = &[
    "CHANGE-REPL-ID",
    "DIGEST",
    "DIGEST-VALUE",
    "ERROR",
    "HTSTATS",
    "HTSTATS-KEY",
    "LOG",
    "OBJECT",
    "PAUSE-CRON",
    "POPULATE",
    "PROTOCOL",
    "RELOAD",
    "REPLICATE",
    "SET-ACTIVE-EXPIRE",
    "SLEEP",
    "HELP",
];

const PROTOCOL_WORDS: &[&str] = &[
    "string", "integer", "double", "bignum", "null", "array", "set", "map", "attrib", "push",
    "verbatim", "true", "false", "NOSAVE", "NOFLUSH", "MERGE",
];

/// A command, and the tokens of its arguments.
struct Row {
    command: &'static Command,
    literals: Vec<&'static str>,
}

fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let table = CommandTable::default();
        let row = |&command: &&'static Command| Row { command, literals: command.tokens() };
        table.rows().iter().map(row).collect()
    })
}

/// Returns a command, occasionally with a wrong number of arguments.
pub fn draw(input: &mut Input<'_>) -> Vec<Vec<u8>> {
    let row = &rows()[input.below(rows().len())];
    let shape = input.byte();
    let mut words: Vec<Vec<u8>> = row.command.name.split('|').map(|w| w.into()).collect();
    let least = row.command.arity.unsigned_abs() as usize;
    let more = match shape {
        0xf0.. => usize::from(shape & 7),
        _ if row.command.arity < 0 => least + usize::from(shape & 7),
        _ => least,
    };
    while words.len() < more {
        words.push(argument(row, words.len(), input));
    }
    if words[0] == b"command" && words.len() < 3 && shape < 0xe0 {
        // COMMAND about all commands takes as long as a thousand others.
        words.push(rows()[input.below(rows().len())].command.word().into());
    }
    if shape & 0x18 == 0x18 {
        words[0].make_ascii_uppercase();
    }
    limit_resources(&mut words);
    words
}

fn argument(row: &Row, index: usize, input: &mut Input<'_>) -> Vec<u8> {
    let from = |words: &[&str], choice: usize| words[choice % words.len()].as_bytes().to_vec();
    match (row.command.name, index) {
        ("debug", 1) => return from(DEBUG_WORDS, input.byte().into()),
        ("debug", 2) if input.byte() & 1 == 1 => return from(PROTOCOL_WORDS, input.byte().into()),
        ("config|get", _) | ("config|set", 2 | 4 | 6) => {
            return DIRECTIVES[input.below(DIRECTIVES.len())].name.into();
        }
        _ => {}
    }
    let choice = usize::from(input.byte());
    match choice {
        0..8 => format!("k{choice}").into_bytes(),
        8..36 => from(NUMBERS, choice),
        36..64 if !row.literals.is_empty() => from(&row.literals, choice),
        36..96 => from(WORDS, choice),
        96..160 => input.bytes(choice - 96).to_vec(),
        160..168 => rows()[input.below(rows().len())].command.word().into(),
        // Lengths of inline values, of blocks, and of those that replies share.
        _ => vec![b'a' + (choice & 15) as u8; 1 << (6 + (choice >> 4) % 9)],
    }
}

/// Replaces arguments that legitimately use much memory or time.
fn limit_resources(words: &mut [Vec<u8>]) {
    for word in words.iter_mut() {
        if may_raise_limits(word) {
            *word = b"maxmemory-samples".to_vec();
        }
    }
    if let [name, word, count, rest @ ..] = words
        && name.eq_ignore_ascii_case(b"debug")
        && word.eq_ignore_ascii_case(b"populate")
    {
        count.truncate(3);
        if let Some(size) = rest.get_mut(1) {
            size.truncate(3);
        }
    }
}

/// Whether bytes could raise the maximum length of strings.
pub fn may_raise_limits(bytes: &[u8]) -> bool {
    bytes.windows(8).any(|window| window.eq_ignore_ascii_case(b"bulk-len"))
}

/// Encodes a request, in RESP or inline.
pub fn encoded(words: &[Vec<u8>], inline: bool) -> Vec<u8> {
    if inline {
        let mut line = words.join(&b' ');
        line.extend_from_slice(b"\r\n");
        return line;
    }
    let mut bytes = Vec::new();
    russet_protocol::reply::push_command(&mut bytes, words);
    bytes
}
