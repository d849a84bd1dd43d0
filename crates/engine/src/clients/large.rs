//! Long arguments of a request, which are read straight into the buffer that becomes the value.
//!
//! ```text
//!   query buffer    *3 $3 SET $1 k $536870912 │          what follows the argument is appended here
//!   large argument                            └─▶ [header's room][bytes received so far …      ]
//! ```
//!
//! As soon as a part of a long argument has arrived, it moves out of the query buffer into a buffer of
//! the claimed length, and the rest is read there. So a value of any length is neither moved while it
//! arrives nor copied when it is stored, and its memory is touched only as far as it has arrived.

use russet_ds::SharedBytes;
use russet_ds::size::class_size;

/// An argument of which a part has arrived.
#[derive(Debug)]
pub(super) struct Filling {
    /// Its bytes, behind room for the header of a block.
    pub(super) bytes: Vec<u8>,
    /// The length of `bytes` when it is complete.
    len: usize,
}

impl Filling {
    /// Begins an argument of `len` bytes with those that have arrived. Returns none if there is not
    /// enough memory or address space.
    pub(super) fn new(len: usize, arrived: &[u8]) -> Option<Filling> {
        let whole = len.checked_add(SharedBytes::HEADROOM)?;
        let mut bytes = Vec::new();
        // What the allocator gives anyway, so that the value can be appended to.
        bytes.try_reserve_exact(class_size(whole)).ok()?;
        bytes.resize(SharedBytes::HEADROOM, 0);
        bytes.extend_from_slice(arrived);
        Some(Filling { bytes, len: whole })
    }

    /// Whether all its bytes have arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.bytes.len() >= self.len
    }

    /// Returns the complete argument, and moves what was read beyond its end.
    pub(super) fn finish(mut self, beyond: &mut Vec<u8>) -> SharedBytes {
        beyond.extend_from_slice(&self.bytes[self.len..]);
        self.bytes.truncate(self.len);
        SharedBytes::from_vec(self.bytes)
    }
}

/// The long arguments of a request.
#[derive(Debug, Default)]
pub(crate) struct Large {
    /// Where they were in the request.
    pub(crate) places: Vec<usize>,
    /// Those that are complete, in order.
    pub(crate) arguments: Vec<SharedBytes>,
}

impl Large {
    /// Whether there are none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the bytes of those that are complete.
    pub(crate) fn len(&self) -> usize {
        self.arguments.iter().map(|bytes| bytes.len()).sum()
    }

    /// Returns the bytes that are freed with them: those of arguments that did not become values.
    pub(crate) fn own_bytes(&self) -> usize {
        let own = self.arguments.iter().filter(|bytes| !bytes.is_shared());
        own.map(|bytes| bytes.len()).sum()
    }
}
