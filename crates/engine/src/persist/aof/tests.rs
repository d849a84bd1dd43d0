//! Tests of writer and reader together: cuts, damage, files of stock servers.

use super::batch::tests::{ALL, put, put_all};
use super::batch::{BatchLine, BatchWriter, FileEnd, WriterSettings};
use super::error::AofErrorKind;
use super::manifest::Manifest;
use super::read::{AofReader, Step, Verdict, starts_with_rdb};

/// A command as words, or a timestamp.
type Line = String;

/// What a reader makes of a file.
#[derive(Debug)]
struct Reading {
    lines: Vec<(u64, Line)>,
    verdict: Verdict,
    boundary: u64,
    end: FileEnd,
}

fn read_pieces(file: &[u8], from: usize, piece: usize) -> Reading {
    let mut reader = AofReader::new(from as u64, file.len() as u64);
    let mut lines = Vec::new();
    for mut input in file[from..].chunks(piece) {
        loop {
            match reader.next(&mut input) {
                Step::NeedMore => break,
                Step::Timestamp { offset, seconds, .. } => {
                    lines.push((offset, format!("@{seconds}")))
                }
                Step::Command { offset, bytes, args } => {
                    let at = offset as usize;
                    assert_eq!(&file[at..at + bytes.len()], bytes);
                    let words = args.iter().map(|arg| bytes[arg.start..arg.end].escape_ascii());
                    let words: Vec<String> = words.map(|word| word.to_string()).collect();
                    lines.push((offset, words.join(" ")));
                }
            }
        }
        assert!(input.is_empty());
    }
    let (boundary, end) = (reader.boundary(), reader.file_end());
    Reading { lines, verdict: reader.end(), boundary, end }
}

/// Reads a file whole and in pieces of some sizes, with one result.
fn read(file: &[u8]) -> Reading {
    let whole = read_pieces(file, 0, file.len().max(1));
    for piece in [1, 7, 64] {
        let other = read_pieces(file, 0, piece);
        let expected = (&whole.lines, &whole.verdict, whole.boundary);
        assert_eq!((&other.lines, &other.verdict, other.boundary), expected, "pieces of {piece}");
    }
    whole
}

fn words(reading: &Reading) -> Vec<&str> {
    reading.lines.iter().map(|(_, line)| line.as_str()).collect()
}

fn corrupt(file: &[u8]) -> AofErrorKind {
    match read(file).verdict {
        Verdict::Corrupt(error) => error.kind,
        other => panic!("{other:?}"),
    }
}

/// Returns a file of four batches with transactions, timestamps and two databases, and where the batches end. Each
/// batch knows that those before the last were synced.
fn ours() -> (Vec<u8>, Vec<usize>) {
    let (mut file, mut ends) = (Vec::new(), Vec::new());
    let mut writer = BatchWriter::new(ALL, FileEnd::empty());
    for round in 0..4 {
        let value = format!("value {round}");
        put(&mut writer, 0, &["set", "a", &value], 100 + round / 2);
        let long = "long ".repeat(20);
        put_all(&mut writer, &[(0, &["set", "b", &value]), (5, &["set", "c", &long])], 100);
        file.extend(writer.take());
        writer.set_synced(ends.last().copied().unwrap_or(0) as u64);
        ends.push(file.len());
    }
    (file, ends)
}

/// Returns the commands that are complete up to an offset.
fn up_to(reading: &Reading, offset: u64) -> Vec<&str> {
    let before = reading.lines.iter().filter(|(at, _)| *at < offset);
    before.map(|(_, line)| line.as_str()).collect()
}

#[test]
fn what_was_written_is_read() {
    let (file, ends) = ours();
    let reading = read(&file);
    assert_eq!(reading.verdict, Verdict::Complete);
    assert_eq!(reading.boundary, ends[3] as u64);
    let expected = ["@100", "SELECT 0", "set a value 0", "MULTI", "set b value 0", "SELECT 5"];
    assert_eq!(words(&reading)[..6], expected);
    assert_eq!(reading.lines.iter().filter(|(_, line)| line == "EXEC").count(), 4);
    assert_eq!(read(b"").verdict, Verdict::Complete);
}

