//! The statements of a Sentinel's configuration: any text is loaded or refused, and the state that a Sentinel with it saves
//! gives the same state again.
#![no_main]

use russet_engine::config::{Config, Place, Source};
use russet_engine::mode::Mode;
use russet_sentinel::{Boot, Now, Sentinel, Settings};

/// Returns what the lines of a file say, without the word `sentinel`.
fn load<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Settings, String> {
    let mut text = Vec::new();
    for line in lines {
        text.extend([b"sentinel ", line, b"\n"].concat());
    }
    let source = Source { place: Place::Text, text };
    let loaded = Config::parse_for(Mode::Sentinel, &[source], &mut |_, _| Ok(vec![]));
    let loaded = loaded.map_err(|error| error.to_string())?;
    Ok(loaded.sentinel.expect("the mode has them").settings)
}

fn state(settings: Settings) -> Vec<Vec<u8>> {
    let boot = Boot { new_id: "0123456789".repeat(4), ..Boot::default() };
    let mut sentinel = Sentinel::new(settings, boot, Now { mono_ms: 1000, wall_ms: 1000 });
    while let Some(output) = sentinel.poll_output() {
        std::hint::black_box(output);
    }
    sentinel.state_lines()
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let lines = text.split(|byte| *byte == b'\n');
    let settings = match load(lines) {
        Ok(settings) => settings,
        Err(error) => return assert!(!error.is_empty()),
    };
    let saved = state(settings);
    let again = load(saved.iter().map(Vec::as_slice));
    let again = again.unwrap_or_else(|error| panic!("what was saved is refused: {error}"));
    assert_eq!(state(again), saved);
});
