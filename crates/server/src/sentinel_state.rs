//! Finds out where a Sentinel keeps its state: in the configuration file, if that can be replaced, else in a file in the
//! working directory. The engine's `config/sentinel.rs` says what such a file means.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use russet_engine::config::{SentinelLines, SentinelStart, Store};
use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, access, statx};

use crate::config_files::{Refusal, read};
use crate::sys::error_text;

/// Reads the state of a Sentinel with this configuration file, in the working directory. Returns what the log should say
/// about it.
pub fn open(
    file: Option<&Path>,
    lines: Option<&SentinelLines>,
) -> Result<Option<(SentinelStart, Option<String>)>, Refusal> {
    let Some(lines) = lines else { return Ok(None) };
    let folder = std::env::current_dir().unwrap_or_default();
    open_in(&folder, file, lines).map(Some)
}

fn open_in(
    folder: &Path,
    file: Option<&Path>,
    lines: &SentinelLines,
) -> Result<(SentinelStart, Option<String>), Refusal> {
    let (mut start, note) = open_state(folder, file, lines)?;
    // Nothing depends on the journal: without it there is less to tell.
    start.journal = read_end(Path::new(&start.store.journal_path())).unwrap_or_default();
    Ok((start, note))
}

/// Reads all but the journal.
fn open_state(
    folder: &Path,
    file: Option<&Path>,
    lines: &SentinelLines,
) -> Result<(SentinelStart, Option<String>), Refusal> {
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
    match read(&beside) {
        Ok(state) => {
            let settings = lines.with_state(beside.as_os_str().as_bytes(), &state)?;
            let note = format!("The state of this Sentinel is in {}.", beside.display());
            return Ok((SentinelStart { settings, store, journal: Vec::new() }, Some(note)));
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(fails(&beside, &error));
        }
        Err(_) => {}
    }
    let settings = lines.settings.clone();
    let why = match replaceable(file) {
        Err(error) => error_text(&error),
        Ok(()) if !lines.are_only_in(file.as_os_str().as_bytes()) => {
            "other files or options have lines about masters".to_owned()
        }
        Ok(()) => {
            let store = Store::Configuration { path: text(file) };
            return Ok((SentinelStart { settings, store, journal: Vec::new() }, None));
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
    Ok((SentinelStart { settings, store, journal: Vec::new() }, Some(note)))
}

/// Reads the end of a journal's file.
fn read_end(path: &Path) -> std::io::Result<Vec<u8>> {
    let len_max = russet_engine::sentinel::JOURNAL_LEN_MAX as u64;
    let mut bytes = Vec::new();
    // Anything but a file might make us wait.
    if fs::metadata(path)?.is_file() {
        let mut file = fs::File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(len_max)))?;
        file.take(len_max).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
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
        let (start, note) = open_in(dir.path(), Some(&file), &configuration(&file)).ok().unwrap();
        assert_eq!((start.store.path(), note), (file.to_str().unwrap(), None));
        save(&start, &["monitor m 127.0.0.1 7001 1"]);
        let (start, _) = open_in(dir.path(), Some(&file), &configuration(&file)).ok().unwrap();
        assert_eq!(start.settings.masters[0].port, 7001);
    }

    #[test]
    fn the_state_beside_is_read_at_the_next_start_and_what_was_edited_counts() {
        let dir = crate::testing::directory("sentinel-beside");
        // The statements are in an included file.
        let (file, main) = (dir.path().join("masters.conf"), dir.path().join("s.conf"));
        fs::write(&file, TEXT).unwrap();
        fs::write(&main, "").unwrap();
        let lines = configuration(&file);
        let (start, note) = open_in(dir.path(), Some(&main), &lines).ok().unwrap();
        let state = dir.path().join("s.conf.state");
        assert_eq!(start.store.path(), state.to_str().unwrap());
        let note = note.unwrap();
        assert!(note.contains("other files") && note.ends_with("instead."), "{note}");
        save(&start, &["monitor m 127.0.0.1 7001 1", "config-epoch m 3"]);
        fs::write(&file, format!("{TEXT}sentinel failover-timeout m 7\n")).unwrap();
        let lines = configuration(&file);
        let (start, note) = open_in(dir.path(), Some(&main), &lines).ok().unwrap();
        let master = &start.settings.masters[0];
        assert_eq!((master.port, master.config_epoch, master.failover_timeout_ms), (7001, 3, 7));
        assert!(note.unwrap().contains("s.conf.state"));
        fs::write(&state, "nonsense").unwrap();
        let refused = open_in(dir.path(), Some(&main), &lines);
        let Err(Refusal::Fatal(text)) = refused else { panic!() };
        assert!(text.contains("s.conf.state', at line 1"), "{text}");
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

    #[test]
    fn the_journal_is_read_as_far_as_it_can_be() {
        let dir = crate::testing::directory("sentinel-journal");
        let file = dir.path().join("s.conf");
        fs::write(&file, TEXT).unwrap();
        let lines = configuration(&file);
        let journal = || open_in(dir.path(), Some(&file), &lines).ok().unwrap().0.journal;
        assert_eq!(journal(), b"");
        let path = dir.path().join("s.conf.journal");
        fs::write(&path, "one\n").unwrap();
        assert_eq!(journal(), b"one\n");
        let len_max = russet_engine::sentinel::JOURNAL_LEN_MAX;
        fs::write(&path, [vec![b'x'; len_max], b"end\n".to_vec()].concat()).unwrap();
        let end = journal();
        assert!(end.len() == len_max && end.ends_with(b"xend\n"));
        // What is no file is none of our business.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(journal(), b"");
    }
}
