//! Keys, passwords and certificates that are replaced while the manager runs: nothing stops, and there is no restart.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use cim_fake_wasabi::{Config, Credentials, FakeWasabi};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Authority, Daemon, Lab, Manager, Minio, Nats, Settings, USER, credentials_file, wait_until,
    write_secret,
};

/// What the NAS may lack after everything works again.
const LATE: Duration = Duration::from_secs(5);
/// Time between two messages of a load.
const PACE: Duration = Duration::from_millis(2);

/// A host and a NAS that each let one login in.
struct Guarded {
    lab: Lab<FakeWasabi>,
    /// In the place of the lab's own: it keeps its address when it takes another key.
    nas: Option<FakeWasabi>,
    listen: SocketAddr,
    manager: Manager,
}

impl Guarded {
    /// Both let `first` in, and tiering has that.
    async fn start() -> (Self, Daemon) {
        let lab = Lab::with().faulty_nas().server(server("first")).login("manager", "first");
        let lab = lab.start().await;
        let nas = service(lab.dir(), "127.0.0.1:0".parse().unwrap(), "first").await;
        let url = nas.s3_url();
        let manager = lab.manager_with("guarded", |settings| settings.nas.clone_from(&url));
        let listen = url.trim_start_matches("http://").parse().unwrap();
        let guarded = Self { lab, nas: Some(nas), listen, manager };
        guarded.write_key("first");
        guarded.lab.nats.create("S", json!({})).await;
        let daemon = guarded.manager.tier().await;
        comes_in_time(&guarded.lab.nats, &guarded.manager, 10).await;
        (guarded, daemon)
    }

    /// Has the NAS take another key, and the old one no more.
    async fn change_nas(&mut self, secret: &str) {
        self.nas.take().expect("there is one").shutdown().await;
        self.nas = Some(service(self.lab.dir(), self.listen, secret).await);
    }

    /// Has NATS let in another password, and the old one no more.
    fn change_nats(&self, password: &str) {
        self.lab.nats.reload(&server(password));
    }

    /// Writes the key of the NAS that the manager reads.
    fn write_key(&self, secret: &str) {
        credentials_file(self.lab.dir(), "guarded.env", USER, secret);
    }

    /// Writes the password of NATS that the manager reads.
    fn write_password(&self, password: &str) {
        write_secret(&self.lab.path("manager.password"), password.as_bytes());
    }
}

/// A service at this address that takes one key.
async fn service(dir: &Path, listen: SocketAddr, secret: &str) -> FakeWasabi {
    let config = Config {
        buckets: vec!["archive".into()],
        credentials: vec![Credentials::new(USER, secret)],
        listen,
        ..Config::new(dir.join("guarded-nas"))
    };
    wait_until("the service has its address", async || {
        FakeWasabi::start(config.clone()).await.map_err(|error| error.to_string())
    })
    .await
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
    let (mut guarded, daemon) = Guarded::start().await;
    let comes = async |guarded: &Guarded, last| {
        comes_in_time(&guarded.lab.nats, &guarded.manager, last).await;
    };

    // The file first, as it should be; it is read before anything is refused.
    guarded.write_key("second");
    guarded.change_nas("second").await;
    comes(&guarded, 20).await;

    // The service first: that is refused, and is not the end.
    guarded.change_nas("third").await;
    guarded.lab.nats.publish("S", 10).await;
    daemon.says("NAS: the service refuses the key of `").await;
    guarded.write_key("third");
    comes(&guarded, 40).await;
    let log = daemon.says("NAS: the service takes the key of `").await;
    assert_eq!(log.matches("refuses the key").count(), 1, "{log}");

    guarded.change_nats("second");
    daemon.says("NATS refuses the login with `").await;
    guarded.write_password("second");
    comes(&guarded, 50).await;
    let log = daemon.says("NATS accepts the login with `").await;
    assert_eq!(log.matches("refuses the login").count(), 1, "{log}");

    // What people try.
    daemon.signal("HUP");
    daemon.says("SIGHUP: keys, passwords and certificates are read again as they change").await;
    comes(&guarded, 60).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_ones_own_is_trusted_and_its_successor_too() {
    let lab = Lab::start().await;
    let (first, second) = (Authority::new(), Authority::new());
    let mut nas = Minio::secure(&lab.path("secure"), &first).await;
    let secure = |settings: &mut Settings| {
        (settings.nas, settings.bucket) = (nas.url.clone(), nas.bucket.clone());
    };
    let (status, error) = lab.manager_with("trusting-none", secure).error(&["streams"]);
    assert_eq!(status, 4, "{error}");
    assert!(error.contains("UnknownIssuer") && error.contains("`tls_ca`"), "{error}");
    let ca = lab.path("ca.pem");
    std::fs::write(&ca, first.pem()).unwrap();
    let manager = lab.manager_with("trusting", |settings| {
        secure(settings);
        settings.s3 = format!("tls_ca = \"{}\"\n", ca.display());
    });
    lab.nats.create("S", json!({})).await;
    let daemon = manager.tier().await;
    comes_in_time(&lab.nats, &manager, 10).await;
    nas.start_again(&second).await;
    lab.nats.publish("S", 10).await;
    std::fs::write(&ca, format!("{}{}", first.pem(), second.pem())).unwrap();
    comes_in_time(&lab.nats, &manager, 30).await;
    daemon.stop().await;
    lab.nats.delete_stream("S").await;
    manager.json(&["restore", "S"]);
    assert_eq!(lab.nats.last_seq("S").await, 30);
}

/// As under systemd, which hands out copies at each start, and starts the unit again a second after a file was replaced.
#[tokio::test(flavor = "multi_thread")]
async fn where_copies_are_handed_out_a_start_is_enough() {
    let (mut guarded, daemon) = Guarded::start().await;

    // Both refuse what the copies have, and there is something to flush.
    guarded.change_nas("second").await;
    guarded.lab.nats.publish("S", 10).await;
    daemon.says("NAS: the service refuses the key of `").await;
    guarded.change_nats("second");
    let since = Instant::now();
    let watch = Duration::from_secs(1);
    daemon.stop().await;
    guarded.write_key("second");
    guarded.write_password("second");
    let daemon = guarded.manager.tier().await;
    comes_in_time(&guarded.lab.nats, &guarded.manager, 30).await;
    assert!(since.elapsed() + watch < LATE, "it took {:?}", since.elapsed());

    // The successor first, as it should be, and with a load.
    let (client, go) = (guarded.lab.nats.client.clone(), CancellationToken::new());
    let stop = go.clone();
    let load = tokio::spawn(async move {
        let jetstream = async_nats::jetstream::new(client);
        while stop.run_until_cancelled(tokio::time::sleep(PACE)).await.is_some() {
            jetstream.publish("s.load", "x".into()).await.unwrap().await.unwrap();
        }
    });
    let since = Instant::now();
    daemon.stop().await;
    let daemon = guarded.manager.tier().await;
    guarded.manager.has_all(&guarded.lab.nats, &["S"]).await;
    assert!(since.elapsed() + watch < LATE, "it took {:?}", since.elapsed());
    go.cancel();
    load.await.unwrap();
    daemon.stop().await;
}
