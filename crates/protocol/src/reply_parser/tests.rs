//! Tests of the reply parser: all types, splits and malformed replies.

use proptest::prelude::*;

use super::*;

const LIMITS: ReplyLimits = ReplyLimits::new(1 << 20);

/// Formats a reply.
fn shown(reply: Reply<'_>) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let inside = |replies: Replies<'_>| {
        let len = replies.len();
        let shown: Vec<String> = replies.map(shown).collect();
        assert_eq!(shown.len(), len);
        shown.join(" ")
    };
    match reply {
        Reply::Simple(bytes) => format!("+{}", text(bytes)),
        Reply::Error(bytes) => format!("-{}", text(bytes)),
        Reply::Integer(value) => format!(":{value}"),
        Reply::Bulk(bytes) => format!("'{}'", text(bytes)),
        Reply::Null => "null".into(),
        Reply::Double(value) => format!(",{value}"),
        Reply::Boolean(value) => value.to_string(),
        Reply::BigNumber(digits) => format!("({}", text(digits)),
        Reply::Verbatim { format, text: body } => format!("{}='{}'", text(format), text(body)),
        Reply::Array(replies) => format!("[{}]", inside(replies)),
        Reply::Set(replies) => format!("~[{}]", inside(replies)),
        Reply::Map(replies) => format!("{{{}}}", inside(replies)),
        Reply::Push(replies) => format!(">[{}]", inside(replies)),
    }
}

/// Parses `input` in pieces of the given lengths. Returns the replies and the final result.
fn replies(
    input: &[u8],
    mut pieces: impl Iterator<Item = usize>,
    limits: &ReplyLimits,
) -> (Vec<String>, Result<usize, ReplyError>) {
    let (mut parser, mut buf, mut found) = (ReplyParser::default(), Vec::new(), Vec::new());
    let mut rest = input;
    loop {
        match parser.parse(&buf, limits) {
            ParsedReply::Incomplete => {
                assert!(parser.reply(&buf).is_none());
                if rest.is_empty() {
                    return (found, Ok(buf.len()));
                }
                let (piece, behind) =
                    rest.split_at(pieces.next().unwrap_or(1).clamp(1, rest.len()));
                buf.extend_from_slice(piece);
                rest = behind;
            }
            ParsedReply::Malformed(error) => {
                assert_eq!(parser.parse(&buf, limits), ParsedReply::Malformed(error));
                return (found, Err(error));
            }
            ParsedReply::Reply { len } => {
                assert!(parser.items.len() <= len / REPLY_LEN_MIN);
                found.push(shown(parser.reply(&buf).expect("it is whole")));
                parser.reset();
                buf.drain(..len);
            }
        }
    }
}

fn all(input: &[u8]) -> (Vec<String>, Result<usize, ReplyError>) {
    let whole = replies(input, std::iter::once(input.len()), &LIMITS);
    assert_eq!(replies(input, std::iter::repeat(1), &LIMITS), whole);
    whole
}

fn error(input: &[u8]) -> ReplyError {
    all(input).1.expect_err("it is malformed")
}

#[test]
fn every_type_is_read() {
    for (bytes, expected) in [
        ("+OK\r\n", "+OK"),
        ("+\r\n", "+"),
        ("-ERR no\r\n", "-ERR no"),
        (":-9223372036854775808\r\n", ":-9223372036854775808"),
        ("$3\r\na\r\n\r\n", "'a\\r\\n'"),
        ("$0\r\n\r\n", "''"),
        ("$-1\r\n", "null"),
        ("*-1\r\n", "null"),
        ("_\r\n", "null"),
        ("*0\r\n", "[]"),
        ("*2\r\n:1\r\n*1\r\n+a\r\n", "[:1 [+a]]"),
        ("*1\r\n*1\r\n*1\r\n*0\r\n", "[[[[]]]]"),
        (",1.5\r\n", ",1.5"),
        (",-2e3\r\n", ",-2000"),
        (",inf\r\n", ",inf"),
        (",-inf\r\n", ",-inf"),
        (",nan\r\n", ",NaN"),
        ("#t\r\n", "true"),
        ("#f\r\n", "false"),
        ("(-123456789012345678901234567890\r\n", "(-123456789012345678901234567890"),
        ("!5\r\nERR a\r\n", "-ERR a"),
        ("=7\r\ntxt:foo\r\n", "txt='foo'"),
        ("=4\r\nmkd:\r\n", "mkd=''"),
        ("~2\r\n+a\r\n+b\r\n", "~[+a +b]"),
        ("%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n", "{+a :1 +b {}}"),
        (">2\r\n$7\r\nmessage\r\n_\r\n", ">['message' null]"),
    ] {
        assert_eq!(all(bytes.as_bytes()), (vec![expected.to_owned()], Ok(0)), "{bytes:?}");
    }
}

