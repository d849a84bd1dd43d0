//! Dense registers: 6 bits each, the first in the least significant bits of the first byte.
//!
//! ```text
//!   byte       0          1          2
//!   bits    7 6 5…0    7…4 3…0    7…2 1 0
//!           │ └ r0     │   └ r1   │   └ r2
//!           └ r1       └ r2       └ r3            three bytes are four registers
//! ```
//!
//! All of them are unpacked eight at a time: 48 bits are spread over 64 in three steps, each of which moves the upper half of every
//! field away from its lower half. Packing does the same backwards.

use super::{HEADER_BYTES, REGISTERS, Registers};

/// Bits of a register.
const WIDTH: usize = 6;
const MASK: u8 = (1 << WIDTH) - 1;

/// The length of a dense HyperLogLog.
pub const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * WIDTH / 8;

/// Bytes of eight registers.
const GROUP_BYTES: usize = WIDTH;

/// The fields that each step moves by a distance: lower halves, upper halves.
const STEPS: [(u64, u64, u32); 3] = [
    (0x0000_0000_00ff_ffff, 0x0000_ffff_ff00_0000, 8),
    (0x0000_0fff_0000_0fff, 0x00ff_f000_00ff_f000, 4),
    (0x003f_003f_003f_003f, 0x0fc0_0fc0_0fc0_0fc0, 2),
];

pub(super) fn get(body: &[u8], register: usize) -> u8 {
    let (byte, shift) = (register * WIDTH / 8, register * WIDTH % 8);
    let next = body.get(byte + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([body[byte], next]) >> shift) as u8 & MASK
}

pub(super) fn set(body: &mut [u8], register: usize, value: u8) {
    let (byte, shift) = (register * WIDTH / 8, register * WIDTH % 8);
    let next = body.get(byte + 1).copied().unwrap_or(0);
    let both = u16::from_le_bytes([body[byte], next]);
    let both = both & !(u16::from(MASK) << shift) | u16::from(value & MASK) << shift;
    let [low, high] = both.to_le_bytes();
    body[byte] = low;
    if let Some(next) = body.get_mut(byte + 1) {
        *next = high;
    }
}

/// Raises registers to those of a dense HyperLogLog.
pub(super) fn merge(body: &[u8], registers: &mut Registers) {
    let groups = body.chunks_exact(GROUP_BYTES);
    for (group, registers) in groups.zip(registers.0.chunks_exact_mut(8)) {
        let mut word = [0; 8];
        word[..GROUP_BYTES].copy_from_slice(group);
        let spread = STEPS.iter().fold(u64::from_le_bytes(word), |bits, (low, high, by)| {
            (bits & low) | ((bits & high) << by)
        });
        let values = spread.to_le_bytes();
        for (register, value) in registers.iter_mut().zip(values) {
            *register = (*register).max(value);
        }
    }
}

/// Stores all registers.
pub(super) fn put(body: &mut [u8], registers: &Registers) {
    let groups = body.chunks_exact_mut(GROUP_BYTES);
    for (group, registers) in groups.zip(registers.0.chunks_exact(8)) {
        let spread = u64::from_le_bytes(registers.try_into().expect("eight registers"));
        let packed = STEPS
            .iter()
            .rev()
            .fold(spread, |bits, (low, high, by)| (bits & low) | ((bits >> by) & high));
        group.copy_from_slice(&packed.to_le_bytes()[..GROUP_BYTES]);
    }
}
