//! Replies, read as a client must be able to read them.

/// Length of the value that the bytes begin with; none if it is not all there. What is no value ends the run.
pub fn value_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = &bytes[1..end];
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "a line in a line: {line:?}");
    let at = end + 2;
    let number = || -> i64 {
        let text = std::str::from_utf8(line).expect("a length is text");
        text.parse().expect("a length is a number")
    };
    match bytes[0] {
        b'+' | b'-' | b':' | b',' | b'(' | b'_' | b'#' => Some(at),
        b'$' | b'=' => match number() {
            -1 => Some(at),
            len => {
                let end = at + usize::try_from(len).expect("a length");
                let closed = bytes.get(end..end + 2)?;
                assert_eq!(closed, b"\r\n", "a string ends where its length says");
                Some(end + 2)
            }
        },
        b'*' | b'~' | b'>' => values_len(bytes, at, number().max(0)),
        b'%' => values_len(bytes, at, number() * 2),
        // An attribute stands before the value that it is about.
        b'|' => values_len(bytes, at, number() * 2 + 1),
        other => panic!("no reply begins with {:?}", char::from(other)),
    }
}

fn values_len(bytes: &[u8], mut at: usize, count: i64) -> Option<usize> {
    for _ in 0..count {
        at += value_len(bytes.get(at..).filter(|rest| !rest.is_empty())?)?;
    }
    Some(at)
}

/// Takes whole values off the front.
pub fn take_whole(bytes: &mut Vec<u8>) {
    let mut at = 0;
    while at < bytes.len() {
        let Some(len) = value_len(&bytes[at..]) else { break };
        at += len;
    }
    bytes.drain(..at);
}
