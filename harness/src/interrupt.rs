//! SIGINT and SIGTERM: heard once, and told to everybody who runs something.
//!
//! Whoever hears of it ends what it runs and tidies up. A second signal ends the harness at once; the
//! supervisors of the labs' programs then end those.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Context as _, Result};

/// What a shell calls a process that SIGINT ended.
const STATUS: i32 = 130;

/// Whether the harness was asked to end. Clones hear the same.
#[derive(Debug, Clone)]
pub struct Interrupt {
    heard: watch::Receiver<bool>,
}

impl Interrupt {
    /// Listens from now on, in the runtime that this is called in. Before that a signal ends the
    /// process, so this comes before anything is made.
    pub fn listen() -> Result<Self> {
        let cannot = || "cannot listen for SIGINT and SIGTERM".to_owned();
        let mut interrupt = signal(SignalKind::interrupt()).setup(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).setup(cannot)?;
        let (tell, heard) = watch::channel(false);
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            tell.send_replace(true);
            either(&mut interrupt, &mut terminate).await;
            std::process::exit(STATUS);
        });
        Ok(Self { heard })
    }

    /// Waits until it is.
    pub async fn wait(&mut self) {
        if self.heard.wait_for(|heard| *heard).await.is_err() {
            // The runtime that listens is going down, and all that it runs with it.
            std::future::pending::<()>().await;
        }
    }

    /// Whether it was.
    pub fn heard(&self) -> bool {
        *self.heard.borrow()
    }
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
}
