//! The arguments of a row: their names, types and tokens, and how they combine.
//!
//! COMMAND DOCS reports them to clients, and the syntax line of HELP and of docs/commands.md is
//! written from them:
//!
//! ```text
//!   key("key", 0), optional(after("EX", int("seconds")))     key [EX seconds]
//!   repeated(key("key", 0))                                  key [key ...]
//!   optional(one_of("mode", &[token("ASYNC"), token("SYNC")]))    [ASYNC | SYNC]
//! ```

use std::borrow::Cow;

/// An argument, or several that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    name: &'static str,
    /// The word in front of the value, or the word that is the whole argument.
    pub token: Option<&'static str>,
    /// What it consists of.
    pub kind: Kind,
    /// It may be left out.
    pub optional: bool,
    /// It may be given several times.
    pub multiple: bool,
    /// Each time with its token in front.
    pub multiple_token: bool,
    /// What people read in place of the name.
    display: Option<&'static str>,
}

/// The type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key, which the key spec of this index finds.
    Key(usize),
    /// Any bytes.
    String,
    /// A decimal integer.
    Integer,
    /// A floating-point number.
    Double,
    /// A glob pattern.
    Pattern,
    /// Seconds or milliseconds since 1970.
    UnixTime,
    /// The token alone.
    Token,
    /// One of these.
    OneOf(&'static [Argument]),
    /// All of these, in order.
    Block(&'static [Argument]),
}

impl Kind {
    /// Its name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Key(_) => "key",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::Token => "pure-token",
            Kind::OneOf(_) => "oneof",
            Kind::Block(_) => "block",
        }
    }
}

const fn argument(name: &'static str, kind: Kind) -> Argument {
    Argument {
        name,
        token: None,
        kind,
        optional: false,
        multiple: false,
        multiple_token: false,
        display: None,
    }
}

/// A key, found by the row's key spec of this index.
pub const fn key(name: &'static str, spec: usize) -> Argument {
    argument(name, Kind::Key(spec))
}

/// Any bytes.
pub const fn string(name: &'static str) -> Argument {
    argument(name, Kind::String)
}

/// An integer.
pub const fn int(name: &'static str) -> Argument {
    argument(name, Kind::Integer)
}

/// A floating-point number.
pub const fn double(name: &'static str) -> Argument {
    argument(name, Kind::Double)
}

/// A glob pattern.
pub const fn pattern(name: &'static str) -> Argument {
    argument(name, Kind::Pattern)
}

/// A Unix time; its name tells the unit.
pub const fn unix_time(name: &'static str) -> Argument {
    argument(name, Kind::UnixTime)
}

/// A literal word. Its name is the word in lower case.
pub const fn token(word: &'static str) -> Argument {
    Argument { token: Some(word), ..argument("", Kind::Token) }
}

/// One of several arguments.
pub const fn one_of(name: &'static str, choices: &'static [Argument]) -> Argument {
    argument(name, Kind::OneOf(choices))
}

/// Several arguments in a row.
pub const fn block(name: &'static str, parts: &'static [Argument]) -> Argument {
    argument(name, Kind::Block(parts))
}

/// An argument with a token in front.
pub const fn after(token: &'static str, argument: Argument) -> Argument {
    Argument { token: Some(token), ..argument }
}

/// An argument that may be left out.
pub const fn optional(argument: Argument) -> Argument {
    Argument { optional: true, ..argument }
}

/// An argument that may be given several times; its token, if it has one, only precedes the first.
pub const fn repeated(argument: Argument) -> Argument {
    Argument { multiple: true, ..argument }
}

/// An argument that may be given several times, each time with its token in front.
pub const fn repeated_with_token(argument: Argument) -> Argument {
    Argument { multiple: true, multiple_token: true, ..argument }
}

/// An argument that people read under another name.
pub const fn shown_as(display: &'static str, argument: Argument) -> Argument {
    Argument { display: Some(display), ..argument }
}

