//! The configuration parser: any text is loaded or rejected, and CONFIG REWRITE of a loaded text
//! gives an equivalent one, which another rewrite does not change.
#![no_main]

use russet_engine::config::{Config, FatalError, Loaded};

fn load(text: &[u8]) -> Result<Loaded, FatalError> {
    // Patterns match no file, and plain paths are not readable.
    Config::parse(text, &mut |_, word| match word.contains(&b'*') {
        true => Ok(vec![]),
        false => Err(FatalError::Unreadable { path: word.to_vec(), reason: String::new() }),
    })
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    match load(text) {
        Ok(Loaded { config, .. }) => {
            let rewritten = config.rewrite(text);
            let again = load(&rewritten).unwrap_or_else(|error| panic!("{error}")).config;
            assert_eq!(again, config);
            assert_eq!(config.rewrite(&rewritten), rewritten);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            // A file may have been damaged after it was loaded.
            let _ = Config::default().rewrite(text);
        }
    }
});