#[test]
fn attributes_are_parsed_and_skipped() {
    let input = b"|1\r\n+ttl\r\n*1\r\n:3\r\n*2\r\n|0\r\n:1\r\n|1\r\n+a\r\n|1\r\n+b\r\n+c\r\n+d\r\n:2\r\n+next\r\n";
    assert_eq!(all(input).0, ["[:1 :2]", "+next"]);
}

#[test]
fn replies_follow_each_other() {
    assert_eq!(
        all(b"+OK\r\n$1\r\nx\r\n*1\r\n:1\r\n:2\r\n*2\r\n:3\r\n").0,
        ["+OK", "'x'", "[:1]", ":2"]
    );
    assert_eq!(all(b"+OK\r\n*2\r\n:3\r\n").1, Ok(8));
}

#[test]
fn blank_lines_are_skipped_only_if_enabled() {
    let input = b"\n\r\n\n+CONTINUE\r\n\n";
    let limits = ReplyLimits { skips_blank_lines: true, ..LIMITS };
    for step in 1..input.len() {
        let (found, end) = replies(input, std::iter::repeat(step), &limits);
        assert_eq!(found, ["+CONTINUE"]);
        assert_eq!(end, Ok(1));
    }
    assert_eq!(error(input), ReplyError::UnknownType(b'\n'));
    // Never within a reply.
    let inside = replies(b"*2\r\n:1\r\n\n:2\r\n", std::iter::once(99), &limits);
    assert_eq!(inside.1, Err(ReplyError::UnknownType(b'\n')));
}

#[test]
fn malformed_replies_are_rejected() {
    for (bytes, expected) in [
        ("hello\r\n", ReplyError::UnknownType(b'h')),
        ("*1\r\n?\r\n", ReplyError::UnknownType(b'?')),
        ("*?\r\n", ReplyError::InvalidLength),
        ("$?\r\n", ReplyError::InvalidLength),
        ("+a\n", ReplyError::BrokenLine),
        ("+a\rb\r\n", ReplyError::BrokenLine),
        ("$-2\r\n", ReplyError::InvalidLength),
        ("~-1\r\n", ReplyError::InvalidLength),
        ("$99999999999999999999\r\n", ReplyError::InvalidLength),
        ("$1 \r\n", ReplyError::InvalidLength),
        ("$1\r\nab\r\n", ReplyError::MissingEnd),
        (":\r\n", ReplyError::InvalidValue),
        (":9223372036854775808\r\n", ReplyError::InvalidValue),
        (",infinity\r\n", ReplyError::InvalidValue),
        (",\r\n", ReplyError::InvalidValue),
        ("#x\r\n", ReplyError::InvalidValue),
        ("_x\r\n", ReplyError::InvalidValue),
        ("(\r\n", ReplyError::InvalidValue),
        ("(1a\r\n", ReplyError::InvalidValue),
        ("=3\r\ntxt\r\n", ReplyError::InvalidValue),
        ("=4\r\ntxtx\r\n", ReplyError::InvalidValue),
    ] {
        assert_eq!(error(bytes.as_bytes()), expected, "{bytes:?}");
    }
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut parser = ReplyParser::default();
    let limits = ReplyLimits::new(usize::MAX);
    let header = b"*1000000000\r\n$500000000\r\n";
    assert_eq!(parser.parse(header, &limits), ParsedReply::Incomplete);
    assert!(parser.items.capacity() * ITEM_BYTES < 1024);
    assert_eq!(parser.awaited_len(), Some(header.len() + 500_000_002));
    // A reply with that many elements does not fit into 4 GiB.
    for header in
        ["*2000000000\r\n", "%1000000000\r\n", "$4294967290\r\n", "*9223372036854775807\r\n"]
    {
        parser.reset();
        let parsed = parser.parse(header.as_bytes(), &limits);
        assert_eq!(parsed, ParsedReply::Malformed(ReplyError::ReplyTooLong), "{header}");
    }
}

