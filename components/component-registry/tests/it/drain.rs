//! The end in order.

use cim_core::envelope::EventId;
use futures_util::future::join_all;
use rustix::process::Signal;

use crate::support::{Nats, Program, insist, registration};

#[tokio::test]
async fn sigterm_under_load_loses_and_doubles_nothing() {
    let nats = Nats::start().await;
    let mut first = Program::start(&nats, "one").await;
    let callers = (0..8).map(|caller| {
        let client = nats.client.clone();
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for n in 0..40 {
                let body = registration(&format!("c{caller}"), &format!("1.0.{n}"), &["a"]);
                answers.push(
                    insist(&client, "component.register", EventId::now(), &body).await.unwrap(),
                );
            }
            answers
        })
    });
    let callers: Vec<_> = callers.collect();
    // In the middle of it one ends and another begins.
    crate::support::wait_until("there is load", async || {
        let events = nats.events().await.len();
        if events > 40 { Ok(()) } else { Err(events.to_string()) }
    })
    .await;
    first.signal(Signal::TERM);
    let status = first.ended().await;
    assert!(status.success(), "{status}: {}", first.log());
    assert!(first.log().contains("drained at sequence"), "{}", first.log());
    let _second = Program::start(&nats, "two").await;
    let answers: Vec<_> = join_all(callers).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(answers.len(), 320);
    let events = nats.events().await;
    // Each answered event is in the log once, and nothing besides them and the 8 capabilities.
    assert_eq!(events.len(), 320 + 8);
    for answer in &answers {
        let id = answer["event"]["id"].as_str().unwrap();
        assert_eq!(events.iter().filter(|e| e.id.to_string() == id).count(), 1, "{answer}");
    }
}
