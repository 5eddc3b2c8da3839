//! What stands before the NAS answers in its place: a page that says 404 does not say that an object is gone.

use cim_fake_wasabi::FakeWasabi;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{Lab, wait_until};

const PAGE: &str = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 27\r\n\
                    Connection: close\r\n\r\n<html>404 not found</html>\n";

/// A proxy that passes everything on, or answers everything with its page while it is told to.
async fn proxy(service: &FakeWasabi) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let to = service.s3_url().trim_start_matches("http://").to_owned();
    let (answers, told) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (mut here, _) = listener.accept().await.unwrap();
            let (to, mut told) = (to.clone(), told.clone());
            tokio::spawn(async move {
                if *told.borrow_and_update() {
                    // The request may be larger; who sends it reads the answer all the same.
                    let mut request = vec![0; 1 << 16];
                    if here.read(&mut request).await.is_ok() {
                        drop(here.write_all(PAGE.as_bytes()).await);
                    }
                    return;
                }
                let mut there = TcpStream::connect(to).await.unwrap();
                // When it is told otherwise, what is under way is cut.
                tokio::select! {
                    passed = copy_bidirectional(&mut here, &mut there) => drop(passed),
                    _ = told.changed() => {}
                }
            });
        }
    });
    (address, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_not_an_answer_of_the_nas() {
    let mut lab =
        Lab::with().faulty_nas().settings("[segment]\nflush_age = \"30ms\"\n").start().await;
    let (url, answers) = proxy(&lab.nas).await;
    lab.configure(|settings| settings.nas = url);
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 20).await;
    lab.manager.reaches("S", "nas", 20).await;
    answers.send_replace(true);
    lab.nats.publish("S", 20).await;
    // Writing fails, and so does the look for the archive, which comes every ten seconds at the latest.
    wait_until("the archive was looked for", async || {
        let log = daemon.log();
        let looked = [
            "cannot verify that the archive is still there",
            "bucket was lost",
            "trying again: NAS: get",
        ];
        let looked = looked.iter().any(|text| log.contains(text));
        if looked { Ok(()) } else { Err(log) }
    })
    .await;
    answers.send_replace(false);
    lab.manager.reaches("S", "nas", 40).await;
    let log = daemon.log();
    assert!(!log.contains("the bucket was lost"), "{log}");
    assert!(log.contains("`NoSuchKey`"), "{log}");
    daemon.stop().await;
    let report = lab.manager.json(&["verify"]);
    assert_eq!(report["streams"][0]["messages"], 40, "{report}");
}
