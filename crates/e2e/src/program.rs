//! The server program that a test runs: Russet, or an installed stock server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A server program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// `russet server`, built from this workspace (or the file given by `RUSSET_BIN`).
    Russet,
    /// The installed `redis-server`.
    Stock,
    /// Another binary, with the arguments before its configuration file.
    Other(PathBuf, Vec<String>),
}

impl Program {
    /// Returns the command without configuration file and directives.
    ///
    /// # Panics
    /// If our binary cannot be built, or if `redis-server` is not installed.
    pub fn command(&self) -> Command {
        match self {
            Program::Russet => {
                let mut command = Command::new(russet());
                command.arg("server");
                command
            }
            Program::Stock => Command::new(stock("redis-server")),
            Program::Other(path, words) => {
                let mut command = Command::new(path);
                command.args(words);
                command
            }
        }
    }

    /// Parses `russet`, `stock` or a path to a binary followed by arguments.
    pub fn parse(text: &str) -> Program {
        match text {
            "russet" => Program::Russet,
            "stock" => Program::Stock,
            other => {
                let mut words = other.split_whitespace().map(str::to_owned);
                let path = words.next().unwrap_or_default();
                Program::Other(path.into(), words.collect())
            }
        }
    }

    /// Returns the program under test: Russet, or that of `RUSSET_E2E_SERVER` (`stock` checks the
    /// tests themselves).
    pub fn under_test() -> Program {
        match std::env::var("RUSSET_E2E_SERVER") {
            Ok(text) => Program::parse(&text),
            Err(_) => Program::Russet,
        }
    }

    /// Returns the stock program that files are exchanged with: the installed one, or that of `RUSSET_E2E_PEER`.
    pub fn peer() -> Program {
        match std::env::var("RUSSET_E2E_PEER") {
            Ok(text) => Program::parse(&text),
            Err(_) => Program::Stock,
        }
    }

    /// Returns a short name for messages and tables.
    pub fn name(&self) -> String {
        match self {
            Program::Russet => "russet".into(),
            Program::Stock => "stock".into(),
            Program::Other(path, _) => {
                path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
            }
        }
    }
}

/// Returns the path of our binary: `RUSSET_BIN`, or built now into the target folder of the running
/// test.
///
/// # Panics
/// If the build fails.
pub fn russet() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("RUSSET_BIN") {
        Some(path) => path.into(),
        None => build(&[]),
    })
}

/// Builds our binary with further arguments for `cargo build` and returns its path.
///
/// # Panics
/// If the build fails.
pub fn build(arguments: &[&str]) -> PathBuf {
    let mut command = build_command(arguments);
    let output = command.output().expect("cargo is there: it runs us");
    assert!(output.status.success(), "the server does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = messages.lines().filter_map(executable_of).find(|p| p.ends_with("russet"));
    path.expect("cargo names the binary it built").into()
}

/// Shows progress and errors, since a build may take minutes.
fn build_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--package", "russet-server"]);
    command.args(["--message-format", "json-render-diagnostics"]).args(arguments);
    command.current_dir(workspace()).stderr(std::process::Stdio::inherit());
    command
}

/// Returns the path after `"executable":` in a message of cargo.
fn executable_of(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    rest.split_once('"').map(|(path, _)| path)
}

/// Returns the workspace's folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the path of an installed stock program.
///
/// # Panics
/// If it is not installed; the message contains the command to install it.
pub fn stock(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| {
        panic!("{name} is not installed: run `cargo xtask test`, which installs it or says how")
    })
}

/// Returns the path of an installed program, found in `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_shows_its_progress_and_its_errors() {
        let command = build_command(&["--release"]);
        let words: Vec<_> = command.get_args().filter_map(|word| word.to_str()).collect();
        assert!(words.contains(&"--release") && words.contains(&"json-render-diagnostics"));
        assert!(!words.contains(&"--quiet") && !words.contains(&"-q"), "{words:?}");
    }
}
