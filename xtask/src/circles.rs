//! Circles among files, and types that are reopened far from home: what makes a part hard to take out.
//!
//! Files may refer to each other in a circle only within one part, and a type's own `impl` blocks stand in the part that defines
//! it. A part is a folder; its `mod.rs` belongs to it, and so does `a.rs` beside a folder `a`. Files that stand directly in
//! `src/` are a part each, but for those of [`TOGETHER`], and for crates without folders, which are one part. Both rules are
//! ratchets: [`IN_CIRCLES`] and [`REOPENED`] say how much there is now, and only ever fall.
//!
//! `cargo xtask tidy --circles` prints what to cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::modules::{self, Crate, Reference, Reopened};
use crate::sh::{self, Result};

/// Files in circles that leave their part, by the crate's first file. Crates that are not listed have none.
const IN_CIRCLES: &[(&str, usize)] = &[];

/// Files directly in `src/` that are one part.
const TOGETHER: &[&[&str]] = &[&[
    // The simulator's world.
    "crates/sim/src/world.rs",
    "crates/sim/src/check.rs",
    "crates/sim/src/coverage.rs",
    "crates/sim/src/faults.rs",
    "crates/sim/src/files.rs",
    "crates/sim/src/life.rs",
    "crates/sim/src/plan.rs",
    "crates/sim/src/process.rs",
    "crates/sim/src/shell.rs",
    "crates/sim/src/talk.rs",
    "crates/sim/src/verify.rs",
]];

/// Files that reopen a type from elsewhere, by the type's file and name. Types that are not listed have none.
const REOPENED: &[(&str, &str, usize)] = &[];

/// What is not as the rules say, or no longer as bad as the ratchets do.
pub fn check() -> Result<Vec<String>> {
    let crates = crates()?;
    let mut complaints = Vec::new();
    for found in &crates {
        let most = IN_CIRCLES.iter().find(|(root, _)| *root == found.root).map_or(0, |(_, n)| *n);
        complaints.extend(complaint_about_circles(found, most));
        complaints.extend(complaints_about_reopened(found, REOPENED));
    }
    Ok(complaints)
}

/// Prints all circles and reopened types.
pub fn print() -> Result {
    for found in crates()? {
        let circles = Graph::of(&found).circles();
        for circle in &circles {
            print!("{}", describe(&found, circle));
        }
        for (name, files) in reopened(&found) {
            println!("{}: {} is reopened in {} files", name.0, name.1, files.len());
            files.iter().for_each(|r| println!("    {}:{}", r.file, r.line));
        }
    }
    Ok(())
}

/// The crates of the repository, each by its first file.
fn crates() -> Result<Vec<Crate>> {
    let list = sh::output(sh::command("git", &["ls-files", "*/src/lib.rs", "*/src/main.rs"]))?;
    let read = |name: &str| std::fs::read_to_string(sh::root().join(name)).ok();
    Ok(list.lines().map(|root| modules::read(root, &read)).collect())
}

fn complaint_about_circles(found: &Crate, most: usize) -> Option<String> {
    let circles = Graph::of(found).circles();
    let files: usize = circles.iter().filter(|c| c.leaves_part).map(|c| c.files.len()).sum();
    let root = &found.root;
    if files > most {
        let worst = circles.iter().filter(|c| c.leaves_part).max_by_key(|c| c.files.len());
        let example = worst.map(|circle| show_path(found, &circle.shortest)).unwrap_or_default();
        return Some(format!(
            "{root}: {files} files in circles that leave their part, more than {most}; \
             see cargo xtask tidy --circles. The shortest:\n{example}"
        ));
    }
    (files < most).then(|| {
        format!("{root}: only {files} files are left in circles: lower the {most} in circles.rs")
    })
}

/// Reopened types by file and name, with one place for each file that does so from outside of the type's home.
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
                "{file}: {name} is reopened in {count} files, more than {most}: {files}"
            ));
        } else if count < most {
            complaints.push(format!(
                "{file}: {name} is reopened in {count} files only: lower the {most} in circles.rs"
            ));
        }
    }
    for (file, name, _) in allowed.iter().filter(|(file, ..)| found.files.contains(*file)) {
        if !types.contains_key(&((*file).to_owned(), (*name).to_owned())) {
            complaints
                .push(format!("{file}: {name} is no longer reopened: take it out of circles.rs"));
        }
    }
    complaints
}

/// The folder that a file belongs to: `a/` for `a/mod.rs`, `a/b.rs`, and for `a.rs` if there are files in `a`.
fn folder(files: &BTreeSet<String>, file: &str) -> String {
    let own = format!("{}/", file.trim_end_matches(".rs"));
    if files.iter().any(|other| other.starts_with(&own)) {
        return own;
    }
    file.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"))
}

/// What a file is part of.
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

