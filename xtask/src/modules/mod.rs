//! References between the files of a crate, found in their text.
//!
//! A file refers to another if it names, in a `use` or a path, an item that is defined there. Names are resolved through
//! imports and re-exports to the file that defines the item, so `crate::io::Handle` counts for the file that defines Handle
//! and not for the one that re-exports it. Not counted are `mod` declarations, a `pub use` of names that the file itself does
//! not use, and tests. Methods are not resolved, since that needs types.

mod scope;
pub mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use scope::{Read, Scope};
use tokens::Token;

/// A reference to another file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Line in the referring file.
    pub line: usize,
    /// The path in the source.
    pub path: String,
}

/// `impl X` in another file than the one that defines X.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reopened {
    /// Name of the type.
    pub name: String,
    /// The file that defines it.
    pub home: String,
    /// The file with the `impl` block.
    pub file: String,
    /// Line in that file.
    pub line: usize,
}

/// The references between the files of a crate.
#[derive(Debug, Default)]
pub struct Crate {
    /// Its root file.
    pub root: String,
    /// Files that are its modules.
    pub files: BTreeSet<String>,
    /// Places by referring and defining file.
    pub edges: BTreeMap<(String, String), Vec<Reference>>,
    /// Inherent `impl` blocks in other files than the type's.
    pub reopened: Vec<Reopened>,
}

/// Reads the crate with the root file `root`; `read` returns the text of a file if it exists.
pub fn read(root: &str, read: &dyn Fn(&str) -> Option<String>) -> Crate {
    let mut modules = Modules { scopes: Vec::new(), read };
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
    modules.load(root, folder, None);
    modules.into_crate(root)
}

/// All modules of a crate; the first is the root.
struct Modules<'a> {
    scopes: Vec<Scope>,
    read: &'a dyn Fn(&str) -> Option<String>,
}

/// The target of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Module(usize),
    /// An item that is defined in this module.
    Item(usize),
}

/// Maximum number of re-exports to follow.
const HOPS_MAX: usize = 16;

