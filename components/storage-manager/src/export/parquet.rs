//! A directory of Parquet files, of which any reader may take `*.parquet`: each message is in one of them.

use std::io;
use std::path::Path;

use cim_core::names::StreamName;

use super::Sink;
use super::place::NewDirectory;
use crate::segment::{Columns, Message, SegmentWriter};

/// Message bytes of a row group.
const GROUP: usize = 4 << 20;
/// Messages of one at most.
const MESSAGES: usize = 1 << 17;
/// Bytes of a file, about.
const FILE: usize = 32 << 20;
/// Read often and kept for a while: what sealed segments have.
const LEVEL: i32 = 3;

pub(super) struct Files {
    directory: NewDirectory,
    stream: StreamName,
    timeline: u32,
    columns: Columns,
    file: Option<SegmentWriter>,
}

impl Files {
    pub(super) fn begin(path: &Path, stream: &StreamName, timeline: u32) -> io::Result<Self> {
        let directory = NewDirectory::begin(path)?;
        let (stream, columns) = (stream.clone(), Columns::default());
        Ok(Self { directory, stream, timeline, columns, file: None })
    }

    fn end_group(&mut self) -> io::Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let file = self.file.get_or_insert_with(|| SegmentWriter::new(LEVEL));
        file.append(std::mem::take(&mut self.columns)).map_err(io::Error::other)?;
        if file.written() >= FILE { self.end_file() } else { Ok(()) }
    }

    fn end_file(&mut self) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let finished = file.finish(&self.stream, self.timeline, true).map_err(io::Error::other)?;
        // Names ascend as sequences do.
        self.directory.file(&format!("{:020}.parquet", finished.segment.first_seq), &finished.file)
    }
}

impl Sink for Files {
    fn push(&mut self, message: &Message<'_>) -> io::Result<()> {
        self.columns.push(*message);
        let full = self.columns.bytes() >= GROUP || self.columns.len() >= MESSAGES;
        if full { self.end_group() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.end_group()?;
        self.end_file()?;
        self.directory.named()
    }
}
