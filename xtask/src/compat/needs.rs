//! What a test needs that Russet does not have yet, derived from its source: commands that are missing, values of types
//! that are missing in payloads of RESTORE, and forked processes. Such a test is not expected to pass, and nobody has to
//! list it.
//!
//! Commands also count in an append-only file that a test writes, or that is written before it for the server that it uses.
//!
//! What is missing is read from the generated parts of `docs/commands.md` and `docs/compatibility.md`.
//!
//! Which words are commands of a server is a guess by their place: behind `r`, a variable (`$rd`, `$master`), or `R` or `S` and
//! a number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::script::{Block, blocks};
use crate::sh::{self, Result};

/// Procedures of the suite's library that create values of all types.
const LIBRARY: &[(&str, &str)] =
    &[("createComplexDataset", "lpush"), ("generate_collections", "lpush")];

/// Mark a test that looks for the process that a server forks, or counts them.
const CHILD: &[&str] = &["get_child_pid", "total_forks"];

/// What such a test needs.
pub const FORKED_PROCESS: &str = "a forked process";

/// What Russet does not have yet.
#[derive(Debug, Default)]
pub struct Missing {
    /// Commands, lower case, with a space before a subcommand.
    commands: BTreeSet<String>,
    /// Names of types by their byte in files.
    types: BTreeMap<u8, String>,
}

impl Missing {
    /// Reads the pages.
    pub fn read() -> Result<Missing> {
        let page = |name: &str| {
            let path = sh::root().join("docs").join(name);
            fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
        };
        Ok(Missing::parse(&page("commands.md")?, &page("compatibility.md")?))
    }

