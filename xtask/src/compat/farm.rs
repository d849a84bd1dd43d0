//! A folder that looks to the suite like its own checkout after a build: links to its tests, and where its binaries would
//! be, links to our server and to stock tools, those of the checkout if they have been built there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use russet_e2e::program;
use russet_e2e::server::Folder;

use super::instances;
use crate::sh::Result;

/// The tools that the suite calls under its own names, and the installed ones that stand in for them if the checkout has not
/// been built: an older `redis-cli` does not know all options that the suite uses.
const TOOLS: &[(&str, &str)] = &[
    ("valkey-cli", "redis-cli"),
    ("valkey-benchmark", "redis-benchmark"),
    ("valkey-check-aof", "redis-check-aof"),
    ("valkey-check-rdb", "redis-check-rdb"),
];

/// Those of them that Russet has itself, as subcommands.
const SUBCOMMANDS: &[(&str, &str)] =
    &[("valkey-check-aof", "check-aof"), ("valkey-check-rdb", "check-rdb")];

/// The suite's default configuration, in its folder of assets.
const DEFAULT_CONF: &str = "default.conf";

/// The folder; removed when dropped.
pub struct Farm {
    folder: Folder,
    /// The default configuration.
    conf: String,
    /// Whether the server is ours.
    is_russet: bool,
}

impl Farm {
    /// Makes it for a server binary. Lines of the suite's default configuration that begin with an `omitted`
    /// directive are left out, for servers that do not know them.
    pub fn new(suite: &Path, server: &Path, omitted: &[&str], base_port: u64) -> Result<Farm> {
        let suite = absolute(suite)?;
        if !suite.join("tests/test_helper.tcl").is_file() {
            return Err(format!("{} holds no tests/test_helper.tcl", suite.display()));
        }
        let conf = default_conf(&suite, omitted)?;
        let server = absolute(server)?;
        let is_russet = server.file_name().is_some_and(|name| name == "russet");
        let farm = Farm { folder: Folder::new(), conf, is_russet };
        let root = farm.folder.path();
        for folder in ["src", "tests", "tests/tmp", "tests/assets"] {
            fs::create_dir_all(root.join(folder)).map_err(|e| format!("{folder}: {e}"))?;
        }
        instances::prepare(&suite, root, base_port)?;
        link_all(&suite.join("tests"), &root.join("tests"))?;
        link_all(&suite.join("tests/assets"), &root.join("tests/assets"))?;
        link(&suite.join("utils"), &root.join("utils"))?;
        link(&server, &root.join("src/valkey-server"))?;
        link(&server, &root.join("src/valkey-sentinel"))?;
        for (name, stock) in TOOLS {
            let own = SUBCOMMANDS.iter().find(|(tool, _)| is_russet && tool == name);
            if let Some((_, subcommand)) = own {
                write_script(&root.join("src").join(name), &server, subcommand)?;
                continue;
            }
            let built = Some(suite.join("src").join(name)).filter(|path| path.is_file());
            let path = built.or_else(|| program::find(stock));
            let path = path.ok_or_else(|| format!("{stock} is not installed"))?;
            link(&path, &root.join("src").join(name))?;
        }
        Ok(farm)
    }

    /// `tclsh` in the farm.
    pub fn command(&self) -> Result<Command> {
        let names = ["tclsh8.6", "tclsh9.0", "tclsh"];
        let tclsh = names.iter().find_map(|name| program::find(name));
        let mut command = Command::new(tclsh.ok_or("tclsh is not installed: apt-get install tcl")?);
        command.current_dir(self.folder.path());
        Ok(command)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The source of a unit.
    pub fn unit_text(&self, unit: &str) -> Result<String> {
        let path = match instances::file_of(unit) {
            Some(file) => format!("{}/tests/{}.tcl", file.folder, file.name),
            None => format!("{unit}.tcl"),
        };
        let path = self.folder.path().join("tests").join(path);
        let bytes = fs::read(&path).map_err(|e| format!("{unit}: {e}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes the default configuration, with these lines in it if the server is ours.
    pub fn configure(&self, own_lines: &str) -> Result {
        let path = self.folder.path().join("tests/assets").join(DEFAULT_CONF);
        // A link leads into the checkout, which stays as it is.
        fs::remove_file(&path).map_err(|e| e.to_string())?;
        let lines = if self.is_russet { own_lines } else { "" };
        fs::write(&path, format!("{}{lines}", self.conf)).map_err(|e| e.to_string())
    }
}

/// Returns the suite's default configuration without the omitted directives.
fn default_conf(suite: &Path, omitted: &[&str]) -> Result<String> {
    let path = suite.join("tests/assets").join(DEFAULT_CONF);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let keep = |line: &&str| {
        let directive = line.split(' ').next().unwrap_or_default();
        directive.is_empty() || !omitted.contains(&directive)
    };
    Ok(text.lines().filter(keep).map(|line| format!("{line}\n")).collect())
}

/// Writes a program that runs a subcommand of the server.
fn write_script(path: &Path, server: &Path, subcommand: &str) -> Result {
    let text = format!("#!/bin/sh\nexec '{}' {subcommand} \"$@\"\n", server.display());
    let write = || {
        fs::write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    };
    write().map_err(|e| format!("{}: {e}", path.display()))
}

/// Links every entry of `from` in `to`, but for those that `to` has.
pub fn link_all(from: &Path, to: &Path) -> Result {
    let entries = fs::read_dir(from).map_err(|e| format!("{}: {e}", from.display()))?;
    for entry in entries.flatten() {
        let place = to.join(entry.file_name());
        if !place.exists() {
            link(&entry.path(), &place)?;
        }
    }
    Ok(())
}

fn link(to: &Path, place: &Path) -> Result {
    symlink(to, place).map_err(|e| format!("{}: {e}", place.display()))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))
}
