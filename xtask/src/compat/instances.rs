//! The suites with runners of their own, which start many instances for each file of tests: `tests/sentinel` five Sentinels and
//! five servers, `tests/cluster` twenty nodes. A file is a unit `sentinel/NAME` or `cluster/NAME`.
//!
//! ```text
//!   12:00:00> Basic failover works if the primary is down: OK
//!   12:00:01> SDOWN is triggered: FAILED: Expected … (and the rest of the file is left out)
//!   GOOD! No errors.
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::farm::link_all;
use super::parse::Outcomes;
use crate::sh::Result;

/// The folders of the suites, in `tests`.
const FOLDERS: [&str; 2] = ["sentinel", "cluster"];

/// The runner in each of them.
const RUNNER: &str = "run.tcl";

/// The line of the runner behind which its settings may be changed.
const LIBRARY: &str = "source ../instances.tcl";

/// A test that runs only to see that failures are reported.
pub const SIMULATED: &str = "This test will fail";

/// Number of ports among which those of all Sentinels, or of all servers, are found.
const PORTS: u64 = 400;

/// A unit's folder and file of tests, if it belongs to one of these suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// The folder in `tests`.
    pub folder: &'a str,
    /// The file's name, without its extension.
    pub name: &'a str,
}

/// Splits the name of a unit.
pub fn file_of(unit: &str) -> Option<File<'_>> {
    let (folder, name) = unit.split_once('/')?;
    FOLDERS.contains(&folder).then_some(File { folder, name })
}

/// Returns the units in a folder of `tests`, in the order in which the suite runs them.
pub fn units(suite: &Path, folder: &str) -> Result<Vec<String>> {
    let files = suite.join("tests").join(folder);
    let files = if FOLDERS.contains(&folder) { files.join("tests") } else { files };
    units_in(&files, folder)
}

fn units_in(folder: &Path, prefix: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut units: Vec<String> =
        names.filter_map(|name| Some(format!("{prefix}/{}", name.strip_suffix(".tcl")?))).collect();
    units.sort();
    Ok(units)
}

/// Makes the folders below `root`: the suites write beside their tests. The ports of Sentinels and servers, for which they have no
/// option, are those from `base_port` on: those of two runs at a time must not know each other.
pub fn prepare(suite: &Path, root: &Path, base_port: u64) -> Result {
    FOLDERS.iter().try_for_each(|folder| prepare_folder(suite, root, folder, base_port))
}

fn prepare_folder(suite: &Path, root: &Path, folder: &str, base_port: u64) -> Result {
    let (from, to) = (suite.join("tests").join(folder), root.join("tests").join(folder));
    for folder in ["tmp", "tests"] {
        fs::create_dir_all(to.join(folder)).map_err(|e| format!("{folder}: {e}"))?;
    }
    link_all(&from.join("tests"), &to.join("tests"))?;
    let path = from.join(RUNNER);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let (sentinels, servers) = (base_port, base_port + PORTS);
    let set = format!(
        "{LIBRARY}\nset ::sentinel_base_port {sentinels}\nset ::valkey_base_port {servers}\n\
         set ::valkey_port_count {PORTS}"
    );
    for file in ["cluster.tcl"].into_iter().filter(|file| from.join(file).is_file()) {
        fs::copy(from.join(file), to.join(file)).map_err(|e| format!("{file}: {e}"))?;
    }
    fs::write(to.join(RUNNER), text.replacen(LIBRARY, &set, 1)).map_err(|e| e.to_string())
}

/// The arguments of `tclsh` for a file of tests.
pub fn arguments(file: File<'_>) -> [String; 3] {
    let File { folder, name } = file;
    [format!("tests/{folder}/{RUNNER}"), "--single".to_owned(), name.to_owned()]
}

/// Writes a unit's file of tests below `root` without those of these names: behind one that fails the suite leaves out the
/// rest of the file.
pub fn leave_out(root: &Path, file: File<'_>, names: &BTreeSet<&str>) -> Result {
    let File { folder, name } = file;
    let path = root.join("tests").join(folder).join("tests").join(format!("{name}.tcl"));
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    // A link leads into the checkout, which stays as it is.
    fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    fs::write(&path, without(&text, names)).map_err(|e| format!("{}: {e}", path.display()))
}

