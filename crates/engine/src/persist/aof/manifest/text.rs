//! The text of a manifest: its lines, names and checksum.

use std::borrow::Cow;

use super::error::{ManifestError, ManifestErrorKind};
use super::{AofFile, Manifest};
use crate::config::grammar;
use crate::persist::aof::checksum::{checksum_of, ends_with_digits, parse_checksum};

/// Maximum length of a line with its newline, in bytes, as in Redis.
pub(super) const LINE_BYTES_MAX: usize = 1024;
/// Maximum length of a quoted name in bytes, so that the line of each file can be written again.
const NAME_BYTES_MAX: usize = LINE_BYTES_MAX - "file  seq 18446744073709551615 type i\n".len();
/// Begins the line with the checksum.
const CHECKSUM_PREFIX: &[u8] = b"#RM:";
/// Higher sequence numbers are refused, so that the next ones never overflow.
const SEQUENCE_MAX: u64 = 1 << 62;

impl Manifest {
    /// Parses the text of a manifest.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        let is_verified = check(text)?;
        let mut manifest = Manifest::default();
        for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let added = manifest.add_line(line, index == 0);
            added.map_err(|kind| ManifestError::at(index + 1, line, kind))?;
        }
        if manifest.files().chain(&manifest.history).next().is_none() {
            return Err(ManifestError { line: None, kind: ManifestErrorKind::Empty });
        }
        if !is_verified && !manifest.is_history_replaced() {
            return Err(ManifestError { line: None, kind: ManifestErrorKind::HistoryInUse });
        }
        manifest.skip_names_of_history();
        Ok(manifest)
    }

    fn add_line(&mut self, line: &[u8], is_first: bool) -> Result<(), ManifestErrorKind> {
        if line.len() > LINE_BYTES_MAX {
            return Err(ManifestErrorKind::LineTooLong);
        }
        if line.starts_with(b"#") {
            let is_ours = line.starts_with(CHECKSUM_PREFIX) || ends_with_digits(line);
            return match is_ours && !is_first {
                true => Err(ManifestErrorKind::BadChecksumLine),
                false => Ok(()),
            };
        }
        if !line.ends_with(b"\n") {
            return Err(ManifestErrorKind::LineCut);
        }
        let (file, file_type) = parse_file(line)?;
        self.add(file, file_type)
    }

    /// Returns the text. `checksum`: with Russet's first line.
    pub fn format(&self, checksum: bool) -> Vec<u8> {
        let mut lines = Vec::new();
        self.base.iter().for_each(|file| push_file(file, 'b', &mut lines));
        self.history.iter().for_each(|file| push_file(file, 'h', &mut lines));
        self.incremental.iter().for_each(|file| push_file(file, 'i', &mut lines));
        if !checksum {
            return lines;
        }
        let mut text = CHECKSUM_PREFIX.to_vec();
        text.extend_from_slice(format!("{:016x}\n", checksum_of(&lines)).as_bytes());
        text.append(&mut lines);
        text
    }
}

/// Verifies the checksum of the first line, if it has one. Returns whether it has.
fn check(text: &[u8]) -> Result<bool, ManifestError> {
    let line = text.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
    let damaged = || ManifestError::at(1, line, ManifestErrorKind::BadChecksumLine);
    let Some(digits) = line.strip_prefix(CHECKSUM_PREFIX) else {
        let is_ours = line.starts_with(b"#") && ends_with_digits(line);
        return if is_ours { Err(damaged()) } else { Ok(false) };
    };
    let digits = digits.strip_suffix(b"\n").ok_or_else(damaged)?;
    let expected = parse_checksum(digits).ok_or_else(damaged)?;
    let computed = checksum_of(&text[line.len()..]);
    if expected == computed {
        return Ok(true);
    }
    Err(ManifestError { line: None, kind: ManifestErrorKind::WrongChecksum { expected, computed } })
}

