//! The tasks of all streams: finds streams and gives each its task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cim_core::names::StreamName;
use cim_runtime::error::chain;
use cim_runtime::retry::{Backoff, retry};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::open_journal::Opened;
use super::session;
use super::session_outcome::{SessionError, SessionOutcome};
use super::start_error::StartError;
use super::{stream, takeover};
use crate::config::StreamMatcher;
use crate::journal::Journal;
use crate::s3::Store;

/// The interval at which streams are looked for.
const DISCOVER: Duration = Duration::from_secs(1);
/// The time that ending may take before it is cut short.
const FINISH: Duration = Duration::from_secs(20);
/// The same where the NAS refuses the key: a copy of systemd's stays what it is until this process has ended.
const REFUSED: Duration = Duration::from_millis(500);
/// The time that it may take after that.
const LAST: Duration = Duration::from_secs(4);

/// The tasks of all streams.
pub(super) struct Tasks {
    pub(super) context: Arc<Context>,
    /// The journal that they write, where there is one.
    pub(super) journal: Option<Journal>,
    pub(super) matcher: StreamMatcher,
    pub(super) running: BTreeMap<String, JoinHandle<()>>,
}

impl Tasks {
    /// Starts a task for each stream that there is or comes.
    pub(super) async fn discover(&mut self, stop: &CancellationToken) {
        let mut failing = false;
        let mut pause = if self.running.is_empty() { Duration::ZERO } else { DISCOVER };
        loop {
            let listed = async {
                tokio::time::sleep(std::mem::replace(&mut pause, DISCOVER)).await;
                self.context.jetstream.stream_names().await
            };
            // NATS may be away when the end comes.
            let Some(listed) = stop.run_until_cancelled(listed).await else { return };
            match listed {
                Ok(names) => {
                    failing = false;
                    self.start(names);
                }
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!("cannot list streams, trying again: {}", chain(&error));
                }
                Err(_) => {}
            }
        }
    }

    /// Refuses, for a new NAS, to write chains beside a journal of Wasabi's: the new NAS begins with what Wasabi
    /// holds, so Wasabi's answer is waited for.
    pub(super) async fn refuse_wasabis_journals(
        &self,
        wasabi: &Arc<Store>,
    ) -> Result<(), StartError> {
        let what = "looking for a journal at Wasabi";
        let ask = || takeover::refuse(wasabi, &self.matcher);
        let abort = &self.context.abort;
        retry(what, Backoff::default(), abort, StartError::class, ask).await.map(drop)
    }

    pub(super) fn start(&mut self, names: Vec<String>) {
        self.running.retain(|_, task| !task.is_finished());
        for name in names {
            if self.running.contains_key(&name) || !self.matcher.matches(&name) {
                continue;
            }
            match StreamName::new(name.clone()) {
                Ok(stream) => {
                    let (context, journal) = (Arc::clone(&self.context), self.journal.clone());
                    let task = tokio::spawn(tier(context, journal, stream));
                    self.running.insert(name, task);
                }
                Err(error) => tracing::error!("a stream is not archived: {error}"),
            }
        }
    }

    /// Ends all tasks at once.
    pub(super) async fn abort(&mut self) {
        self.journal = None;
        self.running.values().for_each(JoinHandle::abort);
        for (_, task) in std::mem::take(&mut self.running) {
            // It was told to end just now.
            task.await.unwrap_or_default();
        }
    }

    /// Waits until all is committed, for a while; then ends what is left.
    pub(super) async fn finish(self, opened: Option<Opened>) {
        let (abort, nas) = (self.context.abort.clone(), Arc::clone(&self.context.nas));
        drop(self.journal);
        let end = async {
            for (_, task) in self.running {
                if let Err(error) = task.await {
                    tracing::error!("the task of a stream failed: {error}");
                }
            }
            if let Some(opened) = opened {
                opened.end().await;
            }
        };
        tokio::pin!(end);
        let why = tokio::select! {
            () = &mut end => return,
            () = tokio::time::sleep(FINISH) => format!("in {} s", FINISH.as_secs()),
            () = refuses(&nas) => "because the NAS refuses the access key".into(),
        };
        tracing::error!(
            "not all messages could be archived {why}; those that the NAS has not confirmed stay in JetStream, and the next start continues with them"
        );
        abort.cancel();
        if tokio::time::timeout(LAST, &mut end).await.is_err() {
            tracing::error!(
                "some streams did not end in time: ending without them; the NAS keeps all that it has confirmed"
            );
        }
    }
}

/// Waits until a service has refused the key for a while.
async fn refuses(store: &Store) {
    let mut refused = Duration::ZERO;
    while refused < REFUSED {
        let pause = REFUSED / 5;
        tokio::time::sleep(pause).await;
        refused = if store.refuses_key() { refused + pause } else { Duration::ZERO };
    }
}

/// Runs one stream's sessions, until it is gone or everything ends.
async fn tier(context: Arc<Context>, journal: Option<Journal>, stream: StreamName) {
    let mut failures = 0;
    loop {
        let started = tokio::time::Instant::now();
        let outcome = match &journal {
            Some(journal) => Box::pin(stream::run(&context, journal, &stream)).await,
            None => Box::pin(session::run(&context, &stream)).await,
        };
        match outcome {
            Ok(SessionOutcome::StreamDeleted) => {
                tracing::info!(stream = %stream, "the stream was deleted; its archive stays");
                return;
            }
            // Where the journal was closed it is not this stream that is at fault, and all begin anew.
            Ok(SessionOutcome::ShutDown) | Err(SessionError::Journal(_)) => return,
            Ok(SessionOutcome::StreamChanged | SessionOutcome::ArchiveAnew) => failures = 0,
            Err(error) => {
                // A session that worked for a while and then failed is not the same failure again.
                failures =
                    if started.elapsed() > Duration::from_secs(30) { 1 } else { failures + 1 };
                tracing::warn!(stream = %stream, "starting again from the archive: {}", chain(&error));
                if context.stop.is_cancelled()
                    || !Backoff::default().wait(failures, &context.stop).await
                {
                    return;
                }
            }
        }
    }
}
