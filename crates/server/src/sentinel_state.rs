//! Finds out where a Sentinel keeps its state: in the configuration file, if that can be replaced, else in a file in the
//! working directory. The engine's `config/sentinel.rs` says what such a file means.
//!
//! Two processes with one state would be one Sentinel that votes twice, so the file is locked before its state counts.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use russet_engine::config::{SentinelLines, SentinelStart, Store};
use russet_engine::io::Programs;
use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, access, statx};

use crate::config_files::{Refusal, read};
use crate::data_lock::{DataLock, Taken};
use crate::journal_file;
use crate::scripts;
use crate::sys::error_text;

/// Which programs there are.
pub const PROGRAMS: Programs = Programs(scripts::can_run);

/// The state of a Sentinel.
pub struct Opened {
    /// The state.
    pub start: SentinelStart,
    /// What the log should say about it.
    pub note: Option<String>,
    /// Keeps other processes from using it, if its folder can be written.
    pub lock: Option<DataLock>,
}

/// A version of a file: each save makes another file of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    inode: (u64, u64),
    modified: (i64, i64),
}

impl Version {
    /// Returns that of the file at a path, if there is one.
    pub fn of(path: &Path) -> Option<Version> {
        let about = fs::metadata(path).ok()?;
        let modified = (about.mtime(), about.mtime_nsec());
        Some(Version { inode: (about.dev(), about.ino()), modified })
    }
}

/// Reads the state of a Sentinel with this configuration file, in the working directory. `read` is the version of the file
/// whose lines these are.
pub fn open(
    (file, read): (Option<&Path>, Option<Version>),
    lines: Option<&SentinelLines>,
) -> Result<Option<Opened>, Refusal> {
    let Some(lines) = lines else { return Ok(None) };
    let folder = std::env::current_dir().unwrap_or_default();
    let opened = open_in(&folder, file, lines)?;
    if let (Store::Configuration { path }, Some(read)) = (&opened.start.store, read)
        && Version::of(Path::new(path)) != Some(read)
    {
        // Another Sentinel has used it until now: its last vote is not in what was read.
        let text = format!("Sentinel config file {path} has just been changed. Exiting...");
        return Err(Refusal::Unreadable(text));
    }
    Ok(Some(opened))
}

/// Locks the file of the state.
fn lock(path: &Path) -> Result<Option<DataLock>, Refusal> {
    match DataLock::take_state(path) {
        Ok(Taken::New(lock)) => Ok(Some(lock)),
        Ok(Taken::Same | Taken::Unavailable) => Ok(None),
        Err(why) => Err(Refusal::Unreadable(format!("{why}. Exiting..."))),
    }
}

fn open_in(folder: &Path, file: Option<&Path>, lines: &SentinelLines) -> Result<Opened, Refusal> {
    let mut opened = open_state(folder, file, lines)?;
    // Nothing depends on the journal: without it there is less to tell.
    opened.start.journal = journal_file::read(opened.start.store.path());
    Ok(opened)
}

/// Reads all but the journal.
fn open_state(
    folder: &Path,
    file: Option<&Path>,
    lines: &SentinelLines,
) -> Result<Opened, Refusal> {
    let Some(file) = file else {
        let text = "Sentinel needs config file on disk to save state. Exiting...";
        return Err(Refusal::Unreadable(text.into()));
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let beside = state_path(folder, file);
    let store =
        Store::Beside { path: text(&beside), configuration: text(file), configured: lines.texts() };
    let fails = |path: &Path, error: &std::io::Error| {
        let (path, why) = (path.display(), error_text(error));
        Refusal::Unreadable(format!("Fatal error, can't open Sentinel state file '{path}': {why}"))
    };
    let is_beside = beside.try_exists().unwrap_or(true);
    let locked = if is_beside { lock(&beside)? } else { None };
    match read(&beside) {
        Ok(state) => {
            let lines = lines.with_state(beside.as_os_str().as_bytes(), &state)?;
            lines.check_programs(PROGRAMS)?;
            let start = SentinelStart { settings: lines.settings, store, journal: Vec::new() };
            let note = format!("The state of this Sentinel is in {}.", beside.display());
            return Ok(Opened { start, note: Some(note), lock: locked });
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(fails(&beside, &error));
        }
        Err(_) => {}
    }
    lines.check_programs(PROGRAMS)?;
    let settings = lines.settings.clone();
    let why = match replaceable(file) {
        Err(error) => error_text(&error),
        Ok(()) if !lines.are_only_in(file.as_os_str().as_bytes()) => {
            "other files or options have lines about masters".to_owned()
        }
        Ok(()) => {
            let store = Store::Configuration { path: text(file) };
            // Another path may lead to it by a link.
            let lock = lock(&fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf()))?;
            return Ok(Opened {
                start: SentinelStart { settings, store, journal: Vec::new() },
                note: None,
                lock,
            });
        }
    };
    if access(folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let path = file.display();
        let text = format!("Sentinel config file {path} is not writable: {why}. Exiting...");
        return Err(Refusal::Unreadable(text));
    }
    let note = format!(
        "Sentinel config file {} cannot be rewritten ({why}): the state is kept in {} instead.",
        file.display(),
        beside.display()
    );
    let lock = lock(&beside)?;
    let start = SentinelStart { settings, store, journal: Vec::new() };
    Ok(Opened { start, note: Some(note), lock })
}

