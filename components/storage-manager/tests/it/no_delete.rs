//! A key for Wasabi that may write and not delete, as a careful owner gives it out.

use cim_fake_wasabi::{Fault, Rule};
use serde_json::json;

use crate::support::{Lab, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_said_plainly_and_one_object_is_left_however_often_it_starts() {
    let lab = Lab::with()
        .faulty_nas()
        .wasabi()
        .settings("[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n")
        .start()
        .await;
    lab.wasabi().set_faults(vec![Rule::new(Fault::ReadOnly).operation("DeleteObject*")]).unwrap();
    lab.nats.create("S", json!({})).await;
    for start in 1..=3 {
        let daemon = lab.manager.tier().await;
        lab.nats.publish("S", 10).await;
        lab.manager.reaches("S", "wasabi", 10 * start).await;
        let times = usize::try_from(start).unwrap();
        wait_until("it says so", async || {
            let log = daemon.log();
            let said = log.matches("the key for Wasabi may not delete").count();
            if said == times { Ok(()) } else { Err(log) }
        })
        .await;
        daemon.stop().await;
    }
    let pages = lab.wasabi_bucket().list("v1/probe/".into(), None).await.unwrap();
    let left: Vec<_> = pages.into_iter().flat_map(|page| page.contents).map(|o| o.key).collect();
    assert_eq!(left, ["v1/probe/wasabi"]);
}
