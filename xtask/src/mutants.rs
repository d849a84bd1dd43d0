//! `cargo xtask mutants`: makes small mistakes in the source, one at a time, and shows who notices.
//!
//! There are two judges: the simulator, which must find a violation within some seeds, and the
//! engine's tests. A mistake that neither notices survives: it is harmless, or a check is missing.
//!
//! ```text
//!   engine/src/repl/backlog.rs ──cargo-mutants──▶ a patch for each mistake ─┐   ┌▶ simulator ─┐
//!   my-mistake.patch ───────────────────────────────────────────────────────┴──▶└▶ tests ─────┴▶ table
//! ```
//!
//! It works in a tree of its own, so the sources can be edited meanwhile. A mistake takes a minute
//! or more, mostly for building.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sh::{self, Result};

/// Seeds that the simulator runs for a mistake, unless `--seeds` says otherwise.
const SEEDS: u64 = 300;

/// Time for a judge, with its build. A mistake that makes a loop endless is noticed by this.
const TIME_MAX: Duration = Duration::from_secs(1200);

/// A mistake to make.
struct Mutant {
    /// Where it is and what it does.
    name: String,
    /// The change, as a patch.
    patch: String,
}

/// What a judge found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    /// It noticed nothing.
    Nothing,
    /// It noticed this: a seed, or the name of a test.
    Noticed(String),
    /// The mistake does not compile.
    NotCompiled,
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result {
    let mut words = sh::Words::new(words);
    let seeds = words.number("--seeds")?.unwrap_or(SEEDS);
    let sample = words.number("--sample")?;
    let without_tests = words.flag("--sim-only");
    let paths = words.rest()?;
    if paths.is_empty() {
        return Err("name source files, or patches (*.patch)".into());
    }
    let mut mutants = Vec::new();
    for path in paths {
        mutants.extend(mutants_of(Path::new(path))?);
    }
    if let Some(sample) = sample {
        mutants = spread(mutants, sample as usize);
    }
    let tree = Tree::create()?;
    let mut survivors = Vec::new();
    let (mut by_sim, mut by_tests, mut made) = (0, 0, 0);
    for mutant in &mutants {
        tree.apply(mutant)?;
        let sim = tree.simulate(seeds)?;
        let tests = match (&sim, without_tests) {
            (Finding::NotCompiled, _) => Finding::NotCompiled,
            (_, true) => Finding::Nothing,
            (_, false) => tree.test()?,
        };
        tree.restore()?;
        println!("{}\n    simulator: {}\n    tests: {}", mutant.name, shown(&sim), shown(&tests));
        if sim == Finding::NotCompiled {
            continue;
        }
        made += 1;
        by_sim += usize::from(sim != Finding::Nothing);
        by_tests += usize::from(tests != Finding::Nothing);
        if sim == Finding::Nothing && tests == Finding::Nothing {
            survivors.push(&mutant.name);
        }
    }
    println!(
        "\n{made} mistakes: {by_sim} noticed by the simulator within {seeds} seeds, {by_tests} by tests, {} by neither",
        survivors.len()
    );
    survivors.iter().for_each(|name| println!("    {name}"));
    Ok(())
}

fn shown(finding: &Finding) -> &str {
    match finding {
        Finding::Nothing => "–",
        Finding::Noticed(what) => what,
        Finding::NotCompiled => "does not compile",
    }
}

/// At most `count` of the mutants, spread evenly.
fn spread(mutants: Vec<Mutant>, count: usize) -> Vec<Mutant> {
    let total = mutants.len();
    let keeps = |index: usize| (index + 1) * count / total > index * count / total;
    mutants.into_iter().enumerate().filter(|(index, _)| keeps(*index)).map(|(_, m)| m).collect()
}

/// A patch's mistake, or all that cargo-mutants finds for a source file.
fn mutants_of(path: &Path) -> Result<Vec<Mutant>> {
    if path.extension().is_some_and(|extension| extension == "patch") {
        let patch =
            std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(vec![Mutant { name, patch }]);
    }
    if !sh::succeeds(sh::cargo(&["mutants", "--version"])) {
        return Err("needs cargo-mutants: cargo install cargo-mutants --locked".into());
    }
    let file = path.to_string_lossy();
    let list = sh::output(sh::cargo(&["mutants", "--list", "--diff", "--file", &file]))?;
    let mutants = listed(&list);
    match mutants.is_empty() {
        true => Err(format!("cargo-mutants finds nothing to change in {file}")),
        false => Ok(mutants),
    }
}

/// Parses the list of cargo-mutants: each mistake is a line with its place, then its patch.
fn listed(list: &str) -> Vec<Mutant> {
    let mut mutants: Vec<Mutant> = Vec::new();
    let mut lines = list.lines().peekable();
    while let Some(line) = lines.next() {
        if lines.peek().is_some_and(|next| next.starts_with("--- ")) {
            mutants.push(Mutant { name: line.to_owned(), patch: String::new() });
        } else if let Some(mutant) = mutants.last_mut() {
            mutant.patch.push_str(line);
            mutant.patch.push('\n');
        }
    }
    mutants
}

/// A second working tree with its own target folder.
struct Tree {
    path: PathBuf,
}

