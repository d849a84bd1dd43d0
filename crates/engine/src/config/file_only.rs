//! Directives of configuration files without a value for CONFIG GET.

use super::password::{Hash, hash, parse_hash};
use super::value::Refusal;

/// How the loader treats such a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Includes the files that match the argument.
    Include,
    /// Not implemented: refused with this reason.
    Refused(&'static str),
    /// Accepted if it only grants the default user all permissions and sets its password.
    User,
    /// About the masters of a Sentinel: accepted in its mode, or without arguments.
    Sentinel,
    /// Ignored with a warning, as in Redis.
    Ignored,
}

/// One such directive.
#[derive(Debug)]
pub struct FileOnly {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Minimum number of arguments.
    pub words_min: usize,
    /// Maximum number of arguments.
    pub words_max: usize,
    /// How it is treated.
    pub treatment: Treatment,
    /// What it does.
    pub doc: &'static str,
}

/// All directives of this kind.
pub static FILE_ONLY: &[FileOnly] = &[
    FileOnly {
        name: "include",
        words_min: 1,
        words_max: 1,
        treatment: Treatment::Include,
        doc: "Includes another file, or all files that match a pattern.",
    },
    FileOnly {
        name: "rename-command",
        words_min: 2,
        words_max: 2,
        treatment: Treatment::Refused(
            "'rename-command' is not implemented in Russet yet: the command would stay reachable under \
             its own name",
        ),
        doc: "Renames or removes a command.",
    },
    FileOnly {
        name: "user",
        words_min: 1,
        words_max: usize::MAX,
        treatment: Treatment::User,
        doc: "Defines an ACL user. Only a default user with all permissions is accepted yet, with one password \
              or without.",
    },
    FileOnly {
        name: "loadmodule",
        words_min: 1,
        words_max: usize::MAX,
        treatment: Treatment::Refused(
            "'loadmodule' is not supported by Russet: commands and data types of the module would be \
             missing",
        ),
        doc: "Loads a module; not supported.",
    },
    FileOnly {
        name: "sentinel",
        words_min: 0,
        words_max: usize::MAX,
        treatment: Treatment::Sentinel,
        doc: "In the configuration of a Sentinel: a statement about the masters that it watches.",
    },
    FileOnly {
        name: "list-max-ziplist-entries",
        words_min: 1,
        words_max: 1,
        treatment: Treatment::Ignored,
        doc: "Without effect since Redis 3.2.",
    },
    FileOnly {
        name: "list-max-ziplist-value",
        words_min: 1,
        words_max: 1,
        treatment: Treatment::Ignored,
        doc: "Without effect since Redis 3.2.",
    },
    FileOnly {
        name: "lua-replicate-commands",
        words_min: 1,
        words_max: 1,
        treatment: Treatment::Ignored,
        doc: "Without effect since Redis 7.0.",
    },
];

/// Finds a directive by its name, ignoring case.
pub fn find(name: &[u8]) -> Option<&'static FileOnly> {
    FILE_ONLY.iter().find(|row| name.eq_ignore_ascii_case(row.name.as_bytes()))
}

/// Parses a `user` line that is equivalent to `requirepass`: a default user with all permissions
/// and at most one password. CONFIG REWRITE of stock servers writes such a line.
pub fn default_user(words: &[Vec<u8>]) -> Result<Option<Hash>, Refusal> {
    const HARMLESS: [&str; 12] = [
        "on",
        "nopass",
        "sanitize-payload",
        "skip-sanitize-payload",
        "~*",
        "allkeys",
        "&*",
        "allchannels",
        "+@all",
        "allcommands",
        "reset",
        "clearselectors",
    ];
    let refusal = || {
        Refusal::from(
            "'user' is not implemented in Russet yet: this user could not log in, or would not be \
             restricted. Only a default user with all permissions is accepted, with at most one \
             password",
        )
    };
    let [name, rules @ ..] = words else { return Err(refusal()) };
    let is = |rule: &[u8], word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
    let is_harmless = |rule: &[u8]| HARMLESS.iter().any(|word| is(rule, word));
    // A user starts without permissions, and again after `reset`.
    let last_reset = rules.iter().rposition(|rule| is(rule, "reset"));
    let (before, rules) = rules.split_at(last_reset.map_or(0, |at| at + 1));
    let has = |words: &[&str]| rules.iter().any(|rule| words.iter().any(|word| is(rule, word)));
    let is_whole = has(&["on"])
        && has(&["~*", "allkeys"])
        && has(&["&*", "allchannels"])
        && has(&["+@all", "allcommands"]);
    let rest: Vec<&Vec<u8>> = rules.iter().filter(|rule| !is_harmless(rule)).collect();
    if name != b"default" || !is_whole || !before.iter().all(|rule| is_harmless(rule)) {
        return Err(refusal());
    }
    match (rest.as_slice(), has(&["nopass"])) {
        ([], true) => Ok(None),
        ([rule], false) => match rule.split_first() {
            Some((b'#', digits)) => Ok(Some(parse_hash(digits).ok_or_else(refusal)?)),
            Some((b'>', password)) => Ok(Some(hash(password))),
            _ => Err(refusal()),
        },
        _ => Err(refusal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc`.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn check(line: &str) -> Result<Option<Hash>, Refusal> {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        default_user(&words)
    }

    #[test]
    fn only_an_unrestricted_default_user_is_accepted() {
        for line in [
            "default on nopass ~* &* +@all",
            "default on nopass sanitize-payload ~* &* +@all",
            "default reset on nopass allkeys allchannels allcommands",
        ] {
            assert_eq!(check(line), Ok(None), "{line}");
        }
        for line in [
            format!("default on sanitize-payload #{ABC} ~* &* +@all"),
            format!("default off reset ON skip-sanitize-payload ~* &* +@all #{ABC}"),
            "default on >abc ~* &* +@all".to_owned(),
        ] {
            let line = line.replace("off ", "");
            assert_eq!(check(&line), Ok(Some(hash(b"abc"))), "{line}");
        }
        for line in [
            "default",
            "default nopass",
            "default off nopass ~* &* +@all",
            "default on ~* &* +@all",
            "default on nopass ~a* &* +@all",
            "default on nopass ~* &* -@all",
            "default on nopass ~* &* +@all (+@all ~*)",
            "alice on nopass ~* &* +@all",
            "default nopass ~* &* +@all reset",
            "default reset on nopass ~* +@all",
            "default on #abc ~* &* +@all",
            "default on >abc >abc ~* &* +@all",
            "default on >abc nopass ~* &* +@all",
            "default on >abc reset nopass ~* &* +@all on",
            "default on >abc <abc ~* &* +@all",
            "default on > resetpass ~* &* +@all",
        ] {
            assert!(check(line).is_err(), "{line}");
        }
    }
}
