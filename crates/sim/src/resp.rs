//! RESP2 as the simulator's clients and its recorder speak it; apart from the engine's on purpose.

use std::collections::BTreeSet;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// `+OK` and its like.
    Simple(Vec<u8>),
    /// An error, code first.
    Error(String),
    /// A number.
    Int(i64),
    /// A string, or none.
    Bulk(Option<Vec<u8>>),
    /// Several replies, or none.
    Array(Option<Vec<Reply>>),
}

impl Reply {
    /// Whether it is `+OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Reply::Simple(text) if text == b"OK")
    }

    /// Whether this can be said of a key later, though nobody changed it: fields of a hash may have expired.
    pub fn may_become(&self, later: &Reply) -> bool {
        let (Reply::Array(Some(ours)), Reply::Array(Some(theirs))) = (self, later) else {
            return self == later;
        };
        let pairs: BTreeSet<&[Reply]> = ours.chunks(2).collect();
        theirs.chunks(2).all(|pair| pairs.contains(pair))
    }
}

/// Appends a request.
pub fn push_command<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// What stands before the next line end, and how long it is with it.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let text = &bytes[..end];
    Some((text.strip_suffix(b"\r").unwrap_or(text), end + 1))
}

fn integer(text: &[u8]) -> Result<i64, String> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("'{}' is no number", String::from_utf8_lossy(text)))
}

/// A string of announced length at `at`: none if it is not all there; with where it ends.
fn body(bytes: &[u8], at: usize, len: usize) -> Result<Option<(&[u8], usize)>, String> {
    let end = at + len;
    if bytes.len() < end + 2 {
        return Ok(None);
    }
    if &bytes[end..end + 2] != b"\r\n" {
        return Err("a string does not end with CR LF".to_owned());
    }
    Ok(Some((&bytes[at..end], end + 2)))
}

/// The first reply in some bytes and its length; none if it is not all there.
pub fn parse_reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, String> {
    let Some((text, mut at)) = line(bytes) else { return Ok(None) };
    let Some((&sign, rest)) = text.split_first() else {
        return Err("an empty line where a reply should be".to_owned());
    };
    let reply = match sign {
        b'+' => Reply::Simple(rest.to_vec()),
        b'-' => Reply::Error(String::from_utf8_lossy(rest).into_owned()),
        b':' => Reply::Int(integer(rest)?),
        b'$' => match usize::try_from(integer(rest)?) {
            Err(_) => Reply::Bulk(None),
            Ok(len) => match body(bytes, at, len)? {
                None => return Ok(None),
                Some((text, end)) => {
                    at = end;
                    Reply::Bulk(Some(text.to_vec()))
                }
            },
        },
        b'*' => match usize::try_from(integer(rest)?) {
            Err(_) => Reply::Array(None),
            Ok(len) => {
                let mut list = Vec::new();
                for _ in 0..len {
                    let Some((reply, used)) = parse_reply(&bytes[at..])? else { return Ok(None) };
                    list.push(reply);
                    at += used;
                }
                Reply::Array(Some(list))
            }
        },
        other => return Err(format!("a reply begins with '{}'", char::from(other))),
    };
    Ok(Some((reply, at)))
}

/// A command's words.
pub type Words<'a> = Vec<&'a [u8]>;

/// The first command in some bytes of a stream, and its length; none if it is not all there.
pub fn parse_command(bytes: &[u8]) -> Result<Option<(Words<'_>, usize)>, String> {
    let Some((text, mut at)) = line(bytes) else { return Ok(None) };
    let Some(count) = text.strip_prefix(b"*") else {
        return Err(format!("a command begins with '{}'", String::from_utf8_lossy(text)));
    };
    let mut args = Vec::new();
    for _ in 0..integer(count)? {
        let Some((text, used)) = line(&bytes[at..]) else { return Ok(None) };
        let len = text.strip_prefix(b"$").ok_or("an argument without a length")?;
        let len = usize::try_from(integer(len)?).map_err(|_| "a negative length")?;
        let Some((arg, end)) = body(bytes, at + used, len)? else { return Ok(None) };
        args.push(arg);
        at = end;
    }
    Ok(Some((args, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_parsed_whole_or_not_at_all() {
        let mut bytes = Vec::new();
        push_command(&mut bytes, &[&b"SET"[..], b"a\r\nb", b""]);
        for cut in 0..bytes.len() {
            assert_eq!(parse_command(&bytes[..cut]), Ok(None));
        }
        let parsed = parse_command(&bytes).expect("well formed");
        assert_eq!(parsed, Some((vec![&b"SET"[..], b"a\r\nb", b""], bytes.len())));
        assert!(parse_command(b"+OK\r\n").is_err());
    }

    #[test]
    fn replies_nest() {
        let bytes = b"*3\r\n:5\r\n$-1\r\n*1\r\n$2\r\nhi\r\n+OK\r\n";
        let (reply, used) = parse_reply(bytes).expect("well formed").expect("complete");
        let inner = Reply::Array(Some(vec![Reply::Bulk(Some(b"hi".to_vec()))]));
        assert_eq!(reply, Reply::Array(Some(vec![Reply::Int(5), Reply::Bulk(None), inner])));
        assert!(parse_reply(&bytes[used..]).expect("well formed").expect("whole").0.is_ok());
        assert_eq!(parse_reply(&bytes[..used - 1]), Ok(None));
    }
}
