//! A command that is sent again.

use cim_core::envelope::EventId;
use serde_json::json;

use crate::support::{Nats, Program, call, registration};

#[tokio::test]
async fn a_command_that_is_sent_again_has_one_effect_and_the_same_answer() {
    let nats = Nats::start().await;
    let registry = Program::start(&nats, "one").await;
    let (client, id) = (&nats.client, EventId::now());
    let first = registration("units", "1.0.0", &["a"]);
    let answer = call(client, "component.register", Some(id), &first).await.unwrap();
    assert_eq!(answer["event"]["id"], json!(id));
    // Something else happens to it in between: the answer is that of the command, not of the moment.
    call(client, "component.unregister", Some(EventId::now()), &first).await.unwrap();
    assert_eq!(call(client, "component.register", Some(id), &first).await.unwrap(), answer);
    registry.stop().await;

    // By another process, from its snapshot; and by one that reads all events.
    let registry = Program::start(&nats, "two").await;
    assert_eq!(call(client, "component.register", Some(id), &first).await.unwrap(), answer);
    registry.stop().await;
    let bucket = nats.jetstream().get_key_value("component-registry").await.unwrap();
    assert!(bucket.get("snapshot").await.unwrap().is_some(), "a stop leaves a snapshot");
    bucket.purge("snapshot").await.unwrap();
    let _registry = Program::start(&nats, "three").await;
    assert_eq!(call(client, "component.register", Some(id), &first).await.unwrap(), answer);
    // Registered, capability added, unregistered, capability removed.
    assert_eq!(nats.events().await.len(), 4);

    let other = registration("units", "2.0.0", &["a"]);
    let (code, _, number) = call(client, "component.register", Some(id), &other).await.unwrap_err();
    assert_eq!((code.as_str(), number.as_str()), ("command_id_reused", "409"));
}
