//! Content ids: names that follow from content.

use sha2::{Digest, Sha256};

use super::error::{Problem, check_len};
use super::macros::validated_name;

/// Multicodec of bytes that are not interpreted.
const RAW: u8 = 0x55;
/// Multihash code of SHA-256.
const SHA2_256: u8 = 0x12;
/// The longest digest that a multihash of the common functions has, in bytes.
const DIGEST_MAX: usize = 64;
/// RFC 4648, lowercase, as multibase `b` has it.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

validated_name! {
    /// A content id: a CID of version 1, as IPLD defines it, in lowercase base32 without padding.
    ///
    /// It holds a codec (how the content is to be read), a hash function and the digest of the
    /// content's bytes, so that anybody who holds the bytes can check them. CIDs have other
    /// spellings (version 0, other bases); they are refused, so that equal strings mean equal content
    /// and unequal ones mean another codec, hash or content.
    ///
    /// [`ContentId::of`] makes ids with codec `raw` and SHA-256, `bafkrei…`. Ids that others made with
    /// another codec or hash function are kept as they are, but only SHA-256 can be verified here.
    ContentId {
        kind: "content id",
        rule: "a content id is a version 1 CID in lowercase base32, `b…`",
        len: 8..=136,
        pattern: "^b[a-z2-7]+$",
        check: check_cid,
    }
}

/// A content id's hash function is not one that this version computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to verify content: hash function `0x{0:x}` is unknown, only SHA-256 (`0x12`) is known"
)]
pub struct UnknownHash(pub u64);

impl ContentId {
    /// Returns the id of these bytes: codec `raw`, SHA-256.
    pub fn of(content: &[u8]) -> Self {
        let mut cid = vec![1, RAW, SHA2_256, 32];
        cid.extend_from_slice(&Sha256::digest(content));
        Self(encode(&cid))
    }

    /// Reports whether these are the bytes that the id was made of.
    ///
    /// # Errors
    /// When the id's hash function is not SHA-256: the bytes are then neither right nor wrong.
    pub fn verify(&self, content: &[u8]) -> Result<bool, UnknownHash> {
        let cid = self.parts();
        if cid.hash != u64::from(SHA2_256) {
            return Err(UnknownHash(cid.hash));
        }
        Ok(cid.digest == Sha256::digest(content).as_slice())
    }

    /// Returns the multicodec of the content's format; `0x55` is raw bytes.
    pub fn codec(&self) -> u64 {
        self.parts().codec
    }

    fn parts(&self) -> Cid {
        parse(&self.0).expect("the id was checked when it was made")
    }
}

struct Cid {
    codec: u64,
    hash: u64,
    digest: Vec<u8>,
}

fn check_cid(value: &str) -> Result<(), Problem> {
    check_len(value, 1, ContentId::MAX_LEN)?;
    parse(value).map(|_| ())
}

fn parse(value: &str) -> Result<Cid, Problem> {
    let text = value.strip_prefix('b').ok_or(Problem::Shape("does not begin with `b`"))?;
    let bytes = decode(text)?;
    let mut rest = bytes.as_slice();
    if varint(&mut rest)? != 1 {
        return Err(Problem::Shape("is not of CID version 1"));
    }
    let codec = varint(&mut rest)?;
    let hash = varint(&mut rest)?;
    let len = varint(&mut rest)?;
    if rest.is_empty() || rest.len() > DIGEST_MAX || rest.len() as u64 != len {
        return Err(Problem::Shape("has a digest of the wrong length"));
    }
    if hash == u64::from(SHA2_256) && len != 32 {
        return Err(Problem::Shape("has a digest that SHA-256 does not make"));
    }
    Ok(Cid { codec, hash, digest: rest.to_vec() })
}

/// Reads an unsigned varint of multiformats: at most nine bytes, and the shortest form only.
fn varint(bytes: &mut &[u8]) -> Result<u64, Problem> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            if byte == 0 && i > 0 {
                return Err(Problem::Shape("has a number that is not in its shortest form"));
            }
            *bytes = &bytes[i + 1..];
            return Ok(value);
        }
    }
    Err(Problem::Shape("ends within a number"))
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(1 + (bytes.len() * 8).div_ceil(5));
    text.push('b');
    let (mut buffer, mut bits) = (0_u32, 0);
    for &byte in bytes {
        buffer = buffer << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(symbol(buffer >> bits));
        }
    }
    if bits > 0 {
        text.push(symbol(buffer << (5 - bits)));
    }
    text
}

fn symbol(bits: u32) -> char {
    char::from(ALPHABET[(bits & 31) as usize])
}

fn decode(text: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut buffer, mut bits) = (0_u32, 0);
    for (at, found) in text.char_indices() {
        let value = match found {
            'a'..='z' => found as u32 - 'a' as u32,
            '2'..='7' => found as u32 - '2' as u32 + 26,
            // The prefix `b` comes before the text.
            _ => return Err(Problem::Character { found, at: at + 1 }),
        };
        buffer = buffer << 5 | value;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits & 0xff) as u8);
        }
    }
    // Otherwise several strings would name the same bytes.
    if bits >= 5 || buffer & ((1 << bits) - 1) != 0 {
        return Err(Problem::Shape("is cut or has stray bits at its end"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_and_verifies_the_published_id_of_hello_world() {
        // `ipfs add --cid-version 1 --raw-leaves` of the eleven bytes.
        let id = ContentId::of(b"hello world");
        assert_eq!(id.as_str(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
        assert_eq!(id.codec(), u64::from(RAW));
        assert_eq!(id.verify(b"hello world"), Ok(true));
        assert_eq!(id.verify(b"hello worlD"), Ok(false));
    }

    #[test]
    fn keeps_foreign_codecs_and_hashes_but_verifies_sha256_only() {
        // Codec 0x300100 in a four-byte varint, BLAKE3.
        let mut bytes = vec![1, 0x80, 0x82, 0xc0, 0x01, 0x1e, 32];
        bytes.extend([7; 32]);
        let id = ContentId::new(encode(&bytes)).unwrap();
        assert_eq!(id.codec(), 0x0030_0100);
        assert_eq!(id.verify(b""), Err(UnknownHash(0x1e)));
    }

    #[test]
    fn has_one_spelling_only() {
        let padded_number = {
            let mut bytes = vec![1, 0xd5, 0x00, 0x12, 32];
            bytes.extend([7; 32]);
            encode(&bytes)
        };
        let good = ContentId::of(b"x").to_string();
        let last = good.chars().last().unwrap();
        let stray = {
            let at = ALPHABET.iter().position(|&c| char::from(c) == last).unwrap();
            format!("{}{}", &good[..good.len() - 1], char::from(ALPHABET[at | 1]))
        };
        for refused in [
            padded_number,
            good.to_uppercase(),
            format!("z{}", &good[1..]),
            format!("{good}a"),
            good[..good.len() - 1].to_owned(),
            "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o".to_owned(),
        ] {
            assert!(ContentId::new(&*refused).is_err(), "`{refused}` was accepted");
        }
        assert_ne!(stray, good);
        assert!(ContentId::new(stray).is_err());
    }
}
