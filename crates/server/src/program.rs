//! Selects the program to run by the first argument, or by the name of the symbolic link through
//! which the binary was called.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use russet_engine::mode::Mode;

use crate::process::platform;
use crate::start;
use crate::{check_aof, check_rdb};

/// A program within the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Server,
    Sentinel,
    CheckRdb,
    CheckAof,
    /// Known by name, but not implemented.
    Absent(&'static str),
}

/// First arguments that select a program. A link named `<family>-<name>` selects the same program.
const NAMES: &[(&str, Program)] = &[
    ("server", Program::Server),
    ("sentinel", Program::Sentinel),
    ("cli", Program::Absent("cli")),
    ("benchmark", Program::Absent("benchmark")),
    ("check-rdb", Program::CheckRdb),
    ("check-aof", Program::CheckAof),
];

/// Prefixes of such links.
const FAMILIES: [&str; 3] = ["redis", "valkey", "russet"];

const HELP: &str = "\
Russet, a Redis-compatible in-memory database

Usage: russet [server] [/path/to/redis.conf] [--directive value ...] [-]
       russet sentinel /path/to/sentinel.conf [--directive value ...]
       russet check-rdb FILE
       russet check-aof [--fix | --truncate-to-timestamp SECONDS] FILE
       russet version
       russet help

Examples:
       russet                                   run a server on 127.0.0.1:6379
       russet /etc/redis/6379.conf              use a configuration file
       russet /etc/redis/6379.conf --port 7777  ... and directives that override it
       russet --port 7777 --replicaof 127.0.0.1 6379
       echo 'loglevel verbose' | russet -
       russet sentinel /etc/redis/sentinel.conf watch masters and fail them over

Called through a link named redis-server or valkey-server it takes the arguments of 'russet server';
likewise redis-sentinel, redis-check-rdb and redis-check-aof. 'russet server FILE --sentinel' is
'russet sentinel FILE'.
";

/// Runs the program that the command line selects and returns its exit status.
pub fn run(command_line: &[Vec<u8>]) -> i32 {
    let called = command_line.first().map(|name| String::from_utf8_lossy(name).into_owned());
    let called = called.unwrap_or_default();
    let rest = command_line.get(1..).unwrap_or_default();
    if let Some(program) = by_link(&called) {
        // Scripts check the version of such a link and look for `v=` and a number.
        let wants_version =
            rest.first().is_some_and(|word| VERSION_OPTIONS.contains(&word.as_slice()));
        if wants_version && matches!(program, Program::Server | Program::Sentinel) {
            println!("{}", redis_version());
            return 0;
        }
        return run_program(&called, program, rest);
    }
    let Some(first) = rest.first() else { return start::serve(rest, Mode::Standalone) };
    if let Some((name, program)) = NAMES.iter().find(|(name, _)| name.as_bytes() == first) {
        return run_program(&format!("{called} {name}"), *program, &rest[1..]);
    }
    match first.as_slice() {
        b"version" => return version(),
        b"help" => return help(),
        _ => {}
    }
    // Options and configuration files without a program belong to the server.
    if first.starts_with(b"-") || is_file(first) {
        return run_program(&called, Program::Server, rest);
    }
    let word = String::from_utf8_lossy(first);
    eprintln!("russet: there is neither a command nor a configuration file '{word}'");
    eprint!("\n{HELP}");
    1
}

/// Whether an argument names a configuration file rather than a command. What looks like a path is
/// one even if it does not exist: then the server's error names it.
fn is_file(argument: &[u8]) -> bool {
    let looks_like_one = argument.contains(&b'/') || argument.ends_with(b".conf");
    looks_like_one || Path::new(OsStr::from_bytes(argument)).is_file()
}

/// Returns the program that a link is named after.
fn by_link(called: &str) -> Option<Program> {
    let file = called.rsplit('/').next()?;
    let named_after =
        |name: &str| FAMILIES.iter().any(|family| file.contains(&format!("{family}-{name}")));
    NAMES.iter().find(|(name, _)| named_after(name)).map(|(_, program)| *program)
}

