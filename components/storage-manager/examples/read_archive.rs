//! Prints a stream as the NAS has it: `cargo run -p cim-storage-manager --example read_archive -- CONFIG STREAM`.
//!
//! The configuration is the storage manager's own; of it only `[secondary]` is used, so NATS need not be there. Each
//! message comes once, in order, deleted ones left out, and is checked before it is handed over.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cim_storage_manager::archive::Archive;
use cim_storage_manager::config::Config;
use cim_storage_manager::restore::{Options, RestoreError, Source, plan, read};
use cim_storage_manager::s3::{Store, Tier};

/// Reads a stream: of each message a line with sequence, subject and payload.
pub(crate) async fn lines(config: &Path, stream: &str) -> anyhow::Result<Vec<String>> {
    let config = Config::load(config)?;
    let store = Arc::new(Store::open(Tier::Nas, &config.secondary)?);
    let archive = Archive::open(Arc::clone(&store)).await?;
    let stream = stream.parse()?;
    let state = archive.stream(&stream).await?.context("the archive has no such stream")?;
    let plan = plan(&stream, &state, &Options::default())?;
    let each = |lines: &mut Vec<String>, message: &cim_storage_manager::segment::Message<'_>| {
        let [subject, payload] = [message.subject, message.payload].map(String::from_utf8_lossy);
        lines.push(format!("{} {subject} {payload}", message.seq));
        Ok::<_, RestoreError>(ControlFlow::Continue(()))
    };
    Ok(read(&Source::new(store, None), plan, Vec::new(), each).await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (config, stream) = arguments.next().zip(arguments.next()).context("CONFIG and STREAM")?;
    for line in lines(Path::new(&config), &stream).await? {
        println!("{line}");
    }
    Ok(())
}