/// Parses the line of a file. Returns the file and its type.
fn parse_file(line: &[u8]) -> Result<(AofFile, u8), ManifestErrorKind> {
    let invalid = ManifestErrorKind::InvalidFormat;
    if line.contains(&0) {
        return Err(invalid);
    }
    let words = grammar::split_words(grammar::trim(line)).unwrap_or_default();
    if words.len() < 6 || !words.len().is_multiple_of(2) {
        return Err(invalid);
    }
    let (mut name, mut sequence, mut file_type) = (None, None, None);
    for pair in words.chunks_exact(2) {
        let value = pair[1].as_slice();
        match pair[0].to_ascii_lowercase().as_slice() {
            b"file" => name = Some(parse_name(value)?),
            b"seq" => sequence = parse_sequence(value),
            b"type" => file_type = value.first().copied(),
            _ => {}
        }
    }
    match (name, sequence, file_type) {
        (Some(name), Some(sequence), Some(file_type)) => {
            Ok((AofFile { name, sequence }, file_type))
        }
        _ => Err(invalid),
    }
}

fn parse_name(value: &[u8]) -> Result<String, ManifestErrorKind> {
    if value.contains(&b'/') || value.contains(&b'\\') || matches!(value, b"." | b"..") {
        return Err(ManifestErrorKind::PathInName);
    }
    match std::str::from_utf8(value) {
        Ok(name) if !name.is_empty() && !name.contains('\0') => match is_too_long(value) {
            true => Err(ManifestErrorKind::LineTooLong),
            false => Ok(name.to_owned()),
        },
        _ => Err(ManifestErrorKind::InvalidFormat),
    }
}

fn is_too_long(name: &[u8]) -> bool {
    grammar::quote_if_needed(name).len() > NAME_BYTES_MAX
}

fn parse_sequence(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (1..=SEQUENCE_MAX).contains(&number).then_some(number)
}

fn push_file(file: &AofFile, file_type: char, out: &mut Vec<u8>) {
    let name: Cow<'_, [u8]> = grammar::quote_if_needed(file.name.as_bytes());
    out.extend_from_slice(b"file ");
    out.extend_from_slice(&name);
    out.extend_from_slice(format!(" seq {} type {file_type}\n", file.sequence).as_bytes());
}

#[cfg(test)]
mod tests {
    use ManifestErrorKind::*;

    use super::*;

    const STOCK: &[u8] = b"file appendonly.aof.2.base.rdb seq 2 type b\n\
        file appendonly.aof.1.base.rdb seq 1 type h\n\
        file appendonly.aof.1.incr.aof seq 1 type h\n\
        file appendonly.aof.4.incr.aof seq 4 type i\n\
        file appendonly.aof.5.incr.aof seq 5 type i\n";

    fn error(text: &[u8]) -> ManifestErrorKind {
        Manifest::parse(text).unwrap_err().kind
    }

    #[test]
    fn the_text_of_a_stock_server_is_kept() {
        let manifest = Manifest::parse(STOCK).unwrap();
        assert_eq!(manifest.format(false), STOCK);
        let names: Vec<_> = manifest.files().map(|file| file.name.as_str()).collect();
        let expected =
            ["appendonly.aof.2.base.rdb", "appendonly.aof.4.incr.aof", "appendonly.aof.5.incr.aof"];
        assert_eq!(names, expected);
        assert_eq!(manifest.history()[0].sequence, 1);
    }

