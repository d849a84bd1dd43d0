//! Directives that stand in a configuration file but have no value that CONFIG GET could show.

use super::value::Refusal;

/// What the loader does with such a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Files that match the word are read in its place.
    Include,
    /// Refused, with the reason.
    Refused(&'static str),
    /// Accepted if it says no more than that the default user may do everything.
    User,
    /// Accepted without words only: the program has been started as a Sentinel.
    Sentinel,
    /// Ignored with a warning; Redis ignores it too.
    Ignored,
}

/// One such directive.
#[derive(Debug)]
pub struct FileOnly {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Least number of words after the name.
    pub words_min: usize,
    /// Greatest number of words after the name.
    pub words_max: usize,
    /// What is done with it.
    pub treatment: Treatment,
    /// What it does.
    pub doc: &'static str,
}

/// Every directive of this kind.
pub static FILE_ONLY: &[FileOnly] = &[
    FileOnly {
        name: "include",
        words_min: 1,
        words_max: 1,
        treatment: Treatment::Include,
        doc: "Reads another file, or all files that match a pattern, at this place.",
    },
    FileOnly {
        name: "rename-command",
        words_min: 2,
        words_max: 2,
        treatment: Treatment::Refused(
            "'rename-command' is not built yet and would leave the command reachable",
        ),
        doc: "Gives a command another name, or none.",
    },
    FileOnly {
        name: "user",
        words_min: 1,
        words_max: usize::MAX,
        treatment: Treatment::User,
        doc: "Defines a user and its rights. Only an unrestricted default user is accepted yet.",
    },
    FileOnly {
        name: "loadmodule",
        words_min: 1,
        words_max: usize::MAX,
        treatment: Treatment::Refused("'loadmodule' is not supported: modules can't be loaded"),
        doc: "Loads a module; here there are none.",
    },
    FileOnly {
        name: "sentinel",
        words_min: 0,
        words_max: usize::MAX,
        treatment: Treatment::Sentinel,
        doc: "Belongs to the configuration of a Sentinel.",
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

/// Finds such a directive by its name, in any case.
pub fn find(name: &[u8]) -> Option<&'static FileOnly> {
    FILE_ONLY.iter().find(|row| name.eq_ignore_ascii_case(row.name.as_bytes()))
}

/// Lets a `user` line in that changes nothing; CONFIG REWRITE of stock servers writes one.
pub fn check_user(words: &[Vec<u8>]) -> Result<(), Refusal> {
    let harmless = |rule: &[u8]| {
        const RULES: [&str; 12] = [
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
        RULES.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(rule))
    };
    let last_reset = words.iter().rposition(|rule| rule.eq_ignore_ascii_case(b"reset"));
    let after_reset = &words[last_reset.map_or(1, |at| at + 1)..];
    let has = |names: [&str; 2]| {
        after_reset
            .iter()
            .any(|rule| names.iter().any(|name| rule.eq_ignore_ascii_case(name.as_bytes())))
    };
    let complete = last_reset.is_none()
        || (has(["on", "on"])
            && has(["~*", "allkeys"])
            && has(["&*", "allchannels"])
            && has(["+@all", "allcommands"]));
    let passes = has(["nopass", "nopass"]);
    match words {
        [name, rules @ ..] if name == b"default" && complete && passes && rules.iter().all(|rule| harmless(rule)) => {
            Ok(())
        }
        _ => Err("'user' promises rights and is not built yet: only a default user who may do everything without a password is accepted".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unrestricted_default_user_is_let_in() {
        let check = |line: &str| {
            let words: Vec<Vec<u8>> =
                line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            check_user(&words).is_ok()
        };
        assert!(check("default on nopass ~* &* +@all"));
        assert!(check("default on nopass sanitize-payload ~* &* +@all"));
        assert!(check("default nopass"));
        assert!(check("default reset on nopass allkeys allchannels allcommands"));
        for refused in [
            "default",
            "default off nopass",
            "default on >secret ~* &* +@all",
            "default on ~* &* +@all",
            "default on nopass ~a* &* +@all",
            "default on nopass ~* &* -@all",
            "alice on nopass ~* &* +@all",
            "default nopass ~* &* +@all reset",
            "default reset on nopass ~* +@all",
        ] {
            assert!(!check(refused), "{refused}");
        }
    }
}
