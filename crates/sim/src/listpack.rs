//! Listpacks, read in the plainest way: apart from the engine's on purpose.
//!
//! ```text
//!   bytes u32   elements u16   (encoding  data  length backwards)*   ff
//!
//!   0xxxxxxx                    number of 7 bits
//!   10xxxxxx                    string of up to 63 bytes
//!   110xxxxx x                  number of 13 bits, signed
//!   1110xxxx x                  string of up to 4095 bytes
//!   f0                          string with a length of 4 bytes
//!   f1 f2 f3 f4                 number of 2, 3, 4, 8 bytes
//! ```

/// The elements of a listpack as text.
pub fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let total = little_endian(bytes, 0, 4)? as usize;
    let count = little_endian(bytes, 4, 2)? as usize;
    if total != bytes.len() {
        return Err(format!("a listpack says it has {total} bytes and has {}", bytes.len()));
    }
    let (mut elements, mut at) = (Vec::new(), 6);
    while *part(bytes, at, 1)?.first().unwrap_or(&0) != 0xff {
        let (element, len) = element(&bytes[at..])?;
        elements.push(element);
        at += len;
        at += check_backwards(bytes, at, len)?;
    }
    if at + 1 != total {
        return Err(format!("a listpack ends at {at} of {total} bytes"));
    }
    if count != elements.len() && count != 0xffff {
        return Err(format!("a listpack of {} elements says {count}", elements.len()));
    }
    Ok(elements)
}

fn part(bytes: &[u8], at: usize, len: usize) -> Result<&[u8], String> {
    let part = at.checked_add(len).and_then(|end| bytes.get(at..end));
    part.ok_or_else(|| format!("a listpack ends before byte {}", at.saturating_add(len)))
}

fn little_endian(bytes: &[u8], at: usize, len: usize) -> Result<u64, String> {
    let digits = part(bytes, at, len)?.iter().rev();
    Ok(digits.fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// The first element, and its length without what is read backwards.
fn element(bytes: &[u8]) -> Result<(Vec<u8>, usize), String> {
    let first = little_endian(bytes, 0, 1)?;
    let text = |at: usize, len: u64| {
        let text = part(bytes, at, len as usize)?;
        Ok((text.to_vec(), at + len as usize))
    };
    let number = |value: u64, bits: u32, len: usize| {
        let shift = 64 - bits;
        let value = (value << shift) as i64 >> shift;
        Ok((value.to_string().into_bytes(), len))
    };
    match first {
        0..=0x7f => Ok((first.to_string().into_bytes(), 1)),
        0x80..=0xbf => text(1, first & 0x3f),
        0xc0..=0xdf => number((first & 0x1f) << 8 | little_endian(bytes, 1, 1)?, 13, 2),
        0xe0..=0xef => text(2, (first & 0xf) << 8 | little_endian(bytes, 1, 1)?),
        0xf0 => text(5, little_endian(bytes, 1, 4)?),
        0xf1..=0xf4 => {
            let len = [2, 3, 4, 8][(first - 0xf1) as usize];
            number(little_endian(bytes, 1, len)?, 8 * len as u32, 1 + len)
        }
        _ => Err(format!("a listpack's element begins with {first:02x}")),
    }
}

/// How many bytes at `at` say, seven bits each and the highest first, that an element of `len` bytes ends there.
fn check_backwards(bytes: &[u8], at: usize, len: usize) -> Result<usize, String> {
    // But for the first limit, stock servers stop one before what the digits could hold.
    let limits = [1 << 7, (1 << 14) - 1, (1 << 21) - 1, (1 << 28) - 1];
    let used = limits.iter().filter(|&&limit| len >= limit).count() + 1;
    let digits = part(bytes, at, used)?;
    let is = digits.iter().fold(0, |number, &byte| number << 7 | usize::from(byte & 0x7f));
    let marked = digits.iter().enumerate().all(|(i, &byte)| (byte & 0x80 != 0) == (i > 0));
    if is != len || !marked {
        return Err(format!("a listpack's element of {len} bytes says {is} backwards"));
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text of 16 378 bytes has a head of five; both take one byte less than 2^14, which stock servers write in three.
    #[test]
    fn the_limits_are_those_of_stock_servers() {
        for (text, backwards) in [(16_377, &[0x7f, 0xfe][..]), (16_378, &[0, 0xff, 0xff])] {
            let head = [&[0xf0][..], &(text as u32).to_le_bytes()].concat();
            let body = [&head[..], &vec![b'x'; text], backwards, &[0xff]].concat();
            let total = (body.len() as u32 + 6).to_le_bytes();
            let bytes = [&total[..], &[1, 0], &body].concat();
            assert_eq!(read(&bytes).map(|list| list[0].len()), Ok(text));
        }
    }

    #[test]
    fn what_is_written_by_hand_is_read() {
        let bytes = b"\x14\0\0\0\x04\0\x07\x01\x82hi\x03\xdf\xff\x02\xf1\x00\x80\x03\xff";
        let texts: Vec<Vec<u8>> = vec![b"7".into(), b"hi".into(), b"-1".into(), b"-32768".into()];
        assert_eq!(read(bytes), Ok(texts));
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err());
        }
        for (at, byte) in [(0, 0x15), (4, 3), (7, 2), (11, 4), (19, 0)] {
            let mut bytes = bytes.to_vec();
            bytes[at] = byte;
            assert!(read(&bytes).is_err(), "byte {at}");
        }
    }
}
