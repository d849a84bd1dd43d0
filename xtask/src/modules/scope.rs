//! The names that a module defines, imports and mentions.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{self, Kind, Token};

/// The names of a module.
#[derive(Debug, Default)]
pub struct Scope {
    /// Its file.
    pub file: String,
    /// Its parent module.
    pub parent: Option<usize>,
    /// Its submodules by name.
    pub children: BTreeMap<String, usize>,
    /// Items that it defines.
    pub items: BTreeSet<String>,
    /// Its enums' variants.
    pub variants: BTreeMap<String, BTreeSet<String>>,
    /// Its `macro_rules!`.
    pub macros: BTreeSet<String>,
    /// Imported names, with their paths.
    pub imports: BTreeMap<String, Vec<String>>,
    /// Glob imports.
    pub globs: Vec<Vec<String>>,
    /// Paths that count as references if they lead to another file.
    pub mentions: Vec<Mention>,
    /// Types of inherent `impl` blocks.
    pub impls: Vec<Mention>,
}

/// A path and its line.
#[derive(Debug)]
pub struct Mention {
    pub line: usize,
    pub path: Vec<String>,
    /// Followed by `!`.
    pub is_macro: bool,
}

/// A parsed module, and the modules that it declares, with the bodies of inline ones.
pub struct Read {
    pub scope: Scope,
    pub modules: Vec<(String, Option<Vec<Token>>)>,
}

impl Scope {
    /// Parses a module's body.
    pub fn read(body: &[Token]) -> Read {
        let mut reader = Reader { body, at: 0, depth: 0, scope: Scope::default(), modules: vec![] };
        while reader.at < body.len() {
            reader.step();
        }
        Read { scope: reader.scope, modules: reader.modules }
    }
}

struct Reader<'a> {
    body: &'a [Token],
    at: usize,
    /// Depth of open brackets; items of the module are at zero.
    depth: usize,
    scope: Scope,
    modules: Vec<(String, Option<Vec<Token>>)>,
}

