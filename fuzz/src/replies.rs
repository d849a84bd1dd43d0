//! Replies, read as a client must be able to read them.

use russet_protocol::{ParsedReply, ReplyLimits, ReplyParser};

/// Takes whole replies off the front. What is no reply ends the run.
pub fn take_whole(bytes: &mut Vec<u8>) {
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