/// Files that can all be reached from each other.
struct Circle {
    files: Vec<String>,
    /// They are not all of one part.
    leaves_part: bool,
    /// The shortest way round, if possible one that leaves its part; its first file is not repeated at its end.
    shortest: Vec<String>,
}

/// Which file refers to which.
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

    /// All that can be reached from a file, itself only if there is a circle through it; each with the file before it.
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

    /// Strongly connected components of more than one file, the largest first.
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

    fn circles(&self) -> Vec<Circle> {
        let circle = |component: BTreeSet<&'a str>| {
            let parts: BTreeSet<String> =
                component.iter().map(|file| part(self.files, file)).collect();
            let shortest = self.shortest(&component);
            let files = component.iter().map(|file| (*file).to_owned()).collect();
            Circle { files, leaves_part: parts.len() > 1, shortest }
        };
        self.components().into_iter().map(circle).collect()
    }

    /// The shortest way round in a component, of those that leave their part if there are any.
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

/// A set of references without which no circle of a component leaves its part; all of it is needed for that. References are
/// kept by number, the most frequent first, so the list is short and not the shortest.
fn cuts<'a>(graph: &Graph<'a>, found: &'a Crate, circle: &Circle) -> Vec<(&'a str, &'a str)> {
    let is_inside = |file: &str| circle.files.iter().any(|other| other == file);
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
        let is_needed = rest.circles().iter().any(|c| c.leaves_part && is_inside(&c.files[0]));
        if !is_needed {
            cut = without;
        }
    }
    cut
}

fn describe(found: &Crate, circle: &Circle) -> String {
    let graph = Graph::of(found);
    let count = circle.files.len();
    let mut text = format!("{}: {count} files in one circle", found.root);
    if !circle.leaves_part {
        return format!("{text}, within their part: {}\n", circle.files.join(" "));
    }
    text += &format!(":\n    {}\n", circle.files.join("\n    "));
    text += &format!("  the shortest way round\n{}\n", show_path(found, &circle.shortest));
    text += "  without these references no circle leaves its part\n";
    for (from, to) in cuts(&graph, found, circle) {
        let places = &found.edges[&(from.to_owned(), to.to_owned())];
        text += &format!("    {from} -> {to}\n");
        for Reference { line, path } in places {
            text += &format!("        {line}: {path}\n");
        }
    }
    text
}

/// One line for each reference of a way round.
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

    /// A crate in which files refer to others.
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

    fn circles(edges: &[(&str, &str)]) -> Vec<(usize, bool)> {
        let found = with_edges(edges);
        let circles = Graph::of(&found).circles();
        circles.iter().map(|circle| (circle.files.len(), circle.leaves_part)).collect()
    }

    #[test]
    fn circles_are_found_and_those_of_a_part_told_apart() {
        assert_eq!(circles(&[("a", "b"), ("b", "c"), ("a", "c")]), []);
        assert_eq!(circles(&[("x/a", "x/b"), ("x/b", "x/mod"), ("x/mod", "x/a")]), [(3, false)]);
        assert_eq!(circles(&[("x", "x/b"), ("x/b", "x")]), [(2, false)]);
        assert_eq!(circles(&[("x/a", "y/b"), ("y/b", "x/a"), ("y/b", "y/c")]), [(2, true)]);
        assert_eq!(circles(&[("x/mod", "x/y/mod"), ("x/y/mod", "x/mod")]), [(2, true)]);
        assert_eq!(circles(&[("a", "b"), ("b", "a")]), [(2, false)]);
        assert_eq!(circles(&[("a", "b"), ("b", "a"), ("b", "x/c")]), [(2, true)]);
    }

    #[test]
    fn the_shortest_circle_leaves_its_part_if_one_does() {
        let edges =
            [("x/a", "x/b"), ("x/b", "x/a"), ("x/b", "y/c"), ("y/c", "y/d"), ("y/d", "x/b")];
        let found = with_edges(&edges);
        let circles = Graph::of(&found).circles();
        assert_eq!(circles[0].shortest, ["src/x/b.rs", "src/y/c.rs", "src/y/d.rs"]);
        let graph = Graph::of(&found);
        let cut = cuts(&graph, &found, &circles[0]);
        assert_eq!(cut.len(), 1);
        assert!(graph.without(&cut).circles().iter().all(|circle| !circle.leaves_part));
        assert!(describe(&found, &circles[0]).contains("src/x/b.rs:7: a::B -> src/y/c.rs"));
    }

    #[test]
    fn the_ratchets_fall_and_do_not_rise() {
        let found = with_edges(&[("x/a", "y/b"), ("y/b", "x/a")]);
        assert!(complaint_about_circles(&found, 1).is_some_and(|text| text.contains("x/a.rs:7")));
        assert_eq!(complaint_about_circles(&found, 2), None);
        assert!(complaint_about_circles(&found, 3).is_some_and(|text| text.contains("lower")));

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
