//! The program dies between any two of its writes, and another one goes on.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use cim_core::envelope::EventId;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Nats, Program, call, insist, mortal, offline_of, registration, report, wait_until,
};

fn points(program: &Path) -> Vec<String> {
    let (_, out, _) = offline_of(program, &["hooks"]);
    let hooks: Value = serde_json::from_str(&out).unwrap();
    serde_json::from_value(hooks["fail_points"].clone()).unwrap()
}

#[tokio::test]
async fn killed_at_each_point_it_does_nothing_twice_and_forgets_nothing() {
    let Some(program) = mortal() else { return };
    let points = points(&program);
    assert!(points.len() >= 8, "{points:?}");
    let mut digests = Vec::new();
    for point in &points {
        let nats = Nats::start().await;
        let mut first = Program::dying(&nats, "one", &program, point).await;
        let commands: Vec<_> = (0..4)
            .map(|n| {
                (
                    EventId::now(),
                    registration("units", &format!("1.0.{n}"), &["a", "b", "c"][n % 2..=2]),
                )
            })
            .collect();
        let mut answers = Vec::new();
        let mut second = None;
        for (id, body) in &commands {
            loop {
                match call(&nats.client, "component.register", Some(*id), body).await {
                    Ok(answer) => break answers.push(answer),
                    Err((code, what, _)) => {
                        assert!(code == "no_answer" || code == "unavailable", "{what}");
                    }
                }
                if second.is_none() && first.has_ended() {
                    second = Some(Program::start(&nats, "two").await);
                }
            }
        }
        if second.is_none() {
            let status = first.ended().await;
            assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{point}: {}", first.log());
            second = Some(Program::start(&nats, "two").await);
        }
        assert!(
            first.log().contains(&format!("fail-point/{point}: dying here")),
            "{}",
            first.log()
        );
        // Sent once more, each gets the same answer.
        for ((id, body), answer) in commands.iter().zip(&answers) {
            let again = insist(&nats.client, "component.register", *id, body).await.unwrap();
            assert_eq!(again, *answer, "{point}");
        }
        // 3 added, then `a` removed, added, removed.
        let events = wait_until("what is owed is in the log", async || {
            let events = nats.events().await;
            if events.len() >= 10 { Ok(events) } else { Err(format!("{point}: {}", events.len())) }
        })
        .await;
        let types: Vec<_> = events.iter().map(|e| e.event_type.as_str().to_owned()).collect();
        assert_eq!(types.len(), 10, "{point}: {types:?}");
        let versions: Vec<_> = events.iter().map(|e| e.aggregate_version).collect();
        assert_eq!(versions, (1..=10).collect::<Vec<_>>(), "{point}");
        second.unwrap().stop().await;
        let rebuilt = report(&nats, &["rebuild"]);
        assert_eq!(rebuilt["views_changed"], json!(0), "{point}");
        let (_, listed) =
            nats.views().await.into_iter().find(|(k, _)| k == "component.units.host").unwrap();
        digests.push((point.clone(), listed, types));
    }
    let (_, views, types) = &digests[0];
    for (point, other, of_other) in &digests {
        assert_eq!((other, of_other), (views, types), "{point}");
    }
}
