//! A row's syntax, as people read it, taken apart into the arguments that COMMAND DOCS tells.
//!
//! ```text
//!   syntax   = item …                     key value [NX | XX] [EX seconds | PX milliseconds]
//!   item     = word                       lower case: a value. Upper case: typed as it stands
//!            | [ choice ]                 may be left out
//!            | < choice >                 one of them
//!   choice   = syntax | syntax | …
//!   …        at the end of a choice: all of it again and again; what stands before it in the
//!            same words is its first time: key [key ...]
//! ```
//!
//! An upper-case word in front of a value is the value's token. How a value is to be typed follows
//! from its name: `seconds` is a number.

use super::Command;

/// How a value is typed, or what an argument is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A value of this type, as COMMAND DOCS names it.
    Value(&'static str),
    /// The token alone.
    Token,
    /// One of these.
    OneOf(Vec<Argument>),
    /// All of these in order.
    Block(Vec<Argument>),
}

/// An argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What it is called.
    pub name: String,
    /// The word that is typed in front of it, or that it consists of.
    pub token: Option<String>,
    /// What it is.
    pub shape: Shape,
    /// It may be left out.
    pub optional: bool,
    /// It may be given several times.
    pub multiple: bool,
    /// If it is, its token is repeated too.
    pub multiple_token: bool,
    /// Which of the row's key specs finds it.
    pub key_spec: Option<usize>,
}

impl Argument {
    fn value(name: &str) -> Argument {
        Argument::new(name.to_owned(), Shape::Value(type_of(name)))
    }

    fn token(word: &str) -> Argument {
        let token = Some(word.to_owned());
        Argument { token, ..Argument::new(word.to_ascii_lowercase(), Shape::Token) }
    }

    fn new(name: String, shape: Shape) -> Argument {
        Argument {
            name,
            token: None,
            shape,
            optional: false,
            multiple: false,
            multiple_token: false,
            key_spec: None,
        }
    }

    /// Several in order as one; one alone stays what it is.
    fn block(mut parts: Vec<Argument>) -> Argument {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        Argument::new(names.join("-"), Shape::Block(parts))
    }

    fn one_of(choices: Vec<Argument>) -> Argument {
        let tokens = choices.iter().all(|choice| choice.shape == Shape::Token);
        let name = if tokens { "option" } else { "choice" };
        Argument::new(name.to_owned(), Shape::OneOf(choices))
    }
}

/// The type of a value by its name.
fn type_of(name: &str) -> &'static str {
    const INTEGERS: &[&str] = &[
        "count",
        "cursor",
        "index",
        "index1",
        "index2",
        "offset",
        "start",
        "end",
        "stop",
        "timeout",
        "port",
        "increment",
        "decrement",
        "numreplicas",
        "numkeys",
        "numlocal",
        "protover",
        "len",
        "seconds",
        "milliseconds",
        "bit",
        "db",
        "destination-db",
        "client-id",
        "percentage",
        "value-len",
    ];
    match name {
        "key" | "newkey" | "source" | "destination" | "key1" | "key2" => "key",
        "pattern" => "pattern",
        "unix-time-seconds" | "unix-time-milliseconds" | "timestamp" => "unix-time",
        "float" | "float-increment" => "double",
        name if INTEGERS.contains(&name) => "integer",
        name if name.starts_with("min-") && name.ends_with("-len") => "integer",
        _ => "string",
    }
}

/// The arguments of a row.
pub fn arguments(command: &Command) -> Result<Vec<Argument>, String> {
    let mut found = parse(command.syntax)?;
    let mut spec = 0;
    for argument in &mut found {
        number_keys(argument, &mut spec, command.keys.len());
    }
    if command.name == "incrbyfloat" {
        found
            .iter_mut()
            .filter(|a| a.name == "increment")
            .for_each(|a| a.shape = Shape::Value("double"));
    }
    Ok(found)
}

