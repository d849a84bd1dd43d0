//! The syntax of redis.conf: quoting, memory units, numbers, and the command-line form.
//!
//! Pure functions over bytes, independent of directives and files: the loader in `load.rs` resolves
//! `include` through a callback.

use std::borrow::Cow;

/// Maximum length of a configuration line, in bytes. Redis has no such limit.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// Maximum length of a value, in bytes: its quoted form fits in a line.
pub const VALUE_BYTES_MAX: usize = 512 << 10;

/// Splits a line into words.
///
/// Words are separated by whitespace. Double quotes support `\n \r \t \b \a` and `\xHH`, and a
/// backslash before any other byte is that byte; single quotes support only `\'`. A quoted part may
/// begin inside a word, and its closing quote must end the word. Returns `None` if quotes are
/// unbalanced. A NUL byte ends the line, as in a C string.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&byte| is_space(byte)) {
            at += 1;
        }
        if at == line.len() {
            return Some(words);
        }
        words.push(next_word(line, &mut at)?);
    }
}

fn next_word(line: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let mut word = Vec::new();
    while let Some(&byte) = line.get(*at) {
        *at += 1;
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' => {
                double_quoted(line, at, &mut word)?;
                break;
            }
            b'\'' => {
                single_quoted(line, at, &mut word)?;
                break;
            }
            _ => word.push(byte),
        }
    }
    Some(word)
}

fn double_quoted(line: &[u8], at: &mut usize, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match &line[*at..] {
            [] => return None,
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex_digit(*high) << 4 | hex_digit(*low));
                *at += 4;
            }
            [b'\\', escaped, ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                *at += 2;
            }
            [b'"', rest @ ..] => {
                *at += 1;
                return ends_word(rest);
            }
            [byte, ..] => {
                word.push(*byte);
                *at += 1;
            }
        }
    }
}

fn single_quoted(line: &[u8], at: &mut usize, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match &line[*at..] {
            [] => return None,
            [b'\\', b'\'', ..] => {
                word.push(b'\'');
                *at += 2;
            }
            [b'\'', rest @ ..] => {
                *at += 1;
                return ends_word(rest);
            }
            [byte, ..] => {
                word.push(*byte);
                *at += 1;
            }
        }
    }
}

/// Checks that a closing quote is followed by whitespace or nothing.
fn ends_word(rest: &[u8]) -> Option<()> {
    rest.first().is_none_or(|&byte| is_space(byte)).then_some(())
}

/// Like C's `isspace` in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte - b'A' + 10,
    }
}

/// Writes `word` in double quotes so that [`split_words`] reads the same bytes back.
pub fn quote(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len() + 2);
    out.push(b'"');
    for &byte in word {
        match byte {
            b'\\' | b'"' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            7 => out.extend(b"\\a"),
            8 => out.extend(b"\\b"),
            0x20..=0x7e => out.push(byte),
            _ => out.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    out.push(b'"');
    out
}

/// Quotes `word` if necessary.
pub fn quote_if_needed(word: &[u8]) -> Cow<'_, [u8]> {
    let bare = !word.is_empty()
        && word.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\'));
    if bare { Cow::Borrowed(word) } else { Cow::Owned(quote(word)) }
}

/// Trims whitespace at both ends.
pub fn trim(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let Some(start) = line.iter().position(|byte| !is_blank(byte)) else {
        return &[];
    };
    let end = line.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &line[start..end]
}

/// Parses a size in bytes: digits and one of `b k kb m mb g gb` in any case (`1k` = 1000, `1kb` =
/// 1024).
///
/// Sizes beyond 64 bits, which Redis wraps, and empty ones, which it reads as 0, are refused.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    number.checked_mul(factor)
}

