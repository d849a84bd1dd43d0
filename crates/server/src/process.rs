//! Metrics of the process for INFO, read from the kernel and the allocator.

use std::path::Path;

use russet_engine::io::ProcessMetrics;
use russet_engine::node::Platform;
use tikv_jemalloc_ctl::{epoch, stats};

use crate::cgroup;
use crate::clock;
use crate::sys::{self, Usage};

/// Reads metrics; caches the constant ones.
pub struct Process {
    page_bytes: u64,
    system_memory_bytes: u64,
    memory_limit_bytes: u64,
}

impl Process {
    /// Reads the constant metrics.
    pub fn new() -> Process {
        let info = rustix::system::sysinfo();
        let system_memory_bytes = info.totalram as u64 * u64::from(info.mem_unit);
        let limit =
            cgroup::memory_limit(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"));
        Process {
            page_bytes: rustix::param::page_size() as u64,
            system_memory_bytes,
            memory_limit_bytes: limit.map_or(system_memory_bytes, |at| at.min(system_memory_bytes)),
        }
    }

    /// Reads the metrics. Takes a few system calls: for INFO and a slow timer, not for each
    /// command.
    pub fn metrics(&self) -> ProcessMetrics {
        let (cpu_sys_us, cpu_user_us) = sys::cpu_times_us(Usage::Process);
        let (cpu_sys_main_us, cpu_user_main_us) = sys::cpu_times_us(Usage::Thread);
        // The allocator's statistics are those of the last epoch; if this fails, they are older.
        let _ = epoch::advance();
        let bytes = |read: tikv_jemalloc_ctl::Result<usize>| read.unwrap_or(0) as u64;
        ProcessMetrics {
            rss_bytes: self.resident_pages().saturating_mul(self.page_bytes),
            allocated_bytes: bytes(stats::allocated::read()),
            active_bytes: bytes(stats::active::read()),
            resident_bytes: bytes(stats::resident::read()),
            cpu_sys_us,
            cpu_user_us,
            cpu_sys_main_us,
            cpu_user_main_us,
            system_memory_bytes: self.system_memory_bytes,
            memory_limit_bytes: self.memory_limit_bytes,
        }
    }

    fn resident_pages(&self) -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

/// Returns the platform as INFO reports it.
pub fn platform() -> Platform {
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    let version = tikv_jemalloc_ctl::version::read().unwrap_or_default();
    // Only the release number of `5.3.0-1-g…`.
    let version = version.split('-').next().unwrap_or_default();
    Platform {
        os: [uname.sysname(), uname.release(), uname.machine()].map(text).join(" "),
        allocator: format!("jemalloc-{version}"),
        poller: "epoll".to_owned(),
        clock: if clock::counter_is_trusted() { "X86 TSC" } else { "POSIX clock_gettime" }
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_has_used_time() {
        let metrics = Process::new().metrics();
        assert!(metrics.rss_bytes > 100_000);
        assert!(metrics.allocated_bytes > 0 && metrics.resident_bytes >= metrics.active_bytes);
        assert!(metrics.system_memory_bytes >= metrics.rss_bytes);
        assert!(
            (metrics.rss_bytes..=metrics.system_memory_bytes).contains(&metrics.memory_limit_bytes)
        );
    }
}
