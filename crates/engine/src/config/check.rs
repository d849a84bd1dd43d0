//! Validation of text values.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::grammar;
use super::value::Refusal;

type Checked = Result<(), Refusal>;

/// Accepts every text.
pub fn any(_: &[u8]) -> Checked {
    Ok(())
}

fn refuse(text: &'static str, unless: bool) -> Checked {
    if unless { Ok(()) } else { Err(text.into()) }
}

/// Validates a path or a host name, which must be valid UTF-8.
pub fn path(path: &[u8]) -> Checked {
    refuse("argument must be valid UTF-8", std::str::from_utf8(path).is_ok())
}

/// Whether a text can be an address or a host name. It cannot contain what separates addresses from
/// other text where they are shown: blanks, commas, `=`, control characters.
pub fn is_host(text: &[u8]) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || ".:-_%".contains(c);
    std::str::from_utf8(text).is_ok_and(|text| text.chars().all(is_part))
}

/// Validates an optional address or host name.
pub fn host(text: &[u8]) -> Checked {
    refuse("argument must be an address or a host name", is_host(text))
}

fn is_base_name(path: &[u8]) -> bool {
    !path.contains(&b'/') && !path.contains(&b'\\')
}

/// Whether a file name stays in its directory.
fn is_file_name(path: &[u8]) -> bool {
    is_base_name(path) && path != b"." && path != b".."
}

/// Maximum length of the dump file's name, since that of its lock file has six bytes more.
const DBFILENAME_BYTES_MAX: usize = 249;

/// Validates the name of the dump file. As in Redis it may be empty; saves fail then.
pub fn dbfilename(name: &[u8]) -> Checked {
    refuse("dbfilename is longer than 249 bytes", name.len() <= DBFILENAME_BYTES_MAX)?;
    refuse("dbfilename can't be a path, just a filename", is_file_name(name))?;
    let is_lock = name.starts_with(b".") && name.ends_with(b".lock");
    refuse("dbfilename can't be the name of a lock file", !is_lock)?;
    refuse("dbfilename can't be the name of a temporary file", !is_temporary(name))?;
    path(name)
}

/// Whether a name is that of the temporary file of a save, `temp-<pid>-<job>.rdb`, which servers
/// remove when they start.
fn is_temporary(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let numbers = name.strip_prefix("temp-").and_then(|name| name.strip_suffix(".rdb"));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    numbers
        .and_then(|numbers| numbers.split_once('-'))
        .is_some_and(|(pid, job)| is_number(pid) && is_number(job))
}

/// Maximum length of the quoted base name of the append-only files: names that are made from it must fit into a line of
/// the manifest.
const APPENDFILENAME_BYTES_MAX: usize = 900;

/// Validates the base name of the append-only files.
pub fn appendfilename(name: &[u8]) -> Checked {
    refuse("appendfilename can't be empty", !name.is_empty())?;
    let is_short = grammar::quote(name).len() <= APPENDFILENAME_BYTES_MAX;
    refuse("appendfilename is too long", is_short)?;
    refuse("appendfilename can't be a path, just a filename", is_file_name(name))
}

/// Validates the directory of the append-only files.
pub fn appenddirname(name: &[u8]) -> Checked {
    refuse("appenddirname can't be empty", !name.is_empty())?;
    refuse("appenddirname can't be a path, just a dirname", is_file_name(name))
}

/// Validates the working directory.
pub fn dir(name: &[u8]) -> Checked {
    refuse("dir can't be empty", !name.is_empty())?;
    path(name)
}

/// Validates the name of the cluster configuration file.
pub fn cluster_config_file(name: &[u8]) -> Checked {
    refuse("cluster-config-file can't be empty", !name.is_empty())
}

/// Validates an optional IPv4 address.
pub fn ipv4(text: &[u8]) -> Checked {
    refuse("Invalid IPv4 address", text.is_empty() || parses::<Ipv4Addr>(text))
}

/// Validates an optional IPv6 address.
pub fn ipv6(text: &[u8]) -> Checked {
    refuse("Invalid IPv6 address", text.is_empty() || parses::<Ipv6Addr>(text))
}

fn parses<T: std::str::FromStr>(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<T>().is_ok())
}

/// Validates a host name that fits in a cluster message.
pub fn hostname(name: &[u8]) -> Checked {
    refuse("Hostnames must be less than 256 characters", name.len() < 256)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    refuse(
        "Hostnames may only contain alphanumeric characters, hyphens or dots",
        name.iter().all(plain),
    )
}

