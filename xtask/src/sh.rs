//! Commands run from the workspace's folder, and options read from words.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What a tool answers: nothing, or a message for the person who typed it.
pub type Result<T = ()> = std::result::Result<T, String>;

/// The workspace's folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A command in the workspace's folder.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs us.
pub fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    command(&cargo, arguments)
}

/// Runs it with our standard streams; a failing end is an error.
pub fn run(mut command: Command) -> Result {
    let status = command.status().map_err(|e| format!("{}: {e}", shown(&command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed: {status}", shown(&command))) }
}

/// Runs it and answers its standard output; a failing end is an error.
pub fn output(mut command: Command) -> Result<String> {
    let result = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let Output { status, stdout, .. } = result.map_err(|e| format!("{}: {e}", shown(&command)))?;
    if !status.success() {
        return Err(format!("{} failed: {status}", shown(&command)));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Whether it ends well; its output is thrown away.
pub fn succeeds(mut command: Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Words of a command line: `--name value`, `--flag`, and the rest.
pub struct Words<'a> {
    rest: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// Reads them.
    pub fn new(words: &'a [String]) -> Words<'a> {
        Words { rest: words.iter().map(String::as_str).collect() }
    }

    /// Takes a flag out; whether it was there.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.rest.len();
        self.rest.retain(|word| *word != name);
        self.rest.len() < before
    }

    /// Takes an option and its value out.
    pub fn value(&mut self, name: &str) -> Result<Option<&'a str>> {
        let Some(at) = self.rest.iter().position(|word| *word == name) else { return Ok(None) };
        self.rest.remove(at);
        if at == self.rest.len() {
            return Err(format!("{name} needs a value"));
        }
        Ok(Some(self.rest.remove(at)))
    }

    /// Takes an option out and reads its value as a number.
    pub fn number(&mut self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.value(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("{name} needs a number, not {text}"))
    }

    /// What is left. A word that looks like an option is one nobody knows.
    pub fn rest(self) -> Result<Vec<&'a str>> {
        match self.rest.iter().find(|word| word.starts_with('-')) {
            Some(unknown) => Err(format!("unknown option {unknown}")),
            None => Ok(self.rest),
        }
    }
}
