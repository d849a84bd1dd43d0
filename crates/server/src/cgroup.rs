//! The memory limit of the process's cgroups, as containers and systemd set it.
//!
//! `/proc/self/cgroup` has a line for each hierarchy, `number:controllers:path`. The limits are files
//! in the folder of that path, and in those above it, which bind too:
//!
//! | version | line | file | without a limit |
//! |---|---|---|---|
//! | 2 | `0::/path` | `/sys/fs/cgroup/path/memory.max` | `max` |
//! | 1 | `4:memory:/path` | `/sys/fs/cgroup/memory/path/memory.limit_in_bytes` | a huge number |
//!
//! In a container the path may be that outside of it, while the folder is mounted as the root: folders
//! that do not exist are passed over.

use std::fs;
use std::path::Path;

/// Returns the least limit in bytes. `list`: the process's cgroups; `root`: where cgroups are mounted.
pub fn memory_limit(list: &Path, root: &Path) -> Option<u64> {
    let list = fs::read_to_string(list).unwrap_or_default();
    list.lines().filter_map(|line| limit_of(line, root)).min()
}

/// Returns the least limit in the hierarchy of a line.
fn limit_of(line: &str, root: &Path) -> Option<u64> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let (folder, file) = match controllers {
        "" => (root.to_path_buf(), "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let inside = Path::new(path.trim_start_matches('/'));
    let limits = inside.ancestors().filter_map(|above| {
        let text = fs::read_to_string(folder.join(above).join(file)).ok()?;
        text.trim().parse().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the limit of a process with these cgroups, of which these files exist. `name`: that of
    /// the test.
    fn limit(name: &str, list: &str, files: &[(&str, &str)]) -> Option<u64> {
        let dir = crate::testing::directory(&format!("cgroup-{name}"));
        let at = dir.path();
        fs::write(at.join("list"), list).unwrap();
        for (path, text) in files {
            fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
            fs::write(at.join(path), format!("{text}\n")).unwrap();
        }
        memory_limit(&at.join("list"), at)
    }

    #[test]
    fn the_least_limit_on_the_way_up_binds() {
        let files = [("a/b/memory.max", "max"), ("a/memory.max", "500"), ("memory.max", "900")];
        assert_eq!(limit("up", "0::/a/b\n", &files), Some(500));
        assert_eq!(limit("up", "0::/a\n", &files), Some(500));
        assert_eq!(limit("up", "0::/\n", &files), Some(900));
        assert_eq!(limit("up", "0::/other\n", &files[..2]), None);
    }

    #[test]
    fn both_versions_count() {
        let files = [
            ("memory/a/memory.limit_in_bytes", "700"),
            ("memory/memory.limit_in_bytes", "9223372036854771712"),
            ("memory.max", "800"),
        ];
        assert_eq!(limit("both", "4:cpu,memory:/a\n2:pids:/x\n0::/\n", &files), Some(700));
        // The path outside of a container, whose folder is mounted as the root.
        assert_eq!(limit("both", "4:memory:/docker/1\n", &files), Some(9_223_372_036_854_771_712));
        assert_eq!(limit("both", "2:pids:/x\n", &files), None);
        assert_eq!(limit("both", "nonsense\n4:memory\n\n", &files), None);
    }
}
