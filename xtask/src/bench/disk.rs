//! The disk of the temporary folder, on which all files of the servers are.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use russet_e2e::server::Folder;
use rustix::fs::{FsWord, statfs};

use crate::sh::Result;

/// What Linux calls a file system in memory.
const TMPFS: FsWord = 0x0102_1994;

/// How often a sync is timed.
const SYNCS: usize = 200;

/// A remark for the report: what a sync costs here, or that it costs nothing.
pub fn about(group: &str) -> Result<String> {
    let folder = Folder::new();
    let kind = statfs(folder.path()).map_err(|e| format!("{}: {e}", folder.path().display()))?;
    if kind.f_type == TMPFS {
        return Ok(format!(
            "{group}: the temporary folder is in memory, so syncs cost nothing and figures of appendfsync mean \
             nothing. Choose another one by TMPDIR."
        ));
    }
    let mut times = sync_times(folder.path()).map_err(|e| e.to_string())?;
    times.sort_by(f64::total_cmp);
    let (middle, late) = (times[SYNCS / 2], times[SYNCS * 99 / 100]);
    Ok(format!(
        "{group}: an append of 4 KiB and its fdatasync take {middle:.0} µs (99 %: {late:.0} µs) when nobody else writes."
    ))
}

/// Of appends with a sync each, in microseconds.
fn sync_times(folder: &Path) -> std::io::Result<Vec<f64>> {
    let mut file = File::create(folder.join("appended"))?;
    let mut time = || {
        let start = Instant::now();
        file.write_all(&[b'x'; 4096])?;
        file.sync_data()?;
        Ok(start.elapsed().as_secs_f64() * 1e6)
    };
    (0..SYNCS).map(|_| time()).collect()
}