    fn parse(commands: &str, compatibility: &str) -> Missing {
        let (_, list) = commands.split_once("## Not implemented yet").unwrap_or_default();
        let names = list.lines().filter_map(|line| line.strip_prefix("* **")?.split_once("**: "));
        let names = names.flat_map(|(_, names)| names.split(", ").map(str::to_lowercase));
        let (_, table) = compatibility.split_once("<!-- generated: types -->").unwrap_or_default();
        let (table, _) = table.split_once("<!-- end -->").unwrap_or_default();
        let types = table.lines().filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, _, byte, _] = cells[..] else { return None };
            Some((byte.parse().ok()?, name.to_owned()))
        });
        Missing { commands: names.collect(), types: types.collect() }
    }

    /// Returns what a failure shows that its name is an error's text, which the suite cuts: a missing command.
    pub fn of_error(&self, name: &str) -> Option<String> {
        let (command, _) = name.strip_prefix("n command '")?.split_once('\'')?;
        Some(command.to_lowercase()).filter(|command| self.commands.contains(command))
    }

    /// Returns what each test of a unit needs and Russet lacks. A test that needs nothing is left out.
    pub fn needs(&self, source: &str) -> BTreeMap<String, String> {
        let procs = self.procs(source);
        let payloads = payloads(source);
        let need = |block: &Block| self.need(&block.body, &procs, &payloads);
        let tests = blocks(source, "test ");
        // Files that are written and servers that are started outside of tests, for those behind.
        let is_outside =
            |block: &Block| !tests.iter().any(|test| test.lines.contains(&block.lines.start));
        let files =
            blocks(source, "create_aof ").into_iter().filter(is_outside).collect::<Vec<_>>();
        let servers = source.lines().enumerate().filter(|(_, line)| line.contains("start_server"));
        let servers: Vec<_> = servers.collect();
        let before = |test: &Block| {
            let first = test.lines.start;
            if test.body.contains("start_server") {
                return None;
            }
            let (_, server) = servers.iter().rfind(|(at, _)| *at < first)?;
            let file = files.iter().rfind(|file| file.lines.start < first)?;
            server.contains("start_server_aof").then(|| need(file)).flatten()
        };
        let needs = tests
            .iter()
            .filter_map(|test| Some((test.name.clone(), need(test).or_else(|| before(test))?)));
        // Of two tests of a name, the first.
        let mut found = BTreeMap::new();
        needs.for_each(|(name, need)| _ = found.entry(name).or_insert(need));
        self.add_readers(source, &tests, &mut found);
        found
    }

    /// Returns what the procedures of a source need.
    fn procs(&self, source: &str) -> BTreeMap<String, String> {
        let library = LIBRARY.iter().filter(|(_, command)| self.commands.contains(*command));
        let mut procs: BTreeMap<String, String> =
            library.map(|(name, command)| ((*name).to_owned(), (*command).to_owned())).collect();
        let blocks = blocks(source, "proc ");
        // They may call each other, in any order.
        for _ in 0..4 {
            for block in &blocks {
                if let Some(need) = self.need(&block.body, &procs, &BTreeMap::new()) {
                    procs.entry(block.name.clone()).or_insert(need);
                }
            }
        }
        procs
    }

    /// Returns the name of a command if it is missing. `next`: the word behind, which may be a subcommand.
    fn missing_command(&self, command: &str, next: &str) -> Option<String> {
        let command = command.to_lowercase();
        let with_sub = format!("{command} {}", next.to_lowercase());
        [command, with_sub].into_iter().find(|name| self.commands.contains(name))
    }

    /// Adds the tests that read the reply to a missing command which another test before them has sent: on a connection in a
    /// variable, such as one that blocks until that test.
    fn add_readers(&self, source: &str, tests: &[Block], needs: &mut BTreeMap<String, String>) {
        // By the name of the variable, with its dollar.
        let mut unanswered = BTreeMap::<String, String>::new();
        let lines: Vec<&str> = source.lines().collect();
        let mut begin = 0;
        for test in tests {
            let before = lines[begin..test.lines.start.max(begin)].iter();
            for name in before.filter_map(|line| line.trim_start().strip_prefix("set ")) {
                let name = name.split_whitespace().next().unwrap_or_default();
                unanswered.remove(&format!("${name}"));
            }
            begin = test.lines.end;
            let words: Vec<(bool, &str)> = words(&test.body).collect();
            for pair in words.windows(3) {
                let [(is_first, client), (_, command), (_, next)] = pair else { continue };
                if !is_first || !client.starts_with('$') {
                    continue;
                }
                if *command == "read"
                    && let Some(need) = unanswered.get(*client)
                {
                    needs.entry(test.name.clone()).or_insert_with(|| need.clone());
                }
                if let Some(name) = self.missing_command(command, next) {
                    unanswered.insert((*client).to_owned(), name);
                }
            }
        }
    }

    fn need(
        &self,
        body: &str,
        procs: &BTreeMap<String, String>,
        payloads: &BTreeMap<String, u8>,
    ) -> Option<String> {
        let words: Vec<(bool, &str)> = words(body).collect();
        let at = |index: usize| words.get(index).map_or("", |(_, word)| word);
        for (index, (is_first, word)) in words.iter().enumerate() {
            if CHILD.contains(word) {
                return Some(FORKED_PROCESS.to_owned());
            }
            if let Some(need) = procs.get(*word) {
                return Some(need.clone());
            }
            let first = match *word {
                "formatCommand" => index + 1,
                // A level of servers may be in between.
                "r" if *is_first => index + 1 + usize::from(at(index + 1).parse::<i32>().is_ok()),
                "R" | "Rn" | "S" if *is_first => index + 2,
                word if *is_first && word.starts_with('$') => index + 1,
                _ => continue,
            };
            if let Some(name) = self.missing_command(at(first), at(first + 1)) {
                return Some(name);
            }
            if at(first).eq_ignore_ascii_case("restore") {
                let payload = at(first + 3);
                let byte = first_byte(payload);
                let named = || payloads.get(payload.strip_prefix('$')?).copied();
                if let Some(name) = byte.or_else(named).and_then(|byte| self.types.get(&byte)) {
                    return Some(format!("values of type {name}"));
                }
            }
        }
        None
    }
}

/// Returns what the test of this name needs. A name in the source may have variables.
pub fn need_of<'n>(needs: &'n BTreeMap<String, String>, name: &str) -> Option<&'n String> {
    let begins = |pattern: &str| {
        pattern.split_once('$').is_some_and(|(start, _)| start.len() > 8 && name.starts_with(start))
    };
    let dynamic = || needs.iter().find(|(pattern, _)| begins(pattern)).map(|(_, need)| need);
    needs.get(name).or_else(dynamic)
}

/// Splits a script into words, at blanks, brackets, braces, quotes and semicolons, and tells of each whether it may be
/// the first of a command: at the start of a line, or behind what opens a script.
fn words(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let is_end = |c: char| c.is_whitespace() || "[]{}\";".contains(c);
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    code.flat_map(move |line| {
        let mut is_first = true;
        line.split_inclusive(is_end).filter_map(move |piece| {
            let word = piece.trim_end_matches(is_end);
            let found = (!word.is_empty()).then_some((is_first, word));
            is_first = match piece.chars().next_back() {
                Some('[' | '{' | ';') => true,
                _ => is_first && word.is_empty(),
            };
            found
        })
    })
}

