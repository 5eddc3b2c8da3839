//! What a delivery's reply subject says.

use std::str;

/// `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, with a domain
/// and an account hash before the stream in newer servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery<'a> {
    pub stream: &'a str,
    pub consumer: &'a str,
    pub stream_seq: u64,
    pub consumer_seq: u64,
    pub time: i64,
    /// The subject up to the numbers.
    pub prefix: &'a str,
}

impl<'a> Delivery<'a> {
    /// Reads a reply subject; `None` when it is none of a delivery.
    pub fn parse(reply: &'a [u8]) -> Option<Self> {
        const ACK: &str = "$JS.ACK.";
        let reply = str::from_utf8(reply).ok()?;
        let mut tokens = [""; 10];
        let mut count = 0;
        for token in reply.strip_prefix(ACK)?.split('.') {
            // The last token of the newer form is random and of no use.
            if let Some(place) = tokens.get_mut(count) {
                *place = token;
            }
            count += 1;
        }
        let names = match count {
            7 => 0,
            9.. => 2,
            _ => return None,
        };
        let before: usize = tokens[..names + 2].iter().map(|token| token.len() + 1).sum();
        Some(Self {
            stream: tokens[names],
            consumer: tokens[names + 1],
            stream_seq: tokens[names + 3].parse().ok()?,
            consumer_seq: tokens[names + 4].parse().ok()?,
            time: tokens[names + 5].parse().ok()?,
            prefix: &reply[..ACK.len() + before],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let expected = Delivery {
            stream: "S",
            consumer: "c",
            stream_seq: 7,
            consumer_seq: 5,
            time: 9,
            prefix: "$JS.ACK.S.c.",
        };
        assert_eq!(Delivery::parse(b"$JS.ACK.S.c.1.7.5.9.0"), Some(expected));
        let newer = Delivery { prefix: "$JS.ACK._.hash.S.c.", ..expected };
        assert_eq!(Delivery::parse(b"$JS.ACK._.hash.S.c.1.7.5.9.0.random"), Some(newer));
        for other in ["", "$JS.ACK.S.c.1.7.5.9", "$JS.ACK.S.c.1.x.5.9.0", "_INBOX.a"] {
            assert_eq!(Delivery::parse(other.as_bytes()), None, "{other}");
        }
    }
}
