//! The daemon: finds streams and gives each its task.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::context::Context;
use super::other_journals::OtherJournals;
use super::overview::Overview;
use super::previous_nas::PreviousNas;
use super::query_budget::QueryBudget;
use super::rearchive::RearchiveQueue;
use super::start_error::StartError;
use super::startup::{check_requirements, probe_wasabi};
use super::systemd::notify;
use super::tasks::Tasks;
use super::{journal_loop, takeover};
use crate::config::{Config, Layout};
use crate::jetstream::JetStream;
use crate::journal::expire::CopiedTo;
use crate::journal::{DamagedObjects, LockedObjects};
use crate::s3::Store;
use crate::wire::Link;

/// Streams that are begun with at once: each reads its archive and looks at the stream's history.
const BEGINNING: usize = 16;

/// Tiers until `stop`.
pub async fn run(
    config: Config,
    client: async_nats::Client,
    nas: Store,
    wasabi: Option<Store>,
    ready_file: Option<&Path>,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let matcher = config.streams.matcher()?;
    let jetstream = JetStream::new(client);
    let looked = stop
        .run_until_cancelled(check_requirements(&config, &matcher, &jetstream, &nas, &stop))
        .await;
    let Some(names) = looked.transpose()? else { return Ok(()) };
    let abort = CancellationToken::new();
    let lasting = |store: Store| store.with_retries(abort.clone()).waiting_for_a_key(abort.clone());
    let wasabi = wasabi.map(|wasabi| Arc::new(lasting(wasabi)));
    let nas = Arc::new(lasting(nas));
    // Wasabi may be away for a while, and not to answer takes long: nothing waits for it.
    if let Some(wasabi) = wasabi.clone() {
        let nas = Arc::clone(&nas);
        tokio::spawn(async move { probe_wasabi(&nas, &wasabi).await });
    }
    let context = Arc::new(Context {
        budget: Budget::new(config.memory.budget.bytes()),
        writer: format!("{} {}", config.node.name, uuid::Uuid::now_v7()).into(),
        jetstream,
        overview: Overview::default(),
        beginning: Semaphore::new(BEGINNING),
        counting: Semaphore::new(1),
        looking: Semaphore::new(1),
        delivery_queries: QueryBudget::default(),
        link: Link::new(config.nats.clone()),
        nas,
        wasabi,
        merging: Semaphore::new(1),
        carrying: Semaphore::new(1),
        shipping: Mutex::default(),
        other_journals: OtherJournals::default(),
        foreign: Mutex::default(),
        previous_nas: PreviousNas::default(),
        damaged: DamagedObjects::default(),
        locked: LockedObjects::default(),
        copied: CopiedTo::default(),
        rearchive: RearchiveQueue::default(),
        begun: Notify::new(),
        stop: stop.clone(),
        abort,
        config,
    });
    let looking = Arc::clone(&context);
    tokio::spawn(async move { looking.overview.run(&looking.jetstream, &looking.stop).await });
    let tasks = Tasks { context, journal: None, matcher, running: BTreeMap::new() };
    let ready = || -> Result<(), StartError> {
        if let Some(path) = ready_file {
            std::fs::write(path, "")
                .map_err(|source| StartError::Ready { path: path.into(), source })?;
        }
        notify(&[sd_notify::NotifyState::Ready]);
        Ok(())
    };
    match tasks.context.config.archive.layout {
        Layout::Journal => journal_loop::run(tasks, ready).await,
        Layout::Chains => {
            let mut tasks = tasks;
            let new = takeover::refuse(&tasks.context.nas, &tasks.matcher).await?;
            ready()?;
            if new && let Some(wasabi) = tasks.context.wasabi.clone() {
                let refused = tasks.refuse_wasabis_journals(&wasabi);
                match stop.run_until_cancelled(refused).await {
                    Some(refused) => refused?,
                    None => return Ok(()),
                }
            }
            tasks.start(names);
            tracing::info!(node = %tasks.context.config.node.name, "tiering");
            let (nas, matcher) = (Arc::clone(&tasks.context.nas), tasks.matcher.clone());
            let taken = tokio::select! {
                () = tasks.discover(&stop) => None,
                taken = takeover::comes(&nas, &matcher) => Some(taken),
            };
            notify(&[sd_notify::NotifyState::Stopping]);
            match taken {
                None => tasks.finish(None).await,
                // What is under way would go where no reader looks any more. JetStream has it.
                Some(taken) => {
                    tasks.abort().await;
                    return Err(taken);
                }
            }
            Ok(())
        }
    }
}
