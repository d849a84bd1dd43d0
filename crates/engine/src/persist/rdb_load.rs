//! RDB loader: parses a file in pieces of any size and passes its content to a sink.
//!
//! A file is a sequence of *items*: the header, an opcode with its fields, a key with a value that
//! is a single string, a key with the head of a collection, an element, a piece of module data, the
//! checksum. A complete item is parsed directly from the caller's slice. If the slice ends within
//! an item, the rest is kept (the *carry*) together with the minimum length of that item as far as
//! it is known; later calls complete the carry to that length before they parse it again. So
//!
//! * all splits of the input result in the same calls of the sink and the same error;
//! * an item is parsed at most once per field, not once per piece;
//! * the carry is at most twice as large as the bytes received: a claimed length allocates nothing.
//!
//! The file is untrusted: lengths are bounded, the claimed size of a compressed string is limited
//! by LZF's maximum ratio, versions and types must be known. The sink is responsible for the rest:
//! whether keys are unique, expired or fit into memory, whether strings and elements are valid for
//! the types of their values, and what to do with content received before an error. A wrong
//! checksum is only found at the end, so a sink should fill a new keyspace, which replaces the old
//! one when the file is complete.
//!
//! Not here: files, the framing of a snapshot in replication, any keyspace.

use std::borrow::Cow;

use crate::core::Core;
use crate::rdb::Access;
use crate::rdb::elements::{Cursor, Element, Head};
use crate::rdb::error::{RdbError, RdbErrorKind};
use crate::rdb::fields::{Fields, Parsed, Stop, Stored};
use crate::rdb::format::{self, Checksum, Flavour, Header, module_opcode, opcode};
use crate::types::{self, RdbForm, Read, StoredElement, string};

/// A larger carry is freed when its item is complete.
const BUFFER_BYTES_KEPT: usize = 1 << 20;
/// Minimum capacity of the carry.
const CARRY_BYTES_MIN: usize = 256;

/// Limits and options of the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadSettings {
    /// Maximum length of a string, compressed or not, in bytes. Files and payloads were written under
    /// other limits of clients than are set now or here, so `proto-max-bulk-len` does not apply.
    pub string_bytes_max: u64,
    /// Whether to verify the checksum unless it is zero (`rdbchecksum`).
    pub checksum: bool,
}

impl LoadSettings {
    /// Returns the settings of a node.
    pub(crate) fn of(core: &Core) -> LoadSettings {
        let checksum = core.config.rdbchecksum && !core.skips_checksums;
        LoadSettings { checksum, ..LoadSettings::default() }
    }
}

impl Default for LoadSettings {
    fn default() -> LoadSettings {
        LoadSettings { string_bytes_max: format::STRING_BYTES_MAX, checksum: true }
    }
}

/// The result of [`RdbLoader::feed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// All bytes were consumed, and the file is incomplete.
    NeedMore,
    /// The file is complete.
    Done {
        /// Number of bytes of the last call's slice that belong to the file.
        consumed: usize,
    },
}

/// A sink's reason to reject a file, which ends the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// A receiver of a file's content. Every call may fail, which ends the load with an error.
pub trait RdbSink {
    /// Tells the offset behind the auxiliary field or the selection of a database that follows.
    fn position(&mut self, _offset: u64) {}

    /// Handles an auxiliary field (`redis-ver`, `repl-id`, …); unknown ones must be ignored.
    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal>;

    /// Selects the database of the following keys; initially 0.
    fn select(&mut self, db: u64) -> Result<(), Refusal>;

    /// Handles the number of keys in the selected database and of those with an expiry: an
    /// untrusted hint.
    fn resize(&mut self, keys: u64, expires: u64) -> Result<(), Refusal>;

