//! What the suite prints, as outcomes by test name.
//!
//! ```text
//!   [ok]: SET and GET an item (1 ms)
//!   [err]: INCR over 32bit value in tests/unit/type/incr.tcl
//!   Expected … (the detail, until the next bracket)
//!   [ignore]: name: large memory flag not provided
//!   [exception]: Executing test client: …
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::script::{Servers, blocks};

/// The error of a server that does not start.
const NO_SERVER: &str = "Can't start the Valkey server";

/// The name of the only test of a unit that has none.
const WHOLE_UNIT: &str = "the unit";

/// Outcomes of one unit, or of several together.
#[derive(Default)]
pub struct Outcomes {
    /// Names that passed, each as often as it did.
    passed: Vec<String>,
    /// Names that failed, with what was said of them.
    pub failed: BTreeMap<String, String>,
    /// Names that a tag leaves out.
    ignored: Vec<String>,
    /// Names that stand in the file and were never seen.
    pub not_run: BTreeSet<String>,
    /// Why the unit ended before its end.
    pub ended_early: Option<String>,
    /// The failure whose detail the next lines are.
    open: Option<String>,
    /// Servers that did not start since a test has ended.
    failed_starts: usize,
    /// The last test that has ended.
    last: Option<String>,
    /// Tests that passed after such failures: the one before, the name, and how many servers failed.
    doubtful: Vec<(Option<String>, String, usize)>,
    /// Whether the suite said that the unit was done.
    done: bool,
    /// Whether the lines are now the summary, which repeats what was said.
    in_summary: bool,
}

impl Outcomes {
    /// Reads one line of the suite's output.
    pub fn read(&mut self, line: &str) {
        let line = without_colours(line);
        self.in_summary = self.in_summary || line.trim() == "The End";
        if self.in_summary {
            return;
        }
        let Some((kind, rest)) = bracketed(&line) else {
            return self.read_detail(&line);
        };
        self.open = None;
        match kind {
            "ok" => {
                let name = without_duration(rest).to_owned();
                let before = self.last.replace(name.clone());
                match std::mem::take(&mut self.failed_starts) {
                    0 => self.passed.push(name),
                    failed => self.doubtful.push((before, name, failed)),
                }
            }
            "err" => {
                let name = without_file(rest).to_owned();
                if name == NO_SERVER {
                    self.failed_starts += 1;
                } else {
                    self.failed_starts = 0;
                    self.last = Some(name.clone());
                }
                self.failed.insert(name.clone(), String::new());
                self.open = Some(name);
            }
            // Without a name it is the reason why a whole block is left out.
            "ignore" => self.ignored.push(rest.to_owned()),
            "exception" | "TIMEOUT" => self.ended_early = Some(rest.to_owned()),
            _ if kind.ends_with("done") => self.done = true,
            _ => {}
        }
    }

    /// A test has passed.
    pub fn pass(&mut self, name: String) {
        self.open = None;
        self.passed.push(name);
    }

    /// A test has failed; the next lines may say more.
    pub fn fail(&mut self, name: String, why: &str) {
        self.failed.insert(name.clone(), why.to_owned());
        self.open = Some(name);
    }

    /// The suite says that the unit has ended.
    pub fn end(&mut self) {
        self.done = true;
    }

    /// Reads a line that belongs to the outcome before it.
    pub fn read_detail(&mut self, line: &str) {
        let text = match (&self.open, &mut self.ended_early) {
            (Some(name), _) => self.failed.get_mut(name),
            (None, early) => early.as_mut(),
        };
        // The first lines say what is wrong; a stack of twenty more does not.
        if let Some(text) = text.filter(|text| text.lines().count() < 6 && !line.is_empty()) {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
        }
    }

    /// The unit has ended: names that stand in its file and were not seen were not run.
    pub fn finish(&mut self, names: &BTreeSet<String>, servers: &Servers) {
        for (before, name, failed) in std::mem::take(&mut self.doubtful) {
            if servers.ran_no_code(before.as_deref(), &name, failed) {
                self.failed.insert(name, "its server did not start".to_owned());
            } else {
                self.passed.push(name);
            }
        }
        if !self.done && self.ended_early.is_none() {
            self.ended_early = Some("the suite ended without saying why".into());
        }
        let seen = |name: &String| {
            self.passed.contains(name)
                || self.failed.contains_key(name)
                || self.ignored.iter().any(|text| text.starts_with(name.as_str()))
        };
        // A block that a tag leaves out is not named test by test.
        let blocks = self.ignored.iter().any(|text| text.starts_with("Tag:"));
        if self.ended_early.is_some() || !self.failed.is_empty() || !blocks {
            self.not_run = names.iter().filter(|name| !seen(name)).cloned().collect();
        }
        // A unit may consist of assertions outside of tests: then it is one.
        if names.is_empty() && self.passed.is_empty() && self.failed.is_empty() {
            match self.ended_early {
                None => self.passed.push(WHOLE_UNIT.to_owned()),
                Some(_) => _ = self.not_run.insert(WHOLE_UNIT.to_owned()),
            }
        }
    }

    /// Names of tests that failed or did not run.
    pub fn bad_names(&self) -> BTreeSet<String> {
        self.failed.keys().chain(&self.not_run).cloned().collect()
    }

    /// Number of different names that passed each time.
    pub fn passed_names(&self) -> usize {
        let names: BTreeSet<_> = self.passed.iter().collect();
        names.iter().filter(|name| !self.failed.contains_key(**name)).count()
    }

    /// Adds another unit's.
    pub fn add(&mut self, other: Outcomes) {
        self.passed.extend(other.passed);
        self.failed.extend(other.failed);
        self.ignored.extend(other.ignored);
        self.not_run.extend(other.not_run);
    }

