//! Who may import whom: the picture of ARCHITECTURE.md, compared with what cargo sees.
//!
//! ```text
//!   ds, protocol ◀── engine ◀─┬─ server        e2e ◀── xtask
//!                             ├─ sim
//!                             └─ driver ◀── engine's tests and benches, fuzz
//! ```
//!
//! Only the workspace's own crates are looked at; `deny.toml` speaks of the others.

use std::collections::BTreeMap;

use crate::sh::{self, Result};

/// Each crate with those it may import, for whatever purpose.
const PICTURE: &[(&str, &[&str])] = &[
    ("russet-ds", &[]),
    ("russet-protocol", &[]),
    // Its tests and benches import the driver; that the crate itself does not, cargo sees to.
    ("russet-engine", &["russet-ds", "russet-protocol", "russet-driver"]),
    ("russet-driver", &["russet-engine"]),
    ("russet-server", &["russet-engine"]),
    ("russet-sim", &["russet-engine"]),
    ("russet-e2e", &[]),
    ("xtask", &["russet-e2e"]),
];

/// Crates by name, each with the crates it imports.
type Imports = BTreeMap<String, Vec<String>>;

/// What is not as the picture says.
pub fn check() -> Result<Vec<String>> {
    let tree = ["tree", "--workspace", "--depth", "1", "--edges", "normal,build,dev"];
    let form = ["--prefix", "depth", "--format", "{p}", "--locked", "--offline"];
    let tree = sh::output(sh::cargo(&[&tree[..], &form[..]].concat()))?;
    Ok(complaints_about(&read(&tree)))
}

/// Reads lines of `0russet-sim v0.1.0 (…)`: a member at depth 0, what it imports at depth 1.
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
        let Some((_, allowed)) = PICTURE.iter().find(|(known, _)| known == name) else {
            complaints.push(format!("{name} is not in the picture of imports"));
            continue;
        };
        let ours = imported.iter().filter(|import| imports.contains_key(*import));
        for import in ours.filter(|import| !allowed.contains(&import.as_str())) {
            complaints.push(format!("{name} must not import {import}"));
        }
    }
    for (name, _) in PICTURE.iter().filter(|(name, _)| !imports.contains_key(*name)) {
        complaints.push(format!("{name} is in the picture of imports and not in the workspace"));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_as_the_picture_says() {
        assert_eq!(check().expect("cargo can tell"), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_import_is_seen() {
        let whole: String = PICTURE
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
            ["new is not in the picture of imports", "russet-ds must not import russet-engine"]
        );
        let less = whole.replace("0russet-sim v0", "0russet-server v0");
        assert_eq!(complaints_about(&read(&less)).len(), 1);
    }
}
