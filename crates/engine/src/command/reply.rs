//! Where a command writes its reply.

use std::ops::{Deref, DerefMut};

use russet_ds::SharedBytes;
use russet_protocol::ReplyWriter;

use crate::clients::outbox::LENT_OVERHEAD;

/// The size from which on a value is shared with the reply instead of copied.
const SHARE_FROM: usize = 16 * 1024;

/// A [`ReplyWriter`] that can also share long strings.
pub struct Reply<'a> {
    writer: ReplyWriter<'a>,
    /// Shared strings, each with its offset in the bytes of the reply.
    shared: &'a mut Vec<(usize, SharedBytes)>,
}

impl<'a> Reply<'a> {
    /// Writes to `writer`, and shared strings to `shared`.
    pub fn new(writer: ReplyWriter<'a>, shared: &'a mut Vec<(usize, SharedBytes)>) -> Reply<'a> {
        Reply { writer, shared }
    }

    /// Writes a string value: copied if short, shared if long.
    #[inline]
    pub fn text(&mut self, text: crate::types::string::Text<'_>) {
        match text {
            crate::types::string::Text::Block(bytes) if bytes.len() >= SHARE_FROM => {
                if let Some(offset) = self.writer.lent_bulk(bytes.len(), LENT_OVERHEAD) {
                    self.shared.push((offset, bytes.share()));
                }
            }
            text => self.writer.bulk(text.bytes()),
        }
    }
}

impl<'a> Deref for Reply<'a> {
    type Target = ReplyWriter<'a>;

    fn deref(&self) -> &ReplyWriter<'a> {
        &self.writer
    }
}

impl DerefMut for Reply<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.writer
    }
}
