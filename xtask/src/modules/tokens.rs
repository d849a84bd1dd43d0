//! A tokenizer of Rust source, for rules about names.
//!
//! Comments, literals, lifetimes and items with `#[cfg(test)]` are dropped. It only recognizes tokens and matching brackets,
//! which is enough to find `use`, `impl`, `mod` and paths.

/// A word or a sign, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its line, from 1.
    pub line: usize,
    /// Its kind.
    pub kind: Kind,
}

/// The kind of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or a keyword; a raw identifier comes without its `r#`.
    Word(String),
    /// A character of punctuation. `::` is [`Kind::Path`].
    Sign(char),
    /// `::`
    Path,
    /// A number, a string or a character.
    Literal,
}

impl Token {
    /// Returns the word, if it is one.
    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether it is this word.
    pub fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }

    /// Whether it is this sign.
    pub fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// Returns the tokens of a file, without its tests.
pub fn scan(text: &str) -> Vec<Token> {
    let mut scanner = Scanner { text, at: 0, line: 1, tokens: Vec::new() };
    while scanner.step() {}
    without_tests(&scanner.tokens)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Skips bytes and counts the lines in them.
    fn skip(&mut self, len: usize) {
        let end = self.text.len().min(self.at + len);
        self.line += self.text.as_bytes()[self.at..end].iter().filter(|b| **b == b'\n').count();
        self.at = end;
    }

    fn push(&mut self, kind: Kind, len: usize) {
        self.tokens.push(Token { line: self.line, kind });
        self.skip(len);
    }

    /// Scans a token or the space between two. Returns false at the end.
    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return false };
        if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(block_comment_len(rest));
        } else if let Some(len) = string_len(rest) {
            self.push(Kind::Literal, len);
        } else if rest.starts_with("b'") {
            self.skip(1);
        } else if first == '\'' {
            self.quote();
        } else if rest.starts_with("::") {
            self.push(Kind::Path, 2);
        } else if first.is_ascii_digit() {
            self.push(Kind::Literal, number_len(rest));
        } else if is_in_word(first) {
            let raw = rest.strip_prefix("r#").unwrap_or(rest);
            let len = word_len(raw);
            let word = raw[..len].to_owned();
            self.push(Kind::Word(word), len + rest.len() - raw.len());
        } else if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else {
            self.push(Kind::Sign(first), first.len_utf8());
        }
        true
    }

    /// Scans a character, a lifetime or a label; the latter two are dropped.
    fn quote(&mut self) {
        let rest = self.rest();
        let mut chars = rest[1..].chars();
        let (first, second) = (chars.next(), chars.next());
        if first == Some('\\') {
            let close = rest.char_indices().skip(3).find(|(_, c)| *c == '\'');
            self.push(Kind::Literal, close.map_or(rest.len(), |(at, _)| at + 1));
        } else if second == Some('\'') {
            self.push(Kind::Literal, 2 + first.map_or(0, char::len_utf8));
        } else {
            self.skip(1 + word_len(&rest[1..]));
        }
    }
}

fn is_in_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn word_len(text: &str) -> usize {
    text.find(|c| !is_in_word(c)).unwrap_or(text.len())
}

fn number_len(text: &str) -> usize {
    let len = word_len(text);
    match text[len..].strip_prefix('.') {
        Some(fraction) if fraction.starts_with(|c: char| c.is_ascii_digit()) => {
            len + 1 + word_len(fraction)
        }
        _ => len,
    }
}

fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let two = &text.as_bytes()[at..text.len().min(at + 2)];
        match two {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Returns the length of the string literal at the start, with its prefix and quotes.
fn string_len(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let rest = &text[prefix.len()..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if prefix.ends_with('r') {
        let end = format!("\"{}", &rest[..hashes]);
        let body = &rest[hashes + 1..];
        let len = body.find(&end).map_or(body.len(), |at| at + end.len());
        return Some(prefix.len() + hashes + 1 + len);
    }
    if hashes > 0 {
        return None;
    }
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return Some(prefix.len() + at + 1),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    Some(text.len())
}

/// Returns the index after the bracket that closes the one at `open`.
pub fn close(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Sign('(' | '[' | '{') => depth += 1,
            Kind::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// Removes items with `#[cfg(test)]` or `#[test]`, and all of a file that starts with `#![cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let inner = tokens[at].is_sign('#') && tokens.get(at + 1).is_some_and(|t| t.is_sign('!'));
        let bracket = at + 1 + usize::from(inner);
        let is_attribute =
            tokens[at].is_sign('#') && tokens.get(bracket).is_some_and(|t| t.is_sign('['));
        if !is_attribute {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = close(tokens, bracket);
        match (is_for_tests(&tokens[bracket + 1..end]), inner) {
            (true, true) => return Vec::new(),
            (true, false) => at = item_end(tokens, end),
            // Attributes do not refer to items.
            (false, _) => at = end,
        }
    }
    kept
}

/// Whether an attribute marks a test: `test`, `cfg(test)`, `cfg(all(test, …))`.
fn is_for_tests(inside: &[Token]) -> bool {
    let words: Vec<&str> = inside.iter().filter_map(Token::word).collect();
    matches!(words[..], ["test"] | ["cfg", "test"] | ["cfg", "all", "test", ..])
}

/// Returns the index after the item, field or statement that starts at `at`.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while at < tokens.len() && tokens[at].is_sign('#') {
        at = close(tokens, at + 1);
    }
    if tokens.get(at).is_some_and(|t| t.is_word("pub")) {
        at += 1;
        if tokens.get(at).is_some_and(|t| t.is_sign('(')) {
            at = close(tokens, at);
        }
    }
    let keyword = tokens.get(at).and_then(Token::word).unwrap_or_default();
    let is_constant_function = keyword == "const" && tokens[at + 1].is_word("fn");
    let ends_with_semicolon =
        matches!(keyword, "use" | "const" | "static" | "type" | "let") && !is_constant_function;
    let has_body = matches!(
        keyword,
        "fn" | "const"
            | "async"
            | "unsafe"
            | "extern"
            | "mod"
            | "struct"
            | "enum"
            | "union"
            | "impl"
            | "trait"
            | "macro_rules"
    );
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Sign(';') => return at + 1,
            Kind::Sign(',') if !has_body && !ends_with_semicolon => return at + 1,
            Kind::Sign(')' | ']' | '}') => return at,
            Kind::Sign('{') if !ends_with_semicolon => return close(tokens, at),
            Kind::Sign('(' | '[' | '{') => at = close(tokens, at),
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let shown = scan(text).into_iter().map(|token| match token.kind {
            Kind::Word(word) => word,
            Kind::Sign(sign) => sign.to_string(),
            Kind::Path => "::".into(),
            Kind::Literal => "0".into(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_literals_and_lifetimes_are_dropped() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(
            words(r##"x("a::b", b"\"c", r#"d"e"#, 'f', '\'', '\u{1}', b'g')"##)
                .matches('0')
                .count(),
            7
        );
        assert_eq!(
            words("fn f<'a>(x: &'a str) -> r#type::B"),
            "fn f < > ( x : & str ) - > type :: B"
        );
        assert_eq!(words("'\"' a 1.5 0..3 x.0"), "0 a 0 0 . . 0 x . 0");
        assert_eq!(words("br\"c\\\" d"), "0 d");
    }

    #[test]
    fn lines_are_counted() {
        let lines: Vec<usize> = scan("a\n/*\n*/ b \"\n\" c").iter().map(|t| t.line).collect();
        assert_eq!(lines, [1, 3, 3, 4]);
    }

    #[test]
    fn tests_do_not_count() {
        assert_eq!(words("#[cfg(test)]\nmod tests { use a; }\nb"), "b");
        assert_eq!(words("#[cfg(test)] use a::{b, c}; d"), "d");
        assert_eq!(words("#[cfg(test)]\n#[x] pub(crate) fn f() -> [u8; 2] { a } b"), "b");
        assert_eq!(words("struct S { #[cfg(test)] a: (B, C), d: E }"), "struct S { d : E }");
        assert_eq!(words("#[cfg(test)] const A: B = B { c: 1 }; d"), "d");
        assert_eq!(words("#[cfg(test)] const fn a() {} d"), "d");
        assert_eq!(words("#[cfg(test)] mod tests; #[cfg(feature = \"x\")] mod b;"), "mod b ;");
        assert_eq!(words("#![cfg(test)] fn a() {}"), "");
        assert_eq!(words("#[cfg(not(test))] fn a() {}"), "fn a ( ) { }");
    }
}