/// Validates a node's human-readable name, which is stored between commas in the cluster
/// configuration file.
pub fn node_name(name: &[u8]) -> Checked {
    let plain = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || byte.is_ascii_graphic() && !b"!#$%&()*+;<>?@[]^{|}~,='\"\\".contains(byte)
    };
    refuse("Announced human node name contained invalid character", name.iter().all(plain))
}

/// Validates a secret that others must not find by trying.
pub fn bus_secret(secret: &[u8]) -> Checked {
    const LEN_MIN: usize = 16;
    let is_long = secret.is_empty() || secret.len() >= LEN_MIN;
    refuse("A secret of the bus needs 16 characters at least", is_long)
}

/// Validates a process title with known variables in braces; `{{` is a literal brace.
pub fn title_template(template: &[u8]) -> Checked {
    const KNOWN: [&str; 7] =
        ["title", "listen-addr", "server-mode", "port", "tls-port", "config-file", "unixsocket"];
    let mut rest = template;
    let mut blank = true;
    let mut valid = true;
    while let Some(open) = rest.iter().position(|&byte| byte == b'{') {
        blank &= rest[..open].iter().all(|&byte| byte == b' ');
        let after = &rest[open + 1..];
        if after.first() == Some(&b'{') {
            blank = false;
            rest = &after[1..];
            continue;
        }
        let close = after.iter().position(|&byte| byte == b'}');
        let Some(close) =
            close.filter(|&at| KNOWN.iter().any(|name| name.as_bytes() == &after[..at]))
        else {
            valid = false;
            break;
        };
        // Only the mode and the title may expand to an empty text.
        blank &= matches!(&after[..close], b"server-mode" | b"title");
        rest = &after[close + 1..];
    }
    blank &= rest.iter().all(|&byte| byte == b' ');
    refuse("template format is invalid or contains unknown variables", valid && !blank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_templates() {
        for good in ["{title} {listen-addr} {server-mode}", "x", "{{", "{port}", " a{title}"] {
            assert!(title_template(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", "  ", "{title}", "{foo}", "{", "{title", "a{}", "{title }x"] {
            assert!(title_template(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn file_names_stay_in_their_directory() {
        for bad in ["a/b", "a\\b", ".", "..", "/"] {
            assert!(dbfilename(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(dbfilename(b"dump-6379.rdb").is_ok() && dbfilename(b"").is_ok());
    }

    #[test]
    fn a_dump_file_and_its_lock_have_names_that_a_directory_can_hold() {
        assert!(dbfilename(&[b'x'; 249]).is_ok());
        for bytes in [250, 256, 5000] {
            let refusal = Err("dbfilename is longer than 249 bytes".into());
            assert_eq!(dbfilename(&vec![b'x'; bytes]), refusal);
        }
    }

    #[test]
    fn a_dump_file_is_no_file_that_servers_replace_or_remove() {
        for bad in [".dump.rdb.lock", "..lock", "temp-12-3.rdb"] {
            assert!(dbfilename(bad.as_bytes()).is_err(), "{bad}");
        }
        for good in [".dump.rdb", "dump.lock", "temp-12.rdb", "temp-a-3.rdb", "temp-12-3.rdb.old"] {
            assert!(dbfilename(good.as_bytes()).is_ok(), "{good}");
        }
    }

    #[test]
    fn hosts_have_no_separators() {
        for good in ["", "10.0.0.1", "::1", "fe80::1%eth0", "a_b-c.example", "b\u{fc}cher.example"]
        {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in ["a b", "a\r\nrole:master", "a,port=1", "a=b", "\0", "a\u{2028}b", "\x1b[0m"] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
        assert!(!is_host(b"\xff"));
    }

    #[test]
    fn paths_are_text() {
        assert!(path("/srv/d\u{e4}ta".as_bytes()).is_ok() && path(b"").is_ok());
        for check in [path, dir, dbfilename] {
            assert_eq!(check(b"d\xe4ta"), Err("argument must be valid UTF-8".into()));
        }
    }

    #[test]
    fn announced_names() {
        assert!(ipv4(b"127.0.0.1").is_ok() && ipv4(b"").is_ok() && ipv4(b"::1").is_err());
        assert!(ipv6(b"::1").is_ok() && ipv6(b"127.0.0.1").is_err());
        assert!(hostname(b"a-b.C9").is_ok() && hostname(b"a_b").is_err());
        assert!(hostname(&[b'a'; 255]).is_ok() && hostname(&[b'a'; 256]).is_err());
        assert!(node_name(b"node-1_a").is_ok() && node_name(b"a,b").is_err());
    }
}
