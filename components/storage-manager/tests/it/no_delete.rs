//! A key for Wasabi that may write and not delete, as a careful owner gives it out.

use cim_fake_wasabi::{Fault, Rule};
use serde_json::json;

use crate::bad_input::bucket;
use crate::support::{Manager, Nats, Settings, fake_s3, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_said_plainly_and_one_object_is_left_however_often_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (nas, wasabi) = (fake_s3(path, "nas").await, fake_s3(path, "wasabi").await);
    wasabi.set_faults(vec![Rule::new(Fault::ReadOnly).operation("DeleteObject*")]).unwrap();
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let mut settings = Settings::new(&nats.url, &nas.s3_url());
    settings.wasabi = Some(wasabi.s3_url());
    settings.more = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n".into();
    let manager = Manager::new(path, "host", &settings);
    for start in 1..=3 {
        let daemon = manager.tier().await;
        nats.publish("S", 10).await;
        manager.reaches("S", "wasabi", 10 * start).await;
        let times = usize::try_from(start).unwrap();
        wait_until("it says so", async || {
            let log = daemon.log();
            let said = log.matches("the key for wasabi may not delete").count();
            if said == times { Ok(()) } else { Err(log) }
        })
        .await;
        daemon.stop().await;
    }
    let pages = bucket(&wasabi.s3_url()).list("v1/probe/".into(), None).await.unwrap();
    let left: Vec<_> = pages.into_iter().flat_map(|page| page.contents).map(|o| o.key).collect();
    assert_eq!(left, ["v1/probe/wasabi"]);
}
