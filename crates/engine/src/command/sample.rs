//! Shared by the commands that return elements at random.

use russet_protocol::ErrorReply;

/// Number of elements that stand for all.
const SAMPLES: u64 = 64;

/// Minimum overhead of a text in a reply in bytes.
const OVERHEAD_BYTES: u64 = 6;

/// Refuses to return so many elements, which may repeat, that the reply would be longer than a request may be: its length
/// depends on nothing but the count. `sample` returns the length of an element in bytes.
pub(super) fn check_reply(
    count: u64,
    bytes_max: u64,
    sample: &mut dyn FnMut() -> Option<usize>,
) -> Result<(), ErrorReply> {
    let sum: usize = (0..SAMPLES).filter_map(|_| sample()).sum();
    let mean_bytes = sum as u64 / SAMPLES + OVERHEAD_BYTES;
    match count.saturating_mul(mean_bytes) > bytes_max {
        true => Err(ErrorReply::err("value is out of range")),
        false => Ok(()),
    }
}
