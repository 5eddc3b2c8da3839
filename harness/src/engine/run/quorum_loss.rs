//! A cluster without its majority must take no writes: no server could keep the promise of its
//! acks.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::Run;
use crate::error::{Context as _, Error, Result};
use crate::lab::endpoint::Endpoint;
use crate::oracle::wire::{Delivery, Wire};
use crate::scenario::ExpectNoAcks;

/// The pause between two publishes.
const EVERY: Duration = Duration::from_millis(100);

/// The results of publishes that must not be acked.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    published: u64,
    refused: u64,
    /// The content of the first ack, if there was one.
    acked: Option<String>,
}

impl Run<'_> {
    pub(super) async fn expect_no_acks(&mut self, expect: &ExpectNoAcks) -> Result<()> {
        let (name, stream) = (&expect.stream, self.stream_of(&expect.stream));
        let total = crate::workload::total(&self.plan.scenario);
        let event = (0..total).find(|event| self.is_of(stream, *event));
        let subject = event.and_then(|event| self.subject(event));
        let subject = subject.ok_or_else(|| {
            Error::step(format!("no load publishes to `{name}`: its subjects are not known"))
        })?;
        let nats = self.machines.nats()?;
        let asked = ask(&nats, &subject, expect.time.into()).await;
        let asked = asked.step(|| format!("cannot publish to `{name}`"))?;
        if let Some(ack) = asked.acked {
            let what = format!("`{name}` took a write without a majority of its servers: {ack}");
            return Err(Error::step(what));
        }
        if asked.published == 0 {
            return Err(Error::step(format!("nothing was published to `{name}`")));
        }
        let Asked { published, refused, .. } = asked;
        let of = format!(
            "`{name}` without a majority: {published} publishes, {refused} refused, none acked"
        );
        self.progress.line(&of);
        self.note(of, Vec::new());
        Ok(())
    }
}

/// Publishes for a while through one connection, and listens through another.
async fn ask(nats: &Endpoint, subject: &str, time: Duration) -> std::io::Result<Asked> {
    let (mut ears, mut mouth) = (Wire::connect(nats).await?, Wire::connect(nats).await?);
    let (until, inbox) = (Instant::now() + time, ears.inbox().to_owned());
    let mut asked = Asked::default();
    let mut published = 0;
    let speak = async {
        while Instant::now() < until {
            mouth.publish(subject, &format!("{inbox}.{published}"), b"must not be acked").await?;
            published += 1;
            sleep(EVERY).await;
        }
        Ok::<_, std::io::Error>(())
    };
    let listen = async {
        // The timeout cuts off only an answer that is no longer needed.
        while let Ok(delivery) = timeout_at(until, ears.next()).await {
            asked.answer(&delivery?);
        }
        Ok(())
    };
    tokio::try_join!(speak, listen)?;
    asked.published = published;
    Ok(asked)
}

impl Asked {
    fn answer(&mut self, answer: &Delivery) {
        match acked(&answer.payload) {
            Some(ack) => self.acked = self.acked.take().or(Some(ack)),
            None => self.refused += 1,
        }
    }
}

/// Returns the answer to a publish if it is an ack or not understood; `None` for a refusal.
fn acked(payload: &Bytes) -> Option<String> {
    // Without a listener on the subject the answer is a header alone.
    if payload.is_empty() {
        return None;
    }
    let answer: Option<Value> = serde_json::from_slice(payload).ok();
    let error = answer.as_ref().and_then(|answer| answer.get("error"));
    error.is_none().then(|| String::from_utf8_lossy(payload).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_no_refusal_is_an_ack() {
        let of = |payload: &'static str| acked(&Bytes::from_static(payload.as_bytes()));
        assert_eq!(of(""), None);
        let refusal = r#"{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"},"stream":"S","seq":0}"#;
        assert_eq!(of(refusal), None);
        let ack = r#"{"stream":"S","domain":"d","seq":7}"#;
        assert_eq!(of(ack), Some(ack.to_owned()));
        assert_eq!(of("yes"), Some("yes".to_owned()));
    }
}