impl Reader<'_> {
    fn token(&self, ahead: usize) -> Option<&Token> {
        self.body.get(self.at + ahead)
    }

    fn word(&self, ahead: usize) -> Option<&str> {
        self.token(ahead).and_then(Token::word)
    }

    fn is_sign(&self, ahead: usize, sign: char) -> bool {
        self.token(ahead).is_some_and(|token| token.is_sign(sign))
    }

    fn step(&mut self) {
        match &self.body[self.at].kind {
            Kind::Sign('(' | '[' | '{') => self.depth += 1,
            Kind::Sign(')' | ']' | '}') => self.depth = self.depth.saturating_sub(1),
            Kind::Word(word) => match word.as_str() {
                "use" if self.word(1).is_some() => return self.import(),
                "mod" if self.depth == 0 => return self.module(),
                "impl" if self.depth == 0 && self.begins_item() => self.implementation(),
                "enum" if self.depth == 0 => self.enumeration(),
                "macro_rules" if self.is_sign(1, '!') => self.define_macro(),
                "fn" | "struct" | "union" | "trait" | "type" | "const" | "static" => self.define(),
                _ => return self.path(),
            },
            _ => {}
        }
        self.at += 1;
    }

    /// Whether an item can start here; `impl` also occurs in types.
    fn begins_item(&self) -> bool {
        let before = self.at.checked_sub(1).map(|at| &self.body[at]);
        before.is_none_or(|t| t.is_sign('}') || t.is_sign(';') || t.is_word("unsafe"))
    }

    /// Parses `fn name`, whose name is visible to other modules at the module's level.
    fn define(&mut self) {
        // `*const T` is a type.
        if self.at > 0 && self.body[self.at - 1].is_sign('*') {
            return;
        }
        let Some(name) = self.word(1).map(str::to_owned) else { return };
        if !matches!(name.as_str(), "fn" | "unsafe" | "async" | "extern" | "mut") {
            if self.depth == 0 {
                self.scope.items.insert(name);
            }
            self.at += 1;
        }
    }

    fn define_macro(&mut self) {
        if let Some(name) = self.word(2).map(str::to_owned) {
            self.scope.macros.insert(name.clone());
            self.scope.items.insert(name);
            self.at += 2;
        }
    }

    fn enumeration(&mut self) {
        let Some(name) = self.word(1).map(str::to_owned) else { return };
        self.scope.items.insert(name.clone());
        let open = (self.at..self.body.len()).find(|at| self.body[*at].is_sign('{'));
        let Some(open) = open else { return };
        let end = tokens::close(self.body, open);
        let mut variants = BTreeSet::new();
        let mut at = open + 1;
        while at < end {
            if let Some(word) = self.body[at].word() {
                variants.insert(word.to_owned());
            }
            // Skips to the next comma at this level.
            while at < end && !self.body[at].is_sign(',') {
                let is_open = matches!(self.body[at].kind, Kind::Sign('(' | '[' | '{'));
                at = if is_open { tokens::close(self.body, at) } else { at + 1 };
            }
            at += 1;
        }
        self.scope.variants.insert(name, variants);
        self.at += 1;
    }

    fn module(&mut self) {
        let Some(name) = self.word(1).map(str::to_owned) else {
            self.at += 1;
            return;
        };
        self.at += 2;
        if self.is_sign(0, '{') {
            let end = tokens::close(self.body, self.at);
            let body = self.body[self.at + 1..end - 1].to_vec();
            self.modules.push((name, Some(body)));
            self.at = end;
        } else {
            self.modules.push((name, None));
        }
    }

    /// Parses `impl<…> path {`, unless a trait is implemented.
    fn implementation(&mut self) {
        let mut at = self.at + 1;
        if self.body.get(at).is_some_and(|t| t.is_sign('<')) {
            at = after_angles(self.body, at);
        }
        let (path, end) = path_at(self.body, at);
        let line = self.body[self.at].line;
        let head = &self.body[end.min(self.body.len())..];
        let body = head.iter().position(|t| t.is_sign('{')).unwrap_or(head.len());
        // `for<'a> Fn(…)` in bounds looks like the `for` of a trait, which precedes `where`.
        let before = head[..body].iter().take_while(|t| !t.is_word("where"));
        let is_of_trait = before.into_iter().any(|t| t.is_word("for"));
        if !is_of_trait && !path.is_empty() {
            self.scope.impls.push(Mention { line, path, is_macro: false });
        }
    }

    /// Parses `use tree;`.
    fn import(&mut self) {
        let is_public = self.at > 0
            && (self.body[self.at - 1].is_word("pub") || self.body[self.at - 1].is_sign(')'));
        let mut end = self.at;
        while end < self.body.len() && !self.body[end].is_sign(';') {
            end += 1;
        }
        let tree = &self.body[self.at + 1..end];
        self.tree(tree, &mut Vec::new(), is_public);
        self.at = end;
    }

    /// Parses a tree of imports after a prefix.
    fn tree(&mut self, tree: &[Token], prefix: &mut Vec<String>, is_public: bool) {
        let before = prefix.len();
        let mut at = 0;
        while at < tree.len() {
            match &tree[at].kind {
                Kind::Path => at += 1,
                Kind::Word(word) if word == "as" => break,
                Kind::Word(word) => {
                    prefix.push(word.clone());
                    at += 1;
                }
                Kind::Sign('*') => {
                    self.mention(tree[at].line, prefix.clone());
                    self.scope.globs.push(prefix.clone());
                    prefix.truncate(before);
                    return;
                }
                Kind::Sign('{') => {
                    let inner = &tree[at + 1..tokens::close(tree, at) - 1];
                    for part in split_at_commas(inner) {
                        self.tree(part, prefix, is_public);
                    }
                    prefix.truncate(before);
                    return;
                }
                _ => break,
            }
        }
        let mut path = prefix.clone();
        prefix.truncate(before);
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        let alias = tree.get(at + 1).and_then(Token::word).or(path.last().map(String::as_str));
        let Some(alias) = alias.map(str::to_owned) else { return };
        if !is_public {
            self.mention(tree[0].line, path.clone());
        }
        self.scope.imports.insert(alias, path);
    }

    fn mention(&mut self, line: usize, path: Vec<String>) {
        self.scope.mentions.push(Mention { line, path, is_macro: false });
    }

    /// Parses a word that may start a path.
    fn path(&mut self) {
        let is_field = self.at > 0
            && self.body[self.at - 1].is_sign('.')
            && !(self.at > 1 && self.body[self.at - 2].is_sign('.'));
        let is_inside = self.at > 0 && self.body[self.at - 1].kind == Kind::Path;
        let (path, end) = path_at(self.body, self.at);
        let line = self.body[self.at].line;
        let is_macro = self.body.get(end).is_some_and(|t| t.is_sign('!'))
            && !self.body.get(end + 1).is_some_and(|t| t.is_sign('='));
        // `name: value` in a struct, and a method's name.
        let is_label = path.len() == 1 && self.body.get(end).is_some_and(|t| t.is_sign(':'));
        self.at = end.max(self.at + 1);
        if !is_field && !is_inside && !is_label {
            self.scope.mentions.push(Mention { line, path, is_macro });
        }
    }
}

/// Returns the path that starts at `at`, and the index after it. Generic arguments end it.
fn path_at(tokens: &[Token], mut at: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    while let Some(word) = tokens.get(at).and_then(Token::word) {
        path.push(word.to_owned());
        at += 1;
        let is_path = tokens.get(at).is_some_and(|t| t.kind == Kind::Path);
        if !is_path || tokens.get(at + 1).is_none_or(|t| t.word().is_none()) {
            break;
        }
        at += 1;
    }
    (path, at)
}

/// Returns the index after the `>` that closes the `<` at `open`.
fn after_angles(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for at in open..tokens.len() {
        match tokens[at].kind {
            Kind::Sign('<') => depth += 1,
            // The arrow of `Fn() -> T` is not a closing bracket.
            Kind::Sign('>') if !tokens[at - 1].is_sign('-') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

fn split_at_commas(tokens: &[Token]) -> Vec<&[Token]> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Sign('{') => at = tokens::close(tokens, at),
            Kind::Sign(',') => {
                parts.push(&tokens[start..at]);
                at += 1;
                start = at;
            }
            _ => at += 1,
        }
    }
    parts.push(&tokens[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}
