//! Encodes chunks as commands: the base of an append-only file with `aof-use-rdb-preamble no`.
//!
//! Keys and their expiries are encoded here, values as the rows of their types say ([`crate::types::commands`]). Each chunk
//! becomes a batch with a checksum ([`super::batch`]).

use russet_protocol::reply::push_command;
use russet_protocol::{Protocol, ReplyWriter};

use super::batch::{BaseSettings, BatchWriter, FileEnd};
use crate::rdb::chunk::{Chunk, ChunkKey, Record};
use crate::rdb::elements::Element;
use crate::types::commands::{Commands, Earlier};
use crate::types::type_of;

/// A value that is being encoded.
#[derive(Default)]
struct Value {
    commands: Option<&'static Commands>,
    key: Vec<u8>,
    expiry: Option<i64>,
    /// Arguments of the elements that the next command adds, encoded, and their number.
    args: Vec<u8>,
    argc: usize,
    elements: usize,
    /// The commands for the elements' expiries.
    expiries: Vec<u8>,
    /// What elements say of those that follow.
    earlier: Earlier,
}

/// Encodes one file.
pub struct BaseEncoder {
    writer: BatchWriter,
    /// The time of the data, in seconds since 1970.
    secs: i64,
    value: Value,
    /// Complete commands of the current chunk.
    commands: Vec<u8>,
}

impl BaseEncoder {
    /// Creates an encoder for one file.
    pub fn new(settings: BaseSettings) -> BaseEncoder {
        BaseEncoder {
            writer: BatchWriter::new(settings.writer, FileEnd::empty()),
            secs: settings.secs,
            value: Value::default(),
            commands: Vec::new(),
        }
    }

    /// Appends a chunk's records.
    pub fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        for record in chunk {
            match record {
                Record::Value(key, bytes) => {
                    self.begin(&key);
                    (type_of(key.kind).commands.each)(key.kind, bytes, &mut |element| {
                        self.value.element(element, &mut self.commands);
                    });
                    self.value.end(&mut self.commands);
                }
                Record::Begin(key, _) => self.begin(&key),
                Record::Element(element) => self.value.element(&element, &mut self.commands),
                Record::End => self.value.end(&mut self.commands),
            }
        }
        if !self.commands.is_empty() {
            let commands = std::iter::once((chunk.db(), self.commands.as_slice()));
            self.writer.effects(false, commands, self.secs);
            out.append(&mut self.writer.take());
            self.commands.clear();
        }
    }

    fn begin(&mut self, key: &ChunkKey<'_>) {
        self.value.commands = Some(&type_of(key.kind).commands);
        self.value.key.clear();
        self.value.key.extend_from_slice(key.bytes);
        self.value.expiry = key.expiry;
    }
}

impl Value {
    fn element(&mut self, element: &Element<'_>, out: &mut Vec<u8>) {
        let Some(commands) = self.commands else { return };
        if let Some(parts) = commands.parts {
            let mut sink = |args: &[&[u8]]| push_command(out, args);
            return parts(&mut self.earlier, &self.key, element, &mut sink);
        }
        let (args, argc) = (&mut self.args, &mut self.argc);
        (commands.args)(element, &mut |arg| {
            *argc += 1;
            ReplyWriter::new(args, Protocol::Resp2).bulk(arg);
        });
        if let (Some(word), Some(at)) = (commands.expire, element.expiry) {
            let mut digits = itoa::Buffer::new();
            let at = digits.format(at).as_bytes();
            let command = [word, &self.key, at, b"FIELDS", b"1", element.name];
            push_command(&mut self.expiries, &command);
        }
        self.elements += 1;
        if self.elements == commands.most {
            self.flush(out);
        }
    }

    /// Ends the command that adds elements.
    fn flush(&mut self, out: &mut Vec<u8>) {
        let Some(commands) = self.commands.filter(|_| self.elements > 0) else { return };
        let mut writer = ReplyWriter::new(out, Protocol::Resp2);
        writer.array(2 + self.argc);
        writer.bulk(commands.word);
        writer.bulk(&self.key);
        out.append(&mut self.args);
        out.append(&mut self.expiries);
        (self.argc, self.elements) = (0, 0);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        if let Some(at) = self.expiry.take() {
            let mut digits = itoa::Buffer::new();
            let at = digits.format(at).as_bytes();
            push_command(out, &[b"PEXPIREAT", self.key.as_slice(), at]);
        }
        self.commands = None;
    }
}
