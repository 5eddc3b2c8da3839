//! S2 frames (a Snappy framed stream is one), cut into the chunks that are sent.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

/// Bytes of one chunk: what natscli sends, twice.
pub(super) const CHUNK: usize = 128 << 10;

/// The end of the line for who writes: hands chunks over, waits when too many are in flight.
pub(super) struct Chunks {
    sender: mpsc::Sender<Bytes>,
    buffer: BytesMut,
}

impl Chunks {
    pub(super) fn new(sender: mpsc::Sender<Bytes>) -> Self {
        Self { sender, buffer: BytesMut::with_capacity(CHUNK) }
    }

    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(CHUNK)).freeze();
        // The other end hangs up when the server has refused; it knows why.
        self.sender.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.send() }
    }
}

/// Bytes of one frame, the most that Snappy's format allows.
const FRAME: usize = 64 << 10;
const STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Writes frames (google/snappy framing_format.txt): compressed where that helps.
///
/// `snap`'s own frame encoder tries to compress every frame, which on random payloads costs more
/// than everything else a restore does. This one notices that it does not help and tries only every
/// sixteenth frame until it does again.
pub(super) struct Frames<W> {
    inner: W,
    buffer: Vec<u8>,
    compressed: Vec<u8>,
    encoder: snap::raw::Encoder,
    futile: u32,
    started: bool,
}

impl<W: Write> Frames<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            buffer: Vec::with_capacity(FRAME),
            compressed: vec![0; snap::raw::max_compress_len(FRAME)],
            encoder: snap::raw::Encoder::new(),
            futile: 0,
            started: false,
        }
    }

    /// Writes what is left, and hands the inner writer back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.inner)
    }

    fn frame(&mut self) -> io::Result<()> {
        if !self.started {
            self.inner.write_all(STREAM_IDENTIFIER)?;
            self.started = true;
        }
        let data = &self.buffer;
        let checksum = crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8);
        let mut body = data.as_slice();
        let mut kind = 1;
        if self.futile == 0 || self.futile.is_multiple_of(16) {
            let length =
                self.encoder.compress(data, &mut self.compressed).map_err(io::Error::other)?;
            if length < data.len() - data.len() / 8 {
                body = &self.compressed[..length];
                kind = 0;
                self.futile = 0;
            } else {
                self.futile += 1;
            }
        } else {
            self.futile += 1;
        }
        let length = u32::try_from(body.len() + 4).expect("a frame is below 64 KiB");
        let [a, b, c, _] = length.to_le_bytes();
        self.inner.write_all(&[kind, a, b, c])?;
        self.inner.write_all(&checksum.to_le_bytes())?;
        self.inner.write_all(body)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> Write for Frames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == FRAME {
            self.frame()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.frame()?;
        }
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::harm::cases(32))]

        #[test]
        fn a_stock_decoder_reads_the_frames(
            parts in prop::collection::vec((any::<u8>(), 0usize..200_000, any::<bool>()), 0..6),
        ) {
            let mut bytes = Vec::new();
            for (seed, length, random) in parts {
                let mut state = u64::from(seed) + 1;
                bytes.extend((0..length).map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if random { state.to_le_bytes()[7] } else { seed }
                }));
            }
            let mut frames = Frames::new(Vec::new());
            frames.write_all(&bytes).unwrap();
            let framed = frames.finish().unwrap();
            let mut read = Vec::new();
            snap::read::FrameDecoder::new(&framed[..]).read_to_end(&mut read).unwrap();
            prop_assert!(read == bytes);
        }
    }
}