/// Keys belong to the row's key specs in order; the last one finds all that are left.
fn number_keys(argument: &mut Argument, spec: &mut usize, specs: usize) {
    match &mut argument.shape {
        Shape::Value("key") if specs > 0 => {
            argument.key_spec = Some((*spec).min(specs - 1));
            *spec += 1;
        }
        Shape::Value(_) | Shape::Token => {}
        Shape::OneOf(parts) | Shape::Block(parts) => {
            parts.iter_mut().for_each(|part| number_keys(part, spec, specs));
        }
    }
}

/// Takes a syntax apart.
pub fn parse(syntax: &str) -> Result<Vec<Argument>, String> {
    let spaced = ["[", "]", "<", ">", "|", "..."]
        .iter()
        .fold(syntax.to_owned(), |text, mark| text.replace(mark, &format!(" {mark} ")));
    let mut words = spaced.split_whitespace().peekable();
    let sequence = sequence(&mut words, true)?;
    match words.next() {
        Some(word) => Err(format!("'{word}' closes or separates nothing")),
        None if sequence.repeats => Err("all of it repeats".to_owned()),
        None => Ok(sequence.parts),
    }
}

type Words<'s> = std::iter::Peekable<std::str::SplitWhitespace<'s>>;

/// What stands between brackets and bars.
struct Sequence {
    parts: Vec<Argument>,
    /// It ends with an ellipsis.
    repeats: bool,
}

fn sequence(words: &mut Words<'_>, is_top: bool) -> Result<Sequence, String> {
    let mut parts: Vec<Argument> = Vec::new();
    let mut repeats = false;
    while let Some(&word) = words.peek() {
        if matches!(word, "]" | ">" | "|") {
            break;
        }
        words.next();
        if repeats {
            // The ellipsis was not the end, so it belonged to what stood before it.
            parts.last_mut().ok_or("nothing repeats")?.multiple = true;
            repeats = false;
        }
        match word {
            "[" => optional(words, &mut parts)?,
            "<" => parts.push(group(words, ">")?.0),
            "..." if parts.is_empty() => return Err("nothing repeats".to_owned()),
            "..." => repeats = true,
            word if word.chars().any(|c| c.is_ascii_lowercase()) => {
                parts.push(Argument::value(word))
            }
            word => parts.push(Argument::token(word)),
        }
    }
    Ok(Sequence { parts: bind_tokens(parts, is_top), repeats })
}

/// `[…]`: something that may be left out, or the second and further times of what stands before it.
fn optional(words: &mut Words<'_>, parts: &mut Vec<Argument>) -> Result<(), String> {
    let (mut argument, repeated) = group(words, "]")?;
    let Some(repeated) = repeated else {
        argument.optional = true;
        parts.push(argument);
        return Ok(());
    };
    // What stands before is not yet joined to its tokens; what is in the brackets is.
    let found = (0..parts.len()).find(|&at| bind_tokens(parts[at..].to_vec(), false) == repeated);
    let mut argument = match found {
        Some(at) => {
            parts.truncate(at);
            Argument::block(repeated)
        }
        None => Argument { optional: true, ..Argument::block(repeated) },
    };
    argument.multiple = true;
    argument.multiple_token = argument.token.is_some();
    parts.push(argument);
    Ok(())
}

/// What stands in brackets. If it is one sequence that repeats, its parts as well.
fn group(words: &mut Words<'_>, close: &str) -> Result<(Argument, Option<Vec<Argument>>), String> {
    let mut choices = Vec::new();
    let mut repeated = None;
    loop {
        let Sequence { parts, repeats } = sequence(words, false)?;
        if parts.is_empty() {
            return Err("nothing stands between brackets or bars".to_owned());
        }
        if repeats {
            repeated = Some(parts.clone());
        }
        let mut choice = Argument::block(parts);
        // Of one that stands alone the caller decides: it may go on with what stands before.
        choice.multiple |= repeats && (!choices.is_empty() || words.peek() == Some(&"|"));
        choices.push(choice);
        match words.next() {
            Some("|") => {}
            Some(word) if word == close => break,
            Some(word) => return Err(format!("'{word}' where '{close}' should be")),
            None => return Err(format!("no '{close}' at the end")),
        }
    }
    if choices.len() > 1 {
        return Ok((Argument::one_of(choices), None));
    }
    Ok((choices.remove(0), repeated))
}

