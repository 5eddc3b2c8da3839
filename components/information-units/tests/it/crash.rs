//! The program dies between any two of its writes, and another one goes on.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use cim_core::envelope::EventId;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Nats, Program, call_as, mortal, note, points, report};

/// Points that only what is owed reaches; units owe nothing.
const OWED: [&str; 2] = ["owed-before", "owed-after"];

fn commands() -> Vec<(EventId, &'static str, Value)> {
    let commands = [
        ("type.register", json!({"type": "letter", "schema": {"type": "object"}})),
        ("unit.create", note("a", "x")),
        ("unit.create", note("b", "y")),
        ("unit.link", json!({"unit": "a", "relation": "cites", "target": "b"})),
        ("type.register", json!({"type": "letter", "schema": true, "expected": 1})),
        ("unit.link", json!({"unit": "b", "relation": "cites", "target": "a"})),
    ];
    commands.map(|(operation, body)| (EventId::now(), operation, body)).into()
}

#[tokio::test]
async fn killed_at_each_point_it_does_nothing_twice_and_forgets_nothing() {
    let Some(program) = mortal() else { return };
    let points = points(&program);
    let points: Vec<_> = points.iter().filter(|point| !OWED.contains(&point.as_str())).collect();
    assert!(points.len() >= 6, "{points:?}");
    for point in points {
        let nats = Nats::start().await;
        let mut first = Program::dying(&nats, "one", &program, point).await;
        let mut second = None;
        let mut answers = Vec::new();
        let commands = commands();
        for (id, operation, body) in &commands {
            loop {
                // A process that is dead answers never; one that is slow is asked again.
                let asked = call_as(&nats.client, operation, Some(*id), body);
                let answer = timeout(Duration::from_secs(2), asked).await;
                match answer.unwrap_or_else(|_| Err(("no_answer".into(), String::new()))) {
                    Ok(answer) => break answers.push(answer),
                    Err((code, what)) => {
                        assert!(code == "no_answer" || code == "unavailable", "{what}");
                    }
                }
                if second.is_none() && first.has_ended() {
                    second = Some(Program::start(&nats, "two").await);
                }
            }
        }
        let status = first.ended().await;
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{point}: {}", first.log());
        let second = match second {
            Some(second) => second,
            None => Program::start(&nats, "two").await,
        };
        // Sent once more, each gets the same answer.
        for ((id, operation, body), answer) in commands.iter().zip(&answers) {
            let again = call_as(&nats.client, operation, Some(*id), body).await.unwrap();
            assert_eq!(again, *answer, "{point}");
        }
        let events = nats.events().await;
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let sent: Vec<_> = commands.iter().map(|(id, ..)| *id).collect();
        assert_eq!(ids, sent, "{point}");
        second.stop().await;
        assert_eq!(report(&nats, &["rebuild"])["views_changed"], json!(0), "{point}");
    }
}