/// A token whose argument has another name.
pub const fn named(name: &'static str, argument: Argument) -> Argument {
    Argument { name, ..argument }
}

impl Argument {
    /// Its name in COMMAND DOCS.
    pub fn name(&self) -> Cow<'static, str> {
        match self.token {
            Some(token) if self.name.is_empty() => token.to_ascii_lowercase().into(),
            _ => self.name.into(),
        }
    }

    /// Its name for people.
    pub fn display(&self) -> Cow<'static, str> {
        self.display.map_or_else(|| self.name(), Cow::from)
    }

    /// What it is made of, if it is a group.
    pub fn parts(&self) -> &'static [Argument] {
        match self.kind {
            Kind::OneOf(parts) | Kind::Block(parts) => parts,
            _ => &[],
        }
    }

    /// What is typed once, its token aside.
    fn value(&self) -> String {
        match self.kind {
            Kind::Token => String::new(),
            Kind::OneOf(choices) => list(choices, " | "),
            Kind::Block(parts) => list(parts, " "),
            _ => self.display().into_owned(),
        }
    }

    /// How it is typed.
    fn syntax(&self) -> String {
        let mut value = self.value();
        let is_choice = matches!(self.kind, Kind::OneOf(_));
        // The brackets of an optional argument enclose its choices as well.
        if is_choice && !(self.optional && self.token.is_none()) {
            value = format!("<{value}>");
        }
        let token = self.token.unwrap_or_default();
        let once = format!("{token} {value}").trim().to_owned();
        let again = if self.multiple_token { &once } else { &value };
        let all = match (self.multiple, is_choice) {
            (false, _) => once,
            (true, true) => format!("{once} ..."),
            (true, false) => format!("{once} [{again} ...]"),
        };
        if self.optional { format!("[{all}]") } else { all }
    }
}

/// How arguments are typed, with this between them.
fn list(arguments: &[Argument], separator: &str) -> String {
    arguments.iter().map(Argument::syntax).collect::<Vec<_>>().join(separator)
}

/// How a command's arguments are typed: `key value [NX | XX]`.
pub fn syntax(arguments: &[Argument]) -> String {
    list(arguments, " ")
}

/// The tokens of arguments and of their parts.
pub fn tokens(arguments: &[Argument]) -> Vec<&'static str> {
    let of = |argument: &Argument| argument.token.into_iter().chain(tokens(argument.parts()));
    arguments.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_shown_in_the_usual_syntax() {
        let flush = one_of("flush", const { &[token("ASYNC"), token("SYNC")] });
        let pair = block("data", const { &[key("key", 0), string("value")] });
        for (argument, expected) in [
            (key("key", 0), "key"),
            (optional(int("count")), "[count]"),
            (after("EX", int("seconds")), "EX seconds"),
            (optional(after("EX", int("seconds"))), "[EX seconds]"),
            (repeated(key("key", 0)), "key [key ...]"),
            (optional(repeated(string("section"))), "[section [section ...]]"),
            (optional(repeated(after("ID", int("id")))), "[ID id [id ...]]"),
            (
                optional(repeated_with_token(after("PREFIX", string("prefix")))),
                "[PREFIX prefix [PREFIX prefix ...]]",
            ),
            (flush, "<ASYNC | SYNC>"),
            (optional(flush), "[ASYNC | SYNC]"),
            (optional(after("BY", flush)), "[BY <ASYNC | SYNC>]"),
            (repeated(flush), "<ASYNC | SYNC> ..."),
            (repeated(pair), "key value [key value ...]"),
            (optional(after("AUTH", pair)), "[AUTH key value]"),
            (shown_as("ip:port", string("addr")), "ip:port"),
        ] {
            assert_eq!(argument.syntax(), expected);
        }
    }

    #[test]
    fn a_token_has_its_own_name_by_default() {
        assert_eq!(token("KEEPTTL").name(), "keepttl");
        assert_eq!(named("change", token("CH")).name(), "change");
        assert_eq!(after("EX", int("seconds")).name(), "seconds");
    }
}
