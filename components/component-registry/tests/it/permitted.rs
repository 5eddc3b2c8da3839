//! The rights that the modules give the registry's user are enough, and no more than it needs is tried.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Nats, Program, call, registration, wait_until};

/// Returns the permissions of the registry's user as nixos/lib renders them, in the configuration of a server with
/// that user and one that may do everything.
fn configuration() -> String {
    let rendered = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/rendered/example/host.nixos.json");
    let rendered: Value =
        serde_json::from_str(&std::fs::read_to_string(rendered).unwrap()).unwrap();
    let users = rendered["nats"]["settings"]["accounts"]["CIM"]["users"].as_array().unwrap();
    let speaks = |user: &&Value| {
        let allowed = &user["permissions"]["publish"]["allow"];
        allowed.as_array().is_some_and(|all| all.contains(&json!("cim.event.registry.>")))
    };
    let user = users.iter().find(speaks).expect("the example has the registry");
    let users = json!([
        {"user": "registry", "password": "registry", "permissions": user["permissions"]},
        {"user": "all", "password": "all"},
    ]);
    format!("authorization: {{ users: {users} }}\nno_auth_user: all\n")
}

#[tokio::test]
async fn the_rendered_permissions_are_what_it_needs() {
    let nats = Nats::start_with(&configuration()).await;
    nats.events_stream().await;
    let bucket = async_nats::jetstream::kv::Config {
        bucket: "component-graph".into(),
        history: 8,
        ..Default::default()
    };
    nats.jetstream().create_key_value(bucket).await.unwrap();
    let config = nats.dir.path().join("registry.toml");
    let password = nats.dir.path().join("password");
    std::fs::write(&password, "registry\n").unwrap();
    let text = format!(
        "[nats]\nurl = \"{}\"\nuser = \"registry\"\npassword_file = \"{}\"\ninbox_prefix = \"_INBOX_registry\"\n",
        nats.url,
        password.display()
    );
    std::fs::write(&config, text).unwrap();
    // It registers itself, beats, and writes views and, at its end, a snapshot.
    for _ in 0..2 {
        let registry = Program::permitted(&nats, &config).await;
        let done =
            call(&nats.client, "component.register", None, &registration("units", "1.0.0", &["a"]))
                .await;
        done.unwrap();
        let beat = json!({"name": "units", "instance": "host"});
        call(&nats.client, "component.heartbeat", None, &beat).await.unwrap();
        let bucket = nats.jetstream().get_key_value("component-graph").await.unwrap();
        wait_until("the views are written", async || {
            for key in [
                "component.units.host",
                "capability.a",
                "component.component-registry.here",
                "position",
            ] {
                let value = bucket.get(key).await.map_err(|e| e.to_string())?;
                value.ok_or_else(|| format!("{key}: {}", registry.log()))?;
            }
            Ok(())
        })
        .await;
        let log = registry.log();
        registry.stop().await;
        assert!(bucket.get("snapshot").await.unwrap().is_some(), "{log}");
        assert!(!log.contains(" WARN "), "{log}");
        let gone = bucket.get("component.component-registry.here").await.unwrap();
        assert!(gone.is_none(), "it says that it ends");
    }
    let server = std::fs::read_to_string(nats.dir.path().join("nats.log")).unwrap();
    assert!(!server.contains("Violation"), "{server}");
}
