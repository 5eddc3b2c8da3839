//! `export`

use std::sync::Arc;

use cim_runtime::error::chain;
use cim_runtime::output::note;
use cim_runtime::shutdown;

use super::args::ExportArgs;
use super::exit::Failure;
use super::progress::shown;
use super::read::opened;
use crate::config::Config;
use crate::export::{ExportError, export};

pub(super) async fn run(config: &Config, args: ExportArgs) -> Result<(), Failure> {
    let (source, plan) = opened(config, &args.read).await?;
    let stop = shutdown::on_signal().map_err(|error| Failure::other(&error))?;
    let (stream, timeline) = (plan.stream.clone(), plan.timeline);
    let written = shown(vec![plan], async |mut plans, progress| {
        let plan = plans.pop().expect("there is one");
        let (since, target) = (args.read.since(), args.output.as_deref());
        tokio::select! {
            written = export(&source, plan, since, args.format, target, Arc::clone(progress)) => Some(written),
            () = stop.cancelled() => None,
        }
    });
    match written.await {
        None => Err(Failure::interrupted("interrupted: nothing was exported")),
        Some(Ok(count)) => {
            if let Some(target) = &args.output {
                let target = target.display();
                note(format_args!(
                    "{count} messages of stream `{stream}`, timeline {timeline}: `{target}`"
                ));
            }
            Ok(())
        }
        Some(Err(error)) if args.output.is_none() && error.is_reader_gone() => Ok(()),
        Some(Err(ExportError::Read(error))) => Err(error.into()),
        Some(Err(error)) if error.is_there() => Err(Failure::refused(&error)),
        Some(Err(error)) if error.has_no_place() => Err(Failure::usage(chain(&error))),
        Some(Err(error)) => Err(Failure::other(&error)),
    }
}
