//! HyperLogLogs: estimates of how many different elements were added, within some 0.81 %, in 12 KiB at most.
//!
//! # The idea
//!
//! Each element is hashed to 64 bits. Of random bits, one in two numbers ends in 1, one in four in 10, one in 2ⁿ in a 1 and
//! n−1 zeros. So whoever has seen a hash that ends in a 1 and 19 zeros has probably seen some 2²⁰ different hashes; and an
//! element that comes again does not change that. One such record alone would be a poor estimate. So 14 bits of the hash pick one of
//! 16384 registers, and each keeps the record of its share of the elements. Their harmonic mean, corrected for registers
//! that are still zero or already full, is the estimate (`estimate.rs`).
//!
//! # The bytes
//!
//! They are those of stock servers, which keep them in strings:
//!
//! ```text
//!  0              4    5         8                         16
//! ┌──────────────┬────┬─────────┬─────────────────────────┬───────────────────────────
//! │ H  Y  L  L   │form│ unused  │ last estimate (LE), its │ registers
//! │              │    │         │ top bit: it is outdated │
//! └──────────────┴────┴─────────┴─────────────────────────┴───────────────────────────
//! ```
//!
//! * Form 0, *dense*: 6 bits for each register, from the least significant bit of the first byte on (`dense.rs`).
//! * Form 1, *sparse*: runs of equal registers (`sparse.rs`). It becomes dense when it is longer than a limit, or when a
//!   register is greater than 32.
//!
//! Clients may store any bytes under this magic. So every run is checked when it is read: those that do not add up to 16384
//! registers are [`Corrupt`].

mod dense;
mod estimate;
mod hash;
mod sparse;

pub use dense::DENSE_BYTES;
pub use estimate::Registers;
pub use hash::{Place, hash};
pub use sparse::Run;

/// The number of registers.
pub const REGISTERS: usize = 1 << 14;

/// Bytes before the registers.
const HEADER_BYTES: usize = 16;
const MAGIC: &[u8] = b"HYLL";
const FORM_AT: usize = 4;
const CACHE_AT: usize = 8;

/// The top bit of the last byte of the estimate: elements were added since.
const OUTDATED: u8 = 0x80;

/// The runs of a sparse one are not 16384 registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// How registers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Six bits each.
    Dense,
    /// As runs.
    Sparse,
}

/// A HyperLogLog within the bytes of a string. Its header is valid; its runs may not be.
#[derive(Clone, Copy, Debug)]
pub struct HyperLogLog<'a> {
    bytes: &'a [u8],
    form: Form,
}

impl<'a> HyperLogLog<'a> {
    /// Returns what the bytes contain; none if their header or length is that of something else.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Option<HyperLogLog<'a>> {
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
            return None;
        }
        let form = match bytes[FORM_AT] {
            0 if bytes.len() == DENSE_BYTES => Form::Dense,
            1 => Form::Sparse,
            _ => return None,
        };
        Some(HyperLogLog { bytes, form })
    }

    /// Returns how its registers are stored.
    #[must_use]
    pub fn form(self) -> Form {
        self.form
    }

    fn body(self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Returns the last estimate, if nothing was added since.
    #[must_use]
    pub fn cached(self) -> Option<u64> {
        let cache = self.bytes[CACHE_AT..HEADER_BYTES].try_into().ok().map(u64::from_le_bytes);
        cache.filter(|cache| cache >> 63 == 0)
    }

    /// Estimates the number of different elements.
    ///
    /// # Errors
    /// If it is corrupt.
    pub fn estimate(self) -> Result<u64, Corrupt> {
        let mut registers = Registers::default();
        self.merge_into(&mut registers)?;
        Ok(registers.estimate())
    }

    /// Raises registers to its own where these are greater.
    ///
    /// # Errors
    /// If it is corrupt; registers may have been raised.
    pub fn merge_into(self, registers: &mut Registers) -> Result<(), Corrupt> {
        match self.form {
            Form::Dense => {
                dense::merge(self.body(), registers);
                Ok(())
            }
            Form::Sparse => sparse::merge(self.body(), registers),
        }
    }

    /// Iterates over the runs of a sparse one.
    pub fn runs(self) -> impl Iterator<Item = Result<Run, Corrupt>> + use<'a> {
        sparse::runs(if self.form == Form::Sparse { self.body() } else { &[] })
    }

    /// Whether adding an element with this place would raise a register.
    ///
    /// # Errors
    /// If it is corrupt before that register.
    pub fn is_raised_by(self, place: Place) -> Result<bool, Corrupt> {
        let register = match self.form {
            Form::Dense => dense::get(self.body(), place.register),
            Form::Sparse => {
                sparse::find(self.body(), place.register, sparse::Hint::default())?.run.value
            }
        };
        Ok(place.rank > register)
    }

    /// Returns a dense one with the same header and registers.
    ///
    /// # Errors
    /// If it is corrupt.
    pub fn to_dense(self) -> Result<Vec<u8>, Corrupt> {
        let mut registers = Registers::default();
        self.merge_into(&mut registers)?;
        Ok(self.with_registers(&registers))
    }

    /// Returns a dense one with the same header and these registers.
    #[must_use]
    pub fn with_registers(self, registers: &Registers) -> Vec<u8> {
        let mut bytes = vec![0; DENSE_BYTES];
        bytes[..HEADER_BYTES].copy_from_slice(&self.bytes[..HEADER_BYTES]);
        bytes[FORM_AT] = 0;
        dense::put(&mut bytes[HEADER_BYTES..], registers);
        bytes
    }
}

