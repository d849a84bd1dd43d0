//! The table of all commands, and lookup by name.

use super::{Args, Command, flag};
use crate::ids::CommandId;
use crate::mode::Mode;

/// The longest name of a command, in bytes.
const NAME_MAX: usize = 32;

const PLACES: usize = 2048;

/// Open-addressing indexes of the rows by name and by address. Clients choose neither, so the
/// hashes are not keyed.
#[derive(Debug)]
pub struct CommandTable {
    families: &'static [&'static [Command]],
    /// The mode whose commands these are; none: all commands.
    mode: Option<Mode>,
    by_name: Vec<Option<&'static Command>>,
    by_address: Vec<Option<(usize, u16)>>,
    rows: Vec<&'static Command>,
    names: Vec<&'static str>,
}

impl CommandTable {
    /// The table of these families' commands: those of a mode, or all of them.
    pub fn new(families: &'static [&'static [Command]], mode: Option<Mode>) -> CommandTable {
        let mut table = CommandTable {
            families,
            mode,
            by_name: vec![None; PLACES],
            by_address: vec![None; PLACES],
            rows: Vec::new(),
            names: Vec::new(),
        };
        for command in table.all() {
            let mut at = hash_name(command.name.as_bytes());
            while table.by_name[at % PLACES].is_some() {
                at += 1;
            }
            table.by_name[at % PLACES] = Some(command);
            table.number(command);
            command.listed_subcommands().iter().for_each(|row| table.number(row));
        }
        table
    }
}

/// FNV-1a over the name in lower case.
#[inline]
fn hash_name(name: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    for byte in name {
        hash = (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
    }
    (hash ^ (hash >> 15)) as usize
}

#[inline]
fn hash_address(row: &'static Command) -> (usize, usize) {
    let address = std::ptr::from_ref(row) as usize;
    (address, (address >> 3).wrapping_mul(0x9e37_79b9) >> 8)
}

impl CommandTable {
    fn number(&mut self, row: &'static Command) {
        let (address, mut at) = hash_address(row);
        while self.by_address[at % PLACES].is_some() {
            at += 1;
        }
        self.by_address[at % PLACES] = Some((address, self.rows.len() as u16));
        self.rows.push(row);
        self.names.push(row.name);
    }

    /// Finds a command by its name, whatever its case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&'static Command> {
        if name.len() > NAME_MAX {
            return None;
        }
        let mut at = hash_name(name);
        while let Some(command) = self.by_name[at % PLACES] {
            if command.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            at += 1;
        }
        None
    }

    /// Whether a node of some mode has a command of this name, in lower case.
    pub fn exists(&self, name: &str) -> bool {
        self.families.iter().copied().flatten().any(|row| row.name == name)
    }

    /// Returns the index of a row in [`CommandTable::rows`], by which statistics are kept.
    #[inline]
    pub fn number_of(&self, row: &'static Command) -> usize {
        let (address, mut at) = hash_address(row);
        while let Some((found, number)) = self.by_address[at % PLACES] {
            if found == address {
                return usize::from(number);
            }
            at += 1;
        }
        0
    }

    /// The id of a row, to keep it apart from the table.
    pub fn id_of(&self, row: &'static Command) -> CommandId {
        CommandId(self.number_of(row) as u16)
    }

    /// The row of an id.
    pub fn row(&self, id: CommandId) -> &'static Command {
        self.rows[usize::from(id.0)]
    }

    /// The names of all rows, by number.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// All rows by number, subcommands behind their container.
    pub fn rows(&self) -> &[&'static Command] {
        &self.rows
    }

    /// Iterates over all commands, without subcommands.
    pub fn all(&self) -> impl Iterator<Item = &'static Command> + use<> {
        let mode = self.mode;
        let rows = self.families.iter().copied().flatten();
        rows.filter(move |row| mode.is_none_or(|mode| row.exists_in(mode)))
    }

    /// Iterates over all commands, each before its listed subcommands.
    pub fn listed(&self) -> impl Iterator<Item = &'static Command> + use<> {
        self.all().flat_map(|row| std::iter::once(row).chain(row.listed_subcommands()))
    }
}

impl Command {
    /// Returns the subcommands that clients know as commands.
    pub fn listed_subcommands(&self) -> &'static [Command] {
        if self.has(flag::PRIVATE_SUBCOMMANDS) { &[] } else { self.subcommands }
    }

    /// Finds a listed subcommand by its name.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        let mut rows = self.listed_subcommands().iter();
        rows.find(|row| row.word().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Returns the row that runs: itself or, if it lists subcommands, the one that the arguments
    /// name.
    pub fn picked(&'static self, args: &Args<'_>) -> Option<&'static Command> {
        match args.get(1) {
            Some(word) if !self.listed_subcommands().is_empty() => self.subcommand(word),
            _ => Some(self),
        }
    }

    /// Returns its name, without that of its container.
    pub fn word(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, word)| word)
    }

    /// Whether its arity allows this number of arguments, the name included.
    pub fn takes(&self, argc: usize) -> bool {
        let want = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { argc >= want } else { argc == want }
    }

    /// Whether a key spec names the argument at this index of these.
    pub(crate) fn names_key(&self, index: usize, args: &Args<'_>) -> bool {
        if let Some(find) = self.find_keys {
            return find(args).contains(&index);
        }
        self.keys.iter().any(|spec| spec.indexes(args).any(|key| key == index))
    }

    /// Returns the index of its key, if it always has one and that is always there.
    #[inline]
    pub(crate) fn only_key(&self) -> Option<usize> {
        match self.keys {
            [spec] if self.find_keys.is_none() => spec.only_index(),
            _ => None,
        }
    }

    /// Whether a node of this mode has the command.
    pub fn exists_in(&self, mode: Mode) -> bool {
        match mode {
            Mode::Sentinel => self.has(flag::SENTINEL | flag::ONLY_SENTINEL),
            Mode::Standalone | Mode::Cluster => !self.has(flag::ONLY_SENTINEL),
        }
    }

    /// Whether it has a flag.
    pub fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}
