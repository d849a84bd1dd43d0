//! The payload of a full synchronization, loaded while it arrives.
//!
//! It is an RDB file with an announced length, or with an end mark of forty bytes.
//!
//! ```text
//!   $<length>\r\n  RDB …                     $EOF:<mark>\r\n  RDB …  <mark>
//! ```
//!
//! It is loaded into a separate keyspace, which replaces the data only when the payload is
//! complete. This file does not depend on the link.

use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::persist::fill::{Fill, Filler, StreamPosition};
use crate::persist::progress::Progress;
use crate::persist::rdb_load::{Fed, RdbLoader};

/// A payload being loaded.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) id: String,
    pub(super) offset: i64,
    /// Announced size; none with an end mark.
    pub(super) len: Option<u64>,
    pub(super) mark: Option<Vec<u8>>,
    /// Bytes received.
    pub(super) received: u64,
    pub(super) loader: RdbLoader,
    pub(super) fresh: Box<Keyspace>,
    pub(super) position: StreamPosition,
    /// State of filling `fresh`.
    pub(super) fill: Fill,
    /// The progress, for INFO.
    pub(super) progress: Progress,
    pub(super) loaded: bool,
    /// The last bytes, while waiting for the end mark after the payload.
    pub(super) tail: Vec<u8>,
}

impl Payload {
    /// Loads bytes. Returns the number of those that belong to the payload, and whether it is
    /// complete.
    pub(super) fn take(&mut self, bytes: &[u8], config: &Config) -> Result<(usize, bool), String> {
        let mut used = 0;
        if !self.loaded {
            let left = self.len.map_or(u64::MAX, |len| len - self.received);
            let offered = &bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            let (position, fill) = (&mut self.position, &mut self.fill);
            let filler = Filler::new(&mut self.fresh, config, position, fill);
            used = match filler.feed(&mut self.loader, offered)? {
                Fed::NeedMore => offered.len(),
                Fed::Done { consumed } => {
                    self.loaded = true;
                    consumed
                }
            };
            self.received += used as u64;
        }
        if !self.loaded {
            let over = self.len.is_some_and(|len| self.received >= len);
            return if over {
                Err("it is shorter than its content".into())
            } else {
                Ok((used, false))
            };
        }
        if let Some(len) = self.len {
            // Extra bytes within the announced length are an error.
            return match len == self.received {
                true => Ok((used, true)),
                false => Err("it is longer than its content".into()),
            };
        }
        let Some(mark) = &self.mark else { return Ok((used, true)) };
        let wanted = mark.len() - self.tail.len();
        let more = wanted.min(bytes.len() - used);
        self.tail.extend_from_slice(&bytes[used..used + more]);
        used += more;
        self.received += more as u64;
        if !mark.starts_with(&self.tail) {
            return Err("the mark at its end is missing".to_owned());
        }
        Ok((used, self.tail.len() == mark.len()))
    }
}
