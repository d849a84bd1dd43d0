//! `cargo xtask test`: all tests, with one command on a fresh machine.
//!
//! Tests that need stock programs are in modules named [`WITH_PEERS`]. If these programs are missing and cannot be installed,
//! such tests are skipped and counted; in CI that is a failure. The last line is `N passed, N failed, N skipped` for all
//! runners.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::{Result, peers, sh};
use russet_e2e::program;

/// The name of modules with tests that need stock programs.
const WITH_PEERS: &str = "with_peers::";

/// Runs all tests, or those that `words` select as arguments of the runner.
pub fn run(words: &[String]) -> Result {
    let missing = peers::provide();
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    if ci && !missing.is_empty() {
        return Err(format!("CI needs {}: {}", missing.join(", "), peers::ADVICE));
    }
    println!("Building the server and the tests, which takes some minutes the first time.");
    let server = program::build(&[]);
    let mut count = Count::default();
    let mut succeeded = true;
    for mut command in runners(words, missing.is_empty()) {
        command.env("RUSSET_BIN", &server).env("CARGO_TERM_COLOR", "never");
        succeeded &= run_counting(command, &mut count)?;
    }
    if !missing.is_empty() {
        let skipped = count_tests_with_peers()?;
        count.skipped += skipped;
        println!("\n{skipped} tests were skipped: they need {}.", missing.join(", "));
        println!("To install these programs:\n    {}", peers::ADVICE);
    }
    println!("\n{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    if !succeeded {
        return Err("some tests failed".into());
    }
    if count.passed == 0 { Err("no test ran".into()) } else { Ok(()) }
}

/// Returns the commands that run all tests once.
fn runners(words: &[String], with_peers: bool) -> Vec<Command> {
    if sh::succeeds(sh::cargo(&["nextest", "--version"])) {
        let mut tests = sh::cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]);
        if !with_peers {
            tests.args(["--filterset", &format!("not test({WITH_PEERS})")]);
        }
        tests.args(words);
        // nextest does not run examples of documentation.
        let examples = sh::cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]);
        return if words.is_empty() { vec![tests, examples] } else { vec![tests] };
    }
    let mut tests = sh::cargo(&["test", "--workspace", "--no-fail-fast", "--"]);
    if !with_peers {
        tests.args(["--skip", WITH_PEERS]);
    }
    tests.args(words);
    vec![tests]
}

/// Returns the number of tests that need stock programs.
fn count_tests_with_peers() -> Result<u64> {
    let list = sh::output(sh::cargo(&["test", "--quiet", "--workspace", "--", "--list"]))?;
    let names = list.lines().filter(|l| l.ends_with(": test") && l.contains(WITH_PEERS));
    Ok(names.count() as u64)
}

/// The sums of the runners' results.
#[derive(Default, Debug, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Count {
    /// Adds the counts of a closing line of `cargo test` or nextest; other lines have none. Nextest
    /// shows the output of a failed test indented, with a closing line that counts it again.
    fn read(&mut self, line: &str) {
        let is_summary = line.starts_with("test result: ")
            || (line.trim_start().starts_with("Summary [") && line.contains(" run: "));
        if !is_summary {
            return;
        }
        let words: Vec<&str> = line.trim().split([' ', ',', ';', '(', ')']).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" | "timed" => self.failed += number,
                "ignored" | "skipped" => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// Runs a command, passes its output on and counts the results in it. Returns whether it succeeded.
fn run_counting(mut command: Command, count: &mut Count) -> Result<bool> {
    // One runner reports to standard output, the other to standard error.
    let (reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
    let copy = writer.try_clone().map_err(|e| e.to_string())?;
    command.stdin(Stdio::null()).stdout(copy).stderr(writer);
    let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
    drop(command); // closes our write ends of the pipe
    let mut out = std::io::stdout().lock();
    let mut lines = BufReader::new(reader);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        let _ = out.write_all(&line); // it may be closed
        count.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(child.wait().map_err(|e| e.to_string())?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_both_runners_are_counted() {
        let mut count = Count::default();
        count.read("running 3 tests");
        count.read("test result: ok. 3 passed; 1 failed; 2 ignored; 0 measured; 9 filtered out");
        assert_eq!(count, Count { passed: 3, failed: 1, skipped: 2 });
        count.read("     Summary [   1.2s] 7 tests run: 5 passed (1 slow), 2 failed, 4 skipped");
        count.read("     Summary [   1.2s] 1 test run: 0 passed, 1 timed out, 0 skipped");
        assert_eq!(count, Count { passed: 8, failed: 4, skipped: 6 });
        count.read("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured");
        assert_eq!(count, Count { passed: 8, failed: 4, skipped: 6 });
    }
}
