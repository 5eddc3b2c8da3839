//! S2, what a server's snapshots are packed with, unpacked as it comes.
//!
//! Frames are those of Snappy (google/snappy framing_format.txt); blocks are Snappy's too, with repeats
//! (klauspost/compress s2, "Format extensions"): a copy of one byte's offset that is 0 goes on with the offset before it.

/// Most bytes that a frame may unpack to.
const BLOCK: usize = 4 << 20;
const IDENTIFIERS: [&[u8]; 2] = [b"S2sTwO", b"sNaPpY"];
/// Bytes of a frame's kind and length.
const HEAD: usize = 4;
/// Bytes of a frame's checksum.
const SUM: usize = 4;

/// The bytes that were unpacked so far.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// The part of the next frame that was read.
    begun: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// An input that is no S2, or was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was sent is no S2")]
pub(super) struct NotS2;

impl Unpacked {
    /// Takes in what comes next.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), NotS2> {
        self.begun.extend_from_slice(chunk);
        let begun = std::mem::take(&mut self.begun);
        let mut rest = &begun[..];
        while let Some((head, behind)) = rest.split_at_checked(HEAD) {
            let length =
                usize::from(head[1]) | usize::from(head[2]) << 8 | usize::from(head[3]) << 16;
            let Some((frame, behind)) = behind.split_at_checked(length) else { break };
            self.frame(head[0], frame)?;
            rest = behind;
        }
        self.begun = rest.to_vec();
        Ok(())
    }

    fn frame(&mut self, kind: u8, frame: &[u8]) -> Result<(), NotS2> {
        let from = self.bytes.len();
        match kind {
            0x00 | 0x01 => {
                let (sum, data) = frame.split_at_checked(SUM).ok_or(NotS2)?;
                if kind == 0 {
                    unpack(data, &mut self.bytes)?;
                } else {
                    self.bytes.extend_from_slice(data);
                }
                let found = crc32c::crc32c(&self.bytes[from..]);
                let found = found.rotate_right(15).wrapping_add(0xa282_ead8);
                if sum != found.to_le_bytes() {
                    return Err(NotS2);
                }
            }
            0xff if IDENTIFIERS.contains(&frame) => {}
            // Padding, an index, and what else may be passed over.
            0x80..=0xfe => {}
            _ => return Err(NotS2),
        }
        Ok(())
    }
}

/// Takes as many bytes.
fn take<'a>(from: &mut &'a [u8], count: usize) -> Result<&'a [u8], NotS2> {
    let (taken, rest) = from.split_at_checked(count).ok_or(NotS2)?;
    *from = rest;
    Ok(taken)
}

/// Takes a number of up to four bytes, the lowest first.
fn number(from: &mut &[u8], bytes: usize) -> Result<usize, NotS2> {
    let taken = take(from, bytes)?;
    Ok(taken.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// Unpacks a block and appends it.
fn unpack(mut block: &[u8], out: &mut Vec<u8>) -> Result<(), NotS2> {
    let length =
        super::entries::uvarint(&mut block).and_then(|length| usize::try_from(length).ok());
    let length = length.filter(|length| *length <= BLOCK).ok_or(NotS2)?;
    let (from, end) = (out.len(), out.len() + length);
    let mut offset = 0;
    while let Some((tag, rest)) = block.split_first() {
        block = rest;
        let high = usize::from(tag >> 2);
        let copied = match tag & 3 {
            0 => {
                let literal = match high {
                    60.. => number(&mut block, high - 59)?,
                    _ => high,
                };
                let literal = take(&mut block, literal + 1)?;
                if literal.len() > end - out.len() {
                    return Err(NotS2);
                }
                out.extend_from_slice(literal);
                continue;
            }
            1 => {
                let short = high & 7;
                let found = usize::from(tag >> 5) << 8 | number(&mut block, 1)?;
                if found > 0 {
                    offset = found;
                    short + 4
                } else {
                    match short {
                        5 => number(&mut block, 1)? + 8,
                        6 => number(&mut block, 2)? + (1 << 8) + 4,
                        7 => number(&mut block, 3)? + (1 << 16) + 4,
                        _ => short + 4,
                    }
                }
            }
            2 => {
                offset = number(&mut block, 2)?;
                high + 1
            }
            _ => {
                offset = number(&mut block, 4)?;
                high + 1
            }
        };
        if offset == 0 || offset > out.len() - from || copied > end - out.len() {
            return Err(NotS2);
        }
        // What is copied may overlap with what it makes.
        let begin = out.len() - offset;
        for at in begin..begin + copied {
            out.push(out[at]);
        }
    }
    if out.len() == end { Ok(()) } else { Err(NotS2) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::super::entries::put_uvarint;
    use super::*;

    fn unpacked(block: &[u8]) -> Result<Vec<u8>, NotS2> {
        let mut out = b"before".to_vec();
        unpack(block, &mut out).map(|()| out.split_off(6))
    }

    #[test]
    fn copies_overlap_and_repeat() {
        // `abcd`, 8 bytes from 4 back, 4 more of the same, `x`.
        let block = [17, 3 << 2, b'a', b'b', b'c', b'd', 1 | 4 << 2, 4, 1, 0, 0, b'x'];
        assert_eq!(unpacked(&block).unwrap(), b"abcdabcdabcdabcdx");
        for (short, more, length) in [(5, &[4][..], 12), (6, &[4, 0], 264), (7, &[1, 0, 0], 65_541)]
        {
            let mut block = Vec::new();
            put_uvarint(&mut block, length + 5);
            // `y`, 4 bytes from 1 back, and more of them.
            block.extend([0, b'y', 1, 1, 1 | short << 2, 0]);
            block.extend(more);
            let found = unpacked(&block).unwrap();
            assert_eq!(found, vec![b'y'; usize::try_from(length + 5).unwrap()]);
        }
    }

    #[test]
    fn what_reaches_outside_is_refused() {
        for block in [
            &[4, 0][..],
            &[1, 4, b'a'],
            &[5, 0, b'a', 1, 2],
            &[5, 0, b'a', 1, 0],
            &[2, 0, b'a'],
            &[],
        ] {
            assert_eq!(unpacked(block), Err(NotS2), "{block:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back_however_it_is_cut(
            words in prop::collection::vec(prop::sample::select(vec!["a", "bc", "def", "0123456789"]), 0..9000),
            cut in 1..5000_usize,
        ) {
            let text = words.concat();
            let mut packed = snap::write::FrameEncoder::new(Vec::new());
            packed.write_all(text.as_bytes()).unwrap();
            let packed = packed.into_inner().unwrap();
            let mut found = Unpacked::default();
            for chunk in packed.chunks(cut) {
                found.push(chunk).unwrap();
            }
            prop_assert_eq!(&found.bytes[..], text.as_bytes());
            if let Some(at) = packed.len().checked_sub(1).filter(|at| *at > 20) {
                let mut damaged = packed;
                damaged[at] ^= 1;
                // A copy from another place may be of the same bytes.
                let mut found = Unpacked::default();
                prop_assert!(found.push(&damaged).is_err() || found.bytes == text.as_bytes());
            }
        }
    }
}
