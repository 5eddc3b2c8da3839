//! The life of components: they register, are found, and go.

use async_nats::service::Info;
use serde_json::json;

use crate::support::{Nats, Program, call, registration, wait_until};

#[tokio::test]
async fn components_register_are_found_and_go() {
    let nats = Nats::start().await;
    let registry = Program::start(&nats, "one").await;
    let client = &nats.client;
    let units = json!({
        "name": "information-units", "instance": "host", "version": "1.4.0",
        "capabilities": ["unit.create", "full-text"],
        "requires": [{"component": "storage-manager", "version": "^2"}],
    });
    let done = call(client, "component.register", None, &units).await.unwrap();
    assert_eq!(done["changed"], true);
    assert_eq!(done["event"]["type"], "component.registered");
    assert_eq!(done["event"]["aggregate_version"], 1);
    // Said again it changes nothing, and is no event.
    let again = call(client, "component.register", None, &units).await.unwrap();
    assert_eq!(again["changed"], false);

    let asked = json!({"capability": "full-text"});
    let found = call(client, "capability.query", None, &asked).await.unwrap();
    assert_eq!(found["components"], json!(["information-units.host"]));
    // The edge is open until the other runs.
    let id = json!({"name": "information-units", "instance": "host"});
    let got = call(client, "component.get", None, &id).await.unwrap();
    assert_eq!(got["requires"][0]["met_by"], json!([]));
    call(client, "component.register", None, &registration("storage-manager", "2.1.0", &[]))
        .await
        .unwrap();
    let got = call(client, "component.get", None, &id).await.unwrap();
    assert_eq!(got["requires"][0]["met_by"], json!(["storage-manager.host"]));
    let all = call(client, "component.list", None, &json!({})).await.unwrap();
    assert_eq!(all["components"].as_array().unwrap().len(), 2);

    // The graph in the bucket is what the service answers.
    wait_until("the views follow", async || {
        let views = nats.views().await;
        let edges = views.iter().find(|(key, _)| key == "component.information-units.host");
        if edges.is_some_and(|(_, value)| *value == got) {
            Ok(())
        } else {
            Err(format!("{views:?}"))
        }
    })
    .await;

    call(client, "component.unregister", None, &id).await.unwrap();
    let (code, what, number) = call(client, "component.get", None, &id).await.unwrap_err();
    assert_eq!((code.as_str(), number.as_str()), ("not_registered", "404"));
    assert_eq!(
        what,
        "`information-units.host` is not registered: send `component.register`, or look with `component.list`"
    );
    wait_until("its views go", async || {
        let keys: Vec<_> = nats.views().await.into_iter().map(|(key, _)| key).collect();
        if keys == ["component.storage-manager.host"] { Ok(()) } else { Err(format!("{keys:?}")) }
    })
    .await;

    let types: Vec<_> = nats.events().await.into_iter().map(|e| e.event_type.to_string()).collect();
    assert_eq!(
        types,
        [
            "component.registered",
            "capability.added",
            "capability.added",
            "component.registered",
            "component.unregistered",
            "capability.removed",
            "capability.removed",
        ]
    );
    registry.stop().await;
}

#[tokio::test]
async fn versions_that_do_not_fit_are_refused_with_the_way_out() {
    let nats = Nats::start().await;
    let _registry = Program::start(&nats, "one").await;
    let client = &nats.client;
    call(client, "component.register", None, &registration("store", "1.9.0", &[])).await.unwrap();
    let mut needs = registration("units", "1.0.0", &[]);
    needs["requires"] = json!([{"component": "store", "version": ">=2"}]);
    let (code, what, number) = call(client, "component.register", None, &needs).await.unwrap_err();
    assert_eq!((code.as_str(), number.as_str()), ("requirement_unmet", "409"));
    assert_eq!(
        what,
        "`units.host` needs `store` >=2, and of it 1.9.0 runs: start `store` in a version of that range first"
    );
    needs["requires"] = json!([{"component": "store", "version": "^1.2"}]);
    call(client, "component.register", None, &needs).await.unwrap();
    let newer = registration("store", "2.0.0", &[]);
    let (code, what, _) = call(client, "component.register", None, &newer).await.unwrap_err();
    assert_eq!(code, "breaks_dependent");
    assert_eq!(
        what,
        "`store.host` is 2.0.0, and `units.host` needs ^1.2: keep a process of that range running, or unregister `units.host` first"
    );
    // Beside the old one the new one may run.
    let mut beside = newer.clone();
    beside["instance"] = json!("other");
    call(client, "component.register", None, &beside).await.unwrap();
    for bad in [
        json!({"name": "Store", "instance": "host", "version": "1.0.0"}),
        json!({"name": "store", "instance": "host", "version": "1.0"}),
        json!({"name": "store", "instance": "host", "version": "1.0.0", "capabilities": ["a..b"]}),
        json!({"name": "store", "instance": "host", "version": "1.0.0", "expires_after_seconds": 0}),
    ] {
        let (code, what, number) =
            call(client, "component.register", None, &bad).await.unwrap_err();
        assert_eq!((code.as_str(), number.as_str()), ("invalid_request", "400"), "{what}");
    }
}

