//! Dependency cycles among files, and types with `impl` blocks outside of their part. Both make a part hard to extract.
//!
//! Files may form dependency cycles only within a part, and a type's inherent `impl` blocks must be in the part that defines
//! it. A part is a folder, including its `mod.rs`, and `a.rs` beside a folder `a`. Each file directly in `src/` is a part,
//! except those of [`TOGETHER`], and in crates without folders, which are one part. Both rules are ratchets: [`IN_CYCLES`]
//! and [`REOPENED`] are the current numbers of exceptions, which must only decrease.
//!
//! `cargo xtask tidy --cycles` prints which references to remove.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::modules::{self, Crate, Reference, Reopened};
use crate::sh::{self, Result};

/// Files in cycles that leave their part, by the crate's first file. Crates that are not listed have none.
const IN_CYCLES: &[(&str, usize)] = &[];

/// Files directly in `src/` that are one part.
const TOGETHER: &[&[&str]] = &[&[
    // The simulator's world.
    "crates/sim/src/world.rs",
    "crates/sim/src/appends.rs",
    "crates/sim/src/check.rs",
    "crates/sim/src/claims.rs",
    "crates/sim/src/cluster_agent.rs",
    "crates/sim/src/cluster_bus.rs",
    "crates/sim/src/cluster_check.rs",
    "crates/sim/src/cluster_faults.rs",
    "crates/sim/src/cluster_fixer.rs",
    "crates/sim/src/cluster_heal.rs",
    "crates/sim/src/cluster_keys.rs",
    "crates/sim/src/cluster_mover.rs",
    "crates/sim/src/cluster_plan.rs",
    "crates/sim/src/cluster_start.rs",
    "crates/sim/src/cluster_user.rs",
    "crates/sim/src/clusters.rs",
    "crates/sim/src/coverage.rs",
    "crates/sim/src/durability.rs",
    "crates/sim/src/failovers.rs",
    "crates/sim/src/faults.rs",
    "crates/sim/src/files.rs",
    "crates/sim/src/jobs.rs",
    "crates/sim/src/life.rs",
    "crates/sim/src/losses.rs",
    "crates/sim/src/plan.rs",
    "crates/sim/src/process.rs",
    "crates/sim/src/promises.rs",
    "crates/sim/src/saves.rs",
    "crates/sim/src/sentinel_check.rs",
    "crates/sim/src/sentinel_faults.rs",
    "crates/sim/src/sentinel_heal.rs",
    "crates/sim/src/sentinel_lineages.rs",
    "crates/sim/src/sentinel_orders.rs",
    "crates/sim/src/sentinel_plan.rs",
    "crates/sim/src/sentinel_wire.rs",
    "crates/sim/src/sentinels.rs",
    "crates/sim/src/guarantees.rs",
    "crates/sim/src/shell.rs",
    "crates/sim/src/stock.rs",
    "crates/sim/src/talk.rs",
    "crates/sim/src/taps.rs",
    "crates/sim/src/verify.rs",
]];

/// Files that reopen a type from elsewhere, by the type's file and name. Types that are not listed have none.
const REOPENED: &[(&str, &str, usize)] = &[];

/// Returns violations of the rules, and ratchets that can be lowered.
pub fn check() -> Result<Vec<String>> {
    let crates = crates()?;
    let mut complaints = Vec::new();
    for found in &crates {
        let most = IN_CYCLES.iter().find(|(root, _)| *root == found.root).map_or(0, |(_, n)| *n);
        complaints.extend(complaint_about_cycles(found, most));
        complaints.extend(complaints_about_reopened(found, REOPENED));
    }
    Ok(complaints)
}

/// Prints all cycles and reopened types.
pub fn print() -> Result {
    for found in crates()? {
        let cycles = Graph::of(&found).cycles();
        for cycle in &cycles {
            print!("{}", describe(&found, cycle));
        }
        for (name, files) in reopened(&found) {
            println!("{}: {} has impl blocks in {} files outside", name.0, name.1, files.len());
            files.iter().for_each(|r| println!("    {}:{}", r.file, r.line));
        }
    }
    Ok(())
}

/// Returns the root files of the repository's crates.
fn crates() -> Result<Vec<Crate>> {
    let list = sh::output(sh::command("git", &["ls-files", "*/src/lib.rs", "*/src/main.rs"]))?;
    let read = |name: &str| std::fs::read_to_string(sh::root().join(name)).ok();
    Ok(list.lines().map(|root| modules::read(root, &read)).collect())
}

