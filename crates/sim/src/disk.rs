//! A disk: what a file holds, what of it would survive a loss of power, and what can go wrong.
//!
//! ```text
//!   file     ██████░░░██████████████████░░░░░░░   synced │ written only: any part survives, its end perhaps torn
//!                 └ a sync of these failed: they may be lost, though a later one succeeded
//!   folder   name ──▶ file                        a rename is seen at once and survives from the folder's sync on;
//!                                                 each folder has its own, and its own name is in the one around it
//! ```
//!
//! What is lost within a file is lost by sectors, which then read as zeros. A file that was cut may be as before until
//! it is synced. A process that is killed loses nothing that it had written: only power takes that.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::chance::Chance;

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

/// What writes fail with when there is no more space.
pub const FULL: &str = "No space left on device";

/// … and when the file system takes none any more. What was written before may still be synced.
pub const READ_ONLY: &str = "Read-only file system";

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// Up to here it is on disk, but for `lost`.
    synced: usize,
    /// Up to here the kernel believes that it is, or has dropped what it could not write.
    clean: usize,
    /// What a failed sync may have dropped.
    lost: Vec<Range<usize>>,
    /// What it held on disk before it was cut, until it is synced.
    before_cut: Option<Vec<u8>>,
}

impl File {
    /// A sync of the first bytes has succeeded.
    fn synced(&mut self, len: usize) {
        self.synced = self.synced.max(len.min(self.bytes.len()));
        self.clean = self.clean.max(self.synced);
        self.before_cut = None;
    }

    /// A sync of the first bytes has failed.
    fn sync_failed(&mut self, len: usize) {
        let len = len.min(self.bytes.len());
        if self.clean < len {
            self.lost.push(self.clean..len);
            self.clean = len;
        }
    }

    /// The bytes from here on were written again, where they are, before a sync that has succeeded.
    fn written_again(&mut self, from: usize) {
        self.lost.iter_mut().for_each(|range| range.end = range.end.min(from));
        self.lost.retain(|range| range.start < range.end);
    }

    fn cut(&mut self, len: usize) {
        if len < self.synced && self.before_cut.is_none() {
            self.before_cut = Some(self.bytes[..self.synced].to_vec());
        }
        self.bytes.truncate(len);
        self.synced = self.synced.min(len);
        self.clean = self.clean.min(len);
        self.lost.iter_mut().for_each(|range| range.end = range.end.min(len));
        self.lost.retain(|range| range.start < range.end);
    }

    /// Power is lost, and with it perhaps sectors before the end. True if the end was torn.
    fn lose_power(&mut self, chance: &mut Chance, loses_sectors: bool) -> bool {
        if let Some(before) = self.before_cut.take()
            && chance.percent(50)
        {
            *self = File {
                synced: before.len(),
                clean: before.len(),
                bytes: before,
                ..File::default()
            };
            return false;
        }
        let kept = self.synced + chance.index(self.bytes.len() - self.synced + 1);
        let is_torn = kept < self.bytes.len();
        self.bytes.truncate(kept);
        let mut unsure = std::mem::take(&mut self.lost);
        if chance.percent(40) {
            // The length got there, and of the bytes some sectors.
            unsure.push(self.synced..kept);
        }
        for range in unsure.into_iter().filter(|_| loses_sectors) {
            self.lose_sectors(range.start..range.end.min(kept), chance);
        }
        (self.synced, self.clean) = (kept, kept);
        is_torn
    }

    /// Some sectors of a range read as zeros. Bytes of a sector outside of the range stay: an earlier sync wrote them.
    fn lose_sectors(&mut self, range: Range<usize>, chance: &mut Chance) {
        let percent = chance.between(10, 100);
        let mut at = range.start;
        while at < range.end {
            let end = (at - at % SECTOR_BYTES + SECTOR_BYTES).min(range.end);
            if chance.percent(percent) {
                self.bytes[at..end].fill(0);
            }
            at = end;
        }
    }
}

/// What a loss of power took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The end of a file.
    pub torn: bool,
    /// A new name, a rename or a removal.
    pub names: bool,
}

/// See the module. A name is that of a file, or `folder/file`.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<u64, File>,
    next: u64,
    /// The folders as programs see them.
    seen: BTreeMap<String, u64>,
    /// The folders as a loss of power would leave them, but for what may or may not have got there.
    durable: BTreeMap<String, u64>,
    /// Folders within the first one, as programs see them.
    folders: BTreeSet<String>,
    /// … and those whose names are sure to survive.
    durable_folders: BTreeSet<String>,
    /// Writes fail with this, while it lasts.
    pub failing: Option<&'static str>,
    /// So many of the next syncs fail.
    pub failing_syncs: u32,
    /// Syncs of folders within the first one do nothing: an injected bug.
    forgets_folders: bool,
    /// A factor on the time that everything takes.
    pub slowness: u64,
    /// How long a sync may take in addition, microseconds.
    pub sync_us: u64,
    /// A loss of power may take sectors within what was not synced, and not only its end.
    pub loses_sectors: bool,
}

