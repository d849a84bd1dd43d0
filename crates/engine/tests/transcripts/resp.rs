//! Replies in RESP as lines of a transcript.

use crate::script::quote;

/// Parses a reply at the start of `bytes`. Returns its length and lines; none if it is incomplete.
pub fn reply(bytes: &[u8]) -> Option<(usize, Vec<String>)> {
    let mut lines = Vec::new();
    let len = element(bytes, 0, &mut lines)?;
    Some((len, lines))
}

fn element(bytes: &[u8], depth: usize, lines: &mut Vec<String>) -> Option<usize> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut at = end + 2;
    let indent = "  ".repeat(depth);
    let count = head[1..].parse::<usize>().ok();
    match (bytes[0], count) {
        (b'$', Some(len)) => {
            lines.push(format!("{indent}{}", quote(bytes.get(at..at + len)?)));
            bytes.get(at..at + len + 2)?;
            at += len + 2;
        }
        (b'=', Some(len)) => {
            lines.push(format!("{indent}={}", quote(bytes.get(at..at + len)?)));
            bytes.get(at..at + len + 2)?;
            at += len + 2;
        }
        (kind @ (b'*' | b'%' | b'~' | b'>'), Some(count)) => {
            lines.push(format!("{indent}{head}"));
            for _ in 0..count * if kind == b'%' { 2 } else { 1 } {
                at += element(&bytes[at..], depth + 1, lines)?;
            }
        }
        _ => lines.push(format!("{indent}{head}")),
    }
    Some(at)
}

/// Encodes a request.
pub fn request(words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Removes complete commands of a replication stream from `bytes`. Returns them as lines, without
/// heartbeats.
pub fn effects(bytes: &mut Vec<u8>) -> Vec<String> {
    let mut effects = Vec::new();
    while let Some((len, lines)) = reply(bytes) {
        bytes.drain(..len);
        let words: Vec<&str> = lines.iter().skip(1).map(|line| line.trim()).collect();
        let plain = |word: &&str| {
            let inside = &word[1..word.len() - 1];
            let simple = !inside.is_empty() && !inside.contains([' ', '\\', '"']);
            if simple && word.ends_with('"') { inside.to_owned() } else { (*word).to_owned() }
        };
        let line = words.iter().map(plain).collect::<Vec<_>>().join(" ");
        let heartbeat =
            ["PING", "REPLCONF"].iter().any(|word| line.to_ascii_uppercase().starts_with(word));
        if !heartbeat {
            effects.push(line);
        }
    }
    effects
}