fn complaint_about_cycles(found: &Crate, most: usize) -> Option<String> {
    let cycles = Graph::of(found).cycles();
    let files: usize = cycles.iter().filter(|c| c.leaves_part).map(|c| c.files.len()).sum();
    let root = &found.root;
    if files > most {
        let worst = cycles.iter().filter(|c| c.leaves_part).max_by_key(|c| c.files.len());
        let example = worst.map(|cycle| show_path(found, &cycle.shortest)).unwrap_or_default();
        return Some(format!(
            "{root}: {files} files in cycles that extend beyond their part, more than {most}; \
             see cargo xtask tidy --cycles. The shortest:\n{example}"
        ));
    }
    (files < most)
        .then(|| format!("{root}: only {files} files are in cycles: lower the {most} in cycles.rs"))
}

/// Returns the types with `impl` blocks outside of their part, by file and name, with a place for each such file.
fn reopened(found: &Crate) -> BTreeMap<(String, String), Vec<&Reopened>> {
    let mut types: BTreeMap<(String, String), Vec<&Reopened>> = BTreeMap::new();
    for place in &found.reopened {
        let is_at_home = part(&found.files, &place.home) == part(&found.files, &place.file);
        let places = types.entry((place.home.clone(), place.name.clone())).or_default();
        if !is_at_home && places.last().is_none_or(|last| last.file != place.file) {
            places.push(place);
        }
    }
    types.retain(|_, places| !places.is_empty());
    types
}

fn complaints_about_reopened(found: &Crate, allowed: &[(&str, &str, usize)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let types = reopened(found);
    for ((file, name), places) in &types {
        let listed = allowed.iter().find(|(f, n, _)| f == file && n == name);
        let (count, most) = (places.len(), listed.map_or(0, |(_, _, most)| *most));
        if count > most {
            let files: Vec<&str> = places.iter().map(|place| place.file.as_str()).collect();
            let files = files.join(" ");
            complaints.push(format!(
                "{file}: {name} has impl blocks in {count} files outside of its part, more than {most}: {files}"
            ));
        } else if count < most {
            complaints.push(format!(
                "{file}: {name} has impl blocks in only {count} files outside of its part: lower the {most} in cycles.rs"
            ));
        }
    }
    for (file, name, _) in allowed.iter().filter(|(file, ..)| found.files.contains(*file)) {
        if !types.contains_key(&((*file).to_owned(), (*name).to_owned())) {
            complaints
                .push(format!("{file}: {name} has no more impl blocks outside of its part: remove it from cycles.rs"));
        }
    }
    complaints
}

/// Returns the folder of a file: `a/` for `a/mod.rs`, `a/b.rs`, and for `a.rs` if there are files in `a`.
fn folder(files: &BTreeSet<String>, file: &str) -> String {
    let own = format!("{}/", file.trim_end_matches(".rs"));
    if files.iter().any(|other| other.starts_with(&own)) {
        return own;
    }
    file.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"))
}

/// Returns the part of a file.
fn part(files: &BTreeSet<String>, file: &str) -> String {
    let folder = folder(files, file);
    if !folder.ends_with("src/") {
        return folder;
    }
    if let Some(group) = TOGETHER.iter().find(|group| group.contains(&file)) {
        return group[0].to_owned();
    }
    let is_flat = files.iter().all(|other| !other[folder.len()..].contains('/'));
    if is_flat { folder } else { file.to_owned() }
}

/// A strongly connected component of files.
struct Cycle {
    files: Vec<String>,
    /// Whether it extends beyond a part.
    leaves_part: bool,
    /// The shortest cycle in it, preferably one that extends beyond a part. The first file is not repeated.
    shortest: Vec<String>,
}

/// The references between files.
struct Graph<'a> {
    files: &'a BTreeSet<String>,
    to: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Graph<'a> {
    fn of(found: &'a Crate) -> Graph<'a> {
        let mut to: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, target) in found.edges.keys() {
            to.entry(from).or_default().insert(target);
        }
        Graph { files: &found.files, to }
    }

    /// Returns all files reachable from a file, each with its predecessor. The file itself is included only if it is in a
    /// cycle.
    fn reached(&self, from: &'a str) -> BTreeMap<&'a str, &'a str> {
        let mut reached = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(file) = queue.pop_front() {
            for &next in self.to.get(file).into_iter().flatten() {
                if !reached.contains_key(next) {
                    reached.insert(next, file);
                    queue.push_back(next);
                }
            }
        }
        reached
    }

    /// Returns the strongly connected components of more than one file, the largest first.
    fn components(&self) -> Vec<BTreeSet<&'a str>> {
        let reached: BTreeMap<&str, BTreeMap<&str, &str>> =
            self.files.iter().map(|file| (file.as_str(), self.reached(file))).collect();
        let mut components: Vec<BTreeSet<&str>> = Vec::new();
        for (file, far) in &reached {
            if components.iter().any(|component| component.contains(file)) {
                continue;
            }
            let together = far.keys().filter(|other| reached[*other].contains_key(file));
            let together: BTreeSet<&str> = together.copied().collect();
            if together.len() > 1 {
                components.push(together);
            }
        }
        components.sort_by_key(|component| std::cmp::Reverse(component.len()));
        components
    }

    fn cycles(&self) -> Vec<Cycle> {
        let cycle = |component: BTreeSet<&'a str>| {
            let parts: BTreeSet<String> =
                component.iter().map(|file| part(self.files, file)).collect();
            let shortest = self.shortest(&component);
            let files = component.iter().map(|file| (*file).to_owned()).collect();
            Cycle { files, leaves_part: parts.len() > 1, shortest }
        };
        self.components().into_iter().map(cycle).collect()
    }

    /// Returns the shortest cycle of a component, preferably one that extends beyond a part.
    fn shortest(&self, component: &BTreeSet<&'a str>) -> Vec<String> {
        let mut best: Option<(bool, usize, Vec<String>)> = None;
        for &file in component {
            let reached = self.reached(file);
            for (&last, targets) in &self.to {
                if !targets.contains(file) || !reached.contains_key(last) || last == file {
                    continue;
                }
                let mut way = vec![last.to_owned()];
                let mut at = last;
                while at != file {
                    at = reached[at];
                    way.push(at.to_owned());
                }
                way.reverse();
                let home = part(self.files, file);
                let stays = way.iter().all(|file| part(self.files, file) == home);
                let candidate = (stays, way.len(), way);
                if best.as_ref().is_none_or(|best| candidate < *best) {
                    best = Some(candidate);
                }
            }
        }
        best.map(|(_, _, way)| way).unwrap_or_default()
    }

    fn without(&self, edges: &[(&'a str, &'a str)]) -> Graph<'a> {
        let mut to = self.to.clone();
        for (from, target) in edges {
            to.entry(from).and_modify(|targets| {
                targets.remove(target);
            });
        }
        Graph { files: self.files, to }
    }
}

