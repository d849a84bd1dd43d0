//! Bytes with several owners: blocks of the replication stream in the backlog and in the outboxes of
//! replicas, payloads, messages. Each is counted once, for as long as anybody owns it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes of all blocks that it created and that still have an owner. Owners may be on
/// other threads.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<AtomicUsize>);

impl Meter {
    /// Returns the bytes of all blocks.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Creates a block of these bytes.
    pub fn share(&self, bytes: Vec<u8>) -> Arc<Shared> {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Arc::new(Shared { bytes, meter: self.clone() })
    }
}

/// A block of bytes that are shared by its owners.
#[derive(Debug)]
pub struct Shared {
    bytes: Vec<u8>,
    meter: Meter,
}

impl Shared {
    /// Appends bytes, which takes an only owner.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.meter.0.fetch_add(bytes.len(), Ordering::Relaxed);
        self.bytes.extend_from_slice(bytes);
    }

    /// Creates a block of the bytes from an index on.
    pub fn copy_from(&self, start: usize) -> Arc<Shared> {
        self.meter.share(self.bytes[start..].to_vec())
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.meter.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_counts_once_until_its_last_owner_is_gone() {
        let meter = Meter::default();
        let mut block = meter.share(vec![1; 10]);
        Arc::get_mut(&mut block).expect("the only owner").extend(&[2; 5]);
        let owners: Vec<_> = (0..100).map(|_| block.clone()).collect();
        assert_eq!(meter.bytes(), 15);
        let rest = block.copy_from(10);
        assert_eq!((&**rest, meter.bytes()), (&[2; 5][..], 20));
        drop((block, rest));
        assert_eq!(meter.bytes(), 15);
        drop(owners);
        assert_eq!(meter.bytes(), 0);
    }
}
