//! Streams as commands, in the base of an append-only file.
//!
//! ```text
//!   XADD key id name value …                                            for each entry
//!   XADD key MAXLEN 0 0-1 x y                                           a stream without entries
//!   XSETID key id ENTRIESADDED count MAXDELETEDID id
//!   XGROUP CREATE key group id ENTRIESREAD count                        for each group
//!   XGROUP CREATECONSUMER key group consumer                            for each consumer without pending entries
//!   XCLAIM key group consumer 0 id TIME ms RETRYCOUNT count JUSTID FORCE      for each pending entry
//! ```
//!
//! A pending entry whose entry is deleted stays pending here; Redis drops it when it loads such a file. The times of consumers
//! are lost.

use super::commands::{CommandSink, Earlier};
use super::stream::StreamId;
use super::stream_node::StreamNode;
use super::stream_parts::{self as parts, StoredPending, UNKNOWN, read_all};
use crate::rdb::elements::Element;
use crate::rdb::fields::Fields;

/// Writes what becomes of a part. See [`super::commands::Commands::parts`].
pub fn write(earlier: &mut Earlier, key: &[u8], part: &Element<'_>, sink: CommandSink<'_>) {
    let content = part.value;
    let mut fields = Fields::new(content, u64::MAX);
    match *part.name {
        [parts::ID] => earlier.first = content.to_vec(),
        [parts::NODE] => {
            let id = earlier.first.as_slice().try_into().map(StreamId::from_bytes);
            let node = id.ok().and_then(|id| StreamNode::check(id, content).ok().flatten());
            node.into_iter().for_each(|node| write_node(key, &node, sink));
        }
        [parts::STATE] => {
            let Ok(state) = read_all::<{ parts::STATE_LEN }>(&mut fields) else { return };
            let [len, ms, seq, _, _, deleted_ms, deleted_seq, added, _] = state;
            if len == 0 {
                sink(&[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
            }
            let last = StreamId { ms, seq }.to_string();
            let (last, added) = (last.as_bytes(), added.to_string());
            let deleted = StreamId { ms: deleted_ms, seq: deleted_seq }.to_string();
            let (added, deleted) = (added.as_bytes(), deleted.as_bytes());
            sink(&[b"XSETID", key, last, b"ENTRIESADDED", added, b"MAXDELETEDID", deleted]);
        }
        [parts::GROUP] => earlier.first = content.to_vec(),
        [parts::GROUP_STATE] => {
            let Ok([ms, seq, read, _]) = read_all(&mut fields) else { return };
            let (id, group) = (StreamId { ms, seq }.to_string(), earlier.first.as_slice());
            let read = if read == UNKNOWN { "-1".to_owned() } else { read.to_string() };
            let (id, read) = (id.as_bytes(), read.as_bytes());
            sink(&[b"XGROUP", b"CREATE", key, group, id, b"ENTRIESREAD", read]);
        }
        [parts::CONSUMER] => earlier.second = content.to_vec(),
        [parts::CONSUMER_STATE] => {
            let pending = fields.take(16).and_then(|_| fields.length());
            if matches!(pending, Ok(0)) {
                let (group, consumer) = (earlier.first.as_slice(), earlier.second.as_slice());
                sink(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
            }
        }
        [parts::OWNED] => {
            while let Ok(pending) = StoredPending::read(&mut fields) {
                write_pending(earlier, key, &pending, sink);
            }
        }
        _ => {}
    }
}

fn write_node(key: &[u8], node: &StreamNode, sink: CommandSink<'_>) {
    for entry in node.entries().filter(|entry| !entry.is_deleted) {
        let id = entry.id.to_string();
        let fields: Vec<_> =
            entry.fields().flat_map(|(name, value)| [name.to_text(), value.to_text()]).collect();
        let mut args: Vec<&[u8]> = vec![b"XADD", key, id.as_bytes()];
        args.extend(fields.iter().map(|text| &**text));
        sink(&args);
    }
}

fn write_pending(earlier: &Earlier, key: &[u8], pending: &StoredPending, sink: CommandSink<'_>) {
    let (group, consumer) = (earlier.first.as_slice(), earlier.second.as_slice());
    let (id, ms) = (pending.id.to_string(), pending.delivered_ms.to_string());
    let count = pending.deliveries.to_string();
    let (id, ms, count) = (id.as_bytes(), ms.as_bytes(), count.as_bytes());
    sink(&[
        b"XCLAIM",
        key,
        group,
        consumer,
        b"0",
        id,
        b"TIME",
        ms,
        b"RETRYCOUNT",
        count,
        b"JUSTID",
        b"FORCE",
    ]);
}
