//! A message's block of headers.

/// Returns the names and values of a block as NATS clients read them; `None` where it is none.
///
/// Source: nats.go `DecodeHeadersMsg`; ADR-4 of nats-io/nats-architecture-and-design.
pub fn headers(block: &[u8]) -> Option<Vec<(&str, &str)>> {
    let block = std::str::from_utf8(block).ok()?;
    let (version, lines) = block.split_once("\r\n")?;
    if !version.starts_with("NATS/1.0") {
        return None;
    }
    let lines = lines.split("\r\n").take_while(|line| !line.is_empty());
    lines.map(|line| line.split_once(':').map(|(name, value)| (name, value.trim()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_come_in_order() {
        let block = b"NATS/1.0\r\nA: 1\r\nB:two:3\r\nA:\r\n\r\n";
        assert_eq!(headers(block).unwrap(), [("A", "1"), ("B", "two:3"), ("A", "")]);
        assert_eq!(headers(b"NATS/1.0\r\n\r\n").unwrap(), []);
        assert_eq!(headers(b"NATS/1.0 503\r\n\r\n").unwrap(), []);
    }

    #[test]
    fn what_is_no_block_is_none() {
        for block in [&b""[..], b"NATS/1.0", b"HTTP/1.1\r\n\r\n", b"NATS/1.0\r\nno colon\r\n\r\n"] {
            assert_eq!(headers(block), None);
        }
        assert_eq!(headers(b"NATS/1.0\r\nA: \xff\r\n\r\n"), None);
    }
}
