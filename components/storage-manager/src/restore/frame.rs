//! S2 frames (a Snappy framed stream is one), cut into the chunks that are sent.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

/// Bytes of one chunk at most: what natscli sends, twice.
const CHUNK: usize = 128 << 10;

/// What may stand between any two chunks and means nothing: a frame of padding (framing_format.txt, 4.5).
pub(super) const PADDING: Bytes = Bytes::from_static(b"\xfe\x00\x00\x00");

/// The end of the line for who writes: hands chunks over, waits when too many are in flight. No write is
/// divided among chunks, so that between two of them there is room for [`PADDING`].
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
        if self.buffer.len() + bytes.len() > CHUNK {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.send() }
    }
}

/// Kind, length and checksum in front of a frame's data.
const HEAD: usize = 8;
/// Bytes of data in one frame: about what Snappy's format allows, and two fill a chunk.
const FRAME: usize = (64 << 10) - 2 * HEAD;
const STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Writes frames (google/snappy framing_format.txt): compressed where that helps.
///
/// `snap`'s own frame encoder tries to compress every frame, which on random payloads costs more
/// than everything else a restore does. This one notices that it does not help and tries only every
/// sixteenth frame until it does again. Each frame is one write.
pub(super) struct Frames<W> {
    inner: W,
    /// A frame's head, and what is to be in it.
    plain: Vec<u8>,
    /// The same, compressed.
    compressed: Vec<u8>,
    encoder: snap::raw::Encoder,
    futile: u32,
    started: bool,
}

impl<W: Write> Frames<W> {
    pub(super) fn new(inner: W) -> Self {
        let mut plain = Vec::with_capacity(HEAD + FRAME);
        plain.resize(HEAD, 0);
        Self {
            inner,
            plain,
            compressed: vec![0; HEAD + snap::raw::max_compress_len(FRAME)],
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
        let data = &self.plain[HEAD..];
        let checksum = crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8);
        let mut smaller = None;
        if self.futile == 0 || self.futile.is_multiple_of(16) {
            let into = &mut self.compressed[HEAD..];
            let length = self.encoder.compress(data, into).map_err(io::Error::other)?;
            smaller = (length < data.len() - data.len() / 8).then_some(length);
        }
        self.futile = if smaller.is_some() { 0 } else { self.futile + 1 };
        let (kind, frame) = match smaller {
            Some(length) => (0, &mut self.compressed[..HEAD + length]),
            None => (1, &mut self.plain[..]),
        };
        let length = u32::try_from(frame.len() - 4).expect("a frame is below 64 KiB");
        frame[..4].copy_from_slice(&(length << 8 | kind).to_le_bytes());
        frame[4..HEAD].copy_from_slice(&checksum.to_le_bytes());
        self.inner.write_all(frame)?;
        self.plain.truncate(HEAD);
        Ok(())
    }
}

impl<W: Write> Write for Frames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(HEAD + FRAME - self.plain.len());
        self.plain.extend_from_slice(&bytes[..taken]);
        if self.plain.len() == HEAD + FRAME {
            self.frame()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.plain.len() > HEAD {
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
        fn a_stock_decoder_reads_the_chunks(
            parts in prop::collection::vec((any::<u8>(), 0usize..200_000, any::<bool>()), 0..6),
            padded in any::<bool>(),
        ) {
            let mut bytes = Vec::new();
            for (seed, length, random) in parts {
                let mut state = u64::from(seed) + 1;
                bytes.extend((0..length).map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if random { state.to_le_bytes()[7] } else { seed }
                }));
            }
            let (sender, mut chunks) = mpsc::channel(1 << 10);
            let mut frames = Frames::new(Chunks::new(sender));
            frames.write_all(&bytes).unwrap();
            frames.finish().unwrap().flush().unwrap();
            let mut framed = Vec::new();
            while let Ok(chunk) = chunks.try_recv() {
                prop_assert!(!chunk.is_empty() && chunk.len() <= CHUNK);
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
