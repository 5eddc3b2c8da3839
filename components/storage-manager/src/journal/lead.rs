//! Who writes a journal. Of two managers of the same journal one leads and answers for it, the other one asks and
//! stands by. That is for peace alone: what keeps two apart that both believe that they lead is the journal
//! itself, whose numbers are given out once.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::client::RequestErrorKind;
use cim_core::names::JournalName;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::Journal;
use crate::tier::Context;

/// How long the one that leads may take to answer, and how often it may not. Together with the pauses it is lost
/// after four and a half seconds; one that is cut off from the NAS so long after it fell silent.
const ANSWER: Duration = Duration::from_secs(1);
const MISSED: u32 = 3;
/// How often it is asked.
const PACE: Duration = Duration::from_millis(500);
/// Time that an entry may be on its way, or the NAS asked for the last one, before the one that leads does not
/// answer any more: it is cut off.
const STUCK: Duration = Duration::from_secs(4);

/// The question for what cannot be healed. One without words is for who writes.
const DAMAGE: &[u8] = b"damage";

fn subject(journal: &JournalName) -> String {
    format!("cim.service.storage.journal.{journal}")
}

/// Waits until no other manager answers for a journal; false when `stop` came first.
pub async fn stand_by(client: &Client, journal: &JournalName, stop: &CancellationToken) -> bool {
    let (mut missed, mut said) = (0, false);
    loop {
        let ask = tokio::time::timeout(ANSWER, client.request(subject(journal), "".into()));
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
                tracing::warn!(
                    "journal `{journal}`: its writer does not answer any more: taking over"
                );
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
                    "another manager of `{name}` is not told of this one: {error}"
                );
            }
        };
        while let Some(question) = questions.next().await {
            let Some(reply) = question.reply else { continue };
            let answer = if question.payload == DAMAGE {
                serde_json::to_vec(&context.ailing.stay()).expect("text is JSON")
            } else if journal.is_stuck(STUCK) {
                continue;
            } else {
                context.writer.as_bytes().to_vec()
            };
            if let Err(error) = client.publish(reply, answer.into()).await {
                tracing::debug!("who asked for journal `{name}` was not answered: {error}");
            }
        }
    };
    closing.run_until_cancelled(serving).await;
}