/// Formats a size in its shortest exact form: `3gb`, `64mb`, `4kb`, `1500`.
pub fn format_memory(bytes: u64) -> String {
    for (factor, unit) in [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")] {
        if bytes != 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// Parses an integer in canonical form: no whitespace, no `+`, no leading zero, no `-0`.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
        [] => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Parses an integer like C's `strtoll`, without leading whitespace or trailing bytes.
pub fn parse_lenient_integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The configuration given by the arguments of `russet server`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The configuration file, if the first argument doesn't begin with `-` and is not empty.
    pub config_file: Option<Vec<u8>>,
    /// Whether the first or last argument is `-`: more configuration is read from standard input.
    pub from_stdin: bool,
    /// The `--directive value …` arguments as lines of a configuration file.
    pub options: Vec<u8>,
}

impl CommandLine {
    /// Parses the arguments after the program's name.
    ///
    /// An argument that begins with `--` starts a directive if the one before it has a value; so
    /// `--dbfilename --x` names the file `--x`. A `--save` followed by another option, or by
    /// nothing, means `--save ""`. All other arguments are values.
    pub fn parse(arguments: &[Vec<u8>]) -> CommandLine {
        let mut line = CommandLine::default();
        let mut first = 0;
        if let Some(name) = arguments.first().filter(|name| !name.starts_with(b"-")) {
            line.config_file = Some(name.clone()).filter(|name| !name.is_empty());
            first = 1;
        }
        let mut has_value = true;
        for (at, argument) in arguments.iter().enumerate().skip(first) {
            let at_an_end = at == 0 || at + 1 == arguments.len();
            if argument == b"-" && at_an_end {
                line.from_stdin = true;
            } else if has_value && argument.starts_with(b"--") {
                has_value = line.open_option(argument, arguments.get(at + 1));
            } else {
                line.options.extend(quote(argument));
                line.options.push(b' ');
                has_value = true;
            }
        }
        line
    }

    /// Starts the line of an option; returns whether it may be complete without a value.
    fn open_option(&mut self, argument: &[u8], next: Option<&Vec<u8>>) -> bool {
        if !self.options.is_empty() {
            self.options.push(b'\n');
        }
        self.options.extend(&argument[2..]);
        self.options.push(b' ');
        if split_words(argument).is_none_or(|words| words.len() != 1) {
            return true; // `--port 6380` in one argument
        }
        let next_is_option = next.is_some_and(|next| next.starts_with(b"--"));
        if argument.eq_ignore_ascii_case(b"--save") && (next_is_option || next.is_none()) {
            self.options.extend(b"\"\"");
            return true;
        }
        argument.eq_ignore_ascii_case(b"--sentinel") && next_is_option
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let words = split_words(line.as_bytes())?;
        Some(words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
    }

    fn some(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| word.to_string()).collect())
    }

    #[test]
    fn words_are_split_as_redis_splits_them() {
        assert_eq!(words(""), some(&[]));
        assert_eq!(words("  \t "), some(&[]));
        assert_eq!(words("port 6379"), some(&["port", "6379"]));
        assert_eq!(words(r#"a "b c" 'd "e' """#), some(&["a", "b c", "d \"e", ""]));
        assert_eq!(words(r#"a"b c" d"#), some(&["ab c", "d"]));
        assert_eq!(words(r#""\x41\x4g\n\q\\\"""#), some(&["Ax4g\nq\\\""]));
        assert_eq!(words(r"'it\'s \n'"), some(&["it's \\n"]));
        assert_eq!(words("a\u{b}b"), some(&["a\u{b}b"]));
        assert_eq!(split_words(b"a b\0 \"c"), Some(vec![b"a".to_vec(), b"b".to_vec()]));
        assert_eq!(split_words(br#""\a\b\t\r\xff""#), Some(vec![vec![7, 8, 9, 13, 255]]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#"""#, "'", r#"a "b"#, r#""a"b"#, "'a'b", r#""a\""#, r#""a\"#, r#""""""#] {
            assert_eq!(words(line), None, "{line}");
        }
    }

    #[test]
    fn quoting_round_trips() {
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(split_words(&quote(&every)), Some(vec![every]));
        for word in ["", "a", "a b", "'", "\\", "#", "\u{e9}"] {
            let quoted = quote_if_needed(word.as_bytes());
            assert_eq!(split_words(&quoted), Some(vec![word.as_bytes().to_vec()]), "{word}");
        }
    }

    #[test]
    fn memory_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1b", 1),
            ("1k", 1000),
            ("1Kb", 1024),
            ("2M", 2_000_000),
            ("2mB", 2 << 20),
            ("3g", 3_000_000_000),
            ("3GB", 3 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_memory(text.as_bytes()), Some(bytes), "{text}");
            assert_eq!(parse_memory(format_memory(bytes).as_bytes()), Some(bytes), "{text}");
        }
        for text in
            ["", "b", "-1", "1.5g", "1tb", "1 k", "18446744073709551616", "17179869184gb", "+1"]
        {
            assert_eq!(parse_memory(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn integers_have_one_form() {
        for (text, number) in [
            ("0", 0),
            ("-1", -1),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), Some(number), "{text}");
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "-01",
            "+1",
            " 1",
            "1 ",
            "1e3",
            "9223372036854775808",
            "\u{661}",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }

    fn command_line(arguments: &[&str]) -> CommandLine {
        CommandLine::parse(&arguments.iter().map(|arg| arg.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    fn options(arguments: &[&str]) -> String {
        String::from_utf8(command_line(arguments).options).expect("the cases are ASCII")
    }

    #[test]
    fn options_become_lines() {
        assert_eq!(
            options(&["--port", "6380", "--loglevel", "debug"]),
            "port \"6380\" \nloglevel \"debug\" "
        );
        assert_eq!(options(&["--port 6380", "--timeout", "1"]), "port 6380 \ntimeout \"1\" ");
        assert_eq!(options(&["--save", "--port", "1"]), "save \"\"\nport \"1\" ");
        assert_eq!(options(&["--SAVE"]), "SAVE \"\"");
        assert_eq!(options(&["--save", ""]), "save \"\" ");
        assert_eq!(
            options(&["--save", "10", "1", "--save", "20 2"]),
            "save \"10\" \"1\" \nsave \"20 2\" "
        );
        assert_eq!(
            options(&["--dbfilename", "--x", "--port", "1"]),
            "dbfilename \"--x\" \nport \"1\" "
        );
        assert_eq!(options(&["--sentinel", "--port", "1"]), "sentinel \nport \"1\" ");
        assert_eq!(options(&["--timeout"]), "timeout ");
    }

    #[test]
    fn the_file_comes_first_and_a_dash_is_standard_input() {
        let line = command_line(&["/etc/redis.conf", "--port", "1", "-"]);
        assert_eq!(line.config_file.as_deref(), Some(&b"/etc/redis.conf"[..]));
        assert!(line.from_stdin);
        assert_eq!(line.options, b"port \"1\" ");
        assert!(command_line(&["-", "--port", "1"]).from_stdin);
        assert_eq!(command_line(&["", "--port", "1"]).config_file, None);
        let middle = command_line(&["x.conf", "--dbfilename", "-", "--port", "1"]);
        assert!(!middle.from_stdin);
        assert_eq!(middle.options, b"dbfilename \"-\" \nport \"1\" ");
    }
}