fn run_program(called: &str, program: Program, arguments: &[Vec<u8>]) -> i32 {
    match program {
        Program::Server => server(arguments, Mode::Standalone),
        Program::Sentinel => server(arguments, Mode::Sentinel),
        Program::CheckRdb => check_rdb::run(called, arguments, &mut io::stdout().lock()),
        Program::CheckAof => {
            check_aof::run(called, arguments, &mut io::stdin().lock(), &mut io::stdout().lock())
        }
        Program::Absent(name) => absent(name),
    }
}

fn absent(name: &str) -> i32 {
    eprintln!("russet: '{name}' is not implemented yet");
    1
}

const VERSION_OPTIONS: [&[u8]; 2] = [b"-v", b"--version"];

fn version() -> i32 {
    let version = env!("CARGO_PKG_VERSION");
    println!("Russet server v={version} (Redis 7.2.4) malloc=jemalloc bits=64");
    0
}

fn help() -> i32 {
    print!("{HELP}");
    0
}

/// Returns Redis' version line, with Russet's version appended.
fn redis_version() -> String {
    let (allocator, version) = (platform().allocator, env!("CARGO_PKG_VERSION"));
    format!(
        "Redis server v=7.2.4 sha=00000000:0 malloc={allocator} bits=64 build=0 (Russet {version})"
    )
}

fn server(arguments: &[Vec<u8>], mode: Mode) -> i32 {
    // As in Redis, arguments after such an option are ignored.
    match arguments.first().map(Vec::as_slice) {
        Some(word) if VERSION_OPTIONS.contains(&word) => return version(),
        Some(b"-h" | b"--help") => return help(),
        Some(b"--check-system") => {
            eprintln!("russet: '--check-system' is not implemented yet");
            return 1;
        }
        Some(b"--test-memory") => {
            eprintln!("russet: '--test-memory' is not implemented; use a tool such as memtester");
            return 1;
        }
        _ => {}
    }
    let is_sentinel = arguments.iter().any(|a| a.eq_ignore_ascii_case(b"--sentinel"));
    start::serve(arguments, if is_sentinel { Mode::Sentinel } else { mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_programs() {
        assert_eq!(by_link("/usr/bin/redis-server"), Some(Program::Server));
        assert_eq!(by_link("valkey-sentinel"), Some(Program::Sentinel));
        assert_eq!(by_link("./redis-check-rdb"), Some(Program::CheckRdb));
        assert_eq!(by_link("target/release/russet"), None);
        assert_eq!(by_link("my-server"), None);
        assert_eq!(by_link("/opt/redis-server/russet"), None);
        for server in ["redis-server-7.2", "my-redis-server", "./valkey-server.old"] {
            assert_eq!(by_link(server), Some(Program::Server), "{server}");
        }
    }

    fn run_words(words: &[&str]) -> i32 {
        run(&words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn unimplemented_programs_are_refused() {
        assert_eq!(run_words(&["russet", "cli"]), 1);
        assert_eq!(run_words(&["russet", "server", "--test-memory", "100"]), 1);
        assert_eq!(run_words(&["russet", "nonsense"]), 1);
    }

    #[test]
    fn only_the_first_argument_selects_version_or_help() {
        for words in [
            &["russet", "--version"][..],
            &["russet", "version"],
            &["russet", "help"],
            &["russet", "server", "-v", "x"],
            &["redis-server", "--version", "--port", "1"],
            &["redis-server", "--help", "a"],
            &["redis-sentinel", "-v"],
            &["russet", "sentinel", "--help"],
        ] {
            assert_eq!(run_words(words), 0, "{words:?}");
        }
        let line = redis_version();
        assert!(line.starts_with("Redis server v=7.2.4 sha=00000000:0 malloc=jemalloc-"), "{line}");
        assert!(line.contains(" bits=64 build=0 (Russet "), "{line}");
    }
}
