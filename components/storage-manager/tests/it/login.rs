//! Logging in with an nkey, on both connections: the client's and the tiering reader's own.

use std::path::Path;

use cim_runtime::config;
use cim_runtime::nats::NatsConfig;
use cim_storage_manager::wire::{Link, WireError};
use nkeys::KeyPair;
use serde_json::json;

use crate::support::{Lab, Manager, NOWHERE, Nats, Settings};

/// A file with a seed, and the TOML line that names it.
fn nkey_file(dir: &Path, name: &str, user: &KeyPair) -> String {
    let path = dir.join(name);
    std::fs::write(&path, format!("{}\n", user.seed().unwrap())).unwrap();
    format!("nkey_file = \"{}\"\n", path.display())
}

/// What the reader's own connection says about a login.
async fn open(url: &str, login: &str) -> Result<(), WireError> {
    let text = format!("url = \"{url}\"\n{login}");
    let config: NatsConfig = config::parse(Path::new("nats.toml"), &text).unwrap();
    Link::new(config).connect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_nkey_tiers_and_restores() {
    let lab = Lab::start().await;
    let user = KeyPair::new_user();
    let nats = Nats::start_for(&lab.path("for-one-user"), &user).await;
    let login = nkey_file(lab.dir(), "right.nk", &user);
    open(&nats.url, &login).await.unwrap();

    let manager = lab.manager_with("one-user", |settings| {
        (settings.nats, settings.login) = (nats.url.clone(), login);
    });
    nats.create("S", json!({})).await;
    nats.publish("S", 50).await;
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", 50).await;
    daemon.stop().await;
    let restored = manager.json(&["restore", "S", "--as", "T", "--subjects", "t.>"]);
    assert_eq!(restored["streams"][0]["messages"], 50, "{restored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_nkey_or_none_is_refused_with_status_3() {
    let lab = Lab::start().await;
    let nats = Nats::start_for(&lab.path("for-one-user"), &KeyPair::new_user()).await;
    let wrong = nkey_file(lab.dir(), "wrong.nk", &KeyPair::new_user());
    for login in [wrong.as_str(), ""] {
        let error = open(&nats.url, login).await.unwrap_err();
        assert!(matches!(error, WireError::Refused(_)), "{error}");
        assert_eq!(error.to_string(), "NATS refused: Authorization Violation");

        let manager = lab.manager_with("refused", |settings| {
            (settings.nats, settings.login) = (nats.url.clone(), login.into());
        });
        let (status, error) = manager.error(&["status"]);
        assert_eq!(status, 3, "{error}");
        let wanted = format!("error: cannot connect to NATS at `{}`: check `nats.url`", nats.url);
        assert!(error.starts_with(&wanted), "{error}");
        assert!(error.contains("authorization violation"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_holds_no_seed_is_refused_before_anything_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not-a-seed.nk");
    let mut settings = Settings::new("nats://127.0.0.1:1", NOWHERE);
    settings.login = format!("nkey_file = \"{}\"\n", path.display());
    let manager = Manager::new(dir.path(), "host", &settings);
    let (status, error) = manager.error(&["tier"]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("cannot read secret `"), "{error}");
    std::fs::write(&path, "hunter2\n").unwrap();
    let (status, error) = manager.error(&["tier"]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("it holds no nkey seed") && !error.contains("hunter2"), "{error}");
}
