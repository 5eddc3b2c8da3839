//! Who writes a journal. Of two managers of the same journal one leads and answers for it, the other one asks and
//! stands by. That is for peace alone: what keeps two apart that both believe that they lead is the journal
//! itself, whose numbers are given out once.

use std::time::Duration;

use async_nats::Client;
use async_nats::client::RequestErrorKind;
use cim_core::names::JournalName;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::Journal;

/// How long the one that leads may take to answer, and how often it may not. Together with the pauses it is lost
/// after four and a half seconds; one that is cut off from the NAS so long after it fell silent.
const ANSWER: Duration = Duration::from_secs(1);
const MISSED: u32 = 3;
/// How often it is asked.
const PACE: Duration = Duration::from_millis(500);
/// Time that an entry may be on its way, or the NAS asked for the last one, before the one that leads does not
/// answer any more: it is cut off.
const STUCK: Duration = Duration::from_secs(4);

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

/// Answers for a journal while it is open and gets its entries committed.
pub async fn serve(client: Client, journal: Journal, writer: std::sync::Arc<str>) {
    let closing = journal.closing().clone();
    let name = journal.with(|state| state.journal.clone());
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
            let Some(reply) = question.reply.filter(|_| !journal.is_stuck(STUCK)) else { continue };
            if let Err(error) = client.publish(reply, writer.as_bytes().to_vec().into()).await {
                tracing::debug!("a manager that stands by was not answered: {error}");
            }
        }
    };
    closing.run_until_cancelled(serving).await;
}
