//! The v1 snapshot: a tar of message blocks as nats-server's file store keeps them.
//!
//! Sources: nats-server `server/filestore.go` (`writeMsgRecord`, `rebuildState`), `server/stream.go`
//! (`RestoreStream`). A record is, little-endian,
//! `u32 length | u64 seq | i64 nanoseconds | u16 subject length | subject |`
//! `[u32 header length | headers] | payload | HighwayHash-64`; bit 31 of the length says that there
//! are headers, bit 63 of the sequence that the record is erased.

use std::io::{self, Write};

use cim_core::archive::Sha256;
use highway::{HighwayHash as _, HighwayHasher, Key};
use serde_json::Value;

use super::consumers::resume;
use super::error::Unencodable;
use super::plan::Plan;
use super::varint::uvarint;
use crate::segment::Message;

/// Bytes of a block before the next one begins: the server's own size for limits streams.
const BLOCK: usize = 8 << 20;
/// The beginning of a compressed block (`filestore.go`, `CompressionInfo`): that it is one, and that it is S2, which reads
/// Snappy's frames; the bytes of the block come next, then its frames, and its last checksum as it is.
const COMPRESSED: &[u8] = b"cmp\x01";
const CHECKSUM: usize = 8;
/// A longer gap begins a new block instead of being filled with erased records: old servers want
/// every sequence inside a block accounted for, and none want gigabytes of nothing.
const FILLED_GAP: u64 = 4096;
const ERASED: u64 = 1 << 63;
const HEADERS: u32 = 1 << 31;

/// Writes a snapshot.
pub(super) struct Snapshot<W: Write> {
    tar: tar::Builder<W>,
    stream: String,
    block: Vec<u8>,
    index: u64,
    key: [u64; 4],
    last_seq: u64,
    compressed: bool,
}

impl<W: Write> Snapshot<W> {
    /// Begins with the stream's configuration.
    pub(super) fn begin(writer: W, plan: &Plan) -> io::Result<Self> {
        let mut tar = tar::Builder::new(writer);
        let mut meta = plan.config.clone();
        meta["created"] = Value::from(plan.created.to_string());
        let meta = meta.to_string();
        file(&mut tar, "meta.inf", meta.as_bytes())?;
        file(&mut tar, "meta.sum", checksum(plan.target.as_str(), meta.as_bytes()).as_bytes())?;
        let mut snapshot = Self {
            tar,
            stream: plan.target.to_string(),
            block: Vec::with_capacity(BLOCK + (1 << 20)),
            index: 0,
            key: [0; 4],
            last_seq: 0,
            compressed: plan.capabilities.compressed && plan.config["compression"] == "s2",
        };
        snapshot.next_block();
        Ok(snapshot)
    }

    /// Adds a message; sequences ascend.
    pub(super) fn push(&mut self, message: &Message<'_>) -> io::Result<()> {
        self.fill_gap(message.seq)?;
        if self.block.len() >= BLOCK {
            self.end_block()?;
        }
        record(&mut self.block, self.key, message)?;
        self.last_seq = message.seq;
        Ok(())
    }

    /// Accounts for the sequences between the last message and `seq`.
    fn fill_gap(&mut self, seq: u64) -> io::Result<()> {
        if self.last_seq == 0 || seq - self.last_seq <= 1 {
            return Ok(());
        }
        if seq - self.last_seq > FILLED_GAP {
            return self.end_block();
        }
        for gone in self.last_seq + 1..seq {
            self.erased(gone, 0)?;
        }
        Ok(())
    }

    fn erased(&mut self, seq: u64, time: i64) -> Result<(), Unencodable> {
        let message = Message { seq: seq | ERASED, time, subject: b"", headers: b"", payload: b"" };
        record(&mut self.block, self.key, &message)
    }

    /// Ends: the tail up to `last_seq`, the consumers, the end of the tar.
    pub(super) fn finish(mut self, plan: &Plan) -> io::Result<W> {
        let end = plan.end();
        if end > self.last_seq {
            self.fill_gap(end)?;
            let alone = self.block.is_empty();
            self.erased(end, plan.last_time)?;
            if alone {
                self.index_of_nothing(end, plan.last_time)?;
            }
        }
        self.write_block()?;
        for consumer in &plan.consumers {
            let state = resume(plan, consumer).encode();
            let name = consumer.name.as_str();
            let mut meta = consumer.config.value();
            meta["Created"] = Value::from(consumer.created.to_string());
            meta["Name"] = Value::from(name);
            let meta = meta.to_string();
            let key = format!("{}/{name}", self.stream);
            file(&mut self.tar, &format!("obs/{name}/meta.inf"), meta.as_bytes())?;
            file(
                &mut self.tar,
                &format!("obs/{name}/meta.sum"),
                checksum(&key, meta.as_bytes()).as_bytes(),
            )?;
            file(&mut self.tar, &format!("obs/{name}/o.dat"), &state)?;
        }
        self.tar.into_inner()
    }

    /// Servers before 2.10 forget a block without messages, and with it how far the stream was, unless
    /// the block's index says so (`filestore.go`, `readIndexInfo`); later ones pass the file over.
    fn index_of_nothing(&mut self, last_seq: u64, last_time: i64) -> io::Result<()> {
        let zigzag = ((last_time << 1) ^ (last_time >> 63)).cast_unsigned();
        let mut index = vec![22, 1];
        // Messages, bytes, first sequence and time, last sequence and time, deleted.
        for number in [0, 0, last_seq + 1, 0, last_seq, zigzag, 0] {
            uvarint(&mut index, number);
        }
        index.extend_from_slice(&self.block[self.block.len() - CHECKSUM..]);
        file(&mut self.tar, &format!("msgs/{}.idx", self.index), &index)
    }