/// Returns references to remove so that no cycle of a component extends beyond its part. The set is minimal but not the
/// smallest one: frequent references are kept first.
fn cuts<'a>(graph: &Graph<'a>, found: &'a Crate, cycle: &Cycle) -> Vec<(&'a str, &'a str)> {
    let is_inside = |file: &str| cycle.files.iter().any(|other| other == file);
    let mut edges: Vec<(&str, &str, usize)> = found
        .edges
        .iter()
        .map(|((from, to), places)| (from.as_str(), to.as_str(), places.len()))
        .filter(|(from, to, _)| is_inside(from) && is_inside(to))
        .filter(|(from, to, _)| part(graph.files, from) != part(graph.files, to))
        .collect();
    edges.sort_by_key(|(_, _, places)| std::cmp::Reverse(*places));
    let mut cut: Vec<(&str, &str)> = edges.iter().map(|(from, to, _)| (*from, *to)).collect();
    for (from, to, _) in edges {
        let without: Vec<_> = cut.iter().copied().filter(|edge| *edge != (from, to)).collect();
        let rest = graph.without(&without);
        let is_needed = rest.cycles().iter().any(|c| c.leaves_part && is_inside(&c.files[0]));
        if !is_needed {
            cut = without;
        }
    }
    cut
}

fn describe(found: &Crate, cycle: &Cycle) -> String {
    let graph = Graph::of(found);
    let count = cycle.files.len();
    let mut text = format!("{}: {count} files in a cycle", found.root);
    if !cycle.leaves_part {
        return format!("{text}, within their part: {}\n", cycle.files.join(" "));
    }
    text += &format!(":\n    {}\n", cycle.files.join("\n    "));
    text += &format!("  the shortest cycle\n{}\n", show_path(found, &cycle.shortest));
    text += "  remove these references so that no cycle extends beyond its part\n";
    for (from, to) in cuts(&graph, found, cycle) {
        let places = &found.edges[&(from.to_owned(), to.to_owned())];
        text += &format!("    {from} -> {to}\n");
        for Reference { line, path } in places {
            text += &format!("        {line}: {path}\n");
        }
    }
    text
}

