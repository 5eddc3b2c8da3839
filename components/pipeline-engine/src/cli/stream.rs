//! `stream`: a definition over a stream of NATS.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cim_runtime::error::chain;
use cim_runtime::nats::NatsConfig;
use clap::Args;

use super::{STATUS_NATS, STATUS_PROBLEMS};
use crate::definition::check;
use crate::stream::{Settings, stream};

/// The options.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Servers of NATS, comma-separated
    #[arg(long, env = "CIM_NATS_URL", default_value = "nats://127.0.0.1:4222", value_name = "URL")]
    nats_url: String,
    /// File with the seed of this component's nkey
    #[arg(long, env = "CIM_NATS_NKEY_FILE", value_name = "FILE")]
    nats_nkey_file: Option<PathBuf>,
    /// Key-value bucket of positions
    #[arg(
        long,
        env = "CIM_VIEWS_BUCKET",
        default_value = "pipeline-engine",
        value_name = "BUCKET"
    )]
    bucket: String,
    /// Make the bucket where it is missing
    #[arg(long)]
    create: bool,
    /// End when all that is in the stream is done, instead of waiting for more
    #[arg(long)]
    drain: bool,
}

pub(super) fn run(file: &Path, options: &Options) -> Result<ExitCode, String> {
    let (text, format) = super::definition(file)?;
    let definition = match check(&text, format) {
        Ok(definition) => definition,
        Err(problems) => {
            for problem in problems {
                eprintln!("{}:{problem}", file.display());
            }
            return Ok(ExitCode::from(STATUS_PROBLEMS));
        }
    };
    let mut nats = toml::Table::new();
    nats.insert("url".into(), options.nats_url.clone().into());
    if let Some(file) = &options.nats_nkey_file {
        nats.insert("nkey_file".into(), file.to_string_lossy().into_owned().into());
    }
    let nats: NatsConfig =
        nats.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let settings =
        Settings { bucket: options.bucket.clone(), create: options.create, drain: options.drain };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let done = runtime.block_on(async {
        let cancel = cim_runtime::shutdown::on_signal().map_err(|error| error.to_string())?;
        let client = nats.connect("cim-pipeline-engine").await.map_err(|error| chain(&error))?;
        stream(&client, definition, &settings, &cancel).await
    });
    runtime.shutdown_background();
    Ok(done.map_or_else(
        |message| {
            eprintln!("error: {message}");
            ExitCode::from(STATUS_NATS)
        },
        |()| ExitCode::SUCCESS,
    ))
}