    #[test]
    fn lines_are_read_as_by_stock_servers() {
        for (text, result) in [
            (&b""[..], Some(Empty)),
            (b"# nothing\n", Some(Empty)),
            (b"\n", Some(InvalidFormat)),
            (b"file a seq 1 type i\n\n", Some(InvalidFormat)),
            (b"file a seq 1\n", Some(InvalidFormat)),
            (b"filx a seq 1 type b\n", Some(InvalidFormat)),
            (b"file a seq 1 type i more\n", Some(InvalidFormat)),
            (b"file 'a seq 1 type i\n", Some(InvalidFormat)),
            (b"file a seq 0 type i\n", Some(InvalidFormat)),
            (b"file a seq -1 type b\n", Some(InvalidFormat)),
            (b"file a seq 99999999999999999999 type b\n", Some(InvalidFormat)),
            (b"file a seq 1 type \"\"\n", Some(InvalidFormat)),
            (b"file a\0 seq 1 type b\n", Some(InvalidFormat)),
            (b"file \"a\\x00\" seq 1 type b\n", Some(InvalidFormat)),
            (b"file \"\\xff\" seq 1 type b\n", Some(InvalidFormat)),
            (b"file a seq 1 type x\n", Some(UnknownType)),
            (b"file d/a seq 1 type b\n", Some(PathInName)),
            (b"file .. seq 1 type b\n", Some(PathInName)),
            (b"file a seq 1 type b\nfile b seq 2 type b\n", Some(DuplicateBase)),
            (b"file a seq 2 type i\nfile b seq 1 type i\n", Some(NotMonotonic)),
            (b"file a seq 2 type i\nfile b seq 2 type i\n", Some(NotMonotonic)),
            (b"file a seq 1 type i\nfile a seq 1 type h\n", Some(DuplicateName)),
            (b"file a seq 1 type b\nfile a.incr. seq 2 type h\n", Some(HistoryInUse)),
            (b"file a.incr.b seq 1 type h\nfile a seq 2 type i\n", Some(HistoryInUse)),
            (
                b"file b seq 2 type b\nfile a seq 1 type h\nfile a.incr. seq 1 type h\n",
                Some(HistoryInUse),
            ),
            (b"file b seq 2 type b\nfile a.incr. seq 1 type h\nfile a seq 1 type h\n", None),
            (b"file a seq 1 type i", Some(LineCut)),
            (b"file a seq 1 type i\n# the end", None),
            (b"# made by hand\nfile a seq 1 type i\n", None),
            (b" FILE a SEQ 1 TYPE incr \r\n", None),
            (b"file a seq 1 type i startoffset 3 endoffset 5\n", None),
            (b"type i seq 1 file 'a b'\n", None),
        ] {
            assert_eq!(Manifest::parse(text).err().map(|e| e.kind), result, "{text:?}");
        }
    }

    #[test]
    fn lines_have_a_maximum_length() {
        let line = |len: usize| {
            let mut line = b"file ".to_vec();
            line.resize(len - " seq 1 type i\n".len(), b'a');
            line.extend_from_slice(b" seq 1 type i\n");
            line
        };
        assert!(Manifest::parse(&line(1000)).is_ok());
        assert_eq!(error(&line(1025)), LineTooLong);
        // Its name would not fit any more if the sequence number had all its digits, or if it were quoted.
        assert_eq!(error(&line(1024)), LineTooLong);
        let quoted = [b"file \"".as_slice(), &[1; 300], b"\" seq 1 type i\n"].concat();
        assert_eq!(error(&quoted), LineTooLong);
        assert_eq!(error(&[b'#'; 1025]), LineTooLong);
    }

    #[test]
    fn errors_name_the_line() {
        let error = Manifest::parse(b"file a seq 1 type i\n\tfile b\n").unwrap_err();
        assert_eq!(error.to_string(), "Invalid AOF manifest file format, at line 2: 'file b'");
    }

    #[test]
    fn names_with_blanks_are_quoted() {
        let mut manifest = Manifest::default();
        let name = manifest.next_incremental(" file seq \n\n.aof ");
        let text = manifest.format(false);
        assert_eq!(text, b"file \" file seq \\n\\n.aof .1.incr.aof\" seq 1 type i\n");
        assert_eq!(Manifest::parse(&text).unwrap().incremental()[0].name, name);
    }

    #[test]
    fn a_manifest_with_a_checksum_is_whole_or_refused() {
        let manifest = Manifest::parse(STOCK).unwrap();
        let text = manifest.format(true);
        assert_eq!(Manifest::parse(&text).as_ref(), Ok(&manifest));
        for end in 0..text.len() {
            assert!(Manifest::parse(&text[..end]).is_err(), "cut at {end}");
        }
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone();
                damaged[at] ^= 1 << bit;
                assert!(Manifest::parse(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
        assert!(matches!(error(&[&text[..], b"# more\n"].concat()), WrongChecksum { .. }));
        assert_eq!(error(&[b"# first\n", &text[..]].concat()), BadChecksumLine);
    }
}
