//! How far a restore is.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::restore::{Plan, Progress};

const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// Does the work and shows its progress.
pub(super) async fn shown<T>(
    plans: Vec<Plan>,
    work: impl AsyncFnOnce(Vec<Plan>, &Arc<Progress>) -> T,
) -> T {
    let progress = Arc::new(Progress::default());
    let (bar, count) = (bar(&plans), plans.len());
    watched(work(plans, &progress), || {
        bar.set_position(progress.messages.load(Ordering::Relaxed));
        if count > 1 {
            let streams = progress.streams.load(Ordering::Relaxed);
            bar.set_message(format!("{streams} of {count} streams"));
        }
    })
    .await
}

/// Does the work, and calls `show` ten times a second meanwhile.
pub(super) async fn watched<T>(working: impl Future<Output = T>, mut show: impl FnMut()) -> T {
    tokio::pin!(working);
    loop {
        tokio::select! {
            done = &mut working => return done,
            () = tokio::time::sleep(SHOWN_EVERY) => show(),
        }
    }
}

fn bar(plans: &[Plan]) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let name = match plans {
        [one] => one.stream.to_string(),
        _ => format!("{} streams", plans.len()),
    };
    let style = "{msg} {bar:30} {human_pos}/{human_len} messages, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template above is valid");
    let messages = plans.iter().map(Plan::messages).sum();
    ProgressBar::new(messages).with_style(style).with_message(name)
}