/// The folder of a name; empty for the first one.
fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Disk {
    /// An empty disk.
    pub fn new(forgets_folders: bool) -> Disk {
        Disk { slowness: 1, loses_sectors: true, forgets_folders, ..Disk::default() }
    }

    /// Makes a file, or empties it; its number.
    pub fn create(&mut self, name: &str) -> Result<u64, String> {
        self.check()?;
        let folder = folder_of(name);
        if !folder.is_empty() && !self.folders.contains(folder) {
            return Err("No such file or directory".to_owned());
        }
        self.next += 1;
        self.files.insert(self.next, File::default());
        self.seen.insert(name.to_owned(), self.next);
        Ok(self.next)
    }

    /// Makes the folder of a name, if it has one that does not exist, and makes that last.
    pub fn create_folder_of(&mut self, name: &str) -> Result<(), String> {
        let folder = folder_of(name);
        if folder.is_empty() || self.folders.contains(folder) {
            return Ok(());
        }
        self.check()?;
        self.folders.insert(folder.to_owned());
        self.sync_folder_of(folder)
    }

    /// Opens a file to append behind so many bytes: cuts off the others, writes those from `sure` on again, and makes all of that
    /// last. With none it is
    /// made if it does not exist, and so is its folder.
    pub fn open(&mut self, name: &str, len: usize, sure: usize) -> Result<u64, String> {
        self.create_folder_of(name)?;
        let file = match self.seen.get(name) {
            Some(file) => *file,
            None if len == 0 => self.create(name)?,
            None => return Err("No such file or directory".to_owned()),
        };
        if self.len(file) < len {
            return Err("it is shorter than expected".to_owned());
        }
        self.cut(file, len)?;
        self.sync(file)?;
        if let Some(file) = self.files.get_mut(&file) {
            file.written_again(sure);
        }
        self.sync_folder_of(name)?;
        Ok(file)
    }

    fn check(&self) -> Result<(), String> {
        self.failing.map_or(Ok(()), |why| Err(why.to_owned()))
    }

    /// Appends to a file.
    pub fn write(&mut self, file: u64, bytes: &[u8]) -> Result<(), String> {
        self.check()?;
        self.write_part(file, bytes);
        Ok(())
    }

    /// Appends the bytes that a write got there before it failed or its process was killed.
    pub fn write_part(&mut self, file: u64, bytes: &[u8]) {
        if let Some(file) = self.files.get_mut(&file) {
            file.bytes.extend_from_slice(bytes);
        }
    }

    /// Cuts off what is behind so many bytes.
    pub fn cut(&mut self, file: u64, len: usize) -> Result<(), String> {
        self.check()?;
        if let Some(file) = self.files.get_mut(&file) {
            file.cut(len);
        }
        Ok(())
    }

    /// Makes a file's bytes last.
    pub fn sync(&mut self, file: u64) -> Result<(), String> {
        self.sync_first(file, self.len(file))
    }

    /// Makes a file's first bytes last, which were there when the sync began.
    pub fn sync_first(&mut self, file: u64, len: usize) -> Result<(), String> {
        let fails_once = self.failing_syncs > 0;
        self.failing_syncs = self.failing_syncs.saturating_sub(1);
        let result = match fails_once {
            true => Err("Input/output error".to_owned()),
            // What was written has its place.
            false if matches!(self.failing, Some(FULL | READ_ONLY)) => Ok(()),
            false => self.check(),
        };
        if let Some(file) = self.files.get_mut(&file) {
            match result {
                Ok(()) => file.synced(len),
                Err(_) => file.sync_failed(len),
            }
        }
        result
    }

    /// Gives a file another name, over whatever had it.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), String> {
        self.check()?;
        if let Some(file) = self.seen.remove(from) {
            self.seen.insert(to.to_owned(), file);
        }
        Ok(())
    }

    /// Makes the names in the folder of a name last.
    pub fn sync_folder_of(&mut self, name: &str) -> Result<(), String> {
        self.check()?;
        let folder = folder_of(name);
        if self.forgets_folders && !folder.is_empty() {
            return Ok(());
        }
        if folder.is_empty() {
            self.durable_folders = self.folders.clone();
        }
        self.durable.retain(|name, _| folder_of(name) != folder);
        let names = self.seen.iter().filter(|(name, _)| folder_of(name) == folder);
        self.durable.extend(names.map(|(name, file)| (name.clone(), *file)));
        self.forget_unnamed();
        Ok(())
    }

    /// Removes a name, if the disk takes that. A full one does.
    pub fn unlink(&mut self, name: &str) -> Result<(), String> {
        if self.failing != Some(FULL) {
            self.check()?;
        }
        self.remove(name);
        Ok(())
    }

    /// Removes a name.
    pub fn remove(&mut self, name: &str) {
        self.seen.remove(name);
    }

    /// The bytes behind a name.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.files.get(self.seen.get(name)?)?;
        Some(file.bytes.clone())
    }

    /// What a loss of power would leave behind a name at least.
    pub fn read_durable(&self, name: &str) -> Option<&[u8]> {
        let file = self.files.get(self.durable.get(name)?)?;
        Some(&file.bytes[..file.synced])
    }

    /// The names in a folder.
    pub fn names_in(&self, folder: &str) -> Vec<String> {
        self.seen.keys().filter(|name| folder_of(name) == folder).cloned().collect()
    }

    /// A bit of a file is not what was written.
    pub fn flip(&mut self, name: &str, offset: usize, bit: u8) {
        let file = self.seen.get(name).and_then(|file| self.files.get_mut(file));
        if let Some(byte) = file.and_then(|file| file.bytes.get_mut(offset)) {
            *byte ^= 1 << bit;
        }
    }

    /// Whether anything of it fails now or is to fail.
    pub fn is_in_trouble(&self) -> bool {
        self.failing.is_some() || self.failing_syncs > 0
    }

    /// The length of a file.
    pub fn len(&self, file: u64) -> usize {
        self.files.get(&file).map_or(0, |file| file.bytes.len())
    }

    /// Power is lost: what was synced stays, of the rest a random part.
    pub fn lose_power(&mut self, chance: &mut Chance) -> Loss {
        let before = self.seen.clone();
        self.lose_folders(chance);
        let names: Vec<String> = self.seen.keys().chain(self.durable.keys()).cloned().collect();
        for name in names {
            // Each change of a folder that was not synced got there or did not.
            let new = self.seen.get(&name).copied();
            if new != self.durable.get(&name).copied() && chance.percent(50) {
                match new {
                    Some(file) => self.durable.insert(name, file),
                    None => self.durable.remove(&name),
                };
            }
        }
        self.seen = self.durable.clone();
        let mut loss = Loss { names: before != self.seen, torn: false };
        for file in self.files.values_mut() {
            loss.torn |= file.lose_power(chance, self.loses_sectors);
        }
        self.forget_unnamed();
        loss
    }

    /// A folder whose name did not get there is gone with all that is in it.
    fn lose_folders(&mut self, chance: &mut Chance) {
        let Disk { folders, durable_folders, seen, durable, .. } = self;
        folders.retain(|folder| durable_folders.contains(folder) || chance.percent(50));
        *durable_folders = folders.clone();
        let exists = |name: &str| folder_of(name).is_empty() || folders.contains(folder_of(name));
        seen.retain(|name, _| exists(name));
        durable.retain(|name, _| exists(name));
    }

    fn forget_unnamed(&mut self) {
        let named: Vec<u64> = self.seen.values().chain(self.durable.values()).copied().collect();
        self.files.retain(|file, _| named.contains(file));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_is_sure_to_survive() {
        let (mut torn, mut old, mut new) = (0, 0, 0);
        for seed in 0..50 {
            let mut disk = Disk::new(false);
            let first = disk.create("temp").expect("no fault");
            disk.write(first, b"first").expect("no fault");
            disk.sync(first).expect("no fault");
            disk.rename("temp", "dump").expect("no fault");
            disk.sync_folder_of("dump").expect("no fault");
            let second = disk.create("temp").expect("no fault");
            disk.write(second, b"second").expect("no fault");
            disk.sync(second).expect("no fault");
            disk.rename("temp", "dump").expect("no fault");
            let third = disk.create("temp").expect("no fault");
            disk.write(third, b"third").expect("no fault");
            torn += u32::from(disk.lose_power(&mut Chance::new(seed)).torn);
            match disk.read("dump").as_deref() {
                Some(b"first") => old += 1,
                Some(b"second") => new += 1,
                other => panic!("neither of both: {other:?}"),
            }
        }
        assert!(torn > 0 && old > 0 && new > 0);
    }

    /// What is left of a file after each of many losses of power.
    fn survivors(prepare: impl Fn(&mut Disk)) -> Vec<Option<Vec<u8>>> {
        let survivors = (0..200).map(|seed| {
            let mut disk = Disk::new(false);
            prepare(&mut disk);
            disk.lose_power(&mut Chance::new(seed));
            disk.read("folder/file")
        });
        survivors.collect()
    }

    #[test]
    fn unsynced_sectors_are_lost_one_by_one_and_synced_ones_stay() {
        let left = survivors(|disk| {
            let file = disk.open("folder/file", 0, 0).expect("no fault");
            disk.write(file, &[1; 700]).expect("no fault");
            disk.sync(file).expect("no fault");
            disk.write(file, &[2; 2000]).expect("no fault");
        });
        let (mut holes, mut prefixes) = (0, 0);
        for bytes in left {
            let bytes = bytes.expect("the name was synced");
            assert!(bytes.len() >= 700 && bytes[..700] == [1; 700], "synced bytes stay");
            assert!(bytes[700..].iter().all(|&byte| byte == 0 || byte == 2));
            let zero = bytes.iter().position(|&byte| byte == 0);
            holes += u32::from(zero.is_some_and(|at| bytes[at..].contains(&2)));
            prefixes += u32::from(zero.is_none() && bytes.len() < 2700);
            if let Some(at) = zero {
                assert!(at == 700 || at % SECTOR_BYTES == 0, "holes begin with a sector: {at}");
            }
        }
        assert!(holes > 0 && prefixes > 0);
    }

    #[test]
    fn a_later_sync_does_not_bring_back_what_a_failed_one_dropped() {
        let left = survivors(|disk| {
            let file = disk.open("folder/file", 0, 0).expect("no fault");
            disk.write(file, &[1; 512]).expect("no fault");
            disk.failing_syncs = 1;
            assert!(disk.sync(file).is_err());
            disk.write(file, &[2; 512]).expect("no fault");
            disk.sync(file).expect("it fails once");
            assert_eq!(
                disk.read("folder/file").map(|bytes| bytes[0]),
                Some(1),
                "as programs see it"
            );
        });
        let left: Vec<Vec<u8>> = left.into_iter().flatten().collect();
        assert!(left.iter().all(|bytes| bytes.len() == 1024 && bytes[512..] == [2; 512]));
        assert!(left.iter().any(|bytes| bytes[..512] == [0; 512]));
        assert!(left.iter().any(|bytes| bytes[..512] == [1; 512]));
    }

    #[test]
    fn a_sync_covers_what_was_there_when_it_began() {
        let left = survivors(|disk| {
            let file = disk.open("folder/file", 0, 0).expect("no fault");
            disk.write(file, b"before").expect("no fault");
            disk.write(file, b"meanwhile").expect("no fault");
            disk.sync_first(file, 6).expect("no fault");
        });
        assert!(left.iter().flatten().all(|bytes| bytes.starts_with(b"before")));
        assert!(left.iter().flatten().any(|bytes| bytes == b"before"));
    }

    #[test]
    fn a_cut_lasts_from_the_next_sync_on() {
        let cut = |syncs: bool| {
            survivors(move |disk| {
                let file = disk.open("folder/file", 0, 0).expect("no fault");
                disk.write(file, b"whole torn").expect("no fault");
                disk.sync(file).expect("no fault");
                disk.cut(file, 5).expect("no fault");
                if syncs {
                    disk.open("folder/file", 5, 5).expect("no fault");
                }
            })
        };
        let left: BTreeSet<_> = cut(false).into_iter().flatten().collect();
        assert_eq!(left, [b"whole".to_vec(), b"whole torn".to_vec()].into());
        let left: BTreeSet<_> = cut(true).into_iter().collect();
        assert_eq!(left, [Some(b"whole".to_vec())].into());
    }

    #[test]
    fn each_folder_is_synced_for_itself() {
        let left = survivors(|disk| {
            disk.create_folder_of("folder/file").expect("no fault");
            let file = disk.create("folder/file").expect("the folder exists");
            disk.sync(file).expect("no fault");
            disk.sync_folder_of("dump").expect("no fault");
        });
        assert!(left.contains(&None) && left.contains(&Some(Vec::new())));
        let left = survivors(|disk| {
            disk.folders.insert("folder".to_owned());
            let file = disk.create("folder/file").expect("the folder exists");
            disk.sync(file).expect("no fault");
            disk.sync_folder_of("folder/file").expect("no fault");
        });
        assert!(left.contains(&None), "the folder's own name was not synced");
        let mut disk = Disk::new(false);
        assert!(disk.create("folder/file").is_err() && disk.open("folder/file", 1, 1).is_err());
    }
}
