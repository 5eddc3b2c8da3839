//! Keys, passwords and certificates that are replaced while the manager runs: nothing stops, and there is no restart.

use std::path::Path;
use std::time::{Duration, Instant};

use cim_fake_wasabi::{Config, Credentials, FakeWasabi};
use serde_json::{Value, json};

use crate::support::{
    Authority, Daemon, Manager, Minio, Nats, Settings, USER, credentials_file, wait_until,
};

/// What the NAS may lack after everything works again.
const LATE: Duration = Duration::from_secs(5);

/// A service at this address that takes one key.
async fn service(dir: &Path, listen: std::net::SocketAddr, secret: &str) -> FakeWasabi {
    let config = Config {
        buckets: vec!["archive".into()],
        credentials: vec![Credentials::new(USER, secret)],
        listen,
        ..Config::new(dir.join("nas"))
    };
    wait_until("the service has its address", async || {
        FakeWasabi::start(config.clone()).await.map_err(|error| error.to_string())
    })
    .await
}

async fn says(daemon: &Daemon, what: &str) {
    wait_until(&format!("the log says `{what}`"), async || {
        let log = daemon.log();
        if log.contains(what) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// Publishes, and waits until all of it is on the NAS.
async fn comes_in_time(nats: &Nats, manager: &Manager, last: u64) {
    let since = Instant::now();
    nats.publish("S", 10).await;
    manager.reaches("S", "nas", last).await;
    assert!(since.elapsed() < LATE, "it took {:?}", since.elapsed());
}

fn server(password: &str) -> String {
    format!(
        "server_name: one\nno_auth_user: a\naccounts {{ A {{ jetstream: enabled, users: [\n\
         {{ user: a, password: a }}, {{ user: manager, password: \"{password}\" }}\n] }} }}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_password_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let fake = service(path, "127.0.0.1:0".parse().unwrap(), "first").await;
    let (url, listen) = (fake.s3_url(), fake.s3_url().replace("http://", "").parse().unwrap());
    let nats = Nats::start_with(&path.join("host"), &server("first")).await;
    let password = path.join("password");
    std::fs::write(&password, "first").unwrap();
    let mut settings = Settings::new(&nats.url, &url);
    settings.login = format!("user = \"manager\"\npassword_file = \"{}\"\n", password.display());
    let manager = Manager::new(path, "host", &settings);
    credentials_file(path, "host.env", USER, "first");
    nats.create("S", json!({})).await;
    let daemon = manager.tier().await;
    comes_in_time(&nats, &manager, 10).await;

    // The file first, as it should be; it is read before anything is refused.
    fake.shutdown().await;
    credentials_file(path, "host.env", USER, "second");
    let fake = service(path, listen, "second").await;
    comes_in_time(&nats, &manager, 20).await;

    // The service first: that is refused, and is not the end.
    fake.shutdown().await;
    let fake = service(path, listen, "third").await;
    nats.publish("S", 10).await;
    says(&daemon, "nas: the service refuses the key of `").await;
    credentials_file(path, "host.env", USER, "third");
    comes_in_time(&nats, &manager, 40).await;
    says(&daemon, "nas: the service takes the key of `").await;
    assert_eq!(daemon.log().matches("refuses the key").count(), 1, "{}", daemon.log());

    nats.reload(&server("second"));
    says(&daemon, "NATS refuses the login with `").await;
    std::fs::write(&password, "second").unwrap();
    comes_in_time(&nats, &manager, 50).await;
    says(&daemon, "NATS accepts the login with `").await;
    assert_eq!(daemon.log().matches("refuses the login").count(), 1, "{}", daemon.log());

    // What people try.
    let pid = daemon.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    says(&daemon, "SIGHUP: keys, passwords and certificates are read again as they change").await;
    comes_in_time(&nats, &manager, 60).await;
    daemon.stop().await;
    fake.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_ones_own_is_trusted_and_its_successor_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (first, second) = (Authority::new(), Authority::new());
    let minio = Minio::start_secure(path, &first).await;
    let nats = Nats::start(&path.join("host")).await;
    let mut settings = Settings::new(&nats.url, &minio.url);
    let (status, error) = Manager::new(path, "host", &settings).error(&["streams"]);
    assert_eq!(status, 4, "{error}");
    assert!(error.contains("UnknownIssuer") && error.contains("`tls_ca`"), "{error}");
    let ca = path.join("ca.pem");
    std::fs::write(&ca, first.pem()).unwrap();
    settings.s3 = format!("tls_ca = \"{}\"\n", ca.display());
    let manager = Manager::new(path, "host", &settings);
    nats.create("S", json!({})).await;
    let daemon = manager.tier().await;
    comes_in_time(&nats, &manager, 10).await;
    let minio = minio.again(&second).await;
    nats.publish("S", 10).await;
    std::fs::write(&ca, format!("{}{}", first.pem(), second.pem())).unwrap();
    comes_in_time(&nats, &manager, 30).await;
    daemon.stop().await;
    nats.api("STREAM.DELETE.S", Value::Null).await;
    manager.json(&["restore", "S"]);
    assert_eq!(nats.last_seq("S").await, 30);
    drop(minio);
}

/// As under systemd, which hands out copies at each start, and starts the unit again a second after a file was replaced.
#[tokio::test(flavor = "multi_thread")]
async fn where_copies_are_handed_out_a_start_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let fake = service(path, "127.0.0.1:0".parse().unwrap(), "first").await;
    let (url, listen) = (fake.s3_url(), fake.s3_url().replace("http://", "").parse().unwrap());
    let nats = Nats::start_with(&path.join("host"), &server("first")).await;
    let password = path.join("password");
    std::fs::write(&password, "first").unwrap();
    let mut settings = Settings::new(&nats.url, &url);
    settings.login = format!("user = \"manager\"\npassword_file = \"{}\"\n", password.display());
    let manager = Manager::new(path, "host", &settings);
    credentials_file(path, "host.env", USER, "first");
    nats.create("S", json!({})).await;
    let daemon = manager.tier().await;
    comes_in_time(&nats, &manager, 10).await;

    // Both refuse what the copies have, and there is something to flush.
    fake.shutdown().await;
    let fake = service(path, listen, "second").await;
    nats.publish("S", 10).await;
    says(&daemon, "nas: the service refuses the key of `").await;
    nats.reload(&server("second"));
    let since = Instant::now();
    let watch = Duration::from_secs(1);
    daemon.stop().await;
    credentials_file(path, "host.env", USER, "second");
    std::fs::write(&password, "second").unwrap();
    let daemon = manager.tier().await;
    comes_in_time(&nats, &manager, 30).await;
    assert!(since.elapsed() + watch < LATE, "it took {:?}", since.elapsed());

    // The successor first, as it should be, and with a load.
    let (client, go) = (nats.client.clone(), tokio_util::sync::CancellationToken::new());
    let stop = go.clone();
    let load = tokio::spawn(async move {
        let jetstream = async_nats::jetstream::new(client);
        while stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(2))).await.is_some()
        {
            jetstream.publish("s.load", "x".into()).await.unwrap().await.unwrap();
        }
    });
    let since = Instant::now();
    daemon.stop().await;
    let daemon = manager.tier().await;
    let now = nats.last_seq("S").await;
    manager.reaches("S", "nas", now).await;
    assert!(since.elapsed() + watch < LATE, "it took {:?}", since.elapsed());
    go.cancel();
    load.await.unwrap();
    daemon.stop().await;
    fake.shutdown().await;
}
