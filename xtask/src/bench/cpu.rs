//! Cores and CPU time, as Linux counts them.

use std::fs;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::sh::Result;

/// Where servers run.
pub const SERVER_CORE: usize = 0;

/// Where the load comes from, and where a replica runs.
pub const LOAD_CORE: usize = 1;

/// Where a server may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this core, with all its threads and children.
    Core(usize),
    /// On the core of servers and, beside the load, on that of the load.
    Both,
}

impl Place {
    /// The place of most figures.
    pub const SERVER: Place = Place::Core(SERVER_CORE);

    fn set(self) -> CpuSet {
        let mut set = CpuSet::new();
        match self {
            Place::Core(core) => set.set(core),
            Place::Both => [SERVER_CORE, LOAD_CORE].into_iter().for_each(|core| set.set(core)),
        }
        set
    }
}

/// Runs `work` with this thread at `place`; what it starts stays there. Afterwards the thread is on the load's core.
pub fn at<T>(place: Place, work: impl FnOnce() -> T) -> Result<T> {
    pin(None, place)?;
    let result = work();
    pin(None, Place::Core(LOAD_CORE))?;
    Ok(result)
}

/// Moves all threads of a server that runs; what they start stays there.
pub fn move_to(pid: u32, place: Place) -> Result {
    for id in thread_ids(pid)? {
        pin(Pid::from_raw(id), place)?;
    }
    Ok(())
}

/// Of this thread, or another one.
fn pin(thread: Option<Pid>, place: Place) -> Result {
    match sched_setaffinity(thread, &place.set()) {
        Ok(()) => Ok(()),
        // A thread may end before its turn comes.
        Err(Errno::SRCH) if thread.is_some() => Ok(()),
        Err(e) => Err(format!("{place:?} is not to be had ({e}); two cores are needed")),
    }
}

/// CPU time that a process has used, in seconds.
///
/// The scheduler counts in nanoseconds, but only says so for each thread that lives; for the process, threads included that have
/// ended, the kernel says it in hundredths. So the sum over threads is what counts, unless the whole is more
/// by so much that a thread must have ended (a loader, a writer): then it is the whole.
///
/// The parts are what the kernel has sampled at its ticks, which is why they want some seconds of CPU.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuTime {
    /// Of threads that live.
    threads: f64,
    user: f64,
    system: f64,
}

/// Two times are cut to hundredths, at both ends of a stretch.
const TICKS_ERROR: f64 = 0.02;

impl CpuTime {
    /// Of the process `pid`, all its threads.
    pub fn of(pid: u32) -> Result<CpuTime> {
        let (user, system) = (stat_seconds(pid, USER)?, stat_seconds(pid, SYSTEM)?);
        Ok(CpuTime { threads: scheduled_seconds(pid)?, user, system })
    }

    /// Its own code and the kernel's on its behalf.
    pub fn total(self) -> f64 {
        let whole = self.user + self.system;
        if whole > self.threads + TICKS_ERROR { whole } else { self.threads }
    }

    /// The part in its own code.
    pub fn user(self) -> f64 {
        let ticks = self.user + self.system;
        if ticks > 0.0 { self.total() * self.user / ticks } else { 0.0 }
    }

    /// The part in the kernel.
    pub fn system(self) -> f64 {
        self.total() - self.user()
    }

    /// What was used since `earlier`.
    pub fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            threads: self.threads - earlier.threads,
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        }
    }
}

/// Time on a CPU of all threads that live, in seconds.
fn scheduled_seconds(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for id in thread_ids(pid)? {
        // A thread may end between the two looks; then it has nothing to say.
        let text = fs::read_to_string(format!("/proc/{pid}/task/{id}/schedstat"));
        let text = text.unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(nanoseconds / 1e9)
}

/// Time of children, those that live and those that were waited for: the work of a server that forks to save.
/// In seconds.
pub fn children_seconds(pid: u32) -> Result<f64> {
    loop {
        let living = children(pid)?;
        // One that ends now has no time of its own any more, and is looked for once more.
        let own = |child: &u32| CpuTime::of(*child).map_or(0.0, CpuTime::total);
        let seconds: f64 = living.iter().map(own).sum();
        let ended = stat_seconds(pid, CHILDREN_USER)? + stat_seconds(pid, CHILDREN_SYSTEM)?;
        if children(pid)? == living {
            return Ok(seconds + ended);
        }
    }
}

/// Children that were not waited for.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let list = |id| fs::read_to_string(format!("/proc/{pid}/task/{id}/children"));
    let lists: String = thread_ids(pid)?.into_iter().flat_map(list).collect();
    Ok(lists.split_whitespace().filter_map(|id| id.parse().ok()).collect())
}

fn thread_ids(pid: u32) -> Result<Vec<i32>> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).map_err(|e| format!("{folder}: {e}"))?;
    Ok(threads.flatten().filter_map(|t| t.file_name().to_str()?.parse().ok()).collect())
}

/// Where times stand in `/proc/PID/stat`, counted from behind the name in parentheses, which may hold anything.
const USER: usize = 11;
const SYSTEM: usize = 12;
const CHILDREN_USER: usize = 13;
const CHILDREN_SYSTEM: usize = 14;

/// One time of `/proc/PID/stat`, which counts in hundredths of a second.
fn stat_seconds(pid: u32, index: usize) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let field = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(index));
    let ticks: Option<f64> = field.and_then(|field| field.parse().ok());
    Ok(ticks.ok_or_else(|| format!("{path} is not understood"))? / 100.0)
}

#[cfg(test)]
mod tests {
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    #[test]
    fn threads_that_have_ended_count() {
        let pid = std::process::id();
        let before = CpuTime::of(pid).expect("our own");
        let burn = || while clock_gettime(ClockId::ThreadCPUTime).tv_nsec < 200_000_000 {};
        std::thread::spawn(burn).join().expect("it ends");
        let used = CpuTime::of(pid).expect("our own").since(before);
        assert!(used.threads < used.total(), "{used:?}");
    }

    #[test]
    fn what_lives_is_exact_and_what_has_ended_is_not_lost() {
        let time = |threads, user, system| CpuTime { threads, user, system };
        assert_eq!(time(1.234_567, 1.0, 0.22).total(), 1.234_567);
        assert_eq!(time(1.234_567, 1.0, 0.24).total(), 1.234_567);
        assert_eq!(time(1.0, 1.0, 0.5).total(), 1.5);
        assert_eq!(time(1.0, 1.0, 1.0).user(), 1.0);
    }
}
