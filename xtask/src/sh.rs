//! Running commands in the workspace's folder, and parsing options.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The result of a tool, or an error message for the user.
pub type Result<T = ()> = std::result::Result<T, String>;

/// Returns the workspace's folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Creates a command in the workspace's folder.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Creates a command of the cargo that runs this tool.
pub fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    command(&cargo, arguments)
}

/// Runs a command with inherited standard streams. A failure is an error.
pub fn run(mut command: Command) -> Result {
    let status = command.status().map_err(|e| format!("{}: {e}", shown(&command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed: {status}", shown(&command))) }
}

/// Runs a command and returns its standard output. A failure is an error.
pub fn output(mut command: Command) -> Result<String> {
    let result = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let Output { status, stdout, .. } = result.map_err(|e| format!("{}: {e}", shown(&command)))?;
    if !status.success() {
        return Err(format!("{} failed: {status}", shown(&command)));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs a command without output. Returns whether it succeeds.
pub fn succeeds(mut command: Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The words of a command line: `--name value`, `--flag`, and others.
pub struct Words<'a> {
    rest: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// Creates the list of words.
    pub fn new(words: &'a [String]) -> Words<'a> {
        Words { rest: words.iter().map(String::as_str).collect() }
    }

    /// Removes a flag. Returns whether it was present.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.rest.len();
        self.rest.retain(|word| *word != name);
        self.rest.len() < before
    }

    /// Removes an option and returns its value.
    pub fn value(&mut self, name: &str) -> Result<Option<&'a str>> {
        let Some(at) = self.rest.iter().position(|word| *word == name) else { return Ok(None) };
        self.rest.remove(at);
        if at == self.rest.len() {
            return Err(format!("{name} needs a value"));
        }
        Ok(Some(self.rest.remove(at)))
    }

    /// Removes an option and returns its value as a number.
    pub fn number(&mut self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.value(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("{name} needs a number, not {text}"))
    }

    /// Returns the remaining words. Remaining options are unknown.
    pub fn rest(self) -> Result<Vec<&'a str>> {
        match self.rest.iter().find(|word| word.starts_with('-')) {
            Some(unknown) => Err(format!("unknown option {unknown}")),
            None => Ok(self.rest),
        }
    }
}
