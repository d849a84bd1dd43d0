//! Which server a test runs: ours, or the stock one installed beside it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A server program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Our own `russet server`, built from this workspace (or the file named by `RUSSET_BIN`).
    Russet,
    /// The installed `redis-server`.
    Stock,
    /// Another binary, with the words that come before its configuration file.
    Other(PathBuf, Vec<String>),
}

impl Program {
    /// The command without configuration file and directives.
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

    /// Reads `russet`, `stock` or a path to a binary followed by the words that make it a server.
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

    /// What a test is about: ours, or what `RUSSET_E2E_SERVER` names (`stock` checks the test itself).
    pub fn under_test() -> Program {
        match std::env::var("RUSSET_E2E_SERVER") {
            Ok(text) => Program::parse(&text),
            Err(_) => Program::Russet,
        }
    }

    /// A short name for messages and tables.
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

/// Path of our binary: `RUSSET_BIN`, else built now into the target folder of the running test.
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

/// Builds our binary with further arguments to `cargo build` and answers its path.
///
/// # Panics
/// If the build fails.
pub fn build(arguments: &[&str]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--package", "russet-server", "--message-format", "json"])
        .args(arguments)
        .current_dir(workspace())
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("cargo is there: it runs us");
    assert!(output.status.success(), "the server does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = messages.lines().filter_map(executable_of).find(|p| p.ends_with("russet"));
    path.expect("cargo names the binary it built").into()
}

/// The path after `"executable":` in one message of cargo's.
fn executable_of(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    rest.split_once('"').map(|(path, _)| path)
}

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Path of an installed stock program.
///
/// # Panics
/// If it is not installed; the message says what to type.
pub fn stock(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| {
        panic!("{name} is not installed: run `cargo xtask test`, which installs it or says how")
    })
}

/// Path of an installed program, looked up in `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