impl Tree {
    /// Creates the tree, or brings an existing one to the current commit.
    fn create() -> Result<Tree> {
        let path = sh::root().join("target/mutants/tree");
        let tree = Tree { path };
        let shown = tree.path.to_string_lossy();
        let head = sh::output(sh::command("git", &["rev-parse", "HEAD"]))?;
        if tree.path.exists() {
            tree.restore()?;
            sh::run(tree.git(&["checkout", "--quiet", "--detach", head.trim()]))?;
        } else {
            sh::run(sh::command("git", &["worktree", "prune"]))?;
            sh::run(sh::command("git", &["worktree", "add", "--detach", "--quiet", &shown]))?;
        }
        Ok(tree)
    }

    fn git(&self, arguments: &[&str]) -> Command {
        let mut command = sh::command("git", arguments);
        command.current_dir(&self.path);
        command
    }

    fn apply(&self, mutant: &Mutant) -> Result {
        let file = self.path.with_file_name("mutant.patch");
        std::fs::write(&file, &mutant.patch).map_err(|e| e.to_string())?;
        let apply = self.git(&["apply", "--recount", &file.to_string_lossy()]);
        sh::run(apply).map_err(|why| format!("{}: {why}", mutant.name))
    }

    fn restore(&self) -> Result {
        sh::run(self.git(&["checkout", "--quiet", "--", "."]))
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = sh::cargo(arguments);
        command.current_dir(&self.path);
        command.env("CARGO_TARGET_DIR", self.path.with_file_name("target"));
        command
    }

    fn simulate(&self, seeds: u64) -> Result<Finding> {
        let build = self.cargo(&["build", "--quiet", "--release", "--package", "russet-sim"]);
        if !sh::succeeds(build) {
            return Ok(Finding::NotCompiled);
        }
        let program = self.path.with_file_name("target").join("release/russet-sim");
        let mut command = Command::new(program);
        command.args(["--seeds", &seeds.to_string()]);
        let Some((succeeded, text)) = within(command)? else {
            return Ok(Finding::Noticed("no end".into()));
        };
        Ok(match succeeded {
            true => Finding::Nothing,
            false => Finding::Noticed(noticed(&text)),
        })
    }

    fn test(&self) -> Result<Finding> {
        let arguments = ["test", "--package", "russet-engine", "--no-fail-fast"];
        let Some((succeeded, text)) = within(self.cargo(&arguments))? else {
            return Ok(Finding::Noticed("no end".into()));
        };
        let failed: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
            .collect();
        Ok(match (succeeded, &failed[..]) {
            (true, _) => Finding::Nothing,
            (false, []) => Finding::Noticed("a crash".into()),
            (false, [first]) => Finding::Noticed((*first).to_owned()),
            (false, [first, others @ ..]) => {
                Finding::Noticed(format!("{first} and {} more", others.len()))
            }
        })
    }
}

/// Returns what the simulator says: a violation with the seed that repeats it, or a coverage counter out of its bounds.
fn noticed(text: &str) -> String {
    let Some((_, what)) = text.lines().find_map(|line| line.split_once("VIOLATION ")) else {
        return text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().into();
    };
    let seed = text.lines().rev().find_map(|line| line.split_once("--from "));
    let number = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    format!("seed {}: {what}", seed.map_or_else(String::new, |(_, rest)| number(rest)))
}

/// Runs a command and returns whether it succeeded and what it printed; none if it took too long.
fn within(mut command: Command) -> Result<Option<(bool, String)>> {
    let file = sh::root().join("target/mutants/output");
    let output = std::fs::File::create(&file).map_err(|e| e.to_string())?;
    let copy = output.try_clone().map_err(|e| e.to_string())?;
    command.stdin(Stdio::null()).stdout(output).stderr(copy);
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            let text = std::fs::read(&file).map_err(|e| e.to_string())?;
            return Ok(Some((status.success(), String::from_utf8_lossy(&text).into_owned())));
        }
        if start.elapsed() > TIME_MAX {
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        // There is no wait with a limit in std; a judge takes seconds to minutes.
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_patch_for_each_place() {
        let list = "a.rs:3:5: replace f with ()\n--- a.rs\n+++ replace f with ()\n@@ -1,2 +1,2 @@\n x\n-f()\n+()\n\
                    a.rs:9:1: replace < with <=\n--- a.rs\n+++ replace < with <=\n@@ -9 +9 @@\n-<\n+<=\n";
        let mutants = listed(list);
        let names: Vec<&str> = mutants.iter().map(|mutant| &mutant.name[..]).collect();
        assert_eq!(names, ["a.rs:3:5: replace f with ()", "a.rs:9:1: replace < with <="]);
        assert!(mutants[0].patch.starts_with("--- a.rs\n"));
        assert!(mutants[1].patch.ends_with("-<\n+<=\n"));
    }

    #[test]
    fn a_finding_is_a_violation_with_its_seed_or_the_last_line() {
        let text = "  1.5 VIOLATION node0 lies\nall of it: russet-sim --from 17 --trace\n";
        assert_eq!(noticed(text), "seed 17: node0 lies");
        assert_eq!(noticed("counts\n3 links: too few\n\n"), "3 links: too few");
    }

    #[test]
    fn a_sample_is_spread_over_all() {
        let all = || (0..10).map(|n| Mutant { name: n.to_string(), patch: String::new() });
        let names = |count| -> Vec<String> {
            spread(all().collect(), count).into_iter().map(|mutant| mutant.name).collect()
        };
        assert_eq!(names(2), ["4", "9"]);
        assert_eq!(names(10).len(), 10);
        assert_eq!(names(20).len(), 10);
    }
}
