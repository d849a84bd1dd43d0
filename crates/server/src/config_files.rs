//! Reads the configuration from the file, standard input, the command line, and included files.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use russet_engine::config::{
    CommandLine, Config, FatalError, IncludedFile, Loaded, Place, Source, Unreadable,
};
use russet_engine::mode::Mode;

use crate::log;
use crate::sys::{self, error_text};

/// Limits how much is read if a device is given by mistake.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The sources of the configuration, as given on the command line.
pub struct Sources {
    /// Absolute path of the configuration file.
    pub file: Option<PathBuf>,
    command_line: CommandLine,
}

/// Why the configuration could not be loaded.
pub enum Refusal {
    /// A line for the log.
    Unreadable(String),
    /// The block about lines for standard error.
    Fatal(String),
}

impl From<FatalError> for Refusal {
    fn from(error: FatalError) -> Refusal {
        match error {
            FatalError::Unreadable(_) => Refusal::Unreadable(error.to_string()),
            FatalError::Lines(_) => Refusal::Fatal(error.to_string()),
        }
    }
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl Sources {
    /// Parses the arguments after the program's name.
    pub fn of(arguments: &[Vec<u8>]) -> Sources {
        let command_line = CommandLine::parse(arguments);
        let file = command_line.config_file.as_deref().map(path_of);
        let file = file.map(|p| std::path::absolute(p).unwrap_or_else(|_| p.to_path_buf()));
        Sources { file, command_line }
    }

    /// Reads and parses all sources.
    pub fn load(&self, mode: Mode) -> Result<Loaded, Refusal> {
        let mut sources = Vec::new();
        if let Some(path) = &self.file {
            let text = read(path)
                .map_err(|error| Refusal::Unreadable(unreadable(path, &error).to_string()))?;
            let path = path.as_os_str().as_bytes().to_vec();
            sources.push(Source { place: Place::File(path), text });
        }
        if self.command_line.from_stdin {
            log::notice("Reading config from stdin");
            let mut text = Vec::new();
            let read = std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut text);
            read.map_err(|error| {
                let why = error_text(&error);
                Refusal::Unreadable(format!("Fatal error, can't read standard input: {why}"))
            })?;
            sources.push(Source { place: Place::StandardInput, text });
        }
        let text = self.command_line.options.clone();
        sources.push(Source { place: Place::CommandLine, text });
        let here = Path::new("");
        let mut read = |directory: &[u8], word: &[u8]| included(here, directory, word);
        Ok(Config::parse_for(mode, &sources, &mut read)?)
    }
}

/// Reads the files that an argument of `include` matches in a server that was started in `start`,
/// without those that can't be read.
pub fn texts_of_included(start: &Path, directory: &[u8], word: &[u8]) -> Vec<Vec<u8>> {
    let files = included(start, directory, word).unwrap_or_default();
    files.into_iter().map(|file| file.text).collect()
}

pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the files that an argument of `include` matches, in alphabetical order. Relative paths
/// start at `directory`, which itself starts at `start`.
fn included(start: &Path, directory: &[u8], word: &[u8]) -> Result<Vec<IncludedFile>, Unreadable> {
    let plain = path_of(word);
    let directory = match directory {
        DEFAULT_DIR => start.to_path_buf(),
        directory => start.join(path_of(directory)),
    };
    let is_here = directory.as_os_str().is_empty();
    if !word.iter().any(|byte| b"*?[".contains(byte)) {
        return read_included(directory.join(plain)).map(|file| vec![file]);
    }
    let pattern = if plain.is_absolute() || is_here {
        word.to_vec()
    } else {
        // glob(3) finds nothing in an unreadable directory; report that instead of ignoring the
        // include.
        fs::read_dir(&directory).map_err(|error| unreadable(&directory, &error))?;
        [&without_wildcards(directory.as_os_str().as_bytes()), &b"/"[..], word].concat()
    };
    let pattern =
        CString::new(pattern).map_err(|_| unreadable(plain, &ErrorKind::InvalidInput.into()))?;
    // Directories that match are ignored.
    let files = sys::glob(&pattern).into_iter().filter(|path| !path.is_dir());
    files.map(read_included).collect()
}

/// The default of `dir`: the directory in which the program was started.
const DEFAULT_DIR: &[u8] = b"./";

/// Escapes a path as a pattern that matches only itself.
fn without_wildcards(path: &[u8]) -> Vec<u8> {
    let escaped =
        |&byte: &u8| if b"*?[\\".contains(&byte) { vec![b'\\', byte] } else { vec![byte] };
    path.iter().flat_map(escaped).collect()
}

