//! The name of a node, and of a shard: 40 lowercase hexadecimal digits.

use std::fmt;

/// Length of a name in bytes.
pub const NODE_ID_LEN: usize = 40;

/// The name of a node or shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; NODE_ID_LEN]);

impl NodeId {
    /// Parses a name; none unless it has 40 of the characters `0-9` and `a-f`.
    pub fn parse(text: &[u8]) -> Option<NodeId> {
        let bytes: [u8; NODE_ID_LEN] = text.try_into().ok()?;
        // Without an early end, so that all are compared at once.
        let is_digit = |byte: u8| byte.wrapping_sub(b'0') < 10 || byte.wrapping_sub(b'a') < 6;
        let is_hex = bytes.iter().fold(true, |is_hex, byte| is_hex & is_digit(*byte));
        is_hex.then_some(NodeId(bytes))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the text as bytes.
    pub fn as_bytes(&self) -> &[u8; NODE_ID_LEN] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lowercase_hexadecimal_digits_are_a_name() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(NodeId::parse(text.as_bytes()).unwrap().to_string(), text);
        for bad in
            [&text[1..], &text.to_uppercase(), &format!("{text}0"), &text.replace('f', "g"), ""]
        {
            assert_eq!(NodeId::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(NodeId::parse(&[0; NODE_ID_LEN]), None);
    }
}
