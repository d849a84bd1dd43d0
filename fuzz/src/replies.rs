//! Parses replies like a client.

use russet_protocol::{ParsedReply, ReplyLimits, ReplyParser};

/// Removes complete replies from the front. Panics on a malformed one.
pub fn take_complete(bytes: &mut Vec<u8>) {
    let mut parser = ReplyParser::default();
    let mut at = 0;
    loop {
        match parser.parse(&bytes[at..], &ReplyLimits::new(usize::MAX)) {
            ParsedReply::Incomplete => break,
            ParsedReply::Reply { len } => at += len,
            ParsedReply::Malformed(error) => {
                panic!("{error}: {}", bytes[at..].escape_ascii());
            }
        }
        parser.reset();
    }
    bytes.drain(..at);
}
