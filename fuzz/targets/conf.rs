//! The configuration parser: any text is loaded or rejected, and CONFIG REWRITE of a loaded text
//! gives an equivalent one, which another rewrite does not change.
#![no_main]

use russet_engine::config::{Config, FatalError, Loaded, Place, Source, Unreadable};

fn load(text: &[u8]) -> Result<Loaded, FatalError> {
    let source = Source { place: Place::Text, text: text.to_vec() };
    // Patterns match no file, and plain paths are not readable.
    Config::parse(&[source], &mut |_, word| match word.contains(&b'*') {
        true => Ok(vec![]),
        false => Err(Unreadable { path: word.to_vec(), reason: String::new() }),
    })
}

fn rewrite(config: &Config, text: &[u8]) -> Vec<u8> {
    config.rewrite(text, &mut |_, _| vec![])
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    match load(text) {
        Ok(Loaded { config, .. }) => {
            let rewritten = rewrite(&config, text);
            let again = load(&rewritten).unwrap_or_else(|error| panic!("{error}")).config;
            assert_eq!(again, config);
            assert_eq!(rewrite(&config, &rewritten), rewritten);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            // A file may have been damaged after it was loaded.
            let _ = rewrite(&Config::default(), text);
        }
    }
});