fn read_included(path: PathBuf) -> Result<IncludedFile, Unreadable> {
    let text = read(&path).map_err(|error| unreadable(&path, &error))?;
    Ok(IncludedFile { path: path.into_os_string().into_vec(), text })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Unreadable {
    let path = path.as_os_str().as_bytes().to_vec();
    Unreadable { path, reason: error_text(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_includes_and_arguments_becomes_one_configuration() {
        let dir = crate::testing::directory("config-files");
        let directory = dir.path().to_str().unwrap();
        fs::write(dir.path().join("b.inc"), "port 7002\nmaxclients 77\n").unwrap();
        fs::write(dir.path().join("a.inc"), "port 7001\n").unwrap();
        let conf = dir.path().join("main.conf");
        fs::write(&conf, format!("port 7000\ninclude {directory}/*.inc\n")).unwrap();
        let arguments = [conf.to_str().unwrap(), "--hz", "20"].map(|a| a.as_bytes().to_vec());
        let sources = Sources::of(&arguments);
        assert_eq!(sources.file.as_deref(), Some(conf.as_path()));
        let config = sources.load(Mode::Standalone).ok().unwrap().config;
        assert_eq!((config.port, config.maxclients, config.hz), (7002, 77, 20));
    }

    /// The texts of the files that are included, in order.
    fn found(directory: &Path, word: &[u8]) -> Vec<String> {
        let files = included(Path::new(""), directory.as_os_str().as_bytes(), word)
            .map_err(|e| e.to_string());
        files.unwrap().into_iter().map(|f| String::from_utf8(f.text).unwrap()).collect()
    }

    #[test]
    fn patterns_are_those_of_the_c_library() {
        let dir = crate::testing::directory("config-globs");
        // Wildcards in the directory's name are literal.
        let directory = dir.path().join("[x]*");
        for sub in ["sub", "..data"] {
            fs::create_dir_all(directory.join(sub)).unwrap();
        }
        for name in ["a", "b", ".hidden", "*", "sub/c", "..data/d"] {
            fs::write(directory.join(name), name).unwrap();
        }
        fs::write(directory.join(OsStr::from_bytes(b"\xff.conf")), "latin").unwrap();
        std::os::unix::fs::symlink("..data", directory.join("link")).unwrap();
        assert_eq!(found(&directory, b"*"), ["*", "a", "b", "latin"]);
        assert_eq!(found(&directory, b".[a-z]*"), [".hidden"]);
        assert_eq!(found(&directory, b"[^a*]"), ["b"]);
        assert_eq!(found(&directory, b"\\*"), ["*"]);
        assert_eq!(found(&directory, b"\xff*"), ["latin"]);
        assert_eq!(found(&directory, b"*/?"), ["..data/d", "sub/c"]);
        assert_eq!(found(&directory, b"[a"), [""; 0]);
        assert_eq!(found(&directory, b"a"), ["a"]);
    }

    #[test]
    fn what_cannot_be_included_is_named() {
        let dir = crate::testing::directory("config-bad-includes");
        let directory = dir.path();
        std::os::unix::fs::symlink("nowhere", directory.join("dangling")).unwrap();
        let refusal = |directory: &Path, word: &[u8]| {
            included(Path::new(""), directory.as_os_str().as_bytes(), word).unwrap_err().to_string()
        };
        let path = directory.display();
        for (word, named) in [("*", "dangling"), ("none", "none")] {
            let expected = format!(
                "Fatal error, can't open config file '{path}/{named}': No such file or directory"
            );
            assert_eq!(refusal(directory, word.as_bytes()), expected);
        }
        let missing = refusal(&directory.join("missing"), b"*.conf");
        assert!(missing.contains("missing': No such file or directory"), "{missing}");
        let a_directory = refusal(directory, b"");
        assert!(a_directory.ends_with("Is a directory"), "{a_directory}");
        let nul = refusal(directory, b"*\0");
        assert!(nul.starts_with("Fatal error, can't open config file"), "{nul}");
    }

    #[test]
    fn an_include_behind_dir_is_read_from_there() {
        let dir = crate::testing::directory("config-dir-include");
        let data = dir.path().join("data");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("local.conf"), "requirepass secret\n").unwrap();
        let conf = dir.path().join("main.conf");
        fs::write(&conf, format!("dir {}\ninclude *.conf\n", data.display())).unwrap();
        let loaded = Sources::of(&[conf.into_os_string().into_vec()]).load(Mode::Standalone);
        assert!(loaded.ok().unwrap().config.requirepass.matches(b"secret"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let missing = Sources::of(&[b"/nonexistent.conf".to_vec()]).load(Mode::Standalone);
        let Err(Refusal::Unreadable(text)) = missing else { panic!() };
        assert_eq!(
            text,
            "Fatal error, can't open config file '/nonexistent.conf': No such file or directory"
        );
        let wrong = Sources::of(&[b"--port".to_vec(), b"abc".to_vec()]).load(Mode::Standalone);
        let Err(Refusal::Fatal(text)) = wrong else { panic!() };
        assert!(text.contains("*** FATAL CONFIG FILE ERROR (Russet "), "{text}");
        assert!(text.contains("the options of the command line\n>>> 'port \"abc\"'\n"), "{text}");
    }
}
