//! Numbers as nats-server's binary formats have them.

/// Writes an LEB128 number, as Go's `binary.PutUvarint`.
pub(super) fn uvarint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}
