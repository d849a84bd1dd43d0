//! Which of its programs the binary is to be, by its first argument or by the name of the link
//! through which it was called.

use crate::start;

/// The programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Server,
    Sentinel,
    /// Named, but not built.
    Absent(&'static str),
}

/// Links named so make the binary that program; so does the part behind the dash as first argument.
const NAMES: &[(&str, Program)] = &[
    ("server", Program::Server),
    ("sentinel", Program::Sentinel),
    ("cli", Program::Absent("cli")),
    ("benchmark", Program::Absent("benchmark")),
    ("check-rdb", Program::Absent("check-rdb")),
    ("check-aof", Program::Absent("check-aof")),
];

const HELP: &str = "\
Russet, a Redis-compatible in-memory database

Usage: russet [server] [/path/to/redis.conf] [--directive value ...] [-]
       russet --version
       russet --help

Examples:
       russet                                   a server on 127.0.0.1:6379
       russet server /etc/redis/6379.conf       as the file says
       russet server --port 7777 --replicaof 127.0.0.1 6379
       echo 'loglevel verbose' | russet server -

Called through a link named redis-server or valkey-server it takes the arguments of 'russet server'.
";

/// Runs the program that the whole command line names; returns its status.
pub fn run(command_line: &[Vec<u8>]) -> i32 {
    let called = command_line.first().map(|name| String::from_utf8_lossy(name).into_owned());
    let called = called.unwrap_or_default();
    let rest = command_line.get(1..).unwrap_or_default();
    if let Some(program) = by_link(&called) {
        return run_program(program, rest);
    }
    let Some(first) = rest.first() else { return start::serve(rest) };
    if let Some((_, program)) = NAMES.iter().find(|(name, _)| name.as_bytes() == first) {
        return run_program(*program, &rest[1..]);
    }
    // Options alone are the server's.
    if first.starts_with(b"-") {
        return run_program(Program::Server, rest);
    }
    let word = String::from_utf8_lossy(first);
    eprintln!("russet: there is no '{word}'; for a configuration file: russet server {word}");
    eprint!("\n{HELP}");
    1
}

/// The program that a link is named after.
fn by_link(called: &str) -> Option<Program> {
    let name = called.rsplit('/').next()?;
    let (family, name) = name.split_once('-')?;
    if !["redis", "valkey", "russet"].contains(&family) {
        return None;
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, program)| *program)
}

fn run_program(program: Program, arguments: &[Vec<u8>]) -> i32 {
    match program {
        Program::Server => server(arguments),
        Program::Sentinel => absent("sentinel"),
        Program::Absent(name) => absent(name),
    }
}

fn absent(name: &str) -> i32 {
    eprintln!("russet: '{name}' is not built yet");
    1
}

fn server(arguments: &[Vec<u8>]) -> i32 {
    if let [only] = arguments {
        match only.as_slice() {
            b"-v" | b"--version" => {
                let version = env!("CARGO_PKG_VERSION");
                println!("Russet server v={version} (Redis 7.2.4) malloc=jemalloc bits=64");
                return 0;
            }
            b"-h" | b"--help" => {
                print!("{HELP}");
                return 0;
            }
            b"--check-system" => {
                eprintln!("russet: '--check-system' is not built yet");
                return 1;
            }
            _ => {}
        }
    }
    if arguments.first().is_some_and(|first| first == b"--test-memory") {
        eprintln!("russet: '--test-memory' is not built; tools such as memtester test memory");
        return 1;
    }
    if arguments.iter().any(|a| a.eq_ignore_ascii_case(b"--sentinel")) {
        return absent("sentinel");
    }
    start::serve(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_programs() {
        assert_eq!(by_link("/usr/bin/redis-server"), Some(Program::Server));
        assert_eq!(by_link("valkey-sentinel"), Some(Program::Sentinel));
        assert_eq!(by_link("./redis-check-rdb"), Some(Program::Absent("check-rdb")));
        assert_eq!(by_link("target/release/russet"), None);
        assert_eq!(by_link("my-server"), None);
    }

    #[test]
    fn what_is_not_built_is_refused() {
        let run = |words: &[&str]| {
            run(&words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
        };
        assert_eq!(run(&["russet", "cli"]), 1);
        assert_eq!(run(&["redis-sentinel", "x.conf"]), 1);
        assert_eq!(run(&["redis-server", "x.conf", "--sentinel"]), 1);
        assert_eq!(run(&["russet", "server", "--test-memory", "100"]), 1);
        assert_eq!(run(&["russet", "nonsense"]), 1);
        assert_eq!(run(&["russet", "--version"]), 0);
    }
}
