//! A network between the servers of a cluster that is slower for some of what they say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// In the greeting of the connection that servers keep for themselves.
const OWN: &[u8] = b"\"route_account\":\"$SYS\"";

/// Listens on a port of its own, which is returned, and passes all on to another one: late, but for the connection that
/// carries the system account.
pub(super) async fn slow_route(to: u16, late: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((dialed, _)) = listener.accept().await {
            let Ok(listening) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
            let own = Arc::new(AtomicBool::new(false));
            let (from_dialed, to_dialed) = dialed.into_split();
            let (from_listening, to_listening) = listening.into_split();
            tokio::spawn(pass(from_dialed, to_listening, Arc::clone(&own), late));
            tokio::spawn(pass(from_listening, to_dialed, own, late));
        }
    });
    port
}

async fn pass(
    mut from: impl AsyncRead + Unpin + Send + 'static,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    own: Arc<AtomicBool>,
    late: Duration,
) {
    let (send, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, bytes)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..read];
        if bytes.windows(OWN.len()).any(|window| window == OWN) {
            own.store(true, Ordering::Relaxed);
        }
        let late = if own.load(Ordering::Relaxed) { Duration::ZERO } else { late };
        if send.send((Instant::now() + late, bytes.to_vec())).is_err() {
            return;
        }
    }
}
