//! Deletes in the middle of a stream, so that there are gaps that must survive.

use std::sync::Arc;
use std::time::Duration;

use cim_core::names::StreamName;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::publish::{Host, ToDelete, connect};
use crate::ledger::{Delete, Ledger};

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A deleter of the messages that the plan has chosen, soon after they were acked.
pub(super) struct Deleter {
    pub(super) ledger: Arc<Ledger>,
    pub(super) stream: usize,
    pub(super) name: StreamName,
    pub(super) host: watch::Receiver<Host>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    success: bool,
}

impl Deleter {
    pub(super) async fn run(self, mut asked: mpsc::UnboundedReceiver<ToDelete>) {
        let mut client: Option<(u32, async_nats::Client)> = None;
        while let Some(ToDelete { event, epoch, seq }) = asked.recv().await {
            let host = self.host.borrow().clone().filter(|host| host.epoch == epoch);
            // The host that held it is gone: no delete was sent.
            let Some(host) = host else { continue };
            if client.as_ref().is_none_or(|(at, _)| *at != epoch) {
                client = connect(&host).await.map(|client| (epoch, client));
            }
            let Some((_, client)) = &client else { continue };
            let (stream, asked_at) = (self.stream, self.ledger.now());
            let delete = Delete { event, stream, epoch, seq, asked_at, done_at: None };
            let asked = self.ledger.deleting(delete);
            let subject = format!("$JS.API.STREAM.MSG.DELETE.{}", self.name);
            let request = format!("{{\"seq\":{seq},\"no_erase\":true}}");
            let answer =
                tokio::time::timeout(ANSWER_WITHIN, client.request(subject, request.into())).await;
            let done = matches!(answer, Ok(Ok(message))
                if serde_json::from_slice::<Answer>(&message.payload).is_ok_and(|a| a.success));
            if done {
                self.ledger.deleted(&asked);
            }
        }
    }
}