    /// Handles a key whose value is a single string in this form. `expiry`, in milliseconds since
    /// the Unix epoch, may be past or negative. The string is borrowed from the input, or owned if
    /// it had to be decoded.
    fn value(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        bytes: Cow<'_, [u8]>,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal>;

    /// Handles a key whose value has elements, which follow.
    fn begin(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        head: Head,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal>;

    /// Handles an element of the current value.
    fn element(&mut self, element: Element<'_>) -> Result<(), Refusal>;

    /// Handles the end of the current value, after as many elements as its head announced.
    fn end(&mut self) -> Result<(), Refusal>;

    /// Handles the source of a function library.
    fn function(&mut self, _library: &[u8]) -> Result<(), Refusal> {
        Err(Refusal("cannot load function libraries yet".into()))
    }

    /// Handles the number of keys in a slot and of those with an expiry: an untrusted hint.
    fn slot_info(&mut self, _slot: u64, _keys: u64, _expires: u64) -> Result<(), Refusal> {
        Ok(())
    }

    /// Handles data of a module outside of keys, which is skipped.
    fn module_aux(&mut self, _module: &str) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Which items are expected next.
#[derive(Clone, Debug)]
enum Phase {
    ExpectHeader,
    ExpectEntry,
    ExpectElement(&'static RdbForm, Head),
    ExpectPart(&'static RdbForm, Cursor),
    ExpectModuleData,
    ExpectChecksum,
    Done,
    Failed(RdbError),
}

impl Phase {
    fn name(&self) -> &'static str {
        match self {
            Phase::ExpectHeader => "the header",
            Phase::ExpectEntry => "the keys, before the EOF opcode",
            Phase::ExpectElement(..) | Phase::ExpectPart(..) => "a value",
            Phase::ExpectModuleData => "module data",
            Phase::ExpectChecksum => "the checksum",
            Phase::Done | Phase::Failed(_) => "nothing",
        }
    }
}

/// Attributes of the next key, from the opcodes before it.
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    expiry: Option<i64>,
    access: Access,
}

/// A loader of one file.
#[derive(Debug)]
pub struct RdbLoader {
    settings: LoadSettings,
    phase: Phase,
    header: Option<Header>,
    attributes: Attributes,
    /// Number of elements of the current value that have not been read.
    elements_left: u64,
    /// Offset in the file of the end of the last complete item.
    offset: u64,
    /// The CRC of the bytes before it; updated once per call.
    checksum: Checksum,
    /// The checksum in the file.
    stored_checksum: Option<u64>,
    /// The received bytes of an incomplete item.
    carry: Vec<u8>,
    /// The known minimum length of that item; greater than the length of a non-empty `carry`.
    need: usize,
}

impl RdbLoader {
    /// Creates a loader of one file.
    pub fn new(settings: LoadSettings) -> RdbLoader {
        RdbLoader {
            settings,
            phase: Phase::ExpectHeader,
            header: None,
            attributes: Attributes::default(),
            elements_left: 0,
            offset: 0,
            checksum: Checksum::new(),
            stored_checksum: None,
            carry: Vec::new(),
            need: 0,
        }
    }

    /// Returns magic and version once they have been read.
    pub fn header(&self) -> Option<Header> {
        self.header
    }

    /// Returns the checksum at the end of a complete file, 0 if it was not computed; none if its version has none.
    pub fn stored_checksum(&self) -> Option<u64> {
        self.stored_checksum
    }

    /// Returns the number of bytes consumed so far.
    pub fn offset(&self) -> u64 {
        self.offset + self.carry.len() as u64
    }

    /// Whether elements of a value are expected.
    pub fn is_inside_value(&self) -> bool {
        matches!(self.phase, Phase::ExpectElement(..) | Phase::ExpectPart(..))
    }

    /// Returns the memory of the carry in bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.carry.capacity()
    }

    /// Parses the next bytes of the file.
    ///
    /// After `Done`, further calls consume nothing; after an error, they return it again.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn RdbSink) -> Result<Fed, RdbError> {
        match &self.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Done => return Ok(Fed::Done { consumed: 0 }),
            _ => {}
        }
        let Some(taken) = self.complete_carry(bytes, sink)? else { return Ok(Fed::NeedMore) };
        let used = taken + self.run(&bytes[taken..], sink)?;
        if matches!(self.phase, Phase::Done) {
            return Ok(Fed::Done { consumed: used });
        }
        self.grow_carry(&bytes[used..]);
        Ok(Fed::NeedMore)
    }

    /// Handles the end of the input. Returns an error unless the file is complete.
    pub fn end(&self) -> Result<(), RdbError> {
        match &self.phase {
            Phase::Done => Ok(()),
            Phase::Failed(error) => Err(error.clone()),
            phase => {
                Err(RdbError { offset: self.offset(), kind: RdbErrorKind::Truncated(phase.name()) })
            }
        }
    }

    /// Completes and parses the item in the carry. Returns the number of bytes consumed; none if
    /// the item is still incomplete.
    fn complete_carry(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn RdbSink,
    ) -> Result<Option<usize>, RdbError> {
        let mut taken = 0;
        while !self.carry.is_empty() {
            let missing = self.need - self.carry.len();
            let rest = &bytes[taken..];
            if rest.len() < missing {
                self.grow_carry(rest);
                return Ok(None);
            }
            self.grow_carry(&rest[..missing]);
            taken += missing;
            let carry = std::mem::take(&mut self.carry);
            match self.item(&carry, sink) {
                Ok(used) => {
                    // `need` is the minimum length of the item, so it ends there.
                    debug_assert_eq!(used, carry.len());
                    self.sum(&carry[..used]);
                    self.offset += used as u64;
                    self.keep_carry(carry);
                    return Ok(Some(taken));
                }
                Err(Stop::Need(need)) => {
                    self.carry = carry;
                    self.need = need;
                }
                Err(Stop::Bad(at, kind)) => return Err(self.fail(at, kind)),
            }
        }
        Ok(Some(taken))
    }

    /// Parses complete items in place. Returns their total length and sets `need` for the rest.
    fn run(&mut self, bytes: &[u8], sink: &mut dyn RdbSink) -> Result<usize, RdbError> {
        let mut at = 0;
        let mut summed = 0;
        while !matches!(self.phase, Phase::Done) {
            if matches!(self.phase, Phase::ExpectChecksum) {
                self.sum(&bytes[summed..at]);
                summed = at;
            }
            match self.item(&bytes[at..], sink) {
                Ok(used) => {
                    at += used;
                    self.offset += used as u64;
                }
                Err(Stop::Need(need)) => {
                    self.need = need;
                    break;
                }
                Err(Stop::Bad(at, kind)) => return Err(self.fail(at, kind)),
            }
        }
        self.sum(&bytes[summed..at]);
        Ok(at)
    }

    fn sum(&mut self, bytes: &[u8]) {
        if self.settings.checksum {
            self.checksum.update(bytes);
        }
    }

    /// Appends bytes to the carry. Its capacity doubles up to the known length of the item.
    fn grow_carry(&mut self, bytes: &[u8]) {
        let len = self.carry.len() + bytes.len();
        if len > self.carry.capacity() {
            let room = (2 * len).max(CARRY_BYTES_MIN).min(self.need.max(len));
            self.carry.reserve_exact(room - self.carry.len());
        }
        self.carry.extend_from_slice(bytes);
    }

    /// Keeps the carry's buffer for the next incomplete item.
    fn keep_carry(&mut self, mut carry: Vec<u8>) {
        if carry.capacity() <= BUFFER_BYTES_KEPT {
            carry.clear();
            self.carry = carry;
        }
    }

    fn fail(&mut self, at: usize, kind: RdbErrorKind) -> RdbError {
        let error = RdbError { offset: self.offset + at as u64, kind };
        self.phase = Phase::Failed(error.clone());
        self.carry = Vec::new();
        error
    }

    /// Parses the item at the start of `bytes` and returns its length. An incomplete item changes
    /// nothing and calls nothing.
    #[inline]
    fn item(&mut self, bytes: &[u8], sink: &mut dyn RdbSink) -> Parsed<usize> {
        let mut fields = Fields::new(bytes, self.settings.string_bytes_max);
        match self.phase {
            Phase::ExpectEntry => self.entry_or_opcode(&mut fields, sink)?,
            Phase::ExpectElement(form, head) => self.element(form, head, &mut fields, sink)?,
            Phase::ExpectPart(form, cursor) => self.part(form, cursor, &mut fields, sink)?,
            Phase::ExpectHeader => self.read_header(&mut fields)?,
            Phase::ExpectModuleData => self.skip_module_data(&mut fields)?,
            Phase::ExpectChecksum => self.check(&mut fields)?,
            Phase::Done | Phase::Failed(_) => {}
        }
        Ok(fields.at)
    }

    fn read_header(&mut self, fields: &mut Fields<'_>) -> Parsed<()> {
        let bytes = fields.array()?;
        let header =
            Header::parse(&bytes).ok_or(Stop::Bad(0, RdbErrorKind::WrongSignature(bytes)))?;
        if !header.is_known() {
            return Err(Stop::Bad(0, RdbErrorKind::UnknownVersion(header)));
        }
        self.header = Some(header);
        self.phase = Phase::ExpectEntry;
        Ok(())
    }

    fn flavour(&self) -> Flavour {
        self.header.map_or(Flavour::Redis, |header| header.flavour)
    }

    fn check(&mut self, fields: &mut Fields<'_>) -> Parsed<()> {
        let expected = u64::from_le_bytes(fields.array()?);
        let computed = self.checksum.value();
        if self.settings.checksum && expected != 0 && expected != computed {
            return Err(Stop::Bad(0, RdbErrorKind::WrongChecksum { expected, computed }));
        }
        self.stored_checksum = Some(expected);
        self.phase = Phase::Done;
        Ok(())
    }

    #[inline]
    fn entry_or_opcode(&mut self, fields: &mut Fields<'_>, sink: &mut dyn RdbSink) -> Parsed<()> {
        match fields.byte()? {
            code if code == string::RDB.code => self.string_value(&string::RDB, 0, fields, sink),
            opcode::EXPIRETIME_MS => {
                let expiry = i64::from_le_bytes(fields.array()?);
                // Stock servers read -1 as "no expiry", although they never write it.
                self.attributes.expiry = (expiry != -1).then_some(expiry);
                Ok(())
            }
            byte => self.rare(byte, fields, sink),
        }
    }

    /// Parses a key and a value that is a single string, preceded by `skip` ignored bytes.
    #[inline(always)]
    fn string_value(
        &mut self,
        form: &'static RdbForm,
        skip: usize,
        fields: &mut Fields<'_>,
        sink: &mut dyn RdbSink,
    ) -> Parsed<()> {
        let key = fields.string()?;
        fields.take(skip)?;
        let value = fields.string()?;
        let (mut key_digits, mut value_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        let key = key.bytes(&mut key_digits)?;
        let value = value.bytes(&mut value_digits)?;
        let Attributes { expiry, access } = std::mem::take(&mut self.attributes);
        sink.value(&key, form, value, expiry, access).map_err(refused)
    }

    /// Parses a key and a value of any form, or the head of its elements.
    fn any_value(
        &mut self,
        name: &'static str,
        form: &'static RdbForm,
        fields: &mut Fields<'_>,
        sink: &mut dyn RdbSink,
    ) -> Parsed<()> {
        match &form.read {
            Read::String { skip, .. } => self.string_value(form, *skip, fields, sink),
            Read::Parts { first, .. } => {
                let key = fields.string()?;
                let cursor = first(fields)?;
                self.begin(key, form, Head::default(), sink)?;
                self.phase = Phase::ExpectPart(form, cursor);
                Ok(())
            }
            Read::Elements { head, .. } => {
                let key = fields.string()?;
                let head = head(fields)?;
                self.begin(key, form, head, sink)?;
                self.phase = Phase::ExpectElement(form, head);
                self.elements_left = head.count;
                self.end_value(sink)
            }
            Read::NotImplemented => {
                let mut digits = itoa::Buffer::new();
                let key = format::quoted(&fields.string()?.bytes(&mut digits)?);
                let (encoding, code) = (form.name, form.code);
                let kind = RdbErrorKind::UnsupportedType { name, encoding, code, key };
                Err(Stop::Bad(0, kind))
            }
        }
    }

    fn begin(
        &mut self,
        key: Stored<'_>,
        form: &'static RdbForm,
        head: Head,
        sink: &mut dyn RdbSink,
    ) -> Parsed<()> {
        let mut digits = itoa::Buffer::new();
        let key = key.bytes(&mut digits)?;
        let Attributes { expiry, access } = std::mem::take(&mut self.attributes);
        sink.begin(&key, form, head, expiry, access).map_err(refused)
    }

    fn element(
        &mut self,
        form: &'static RdbForm,
        head: Head,
        fields: &mut Fields<'_>,
        sink: &mut dyn RdbSink,
    ) -> Parsed<()> {
        let Read::Elements { element, .. } = &form.read else {
            unreachable!("only values with elements expect one")
        };
        pass_on(element(&head, fields)?, sink)?;
        self.elements_left -= 1;
        self.end_value(sink)
    }

    /// Parses an element of several kinds. A value has at least one, so that none is needed when it begins.
    fn part(
        &mut self,
        form: &'static RdbForm,
        mut cursor: Cursor,
        fields: &mut Fields<'_>,
        sink: &mut dyn RdbSink,
    ) -> Parsed<()> {
        let Read::Parts { next, .. } = &form.read else {
            unreachable!("only values with elements of several kinds expect one")
        };
        pass_on(next(&mut cursor, fields)?, sink)?;
        self.phase = Phase::ExpectPart(form, cursor);
        if cursor.is_at_end() {
            sink.end().map_err(refused)?;
            self.phase = Phase::ExpectEntry;
        }
        Ok(())
    }

    fn end_value(&mut self, sink: &mut dyn RdbSink) -> Parsed<()> {
        if self.elements_left == 0 {
            sink.end().map_err(refused)?;
            self.phase = Phase::ExpectEntry;
        }
        Ok(())
    }

    /// Parses everything except strings and their expiry.
    fn rare(&mut self, byte: u8, fields: &mut Fields<'_>, sink: &mut dyn RdbSink) -> Parsed<()> {
        match byte {
            opcode::SELECTDB => {
                let db = fields.length()?;
                sink.position(self.offset + fields.at as u64);
                sink.select(db).map_err(refused)
            }
            opcode::RESIZEDB => sink.resize(fields.length()?, fields.length()?).map_err(refused),
            opcode::EXPIRETIME => {
                let seconds = i32::from_le_bytes(fields.array()?);
                self.attributes.expiry = (seconds != -1).then_some(i64::from(seconds) * 1000);
                Ok(())
            }
            opcode::IDLE => {
                self.attributes.access.idle_seconds = Some(fields.length()?);
                Ok(())
            }
            opcode::FREQ => {
                self.attributes.access.frequency = Some(fields.byte()?);
                Ok(())
            }
            opcode::AUX => self.aux(fields, sink),
            opcode::SLOT_INFO => sink
                .slot_info(fields.length()?, fields.length()?, fields.length()?)
                .map_err(refused),
            opcode::FUNCTION2 => {
                let mut digits = itoa::Buffer::new();
                let library = fields.string()?.bytes(&mut digits)?;
                sink.function(&library).map_err(refused)
            }
            opcode::MODULE_AUX => self.begin_module_data(fields, sink),
            opcode::EOF => {
                let version = self.header.map_or(0, |header| header.version);
                self.phase = if version >= format::VERSION_WITH_CHECKSUM {
                    Phase::ExpectChecksum
                } else {
                    Phase::Done
                };
                Ok(())
            }
            byte => match types::rdb_form(byte, self.flavour()) {
                Some((name, form)) => self.any_value(name, form, fields, sink),
                None => Err(self.unsupported(byte)),
            },
        }
    }

    fn aux(&mut self, fields: &mut Fields<'_>, sink: &mut dyn RdbSink) -> Parsed<()> {
        let name = fields.string()?;
        let value = fields.string()?;
        let (mut name_digits, mut value_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        let name = name.bytes(&mut name_digits)?;
        let value = value.bytes(&mut value_digits)?;
        sink.position(self.offset + fields.at as u64);
        sink.aux(&name, &value).map_err(refused)
    }

    /// Returns the error of an opcode that cannot be loaded.
    fn unsupported(&self, byte: u8) -> Stop {
        let what = match byte {
            opcode::FUNCTION_PRE_GA => "function libraries in their pre-release format",
            opcode::SLOT_IMPORT_OR_KEY_META => match self.flavour() {
                Flavour::Valkey => "a slot import under way",
                Flavour::Redis => "key metadata of modules",
            },
            opcode::UPDATE if self.flavour() == Flavour::Valkey => "commands within a snapshot",
            byte => return Stop::Bad(0, RdbErrorKind::UnknownType(byte)),
        };
        Stop::Bad(0, RdbErrorKind::UnsupportedOpcode(byte, what))
    }

    fn begin_module_data(&mut self, fields: &mut Fields<'_>, sink: &mut dyn RdbSink) -> Parsed<()> {
        let module = fields.length()?;
        let at = fields.at;
        let tag = fields.length()?;
        if tag != module_opcode::UINT {
            return Err(Stop::Bad(at, RdbErrorKind::BadModuleData(tag)));
        }
        let _when = fields.length()?;
        sink.module_aux(&module_name(module)).map_err(refused)?;
        self.phase = Phase::ExpectModuleData;
        Ok(())
    }

    /// Skips one tagged piece of module data. Each is an item of its own, so that the cost is linear
    /// in their number.
    fn skip_module_data(&mut self, fields: &mut Fields<'_>) -> Parsed<()> {
        match fields.length()? {
            module_opcode::EOF => self.phase = Phase::ExpectEntry,
            module_opcode::SINT | module_opcode::UINT => _ = fields.length()?,
            module_opcode::FLOAT => _ = fields.take(4)?,
            module_opcode::DOUBLE => _ = fields.take(8)?,
            module_opcode::STRING => _ = fields.string()?,
            tag => return Err(Stop::Bad(0, RdbErrorKind::BadModuleData(tag))),
        }
        Ok(())
    }
}

fn pass_on(stored: StoredElement<'_>, sink: &mut dyn RdbSink) -> Parsed<()> {
    let (mut name_digits, mut value_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let name = stored.name.bytes(&mut name_digits)?;
    let value = stored.value.bytes(&mut value_digits)?;
    sink.element(Element { name: &name, value: &value, expiry: stored.expiry }).map_err(refused)
}

fn refused(refusal: Refusal) -> Stop {
    Stop::Bad(0, RdbErrorKind::Refused(refusal.0))
}

/// Decodes the nine characters in the upper 54 bits of a module type's id.
fn module_name(id: u64) -> String {
    const CHARACTERS: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let character = |i: u32| char::from(CHARACTERS[(id >> (10 + 6 * i) & 63) as usize]);
    (0..9).rev().map(character).collect()
}
