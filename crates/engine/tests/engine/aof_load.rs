//! Append-only files that cannot be loaded: which file, and where.

use russet_driver::Driver;

const MANIFEST: &[u8] = b"file appendonly.aof.1.base.rdb seq 1 type b\n\
    file appendonly.aof.1.incr.aof seq 1 type i\n";

#[test]
fn the_message_about_a_base_without_an_end_says_where_it_ends() {
    let mut base = russet_driver::peers::dump(&["k"]);
    base.truncate(base.len() - 9);
    let len = base.len();
    let files = [
        ("appendonlydir/appendonly.aof.manifest".to_owned(), MANIFEST.to_vec()),
        ("appendonlydir/appendonly.aof.1.base.rdb".to_owned(), base),
        ("appendonlydir/appendonly.aof.1.incr.aof".to_owned(), Vec::new()),
    ];
    let driver = Driver::with_files("appendonly yes", files.into_iter().collect());
    assert_eq!(driver.exit, Some(1));
    let named = |line: &&String| line.starts_with("appendonly.aof.1.base.rdb: ");
    let line = driver.log.iter().find(named).expect("the file is named");
    assert!(line.contains(&format!("offset {len}")), "{line}");
}
