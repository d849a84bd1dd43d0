//! The stock command line tools, unmodified, against Russet.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::process::Command;

use russet_e2e::client::encode;
use russet_e2e::program::stock;
use russet_e2e::tools::{first_lines, run};
use russet_e2e::{Program, Server};

fn start() -> Server {
    Server::start(&Program::under_test())
}

fn cli(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(stock("redis-cli"));
    command.args(["-p", &server.port().to_string()]).args(arguments);
    command
}

/// Sets `count` keys.
fn fill(server: &Server, count: u32) {
    let mut client = server.client();
    for i in 0..count {
        client.ok(&format!("SET key:{i} {i}"));
    }
}

mod with_peers {
    use super::*;

    #[test]
    fn pipe_loads_in_bulk() {
        let server = start();
        let requests: Vec<u8> =
            (0..10_000).flat_map(|i| encode(&["SET", &format!("key:{i}"), "value"])).collect();
        let output = run(cli(&server, &["--pipe"]), &requests);
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(output.out.contains("errors: 0, replies: 10000"), "{output:?}");
        assert_eq!(server.client().run("DBSIZE").int(), 10_000);
    }

    #[test]
    fn scan_lists_each_key_once() {
        let server = start();
        fill(&server, 1000);
        let output = run(cli(&server, &["--scan"]), b"").out;
        let mut keys: Vec<&str> = output.lines().collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 1000);
        let output = run(cli(&server, &["--scan", "--pattern", "key:12*"]), b"").out;
        assert_eq!(output.lines().count(), 11, "{output}");
    }

    #[test]
    fn stat_prints_a_line_each_interval() {
        let server = start();
        fill(&server, 10);
        let lines = first_lines(cli(&server, &["--stat", "-i", "0.05"]), 4);
        assert!(lines[0].contains("data"), "{lines:?}");
        assert!(lines[2].trim_start().starts_with("10 "), "{lines:?}");
    }

    #[test]
    fn latency_is_sampled() {
        let server = start();
        let output = run(cli(&server, &["--latency", "-i", "1"]), b"");
        let numbers: Vec<f64> =
            output.out.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [_min, _max, _average, samples] = numbers[..] else { panic!("{output:?}") };
        assert!(samples > 10.0, "{output:?}");
    }

    #[test]
    fn bigkeys_names_the_biggest() {
        let server = start();
        fill(&server, 100);
        server.client().command(&["SET", "big", &"x".repeat(100_000)]);
        let output = run(cli(&server, &["--bigkeys"]), b"");
        assert!(output.out.contains("Sampled 101 keys"), "{output:?}");
        assert!(
            output.out.contains("Biggest string found '\"big\"' has 100000 bytes"),
            "{output:?}"
        );
    }

    #[test]
    fn rdb_fetches_a_file_that_stock_tools_accept() {
        let server = start();
        fill(&server, 1000);
        let file = server.folder().join("fetched.rdb");
        let name = file.to_string_lossy().into_owned();
        let output = run(cli(&server, &["--rdb", &name]), b"");
        assert_eq!(output.code, Some(0), "{output:?}");
        let mut check = Command::new(stock("redis-check-rdb"));
        check.arg(&file);
        let output = run(check, b"");
        assert!(output.out.contains("RDB looks OK!"), "{output:?}");
        assert!(output.out.contains("1000 keys read"), "{output:?}");
        assert_eq!(server.client().text("PING"), "PONG");
    }

    #[test]
    fn interactive_session_through_standard_input() {
        let server = start();
        let typed = "set greeting \"hello world\"\nget greeting\nincr number\nnosuch\nmulti\n\
                     set greeting again\nexec\nget greeting\nselect 3\nget greeting\nhello 3\n";
        let output = run(cli(&server, &[]), typed.as_bytes()).out;
        let lines: Vec<&str> = output.lines().filter(|line| !line.is_empty()).collect();
        let error = "ERR unknown command 'nosuch', with args beginning with: ";
        let expected = ["OK", "hello world", "1", error, "OK", "QUEUED", "OK", "again", "OK"];
        assert_eq!(lines[..expected.len()], expected, "{output}");
        assert!(output.contains("proto"), "{output}");
    }

    #[test]
    fn options_that_change_the_connection() {
        let server = start();
        assert_eq!(run(cli(&server, &["-n", "5", "set", "key", "five"]), b"").out.trim(), "OK");
        assert_eq!(run(cli(&server, &["-n", "5", "-3", "get", "key"]), b"").out.trim(), "five");
        assert_eq!(run(cli(&server, &["get", "key"]), b"").out.trim(), "");
        assert_eq!(run(cli(&server, &["-x", "set", "key"]), b"from input").out.trim(), "OK");
        assert_eq!(
            run(cli(&server, &["--no-raw", "get", "key"]), b"").out.trim(),
            "\"from input\""
        );
        assert_eq!(run(cli(&server, &["-r", "3", "incr", "n"]), b"").out, "1\n2\n3\n");
        assert_eq!(
            run(cli(&server, &["--csv", "mget", "key", "n"]), b"").out.trim(),
            "\"from input\",\"3\""
        );
    }

    #[test]
    fn benchmark_runs_its_tests() {
        let server = start();
        for more in [&[][..], &["-P", "16", "-r", "1000"], &["-3"]] {
            let mut command = Command::new(stock("redis-benchmark"));
            command.args(["-p", &server.port().to_string(), "-n", "2000", "-c", "20", "-q"]);
            command.args(["-t", "ping_inline,ping_mbulk,set,get,incr,mset"]).args(more);
            let output = run(command, b"");
            assert_eq!(output.code, Some(0), "{output:?}");
            let said = output.out.replace('\r', "\n");
            let done = said.lines().filter(|line| line.contains("requests per second")).count();
            assert_eq!(done, 6, "{said}");
            assert!(!said.contains("Error") && !output.err.contains("Error"), "{output:?}");
        }
    }
}