/// Joins tokens to the values behind them: in brackets to all of them, else to the next.
fn bind_tokens(parts: Vec<Argument>, is_top: bool) -> Vec<Argument> {
    let is_token = |part: &Argument| part.shape == Shape::Token && !part.optional;
    if parts.len() < 2 || parts.iter().all(is_token) {
        return parts;
    }
    let mut bound: Vec<Argument> = Vec::new();
    let mut rest = parts.into_iter().peekable();
    while let Some(part) = rest.next() {
        let joins = rest.peek().is_some_and(|next| next.token.is_none() && !next.optional);
        if !is_token(&part) || !joins {
            bound.push(part);
            continue;
        }
        let is_first = bound.is_empty();
        let values: Vec<Argument> = match is_top || !is_first {
            true => rest.next().into_iter().collect(),
            false => bind_tokens(rest.by_ref().collect(), false),
        };
        let whole = Argument { token: part.token, ..Argument::block(values) };
        let is_value = matches!(whole.shape, Shape::Value(_));
        let name = if is_value { whole.name } else { part.name };
        bound.push(Argument { name, ..whole });
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A short form for comparison.
    fn show(argument: &Argument) -> String {
        let list = |parts: &[Argument]| parts.iter().map(show).collect::<Vec<_>>().join(" ");
        let token = argument.token.as_deref().map_or(String::new(), |token| format!("{token}:"));
        let shape = match &argument.shape {
            Shape::Value(kind) => format!("{}/{kind}", argument.name),
            Shape::Token => String::new(),
            Shape::OneOf(parts) => format!("one({})", list(parts)),
            Shape::Block(parts) => format!("block({})", list(parts)),
        };
        let marks =
            [(argument.optional, "?"), (argument.multiple, "*"), (argument.multiple_token, "t")];
        let marks: String = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
        format!("{token}{shape}{marks}")
    }

    fn shown(syntax: &str) -> String {
        match parse(syntax) {
            Ok(parts) => parts.iter().map(show).collect::<Vec<_>>().join(" "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn each_form_of_syntax_has_its_structure() {
        for (syntax, expected) in [
            ("", ""),
            ("key", "key/key"),
            ("key [key ...]", "key/key*"),
            ("key value [key value ...]", "block(key/key value/string)*"),
            ("[section [section ...]]", "section/string?*"),
            ("[option value ...]", "block(option/string value/string)?*"),
            ("[NX | XX] [GET]", "one(NX: XX:)? GET:?"),
            ("[EX seconds | KEEPTTL]", "one(EX:seconds/integer KEEPTTL:)?"),
            ("[LIMIT offset count]", "LIMIT:block(offset/integer count/integer)?"),
            ("<host port | NO ONE>", "one(block(host/string port/integer) block(NO: ONE:))"),
            ("id FILTER pattern more", "id/string FILTER:pattern/pattern more/string"),
            ("[BCAST] [PREFIX prefix [PREFIX prefix ...]]", "BCAST:? PREFIX:prefix/string?*t"),
            (
                "[protover [AUTH username password] [SETNAME clientname]]",
                "block(protover/integer AUTH:block(username/string password/string)? SETNAME:clientname/string?)?",
            ),
            (
                "[FILTERBY <MODULE name | ACLCAT category>]",
                "FILTERBY:one(MODULE:name/string ACLCAT:category/string)?",
            ),
            ("<a | [B c]... d>", "one(a/string block(B:c/string?* d/string))"),
        ] {
            assert_eq!(shown(syntax), expected, "{syntax}");
        }
    }

    #[test]
    fn what_is_no_syntax_is_refused() {
        for syntax in ["[key", "key]", "<a | b]", "a | b", "[]", "<a |>", "...", "a ..."] {
            assert!(parse(syntax).is_err(), "{syntax}");
        }
    }
}
