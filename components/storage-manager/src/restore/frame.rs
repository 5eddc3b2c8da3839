//! S2 frames (a Snappy framed stream is one), cut into the chunks that are sent.

use std::io::{self, Write};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::sync::mpsc;

/// Bytes of one chunk at most, where the server takes messages of that size: what natscli sends, twice.
pub(super) const CHUNK: usize = 128 << 10;
/// Bytes of one chunk at least, whatever a server says that it takes.
const LEAST_CHUNK: usize = 256;

/// A frame that may stand between any two chunks and means nothing: padding (framing_format.txt, 4.5).
pub(super) const PADDING: Bytes = Bytes::from_static(b"\xfe\x00\x00\x00");

/// Kind, length and checksum in front of a frame's data.
const HEAD: usize = 8;
/// Bytes of data in one frame at most: about what Snappy's format allows, and two fill a chunk.
const FRAME: usize = (64 << 10) - 2 * HEAD;
const STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Writes frames (google/snappy framing_format.txt), compressed where that helps, and hands them over
/// in chunks; waits when too many are in flight.
///
/// `snap`'s own frame encoder tries to compress every frame, which on random payloads costs more
/// than everything else a restore does. This one notices that it does not help and tries only every
/// sixteenth frame until it does again. No frame is divided among chunks, so that between two of them
/// there is room for [`PADDING`].
pub(super) struct SnappyFrameWriter {
    sender: mpsc::Sender<Bytes>,
    /// Bytes of a chunk, and of a frame's data, at most.
    most: usize,
    frame: usize,
    chunk: BytesMut,
    /// The part of the next frame that was written.
    begun: Vec<u8>,
    compressed: Vec<u8>,
    encoder: snap::raw::Encoder,
    futile: u32,
}

impl SnappyFrameWriter {
    /// Begins, with chunks of so many bytes at most.
    pub(super) fn new(sender: mpsc::Sender<Bytes>, most: usize) -> Self {
        let most = most.clamp(LEAST_CHUNK, CHUNK);
        let frame = FRAME.min(most - HEAD - STREAM_IDENTIFIER.len());
        let mut chunk = BytesMut::with_capacity(most);
        chunk.extend_from_slice(STREAM_IDENTIFIER);
        Self {
            sender,
            most,
            frame,
            chunk,
            begun: Vec::with_capacity(frame),
            compressed: vec![0; snap::raw::max_compress_len(frame)],
            encoder: snap::raw::Encoder::new(),
            futile: 0,
        }
    }

    fn frame(&mut self, data: &[u8]) -> io::Result<()> {
        let checksum = crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8);
        let mut smaller = None;
        if self.futile == 0 || self.futile.is_multiple_of(16) {
            let length =
                self.encoder.compress(data, &mut self.compressed).map_err(io::Error::other)?;
            smaller = (length < data.len() - data.len() / 8).then_some(length);
        }
        self.futile = if smaller.is_some() { 0 } else { self.futile + 1 };
        let length = smaller.unwrap_or(data.len());
        if self.chunk.len() + HEAD + length > self.most {
            self.hand_over()?;
        }
        let kind = u32::from(smaller.is_none());
        let length = u32::try_from(length + 4).expect("a frame is below 64 KiB");
        self.chunk.put_u32_le(length << 8 | kind);
        self.chunk.put_u32_le(checksum);
        self.chunk.put_slice(smaller.map_or(data, |length| &self.compressed[..length]));
        Ok(())
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let next = BytesMut::with_capacity(self.most);
        let chunk = std::mem::replace(&mut self.chunk, next).freeze();
        // The other end hangs up when the server has refused; it knows why.
        self.sender.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for SnappyFrameWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.begun.is_empty() && bytes.len() >= self.frame {
            self.frame(&bytes[..self.frame])?;
            return Ok(self.frame);
        }
        let taken = bytes.len().min(self.frame - self.begun.len());
        self.begun.extend_from_slice(&bytes[..taken]);
        if self.begun.len() == self.frame {
            let mut full = std::mem::take(&mut self.begun);
            self.frame(&full)?;
            full.clear();
            self.begun = full;
        }
        Ok(taken)
    }

    /// Hands over what there is.
    fn flush(&mut self) -> io::Result<()> {
        if !self.begun.is_empty() {
            let begun = std::mem::take(&mut self.begun);
            self.frame(&begun)?;
        }
        if self.chunk.is_empty() { Ok(()) } else { self.hand_over() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(cim_testing::cases(32))]

        #[test]
        fn a_stock_decoder_reads_the_chunks(
            parts in prop::collection::vec((any::<u8>(), 0usize..200_000, any::<bool>()), 0..6),
            padded in any::<bool>(),
            most in prop_oneof![Just(CHUNK), LEAST_CHUNK..CHUNK],
        ) {
            let mut bytes = Vec::new();
            for (seed, length, random) in parts {
                let mut state = u64::from(seed) + 1;
                bytes.extend((0..length).map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if random { state.to_le_bytes()[7] } else { seed }
                }));
            }
            let (sender, mut chunks) = mpsc::channel(1 << 13);
            let mut frames = SnappyFrameWriter::new(sender, most);
            frames.write_all(&bytes).unwrap();
            frames.flush().unwrap();
            let mut framed = Vec::new();
            while let Ok(chunk) = chunks.try_recv() {
                prop_assert!(!chunk.is_empty() && chunk.len() <= most);
                framed.extend_from_slice(&chunk);
                if padded {
                    framed.extend_from_slice(&PADDING);
                }
            }
            let mut read = Vec::new();
            snap::read::FrameDecoder::new(&framed[..]).read_to_end(&mut read).unwrap();
            prop_assert!(read == bytes);
        }
    }
}
