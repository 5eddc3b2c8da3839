//! The harness's end of the socket: one request at a time, and every wait has a limit.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::protocol::{Hear, LINE, Op, Outcome, Request, Say};
use crate::error::{Context as _, Error, Result};

/// The time that a driver may take beyond the command's own limit.
const GRACE: Duration = Duration::from_secs(30);

/// The driver, as the engine sees it. Dropping it closes the socket.
#[derive(Debug)]
pub(crate) struct Driver {
    shared: Arc<Shared>,
    patience: Duration,
    path: PathBuf,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when there is a request to hand out.
    asked: Notify,
    /// Notified when the request was handed out.
    handed: Notify,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    request: Request,
    handed: bool,
    answer: Option<oneshot::Sender<Result<Outcome, String>>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver {
    /// Listens on `path`. While a request waits, a driver that is silent for `patience` counts as
    /// gone.
    pub(crate) fn listen(path: &Path, patience: Duration) -> Result<Self> {
        // A socket that a killed harness left behind does not answer.
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            let shown = path.display();
            return Err(Error::Usage(format!("another harness listens on `{shown}`: end it")));
        }
        drop(std::fs::remove_file(path));
        let listener = UnixListener::bind(path);
        let listener = listener.setup(|| format!("cannot listen on `{}`", path.display()))?;
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, patience, path: path.to_owned(), task })
    }

    /// Sends a request and waits until it is done, at most `limit` after the driver took it.
    pub(crate) async fn ask(&self, op: Op, limit: Duration) -> Result<Outcome> {
        let (sender, answer) = oneshot::channel();
        let what = serde_json::to_string(&op).expect("a request is JSON");
        let id = self.put(op, Some(sender));
        self.wait_handed(id, &what).await?;
        let limit = limit + GRACE;
        let answer = tokio::time::timeout(limit, answer).await;
        self.shared.lock().open = None;
        match answer {
            Ok(Ok(Ok(outcome))) => Ok(outcome),
            Ok(Ok(Err(error))) => {
                Err(Error::step(format!("the driver could not do request {id} ({what}): {error}")))
            }
            Ok(Err(_)) => unreachable!("the sender is in the state until it is used"),
            Err(_) => Err(Error::step(format!(
                "the driver did not answer request {id} ({what}) within {limit:?}"
            ))),
        }
    }

    /// Tells the driver that the run is over. A driver that is gone, or does not ask within
    /// `patience`, is not told.
    pub(crate) async fn end(&self, verdict: &str, exit: u8, patience: Duration) {
        let op = Op::End { verdict: verdict.into(), exit };
        let id = self.put(op, None);
        drop(tokio::time::timeout(patience, self.wait_handed(id, "end")).await);
    }

    fn put(&self, op: Op, answer: Option<oneshot::Sender<Result<Outcome, String>>>) -> u64 {
        let mut state = self.shared.lock();
        state.last += 1;
        let id = state.last;
        state.open = Some(Open { request: Request { id, op }, handed: false, answer });
        drop(state);
        self.shared.asked.notify_waiters();
        id
    }

    async fn wait_handed(&self, id: u64, what: &str) -> Result<()> {
        let handed = async {
            loop {
                let notified = self.shared.handed.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if self.shared.lock().open.as_ref().is_none_or(|o| o.handed) {
                    return;
                }
                notified.await;
            }
        };
        if tokio::time::timeout(self.patience, handed).await.is_err() {
            self.shared.lock().open = None;
            return Err(Error::step(format!(
                "no driver has asked for request {id} ({what}) for {:?}: has it ended?",
                self.patience
            )));
        }
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
        drop(std::fs::remove_file(&self.path));
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                clients.spawn(serve(client, Arc::clone(&shared)));
            }
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn serve(client: UnixStream, shared: Arc<Shared>) {
    let (read, mut write) = client.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    let longest = LINE as u64 + 1;
    let Ok(1..) = (&mut read).take(longest).read_until(b'\n', &mut line).await else { return };
    if line.len() > LINE && line.last() != Some(&b'\n') {
        let why = format!("a line has at most {LINE} bytes: send the end of long texts");
        say(&mut write, &Hear::Refused(why)).await;
        // A client that is still writing would not read the answer.
        drop(tokio::time::timeout(GRACE, discard(&mut read)).await);
        return;
    }
    match serde_json::from_slice(&line) {
        Ok(Say::Next) => {
            let refused = loop {
                let notified = shared.asked.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                match waiting(&shared) {
                    Waiting::Request(request) => {
                        let id = request.id;
                        // A client that is gone has not taken it: the next one gets it.
                        if say(&mut write, &Hear::Request(request)).await {
                            mark_handed(&shared, id);
                        }
                        return;
                    }
                    Waiting::Unanswered(id) => {
                        break format!(
                            "request {id} is not answered yet: `cim-harness driver done {id}`"
                        );
                    }
                    Waiting::Nothing => {}
                }
                tokio::select! {
                    () = notified => {}
                    // A client that hangs up no longer waits.
                    more = read.fill_buf() => match more {
                        Ok([_, ..]) => break "a connection sends one message".to_owned(),
                        _ => return,
                    },
                }
            };
            say(&mut write, &Hear::Refused(refused)).await;
        }
        Ok(Say::Done { id, result, error }) => {
            let heard = match take(&shared, id, error.map_or(Ok(result), Err)) {
                Ok(()) => Hear::Taken,
                Err(why) => Hear::Refused(why),
            };
            say(&mut write, &heard).await;
        }
        Err(error) => {
            say(&mut write, &Hear::Refused(format!("not understood: {error}"))).await;
        }
    }
}

/// Reads and discards the rest of a line.
async fn discard(read: &mut (impl AsyncBufRead + Unpin)) {
    while let Ok(part @ [_, ..]) = read.fill_buf().await {
        let (end, length) = (part.contains(&b'\n'), part.len());
        read.consume(length);
        if end {
            return;
        }
    }
}

enum Waiting {
    Request(Request),
    Unanswered(u64),
    Nothing,
}

fn waiting(shared: &Shared) -> Waiting {
    match &shared.lock().open {
        Some(open) if !open.handed => Waiting::Request(open.request.clone()),
        Some(open) if open.answer.is_some() => Waiting::Unanswered(open.request.id),
        _ => Waiting::Nothing,
    }
}

fn mark_handed(shared: &Shared, id: u64) {
    if let Some(open) = shared.lock().open.as_mut().filter(|open| open.request.id == id) {
        open.handed = true;
    }
    shared.handed.notify_waiters();
}

fn take(shared: &Shared, id: u64, answer: Result<Outcome, String>) -> Result<(), String> {
    let mut state = shared.lock();
    let last = state.last;
    match &mut state.open {
        Some(open) if open.request.id == id && !open.handed => {
            Err(format!("request {id} was not handed out yet"))
        }
        Some(open) if open.request.id == id => match open.answer.take() {
            Some(sender) => {
                // The engine may just have given up; then the answer is not needed.
                drop(sender.send(answer));
                Ok(())
            }
            None => Err(format!("request {id} was answered already")),
        },
        _ if id <= last => {
            Err(format!("request {id} is not open: it was answered already, or given up"))
        }
        _ => Err(format!("there was no request {id}")),
    }
}

async fn say(write: &mut tokio::net::unix::OwnedWriteHalf, what: &Hear) -> bool {
    let mut line = serde_json::to_string(what).expect("an answer is JSON");
    line.push('\n');
    write.write_all(line.as_bytes()).await.is_ok()
}

#[cfg(test)]
mod tests;
