//! One hash of ten million fields: what it keeps others waiting while it is built, changed, renamed, deleted, saved,
//! sent to a replica, loaded, walked through and freed; and whether the copies are exact.
//!
//! A copy is compared by `DEBUG DIGEST-VALUE`, which is taken while nothing is counted: it looks at every field at once. A dump
//! file is given to a server of its own, which shows what loading costs and what stands in the file. The peer's copies are
//! compared by their number of fields, and only the first of its files is loaded: this is not a test of it.
//!
//! Turns are counted as in `turns.rs`. A server that does not count them has the longest batch alone, which is by the clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use russet_e2e::server::Folder;
use russet_e2e::{Server, Value};

use super::hash_stream::{HashStream, NAMES};
use super::report::{Metric, Report};
use super::turns::{self, while_saving};
use super::{Plan, cpu};
use crate::sh::Result;

/// The side whose copies must be exact.
const OURS: usize = 0;

/// Fields of the hash.
const FIELDS: u64 = 10_000_000;

/// Rounds at most: each takes a minute or two.
const ROUNDS_MAX: usize = 1;

/// How long a synchronisation may take, and the freeing of a hash.
const TIME_MAX: Duration = Duration::from_secs(300);

const GROUP: &str = "large hash";
const OVER_1MS: Metric = Metric { group: GROUP, name: "turns over 1 ms of CPU", unit: "" };
const LONGEST: Metric = Metric { group: GROUP, name: "longest turn, CPU", unit: "µs" };
const TOTAL: Metric = Metric { group: GROUP, name: "turns", unit: "" };
const BATCH: Metric = Metric { group: GROUP, name: "longest batch", unit: "ms" };
const TIME: Metric = Metric { group: GROUP, name: "time", unit: "s" };

/// What stands under the table.
const NOTE: &str = "large hash: every copy (dump files begun before the load, and the replica) was compared with its \
origin by DEBUG DIGEST-VALUE and HLEN; a copy that differs ends the run.";

/// All of it, on each side.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let fields = plan.scaled(FIELDS);
    for round in 0..plan.rounds.min(ROUNDS_MAX) {
        for side in plan.order(round) {
            eprintln!("  {}", plan.sides[side].name);
            Bench { plan, report, side, fields }.run()?;
        }
    }
    report.note(NOTE.to_owned());
    Ok(())
}

struct Bench<'a> {
    plan: &'a Plan,
    report: &'a mut Report,
    side: usize,
    fields: u64,
}