/// Formats a line for each reference of a cycle.
fn show_path(found: &Crate, way: &[String]) -> String {
    let next = way.iter().cycle().skip(1);
    let lines = way.iter().zip(next).map(|(from, to)| {
        let places = found.edges.get(&(from.clone(), to.clone()));
        let place = places.and_then(|places| places.first());
        let (line, path) = place.map_or((0, ""), |place| (place.line, place.path.as_str()));
        format!("    {from}:{line}: {path} -> {to}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a crate with these references.
    fn with_edges(edges: &[(&str, &str)]) -> Crate {
        let mut found = Crate { root: "src/lib.rs".into(), ..Crate::default() };
        for (from, to) in edges {
            let (from, to) = (format!("src/{from}.rs"), format!("src/{to}.rs"));
            found.files.extend([from.clone(), to.clone()]);
            let place = Reference { line: 7, path: "a::B".into() };
            found.edges.entry((from, to)).or_default().push(place);
        }
        found
    }

    fn cycles(edges: &[(&str, &str)]) -> Vec<(usize, bool)> {
        let found = with_edges(edges);
        let cycles = Graph::of(&found).cycles();
        cycles.iter().map(|cycle| (cycle.files.len(), cycle.leaves_part)).collect()
    }

    #[test]
    fn cycles_are_found_and_those_within_a_part_distinguished() {
        assert_eq!(cycles(&[("a", "b"), ("b", "c"), ("a", "c")]), []);
        assert_eq!(cycles(&[("x/a", "x/b"), ("x/b", "x/mod"), ("x/mod", "x/a")]), [(3, false)]);
        assert_eq!(cycles(&[("x", "x/b"), ("x/b", "x")]), [(2, false)]);
        assert_eq!(cycles(&[("x/a", "y/b"), ("y/b", "x/a"), ("y/b", "y/c")]), [(2, true)]);
        assert_eq!(cycles(&[("x/mod", "x/y/mod"), ("x/y/mod", "x/mod")]), [(2, true)]);
        assert_eq!(cycles(&[("a", "b"), ("b", "a")]), [(2, false)]);
        assert_eq!(cycles(&[("a", "b"), ("b", "a"), ("b", "x/c")]), [(2, true)]);
    }

    #[test]
    fn the_shortest_cycle_leaves_its_part_if_one_does() {
        let edges =
            [("x/a", "x/b"), ("x/b", "x/a"), ("x/b", "y/c"), ("y/c", "y/d"), ("y/d", "x/b")];
        let found = with_edges(&edges);
        let cycles = Graph::of(&found).cycles();
        assert_eq!(cycles[0].shortest, ["src/x/b.rs", "src/y/c.rs", "src/y/d.rs"]);
        let graph = Graph::of(&found);
        let cut = cuts(&graph, &found, &cycles[0]);
        assert_eq!(cut.len(), 1);
        assert!(graph.without(&cut).cycles().iter().all(|cycle| !cycle.leaves_part));
        assert!(describe(&found, &cycles[0]).contains("src/x/b.rs:7: a::B -> src/y/c.rs"));
    }

    #[test]
    fn the_ratchets_fall_and_do_not_rise() {
        let found = with_edges(&[("x/a", "y/b"), ("y/b", "x/a")]);
        assert!(complaint_about_cycles(&found, 1).is_some_and(|text| text.contains("x/a.rs:7")));
        assert_eq!(complaint_about_cycles(&found, 2), None);
        assert!(complaint_about_cycles(&found, 3).is_some_and(|text| text.contains("lower")));

        let place = |file: &str| Reopened {
            name: "T".into(),
            home: "src/x/a.rs".into(),
            file: format!("src/{file}.rs"),
            line: 1,
        };
        let found = Crate {
            files: ["src/x/a.rs", "src/x/b.rs", "src/y.rs"].map(String::from).into(),
            reopened: ["x/b", "y", "y", "z"].map(place).into(),
            ..Crate::default()
        };
        let about = |most| complaints_about_reopened(&found, &[("src/x/a.rs", "T", most)]).len();
        assert_eq!([about(1), about(2), about(3)], [1, 0, 1]);
        assert_eq!(complaints_about_reopened(&found, &[]).len(), 1);
        assert_eq!(
            complaints_about_reopened(
                &Crate { reopened: vec![], ..found },
                &[("src/x/a.rs", "T", 2)]
            )
            .len(),
            1
        );
    }
}