/// Creates one without elements, which is sparse.
#[must_use]
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[FORM_AT] = 1;
    sparse::push_zeros(&mut bytes, REGISTERS);
    bytes
}

/// Stores an estimate.
///
/// # Panics
/// If the bytes are not a HyperLogLog.
pub fn set_cached(bytes: &mut [u8], estimate: u64) {
    bytes[CACHE_AT..HEADER_BYTES].copy_from_slice(&estimate.to_le_bytes());
}

/// Marks the last estimate as outdated.
///
/// # Panics
/// If the bytes are not a HyperLogLog.
pub fn set_outdated(bytes: &mut [u8]) {
    bytes[HEADER_BYTES - 1] |= OUTDATED;
}

/// Adds an element with this place to a dense HyperLogLog. Returns whether a register was raised.
///
/// # Panics
/// If the bytes are not a dense HyperLogLog.
pub fn add_to_dense(bytes: &mut [u8], place: Place) -> bool {
    let body = &mut bytes[HEADER_BYTES..DENSE_BYTES];
    let is_raised = place.rank > dense::get(body, place.register);
    if is_raised {
        dense::set(body, place.register, place.rank);
        set_outdated(bytes);
    }
    is_raised
}

/// Adds elements to a HyperLogLog of any form, which becomes dense if the sparse one would be longer than a limit.
#[derive(Debug)]
pub struct Adder {
    bytes: Vec<u8>,
    sparse_max: usize,
    hint: sparse::Hint,
    /// Whether it was sparse when it was looked at last.
    is_sparse: bool,
}

impl Adder {
    /// Continues with these bytes; none if they are no HyperLogLog.
    #[must_use]
    pub fn new(bytes: Vec<u8>, sparse_max: usize) -> Option<Adder> {
        let is_sparse = HyperLogLog::of(&bytes)?.form() == Form::Sparse;
        Some(Adder { bytes, sparse_max, hint: sparse::Hint::default(), is_sparse })
    }

    /// Returns the resulting bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds an element with this place. Returns whether a register was raised.
    ///
    /// # Errors
    /// If it is corrupt.
    pub fn add(&mut self, place: Place) -> Result<bool, Corrupt> {
        if self.is_sparse {
            let most = self.sparse_max.saturating_sub(HEADER_BYTES);
            match sparse::raise(&mut self.bytes, HEADER_BYTES, place, most, &mut self.hint)? {
                sparse::Raised::Not => return Ok(false),
                sparse::Raised::Yes => {
                    set_outdated(&mut self.bytes);
                    return Ok(true);
                }
                sparse::Raised::NeedsDense => {}
            }
            self.bytes = HyperLogLog { bytes: &self.bytes, form: Form::Sparse }.to_dense()?;
            self.is_sparse = false;
        }
        Ok(add_to_dense(&mut self.bytes, place))
    }
}
