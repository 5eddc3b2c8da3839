//! Signals as a cancellation token: the first asks for an orderly end, the second ends the process.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Returns a token that SIGTERM or SIGINT cancels. A second signal ends the process with status 130.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = token.clone();
    tokio::spawn(async move {
        let mut signals = 0;
        loop {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            signals += 1;
            if signals == 2 {
                tracing::warn!("second signal: ending at once");
                std::process::exit(130);
            }
            tracing::info!("signal received: finishing; once more ends at once");
            cancelled.cancel();
        }
    });
    Ok(token)
}
