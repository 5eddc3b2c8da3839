//! The end in order.

use cim_core::envelope::EventId;
use futures_util::future::join_all;
use rustix::process::Signal;

use crate::support::{Nats, Program, insist, registration, wait_until};

#[tokio::test]
async fn sigterm_under_load_loses_and_doubles_nothing() {
    let nats = Nats::start().await;
    let mut first = Program::start(&nats, "one").await;
    let callers = join_all((0..8).map(|caller| {
        let client = nats.client.clone();
        async move {
            let mut answers = Vec::new();
            for n in 0..40 {
                let body = registration(&format!("c{caller}"), &format!("1.0.{n}"), &["a"]);
                let answer = insist(&client, "component.register", EventId::now(), &body).await;
                answers.push(answer.unwrap());
            }
            answers
        }
    }));
    let replaced = async {
        // In the middle of it one ends and another begins.
        wait_until("there is load", async || {
            let events = nats.events().await.len();
            if events > 40 { Ok(()) } else { Err(events.to_string()) }
        })
        .await;
        first.signal(Signal::TERM);
        let status = first.ended().await;
        assert!(status.success(), "{status}: {}", first.log());
        assert!(first.log().contains("drained at sequence"), "{}", first.log());
        Program::start(&nats, "two").await
    };
    let (answers, _second) = tokio::join!(callers, replaced);
    let answers = answers.concat();
    assert_eq!(answers.len(), 320);
    let events = nats.events().await;
    // Each answered event is in the log once, and nothing besides them and the 8 capabilities.
    assert_eq!(events.len(), 320 + 8);
    for answer in &answers {
        let id = answer["event"]["id"].as_str().unwrap();
        assert_eq!(events.iter().filter(|e| e.id.to_string() == id).count(), 1, "{answer}");
    }
}