    /// A line of the table.
    pub fn line(&self, unit: &str) -> String {
        let (passed, failed) = (self.passed.len(), self.failed.len());
        let (ignored, not_run) = (self.ignored.len(), self.not_run.len());
        format!("{unit:<41}{passed:>9}{failed:>9}{ignored:>9}{not_run:>9}")
    }
}

/// Names of the tests that stand in a unit's source. Those that are put together when it runs are left out.
pub fn names_in(source: &str) -> BTreeSet<String> {
    // What upstream has switched off.
    let off = blocks(source, "if {0} ");
    let is_on = |at: usize| !off.iter().any(|block| block.lines.contains(&at));
    let lines = source.lines().enumerate().filter(|(at, _)| is_on(*at));
    lines.filter_map(|(_, line)| name_in(line)).collect()
}

fn name_in(line: &str) -> Option<String> {
    let rest = line.trim_start().strip_prefix("test ")?.trim_start();
    let (close, substituted) = match rest.chars().next()? {
        '{' => ('}', false),
        '"' => ('"', true),
        _ => return None,
    };
    let (name, _) = rest[1..].split_once(close)?;
    let is_plain = !substituted || !name.contains(['$', '[', '\\']);
    (is_plain && !name.contains('{')).then(|| name.to_owned())
}

/// `[kind]: rest`, behind the dots with which the suite shows while a test is silent that it is alive.
fn bracketed(line: &str) -> Option<(&str, &str)> {
    line.trim_start_matches('.').strip_prefix('[')?.split_once("]: ")
}

/// Without ` (12 ms)` at the end.
fn without_duration(text: &str) -> &str {
    text.rsplit_once(" (").filter(|(_, end)| end.ends_with(" ms)")).map_or(text, |(name, _)| name)
}

/// Without ` in tests/unit/x.tcl` at the end.
fn without_file(text: &str) -> &str {
    text.rsplit_once(" in tests/").map_or(text, |(name, _)| name)
}

/// Without the terminal's colour sequences, `ESC [ … m`.
pub fn without_colours(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push_str(piece.split_once('m').map_or("", |(_, rest)| rest));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_by_name() {
        let mut outcomes = Outcomes::default();
        for line in [
            "[ready]: 123",
            "\u{1b}[1;37mTesting unit/a\u{1b}[0m",
            "[\u{1b}[0;32mok\u{1b}[0m]: first (in brackets) (2 ms)",
            "[err]: second in tests/unit/a.tcl",
            "Expected 1",
            "[ignore]: third: large memory flag not provided",
            "..[ok]: fifth (2004 ms)",
            "[1/1 done]: unit/a (1 seconds)",
            "                   The End",
            "*** [err]: second in tests/unit/a.tcl",
        ] {
            outcomes.read(line);
        }
        let names = ["first (in brackets)", "second", "third", "fourth", "fifth"];
        outcomes.finish(&names.iter().map(|name| (*name).to_owned()).collect(), &Servers::of(""));
        assert_eq!(outcomes.passed, ["first (in brackets)", "fifth"]);
        assert_eq!(outcomes.failed["second"], "Expected 1");
        assert_eq!(outcomes.not_run.iter().collect::<Vec<_>>(), ["fourth"]);
        assert_eq!(outcomes.ended_early, None);
    }

    #[test]
    fn an_exception_ends_a_unit_early() {
        let mut outcomes = Outcomes::default();
        outcomes.read("[exception]: Executing test client: no such thing.");
        outcomes.read("more of it");
        outcomes.finish(&BTreeSet::from(["never".to_owned()]), &Servers::of(""));
        let reason = "Executing test client: no such thing.\nmore of it";
        assert_eq!(outcomes.ended_early.as_deref(), Some(reason));
        assert_eq!(outcomes.not_run.len(), 1);
    }

    #[test]
    fn a_test_whose_server_did_not_start_has_not_passed() {
        let mut outcomes = Outcomes::default();
        for line in [
            "[err]: Can't start the Valkey server",
            "[ok]: starts one (1 ms)",
            "[err]: Can't start the Valkey server",
            "[ok]: uses another (1 ms)",
            "[1/1 done]: unit/a (1 seconds)",
        ] {
            outcomes.read(line);
        }
        outcomes.finish(
            &BTreeSet::new(),
            &Servers::of("test {starts one} {\n  start_server {}\n}\nstart_server {}\n"),
        );
        assert_eq!(outcomes.passed, ["uses another"]);
        assert!(outcomes.failed.contains_key("starts one"));
    }

    #[test]
    fn a_unit_without_tests_is_one() {
        let mut outcomes = Outcomes::default();
        outcomes.read("[1/1 done]: unit/a (1 seconds)");
        outcomes.finish(&BTreeSet::new(), &Servers::of(""));
        assert_eq!(outcomes.passed_names(), 1);
        let mut outcomes = Outcomes::default();
        outcomes.read("[exception]: Executing test client: assertion:5 is not 6");
        outcomes.finish(&BTreeSet::new(), &Servers::of(""));
        assert_eq!(outcomes.passed_names(), 0);
        assert_eq!(outcomes.bad_names(), BTreeSet::from([WHOLE_UNIT.to_owned()]));
    }

    #[test]
    fn names_stand_in_braces_or_quotes() {
        assert_eq!(name_in("    test {A b} {").as_deref(), Some("A b"));
        assert_eq!(name_in("test \"A b\" {").as_deref(), Some("A b"));
        assert_eq!(name_in("test \"A $b\" {"), None);
        assert_eq!(name_in("# test {A b} {"), None);
        let source = "test {a} {\n}\nif {0} {\n  test {b} {\n  }\n}\ntest {c} {\n}\n";
        assert_eq!(names_in(source), ["a", "c"].map(str::to_owned).into());
    }
}
