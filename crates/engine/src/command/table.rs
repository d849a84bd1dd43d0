//! Finding a command by its name.

use super::{
    Args, Command, client, config, connection, debug, flag, introspect, keys, replication, server,
    string, transaction,
};

/// All families. One line adds a family; its rows add its commands.
pub static FAMILIES: &[&[Command]] = &[
    string::COMMANDS,
    keys::COMMANDS,
    transaction::COMMANDS,
    connection::COMMANDS,
    introspect::COMMANDS,
    client::COMMANDS,
    config::COMMANDS,
    debug::COMMANDS,
    replication::COMMANDS,
    server::COMMANDS,
];

/// Longest name of a command, in bytes.
const NAME_MAX: usize = 32;

const PLACES: usize = 2048;

/// Open-addressed indexes over the rows, by name and by address. Both are ours, so no hash need be keyed.
#[derive(Debug)]
pub struct CommandTable {
    by_name: Vec<Option<&'static Command>>,
    by_address: Vec<Option<(usize, u16)>>,
    rows: Vec<&'static Command>,
}

impl Default for CommandTable {
    fn default() -> CommandTable {
        let mut table = CommandTable {
            by_name: vec![None; PLACES],
            by_address: vec![None; PLACES],
            rows: Vec::new(),
        };
        for command in CommandTable::all() {
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
    }

    /// The command of this name, in any case.
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

    /// The number of a row, subcommands included, for statistics.
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

    /// All rows by number, subcommands behind their container.
    pub fn rows(&self) -> &[&'static Command] {
        &self.rows
    }

    /// All commands, without subcommands.
    pub fn all() -> impl Iterator<Item = &'static Command> {
        FAMILIES.iter().copied().flatten()
    }

    /// All commands, each before its listed subcommands.
    pub fn listed() -> impl Iterator<Item = &'static Command> {
        CommandTable::all().flat_map(|row| std::iter::once(row).chain(row.listed_subcommands()))
    }
}

impl Command {
    /// The subcommands that are commands to clients as well.
    pub fn listed_subcommands(&self) -> &'static [Command] {
        if self.has(flag::PRIVATE_SUBCOMMANDS) { &[] } else { self.subcommands }
    }

    /// The listed subcommand of this name.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        let mut rows = self.listed_subcommands().iter();
        rows.find(|row| row.word().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The row that these arguments pick: that of a subcommand, if it lists any and one is named.
    pub fn picked(&'static self, args: &Args<'_>) -> Option<&'static Command> {
        match args.get(1) {
            Some(word) if !self.listed_subcommands().is_empty() => self.subcommand(word),
            _ => Some(self),
        }
    }

    /// The word that picks it: of a subcommand, the part of its name behind the bar.
    pub fn word(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, word)| word)
    }

    /// Whether so many arguments, the name included, are right.
    pub fn takes(&self, argc: usize) -> bool {
        let want = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { argc >= want } else { argc == want }
    }

    /// Whether its key specs name the argument at this index of `argc`.
    pub(crate) fn names_key(&self, index: usize, argc: usize) -> bool {
        self.keys.iter().any(|spec| spec.indexes(argc).any(|key| key == index))
    }

    /// Whether it has a flag.
    pub fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}
