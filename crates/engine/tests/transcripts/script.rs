//! Parses transcripts.

/// A step of a transcript: a request, or several that are sent in one piece, and the results.
#[derive(Debug, Default)]
pub struct Step {
    /// Comments, empty lines and directives before it, unchanged.
    pub head: Vec<String>,
    /// Client, the line, and its words.
    pub requests: Vec<Request>,
    /// Replies: client, and the line without its mark.
    pub replies: Vec<(String, String)>,
    /// Replies of redis-server 7.0 if they differ.
    pub stock: Vec<(String, String)>,
    /// Effects propagated to the replica.
    pub effects: Vec<String>,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    pub client: String,
    pub line: String,
    pub words: Vec<Vec<u8>>,
}

/// Parses a transcript.
pub fn parse(text: &str) -> Vec<Step> {
    let mut steps = vec![Step::default()];
    for line in text.lines() {
        let marked = |mark: &str| {
            let (client, rest) = line.split_once(mark)?;
            let plain = client.bytes().all(|b| b.is_ascii_lowercase() || b"7.0".contains(&b));
            plain.then(|| (client.to_owned(), rest.strip_prefix(' ').unwrap_or(rest).to_owned()))
        };
        let step = steps.last_mut().expect("never empty");
        if let Some((client, reply)) = marked("<") {
            match client.strip_prefix("7.0") {
                Some(client) => step.stock.push((client.to_owned(), reply)),
                None => step.replies.push((client, reply)),
            }
        } else if let Some(effect) = line.strip_prefix("= ") {
            step.effects.push(effect.to_owned());
        } else if let Some((client, rest)) = marked(">") {
            let joined = rest.strip_prefix("> ");
            if joined.is_none() && !step.requests.is_empty() {
                steps.push(Step::default());
            }
            let words = words(joined.unwrap_or(&rest));
            let request = Request { client, line: line.to_owned(), words };
            steps.last_mut().expect("never empty").requests.push(request);
        } else {
            if !step.requests.is_empty() {
                steps.push(Step::default());
            }
            steps.last_mut().expect("never empty").head.push(line.to_owned());
        }
    }
    steps
}

/// Splits a line into words: separated by blanks, in quotes with escapes, `{text*count}` repeated.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (repeat(&rest[..end]), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

fn unquote(quoted: &str) -> (Vec<u8>, &str) {
    let mut word = Vec::new();
    let bytes = quoted.as_bytes();
    let mut at = 0;
    while bytes[at] != b'"' {
        if bytes[at] != b'\\' {
            word.push(bytes[at]);
            at += 1;
            continue;
        }
        let (byte, len) = match bytes[at + 1] {
            b'n' => (b'\n', 2),
            b'r' => (b'\r', 2),
            b't' => (b'\t', 2),
            b'x' => (u8::from_str_radix(&quoted[at + 2..at + 4], 16).expect("two hex digits"), 4),
            other => (other, 2),
        };
        word.push(byte);
        at += len;
    }
    (word, &quoted[at + 1..])
}

fn repeat(word: &str) -> Vec<u8> {
    let parts = word.split_once('{').and_then(|(before, rest)| {
        let (inside, after) = rest.split_once('}')?;
        let (text, count) = inside.split_once('*')?;
        Some((before, text, count.parse::<usize>().ok()?, after))
    });
    match parts {
        Some((before, text, count, after)) => {
            [before.as_bytes(), text.repeat(count).as_bytes(), &repeat(after)].concat()
        }
        None => word.as_bytes().to_vec(),
    }
}

/// Quotes bytes as a word; very long ones are truncated.
pub fn quote(bytes: &[u8]) -> String {
    const SHOWN: usize = 200;
    let mut text = String::from("\"");
    let shown = if bytes.len() > SHOWN { &bytes[..20] } else { bytes };
    for &byte in shown {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    if bytes.len() > SHOWN {
        text.push_str(&format!("... {} bytes", bytes.len()));
    }
    text
}