/// Returns a script in which the tests of these names are not run.
fn without(text: &str, names: &BTreeSet<&str>) -> String {
    names.iter().fold(text.to_owned(), |text, name| {
        let text = text.replace(&format!("test \"{name}\" {{"), "if 0 {");
        text.replace(&format!("test {{{name}}} {{"), "if 0 {")
    })
}

/// Reads the suite's output.
#[derive(Default)]
pub struct Reader {
    /// The test that has begun, whose outcome stands at the end of a later line: it has printed something itself.
    open: Option<String>,
}

impl Reader {
    /// Reads one line, without colours.
    pub fn read(&mut self, line: &str, outcomes: &mut Outcomes) {
        let line = line.trim_end();
        if line == "GOOD! No errors." || line.ends_with("test(s) failed.") {
            return outcomes.end();
        }
        let begun = timed(line);
        let rest = begun.unwrap_or(line);
        let name = |before: &str| begun.map(|_| before.trim_end_matches([':', ' ']).to_owned());
        if let Some((before, why)) = rest.split_once("FAILED: ") {
            if let Some(test) = name(before).or_else(|| self.open.take()) {
                outcomes.fail(test, why);
            }
        } else if let Some(before) = rest.strip_suffix("OK").filter(|b| is_end(b, begun)) {
            if let Some(test) = name(before).or_else(|| self.open.take()) {
                outcomes.pass(test);
            }
        } else if begun.is_some() {
            self.open = rest.split_once(": ").map(|(test, _)| test.to_owned());
            self.open.get_or_insert_with(|| rest.trim_end_matches(':').to_owned());
            return;
        } else {
            return outcomes.read_detail(line);
        }
        if begun.is_some() {
            self.open = None;
        }
    }
}

/// Whether `OK` after this text is an outcome.
fn is_end(before: &str, begun: Option<&str>) -> bool {
    begun.is_none() || before.ends_with(": ")
}

/// What follows `HH:MM:SS> `.
fn timed(line: &str) -> Option<&str> {
    let (time, rest) = line.split_once("> ")?;
    let is_time = time.len() == 8 && time.bytes().all(|b| b.is_ascii_digit() || b == b':');
    is_time.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::script::Servers;

    #[test]
    fn outcomes_stand_behind_names() {
        let (mut reader, mut outcomes) = (Reader::default(), Outcomes::default());
        for line in [
            "Testing unit: 00-base.tcl",
            "12:00:00> (init) Restart killed instances: OK",
            "12:00:01> It prints: something of its own",
            "valkey/4 OK",
            "12:00:02> A name: with a colon: OK",
            "12:00:03> It fails: FAILED: Expected 1: OK",
            "(Jumping to next unit after error)",
            "WARNING 1 test(s) failed.",
        ] {
            reader.read(line, &mut outcomes);
        }
        let names = ["It fails", "It prints", "never"].map(str::to_owned);
        outcomes.finish(&names.into(), &Servers::of(""));
        assert_eq!(outcomes.passed_names(), 3);
        assert_eq!(outcomes.bad_names(), ["It fails", "never"].map(str::to_owned).into());
        assert!(outcomes.failed["It fails"].starts_with("Expected 1: OK"));
        assert_eq!(outcomes.ended_early, None);
    }

    #[test]
    fn tests_are_left_out_by_name() {
        let text = "test \"one\" {\n  x\n}\ntest {two} {\n}\ntest \"one more\" {\n}\n";
        let expected = "if 0 {\n  x\n}\nif 0 {\n}\ntest \"one more\" {\n}\n";
        assert_eq!(without(text, &["one", "two"].into()), expected);
    }

    #[test]
    fn a_runner_that_dies_ends_a_unit_early() {
        let (mut reader, mut outcomes) = (Reader::default(), Outcomes::default());
        reader.read("12:00:00> It hangs: ", &mut outcomes);
        outcomes.finish(&["It hangs".to_owned()].into(), &Servers::of(""));
        assert!(outcomes.ended_early.is_some() && outcomes.passed_names() == 0);
        assert_eq!(outcomes.not_run.len(), 1);
    }
}
