//! The list of upstream's tests that are known to fail, each with its reason: `unit | name | reason`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::needs::FORKED_PROCESS;
use crate::sh::{self, Result};

/// Opens the file.
const HEAD: &str = "\
# Tests of upstream's suite that fail or do not run against Russet, and why.
# `cargo xtask compat` compares with this list; `--update` rewrites its names and keeps the reasons.
# A test that uses a missing command or type, or a forked process, fails without being listed (src/compat/needs.rs).
# One whose reason begins with `needs ` waits for a feature too, and one with `without fork` makes no sense here: neither counts
# for the percentage.
# A reason that begins with `left out: ` keeps the test from being run: it would leave the server or the shared
# client in a state that makes the tests behind it fail.
# unit | test | reason
";

/// Opens the reason of a test that is not run, since others would fail from it.
const LEFT_OUT: &str = "left out: ";

/// What keeps a test from passing that is no defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// A feature that is not there yet.
    Feature,
    /// A forked process, which there will never be.
    Fork,
}

/// How the reasons of such tests begin; the first that fits counts.
const WAITS: &[(&str, Waits)] = &[
    ("without fork", Waits::Fork),
    ("needs a forked process", Waits::Fork),
    ("follows from a test that needs a forked process", Waits::Fork),
    ("needs ", Waits::Feature),
    ("follows from a test that needs ", Waits::Feature),
];

/// What tests need by their source, by name.
pub type Needs = BTreeMap<String, String>;

/// What a test gets that nobody has explained yet.
const UNEXPLAINED: &str = "?";

/// The list.
#[derive(Default)]
pub struct Expected {
    reasons: BTreeMap<(String, String), String>,
}

impl Expected {
    /// Reads it; without a file nothing is expected to fail.
    pub fn read() -> Result<Expected> {
        match fs::read_to_string(path()) {
            Ok(text) => Expected::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Expected::default()),
            Err(error) => Err(format!("{}: {error}", path().display())),
        }
    }

    fn parse(text: &str) -> Result<Expected> {
        let mut reasons = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // A name may hold the separator; a unit and a reason do not.
            let parts = line.split_once(" | ");
            let parts = parts.and_then(|(unit, rest)| Some((unit, rest.rsplit_once(" | ")?)));
            let (unit, (name, reason)) = parts.ok_or_else(|| format!("not a row: {line}"))?;
            reasons.insert((unit.to_owned(), name.to_owned()), reason.to_owned());
        }
        Ok(Expected { reasons })
    }

    /// Complaints about what failed unexpectedly and what passed unexpectedly. Tests with `needs` may fail unlisted.
    pub fn compare(&self, unit: &str, bad: &BTreeSet<String>, needs: &Needs) -> Vec<String> {
        let known: BTreeSet<String> = self.names(unit).collect();
        let new = bad.difference(&known).filter(|name| !needs.contains_key(*name));
        let new = new.map(|name| format!("{unit}: not expected to fail: {name}"));
        let fixed = known.difference(bad).map(|name| format!("{unit}: passes, unlist it: {name}"));
        new.chain(fixed).collect()
    }

    /// Tests of the unit that are not to be run.
    pub fn left_out(&self, unit: &str) -> Vec<&str> {
        let rows = self.reasons.iter().filter(|((of, _), _)| of == unit);
        let rows = rows.filter(|(_, reason)| reason.starts_with(LEFT_OUT));
        rows.map(|((_, name), _)| name.as_str()).collect()
    }

    /// Returns why a test cannot pass that is no defect: by its reason, or else by what it needs.
    pub fn waits(&self, unit: &str, name: &str, needs: &Needs) -> Option<Waits> {
        let by_reason = self.reasons.get(&(unit.to_owned(), name.to_owned())).and_then(|reason| {
            let text = reason.strip_prefix(LEFT_OUT).unwrap_or(reason);
            let found = WAITS.iter().find(|(start, _)| text.starts_with(start));
            found.map(|(_, waits)| *waits)
        });
        let by_need = |need: &String| match need.as_str() {
            FORKED_PROCESS => Waits::Fork,
            _ => Waits::Feature,
        };
        by_reason.or_else(|| needs.get(name).map(by_need))
    }

    /// Returns why a test fails or waits, for the page: what it needs, or else its reason.
    pub fn why(&self, unit: &str, name: &str, needs: &Needs) -> Option<String> {
        let listed = || {
            let reason = self.reasons.get(&(unit.to_owned(), name.to_owned()))?;
            let text = reason.strip_prefix(LEFT_OUT).unwrap_or(reason);
            Some(text.strip_prefix("needs ").unwrap_or(text).to_owned())
        };
        needs.get(name).map(|need| need.to_uppercase()).or_else(listed)
    }

    /// Takes `bad` as what is expected of the unit; known reasons stay.
    pub fn replace(&mut self, unit: &str, bad: &BTreeSet<String>, needs: &Needs) {
        self.reasons.retain(|(of, name), _| of != unit || bad.contains(name));
        for name in bad.iter().filter(|name| !needs.contains_key(*name)) {
            let key = (unit.to_owned(), name.clone());
            self.reasons.entry(key).or_insert_with(|| UNEXPLAINED.to_owned());
        }
    }

    /// Writes the file.
    pub fn write(&self) -> Result {
        fs::write(path(), self.text()).map_err(|e| format!("{}: {e}", path().display()))
    }

    fn text(&self) -> String {
        let rows = self.reasons.iter();
        let rows = rows.map(|((unit, name), reason)| format!("{unit} | {name} | {reason}\n"));
        HEAD.to_owned() + &rows.collect::<String>()
    }

    fn names(&self, unit: &str) -> impl Iterator<Item = String> {
        self.reasons.keys().filter(move |(of, _)| of == unit).map(|(_, name)| name.clone())
    }
}

