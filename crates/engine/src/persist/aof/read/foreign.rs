//! Has another server gone on within a batch? It cuts an incomplete command off, does not know of batches, and appends.

use crate::persist::aof::command::{CommandParser, Found};

/// Whether a batch that is not what it was has been cut and continued by another server: then it contains an annotation,
/// selects the selected database again, or, although `is_whole`, ends within a command. A server begins with a SELECT.
pub(super) fn is_continued(batch: &[u8], selected: &[u8], is_whole: bool) -> bool {
    let mut parser = CommandParser::default();
    let mut selected = selected.to_vec();
    // A writer's first SELECT, perhaps behind MULTI, may repeat what another one selected.
    let (mut at, mut may_select) = (0, true);
    while at < batch.len() {
        if batch[at] == b'#' {
            return true;
        }
        parser.reset();
        match parser.parse(&batch[at..], u64::MAX) {
            Found::Command(len) => {
                let text = |index: usize| match parser.args().get(index) {
                    Some(range) => &batch[at + range.start..at + range.end],
                    None => &[],
                };
                if text(0).eq_ignore_ascii_case(b"SELECT") {
                    if !may_select && text(1) == selected {
                        return true;
                    }
                    selected = text(1).to_vec();
                }
                may_select = at == 0 && text(0).eq_ignore_ascii_case(b"MULTI");
                at += len;
            }
            Found::Need(_) | Found::Beyond => return is_whole,
            Found::Bad(..) => return false,
        }
    }
    false
}
