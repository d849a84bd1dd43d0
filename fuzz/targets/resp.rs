//! The request parser: all splits give the same requests, and all ranges are within the buffer.
#![no_main]

use russet_protocol::request::{Limits, Parsed, RequestParser};
use russet_protocol::{Protocol, ReplyWriter};

/// Parses `input` in pieces of `step` bytes. Returns the requests and the error, if any.
fn requests(input: &[u8], step: usize, limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<Vec<u8>>) {
    let (mut parser, mut buffer, mut found) = (RequestParser::default(), Vec::new(), Vec::new());
    for piece in input.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match parser.parse(&buffer, limits) {
                Parsed::Incomplete => break,
                Parsed::Malformed(error) => {
                    let mut reply = Vec::new();
                    ReplyWriter::new(&mut reply, Protocol::Resp2).error(&error);
                    let line = reply.strip_suffix(b"\r\n").expect("an error is a line");
                    assert!(
                        !line.iter().any(|b| b"\r\n\0".contains(b)),
                        "{error} breaks the reply"
                    );
                    assert_eq!(parser.parse(&buffer, limits), Parsed::Malformed(error));
                    return (found, Some(reply));
                }
                Parsed::Request { len } => {
                    assert!(len > 0 && len <= buffer.len(), "a request is within the buffer");
                    let bytes = parser.inline_bytes().unwrap_or(&buffer);
                    let arguments = parser.args().iter().map(|a| bytes[a.start..a.end].to_vec());
                    found.push(arguments.collect());
                    parser.reset();
                    buffer.drain(..len);
                }
            }
        }
    }
    (found, None)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&step, input)) = bytes.split_first() else { return };
    let authenticated = step & 1 == 0;
    let limits =
        if authenticated { Limits::open(512 << 20) } else { Limits::unauthenticated(512 << 20) };
    let whole = requests(input, input.len().max(1), &limits);
    let pieces = requests(input, usize::from(step >> 1).max(1), &limits);
    assert_eq!(whole, pieces);
});
