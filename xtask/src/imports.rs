//! Allowed dependencies between crates, as in ARCHITECTURE.md, compared with those of cargo.
//!
//! ```text
//!   journal, protocol ◀── sentinel, cluster ◀─┐
//!   ds, protocol ◀───────────────── engine ◀──┬─ server ─▶ ds  e2e ◀── xtask
//!                                             ├─ sim ─▶ cluster, protocol, ds
//!                                             └─ driver ◀── engine's tests and benches, fuzz
//! ```
//!
//! Only the workspace's crates are checked here; `deny.toml` checks the others.

use std::collections::BTreeMap;

use crate::sh::{self, Result};

/// Each crate with its allowed dependencies, of any kind.
const ALLOWED: &[(&str, &[&str])] = &[
    ("russet-ds", &[]),
    ("russet-protocol", &[]),
    ("russet-journal", &[]),
    ("russet-sentinel", &["russet-journal", "russet-protocol"]),
    ("russet-cluster", &["russet-journal", "russet-protocol"]),
    // Only its tests and benches use the driver, which cargo ensures.
    (
        "russet-engine",
        &["russet-ds", "russet-protocol", "russet-sentinel", "russet-cluster", "russet-driver"],
    ),
    ("russet-driver", &["russet-engine"]),
    // `ds` for the allocator only.
    ("russet-server", &["russet-ds", "russet-engine"]),
    // `ds` for the allocator that counts.
    ("russet-sim", &["russet-engine", "russet-cluster", "russet-protocol", "russet-ds"]),
    ("russet-e2e", &[]),
    ("xtask", &["russet-e2e"]),
];

/// The dependencies of each crate by name.
type Imports = BTreeMap<String, Vec<String>>;

/// Returns the violations.
pub fn check() -> Result<Vec<String>> {
    let tree = ["tree", "--workspace", "--depth", "1", "--edges", "normal,build,dev"];
    let form = ["--prefix", "depth", "--format", "{p}", "--locked", "--offline"];
    let tree = sh::output(sh::cargo(&[&tree[..], &form[..]].concat()))?;
    Ok(complaints_about(&read(&tree)))
}

/// Parses lines of `0russet-sim v0.1.0 (…)`: a member at depth 0, its dependencies at depth 1.
fn read(tree: &str) -> Imports {
    let mut imports = Imports::new();
    let mut member = String::new();
    for line in tree.lines() {
        let Some(name) = line.get(1..).and_then(|rest| rest.split(' ').next()) else { continue };
        if line.starts_with('0') {
            member = name.to_owned();
            imports.entry(member.clone()).or_default();
        } else if let Some(list) = imports.get_mut(&member) {
            list.push(name.to_owned());
        }
    }
    imports
}

fn complaints_about(imports: &Imports) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, imported) in imports {
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| known == name) else {
            complaints.push(format!("{name} is missing in imports.rs"));
            continue;
        };
        let ours = imported.iter().filter(|import| imports.contains_key(*import));
        for import in ours.filter(|import| !allowed.contains(&import.as_str())) {
            complaints.push(format!("{name} must not depend on {import}"));
        }
    }
    for (name, _) in ALLOWED.iter().filter(|(name, _)| !imports.contains_key(*name)) {
        complaints.push(format!("{name} is in imports.rs but not in the workspace"));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_has_only_allowed_dependencies() {
        assert_eq!(check().expect("cargo tree succeeds"), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_dependency_is_found() {
        let whole: String = ALLOWED
            .iter()
            .map(|(name, imports)| {
                let lines: String = imports.iter().map(|i| format!("1{i} v0 (/x) (*)\n")).collect();
                format!("0{name} v0 (/x)\n1memchr v2\n{lines}")
            })
            .collect();
        assert_eq!(complaints_about(&read(&whole)), Vec::<String>::new());
        let more = format!("{whole}0russet-ds v0\n1russet-engine v0\n0new v0\n");
        assert_eq!(
            complaints_about(&read(&more)),
            ["new is missing in imports.rs", "russet-ds must not depend on russet-engine"]
        );
        let less = whole.replace("0russet-driver v0", "0russet-server v0");
        assert_eq!(complaints_about(&read(&less)).len(), 1);
    }
}
