//! `nodes.conf`: any bytes are a file or refused with a line, and what is written of a file is the same file.
#![no_main]

use russet_cluster::nodes_file::NodesFile;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let file = match NodesFile::parse(text) {
        Ok(Some(file)) => file,
        Ok(None) => return assert!(text.is_empty()),
        Err(error) => return assert!(error.line > 0 && !error.to_string().is_empty()),
    };
    let mut written = Vec::new();
    file.write(&mut written);
    let again = NodesFile::parse(&written);
    let again = again.unwrap_or_else(|error| panic!("what was written is refused: {error}"));
    assert_eq!(again, Some(file));
    // The end of the file is its proof of completeness.
    assert!(NodesFile::parse(&written[..written.len() - 1]).is_err());
});