/// Returns the first byte of a text such as `\x0E\x01`.
fn first_byte(text: &str) -> Option<u8> {
    u8::from_str_radix(text.strip_prefix("\\x")?.get(..2)?, 16).ok()
}

/// Returns the first bytes of payloads that are given names: `set name "\x0E…"`.
fn payloads(source: &str) -> BTreeMap<String, u8> {
    let named = source.lines().filter_map(|line| {
        let (name, value) = line.trim_start().strip_prefix("set ")?.split_once(' ')?;
        Some((name.to_owned(), first_byte(value.trim_start_matches(['"', '{']))?))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMANDS: &str =
        "`LPUSH`\n## Not implemented yet\n\n* **list**: LPUSH, RPUSH\n* **x**: ACL SETUSER, EVAL\n";
    const TYPES: &str = "<!-- generated: types -->\n| type | form | byte |\n|---|---|---|\n| list | plain | 14 |\n<!-- end -->\n| set | no | 2 |";

    fn needs(source: &str) -> Vec<(String, String)> {
        Missing::parse(COMMANDS, TYPES).needs(source).into_iter().collect()
    }

    #[test]
    fn commands_behind_clients() {
        let source = "\
            proc fill {} {\n  r rpush a b\n}\n\
            test {one} {\n  r set a lpush\n  # r lpush a\n}\n\
            test {two} {\n  set x [$rd LPUSH a b]\n}\n\
            test {three} {\n  fill\n}\n\
            test {of a level} {\n  assert_equal [r -1 eval x] 1\n}\n\
            test \"four\" {\n  r acl setuser x\n  r set \\{ \\}\n}\n\
            test \"of a Sentinel\" {\n  assert_equal 1 [S 1 ACL SETUSER x]\n}\n\
            test {no command} {\n  assert_equal $port [lpush 1]\n}\n\
            test \"with a variable: $x\" {\n  if {$x} { r rpush 1 2 }\n}\n\
            test {five with eval in its name} {\n  R 1 get x\n} {} {needs:debug}\n\
            r lpush between tests\n";
        let expected = [
            ("four", "acl setuser"),
            ("of a Sentinel", "acl setuser"),
            ("of a level", "eval"),
            ("three", "rpush"),
            ("two", "lpush"),
            ("with a variable: $x", "rpush"),
        ];
        assert_eq!(needs(source), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let found = needs(source).into_iter().collect();
        assert_eq!(need_of(&found, "with a variable: yes").map(String::as_str), Some("rpush"));
        assert_eq!(need_of(&found, "fours"), None);
    }

    #[test]
    fn replies_to_commands_of_other_tests() {
        let source = "\
            set rd [deferring]\n\
            test {sends} {\n  $rd lpush a b\n  $rd flush\n}\n\
            test {waits} {\n  assert_error {*x*} {$rd read}\n  r get a\n}\n\
            test {reads of another} {\n  assert_equal [$other read] 1\n  r get a\n}\n\
            set rd [deferring]\n\
            test {reads of a new one} {\n  assert_equal [$rd read] 1\n  r get a\n}\n\
            test {of a node} {\n  [Rn 0] lpush a b\n}\n";
        let names: Vec<String> = needs(source).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["of a node", "sends", "waits"]);
    }

    #[test]
    fn values_in_payloads() {
        let source = "\
            set bad \"\\x0E\\x01\"\n\
            test {named} {\n  r restore key 0 $bad\n}\n\
            test {list} {\n  catch {r restore key 0 \"\\x0E\\x01\"}\n}\n\
            test {string} {\n  r RESTORE key 0 \"\\x00\\x01a\"\n}\n";
        let names: Vec<String> = needs(source).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["list", "named"]);
    }

    #[test]
    fn commands_in_append_only_files() {
        let source = "\
            create_aof $dir $file {\n  append_to_aof [formatCommand rpush a b]\n}\n\
            start_server_aof {} {\n  test {with the file} {\n    r get a\n  }\n}\n\
            start_server {} {\n  test {without} {\n    r get a\n  }\n}\n\
            create_aof $dir $file {\n  append_to_aof [formatCommand set a b]\n}\n\
            start_server_aof {} {\n  test {with another} {\n    r get a\n  }\n}\n\
            test {its own} {\n  append_to_aof [formatCommand eval x]\n  start_server {} {\n  }\n}\n";
        let names: Vec<String> = needs(source).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["its own", "with the file"]);
    }

    #[test]
    fn forked_processes() {
        let needs = needs("test {a} {\n  exec kill [get_child_pid 0]\n}\n");
        assert_eq!(needs, [("a".to_owned(), "a forked process".to_owned())]);
    }
}
