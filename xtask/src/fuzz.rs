//! `cargo xtask fuzz`: libFuzzer on the stable toolchain.
//!
//! `libfuzzer-sys` compiles libFuzzer with the system's C++ compiler; coverage is instrumented by LLVM's pass, which stable
//! rustc can run. It needs neither nightly nor cargo-fuzz nor clang. Since a wrong flag would silently disable coverage,
//! a target with an injected panic runs first, and must be found.
//!
//! `RUSSET_FUZZ_SHOW=1 fuzz/target/TRIPLE/release/TARGET fuzz/artifacts/TARGET/crash-…` runs an input again; targets with a
//! node print the bytes sent to it.
//!
//! Seeds are in `fuzz/corpus/TARGET`, crashes in `fuzz/artifacts/TARGET`. New inputs stay in the target folder; `--save`
//! merges them, minimised, into the seeds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::sh::{self, Result};

/// Compiler flags that instrument the code for libFuzzer.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // The tables' sections look unused to the linker.
    "-Clink-dead-code",
];

/// The target that proves that coverage works, and the message of its panic.
const INJECTED: &str = "injected";
const INJECTED_PANIC: &str = "the injected panic";

/// The options of a run.
struct Plan {
    seconds: u64,
    save: bool,
    binaries: PathBuf,
    work: PathBuf,
}

/// Runs the targets.
pub fn run(words: &[String]) -> Result {
    let mut words = sh::Words::new(words);
    let seconds = words.number("--seconds")?.unwrap_or(60);
    let save = words.flag("--save");
    let named = words.rest()?;
    let targets = match named.as_slice() {
        [] => all_targets()?,
        named => named.iter().map(|name| (*name).to_owned()).collect(),
    };
    let binaries = build()?;
    let work = binaries.join("../../corpus");
    let plan = Plan { seconds, save, binaries, work };
    plan.check_coverage()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut failed = vec![];
    for wave in targets.chunks(cores) {
        let children = wave.iter().map(|target| Ok((target, plan.start(target)?)));
        for (target, child) in children.collect::<Result<Vec<_>>>()? {
            if !plan.finish(target, child)? {
                failed.push(target.as_str());
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("found by {}", failed.join(", "))) }
}

impl Plan {
    /// Checks that the fuzzer finds the injected panic.
    fn check_coverage(&self) -> Result {
        let found = self.work.join("found-");
        let mut command = Command::new(self.binaries.join(INJECTED));
        command.args(["-max_total_time=60", "-seed=1"]);
        command.arg(format!("-artifact_prefix={}", found.display()));
        fs::create_dir_all(&self.work).map_err(|e| format!("{}: {e}", self.work.display()))?;
        let output = command.output().map_err(|e| format!("{INJECTED}: {e}"))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Err("the injected panic was not found: coverage does not work".into());
        }
        if !stderr.contains(INJECTED_PANIC) {
            return Err(format!("{INJECTED} failed without its panic:\n{stderr}"));
        }
        println!("injected: found, coverage works");
        Ok(())
    }

    fn start(&self, target: &str) -> Result<Child> {
        let artifacts = sh::root().join("fuzz/artifacts").join(target);
        let (grown, seeds) = (self.work.join(target), seeds(target));
        for folder in [&artifacts, &grown, &seeds] {
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        let log = File::create(self.log(target)).map_err(|e| e.to_string())?;
        let mut command = Command::new(self.binaries.join(target));
        command.arg(format!("-max_total_time={}", self.seconds));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        // Hangs and huge allocations are findings too.
        command.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        command.arg(grown).arg(seeds);
        command.stdout(log.try_clone().map_err(|e| e.to_string())?).stderr(log);
        command.spawn().map_err(|e| format!("{target}: {e}"))
    }

    /// Waits for a target and reports its result. Returns false if it found something.
    fn finish(&self, target: &str, mut child: Child) -> Result<bool> {
        let status = child.wait().map_err(|e| e.to_string())?;
        let log = fs::read(self.log(target)).map_err(|e| e.to_string())?;
        let log = String::from_utf8_lossy(&log);
        let reports = |line: &&str| line[1..].starts_with(char::is_numeric);
        let progress = log.lines().filter(|line| line.starts_with('#')).rfind(reports);
        let progress = progress.unwrap_or_default();
        println!("{target}: {}", if status.success() { "nothing found" } else { "FOUND" });
        println!("    {progress}");
        if !status.success() {
            let lines: Vec<&str> = log.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        } else if self.save {
            let mut merge = Command::new(self.binaries.join(target));
            merge.args(["-merge=1", "-max_len=512"]).arg(seeds(target)).arg(self.work.join(target));
            if !sh::succeeds(merge) {
                return Err(format!("{target}: merging the corpus failed"));
            }
        }
        Ok(status.success())
    }

    fn log(&self, target: &str) -> PathBuf {
        self.work.join(format!("{target}.log"))
    }
}

/// Builds all targets and returns the folder of their binaries.
fn build() -> Result<PathBuf> {
    let triple = host()?;
    let manifest = sh::root().join("fuzz/Cargo.toml");
    let folder = target_folder();
    let mut command = sh::cargo(&["build", "--release", "--bins", "--target", &triple]);
    command.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(&folder);
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    sh::run(command)?;
    Ok(folder.join(triple).join("release"))
}

/// Returns the target folder, separate from the workspace's since the flags differ.
fn target_folder() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Path::new(&folder).join("fuzz"),
        None => sh::root().join("fuzz/target"),
    }
}

fn seeds(target: &str) -> PathBuf {
    sh::root().join("fuzz/corpus").join(target)
}

/// Returns the target triple, which is passed to cargo so that build scripts are not instrumented.
fn host() -> Result<String> {
    let text = sh::output(sh::command("rustc", &["--version", "--verbose"]))?;
    let triple = text.lines().find_map(|line| line.strip_prefix("host: "));
    triple.map(str::to_owned).ok_or_else(|| "rustc does not name its host".into())
}

/// Returns the names of all targets, by their files.
fn all_targets() -> Result<Vec<String>> {
    let folder = sh::root().join("fuzz/targets");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let targets = names.filter_map(|name| name.strip_suffix(".rs").map(str::to_owned));
    let mut targets: Vec<String> = targets.filter(|name| name != INJECTED).collect();
    targets.sort();
    Ok(targets)
}
