//! `russet-sim`: runs seeds, in as many processes as wanted, and says what they covered.
//!
//! ```text
//!   russet-sim [--seeds N] [--from S] [--jobs J]      N seeds from S on; floors are checked
//!   russet-sim --from S --trace                       one seed, every line printed
//!   russet-sim --hunt [--seeds N]                     each injected bug until it is caught, N seeds at most
//!   russet-sim --bug NAME …                           with that bug injected (feature `injected`)
//!   russet-sim --sentinels …                          the same of worlds in which Sentinels watch the nodes
//!   russet-sim --cluster …                            the same of worlds whose nodes are a cluster
//!   russet-sim --scale [--nodes N] [--stock] …        the model of a cluster of N nodes; also with stock's rules
//! ```

mod meter;

use std::collections::BTreeMap;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use russet_sim::coverage::{Coverage, Worlds};
use russet_sim::node::Injected;
use russet_sim::world::{Common, Tracing, run};

/// Lines of the trace that a failing seed shows.
const TRACE_LINES: usize = 80;

/// Seeds that a hunt tries for each bug.
const HUNT_SEEDS: u64 = 6000;

/// Fewer seeds than this say nothing about floors and ceilings.
const FLOOR_SEEDS_MIN: u64 = 200;

static SEED: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Debug)]
struct Options {
    seeds: Option<u64>,
    from: u64,
    step: u64,
    jobs: u64,
    bug: Option<String>,
    trace: bool,
    hunt: bool,
    worker: bool,
    hash: bool,
    worlds: Worlds,
    scale: bool,
    nodes: u64,
    stock: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        seeds: None,
        from: 1,
        step: 1,
        jobs: 2,
        bug: None,
        trace: false,
        hunt: false,
        worker: false,
        hash: false,
        worlds: Worlds::Data,
        scale: false,
        nodes: 1000,
        stock: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seeds" => options.seeds = Some(number(value()?)?),
            "--from" => options.from = number(value()?)?,
            "--step" => options.step = number(value()?)?.max(1),
            "--jobs" => options.jobs = number(value()?)?.clamp(1, 64),
            "--bug" => options.bug = Some(value()?),
            "--trace" => options.trace = true,
            "--hunt" => options.hunt = true,
            "--worker" => options.worker = true,
            "--hash" => options.hash = true,
            "--sentinels" => options.worlds = Worlds::Sentinels,
            "--cluster" => options.worlds = Worlds::Cluster,
            "--scale" => options.scale = true,
            "--stock" => options.stock = true,
            "--nodes" => options.nodes = number(value()?)?.clamp(6, 16_000),
            other => return Err(format!("{other} is unknown; see the head of main.rs")),
        }
    }
    Ok(options)
}

#[cfg(feature = "injected")]
fn bug(name: &str, worlds: Worlds) -> Result<Injected, String> {
    use russet_engine::injected::{BUGS, CLUSTER_BUGS, SENTINEL_BUGS};
    let injected = match worlds {
        Worlds::Data => named(&BUGS, name).map(Injected::Data),
        Worlds::Sentinels => named(&SENTINEL_BUGS, name).map(Injected::Sentinel),
        Worlds::Cluster => named(&CLUSTER_BUGS, name).map(Injected::Cluster),
    };
    injected.ok_or(format!("there is no bug {name}; there are {:?}", bug_names(worlds)?))
}

#[cfg(feature = "injected")]
fn named<T: Copy + std::fmt::Debug>(bugs: &[T], name: &str) -> Option<T> {
    bugs.iter().copied().find(|bug| format!("{bug:?}").eq_ignore_ascii_case(name))
}

#[cfg(not(feature = "injected"))]
fn bug(_name: &str, _worlds: Worlds) -> Result<Injected, String> {
    Err("this build has no bugs to inject: build it with --features injected".to_owned())
}

#[cfg(feature = "injected")]
fn bug_names(worlds: Worlds) -> Result<Vec<String>, String> {
    fn names<T: std::fmt::Debug>(bugs: &[T]) -> Vec<String> {
        bugs.iter().map(|bug| format!("{bug:?}")).collect()
    }
    use russet_engine::injected::{BUGS, CLUSTER_BUGS, SENTINEL_BUGS};
    Ok(match worlds {
        Worlds::Data => names(&BUGS),
        Worlds::Sentinels => names(&SENTINEL_BUGS),
        Worlds::Cluster => names(&CLUSTER_BUGS),
    })
}

