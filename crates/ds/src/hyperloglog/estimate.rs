//! The estimate from the registers.
//!
//! It is the improved raw estimator of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
//! (arXiv:1702.01284, algorithm 6), which needs the number of registers of each value only. With m registers of at most
//! q + 1, of which cₖ have the value k:
//!
//! ```text
//!   z = m·τ(1 − c₍q+1₎/m)·2^−q  +  Σ₍k = 1…q₎ cₖ·2^−k  +  m·σ(c₀/m)        estimate = m² / (2·ln 2·z)
//! ```
//!
//! σ stands for the registers that no element has met yet, τ for those that cannot grow any more; without them z is the harmonic
//! mean's sum.

use super::REGISTERS;

/// The greatest value of a register that a hash can give, minus one: bits of a hash behind its index.
const Q: usize = 64 - REGISTERS.trailing_zeros() as usize;

/// 1 / (2·ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// Tables of counts that are filled side by side, since registers next to each other are often equal, and an increment
/// would wait for the one before it.
const TABLES: usize = 4;

/// All registers, a byte each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers(pub(super) Box<[u8; REGISTERS]>);

impl Default for Registers {
    fn default() -> Registers {
        Registers(Box::new([0; REGISTERS]))
    }
}

impl Registers {
    /// Iterates over their values.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.iter().copied()
    }

    /// Estimates the number of different elements.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let m = REGISTERS as f64;
        let counts = self.counts();
        let mut z = m * tau((m - counts[Q + 1]) / m);
        for count in counts[1..=Q].iter().rev() {
            z = (z + count) * 0.5;
        }
        z += m * sigma(counts[0] / m);
        (ALPHA * m * m / z).round() as u64
    }

    /// Returns how many registers have each value.
    fn counts(&self) -> [f64; 64] {
        let mut tables = [[0_u16; 256]; TABLES];
        for registers in self.0.chunks_exact(TABLES) {
            for (table, register) in tables.iter_mut().zip(registers) {
                table[usize::from(*register)] += 1;
            }
        }
        std::array::from_fn(|value| tables.iter().map(|table| f64::from(table[value])).sum())
    }
}

/// σ(x) = x + Σ₍k ≥ 1₎ x^(2^k)·2^(k−1), until it does not change any more.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut sum, mut weight) = (x, 1.0);
    loop {
        x *= x;
        let next = sum + x * weight;
        if next == sum {
            return sum;
        }
        (sum, weight) = (next, weight * 2.0);
    }
}

/// τ(x) = (1 − x − Σ₍k ≥ 1₎ (1 − x^(2^−k))²·2^−k) / 3, until it does not change any more.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut sum, mut weight) = (1.0 - x, 1.0);
    loop {
        x = x.sqrt();
        weight *= 0.5;
        let next = sum - (1.0 - x) * (1.0 - x) * weight;
        if next == sum {
            return sum / 3.0;
        }
        sum = next;
    }
}