impl Modules<'_> {
    /// Reads a file as a module, with its submodules; `folder` is that of its `mod` declarations.
    fn load(&mut self, file: &str, folder: &str, parent: Option<usize>) -> Option<usize> {
        let tokens = tokens::scan(&(self.read)(file)?);
        Some(self.add(file, folder, parent, tokens))
    }

    fn add(&mut self, file: &str, folder: &str, parent: Option<usize>, body: Vec<Token>) -> usize {
        let number = self.scopes.len();
        let Read { scope, modules } = Scope::read(&body);
        self.scopes.push(Scope { file: file.to_owned(), parent, ..scope });
        for (name, body) in modules {
            let child_folder = format!("{folder}/{name}");
            let child = match body {
                Some(body) => Some(self.add(file, &child_folder, Some(number), body)),
                None => {
                    let names = [format!("{child_folder}.rs"), format!("{child_folder}/mod.rs")];
                    names.iter().find_map(|file| self.load(file, &child_folder, Some(number)))
                }
            };
            if let Some(child) = child {
                self.scopes[number].children.insert(name, child);
            }
        }
        number
    }

    /// Resolves a path in a module.
    fn follow(&self, from: usize, path: &[String], hops: usize) -> Option<Target> {
        let hops = hops.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        let scope = &self.scopes[from];
        let start = match first.as_str() {
            "crate" => Some(0),
            "self" => Some(from),
            "super" => scope.parent,
            _ => None,
        };
        if let Some(start) = start {
            return if rest.is_empty() {
                Some(Target::Module(start))
            } else {
                self.follow(start, rest, hops)
            };
        }
        if rest.is_empty() && scope.items.contains(first) {
            return Some(Target::Item(from));
        }
        if let Some(&child) = scope.children.get(first) {
            if rest.is_empty() {
                return Some(Target::Module(child));
            }
            // An item that seems to be missing comes from a macro of the module.
            return self.follow(child, rest, hops).or(Some(Target::Item(child)));
        }
        if scope.items.contains(first) {
            return Some(Target::Item(from));
        }
        if let Some(import) = scope.imports.get(first) {
            return self.follow(from, &[import, rest].concat(), hops);
        }
        scope.globs.iter().find_map(|glob| match self.follow(from, glob, hops)? {
            Target::Module(module) if module != from => self.follow(module, path, hops),
            Target::Module(_) => None,
            // The variants of an enum.
            Target::Item(module) => {
                let name = glob.last()?;
                let variants = self.scopes[module].variants.get(name)?;
                variants.contains(first).then_some(Target::Item(module))
            }
        })
    }

    fn into_crate(self, root: &str) -> Crate {
        let mut found = Crate { root: root.to_owned(), ..Crate::default() };
        let macros: BTreeMap<&str, usize> = (0..self.scopes.len())
            .flat_map(|number| self.scopes[number].macros.iter().map(move |m| (m.as_str(), number)))
            .collect();
        for (number, scope) in self.scopes.iter().enumerate() {
            found.files.insert(scope.file.clone());
            for mention in &scope.mentions {
                let target = self.follow(number, &mention.path, HOPS_MAX).or_else(|| {
                    let name = mention.path.first().filter(|_| mention.is_macro)?;
                    macros.get(name.as_str()).map(|&module| Target::Item(module))
                });
                let Some(Target::Item(module)) = target else { continue };
                let home = &self.scopes[module].file;
                if *home != scope.file {
                    let edge = (scope.file.clone(), home.clone());
                    let reference = Reference { line: mention.line, path: mention.path.join("::") };
                    found.edges.entry(edge).or_default().push(reference);
                }
            }
            for mention in &scope.impls {
                let target = self.follow(number, &mention.path, HOPS_MAX);
                let Some(Target::Item(module)) = target else { continue };
                let home = self.scopes[module].file.clone();
                if home != scope.file {
                    let name = mention.path.last().cloned().unwrap_or_default();
                    let (file, line) = (scope.file.clone(), mention.line);
                    found.reopened.push(Reopened { name, home, file, line });
                }
            }
        }
        for places in found.edges.values_mut() {
            places.sort();
            places.dedup();
        }
        found.reopened.sort();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a crate of these files. Returns its references as `from -> to: path`.
    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        let found = read("src/lib.rs", &|name| {
            files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned())
        });
        let show = |file: &str| file["src/".len()..].to_owned();
        let shown = found.edges.iter().flat_map(|((from, to), places)| {
            places.iter().map(move |p| format!("{} -> {}: {}", show(from), show(to), p.path))
        });
        shown
            .chain(found.reopened.iter().map(|r| format!("{} reopens {}", show(&r.file), r.name)))
            .collect()
    }

    #[test]
    fn paths_lead_to_the_file_that_defines_the_item() {
        let lib = ("src/lib.rs", "mod a; mod b; pub use a::deep::Thing; fn main() {}");
        let a = ("src/a/mod.rs", "pub mod deep; pub(crate) use deep::*; pub const N: u8 = 1;");
        let deep = ("src/a/deep.rs", "pub struct Thing; pub fn f() { super::N; }");
        let with = |b: &'static str| edges(&[lib, a, deep, ("src/b.rs", b)])[1..].to_vec();
        // A declaration and a re-export are no references.
        assert_eq!(edges(&[lib, a, deep]), ["a/deep.rs -> a/mod.rs: super::N"]);
        for path in ["crate::Thing", "crate::a::Thing", "crate::a::deep::Thing", "super::a::Thing"]
        {
            let text: &str = Box::leak(format!("use {path};").into_boxed_str());
            assert_eq!(with(text), [format!("b.rs -> a/deep.rs: {path}")]);
            let text: &str =
                Box::leak(format!("fn f(x: &{path}::Inner<u8>) {{}}").into_boxed_str());
            assert_eq!(with(text), [format!("b.rs -> a/deep.rs: {path}::Inner")]);
        }
        assert_eq!(with("use crate::a;"), [""; 0]);
        assert_eq!(
            with("use crate::a as x; use x::{deep::{self, f}, N as M};"),
            ["b.rs -> a/deep.rs: x::deep::f", "b.rs -> a/mod.rs: x::N"]
        );
        assert_eq!(
            with("use crate::a; fn f() { a::N.max(a::deep::f()) }"),
            ["b.rs -> a/deep.rs: a::deep::f", "b.rs -> a/mod.rs: a::N"]
        );
        assert_eq!(with("use super::a::*; fn g() { f() }"), ["b.rs -> a/deep.rs: f"]);
        assert_eq!(with("mod x { use super::super::a::deep; fn g() { deep::f() } }").len(), 1);
        assert_eq!(with("use std::a::N; use memchr::deep; fn g() { x.a.N() }"), [""; 0]);
        assert_eq!(with("#[cfg(test)] mod tests { use crate::a::N; }"), [""; 0]);
        assert_eq!(with("mod a { pub struct N; } fn f() { a::N }"), [""; 0]);
    }

    #[test]
    fn re_exports_count_if_the_file_uses_them() {
        let lib = "mod a; pub use a::Thing;";
        let a = ("src/a.rs", "pub struct Thing;");
        assert_eq!(edges(&[("src/lib.rs", lib), a]), [""; 0]);
        let lib = "mod a; pub use a::Thing; fn f() -> Thing { Thing }";
        assert_eq!(edges(&[("src/lib.rs", lib), a]), ["lib.rs -> a.rs: Thing"]);
    }

    #[test]
    fn globs_macros_and_made_items_are_found() {
        let lib = ("src/lib.rs", "#[macro_use] mod a; mod b;");
        let a =
            ("src/a.rs", "macro_rules! make { () => { $crate::b::x() } } pub enum E { One, Two }");
        let b = ("src/b.rs", "use crate::a::E::*; make!(); fn x() { One; crate::a::made() }");
        assert_eq!(
            edges(&[lib, a, b]),
            [
                "a.rs -> b.rs: crate::b::x",
                "b.rs -> a.rs: One",
                "b.rs -> a.rs: crate::a::E",
                "b.rs -> a.rs: crate::a::made",
                "b.rs -> a.rs: make",
            ]
        );
    }

    #[test]
    fn an_inherent_impl_in_another_file_is_found() {
        let lib = ("src/lib.rs", "mod a; mod b; pub struct S<'a>(u8); impl<'a> S<'a> {}");
        let a = ("src/a.rs", "impl<'x, T: Fn() -> u8> crate::S<'x> where T: X {}");
        let b =
            ("src/b.rs", "impl std::fmt::Debug for crate::S<'_> {} impl Clone for crate::S<'_> {}");
        let shown = edges(&[lib, a, b]);
        assert_eq!(
            shown,
            ["a.rs -> lib.rs: crate::S", "b.rs -> lib.rs: crate::S", "a.rs reopens S"]
        );
    }
}
