//! The messages that `query` and `export` read.

use std::sync::Arc;

use cim_runtime::output::note;

use super::args::ReadArgs;
use super::connect;
use super::exit::Failure;
use super::not_found::unknown_stream;
use crate::archive::Archive;
use crate::config::Config;
use crate::export::Since;
use crate::journal::expire::in_words;
use crate::restore::{Options, Plan, Source, plan};

impl ReadArgs {
    /// Returns from where on messages are wanted.
    pub(super) fn since(&self) -> Since {
        Since { seq: self.since_seq, time: self.since_time }
    }
}

/// Opens the archive, as far as it is whole, and works out what is to be read of it. Needs no NATS.
pub(super) async fn opened(config: &Config, args: &ReadArgs) -> Result<(Source, Plan), Failure> {
    let (source, _) = connect::source(config, args.from, args.no_fallback)?;
    let archive = Archive::open_before_damage(Arc::clone(&source.tier)).await?;
    let Some(state) = archive.stream(&args.stream).await? else {
        return Err(unknown_stream(config, &args.stream, args.from).await);
    };
    if let Some(damage) = archive.damage() {
        tracing::warn!("{damage}; what is read was there before it");
    }
    let options = Options {
        until_seq: args.until_seq,
        until_time: args.until_time,
        subject: args.subject.clone(),
        timeline: args.timeline,
        with_dropped: args.with_dropped,
        ..Options::default()
    };
    let plan = plan(&args.stream, &state, &options)?;
    in_words(&plan.expired).iter().for_each(note);
    Ok((source, plan))
}
