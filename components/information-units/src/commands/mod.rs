//! The commands beside those of every component: content in and out.

mod export;
mod get;
mod import;
mod put;
mod service;

use std::path::PathBuf;

use cim_core::names::{ContentId, StoreName};
use cim_runtime::component::cli::Own;
use cim_runtime::component::{Failure, Place};
use clap::{Args, Subcommand};

use crate::car::CarError;
use crate::content::{Bucket, ContentError, Contents};
use crate::contract::Word;
use crate::state::Units;

/// The exit status when content is missing, damaged or cannot be checked.
const CONTENT: u8 = 5;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store content, and print its id; what is stored already is not stored again
    Put {
        /// The file; `-` is standard input
        file: PathBuf,
        /// Write every chunk, also those that are there: mends damaged content
        #[arg(long)]
        anew: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        objects: Objects,
    },
    /// Print content, checked against its id
    Get {
        /// The content's id
        content: ContentId,
        /// Write it to this file, which is there only when all of it was right
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        objects: Objects,
    },
    /// Print a unit as a CAR file: its versions, the units that it links to, and their types and content
    Export {
        /// The unit
        unit: Word,
        #[command(flatten)]
        objects: Objects,
    },
    /// Take in a CAR file of `export`; needs a process that serves
    Import {
        /// The file; `-` is standard input
        file: PathBuf,
        #[command(flatten)]
        objects: Objects,
    },
}

/// The places of content.
#[derive(Debug, Args)]
pub(crate) struct Objects {
    /// Bucket of the object store that holds content
    #[arg(long, env = "CIM_OBJECTS_BUCKET", default_value = "content", value_name = "BUCKET")]
    objects: StoreName,
    /// Server with a bucket of the same name, from which missing or damaged content is healed
    #[arg(long, env = "CIM_SECOND_URL", value_name = "URL")]
    second_url: Option<String>,
}

impl Objects {
    async fn open(&self, at: Place<'_>) -> Result<Contents, Failure> {
        let name = self.objects.as_str();
        let client = at.connect::<Units>().await?;
        let bucket = Bucket::open(&client, name, at.create()).await?;
        let second = match &self.second_url {
            None => None,
            Some(url) => {
                let client = async_nats::connect(url).await;
                let client = client.map_err(|error| Failure::Own {
                    status: 3,
                    said: format!("second server `{url}` cannot be reached: {error}"),
                })?;
                Some(Bucket::open(&client, name, false).await?)
            }
        };
        Ok(Contents::new(bucket, second))
    }
}

impl Own<Units> for Command {
    async fn run(&self, at: Place<'_>) -> Result<(), Failure> {
        match self {
            Self::Put { file, anew, json, objects } => {
                put::run(&objects.open(at).await?, file, *anew, *json).await
            }
            Self::Get { content, output, objects } => {
                get::run(&objects.open(at).await?, content, output.as_deref()).await
            }
            Self::Export { unit, objects } => export::run(at, &objects.open(at).await?, unit).await,
            Self::Import { file, objects } => import::run(at, &objects.open(at).await?, file).await,
        }
    }
}

impl From<ContentError> for Failure {
    fn from(error: ContentError) -> Self {
        let status = match &error {
            ContentError::Bucket { .. } => 3,
            ContentError::File(_) => 1,
            _ => CONTENT,
        };
        Self::Own { status, said: error.to_string() }
    }
}

impl From<CarError> for Failure {
    fn from(error: CarError) -> Self {
        Self::Own { status: CONTENT, said: error.to_string() }
    }
}
