//! SIGINT and SIGTERM: received once, and told to every part that runs something.
//!
//! Each part then ends what it runs and cleans up. A second signal ends the harness at once; the
//! supervisors of the labs' programs then end those.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Context as _, Result};

/// The exit status that a shell shows for a process that SIGINT ended.
const STATUS: i32 = 130;

/// The request to end the harness. Clones share it.
#[derive(Debug, Clone)]
pub struct Interrupt {
    heard: watch::Receiver<bool>,
}

impl Interrupt {
    /// Listens from now on, in the runtime that this is called in. Before that a signal ends the
    /// process, so call this before anything is made.
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

    /// Waits until the harness is asked to end.
    pub async fn wait(&mut self) {
        if self.heard.wait_for(|heard| *heard).await.is_err() {
            // The runtime that listens is ending, and everything in it.
            std::future::pending::<()>().await;
        }
    }

    /// Reports whether the harness was asked to end.
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