    /// Writes a block behind which there is another one. The server compresses a block when it begins the next, and goes
    /// on writing to the last one.
    fn end_block(&mut self) -> io::Result<()> {
        if self.compressed && self.block.len() > CHECKSUM {
            let (body, checksum) = self.block.split_at(self.block.len() - CHECKSUM);
            let mut block = Vec::with_capacity(body.len() / 2);
            block.extend_from_slice(COMPRESSED);
            uvarint(&mut block, self.block.len() as u64);
            let mut frames = snap::write::FrameEncoder::new(block);
            frames.write_all(body)?;
            let mut block =
                frames.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
            block.extend_from_slice(checksum);
            if block.len() < self.block.len() {
                self.block.clear();
                self.block.extend_from_slice(&block);
            }
        }
        self.write_block()
    }

    fn write_block(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            // As [`file`] does, but `tar` copies through a buffer of 8 KiB.
            let (header, padding) = (self.header()?, self.block.len().next_multiple_of(512));
            self.block.resize(padding, 0);
            self.tar.get_mut().write_all(header.as_bytes())?;
            self.tar.get_mut().write_all(&self.block)?;
            self.block.clear();
            self.next_block();
        }
        Ok(())
    }

    fn header(&self) -> io::Result<tar::Header> {
        let mut header = tar::Header::new_gnu();
        header.set_path(format!("msgs/{}.blk", self.index))?;
        header.set_size(self.block.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        Ok(header)
    }

    fn next_block(&mut self) {
        self.index += 1;
        self.key = hash_key(&format!("{}-{}", self.stream, self.index));
    }
}

fn file<W: Write>(tar: &mut tar::Builder<W>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    tar.append_data(&mut header, name, content)
}

/// Appends a message as the server's file store has it.
///
/// # Errors
/// A part of it is longer than its field can say.
fn record(block: &mut Vec<u8>, key: [u64; 4], message: &Message<'_>) -> Result<(), Unencodable> {
    let Message { seq, time, subject, headers, payload } = *message;
    let with_headers = if headers.is_empty() { 0 } else { 4 + headers.len() };
    let length = 22 + subject.len() + with_headers + payload.len() + 8;
    let too_long =
        |what, bytes, most: u32| Unencodable { seq: message.seq, what, bytes, most: most.into() };
    // The highest bit of the length says that there are headers.
    let fits = u32::try_from(length).ok().filter(|length| length & HEADERS == 0);
    let mut length = fits.ok_or_else(|| too_long("a record", length, HEADERS - 1))?;
    let subject_length = u16::try_from(subject.len())
        .map_err(|_| too_long("a subject", subject.len(), u16::MAX.into()))?;
    if !headers.is_empty() {
        length |= HEADERS;
    }
    block.extend_from_slice(&length.to_le_bytes());
    let hashed = block.len();
    block.extend_from_slice(&seq.to_le_bytes());
    block.extend_from_slice(&time.to_le_bytes());
    let mut hasher = HighwayHasher::new(Key(key));
    hasher.append(&block[hashed..]);
    block.extend_from_slice(&subject_length.to_le_bytes());
    block.extend_from_slice(subject);
    hasher.append(subject);
    if !headers.is_empty() {
        let header_length = u32::try_from(headers.len())
            .map_err(|_| too_long("headers", headers.len(), u32::MAX))?;
        block.extend_from_slice(&header_length.to_le_bytes());
        block.extend_from_slice(headers);
        hasher.append(headers);
    }
    block.extend_from_slice(payload);
    hasher.append(payload);
    block.extend_from_slice(&hasher.finalize64().to_le_bytes());
    Ok(())
}

/// Returns a HighwayHash key: the SHA-256 of a name.
fn hash_key(name: &str) -> [u64; 4] {
    let hash = Sha256::of(name.as_bytes());
    let mut key = [0; 4];
    for (place, bytes) in key.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
        *place = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
    }
    key
}

/// Returns the content of a `meta.sum`: the hash as hex digits.
fn checksum(name: &str, content: &[u8]) -> String {
    let mut hasher = HighwayHasher::new(Key(hash_key(name)));
    hasher.append(content);
    hasher.finalize64().to_le_bytes().iter().fold(String::new(), |mut hex, byte| {
        use std::fmt::Write as _;
        write!(hex, "{byte:02x}").expect("writing to a string does not fail");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_that_no_record_can_hold_is_an_error_that_names_it() {
        let subject = vec![b's'; 70_000];
        let message = Message { seq: 7, time: 0, subject: &subject, headers: b"", payload: b"" };
        let mut block = Vec::new();
        let error = record(&mut block, [0; 4], &message).unwrap_err();
        assert_eq!(
            error.to_string(),
            "message 7 has a subject of 70000 bytes, and a snapshot holds 65535"
        );
        assert!(block.is_empty(), "nothing of it is written");
        let longest = Message { subject: &subject[..65_535], ..message };
        record(&mut block, [0; 4], &longest).unwrap();
    }
}
