//! The reply parser: all splits give the same replies, memory grows with received bytes only, and
//! views have as many elements as announced.
#![no_main]

use russet_protocol::{ParsedReply, Reply, ReplyError, ReplyLimits, ReplyParser};

/// Returns the number of replies within a reply, including itself, and reads all of its bytes.
fn walk(reply: Reply<'_>) -> usize {
    let bytes = reply.bytes().or(reply.error()).unwrap_or_default();
    std::hint::black_box(bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    let Some(elements) = reply.elements() else { return 1 };
    let announced = elements.len();
    let counts: Vec<usize> = elements.map(walk).collect();
    assert_eq!(counts.len(), announced);
    1 + counts.iter().sum::<usize>()
}

/// Parses `input` in pieces of `step` bytes. Returns the formatted replies and the error, if any.
fn replies(input: &[u8], step: usize, limits: &ReplyLimits) -> (Vec<String>, Option<ReplyError>) {
    let (mut parser, mut buffer, mut found) = (ReplyParser::default(), Vec::new(), Vec::new());
    for piece in input.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match parser.parse(&buffer, limits) {
                ParsedReply::Incomplete => {
                    assert!(parser.reply(&buffer).is_none());
                    break;
                }
                ParsedReply::Malformed(error) => {
                    let text = error.to_string();
                    assert!(!text.contains(['\r', '\n', '\0']), "{error:?} breaks the log");
                    assert_eq!(parser.parse(&buffer, limits), ParsedReply::Malformed(error));
                    return (found, Some(error));
                }
                ParsedReply::Reply { len } => {
                    assert!(len > 0 && len <= buffer.len().min(limits.reply_len_max));
                    let reply = parser.reply(&buffer).expect("a complete reply");
                    assert!(walk(reply) <= len / 3, "a reply has at least three bytes");
                    found.push(format!("{reply:?}"));
                    parser.reset();
                    buffer.drain(..len);
                }
            }
        }
    }
    (found, None)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [step, limit, input @ ..] = bytes else { return };
    let limits = ReplyLimits {
        reply_len_max: usize::from(limit >> 1) * 16,
        line_len_max: 100,
        depth_max: 5,
        skips_blank_lines: limit & 1 == 1,
    };
    let whole = replies(input, input.len().max(1), &limits);
    assert_eq!(replies(input, usize::from(*step).max(1), &limits), whole);
});
