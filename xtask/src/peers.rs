//! Finds or installs the stock programs that some tests need.
//!
//! Debian's packages start their service on installation, on port 6379, where the user's own server may run. During the
//! installation a policy file forbids to start services; it is restored afterwards, also if apt fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use russet_e2e::program;

use crate::sh::{self, Result};

/// The programs that tests need.
const PROGRAMS: &[&str] = &["redis-server", "redis-cli", "redis-benchmark", "redis-sentinel"];

/// Debian's packages of these programs.
const PACKAGES: &[&str] = &["redis-server", "redis-sentinel", "redis-tools"];

/// Debian runs this program to check whether a service may be started; exit status 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The command to install them manually.
pub const ADVICE: &str = "sudo apt-get install redis-server redis-sentinel redis-tools \
                          && sudo systemctl disable --now redis-server redis-sentinel";

/// Tries to install missing programs. Returns those that are still missing.
pub fn provide() -> Vec<&'static str> {
    if missing().is_empty() {
        return vec![];
    }
    println!("Missing for some tests: {}", missing().join(", "));
    if !rustix::process::geteuid().is_root() {
        println!("Not root, so not installing it.");
    } else if program::find("apt-get").is_none() {
        println!("No apt-get here, so not installing it.");
    } else if let Err(error) = install() {
        println!("Could not install it: {error}");
    }
    missing()
}

fn missing() -> Vec<&'static str> {
    PROGRAMS.iter().copied().filter(|name| program::find(name).is_none()).collect()
}

fn install() -> Result {
    let _policy = Policy::forbid(Path::new(POLICY)).map_err(|e| format!("{POLICY}: {e}"))?;
    let apt = |arguments: &[&str]| {
        let mut command = sh::command("apt-get", arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let packages = [&["install", "-y", "--no-install-recommends"], PACKAGES].concat();
    println!("Installing {} (their services stay off)", PACKAGES.join(", "));
    // If the list of packages is outdated or missing, update it, which is slow, and try again.
    if sh::succeeds(apt(&packages)) {
        return Ok(());
    }
    sh::run(apt(&["-qq", "update"]))?;
    sh::run(apt(&packages))
}

/// Forbids to start services until it is dropped.
struct Policy {
    path: PathBuf,
    before: Option<(Vec<u8>, u32)>,
}

impl Policy {
    fn forbid(path: &Path) -> std::io::Result<Policy> {
        let before = match fs::read(path) {
            Ok(bytes) => Some((bytes, fs::metadata(path)?.permissions().mode())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let policy = Policy { path: path.to_path_buf(), before };
        policy.write(b"#!/bin/sh\nexit 101\n", 0o755)?;
        Ok(policy)
    }

    fn write(&self, bytes: &[u8], mode: u32) -> std::io::Result<()> {
        fs::write(&self.path, bytes)?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let restored = match &self.before {
            Some((bytes, mode)) => self.write(bytes, *mode),
            None => fs::remove_file(&self.path),
        };
        if let Err(error) = restored {
            eprintln!("could not restore {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_restored() {
        let folder = russet_e2e::server::Folder::new();
        let path = folder.path().join("policy-rc.d");
        let policy = Policy::forbid(&path).expect("the folder is ours");
        assert!(!sh::succeeds(sh::command(&path.to_string_lossy(), &[])));
        drop(policy);
        assert!(!path.exists());

        fs::write(&path, "mine").expect("the folder is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is ours");
        drop(Policy::forbid(&path).expect("the folder is ours"));
        assert_eq!(fs::read(&path).expect("it is there"), b"mine");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