fn path() -> PathBuf {
    sh::root().join("xtask/compat-expected.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_update_keeps_reasons_and_other_units() {
        let text = "# head\na | x | why | x\nb | y | no\n";
        let mut expected = Expected::parse(text).expect("well formed");
        let none = Needs::new();
        let needs = Needs::from([("w".to_owned(), "lpush".to_owned())]);
        expected.replace("b", &names(&["w", "y", "z"]), &needs);
        assert_eq!(expected.text(), format!("{HEAD}a | x | why | x\nb | y | no\nb | z | ?\n"));
        expected.replace("a", &names(&[]), &none);
        assert_eq!(expected.text(), format!("{HEAD}b | y | no\nb | z | ?\n"));
    }

    #[test]
    fn what_would_spoil_others_is_left_out() {
        let text = "a | x | left out: it stays in MULTI\na | y | no\nb | z | left out: too\n";
        assert_eq!(Expected::parse(text).expect("well formed").left_out("a"), ["x"]);
    }

    #[test]
    fn both_kinds_of_surprise_are_told() {
        let expected = Expected::parse("a | x | why\n").expect("well formed");
        let (none, needs) = (Needs::new(), Needs::from([("y".to_owned(), "lpush".to_owned())]));
        assert!(expected.compare("a", &names(&["x"]), &none).is_empty());
        assert_eq!(expected.compare("a", &names(&["y"]), &none).len(), 2);
        assert_eq!(expected.compare("a", &names(&["y"]), &needs), ["a: passes, unlist it: x"]);
        assert!(expected.compare("b", &names(&[]), &none).is_empty());
    }

    #[test]
    fn what_waits_for_a_feature() {
        let text = "a | x | left out: needs lists\na | y | no\na | z | without fork: no child\n";
        let expected = Expected::parse(text).expect("well formed");
        let need = |name: &str, need: &str| (name.to_owned(), need.to_owned());
        let needs =
            Needs::from([need("w", "lpush"), need("z", "lpush"), need("f", FORKED_PROCESS)]);
        let waits = ["w", "x", "y", "z", "f", "q"].map(|name| expected.waits("a", name, &needs));
        let (feature, fork) = (Some(Waits::Feature), Some(Waits::Fork));
        assert_eq!(waits, [feature, feature, None, fork, fork, None]);
    }
}