#[test]
fn a_writer_continues_where_a_reader_ended() {
    let (mut file, _) = ours();
    for settings in [ALL, WriterSettings { checksums: false, timestamps: false }, ALL] {
        let mut writer = BatchWriter::new(settings, read(&file).end);
        put(&mut writer, 5, &["set", "again", "1"], 100);
        put(&mut writer, 5, &["set", "again", "2"], 101);
        file.extend(writer.take());
    }
    let reading = read(&file);
    assert_eq!(reading.verdict, Verdict::Complete);
    assert_eq!(reading.lines.iter().filter(|(_, line)| line == "set again 2").count(), 3);
    // The last batch covers what has no batch of its own.
    let plain = file.windows(7).rposition(|bytes| bytes == b"again\r\n").unwrap();
    let plain = file[..plain].windows(7).rposition(|bytes| bytes == b"again\r\n").unwrap();
    let plain = file[..plain].windows(7).rposition(|bytes| bytes == b"again\r\n").unwrap();
    file[plain] ^= 2;
    assert!(read(&file).verdict != Verdict::Complete);
}

#[test]
fn a_file_cut_anywhere_ends_at_the_last_whole_batch() {
    let (file, ends) = ours();
    let whole = read(&file);
    for cut in 0..file.len() {
        let reading = read(&file[..cut]);
        let kept = ends.iter().rev().find(|&&end| end <= cut).copied().unwrap_or(0);
        let boundary = reading.boundary as usize;
        assert!(boundary >= kept && boundary <= cut, "cut at {cut}");
        assert!(!ends.iter().any(|end| (kept + 1..=boundary).contains(end)));
        let commands = |lines: Vec<&str>| -> Vec<String> {
            let commands = lines.into_iter().filter(|line| !line.starts_with('@'));
            commands.map(str::to_owned).collect()
        };
        let expected = commands(up_to(&whole, reading.boundary));
        assert_eq!(commands(words(&reading)), expected, "cut at {cut}");
        match reading.verdict {
            Verdict::Complete => assert_eq!(boundary, cut),
            Verdict::Truncated(error) => assert!(error.offset <= cut as u64 && boundary < cut),
            Verdict::Corrupt(error) => panic!("cut at {cut}: {error}"),
        }
        // The writer goes on behind the cut.
        let mut again = file[..boundary].to_vec();
        let mut writer = BatchWriter::new(ALL, reading.end);
        put(&mut writer, 0, &["set", "more", "1"], 200);
        again.extend(writer.take());
        assert_eq!(read(&again).verdict, Verdict::Complete, "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_is_found_and_no_wrong_command_returned() {
    let (file, ends) = ours();
    let whole = read(&file);
    for at in 0..file.len() {
        let batch = ends.iter().position(|&end| at < end).unwrap();
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            let reading = read_pieces(&damaged, 0, if bit % 2 == 0 { file.len() } else { 13 });
            let place = format!("bit {bit} of byte {at}: {:?}", reading.verdict);
            let commands = |lines: &[(u64, Line)]| -> Vec<(u64, Line)> {
                lines.iter().filter(|(_, line)| !line.starts_with('@')).cloned().collect()
            };
            let good = commands(&whole.lines);
            assert!(good.starts_with(&commands(&reading.lines)), "{place}");
            assert!(reading.boundary as usize <= ends[batch], "{place}");
            match reading.verdict {
                Verdict::Complete => panic!("{place}"),
                // The writer knew the first two to be on disk.
                Verdict::Truncated(_) => assert!(batch >= 2, "{place}"),
                Verdict::Corrupt(_) => {}
            }
        }
    }
}

#[test]
fn random_damage_is_found() {
    let (file, _) = ours();
    let whole = read(&file);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..20_000 {
        let mut damaged = file.clone();
        for _ in 0..=random(4) {
            let at = random(file.len());
            damaged[at] ^= 1 << random(8);
        }
        if damaged == file {
            continue;
        }
        let reading = read_pieces(&damaged, 0, 1 + random(file.len()));
        assert_ne!(reading.verdict, Verdict::Complete, "round {round}");
        let good = |(at, line): &(u64, Line)| {
            line.starts_with('@') || whole.lines.contains(&(*at, line.clone()))
        };
        assert!(reading.lines.iter().all(good), "round {round}");
    }
}

#[test]
fn batches_that_are_removed_repeated_or_swapped_are_found() {
    let (file, ends) = ours();
    let batch = |index: usize| {
        let start = if index == 0 { 0 } else { ends[index - 1] };
        &file[start..ends[index]]
    };
    for order in [&[0, 2, 3][..], &[1, 2], &[0, 0, 1], &[0, 1, 1, 2], &[0, 2, 1, 3], &[3], &[0, 3]]
    {
        let file: Vec<u8> = order.iter().flat_map(|&index| batch(index)).copied().collect();
        assert!(matches!(corrupt(&file), AofErrorKind::Misplaced { .. }), "{order:?}");
    }
    // Of the same length: the line is at its place, the chain is not.
    let other = |value: &str| {
        let settings = WriterSettings { checksums: true, timestamps: false };
        let mut writer = BatchWriter::new(settings, FileEnd::empty());
        put(&mut writer, 0, &["set", "a", value], 0);
        let first = writer.take();
        put(&mut writer, 0, &["set", "a", "3"], 0);
        (first, writer.take())
    };
    let mixed = [other("1").0, other("2").1].concat();
    let Verdict::Truncated(error) = read(&mixed).verdict else { panic!("a wrong chain") };
    assert!(matches!(error.kind, AofErrorKind::WrongChecksum { .. }));
}

#[test]
fn bytes_lost_with_the_power_are_cut_off_unless_they_were_synced() {
    let (file, ends) = ours();
    let zeroed = |from: usize, to: usize| {
        let mut file = file.clone();
        file[from..to].fill(0);
        read(&file)
    };
    // The third batch was not known to be on disk when the fourth was written; the second was.
    for from in [ends[1], ends[1] + 3, ends[1] + 90, ends[2] - 40] {
        let reading = zeroed(from, from + 30);
        assert!(matches!(reading.verdict, Verdict::Truncated(_)), "{from}: {:?}", reading.verdict);
        assert!(
            (ends[1]..ends[2]).contains(&(reading.boundary as usize)),
            "{from}: {reading:?} {ends:?}"
        );
    }
    for from in [ends[0], ends[0] + 90, ends[1] - 40, 0] {
        let reading = zeroed(from, from + 30);
        assert!(matches!(reading.verdict, Verdict::Corrupt(_)), "{from}: {:?}", reading.verdict);
    }
    // A file system that made room and did not fill it, also in a file without batches.
    let plain = b"*2\r\n$3\r\ndel\r\n$1\r\na\r\n";
    for (start, kept) in [(&file[..], file.len()), (plain, plain.len()), (&plain[..9], 0), (b"", 0)]
    {
        let reading = read(&[start, &[0; 5000]].concat());
        assert!(matches!(reading.verdict, Verdict::Truncated(_)), "{:?}", reading.verdict);
        assert_eq!(reading.boundary as usize, kept);
    }
}

#[test]
fn a_timestamp_on_disk_says_nothing_of_the_batch_behind_it() {
    let mut writer = BatchWriter::new(ALL, FileEnd::empty());
    put(&mut writer, 0, &["set", "a", "1"], 100);
    let mut file = writer.take();
    let first = file.len();
    // An earlier process wrote the timestamp and the beginning of a batch; its successor cut the file behind the first.
    file.extend_from_slice(b"#TS:101\r\n");
    let timestamp = file.len();
    file.extend_from_slice(b"#RS:1");
    let Verdict::Truncated(_) = read(&file).verdict else { panic!("a batch line is incomplete") };
    let mut writer = BatchWriter::new(ALL, read(&file).end);
    file.truncate(timestamp);
    writer.set_synced(timestamp as u64);
    put(&mut writer, 0, &["set", "a", "2"], 101);
    file.extend(writer.take());
    let second = file.len();
    put(&mut writer, 0, &["set", "a", "3"], 101);
    file.extend(writer.take());
    assert_eq!(read(&file).verdict, Verdict::Complete);
    let zeroed = |from: usize, to: usize| {
        let mut file = file.clone();
        file[from..to].fill(0);
        read(&file)
    };
    let lost = zeroed(timestamp, second);
    assert!(matches!(lost.verdict, Verdict::Truncated(_)), "{:?}", lost.verdict);
    assert_eq!(lost.boundary as usize, first);
    let rotten = zeroed(first, timestamp);
    assert!(matches!(rotten.verdict, Verdict::Corrupt(_)), "{:?}", rotten.verdict);
}

#[test]
fn a_mark_protects_the_last_batch() {
    let mut writer = BatchWriter::new(ALL, FileEnd::empty());
    put(&mut writer, 0, &["set", "a", "1"], 0);
    let mut file = writer.take();
    let damaged = |file: &[u8]| {
        let mut file = file.to_vec();
        file[80] ^= 1;
        read(&file).verdict
    };
    assert!(matches!(damaged(&file), Verdict::Truncated(_)));
    writer.set_synced(file.len() as u64);
    writer.mark();
    file.extend(writer.take());
    assert_eq!(read(&file).verdict, Verdict::Complete);
    assert!(matches!(damaged(&file), Verdict::Corrupt(_)));
}

#[test]
fn commands_of_another_server_behind_a_cut_batch_are_not_thrown_away() {
    let mut writer = BatchWriter::new(ALL, FileEnd::empty());
    for value in ["1", "2", "3"] {
        put(&mut writer, 0, &["set", "a", value], 0);
    }
    let batch = writer.take();
    // A stock server cuts behind the last whole command and begins with its own SELECT.
    let cut = batch.windows(3).rposition(|bytes| bytes == b"*3\r").unwrap();
    let stock = WriterSettings { checksums: false, timestamps: false };
    for commands in [1, 2, 20] {
        let mut writer = BatchWriter::new(stock, FileEnd::empty());
        (0..commands).for_each(|_| put(&mut writer, 0, &["set", "b", "1"], 0));
        let file = [&batch[..cut], &writer.take()].concat();
        assert_eq!(corrupt(&file), AofErrorKind::ForeignCommands, "{commands} commands");
    }
}

#[test]
fn files_of_stock_servers_follow_their_rules() {
    let command = "*2\r\n$3\r\ndel\r\n$1\r\na\r\n";
    let multi = "*1\r\n$5\r\nMULTI\r\n";
    let exec = "*1\r\n$4\r\nEXEC\r\n";
    let truncated = |text: String| {
        let reading = read(text.as_bytes());
        match reading.verdict {
            Verdict::Truncated(error) => (error.kind, reading.boundary as usize),
            other => panic!("{other:?}"),
        }
    };
    let len = command.len();
    let ends = AofErrorKind::EndsInTransaction;
    assert_eq!(truncated(format!("{command}{multi}{command}")), (ends, len));
    assert_eq!(truncated(format!("{command}{}", &command[..9])), (AofErrorKind::Beyond, len));
    assert_eq!(truncated(format!("{command}*")), (AofErrorKind::Beyond, len));
    assert_eq!(truncated(format!("{command}#TS:12")), (AofErrorKind::Ends, len));
    let claim = "*2\r\n$3\r\ndel\r\n$999\r\na\r\n";
    let rest = &command[..command.len() - 1];
    assert_eq!(truncated(format!("{command}{claim}{rest}")), (AofErrorKind::Beyond, len));
    for (text, kind) in [
        (format!("{command}!!!"), AofErrorKind::UnknownByte(b'!')),
        // The file ends with a whole command: the claim is damaged.
        (format!("{command}{claim}{command}"), AofErrorKind::Beyond),
        (format!("{multi}{multi}"), AofErrorKind::UnexpectedMulti),
        (format!("{command}{exec}"), AofErrorKind::UnexpectedExec),
        (format!("{command}#TS:1x\r\n"), AofErrorKind::DamagedAnnotation),
        (format!("{command}#{}\r\n", "x".repeat(2000)), AofErrorKind::AnnotationTooLong),
    ] {
        assert_eq!(corrupt(text.as_bytes()), kind, "{text}");
    }
    let reading = read(format!("# by hand\n{command}#TS:5\r\n{command}").as_bytes());
    assert_eq!(reading.verdict, Verdict::Complete);
    assert_eq!(words(&reading), ["del a", "@5", "del a"]);
}

#[test]
fn a_claim_takes_no_memory() {
    let mut writer = BatchWriter::new(ALL, FileEnd::empty());
    put(&mut writer, 0, &["set", "a", &"x".repeat(1000)], 0);
    let bytes = writer.take();
    let mut reader = AofReader::new(0, 1 << 40);
    let mut input = &bytes[..bytes.len() - 500];
    while reader.next(&mut input) != Step::NeedMore {}
    assert!(reader.buffered_bytes() < 4096, "{}", reader.buffered_bytes());
    let mut reader = AofReader::new(0, 1 << 40);
    let mut input = &b"*99999999\r\n$99999999999\r\nabc"[..];
    assert_eq!(reader.next(&mut input), Step::NeedMore);
    assert!(reader.buffered_bytes() < 4096 && !reader.has_failed());
}

#[test]
fn the_lines_of_a_batch_are_where_they_claim_to_be() {
    let (file, _) = ours();
    let mut at = 0;
    let mut found = 0;
    for line in file.split_inclusive(|&byte| byte == b'\n') {
        if let Some(parsed) = BatchLine::parse(line) {
            assert_eq!(parsed.offset, at as u64);
            found += 1;
        }
        at += line.len();
    }
    assert_eq!(found, 4);
}

const MANIFEST: &[u8] = include_bytes!("fixtures/stock70/appendonly.aof.manifest");
const INCREMENTAL: &[u8] = include_bytes!("fixtures/stock70/appendonly.aof.2.incr.aof");
const OLD: &[u8] = include_bytes!("fixtures/stock70/old.aof");
const PREAMBLE: &[u8] = include_bytes!("fixtures/stock70/preamble.aof");
const BASE: &[u8] = include_bytes!("fixtures/stock70/appendonly.aof.2.base.rdb");

#[test]
fn the_files_of_redis_server_70_are_read() {
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let names: Vec<&str> = manifest.files().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof"]);
    let incremental = [
        "SELECT 0",
        "set a 10",
        "MULTI",
        "set b 20",
        "set c 30",
        "EXEC",
        "SELECT 3",
        "set d x\\r\\ny",
        "del d",
        "set d 40",
    ];
    let commands = |reading: &Reading| -> Vec<String> {
        let commands = reading.lines.iter().filter(|(_, line)| !line.starts_with('@'));
        commands.map(|(_, line)| line.clone()).collect()
    };
    let reading = read(INCREMENTAL);
    assert_eq!(
        (commands(&reading), reading.verdict),
        (incremental.map(str::to_owned).to_vec(), Verdict::Complete)
    );
    assert_eq!(reading.lines.len(), incremental.len() + 2, "two timestamps");
    let reading = read(OLD);
    assert_eq!(reading.verdict, Verdict::Complete);
    assert!(commands(&reading).contains(&"set z 1".to_owned()) && !starts_with_rdb(OLD));
    assert!(starts_with_rdb(PREAMBLE));
    let reading = read_pieces(PREAMBLE, BASE.len(), 5);
    assert_eq!(
        (commands(&reading), reading.verdict),
        (incremental.map(str::to_owned).to_vec(), Verdict::Complete)
    );
    assert_eq!(reading.boundary, PREAMBLE.len() as u64);
}

/// Redis 7.0 and 7.2 load this file, and their tools call it valid.
#[test]
fn the_format_stays_as_it_is() {
    let (file, _) = ours();
    assert!(
        file == include_bytes!("fixtures/russet.aof"),
        "the format of written files has changed"
    );
}

/// Only a writer with a defect makes such a batch.
#[test]
fn a_batch_with_the_right_checksum_must_consist_of_whole_commands() {
    let multi = "*1\r\n$5\r\nMULTI\r\n";
    for content in ["*1\r\n$8\r\nab\r\n", "*1\r\n", "x", "\0\0\0", multi, "*1\r\n$4\r\nEXEC\r\n"] {
        let mut writer = BatchWriter::new(ALL, FileEnd::empty());
        writer.effects(false, std::iter::once((0, content.as_bytes())), 0);
        let first = writer.take();
        put(&mut writer, 0, &["set", "a", "1"], 1);
        let file = [first.as_slice(), &writer.take()].concat();
        corrupt(&file);
        assert_eq!(words(&read(&file))[..2], ["@0", "SELECT 0"], "{content:?}");
        // Zeros behind it are no sign of a lost write, and it is not kept in part.
        let reading = read(&[first.as_slice(), &[0; 50]].concat());
        assert!(matches!(reading.verdict, Verdict::Corrupt(_)), "{reading:?}");
        assert_eq!(reading.boundary, 7, "behind the timestamp");
    }
}
