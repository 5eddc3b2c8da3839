//! The public half of a NATS user's key.

use super::error::{Problem, check_chars, check_len};
use super::macros::validated_name;

/// The first byte of a user's public key; in base32 it begins with `U`.
const USER: u8 = 20 << 3;
/// One byte of kind, 32 of Ed25519, two of checksum.
const BYTES: usize = 35;

validated_name! {
    /// A user's public nkey. Its seed is a secret; this is none.
    ///
    /// The checksum is checked, so a key that was mistyped or cut is refused.
    UserKey {
        kind: "user nkey",
        rule: "the public nkey of a user is 56 characters of `A` to `Z` and `2` to `7`, begins with `U` and ends with a checksum",
        len: 56..=56,
        pattern: "^U[A-Z2-7]{55}$",
        check: check_user_key,
    }
}

fn check_user_key(value: &str) -> Result<(), Problem> {
    check_len(value, UserKey::MAX_LEN, UserKey::MAX_LEN)?;
    check_chars(value, |c| matches!(c, 'A'..='Z' | '2'..='7'))?;
    let bytes = decode(value.as_bytes());
    if bytes[0] != USER {
        return Err(Problem::Shape("is no user's"));
    }
    let (key, sum) = bytes.split_at(BYTES - 2);
    if crc16(key).to_le_bytes() != *sum {
        return Err(Problem::Shape("has a wrong checksum"));
    }
    Ok(())
}

/// Decodes base32 of 56 characters that were checked.
fn decode(text: &[u8]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let (mut buffer, mut bits, mut at) = (0_u32, 0, 0);
    for &c in text {
        let value = if c.is_ascii_uppercase() { c - b'A' } else { c - b'2' + 26 };
        buffer = buffer << 5 | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes[at] = (buffer >> bits & 0xff) as u8;
            at += 1;
        }
    }
    bytes
}

/// Returns the CRC-16 with polynomial 0x1021 from 0, high bit first, as in nkeys.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From NATS's own documentation.
    const KEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn a_published_key_is_taken_and_one_with_a_slip_is_not() {
        UserKey::new(KEY).unwrap();
        for at in 1..KEY.len() {
            let mut slip = KEY.as_bytes().to_vec();
            slip[at] = if slip[at] == b'Q' { b'R' } else { b'Q' };
            let slip = String::from_utf8(slip).unwrap();
            assert!(UserKey::new(&*slip).is_err(), "`{slip}` was accepted");
        }
        // A seed and an account's key are no user's.
        for refused in [
            "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
            "ACODERUVFFAWZQDSS6SBIACUA5O6SXF7HJ3YTYXBALHZP3P7R4BUO4J2",
        ] {
            assert!(UserKey::new(refused).is_err(), "`{refused}` was accepted");
        }
    }
}