#[tokio::test]
async fn a_component_without_heartbeats_expires_and_one_with_them_does_not() {
    let nats = Nats::start().await;
    let _registry = Program::start(&nats, "one").await;
    let client = &nats.client;
    let mut silent = registration("silent", "1.0.0", &["s3"]);
    silent["expires_after_seconds"] = json!(2);
    let mut beating = registration("beating", "1.0.0", &[]);
    beating["expires_after_seconds"] = json!(10);
    let beat = json!({"name": "beating", "instance": "host"});
    let (code, ..) = call(client, "component.heartbeat", None, &beat).await.unwrap_err();
    assert_eq!(code, "not_registered");
    for registration in [&silent, &beating] {
        call(client, "component.register", None, registration).await.unwrap();
    }
    let before = nats.events().await.len();
    let events = wait_until("the silent one expires", async || {
        call(client, "component.heartbeat", None, &beat).await.map_err(|e| e.1)?;
        let events = nats.events().await;
        if events.len() == before + 2 { Ok(events) } else { Err(format!("{}", events.len())) }
    })
    .await;
    let expired = &events[before];
    assert_eq!(expired.event_type.as_str(), "component.unregistered");
    assert_eq!(expired.payload.value()["reason"], "expired");
    assert_eq!(expired.aggregate_id.as_str(), "silent.host");
    let removed = &events[before + 1];
    assert_eq!(removed.causation_id, expired.id);
    assert_eq!(removed.correlation_id, expired.correlation_id);
    call(client, "component.get", None, &beat).await.unwrap();
}

#[tokio::test]
async fn it_is_a_micro_service_with_schemas_errors_health_and_metrics() {
    let nats = Nats::start().await;
    let registry = Program::start(&nats, "one").await;
    let client = &nats.client;
    let info = client.request("$SRV.INFO.component-registry", "".into()).await.unwrap();
    let info: Info = serde_json::from_slice(&info.payload).unwrap();
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    let mut endpoints: Vec<_> = info
        .endpoints
        .iter()
        .map(|e| {
            format!(
                "{} {} {} {}",
                e.subject, e.metadata["request"], e.metadata["reply"], e.metadata["errors"]
            )
        })
        .collect();
    endpoints.sort();
    insta::assert_snapshot!(endpoints.join("\n"));
    call(client, "component.register", None, &registration("a", "1.0.0", &[])).await.unwrap();
    call(client, "component.register", None, &json!({})).await.unwrap_err();
    let stats = client.request("$SRV.STATS.component-registry", "".into()).await.unwrap();
    let stats: serde_json::Value = serde_json::from_slice(&stats.payload).unwrap();
    let endpoints = stats["endpoints"].as_array().unwrap();
    let register = endpoints.iter().find(|e| e["name"] == "component-register").unwrap();
    assert_eq!((&register["num_requests"], &register["num_errors"]), (&json!(2), &json!(1)));
    let text = wait_until("metrics follow", async || {
        let (status, text) = registry.get("/metrics")?;
        assert_eq!(status, 200);
        if text.contains("cim_component_views_position 1\n") { Ok(text) } else { Err(text) }
    })
    .await;
    for line in [
        "cim_component_commands_total{outcome=\"changed\"} 1",
        "cim_component_position 1",
        "cim_component_lag 0",
        "cim_component_unknown_events 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}:\n{text}");
    }
    let (status, health) = registry.get("/livez").unwrap();
    assert_eq!(status, 200);
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    assert_eq!((&health["ready"], &health["position"]), (&json!(true), &json!(1)));
    assert_eq!(registry.get("/nothing").unwrap().0, 404);
}
