//! Who writes a journal. Of two managers of the same journal one leads and answers for it, the other one asks and
//! stands by. That is for peace alone: what keeps two apart that both believe that they lead is the journal
//! itself, whose numbers are given out once.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::client::RequestErrorKind;
use bytes::Bytes;
use cim_core::names::JournalName;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Journal;
use crate::tier::Context;

/// The time that the leader may take to answer, and how often it may fail to. Together with the pauses it is lost
/// after four and a half seconds; one that is cut off from the NAS so long after it fell silent.
const ANSWER: Duration = Duration::from_secs(1);
const MISSED: u32 = 3;
/// The interval at which it is asked.
const PACE: Duration = Duration::from_millis(500);
/// Time that an entry may be on its way, or the NAS asked for the last one, before the one that leads does not
/// answer any more: it is cut off.
const STUCK: Duration = Duration::from_secs(4);

/// The question for what cannot be healed. One without words is for who writes.
const DAMAGE: &[u8] = b"damage";
/// Begins a question that asks the one that leads to let go of the journal; who asks follows.
const MAKE_WAY: &[u8] = b"make way: ";
/// The interval at which that is answered by a manager that does not know the question.
const ASKED: u32 = 8;
/// The time that a manager may take to let go.
const LETS_GO: Duration = Duration::from_secs(60);

fn subject(journal: &JournalName) -> String {
    format!("cim.service.storage.journal.{journal}")
}

/// Waits until no other manager answers for a journal; false when `stop` came first. Says who asks.
pub async fn stand_by(
    client: &Client,
    journal: &JournalName,
    writer: &str,
    stop: &CancellationToken,
) -> bool {
    let writer = Bytes::copy_from_slice(writer.as_bytes());
    let (mut missed, mut said) = (0, false);
    loop {
        let ask = tokio::time::timeout(ANSWER, client.request(subject(journal), writer.clone()));
        let Some(answer) = stop.run_until_cancelled(ask).await else { return false };
        match answer {
            Ok(Ok(answer)) => {
                missed = 0;
                if !std::mem::replace(&mut said, true) {
                    let writer = String::from_utf8_lossy(&answer.payload);
                    tracing::info!("journal `{journal}` is written by `{writer}`: standing by");
                }
            }
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => return true,
            // NATS is away, or the one that leads is paused or cut off.
            Ok(Err(_)) | Err(_) => missed += 1,
        }
        if missed >= MISSED {
            if said {
                tracing::warn!("journal `{journal}`: its writer no longer answers: taking over");
            }
            return true;
        }
        if stop.run_until_cancelled(tokio::time::sleep(PACE)).await.is_none() {
            return false;
        }
    }
}

/// Returns what the manager that writes a journal cannot heal, each as its log has it; nothing where none answers.
pub async fn damage(client: &Client, journal: &JournalName) -> Vec<String> {
    let ask = client.request(subject(journal), DAMAGE.into());
    match tokio::time::timeout(ANSWER, ask).await {
        // One that is older says who it is.
        Ok(Ok(answer)) => serde_json::from_slice(&answer.payload).unwrap_or_default(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// Answers for a journal while it is open and gets its entries committed.
pub async fn serve(context: Arc<Context>, journal: Journal) {
    let closing = journal.closing().clone();
    let name = journal.with(|state| state.journal.clone());
    let client = context.jetstream.client();
    let serving = async {
        let mut questions = match client.subscribe(subject(&name)).await {
            Ok(questions) => questions,
            Err(error) => {
                return tracing::warn!(
                    "another storage manager of journal `{name}` cannot learn of this one, and may try to write it too: {error}"
                );
            }
        };
        while let Some(question) = questions.next().await {
            let Some(reply) = question.reply else { continue };
            let answer = if question.payload == DAMAGE {
                serde_json::to_vec(&context.damaged.stay()).expect("text is JSON")
            } else if journal.is_stuck(STUCK) {
                continue;
            } else {
                context.writer.as_bytes().to_vec()
            };
            if let Err(error) = client.publish(reply, answer.into()).await {
                tracing::debug!("who asked for journal `{name}` was not answered: {error}");
            }
            if let Some(by) = question.payload.strip_prefix(MAKE_WAY) {
                // It is heard before this one is gone.
                client.flush().await.unwrap_or_default();
                let by = String::from_utf8_lossy(by).into_owned();
                return journal.close(&format!("`{by}` has something to write to it"));
            }
        }
    };
    closing.run_until_cancelled(serving).await;
}

/// The lead that a command has taken, until it is dropped: managers stand by meanwhile.
#[derive(Debug)]
pub struct Taken(tokio::task::JoinHandle<()>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why the lead could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// NATS does not let it be asked for.
    #[error("NATS does not take a subscription to `{0}`")]
    Subscribe(String),
    /// The manager that leads knows nothing of making way.
    #[error("`{0}` still writes the journal: stop that storage manager, then run this again")]
    GoesOn(String),
    /// It makes way, and has not ended what it was at.
    #[error("`{0}` did not release the journal in time: run this again when it is less busy")]
    Hangs(String),
}

/// Makes the manager that writes a journal let go of it and stand by, and waits until it does: nothing is under way then.
/// The manager gives up its work in progress: JetStream has the messages.
///
/// # Errors
/// When it goes on, or NATS does not take the subscription.
pub async fn take(
    client: &Client,
    journal: &JournalName,
    writer: &str,
) -> Result<Taken, TakeError> {
    let subject = subject(journal);
    let refused = || TakeError::Subscribe(subject.clone());
    let mut questions = client.subscribe(subject.clone()).await.map_err(|_| refused())?;
    client.flush().await.map_err(|_| refused())?;
    let (answering, name) = (client.clone(), Bytes::copy_from_slice(writer.as_bytes()));
    let (standing_by, mut stands_by) = mpsc::unbounded_channel();
    let taken = Taken(tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let Some(reply) = question.reply else { continue };
            if !question.payload.starts_with(MAKE_WAY) {
                answering.publish(reply, name.clone()).await.unwrap_or_default();
                // It is of no interest any more when the lead was taken.
                standing_by.send(question.payload).unwrap_or_default();
            }
        }
    }));
    let begun = Instant::now();
    let (mut leads, mut answers) = (None, 0);
    loop {
        let question = [MAKE_WAY, writer.as_bytes()].concat();
        let ask = client.request(subject.clone(), question.into());
        if let Ok(Ok(answer)) = tokio::time::timeout(ANSWER, ask).await {
            answers += 1;
            leads = Some(answer.payload);
        }
        let Some(leads) = &leads else { return Ok(taken) };
        let name = || String::from_utf8_lossy(leads).into_owned();
        if answers >= ASKED {
            return Err(TakeError::GoesOn(name()));
        }
        if begun.elapsed() > LETS_GO {
            return Err(TakeError::Hangs(name()));
        }
        let let_go = async {
            while let Some(asks) = stands_by.recv().await {
                if asks == leads {
                    return;
                }
            }
        };
        if tokio::time::timeout(ANSWER, let_go).await.is_ok() {
            return Ok(taken);
        }
    }
}
