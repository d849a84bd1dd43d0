//! Reading the configuration: the file, standard input, the command line, and what they include.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use russet_engine::config::{CommandLine, Config, IncludedFile, Loaded};

use crate::sys::error_text;

/// Nobody's configuration is longer; a device given by mistake is endless.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What the command line asks for.
pub struct Sources {
    /// Absolute path of the configuration file.
    pub file: Option<PathBuf>,
    command_line: CommandLine,
}

/// Why there is no configuration.
pub enum Refusal {
    /// A line for the log.
    Unreadable(String),
    /// The block that Redis prints on standard error.
    Fatal(String),
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl Sources {
    /// Takes the arguments after the program's name apart.
    pub fn of(arguments: &[Vec<u8>]) -> Sources {
        let command_line = CommandLine::parse(arguments);
        let file = command_line.config_file.as_deref().map(path_of);
        let file = file.map(|p| std::path::absolute(p).unwrap_or_else(|_| p.to_path_buf()));
        Sources { file, command_line }
    }

    /// Reads everything.
    pub fn load(&self) -> Result<Loaded, Refusal> {
        let mut file = Vec::new();
        if let Some(path) = &self.file {
            file = read(path).map_err(|error| {
                let (path, why) = (path.display(), error_text(&error));
                Refusal::Unreadable(format!("Fatal error, can't open config file '{path}': {why}"))
            })?;
        }
        let mut stdin = Vec::new();
        if self.command_line.from_stdin {
            let read = std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut stdin);
            read.map_err(|error| {
                let why = error_text(&error);
                Refusal::Unreadable(format!("Fatal error, can't read standard input: {why}"))
            })?;
        }
        let text = self.command_line.whole_text(&file, &stdin);
        Config::parse(&text, &mut |pattern| included(pattern))
            .map_err(|error| Refusal::Fatal(error.to_string()))
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The files that an `include` line names, in alphabetical order.
fn included(pattern: &[u8]) -> Result<Vec<IncludedFile>, String> {
    let is_pattern = pattern.iter().any(|byte| b"*?[".contains(byte));
    let paths: Vec<PathBuf> = if is_pattern {
        let text = std::str::from_utf8(pattern).map_err(|error| error.to_string())?;
        let found = glob::glob(text).map_err(|error| error.to_string())?;
        found.filter_map(Result::ok).collect()
    } else {
        vec![path_of(pattern).to_path_buf()]
    };
    let read_one = |path: PathBuf| match read(&path) {
        Ok(text) => Ok(IncludedFile { path: path.as_os_str().as_bytes().to_vec(), text }),
        Err(error) => Err(error_text(&error)),
    };
    paths.into_iter().map(read_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_includes_and_arguments_becomes_one_configuration() {
        let dir = crate::testing::folder("config-files");
        let folder = dir.path().to_str().unwrap();
        fs::write(dir.path().join("b.inc"), "port 7002\nmaxclients 77\n").unwrap();
        fs::write(dir.path().join("a.inc"), "port 7001\n").unwrap();
        let conf = dir.path().join("main.conf");
        fs::write(&conf, format!("port 7000\ninclude {folder}/*.inc\n")).unwrap();
        let arguments = [conf.to_str().unwrap(), "--hz", "20"].map(|a| a.as_bytes().to_vec());
        let sources = Sources::of(&arguments);
        assert_eq!(sources.file.as_deref(), Some(conf.as_path()));
        let config = sources.load().ok().unwrap().config;
        assert_eq!((config.port, config.maxclients, config.hz), (7002, 77, 20));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let missing = Sources::of(&[b"/nonexistent.conf".to_vec()]).load();
        let Err(Refusal::Unreadable(text)) = missing else { panic!() };
        assert_eq!(
            text,
            "Fatal error, can't open config file '/nonexistent.conf': No such file or directory"
        );
        let wrong = Sources::of(&[b"--port".to_vec(), b"abc".to_vec()]).load();
        let Err(Refusal::Fatal(text)) = wrong else { panic!() };
        assert!(text.contains("*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***"), "{text}");
    }
}