#[test]
fn limits_are_enforced() {
    let limits = ReplyLimits { reply_len_max: 100, line_len_max: 10, depth_max: 3, ..LIMITS };
    let end = |input: &[u8]| {
        let whole = replies(input, std::iter::once(input.len()), &limits);
        assert_eq!(replies(input, std::iter::repeat(1), &limits), whole);
        whole.1
    };
    assert_eq!(end(b"+0123456789\r\n"), Ok(0));
    assert_eq!(end(b"+0123456789a\r\n"), Err(ReplyError::LineTooLong));
    assert_eq!(end(b"+0123456789a"), Err(ReplyError::LineTooLong));
    assert_eq!(end(b"*1\r\n*1\r\n*1\r\n:1\r\n"), Ok(0));
    assert_eq!(end(b"*1\r\n*1\r\n*1\r\n*0\r\n"), Err(ReplyError::TooDeep));
    assert_eq!(end(b"|1\r\n*1\r\n*1\r\n|0\r\n"), Err(ReplyError::TooDeep));
    let bulk = |len: usize| {
        [format!("${len}\r\n").into_bytes(), vec![b'x'; len], b"\r\n".to_vec()].concat()
    };
    assert_eq!(end(&bulk(93)), Ok(0));
    assert_eq!(end(&bulk(94)), Err(ReplyError::ReplyTooLong));
    assert_eq!(end(b"*32\r\n"), Err(ReplyError::ReplyTooLong));
    assert_eq!(end(&b"|0\r\n".repeat(26)), Err(ReplyError::ReplyTooLong));
}

#[test]
fn replies_of_the_writer_are_parsed() {
    for protocol in [crate::Protocol::Resp2, crate::Protocol::Resp3] {
        let mut out = Vec::new();
        let mut writer = crate::ReplyWriter::new(&mut out, protocol);
        writer.map(2);
        writer.bulk(b"a");
        writer.null();
        writer.boolean(true);
        writer.verbatim(b"text");
        let expected = match protocol {
            crate::Protocol::Resp2 => "['a' null :1 'text']",
            crate::Protocol::Resp3 => "{'a' null true txt='text'}",
        };
        assert_eq!(all(&out).0, [expected]);
    }
}

/// The bytes of an arbitrary reply.
fn reply_bytes() -> impl Strategy<Value = Vec<u8>> {
    let line = "[ -~]{0,12}";
    let leaf = prop_oneof![
        (prop::sample::select(vec!['+', '-']), line)
            .prop_map(|(kind, line)| format!("{kind}{line}\r\n")),
        any::<i64>().prop_map(|value| format!(":{value}\r\n")),
        any::<f64>().prop_map(|value| format!(",{value:e}\r\n").replace("NaN", "nan")),
        (prop::sample::select(vec!['$', '!']), "[ -~\r\n]{0,40}")
            .prop_map(|(kind, text)| format!("{kind}{}\r\n{text}\r\n", text.len())),
        prop::sample::select(vec!["_", "#t", "#f", "$-1", "*-1", "(12", "=4\r\ntxt:"])
            .prop_map(|text| format!("{text}\r\n")),
    ];
    let reply = leaf.prop_recursive(4, 40, 6, |inner| {
        let kind = prop::sample::select(vec!['*', '~', '%', '>', '|']);
        (kind, prop::collection::vec(inner.clone(), 0..6), inner).prop_map(
            |(kind, parts, about)| {
                let (parts, about) = match kind {
                    '%' => (&parts[..parts.len() / 2 * 2], String::new()),
                    '|' => (&parts[..parts.len() / 2 * 2], about),
                    _ => (&parts[..], String::new()),
                };
                let count = if matches!(kind, '%' | '|') { parts.len() / 2 } else { parts.len() };
                format!("{kind}{count}\r\n{}{about}", parts.concat())
            },
        )
    });
    reply.prop_map(String::into_bytes)
}

proptest! {
    /// All splits of complete replies give the same replies.
    #[test]
    fn any_split_gives_the_same_replies(
        inputs in prop::collection::vec(reply_bytes(), 1..5),
        pieces in prop::collection::vec(1..20_usize, 1..20),
    ) {
        let input = inputs.concat();
        let whole = replies(&input, std::iter::once(input.len()), &LIMITS);
        prop_assert_eq!(whole.0.len(), inputs.len());
        prop_assert_eq!(whole.1, Ok(0));
        prop_assert_eq!(replies(&input, pieces.into_iter().cycle(), &LIMITS), whole);
    }

    /// All splits of corrupted replies give the same result.
    #[test]
    fn any_split_of_corrupted_bytes_gives_the_same_result(
        input in reply_bytes(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        pieces in prop::collection::vec(1..9_usize, 1..9),
    ) {
        let mut input = input;
        for (at, byte) in changes {
            let at = at.index(input.len());
            input[at] = byte;
        }
        let limits = ReplyLimits { reply_len_max: 200, line_len_max: 30, depth_max: 3, ..LIMITS };
        let whole = replies(&input, std::iter::once(input.len()), &limits);
        prop_assert_eq!(replies(&input, pieces.into_iter().cycle(), &limits), whole);
    }
}