impl Bench<'_> {
    fn run(&mut self) -> Result {
        let master = self.start(&[])?;
        let fields = self.fields;
        self.phase(&master, "build", |stream| stream.build(fields))?;

        let before = self.state_of(&master);
        self.phase(&master, "BGSAVE, changes and renames", |stream| {
            while_saving(&master, |saving| stream.change_until(fields, || !saving()))
        })?;
        let copy = self.load(&master, &before)?;
        self.phase(&copy, "HSCAN through it", |_| scan(&copy))?;
        self.free(&copy, &["DEL", NAMES[0]])?;
        drop(copy);

        let replica = self.synchronise(&master)?;
        self.overwrite(&replica, "BGSAVE, overwritten by SET", &["SET", NAMES[0], "x"], "UNLINK")?;
        drop(replica);
        self.overwrite(&master, "BGSAVE, deleted", &["DEL", NAMES[0]], "FLUSHALL")
    }

    fn start(&self, more: &[&str]) -> Result<Server> {
        // A master waits five seconds for more replicas by default; that is not what is measured.
        let lines: Vec<&str> = ["repl-diskless-sync-delay 0", "enable-debug-command yes"]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        self.plan.sides[self.side].start(&lines)
    }

    /// Does some work, and notes what the server's turns were meanwhile.
    fn phase(
        &mut self,
        server: &Server,
        case: &str,
        work: impl FnOnce(&mut HashStream) -> Result,
    ) -> Result {
        eprintln!("    {case}");
        let mut stream = HashStream::new(server.address())?;
        turns::reset(server);
        let start = Instant::now();
        work(&mut stream)?;
        self.report.add(TIME, case, self.side, start.elapsed().as_secs_f64());
        self.note_turns(server, case);
        self.report.add(BATCH, case, self.side, stream.batch_max().as_secs_f64() * 1e3);
        Ok(())
    }

    fn note_turns(&mut self, server: &Server, case: &str) {
        let Some(turns) = turns::counted(server) else { return };
        self.report.add(TOTAL, case, self.side, turns.total);
        self.report.add(OVER_1MS, case, self.side, turns.over_1ms);
        self.report.add(LONGEST, case, self.side, turns.longest_us);
    }

    /// Gives the dump file of a server to another one, which must then hold the same.
    fn load(&mut self, server: &Server, expected: &State) -> Result<Server> {
        let folder = Folder::new();
        let file = "dump.rdb";
        std::fs::rename(server.folder().join(file), folder.path().join(file))
            .map_err(|e| format!("the dump file: {e}"))?;
        let start = Instant::now();
        let copy = self.start(&[&format!("dir {}", folder.path().display())])?;
        let case = "start and load";
        self.report.add(TIME, case, self.side, start.elapsed().as_secs_f64());
        self.note_turns(&copy, case);
        self.compare(expected, &copy)?;
        Ok(copy)
    }

    /// Has a replica made while the hash is changed and renamed.
    fn synchronise(&mut self, master: &Server) -> Result<Server> {
        let lines = ["repl-diskless-sync-delay 0", "enable-debug-command yes"];
        let replica =
            self.plan.sides[self.side].start_at(cpu::Place::Core(cpu::LOAD_CORE), &lines)?;
        let fields = self.fields;
        let start = Instant::now();
        turns::reset(&replica);
        self.phase(master, "full sync, the master", |stream| {
            replica.replicate(master);
            while_synchronising(&replica, |going_on| stream.change_until(fields, || !going_on()))
        })?;
        self.note_turns(&replica, "full sync, the replica");
        replica.wait_for_offset_of(master);
        if start.elapsed() > TIME_MAX {
            return Err(format!("no full sync within {TIME_MAX:?}"));
        }
        self.compare(&self.state_of(master), &replica)?;
        replica.client().ok("REPLICAOF NO ONE");
        Ok(replica)
    }

    /// Deletes or overwrites the hash while it is saved; the file must hold it. Then frees the loaded one in another way.
    fn overwrite(&mut self, server: &Server, case: &str, how: &[&str], then: &str) -> Result {
        let before = self.state_of(server);
        let fields = self.fields;
        self.phase(server, case, |stream| {
            while_saving(server, |saving| stream.change_with(how, fields, || !saving()))
        })?;
        if self.side != OURS {
            return Ok(());
        }
        let copy = self.load(server, &before)?;
        match then {
            "FLUSHALL" => self.free(&copy, &[then]),
            _ => self.free(&copy, &[then, NAMES[0]]),
        }
    }

    fn state_of(&self, server: &Server) -> State {
        let mut client = server.client();
        let fields = client.command(&["HLEN", NAMES[0]]).int();
        let digest =
            (self.side == OURS).then(|| client.command(&["DEBUG", "DIGEST-VALUE", NAMES[0]]));
        State { fields, digest }
    }

    fn compare(&self, origin: &State, copy: &Server) -> Result {
        let copy = self.state_of(copy);
        if copy == *origin && copy.fields > 0 {
            return Ok(());
        }
        Err(format!("a copy is not exact: {copy:?}, of {origin:?}"))
    }

    /// Frees the hash and waits until its memory is back.
    fn free(&mut self, server: &Server, how: &[&str]) -> Result {
        let full = used_memory(server);
        self.phase(server, how[0], |stream| {
            stream.run(how)?;
            let start = Instant::now();
            while used_memory(server) > full / 4 {
                if start.elapsed() > TIME_MAX {
                    return Err(format!("{} has not freed the hash", how[0]));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        })
    }
}

/// What a server holds of the hash: its fields and, of ours, its digest.
#[derive(PartialEq, Debug)]
struct State {
    fields: i64,
    digest: Option<Value>,
}

fn used_memory(server: &Server) -> u64 {
    server.info_field("memory", "used_memory").parse().unwrap_or(0)
}

/// Goes through all fields, some at a time.
fn scan(server: &Server) -> Result {
    let mut client = server.client();
    let mut cursor = "0".to_owned();
    loop {
        let reply = client.command(&["HSCAN", NAMES[0], &cursor, "COUNT", "100"]);
        cursor = reply.items()[0].text();
        if cursor == "0" {
            return Ok(());
        }
    }
}

/// Runs `work` until the replica's link is up; it can ask cheaply whether that is still to come.
fn while_synchronising(replica: &Server, work: impl FnOnce(&dyn Fn() -> bool) -> Result) -> Result {
    let going_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            while replica.info_field("replication", "master_link_status") != "up"
                && start.elapsed() < TIME_MAX
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            going_on.store(false, Ordering::Relaxed);
        });
        work(&|| going_on.load(Ordering::Relaxed))
    })
}
