//! Messages of an archive in formats that other programs read.
//!
//! Invariants
//! - A target is whole: a file or a directory has its name when its last byte is on disk, and what was there before
//!   stays.
//! - No byte is lost: what is not UTF-8 is Base64, and says so.

mod csv;
mod headers;
mod ndjson;
mod parquet;
mod place;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::ValueEnum;
use jiff::Timestamp;

pub use headers::headers;
pub use ndjson::Record;

use self::csv::Csv;
use self::ndjson::Ndjson;
use self::parquet::Files;
use self::place::NewFile;
use crate::restore::{Plan, Progress, RestoreError, Source, read};
use crate::segment::Message;

/// The format that messages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A JSON object a line
    Ndjson,
    /// Comma-separated, with a header
    Csv,
    /// A directory of Parquet files
    Parquet,
}

/// From where on messages are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Since {
    /// The first sequence.
    pub seq: Option<u64>,
    /// The earliest time.
    pub time: Option<Timestamp>,
}

/// Something that takes messages in order.
trait Sink: Send {
    fn push(&mut self, message: &Message<'_>) -> io::Result<()>;

    /// Gives the target its name.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// An export that did not happen. Its target is not there.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The archive cannot be read.
    #[error(transparent)]
    Read(#[from] RestoreError),
    /// The target cannot be written.
    #[error("cannot write `{target}`")]
    Write {
        /// The file or directory, or `-` for stdout.
        target: String,
        /// Why.
        source: io::Error,
    },
}

impl ExportError {
    /// Returns whether the reader of stdout has gone, who has what was wanted.
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Returns whether there can be no such target here.
    pub fn has_no_place(&self) -> bool {
        use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
        let kinds = [NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem];
        matches!(self, Self::Write { source, .. } if kinds.contains(&source.kind()))
    }

    /// Returns whether the target was there before.
    pub fn is_there(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
    }
}

impl Since {
    /// Leaves out of a plan the segments before it.
    pub fn narrow(&self, plan: &mut Plan) {
        let first_seq = plan.first_seq.max(self.seq.unwrap_or(0));
        // From there on, too, where segments are read anew.
        plan.first_seq = first_seq;
        plan.pieces.retain(|(_, _, last)| *last >= first_seq);
        for (_, first, _) in &mut plan.pieces {
            *first = (*first).max(first_seq);
        }
    }

    /// Returns whether a message is late enough.
    pub fn takes(&self, message: &Message<'_>) -> bool {
        self.time.is_none_or(|time| i128::from(message.time) >= time.as_nanosecond())
    }
}

/// Writes a plan's messages to a target that is not there yet, or to stdout. Returns how many there were.
///
/// # Errors
/// When the archive cannot be read, or the target cannot be written.
pub async fn export(
    source: &Source,
    mut plan: Plan,
    since: Since,
    format: Format,
    target: Option<&Path>,
    progress: Arc<Progress>,
) -> Result<u64, ExportError> {
    let name = target.map_or_else(|| "-".to_owned(), |path| path.display().to_string());
    let failed = move |source| ExportError::Write { target: name.clone(), source };
    let sink = sink(format, target, &plan).map_err(&failed)?;
    since.narrow(&mut plan);
    let unwritten = failed.clone();
    let (sink, count) = read(source, plan, (sink, 0_u64), move |(sink, count), message| {
        if since.takes(message) {
            sink.push(message).map_err(&unwritten)?;
            *count += 1;
        }
        progress.messages.fetch_add(1, Ordering::Relaxed);
        Ok::<_, ExportError>(ControlFlow::Continue(()))
    })
    .await?;
    sink.finish().map_err(failed)?;
    Ok(count)
}

fn sink(format: Format, target: Option<&Path>, plan: &Plan) -> io::Result<Box<dyn Sink>> {
    let missing = || io::Error::new(io::ErrorKind::InvalidInput, "Parquet goes into a directory");
    Ok(match (format, target) {
        (Format::Ndjson, Some(path)) => Box::new(Ndjson::new(NewFile::begin(path)?)),
        (Format::Ndjson, None) => Box::new(Ndjson::new(Stdout::default())),
        (Format::Csv, Some(path)) => Box::new(Csv::new(NewFile::begin(path)?)?),
        (Format::Csv, None) => Box::new(Csv::new(Stdout::default())?),
        (Format::Parquet, target) => {
            Box::new(Files::begin(target.ok_or_else(missing)?, &plan.stream, plan.timeline)?)
        }
    })
}

/// Something that is written to and, in the end, has its name.
trait Place: Write + Send {
    fn named(self) -> io::Result<()>;
}

/// stdout, some KiB at a time.
struct Stdout(io::BufWriter<io::Stdout>);

impl Default for Stdout {
    fn default() -> Self {
        Self(io::BufWriter::with_capacity(64 << 10, io::stdout()))
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Place for Stdout {
    fn named(mut self) -> io::Result<()> {
        self.0.flush()
    }
}
