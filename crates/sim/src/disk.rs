//! A disk: what a file holds, what of it would survive a loss of power, and what can go wrong.
//!
//! ```text
//!   file     ██████████████████░░░░░░░░   synced │ written only: a random part survives, its end perhaps torn
//!   folder   name ──▶ file                a rename is seen at once and survives from the folder's sync on
//! ```

use std::collections::BTreeMap;

use crate::chance::Chance;

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    synced: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<u64, File>,
    next: u64,
    /// The folder as programs see it.
    seen: BTreeMap<String, u64>,
    /// The folder as a loss of power would leave it, but for what may or may not have got there.
    durable: BTreeMap<String, u64>,
    /// Writes fail with this, while it lasts.
    pub failing: Option<&'static str>,
    /// Whether a sync may lie about nothing but be slow; a factor on the time writes take.
    pub slowness: u64,
}

impl Disk {
    /// An empty disk.
    pub fn new() -> Disk {
        Disk { slowness: 1, ..Disk::default() }
    }

    /// Makes a file, or empties it; its number.
    pub fn create(&mut self, name: &str) -> Result<u64, String> {
        self.check()?;
        self.next += 1;
        self.files.insert(self.next, File::default());
        self.seen.insert(name.to_owned(), self.next);
        Ok(self.next)
    }

    fn check(&self) -> Result<(), String> {
        self.failing.map_or(Ok(()), |why| Err(why.to_owned()))
    }

    /// Appends to a file.
    pub fn write(&mut self, file: u64, bytes: &[u8]) -> Result<(), String> {
        self.check()?;
        if let Some(file) = self.files.get_mut(&file) {
            file.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Makes a file's bytes last.
    pub fn sync(&mut self, file: u64) -> Result<(), String> {
        self.check()?;
        if let Some(file) = self.files.get_mut(&file) {
            file.synced = file.bytes.len();
        }
        Ok(())
    }

    /// Gives a file another name, over whatever had it.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), String> {
        self.check()?;
        if let Some(file) = self.seen.remove(from) {
            self.seen.insert(to.to_owned(), file);
        }
        Ok(())
    }

    /// Makes the folder's names last.
    pub fn sync_folder(&mut self) -> Result<(), String> {
        self.check()?;
        self.durable = self.seen.clone();
        self.forget_unnamed();
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

    /// Power is lost: what was synced stays, of the rest a random part. True if a tail was torn.
    pub fn lose_power(&mut self, chance: &mut Chance) -> bool {
        let names: Vec<String> = self.seen.keys().chain(self.durable.keys()).cloned().collect();
        for name in names {
            // Each change of the folder that was not synced got there or did not.
            let new = self.seen.get(&name).copied();
            if new != self.durable.get(&name).copied() && chance.percent(50) {
                match new {
                    Some(file) => self.durable.insert(name, file),
                    None => self.durable.remove(&name),
                };
            }
        }
        self.seen = self.durable.clone();
        let mut torn = false;
        for file in self.files.values_mut() {
            let kept = file.synced + chance.index(file.bytes.len() - file.synced + 1);
            torn |= kept < file.bytes.len();
            file.bytes.truncate(kept);
            file.synced = kept;
        }
        self.forget_unnamed();
        torn
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
            let mut disk = Disk::new();
            let first = disk.create("temp").expect("no fault");
            disk.write(first, b"first").expect("no fault");
            disk.sync(first).expect("no fault");
            disk.rename("temp", "dump").expect("no fault");
            disk.sync_folder().expect("no fault");
            let second = disk.create("temp").expect("no fault");
            disk.write(second, b"second").expect("no fault");
            disk.sync(second).expect("no fault");
            disk.rename("temp", "dump").expect("no fault");
            let third = disk.create("temp").expect("no fault");
            disk.write(third, b"third").expect("no fault");
            torn += u32::from(disk.lose_power(&mut Chance::new(seed)));
            match disk.read("dump").as_deref() {
                Some(b"first") => old += 1,
                Some(b"second") => new += 1,
                other => panic!("neither of both: {other:?}"),
            }
        }
        assert!(torn > 0 && old > 0 && new > 0);
    }
}
