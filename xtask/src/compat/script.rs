//! Reads the suite's scripts: their blocks, and which tests start servers.
//!
//! Tcl itself finds the end of a block by counting braces, also those in quotes, so that is exact.

use std::ops::Range;

/// What begins a server.
const START: &str = "start_server";

/// The tests of a unit and the servers that it starts.
pub struct Servers {
    tests: Vec<Block>,
    /// The lines in which servers are started outside of tests.
    outside: Vec<usize>,
}

impl Servers {
    /// Reads a unit.
    pub fn of(source: &str) -> Servers {
        let tests = blocks(source, "test ");
        let is_outside = |at: &usize| !tests.iter().any(|test| test.lines.contains(at));
        let starts = source.lines().enumerate().filter(|(_, line)| is_start(line));
        let outside = starts.map(|(at, _)| at).filter(is_outside).collect();
        Servers { tests, outside }
    }

    /// Whether a server of this test is among those that did not start between the end of the test before and its own: the
    /// suite says that it passed, but none of its code ran.
    pub fn ran_no_code(&self, before: Option<&str>, name: &str, failed_starts: usize) -> bool {
        let test = |name: &str| self.tests.iter().find(|test| test.name == name);
        let Some(this) = test(name).filter(|test| test.body.lines().any(is_start)) else {
            return false;
        };
        let from = before.and_then(test).map_or(0, |test| test.lines.start);
        let between = from..this.lines.start;
        failed_starts > self.outside.iter().filter(|at| between.contains(at)).count()
    }
}

fn is_start(line: &str) -> bool {
    line.contains(START)
}

/// A part of a script in braces.
pub struct Block {
    pub name: String,
    /// Its lines, from 0.
    pub lines: Range<usize>,
    /// Its text, without the name.
    pub body: String,
}

/// Returns the blocks that begin with this word, each up to the line in which its braces are closed.
pub fn blocks(source: &str, word: &str) -> Vec<Block> {
    let lines: Vec<&str> = source.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix(word) else { continue };
        let rest = rest.trim_start();
        let name = match rest.chars().next() {
            Some('{') => rest[1..].split('}').next(),
            Some('"') => rest[1..].split('"').next(),
            _ => rest.split_whitespace().next(),
        };
        let mut depth = 0;
        let end = lines[first..].iter().position(|line| {
            depth += braces(line);
            depth <= 0
        });
        let range = first..end.map_or(lines.len(), |end| first + end + 1);
        if let Some(name) = name {
            // The name of a test is no code.
            let body = lines[range.clone()].join("\n").replacen(name, "", 1);
            found.push(Block { name: name.to_owned(), lines: range, body });
        }
    }
    found
}

/// Returns how many more braces a line opens than it closes. A backslash makes one an ordinary character.
fn braces(line: &str) -> i32 {
    let mut escaped = false;
    let mut depth = 0;
    for c in line.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_belongs_to_a_test_if_none_outside_is_left() {
        let servers = Servers::of(
            "test {a} {\n}\nstart_server {} {\n  test {b} {\n  }\n}\ntest {c} {\n  start_server {}\n}\n",
        );
        assert!(!servers.ran_no_code(Some("a"), "c", 1), "that of b");
        assert!(servers.ran_no_code(Some("a"), "c", 2));
        assert!(servers.ran_no_code(Some("b"), "c", 1));
        assert!(!servers.ran_no_code(None, "b", 3), "it starts none");
    }
}