#[cfg(not(feature = "injected"))]
fn bug_names(worlds: Worlds) -> Result<Vec<String>, String> {
    bug("", worlds).map(|_| Vec::new())
}

fn main() -> ExitCode {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("panic in seed {}", SEED.load(Ordering::Relaxed));
        usual(info);
    }));
    let done = options().and_then(|options| {
        if options.scale {
            scale(&options)
        } else if options.worker {
            work(&options)
        } else if options.hunt {
            hunt(&options)
        } else if options.trace || options.hash {
            one(&options)
        } else {
            many(&options)
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("russet-sim: {what}");
            ExitCode::from(2)
        }
    }
}

/// The model of a cluster of many nodes.
fn scale(options: &Options) -> Result<bool, String> {
    let nodes = usize::try_from(options.nodes).map_err(|e| e.to_string())?;
    let model = russet_sim::scale::Options { nodes, seed: options.from, with_stock: options.stock };
    let mut print = |line| println!("{line}");
    russet_sim::scale::run(model, &meter::ThreadMeter, &mut print).map(|()| true)
}

/// What every run shares.
fn prepare(options: &Options) -> Result<Common, String> {
    let injected = options.bug.as_deref().map(|name| bug(name, options.worlds)).transpose()?;
    Ok(Common::of(options.worlds, injected))
}

/// One seed, printed as it goes or by its hash.
fn one(options: &Options) -> Result<bool, String> {
    let tracing = if options.trace { Tracing::Print } else { Tracing::Off };
    let report = run(&prepare(options)?, options.from, tracing);
    println!("seed {} hash {:016x}", options.from, report.hash);
    if options.trace {
        print!("{}", report.coverage);
    }
    if let Some(what) = &report.violation {
        println!("seed {}: {what}", options.from);
    }
    Ok(report.violation.is_none())
}

/// A part of the seeds; what came out goes to standard output for the process that asked.
fn work(options: &Options) -> Result<bool, String> {
    let common = prepare(options)?;
    let mut total = Coverage::default();
    let (mut seconds, mut commands) = (BTreeMap::new(), BTreeMap::new());
    for at in 0..options.seeds.unwrap_or(1) {
        let seed = options.from + at * options.step;
        SEED.store(seed, Ordering::Relaxed);
        let report = run(&common, seed, Tracing::Off);
        if let Some(what) = report.violation {
            println!("bad {seed} {} {what}", at + 1);
            return Ok(false);
        }
        total.add(&report.coverage);
        *seconds.entry(report.coverage.simulated_seconds).or_insert(0_u64) += 1;
        *commands.entry(report.coverage.commands / 50 * 50).or_insert(0_u64) += 1;
    }
    let list = |map: BTreeMap<u64, u64>| {
        map.iter().map(|(value, count)| format!("{value}:{count}")).collect::<Vec<_>>().join(" ")
    };
    let values: Vec<String> = total.values().iter().map(u64::to_string).collect();
    println!("total {}", values.join(" "));
    println!("seconds {}", list(seconds));
    println!("commands {}", list(commands));
    Ok(true)
}

/// The flag for worlds of a kind.
fn flag_of(worlds: Worlds) -> Option<&'static str> {
    match worlds {
        Worlds::Data => None,
        Worlds::Sentinels => Some("--sentinels"),
        Worlds::Cluster => Some("--cluster"),
    }
}

fn worker(options: &Options, extra: &[String]) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.arg("--worker").args(extra);
    if let Some(bug) = &options.bug {
        command.args(["--bug", bug]);
    }
    command.args(flag_of(options.worlds));
    command.stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())
}

/// What several workers found out.
#[derive(Default)]
struct Sum {
    total: Coverage,
    seconds: BTreeMap<u64, u64>,
    commands: BTreeMap<u64, u64>,
    bad: Option<(u64, u64, String)>,
    /// A worker ended without having said what came out.
    crashed: bool,
}