/// Returns the path of the state file that belongs to a configuration file.
fn state_path(folder: &Path, file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".state");
    folder.join(name)
}

/// Checks that a file can be replaced by another one of the same name.
fn replaceable(file: &Path) -> std::io::Result<()> {
    let file = fs::canonicalize(file)?;
    access(&file, Access::WRITE_OK)?;
    access(file.parent().unwrap_or(Path::new("/")), Access::WRITE_OK | Access::EXEC_OK)?;
    // A file that is mounted by itself, as into a container, may be writable but keeps its name.
    let status = statx(CWD, &file, AtFlags::empty(), StatxFlags::BASIC_STATS);
    let is_mounted = |attributes: StatxAttributes| attributes.contains(StatxAttributes::MOUNT_ROOT);
    match status {
        Ok(status) if is_mounted(status.stx_attributes) => Err(rustix::io::Errno::BUSY.into()),
        // An old kernel does not tell.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use russet_engine::config::{Config, Place, Source};
    use russet_engine::io::Request;
    use russet_engine::mode::Mode;

    use super::*;

    const TEXT: &str = "sentinel monitor m 127.0.0.1 7000 1\n";

    fn configuration(path: &Path) -> SentinelLines {
        let place = Place::File(path.as_os_str().as_bytes().to_vec());
        let source = Source { place, text: fs::read(path).unwrap() };
        let loaded = Config::parse_for(Mode::Sentinel, &[source], &mut |_, _| Ok(vec![]));
        loaded.unwrap().sentinel.unwrap()
    }

    /// Writes what a Sentinel saves.
    fn save(start: &SentinelStart, lines: &[&str]) {
        let lines = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        let request = start.store.save(&Config::default_of(Mode::Sentinel), lines);
        let Request::ReplaceFile { path, rewrite } = request else { panic!() };
        let old = fs::read(&path).unwrap_or_default();
        fs::write(&path, rewrite.apply(&old, &mut |_, _| vec![])).unwrap();
    }

    #[test]
    fn a_configuration_that_can_be_replaced_has_the_state() {
        let dir = crate::testing::directory("sentinel-own");
        let file = dir.path().join("s.conf");
        fs::write(&file, TEXT).unwrap();
        let opened = open_in(dir.path(), Some(&file), &configuration(&file)).ok().unwrap();
        assert_eq!((opened.start.store.path(), &opened.note), (file.to_str().unwrap(), &None));
        let version = Version::of(&file);
        save(&opened.start, &["monitor m 127.0.0.1 7001 1"]);
        assert!(version.is_some() && Version::of(&file) != version);
        drop(opened);
        let opened = open_in(dir.path(), Some(&file), &configuration(&file)).ok().unwrap();
        assert_eq!(opened.start.settings.masters[0].port, 7001);
    }

    #[test]
    fn the_state_beside_is_read_at_the_next_start_and_what_was_edited_counts() {
        let dir = crate::testing::directory("sentinel-beside");
        // The statements are in an included file.
        let (file, main) = (dir.path().join("masters.conf"), dir.path().join("s.conf"));
        fs::write(&file, TEXT).unwrap();
        fs::write(&main, "").unwrap();
        let lines = configuration(&file);
        let opened = open_in(dir.path(), Some(&main), &lines).ok().unwrap();
        let state = dir.path().join("s.conf.state");
        assert_eq!(opened.start.store.path(), state.to_str().unwrap());
        let note = opened.note.clone().unwrap();
        assert!(note.contains("other files") && note.ends_with("instead."), "{note}");
        save(&opened.start, &["monitor m 127.0.0.1 7001 1", "config-epoch m 3"]);
        drop(opened);
        fs::write(&file, format!("{TEXT}sentinel failover-timeout m 7\n")).unwrap();
        let lines = configuration(&file);
        let opened = open_in(dir.path(), Some(&main), &lines).ok().unwrap();
        let master = &opened.start.settings.masters[0];
        assert_eq!((master.port, master.config_epoch, master.failover_timeout_ms), (7001, 3, 7));
        assert!(opened.note.as_ref().unwrap().contains("s.conf.state"));
        drop(opened);
        fs::write(&state, "nonsense").unwrap();
        let refused = open_in(dir.path(), Some(&main), &lines);
        let Err(Refusal::Fatal(text)) = refused else { panic!() };
        assert!(text.contains("s.conf.state', at line 1"), "{text}");
    }

    #[test]
    fn a_state_has_one_sentinel() {
        let dir = crate::testing::directory("sentinel-locked");
        let (file, link) = (dir.path().join("s.conf"), dir.path().join("link.conf"));
        fs::write(&file, TEXT).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let lines = configuration(&file);
        let refusal = |path: &Path, lines| match open_in(dir.path(), Some(path), lines) {
            Err(Refusal::Unreadable(text)) => text,
            _ => panic!(),
        };
        let opened = open_in(dir.path(), Some(&file), &lines).ok().unwrap();
        let us = std::process::id();
        let text = format!("Another Sentinel (process {us}) already keeps its state in '");
        let lines_of_link = configuration(&link);
        for (path, lines) in [(&file, &lines), (&link, &lines_of_link)] {
            let refusal = refusal(path, lines);
            assert!(refusal.starts_with(&text), "{refusal}");
        }
        drop(opened);
        // The same with a state beside the data, when it is made and when it is there.
        let (main, state) = (dir.path().join("main.conf"), dir.path().join("main.conf.state"));
        fs::write(&main, "").unwrap();
        for _ in 0..2 {
            let opened = open_in(dir.path(), Some(&main), &lines).ok().unwrap();
            assert!(refusal(&main, &lines).contains(&format!("{}'", state.display())));
            save(&opened.start, &["monitor m 127.0.0.1 7001 1"]);
        }
        // Whoever reads the file before its last user has ended does not know what that voted.
        let before = Version::of(&file);
        fs::write(dir.path().join("new"), TEXT).unwrap();
        fs::rename(dir.path().join("new"), &file).unwrap();
        let changed = open((Some(&file), before), Some(&lines));
        let Err(Refusal::Unreadable(text)) = changed else { panic!() };
        assert!(text.contains("has just been changed"), "{text}");
        assert!(open((Some(&file), Version::of(&file)), Some(&lines)).is_ok());
    }

    #[test]
    fn a_script_that_cannot_be_run_is_refused() {
        let dir = crate::testing::directory("sentinel-scripts");
        let (file, script) = (dir.path().join("s.conf"), dir.path().join("notify.sh"));
        let statement = format!("sentinel notification-script m {}\n", script.display());
        fs::write(&file, format!("{TEXT}{statement}")).unwrap();
        let refusal = || match open_in(dir.path(), Some(&file), &configuration(&file)) {
            Err(Refusal::Fatal(text)) => Some(text),
            Err(Refusal::Unreadable(text)) => panic!("{text}"),
            Ok(_) => None,
        };
        let text = "Notification script seems non existing or non executable.";
        let place = "s.conf', at line 2";
        assert!(refusal().is_some_and(|refusal| refusal.contains(text) && refusal.contains(place)));
        fs::write(&script, "#!/bin/sh\n").unwrap();
        assert!(refusal().is_some_and(|refusal| refusal.contains(text)), "it is not executable");
        let is_executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&script, is_executable).unwrap();
        assert_eq!(refusal(), None);
        fs::remove_file(&script).unwrap();
        fs::create_dir(&script).unwrap();
        assert!(refusal().is_some(), "a folder is no program");
    }

    #[test]
    fn a_sentinel_without_a_place_for_its_state_does_not_start() {
        let dir = crate::testing::directory("sentinel-nowhere");
        let file = dir.path().join("s.conf");
        fs::write(&file, TEXT).unwrap();
        let lines = configuration(&file);
        let refusal = |folder: &Path, file: Option<&Path>| match open_in(folder, file, &lines) {
            Err(Refusal::Unreadable(text)) => text,
            _ => panic!(),
        };
        let text = "Sentinel needs config file on disk to save state. Exiting...";
        assert_eq!(refusal(dir.path(), None), text);
        let gone = dir.path().join("none/s.conf");
        assert_eq!(replaceable(&gone).unwrap_err().kind(), std::io::ErrorKind::NotFound);
        assert_eq!(
            refusal(&dir.path().join("none"), Some(&gone)),
            format!(
                "Sentinel config file {} is not writable: No such file or directory. Exiting...",
                gone.display()
            )
        );
    }
}
