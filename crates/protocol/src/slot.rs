//! Hash slots of Redis Cluster: CRC16 of the key, or of its hash tag, modulo 16384.

/// The number of slots.
pub const SLOTS: u16 = 16_384;

/// Bytes that are hashed at once.
const STEP: usize = 8;

/// Tables of CRC16 XMODEM (polynomial 0x1021, initial value 0): the first one by byte, each further one for a byte that is
/// followed by one more.
///
/// A byte at a time, each look-up needs the result of the one before. With a table for each of eight bytes, their look-ups
/// do not depend on each other, except those of the two bytes that the CRC so far is added to.
static TABLES: [[u16; 256]; STEP] = {
    let mut tables = [[0; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < STEP {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[behind - 1][byte];
            tables[behind][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
};

/// Returns the CRC16 XMODEM of `bytes`.
pub fn crc16(bytes: &[u8]) -> u16 {
    let (steps, rest) = bytes.as_chunks::<STEP>();
    let crc = steps.iter().fold(0, |crc, step| {
        let [first, second] = u16::to_be_bytes(crc);
        let mut step = *step;
        step[0] ^= first;
        step[1] ^= second;
        let by_table = step.iter().zip(TABLES.iter().rev());
        by_table.fold(0, |crc, (&byte, table)| crc ^ table[usize::from(byte)])
    });
    rest.iter().fold(crc, |crc, &b| (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ b)])
}

/// Returns the slot of a key. If there is a non-empty hash tag between the first `{` and the next
/// `}`, only the tag is hashed.
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    let hashed = if has_brace(key) { tag_of(key).unwrap_or(key) } else { key };
    crc16(hashed) % SLOTS
}

/// Whether there is a `{`. Most keys are short and have none: eight bytes at a time are less work than a call.
#[inline]
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; STEP]);
    let (steps, rest) = key.as_chunks::<STEP>();
    let has = |step: &[u8; STEP]| {
        // Subtracting 1 sets the top bit of a byte that is 0, which did not have it. The borrow can do the same to the byte
        // above, but only if there is a 0.
        let zero_if_brace = u64::from_ne_bytes(*step) ^ (ONES * b'{' as u64);
        zero_if_brace.wrapping_sub(ONES) & !zero_if_brace & (ONES << 7) != 0
    };
    steps.iter().any(has) || rest.contains(&b'{')
}

fn tag_of(key: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', key)?;
    let inside = &key[open + 1..];
    memchr::memchr(b'}', inside).filter(|&close| close > 0).map(|close| &inside[..close])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_at_once_are_those_one_by_one() {
        let bytes: Vec<u8> =
            (0..100_u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        for (first, last) in (0..10).flat_map(|first| (first..100).map(move |last| (first, last))) {
            let by_bit = |crc: u16, byte: &u8| {
                (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
                    if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 }
                })
            };
            let part = &bytes[first..last];
            assert_eq!(crc16(part), part.iter().fold(0, by_bit), "{first}..{last}");
        }
    }

    #[test]
    fn a_brace_is_found_wherever_it_is() {
        for len in 0..40 {
            let mut key: Vec<u8> = (0..len).map(|at: u8| at.wrapping_mul(37) | 0x80).collect();
            assert!(!has_brace(&key));
            for at in 0..key.len() {
                let byte = std::mem::replace(&mut key[at], b'{');
                assert!(has_brace(&key), "{at} of {len}");
                key[at] = byte;
            }
        }
        let others: Vec<u8> = (0..=u8::MAX).filter(|byte| *byte != b'{').collect();
        assert!(!has_brace(&others) && !has_brace(&others[3..]));
    }

    #[test]
    fn values_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), crc16(b"{bar") % SLOTS);
        assert_eq!(slot_of(b"foo{bar}{zap}"), crc16(b"bar") % SLOTS);
    }
}