impl Sum {
    fn add(&mut self, child: Child) -> Result<(), String> {
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some((what, rest)) = line.split_once(' ') else { continue };
            let words = || rest.split(' ');
            match what {
                "bad" => {
                    let mut parts = rest.splitn(3, ' ');
                    let mut number = || parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                    let (seed, tries) = (number(), number());
                    let bad = (seed, tries, parts.next().unwrap_or_default().to_owned());
                    if self.bad.as_ref().is_none_or(|(known, ..)| seed < *known) {
                        self.bad = Some(bad);
                    }
                }
                "total" => {
                    let values: Vec<u64> = words().filter_map(|word| word.parse().ok()).collect();
                    self.total.add(&Coverage::from_values(&values));
                }
                "seconds" | "commands" => {
                    let map =
                        if what == "seconds" { &mut self.seconds } else { &mut self.commands };
                    for pair in words().filter_map(|word| word.split_once(':')) {
                        if let (Ok(value), Ok(count)) = (pair.0.parse(), pair.1.parse::<u64>()) {
                            *map.entry(value).or_insert(0) += count;
                        }
                    }
                }
                _ => {}
            }
        }
        // A violation is an end of its own; any other bad end, a panic above all, is no answer. Which seed it was
        // stands on standard error.
        let found = output.stdout.starts_with(b"bad ");
        self.crashed |= output.status.code() != Some(i32::from(found));
        Ok(())
    }

    /// Seeds that ran to their end.
    fn seeds(&self) -> u64 {
        self.seconds.values().sum()
    }
}

fn median(values: &BTreeMap<u64, u64>) -> u64 {
    let count: u64 = values.values().sum();
    let mut before = 0;
    for (value, number) in values {
        before += number;
        if before * 2 >= count {
            return *value;
        }
    }
    0
}

/// Many seeds, in several processes; then what they covered.
fn many(options: &Options) -> Result<bool, String> {
    let (seeds, from) = (options.seeds.unwrap_or(100), options.from);
    let jobs = options.jobs.min(seeds.max(1));
    let mut workers = Vec::new();
    for job in 0..jobs {
        let share = (seeds + jobs - 1 - job) / jobs;
        let words = [("--seeds", share), ("--from", from + job), ("--step", jobs)];
        let words: Vec<String> =
            words.iter().flat_map(|(name, n)| [(*name).to_owned(), n.to_string()]).collect();
        workers.push(worker(options, &words)?);
    }
    let mut sum = Sum::default();
    for child in workers {
        sum.add(child)?;
    }
    if let Some((seed, _, what)) = &sum.bad {
        println!("seed {seed}: {what}");
        println!("the same seed again, its last {TRACE_LINES} lines:");
        let report = run(&prepare(options)?, *seed, Tracing::Keep(TRACE_LINES));
        report.trace.iter().for_each(|line| println!("{line}"));
        let which = flag_of(options.worlds).unwrap_or_default();
        println!("all of it: russet-sim {which} --from {seed} --trace");
        return Ok(false);
    }
    if sum.crashed {
        println!("a worker crashed: the seed is named above");
        return Ok(false);
    }
    if sum.seeds() != seeds {
        println!("only {} of {seeds} seeds ran", sum.seeds());
        return Ok(false);
    }
    let (seconds, commands) = (median(&sum.seconds), median(&sum.commands));
    println!("{seeds} seeds from {from}, no violation");
    print!("{}", sum.total);
    println!("{seconds:>12}  simulated seconds, median seed");
    println!("{commands:>12}  commands, median seed (in steps of 50)");
    if seeds < FLOOR_SEEDS_MIN {
        return Ok(true);
    }
    let worlds = options.worlds;
    let mut bad = sum.total.out_of_bounds(worlds, seeds);
    if seconds < 60 {
        bad.push(format!("TOO SHORT: the median seed lasts {seconds} s, the floor is 60"));
    }
    if commands < 1000 && worlds == Worlds::Data {
        bad.push(format!("TOO FEW commands in the median seed: {commands}, the floor is 1000"));
    }
    bad.iter().for_each(|what| println!("{what}"));
    Ok(bad.is_empty())
}

/// Each injected bug, until a checker sees it. A crash is not a checker's word: it may come from anything.
fn hunt(options: &Options) -> Result<bool, String> {
    let seeds = options.seeds.unwrap_or(HUNT_SEEDS);
    let mut all = true;
    for name in bug_names(options.worlds)? {
        let options = Options { bug: Some(name.clone()), ..options.clone() };
        let words = [
            "--seeds".to_owned(),
            seeds.to_string(),
            "--from".to_owned(),
            options.from.to_string(),
        ];
        let mut sum = Sum::default();
        sum.add(worker(&options, &words)?)?;
        if let Some((seed, tries, what)) = sum.bad.as_ref().filter(|_| !sum.crashed) {
            println!("{name}: caught after {tries} seeds, by seed {seed}: {what}");
        } else if sum.crashed {
            println!("{name}: NOT caught by a checker: the worker crashed (see above)");
            all = false;
        } else {
            println!("{name}: NOT caught in {} seeds", sum.seeds());
            all = false;
        }
    }
    Ok(all)
}
