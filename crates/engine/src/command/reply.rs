//! The sink that a handler writes its reply into.

use std::ops::{Deref, DerefMut};

use russet_ds::SharedBytes;
use russet_protocol::ReplyWriter;

/// Values from this size on are not copied into the reply but sent from where they are.
const SHARE_FROM: usize = 16 * 1024;

/// A [`ReplyWriter`] that can also lend out long strings.
pub struct Reply<'a> {
    writer: ReplyWriter<'a>,
    /// Long strings, and the offset of the reply's bytes at which each belongs.
    shared: &'a mut Vec<(usize, SharedBytes)>,
}

impl<'a> Reply<'a> {
    /// A sink over bytes and a list of strings lent out.
    pub fn new(writer: ReplyWriter<'a>, shared: &'a mut Vec<(usize, SharedBytes)>) -> Reply<'a> {
        Reply { writer, shared }
    }

    /// A string value: copied if short, lent if long.
    #[inline]
    pub fn text(&mut self, text: crate::types::string::Text<'_>) {
        match text {
            crate::types::string::Text::Block(bytes) if bytes.len() >= SHARE_FROM => {
                self.writer.out.push(b'$');
                russet_protocol::number::push_u64(self.writer.out, bytes.len() as u64);
                self.writer.out.extend_from_slice(b"\r\n");
                self.shared.push((self.writer.out.len(), bytes.share()));
                self.writer.out.extend_from_slice(b"\r\n");
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
